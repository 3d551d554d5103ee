#!/bin/bash
# SPDX-License-Identifier: MIT
# The kernel reads and writes moving pages for the program, while signals rain.
. "$(dirname "$0")/lib.sh" || exit 1

start --nodes 3x256M -- "$programs/syscalls"
wait_ready
start_ferry 0 1 2
finish
stop_ferry
grep -E 'blocks|signals' "$work/err"
# Two areas of 1,024 pages, each page twice.
assert_own_moves 4096 0
