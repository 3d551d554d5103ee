#!/bin/bash
# SPDX-License-Identifier: MIT
# guest: its programs are not taken along
# timeout: 240
# gcc, as and ld, driven by ninja, build this project while every process of the build is ferried in
# turn: each object, library and program is the same, byte for byte, as from a bare build.
. "$(dirname "$0")/lib.sh" || exit 1

limit=200
here=$work/build # both builds take place here: debug information names the folder
buildtype=${FERRY_SOAK:+debugoptimized}
buildtype=${buildtype:-debug}

"$FERRY_SOURCE/tools/configure" "$here" -Dtests=disabled \
	-Dbuildtype="$buildtype" || fail "meson"
# sums FILE: what the build made, with check sums.
sums() {
	(cd "$here" && find . -type f \( -name '*.o' -o -name '*.so*' -o -name pageferry \) \
		-exec sha256sum {} + | sort -k 2) >"$1"
}

ninja --quiet -C "$here" products || fail "ninja bare"
sums "$work/bare"
[ "$(grep -c '\.o$' "$work/bare")" -ge 60 ] || fail "the bare build made too little"
ninja -C "$here" -t clean >/dev/null

start --nodes 2x1G -- ninja --quiet -C "$here" products
start_ferry_all 0 1
finish
stop_ferry
sums "$work/inside"
diff "$work/bare" "$work/inside" || fail "what was built inside differs"
[ "$("$here/pageferry" --version)" = "$("$ferry" --version)" ] || fail "what was built does not run"
assert_moved
