#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 600
# guest: it starts one
# Other kernels and real nodes, in short. Pages leave by eviction on Debian 12's own kernel 6.1.
. "$(dirname "$0")/lib.sh" || exit 1

size=(--cpus 1 --memory '512M,256M,256M')
export FERRY_TEST_SECONDS=1 FERRY_TEST_MOVES=32000 FERRY_SLOW=8 FERRY_TEST_EVICTS=1
# What this host's kernel and CPU may not have, the guest's have: soft-dirty bits, protection keys.
cat >"$work/more" <<'END'
for program in 'facilities soft-dirty' 'protections key'; do
	FERRY_TEST_MANAGED=0 $1/$program || exit 1
	FERRY_TEST_MANAGED=1 $2 run --nodes 3x64M -- $1/$program || exit 1
done
END
check_more() {
	[ "$(grep -c '^soft dirty: 0 called clean, 0 missed, 300 right$' "$work/guest")" -eq 2 ] ||
		fail "soft-dirty bits: $(cat "$work/guest")"
	[ "$(grep -c '^key [1-9]' "$work/guest")" -eq 2 ] || fail "no keys: $(cat "$work/guest")"
}
in_guest 250 --kernel 6.1 "${size[@]}" -- \
	sh -c '"$2" run --nodes 3x64M -- "$1/pingpong" 512 && eval "$3"' sh "$programs" "$ferry" \
	"$(cat "$work/more")"
check_more
moved=$(awk '$1 == "moved" && !n { n = $2 } END { print n + 0 }' "$work/guest")
[ "$moved" -ge 1000 ] || fail "kernel 6.1 moved $moved pages: $(cat "$work/guest")"

# Frames of bound arenas on 6.12: the kernel finds each page where the machine has it.
unset FERRY_TEST_EVICTS
in_guest 250 --kernel 6.12 "${size[@]}" -- \
	sh -c '"$2" run --node ram@0:64M --node ram@1:64M -- "$1/real_nodes" && eval "$3"' sh \
	"$programs" "$ferry" "$(cat "$work/more")"
check_more
moved=$(awk '$1 == "moved" && !n { n = $2 } END { print n + 0 }' "$work/guest")
[ "$moved" -ge 1000 ] || fail "kernel 6.12 moved $moved pages: $(cat "$work/guest")"
