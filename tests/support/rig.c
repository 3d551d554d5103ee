/* SPDX-License-Identifier: MIT */
/* rig.c - see rig.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "books.h"
#include "map/ptable.h"
#include "rig.h"

enum { PATIENCE = 10000, GIVES_UP = 50 };

/* --- the keeper --------------------------------------------------------------------------- */

static uint64_t keeper_lease(void *context, uint32_t node, uint64_t want, bool force)
{
	struct rig *rig = context;
	struct ferry_node *info = &ferry_machine_nodes(rig->machine)[node];
	uint64_t old = __atomic_load_n(&info->leased_pages, __ATOMIC_RELAXED), grant;

	do {
		uint64_t room = info->capacity_pages > old ? info->capacity_pages - old : 0;

		grant = want;
		if (!force && rig->options.lease_step != 0 && grant > rig->options.lease_step)
			grant = rig->options.lease_step;
		if (!force && grant > room)
			grant = room;
		if (!force && (rig->refuse || !ferry_machine_has_memory(rig->machine, node)))
			grant = 0;
	} while (!__atomic_compare_exchange_n(&info->leased_pages, &old, old + grant, false,
					      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	__atomic_fetch_add(&rig->leased[node], grant, __ATOMIC_RELAXED);
	return grant;
}

static void keeper_take_back(void *context, uint32_t node, uint64_t pages)
{
	struct rig *rig = context;

	__atomic_fetch_sub(&ferry_machine_nodes(rig->machine)[node].leased_pages, pages,
			   __ATOMIC_RELAXED);
	__atomic_fetch_sub(&rig->leased[node], pages, __ATOMIC_RELAXED);
}

static int host_mapping_at(void *context, ferry_va va, ferry_va *start, ferry_va *end,
			   bool *anonymous)
{
	struct rig *rig = context;

	return ferry_soft_mapping_at(&rig->soft, va, start, end, anonymous);
}

/* --- the handlers ------------------------------------------------------------------------- */

static void copy_in(void *context, ferry_va va, struct ferry_frame frame)
{
	ferry_soft_child_copy(context, va, frame);
}

static void handle_event(struct rig *rig, const struct ferry_soft_message *message)
{
	struct ferry_space *space = &rig->space;

	switch (message->kind) {
	case FERRY_SOFT_FORK:
		ferry_space_on_fork(space, copy_in, message->child);
		break;
	case FERRY_SOFT_REMAP:
		ferry_space_on_remap(space, message->start, message->to,
				     message->end - message->start);
		break;
	case FERRY_SOFT_UNMAP:
		ferry_space_on_unmap(space, message->start, message->end);
		break;
	case FERRY_SOFT_REMOVE:
		ferry_space_on_remove(space, message->start, message->end);
		break;
	default:
		FERRY_ASSERT(false);
	}
}

static void read_events(void *context)
{
	struct rig *rig = context;
	struct ferry_soft_message message;

	ferry_lock_acquire(&rig->space.lock);
	while (ferry_soft_read(&rig->soft, FERRY_SOFT_EVENT, &message))
		handle_event(rig, &message);
	ferry_lock_release(&rig->space.lock);
}

/* Serves a fault. => lock held on entry and exit, let go in between where that is wanted. */
static void serve_fault(struct rig *rig, const struct ferry_soft_message *message)
{
	struct ferry_space *space = &rig->space;
	struct ferry_fault fault = {
		.va = message->start,
		.write = message->write,
		.protection = message->protection,
		.local_node = -1,
	};

	for (uint32_t tries = 0;; tries++) {
		enum ferry_fault_result result = ferry_fault_serve(space, &fault);

		if (rig->gives_up && tries > GIVES_UP)
			return;
		FERRY_ASSERT(tries < PATIENCE);
		if (result == FERRY_FAULT_RETRY || result == FERRY_FAULT_SHORT) {
			rig->serving++;
			ferry_lock_release(&space->lock);
			if (result == FERRY_FAULT_SHORT)
				ferry_space_refill(space, fault.short_node, fault.short_pages + 8);
			else
				read_events(rig);
			ferry_os->yield();
			ferry_lock_acquire(&space->lock);
			rig->serving--;
		} else {
			if (result == FERRY_FAULT_NOMEM) {
				__atomic_fetch_add(&rig->nomem, 1, __ATOMIC_RELAXED);
				ferry_soft_end(&rig->soft);
			}
			return;
		}
	}
}

bool rig_serve(struct rig *rig, uint32_t kinds)
{
	struct ferry_soft_message message;
	bool found;

	ferry_lock_acquire(&rig->space.lock);
	found = ferry_soft_read(&rig->soft, kinds, &message);
	if (found && message.kind == FERRY_SOFT_FAULT)
		serve_fault(rig, &message);
	else if (found)
		handle_event(rig, &message);
	ferry_lock_release(&rig->space.lock);
	return found;
}

/* A plain test serves what waits by itself. */
static void serve_while_paused(struct rig *rig, uint32_t thread)
{
	/* An access is served in a few rounds, or never. */
	FERRY_ASSERT(++rig->pauses < PATIENCE);
	FERRY_ASSERT(rig_serve(rig, FERRY_SOFT_EVENT | FERRY_SOFT_FAULT) ||
		     !ferry_soft_waits(&rig->soft, thread));
}

/* --- life --------------------------------------------------------------------------------- */

static void begin_soft(struct rig *rig)
{
	const struct rig_options *options = &rig->options;
	uint64_t slots[RIG_NODES_MAX];
	struct ferry_soft_options soft = {
		.base = rig->base,
		.pages = options->pages,
		.memory_pages = options->memory,
		.node_count = options->nodes,
		.slots = slots,
		.caps = { .move = true,
			  .zero_page = !options->no_zero_page,
			  .huge = options->huge },
		.step = options->step,
	};

	if (soft.memory_pages == 0)
		soft.memory_pages = 8 * options->pages + 4096;
	for (uint32_t i = 0; i < options->nodes; i++)
		slots[i] = options->slots != 0 ? options->slots : 4 * options->pages + 1024;
	FERRY_ASSERT(ferry_soft_init(&rig->soft, &soft) == 0);
	ferry_mmu_inject_init(&rig->inject, &rig->soft.mmu);
	FERRY_ASSERT(ferry_mmu_check_init(&rig->check, &rig->inject.mmu, options->nodes, slots) ==
		     0);
}

void rig_begin(struct rig *rig, const struct rig_options *options)
{
	struct ferry_space_host host = {
		.context = rig,
		.lease = keeper_lease,
		.give_back = keeper_take_back,
		.read_events = read_events,
		.mapping_at = host_mapping_at,
	};
	uint64_t slots[RIG_NODES_MAX];

	host.slots = slots;
	host.allowed = &rig->allowed;
	memset(rig, 0, sizeof(*rig));
	rig->options = *options;
	rig->base = UINT64_C(0x7f0000000000);
	rig->pause = serve_while_paused;
	begin_soft(rig);
	rig->machine = options->machine;
	if (rig->machine == NULL) {
		rig->machine = ferry_os->alloc(ferry_machine_size_bytes(options->nodes));
		ferry_machine_layout(rig->machine, options->nodes);
	}
	ferry_nodeset_fill(&rig->allowed, options->nodes);
	rig->machine->copy_path = options->copy_path;
	for (uint32_t i = 0; i < options->nodes; i++) {
		ferry_machine_nodes(rig->machine)[i].capacity_pages = options->capacity[i];
		slots[i] = rig->soft.arena_slots[i];
	}
	rig->books = test_books_new(options->nodes);
	FERRY_ASSERT(ferry_space_init(&rig->space, rig->books, rig->machine, &rig->check.mmu,
				      &host) == 0);
}

void rig_abandon(struct rig *rig)
{
	ferry_space_destroy(&rig->space);
	test_books_free(rig->books);
	if (rig->options.machine == NULL)
		ferry_os->free(rig->machine, rig->machine->size_bytes);
	ferry_mmu_check_destroy(&rig->check);
	ferry_soft_destroy(&rig->soft);
}

void rig_end(struct rig *rig)
{
	uint64_t filled = 0, charged = 0;

	rig->pause = serve_while_paused;
	while (rig_serve(rig, FERRY_SOFT_EVENT | FERRY_SOFT_FAULT))
		continue;
	FERRY_ASSERT(rig_check(rig, true) == 0);
	rig_unmap(rig, FERRY_SOFT_THREADS - 1, 0, rig->options.pages);
	FERRY_ASSERT(rig_check(rig, true) == 0);
	for (uint32_t i = 0; i < rig->options.nodes; i++) {
		filled += rig->space.pools[i].filled_pages;
		charged += rig->space.pools[i].charged_pages + rig->space.pools[i].taken_pages;
	}
	FERRY_ASSERT(charged == 0);
	FERRY_ASSERT(ferry_soft_used_pages(&rig->soft) == filled);
	FERRY_ASSERT(rig->books->region_count == 0);
	rig_abandon(rig);
}

void rig_map_unseen(struct rig *rig, uint32_t first, uint32_t end)
{
	FERRY_ASSERT(ferry_soft_map(&rig->soft, rig_va(rig, first), rig_va(rig, end), FERRY_SOFT_RW,
				    false) == 0);
}

void rig_map(struct rig *rig, uint32_t first, uint32_t end, uint32_t flags)
{
	rig_map_unseen(rig, first, end);
	ferry_lock_acquire(&rig->space.lock);
	FERRY_ASSERT(ferry_space_adopt(&rig->space, rig_va(rig, first), rig_va(rig, end), flags,
				       -1) == 0);
	ferry_lock_release(&rig->space.lock);
}

/* --- the program -------------------------------------------------------------------------- */

static void wait_until_free(struct rig *rig, uint32_t thread)
{
	if (rig->pause == serve_while_paused)
		rig->pauses = 0;
	while (ferry_soft_waits(&rig->soft, thread))
		rig->pause(rig, thread);
}

enum ferry_soft_result rig_store(struct rig *rig, uint32_t thread, ferry_va va, uint64_t value)
{
	for (;;) {
		enum ferry_soft_result result = ferry_soft_store(&rig->soft, thread, va, value);

		if (result != FERRY_SOFT_PARKED)
			return result;
		wait_until_free(rig, thread);
	}
}

enum ferry_soft_result rig_load(struct rig *rig, uint32_t thread, ferry_va va, uint64_t *value)
{
	for (;;) {
		enum ferry_soft_result result = ferry_soft_load(&rig->soft, thread, va, value);

		if (result != FERRY_SOFT_PARKED)
			return result;
		wait_until_free(rig, thread);
	}
}

enum ferry_soft_result rig_pin(struct rig *rig, uint32_t thread, ferry_va va,
			       struct ferry_soft_ref *pin)
{
	for (;;) {
		enum ferry_soft_result result = ferry_soft_pin(&rig->soft, thread, va, pin);

		if (result != FERRY_SOFT_PARKED)
			return result;
		wait_until_free(rig, thread);
	}
}

static int finish(struct rig *rig, uint32_t thread, int result)
{
	if (result != -EINPROGRESS)
		return result;
	wait_until_free(rig, thread);
	ferry_soft_continue(&rig->soft, thread);
	return 0;
}

/* As the functions that the runtime stands in front of: not in the middle of a window. */
static void announce(struct rig *rig)
{
	while (!ferry_soft_begin_change(&rig->soft))
		ferry_os->yield();
}

void rig_protect(struct rig *rig, uint32_t first, uint32_t end, uint32_t prot)
{
	announce(rig);
	ferry_soft_protect(&rig->soft, rig_va(rig, first), rig_va(rig, end), prot);
	ferry_soft_end_change(&rig->soft);
}

void rig_unmap(struct rig *rig, uint32_t thread, uint32_t first, uint32_t end)
{
	int result = ferry_soft_unmap(&rig->soft, thread, rig_va(rig, first), rig_va(rig, end));

	FERRY_ASSERT(finish(rig, thread, result) == 0);
}

void rig_discard(struct rig *rig, uint32_t thread, uint32_t first, uint32_t end, bool lazily)
{
	ferry_va start = rig_va(rig, first), stop = rig_va(rig, end);
	int result = lazily ? ferry_soft_discard_lazily(&rig->soft, thread, start, stop)
			    : ferry_soft_discard(&rig->soft, thread, start, stop);

	FERRY_ASSERT(finish(rig, thread, result) == 0);
}

int rig_remap(struct rig *rig, uint32_t thread, uint32_t from, uint32_t to, uint32_t pages)
{
	int result;

	announce(rig);
	result = finish(rig, thread,
			ferry_soft_remap(&rig->soft, thread, rig_va(rig, from), rig_va(rig, to),
					 (uint64_t)pages * FERRY_PAGE_SIZE));
	ferry_soft_end_change(&rig->soft);
	return result;
}

void rig_fork(struct rig *rig, uint32_t thread, struct ferry_soft_child *child)
{
	FERRY_ASSERT(finish(rig, thread, ferry_soft_fork(&rig->soft, thread, child)) == 0);
	/* Whoever has read the event copies what is away before it lets the lock go. */
	ferry_lock_acquire(&rig->space.lock);
	ferry_lock_release(&rig->space.lock);
}

/* --- checks ------------------------------------------------------------------------------- */

static void print_line(void *context, const char *text)
{
	(void)context;
	fprintf(stderr, "breach: %s\n", text);
}

/* Leases: what the keeper gave out is what the pools have. */
static uint32_t check_leases(const struct rig *rig)
{
	uint32_t breaches = 0;

	for (uint32_t i = 0; i < rig->options.nodes; i++) {
		uint64_t given = rig->leased[i];

		if (given != rig->space.pools[i].leased_pages) {
			fprintf(stderr, "breach: node %u: keeper gave %llu, pool has %llu\n", i,
				(unsigned long long)given,
				(unsigned long long)rig->space.pools[i].leased_pages);
			breaches++;
		}
	}
	return breaches;
}

/* Slots: filled exactly if the frame is free with memory, or an entry holds its page there. */
static uint32_t check_slots(struct rig *rig)
{
	uint32_t breaches = 0;

	for (uint32_t node = 0; node < rig->options.nodes; node++) {
		const struct ferry_pool *pool = &rig->space.pools[node];
		uint64_t filled = 0;

		for (uint32_t n = 0; n < pool->slot_count; n++) {
			struct ferry_frame small = { n, (uint16_t)node, 0 };
			struct ferry_frame huge = { n, (uint16_t)node, 1 };

			filled += ferry_soft_slot_filled(&rig->soft, small);
			filled += ferry_soft_slot_filled(&rig->soft, huge);
		}
		if (filled != pool->filled_pages + rig->space.counts[node].held_pages) {
			fprintf(stderr,
				"breach: node %u: %llu slots filled, not %llu + %llu held\n", node,
				(unsigned long long)filled, (unsigned long long)pool->filled_pages,
				(unsigned long long)rig->space.counts[node].held_pages);
			breaches++;
		}
	}
	return breaches;
}

/* A thread whose fault was read waits for a mover that has its page, or somebody forgot it. */
static uint32_t check_parked(struct rig *rig)
{
	uint32_t breaches = 0;

	for (uint32_t i = 0; i < FERRY_SOFT_THREADS && rig->serving == 0; i++) {
		struct ferry_pte pte;
		ferry_va va;

		if (!ferry_soft_is_reported(&rig->soft, i, &va))
			continue;
		pte = ferry_ptable_get(rig->books, va);
		if (ferry_pte_state(pte) == FERRY_PTE_HELD && ferry_pte_has(pte, FERRY_PTE_BUSY))
			continue;
		fprintf(stderr, "breach: thread %u waits at %llx for nobody, entry %llx\n", i,
			(unsigned long long)va, (unsigned long long)pte.word);
		breaches++;
	}
	return breaches;
}

uint32_t rig_check(struct rig *rig, bool at_rest)
{
	struct ferry_sink sink = { .line = print_line };
	uint32_t breaches;

	ferry_lock_acquire(&rig->space.lock);
	breaches = ferry_check_space(&rig->space, at_rest, &sink);
	if (at_rest && !rig->soft.gone)
		breaches += check_slots(rig);
	if (at_rest)
		breaches += check_leases(rig);
	breaches += check_parked(rig);
	ferry_lock_release(&rig->space.lock);
	return breaches;
}

int32_t rig_node(struct rig *rig, uint32_t page)
{
	uint64_t va = rig_va(rig, page);
	int32_t status = 12345;

	ferry_query_pages(&(struct ferry_query){ rig->books, rig->space.host.labels }, 1, &va,
			  &status, NULL);
	return status;
}

int64_t rig_move(struct rig *rig, uint32_t first, uint32_t count, int32_t node, int32_t *statuses,
		 uint8_t *reasons)
{
	uint64_t *pages = malloc(count * sizeof(*pages));
	int32_t *nodes = malloc(count * sizeof(*nodes));
	int32_t *own = malloc(count * sizeof(*own));
	struct ferry_move_call call = {
		.count = count,
		.pages = pages,
		.nodes = nodes,
		.status = statuses != NULL ? statuses : own,
		.reasons = reasons,
	};
	int64_t result;

	FERRY_ASSERT(pages != NULL && nodes != NULL && own != NULL);
	for (uint32_t i = 0; i < count; i++) {
		pages[i] = rig_va(rig, first + i);
		nodes[i] = node;
	}
	result = ferry_move_pages_in(&rig->space, &call);
	if (result >= 0)
		result = call.status[0];
	free(pages);
	free(nodes);
	free(own);
	return result;
}
