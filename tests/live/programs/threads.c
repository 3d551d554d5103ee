/* SPDX-License-Identifier: MIT */
/*
 * threads.c - threads come and go while every page of the program is on the move.
 *
 * The kernel writes into a thread's control block when it ends; were that page away then,
 * pthread_join would wait for ever. Threads end by return, by pthread_exit and by cancellation,
 * joined and detached; robust mutexes are left locked by some, and the next owner must be told.
 * A thread has a canary on its stack, in thread-local storage and on the heap.
 *
 * usage: threads [SECONDS]
 */
#define _GNU_SOURCE 1
#include "live.h"

enum { BATCH = 24, STACK_WORDS = 2048 };

static _Thread_local uint64_t local[512];
static uint64_t detached_started, detached_ended; /* atomic */
static pthread_mutex_t robust;

static void fill(uint64_t *words, size_t count, uint64_t value)
{
	for (size_t i = 0; i < count; i++)
		words[i] = value + i;
}

static void verify(const uint64_t *words, size_t count, uint64_t value, const char *where)
{
	for (size_t i = 0; i < count; i++)
		REQUIRE(words[i] == value + i, "%s changed at word %zu", where, i);
}

static void use_memory(uint64_t value)
{
	uint64_t stack[STACK_WORDS];
	uint64_t *heap = malloc(STACK_WORDS * sizeof(*heap));

	REQUIRE(heap != NULL, "malloc");
	fill(stack, STACK_WORDS, value);
	fill(local, 512, ~value);
	fill(heap, STACK_WORDS, value * 3);
	sched_yield();
	verify(stack, STACK_WORDS, value, "the stack");
	verify(local, 512, ~value, "thread-local storage");
	verify(heap, STACK_WORDS, value * 3, "the heap");
	free(heap);
}

static void *returner(void *argument)
{
	use_memory((uintptr_t)argument);
	return argument;
}

static void *exiter(void *argument)
{
	use_memory((uintptr_t)argument);
	pthread_exit(argument);
}

static void *sleeper(void *argument)
{
	use_memory((uintptr_t)argument);
	for (;;)
		live_sleep_us(1000000);
	return NULL;
}

static void *robber(void *argument)
{
	int error = pthread_mutex_lock(&robust);

	if (error == EOWNERDEAD)
		error = pthread_mutex_consistent(&robust);
	REQUIRE(error == 0, "robust mutex: %s", strerror(error));
	return argument;
}

static void *detached(void *argument)
{
	use_memory((uintptr_t)argument);
	__atomic_fetch_add(&detached_ended, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void start_detached(uint64_t value)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	REQUIRE(pthread_create(&thread, &attributes, detached, (void *)(uintptr_t)value) == 0,
		"pthread_create");
	pthread_attr_destroy(&attributes);
	detached_started++;
}

static void run_batch(uint64_t value)
{
	static void *(*const bodies[])(void *) = { returner, exiter, sleeper, robber };
	pthread_t threads[BATCH];

	for (unsigned i = 0; i < BATCH; i++)
		REQUIRE(pthread_create(&threads[i], NULL, bodies[i % 4],
				       (void *)(uintptr_t)(value + i)) == 0,
			"pthread_create");
	start_detached(value);
	for (unsigned i = 0; i < BATCH; i++) {
		void *result = NULL;

		if (bodies[i % 4] == sleeper)
			pthread_cancel(threads[i]);
		REQUIRE(pthread_join(threads[i], &result) == 0, "pthread_join");
		REQUIRE(result == (bodies[i % 4] == sleeper ? PTHREAD_CANCELED
							    : (void *)(uintptr_t)(value + i)),
			"a thread returned %p", result);
	}
}

/* Moves everything that is private and writable, whatever it is, to one node after the other. */
static void *move_everything(void *argument)
{
	struct live_mover *mover = argument;
	int node = 0;

	while (!__atomic_load_n(&mover->stop, __ATOMIC_ACQUIRE)) {
		FILE *maps = fopen("/proc/self/maps", "re");
		char line[512];
		unsigned long start, end;
		char rights[5];

		REQUIRE(maps != NULL, "/proc/self/maps");
		while (fgets(line, sizeof(line), maps) != NULL) {
			struct ferry_move_report report = { .size = sizeof(report) };
			int result;

			if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) != 3 ||
			    strcmp(rights, "rw-p") != 0 || end - start > UINT64_C(1) << 30)
				continue;
			result = ferry_move_range(0, (void *)start, end - start, node, NULL,
						  &report);
			REQUIRE(result >= 0 || result == -EINVAL, "ferry_move_range: %d", result);
			if (result >= 0)
				mover->moved += report.moved_pages;
		}
		fclose(maps);
		node = (node + 1) % mover->nodes;
	}
	return NULL;
}

int main(int argc, char **argv)
{
	uint64_t end = live_deadline_ns(argc > 1 ? (unsigned)atoi(argv[1]) : 8);
	struct live_mover mover = { .nodes = live_nodes() };
	pthread_mutexattr_t attributes;
	uint64_t batches = 0;

	live_watchdog(100);
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &attributes);
	if (mover.nodes >= 2)
		REQUIRE(pthread_create(&mover.thread, NULL, move_everything, &mover) == 0,
			"thread");
	live_ready("ready\n");
	while (live_now_ns() < end)
		run_batch(++batches * 1000);
	__atomic_store_n(&mover.stop, true, __ATOMIC_RELEASE);
	if (mover.nodes >= 2)
		pthread_join(mover.thread, NULL);
	while (__atomic_load_n(&detached_ended, __ATOMIC_ACQUIRE) != detached_started)
		live_sleep_us(1000);
	printf("threads %llu\nmoved %llu\nasked %llu\n", (unsigned long long)batches * (BATCH + 1),
	       (unsigned long long)mover.moved, (unsigned long long)mover.moved);
	return 0;
}
