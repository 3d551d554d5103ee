#!/bin/bash
# SPDX-License-Identifier: MIT
# guest: its programs are not taken along
# node with a JSON job in two threads, ferried all the time: the same digests as bare.
. "$(dirname "$0")/lib.sh" || exit 1

command -v node >/dev/null || skip "node is not installed"
rounds=${FERRY_SOAK:+200}
command=(node "$live/node_json.js" "${rounds:-2}" 15000)
"${command[@]}" >"$work/bare" || fail "node bare"
ferry_node() {
	start --nodes 2x1G -- "${command[@]}"
	start_ferry 0 1
	finish
	stop_ferry
	cmp "$work/bare" "$work/out" || fail "the result differs"
}
until_moved ferry_node
