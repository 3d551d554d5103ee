/* SPDX-License-Identifier: MIT */
/* Ranked locks: exclusion between real threads, ownership, and the order of ranks. */
#include <pthread.h>

#include "base/lock.h"
#include "cases.h"
#include "host.h"

enum { THREADS = 4, ROUNDS = 20000 };

struct shared {
	struct ferry_lock lock;
	uint64_t counter;
};

static void *count_up(void *context)
{
	struct shared *shared = context;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		if (i % 8 != 0 || !ferry_lock_try(&shared->lock))
			ferry_lock_acquire(&shared->lock);
		ferry_lock_assert_held(&shared->lock);
		shared->counter++;
		ferry_lock_release(&shared->lock);
	}
	return NULL;
}

static void excludes(void **state)
{
	struct shared shared = { .counter = 0 };
	pthread_t threads[THREADS];

	(void)state;
	ferry_lock_init(&shared.lock, FERRY_RANK_SPACE);
	for (uint32_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count_up, &shared), 0);
	for (uint32_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(shared.counter, THREADS * ROUNDS);
	assert_int_equal(shared.lock.word, 0);
	assert_int_equal(shared.lock.owner, 0);
}

static void acquire(void *lock)
{
	ferry_lock_acquire(lock);
}

static void release(void *lock)
{
	ferry_lock_release(lock);
}

static void assert_held(void *lock)
{
	ferry_lock_assert_held(lock);
}

static void knows_its_owner(void **state)
{
	struct ferry_lock lock;

	(void)state;
	ferry_lock_init(&lock, FERRY_RANK_POOL);
	assert_true(test_breaks_assertion(release, &lock));
	assert_true(test_breaks_assertion(assert_held, &lock));
	assert_true(ferry_lock_try(&lock));
	assert_false(ferry_lock_try(&lock));
	assert_true(test_breaks_assertion(acquire, &lock));
	assert_false(test_breaks_assertion(assert_held, &lock));
	ferry_lock_release(&lock);
	assert_true(ferry_lock_try(&lock));
	ferry_lock_release(&lock);
}

static void keeps_the_order(void **state)
{
#ifdef FERRY_DEBUG
	struct ferry_lock space, pool;

	(void)state;
	ferry_lock_init(&space, FERRY_RANK_SPACE);
	ferry_lock_init(&pool, FERRY_RANK_POOL);
	ferry_lock_acquire(&space);
	ferry_lock_acquire(&pool);
	ferry_lock_release(&pool);
	ferry_lock_release(&space);
	ferry_lock_acquire(&pool);
	assert_true(test_breaks_assertion(acquire, &space));
	assert_true(ferry_lock_try(&space));
	ferry_lock_release(&space);
	ferry_lock_release(&pool);
	ferry_lock_acquire(&space);
	ferry_lock_release(&space);
#else
	(void)state;
	print_message("ranks are checked in debug builds only\n");
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(excludes),
		cmocka_unit_test(knows_its_owner),
		cmocka_unit_test(keeps_the_order),
	};

	test_host_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
