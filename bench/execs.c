/* SPDX-License-Identifier: MIT */
/*
 * execs.c - executes itself COUNT times and prints the time of one. Runs bare as well.
 *
 * usage: execs COUNT
 */
#define _GNU_SOURCE 1
#include "bench.h"

enum { COUNT_DEFAULT = 40 };

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : COUNT_DEFAULT;
	int done = argc > 3 ? atoi(argv[2]) : 0;
	uint64_t started_ns = argc > 3 ? strtoull(argv[3], NULL, 10) : bench_now_ns();
	struct bench_span span = { .wall_ns = bench_now_ns() - started_ns,
				   .cpu_ns = bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID) };
	char all[32], now[32], start[32];
	char *arguments[] = { argv[0], all, now, start, NULL };

	if (done == count) {
		bench_print("exec", span, (uint64_t)count);
		return 0;
	}
	snprintf(all, sizeof(all), "%d", count);
	snprintf(now, sizeof(now), "%d", done + 1);
	snprintf(start, sizeof(start), "%llu", (unsigned long long)started_ns);
	execv("/proc/self/exe", arguments);
	bench_fail("exec", -errno);
	return 1;
}
