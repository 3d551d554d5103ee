/* SPDX-License-Identifier: MIT */
/* strays.c - see strays.h. */
#include "runtime/strays.h"

#include "map/entry.h"

/* Pages that are charged and in place: they belong on the real node of their node. */
static bool is_settled(struct ferry_pte pte)
{
	return ferry_pte_state(pte) == FERRY_PTE_MAPPED && ferry_entry_charged(pte);
}

/* => whether a page of the leaf at va is shared. => lock held. */
static bool look_at_leaf(struct ferry_agent *agent, ferry_va va)
{
	struct ferry_mmu *mmu = &agent->uffd.mmu;
	const struct ferry_pte *leaf = ferry_entry_leaf(&agent->space, va);
	uint8_t flags[FERRY_HUGE_PAGES];
	bool shared = false;

	if (leaf == NULL || mmu->ops->lookup(mmu, va, FERRY_HUGE_PAGES, flags))
		return false;
	for (uint32_t i = 0, n; i < FERRY_HUGE_PAGES; i += n) {
		uint32_t node = ferry_pte_frame(leaf[i]).node;

		n = 1;
		if (!is_settled(leaf[i]) || !(flags[i] & FERRY_MMU_PRESENT))
			continue;
		if (!(flags[i] & FERRY_MMU_EXCLUSIVE)) {
			shared = true;
			continue;
		}
		while (i + n < FERRY_HUGE_PAGES && is_settled(leaf[i + n]) &&
		       (flags[i + n] & FERRY_MMU_EXCLUSIVE) &&
		       ferry_pte_frame(leaf[i + n]).node == node)
			n++;
		ferry_uffd_bring_to_node(&agent->uffd, va + (ferry_va)i * FERRY_PAGE_SIZE, n, node);
	}
	return shared;
}

void ferry_strays_look(struct ferry_agent *agent)
{
	const ferry_va end = UINT64_C(1) << FERRY_VA_BITS;
	uint64_t forks = __atomic_load_n(&agent->books->counters.events_fork, __ATOMIC_ACQUIRE);
	bool shared = false;
	ferry_va va = 0;

	if (!agent->uffd.real_nodes || forks == agent->forks_settled)
		return;
	for (;;) {
		ferry_lock_acquire(&agent->space.lock);
		va = ferry_ptable_next_leaf(agent->books, va, end);
		if (va < end)
			shared |= look_at_leaf(agent, ferry_huge_down(va));
		ferry_lock_release(&agent->space.lock);
		if (va >= end)
			break;
		va = ferry_huge_down(va) + FERRY_HUGE_SIZE;
	}
	if (!shared)
		agent->forks_settled = forks;
}
