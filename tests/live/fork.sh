#!/bin/bash
# SPDX-License-Identifier: MIT
# Children of every kind see their parent's memory of the instant, while its pages move.
. "$(dirname "$0")/lib.sh" || exit 1

start --nodes 3x256M -- "$programs/fork"
wait_ready
start_ferry 0 1 2
finish
stop_ferry
grep children "$work/err"
moved=$(awk '$1 == "moved" { n += $2 } END { print n + 0 }' "$work/out")
outside=$(json 'sum(find("moved_pages"))' <"$work/moves")
echo "moved $moved from inside, $outside from outside"
# Two areas of 4096 pages: every resident page at least twice is the lesser demand.
[ $((moved + outside)) -ge $((20000 / fewer)) ] ||
	fail "only $moved and $outside pages moved"
