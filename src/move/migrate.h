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
 *
 * Everything that moves pages is a user of ferry_migrate_list(): it makes a list, and says by a
 * callback which frame a page gets. ferry_new_page() is the callback of those whose pages name
 * their nodes.
 */
#ifndef FERRY_MOVE_MIGRATE_H
#define FERRY_MOVE_MIGRATE_H

#include <errno.h>

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

enum { FERRY_ANY_NODE = -1 };

/* A page of a list. Its maker sets va, result and target. */
struct ferry_page {
	ferry_va va;     /* page address */
	int *result;     /* where its final node or -errno is stored, once; NULL: nowhere */
	int32_t target;  /* node that it is to be on: there, it is left alone; FERRY_ANY_NODE: it is
			    to leave its frame, for one that get_new_page chooses */
	int32_t status;  /* out: node or -errno */
	uint8_t reason;  /* out: enum ferry_reason */
	uint8_t passes;  /* out: passes it took */
	uint8_t resolved; /* the engine's: enum ferry_resolved */
	uint8_t sharing;  /* the engine's: enum ferry_sharing */
	/* For get_new_page, while it is called. */
	bool huge;       /* the frame has to be a huge one: the page is all of one */
	uint16_t run;    /* pages of the batch from this one on, at addresses in a row, with one
			    target: those that it is called for next */
	uint16_t wanted; /* of the first page of a batch: pages of the batch with its target; 0: it
			    is not the first */
};

/* Called between batches without the lock; true: stop here (pages not tried yet get -EBUSY). */
typedef bool ferry_between(void *context, size_t done);

struct ferry_page_list {
	struct ferry_space *space;
	struct ferry_page *pages; /* ascending by va, each page once; an address inside a huge frame
				     stands for all of it: the last target in it counts */
	size_t count;
	uint64_t stall_budget_ns; /* 0: the machine's */
	bool move_all;            /* pages shared since a fork move too, for all who share them */
	bool shared_only;         /* with move_all: only these, and only this process's */
	bool seed;                /* contract seed: mlocked answers -EPERM */
	ferry_between *between;   /* NULL: none */
	void *context;
};

/*
 * The frame that a page is to move to: charged, with memory, and nobody else's; the engine copies
 * what is pointed to. NULL: none is to be had. The page is asked for again if others of the list
 * leave frames, and fails with -ENOMEM in the end. *result is page->result: it may be set.
 *
 * => space lock held. For the first page of a batch (page->wanted > 0) it may be let go meanwhile,
 *    to find frames: if there are any now the answer is &ferry_frame_again, and the page is looked
 *    at anew. For another page there is no need: it becomes the first one of a batch.
 */
typedef struct ferry_frame *ferry_get_new_page(struct ferry_page *page, void *private,
					       int **result);
/* A frame from get_new_page that was not used comes back. => space lock held. */
typedef void ferry_put_new_page(struct ferry_frame *frame, void *private);

extern struct ferry_frame ferry_frame_again;

/*
 * Moves the pages of a list to the frames that get_new_page gives; those that need no move, or can
 * have none, are answered without it. Without put_new_page unused frames go back to their pools.
 * => lock NOT held. Every page gets its answer. Returns how many could not be moved
 *    (ferry_status_failed()), or -ESRCH (space ended: pages not done are -ENOENT), -ENOMEM (no
 *    working memory; no page has an answer).
 */
FERRY_MUST_CHECK int64_t ferry_migrate_list(const struct ferry_page_list *list,
					    ferry_get_new_page *get_new_page,
					    ferry_put_new_page *put_new_page, void *private);

/* Is it the status of a page that is there and could not be moved? */
static inline bool ferry_status_failed(int32_t status)
{
	return status == -EBUSY || status == -ENOMEM || status == -EIO || status == -EINVAL;
}

/* Where ferry_new_page() has frames from. */
struct ferry_new_pages {
	struct ferry_space *space;
	struct ferry_run ahead;   /* taken for pages that are asked for next */
	struct ferry_frame frame; /* the last one that was given */
	uint32_t wish;            /* longest run to ask for: falls where there are scraps */
};

void ferry_new_pages_init(struct ferry_new_pages *new_pages, struct ferry_space *space);
/*
 * The get_new_page of pages that name their targets; private is a struct ferry_new_pages. Frames
 * are taken by runs, from the lease, then from the machine, then from pages placed ahead of need.
 */
struct ferry_frame *ferry_new_page(struct ferry_page *page, void *private, int **result);

const char *ferry_reason_text(enum ferry_reason reason);

#endif
