#!/bin/bash
# SPDX-License-Identifier: MIT
# io_uring fixed buffers: registered pages refuse to move and lose nothing; later they move.
. "$(dirname "$0")/lib.sh" || exit 1

ulimit -l unlimited 2>/dev/null
timeout -k 5 "$limit" "$ferry" run --nodes 3x128M -- "$programs/uring" "$work/data" \
	>"$work/out" 2>"$work/err" </dev/null &
run_pid=$!
wait "$run_pid"
status=$?
run_pid=
[ "$status" -ne 77 ] || skip "this host allows no io_uring"
[ "$status" -eq 0 ] || fail "ended with status $status"
grep rounds "$work/err"
[ -z "${FERRY_TEST_EVICTS:-}" ] || exit 0
# 512 pages beside the registered ones move: each twice is 1,024.
assert_own_moves 10000 0
