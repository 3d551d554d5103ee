#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 900
# guest: it starts one
# Random calls by the contract of Linux inside a machine, and the same ones with the kernel's own
# call on real nodes: what they answer is the same. 3,000 calls; in a soak 100,000.
. "$(dirname "$0")/lib.sh" || exit 1

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
echo "seed $seed and on; < is the kernel, > the machine"
in_guest $((90 + 25 * runs)) --kernel 6.12 --cpus 2 --memory 512M,256M -- \
	bash -c "$(cat "$work/both")" bash "$programs/random_calls" "$ferry" "$seed" "$runs"
cat "$work/guest"
[ "$(grep -c '^seed' "$work/guest")" -eq "$runs" ] || fail "not all runs were made"
