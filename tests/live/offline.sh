#!/bin/bash
# SPDX-License-Identifier: MIT
# Nodes go offline and come back: what refuses, what is kept off them, and movers meanwhile.
. "$(dirname "$0")/lib.sh" || exit 1

# node STATUS ARGUMENTS...: that status of `pageferry node` on the program's machine.
node() {
	local want=$1 got
	shift
	"$ferry" node "$@" --machine "$machine" >"$work/stdout" 2>"$work/stderr" </dev/null
	got=$?
	[ "$got" -eq "$want" ] || fail "node $*: status $got, not $want: $(cat "$work/stderr")"
	[ "$want" -eq 0 ] || [ "$(wc -l <"$work/stderr")" -eq 1 ] || fail "node $*: not one line"
}

# said TEXT: the last refusal names the reason.
said() {
	grep -q "$1" "$work/stderr" || fail "not '$1': $(cat "$work/stderr")"
}

find_machine() {
	machine=$("$ferry" ps --json | json "[
		machine['name'] for machine in documents[0]['machines']
		for process in machine['processes'] if process['pid'] == $pid][0]")
}

# on NODE COLUMN: what stat says of the program there.
on() {
	"$ferry" stat "$pid" --json | json "documents[0]['nodes'][$1]['$2']"
}

# expect_on NODE COLUMN VALUE
expect_on() {
	local got
	got=$(on "$1" "$2")
	[ "$got" = "$3" ] || fail "node $1: $2 is $got, not $3"
}

start --node ram:64M --node ram:64M --node ram:64M --node ram:0 --policy bind:0 -- \
	"$programs/pingpong" outside 4096
wait_ready
range=$(cat "$work/ready")
find_machine

for wrong in '' 'offline' 'offline x' 'offline -1' 'sideways 1' 'offline 1 2'; do
	# shellcheck disable=SC2086
	node 2 $wrong
done
node 3 offline 4
node 3 offline 3
node 3 online 3
"$ferry" node offline 1 --machine 1 >/dev/null 2>&1
[ $? -eq 3 ] || fail "a machine that is not there"

# Pages hold a node; leases and old frames do not.
"$ferry" move "$pid" --range "$range" --to 1 >/dev/null || fail "move to 1"
node 1 offline 1
said "4096 pages of process $pid"
expect_on 1 state online
"$ferry" move "$pid" --range "$range" --to 0 >/dev/null || fail "move to 0"
node 0 offline 1
grep -q 'node 1 is offline' "$work/stdout" || fail "$(cat "$work/stdout")"
expect_on 1 state offline
expect_on 1 leased_bytes 0
node 0 offline 1

# Nothing gets there.
"$ferry" move "$pid" --range "$range" --to 1 >/dev/null 2>"$work/stderr"
[ $? -eq 3 ] || fail "move to a node that is offline"
said "node 1 is offline"
node 0 offline 2
node 1 offline 0
said "no other node"
"$ferry" node online 1 --machine "$machine" --json >"$work/stdout" || fail "node --json"
json 'find("state") == ["online"]' <"$work/stdout" >/dev/null || fail "$(cat "$work/stdout")"
expect_on 1 state online
node 1 offline 0
said "pages of process $pid"
"$ferry" mems "$pid" 0 || fail "mems"
node 1 offline 0
said "process $pid may use no other node"
"$ferry" mems "$pid" 0-2 || fail "mems"
"$ferry" move "$pid" --range "$range" --to 1 >/dev/null || fail "move to 1, online again"

# Movers to and fro while it goes and comes: each call is refused or done, and the books balance.
mover_what=(--range "$range")
rounds() {
	local status done=0 refused=0
	for _ in $(seq 15); do
		"$ferry" node offline 1 --machine "$machine" >/dev/null 2>&1
		status=$?
		if [ "$status" -eq 0 ]; then
			done=$((done + 1))
		elif [ "$status" -eq 1 ]; then
			refused=$((refused + 1))
		else
			fail "node offline: status $status"
		fi
		"$ferry" node online 1 --machine "$machine" >/dev/null || fail "node online"
	done
	echo "$done times offline, $refused times refused"
}
move_on() {
	local status
	while [ ! -e "$work/mover.stop" ]; do
		for target in 1 0; do
			"$ferry" move "$pid" --range "$range" --to "$target" \
				>/dev/null 2>"$work/move.err"
			status=$?
			# All, some (it went offline in between), or none.
			case $status in
			0 | 1 | 3) ;;
			*) echo "status $status: $(cat "$work/move.err")" >>"$work/mover.bad" ;;
			esac
		done
	done
}
move_on &
mover_pid=$!
rounds
touch "$work/mover.stop"
wait "$mover_pid"
mover_pid=
[ ! -s "$work/mover.bad" ] || fail "$(cat "$work/mover.bad")"
"$ferry" check "$pid" --host >/dev/null || fail "the books do not balance"
touch "$work/stop"
finish

# New pages keep off a node that is offline, whatever the policy says, and find it once it is back.
start --node ram:64M --node ram:64M --node ram:64M --mems 0-1 --policy interleave -- bash -c '
	grow() {
		while [ ! -e "$1" ]; do sleep 0.05; done
		x="$x$(printf "%*s" 4000000 "")"
		echo "grown" >"$1.done"
	}
	echo ready >"$FERRY_TEST_READY"
	grow "$0/first"
	grow "$0/second"
	while [ ! -e "$FERRY_TEST_STOP" ]; do sleep 0.05; done' "$work"
wait_ready
find_machine
node 0 offline 2
"$ferry" mems "$pid" 0-2 || fail "mems"
expect_on 2 mapped_pages 0
touch "$work/first"
wait_until 30 test -e "$work/first.done" || fail "it does not grow"
expect_on 2 mapped_pages 0
node 0 online 2
touch "$work/second"
wait_until 30 test -e "$work/second.done" || fail "it does not grow"
[ "$(on 2 mapped_pages)" -gt 0 ] || fail "no page on a node that is back"
touch "$work/stop"
finish
