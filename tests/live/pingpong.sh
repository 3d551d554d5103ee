#!/bin/bash
# SPDX-License-Identifier: MIT
# Pages ping-pong between three nodes under writers and readers: nothing lost, nothing torn.
. "$(dirname "$0")/lib.sh" || exit 1

nodes="--nodes 3x256M"
pages=$((16384 / slow))

# Moved by the program itself, 4 KiB pages; then 2 MiB pages, which move whole.
run $nodes -- "$programs/pingpong" "$pages"
assert_own_moves 100000 99
run $nodes -- "$programs/pingpong" huge "$pages"
assert_own_moves 100000 99

# Moved from outside by the command.
start $nodes -- "$programs/pingpong" outside "$pages"
wait_ready
mover_what=(--range "$(cat "$work/ready")")
start_ferry 0 1 2
enough() {
	[ -s "$work/mover.bad" ] ||
		[ "$(json 'sum(find("moved_pages"))' <"$work/moves")" -ge $((100000 / fewer)) ]
}
wait_until 60 enough || fail "the moves take too long"
stop_ferry
touch "$work/stop"
finish
assert_moved
json 'sum(find("failed_pages")) <= 0.01 * sum(find("asked_pages"))' <"$work/moves" >/dev/null ||
	fail "less than 99 % moved: $(tail -n 1 "$work/moves")"
