#!/bin/bash
# SPDX-License-Identifier: MIT
# Two callers move overlapping ranges to opposite nodes at once: every status is where the page is.
. "$(dirname "$0")/lib.sh" || exit 1

run --nodes 2x128M -- "$programs/races" opposite
grep rounds "$work/err"
assert_own_moves 2000 100
