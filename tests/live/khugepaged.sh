#!/bin/bash
# SPDX-License-Identifier: MIT
# The host's own movers at managed pages: collapse, merging, cold, page-out; 4 KiB and 2 MiB frames.
. "$(dirname "$0")/lib.sh" || exit 1

# Where we may, the host merges pages for the time of this test.
ksm=/sys/kernel/mm/ksm/run
former=$(cat "$ksm" 2>/dev/null)
if [ "$former" = 0 ] && echo 1 2>/dev/null >"$ksm"; then
	trap 'echo 0 >"$ksm"; cleanup' EXIT
	echo "merging is on"
fi
for thp in never always; do
	run --nodes 2x128M --thp "$thp" -- "$programs/races" kernel 3
	grep collapse "$work/err"
	assert_own_moves 1000 0
done
