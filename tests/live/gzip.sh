#!/bin/bash
# SPDX-License-Identifier: MIT
# gzip, ferried all the time: the same bytes as bare, there and back.
. "$(dirname "$0")/lib.sh" || exit 1

lines=${FERRY_SOAK:+20000000}
lines=${lines:-$((6000000 / (slow + 3)))} # it has to last until the ferry has begun
seq "$lines" | awk 'BEGIN { srand(3) } { print $1, rand() }' >"$work/in"
gzip -n -6 <"$work/in" >"$work/bare.gz"
start --nodes 2x256M -- sh -c 'gzip -n -6 <"$0/in" >"$0/inside.gz"; exit $?' "$work"
# gzip is the child of that sh.
gzip_is_there() {
	local child
	for child in $(cat "/proc/$pid/task/$pid/children"); do
		if [ "$(cat "/proc/$child/comm")" = gzip ] && is_managed "$child"; then
			shell_of_gzip=$pid
			pid=$child
			return 0
		fi
	done
	return 1
}
wait_until 20 gzip_is_there || fail "gzip was not seen"
start_ferry 0 1
finish
stop_ferry
cmp "$work/bare.gz" "$work/inside.gz" || fail "the output differs"
assert_moved
run --nodes 2x256M -- sh -c 'gzip -d <"$0/inside.gz" >"$0/out.txt"' "$work"
cmp "$work/in" "$work/out.txt" || fail "not what went in"
