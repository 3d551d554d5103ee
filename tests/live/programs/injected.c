/* SPDX-License-Identifier: MIT */
/*
 * injected.c - memory is written, moved, remapped, discarded, unmapped and forked, and read again,
 * while system calls of the agent fail. Whatever the moves answer, the memory must be right; and
 * where there is a machine at the end, its books must balance (FERRY_CHECK: the command).
 *
 * usage: injected [ROUNDS]
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sys/wait.h>

enum { PAGES = 160 };

static uint64_t values[PAGES];
static uint64_t last_value;
static char *area;

static void write_some(uint64_t *seed)
{
	for (size_t i = 0; i < PAGES; i++) {
		if (live_below(seed, 3) == 0)
			continue;
		values[i] = ++last_value;
		*(volatile uint64_t *)(void *)(area + i * PAGE + i * 8 % PAGE) = values[i];
	}
}

static void read_all(const char *when)
{
	for (size_t i = 0; i < PAGES; i++) {
		uint64_t found = *(volatile uint64_t *)(void *)(area + i * PAGE + i * 8 % PAGE);

		REQUIRE(found == values[i], "%s: page %zu is %llu, not %llu", when, i,
			(unsigned long long)found, (unsigned long long)values[i]);
	}
}

static void discard_some(uint64_t *seed)
{
	size_t first = live_below(seed, PAGES - 8);

	REQUIRE(madvise(area + first * PAGE, 8 * PAGE, MADV_DONTNEED) == 0, "MADV_DONTNEED");
	for (size_t i = first; i < first + 8; i++)
		values[i] = 0;
}

static void remap_all(void)
{
	void *there = mmap(NULL, PAGES * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *moved;

	REQUIRE(there != MAP_FAILED, "mmap");
	moved = mremap(area, PAGES * PAGE, PAGES * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, there);
	REQUIRE(moved == there, "mremap: %s", strerror(errno));
	area = moved;
}

static void fork_once(void)
{
	int status = -1;
	pid_t child = fork();

	REQUIRE(child >= 0, "fork: %s", strerror(errno));
	if (child == 0) {
		read_all("child");
		_exit(0);
	}
	REQUIRE(waitpid(child, &status, 0) == child && status == 0, "the child ended with %#x",
		status);
}

static void check_books(void)
{
	const char *command = getenv("FERRY_CHECK");
	char pid[24];
	int status = -1;
	pid_t child;

	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (command == NULL || live_nodes() == 0)
		return;
	child = vfork();
	if (child == 0) {
		execl(command, command, "check", pid, (char *)NULL);
		_exit(127);
	}
	REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status), "check: %#x", status);
	/* An agent that has ended leaves nothing to check; 1 is a breach. */
	REQUIRE(WEXITSTATUS(status) != 1 && WEXITSTATUS(status) != 127, "the books do not balance");
	fprintf(stderr, "books %d\n", WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 4;
	uint64_t seed = 4711;
	int nodes = live_nodes();

	live_watchdog(60);
	area = live_map(PAGES * PAGE);
	for (unsigned round = 0; round < rounds; round++) {
		write_some(&seed);
		if (nodes > 0)
			(void)ferry_move_range(0, area, PAGES * PAGE, (int)(round + 1) % nodes,
					       NULL, NULL);
		read_all("moved");
		discard_some(&seed);
		if (round % 2 == 1)
			remap_all();
		if (round == 2)
			fork_once();
		read_all("changed");
	}
	check_books();
	REQUIRE(munmap(area, PAGES * PAGE) == 0, "munmap");
	return 0;
}
