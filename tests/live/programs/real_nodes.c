/* SPDX-License-Identifier: MIT */
/*
 * real_nodes.c - nodes 0 and 1 of the machine stand for the host's nodes 0 and 1 (or both for its
 * only one): what the machine says of a page is what the kernel says.
 *
 * The kernel is asked by a system call of our own, past everything that stands in front of libc.
 *
 *  - pages touched first, moved back and forth, copied in (read-only and locked mappings);
 *  - pages that were mapped past us and found;
 *  - copies that the kernel makes after a fork, charged within a second;
 *  - shared memory, alone and with a child, and a file, which the kernel itself moves.
 *
 * usage: real_nodes [one]    one: the host has a single node, behind both
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sys/wait.h>

#include "base/sys.h"

enum { PAGES = 2048, ROUNDS = 40, PATIENCE_S = 5 };

static bool one_node;
static char *area;

/* => pages on which the kernel and the machine disagree; *first is one of them. */
static size_t count_wrong(char *memory, size_t pages, size_t *first, int *kernel, int *machine)
{
	void *addresses[PAGES];
	size_t wrong = 0;

	for (size_t i = 0; i < pages; i++)
		addresses[i] = memory + i * PAGE;
	REQUIRE(ferry_query_range(0, memory, pages, machine) == 0, "ferry_query_range");
	REQUIRE(ferry_sys6(SYS_move_pages, 0, (long)pages, (long)addresses, 0, (long)kernel, 2) ==
			0,
		"the kernel's move_pages");
	for (size_t i = 0; i < pages; i++) {
		int node = one_node && machine[i] >= 0 ? 0 : machine[i];

		if (node < 0 || node == kernel[i])
			continue;
		if (wrong++ == 0 || kernel[i] != -ENOENT)
			*first = i;
	}
	return wrong;
}

/*
 * What the kernel did unseen is in the books within a second; all else at once, but that the kernel
 * has no answer (-ENOENT) while it migrates a page on its own, to compact memory.
 */
static void compare(char *memory, size_t pages, bool at_once, const char *what)
{
	static int kernel[PAGES], machine[PAGES];
	uint64_t end = live_now_ns() + PATIENCE_S * live_slow() * UINT64_C(1000000000);
	size_t first = 0, wrong;

	while ((wrong = count_wrong(memory, pages, &first, kernel, machine)) != 0) {
		REQUIRE((!at_once || kernel[first] == -ENOENT) && live_now_ns() < end,
			"%s: %zu pages; page %zu is on node %d, the kernel says %d", what, wrong,
			first, machine[first], kernel[first]);
		live_sleep_us(50000);
	}
}

static uint64_t move_at_random(uint64_t *seed)
{
	void *pages[MOVE_MAX];
	int targets[MOVE_MAX], status[MOVE_MAX];
	uint8_t reasons[MOVE_MAX];
	size_t count = 1 + live_below(seed, MOVE_MAX);
	size_t first = live_below(seed, PAGES - count + 1);
	uint64_t moved = 0;
	long result;

	for (size_t i = 0; i < count; i++) {
		pages[i] = area + (first + i) * PAGE;
		targets[i] = (int)live_below(seed, 2);
	}
	result = ferry_move_pages_reasons(0, count, pages, targets, status, reasons, FERRY_MOVE);
	REQUIRE(result >= 0 || result == -ENOENT, "ferry_move_pages: %ld", result);
	for (size_t i = 0; i < count; i++)
		moved += reasons[i] == live_reason("moved");
	return moved;
}

static void mark(char *memory, size_t pages, char value)
{
	for (size_t i = 0; i < pages; i++)
		memory[i * PAGE] = (char)(value + (char)i);
}

static void check_marks(const char *memory, size_t pages, char value)
{
	for (size_t i = 0; i < pages; i++)
		REQUIRE(memory[i * PAGE] == (char)(value + (char)i), "page %zu has lost its byte",
			i);
}

static void fork_and_copy(void)
{
	int status;
	pid_t pid = fork();

	REQUIRE(pid >= 0, "fork");
	if (pid == 0) {
		mark(area, PAGES / 2, 9);
		compare(area, PAGES / 2, false, "copies of a child");
		_exit(0);
	}
	mark(area + PAGES / 2 * PAGE, PAGES / 2, 5);
	REQUIRE(waitpid(pid, &status, 0) == pid && status == 0, "child: %x", (unsigned)status);
	mark(area, PAGES, 5);
	compare(area, PAGES, false, "copies after a fork");
}

/* Mapped and touched past everything: found when the machine is asked for moves. */
static void find_foreign(void)
{
	long memory = ferry_sys6(SYS_mmap, 0, PAGES * PAGE, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(memory > 0, "mmap");
	mark((char *)memory, PAGES, 3);
	(void)ferry_move_range(0, (void *)memory, PAGES * PAGE, 1, NULL, NULL);
	compare((char *)memory, PAGES, false, "memory that was found");
	check_marks((char *)memory, PAGES, 3);
}

/* => pages with that status. */
static size_t move_to(char *memory, size_t pages, int node, unsigned flags, int want)
{
	void *addresses[PAGES];
	static int targets[PAGES], status[PAGES];
	size_t count = 0;

	for (size_t i = 0; i < pages; i++) {
		addresses[i] = memory + i * PAGE;
		targets[i] = node;
	}
	REQUIRE(ferry_move_pages(0, pages, addresses, targets, status,
				 flags | FERRY_CONTRACT_LINUX) >= 0, "ferry_move_pages");
	for (size_t i = 0; i < pages; i++)
		count += status[i] == want;
	return count;
}

/* Does the kernel say so, too? */
static void compare_with_status(char *memory, size_t pages, int node)
{
	void *addresses[PAGES];
	static int kernel[PAGES], machine[PAGES];

	for (size_t i = 0; i < pages; i++)
		addresses[i] = memory + i * PAGE;
	REQUIRE(ferry_move_pages(0, pages, addresses, NULL, machine, 0) == 0, "a query");
	REQUIRE(ferry_sys6(SYS_move_pages, 0, (long)pages, (long)addresses, 0, (long)kernel, 2) ==
			0, "the kernel's move_pages");
	for (size_t i = 0; i < pages; i++)
		REQUIRE(machine[i] == (one_node ? machine[i] : node) &&
				kernel[i] == (one_node ? 0 : node),
			"page %zu is on node %d, the kernel says %d", i, machine[i], kernel[i]);
}

static void move_shared(void)
{
	enum { SHARED = 256 };
	char *memory = mmap(NULL, SHARED * PAGE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int up[2], down[2], status;
	char c = 'x';
	size_t refused;
	pid_t child;

	REQUIRE(memory != MAP_FAILED && pipe(up) == 0 && pipe(down) == 0, "mmap");
	mark(memory, SHARED, 2);
	compare(memory, SHARED, true, "first touch of shared memory");
	for (int round = 0; round < 4; round++) {
		LIVE_EXPECT(move_to(memory, SHARED, round % 2, FERRY_MOVE, round % 2), SHARED);
		compare_with_status(memory, SHARED, round % 2);
	}
	child = fork();
	if (child == 0) {
		check_marks(memory, SHARED / 2, 2);
		REQUIRE(write(up[1], &c, 1) == 1 && read(down[0], &c, 1) == 1, "a pipe");
		compare_with_status(memory, SHARED / 2, 0);
		_exit(0);
	}
	REQUIRE(read(up[0], &c, 1) == 1, "a pipe");
	refused = move_to(memory, SHARED, 0, FERRY_MOVE, -EACCES);
	/* The kernel may have mapped some of the neighbours of what the child read. */
	REQUIRE(one_node || (refused >= SHARED / 2 && refused <= SHARED / 2 + 32),
		"%zu pages are refused", refused);
	LIVE_EXPECT(move_to(memory, SHARED, 0, FERRY_MOVE_ALL, 0), SHARED);
	compare_with_status(memory, SHARED, 0);
	REQUIRE(write(down[1], &c, 1) == 1, "a pipe");
	REQUIRE(waitpid(child, &status, 0) == child && status == 0, "child: %x", (unsigned)status);
	check_marks(memory, SHARED, 2);
	munmap(memory, SHARED * PAGE);
}

static void move_file(void)
{
	enum { CACHED = 64 };
	char name[] = "/tmp/pageferry-real-XXXXXX";
	int file = mkstemp(name);
	char *memory;

	REQUIRE(file >= 0 && unlink(name) == 0 && ftruncate(file, CACHED * PAGE) == 0, "a file");
	memory = mmap(NULL, CACHED * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	REQUIRE(memory != MAP_FAILED, "mmap of a file");
	mark(memory, CACHED, 4);
	for (int round = 0; round < 4; round++) {
		/* A page under writeback answers -EBUSY: tried again. */
		for (int tries = 0; move_to(memory, CACHED, round % 2, FERRY_MOVE, round % 2) <
				    CACHED; tries++) {
			REQUIRE(tries < 50, "a file does not move");
			live_sleep_us(100000);
		}
		compare_with_status(memory, CACHED, round % 2);
	}
	check_marks(memory, CACHED, 4);
	munmap(memory, CACHED * PAGE);
	close(file);
}

int main(int argc, char **argv)
{
	uint64_t seed = live_seed(), moved = 0;

	one_node = argc > 1 && strcmp(argv[1], "one") == 0;
	live_watchdog(100);
	REQUIRE(live_nodes() == 2, "two nodes are needed");
	move_shared();
	move_file();
	area = live_map((size_t)PAGES * PAGE);
	mark(area, PAGES, 1);
	compare(area, PAGES, true, "first touch");
	for (int i = 0; i < ROUNDS; i++) {
		moved += move_at_random(&seed);
		compare(area, PAGES, true, "moves");
	}
	check_marks(area, PAGES, 1);
	REQUIRE(mprotect(area, PAGES / 2 * PAGE, PROT_READ) == 0, "mprotect");
	(void)!mlock(area + PAGES / 2 * PAGE, 16 * PAGE);
	for (int i = 0; i < ROUNDS; i++) {
		moved += move_at_random(&seed);
		compare(area, PAGES, true, "moves of read-only and locked pages");
	}
	check_marks(area, PAGES, 1);
	REQUIRE(mprotect(area, PAGES / 2 * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
	(void)!munlock(area + PAGES / 2 * PAGE, 16 * PAGE);
	fork_and_copy();
	check_marks(area, PAGES, 5);
	find_foreign();
	printf("moved %llu\n", (unsigned long long)moved);
	return 0;
}
