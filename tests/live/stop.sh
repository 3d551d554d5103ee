#!/bin/bash
# SPDX-License-Identifier: MIT
# A stopped program can be asked about and moved: all of the work is done by its agent.
. "$(dirname "$0")/lib.sh" || exit 1

pages_on() {
	"$ferry" stat "$pid" --json >/dev/null || fail "stat of a stopped program"
	"$ferry" maps "$pid" --json >/dev/null || fail "maps of a stopped program"
}
is_stopped() {
	grep -q '^State:.*T' "/proc/$pid/status"
}

start --nodes 3x256M -- "$programs/pingpong" outside 8192
wait_ready
for node in 1 2 0; do
	kill -STOP "$pid"
	wait_until 10 is_stopped || fail "the program does not stop"
	pages_on
	"$ferry" move "$pid" --range "$(cat "$work/ready")" --to "$node" --json >"$work/move"
	status=$?
	is_stopped || fail "the program ran on"
	[ "$status" -eq 0 ] || fail "move ended with $status: $(cat "$work/move")"
	json 'sum(find("moved_pages")) + sum(find("there")) >= 8192' <"$work/move" ||
		fail "$(cat "$work/move")"
	kill -CONT "$pid"
done
"$ferry" check "$pid" || fail "check"
touch "$work/stop"
finish
