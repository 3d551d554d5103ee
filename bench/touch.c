/* SPDX-License-Identifier: MIT */
/*
 * touch.c - sequential first touch of 1 GiB: when the program has just started (cold), and again
 * after the memory was freed (recycled). Runs bare as well.
 */
#define _GNU_SOURCE 1
#include "bench.h"

enum { PAGES = 262144 };

static void touch(const char *figure, pid_t agent)
{
	char *area = bench_map((size_t)PAGES * PAGE);
	struct bench_span span = bench_start(agent);

	for (size_t i = 0; i < PAGES; i++)
		((volatile char *)area)[i * PAGE] = 1;
	bench_print(figure, bench_end(span, agent), PAGES);
	munmap(area, (size_t)PAGES * PAGE);
}

int main(void)
{
	pid_t agent = bench_agent();

	touch("touch-cold", agent);
	for (int i = 0; i < 3; i++)
		touch("touch-recycled", agent);
	return 0;
}
