#!/bin/bash
# SPDX-License-Identifier: MIT
# Shared memory on nodes: memfd, POSIX, System V, anonymous; what stays of it, and what it costs.
. "$(dirname "$0")/lib.sh" || exit 1

[ "$(id -u)" -eq 0 ] || skip "MOVE_ALL needs CAP_SYS_NICE"
[ "$(nproc)" -ge 2 ] || skip "needs two CPUs"
run --node ram:256M,cpus=0 --node ram:256M,cpus=1 --node ram:256M -- "$programs/objects"
grep -qx ok "$work/err" || fail "$(cat "$work/err")"

# An agent that is killed: the keeper knows the object still, and the next agent finds it.
command -v python3 >/dev/null || skip "python3 is not installed"
start --nodes 3x64M -- python3 "$live/python_object.py" "$work/stop"
shared_on() {
	"$ferry" maps "$pid" --json | json "sum(mapping['pages'][$1]
		for mapping in documents[0]['mappings'] if mapping['name'].startswith('/dev/zero'))"
}
all_on_2() {
	[ "$(shared_on 2)" = 2048 ]
}
wait_until 20 grep -qx ready "$work/out" || fail "python does not begin"
"$ferry" move "$pid" --all --to 2 >"$work/move" || [ $? -eq 1 ] || fail "$(cat "$work/move")"
all_on_2 || fail "$(shared_on 2) pages of the object are on node 2"
wait_for_agent
kill -KILL "$agent"
wait_until 20 all_on_2 || fail "after a kill $(shared_on 2) pages of the object are on node 2"
"$ferry" move "$pid" --all --to 0 >"$work/move" || [ $? -eq 1 ] || fail "$(cat "$work/move")"
[ "$(shared_on 0)" = 2048 ] || fail "$(shared_on 0) pages of the object are on node 0"
# 64 GiB of addresses each, which a core file must not hold.
for name in books labels; do
	sed -n "/memfd:pageferry-$name/,/^VmFlags/p" "/proc/$pid/smaps" |
		grep -q '^VmFlags:.* dd' ||
		fail "the $name would be in a core file"
done
touch "$work/stop"
finish
grep -qx fine "$work/out" || fail "the object is damaged"
