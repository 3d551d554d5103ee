#!/bin/bash
# SPDX-License-Identifier: MIT
# An agent is killed while a window on a read-only mapping may be open: the mapping stays read-only.
. "$(dirname "$0")/lib.sh" || exit 1

rounds=${FERRY_SOAK:+60}
for round in $(seq "${rounds:-$((slow > 1 ? 2 : 6))}"); do
	start --nodes 3x64M -- "$programs/windows"
	wait_ready
	wait_for_agent
	sleep "0.$((RANDOM % 2))$((RANDOM % 10))"
	kill -KILL "$agent"
	sleep "0.$((RANDOM % 5))"
	touch "$work/stop"
	finish
done
