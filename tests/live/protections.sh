#!/bin/bash
# SPDX-License-Identifier: MIT
# Pages of read-only, executable and inaccessible mappings move, and nobody can tell but by pagemap.
. "$(dirname "$0")/lib.sh" || exit 1

[ -z "${FERRY_TEST_EVICTS:-}" ] || skip "pages that may not be written to are not evicted"
FERRY_TEST_MANAGED=0 timeout $((60 * slow)) "$programs/protections" >"$work/bare" 2>&1 ||
	fail "bare: $(tail -n 3 "$work/bare")"
run --nodes 3x128M -- "$programs/protections"
[ "$(grep VmLck "$work/out" | uniq -c | tr -s ' \t' ' ')" = " 2 VmLck: 2048 kB" ] ||
	fail "locked: $(grep VmLck "$work/out")"
grep -v '^moved\|^asked' "$work/out"
assert_own_moves 1000 50
