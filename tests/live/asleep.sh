#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 240
# Agents that sleep: what needs one wakes it, and nobody notices.
. "$(dirname "$0")/lib.sh" || exit 1

[ "$("$ferry" doctor --json | json 'documents[0]["usable"]')" = True ] || skip "no userfaultfd"

# state_of PID: as `ps` shows it, which wakes nobody.
state_of() {
	"$ferry" ps --json | json "[process['state'] for machine in documents[0]['machines']
		for process in machine['processes'] if process['pid'] == $1]" | tr -d "[]'"
}
is_in_state() {
	[ "$(state_of "$1")" = "$2" ]
}
# begin OPTIONS... -- CMD...: as start, but nobody looks at the program's memory.
begin() {
	start_unseen "$@"
	wait_ready
	pid=$(cat "$work/pid")
}
# agents_of COMMAND: of the processes that run it; one that sleeps is not in `ps`.
agents_of() {
	pgrep -f "$1" | while read -r other; do
		[ "$(cat "/proc/$other/comm")" != pageferry-agent ] || echo "$other"
	done
}
end() {
	touch "$work/stop"
	finish "$@"
}
used_of() { # NODE: pages leased
	"$ferry" ps --json | json "[machine['nodes'][$1]['used_bytes'] // 4096
		for machine in documents[0]['machines']
		for process in machine['processes'] if process['pid'] == $pid][0]"
}

# It sleeps as long as nothing needs it. What it may touch is leased meanwhile; then what it has.
begin --nodes 2x1G -- taskset -c 0 "$programs/asleep" hold 1000
wait_until 2 is_in_state "$pid" asleep || fail "not asleep but '$(state_of "$pid")'"
advance=$(used_of 0)
"$ferry" maps "$pid" >"$work/maps" || fail "maps: status $?"
is_in_state "$pid" alive || fail "maps did not wake it: '$(state_of "$pid")'"
[ "$(used_of 0)" -lt $((advance / 2)) ] || fail "leases: $advance asleep, $(used_of 0) awake"
"$ferry" move "$pid" --range "$(cat "$work/ready")" --to 1 >"$work/move" ||
	fail "move: $(cat "$work/move")"
"$ferry" check "$pid" || fail "check"
end

# Stopped in its sleep it can still be looked at and moved. Memory goes to the node of its CPU.
begin --node ram:1G,cpus=1 --node ram:1G,cpus=0 -- taskset -c 0 "$programs/asleep" hold 1000
kill -STOP "$pid"
wait_until 2 is_in_state "$pid" asleep || fail "not asleep but '$(state_of "$pid")'"
"$ferry" move "$pid" --range "$(cat "$work/ready")" --to 0 --json >"$work/move" ||
	fail "move of a stopped one: $(cat "$work/move")"
json 'documents[-1]["moved_pages"] == 1000' <"$work/move" | grep -q True ||
	fail "not all of the touched pages were on node 1: $(cat "$work/move")"
kill -CONT "$pid"
end

# Nobody looks: it wakes by itself.
begin --nodes 2x1G -- "$programs/asleep" hold 100
wait_until 10 is_in_state "$pid" alive || fail "still '$(state_of "$pid")'"
"$ferry" check "$pid" || fail "check"
end

# Killed in its sleep: nothing was its own, and there is another one when one is needed.
begin --nodes 2x1G -- "$programs/asleep" hold 100
agent=$(agents_of "$programs/asleep hold 100")
[ -n "$agent" ] || fail "no agent of $pid"
kill -9 "$agent"
wait_until 10 is_gone "$agent" || fail "the agent does not end"
end
begin --nodes 2x1G -- "$programs/asleep" churn
# shellcheck disable=SC2046 # children of the program have agents, too
kill -9 $(agents_of "$programs/asleep churn") 2>/dev/null
end

# The moment in which it wakes, by itself and because somebody looks, while the program maps,
# grows, frees and forks.
begin --nodes 2x1G -- "$programs/asleep" churn
wait_until 10 is_in_state "$pid" alive || fail "still '$(state_of "$pid")'"
end
for round in 1 2 3 4 5 6 7 8 9 10 11 12; do
	begin --nodes 2x1G -- "$programs/asleep" churn
	sleep "0.0$((round * 7 % 10))"
	"$ferry" move "$pid" --all --to $((round % 2)) >/dev/null 2>&1
	"$ferry" move "$pid" --all --to $((1 - round % 2)) >/dev/null 2>&1
	end
done

# More than was leased in advance wakes it, so that no node holds more than it has.
begin --nodes 2x64M -- "$programs/asleep" hold 2000
is_in_state "$pid" alive || fail "2000 pages on a small node: '$(state_of "$pid")'"
"$ferry" check "$pid" || fail "check"
end

# A child keeps the books of its parent as they were.
for _ in 1 2 3 4 5; do
	run --nodes 2x1G -- "$programs/asleep" legacy
done

# The program ends in a fork that the waking agent waits for: nothing is left behind.
run --nodes 2x1G -- "$programs/asleep" atfork

# A hole in the mappings, made and filled while the agent takes them over.
for round in 1 2 3 4 5 6; do
	begin --nodes 2x1G -- "$programs/asleep" hole
	for _ in 1 2 3 4 5 6 7 8; do # while the mappings change
		"$ferry" maps "$pid" >/dev/null 2>&1
		[ $? -lt 128 ] || fail "maps has crashed"
	done
	sleep "0.$((round % 3))"
	end
done

# Who asks for memory now and then is managed again, once its agent was killed in its sleep.
begin --nodes 2x1G -- "$programs/asleep" idle
kill -9 "$(agents_of "$programs/asleep idle")"
wait_until 10 is_in_state "$pid" alive || fail "killed in its sleep: '$(state_of "$pid")'"
end
