/* SPDX-License-Identifier: MIT */
/*
 * mover.h - the working state of one migration, shared by gather.c, batch.c and migrate.c.
 *
 * A batch: gather (which pages, and what the others answer), targets (frames for them), out, copy,
 * in. The lock is held from gather to out, and for in.
 */
#ifndef FERRY_MOVE_MOVER_H
#define FERRY_MOVE_MOVER_H

#include "base/nodeset.h"
#include "map/entry.h"
#include "map/flight.h"
#include "move/migrate.h"

enum {
	FERRY_MOVE_PENDING = INT32_MIN, /* status of an entry that has no answer yet */
	FERRY_LOOK_PAGES = 64,
};

/* An address stands for the page that was there when it was looked at first. */
enum ferry_resolved {
	FERRY_RESOLVED_NOT = 0,
	FERRY_RESOLVED,
	FERRY_RESOLVED_GONE, /* and that page is gone since, whatever is there now */
};

/* What is known of a page that is to move for all who share it. */
enum ferry_sharing {
	FERRY_SHARING_UNKNOWN = 0,
	FERRY_SHARED,   /* to be made our own before it can move */
	FERRY_UNSHARED, /* that was tried */
};

/* Pages to make our own at a time, as arrays for those who share them. */
struct ferry_shared_batch {
	size_t index[FERRY_BATCH_MAX]; /* of their entries */
	ferry_va va[FERRY_BATCH_MAX];
	int32_t target[FERRY_BATCH_MAX];
	int32_t status[FERRY_BATCH_MAX]; /* 0, or -ENOMEM */
};

struct ferry_mover {
	struct ferry_space *space;
	struct ferry_lookup lookup;
	const struct ferry_page_list *list;
	struct ferry_page *entries; /* those of the list */
	size_t count;
	ferry_get_new_page *get_new_page;
	ferry_put_new_page *put_new_page; /* or NULL */
	void *private;
	uint64_t budget_ns;
	uint64_t page_ns; /* how long a page was away for each page of its batch, lately; 0: unknown
			   */
	uint32_t limit;   /* pages of the next batch */
	uint32_t pass;
	size_t done;    /* entries with an answer */
	size_t failed;  /* of these, pages that could not be moved */
	size_t moved;   /* pages that moved in this pass */
	bool busy;      /* entries were put off in this pass that time may help */
	bool events;    /* an event has to be read before anything else */
	uint32_t again; /* tries at the entry `again_at` that an event was in the way of */
	size_t again_at;
	size_t group_end;   /* end of the entries in the huge frame that is moved, 0: small pages */
	uint32_t out_pages; /* of the flight when it left; 4 KiB pages */
	uint64_t back_ns;   /* when its last page was accessible again */
	struct ferry_run
		huge_source; /* what to copy if it is a huge frame: an event may split it */
	struct ferry_run huge_target;
	uint32_t wanted;    /* pages of the batch that have the first one's target */
	struct ferry_nodeset full; /* target nodes without a frame, until one leaves them */

	/* Valid while the lock is held. */
	struct ferry_pte *leaf; /* of leaf_va, or NULL */
	ferry_va leaf_va;       /* 1: nothing cached */
	ferry_va look_va;
	uint32_t look_pages; /* 0: nothing looked at */
	uint8_t look[FERRY_LOOK_PAGES];

	ferry_va hole_start; /* the part of the address space that was last asked about */
	ferry_va hole_end;
	uint8_t hole_reason;
	uint32_t never; /* a word to sleep on that nobody wakes */
	uint32_t shared_count;
	struct ferry_flight flight;
	struct ferry_shared_batch shared;
};

/* Forgets what is only valid while the lock is held. */
static inline void ferry_mover_forget(struct ferry_mover *m)
{
	m->leaf_va = 1;
	m->leaf = NULL;
	m->look_pages = 0;
}

/* => the entry of va, or NULL. => lock held. */
static inline struct ferry_pte *ferry_mover_slot(struct ferry_mover *m, ferry_va va)
{
	ferry_va leaf_va = ferry_huge_down(va);

	if (m->leaf_va != leaf_va) {
		m->leaf = ferry_entry_leaf(m->space, va);
		m->leaf_va = leaf_va;
	}
	return m->leaf == NULL ? NULL : m->leaf + ferry_entry_index(va);
}

/* A page that is there, and not ours alone, by what the host says of it. */
static inline bool ferry_mover_is_shared(uint8_t flags)
{
	return (flags & (FERRY_MMU_PRESENT | FERRY_MMU_EXCLUSIVE)) == FERRY_MMU_PRESENT;
}

/* Gives an entry its answer. */
void ferry_mover_settle(struct ferry_mover *m, size_t index, int32_t status,
			enum ferry_reason reason);
/* Puts an entry off to a later pass; reason is its answer if there is none. */
void ferry_mover_put_off(struct ferry_mover *m, size_t index, enum ferry_reason reason);
/* What the host says of the page (enum ferry_mmu_page), by blocks. => lock held. */
uint8_t ferry_mover_look(struct ferry_mover *m, ferry_va va);
/* For a page that is shared with another process: it is answered, or put off to be made our own. */
void ferry_mover_settle_shared(struct ferry_mover *m, size_t index);
/* Adds an entry to m->shared, for ferry_mover_unshare(). */
void ferry_mover_add_shared(struct ferry_mover *m, size_t index);
/* Makes the pages of m->shared our own, or answers them. => lock NOT held. The first of them: where
 * to go on gathering. */
FERRY_MUST_CHECK size_t ferry_mover_unshare(struct ferry_mover *m);
/*
 * Pages that a forked child shared and that are mapped here only again are refused until they are
 * written to; so are pinned ones, for which this does nothing. => lock NOT held.
 */
void ferry_mover_reclaim(struct ferry_mover *m);

/*
 * Collects pages from entries[*next] on into flight.pages (va, source, index), answering those that
 * need no move. A huge frame comes alone; m->group_end is set then. Pages that have to be made our
 * own come alone, too: in m->shared, with none in flight.
 * => lock held. Pages; *next = the first entry not looked at.
 */
uint32_t ferry_mover_gather(struct ferry_mover *m, size_t *next);
/*
 * Gives the first pages of flight.pages[0..n) their target frames.
 * => lock held on entry and exit, let go in between only if the answer is 0: then *next is where
 *    to go on gathering.
 */
uint32_t ferry_mover_targets(struct ferry_mover *m, uint32_t n, size_t *next);
/*
 * Where the frames of flight.pages[0..n) lie scattered, chooses slots in a row for them: a number
 * is only the place in the arena that a page goes out to. One call then takes out a whole run, and
 * the frames that the pages leave are a run for others. => lock held.
 */
void ferry_mover_number(struct ferry_mover *m, uint32_t n);
/* Takes flight.pages[0..n) out; what could not be is answered or put off. => lock held. */
void ferry_mover_out(struct ferry_mover *m, uint32_t n, size_t *next);
/* => lock NOT held. 0, or the MMU's error. */
FERRY_MUST_CHECK int ferry_mover_copy(struct ferry_mover *m);
/* Brings the flight in, at the target frames, or back at its own (home).
 * => lock held on entry and exit; let go while events are in the way. */
void ferry_mover_in(struct ferry_mover *m, bool home);

#endif
