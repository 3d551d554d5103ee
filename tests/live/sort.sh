#!/bin/bash
# SPDX-License-Identifier: MIT
# sort, with threads, ferried all the time: the same output as bare.
. "$(dirname "$0")/lib.sh" || exit 1

lines=${FERRY_SOAK:+12000000}
lines=${lines:-$((60000000 / (slow + 14)))} # it has to last until the ferry has begun
seq "$lines" | awk 'BEGIN { srand(7) } { printf "%012d %d\n", rand() * 1e12, $1 }' \
	>"$work/in"
LC_ALL=C sort --parallel=2 -S 60% -o "$work/bare" "$work/in"
ferry_sort() {
	rm -f "$work/inside"
	start --nodes 2x2G -- env LC_ALL=C sort --parallel=2 -S 1G -o "$work/inside" "$work/in"
	start_ferry 0 1
	finish
	stop_ferry
	cmp "$work/bare" "$work/inside" || fail "the output differs"
}
until_moved ferry_sort
