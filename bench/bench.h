/* SPDX-License-Identifier: MIT */
/*
 * bench.h - what the programs of the bench share. Each prints lines "figure value ..." and is run,
 * bare and inside, by bench/run, which knows what to compare with what.
 */
#ifndef FERRY_BENCH_BENCH_H
#define FERRY_BENCH_BENCH_H

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pageferry/pageferry.h"

enum { PAGE = 4096, HUGE_PAGE = 2 << 20, HUGE_PAGES = HUGE_PAGE / PAGE, KCMP_VM_TYPE = 1 };

static inline void bench_fail(const char *what, long result)
{
	fprintf(stderr, "bench: %s: %ld (%s)\n", what, result,
		strerror((int)(result < 0 ? -result : errno)));
	exit(1);
}

static inline uint64_t bench_clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t bench_now_ns(void)
{
	return bench_clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t bench_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (*state * UINT64_C(2685821657736338717)) >> 16;
}

static inline void *bench_map(size_t bytes)
{
	void *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED)
		bench_fail("mmap", -errno);
	return area;
}

static inline char *bench_map_huge(size_t bytes)
{
	char *area = bench_map(bytes + HUGE_PAGE);
	char *start = (char *)(((uintptr_t)area + HUGE_PAGE - 1) & ~((uintptr_t)HUGE_PAGE - 1));

	if (madvise(start, bytes, MADV_HUGEPAGE) != 0)
		bench_fail("MADV_HUGEPAGE", -errno);
	return start;
}

/* The agent that shares our memory; 0: none, we run bare. */
static inline pid_t bench_agent(void)
{
	DIR *folder = opendir("/proc");
	struct dirent *entry;
	pid_t agent = 0;

	while (folder != NULL && agent == 0 && (entry = readdir(folder)) != NULL) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		if (pid > 0 && pid != getpid() &&
		    syscall(SYS_kcmp, pid, getpid(), KCMP_VM_TYPE, 0, 0) == 0)
			agent = pid;
	}
	if (folder != NULL)
		closedir(folder);
	return agent;
}

/* CPU time of us and of our agent. */
static inline uint64_t bench_cpu_ns(pid_t agent)
{
	uint64_t total = bench_clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	clockid_t clock;

	if (agent != 0 && clock_getcpuclockid(agent, &clock) == 0)
		total += bench_clock_ns(clock);
	return total;
}

/* A stretch of time; wall and CPU of program and agent. */
struct bench_span {
	uint64_t wall_ns;
	uint64_t cpu_ns;
};

static inline struct bench_span bench_start(pid_t agent)
{
	return (struct bench_span){ .wall_ns = bench_now_ns(), .cpu_ns = bench_cpu_ns(agent) };
}

static inline struct bench_span bench_end(struct bench_span start, pid_t agent)
{
	return (struct bench_span){ .wall_ns = bench_now_ns() - start.wall_ns,
				    .cpu_ns = bench_cpu_ns(agent) - start.cpu_ns };
}

/* "figure wall cpu": nanoseconds for each of count things. */
static inline void bench_print(const char *figure, struct bench_span span, uint64_t count)
{
	printf("%s %.3f %.3f\n", figure, (double)span.wall_ns / (double)count,
	       (double)span.cpu_ns / (double)count);
	fflush(stdout);
}

#endif
