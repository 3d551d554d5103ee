#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 240
# guest: its programs are not taken along
# gcc, as, ar and ld, driven by ninja, build the core of this project (soak: all of it) while every
# process of the build is ferried in turn: what they make is the same, byte for byte, as bare.
. "$(dirname "$0")/lib.sh" || exit 1

limit=200
here=$work/build # both builds take place here: debug information names the folder
if [ -n "${FERRY_SOAK:-}" ]; then
	targets=products
	options=(-Dbuildtype=debugoptimized)
else
	targets=libferrycore.a
	options=(-Dbuildtype=debug)
fi
job=(sh -c 'ninja --quiet -C "$0" "$1" && gcc -shared -o "$0/core.so" -Wl,--whole-archive \
	"$0/libferrycore.a" -Wl,--no-whole-archive' "$here" "$targets")

# sums FILE: what the build made, with check sums.
sums() {
	(cd "$here" && find . -type f \( -name '*.[oa]' -o -name '*.so*' -o -name pageferry \) \
		-exec sha256sum {} + | sort -k 2) >"$1"
}

"$FERRY_SOURCE/tools/configure" "$here" -Dtests=disabled "${options[@]}" || fail "meson"
"${job[@]}" || fail "the bare build"
sums "$work/bare"
[ "$(grep -c '\.o$' "$work/bare")" -ge 25 ] || fail "the bare build made too little"
ninja -C "$here" -t clean >/dev/null
rm "$here/core.so"

start --nodes 2x1G -- "${job[@]}"
start_ferry_all 0 1
finish
stop_ferry
sums "$work/inside"
diff "$work/bare" "$work/inside" || fail "what was built inside differs"
assert_moved
