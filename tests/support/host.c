/* SPDX-License-Identifier: MIT */
/* host.c - see host.h. Counters are atomic: stress tests allocate from several threads. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

enum { DEFAULT_SEED = 20260722 };

static uint32_t alloc_calls, alloc_fail_at;
static bool alloc_fail_for_ever;
static uint64_t alloc_bytes;

static jmp_buf *expected_death;

static bool skips_sleeps;
static uint64_t skipped_ns;

static void host_wait(uint32_t *word, uint32_t value, uint64_t timeout_ns)
{
	struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / 1000000000),
		.tv_nsec = (long)(timeout_ns % 1000000000),
	};

	if (skips_sleeps && timeout_ns != 0) {
		skipped_ns += timeout_ns;
		return;
	}
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout_ns == 0 ? NULL : &timeout, NULL,
		0);
}

static void host_wake(uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static uint64_t host_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec + skipped_ns;
}

static uint32_t host_thread_id(void)
{
	static _Thread_local uint32_t id;

	if (id == 0)
		id = (uint32_t)syscall(SYS_gettid);
	return id;
}

static void host_yield(void)
{
	sched_yield();
}

static void *host_alloc(size_t size_bytes)
{
	uint32_t call = __atomic_add_fetch(&alloc_calls, 1, __ATOMIC_RELAXED);
	void *memory;

	if (alloc_fail_at != 0 &&
	    (call == alloc_fail_at || (alloc_fail_for_ever && call > alloc_fail_at)))
		return NULL;
	memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	__atomic_fetch_add(&alloc_bytes, size_bytes, __ATOMIC_RELAXED);
	return memory;
}

static void host_free(void *memory, size_t size_bytes)
{
	munmap(memory, size_bytes);
	__atomic_fetch_sub(&alloc_bytes, size_bytes, __ATOMIC_RELAXED);
}

static void __attribute__((noreturn)) host_die(const char *file, int line, const char *what)
{
	if (expected_death != NULL)
		longjmp(*expected_death, 1);
	fprintf(stderr, "%s:%d: assertion broken: %s\n", file, line, what);
	abort();
}

static const struct ferry_os host = {
	.wait = host_wait,
	.wake = host_wake,
	.now_ns = host_now_ns,
	.thread_id = host_thread_id,
	.yield = host_yield,
	.alloc = host_alloc,
	.free = host_free,
	.die = host_die,
};

void test_host_init(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	ferry_os = &host;
}

void test_skip_sleeps(void)
{
	skips_sleeps = true;
}

void test_alloc_fail(uint32_t nth, bool for_ever)
{
	alloc_calls = 0;
	alloc_fail_at = nth;
	alloc_fail_for_ever = for_ever;
}

uint32_t test_alloc_count(void)
{
	return alloc_calls;
}

uint64_t test_alloc_bytes(void)
{
	return __atomic_load_n(&alloc_bytes, __ATOMIC_RELAXED);
}

bool test_breaks_assertion(void (*call)(void *context), void *context)
{
	jmp_buf here;

	if (setjmp(here) != 0) {
		expected_death = NULL;
		return true;
	}
	expected_death = &here;
	call(context);
	expected_death = NULL;
	return false;
}

bool test_is_soak(void)
{
	const char *given = getenv("FERRY_SOAK");

	return given != NULL && given[0] != '\0' && given[0] != '0';
}

uint64_t test_seed(const char *name)
{
	const char *given = getenv("FERRY_SEED");
	uint64_t seed = DEFAULT_SEED;

	if (given != NULL)
		seed = strtoull(given, NULL, 0);
	else if (test_is_soak())
		seed = host_now_ns() ^ (uint64_t)getpid() << 32;
	printf("%s: FERRY_SEED=%llu\n", name, (unsigned long long)seed);
	return seed;
}

/* Sanitizers look at every access: less of the same, not the same in ten times the time. */
#ifndef __has_feature /* clang's way to ask */
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || \
	__has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
enum { SANITIZER_SHARE = 8 };
#else
enum { SANITIZER_SHARE = 1 };
#endif

uint64_t test_amount(uint64_t quick, uint64_t soak)
{
	uint64_t amount = test_is_soak() ? soak : quick / SANITIZER_SHARE;

	return amount > 0 ? amount : 1;
}

uint64_t test_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint32_t test_pick(uint64_t *state, uint32_t limit)
{
	return (uint32_t)((test_random(state) >> 32) * limit >> 32);
}
