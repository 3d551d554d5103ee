#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# The rows of the contract, one by one, by both contracts inside a machine.
. "$(dirname "$0")/lib.sh" || exit 1

machine=(--node ram:64M --node ram:64M --node ram:2M --node ram:0 --node ram:64M --node ram:64M)
rows() {
	run "${machine[@]}" --mems 0-4 "$@" -- sh -c '"$1" node offline 4 && exec "$2" machine' sh \
		"$ferry" "$programs/contract"
	cat "$work/out"
}
rows
export FERRY_TEST_EVICTS=1
rows --copy-path=both
