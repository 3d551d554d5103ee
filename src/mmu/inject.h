/* SPDX-License-Identifier: MIT */
/*
 * inject.h - an MMU that fails and delays operations on purpose, in front of any other.
 *
 * A failed operation keeps the contract: what is reported as done was done, and nothing else.
 */
#ifndef FERRY_MMU_INJECT_H
#define FERRY_MMU_INJECT_H

#include "mmu/mmu.h"

enum ferry_mmu_op {
	FERRY_OP_ENTER = 1 << 0,
	FERRY_OP_ENTER_COPY = 1 << 1,
	FERRY_OP_REMOVE = 1 << 2,
	FERRY_OP_ENTER_ZERO = 1 << 3,
	FERRY_OP_UNPROTECT = 1 << 4,
	FERRY_OP_LOOKUP = 1 << 5,
	FERRY_OP_FILL = 1 << 6,
	FERRY_OP_COPY_FRAME = 1 << 7,
	FERRY_OP_ARM = 1 << 8,
	/* These cannot fail, only be delayed. */
	FERRY_OP_WAKE = 1 << 9,
	FERRY_OP_DROP = 1 << 10,
	FERRY_OP_ZERO_FRAME = 1 << 11,
	FERRY_OP_IS_ZERO = 1 << 12,
	FERRY_OP_RECLAIM = 1 << 13, /* can fail, as the next */
	FERRY_OP_ENTER_NEW = 1 << 14,
};

struct ferry_mmu_inject {
	struct ferry_mmu mmu;    /* first: the operations get this */
	struct ferry_mmu *below; /* (c) */

	/* The plan; set it while nothing runs. */
	uint32_t ops;  /* enum ferry_mmu_op: the operations that are counted and failed */
	uint64_t nth;  /* fails the nth call of these, counted from 1; 0: none */
	bool for_ever; /* and all that follow */
	bool partly;   /* does the first half of a range before it fails */
	int err;       /* what it fails with */

	uint64_t calls;    /* (a) calls of these operations so far */
	uint64_t failures; /* (a) of these, failed on purpose */
	/* Called before (after: false) and after every operation; may be NULL. */
	void (*delay)(void *context, enum ferry_mmu_op op, bool after);
	void *context;
};

/* Puts itself in front of below; no plan, no delay. Use &inject->mmu. */
void ferry_mmu_inject_init(struct ferry_mmu_inject *inject, struct ferry_mmu *below);
/* Plans a failure and starts to count anew. */
void ferry_mmu_inject_plan(struct ferry_mmu_inject *inject, uint32_t ops, uint64_t nth,
			   bool for_ever, int err);

#endif
