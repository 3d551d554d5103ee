#!/bin/bash
# SPDX-License-Identifier: MIT
# Eight processes write to one object while its pages move: some are killed, one is stopped, one
# reads into it with O_DIRECT. Then python's shared memory.
. "$(dirname "$0")/lib.sh" || exit 1

[ "$(id -u)" -eq 0 ] || skip "MOVE_ALL needs CAP_SYS_NICE"
run --nodes 3x256M -- "$programs/mappers" "$work/file"
grep -qx ok "$work/err" || fail "$(cat "$work/err")"
grep moved "$work/err"
# Half of the object is more than the second node has: pages find it full.
run --node ram:64M --node ram:2M -- "$programs/mappers" "$work/file"
grep -qx ok "$work/err" || fail "$(cat "$work/err")"
grep -q 'full [1-9]' "$work/err" || fail "no node was full: $(cat "$work/err")"

command -v python3 >/dev/null || skip "python3 is not installed"
start --nodes 3x256M -- python3 "$live/python_shared.py" $((6 * slow))
move_flags=--move-all start_ferry_all 0 1 2
finish
stop_ferry
grep -qx ok "$work/out" || fail "python: $(cat "$work/out" "$work/err")"
assert_moved
