#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 600
# guest: it starts one
# Other kernels and real nodes, in short. Pages leave by eviction on Debian 12's own kernel 6.1.
. "$(dirname "$0")/lib.sh" || exit 1

# in_guest KERNEL COMMAND: its output is in $work/guest.
in_guest() {
	local kernel=$1 status
	shift
	timeout -k 5 300 "$FERRY_SOURCE/tools/guest" --kernel "$kernel" --cpus 1 \
		--memory 512M,256M,256M --build "$build" --timeout 250 -- "$@" >"$work/guest" 2>&1
	status=$?
	[ "$status" -eq 0 ] || fail "kernel $kernel, $*: status $status: $(tail -n 5 "$work/guest")"
}

unset FERRY_TEST_READY FERRY_TEST_STOP # of here, not of there
export FERRY_TEST_SECONDS=1 FERRY_TEST_MOVES=32000 FERRY_SLOW=8 FERRY_TEST_EVICTS=1
in_guest 6.1 "$ferry" run --nodes 3x64M -- "$programs/pingpong" 512
moved=$(awk '$1 == "moved" { n = $2 } END { print n + 0 }' "$work/guest")
[ "$moved" -ge 1000 ] || fail "kernel 6.1 moved $moved pages: $(cat "$work/guest")"

# Frames of bound arenas on 6.12: the kernel finds each page where the machine has it.
unset FERRY_TEST_EVICTS
in_guest 6.12 "$ferry" run --node ram@0:64M --node ram@1:64M -- "$programs/real_nodes"
moved=$(awk '$1 == "moved" { n = $2 } END { print n + 0 }' "$work/guest")
[ "$moved" -ge 1000 ] || fail "kernel 6.12 moved $moved pages: $(cat "$work/guest")"
