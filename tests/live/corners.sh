#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# The corners of a process's life: forks of all kinds in storms, exec by any thread, all ways to
# end, closed and scarce descriptors, limits, namespaces, other roots and users, stacks and jumps,
# alarms, children that are one's own. Each says what it says in a bare run, while all of its pages
# move.
. "$(dirname "$0")/lib.sh" || exit 1

as_root=false
[ "$(id -u)" -ne 0 ] || as_root=true
total=0

# corner WANT CASE [-- COMMAND...]: CASE under COMMAND, bare and in a machine: same status and
# output.
corner() {
	local want=$1 name=$2 status
	shift 2
	[ "${1:-}" != -- ] || shift
	FERRY_TEST_MANAGED= timeout -k 5 $((60 * slow)) "$@" "$programs/corners" $name \
		>"$work/bare" 2>"$work/err" </dev/null
	status=$?
	[ "$status" -eq "$want" ] || fail "bare $name: status $status, not $want"
	timeout -k 5 "$limit" "$ferry" run --nodes 3x256M -- "$@" "$programs/corners" $name \
		>"$work/out" 2>"$work/err" </dev/null
	status=$?
	[ "$status" -eq "$want" ] || fail "$* $name: status $status, not $want"
	cmp -s "$work/bare" "$work/out" || fail "$* $name: $(diff "$work/bare" "$work/out")"
	grep -v -e '^moved ' "$work/err" >"$work/said"
	total=$((total + $(awk '$1 == "moved" { n = $2 } END { print n + 0 }' "$work/err")))
}
quiet() {
	[ ! -s "$work/said" ] || fail "more was said: $(cat "$work/said")"
}

for name in storm clones exec closed limits data stacks alarms children reaper 'files 8'; do
	corner 0 "$name"
	quiet
done
corner 5 mainless
quiet
# Too few to be managed: one line of each image, and all is as ever.
corner 0 'files 4'
if grep -v 'runs unmanaged: .*EMFILE' "$work/said"; then fail "not that line"; fi
[ -s "$work/said" ] || fail "nothing was said about too few descriptors"

# A daemon outlives the command.
"$ferry" run --nodes 3x256M -- "$programs/corners" daemon >"$work/out" 2>"$work/err" </dev/null ||
	fail "daemon"
wait_until 60 test -s "$work/ready" || fail "the daemon did not get there: $(cat "$work/err")"
assert_nothing_left

if $as_root && unshare -fp true 2>/dev/null; then
	for space in '-fp --mount-proc' '-fp' '-Ufp --map-root-user --mount-proc' -m -U; do
		# shellcheck disable=SC2086
		unshare $space true 2>/dev/null || continue
		# shellcheck disable=SC2086
		corner 0 reaper -- unshare $space
		quiet
	done
	for space in '-fp --mount-proc' '-fp'; do
		# shellcheck disable=SC2086
		corner 0 everybody -- unshare $space
		if grep -v 'agent .* was killed' "$work/said"; then fail "more was said"; fi
	done
fi

if $as_root; then
	build_for_others
	corner 0 reaper -- "${as_nobody[@]}"
	quiet
	corner 0 storm -- "${as_nobody[@]}"
	quiet
	if runuser -u nobody -- true 2>/dev/null; then # it wants PAM to be set up
		corner 0 reaper -- runuser -u nobody --
		quiet
	fi
fi

# In another root there is no library to preload: one line, and the program runs.
if $as_root && command -v ldd >/dev/null; then
	root=$work/root
	mkdir -p "$root"
	cp "$programs/corners" "$root/"
	ldd "$programs/corners" | grep -o '/[^ ]*' | while read -r library; do
		mkdir -p "$root$(dirname "$library")"
		cp -L "$library" "$root$library"
	done
	mkdir -p "$root/lib/x86_64-linux-gnu"
	cp -L "$build"/libpageferry.so.0 "$root/lib/x86_64-linux-gnu/"
	corner 0 "chroot $root"
	[ "$(grep -c 'executed from here runs unmanaged' "$work/said")" -eq 1 ] ||
		fail "nothing was said about the other root: $(cat "$work/said")"
	if grep -v 'runs unmanaged' "$work/said"; then fail "more was said"; fi
fi
assert_nothing_left
echo "moved $total pages"
[ "$total" -gt $((50000 / fewer)) ] || fail "only $total pages moved"
