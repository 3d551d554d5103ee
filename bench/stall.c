/* SPDX-License-Identifier: MIT */
/*
 * stall.c - what a program feels of a bulk migration: 256 MiB go back and forth while threads touch
 * random pages and time each touch.
 *
 * usage: stall SECONDS MAX_PAUSE_US THREADS
 *
 * One thread rests between touches, so that a CPU is idle; more never rest: saturated. Prints
 * the touches that waited (longer than 20 us) as "stall p50 p99 max count" in ns and the speed
 * of the moves.
 */
#define _GNU_SOURCE 1
#include "bench.h"

#include <pthread.h>

enum { PAGES = 65536, SAMPLES = 1 << 20, WAITED_NS = 20000, THREADS_MAX = 16 };

static char *area;
static bool stop; /* atomic */
static bool saturated;
static uint64_t *samples;
static uint64_t sample_count; /* atomic */

static void *toucher(void *argument)
{
	uint64_t seed = (uintptr_t)argument;

	while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		volatile char *byte = area + bench_random(&seed) % PAGES * PAGE;
		uint64_t start = bench_now_ns(), took, index;

		(*byte)++;
		took = bench_now_ns() - start;
		if (took > WAITED_NS) {
			index = __atomic_fetch_add(&sample_count, 1, __ATOMIC_RELAXED);
			if (index < SAMPLES)
				samples[index] = took;
		}
		if (!saturated)
			nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
	}
	return NULL;
}

static int compare(const void *left, const void *right)
{
	uint64_t a, b;

	memcpy(&a, left, sizeof(a));
	memcpy(&b, right, sizeof(b));
	return a < b ? -1 : a > b;
}

static uint64_t percentile(uint64_t count, unsigned part)
{
	return count == 0 ? 0 : samples[(count - 1) * part / 100];
}

int main(int argc, char **argv)
{
	uint64_t end, count, moved = 0;
	struct ferry_move_options options = { .size = sizeof(options) };
	struct bench_span span;
	pthread_t threads[THREADS_MAX];
	int threads_wanted, node = 0;
	pid_t agent = bench_agent();

	if (argc != 4 || atoi(argv[3]) < 1 || atoi(argv[3]) > THREADS_MAX)
		bench_fail("usage: stall SECONDS MAX_PAUSE_US THREADS", -EINVAL);
	end = bench_now_ns() + strtoull(argv[1], NULL, 10) * UINT64_C(1000000000);
	options.max_pause_ns = strtoull(argv[2], NULL, 10) * 1000;
	threads_wanted = atoi(argv[3]);
	saturated = threads_wanted > 1;
	area = bench_map((size_t)PAGES * PAGE);
	samples = bench_map(SAMPLES * sizeof(*samples));
	memset(area, 1, (size_t)PAGES * PAGE);
	memset(samples, 0, SAMPLES * sizeof(*samples));
	for (int i = 0; i < threads_wanted; i++)
		if (pthread_create(&threads[i], NULL, toucher, (void *)(uintptr_t)(i + 11)) != 0)
			bench_fail("pthread_create", -errno);
	span = bench_start(agent);
	while (bench_now_ns() < end) {
		struct ferry_move_report report = { .size = sizeof(report) };
		int result;

		node = !node;
		result = ferry_move_range(0, area, (size_t)PAGES * PAGE, node, &options, &report);
		if (result < 0)
			bench_fail("ferry_move_range", result);
		moved += report.moved_pages;
	}
	span = bench_end(span, agent);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (int i = 0; i < threads_wanted; i++)
		pthread_join(threads[i], NULL);
	count = sample_count < SAMPLES ? sample_count : SAMPLES;
	qsort(samples, count, sizeof(samples[0]), compare);
	printf("stall %llu %llu %llu %llu\n", (unsigned long long)percentile(count, 50),
	       (unsigned long long)percentile(count, 99),
	       (unsigned long long)percentile(count, 100), (unsigned long long)count);
	bench_print("stall-move", span, moved == 0 ? 1 : moved);
	return 0;
}
