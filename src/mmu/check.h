/* SPDX-License-Identifier: MIT */
/*
 * check.h - an MMU that asserts the contract of mmu.h on both sides, in front of any other.
 *
 * Asserted of the caller: aligned and sane ranges, whole huge frames, slots full where a page is
 * taken from them and empty where one is put. Asserted of the backend: *done is set, 0 is returned
 * exactly if all was done, errors are among those the contract names, and after -ESRCH there is
 * no other answer.
 *
 * Which slots are full is followed in a shadow of its own, one bit a slot.
 */
#ifndef FERRY_MMU_CHECK_H
#define FERRY_MMU_CHECK_H

#include "mmu/mmu.h"

struct ferry_mmu_check {
	struct ferry_mmu mmu;    /* first: the operations get this */
	struct ferry_mmu *below; /* (c) */
	uint32_t node_count;     /* (c) */
	uint32_t gone;           /* (a) -ESRCH was answered */
	uint64_t **filled;       /* (c) [node * 2 + huge] -> bits, each (a) */
	uint64_t *slots;         /* (c) per node */
	uint64_t size_bytes;     /* (c) of the one allocation */
	void *allocation;        /* (c) */
	uint64_t calls;          /* (a) operations that were checked */
};

/* Puts the checks in front of below, whose slots are all empty. slots[] = slots per node and arena.
 * => 0, -ENOMEM. Use &check->mmu. */
FERRY_MUST_CHECK int ferry_mmu_check_init(struct ferry_mmu_check *check, struct ferry_mmu *below,
					  uint32_t node_count, const uint64_t *slots);
void ferry_mmu_check_destroy(struct ferry_mmu_check *check);

#endif
