#!/bin/bash
# SPDX-License-Identifier: MIT
# guest: its programs are not taken along
# A Go program that loads libc (fzf) and maps its memory by system calls of its own, ferried all the
# time: the same lines as bare.
. "$(dirname "$0")/lib.sh" || exit 1

command -v fzf >/dev/null || skip "fzf is not installed"
lines=${FERRY_SOAK:+4000000}
seq "${lines:-400000}" | awk '{ print $1 * 7919 % 1000003, $1 }' >"$work/in"
command=(fzf --filter '12 !9')
"${command[@]}" <"$work/in" >"$work/bare" || fail "fzf bare"
job() {
	start --nodes 2x1G -- sh -c 'in=$1; shift; exec "$@" <"$in"' sh "$work/in" "${command[@]}"
	start_ferry 0 1
	finish
	stop_ferry
	cmp "$work/bare" "$work/out" || fail "the output differs"
}
until_moved job
