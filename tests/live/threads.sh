#!/bin/bash
# SPDX-License-Identifier: MIT
# Threads start and end in masses while every page of the program moves: no join hangs.
. "$(dirname "$0")/lib.sh" || exit 1

# Pages come and go with the threads: it takes its time until each has moved twice.
start --nodes 2x256M -- "$programs/threads" $((slow > 1 ? 40 : 8))
wait_ready
start_ferry 0 1
finish
stop_ferry
grep threads "$work/out"
moved=$(awk '$1 == "moved" { n += $2 } END { print n + 0 }' "$work/out")
outside=$(json 'sum(find("moved_pages"))' <"$work/moves")
resident=$(json 'max(find("asked_pages"), default=0)' <"$work/moves")
echo "moved $moved from inside, $outside from outside, $resident resident"
[ $((moved + outside)) -ge $((2 * resident)) ] ||
	[ $((moved + outside)) -ge $((100000 / fewer)) ] ||
	fail "too few pages moved"
