/* SPDX-License-Identifier: MIT */
/*
 * shared.c - moving an object that several processes map, with MOVE_ALL.
 *
 * usage: shared MAPPERS [REPEATS]           on a machine of two nodes
 *        shared MAPPERS REPEATS kernel      by move_pages(2) itself, on real nodes 0 and 1
 */
#define _GNU_SOURCE 1
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "bench.h"

enum { PAGES = 64 << 10, TOUCHED = 16 << 10 };

static char *memory;

static long kernel_move(void **pages, const int *nodes, int *status)
{
	return syscall(SYS_move_pages, 0, (long)PAGES, pages, nodes, status, FERRY_MOVE_ALL);
}

static void print(const char *figure, int mappers, struct bench_span span, uint64_t count)
{
	char name[64];

	snprintf(name, sizeof(name), "%s-%d", figure, mappers);
	bench_print(name, span, count);
}

/* Each has all pages in its page table. */
static void start_mappers(int count)
{
	int ready[2];
	char c = 0;

	if (pipe(ready) != 0)
		bench_fail("pipe", -errno);
	for (int i = 1; i < count; i++) {
		if (fork() != 0)
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (size_t k = 0; k < PAGES; k++)
			c = (char)(c + ((volatile char *)memory)[k * PAGE]);
		if (write(ready[1], &c, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	for (int i = 1; i < count; i++) {
		if (read(ready[0], &c, 1) != 1)
			bench_fail("read", -errno);
	}
}

static void move_range(int mappers, int node)
{
	const struct ferry_move_options options = { .size = sizeof(options),
						    .flags = FERRY_MOVE_ALL };
	struct bench_span span = bench_start(0);
	int result = ferry_move_range(0, memory, (size_t)PAGES * PAGE, node, &options, NULL);

	if (result != 0)
		bench_fail("ferry_move_range", result);
	print("shared-range", mappers, bench_end(span, 0), PAGES);
}

static void move_array(int mappers, int node, bool kernel)
{
	static void *pages[PAGES];
	static int nodes[PAGES], status[PAGES];
	struct bench_span span;
	long result;

	for (size_t i = 0; i < PAGES; i++) {
		pages[i] = memory + i * PAGE;
		nodes[i] = node;
	}
	span = bench_start(0);
	result = kernel ? kernel_move(pages, nodes, status)
			: ferry_move_pages(0, PAGES, pages, nodes, status,
					   FERRY_MOVE_ALL | FERRY_CONTRACT_LINUX);
	if (result != 0 || status[0] != node || status[PAGES - 1] != node)
		bench_fail("move_pages", result);
	print("shared-array", mappers, bench_end(span, 0), PAGES);
}

static void touch(int mappers)
{
	struct bench_span span;
	char *fresh = mmap(NULL, (size_t)TOUCHED * PAGE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (fresh == MAP_FAILED)
		bench_fail("mmap", -errno);
	span = bench_start(0);
	for (size_t i = 0; i < TOUCHED; i++)
		fresh[i * PAGE] = 1;
	print("shared-touch", mappers, bench_end(span, 0), TOUCHED);
	(void)munmap(fresh, (size_t)TOUCHED * PAGE);
}

int main(int argc, char **argv)
{
	int mappers = argc > 1 ? atoi(argv[1]) : 1, repeats = argc > 2 ? atoi(argv[2]) : 5;
	bool kernel = argc > 3;

	memory = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		bench_fail("mmap", -errno);
	for (size_t i = 0; i < PAGES; i++)
		memory[i * PAGE] = 1;
	start_mappers(mappers);
	move_array(mappers, 1, kernel);
	for (int i = 0; i < repeats; i++) {
		if (!kernel) {
			move_range(mappers, 0);
			move_range(mappers, 1);
		}
		move_array(mappers, 0, kernel);
		move_array(mappers, 1, kernel);
		if (mappers == 1)
			touch(mappers);
	}
	return 0; /* the children end with us */
}
