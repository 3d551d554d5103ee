#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# What programs do with their memory - limits, locks, advice, mincore, pagemap, userfaultfd, stacks,
# thousands of mappings - comes to the same bare and with all pages on the move.
. "$(dirname "$0")/lib.sh" || exit 1

same() {
	diff "$work/bare" "$work/out" >"$work/diff" ||
		fail "not as bare: $(tr '\n' ' ' <"$work/diff")"
}

# Equal pages are merged where that is the kernel's to do, for as long as this runs.
ksm=/sys/kernel/mm/ksm/run
ksm_was=
restore_ksm() {
	local status=$?
	[ -z "$ksm_was" ] || echo "$ksm_was" >"$ksm"
	return "$status"
}
if [ -w "$ksm" ]; then
	trap 'restore_ksm; cleanup' EXIT
	ksm_was=$(cat "$ksm") && echo 1 >"$ksm"
fi

FERRY_TEST_MANAGED=0 timeout $((100 * slow)) "$programs/facilities" >"$work/bare" 2>"$work/err" ||
	fail "bare: $(tail -n 3 "$work/err")"
ferried() {
	start --nodes 3x512M -- "$programs/facilities"
	wait_ready
	start_ferry 0 1 2
	finish
	stop_ferry
	cat "$work/err"
	same
}
tries=8 until_moved ferried
