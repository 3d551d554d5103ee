#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# guest: there is no perf
# perf counts and samples programs of a machine, started by it inside and attached from outside,
# while all their pages are ferried: its numbers are the program's, and so is the program's result.
. "$(dirname "$0")/lib.sh" || exit 1

command -v perf >/dev/null || skip "there is no perf here"
if ! perf stat -e task-clock true 2>"$work/perf"; then
	echo "perf may not count here: $(tail -n 1 "$work/perf")"
	exit 0
fi

# counted FILE: milliseconds of task-clock in what perf stat -x, has written.
counted() {
	awk -F, '$3 ~ /^task-clock/ { n = int($1) } END { print n + 0 }' "$1"
}
# sampled FILE WORD: samples that have the word in their command or place.
sampled() {
	perf script -i "$1" -F comm,ip,sym,dso 2>/dev/null | grep -c "$2"
}

# Inside.
seq 200000 | sort -R >"$work/numbers"
seq 200000 >"$work/want"
run --nodes 3x256M -- perf stat -x, -e task-clock,page-faults -o "$work/stat" \
	sort -n --parallel=2 -S 8M -o "$work/sorted" "$work/numbers"
cmp "$work/want" "$work/sorted" || fail "sorted wrong under perf stat"
[ "$(counted "$work/stat")" -gt 0 ] || fail "perf stat: $(cat "$work/stat")"

export FERRY_TEST_SECONDS=2 FERRY_TEST_MOVES=20000
run --nodes 3x256M -- perf record -q -F 500 -e cpu-clock -g -o "$work/data" \
	"$programs/pingpong" 2048
assert_own_moves 20000 50
samples=$(sampled "$work/data" writer_run)
echo "perf record, inside: $samples samples of the writers"
[ "$samples" -gt 100 ] || fail "perf record saw $samples samples of the writers"

# From outside.
start --nodes 3x256M -- "$programs/pingpong" outside 4096
wait_ready
start_ferry 0 1 2
wait_until 20 moves_begin || fail "nothing moves"
perf stat -x, -e task-clock,page-faults -o "$work/stat" -p "$pid" -- sleep 2 2>"$work/perf" ||
	fail "perf stat -p: $(cat "$work/perf")"
[ "$(counted "$work/stat")" -gt 100 ] || fail "perf stat -p: $(cat "$work/stat")"
perf record -q -F 500 -e cpu-clock -g -d -o "$work/data" -p "$pid" -- sleep 2 2>"$work/perf" ||
	fail "perf record -p: $(cat "$work/perf")"
samples=$(sampled "$work/data" writer_run)
echo "perf record -p: $samples samples of the writers"
[ "$samples" -gt 100 ] || fail "perf record -p saw $samples samples of the writers"
# The agent is a process of its own, which can be looked at as well. On a busy machine moves are
# seldom; and perf gives up without a word when one of the threads that it has listed, such as the
# one that serves a caller, ends before it has read its name.
wait_for_agent
agent_is_sampled() {
	perf record -q -F 500 -e cpu-clock -o "$work/data" -p "$agent" -- sleep 1 2>"$work/perf" &&
		[ "$(sampled "$work/data" pageferry-agent)" -gt 0 ]
}
wait_until 20 agent_is_sampled || fail "no samples of the agent: $(cat "$work/perf")"
"$ferry" check "$pid" || fail "check"
stop_ferry
touch "$work/stop"
finish
assert_moved
