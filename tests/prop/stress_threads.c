/* SPDX-License-Identifier: MIT */
/* timeout: 300 */
/*
 * The same kind of program as order.c with real threads, for the thread sanitizer and for the
 * machine's own memory order: writers, readers, a shaper, movers, handlers, housekeeping, on one
 * space over the simulated MMU. Each word has one writer, who checks it; readers check that a
 * word never goes back.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "rig.h"

enum { PAGES = 64, OWN = 12, WRITERS = 2, READERS = 2, SHAPER = 20, MOVERS = 2, HANDLERS = 2 };

static struct world {
	struct rig rig;
	uint32_t stop;         /* (a) writers are through */
	uint32_t quit;         /* (a) handlers end */
	uint32_t writers_left; /* (a) */
	uint64_t stores;       /* each writer */
	uint64_t moved;        /* (a) */
} w;

static bool stopped(const uint32_t *flag)
{
	return __atomic_load_n(flag, __ATOMIC_ACQUIRE) != 0;
}

static ferry_va word_at(uint32_t page, uint32_t writer)
{
	return rig_va(&w.rig, page) + writer * 2048;
}

static void pause_thread(struct rig *rig, uint32_t thread)
{
	(void)rig;
	(void)thread;
	sched_yield();
}

/* The first pages are the shaper's; a writer stores to the others only. */
static void *write_words(void *context)
{
	uint32_t writer = (uint32_t)(uintptr_t)context;
	uint64_t last[PAGES] = { 0 }, seed = writer + 1;

	/* On a machine that is busy the movers may start late. */
	for (uint64_t i = 1; i <= w.stores || __atomic_load_n(&w.moved, __ATOMIC_RELAXED) == 0;
	     i++) {
		uint32_t page = OWN + test_pick(&seed, PAGES - OWN);
		uint64_t value = 0;

		FERRY_ASSERT(rig_load(&w.rig, writer, word_at(page, writer), &value) ==
			     FERRY_SOFT_DONE);
		FERRY_ASSERT(value == last[page]);
		FERRY_ASSERT(rig_store(&w.rig, writer, word_at(page, writer), i) ==
			     FERRY_SOFT_DONE);
		last[page] = i;
	}
	for (uint32_t page = OWN; page < PAGES; page++) {
		uint64_t value = 0;

		FERRY_ASSERT(rig_load(&w.rig, writer, word_at(page, writer), &value) ==
			     FERRY_SOFT_DONE);
		FERRY_ASSERT(value == last[page]);
	}
	if (__atomic_sub_fetch(&w.writers_left, 1, __ATOMIC_ACQ_REL) == 0)
		__atomic_store_n(&w.stop, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void *read_words(void *context)
{
	uint32_t reader = (uint32_t)(uintptr_t)context;
	uint64_t last[PAGES][WRITERS] = { { 0 } }, seed = reader + 100;

	while (!stopped(&w.stop)) {
		uint32_t page = test_pick(&seed, PAGES), writer = test_pick(&seed, WRITERS);
		uint64_t value = 0;

		if (rig_load(&w.rig, WRITERS + reader, word_at(page, writer), &value) !=
		    FERRY_SOFT_DONE)
			continue;
		if (page < OWN)
			continue;
		FERRY_ASSERT(value >= last[page][writer]);
		last[page][writer] = value;
	}
	return NULL;
}

/* Does everything to its own pages that a program can do to a mapping, and forks. */
static void *shape(void *context)
{
	uint64_t seed = 7;

	(void)context;
	while (!stopped(&w.stop)) {
		uint32_t first = test_pick(&seed, OWN / 2), end = first + 1 + test_pick(&seed, 4);
		struct ferry_soft_child child;

		for (uint32_t page = first; page < end; page++)
			(void)rig_store(&w.rig, SHAPER, word_at(page, 0), 1);
		switch (test_pick(&seed, 4)) {
		case 0:
			rig_unmap(&w.rig, SHAPER, first, end);
			rig_map(&w.rig, first, end, 0);
			break;
		case 1:
			rig_discard(&w.rig, SHAPER, first, end, false);
			break;
		case 2:
			rig_fork(&w.rig, SHAPER, &child);
			ferry_soft_child_destroy(&child);
			break;
		default:
			rig_unmap(&w.rig, SHAPER, OWN / 2, OWN);
			FERRY_ASSERT(rig_remap(&w.rig, SHAPER, 0, OWN / 2, OWN / 2) == 0);
			rig_map(&w.rig, 0, OWN / 2, 0);
		}
	}
	return NULL;
}

static void *move(void *context)
{
	uint32_t mover = (uint32_t)(uintptr_t)context;
	uint64_t seed = mover + 1000;

	while (!stopped(&w.stop)) {
		uint32_t first = test_pick(&seed, PAGES);
		uint32_t count = 1 + test_pick(&seed, PAGES - first);
		int32_t statuses[PAGES];
		uint8_t reasons[PAGES];

		FERRY_ASSERT(rig_move(&w.rig, first, count, (int32_t)mover, statuses, reasons) >
			     -200);
		for (uint32_t i = 0; i < count; i++) {
			if (reasons[i] == FERRY_REASON_MOVED)
				__atomic_fetch_add(&w.moved, 1, __ATOMIC_RELAXED);
		}
	}
	return NULL;
}

static void *handle(void *context)
{
	(void)context;
	while (!stopped(&w.quit)) {
		if (!rig_serve(&w.rig, FERRY_SOFT_EVENT | FERRY_SOFT_FAULT))
			sched_yield();
	}
	return NULL;
}

static void *keep(void *context)
{
	struct ferry_space *space = &w.rig.space;
	struct ferry_region *regions = calloc(64, sizeof(*regions));
	int32_t statuses[PAGES];
	ferry_va cursor = 0;

	(void)context;
	while (!stopped(&w.stop)) {
		FERRY_ASSERT(rig_check(&w.rig, false) == 0);
		ferry_space_settle_leases(space);
		ferry_lock_acquire(&space->lock);
		FERRY_ASSERT(ferry_space_reconcile_slice(space, &cursor, -1) >= 0);
		ferry_lock_release(&space->lock);
		FERRY_ASSERT(ferry_space_close_gate(space) == 0);
		ferry_space_open_gate(space);
		/* Readers of the books take no lock. */
		ferry_query_consecutive(&(struct ferry_query){ w.rig.books, NULL },
					rig_va(&w.rig, 0), PAGES, statuses);
		FERRY_ASSERT(ferry_region_read(w.rig.books, regions, 64) != 0);
		for (uint32_t i = 0; i < PAGES; i++)
			FERRY_ASSERT(statuses[i] < 3);
	}
	free(regions);
	return NULL;
}

static pthread_t start(void *(*body)(void *), uint32_t number)
{
	pthread_t thread;

	FERRY_ASSERT(pthread_create(&thread, NULL, body, (void *)(uintptr_t)number) == 0);
	return thread;
}

int main(void)
{
	struct rig_options options = {
		.nodes = 3,
		.capacity = { 100, 100, 100 },
		.pages = PAGES,
		.lease_step = 16,
	};
	pthread_t threads[16], handlers[HANDLERS];
	uint32_t count = 0;

	test_host_init();
	rig_begin(&w.rig, &options);
	w.rig.pause = pause_thread;
	w.stores = test_amount(100000, 8000000);
	w.writers_left = WRITERS;
	rig_map(&w.rig, 0, PAGES, 0);
	for (uint32_t i = 0; i < HANDLERS; i++)
		handlers[i] = start(handle, i);
	for (uint32_t i = 0; i < WRITERS; i++)
		threads[count++] = start(write_words, i);
	for (uint32_t i = 0; i < READERS; i++)
		threads[count++] = start(read_words, i);
	for (uint32_t i = 0; i < MOVERS; i++)
		threads[count++] = start(move, i);
	threads[count++] = start(shape, 0);
	threads[count++] = start(keep, 0);
	while (count > 0)
		pthread_join(threads[--count], NULL);
	__atomic_store_n(&w.quit, 1, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < HANDLERS; i++)
		pthread_join(handlers[i], NULL);
	FERRY_ASSERT(w.rig.nomem == 0);
	printf("%llu pages moved under %u writers of %llu stores\n", (unsigned long long)w.moved,
	       WRITERS, (unsigned long long)w.stores);
	FERRY_ASSERT(w.moved > 0);
	w.rig.space.grace_ns = 0;
	ferry_lock_acquire(&w.rig.space.lock);
	FERRY_ASSERT(ferry_space_reconcile(&w.rig.space, rig_va(&w.rig, 0), rig_va(&w.rig, PAGES),
					   -1) == 0);
	ferry_lock_release(&w.rig.space.lock);
	rig_end(&w.rig);
	return 0;
}
