#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# The memory stressors of stress-ng check what they wrote, while every process of theirs is ferried
# in turn: what passes bare passes inside. They run side by side, a group at a time, until enough
# pages have moved; small ones, for races rather than for bulk.
. "$(dirname "$0")/lib.sh" || exit 1

command -v stress-ng >/dev/null || skip "stress-ng is not installed"
least_moves=${FERRY_SOAK:+300}
least_moves=${least_moves:-20}
seed=(--seed 1)
[ -z "${FERRY_SOAK:-}" ] || seed=(--seed "$RANDOM")

groups=(
	"--vm 1 --vm-bytes 16M --mremap 1 --mremap-bytes 16M --fork 1 --brk 1"
	"--stack 1 --bigheap 1 --bigheap-growth 64k --bigheap-ops 2000 --malloc 1
	 --malloc-bytes 64K --malloc-max 500"
	"--mmap 1 --mmap-bytes 16M --mmap-mprotect --mprotect 1 --madvise 1 --mincore 1"
	"--sigsegv 1 --stackmmap 1 --mmapaddr 1 --vforkmany 1 --vforkmany-ops 100"
)

# stress SECONDS STRESSOR...: in the words of stress-ng, into $words. The ferry comes first, or it
# would get little of a CPU beside so many who want it all.
stress() {
	words=(nice -n 19 stress-ng --temp-path "$work" --verify --oomable
		"${seed[@]}" --timeout "$@")
}

has_moved_enough() {
	has_ended || {
		[ "$(grep -c '"command": *"move"' "$work/moves")" -ge "$least_moves" ] &&
			(assert_moved >/dev/null 2>&1)
	}
}

for group in "${groups[@]}"; do
	read -ra stressors -d '' <<<"$group"
	stress 1 "${stressors[@]}"
	"${words[@]}" >"$work/bare" 2>&1 || fail "bare: $(cat "$work/bare")"
	stress 65 "${stressors[@]}"
	start --nodes 2x512M -- "${words[@]}"
	start_ferry_all 0 1
	wait_until 60 has_moved_enough
	kill -INT "$pid" 2>/dev/null # stress-ng tells its stressors to finish
	finish
	stop_ferry
	assert_moved
	! grep -E 'fail|corrupt|mismatch' "$work/err" ||
		fail "a stressor complained: ${stressors[*]}"
done
