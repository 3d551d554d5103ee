/* SPDX-License-Identifier: MIT */
/* Pools: which frames are preferred, what each refusal means, and how a lease is given back. */
#include <errno.h>
#include <string.h>

#include "cases.h"
#include "host.h"
#include "mmu/check.h"
#include "mmu/inject.h"
#include "mmu/soft.h"
#include "phys/pool.h"

enum { CHUNKS = 4, SLOTS = CHUNKS * FERRY_HUGE_PAGES };

static struct ferry_soft soft;
static struct ferry_mmu_inject inject;
static struct ferry_mmu_check checked;
static struct ferry_pool pool;
static struct ferry_mmu *mmu;

static void begin(uint32_t memory, uint64_t lease)
{
	static const uint64_t slots[] = { SLOTS };
	struct ferry_soft_options options = {
		.base = UINT64_C(1) << 30,
		.pages = 1,
		.memory_pages = memory,
		.node_count = 1,
		.slots = slots,
		.caps = { .move = true, .zero_page = true, .huge = true },
	};

	assert_int_equal(ferry_soft_init(&soft, &options), 0);
	ferry_mmu_inject_init(&inject, &soft.mmu);
	assert_int_equal(ferry_mmu_check_init(&checked, &inject.mmu, 1, slots), 0);
	mmu = &checked.mmu;
	assert_int_equal(ferry_pool_init(&pool, 0, SLOTS), 0);
	ferry_pool_grant(&pool, lease);
}

static void end(void)
{
	assert_int_equal(ferry_pool_check(&pool), 0);
	ferry_pool_destroy(&pool);
	ferry_mmu_check_destroy(&checked);
	ferry_soft_destroy(&soft);
}

static struct ferry_run take(uint32_t want, enum ferry_fill fill)
{
	struct ferry_run run;

	assert_true(ferry_pool_take(&pool, mmu, want, fill, &run) > 0);
	return run;
}

static void nothing_without_a_lease(void **state)
{
	struct ferry_run run;

	(void)state;
	begin(4096, 0);
	assert_int_equal(ferry_pool_take(&pool, mmu, 1, FERRY_FILL_ZERO, &run), -ENOSPC);
	assert_int_equal(ferry_pool_take(&pool, mmu, 512, FERRY_FILL_ANY, &run), -ENOSPC);
	assert_int_equal(ferry_pool_take_huge(&pool, mmu, FERRY_FILL_ZERO, &run), -ENOSPC);
	/* Numbers alone cost nothing. */
	assert_int_equal(ferry_pool_take(&pool, mmu, 5, FERRY_FILL_NONE, &run), 5);
	ferry_pool_put(&pool, run, FERRY_CONTENT_NONE, false);
	end();
}

static void a_memoryless_node(void **state)
{
	struct ferry_run run;
	struct ferry_pool none;

	(void)state;
	begin(4096, 0);
	assert_int_equal(ferry_pool_init(&none, 0, 0), 0);
	ferry_pool_grant(&none, 1000);
	assert_int_equal(ferry_pool_take(&none, mmu, 1, FERRY_FILL_NONE, &run), -EMFILE);
	assert_int_equal(ferry_pool_take(&none, mmu, 1, FERRY_FILL_ZERO, &run), -EMFILE);
	assert_int_equal(ferry_pool_take_huge(&none, mmu, FERRY_FILL_ZERO, &run), -EMFILE);
	assert_int_equal(ferry_pool_check(&none), 0);
	ferry_pool_destroy(&none);
	end();
}

static void the_host_has_no_memory(void **state)
{
	struct ferry_run run;

	(void)state;
	begin(3, 100);
	assert_int_equal(ferry_pool_take(&pool, mmu, 8, FERRY_FILL_ZERO, &run), 3);
	assert_int_equal(ferry_pool_take(&pool, mmu, 1, FERRY_FILL_ZERO, &run), -ENOMEM);
	assert_int_equal(ferry_pool_take_huge(&pool, mmu, FERRY_FILL_ANY, &run), -ENOSPC);
	ferry_pool_grant(&pool, 1000);
	assert_int_equal(ferry_pool_take_huge(&pool, mmu, FERRY_FILL_ANY, &run), -ENOMEM);
	ferry_soft_end(&soft);
	assert_int_equal(ferry_pool_take(&pool, mmu, 1, FERRY_FILL_ZERO, &run), -ESRCH);
	end();
}

static void zeroed_frames_first_then_old_ones(void **state)
{
	struct ferry_run old, run;

	(void)state;
	begin(4096, 40);
	old = take(8, FERRY_FILL_ZERO);
	ferry_pool_put(&pool, old, FERRY_CONTENT_DIRTY, true);
	/* First touch: what fill left ready; a copy's target: the old ones. */
	run = take(8, FERRY_FILL_ZERO);
	assert_true(run.first.number != old.first.number);
	assert_int_equal(pool.filled_pages, 8);
	ferry_pool_put(&pool, run, FERRY_CONTENT_ZERO, true);
	run = take(8, FERRY_FILL_ANY);
	assert_int_equal(run.first.number, old.first.number);
	ferry_pool_put(&pool, run, FERRY_CONTENT_DIRTY, true);
	/* Zeroing an old frame is cheaper than a new one, and gives zeros. */
	run = take(8, FERRY_FILL_ZERO);
	ferry_pool_put(&pool, run, FERRY_CONTENT_DIRTY, true);
	run = take(8, FERRY_FILL_ZERO);
	for (uint32_t i = 0; i < run.pages; i++) {
		struct ferry_frame frame = run.first;

		frame.number += i;
		assert_true(mmu->ops->is_zero(mmu, frame));
	}
	end();
}

/* Frames for a first touch: those with memory first, then as many as the lease allows without. */
static void new_frames_need_no_memory(void **state)
{
	struct ferry_run run = { .pages = 0 };

	(void)state;
	begin(4096, 40);
	ferry_mmu_inject_plan(&inject, FERRY_OP_FILL, 1, true, -ENOMEM);
	run = take(8, FERRY_FILL_NEW);
	assert_true(run.empty);
	assert_int_equal(run.pages, 8);
	assert_int_equal(pool.charged_pages, 8);
	assert_int_equal(pool.filled_pages, 0);
	ferry_pool_put(&pool, run, FERRY_CONTENT_NONE, true);
	ferry_mmu_inject_plan(&inject, 0, 0, false, 0);
	run = take(8, FERRY_FILL_ANY);
	ferry_pool_put(&pool, run, FERRY_CONTENT_DIRTY, true);
	run = take(8, FERRY_FILL_NEW);
	assert_false(run.empty);
	assert_true(mmu->ops->is_zero(mmu, run.first));
	while (pool.charged_pages < 40)
		(void)take(64, FERRY_FILL_NEW);
	assert_int_equal(pool.charged_pages, 40);
	assert_int_equal(ferry_pool_take(&pool, mmu, 1, FERRY_FILL_NEW, &run), -ENOSPC);
	end();
}

static void long_wishes_get_long_runs(void **state)
{
	struct ferry_run pieces[64], run;

	(void)state;
	begin(4096, SLOTS);
	for (uint32_t i = 0; i < 64; i++)
		pieces[i] = take(4, FERRY_FILL_ANY);
	for (uint32_t i = 0; i < 64; i += 2)
		ferry_pool_put(&pool, pieces[i], FERRY_CONTENT_DIRTY, true);
	run = take(512, FERRY_FILL_ANY);
	assert_int_equal(run.pages, 512);
	ferry_pool_put(&pool, run, FERRY_CONTENT_DIRTY, true);
	/* The same ones again, without any filling. */
	ferry_mmu_inject_plan(&inject, FERRY_OP_FILL, 1, true, -ENOMEM);
	run = take(512, FERRY_FILL_ANY);
	assert_int_equal(run.pages, 512);
	assert_int_equal(inject.failures, 0);
	/* Scraps are good enough for short ones, and when nothing else is there. */
	run = take(4, FERRY_FILL_ANY);
	assert_int_equal(run.pages, 4);
	run = take(512, FERRY_FILL_ANY);
	assert_true(run.pages >= 4);
	end();
}

static void a_huge_page_stays_one(void **state)
{
	struct ferry_run run, again;

	(void)state;
	begin(4096, 600);
	assert_int_equal(ferry_pool_take_huge(&pool, mmu, FERRY_FILL_ZERO, &run), 0);
	assert_int_equal(run.pages, FERRY_HUGE_PAGES);
	assert_int_equal(run.first.huge, 1);
	assert_int_equal(pool.charged_pages, FERRY_HUGE_PAGES);
	ferry_pool_put(&pool, run, FERRY_CONTENT_DIRTY, true);
	ferry_mmu_inject_plan(&inject, FERRY_OP_FILL, 1, true, -ENOMEM);
	assert_int_equal(ferry_pool_take_huge(&pool, mmu, FERRY_FILL_ZERO, &again), 0);
	assert_int_equal(again.first.number, run.first.number);
	assert_true(mmu->ops->is_zero(mmu, again.first));
	ferry_pool_put(&pool, again, FERRY_CONTENT_DIRTY, true);
	ferry_mmu_inject_plan(&inject, 0, 0, false, 0);
	/* It is broken up when the lease leaves nothing else. */
	for (uint32_t i = 0; i < 600; i += run.pages)
		run = take(1, FERRY_FILL_ANY);
	assert_int_equal(ferry_pool_take(&pool, mmu, 1, FERRY_FILL_ANY, &run), -ENOSPC);
	end();
}

/* Small frames in hand are dropped for a huge page, but only if that is enough. */
static void small_frames_make_room(void **state)
{
	struct ferry_run run;

	(void)state;
	begin(4096, 600);
	assert_int_equal(ferry_pool_prefill(&pool, mmu, 300), 300);
	assert_int_equal(ferry_pool_take_huge(&pool, mmu, FERRY_FILL_ANY, &run), 0);
	assert_int_equal(pool.filled_pages, 600 - FERRY_HUGE_PAGES);
	ferry_pool_put(&pool, run, FERRY_CONTENT_NONE, true);
	end();
	begin(4096, 500);
	assert_int_equal(ferry_pool_prefill(&pool, mmu, 300), 300);
	assert_int_equal(ferry_pool_take_huge(&pool, mmu, FERRY_FILL_ANY, &run), -ENOSPC);
	assert_int_equal(pool.filled_pages, 300);
	end();
}

static void numbers_run_out(void **state)
{
	struct ferry_run run;
	uint32_t taken = 0;

	(void)state;
	begin(4096, 10);
	while (ferry_pool_take(&pool, mmu, 512, FERRY_FILL_NONE, &run) > 0)
		taken += run.pages;
	assert_int_equal(taken, SLOTS);
	assert_int_equal(ferry_pool_take(&pool, mmu, 1, FERRY_FILL_ZERO, &run), -EMFILE);
	assert_int_equal(ferry_pool_take_huge(&pool, mmu, FERRY_FILL_NONE, &run), -EMFILE);
	end();
}

/* A number is free with memory, and only a number is wanted: its memory goes. */
static void a_number_with_memory(void **state)
{
	struct ferry_run run;
	uint32_t taken = 0;

	(void)state;
	begin(4096, 20);
	assert_int_equal(ferry_pool_prefill(&pool, mmu, 20), 20);
	while (ferry_pool_take(&pool, mmu, 512, FERRY_FILL_NONE, &run) > 0)
		taken += run.pages;
	assert_int_equal(taken, SLOTS);
	assert_int_equal(pool.filled_pages, 0);
	assert_int_equal(ferry_soft_used_pages(&soft), 0);
	end();
}

static void exact_numbers(void **state)
{
	struct ferry_run run = { .first = { .number = 500 }, .pages = 30 };
	struct ferry_run inside = { .first = { .number = 510 }, .pages = 5 };
	struct ferry_run beyond = { .first = { .number = SLOTS - 2 }, .pages = 3 };

	(void)state;
	begin(4096, 0);
	assert_int_equal(ferry_pool_take_exact(&pool, run), 0);
	assert_true(ferry_pool_is_taken(&pool, 500) && ferry_pool_is_taken(&pool, 529));
	assert_false(ferry_pool_is_taken(&pool, 499) || ferry_pool_is_taken(&pool, 530));
	assert_int_equal(ferry_pool_take_exact(&pool, inside), -EBUSY);
	assert_int_equal(ferry_pool_take_exact(&pool, beyond), -EMFILE);
	assert_int_equal(pool.charged_pages, 0);
	ferry_pool_charge(&pool, 30);
	assert_int_equal(ferry_pool_over(&pool), 30);
	ferry_pool_uncharge(&pool, 10);
	assert_int_equal(ferry_pool_over(&pool), 20);
	ferry_pool_uncharge(&pool, 20);
	ferry_pool_put(&pool, run, FERRY_CONTENT_NONE, false);
	end();
}

static void a_lease_is_given_back(void **state)
{
	struct ferry_run run;

	(void)state;
	begin(4096, 100);
	run = take(10, FERRY_FILL_ANY);
	assert_int_equal(ferry_pool_prefill(&pool, mmu, 40), 40);
	assert_int_equal(ferry_pool_shrink(&pool, mmu, 20), 20); /* what was never used */
	assert_true(pool.filled_pages >= 40);
	assert_int_equal(ferry_pool_shrink(&pool, mmu, 1000), 70); /* all but what is charged */
	assert_int_equal(pool.leased_pages, 10);
	assert_int_equal(pool.filled_pages, 0);
	assert_int_equal(ferry_soft_used_pages(&soft), 10);
	ferry_pool_charge(&pool, 0);
	assert_int_equal(ferry_pool_shrink(&pool, mmu, 5), 0);
	ferry_pool_put(&pool, run, FERRY_CONTENT_DIRTY, true);
	end();
}

static void put_what_is_not_taken(void *context)
{
	struct ferry_run run = { .first = { .number = 3 }, .pages = 1 };

	(void)context;
	ferry_pool_put(&pool, run, FERRY_CONTENT_NONE, false);
}

static void put_part_of_a_huge_page(void *context)
{
	struct ferry_run *run = context;
	struct ferry_run part = { .first = run->first, .pages = 1 };

	ferry_pool_put(&pool, part, FERRY_CONTENT_DIRTY, true);
}

static void misuse_is_noticed(void **state)
{
	struct ferry_run run;

	(void)state;
	begin(4096, 600);
	assert_true(test_breaks_assertion(put_what_is_not_taken, NULL));
	assert_int_equal(ferry_pool_take_huge(&pool, mmu, FERRY_FILL_ANY, &run), 0);
	assert_true(test_breaks_assertion(put_part_of_a_huge_page, &run));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_without_a_lease),
		cmocka_unit_test(a_memoryless_node),
		cmocka_unit_test(the_host_has_no_memory),
		cmocka_unit_test(zeroed_frames_first_then_old_ones),
		cmocka_unit_test(new_frames_need_no_memory),
		cmocka_unit_test(long_wishes_get_long_runs),
		cmocka_unit_test(a_huge_page_stays_one),
		cmocka_unit_test(small_frames_make_room),
		cmocka_unit_test(numbers_run_out),
		cmocka_unit_test(a_number_with_memory),
		cmocka_unit_test(exact_numbers),
		cmocka_unit_test(a_lease_is_given_back),
		cmocka_unit_test(misuse_is_noticed),
	};

	test_host_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
