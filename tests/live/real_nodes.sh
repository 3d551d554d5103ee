#!/bin/bash
# SPDX-License-Identifier: MIT
# Nodes that stand for memory nodes of the host: the kernel finds each page where the machine has
# it.
. "$(dirname "$0")/lib.sh" || exit 1

sys=/sys/devices/system/node
nodes=$(cat $sys/has_memory 2>/dev/null || echo 0)
if [ "${nodes#*[,-]}" = "$nodes" ]; then # one node
	run --node ram@0:64M --node ram@0:64M -- "$programs/real_nodes" one
else
	run --node ram@0:64M --node ram@1:64M -- "$programs/real_nodes"
fi
assert_own_moves 1000 0

# A node that is not there, or has no memory: one line.
"$ferry" run --node ram@0:64M --node ram@1000:64M -- true >"$work/out" 2>"$work/err"
status=$?
[ "$status" -eq 3 ] || fail "ram@1000: status $status, not 3"
[ "$(wc -l <"$work/err")" -eq 1 ] || fail "ram@1000: not one line: $(cat "$work/err")"
grep -q 'no memory node 1000' "$work/err" || fail "ram@1000: $(cat "$work/err")"
