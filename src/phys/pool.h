/* SPDX-License-Identifier: MIT */
/*
 * pool.h - the frames of one node in one process.
 *
 * A process gets its share of a node as a lease: a number of frames, not particular ones. Which
 * frame numbers it uses is its own affair, since arenas are private. The pool hands out numbers,
 * knows which free slots hold memory (filled) and which of those hold only zeros, and keeps the
 * lease.
 *
 * States of a frame number:
 *   free-empty   no memory behind the slot; costs no lease
 *   free-filled  zero or dirty page in the slot; costs lease
 *   taken        belongs to a page or to a move in flight; costs lease ("charged"), except that a
 *                page shared since a fork is taken uncharged until the copy is its own
 *
 * Invariants (ferry_pool_check):
 *  1. charged + filled <= leased, except by over = charged + filled - leased after adoption.
 *  2. zero implies filled implies not taken; per chunk the counts equal the bits, and each index
 *     has exactly the chunks of its kind.
 *  3. a chunk that is filled huge is wholly free and wholly filled.
 *  No call looks at more than a few chunks: they are found through the indexes.
 *
 * Everything here is guarded by the space lock (s).
 */
#ifndef FERRY_PHYS_POOL_H
#define FERRY_PHYS_POOL_H

#include "base/bits.h"
#include "base/types.h"
#include "mmu/mmu.h"

/* FERRY_HUGE_PAGES consecutive frame numbers; all zeros is a chunk never used. */
struct ferry_chunk {
	uint64_t taken[FERRY_HUGE_PAGES / 64];
	uint64_t filled[FERRY_HUGE_PAGES / 64];
	uint64_t zero[FERRY_HUGE_PAGES / 64];
	uint16_t taken_count;
	uint16_t filled_count;
	uint16_t zero_count;
	uint16_t huge_filled; /* the memory is one 2 MiB page in the huge arena */
};

/* What a chunk can be good for. Each kind has an index of the chunks that are of it. */
enum ferry_chunk_kind {
	FERRY_CHUNK_DIRTY, /* has small filled frames that are not known to be zero */
	FERRY_CHUNK_ZERO,  /* has small filled frames that are */
	FERRY_CHUNK_WHOLE, /* all of it is small and filled */
	FERRY_CHUNK_HUGE,  /* is one huge page */
	FERRY_CHUNK_EMPTY, /* has free frames without memory */
	FERRY_CHUNK_FRESH, /* has nothing else */
	FERRY_CHUNK_FREE,  /* has no frame taken */
	FERRY_CHUNK_KINDS
};

struct ferry_pool {
	struct ferry_chunk *chunks; /* (c) array */
	struct ferry_bitindex kinds[FERRY_CHUNK_KINDS]; /* (s) by enum ferry_chunk_kind */
	uint32_t chunk_count;       /* (c) */
	uint16_t node;              /* (c) */
	uint16_t spare;
	uint64_t slot_count;    /* (c) frame numbers 0 .. slot_count-1, whole chunks */
	uint64_t memory_bytes;  /* (c) of chunks and indexes, one allocation */
	uint64_t leased_pages;  /* (s) */
	uint64_t charged_pages; /* (s) taken and paid for */
	uint64_t taken_pages;   /* (s) taken in all */
	uint64_t filled_pages;  /* (s) free with memory */
	uint64_t zero_pages;    /* (s) of these, zeroed */
	uint64_t excess_pages;  /* (s) least lease beyond need since excess_ticks was 0 */
	uint64_t dry_until_ns;  /* (s) the machine had no lease left; do not ask before */
	uint32_t excess_ticks;  /* (s) times that housekeeping has looked since then */
	uint32_t cursor;        /* (s) chunk where the search for filled frames starts */
	uint32_t empty_cursor;  /* (s) chunk where the search for empty frames starts */
};

static inline bool ferry_pool_is_taken(const struct ferry_pool *pool, uint32_t number)
{
	const struct ferry_chunk *chunk = &pool->chunks[number / FERRY_HUGE_PAGES];

	return number < pool->slot_count && (chunk->taken[number % 512 / 64] >> (number % 64) & 1);
}

enum ferry_fill {
	FERRY_FILL_ZERO, /* memory that reads as zeros: first touch */
	FERRY_FILL_ANY,  /* memory with any content: target of a copy */
	FERRY_FILL_NEW,  /* as ZERO, or none yet (run->empty): it is made where it is needed */
	FERRY_FILL_NONE, /* a number only: slot empty, uncharged: adoption, sharing after fork */
};

enum ferry_content { FERRY_CONTENT_NONE, FERRY_CONTENT_ZERO, FERRY_CONTENT_DIRTY };

/* Sets up a pool of slot_count frames (rounded down to whole chunks). => 0, -ENOMEM. */
FERRY_MUST_CHECK int ferry_pool_init(struct ferry_pool *pool, uint16_t node, uint64_t slot_count);
void ferry_pool_destroy(struct ferry_pool *pool);

/*
 * Takes up to want (1 .. FERRY_HUGE_PAGES) consecutive frames of one chunk; prefers long runs when
 * want is large and frames that already have the memory asked for. For ZERO and ANY the memory is
 * there on return (filled through mmu, zeroed where it must be), for NEW if there was some; the
 * frames are charged. NONE drops memory of the slots where there is some.
 * => pages in *run (>= 1), -ENOSPC (lease used up), -ENOMEM (host has no memory),
 *    -EMFILE (no number free: more pages than slots), -ESRCH (the space has ended).
 */
FERRY_MUST_CHECK int ferry_pool_take(struct ferry_pool *pool, struct ferry_mmu *mmu, uint32_t want,
				     enum ferry_fill fill, struct ferry_run *run);
/*
 * Takes up to want consecutive numbers of one chunk whose slots are empty, uncharged; drops nothing
 * for it. => pages in *run, at least half of want, or 0.
 */
FERRY_MUST_CHECK uint32_t ferry_pool_take_numbers(struct ferry_pool *pool, uint32_t want,
						  struct ferry_run *run);
/* Takes a whole chunk with one 2 MiB page in the huge arena. Same errors. => 0. */
FERRY_MUST_CHECK int ferry_pool_take_huge(struct ferry_pool *pool, struct ferry_mmu *mmu,
					  enum ferry_fill fill, struct ferry_run *run);
/*
 * Takes particular numbers, uncharged, slots empty: a child repeats what its parent had.
 * => 0, -EBUSY if one is taken or has memory, -EMFILE if out of range; then none is taken.
 */
FERRY_MUST_CHECK int ferry_pool_take_exact(struct ferry_pool *pool, struct ferry_run run);
/*
 * Gives frames back. content says what the slots hold now (small or huge arena by
 * run.first.huge); charged says whether they were paid for. A huge run given back whole with
 * memory stays a huge page for the next huge request; part of one cannot be given back with memory.
 */
void ferry_pool_put(struct ferry_pool *pool, struct ferry_run run, enum ferry_content content,
		    bool charged);
/* An uncharged frame becomes charged (its copy is the process's own now), or the reverse. */
void ferry_pool_charge(struct ferry_pool *pool, uint64_t pages);
void ferry_pool_uncharge(struct ferry_pool *pool, uint64_t pages);

/* Frames that the lease still allows to take without asking: leased - charged - filled, or 0. */
uint64_t ferry_pool_spare(const struct ferry_pool *pool);
/* Pages charged or filled beyond the lease. */
uint64_t ferry_pool_over(const struct ferry_pool *pool);
/* The machine granted (positive) more. */
void ferry_pool_grant(struct ferry_pool *pool, uint64_t pages);
/*
 * Takes up to want pages out of the lease to be given back to the machine: unused lease first,
 * then by dropping the memory of free frames. What is over the lease is made up for before.
 * => pages taken out.
 */
FERRY_MUST_CHECK uint64_t ferry_pool_shrink(struct ferry_pool *pool, struct ferry_mmu *mmu,
					    uint64_t want);
/* Fills up to want empty frames with zeroed memory ahead of need, as far as the lease allows.
 * => pages filled. */
FERRY_MUST_CHECK uint32_t ferry_pool_prefill(struct ferry_pool *pool, struct ferry_mmu *mmu,
					     uint32_t want);
/* Asserts the invariants. => 0 or -EUCLEAN (for callers that report instead of dying). */
FERRY_MUST_CHECK int ferry_pool_check(const struct ferry_pool *pool);

#endif
