/* SPDX-License-Identifier: MIT */
/*
 * survivor.c - does all that a program does with memory, checks it, and runs until it is told to
 * stop, whoever of its machine is killed meanwhile.
 *
 *  - writers write the words of their pages in ascending order with a number that grows by one a
 *    sweep, and look first whether each word is what they wrote there in the sweep before
 *  - a mapper maps, fills, grows (mremap), discards and unmaps memory, and uses malloc
 *  - a maker starts threads that check their own stacks, and forks children that check every word
 *  - a mover moves the writers' pages
 *
 * usage: survivor DIRECTORY NAME: writes its pid to DIRECTORY/NAME.pid once it is under way, and
 * DIRECTORY/NAME.ok at the end if all was right.
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sys/wait.h>

enum { WRITERS = 2, PAGES = 1024, CHURN = 96 };

static uint64_t *area;
static bool stop; /* atomic */

static uint64_t word_value(size_t page, size_t word, uint64_t sweep)
{
	return (uint64_t)page << 41 | (uint64_t)word << 32 | sweep;
}

static bool is_stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_ACQUIRE);
}

struct writer {
	pthread_t thread;
	size_t index;
	uint64_t sweeps;
};

static void write_page(const struct writer *writer, size_t page)
{
	uint64_t *words = area + page * PAGE_WORDS;

	for (size_t i = 0; i < PAGE_WORDS; i++) {
		uint64_t want = writer->sweeps == 0 ? 0 : word_value(page, i, writer->sweeps);
		uint64_t found = __atomic_load_n(&words[i], __ATOMIC_RELAXED);

		REQUIRE(found == want, "lost write: page %zu word %zu is %llx, not %llx", page, i,
			(unsigned long long)found, (unsigned long long)want);
		__atomic_store_n(&words[i], word_value(page, i, writer->sweeps + 1),
				 __ATOMIC_RELEASE);
	}
}

static void *writer_run(void *argument)
{
	struct writer *writer = argument;

	for (; !is_stopped(); writer->sweeps++) {
		for (size_t page = writer->index; page < PAGES; page += WRITERS)
			write_page(writer, page);
		live_sleep_us(5000);
	}
	return NULL;
}

/* => pages with a word that nobody wrote. Calls nothing: for children. */
static size_t count_foreign(void)
{
	size_t wrong = 0;

	for (size_t page = 0; page < PAGES; page++) {
		for (size_t i = 0; i < PAGE_WORDS; i++) {
			uint64_t value = area[page * PAGE_WORDS + i];

			if (value != 0 && value != word_value(page, i, (uint32_t)value)) {
				wrong++;
				break;
			}
		}
	}
	return wrong;
}

static void fill(uint64_t *words, size_t from, size_t to, uint64_t seed)
{
	for (size_t page = from; page < to; page++)
		for (size_t i = 0; i < PAGE_WORDS; i += 64)
			words[page * PAGE_WORDS + i] = seed + page * PAGE_WORDS + i;
}

static void check(const uint64_t *words, size_t pages, uint64_t seed, const char *when)
{
	for (size_t page = 0; page < pages; page++)
		for (size_t i = 0; i < PAGE_WORDS; i += 64)
			REQUIRE(words[page * PAGE_WORDS + i] == seed + page * PAGE_WORDS + i,
				"%s: page %zu of %p word %zu is %llx, not %llx", when, page,
				(const void *)words, i,
				(unsigned long long)words[page * PAGE_WORDS + i],
				(unsigned long long)(seed + page * PAGE_WORDS + i));
}

static void churn(uint64_t seed)
{
	uint64_t *words = live_map(CHURN * PAGE), *chunk;

	fill(words, 0, CHURN, seed);
	words = mremap(words, CHURN * PAGE, (size_t)2 * CHURN * PAGE, MREMAP_MAYMOVE);
	REQUIRE(words != MAP_FAILED, "mremap: %s", strerror(errno));
	check(words, CHURN, seed, "after mremap");
	fill(words, CHURN, (size_t)2 * CHURN, seed);
	check(words, (size_t)2 * CHURN, seed, "grown");
	REQUIRE(madvise(words + CHURN * PAGE_WORDS, CHURN * PAGE, MADV_DONTNEED) == 0, "madvise");
	check(words, CHURN, seed, "beside a discard");
	for (size_t page = CHURN; page < (size_t)2 * CHURN; page++)
		REQUIRE(words[page * PAGE_WORDS] == 0, "a discarded page came back");
	REQUIRE(munmap(words, (size_t)2 * CHURN * PAGE) == 0, "munmap");
	chunk = malloc(CHURN * PAGE);
	REQUIRE(chunk != NULL, "malloc");
	fill(chunk, 0, CHURN, seed);
	check(chunk, CHURN, seed, "malloc");
	free(chunk);
}

static void *mapper_run(void *unused)
{
	uint64_t seed = 1;

	while (!is_stopped()) {
		churn(seed++ << 32);
		live_sleep_us(2000);
	}
	return unused;
}

static void *short_life(void *argument)
{
	volatile uint64_t words[2048];
	uint64_t seed = (uint64_t)(uintptr_t)argument;

	for (size_t i = 0; i < 2048; i++)
		words[i] = seed + i;
	for (size_t i = 0; i < 2048; i++)
		REQUIRE(words[i] == seed + i, "a thread's stack is wrong");
	return NULL;
}

static void make_child(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(count_foreign() == 0 ? 0 : 1);
	REQUIRE(pid > 0, "fork: %s", strerror(errno));
	while (waitpid(pid, &status, 0) < 0)
		REQUIRE(errno == EINTR, "waitpid: %s", strerror(errno));
	/* Somebody may have killed it. */
	REQUIRE(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0,
		"a child saw wrong memory: status %x", (unsigned)status);
}

static void *maker_run(void *unused)
{
	for (uint64_t i = 1; !is_stopped(); i++) {
		pthread_t thread;

		void *number = (void *)(uintptr_t)(i << 32);

		REQUIRE(pthread_create(&thread, NULL, short_life, number) == 0,
			"thread");
		REQUIRE(pthread_join(thread, NULL) == 0, "join");
		if (i % 64 == 0)
			make_child();
		live_sleep_us(2000);
	}
	return unused;
}

/* Without an agent or a keeper nothing moves, and a call says why. */
static void *mover_run(void *unused)
{
	uint64_t seed = live_now_ns() | 1;

	while (!is_stopped()) {
		int node = (int)live_below(&seed, 3);
		int result = ferry_move_range(0, area, (size_t)PAGES * PAGE, node, NULL, NULL);

		REQUIRE(result >= 0 || result == -ESRCH, "ferry_move_range: %s", strerror(-result));
		live_sleep_us(100);
	}
	return unused;
}

static void say(const char *directory, const char *name, const char *what)
{
	char path[4096], temporary[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.%s", directory, name, what);
	snprintf(temporary, sizeof(temporary), "%s/%s.new", directory, name);
	file = fopen(temporary, "w");
	REQUIRE(file != NULL && fprintf(file, "%d\n", (int)getpid()) > 0 && fclose(file) == 0, "%s",
		temporary);
	REQUIRE(rename(temporary, path) == 0, "rename %s", path);
}

int main(int argc, char **argv)
{
	struct writer writers[WRITERS] = { 0 };
	pthread_t mapper, maker, mover;

	REQUIRE(argc == 3, "usage: survivor DIRECTORY NAME");
	live_watchdog(115);
	area = live_map((size_t)PAGES * PAGE);
	for (size_t i = 0; i < WRITERS; i++) {
		writers[i].index = i;
		REQUIRE(pthread_create(&writers[i].thread, NULL, writer_run, &writers[i]) == 0,
			"thread");
	}
	REQUIRE(pthread_create(&mapper, NULL, mapper_run, NULL) == 0, "thread");
	REQUIRE(pthread_create(&maker, NULL, maker_run, NULL) == 0, "thread");
	REQUIRE(pthread_create(&mover, NULL, mover_run, NULL) == 0, "thread");
	say(argv[1], argv[2], "pid");
	while (!live_told_to_stop())
		live_sleep_us(20000);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(mapper, NULL);
	pthread_join(maker, NULL);
	pthread_join(mover, NULL);
	for (size_t i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		for (size_t page = i; page < PAGES; page += WRITERS)
			for (size_t word = 0; word < PAGE_WORDS; word++)
				REQUIRE(area[page * PAGE_WORDS + word] ==
						word_value(page, word, writers[i].sweeps),
					"lost write at the end: page %zu word %zu", page, word);
	}
	say(argv[1], argv[2], "ok");
	return 0;
}
