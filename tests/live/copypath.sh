#!/bin/bash
# SPDX-License-Identifier: MIT
# The second way in, copying, for hosts and mappings where pages cannot be remapped.
. "$(dirname "$0")/lib.sh" || exit 1

export FERRY_TEST_SECONDS=4 FERRY_TEST_MOVES=30000
run --nodes 3x256M --copy-path -- "$programs/pingpong" 4096
assert_own_moves 20000 99
run --nodes 3x256M --copy-path -- "$programs/fuzz"
assert_own_moves 20000 0
run --nodes 3x256M --copy-path -- "$programs/fork"
assert_own_moves 10000 0
run --node ram:256M --node ram:256M --node ram:2M --node ram:0 --copy-path -- "$programs/statuses"
