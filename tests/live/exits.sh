#!/bin/bash
# SPDX-License-Identifier: MIT
# Statuses pass through, exec chains work, and what ends leaves nothing behind.
. "$(dirname "$0")/lib.sh" || exit 1

# expect STATUS CMD...
expect() {
	local want=$1 got
	shift
	timeout -k 5 $((60 * slow)) "$ferry" run --nodes 2x64M -- "$@" \
		>"$work/out" 2>"$work/err" </dev/null
	got=$?
	[ "$got" -eq "$want" ] || fail "status $got, not $want: $*: $(cat "$work/err")"
}

expect 0 true
expect 1 false
expect 7 sh -c 'exit 7'
expect 255 sh -c 'exit 255'
expect 143 sh -c 'kill -TERM $$'
expect 137 sh -c 'kill -KILL $$'
expect 139 sh -c 'kill -SEGV $$'
expect 134 sh -c 'ulimit -c 0; kill -ABRT $$'
expect 127 "$work/no-such-program"
touch "$work/not-executable"
expect 126 "$work/not-executable"
expect 5 sh -c 'exec sh -c "exec sh -c \"exec sh -c \\\"exit 5\\\"\""'
expect 3 env -i PATH="$PATH" sh -c 'exec env -u LD_PRELOAD sh -c "exit 3"'
assert_nothing_left

# The program's own talk passes through, and nothing is added.
printf 'one\ntwo\n' >"$work/in"
timeout -k 5 $((60 * slow)) "$ferry" run --nodes 2x64M -- sh -c 'cat; echo three >&2' \
	<"$work/in" >"$work/out" 2>"$work/err" || fail "cat"
cmp -s "$work/in" "$work/out" || fail "stdout: $(cat "$work/out")"
[ "$(cat "$work/err")" = three ] || fail "stderr: $(cat "$work/err")"

# A signal to the command reaches the program.
start --nodes 2x64M -- sleep 60
command_pid=$(cat "/proc/$run_pid/task/$run_pid/children" | tr -d ' ')
kill -TERM "$command_pid"
finish 143

# PAGEFERRY_DISABLE=1: bare.
PAGEFERRY_DISABLE=1 "$ferry" run --nodes 2x64M -- sh -c 'grep -c pageferry /proc/self/maps' \
	>"$work/out" 2>"$work/err" </dev/null
[ "$(cat "$work/out")" = 0 ] || fail "not bare: $(cat "$work/out" "$work/err")"

# Many short processes leave no slot and no lease.
mkfifo "$work/go"
start --nodes 2x256M -- bash -c '
	read -r line <"$0/go"
	for i in $(seq "$1"); do /bin/true || exit 1; done
	echo done >"$0/short"
	head -c 80000000 /dev/zero | tail -c 1 >/dev/null
	dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null
	bash -c "x=\$(head -c 30000000 /dev/zero | tr \"\\0\" x); kill -KILL \$\$"
	echo done >"$0/large"
	read -r line <"$0/go"' "$work" $((150 / slow))
used() {
	"$ferry" stat "$pid" --json | json 'sum(find("used_bytes"))'
}
count_processes() {
	"$ferry" ps --json | json "next(len(list(walk(machine, 'agent_pid')))
		for document in documents for machine in document['machines']
		if $pid in walk(machine, 'pid'))"
}
only_bash_is_left() {
	[ "$(count_processes)" -eq 1 ]
}
leases_are_back() {
	[ "$(used)" -le $((before + (24 << 20))) ]
}
before=$(used)
echo go >"$work/go"
wait_until 60 test -s "$work/large" || fail "short processes take more than a minute"
wait_until 10 only_bash_is_left || fail "$(count_processes) processes are left"
wait_until 10 leases_are_back || fail "leases are lost: $(used) bytes in use, before $before"
echo go >"$work/go"
finish
