/* SPDX-License-Identifier: MIT */
/*
 * asleep.c - a program with one thread, whose agent sleeps at first.
 *
 *   asleep hold PAGES        fills memory of every kind, says where, and waits; then all is right
 *   asleep churn             maps, grows, frees and forks without a pause until it is told to stop,
 *                            through the moment in which the agent wakes; then every page that it
 *                            has is managed
 *   asleep atfork            ends in the middle of a fork, after its agent has begun to wake
 *   asleep hole              punches a hole into a mapping and fills it again while its agent
 *                            wakes; then all of it is managed
 *   asleep idle              asks malloc for memory from time to time; says so
 *   asleep legacy            a child that sleeps: it has from its parent where its pages are, and
 *                            what it does to them meanwhile is found
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sys/wait.h>

enum { HOLE_AT = 4, AWAKE_US = 5000000 };
enum { ROUNDS_LEAST = 300, AREAS = 48, AREA_PAGES_MAX = 96, STATIC_PAGES = 16 };

enum kind { NONE, MAPPED, ALLOCATED };

struct area {
	enum kind kind;
	uint64_t *memory;
	size_t pages;
	uint64_t stamp;
};

static struct area areas[AREAS];
static uint64_t in_bss[STATIC_PAGES * PAGE_WORDS];
static uint64_t random_state;

static uint64_t *page_of(const struct area *area, size_t page)
{
	return area->memory + page * PAGE_WORDS;
}

static void fill(struct area *area, size_t from)
{
	for (size_t page = from; page < area->pages; page++) {
		page_of(area, page)[0] = area->stamp + page;
		page_of(area, page)[PAGE_WORDS - 1] = ~(area->stamp + page);
	}
}

static void check(const struct area *area)
{
	for (size_t page = 0; page < area->pages; page++)
		REQUIRE(page_of(area, page)[0] == area->stamp + page &&
				page_of(area, page)[PAGE_WORDS - 1] == ~(area->stamp + page),
			"page %zu of %zu at %p is wrong", page, area->pages, (void *)area->memory);
}

static void check_all(void)
{
	for (size_t i = 0; i < AREAS; i++)
		if (areas[i].kind != NONE)
			check(&areas[i]);
}

static void take(struct area *area, enum kind kind, size_t pages)
{
	size_t bytes = pages * PAGE;

	area->kind = kind;
	area->pages = pages;
	area->stamp = live_random(&random_state);
	area->memory = kind == ALLOCATED ? malloc(bytes) :
					   mmap(NULL, bytes, PROT_READ | PROT_WRITE,
						MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(area->memory != NULL && area->memory != MAP_FAILED, "no memory");
	fill(area, 0);
}

static void give(struct area *area)
{
	check(area);
	if (area->kind == ALLOCATED)
		free(area->memory);
	else
		REQUIRE(munmap(area->memory, area->pages * PAGE) == 0, "munmap");
	area->kind = NONE;
}

static void resize(struct area *area, size_t pages)
{
	size_t old = area->pages;
	void *memory = area->kind == ALLOCATED ?
			       realloc(area->memory, pages * PAGE) :
			       mremap(area->memory, old * PAGE, pages * PAGE, MREMAP_MAYMOVE);

	REQUIRE(memory != NULL && memory != MAP_FAILED, "no memory");
	area->memory = memory;
	area->pages = pages;
	fill(area, old < pages ? old : pages);
	check(area);
}

/* The child sees what its parent had, and may use memory of its own. */
static void fork_once(void)
{
	pid_t pid = fork();
	int status;

	REQUIRE(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		check_all();
		for (size_t i = 0; i < AREAS; i += 5)
			if (areas[i].kind != NONE)
				give(&areas[i]);
		check_all();
		_exit(0);
	}
	REQUIRE(waitpid(pid, &status, 0) == pid && status == 0, "the child ended with %x",
		(unsigned)status);
}

/* Of each page of an area the node, which is never -ENOENT or -EFAULT: it was touched. */
static void query(const struct area *area)
{
	void *pages[AREA_PAGES_MAX];
	int status[AREA_PAGES_MAX];

	for (size_t page = 0; page < area->pages; page++)
		pages[page] = page_of(area, page);
	REQUIRE(ferry_move_pages(0, area->pages, pages, NULL, status, 0) == 0, "query: %s",
		strerror(errno));
	for (size_t page = 0; page < area->pages; page++)
		REQUIRE(status[page] >= 0, "page %zu of %zu at %p (%s): status %d", page,
			area->pages, (void *)area->memory,
			area->kind == ALLOCATED ? "malloc" : "mmap", status[page]);
}

static void churn(void)
{
	uint64_t rounds = 0;

	live_ready("churns\n");
	while (rounds < ROUNDS_LEAST || !live_told_to_stop()) {
		struct area *area = &areas[live_below(&random_state, AREAS)];
		size_t pages = 1 + live_below(&random_state, AREA_PAGES_MAX);

		if (area->kind == NONE)
			take(area, live_below(&random_state, 2) ? MAPPED : ALLOCATED, pages);
		else if (live_below(&random_state, 3) == 0)
			give(area);
		else
			resize(area, pages);
		if (rounds++ % 64 == 0)
			fork_once();
	}
	check_all();
	if (live_nodes() < 1)
		return;
	for (size_t i = 0; i < AREAS; i++)
		if (areas[i].kind != NONE)
			query(&areas[i]);
	check_all();
	printf("rounds %llu\n", (unsigned long long)rounds);
}

enum { LEGACY_PAGES = 64, PART = LEGACY_PAGES / 4 };

static void expect(const struct area *area, size_t first, size_t end, int status, const char *who)
{
	void *pages[LEGACY_PAGES];
	int found[LEGACY_PAGES];

	for (size_t page = 0; page < area->pages; page++)
		pages[page] = page_of(area, page);
	REQUIRE(ferry_move_pages(0, area->pages, pages, NULL, found, 0) == 0, "query: %s",
		strerror(errno));
	for (size_t page = first; page < end; page++)
		REQUIRE(found[page] == status, "%s: page %zu: status %d, not %d", who, page,
			found[page], status);
}

static void prepare(void)
{
	live_ready("forks\n");
	live_sleep_us(AWAKE_US);
	_exit(0);
}

static void punch(char *hole, size_t bytes)
{
	REQUIRE(munmap(hole, bytes) == 0, "munmap");
	REQUIRE((char *)mmap(hole, bytes, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == hole,
		"mmap");
}

static void hole(void)
{
	struct area area = { .kind = MAPPED, .pages = HOLE_AT * 2, .stamp = 1 };
	char *at;

	/* A gap around it: it is one mapping, and nobody else's. */
	at = mmap(NULL, HOLE_AT * 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(at != MAP_FAILED, "mmap");
	area.memory = mmap(at + HOLE_AT * PAGE, area.pages * PAGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	at = (char *)page_of(&area, HOLE_AT);
	fill(&area, 0);
	live_ready("punches\n");
	while (!live_told_to_stop())
		punch(at, HOLE_AT * PAGE);
	punch(at, HOLE_AT * PAGE);
	fill(&area, 0);
	if (live_nodes() < 2)
		return;
	query(&area);
	/* Whatever is not armed reads zeros where a page is away. */
	for (int node = 0; node < 6; node++) {
		REQUIRE(live_move_all(area.memory, area.pages, node % 2, 20) == 0, "not moved");
		check(&area);
	}
	REQUIRE(munmap(at, HOLE_AT * PAGE) == 0, "munmap");
	expect(&area, HOLE_AT, area.pages, -EFAULT, "unmapped");
}

static void idle(void)
{
	live_ready("idles\n");
	while (!live_told_to_stop()) {
		char *volatile memory = malloc(100000);

		memory[0] = 1;
		free(memory);
		live_sleep_us(100000);
	}
}

static void await_child(pid_t pid)
{
	int status;

	REQUIRE(pid >= 0 && waitpid(pid, &status, 0) == pid && status == 0,
		"the child ended with %x", (unsigned)status);
}

static void change_in_sleep(const struct area *area)
{
	struct area more;

	for (size_t page = 0; page < PART; page++)
		page_of(area, page)[0] = page;
	REQUIRE(madvise(page_of(area, PART), PART * PAGE, MADV_DONTNEED) == 0, "madvise");
	REQUIRE(munmap(page_of(area, 2 * PART), PART * PAGE) == 0, "munmap");
	take(&more, MAPPED, LEGACY_PAGES);
	take(&areas[1], ALLOCATED, LEGACY_PAGES);
	expect(area, 0, PART, 1, "written");
	expect(area, PART, 2 * PART, -ENOENT, "discarded");
	expect(area, 2 * PART, 3 * PART, -EFAULT, "unmapped");
	expect(area, 3 * PART, LEGACY_PAGES, 1, "as it was");
	query(&more);
	query(&areas[1]);
	for (size_t page = 0; page < PART; page++) {
		REQUIRE(page_of(area, page)[0] == page, "a write was lost");
		REQUIRE(page_of(area, PART + page)[0] == 0, "a discarded page has come back");
	}
	check(&more);
	check_all();
}

static void legacy(void)
{
	struct area area;
	pid_t pid;

	if (live_nodes() < 2)
		return;
	take(&area, MAPPED, LEGACY_PAGES);
	REQUIRE(live_move_all(area.memory, LEGACY_PAGES, 1, 20) == 0, "not moved");
	pid = fork();
	if (pid == 0) {
		change_in_sleep(&area);
		_exit(0);
	}
	await_child(pid);
	/* A child of a child that sleeps. */
	pid = fork();
	if (pid == 0) {
		pid = fork();
		if (pid == 0) {
			expect(&area, 0, LEGACY_PAGES, 1, "grandchild");
			check(&area);
			_exit(0);
		}
		await_child(pid);
		expect(&area, 0, LEGACY_PAGES, 1, "child");
		_exit(0);
	}
	await_child(pid);
	expect(&area, 0, LEGACY_PAGES, 1, "parent");
	check(&area);
}

/* On the stack, in the heap, in a mapping of malloc's, in one of ours, in .bss. */
static void hold(size_t pages)
{
	uint64_t on_stack[4 * PAGE_WORDS];
	char text[64];
	struct area fixed[] = {
		{ .kind = MAPPED, .memory = on_stack, .pages = 4, .stamp = 11 },
		{ .kind = MAPPED, .memory = in_bss, .pages = STATIC_PAGES, .stamp = 12 },
	};

	take(&areas[0], MAPPED, pages);
	take(&areas[1], ALLOCATED, pages);
	for (size_t i = 2; i < AREAS; i++)
		take(&areas[i], ALLOCATED, 4);
	fill(&fixed[0], 0);
	fill(&fixed[1], 0);
	snprintf(text, sizeof(text), "0x%llx+%zu\n",
		 (unsigned long long)(uintptr_t)areas[0].memory, pages * PAGE);
	live_ready(text);
	while (!live_told_to_stop())
		live_sleep_us(1000);
	check_all();
	check(&fixed[0]);
	check(&fixed[1]);
}

int main(int argc, char **argv)
{
	live_watchdog(90);
	random_state = live_seed();
	if (argc == 3 && strcmp(argv[1], "hold") == 0)
		hold(strtoul(argv[2], NULL, 0));
	else if (argc == 2 && strcmp(argv[1], "churn") == 0)
		churn();
	else if (argc == 2 && strcmp(argv[1], "atfork") == 0)
		REQUIRE(pthread_atfork(prepare, NULL, NULL) == 0 && fork() == -2,
			"the fork went on");
	else if (argc == 2 && strcmp(argv[1], "hole") == 0)
		hole();
	else if (argc == 2 && strcmp(argv[1], "idle") == 0)
		idle();
	else if (argc == 2 && strcmp(argv[1], "legacy") == 0)
		legacy();
	else
		LIVE_FAIL("usage: asleep hold PAGES, or churn, atfork, hole, idle, legacy");
	return 0;
}
