#!/bin/bash
# SPDX-License-Identifier: MIT
# An agent is killed in the middle of moves, again and again: its program loses nothing.
. "$(dirname "$0")/lib.sh" || exit 1

rounds=${FERRY_SOAK:+60}
for round in $(seq "${rounds:-$((slow > 1 ? 2 : 5))}"); do
	start --nodes 3x256M -- "$programs/pingpong" outside 6144
	wait_ready
	wait_for_agent
	mover_what=(--range "$(cat "$work/ready")")
	start_ferry 0 1 2
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
