/* SPDX-License-Identifier: MIT */
/*
 * entry.h - changing page table entries so that the counts stay right.
 *
 * Every change of an entry goes through ferry_entry_set(), which moves it from one count to
 * another. All functions: => space lock held.
 */
#ifndef FERRY_MAP_ENTRY_H
#define FERRY_MAP_ENTRY_H

#include "map/ptable.h"
#include "map/space.h"

/* Is the entry's frame paid for? */
static inline bool ferry_entry_charged(struct ferry_pte pte)
{
	return (pte.word & (FERRY_PTE_COW | FERRY_PTE_NO_SLOT)) == 0;
}

/* What is left of an entry whose page is gone. */
static inline struct ferry_pte ferry_entry_blank(struct ferry_pte pte)
{
	struct ferry_pte none = { .word = pte.word & FERRY_PTE_THREAD };

	return none;
}

/* The same entry with some bits set and cleared (state bits included). */
static inline struct ferry_pte ferry_entry_with(struct ferry_pte pte, uint64_t set, uint64_t clear)
{
	struct ferry_pte changed = { .word = (pte.word & ~clear) | set };

	return changed;
}

/* Readers of the books look at counts without the lock; only its holder writes them. */
static inline void ferry_tally(uint64_t *counter, int64_t n)
{
	__atomic_store_n(counter, *counter + (uint64_t)n, __ATOMIC_RELAXED);
}

static inline void ferry_entry_tally(struct ferry_space *space, struct ferry_pte pte, int64_t n)
{
	struct ferry_node_count *count = &space->counts[pte.word >> 16 & 1023];

	if (!ferry_pte_resident(pte))
		return;
	if (ferry_pte_state(pte) == FERRY_PTE_HELD) {
		ferry_tally(&count->held_pages, n);
		if (!ferry_pte_has(pte, FERRY_PTE_BUSY))
			space->idle_held += (uint64_t)n;
	} else if (ferry_entry_charged(pte)) {
		ferry_tally(&count->mapped_pages, n);
	} else {
		ferry_tally(&count->shared_pages, n);
	}
	if (ferry_pte_has(pte, FERRY_PTE_COW))
		space->cow_pages += (uint64_t)n;
	if (ferry_pte_has(pte, FERRY_PTE_AHEAD))
		space->ahead_pages += (uint64_t)n;
}

static inline void ferry_entry_set(struct ferry_space *space, struct ferry_pte *slot,
				   struct ferry_pte value)
{
	ferry_entry_tally(space, *slot, -1);
	ferry_entry_tally(space, value, 1);
	ferry_pte_set(slot, value);
}

/* => the first entry of va's 2 MiB range, or NULL. */
static inline struct ferry_pte *ferry_entry_leaf(const struct ferry_space *space, ferry_va va)
{
	return (struct ferry_pte *)(uintptr_t)ferry_ptable_leaf(space->books, va);
}

static inline uint32_t ferry_entry_index(ferry_va va)
{
	return (uint32_t)(va >> FERRY_PAGE_SHIFT) & (FERRY_HUGE_PAGES - 1);
}

/* => the place of va's entry, or NULL where there is no table. */
static inline struct ferry_pte *ferry_entry_find(const struct ferry_space *space, ferry_va va)
{
	struct ferry_pte *leaf = ferry_entry_leaf(space, va);

	return leaf == NULL ? NULL : leaf + ferry_entry_index(va);
}

static inline struct ferry_frame ferry_frame_plus(struct ferry_frame frame, uint32_t pages)
{
	frame.number += pages;
	return frame;
}

/* Frames that belong to a flight and to no entry. */
static inline void ferry_flight_tally(struct ferry_space *space, uint32_t node, int64_t n)
{
	ferry_tally(&space->counts[node].flight_pages, n);
}

/* Shows the pool's numbers of a node in the books. */
void ferry_entry_publish(struct ferry_space *space, uint32_t node);
/* Gives frames back to their pool; memory in their slots is not recycled once tainted. */
void ferry_frames_put(struct ferry_space *space, struct ferry_run run, enum ferry_content content,
		      bool charged);
/* Frames whose slots hold a page each that is not wanted: the pages are dropped, the numbers stay.
 */
void ferry_frames_drop(struct ferry_space *space, struct ferry_run run);
/*
 * The host has no page at va, though the entry is MAPPED. Is that final? Not while an event is
 * unread, or in the making: the page may be elsewhere (remap), and the event will say so.
 */
FERRY_MUST_CHECK bool ferry_entry_is_lost(struct ferry_space *space, ferry_va va);
/* The page of a MAPPED or ZERO entry is gone, its slot is empty: frees the frame, entry NONE. */
void ferry_entry_forget(struct ferry_space *space, struct ferry_pte *slot);
/*
 * Takes the zero page away from va; a frame number of node is used for a moment. Not under a closed
 * gate.
 * => 0 or -ENOENT: nothing is at va now; the entry is as it was. Else the error of mmu->remove, or
 *    -ENOMEM; with the entry HELD it was no zero page: bring it home.
 */
FERRY_MUST_CHECK int ferry_entry_take_zero(struct ferry_space *space, struct ferry_pte *slot,
					   ferry_va va, uint32_t node);
/* The entries of the huge frame around va become those of small frames. */
void ferry_entry_split(struct ferry_space *space, ferry_va va);
/* The page of a COW entry is the process's own now. */
void ferry_entry_own(struct ferry_space *space, struct ferry_pte *slot, ferry_va va);
/* Gives a number to an entry that has none. => 0, -EMFILE. */
FERRY_MUST_CHECK int ferry_entry_number(struct ferry_space *space, struct ferry_pte *slot);
/*
 * Enters pages of small slots at va: by moving, or by copying where that is not possible (or the
 * machine asks for it), or new ones for slots that are empty; the slots are empty afterwards.
 * => as mmu->enter.
 */
FERRY_MUST_CHECK int ferry_frames_enter(struct ferry_space *space, ferry_va va,
					struct ferry_run run, uint32_t *done);
/* The host has a page at va that the entry knows nothing of: charges it to node, or where it is;
 * shared: FERRY_PTE_COW, and it is not charged; else 0. */
void ferry_entry_adopt(struct ferry_space *space, struct ferry_pte *slot, ferry_va va,
		       uint32_t node, uint32_t shared);
/* => the node that a page of the host's making at va belongs to, if policy says node. */
static inline uint32_t ferry_entry_locate(struct ferry_space *space, ferry_va va, uint32_t node)
{
	struct ferry_mmu *mmu = space->mmu;

	return mmu->caps.real_nodes ? mmu->ops->locate(mmu, va, node) : node;
}

#endif
