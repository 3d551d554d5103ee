#!/bin/bash
# SPDX-License-Identifier: MIT
# A thousand threads wait for one page that is always on the move, while signals rain on them.
. "$(dirname "$0")/lib.sh" || exit 1

run --nodes 2x128M -- "$programs/races" storm
grep rounds "$work/err"
assert_own_moves 100 100
