#!/bin/bash
# SPDX-License-Identifier: MIT
# Who keeps plain references to pages - a pipe, a socket - sees what was there, wherever they moved.
. "$(dirname "$0")/lib.sh" || exit 1

run --nodes 2x256M -- "$programs/taint"
run --nodes 2x256M -- "$programs/taint" raw
run --nodes 2x256M -- "$programs/taint" left

# tainted WANTED ARGUMENT...: does the agent say that frames may not be used again?
tainted() {
	local wanted=$1 found
	shift
	start --nodes 2x64M -- "$programs/taint" "$@"
	wait_ready
	found=$("$ferry" dump "$(cat "$work/ready")" | sed -n 's/.* tainted=\([0-9]*\).*/\1/p')
	[ "$found" = "$wanted" ] || fail "$*: tainted is $found, not $wanted"
	touch "$work/stop"
	finish
}
tainted 0 off
tainted 1 on
tainted 1 raw-on
tainted 1 fork
tainted 0 plain
for call in send sendto sendmsg sendmmsg raw-sendto raw-sendmsg raw-sendmmsg; do
	tainted 1 "$call"
done
