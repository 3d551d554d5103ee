/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - what the host does to pages by itself while we move them.
 *
 *  - MADV_COLD, MADV_PAGEOUT: pages go to swap, where there is some, and come back;
 *  - compaction: the host moves pages to other frames (the script asks for it, as root).
 *
 * Words are checked all the time, and at the end every page must be known: a page that looked
 * absent for a moment must not have been struck from the books.
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sys/resource.h>

enum { PAGES = 4096, SECONDS = 2 };

static char *area;
static bool done; /* atomic */

static volatile uint64_t *word_of(size_t page)
{
	return (volatile uint64_t *)(void *)(area + page * PAGE) + page % PAGE_WORDS;
}

static void *advise(void *unused)
{
	uint64_t seed = live_seed();

	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
		size_t count = 1 + live_below(&seed, 256), first = live_below(&seed, PAGES - count);
		int advice = live_below(&seed, 4) == 0 ? MADV_COLD : MADV_PAGEOUT;

		REQUIRE(madvise(area + first * PAGE, count * PAGE, advice) == 0, "madvise: %s",
			strerror(errno));
		live_sleep_us(200);
	}
	return unused;
}

static void *count_up(void *argument)
{
	static uint64_t counts[PAGES];
	uint64_t seed = live_seed();

	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
		size_t page = live_below(&seed, PAGES);

		REQUIRE(*word_of(page) == counts[page], "page %zu: %llu, not %llu", page,
			(unsigned long long)*word_of(page), (unsigned long long)counts[page]);
		*word_of(page) = ++counts[page];
	}
	for (size_t page = 0; page < PAGES; page++)
		REQUIRE(*word_of(page) == counts[page], "page %zu: lost", page);
	return argument;
}

int main(void)
{
	static int status[PAGES];
	pthread_t adviser, counter;
	struct live_mover mover;
	struct rusage usage;
	int nodes;

	live_watchdog(100);
	nodes = live_nodes();
	area = live_map((size_t)PAGES * PAGE);
	for (size_t page = 0; page < PAGES; page++)
		*word_of(page) = 0;
	live_ready("up\n");
	REQUIRE(pthread_create(&adviser, NULL, advise, NULL) == 0, "thread");
	REQUIRE(pthread_create(&counter, NULL, count_up, NULL) == 0, "thread");
	live_mover_start(&mover, area, PAGES, nodes);
	live_sleep_us(SECONDS * 1000000);
	live_mover_stop(&mover);
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	pthread_join(adviser, NULL);
	pthread_join(counter, NULL);
	if (nodes >= 2) {
		REQUIRE(ferry_query_range(0, area, PAGES, status) == 0, "ferry_query_range");
		for (size_t page = 0; page < PAGES; page++)
			REQUIRE(status[page] >= 0, "page %zu: status %d", page, status[page]);
		REQUIRE(live_move_all(area, PAGES, 1, 5) == 0, "pages do not move");
	}
	getrusage(RUSAGE_SELF, &usage);
	printf("major faults %ld\n", usage.ru_majflt);
	return 0;
}
