#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 240
# guest: it is what every test there does
# Pages leave as on kernels without UFFDIO_MOVE: copied, then reclaimed by the host if nobody else
# refers to them. What a device writes, what lies in a pipe and what is shared is kept.
. "$(dirname "$0")/lib.sh" || exit 1

export FERRY_TEST_EVICTS=1 FERRY_TEST_SECONDS=2 FERRY_TEST_MOVES=20000
nodes="--nodes 3x128M --copy-path=both"
file=$work/data
dd if=/dev/zero of="$file" bs=4096 count=1 oflag=direct 2>/dev/null || file=$build/evict.$$

run $nodes -- "$programs/pingpong" 2048
assert_own_moves 10000 99
run $nodes -- "$programs/fuzz"
assert_own_moves 10000 0
run $nodes -- "$programs/fork"
assert_own_moves 2000 0
run $nodes -- "$programs/syscalls"
assert_own_moves 500 0
run $nodes -- "$programs/taint"
run $nodes -- "$programs/taint" left
run --node ram:256M --node ram:256M --node ram:2M --node ram:0 --copy-path=both -- \
	"$programs/statuses"

# Neither of these needs to be possible here.
may_skip() {
	timeout -k 5 "$limit" "$ferry" run $nodes -- "$@" >"$work/out" 2>"$work/err" </dev/null &
	run_pid=$!
	wait "$run_pid"
	status=$?
	run_pid=
	rm -f "$file"
	[ "$status" -eq 0 ] || [ "$status" -eq 77 ] || fail "$1 ended with status $status"
}
may_skip "$programs/direct" "$file"
ulimit -l unlimited 2>/dev/null
may_skip "$programs/uring" "$file"

# An agent is killed in the middle: its keeper brings home what was on its way.
start $nodes -- "$programs/pingpong" outside 2048
wait_ready
wait_for_agent
mover_what=(--range "$(cat "$work/ready")")
start_ferry 0 1 2
wait_until 20 moves_begin || fail "the moves do not begin"
sleep "0.0$((RANDOM % 10))"
kill -KILL "$agent"
rescued() { grep -q 'brought home' "$work/err"; }
wait_until 20 rescued || fail "the keeper said nothing: $(cat "$work/err")"
touch "$work/mover.stop"
wait "$mover_pid" 2>/dev/null
mover_pid=
touch "$work/stop"
finish
