/* SPDX-License-Identifier: MIT */
/*
 * pingpong.c - pages move while threads write and read them.
 *
 * Each page belongs to one writer, which writes the words of its pages in ascending order, again
 * and again, with a number that grows by one a sweep. All writers add to word 0 of all pages.
 *
 *  - lost write: a writer finds in a word anything but what it wrote there in the sweep before;
 *    or the sum of the words 0 is not the number of additions.
 *  - torn read: a reader goes through a page downwards. A word that it reads later was written
 *    earlier in the same sweep, so its number may not be smaller than that of a word above it.
 *  - old page read: a number that a reader has seen in a word may not go down.
 *
 * usage: pingpong [outside] [huge] [PAGES]
 *   outside  no moves of our own; run until told to stop (the script moves the pages)
 */
#define _GNU_SOURCE 1
#include "live.h"

enum { WRITERS = 2, READERS = 1, ADD_EVERY = 7 };

static char *area;
static size_t area_pages = 16384;
static bool stop_writers; /* atomic */

struct worker {
	pthread_t thread;
	unsigned index;
	uint64_t sweeps;
	uint64_t additions;
	uint64_t pages_read;
};

static uint64_t *page_at(size_t page)
{
	return (uint64_t *)(void *)(area + page * PAGE);
}

/* A word says where it belongs and how often it has been written. */
static uint64_t word_value(size_t page, unsigned word, uint64_t sweep)
{
	return (uint64_t)page << 41 | (uint64_t)word << 32 | sweep;
}

static void write_page(struct worker *writer, size_t page)
{
	uint64_t *words = page_at(page);
	uint64_t before = writer->sweeps == 0 ? 0 : writer->sweeps;

	for (unsigned i = 1; i < PAGE_WORDS; i++) {
		uint64_t want = before == 0 ? 0 : word_value(page, i, before);
		uint64_t found = __atomic_load_n(&words[i], __ATOMIC_RELAXED);

		REQUIRE(found == want, "lost write: page %zu word %u is %llx, not %llx", page, i,
			(unsigned long long)found, (unsigned long long)want);
		__atomic_store_n(&words[i], word_value(page, i, before + 1), __ATOMIC_RELEASE);
	}
}

static void *writer_run(void *argument)
{
	struct worker *writer = argument;
	uint64_t seed = 77 + writer->index;

	while (!__atomic_load_n(&stop_writers, __ATOMIC_ACQUIRE)) {
		for (size_t page = writer->index; page < area_pages; page += WRITERS) {
			write_page(writer, page);
			if (page % ADD_EVERY == 0) {
				size_t other = live_below(&seed, area_pages);

				__atomic_fetch_add(page_at(other), 1, __ATOMIC_RELAXED);
				writer->additions++;
			}
		}
		writer->sweeps++;
	}
	return NULL;
}

/* last[] = the number this reader has seen in word 1 of each page. */
static void read_page(size_t page, uint32_t *last)
{
	const uint64_t *words = page_at(page);
	uint32_t above = 0;

	for (unsigned i = PAGE_WORDS - 1; i >= 1; i--) {
		uint64_t value = __atomic_load_n(&words[i], __ATOMIC_ACQUIRE);
		uint32_t number = (uint32_t)value;

		REQUIRE(value == 0 || value == word_value(page, i, number),
			"foreign word: page %zu word %u is %llx", page, i,
			(unsigned long long)value);
		REQUIRE(number >= above, "torn read: page %zu word %u is of sweep %u, above it %u",
			page, i, number, above);
		above = number;
	}
	REQUIRE(above >= *last, "old page read: page %zu went from %u to %u", page, *last, above);
	*last = above;
}

static void *reader_run(void *argument)
{
	struct worker *reader = argument;
	uint64_t seed = 99 + reader->index;
	uint32_t *last = calloc(area_pages, sizeof(*last));

	REQUIRE(last != NULL, "calloc");
	while (!__atomic_load_n(&stop_writers, __ATOMIC_ACQUIRE)) {
		size_t page = live_below(&seed, area_pages);

		read_page(page, &last[page]);
		reader->pages_read++;
	}
	free(last);
	return NULL;
}

/* Every word must hold the number of its writer's last full sweep, or one more. */
static void check_end(const struct worker *writers)
{
	uint64_t additions = 0, sum = 0, sweeps = 0;

	for (unsigned i = 0; i < WRITERS; i++) {
		additions += writers[i].additions;
		sweeps += writers[i].sweeps;
	}
	for (size_t page = 0; page < area_pages; page++) {
		uint64_t sweep = writers[page % WRITERS].sweeps;

		sum += page_at(page)[0];
		for (unsigned i = 1; i < PAGE_WORDS && sweep != 0; i++)
			REQUIRE(page_at(page)[i] == word_value(page, i, sweep),
				"lost write at the end: page %zu word %u", page, i);
	}
	REQUIRE(sum == additions, "lost additions: %llu of %llu", (unsigned long long)sum,
		(unsigned long long)additions);
	fprintf(stderr, "sweeps %llu, additions %llu\n", (unsigned long long)sweeps,
		(unsigned long long)additions);
}

static void wait_for_end(bool outside, struct live_mover *mover, int nodes)
{
	uint64_t end = live_deadline_ns(5);
	/* A busy host gets more time to make the moves that the test asks for. */
	uint64_t hard_end = end + live_slow() * UINT64_C(80000000000);
	const char *moves = getenv("FERRY_TEST_MOVES");
	uint64_t wanted = (moves != NULL ? strtoull(moves, NULL, 0) : 110000) / live_fewer();

	if (outside) {
		while (!live_told_to_stop())
			live_sleep_us(20000);
		return;
	}
	for (;;) {
		uint64_t moved = __atomic_load_n(&mover->reasons[live_reason("moved")],
						 __ATOMIC_RELAXED);
		uint64_t now = live_now_ns();

		if (now >= hard_end || (now >= end && (nodes < 2 || moved >= wanted)))
			return;
		live_sleep_us(20000);
	}
}

int main(int argc, char **argv)
{
	struct worker writers[WRITERS] = { 0 }, readers[READERS] = { 0 };
	struct live_mover mover;
	bool outside = false, huge = false;
	char ready[64];
	int nodes = live_nodes();

	for (int i = 1; i < argc; i++) {
		outside |= strcmp(argv[i], "outside") == 0;
		huge |= strcmp(argv[i], "huge") == 0;
		if (argv[i][0] >= '1' && argv[i][0] <= '9')
			area_pages = strtoull(argv[i], NULL, 0);
	}
	live_watchdog(110);
	area = huge ? live_map_huge(area_pages * PAGE) : live_map(area_pages * PAGE);
	for (size_t page = 0; page < area_pages; page++)
		__atomic_store_n(page_at(page), 0, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i].index = i;
		REQUIRE(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]) == 0,
			"thread");
	}
	for (unsigned i = 0; i < READERS; i++) {
		readers[i].index = i;
		REQUIRE(pthread_create(&readers[i].thread, NULL, reader_run, &readers[i]) == 0,
			"thread");
	}
	snprintf(ready, sizeof(ready), "%p+%zu\n", (void *)area, area_pages * PAGE);
	live_ready(ready);
	live_mover_start(&mover, area, area_pages, outside ? 0 : nodes);
	wait_for_end(outside, &mover, nodes);
	live_mover_stop(&mover);
	__atomic_store_n(&stop_writers, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	for (unsigned i = 0; i < READERS; i++)
		pthread_join(readers[i].thread, NULL);
	check_end(writers);
	return 0;
}
