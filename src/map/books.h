/* SPDX-License-Identifier: MIT */
/*
 * books.h - the books of one process: its page tables, regions and counters, in one piece of
 * memory without pointers, which other processes may map read-only and read at any time.
 *
 * The memory is a segment of FERRY_BOOKS_SIZE_BYTES that reads as zeros until written (a sparse
 * memfd live, plain memory in tests). Only its owner writes; readers check every offset.
 *
 * Layout: header | regions[] | per-node counts[] | top table | bump-allocated tables and leaves.
 * Page table: top[va >> 33] -> middle[(va >> 21) & 4095] -> leaf[(va >> 12) & 511], entries of top
 * and middle are page numbers in the segment (0: none).
 *
 * Letters: (c) fixed at creation, (s) space lock to write and atomic to read, (a) atomic counters.
 */
#ifndef FERRY_MAP_BOOKS_H
#define FERRY_MAP_BOOKS_H

#include "base/types.h"

#define FERRY_BOOKS_MAGIC 0x314b4f4f424546u /* "FEBOOK1" */

enum {
	FERRY_BOOKS_VERSION = 3,
	FERRY_REGIONS_MAX = 65536,
	FERRY_STALL_BUCKETS = 40, /* bucket b counts stalls of [2^b, 2^(b+1)) ns */
	FERRY_STATUS_KINDS = 16,
	FERRY_INBOX_MESSAGES = 16,
};
#define FERRY_BOOKS_SIZE_BYTES (UINT64_C(1) << 36)

/*
 * A page table entry. One atomic word, so that a reader in another process never sees half of it.
 *
 * States:
 *   NONE    never touched, or discarded
 *   ZERO    the zero page is mapped, write-protected
 *   MAPPED  the page is accessible at its address; the slot of frame is empty
 *   HELD    the page is away: its content lies in the slot of frame; accesses park
 * busy: owned by a mover, which alone may change the entry (events excepted; see migrate.h).
 */
struct ferry_pte {
	uint64_t word;
};

enum ferry_pte_state {
	FERRY_PTE_NONE = 0,
	FERRY_PTE_ZERO = 1,
	FERRY_PTE_MAPPED = 2,
	FERRY_PTE_HELD = 3,
};

enum ferry_pte_flag {
	FERRY_PTE_BUSY = 1 << 3,
	FERRY_PTE_COW = 1 << 4,    /* shared since a fork as far as known; its frame is uncharged */
	FERRY_PTE_HUGE = 1 << 5,   /* part of a whole 2 MiB frame */
	FERRY_PTE_AHEAD = 1 << 6,  /* placed by fault-around, not known to be used */
	FERRY_PTE_THREAD = 1 << 7, /* I13: holds a thread's TCB or the argument strings; never away.
				      May be set on an entry in state NONE. */
	FERRY_PTE_NO_SLOT = 1 << 8, /* has a node but no frame number (pool had none) */
};

static inline enum ferry_pte_state ferry_pte_state(struct ferry_pte pte)
{
	return (enum ferry_pte_state)(pte.word & 3);
}

static inline bool ferry_pte_has(struct ferry_pte pte, enum ferry_pte_flag flag)
{
	return (pte.word & (uint64_t)flag) != 0;
}

static inline bool ferry_pte_resident(struct ferry_pte pte)
{
	return (pte.word & 2) != 0;
}

static inline struct ferry_frame ferry_pte_frame(struct ferry_pte pte)
{
	struct ferry_frame frame = {
		.number = (uint32_t)(pte.word >> 26),
		.node = (uint16_t)(pte.word >> 16 & 1023),
		.huge = (uint16_t)(pte.word >> 5 & 1),
	};
	return frame;
}

static inline struct ferry_pte ferry_pte_make(enum ferry_pte_state state, struct ferry_frame frame,
					      uint32_t flags)
{
	struct ferry_pte pte = {
		.word = (uint64_t)state | flags | (frame.huge ? (uint64_t)FERRY_PTE_HUGE : 0) |
			(uint64_t)frame.node << 16 | (uint64_t)frame.number << 26,
	};
	return pte;
}

enum ferry_region_flag {
	FERRY_REGION_HUGE = 1 << 0,    /* advised MADV_HUGEPAGE */
	FERRY_REGION_NOHUGE = 1 << 1,  /* advised MADV_NOHUGEPAGE */
	FERRY_REGION_LOCKED = 1 << 2,  /* mlocked as far as known */
	FERRY_REGION_ADOPTED = 1 << 3, /* found, not mapped through us: heap, stacks, bss */
	FERRY_REGION_SHARED = 1 << 4,  /* a part of an object that other processes may map, too */
	FERRY_REGION_UNARMED = 1 << 5, /* SHARED, and no fault or event of it is delivered */
};

/*
 * A managed range of addresses. As a rule it is private anonymous memory that delivers its faults
 * to us, with an entry for each page. With SHARED it is a window on an object (object.h), whose
 * labels say where its pages are; no page of it has an entry here.
 */
struct ferry_region {
	uint64_t start;     /* (s) */
	uint64_t end;       /* (s) */
	uint32_t flags;     /* (s) enum ferry_region_flag */
	uint32_t home;      /* (s) SHARED: the node of pages without a label */
	uint64_t object_va; /* (s) SHARED: of its first page in the space of all objects; else 0 */
};

/* Counted per node of this process; pages. */
struct ferry_node_count {
	uint64_t leased_pages;
	uint64_t mapped_pages;  /* entries MAPPED, charged */
	uint64_t held_pages;    /* entries HELD */
	uint64_t shared_pages;  /* entries MAPPED with COW: uncharged */
	uint64_t flight_pages;  /* taken by moves in progress, not yet or no longer in an entry */
	uint64_t filled_pages;  /* free frames with memory */
	uint64_t over_pages;
	/* (c) Addresses of slot 0 in the arenas of small and of huge pages: whoever must bring
	   pages home without an agent finds a frame's content at arena + number *
	   FERRY_PAGE_SIZE. */
	uint64_t small_arena;
	uint64_t huge_arena;
};

struct ferry_counters {
	uint64_t faults;         /* events served, all kinds */
	uint64_t first_touches;  /* pages given at a fault, fault-around not counted */
	uint64_t ahead_pages;    /* pages placed by fault-around */
	uint64_t ahead_taken;    /* of these, taken back still zero */
	uint64_t zero_maps;      /* zero pages mapped */
	uint64_t held_faults;    /* faults on a page that was away */
	uint64_t healed;         /* entries that the host had changed unseen, put right */
	uint64_t adopted_pages;  /* present pages found and charged */
	uint64_t cow_charged;    /* copies made by the host after fork, found and charged */
	uint64_t move_calls;     /* migrations asked for */
	uint64_t moved_pages;    /* pages that changed node */
	uint64_t moved_huge;     /* 2 MiB frames that changed node (their pages count above too) */
	uint64_t moved_by_copy;  /* pages brought in by copying instead of remapping */
	uint64_t brought_home;   /* pages whose move was backed out */
	uint64_t batches;
	uint64_t retries;        /* pages tried again in a later pass */
	uint64_t status[FERRY_STATUS_KINDS]; /* page results by enum ferry_reason */
	uint64_t stall[FERRY_STALL_BUCKETS]; /* pages, by the time they were away */
	uint64_t stall_max_ns;
	uint64_t events_fork, events_remap, events_unmap, events_remove;
};

/* Room for one event as the host tells it. */
struct ferry_inbox_message {
	uint64_t words[4];
};

struct ferry_books {
	uint64_t magic;              /* (c) */
	uint32_t version;            /* (c) */
	uint32_t node_count;         /* (c) */
	int32_t pid;                 /* (c) the program, as it sees itself; 0 in tests */
	uint32_t settling;           /* (a) not 0: an event has been read and is not in the books
					yet, or a fork's entries are being compared with the host:
					wait before believing them */
	uint32_t region_seq;         /* (a) odd while regions change (sequence lock) */
	uint32_t region_count;       /* (s) */
	uint64_t regions_offset;     /* (c) struct ferry_region[FERRY_REGIONS_MAX], by address */
	uint64_t node_counts_offset; /* (c) struct ferry_node_count[node_count] */
	uint64_t top_offset;         /* (c) uint32_t[1 << 14] */
	uint32_t bump_page;          /* (s) first page of the segment never used */
	uint32_t free_leaf;          /* (s) list of free pages through their first word; 0: none */
	uint64_t leaf_count;         /* (s) leaves in use */
	struct ferry_counters counters; /* (a) */
	struct ferry_inbox_message inbox[FERRY_INBOX_MESSAGES]; /* (s) events that were read and
				are not in the books yet, else zeros; if the agent is killed over
				them, whoever brings the pages home finds them here */
};

/* Lays out zeroed memory of FERRY_BOOKS_SIZE_BYTES. */
void ferry_books_layout(struct ferry_books *books, uint32_t node_count, int32_t pid);
/* => bytes from their beginning that books have used so far. */
uint64_t ferry_books_used_bytes(const struct ferry_books *books);
/*
 * Copies what a child needs of its parent's books - regions and entries - into zeroed memory, while
 * the parent's agent goes on; to be read only. => 0; -EAGAIN: they changed all the time, or more
 * than room_bytes would be needed.
 */
FERRY_MUST_CHECK int ferry_books_copy(struct ferry_books *copy, uint64_t room_bytes,
				      const struct ferry_books *books);
/* => 0, -EINVAL: for books that somebody else wrote. */
FERRY_MUST_CHECK int ferry_books_validate(const struct ferry_books *books, size_t size_bytes);

static inline struct ferry_region *ferry_books_regions(const struct ferry_books *books)
{
	return (struct ferry_region *)((uintptr_t)books + books->regions_offset);
}

static inline struct ferry_node_count *ferry_books_node_counts(const struct ferry_books *books)
{
	return (struct ferry_node_count *)((uintptr_t)books + books->node_counts_offset);
}

static inline void ferry_count(uint64_t *counter, uint64_t n)
{
	__atomic_fetch_add(counter, n, __ATOMIC_RELAXED);
}

#endif
