#!/bin/bash
# SPDX-License-Identifier: MIT
# Physical frame numbers: a moved page has another frame, nodes share none, the index is right.
. "$(dirname "$0")/lib.sh" || exit 1

[ "$(id -u)" -eq 0 ] || skip "needs root: /proc/PID/pagemap shows frame numbers to root only"
run --nodes 3x128M -- "$programs/frames"
grep rounds "$work/out"
assert_own_moves 100000 100
