/* SPDX-License-Identifier: MIT */
/*
 * migrate.h - moving pages of a space between RAM nodes: protocol P1.
 *
 * Steps of a batch (the states of its pages in brackets):
 *   prepare  target frames taken on the target node and filled          [MAPPED]
 *   out      mmu->remove: pages go to the slots of their own frames      [HELD busy]
 *   copy     slot to target frame, no lock held                          [HELD busy]
 *   in       mmu->enter of the target frames; entry changes node         [MAPPED]
 *   wake     once per run; old frames released dirty
 * Back-out: until a page is in, it can be brought home (mmu->enter of its own frame, falling back
 * to enter_copy); that cannot fail but by the end of the space or the loss of the mapping.
 *
 * Batches are sized so that a page is away for at most the stall budget. Up to 10 passes retry
 * pages that were pinned or busy; then they answer -EBUSY.
 */
#ifndef FERRY_MOVE_MIGRATE_H
#define FERRY_MOVE_MIGRATE_H

#include "map/space.h"

/* Why a page has its status; in words by ferry_reason_text(). */
enum ferry_reason {
	FERRY_REASON_MOVED = 0,   /* status = target node */
	FERRY_REASON_THERE,       /* was on the target already */
	FERRY_REASON_ABSENT,      /* -ENOENT: never touched or discarded */
	FERRY_REASON_ZERO,        /* -EFAULT: only the zero page */
	FERRY_REASON_UNMAPPED,    /* -EFAULT: no mapping there */
	FERRY_REASON_PINNED,      /* -EBUSY: pinned, or shared since a fork */
	FERRY_REASON_BUSY,        /* -EBUSY: another mover had it */
	FERRY_REASON_THREAD,      /* -EBUSY: holds a thread's control block or argument strings */
	FERRY_REASON_PROTECTION,  /* -EBUSY: guarded by a key, or not readable */
	FERRY_REASON_LOCKED,      /* -EPERM (seed): mlocked */
	FERRY_REASON_SHARED,      /* -EACCES: shared with another process */
	FERRY_REASON_FULL,        /* -ENOMEM: target node full */
	FERRY_REASON_VANISHED,    /* -ENOENT: discarded or unmapped during the move */
	FERRY_REASON_UNMANAGED,   /* -EBUSY: not memory that pageferry manages */
	FERRY_REASON_UNSEEN,      /* -EBUSY: this host does not show whether the page is pinned */
	FERRY_REASON_COUNT
};

struct ferry_move {
	ferry_va va;     /* page address */
	int32_t target;  /* node */
	int32_t status;  /* out: node or -errno */
	uint8_t reason;  /* out: enum ferry_reason */
	uint8_t passes;  /* out: passes it took */
	uint8_t spare[6];
};

struct ferry_migrate_options {
	uint64_t stall_budget_ns; /* 0: the machine's */
	bool move_all;            /* pages shared since a fork may be tried too */
	bool seed;                /* contract seed: mlocked answers -EPERM */
	/* Called between batches without the lock; true: stop here (entries not tried yet get
	 * -EBUSY). May be NULL. */
	bool (*between)(void *context, size_t done);
	void *context;
};

/*
 * Moves the pages of moves[0..count): ascending by va, each page once; an address inside a huge
 * frame moves it whole (all entries of one huge frame must name one target).
 * => lock NOT held. Every entry gets status and reason. Returns 0, -ESRCH (space ended: entries
 *    not done are -ENOENT), -ENOMEM (no working memory; no entry has an answer).
 */
FERRY_MUST_CHECK int ferry_migrate(struct ferry_space *space, struct ferry_move *moves,
				   size_t count, const struct ferry_migrate_options *options);

const char *ferry_reason_text(enum ferry_reason reason);

#endif
