/* SPDX-License-Identifier: MIT */
/*
 * statuses.c - the contract of move_pages() row by row, for private anonymous memory, through
 * every door: syscall(SYS_move_pages), the symbol move_pages, ferry_move_pages() by the rules of
 * 2006 (seed) and by those of Linux.
 *
 * As another user than root it has no right to MOVE_ALL.
 *
 * Expects a machine of four nodes, of which the third has 2 MiB only and the last nothing. Bare, it
 * asks the kernel through the first door those rows that are the same there.
 *
 * A row that fails says its door and line.
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <dlfcn.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum {
	COUNT = 64,
	SMALL_NODE = 2,
	SMALL_NODE_PAGES = 512,
	MEMORYLESS_NODE = 3,
	NO_PID = 1 << 23,
	UNWRITTEN = 12345
};

typedef long (*libc_move_pages)(int pid, unsigned long count, void **pages, const int *nodes,
				int *status, int flags);

enum door { DOOR_SYSCALL, DOOR_SYMBOL, DOOR_SEED, DOOR_LINUX, DOORS };

static const char *const door_names[DOORS] = { "syscall", "symbol", "ferry seed", "ferry linux" };
static enum door door;
static int nodes_count;
static libc_move_pages move_pages_symbol;
static char *area;
static void *pages[COUNT];
static int targets[COUNT], status[COUNT];

#define EXPECT(got, want)                                                                      \
	do {                                                                                   \
		long got_ = (long)(got), want_ = (long)(want);                                 \
		REQUIRE(got_ == want_, "%s: %s is %ld, not %ld", door_names[door], #got, got_, \
			want_);                                                                \
	} while (0)

/* => what the door returns, errors as -errno; errno must be as before unless there was one. */
static long call(pid_t pid, size_t count, void **where, const int *nodes, int *results,
		 unsigned flags)
{
	long result;

	errno = 77;
	switch (door) {
	case DOOR_SYSCALL:
		result = syscall(SYS_move_pages, pid, count, where, nodes, results, flags);
		break;
	case DOOR_SYMBOL:
		result = move_pages_symbol(pid, count, where, nodes, results, (int)flags);
		break;
	case DOOR_SEED:
		return ferry_move_pages(pid, count, where, nodes, results, flags);
	default:
		return ferry_move_pages(pid, count, where, nodes, results,
					flags | FERRY_CONTRACT_LINUX);
	}
	if (result == -1)
		return -errno;
	REQUIRE(errno == 77, "%s: errno became %d", door_names[door], errno);
	return result;
}

static bool is_seed(void)
{
	return door == DOOR_SEED;
}

static bool is_managed(void)
{
	return nodes_count != 0;
}

/* Fresh pages, all written, all on node 0 (on a machine). */
static void prepare(void)
{
	munmap(area, (size_t)COUNT * PAGE);
	area = live_map((size_t)COUNT * PAGE);
	for (size_t i = 0; i < COUNT; i++) {
		area[i * PAGE] = (char)i;
		pages[i] = area + i * PAGE;
		targets[i] = 0;
		status[i] = UNWRITTEN;
	}
	if (is_managed())
		REQUIRE(live_move_all(area, COUNT, 0, 5) == 0, "pages do not move to node 0");
}

static void check_content(void)
{
	for (size_t i = 0; i < COUNT; i++)
		REQUIRE(area[i * PAGE] == (char)i, "%s: page %zu changed", door_names[door], i);
}

static void expect_all(int want)
{
	for (size_t i = 0; i < COUNT; i++)
		EXPECT(status[i], want);
}

/* Where the pages are now, by query, is what was said last. */
static void expect_query(const int *want)
{
	int found[COUNT];

	EXPECT(call(0, COUNT, pages, NULL, found, FERRY_MOVE), 0);
	for (size_t i = 0; i < COUNT; i++)
		EXPECT(found[i], want[i]);
}

static void set_targets(int node)
{
	for (size_t i = 0; i < COUNT; i++)
		targets[i] = node;
}

/* 1.1: the order of checks. */
static void row_order_of_checks(void)
{
	prepare();
	EXPECT(call(NO_PID, COUNT, pages, targets, status, 1u << 10), -EINVAL);
	EXPECT(call(0, COUNT, pages, NULL, status, 1), -EINVAL);
	EXPECT(call(NO_PID, COUNT, pages, NULL, status, FERRY_MOVE), -ESRCH);
	EXPECT(call(-5, COUNT, pages, NULL, status, FERRY_MOVE), -ESRCH);
	EXPECT(call(NO_PID, COUNT, NULL, NULL, NULL, FERRY_MOVE), -ESRCH);
	if (is_managed()) {
		EXPECT(call(0, (size_t)1 << 31, NULL, NULL, NULL, FERRY_MOVE), -E2BIG);
		EXPECT(call(0, SIZE_MAX, NULL, targets, NULL, FERRY_MOVE), -E2BIG);
	}
	/* The privilege comes before the process, also in a query; other users' are no one's. */
	if (geteuid() != 0) {
		EXPECT(call(NO_PID, COUNT, pages, targets, status, FERRY_MOVE_ALL), -EPERM);
		EXPECT(call(0, COUNT, pages, NULL, status, FERRY_MOVE | FERRY_MOVE_ALL), -EPERM);
		EXPECT(call(0, 0, NULL, NULL, NULL, FERRY_MOVE_ALL), -EPERM);
		EXPECT(call(0, COUNT, NULL, NULL, NULL, FERRY_MOVE_ALL | 1), -EINVAL);
		EXPECT(call(1, COUNT, pages, targets, status, FERRY_MOVE), -EPERM);
		EXPECT(call(1, SIZE_MAX, NULL, NULL, NULL, FERRY_MOVE), -EPERM);
	}
	expect_all(UNWRITTEN);
}

/* 1.1, 1.2: a process without memory: one that has ended, a thread of the kernel's. */
static void row_no_memory(void)
{
	siginfo_t ended;
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	REQUIRE(child > 0 && waitid(P_PID, (id_t)child, &ended, WEXITED | WNOWAIT) == 0, "waitid");
	EXPECT(call(child, 0, NULL, NULL, NULL, FERRY_MOVE), -EINVAL);
	EXPECT(call(child, COUNT, pages, targets, status, FERRY_MOVE), -EINVAL);
	EXPECT(call(child, COUNT, NULL, NULL, NULL, FERRY_MOVE), -EINVAL);
	REQUIRE(waitpid(child, NULL, 0) == child, "waitpid");
	EXPECT(call(child, COUNT, pages, targets, status, FERRY_MOVE), -ESRCH);
	/* kthreadd, where we can see it. */
	if (geteuid() == 0 && getpgid(2) == 0)
		EXPECT(call(2, COUNT, pages, targets, status, FERRY_MOVE), -EINVAL);
}

/* 1.4: the kernel's own mappings: a query has its word, a move answers -EFAULT. */
static void row_kernels_mappings(void)
{
	void *where[2] = { (void *)(uintptr_t)getauxval(AT_SYSINFO_EHDR), NULL };
	int to[2] = { 1, 1 }, found[2] = { UNWRITTEN, UNWRITTEN };

	if (where[0] == NULL || !is_managed())
		return;
	where[1] = (char *)where[0] - PAGE; /* vvar */
	EXPECT(call(0, 1, where, NULL, found, FERRY_MOVE), 0);
	EXPECT(found[0], 0);
	EXPECT(call(0, 2, where, to, found, FERRY_MOVE), is_seed() ? -ENOENT : 0);
	EXPECT(found[0], -EFAULT);
	EXPECT(found[1], -EFAULT);
}

/* 1.2: what is not ours to move is told as the kernel knows it, and counted by what is told. */
static void row_unmanaged(void)
{
	char name[] = "/tmp/pageferry-statuses-XXXXXX";
	int file = mkstemp(name);
	char *shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	void *where[3] = { shared, shared + PAGE, shared };
	int to[3] = { 1, 1, 1 }, found[3];

	REQUIRE(shared != MAP_FAILED && unlink(name) == 0 && ftruncate(file, 4 * PAGE) == 0,
		"a file");
	close(file);
	shared[0] = 1;
	if (is_managed()) {
		EXPECT(call(0, 2, where, to, found, FERRY_MOVE), 1);
		EXPECT(found[0], -EBUSY);
		EXPECT(found[1], -ENOENT);
		EXPECT(call(0, 3, where, to, found, FERRY_MOVE), is_seed() ? 2 : 1);
		EXPECT(found[2], -EBUSY);
		EXPECT(call(0, 1, where + 1, to, found, FERRY_MOVE), is_seed() ? -ENOENT : 0);
		EXPECT(found[0], -ENOENT);
	}
	munmap(shared, 4 * PAGE);
}

/* 1.2, 1.4: nothing to do. */
static void row_nothing_to_do(void)
{
	prepare();
	EXPECT(call(0, 0, NULL, NULL, NULL, FERRY_MOVE), 0);
	EXPECT(call(0, 0, pages, targets, status, FERRY_MOVE), is_seed() ? -ENOENT : 0);
	expect_all(UNWRITTEN);
	EXPECT(call(0, COUNT, pages, targets, status, FERRY_MOVE), is_seed() ? -ENOENT : 0);
	expect_all(0);
	check_content();
}

/* 1.2, 1.3: pages move, and say so; flags 0 is MOVE; MOVE_ALL includes MOVE. */
static void row_moves(void)
{
	static const unsigned flags[] = { FERRY_MOVE, 0, FERRY_MOVE_ALL,
					  FERRY_MOVE | FERRY_MOVE_ALL };

	for (unsigned i = 0; i < (geteuid() == 0 ? 4 : 2) && is_managed(); i++) {
		prepare();
		for (int page = 0; page < COUNT; page++)
			targets[page] = page % 2;
		EXPECT(call(0, COUNT, pages, targets, status, flags[i]), 0);
		for (int page = 0; page < COUNT; page++)
			EXPECT(status[page], page % 2);
		expect_query(targets);
		check_content();
	}
}

/* 1.2: a node that is not there: -ENODEV, and no page moves, also none before it in the array. */
static void row_bad_node(void)
{
	static const int bad[] = { -1, MEMORYLESS_NODE, 4, 1024, INT32_MAX, INT32_MIN };
	int zero[COUNT] = { 0 };

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		prepare();
		set_targets(is_managed() ? 1 : 0);
		targets[COUNT - 1] = bad[i];
		EXPECT(call(0, COUNT, pages, targets, status, FERRY_MOVE), -ENODEV);
		if (is_managed())
			expect_query(zero);
		check_content();
	}
}

/* 1.2, 1.4: arrays that cannot be read or written: -EFAULT, and nothing moves. */
static void row_bad_arrays(void)
{
	char *guarded = live_map(2 * PAGE);
	void **near_end = (void **)(void *)(guarded + PAGE - 2 * sizeof(void *));
	int *read_only = live_map(PAGE);
	int zero[COUNT] = { 0 };

	prepare();
	set_targets(is_managed() ? 1 : 0);
	near_end[0] = pages[0];
	near_end[1] = pages[1];
	memcpy(read_only, targets, sizeof(targets));
	REQUIRE(mprotect(guarded + PAGE, PAGE, PROT_NONE) == 0, "mprotect");
	REQUIRE(mprotect(read_only, PAGE, PROT_READ) == 0, "mprotect");
	EXPECT(call(0, COUNT, NULL, NULL, status, FERRY_MOVE), -EFAULT);
	EXPECT(call(0, COUNT, NULL, targets, status, FERRY_MOVE), -EFAULT);
	EXPECT(call(0, 4, near_end, targets, status, FERRY_MOVE), -EFAULT);
	EXPECT(call(0, COUNT, pages, (int *)(void *)(guarded + PAGE), status, FERRY_MOVE), -EFAULT);
	if (is_managed()) {
		EXPECT(call(0, COUNT, pages, targets, NULL, FERRY_MOVE), -EFAULT);
		EXPECT(call(0, COUNT, pages, targets, read_only, FERRY_MOVE), -EFAULT);
		expect_query(zero);
		EXPECT(call(0, COUNT, pages, read_only, status, FERRY_MOVE), 0);
		expect_all(1);
	}
	EXPECT(call(0, COUNT, pages, NULL, NULL, FERRY_MOVE), -EFAULT);
	check_content();
	munmap(guarded, 2 * PAGE);
	munmap(read_only, PAGE);
}

/* 1.3: absent, zero page, no mapping: by query and by move; a query brings nothing in. */
static void row_absent_pages(void)
{
	volatile char *fresh = live_map_low(4 * PAGE);
	void *where[4] = { (void *)(uintptr_t)fresh, (void *)(uintptr_t)(fresh + PAGE),
			   (void *)(uintptr_t)(fresh + 2 * PAGE),
			   (void *)(uintptr_t)(fresh + 3 * PAGE) };
	int want[4] = { -ENOENT, -EFAULT, -EFAULT, -ENOENT }, to[4] = { 0 }, found[4];
	char seen = fresh[PAGE];
	unsigned char in_core[4];

	REQUIRE(seen == 0, "fresh memory is not zero");
	fresh[3 * PAGE] = 1;
	REQUIRE(madvise((char *)where[3], PAGE, MADV_DONTNEED) == 0, "DONTNEED");
	REQUIRE(munmap(where[2], PAGE) == 0, "munmap");
	for (int round = 0; round < 2; round++) {
		EXPECT(call(0, 4, where, NULL, found, FERRY_MOVE), 0);
		for (int i = 0; i < 4; i++)
			REQUIRE(found[i] == want[i], "round %d: page %d is %d, not %d", round, i,
				found[i], want[i]);
	}
	REQUIRE(mincore(where[0], PAGE, in_core) == 0, "mincore");
	EXPECT(in_core[0] & 1, 0);
	EXPECT(call(0, 4, where, to, found, FERRY_MOVE), is_seed() ? -ENOENT : 0);
	for (int i = 0; i < 4; i++)
		EXPECT(found[i], want[i]);
	munmap(where[0], 2 * PAGE);
	munmap(where[3], PAGE);
}

/* 1.4: addresses inside a page; the same page twice: the last target wins, both say so. */
static void row_addresses(void)
{
	prepare();
	for (size_t i = 0; i < COUNT; i++)
		pages[i] = area + i * PAGE + (i * 61) % PAGE;
	if (!is_managed()) {
		EXPECT(call(0, COUNT, pages, NULL, status, FERRY_MOVE), 0);
		expect_all(0);
		return;
	}
	set_targets(1);
	EXPECT(call(0, COUNT, pages, targets, status, FERRY_MOVE), 0);
	expect_all(1);
	prepare();
	set_targets(1);
	pages[5] = area + 4 * PAGE + 9;
	targets[4] = 1;
	targets[5] = 0;
	pages[7] = area + 6 * PAGE;
	targets[6] = 0;
	targets[7] = 1;
	EXPECT(call(0, COUNT, pages, targets, status, FERRY_MOVE), 0);
	EXPECT(status[4], 0);
	EXPECT(status[5], 0);
	EXPECT(status[6], 1);
	EXPECT(status[7], 1);
	check_content();
}

/* 1.4: status may be the same array as nodes, or lie over pages. */
static void row_aliases(void)
{
	prepare();
	if (!is_managed())
		return;
	set_targets(1);
	EXPECT(call(0, COUNT, pages, targets, targets, FERRY_MOVE), 0);
	for (size_t i = 0; i < COUNT; i++)
		EXPECT(targets[i], 1);
	set_targets(0);
	EXPECT(call(0, COUNT, pages, targets, (int *)(void *)pages, FERRY_MOVE), 0);
	for (size_t i = 0; i < COUNT; i++)
		EXPECT(((int *)(void *)pages)[i], 0);
	check_content();
}

/* 1.4: pages without access, or read-only, have a node, and move as others do. */
static void row_protections(void)
{
	long result;
	int zero[COUNT] = { 0 };

	prepare();
	REQUIRE(mprotect(area, PAGE, PROT_NONE) == 0, "mprotect");
	REQUIRE(mprotect(area + PAGE, PAGE, PROT_READ) == 0, "mprotect");
	expect_query(zero);
	if (is_managed()) {
		set_targets(1);
		result = call(0, COUNT, pages, targets, status, FERRY_MOVE);
		/* Eviction leaves alone what may not be written to; without access pages change
		 * node by name only. */
		for (int i = 0; i < 2 && live_evicts(); i++) {
			if (status[i] != -EBUSY)
				continue;
			status[i] = 1;
			result--;
		}
		expect_all(1);
		EXPECT(result, 0);
	}
	REQUIRE(mprotect(area, 2 * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
	check_content();
}

/* 1.2, 1.5: the target is too small. */
static void row_target_full(void)
{
	enum { MANY = 2 * SMALL_NODE_PAGES };
	char *many = live_map((size_t)MANY * PAGE);
	static void *where[MANY];
	static int to[MANY], found[MANY], now[MANY];
	long result, full = 0;

	for (size_t i = 0; i < MANY && is_managed(); i++) {
		where[i] = many + i * PAGE;
		many[i * PAGE] = (char)(i | 1);
		to[i] = SMALL_NODE;
		found[i] = UNWRITTEN;
	}
	if (is_managed()) {
		result = call(0, MANY, where, to, found, FERRY_MOVE);
		EXPECT(call(0, MANY, where, NULL, now, FERRY_MOVE), 0);
		for (size_t i = 0; i < MANY; i++) {
			REQUIRE(many[i * PAGE] == (char)(i | 1), "page %zu changed", i);
			full += found[i] == -ENOMEM;
			if (found[i] == -ENOMEM)
				REQUIRE(now[i] != SMALL_NODE, "page %zu is there", i);
			else
				REQUIRE(found[i] == now[i], "page %zu: said %d, is %d", i, found[i],
					now[i]);
		}
		REQUIRE(full >= SMALL_NODE_PAGES, "only %ld pages found no room", full);
		EXPECT(result, is_seed() ? full : -ENOMEM);
	}
	munmap(many, (size_t)MANY * PAGE);
}

/* 1.3: shared with a child since a fork: refused, truly; and it moves once the child is gone. */
static void row_shared(void)
{
	int pipe_ends[2], ended;
	pid_t child;
	char byte;

	prepare();
	REQUIRE(pipe(pipe_ends) == 0, "pipe");
	child = fork();
	if (child == 0) {
		close(pipe_ends[1]);
		_exit(read(pipe_ends[0], &byte, 1) == 0 ? 0 : 1);
	}
	REQUIRE(child > 0, "fork");
	close(pipe_ends[0]);
	if (is_managed()) {
		EXPECT(call(0, COUNT, pages, targets, status, FERRY_MOVE), is_seed() ? -ENOENT : 0);
		expect_all(0);
		set_targets(1);
		REQUIRE(call(0, COUNT, pages, targets, status, FERRY_MOVE) >= 0 || is_seed(),
			"%s: shared pages", door_names[door]);
		for (size_t i = 0; i < COUNT; i++)
			REQUIRE(status[i] == -EACCES || status[i] == -EBUSY,
				"%s: a shared page has status %d", door_names[door], status[i]);
	}
	close(pipe_ends[1]);
	REQUIRE(waitpid(child, &ended, 0) == child && ended == 0, "child: %x", (unsigned)ended);
	if (is_managed())
		REQUIRE(live_move_all(area, COUNT, 1, 5) == 0, "pages do not move after the child");
	check_content();
}

/* 1.4: all addresses of a huge frame say the same, and it moves whole. */
static void row_huge(void)
{
	char *huge = live_map_huge(HUGE_PAGE);
	void *where[3] = { huge + 5 * PAGE, huge + 100 * PAGE, huge + 511 * PAGE };
	int to[3] = { 1, 1, 1 }, found[3];
	static int now[HUGE_PAGE / PAGE];

	memset(huge, 42, HUGE_PAGE);
	if (is_managed()) {
		REQUIRE(live_move_all(huge, HUGE_PAGE / PAGE, 0, 5) == 0, "huge frame to node 0");
		EXPECT(call(0, 3, where, to, found, FERRY_MOVE), 0);
		REQUIRE(ferry_query_range(0, huge, HUGE_PAGE / PAGE, now) == 0, "query");
		for (int i = 0; i < 3; i++)
			EXPECT(found[i], 1);
		for (int i = 0; i < HUGE_PAGE / PAGE; i++)
			REQUIRE(now[i] == 1 || now[i] == 0, "page %d: %d", i, now[i]);
	}
	for (size_t i = 0; i < HUGE_PAGE; i++)
		REQUIRE(huge[i] == 42, "byte %zu changed", i);
	munmap(huge, HUGE_PAGE);
}

static void check_door(void)
{
	row_order_of_checks();
	row_no_memory();
	row_kernels_mappings();
	row_unmanaged();
	row_nothing_to_do();
	row_moves();
	row_bad_node();
	row_bad_arrays();
	row_absent_pages();
	row_addresses();
	row_aliases();
	row_protections();
	row_target_full();
	row_shared();
	row_huge();
	fprintf(stderr, "%s: ok\n", door_names[door]);
}

int main(void)
{
	long result;

	live_watchdog(60);
	nodes_count = live_nodes();
	area = live_map((size_t)COUNT * PAGE);
	if (!is_managed()) {
		door = DOOR_SYSCALL;
		check_door();
		return 0;
	}
	REQUIRE(nodes_count == 4, "the test wants four nodes, not %d", nodes_count);
	*(void **)&move_pages_symbol = dlsym(RTLD_DEFAULT, "move_pages");
	REQUIRE(move_pages_symbol != NULL, "there is no symbol move_pages");
	for (door = 0; door < DOORS; door++)
		check_door();
	/* A process that is not ours is refused, by a code that says so; first comes the right. */
	result = ferry_move_pages(1, 0, NULL, NULL, NULL, FERRY_MOVE);
	REQUIRE(result == -ESRCH || result == -EPERM, "process 1: %ld", result);
	return 0;
}
