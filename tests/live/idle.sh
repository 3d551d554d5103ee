#!/bin/bash
# SPDX-License-Identifier: MIT
# An idle program costs nothing: once all is settled, neither its agent nor the keeper wakes up.
. "$(dirname "$0")/lib.sh" || exit 1

# Nobody else asks this machine anything.
export XDG_RUNTIME_DIR=$work
chmod 700 "$work"

start --nodes 2x256M -- bash -c 'x=$(head -c 20000000 /dev/zero | tr "\0" x); exec sleep 1000'
switches() {
	local pid
	for pid in "$@"; do
		awk '/ctxt_switches/ { n += $2 } END { print n + 0 }' "/proc/$pid"/task/*/status
	done
}
is_sleep() {
	[ "$(cat "/proc/$pid/comm")" = sleep ] && is_managed "$pid"
}
wait_until 20 is_sleep || fail "no sleep"
read -r agent keeper < <("$ferry" ps --json | json "next((str(process['agent_pid']) + ' ' +
	str(machine['keeper_pid']) for machine in documents[0]['machines']
	for process in machine['processes'] if process['pid'] == $pid))")
# Five seconds without a single switch, within half a minute.
settled() {
	before=$(switches "$agent" "$keeper")
	sleep 5
	after=$(switches "$agent" "$keeper")
	[ "$before" = "$after" ]
}
wait_until 30 settled || fail "agent and keeper woke up: $before, then $after"
# And it does its work still.
"$ferry" move "$pid" --all --to 1 >"$work/move" || [ $? -eq 1 ] || fail "$(cat "$work/move")"
"$ferry" check "$pid" || fail "check"
kill -TERM "$pid"
finish 143
