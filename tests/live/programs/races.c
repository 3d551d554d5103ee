/* SPDX-License-Identifier: MIT */
/*
 * races.c - races that each have a program of their own here:
 *
 *   storm     a thousand threads touch one page that is on the move all the time, while signals
 *             rain on them: everybody is woken, nothing is added twice or lost
 *   opposite  two callers move overlapping ranges to opposite nodes: every status is true
 *   kernel    the host's own movers - collapse, merging, cold, page-out - on pages that move
 *
 * usage: races storm|opposite|kernel [SECONDS]
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <linux/futex.h>
#include <sys/syscall.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif

static int nodes;
static unsigned seconds = 4;
static bool stop; /* atomic */

static void start(pthread_t *thread, void *(*run)(void *argument), void *argument, size_t stack)
{
	pthread_attr_t attributes;

	REQUIRE(pthread_attr_init(&attributes) == 0, "pthread_attr_init");
	if (stack != 0)
		REQUIRE(pthread_attr_setstacksize(&attributes, stack) == 0, "stack size");
	REQUIRE(pthread_create(thread, &attributes, run, argument) == 0, "pthread_create");
	pthread_attr_destroy(&attributes);
}

static void report(uint64_t moved, uint64_t asked)
{
	printf("moved %llu\nasked %llu\n", (unsigned long long)moved, (unsigned long long)asked);
}

/* --- storm ------------------------------------------------------------------------------------ */

enum { STORM_THREADS = 1000, STORM_STACK = 128 * 1024 };

static uint64_t *storm_page;
static uint32_t storm_round;   /* atomic, futex: all threads touch the page once a round */
static uint32_t storm_done;    /* atomic, futex: threads through with this round */
static uint64_t storm_signals; /* atomic */

static void on_signal(int number)
{
	(void)number;
	__atomic_fetch_add(&storm_signals, 1, __ATOMIC_RELAXED);
}

static void futex_wait(uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void *storm_run(void *argument)
{
	size_t word = (uintptr_t)argument % PAGE_WORDS;
	uint32_t round = 0, now;

	for (;;) {
		while ((now = __atomic_load_n(&storm_round, __ATOMIC_ACQUIRE)) == round)
			futex_wait(&storm_round, round);
		round = now;
		if (__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
			return NULL;
		__atomic_fetch_add(&storm_page[word], 1, __ATOMIC_RELAXED);
		if (__atomic_add_fetch(&storm_done, 1, __ATOMIC_ACQ_REL) == STORM_THREADS)
			futex_wake(&storm_done, 1);
	}
}

static void *storm_signal(void *argument)
{
	const pthread_t *threads = argument;
	uint64_t seed = live_now_ns() | 1;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		for (int k = 0; k < 16; k++)
			pthread_kill(threads[live_below(&seed, STORM_THREADS)], SIGUSR1);
		live_sleep_us(500);
	}
	return NULL;
}

/* Lets all of them go at once, moves the page under them, and waits for the last. => moves */
static uint64_t storm_play(uint64_t number)
{
	void *page = storm_page;
	uint64_t moved = 0;
	uint32_t done;

	__atomic_store_n(&storm_done, 0, __ATOMIC_RELEASE);
	__atomic_add_fetch(&storm_round, 1, __ATOMIC_RELEASE);
	futex_wake(&storm_round, INT32_MAX);
	while ((done = __atomic_load_n(&storm_done, __ATOMIC_ACQUIRE)) != STORM_THREADS) {
		int node = nodes > 0 ? (int)(number++ % (uint64_t)nodes) : 0, status = -1;
		long result;

		if (nodes < 2) {
			futex_wait(&storm_done, done);
			continue;
		}
		result = ferry_move_pages(0, 1, &page, &node, &status, FERRY_MOVE);
		REQUIRE(result >= 0 || result == -ENOENT, "ferry_move_pages: %ld", result);
		REQUIRE(status == node || status == -EBUSY, "status %d", status);
		moved += status == node;
	}
	return moved;
}

static void storm(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	pthread_t *threads = calloc(STORM_THREADS, sizeof(*threads)), signaller;
	uint64_t end_ns = live_deadline_ns(seconds), sum = 0, moved = 0, rounds = 0;

	REQUIRE(threads != NULL && sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
	storm_page = live_map(PAGE);
	memset(storm_page, 0, PAGE);
	for (size_t i = 0; i < STORM_THREADS; i++)
		start(&threads[i], storm_run, (void *)i, STORM_STACK);
	start(&signaller, storm_signal, threads, 0);
	do
		moved += storm_play(moved);
	while (++rounds < 3 || live_now_ns() < end_ns);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(signaller, NULL);
	__atomic_add_fetch(&storm_round, 1, __ATOMIC_RELEASE);
	futex_wake(&storm_round, INT32_MAX);
	for (size_t i = 0; i < STORM_THREADS; i++)
		REQUIRE(pthread_join(threads[i], NULL) == 0, "pthread_join");
	for (size_t word = 0; word < PAGE_WORDS; word++)
		sum += storm_page[word];
	REQUIRE(sum == rounds * STORM_THREADS, "%llu of %llu additions are there",
		(unsigned long long)sum, (unsigned long long)rounds * STORM_THREADS);
	fprintf(stderr, "%llu rounds, %llu signals\n", (unsigned long long)rounds,
		(unsigned long long)storm_signals);
	free(threads);
	report(moved, moved);
}

/* --- opposite --------------------------------------------------------------------------------- */

enum { OPPOSITE_PAGES = 256, OVERLAP = 192 };

struct caller {
	pthread_t thread;
	size_t first; /* of its OVERLAP pages */
	int target;
	int status[OVERLAP];
	uint64_t moved;
};

static pthread_barrier_t barrier;
static char *opposite_area;
static uint64_t opposite_rounds;

static void *caller_run(void *argument)
{
	struct caller *caller = argument;
	void *pages[OVERLAP];
	int targets[OVERLAP];

	for (size_t i = 0; i < OVERLAP; i++) {
		pages[i] = opposite_area + (caller->first + i) * PAGE;
		targets[i] = caller->target;
	}
	for (;;) {
		long result;

		pthread_barrier_wait(&barrier);
		if (__atomic_load_n(&stop, __ATOMIC_ACQUIRE))
			return NULL;
		for (size_t i = 0; i < OVERLAP; i++)
			caller->status[i] = INT32_MIN;
		result = ferry_move_pages(0, OVERLAP, pages, targets, caller->status, FERRY_MOVE);
		REQUIRE(result >= 0 || result == -ENOENT, "ferry_move_pages: %ld", result);
		for (size_t i = 0; i < OVERLAP; i++) {
			REQUIRE(caller->status[i] == caller->target ||
					caller->status[i] == -EBUSY,
				"status %d of a page for node %d", caller->status[i],
				caller->target);
			caller->moved += caller->status[i] == caller->target;
		}
		pthread_barrier_wait(&barrier);
	}
}

static bool says(const struct caller *caller, size_t page, int node)
{
	return page >= caller->first && page < caller->first + OVERLAP &&
	       caller->status[page - caller->first] == node;
}

static bool is_busy(const struct caller *caller, size_t page)
{
	return page >= caller->first && page < caller->first + OVERLAP &&
	       caller->status[page - caller->first] == -EBUSY;
}

/* Both calls are over: each page is where one of them says, or where it was. */
static void judge(const struct caller *callers, const int *before)
{
	int now[OPPOSITE_PAGES];

	REQUIRE(ferry_query_range(0, opposite_area, OPPOSITE_PAGES, now) == 0, "query");
	for (size_t page = 0; page < OPPOSITE_PAGES; page++) {
		uint64_t word = *(uint64_t *)(void *)(opposite_area + page * PAGE);
		bool stayed = now[page] == before[page] &&
			      (is_busy(&callers[0], page) || is_busy(&callers[1], page));

		REQUIRE(word == page + 1, "page %zu holds %llx", page, (unsigned long long)word);
		REQUIRE(says(&callers[0], page, now[page]) || says(&callers[1], page, now[page]) ||
				stayed,
			"page %zu is on %d, the callers say something else", page, now[page]);
	}
}

static void opposite(void)
{
	struct caller callers[2] = { { .first = 0, .target = 1 },
				     { .first = OPPOSITE_PAGES - OVERLAP, .target = 0 } };
	uint64_t end_ns = live_deadline_ns(seconds);
	int before[OPPOSITE_PAGES];

	if (nodes < 2)
		return;
	opposite_area = live_map(OPPOSITE_PAGES * PAGE);
	for (size_t page = 0; page < OPPOSITE_PAGES; page++)
		*(uint64_t *)(void *)(opposite_area + page * PAGE) = page + 1;
	REQUIRE(pthread_barrier_init(&barrier, NULL, 3) == 0, "barrier");
	for (int i = 0; i < 2; i++)
		start(&callers[i].thread, caller_run, &callers[i], 0);
	while (live_now_ns() < end_ns) {
		REQUIRE(ferry_query_range(0, opposite_area, OPPOSITE_PAGES, before) == 0, "query");
		pthread_barrier_wait(&barrier);
		pthread_barrier_wait(&barrier);
		judge(callers, before);
		opposite_rounds++;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 2; i++)
		pthread_join(callers[i].thread, NULL);
	fprintf(stderr, "%llu rounds\n", (unsigned long long)opposite_rounds);
	report(callers[0].moved + callers[1].moved, callers[0].moved + callers[1].moved);
}

/* --- kernel ----------------------------------------------------------------------------------- */

enum { KERNEL_HUGE = 4, KERNEL_PAGES = KERNEL_HUGE * HUGE_PAGE / PAGE };

static uint64_t kernel_values[KERNEL_PAGES];

/* Pages in groups of eight are the same, so that some can be merged. */
static void write_page(char *page, uint64_t value)
{
	uint64_t *words = (uint64_t *)(void *)page;

	for (size_t word = 0; word < PAGE_WORDS; word++)
		words[word] = value;
}

static void check_pages(const char *area)
{
	for (size_t i = 0; i < KERNEL_PAGES; i++) {
		const uint64_t *words = (const uint64_t *)(const void *)(area + i * PAGE);

		for (size_t word = 0; word < PAGE_WORDS; word += 73)
			REQUIRE(words[word] == kernel_values[i], "page %zu holds %llx", i,
				(unsigned long long)words[word]);
	}
}

static void advise(char *area, uint64_t *seed, uint64_t *worked)
{
	static const int advice[] = { MADV_COLLAPSE, MADV_COLD, MADV_PAGEOUT, MADV_MERGEABLE,
				      MADV_UNMERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE };
	size_t which = live_below(seed, sizeof(advice) / sizeof(advice[0]));
	size_t first = live_below(seed, KERNEL_HUGE);

	/* What this host does not do, or not there, is no failure: nothing may change by it. */
	if (madvise(area + first * HUGE_PAGE, HUGE_PAGE, advice[which]) == 0)
		worked[which]++;
}

static void kernel(void)
{
	char *area = live_map_huge(KERNEL_HUGE * (size_t)HUGE_PAGE);
	uint64_t end_ns = live_deadline_ns(seconds), seed = live_seed(), worked[7] = { 0 };
	struct live_mover mover;

	for (size_t i = 0; i < KERNEL_PAGES; i++) {
		kernel_values[i] = i / 8 + 1;
		write_page(area + i * PAGE, kernel_values[i]);
	}
	live_mover_start(&mover, area, KERNEL_PAGES, nodes);
	while (live_now_ns() < end_ns) {
		for (int i = 0; i < 4; i++)
			advise(area, &seed, worked);
		for (int i = 0; i < 32; i++) {
			size_t page = live_below(&seed, KERNEL_PAGES);

			kernel_values[page] = live_below(&seed, KERNEL_PAGES) + 1;
			write_page(area + page * PAGE, kernel_values[page]);
		}
		check_pages(area);
	}
	live_mover_stop(&mover);
	(void)madvise(area, KERNEL_HUGE * (size_t)HUGE_PAGE, MADV_UNMERGEABLE);
	check_pages(area);
	if (nodes > 1)
		REQUIRE(live_move_all(area, KERNEL_PAGES, 1, 10) == 0, "pages do not move");
	check_pages(area);
	fprintf(stderr, "collapse %llu, cold %llu, page-out %llu, merge %llu\n",
		(unsigned long long)worked[0], (unsigned long long)worked[1],
		(unsigned long long)worked[2], (unsigned long long)worked[3]);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	nodes = live_nodes();
	if (argc > 2)
		seconds = (unsigned)strtoul(argv[2], NULL, 0);
	live_watchdog(100);
	if (strcmp(mode, "storm") == 0)
		storm();
	else if (strcmp(mode, "opposite") == 0)
		opposite();
	else if (strcmp(mode, "kernel") == 0)
		kernel();
	else
		LIVE_FAIL("usage: races storm|opposite|kernel [SECONDS]");
	return 0;
}
