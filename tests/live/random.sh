#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 900
# guest: it starts one
# Random calls by the contract of Linux inside a machine, and the same ones with the kernel's own
# call on real nodes: what they answer is the same. 3,000 calls; in a soak 100,000.
. "$(dirname "$0")/lib.sh" || exit 1

unset FERRY_TEST_READY FERRY_TEST_STOP
seed=${FERRY_TEST_SEED:-$((RANDOM * 32768 + RANDOM))}
runs=3
[ -z "${FERRY_SOAK:-}" ] || runs=100
cat >"$work/both" <<'END'
for ((seed = $3; seed < $3 + $4; seed++)); do
	echo "seed $seed"
	"$1" "$seed" 1000 >/kernel || exit
	FERRY_TEST_MANAGED=1 "$2" run --nodes 2x64M -- "$1" "$seed" 1000 >/machine || exit
	diff /kernel /machine >/diff || { head -n 20 /diff; exit 1; }
done
END
timeout -k 5 $((100 + 25 * runs)) "$FERRY_SOURCE/tools/guest" --kernel 6.12 --cpus 2 \
	--memory 512M,256M --build "$build" --timeout $((90 + 25 * runs)) -- \
	bash -c "$(cat "$work/both")" bash "$programs/random_calls" "$ferry" "$seed" "$runs" \
	>"$work/guest" 2>&1
status=$?
cat "$work/guest"
[ "$status" -eq 0 ] || fail "seed $seed and on: status $status; < is the kernel, > the machine"
[ "$(grep -c '^seed' "$work/guest")" -eq "$runs" ] || fail "not all runs were made"
