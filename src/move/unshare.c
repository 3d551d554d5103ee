/* SPDX-License-Identifier: MIT */
/*
 * unshare.c - pages that the host would not let go become the process's own.
 *
 * A page that is shared since a fork moves for all who share it (MOVE_ALL):
 *
 *      UNKNOWN --a look--> SHARED --unshare()--> UNSHARED --gather--> a page like any other
 *
 * First the others: each makes a copy of its own, and moves it. Then we: the copy is charged before
 * it is made, so that a node is never filled beyond its capacity. Who is the last one keeps the
 * page. Batch by batch, so that few copies wait to be moved.
 */
#include <errno.h>

#include "base/os.h"
#include "move/mover.h"

/* --- by a write fault that changes nothing ------------------------------------------------ */

/* The first page that cannot be reclaimed (one that may only be read) ends the call: then each page
 * is tried by itself. What cannot be done shows in the next pass. */
static int reclaim_run(struct ferry_mmu *mmu, ferry_va va, uint32_t pages)
{
	int err = mmu->ops->reclaim_exclusive(mmu, va, pages);

	if (err == 0 || err == -ESRCH || pages == 1)
		return err;
	for (uint32_t i = 0; i < pages && err != -ESRCH; i++)
		err = mmu->ops->reclaim_exclusive(mmu, va + (ferry_va)i * FERRY_PAGE_SIZE, 1);
	return err;
}

void ferry_mover_reclaim(struct ferry_mover *m)
{
	struct ferry_mmu *mmu = m->space->mmu;

	for (size_t i = 0, n; i < m->count && mmu->ops->reclaim_exclusive != NULL; i += n) {
		const struct ferry_page *first = &m->entries[i];

		n = 1;
		if (first->status != FERRY_MOVE_PENDING || first->reason != FERRY_REASON_PINNED)
			continue;
		while (i + n < m->count && n < FERRY_BATCH_MAX &&
		       first[n].status == FERRY_MOVE_PENDING &&
		       first[n].reason == FERRY_REASON_PINNED &&
		       first[n].va == first->va + (ferry_va)n * FERRY_PAGE_SIZE)
			n++;
		if (reclaim_run(mmu, first->va, (uint32_t)n) == -ESRCH)
			return;
	}
}

static void make_copies(struct ferry_mover *m)
{
	const struct ferry_shared_batch *shared = &m->shared;
	struct ferry_mmu *mmu = m->space->mmu;
	uint32_t n;

	for (uint32_t i = 0; i < m->shared_count; i += n) {
		n = 1;
		if (shared->status[i] != 0)
			continue;
		while (i + n < m->shared_count && shared->status[i + n] == 0 &&
		       shared->va[i + n] == shared->va[i] + (ferry_va)n * FERRY_PAGE_SIZE)
			n++;
		if (reclaim_run(mmu, shared->va[i], n) == -ESRCH)
			return;
	}
}

/* --- room for the copies ------------------------------------------------------------------ */

/* Could one more page of the node be charged now? */
static bool has_room(struct ferry_space *space, uint32_t node)
{
	struct ferry_pool *pool = &space->pools[node];

	/* Free frames that have memory are paid for, too. */
	if (ferry_pool_spare(pool) == 0) {
		ferry_pool_grant(pool, ferry_pool_shrink(pool, space->mmu, FERRY_BATCH_MAX));
		ferry_entry_publish(space, node);
	}
	return ferry_pool_spare(pool) > 0;
}

/* The lock may be let go meanwhile. => whether there is room. */
static bool make_room(struct ferry_mover *m, uint32_t node, uint32_t pages)
{
	struct ferry_space *space = m->space;
	struct ferry_pool *pool = &space->pools[node];
	bool granted = true;

	while (granted && !has_room(space, node) && pool->dry_until_ns <= ferry_os->now_ns()) {
		/* Copies that the program's writes have made come first. */
		uint64_t want = pages + ferry_pool_over(pool);

		ferry_lock_release(&space->lock);
		granted = ferry_space_refill(space, node, want);
		ferry_lock_acquire(&space->lock);
		ferry_mover_forget(m);
	}
	return has_room(space, node);
}

/* Is the page another process's, too? An entry without COW is charged already. */
static bool needs_charge(struct ferry_mover *m, ferry_va va, const struct ferry_pte *slot)
{
	return slot != NULL && ferry_pte_state(*slot) == FERRY_PTE_MAPPED &&
	       ferry_pte_has(*slot, FERRY_PTE_COW) &&
	       ferry_mover_is_shared(ferry_mover_look(m, va));
}

/* Charges the copy that is to be made of page i. => 0, -ENOMEM. */
static int charge_copy(struct ferry_mover *m, uint32_t i)
{
	ferry_va va = m->shared.va[i];
	struct ferry_pte *slot = ferry_mover_slot(m, va);

	if (!needs_charge(m, va, slot))
		return 0;
	if (!make_room(m, ferry_pte_frame(*slot).node, m->shared_count - i))
		return -ENOMEM;
	slot = ferry_mover_slot(m, va);
	if (needs_charge(m, va, slot))
		ferry_entry_own(m->space, slot, va);
	return 0;
}

static void charge_copies(struct ferry_mover *m)
{
	ferry_lock_acquire(&m->space->lock);
	ferry_mover_forget(m);
	for (uint32_t i = 0; i < m->shared_count; i++) {
		struct ferry_page *entry = &m->entries[m->shared.index[i]];

		entry->sharing = FERRY_UNSHARED;
		if (m->shared.status[i] == 0)
			m->shared.status[i] = charge_copy(m, i);
		if (m->shared.status[i] != 0)
			ferry_mover_settle(m, m->shared.index[i], -ENOMEM, FERRY_REASON_FULL);
	}
	ferry_lock_release(&m->space->lock);
}

/* --- a batch ------------------------------------------------------------------------------ */

void ferry_mover_add_shared(struct ferry_mover *m, size_t index)
{
	struct ferry_shared_batch *shared = &m->shared;
	uint32_t n = m->shared_count++;

	shared->index[n] = index;
	shared->va[n] = m->entries[index].va;
	shared->target[n] = m->entries[index].target;
	shared->status[n] = 0;
}

size_t ferry_mover_unshare(struct ferry_mover *m)
{
	const struct ferry_space_host *host = &m->space->host;
	struct ferry_shared_batch *shared = &m->shared;

	if (!m->list->shared_only && host->unshare != NULL)
		host->unshare(host->context, shared->va, shared->target, shared->status,
			      m->shared_count);
	charge_copies(m);
	if (m->space->mmu->ops->reclaim_exclusive != NULL)
		make_copies(m);
	m->shared_count = 0;
	return shared->index[0];
}
