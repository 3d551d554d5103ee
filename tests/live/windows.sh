#!/bin/bash
# SPDX-License-Identifier: MIT
# An agent is killed while a window on a read-only mapping may be open: the mapping stays read-only.
. "$(dirname "$0")/lib.sh" || exit 1

agent_of() {
	"$ferry" ps --json | json "(lambda agents: agents[0] if len(agents) == 1 else None)(
		[process['agent_pid'] for machine in documents[0]['machines']
		for process in machine['processes'] if process['pid'] == $pid])"
}
has_agent() {
	agent=$(agent_of) && [ "$agent" -gt 0 ]
}

rounds=${FERRY_SOAK:+60}
for round in $(seq "${rounds:-6}"); do
	start --nodes 3x64M -- "$programs/windows"
	wait_ready
	wait_until 20 has_agent || fail "no agent"
	sleep "0.$((RANDOM % 2))$((RANDOM % 10))"
	kill -KILL "$agent"
	sleep "0.$((RANDOM % 5))"
	touch "$work/stop"
	finish
done
