/* SPDX-License-Identifier: MIT */
/*
 * space.c - making a space, the gate, and pages that come home; see space.h.
 *
 * The gate: movers look at `gate` before they take a batch out and wait for it to become 0. Whoever
 * closes it waits for flight_count to become 0 and brings home what nobody works on; from then on
 * nothing is away until the gate opens.
 */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "map/entry.h"
#include "map/region.h"

enum { GATE_WAIT_NS = 1000 * 1000, GRACE_NS = 1000 * 1000 * 1000 };

static int make_pools(struct ferry_space *space, const uint64_t *slots)
{
	uint32_t node_count = space->machine->node_count;

	space->pools = ferry_os->alloc(node_count * sizeof(struct ferry_pool));
	if (space->pools == NULL)
		return -ENOMEM;
	for (uint32_t node = 0; node < node_count; node++) {
		int err = ferry_pool_init(&space->pools[node], (uint16_t)node, slots[node]);

		if (err != 0)
			return err;
	}
	return 0;
}

static int make_fallback(struct ferry_space *space)
{
	uint32_t node_count = space->machine->node_count;

	space->fallback = ferry_os->alloc((size_t)node_count * node_count * sizeof(uint16_t));
	if (space->fallback == NULL)
		return -ENOMEM;
	for (uint32_t node = 0; node < node_count; node++)
		ferry_machine_fallback(space->machine, node,
				       space->fallback + (size_t)node * node_count);
	return 0;
}

int ferry_space_init(struct ferry_space *space, struct ferry_books *books,
		     const struct ferry_machine *machine, struct ferry_mmu *mmu,
		     const struct ferry_space_host *host)
{
	int err;

	memset(space, 0, sizeof(*space));
	ferry_lock_init(&space->lock, FERRY_RANK_SPACE);
	space->books = books;
	space->machine = machine;
	space->mmu = mmu;
	space->host = *host;
	space->counts = ferry_books_node_counts(books);
	space->grace_ns = GRACE_NS;
	err = make_pools(space, host->slots);
	space->host.slots = NULL;
	if (err == 0)
		err = make_fallback(space);
	if (err != 0)
		ferry_space_destroy(space);
	return err;
}

void ferry_space_destroy(struct ferry_space *space)
{
	uint32_t node_count = space->machine->node_count;

	if (space->idle_mover != NULL)
		ferry_os->free(space->idle_mover, space->idle_mover_bytes);
	if (space->fallback != NULL)
		ferry_os->free(space->fallback, (size_t)node_count * node_count * sizeof(uint16_t));
	for (uint32_t node = 0; space->pools != NULL && node < node_count; node++)
		ferry_pool_destroy(&space->pools[node]);
	if (space->pools != NULL)
		ferry_os->free(space->pools, node_count * sizeof(struct ferry_pool));
	space->idle_mover = NULL;
	space->fallback = NULL;
	space->pools = NULL;
}

/* --- coming home -------------------------------------------------------------------------- */

/* The page of a HELD entry cannot come back: something else is at its address, or nothing can be.
 */
static void lose_place(struct ferry_space *space, ferry_va va, struct ferry_pte *slot,
		       bool occupied)
{
	struct ferry_run run = { .first = ferry_pte_frame(*slot), .pages = 1 };

	ferry_entry_set(space, slot, ferry_entry_blank(*slot));
	ferry_frames_put(space, run, FERRY_CONTENT_DIRTY, true);
	ferry_count(&space->books->counters.healed, 1);
	if (occupied)
		ferry_entry_adopt(space, slot, va, run.first.node, 0);
	space->mmu->ops->wake(space->mmu, va, 1);
}

int ferry_space_bring_home(struct ferry_space *space, ferry_va va)
{
	struct ferry_pte *slot = ferry_entry_find(space, va);
	struct ferry_run run = { .pages = 1 };
	uint32_t done;
	int err;

	FERRY_ASSERT(slot != NULL && ferry_pte_state(*slot) == FERRY_PTE_HELD &&
		     (slot->word & (FERRY_PTE_BUSY | FERRY_PTE_HUGE)) == 0);
	run.first = ferry_pte_frame(*slot);
	err = ferry_frames_enter(space, va, run, &done);
	switch (err) {
	case 0:
		ferry_entry_set(space, slot,
				ferry_entry_with(*slot, FERRY_PTE_MAPPED, FERRY_PTE_HELD));
		space->mmu->ops->wake(space->mmu, va, 1);
		return 0;
	case -EEXIST:
		lose_place(space, va, slot, true);
		return 0;
	case -ENOENT:
		lose_place(space, va, slot, false);
		return -ENOENT;
	case -ESRCH:
		__atomic_store_n(&space->gone, 1, __ATOMIC_RELAXED);
		return -ESRCH;
	default:
		return -EAGAIN;
	}
}

/* Brings home what is away with nobody working on it. => 0, -EAGAIN, -ESRCH. */
static int bring_all_home(struct ferry_space *space)
{
	const ferry_va end = UINT64_C(1) << FERRY_VA_BITS;
	ferry_va va = ferry_ptable_next_leaf(space->books, 0, end);

	while (va < end && space->idle_held > 0) {
		struct ferry_pte *leaf = ferry_entry_leaf(space, va);

		va = ferry_huge_down(va);
		for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
			int err;

			if (ferry_pte_state(leaf[i]) != FERRY_PTE_HELD ||
			    ferry_pte_has(leaf[i], FERRY_PTE_BUSY))
				continue;
			err = ferry_space_bring_home(space, va + (ferry_va)i * FERRY_PAGE_SIZE);
			if (err != 0 && err != -ENOENT)
				return err;
		}
		va = ferry_ptable_next_leaf(space->books, va + FERRY_HUGE_SIZE, end);
	}
	return 0;
}

/* --- the gate ----------------------------------------------------------------------------- */

int ferry_space_close_gate(struct ferry_space *space)
{
	int err = 0;

	ferry_lock_acquire(&space->lock);
	__atomic_store_n(&space->gate, space->gate + 1, __ATOMIC_RELAXED);
	for (;;) {
		uint32_t flights = space->flight_count;

		if (flights == 0 && space->mmu->ops->settle != NULL) {
			ferry_lock_release(&space->lock);
			space->mmu->ops->settle(space->mmu);
			ferry_lock_acquire(&space->lock);
		}
		if (space->gone != 0) {
			err = -ESRCH;
			break;
		}
		if (flights == 0) {
			err = bring_all_home(space);
			if (err != -EAGAIN)
				break;
		}
		ferry_lock_release(&space->lock);
		if (space->host.read_events != NULL)
			space->host.read_events(space->host.context);
		if (flights == 0)
			ferry_os->yield();
		else
			ferry_os->wait(&space->flight_count, flights, GATE_WAIT_NS);
		ferry_lock_acquire(&space->lock);
	}
	ferry_lock_release(&space->lock);
	return err;
}

void ferry_space_open_gate(struct ferry_space *space)
{
	ferry_lock_acquire(&space->lock);
	FERRY_ASSERT(space->gate > 0);
	__atomic_store_n(&space->gate, space->gate - 1, __ATOMIC_RELAXED);
	ferry_lock_release(&space->lock);
	ferry_os->wake(&space->gate, INT32_MAX);
}

void ferry_space_freeze(struct ferry_space *space)
{
	__atomic_store_n(&space->frozen, 1, __ATOMIC_RELAXED);
	/* An error says that there is no address space any more. */
	if (ferry_space_close_gate(space) != 0)
		return;
}

/* --- pages that must never be away ----------------------------------------------------------- */

static int flag_page(struct ferry_space *space, ferry_va va)
{
	struct ferry_pte *slot = ferry_ptable_slot(space->books, va);

	if (slot == NULL)
		return -ENOMEM;
	if (ferry_pte_state(*slot) == FERRY_PTE_HELD) {
		int err;

		if (ferry_pte_has(*slot, FERRY_PTE_BUSY))
			return -EAGAIN;
		err = ferry_space_bring_home(space, va);
		if (err != 0 && err != -ENOENT)
			return err;
	}
	ferry_entry_set(space, slot, ferry_entry_with(*slot, FERRY_PTE_THREAD, 0));
	return 0;
}

int ferry_space_flag_thread(struct ferry_space *space, ferry_va start, ferry_va end)
{
	for (ferry_va va = ferry_page_down(start); va < end; va += FERRY_PAGE_SIZE) {
		int err = flag_page(space, va);

		if (err != 0)
			return err == -ESRCH ? -EAGAIN : err;
	}
	return 0;
}
