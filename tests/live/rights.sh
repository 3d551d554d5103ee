#!/bin/bash
# SPDX-License-Identifier: MIT
# Programs that give up their rights stay on the machine; who has none gets one clear line.
. "$(dirname "$0")/lib.sh" || exit 1

[ "$(id -u)" -eq 0 ] || skip "needs root, to give up its rights"
build_for_others

run --nodes 3x64M -- "$programs/rights"
[ "$(grep -c moved "$work/out")" -eq 3 ] || fail "$(cat "$work/out")"
run --nodes 3x64M -- "${as_nobody[@]}" sh -c 'grep -q pageferry-preload /proc/self/maps'

# Without any way to a userfaultfd: 125, and what to do about it.
if [ "$(cat /proc/sys/vm/unprivileged_userfaultfd)" = 0 ] &&
	! "${as_nobody[@]}" test -r /dev/userfaultfd; then
	"${as_nobody[@]}" "$ferry" run --nodes 2x64M -- true >"$work/out" 2>"$work/err"
	status=$?
	[ "$status" -eq 125 ] || fail "no right to a userfaultfd: status $status, not 125"
	[ "$(wc -l <"$work/err")" -eq 1 ] || fail "not one line: $(cat "$work/err")"
fi
