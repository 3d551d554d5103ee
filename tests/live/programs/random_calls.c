/* SPDX-License-Identifier: MIT */
/*
 * random_calls.c - touches, discards, unmaps, locks, forks and moves pages as a seed says, and
 * prints what each move_pages() answers. Run inside a machine by the contract of Linux, and bare on
 * a host with two nodes, it prints the same.
 *
 * Left out is what is answered in another way on purpose: two entries of one page, wrong nodes
 * behind right ones, pinned pages. A copy that a write makes after a fork lies on the writer's
 * node, or has the number of the page: it goes to node 0. A page that MOVE_ALL has moved is shared
 * no longer here: it is written to. A child that has ended shares until its agent has left. What
 * a child has of its parent's zero pages depends on which mappings the kernel has merged.
 *
 * usage: random_calls SEED CALLS
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <inttypes.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Pages lie apart: none is placed ahead of a touch beside it. */
enum { PAGES = 96, APART = 4, MOST = 16, KEPT = 4711 };

enum state { ABSENT, ZERO, WRITTEN, UNMAPPED };

static char *area;
static enum state states[PAGES];
static bool shared[PAGES]; /* with the child, and not written since */
static bool zero_at_fork[PAGES];
static pid_t child;
static uint64_t seed;

static char *page_at(size_t i)
{
	return area + i * APART * PAGE;
}

static long call(pid_t pid, size_t count, void **where, const int *nodes, int *status, int flags)
{
	long result = syscall(SYS_move_pages, pid, count, where, nodes, status, flags);

	return result < 0 ? -errno : result;
}

static void write_page(size_t i)
{
	void *where = page_at(i);
	int node = 0, status = KEPT;

	page_at(i)[i % 64] = (char)(i + 1);
	if (shared[i])
		REQUIRE(call(0, 1, &where, &node, &status, FERRY_MOVE) == 0 && status == 0,
			"page %zu does not go to node 0: %d", i, status);
	states[i] = WRITTEN;
	shared[i] = false;
}

static void check_page(size_t i)
{
	if (states[i] == WRITTEN)
		REQUIRE(page_at(i)[i % 64] == (char)(i + 1), "page %zu is lost", i);
}

static void end_child(void)
{
	struct ferry_node_info info[1];

	if (child == 0)
		return;
	kill(child, SIGKILL);
	REQUIRE(waitpid(child, NULL, 0) == child, "waitpid");
	while (ferry_nodes(child, info, 1) > 0)
		live_sleep_us(1000);
	child = 0;
	memset(shared, 0, sizeof(shared));
}

/* Waits until it runs: then it knows where its pages are. */
static void start_child(void)
{
	int ready[2];
	char byte = 0;

	end_child();
	REQUIRE(pipe(ready) == 0, "pipe");
	child = fork();
	REQUIRE(child >= 0, "fork: %s", strerror(errno));
	if (child == 0) {
		(void)!write(ready[1], &byte, 1);
		for (;;)
			pause();
	}
	REQUIRE(read(ready[0], &byte, 1) == 1, "no child");
	close(ready[0]);
	close(ready[1]);
	for (size_t i = 0; i < PAGES; i++) {
		shared[i] = states[i] == WRITTEN;
		zero_at_fork[i] = states[i] == ZERO;
	}
}

static void forget_page(size_t i, enum state state)
{
	states[i] = state;
	shared[i] = false;
}

static void discard(size_t i)
{
	if (states[i] == UNMAPPED)
		return;
	REQUIRE(munlock(page_at(i), PAGE) == 0, "munlock");
	REQUIRE(madvise(page_at(i), PAGE, MADV_DONTNEED) == 0, "MADV_DONTNEED");
	forget_page(i, ABSENT);
}

static void map(size_t i)
{
	void *mapped = mmap(page_at(i), PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	REQUIRE(mapped == page_at(i), "mmap: %s", strerror(errno));
	forget_page(i, ABSENT);
}

static void change_page(size_t i)
{
	switch (live_below(&seed, 8)) {
	case 0:
		discard(i);
		break;
	case 1:
		REQUIRE(munmap(page_at(i), PAGE) == 0, "munmap");
		forget_page(i, UNMAPPED);
		break;
	case 2:
		map(i);
		break;
	case 3: /* a lock gives other pages memory, and shared ones a copy */
		if (states[i] == WRITTEN && !shared[i])
			REQUIRE(mlock(page_at(i), PAGE) == 0, "mlock");
		break;
	case 4:
		if (states[i] == ABSENT) {
			REQUIRE(*(volatile char *)page_at(i) == 0, "page %zu is not zero", i);
			states[i] = ZERO;
		}
		break;
	default:
		if (states[i] != UNMAPPED)
			write_page(i);
		break;
	}
}

/* --- calls --------------------------------------------------------------------------------- */

struct arguments {
	pid_t pid;
	size_t count;
	size_t index[MOST];
	void *where[MOST];
	int nodes[MOST];
	bool query;
	int flags;
};

static void choose_pages(struct arguments *a)
{
	bool used[PAGES] = { false };

	a->count = live_below(&seed, MOST + 1);
	for (size_t k = 0; k < a->count; k++) {
		size_t i = live_below(&seed, PAGES);

		while (used[i])
			i = (i + 1) % PAGES;
		used[i] = true;
		a->index[k] = i;
		a->where[k] = page_at(i) + live_below(&seed, PAGE);
		a->nodes[k] = (int)live_below(&seed, 2);
	}
}

static void choose(struct arguments *a)
{
	static const int wrong_nodes[] = { -1, 2, 63, 1024, INT32_MAX, INT32_MIN };
	static const int flags[] = { 0, FERRY_MOVE, FERRY_MOVE, FERRY_MOVE, FERRY_MOVE_ALL,
				     FERRY_MOVE | FERRY_MOVE_ALL };
	static const int wrong_flags[] = { 1, 8, 1 << 7, -1 };

	choose_pages(a);
	a->pid = live_below(&seed, 4) == 0 ? getpid() : 0;
	if (child != 0 && live_below(&seed, 4) == 0)
		a->pid = child;
	a->query = live_below(&seed, 4) == 0;
	a->flags = flags[live_below(&seed, sizeof(flags) / sizeof(flags[0]))];
	switch (live_below(&seed, 24)) {
	case 0:
		a->flags = wrong_flags[live_below(&seed, 4)];
		break;
	case 1:
		a->pid = live_below(&seed, 2) == 0 ? -1 : 1 << 22;
		break;
	case 2:
		for (size_t k = 0; k < a->count; k++)
			a->nodes[k] = wrong_nodes[live_below(&seed, 6)];
		break;
	default:
		break;
	}
}

static void print(uint64_t number, const struct arguments *a, long result, const int *status)
{
	bool of_child = child != 0 && a->pid == child;

	printf("%" PRIu64 " %s %s %#x:", number, of_child ? "child" : "self",
	       a->query ? "query" : "move", (unsigned)a->flags);
	for (size_t k = 0; k < a->count; k++) {
		bool any = of_child && zero_at_fork[a->index[k]];

		printf(" %zu>%d=%d", a->index[k], a->nodes[k], any ? 0 : status[k]);
	}
	printf(" -> %ld\n", result);
}

/* What is shared no longer here, and would be by the kernel. */
static void own_pages(const struct arguments *a)
{
	for (size_t k = 0; k < a->count; k++) {
		if (shared[a->index[k]])
			write_page(a->index[k]);
	}
}

static void make_call(uint64_t number)
{
	struct arguments a;
	int status[MOST];
	long result;

	choose(&a);
	for (size_t k = 0; k < MOST; k++)
		status[k] = KEPT;
	result = call(a.pid, a.count, a.where, a.query ? NULL : a.nodes, status, a.flags);
	print(number, &a, result, status);
	for (size_t k = 0; k < a.count; k++)
		check_page(a.index[k]);
	if (!a.query && (a.flags & (int)FERRY_MOVE_ALL) != 0)
		own_pages(&a);
}

int main(int argc, char **argv)
{
	uint64_t calls;
	int status;

	REQUIRE(argc == 3, "usage: random_calls SEED CALLS");
	live_watchdog(600);
	seed = strtoull(argv[1], NULL, 0) | 1;
	calls = strtoull(argv[2], NULL, 0);
	live_stay_on_node_0();
	area = live_map_low((size_t)PAGES * APART * PAGE);
	/* An agent that sleeps leaves it to the host what a read finds. */
	REQUIRE(call(0, 1, &(void *){ area }, NULL, &status, FERRY_MOVE) == 0, "a query fails");
	for (uint64_t number = 0; number < calls; number++) {
		change_page(live_below(&seed, PAGES));
		change_page(live_below(&seed, PAGES));
		if (live_below(&seed, 64) == 0)
			start_child();
		if (live_below(&seed, 128) == 0)
			end_child();
		make_call(number);
	}
	end_child();
	for (size_t i = 0; i < PAGES; i++)
		check_page(i);
	return 0;
}
