/* SPDX-License-Identifier: MIT */
/*
 * lock.h - ranked mutual exclusion.
 *
 * The enum is the lock order of the whole program: a thread takes locks in ascending rank only;
 * upward only by try. Debug builds assert it on every acquisition.
 *
 * Invariants:
 *  1. word is 0 (free), 1 (held) or 2 (held, somebody may sleep).
 *  2. owner is the holder's thread id while held, 0 otherwise (written by the holder only).
 *  3. Nobody holds a lock while it waits for a fault of the program, a store or another process.
 */
#ifndef FERRY_BASE_LOCK_H
#define FERRY_BASE_LOCK_H

#include "base/types.h"

enum ferry_lock_rank {
	FERRY_RANK_ENGINE = 1,
	FERRY_RANK_SPACE,
	FERRY_RANK_OBJECT,
	FERRY_RANK_PTABLE,
	FERRY_RANK_RMAP,
	FERRY_RANK_EVICT,
	FERRY_RANK_NODE,
	FERRY_RANK_POOL,
	FERRY_RANK_COMMIT,
	FERRY_RANK_SWAP,
	FERRY_RANK_STORE,
	FERRY_RANK_TRACE,
};

struct ferry_lock {
	uint32_t word;  /* (a) */
	uint32_t owner; /* (a) */
	uint32_t rank;  /* (c) enum ferry_lock_rank */
	uint32_t spare;
};

void ferry_lock_init(struct ferry_lock *lock, enum ferry_lock_rank rank);
void ferry_lock_acquire(struct ferry_lock *lock);
/* => true: held; never waits. */
FERRY_MUST_CHECK bool ferry_lock_try(struct ferry_lock *lock);
void ferry_lock_release(struct ferry_lock *lock);
/* Asserts that the calling thread holds the lock. */
void ferry_lock_assert_held(const struct ferry_lock *lock);

#endif
