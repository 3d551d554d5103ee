#!/bin/bash
# SPDX-License-Identifier: MIT
# The contract of move_pages() row by row, through every door.
. "$(dirname "$0")/lib.sh" || exit 1

run --node ram:256M --node ram:256M --node ram:2M --node ram:0 -- "$programs/statuses"
cat "$work/err"

if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	build_for_others
	run --node ram:256M --node ram:256M --node ram:2M --node ram:0 -- \
		"${as_nobody[@]}" "$programs/statuses"
	grep -c ok "$work/err" | grep -qx 4 || fail "$(cat "$work/err")"
fi
