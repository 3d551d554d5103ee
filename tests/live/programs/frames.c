/* SPDX-License-Identifier: MIT */
/*
 * frames.c - bytes really move: what the machine says of pages, against /proc/self/pagemap.
 *
 *  - a page that changed node has another physical frame afterwards, and its content;
 *  - no physical frame is mapped from two nodes (nor twice at all);
 *  - after every 1,000 random operations present and absent agree for every page.
 *
 * Compared only while nothing moves: a page may be away for the stall budget, and what the program
 * just discarded or unmapped is struck from the index a moment later. So a disagreement counts
 * only if it stays for two seconds.
 *
 * Needs root: pagemap shows frame numbers to nobody else
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <fcntl.h>

enum { PAGES_MAX = 8192, OPERATIONS = 1000, ENOUGH_PAGES = 100000 };

static char *area;
static size_t area_pages = PAGES_MAX; /* fewer on a slow machine */
static int pagemap;
static int nodes;
static uint64_t seed;
static uint64_t moved_pages;

static void read_pagemap(uint64_t *entries)
{
	size_t bytes = area_pages * sizeof(*entries);
	ssize_t got = pread(pagemap, entries, bytes, (off_t)((uintptr_t)area / PAGE * 8));

	REQUIRE(got == (ssize_t)bytes, "pagemap: %zd of %zu", got, bytes);
}

static bool is_present(uint64_t entry)
{
	return entry >> 63 != 0;
}

static uint64_t frame_of(uint64_t entry)
{
	return entry & ((UINT64_C(1) << 55) - 1);
}

/* => index of a page on which pagemap and the machine disagree, or area_pages. */
static size_t find_disagreement(uint64_t *entries, int *status)
{
	REQUIRE(ferry_query_range(0, area, area_pages, status) == 0, "ferry_query_range");
	read_pagemap(entries);
	for (size_t i = 0; i < area_pages; i++) {
		/* -EFAULT: the zero page, or no mapping there. */
		if (status[i] >= 0 && !is_present(entries[i]))
			return i;
		if (status[i] == -ENOENT && is_present(entries[i]))
			return i;
		REQUIRE(status[i] >= 0 || status[i] == -ENOENT || status[i] == -EFAULT,
			"page %zu: status %d", i, status[i]);
	}
	return area_pages;
}

static void check_agreement(uint64_t *entries, int *status)
{
	uint64_t end = live_now_ns() + UINT64_C(2000000000);
	size_t page;

	while ((page = find_disagreement(entries, status)) != area_pages) {
		REQUIRE(live_now_ns() < end, "page %zu (%p): status %d, pagemap %016llx", page,
			(void *)(area + page * PAGE), status[page],
			(unsigned long long)entries[page]);
		live_sleep_us(1000);
	}
}

static int compare_words(const void *left, const void *right)
{
	uint64_t a, b;

	memcpy(&a, left, sizeof(a));
	memcpy(&b, right, sizeof(b));
	return a < b ? -1 : a > b;
}

/* The frames of pages that are on a node: no number twice, on one node or on two. */
static void check_disjoint(const uint64_t *entries, const int *status)
{
	static uint64_t frames[PAGES_MAX];
	size_t count = 0;

	for (size_t i = 0; i < area_pages; i++)
		if (status[i] >= 0)
			frames[count++] = frame_of(entries[i]);
	REQUIRE(count == 0 || frames[0] != 0, "frame numbers are hidden: not root?");
	qsort(frames, count, sizeof(frames[0]), compare_words);
	for (size_t i = 1; i < count; i++)
		REQUIRE(frames[i] != frames[i - 1], "frame %llx is mapped twice",
			(unsigned long long)frames[i]);
}

static void move_some(void)
{
	static uint64_t before[PAGES_MAX], after[PAGES_MAX];
	void *pages[MOVE_MAX];
	int targets[MOVE_MAX], status[MOVE_MAX];
	uint8_t reasons[MOVE_MAX];
	size_t count = 1 + live_below(&seed, MOVE_MAX);
	size_t first = live_below(&seed, area_pages - count + 1);
	long result;

	if (nodes < 2)
		return;
	for (size_t i = 0; i < count; i++) {
		pages[i] = area + (first + i) * PAGE;
		targets[i] = (int)live_below(&seed, (uint64_t)nodes);
	}
	read_pagemap(before);
	result = ferry_move_pages_reasons(0, count, pages, targets, status, reasons, FERRY_MOVE);
	REQUIRE(result >= 0 || result == -ENOENT, "ferry_move_pages: %ld", result);
	read_pagemap(after);
	for (size_t i = 0; i < count; i++) {
		uint64_t old = before[first + i], new = after[first + i];

		if (reasons[i] == live_reason("moved")) {
			REQUIRE(is_present(old) && is_present(new), "moved, but not present");
			/* Evicted, a page may come back in a frame that just became free. */
			REQUIRE(frame_of(old) != frame_of(new) || live_evicts(),
				"page %zu moved to node %d in place", first + i, status[i]);
			moved_pages++;
		}
		if (reasons[i] == live_reason("there"))
			REQUIRE(frame_of(old) == frame_of(new), "page %zu stayed, its frame not",
				i);
	}
}

static void map_fresh(size_t first, size_t count)
{
	char *start = area + first * PAGE;

	REQUIRE(mmap(start, count * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == start,
		"mmap");
}

static void remap(size_t first, size_t count)
{
	size_t target = live_below(&seed, area_pages - count + 1);

	if (target < first + count && first < target + count)
		return;
	if (mremap(area + first * PAGE, count * PAGE, count * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		   area + target * PAGE) == MAP_FAILED) {
		/* The source is of several mappings; the target has been unmapped already. */
		REQUIRE(errno == EFAULT, "mremap: %s", strerror(errno));
		map_fresh(target, count);
	}
	map_fresh(first, count);
}

static void touch(size_t first, size_t count, bool write)
{
	uint64_t sum = 0;

	for (size_t page = first; page < first + count; page++) {
		volatile uint64_t *word = (uint64_t *)(void *)(area + page * PAGE);

		if (write)
			*word = page;
		else
			sum += *word;
	}
	(void)sum;
}

static void operate(void)
{
	size_t count = 1 + live_below(&seed, 64);
	size_t first = live_below(&seed, area_pages - count + 1);
	char *start = area + first * PAGE;

	switch (live_below(&seed, 10)) {
	case 0:
		REQUIRE(munmap(start, count * PAGE) == 0, "munmap");
		/* fall through */
	case 1:
		map_fresh(first, count);
		break;
	case 2:
		REQUIRE(madvise(start, count * PAGE, MADV_DONTNEED) == 0, "DONTNEED");
		break;
	case 3:
		remap(first, count);
		break;
	case 4:
	case 5:
		move_some();
		break;
	case 6:
		touch(first, count, false);
		break;
	default:
		touch(first, count, true);
	}
}

/* All pages to each node in turn: each page gets another frame at each step and keeps its word. */
static void check_whole_moves(uint64_t *entries, int *status)
{
	static uint64_t old[PAGES_MAX];

	touch(0, area_pages, true);
	REQUIRE(nodes < 2 || live_move_all(area, area_pages, 0, 5) == 0,
		"pages do not move to node 0");
	for (int step = 1; step <= 2 * nodes && nodes >= 2; step++) {
		int node = step % nodes;

		read_pagemap(old);
		REQUIRE(live_move_all(area, area_pages, node, 5) == 0, "pages do not move to %d",
			node);
		check_agreement(entries, status);
		check_disjoint(entries, status);
		for (size_t i = 0; i < area_pages; i++) {
			REQUIRE(status[i] == node, "page %zu: status %d", i, status[i]);
			REQUIRE(frame_of(old[i]) != frame_of(entries[i]) || live_evicts(),
				"page %zu kept its frame", i);
			REQUIRE(*(uint64_t *)(void *)(area + i * PAGE) == i, "page %zu changed", i);
		}
		moved_pages += area_pages;
	}
}

int main(void)
{
	static uint64_t entries[PAGES_MAX];
	static int status[PAGES_MAX];
	uint64_t end = live_deadline_ns(8);
	unsigned rounds = 0;

	area_pages /= live_slow();
	live_watchdog(110);
	seed = live_seed();
	nodes = live_nodes();
	pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	REQUIRE(pagemap >= 0, "pagemap: %s", strerror(errno));
	area = live_map_low(area_pages * PAGE);
	do {
		for (unsigned i = 0; i < OPERATIONS; i++)
			operate();
		if (nodes >= 1) {
			check_agreement(entries, status);
			check_disjoint(entries, status);
		}
		rounds++;
	} while (live_now_ns() < end || (nodes >= 1 && moved_pages < ENOUGH_PAGES / live_fewer()));
	check_whole_moves(entries, status);
	printf("rounds %u\nmoved %llu\nasked %llu\n", rounds, (unsigned long long)moved_pages,
	       (unsigned long long)moved_pages);
	return 0;
}
