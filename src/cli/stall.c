/* SPDX-License-Identifier: MIT */
/* stall.c - see stall.h. */
#include "cli/stall.h"

/* The stall that rank pages of all are not longer than; rank counts from 1. */
static uint64_t at_rank(const uint64_t *buckets, uint64_t rank, uint64_t max_ns)
{
	uint64_t below = 0;

	for (uint32_t i = 0; i < FERRY_STALL_BUCKETS; i++) {
		uint64_t low_ns = UINT64_C(1) << i, ns;

		if (below + buckets[i] < rank) {
			below += buckets[i];
			continue;
		}
		ns = low_ns + (uint64_t)((double)low_ns * (double)(rank - below) /
					 (double)buckets[i]);
		return ns < max_ns ? ns : max_ns;
	}
	return max_ns;
}

void ferry_cli_stall_read(const uint64_t *buckets, uint64_t max_ns, struct ferry_cli_stall *stall)
{
	stall->pages = 0;
	for (uint32_t i = 0; i < FERRY_STALL_BUCKETS; i++)
		stall->pages += buckets[i];
	stall->max_ns = max_ns;
	stall->p50_ns = stall->p99_ns = 0;
	if (stall->pages == 0)
		return;
	stall->p50_ns = at_rank(buckets, (stall->pages + 1) / 2, max_ns);
	stall->p99_ns = at_rank(buckets, stall->pages - stall->pages / 100, max_ns);
}
