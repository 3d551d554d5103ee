#!/bin/bash
# SPDX-License-Identifier: MIT
# An agent is never more than its program: it follows when the program becomes somebody else.
. "$(dirname "$0")/lib.sh" || exit 1

[ "$(id -u)" -eq 0 ] || skip "only root can become somebody else"
build_for_others

# Moves from outside make threads in the agent just while it changes.
start --nodes 3x256M -- "$programs/identity"
wait_ready
start_ferry 0 1 2
finish
stop_ferry
# Pages are shared with children much of the time and do not move then: no percentage.
assert_own_moves 6000 0
