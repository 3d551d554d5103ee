#!/bin/bash
# SPDX-License-Identifier: MIT
# ^Z, bg, fg and ^C on a terminal; and a control group frozen with program and agent in it.
. "$(dirname "$0")/lib.sh" || exit 1

timeout $((120 * slow)) python3 "$live/jobs.py" "$ferry" || fail "job control"
assert_nothing_left

# A freezer of our own, of whichever version the machine has.
group=
freeze() { :; }
for root in /sys/fs/cgroup /sys/fs/cgroup/unified; do
	if [ -e "$root/cgroup.controllers" ] && mkdir "$root/ferry-test-$$" 2>/dev/null; then
		group=$root/ferry-test-$$
		freeze() { echo "$1" >"$group/cgroup.freeze"; }
		frozen() { grep -q "frozen $1" "$group/cgroup.events"; }
		break
	fi
done
if [ -z "$group" ] && mkdir "/sys/fs/cgroup/freezer/ferry-test-$$" 2>/dev/null; then
	group=/sys/fs/cgroup/freezer/ferry-test-$$
	freeze() {
		if [ "$1" = 1 ]; then echo FROZEN; else echo THAWED; fi >"$group/freezer.state"
	}
	frozen() {
		grep -q "$([ "$1" = 1 ] && echo FROZEN || echo THAWED)" "$group/freezer.state"
	}
fi
if [ -z "$group" ]; then
	echo "no freezer can be made here: not tried"
	exit 0
fi
start --nodes 3x256M -- "$programs/pingpong" outside 2048
wait_ready
wait_for_agent
echo "$pid" >"$group/cgroup.procs" && echo "$agent" >"$group/cgroup.procs" ||
	fail "cannot enter the group"
start_ferry 0 1 2
for _ in 1 2 3; do
	freeze 1
	wait_until 10 frozen 1 || { freeze 0; fail "does not freeze"; }
	"$ferry" maps "$pid" >/dev/null || { freeze 0; fail "a frozen process cannot be queried"; }
	freeze 0
	wait_until 10 frozen 0 || fail "does not thaw"
done
stop_ferry
"$ferry" check "$pid" || fail "check"
touch "$work/stop"
finish
wait_until 10 rmdir "$group"
