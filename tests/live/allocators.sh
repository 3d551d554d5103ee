#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# Programs with other allocators than glibc's: preloaded by the user, linked in, the program's own.
# Every block keeps its content while all pages are ferried, and lies in managed memory.
. "$(dirname "$0")/lib.sh" || exit 1

has_moved_enough() {
	has_ended || (assert_moved >/dev/null 2>&1)
}

# with LIBRARY PROGRAM [ARGUMENT]
with() {
	local library=$1
	shift
	echo "${library:-no library}: $*"
	LD_PRELOAD=$library start --nodes 2x512M -- "$@"
	wait_ready
	[ -z "$library" ] || grep -q "${library%.so*}" "/proc/$pid/maps" ||
		fail "$library is not in the program"
	start_ferry 0 1
	wait_until 60 has_moved_enough
	touch "$work/stop"
	finish
	stop_ferry
	[ ! -s "$work/err" ] || ! grep -v '^seed' "$work/err" || fail "the program complained"
	cat "$work/out"
	[ "$(awk '$1 == "pages" { print $2 }' "$work/out")" -gt 0 ] || fail "no page was looked at"
	assert_moved
}

FERRY_TEST_MANAGED=0 FERRY_TEST_STOP=/ "$programs/allocator" own || fail "bare"
with "" "$programs/allocator" malloc
with "" "$programs/allocator" own
for library in libjemalloc.so.2 libmimalloc.so.2.0 libtcmalloc_minimal.so.4; do
	LD_PRELOAD=$library /bin/true 2>"$work/bare"
	[ ! -s "$work/bare" ] || skip "$library is not installed"
	with "$library" "$programs/allocator" malloc
done
[ -x "$programs/allocator_static" ] || skip "the static library of jemalloc is not installed"
with "" "$programs/allocator_static" malloc
