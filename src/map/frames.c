/* SPDX-License-Identifier: MIT */
/*
 * frames.c - where frames come from: the machine's policy, leases, and what can be taken back.
 *
 * A lease is a number of pages that the machine lets this process use of a node. It is asked for
 * without the lock; a refusal makes the node "dry" for a while, so that a full machine is not asked
 * at every fault.
 */
#include <errno.h>

#include "base/os.h"
#include "map/entry.h"

enum {
	DRY_NS = 20 * 1000 * 1000,
	KEEP_PAGES = 4096, /* lease beyond need that a process may keep, beside a part of its use */
	KEEP_SHIFT = 2,    /* ... this part */
	EXCESS_TICKS = 10, /* looks, a second apart, that lease must have been in excess at */
	RECLAIM_RUN = 64,
};

/* --- policy ------------------------------------------------------------------------------- */

/* The nodes that may serve one touch, best first. */
struct choice {
	const struct ferry_space *space;
	const uint16_t *order;
	struct ferry_nodeset only;
	bool bound; /* to `only` */
	uint32_t at;
};

static uint32_t nth_member(const struct ferry_nodeset *set, uint64_t n)
{
	uint32_t node = ferry_nodeset_next(set, 0);

	while (n-- > 0)
		node = ferry_nodeset_next(set, node + 1);
	return node;
}

uint32_t ferry_space_policy_nodes(const struct ferry_space *space, struct ferry_nodeset *nodes)
{
	const struct ferry_machine *machine = space->machine;
	const struct ferry_nodeset *allowed = space->host.allowed;

	*nodes = machine->policy.nodes;
	for (uint32_t i = 0; i < FERRY_ARRAY_SIZE(nodes->word); i++) {
		nodes->word[i] &= ~__atomic_load_n(&machine->unusable.word[i], __ATOMIC_RELAXED);
		if (allowed != NULL)
			nodes->word[i] &= __atomic_load_n(&allowed->word[i], __ATOMIC_RELAXED);
	}
	return ferry_nodeset_count(nodes);
}

int ferry_space_check_target(const struct ferry_space *space, int32_t node)
{
	if (!ferry_machine_has_memory(space->machine, node))
		return -ENODEV;
	return ferry_space_allows(space, (uint32_t)node) ? 0 : -EACCES;
}

static void choose(struct choice *choice, const struct ferry_space *space, uint64_t turn,
		   int local_node)
{
	const struct ferry_policy *policy = &space->machine->policy;
	uint32_t node_count = space->machine->node_count;
	bool known = local_node >= 0 && (uint32_t)local_node < node_count;
	uint32_t first = known ? (uint32_t)local_node : 0;
	uint32_t members = 0;

	choice->space = space;
	choice->bound = false;
	choice->at = 0;
	if (policy->mode != FERRY_POLICY_LOCAL)
		members = ferry_space_policy_nodes(space, &choice->only);
	if (members > 0 && policy->mode == FERRY_POLICY_BIND) {
		choice->bound = true;
		if (!known)
			first = nth_member(&choice->only, 0);
	} else if (members > 0) {
		first = nth_member(&choice->only, turn % members);
	}
	FERRY_ASSERT(first < node_count);
	choice->order = space->fallback + (size_t)first * node_count;
}

/* => the next node that may be used, or FERRY_NODES_MAX. */
static uint32_t next_choice(struct choice *choice)
{
	const struct ferry_machine *machine = choice->space->machine;

	while (choice->at < machine->node_count) {
		uint32_t node = choice->order[choice->at++];

		if (choice->bound && !ferry_nodeset_has(&choice->only, node))
			continue;
		if (ferry_space_allows(choice->space, node))
			return node;
	}
	return FERRY_NODES_MAX;
}

static bool has_room(const struct ferry_space *space, uint32_t node)
{
	const struct ferry_node *info = &ferry_machine_nodes(space->machine)[node];
	const struct ferry_pool *pool = &space->pools[node];
	uint64_t leased = __atomic_load_n(&info->leased_pages, __ATOMIC_RELAXED);

	return ferry_pool_spare(pool) > 0 || leased + ferry_pool_over(pool) < info->capacity_pages;
}

uint32_t ferry_space_home_node(struct ferry_space *space, ferry_va va, int local_node)
{
	struct choice choice;
	uint32_t first = FERRY_NODES_MAX, node;

	choose(&choice, space, va >> FERRY_PAGE_SHIFT, local_node);
	while ((node = next_choice(&choice)) != FERRY_NODES_MAX) {
		if (has_room(space, node))
			return node;
		if (first == FERRY_NODES_MAX)
			first = node;
	}
	return first == FERRY_NODES_MAX ? 0 : first;
}

/* --- first touch -------------------------------------------------------------------------- */

static int take_from(struct ferry_space *space, uint32_t node, const struct ferry_touch *touch,
		     struct ferry_run *run)
{
	struct ferry_pool *pool = &space->pools[node];
	/* What the host makes at an address it may make on any of its nodes. */
	enum ferry_fill fill = space->mmu->caps.real_nodes ? FERRY_FILL_ZERO : FERRY_FILL_NEW;
	int ret;

	*run = (struct ferry_run){ .first = { .node = (uint16_t)node } };
	if (touch->shared) {
		run->pages = (uint32_t)ferry_pool_shrink(pool, space->mmu, touch->want);
		ret = run->pages > 0 ? 0 : -ENOSPC;
	} else if (touch->huge) {
		ret = ferry_pool_take_huge(pool, space->mmu, FERRY_FILL_ZERO, run);
	} else {
		ret = ferry_pool_take(pool, space->mmu, touch->want, fill, run);
	}
	ferry_entry_publish(space, node);
	return ret < 0 ? ret : (int)run->pages;
}

int ferry_space_take(struct ferry_space *space, struct ferry_touch *touch, struct ferry_run *run)
{
	uint32_t shift = touch->huge ? FERRY_PAGE_SHIFT + 9 : FERRY_PAGE_SHIFT;
	struct choice choice;
	uint32_t node;

	touch->short_node = FERRY_NODES_MAX;
	choose(&choice, space, touch->va >> shift, touch->local_node);
	while ((node = next_choice(&choice)) != FERRY_NODES_MAX) {
		const struct ferry_pool *pool = &space->pools[node];
		int ret = take_from(space, node, touch, run);

		if (ret > 0 || (ret < 0 && ret != -ENOSPC && ret != -EMFILE))
			return ret;
		if (ret == -ENOSPC && pool->dry_until_ns <= ferry_os->now_ns()) {
			touch->short_node = node;
			return -ENOSPC;
		}
		/* A node is full only when it cannot give a small page either. */
		if (touch->huge && (ferry_pool_spare(pool) > 0 || pool->filled_pages > 0))
			return -ENOSPC;
	}
	return -ENOSPC;
}

/* --- leases ------------------------------------------------------------------------------- */

bool ferry_space_refill(struct ferry_space *space, uint32_t node, uint64_t want)
{
	uint64_t granted = 0;

	FERRY_ASSERT(node < space->machine->node_count);
	if (space->host.lease != NULL)
		granted = space->host.lease(space->host.context, node, want, false);
	ferry_lock_acquire(&space->lock);
	if (granted > 0) {
		ferry_pool_grant(&space->pools[node], granted);
		space->pools[node].dry_until_ns = 0;
	} else {
		space->pools[node].dry_until_ns = ferry_os->now_ns() + DRY_NS;
	}
	ferry_entry_publish(space, node);
	ferry_lock_release(&space->lock);
	return granted > 0;
}

uint64_t ferry_space_shrink(struct ferry_space *space, uint32_t node, uint64_t want)
{
	uint64_t pages = ferry_pool_shrink(&space->pools[node], space->mmu, want);

	ferry_entry_publish(space, node);
	return pages;
}

static uint64_t excess_of(const struct ferry_pool *pool)
{
	uint64_t unused = ferry_pool_spare(pool) + pool->filled_pages;
	uint64_t keep = (pool->charged_pages >> KEEP_SHIFT) + KEEP_PAGES;

	return unused > keep ? unused - keep : 0;
}

/* What was never needed at the last looks can go back: pages that go back and forth between nodes
 * need the frames that they left again. Who needs it sooner has it recalled. */
static uint64_t excess_to_return(struct ferry_pool *pool)
{
	uint64_t excess = excess_of(pool), least = pool->excess_pages;

	if (pool->excess_ticks == 0 || excess < least)
		pool->excess_pages = excess;
	if (++pool->excess_ticks < EXCESS_TICKS)
		return 0;
	pool->excess_ticks = 0;
	return pool->excess_pages;
}

static void settle_node(struct ferry_space *space, uint32_t node)
{
	struct ferry_pool *pool = &space->pools[node];
	uint64_t over, excess, back = 0;

	ferry_lock_acquire(&space->lock);
	over = ferry_pool_over(pool);
	excess = excess_to_return(pool);
	if (over == 0 && excess > 0)
		back = ferry_space_shrink(space, node, excess);
	ferry_entry_publish(space, node);
	ferry_lock_release(&space->lock);
	if (back > 0 && space->host.give_back != NULL)
		space->host.give_back(space->host.context, node, back);
	if (over > 0 && space->host.lease != NULL) {
		uint64_t granted = space->host.lease(space->host.context, node, over, true);

		ferry_lock_acquire(&space->lock);
		ferry_pool_grant(pool, granted);
		ferry_entry_publish(space, node);
		ferry_lock_release(&space->lock);
	}
}

void ferry_space_settle_leases(struct ferry_space *space)
{
	for (uint32_t node = 0; node < space->machine->node_count; node++)
		settle_node(space, node);
}

/* --- taking back pages that were placed ahead of need ---------------------------------------- */

static bool is_candidate(struct ferry_pte pte, uint32_t node)
{
	const uint64_t wrong = FERRY_PTE_BUSY | FERRY_PTE_COW | FERRY_PTE_HUGE | FERRY_PTE_THREAD |
			       FERRY_PTE_NO_SLOT;

	return ferry_pte_state(pte) == FERRY_PTE_MAPPED && ferry_pte_has(pte, FERRY_PTE_AHEAD) &&
	       (pte.word & wrong) == 0 &&
	       (node == FERRY_NODES_MAX || ferry_pte_frame(pte).node == node);
}

/* Entries from first on, in one leaf, that are candidates with consecutive frames. */
static uint32_t candidate_run(const struct ferry_pte *leaf, uint32_t first, uint32_t max,
			      uint32_t node)
{
	struct ferry_frame start = ferry_pte_frame(leaf[first]);
	uint32_t n = 1;

	while (n < max && first + n < FERRY_HUGE_PAGES && is_candidate(leaf[first + n], node)) {
		struct ferry_frame frame = ferry_pte_frame(leaf[first + n]);

		if (frame.node != start.node || frame.number != start.number + n)
			break;
		n++;
	}
	return n;
}

/* A page that was taken out to be looked at: freed if it is zero, else put back. => freed. */
static bool judge_page(struct ferry_space *space, ferry_va va, struct ferry_pte *slot)
{
	struct ferry_run run = { .first = ferry_pte_frame(*slot), .pages = 1 };
	struct ferry_pte old = ferry_entry_with(*slot, 0, FERRY_PTE_AHEAD);

	if (space->mmu->ops->is_zero(space->mmu, run.first)) {
		ferry_entry_set(space, slot, ferry_entry_blank(old));
		ferry_frames_put(space, run, FERRY_CONTENT_ZERO, true);
		ferry_count(&space->books->counters.ahead_taken, 1);
		return true;
	}
	ferry_entry_set(space, slot, ferry_entry_with(old, FERRY_PTE_HELD, 0));
	/* Where it cannot come home now, its next touch brings it. */
	if (ferry_space_bring_home(space, va) != 0)
		FERRY_DASSERT(!ferry_pte_has(*slot, FERRY_PTE_BUSY));
	return false;
}

/* One run of candidates: out, look, and free or put back. => pages freed; *n = entries passed. */
static uint32_t reclaim_run(struct ferry_space *space, ferry_va va, struct ferry_pte *slot,
			    uint32_t *n)
{
	uint32_t done = 0, freed = 0;
	int err = space->mmu->ops->remove(space->mmu, va, ferry_pte_frame(*slot), *n, &done);

	for (uint32_t i = 0; i < done; i++) {
		if (judge_page(space, va + (ferry_va)i * FERRY_PAGE_SIZE, &slot[i]))
			freed++;
	}
	if (done > 0)
		space->mmu->ops->wake(space->mmu, va, done);
	if (done < *n && err != -EAGAIN && err != -ESRCH && err != -ENOENT)
		/* In use by somebody: no longer a page that nobody needs. */
		ferry_entry_set(space, &slot[done],
				ferry_entry_with(slot[done], 0, FERRY_PTE_AHEAD));
	*n = done < *n ? done + 1 : done;
	return freed;
}

static uint32_t reclaim_leaf(struct ferry_space *space, ferry_va leaf_va, uint32_t node,
			     uint32_t want)
{
	struct ferry_pte *leaf = ferry_entry_leaf(space, leaf_va);
	uint32_t freed = 0;

	for (uint32_t i = 0; i < FERRY_HUGE_PAGES && freed < want;) {
		uint32_t n;

		if (!is_candidate(leaf[i], node)) {
			i++;
			continue;
		}
		n = candidate_run(leaf, i, want - freed < RECLAIM_RUN ? want - freed : RECLAIM_RUN,
				  node);
		freed += reclaim_run(space, leaf_va + (ferry_va)i * FERRY_PAGE_SIZE, &leaf[i], &n);
		i += n;
	}
	return freed;
}

uint32_t ferry_space_reclaim_ahead_on(struct ferry_space *space, uint32_t node, uint32_t want)
{
	const ferry_va end = UINT64_C(1) << FERRY_VA_BITS;
	ferry_va start = ferry_huge_down(space->ahead_cursor), va = start;
	uint32_t freed = 0;
	bool wrapped = false;

	/* Under a closed gate nothing may be away, not even while the lock is held. */
	if (space->gate > 0)
		return 0;
	while (freed < want && space->ahead_pages > 0) {
		va = ferry_ptable_next_leaf(space->books, va, end);
		if (va >= end) {
			if (wrapped)
				break;
			wrapped = true;
			va = 0;
			continue;
		}
		if (wrapped && va >= start + FERRY_HUGE_SIZE)
			break;
		va = ferry_huge_down(va);
		freed += reclaim_leaf(space, va, node, want - freed);
		space->ahead_cursor = va;
		va += FERRY_HUGE_SIZE;
	}
	return freed;
}

uint32_t ferry_space_reclaim_ahead(struct ferry_space *space, uint32_t want)
{
	return ferry_space_reclaim_ahead_on(space, FERRY_NODES_MAX, want);
}
