/* SPDX-License-Identifier: MIT */
/*
 * entry.c - frames and entries together; see entry.h.
 *
 *      NONE --first touch, adoption--> MAPPED --mover, reclaim: out--> HELD
 *       | ^                              |  ^                            |
 *       | '--discard, unmap, heal--------'  '-------in, bring home-------'
 *       '--read--> ZERO --write--> MAPPED
 *
 * The frame of an entry stays taken in its pool until the entry is forgotten or the frame is
 * exchanged for another one.
 */
#include <errno.h>

#include "base/os.h"
#include "map/entry.h"

void ferry_entry_publish(struct ferry_space *space, uint32_t node)
{
	const struct ferry_pool *pool = &space->pools[node];
	struct ferry_node_count *count = &space->counts[node];

	__atomic_store_n(&count->leased_pages, pool->leased_pages, __ATOMIC_RELAXED);
	__atomic_store_n(&count->filled_pages, pool->filled_pages, __ATOMIC_RELAXED);
	__atomic_store_n(&count->over_pages, ferry_pool_over(pool), __ATOMIC_RELAXED);
}

void ferry_frames_drop(struct ferry_space *space, struct ferry_run run)
{
	space->mmu->ops->drop(space->mmu, run.first, run.pages);
}

void ferry_frames_put(struct ferry_space *space, struct ferry_run run, enum ferry_content content,
		      bool charged)
{
	if (content == FERRY_CONTENT_DIRTY &&
	    __atomic_load_n(&space->tainted, __ATOMIC_RELAXED) != 0) {
		ferry_frames_drop(space, run);
		content = FERRY_CONTENT_NONE;
	}
	ferry_pool_put(&space->pools[run.first.node], run, content, charged);
	ferry_entry_publish(space, run.first.node);
}

void ferry_entry_forget(struct ferry_space *space, struct ferry_pte *slot)
{
	struct ferry_pte old = *slot;
	struct ferry_run run = { .first = ferry_pte_frame(old), .pages = 1 };

	ferry_entry_set(space, slot, ferry_entry_blank(old));
	if (!ferry_pte_resident(old) || ferry_pte_has(old, FERRY_PTE_NO_SLOT))
		return;
	run.first.huge = 0;
	ferry_frames_put(space, run, FERRY_CONTENT_NONE, ferry_entry_charged(old));
}

bool ferry_entry_is_lost(struct ferry_space *space, ferry_va va)
{
	/* Events are in the way of this operation, and it changes nothing at an empty address. */
	return space->mmu->ops->unprotect(space->mmu, va, 1) != -EAGAIN;
}

/* What was taken for the zero page is memory that the host put there unseen: the program's. */
static void hold_found(struct ferry_space *space, struct ferry_pte *slot, struct ferry_frame frame)
{
	uint32_t flags = (uint32_t)ferry_entry_blank(*slot).word;

	ferry_pool_charge(&space->pools[frame.node], 1);
	ferry_entry_set(space, slot, ferry_pte_make(FERRY_PTE_HELD, frame, flags));
	ferry_entry_publish(space, frame.node);
	ferry_count(&space->books->counters.adopted_pages, 1);
}

int ferry_entry_take_zero(struct ferry_space *space, struct ferry_pte *slot, ferry_va va,
			  uint32_t node)
{
	struct ferry_mmu *mmu = space->mmu;
	struct ferry_run sink;
	uint32_t done = 0;
	int err = ferry_pool_take(&space->pools[node], mmu, 1, FERRY_FILL_NONE, &sink);

	if (err < 0)
		return -ENOMEM;
	err = mmu->ops->remove(mmu, va, sink.first, 1, &done);
	if (err == 0 && !mmu->ops->is_zero(mmu, sink.first)) {
		hold_found(space, slot, sink.first);
		return -EEXIST;
	}
	if (err == 0 || err == -EEXIST)
		ferry_frames_drop(space, sink);
	ferry_frames_put(space, sink, FERRY_CONTENT_NONE, false);
	return err;
}

void ferry_entry_split(struct ferry_space *space, ferry_va va)
{
	struct ferry_pte *leaf = ferry_entry_leaf(space, va);

	for (uint32_t i = 0; leaf != NULL && i < FERRY_HUGE_PAGES; i++) {
		if (ferry_pte_has(leaf[i], FERRY_PTE_HUGE))
			ferry_entry_set(space, &leaf[i],
					ferry_entry_with(leaf[i], 0, FERRY_PTE_HUGE));
	}
}

void ferry_entry_own(struct ferry_space *space, struct ferry_pte *slot, ferry_va va)
{
	uint32_t node = ferry_pte_frame(*slot).node;
	uint32_t real = ferry_entry_locate(space, va, node);

	if (real != node) { /* the host made the copy elsewhere, and there it stays */
		ferry_entry_forget(space, slot);
		ferry_entry_adopt(space, slot, va, real, 0);
		ferry_count(&space->books->counters.cow_charged, 1);
		return;
	}
	ferry_entry_set(space, slot, ferry_entry_with(*slot, 0, FERRY_PTE_COW));
	if (ferry_pte_has(*slot, FERRY_PTE_NO_SLOT))
		return;
	ferry_pool_charge(&space->pools[node], 1);
	ferry_entry_publish(space, node);
	ferry_count(&space->books->counters.cow_charged, 1);
}

int ferry_entry_number(struct ferry_space *space, struct ferry_pte *slot)
{
	struct ferry_pool *pool = &space->pools[ferry_pte_frame(*slot).node];
	uint64_t flags = slot->word & (FERRY_PTE_COW | FERRY_PTE_AHEAD | FERRY_PTE_THREAD);
	struct ferry_run run;
	int ret = ferry_pool_take(pool, space->mmu, 1, FERRY_FILL_NONE, &run);

	if (ret < 0)
		return ret;
	if ((flags & FERRY_PTE_COW) == 0)
		ferry_pool_charge(pool, 1);
	ferry_entry_set(space, slot, ferry_pte_make(FERRY_PTE_MAPPED, run.first, (uint32_t)flags));
	ferry_entry_publish(space, pool->node);
	return 0;
}

void ferry_entry_adopt(struct ferry_space *space, struct ferry_pte *slot, ferry_va va,
		       uint32_t node, uint32_t shared)
{
	struct ferry_frame frame = {
		.number = 0,
		.node = (uint16_t)ferry_entry_locate(space, va, node),
		.huge = 0,
	};
	uint32_t flags = (uint32_t)ferry_entry_blank(*slot).word | FERRY_PTE_NO_SLOT | shared;

	ferry_entry_set(space, slot, ferry_pte_make(FERRY_PTE_MAPPED, frame, flags));
	if (ferry_entry_number(space, slot) != 0)
		FERRY_DASSERT(ferry_pte_has(*slot, FERRY_PTE_NO_SLOT));
	ferry_count(&space->books->counters.adopted_pages, 1);
}

int ferry_frames_enter(struct ferry_space *space, ferry_va va, struct ferry_run run, uint32_t *done)
{
	struct ferry_mmu *mmu = space->mmu;
	struct ferry_run moved = run;
	uint32_t more = 0;
	int err = -EINVAL;

	*done = 0;
	if (run.empty)
		return mmu->ops->enter_new(mmu, va, run.first, run.pages, done);
	if (mmu->caps.move && !space->machine->copy_path) {
		err = mmu->ops->enter(mmu, va, run.first, run.pages, done);
		if (err != -EINVAL)
			return err;
	}
	moved.first.number += *done;
	err = mmu->ops->enter_copy(mmu, va + (ferry_va)*done * FERRY_PAGE_SIZE, moved.first,
				   run.pages - *done, &more);
	if (more == 0)
		return err;
	moved.pages = more;
	ferry_frames_drop(space, moved);
	ferry_count(&space->books->counters.moved_by_copy, more);
	*done += more;
	return err;
}
