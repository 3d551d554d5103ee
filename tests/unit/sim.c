/* SPDX-License-Identifier: MIT */
/* The seeded scheduler: replay, locks, waits with time-outs, and the two ways to get nowhere. */
#include "sim/sim.h"
#include "base/lock.h"
#include "cases.h"
#include "host.h"

#include <string.h>

enum { THREADS = 5, ROUNDS = 40 };

struct shared {
	struct ferry_lock lock;
	uint32_t inside;
	uint32_t counter;
	uint64_t order; /* a hash of who ran when */
	uint32_t word;
};

static void count(void *context)
{
	struct shared *shared = context;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint32_t before;

		ferry_lock_acquire(&shared->lock);
		assert_int_equal(shared->inside++, 0);
		before = shared->counter;
		ferry_sim_step(NULL);
		shared->counter = before + 1;
		shared->order = shared->order * 31 + ferry_os->thread_id();
		shared->inside--;
		ferry_lock_release(&shared->lock);
	}
}

static uint64_t play(uint64_t seed)
{
	struct shared shared = { .counter = 0 };

	ferry_sim_begin(seed);
	ferry_lock_init(&shared.lock, FERRY_RANK_SPACE);
	for (uint32_t i = 0; i < THREADS; i++)
		ferry_sim_spawn("counter", count, &shared, false);
	assert_int_equal(ferry_sim_run(1000000), FERRY_SIM_DONE);
	assert_int_equal(shared.counter, THREADS * ROUNDS);
	assert_int_equal(ferry_sim_finish(), 0);
	return shared.order;
}

static void replays(void **state)
{
	uint32_t different = 0;

	(void)state;
	for (uint64_t seed = 1; seed < 50; seed++) {
		uint64_t order = play(seed);

		assert_int_equal(play(seed), order);
		different += play(seed + 1) != order;
	}
	assert_true(different > 45);
}

static void wait_with_timeout(void *context)
{
	struct shared *shared = context;
	uint64_t start = ferry_os->now_ns();

	ferry_os->wait(&shared->word, 1, 0); /* the value is another: returns at once */
	ferry_os->wait(&shared->word, 0, 5000000);
	assert_true(ferry_os->now_ns() - start >= 5000000);
	ferry_sim_sleep_ns(1000000000);
	assert_true(ferry_os->now_ns() - start >= 1005000000);
}

static void times_out(void **state)
{
	struct shared shared = { .word = 0 };

	(void)state;
	ferry_sim_begin(7);
	ferry_sim_spawn("sleeper", wait_with_timeout, &shared, false);
	assert_int_equal(ferry_sim_run(1000), FERRY_SIM_DONE);
	assert_int_equal(ferry_sim_finish(), 0);
}

static void wait_for_ever(void *context)
{
	struct shared *shared = context;

	ferry_os->wait(&shared->word, 0, 0);
}

static void spin(void *context)
{
	struct shared *shared = context;

	while (shared->word == 0)
		ferry_os->yield();
}

static void notices_lost_wakeups(void **state)
{
	struct shared shared = { .word = 0 };

	(void)state;
	print_message("two reports about 'lost' and 'spinner' are expected here:\n");
	ferry_sim_begin(7);
	ferry_sim_spawn("lost", wait_for_ever, &shared, false);
	assert_int_equal(ferry_sim_run(1000), FERRY_SIM_STUCK);
	ferry_sim_finish();
	ferry_sim_begin(7);
	ferry_sim_spawn("spinner", spin, &shared, false);
	assert_int_equal(ferry_sim_run(1000), FERRY_SIM_TIRED);
	ferry_sim_finish();
	ferry_sim_begin(7);
	ferry_sim_spawn("daemon", wait_for_ever, &shared, true);
	assert_int_equal(ferry_sim_run(1000), FERRY_SIM_DONE);
	assert_non_null(ferry_os->alloc(4096));
	assert_int_equal(ferry_sim_finish(), 4096);
}

struct letters {
	char text[8];
	uint32_t length;
	uint32_t asked;
	uint32_t number; /* its bits are the choices */
};

static void write_letter(void *context)
{
	struct letters *letters = context;

	for (uint32_t i = 0; i < 2; i++) {
		ferry_sim_step(NULL);
		letters->text[letters->length++] = (char)('0' + ferry_os->thread_id());
	}
}

static uint32_t decide(void *context, const uint32_t *able, uint32_t count)
{
	struct letters *letters = context;

	assert_int_equal(count, 2);
	assert_int_not_equal(able[0], able[1]);
	return letters->number >> letters->asked++ & 1;
}

/* Two threads of two letters: all six orders, each the same again. */
static void is_directed(void **state)
{
	char seen[6][8];
	uint32_t different = 0;

	(void)state;
	for (uint32_t number = 0; number < 512; number++) {
		struct letters letters = { .number = number / 2 };
		uint32_t i = 0;

		ferry_sim_begin(number);
		ferry_sim_direct(decide, &letters);
		ferry_sim_spawn("first", write_letter, &letters, false);
		ferry_sim_spawn("second", write_letter, &letters, false);
		assert_int_equal(ferry_sim_run(1000), FERRY_SIM_DONE);
		assert_int_equal(ferry_sim_finish(), 0);
		while (i < different && strcmp(seen[i], letters.text) != 0)
			i++;
		assert_in_range(i, 0, 5);
		if (i == different)
			memcpy(seen[different++], letters.text, sizeof(letters.text));
	}
	assert_int_equal(different, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replays),
		cmocka_unit_test(times_out),
		cmocka_unit_test(notices_lost_wakeups),
		cmocka_unit_test(is_directed),
	};

	test_host_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
