#!/bin/bash
# SPDX-License-Identifier: MIT
# O_DIRECT reads into, and writes from, moving pages: pinned pages stay, nothing is lost.
. "$(dirname "$0")/lib.sh" || exit 1

# tmpfs has no O_DIRECT: the build folder is on a real file system more often than /tmp.
file=$work/data
dd if=/dev/zero of="$file" bs=4096 count=1 oflag=direct 2>/dev/null || file=$build/direct.$$
timeout -k 5 "$limit" "$ferry" run --nodes 3x128M -- "$programs/direct" "$file" \
	>"$work/out" 2>"$work/err" </dev/null &
run_pid=$!
wait "$run_pid"
status=$?
run_pid=
rm -f "$file"
[ "$status" -ne 77 ] || skip "no file system with O_DIRECT at ${TMPDIR:-/tmp} or $build"
[ "$status" -eq 0 ] || fail "ended with status $status"
grep pieces "$work/err"
# Two buffers of 512 pages: each page twice is 2,048; pins answer "pinned" at any rate.
assert_own_moves 20000 0
