#!/bin/bash
# SPDX-License-Identifier: MIT
# The contract of move_pages() row by row, through every door.
. "$(dirname "$0")/lib.sh" || exit 1

run --node ram:256M --node ram:256M --node ram:2M --node ram:0 -- "$programs/statuses"
cat "$work/err"
