#!/bin/bash
# SPDX-License-Identifier: MIT
# Huge pages wherever they fit: whole moves, splits by whatever touches a part, parts that stay.
. "$(dirname "$0")/lib.sh" || exit 1

export FERRY_TEST_SECONDS=4 FERRY_TEST_MOVES=60000
run --nodes 3x256M --thp always -- "$programs/partial"
run --nodes 3x256M --thp always -- "$programs/pingpong" 16384
assert_own_moves 50000 99
run --nodes 3x256M --thp always -- "$programs/fuzz"
assert_own_moves 20000 0
run --nodes 3x256M --thp always -- "$programs/fork"
assert_own_moves 10000 0
