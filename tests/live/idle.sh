#!/bin/bash
# SPDX-License-Identifier: MIT
# An idle program costs nothing: once all is settled, its agent does not wake up.
. "$(dirname "$0")/lib.sh" || exit 1

start --nodes 2x256M -- bash -c 'x=$(head -c 20000000 /dev/zero | tr "\0" x); exec sleep 1000'
switches() {
	awk '/ctxt_switches/ { n += $2 } END { print n + 0 }' "/proc/$agent"/task/*/status
}
is_sleep() {
	[ "$(cat "/proc/$pid/comm")" = sleep ] && is_managed "$pid"
}
wait_until 20 is_sleep || fail "no sleep"
wait_for_agent
# Five seconds without a single switch, within half a minute.
settled() {
	before=$(switches)
	sleep 5
	after=$(switches)
	[ "$before" = "$after" ]
}
wait_until 30 settled || fail "the agent woke up: $before switches, then $after"
# And it does its work still.
"$ferry" move "$pid" --all --to 1 >"$work/move" || [ $? -eq 1 ] || fail "$(cat "$work/move")"
"$ferry" check "$pid" || fail "check"
kill -TERM "$pid"
finish 143
