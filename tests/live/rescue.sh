#!/bin/bash
# SPDX-License-Identifier: MIT
# An agent is killed in the middle of moves, again and again: its program loses nothing.
. "$(dirname "$0")/lib.sh" || exit 1

# An agent of the image before the last exec may be leaving still.
agent_of() {
	"$ferry" ps --json | json "(lambda agents: agents[0] if len(agents) == 1 else None)(
		[process['agent_pid'] for machine in documents[0]['machines']
		for process in machine['processes'] if process['pid'] == $pid])"
}
has_one_agent() {
	agent=$(agent_of) && [ "$agent" -gt 0 ]
}
is_gone() {
	! kill -0 "$1" 2>/dev/null || has_become_zombie "$1"
}

rounds=${FERRY_SOAK:+60}
for round in $(seq "${rounds:-5}"); do
	start --nodes 3x256M -- "$programs/pingpong" outside 6144
	wait_ready
	wait_until 20 has_one_agent || fail "no agent"
	mover_what=(--range "$(cat "$work/ready")")
	start_ferry 0 1 2
	moves_begin() { [ -s "$work/moves" ] || [ -s "$work/mover.bad" ]; }
	wait_until 20 moves_begin || fail "the moves do not begin"
	# Some instant of some move.
	sleep "0.$((RANDOM % 5))$((RANDOM % 10))"
	kill -KILL "$agent"
	wait_until 20 is_gone "$agent" || fail "the agent does not end"
	touch "$work/mover.stop"
	wait "$mover_pid" 2>/dev/null
	mover_pid=
	# It runs on, and checks every word of its memory at the end.
	touch "$work/stop"
	finish
	grep 'brought home' "$work/err" || fail "the keeper said nothing: $(cat "$work/err")"
done
