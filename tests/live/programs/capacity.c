/* SPDX-License-Identifier: MIT */
/*
 * capacity.c - loads for the test of node capacities.
 *
 * usage: capacity churn MIB   blocks come and go, never more than MIB at a time
 *        capacity fork MIB    children that write a part of MIB inherited
 *        capacity fill MIB    writes MIB once, prints "node pages" lines, waits for the stop file
 *        capacity full        writes until killed; an end of its own is status 9
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sys/wait.h>

enum { MIB = 1 << 20, BLOCKS = 64 };

static void touch(char *memory, size_t bytes, char value)
{
	for (size_t i = 0; i < bytes; i += PAGE)
		((volatile char *)memory)[i] = value;
}

static void verify(const char *memory, size_t bytes, char value)
{
	for (size_t i = 0; i < bytes; i += PAGE)
		REQUIRE(((const volatile char *)memory)[i] == value, "byte %zu of a block changed",
			i);
}

struct block {
	char *memory;
	size_t bytes;
	bool mapped; /* by mmap, else by malloc */
};

static void drop_block(struct block *block, char value)
{
	verify(block->memory, block->bytes, value);
	if (block->mapped)
		munmap(block->memory, block->bytes);
	else
		free(block->memory);
	block->memory = NULL;
}

static void churn(size_t limit)
{
	struct block blocks[BLOCKS] = { 0 };
	uint64_t end = live_deadline_ns(6), seed = (uint64_t)getpid() | 1;
	size_t held = 0;

	while (live_now_ns() < end) {
		unsigned index = (unsigned)live_below(&seed, BLOCKS);
		struct block *block = &blocks[index];

		if (block->memory != NULL) {
			held -= block->bytes;
			drop_block(block, (char)index);
			continue;
		}
		block->bytes = (1 + live_below(&seed, 2048)) * PAGE;
		if (held + block->bytes > limit)
			continue;
		block->mapped = live_below(&seed, 2) == 0;
		block->memory = block->mapped ? live_map(block->bytes) : malloc(block->bytes);
		REQUIRE(block->memory != NULL, "malloc");
		held += block->bytes;
		touch(block->memory, block->bytes, (char)index);
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		if (blocks[i].memory != NULL)
			drop_block(&blocks[i], (char)i);
}

static void fork_and_write(size_t bytes)
{
	uint64_t end = live_deadline_ns(6);
	char *memory = live_map(bytes);
	int status;

	touch(memory, bytes, 1);
	while (live_now_ns() < end) {
		pid_t pid = fork();

		if (pid == 0) {
			touch(memory, bytes / 4, 2);
			verify(memory, bytes / 4, 2);
			verify(memory + bytes / 4, bytes - bytes / 4, 1);
			live_sleep_us(50000);
			_exit(0);
		}
		touch(memory + bytes / 2, bytes / 4, 1);
		REQUIRE(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "child: %x",
			(unsigned)status);
		verify(memory, bytes, 1);
	}
}

static void fill(size_t bytes)
{
	char *memory = live_map(bytes);
	size_t pages = bytes / PAGE;
	int *status = malloc(pages * sizeof(*status));
	uint64_t counts[64] = { 0 };

	touch(memory, bytes, 3);
	if (live_nodes() > 0) {
		REQUIRE(ferry_query_range(0, memory, pages, status) == 0, "ferry_query_range");
		for (size_t i = 0; i < pages; i++) {
			REQUIRE(status[i] >= 0 && status[i] < 64, "page %zu: %d", i, status[i]);
			counts[status[i]]++;
		}
	}
	for (int node = 0; node < live_nodes(); node++)
		printf("node%d %llu\n", node, (unsigned long long)counts[node]);
	fflush(stdout);
	live_ready("ready\n");
	while (!live_told_to_stop())
		live_sleep_us(20000);
	verify(memory, bytes, 3);
	free(status);
}

static void fill_up(void)
{
	/* A bare run must end, too: it writes 64 MiB. */
	unsigned blocks = live_nodes() > 0 ? 100000 : 64;

	for (unsigned i = 0; i < blocks; i++)
		touch(live_map(MIB), MIB, 4);
	exit(9);
}

int main(int argc, char **argv)
{
	size_t bytes = argc > 2 ? strtoull(argv[2], NULL, 0) * MIB : MIB;

	REQUIRE(argc >= 2, "usage: capacity churn|fork|fill|full [MIB]");
	live_watchdog(100);
	if (strcmp(argv[1], "churn") == 0)
		churn(bytes);
	else if (strcmp(argv[1], "fork") == 0)
		fork_and_write(bytes);
	else if (strcmp(argv[1], "fill") == 0)
		fill(bytes);
	else
		fill_up();
	return 0;
}
