/* SPDX-License-Identifier: MIT */
/*
 * live.h - what the programs of the live tests share.
 *
 * Every program runs bare as well as inside `pageferry run`: bare it checks only its own
 * behaviour and moves nothing. With FERRY_TEST_MANAGED=1 in the environment it is an error to be
 * bare. A test that fails ends the program at once with status 1 and one line on stderr.
 */
#ifndef FERRY_TESTS_LIVE_H
#define FERRY_TESTS_LIVE_H

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "pageferry/pageferry.h"

enum { PAGE = 4096, PAGE_WORDS = PAGE / 8, HUGE_PAGE = 2 << 20, MOVE_MAX = 512 };

#define LIVE_FAIL(...)                                          \
	do {                                                    \
		fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
		fprintf(stderr, __VA_ARGS__);                   \
		fputc('\n', stderr);                            \
		_exit(1);                                       \
	} while (0)
#define REQUIRE(cond, ...)                      \
	do {                                    \
		if (!(cond))                    \
			LIVE_FAIL(__VA_ARGS__); \
	} while (0)

#define LIVE_EXPECT(got, want)                                                              \
	do {                                                                                \
		long got_ = (long)(got), want_ = (long)(want);                              \
		REQUIRE(got_ == want_, "line %d: %s is %ld, not %ld", __LINE__, #got, got_, \
			want_);                                                             \
	} while (0)

static inline uint64_t live_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline void live_sleep_us(unsigned us)
{
	struct timespec nap = { .tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000 };

	nanosleep(&nap, NULL);
}

/* xorshift64*: *state must not be 0. */
static inline uint64_t live_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

static inline uint64_t live_below(uint64_t *state, uint64_t limit)
{
	return (live_random(state) >> 16) % limit;
}

/* The seed of this run: FERRY_TEST_SEED, or a new one; printed, so that a failure can be redone. */
static inline uint64_t live_seed(void)
{
	const char *text = getenv("FERRY_TEST_SEED");
	uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : live_now_ns();

	seed |= 1;
	fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
	return seed;
}

/* How long a loop runs: FERRY_TEST_SECONDS or the usual time, in a soak FERRY_SOAK times as long.
 */
static inline uint64_t live_deadline_ns(unsigned usual_seconds)
{
	const char *seconds = getenv("FERRY_TEST_SECONDS"), *soak = getenv("FERRY_SOAK");
	uint64_t factor = soak != NULL ? strtoull(soak, NULL, 0) : 1;

	if (seconds != NULL)
		usual_seconds = (unsigned)strtoul(seconds, NULL, 0);
	if (soak != NULL && factor <= 1)
		factor = 10;
	return live_now_ns() + usual_seconds * factor * UINT64_C(1000000000);
}

/* How many times longer than on idle hardware anything may take here: more than 1 in a guest. */
static inline unsigned live_slow(void)
{
	const char *slow = getenv("FERRY_SLOW");
	unsigned factor = slow != NULL ? (unsigned)strtoul(slow, NULL, 0) : 1;

	return factor > 0 ? factor : 1;
}

/* Do pages leave by eviction here? On kernels without UFFDIO_MOVE, and where a test asks for it. */
static inline bool live_evicts(void)
{
	return getenv("FERRY_TEST_EVICTS") != NULL;
}

/* How many times fewer pages have to move than on idle hardware: where emulation is slow, an
 * eviction is slower still. */
static inline unsigned live_fewer(void)
{
	return live_slow() > 1 && live_evicts() ? 4 * live_slow() : live_slow();
}

static inline void live_hang(int signal_number)
{
	static const char text[] = "the program made no progress: hang\n";

	(void)signal_number;
	(void)!write(2, text, sizeof(text) - 1);
	_exit(3);
}

/* Ends the program with status 3 if it runs longer than seconds (ten times as long in a soak). */
static inline void live_watchdog(unsigned seconds)
{
	signal(SIGALRM, live_hang);
	alarm((getenv("FERRY_SOAK") != NULL ? seconds * 10 : seconds) * live_slow());
}

/* => number of nodes of our machine, 0 when the program runs bare. */
static inline int live_nodes(void)
{
	struct ferry_node_info info[1];
	const char *managed = getenv("FERRY_TEST_MANAGED");
	int nodes = ferry_nodes(0, info, 1);

	REQUIRE(nodes > 0 || managed == NULL || managed[0] != '1', "not managed: %s",
		strerror(-nodes));
	return nodes > 0 ? nodes : 0;
}

static inline uint8_t live_reason(const char *name)
{
	for (unsigned reason = 0; reason < ferry_reason_count(); reason++)
		if (strcmp(ferry_reason_name(reason), name) == 0)
			return (uint8_t)reason;
	LIVE_FAIL("no reason called \"%s\"", name);
}

/* Tells the script that started us that we are ready: writes text into the file FERRY_TEST_READY.
 */
static inline void live_ready(const char *text)
{
	const char *path = getenv("FERRY_TEST_READY");
	char temporary[4096];
	FILE *file;

	if (path == NULL)
		return;
	snprintf(temporary, sizeof(temporary), "%s.new", path);
	file = fopen(temporary, "w");
	REQUIRE(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0, "%s", temporary);
	REQUIRE(rename(temporary, path) == 0, "rename %s", path);
}

/* True once the script wants us to end (the file FERRY_TEST_STOP exists); bare: at once. */
static inline bool live_told_to_stop(void)
{
	const char *path = getenv("FERRY_TEST_STOP");

	return path == NULL || access(path, F_OK) == 0;
}

/* What is touched first, by whomever, is on node 0. */
static inline void live_stay_on_node_0(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	REQUIRE(sched_setaffinity(0, sizeof(cpus), &cpus) == 0, "CPU 0: %s", strerror(errno));
}

static inline void *live_map(size_t bytes)
{
	void *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(area != MAP_FAILED, "mmap of %zu bytes: %s", bytes, strerror(errno));
	return area;
}

/*
 * Memory far below everything else. Mappings without a wish settle in the highest gap that is
 * large enough, so nothing of other threads settles in a hole that the caller makes here.
 */
static inline void *live_map_low(size_t bytes)
{
	for (uintptr_t wish = UINT64_C(0x100000000000);; wish += UINT64_C(0x10000000000)) {
		void *area = mmap((void *)wish, bytes, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		if (area == (void *)wish)
			return area;
		REQUIRE(errno == EEXIST, "mmap at %p: %s", (void *)wish, strerror(errno));
	}
}

/* 2 MiB aligned memory that asks for huge pages. */
static inline void *live_map_huge(size_t bytes)
{
	char *area = live_map(bytes + HUGE_PAGE);
	char *start = (char *)(((uintptr_t)area + HUGE_PAGE - 1) & ~((uintptr_t)HUGE_PAGE - 1));

	if (start > area)
		munmap(area, (size_t)(start - area));
	if (start + bytes < area + bytes + HUGE_PAGE)
		munmap(start + bytes, (size_t)(area + HUGE_PAGE - start));
	REQUIRE(madvise(start, bytes, MADV_HUGEPAGE) == 0, "MADV_HUGEPAGE: %s", strerror(errno));
	return start;
}

/* Moves pages of an area, over and over, from a thread of the program itself. */
struct live_mover {
	char *area;
	size_t pages;
	int nodes;
	uint64_t seed;
	bool stop;      /* atomic */
	uint64_t calls; /* atomic, as the following */
	uint64_t asked; /* pages that had to move: on another node than asked for */
	uint64_t moved;
	uint64_t reasons[64];
	pthread_t thread;
};

/* One call: up to MOVE_MAX pages, neighbours or scattered, each to a node of its own. */
static inline void live_move_some(struct live_mover *mover)
{
	void *pages[MOVE_MAX];
	int nodes[MOVE_MAX], status[MOVE_MAX];
	uint8_t reasons[MOVE_MAX];
	bool scattered = live_below(&mover->seed, 4) == 0;
	size_t limit = mover->pages < MOVE_MAX ? mover->pages : MOVE_MAX;
	size_t count = 1 + live_below(&mover->seed, limit);
	size_t first = live_below(&mover->seed, mover->pages - count + 1);
	int target = (int)live_below(&mover->seed, (uint64_t)mover->nodes);
	long result;

	for (size_t i = 0; i < count; i++) {
		size_t page = scattered ? live_below(&mover->seed, mover->pages) : first + i;

		pages[i] = mover->area + page * PAGE;
		nodes[i] = target;
		status[i] = INT32_MIN;
	}
	result = ferry_move_pages_reasons(0, count, pages, nodes, status, reasons, FERRY_MOVE);
	REQUIRE(result >= 0 || result == -ENOENT, "ferry_move_pages: %ld", result);
	for (size_t i = 0; i < count; i++) {
		REQUIRE(reasons[i] < ferry_reason_count(), "reason %u", reasons[i]);
		REQUIRE(status[i] < mover->nodes && status[i] != INT32_MIN, "status %d", status[i]);
		REQUIRE(status[i] != -EAGAIN, "-EAGAIN as a status");
		if (reasons[i] == live_reason("moved"))
			REQUIRE(status[i] == target, "moved to %d, not %d", status[i], target);
		__atomic_fetch_add(&mover->reasons[reasons[i]], 1, __ATOMIC_RELAXED);
	}
	__atomic_fetch_add(&mover->calls, 1, __ATOMIC_RELAXED);
}

static inline void *live_mover_run(void *argument)
{
	struct live_mover *mover = argument;

	while (!__atomic_load_n(&mover->stop, __ATOMIC_ACQUIRE))
		live_move_some(mover);
	return NULL;
}

/* Starts a mover over an area; does nothing on a machine of fewer than two nodes (bare). */
static inline void live_mover_start(struct live_mover *mover, void *area, size_t pages, int nodes)
{
	*mover = (struct live_mover){ .area = area, .pages = pages, .nodes = nodes };
	mover->seed = live_now_ns() | 1;
	if (nodes >= 2)
		REQUIRE(pthread_create(&mover->thread, NULL, live_mover_run, mover) == 0, "thread");
}

/* Stops it and sums up: asked = pages that needed moving and could be moved at all. */
static inline void live_mover_stop(struct live_mover *mover)
{
	__atomic_store_n(&mover->stop, true, __ATOMIC_RELEASE);
	if (mover->nodes < 2)
		return;
	pthread_join(mover->thread, NULL);
	mover->moved = mover->reasons[live_reason("moved")];
	mover->asked = 0;
	for (unsigned reason = 0; reason < ferry_reason_count(); reason++) {
		const char *name = ferry_reason_name(reason);

		if (mover->reasons[reason] != 0)
			fprintf(stderr, "  %-12s %llu\n", name,
				(unsigned long long)mover->reasons[reason]);
		if (strcmp(name, "there") != 0 && strcmp(name, "absent") != 0 &&
		    strcmp(name, "zero") != 0 && strcmp(name, "vanished") != 0 &&
		    strcmp(name, "unmapped") != 0)
			mover->asked += mover->reasons[reason];
	}
	printf("moved %llu\nasked %llu\n", (unsigned long long)mover->moved,
	       (unsigned long long)mover->asked);
	fflush(stdout);
}

/*
 * Moves every page of an area to node; tries again until all are there or seconds have gone, in
 * which a slow machine may not get further than one try.
 * => pages that are still elsewhere.
 */
static inline size_t live_move_all(void *area, size_t pages, int node, unsigned seconds)
{
	uint64_t end = live_now_ns() + seconds * live_slow() * UINT64_C(1000000000);
	int *status = malloc(pages * sizeof(*status));
	unsigned tries = 0;
	size_t left;

	REQUIRE(status != NULL, "malloc");
	do {
		int result = ferry_move_range(0, area, pages * PAGE, node, NULL, NULL);

		REQUIRE(result >= 0, "ferry_move_range: %d", result);
		REQUIRE(ferry_query_range(0, area, pages, status) == 0, "ferry_query_range");
		left = 0;
		for (size_t i = 0; i < pages; i++)
			left += status[i] >= 0 && status[i] != node;
		if (left != 0)
			live_sleep_us(10000);
	} while (left != 0 && (++tries < 3 || live_now_ns() < end));
	free(status);
	return left;
}

#endif
