/* SPDX-License-Identifier: MIT */
/*
 * others.c - the same moves asked for by their own process and by another one: all pages in one
 * call, and one page in each call.
 *
 * usage: others [REPEATS]    on a machine of at least two nodes of 768 MiB
 */
#define _GNU_SOURCE 1
#include "bench.h"

#include <signal.h>
#include <sys/prctl.h>

enum { AREA_PAGES = 65536, SINGLE_CALLS = 2048, SINGLE_STRIDE = 17 };

static void *pages[AREA_PAGES];
static int nodes[AREA_PAGES], status[AREA_PAGES];

/* The area is touched by each of the two: nothing in it is shared. */
static pid_t start_other(char *area)
{
	int fds[2];
	char byte = 0;
	pid_t pid;

	if (pipe(fds) != 0)
		bench_fail("pipe", -errno);
	pid = fork();
	if (pid < 0)
		bench_fail("fork", -errno);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		memset(area, 1, (size_t)AREA_PAGES * PAGE);
		if (write(fds[1], &byte, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(fds[1]);
	if (read(fds[0], &byte, 1) != 1)
		bench_fail("the other process ended", 0);
	close(fds[0]);
	return pid;
}

static void move_all(const char *figure, pid_t pid, int node)
{
	struct bench_span span;
	long result;

	for (size_t i = 0; i < AREA_PAGES; i++)
		nodes[i] = node;
	span = bench_start(0);
	result = ferry_move_pages(pid, AREA_PAGES, pages, nodes, status, FERRY_MOVE);
	span = bench_end(span, 0);
	if (result < 0 || result > AREA_PAGES / 100)
		bench_fail(figure, result);
	bench_print(figure, span, AREA_PAGES);
}

static void move_each(const char *figure, pid_t pid, int node)
{
	struct bench_span span = bench_start(0);

	for (size_t i = 0; i < SINGLE_CALLS; i++) {
		size_t page = i * SINGLE_STRIDE;
		long result = ferry_move_pages(pid, 1, pages + page, &node, status + page,
					       FERRY_MOVE);

		if (result != 0 || status[page] != node)
			bench_fail(figure, result);
	}
	bench_print(figure, bench_end(span, 0), SINGLE_CALLS);
}

int main(int argc, char **argv)
{
	int repeats = argc > 1 ? atoi(argv[1]) : 5;
	char *area = bench_map((size_t)AREA_PAGES * PAGE);
	pid_t other = start_other(area);

	memset(area, 2, (size_t)AREA_PAGES * PAGE);
	for (size_t i = 0; i < AREA_PAGES; i++)
		pages[i] = area + i * PAGE;
	/* Whichever nodes the two ran on when they touched it. */
	ferry_move_range(0, area, (size_t)AREA_PAGES * PAGE, 0, NULL, NULL);
	ferry_move_range(other, area, (size_t)AREA_PAGES * PAGE, 0, NULL, NULL);
	for (int i = 0; i < repeats; i++) {
		for (int node = 1; node >= 0; node--) {
			move_all("move-own", 0, node);
			move_all("move-other", other, node);
		}
		for (int node = 1; node >= 0; node--) {
			move_each("call-own", 0, node);
			move_each("call-other", other, node);
		}
	}
	return kill(other, SIGKILL) != 0;
}
