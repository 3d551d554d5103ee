/* SPDX-License-Identifier: MIT */
/*
 * migrate.c - moves between two nodes, and the memcpy that they are compared with, in one run.
 *
 * usage: migrate [REPEATS]    on a machine of at least two nodes of 1.5 GiB
 */
#define _GNU_SOURCE 1
#include "bench.h"

enum { AREA_PAGES = 131072, SCATTERED_PAGES = 16384 };

static pid_t agent;

/* 512 MiB page by page, in an order that no prefetcher has to guess: ascending, as a mover goes. */
static void copy_by_page(char *target, const char *source)
{
	struct bench_span span = bench_start(0);

	for (size_t page = 0; page < AREA_PAGES; page++) {
		memcpy(target + page * PAGE, source + page * PAGE, PAGE);
		/* One call a page, whatever the compiler would make of the loop. */
		__asm__ volatile("" ::: "memory");
	}
	bench_print("memcpy-page", bench_end(span, 0), AREA_PAGES);
}

static void copy_in_bulk(char *target, const char *source)
{
	struct bench_span span = bench_start(0);

	for (size_t page = 0; page < AREA_PAGES; page += HUGE_PAGES)
		memcpy(target + page * PAGE, source + page * PAGE, HUGE_PAGE);
	bench_print("memcpy-bulk", bench_end(span, 0), AREA_PAGES);
}

static void move_range(const char *figure, char *area, int node)
{
	struct ferry_move_report report = { .size = sizeof(report) };
	struct bench_span span = bench_start(agent);
	int result = ferry_move_range(0, area, (size_t)AREA_PAGES * PAGE, node, NULL, &report);

	span = bench_end(span, agent);
	if (result < 0 || report.moved_pages < AREA_PAGES * UINT64_C(99) / 100)
		bench_fail("ferry_move_range", result);
	bench_print(figure, span, report.moved_pages);
}

static void shuffle(size_t *order, size_t count)
{
	uint64_t seed = 4711;

	for (size_t i = count - 1; i > 0; i--) {
		size_t other = bench_random(&seed) % (i + 1), kept = order[i];

		order[i] = order[other];
		order[other] = kept;
	}
}

/*
 * Moves SCATTERED_PAGES pages in runs of run pages with a gap between any two of them, the runs in
 * random order: by one call for all, or (each) by one call for each run. All pages come from
 * node 0, and are back there afterwards.
 */
static void move_runs(const char *figure, char *area, size_t run, bool each)
{
	static void *pages[SCATTERED_PAGES];
	static int nodes[SCATTERED_PAGES], status[SCATTERED_PAGES];
	static size_t order[SCATTERED_PAGES];
	size_t runs = SCATTERED_PAGES / run, stride = run + (run < 4 ? run : 4);
	size_t step = each ? run : SCATTERED_PAGES;
	struct bench_span span;
	long failed = 0;

	for (size_t i = 0; i < runs; i++)
		order[i] = i;
	shuffle(order, runs);
	for (size_t i = 0; i < SCATTERED_PAGES; i++) {
		pages[i] = area + (order[i / run] * stride + i % run) * PAGE;
		nodes[i] = 1;
	}
	span = bench_start(agent);
	for (size_t i = 0; i < SCATTERED_PAGES; i += step) {
		long result =
			ferry_move_pages(0, step, pages + i, nodes + i, status + i, FERRY_MOVE);

		if (result < 0)
			bench_fail("ferry_move_pages", result);
		failed += result;
	}
	span = bench_end(span, agent);
	if (failed > SCATTERED_PAGES / 100)
		bench_fail("pages that did not move", failed);
	bench_print(figure, span, SCATTERED_PAGES);
	ferry_move_range(0, area, (size_t)AREA_PAGES * PAGE, 0, NULL, NULL);
}

int main(int argc, char **argv)
{
	int repeats = argc > 1 ? atoi(argv[1]) : 5;
	size_t bytes = (size_t)AREA_PAGES * PAGE;
	char *small = bench_map(bytes), *target = bench_map(bytes);
	char *huge = bench_map_huge(bytes), *huge_target = bench_map_huge(bytes);

	agent = bench_agent();
	memset(small, 1, bytes);
	memset(target, 2, bytes);
	memset(huge, 3, bytes);
	memset(huge_target, 4, bytes);
	/* The first way there and back brings frames; recycled ones are what a mover meets. */
	for (int node = 1; node >= 0; node--) {
		ferry_move_range(0, small, bytes, node, NULL, NULL);
		ferry_move_range(0, huge, bytes, node, NULL, NULL);
	}
	for (int i = 0; i < repeats; i++) {
		copy_by_page(target, small);
		move_range("migrate-512", small, 1);
		copy_in_bulk(huge_target, huge);
		move_range("migrate-huge", huge, 1);
		copy_by_page(target, small);
		move_range("migrate-512", small, 0);
		copy_in_bulk(huge_target, huge);
		move_range("migrate-huge", huge, 0);
		move_runs("migrate-1", small, 1, false);
		move_runs("migrate-8", small, 8, false);
		move_runs("migrate-64", small, 64, false);
		move_runs("migrate-1-call", small, 1, true);
	}
	return 0;
}
