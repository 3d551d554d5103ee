/* SPDX-License-Identifier: MIT */
/*
 * adopt.c - memory that is there already: taken over at the start, found out about later, or
 * inherited from a parent.
 *
 * Reconciling compares each entry with what the host has at its address:
 *
 *      entry      host has            then
 *      NONE       page of our own     charged to a node (MAPPED)
 *      NONE       page that is shared MAPPED and COW, uncharged
 *      NONE       zero page           write-protected (ZERO); where that cannot be, taken out
 *      ZERO       nothing             NONE
 *      ZERO       page                as with NONE
 *      MAPPED     nothing             frame free, NONE
 *      COW        page of our own     charged, no longer COW
 *      HUGE       small pages         small entries
 *      HELD       anything            nothing: its mover or its next touch sees to it
 */
#include <errno.h>

#include "base/os.h"
#include "map/entry.h"
#include "map/region.h"

enum {
	BLOCK = FERRY_HUGE_PAGES, /* pages looked up at a time; never across 2 MiB */
	SLICE_LEAVES = 32,        /* of a slice of housekeeping that looks at the host */
	SLICE_PASSED = 2048,      /* ... and that it passes over */
};

/* --- one block ---------------------------------------------------------------------------- */

struct block {
	struct ferry_space *space;
	ferry_va va;
	uint32_t pages;
	int local_node;
	struct ferry_pte *slots; /* pages entries */
	uint8_t flags[BLOCK];    /* enum ferry_mmu_page */
};

static void widen(ferry_va *start, ferry_va *end, ferry_va more_start, ferry_va more_end)
{
	bool none = *start >= *end;

	if (none || more_start < *start)
		*start = more_start;
	if (none || more_end > *end)
		*end = more_end;
}

void ferry_space_doubt(struct ferry_space *space, ferry_va start, ferry_va end)
{
	if (start < end)
		widen(&space->doubt_start, &space->doubt_end, start, end);
}

void ferry_space_leave(struct ferry_space *space, ferry_va start, ferry_va end)
{
	if (space->grace_ns == 0)
		ferry_space_doubt(space, start, end);
	else
		widen(&space->young_start, &space->young_end, start, end);
}

/* What was discarded more than a grace ago and is still there stays: it is in doubt from now on. */
static void turn(struct ferry_space *space)
{
	uint64_t now = ferry_os->now_ns();

	if (now - space->turned_ns < space->grace_ns)
		return;
	ferry_space_doubt(space, space->old_start, space->old_end);
	space->old_start = space->young_start;
	space->old_end = space->young_end;
	space->young_start = space->young_end = 0;
	space->turned_ns = now;
}

static void doubt_page(const struct block *block, uint32_t i)
{
	ferry_va va = block->va + (ferry_va)i * FERRY_PAGE_SIZE;

	ferry_space_doubt(block->space, va, va + FERRY_PAGE_SIZE);
}

static bool is_unknown_page(const struct block *block, uint32_t i)
{
	enum ferry_pte_state state = ferry_pte_state(block->slots[i]);

	return (state == FERRY_PTE_NONE || state == FERRY_PTE_ZERO) &&
	       (block->flags[i] & FERRY_MMU_PRESENT) != 0 &&
	       (block->flags[i] & (FERRY_MMU_FILE | FERRY_MMU_ZERO)) == 0 &&
	       !ferry_space_is_leaving(block->space, block->va + (ferry_va)i * FERRY_PAGE_SIZE);
}

static uint32_t node_of(const struct block *block, uint32_t i)
{
	return ferry_space_home_node(block->space, block->va + (ferry_va)i * FERRY_PAGE_SIZE,
				     block->local_node);
}

/* => the flag of entries whose page is shared since a fork that we were not there for. */
static uint32_t shared_flag(const struct block *block, uint32_t i)
{
	return (block->flags[i] & FERRY_MMU_EXCLUSIVE) != 0 ? 0 : FERRY_PTE_COW;
}

/* Takes on the unknown pages from i on that go to one node, and charges them unless they are
 * shared. => how many. */
static uint32_t adopt_run(const struct block *block, uint32_t i)
{
	struct ferry_space *space = block->space;
	bool alone = space->machine->policy.mode == FERRY_POLICY_INTERLEAVE ||
		     space->mmu->caps.real_nodes;
	ferry_va va = block->va + (ferry_va)i * FERRY_PAGE_SIZE;
	uint32_t node = ferry_entry_locate(space, va, node_of(block, i)), n = 1;
	uint32_t shared = shared_flag(block, i);
	struct ferry_run run;
	int ret;

	while (!alone && i + n < block->pages && is_unknown_page(block, i + n) &&
	       shared_flag(block, i + n) == shared)
		n++;
	ret = ferry_pool_take(&space->pools[node], space->mmu, n, FERRY_FILL_NONE, &run);
	if (ret < 0) {
		ferry_entry_adopt(space, &block->slots[i], va, node, shared);
		return 1;
	}
	if (shared == 0)
		ferry_pool_charge(&space->pools[node], run.pages);
	for (uint32_t k = 0; k < run.pages; k++) {
		struct ferry_pte *slot = &block->slots[i + k];
		uint32_t thread = (uint32_t)ferry_entry_blank(*slot).word;

		ferry_entry_set(space, slot,
				ferry_pte_make(FERRY_PTE_MAPPED, ferry_frame_plus(run.first, k),
					       thread | shared));
	}
	ferry_entry_publish(space, node);
	ferry_count(&space->books->counters.adopted_pages, run.pages);
	return run.pages;
}

/* A zero page that cannot be write-protected: a write to it would go unseen, so it goes. */
static void clear_zero_page(struct ferry_space *space, struct ferry_pte *slot, ferry_va va,
			    uint32_t node)
{
	int err = -EAGAIN;

	if (space->gate == 0)
		err = ferry_entry_take_zero(space, slot, va, node);
	if (ferry_pte_state(*slot) == FERRY_PTE_HELD)
		err = ferry_space_bring_home(space, va);
	else
		ferry_entry_set(space, slot, ferry_entry_blank(*slot));
	space->mmu->ops->wake(space->mmu, va, 1);
	if (err != 0 && err != -ENOENT)
		ferry_space_doubt(space, va, va + FERRY_PAGE_SIZE);
}

/* A zero page at a NONE or ZERO entry. */
static void take_zero_page(const struct block *block, uint32_t i)
{
	struct ferry_space *space = block->space;
	ferry_va va = block->va + (ferry_va)i * FERRY_PAGE_SIZE;
	struct ferry_pte *slot = &block->slots[i];
	struct ferry_pte zero = { .word = FERRY_PTE_ZERO | ferry_entry_blank(*slot).word };
	int err = 0;

	/* Not write-protected, a write to it would go unseen. */
	if ((block->flags[i] & FERRY_MMU_WP) == 0)
		err = space->mmu->ops->enter_zero(space->mmu, va);
	if (err == 0)
		ferry_entry_set(space, slot, zero);
	else if (err == -ESTALE)
		ferry_entry_adopt(space, slot, va, node_of(block, i), 0);
	else
		clear_zero_page(space, slot, va, node_of(block, i));
}

static void reconcile_mapped(const struct block *block, uint32_t i)
{
	struct ferry_space *space = block->space;
	ferry_va va = block->va + (ferry_va)i * FERRY_PAGE_SIZE;
	struct ferry_pte *slot = &block->slots[i];
	uint8_t flags = block->flags[i];

	if (ferry_pte_has(*slot, FERRY_PTE_HUGE) && (flags & FERRY_MMU_HUGE) == 0)
		ferry_entry_split(space, va);
	if ((flags & FERRY_MMU_PRESENT) == 0 || (flags & FERRY_MMU_FILE) != 0) {
		if (!ferry_entry_is_lost(space, va)) {
			doubt_page(block, i);
			return;
		}
		ferry_entry_forget(space, slot);
		ferry_count(&space->books->counters.healed, 1);
		return;
	}
	if (ferry_pte_has(*slot, FERRY_PTE_COW) && (flags & FERRY_MMU_EXCLUSIVE) != 0)
		ferry_entry_own(space, slot, va);
	if (ferry_pte_has(*slot, FERRY_PTE_NO_SLOT) && ferry_entry_number(space, slot) != 0)
		doubt_page(block, i);
}

/* => entries dealt with. */
static uint32_t reconcile_entry(const struct block *block, uint32_t i)
{
	enum ferry_pte_state state = ferry_pte_state(block->slots[i]);
	uint8_t flags = block->flags[i];

	if (state == FERRY_PTE_HELD)
		return 1;
	if (state == FERRY_PTE_MAPPED)
		reconcile_mapped(block, i);
	else if (is_unknown_page(block, i))
		return adopt_run(block, i);
	else if ((flags & FERRY_MMU_ZERO) != 0)
		take_zero_page(block, i);
	else if (state == FERRY_PTE_ZERO)
		ferry_entry_set(block->space, &block->slots[i], ferry_entry_blank(block->slots[i]));
	return 1;
}

static bool is_any_present(const struct block *block)
{
	uint8_t any = 0;

	for (uint32_t i = 0; i < block->pages; i++)
		any |= block->flags[i];
	return any != 0;
}

static int reconcile_block(struct block *block)
{
	struct ferry_space *space = block->space;
	int err = space->mmu->ops->lookup(space->mmu, block->va, block->pages, block->flags);

	if (err != 0)
		return err;
	block->slots = ferry_entry_find(space, block->va);
	if (block->slots == NULL && !is_any_present(block))
		return 0;
	if (block->slots == NULL)
		block->slots = ferry_ptable_slot(space->books, block->va);
	if (block->slots == NULL)
		return -ENOSPC;
	for (uint32_t i = 0; i < block->pages;)
		i += reconcile_entry(block, i);
	return 0;
}

/* Skips what has neither pages nor entries. => the next address worth a look, or end. */
static ferry_va skip_empty(struct ferry_space *space, ferry_va va, ferry_va end)
{
	ferry_va entry, page;

	if (ferry_entry_leaf(space, va) != NULL)
		return va;
	entry = ferry_ptable_next_leaf(space->books, va, end);
	page = ferry_mmu_next_present(space->mmu, va, end);
	return entry < page ? entry : page;
}

static int reconcile_range(struct ferry_space *space, ferry_va start, ferry_va end, int local_node)
{
	struct block block = { .space = space, .local_node = local_node };

	for (block.va = start; block.va < end;
	     block.va += block.pages * (ferry_va)FERRY_PAGE_SIZE) {
		ferry_va stop;
		int err;

		block.va = skip_empty(space, block.va, end);
		if (block.va >= end)
			break;
		stop = ferry_huge_down(block.va) + FERRY_HUGE_SIZE;
		if (stop > end)
			stop = end;
		block.pages = (uint32_t)((stop - block.va) >> FERRY_PAGE_SHIFT);
		err = reconcile_block(&block);
		if (err == -ESRCH)
			__atomic_store_n(&space->gone, 1, __ATOMIC_RELAXED);
		if (err != 0)
			return err;
	}
	return 0;
}

/* --- ranges ------------------------------------------------------------------------------- */

/* The part of [*start, end) with entries that comes first. => false: none. */
static bool next_managed(const struct ferry_space *space, ferry_va *start, ferry_va end,
			 ferry_va *stop)
{
	const struct ferry_region *regions = ferry_books_regions(space->books);
	uint32_t index = ferry_region_index(space->books, *start);

	while (index < space->books->region_count &&
	       (regions[index].flags & FERRY_REGION_SHARED) != 0)
		index++;
	if (*start >= end || index >= space->books->region_count || regions[index].start >= end)
		return false;
	if (regions[index].start > *start)
		*start = regions[index].start;
	*stop = regions[index].end < end ? regions[index].end : end;
	return true;
}

int ferry_space_reconcile(struct ferry_space *space, ferry_va start, ferry_va end, int local_node)
{
	ferry_va va = ferry_page_down(start), stop;
	int err = 0;

	end = ferry_page_up(end);
	while (err == 0 && next_managed(space, &va, end, &stop)) {
		err = reconcile_range(space, va, stop, local_node);
		va = stop;
	}
	/* Books without room for more tables: those pages stay unknown. */
	return err == -ESRCH ? -ESRCH : 0;
}

static bool leaf_has_shared(const struct ferry_space *space, ferry_va va)
{
	const struct ferry_pte *leaf = ferry_entry_leaf(space, va);

	for (uint32_t i = 0; leaf != NULL && i < FERRY_HUGE_PAGES; i++) {
		if (ferry_pte_has(leaf[i], FERRY_PTE_COW))
			return true;
	}
	return false;
}

/* A round begins: what is in doubt now is looked at in it. => false: nothing to do. */
static bool begin_round(struct ferry_space *space, ferry_va *cursor)
{
	turn(space);
	space->round_start = space->doubt_start;
	space->round_end = space->doubt_end;
	space->doubt_start = space->doubt_end = 0;
	if (space->cow_pages == 0)
		*cursor = space->round_start;
	return space->cow_pages > 0 || space->round_start < space->round_end;
}

int ferry_space_reconcile_slice(struct ferry_space *space, ferry_va *cursor, int local_node)
{
	const ferry_va top = UINT64_C(1) << FERRY_VA_BITS;
	uint32_t looked = 0;
	ferry_va stop;

	if (*cursor == 0 && !begin_round(space, cursor))
		return 0;
	for (uint32_t passed = 0; passed < SLICE_PASSED && looked < SLICE_LEAVES; passed++) {
		ferry_va end = space->cow_pages > 0 ? top : space->round_end;

		if (*cursor >= end || !next_managed(space, cursor, end, &stop)) {
			*cursor = 0;
			return 0;
		}
		if (stop > ferry_huge_down(*cursor) + FERRY_HUGE_SIZE)
			stop = ferry_huge_down(*cursor) + FERRY_HUGE_SIZE;
		if ((*cursor < space->round_end && stop > space->round_start) ||
		    leaf_has_shared(space, *cursor)) {
			if (reconcile_range(space, *cursor, stop, local_node) == -ESRCH)
				return -ESRCH;
			looked++;
		}
		*cursor = stop;
	}
	return 1;
}

int ferry_space_adopt(struct ferry_space *space, ferry_va start, ferry_va end, uint32_t flags,
		      int local_node)
{
	int err = space->mmu->ops->arm(space->mmu, start, end - start);

	if (err == 0)
		err = ferry_region_insert(space->books, start, end, flags);
	if (err != 0)
		return err;
	err = reconcile_range(space, start, end, local_node);
	/* What could not be looked at now is looked at again by housekeeping. */
	if (err != 0)
		ferry_space_doubt(space, start, end);
	return err == -ESRCH ? -ESRCH : 0;
}

int ferry_space_adopt_shared(struct ferry_space *space, const struct ferry_region *region)
{
	struct ferry_mmu *mmu = space->mmu;
	struct ferry_region armed = *region;
	int err = mmu->ops->arm_shared(mmu, region->start, region->end - region->start);

	if (err == -EPERM || err == -EINVAL)
		armed.flags |= FERRY_REGION_UNARMED;
	else if (err != 0)
		return err;
	return ferry_region_put(space->books, &armed);
}

/* --- a child begins ------------------------------------------------------------------------- */

/* A run of entries that the child repeats. */
struct legacy {
	struct ferry_space *child;
	ferry_va va;                    /* of the leaf */
	const struct ferry_pte *parent; /* a leaf */
	struct ferry_pte *slots;
};

static void inherit_page(const struct legacy *legacy, uint32_t i)
{
	struct ferry_space *child = legacy->child;
	struct ferry_pte pte = { .word = __atomic_load_n(&legacy->parent[i].word,
							 __ATOMIC_RELAXED) };
	struct ferry_frame frame = ferry_pte_frame(pte);
	struct ferry_run run = { .first = frame, .pages = 1 };
	uint32_t flags = FERRY_PTE_COW | (uint32_t)ferry_entry_blank(pte).word;

	if (!ferry_pte_resident(pte)) {
		struct ferry_pte same = { .word = pte.word & (FERRY_PTE_THREAD | 3) };

		ferry_entry_set(child, &legacy->slots[i], same);
		return;
	}
	if (frame.node >= child->machine->node_count)
		return;
	run.first.huge = frame.huge = 0;
	if (ferry_pte_has(pte, FERRY_PTE_NO_SLOT) ||
	    ferry_pool_take_exact(&child->pools[frame.node], run) != 0) {
		frame.number = 0;
		flags |= FERRY_PTE_NO_SLOT;
	}
	ferry_entry_set(child, &legacy->slots[i], ferry_pte_make(FERRY_PTE_MAPPED, frame, flags));
	/* The parent's books may have gone on while they were read: then any other number does. */
	if ((flags & FERRY_PTE_NO_SLOT) != 0 && ferry_entry_number(child, &legacy->slots[i]) != 0)
		ferry_space_doubt(child, legacy->va, legacy->va + FERRY_HUGE_SIZE);
}

static int inherit_region(struct ferry_space *child, const struct ferry_books *parent,
			  const struct ferry_region *region)
{
	ferry_va va = ferry_ptable_next_leaf(parent, region->start, region->end);

	for (; va < region->end; va = ferry_ptable_next_leaf(parent, va, region->end)) {
		ferry_va leaf_end = ferry_huge_down(va) + FERRY_HUGE_SIZE;
		ferry_va stop = leaf_end < region->end ? leaf_end : region->end;
		struct legacy legacy = {
			.child = child,
			.va = ferry_huge_down(va),
			.parent = ferry_ptable_leaf(parent, va),
			.slots = ferry_ptable_slot(child->books, ferry_huge_down(va)),
		};

		if (legacy.slots == NULL)
			return -ENOMEM;
		for (; legacy.parent != NULL && va < stop; va += FERRY_PAGE_SIZE)
			inherit_page(&legacy, ferry_entry_index(va));
		va = stop;
	}
	return 0;
}

int ferry_space_inherit(struct ferry_space *child, const struct ferry_books *parent)
{
	size_t bytes = FERRY_REGIONS_MAX * sizeof(struct ferry_region);
	struct ferry_region *regions = ferry_os->alloc(bytes);
	int count, err = 0;

	if (regions == NULL)
		return -ENOMEM;
	count = ferry_region_read(parent, regions, FERRY_REGIONS_MAX);
	if (count < 0)
		err = -ENOMEM;
	for (int i = 0; i < count && err == 0; i++) {
		/* Locks are not inherited. */
		regions[i].flags &= ~(uint32_t)FERRY_REGION_LOCKED;
		err = ferry_region_put(child->books, &regions[i]);
		if (err == 0)
			err = inherit_region(child, parent, &regions[i]);
	}
	for (uint32_t node = 0; node < child->machine->node_count; node++)
		ferry_entry_publish(child, node);
	ferry_os->free(regions, bytes);
	return err;
}

void ferry_space_own_shared(struct ferry_space *space)
{
	const ferry_va end = UINT64_C(1) << FERRY_VA_BITS;
	ferry_va va = space->cow_pages > 0 ? ferry_ptable_next_leaf(space->books, 0, end) : end;

	while (va < end && space->cow_pages > 0) {
		struct ferry_pte *leaf = ferry_entry_leaf(space, va);

		va = ferry_huge_down(va);
		for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
			if (ferry_pte_has(leaf[i], FERRY_PTE_COW))
				ferry_entry_own(space, &leaf[i],
						va + (ferry_va)i * FERRY_PAGE_SIZE);
		}
		va = ferry_ptable_next_leaf(space->books, ferry_huge_down(va) + FERRY_HUGE_SIZE,
					    end);
	}
}
