#!/bin/bash
# SPDX-License-Identifier: MIT
# MADV_PAGEOUT, MADV_COLD and the host's compaction while pages move: none is lost or forgotten.
# As root, where the host allows it, with a swap file for the time being.
. "$(dirname "$0")/lib.sh" || exit 1

swap_off() {
	local status=$?
	swapoff "$work/swap" 2>/dev/null
	return "$status"
}

FERRY_TEST_MANAGED=0 timeout $((60 * slow)) "$programs/reclaim" >"$work/bare" 2>&1 ||
	fail "bare: $(tail -n 3 "$work/bare")"
if [ "$(id -u)" -eq 0 ] && dd if=/dev/zero of="$work/swap" bs=1M count=32 status=none &&
	chmod 600 "$work/swap" && mkswap -q "$work/swap" && trap 'swap_off; cleanup' EXIT &&
	swapon "$work/swap"; then
	echo "with swap"
fi 2>/dev/null
start --nodes 3x128M -- "$programs/reclaim"
wait_ready
while ! has_ended; do
	echo 1 >/proc/sys/vm/compact_memory
	sleep 0.1
done 2>/dev/null
finish
grep -v '^moved\|^asked' "$work/out"
assert_own_moves 1000 30
