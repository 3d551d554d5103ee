/* SPDX-License-Identifier: MIT */
/* Each row of the table in map/fault.h, placement by policy, fault-around, and the end of memory.
 */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "cases.h"
#include "host.h"
#include "map/ptable.h"
#include "rig.h"

static struct rig rig;
static uint64_t bytes_before;

static void begin(uint32_t pages, bool huge)
{
	struct rig_options options = {
		.nodes = 3,
		.capacity = { 2000, 2000, 2000 },
		.pages = pages,
		.huge = huge,
	};

	bytes_before = test_alloc_bytes();
	rig_begin(&rig, &options);
}

static void end(void)
{
	rig_end(&rig);
	assert_int_equal(test_alloc_bytes(), bytes_before);
}

/* One try: what the handler's function answers, with the lock held as it wants. */
static enum ferry_fault_result serve(struct ferry_fault *fault)
{
	enum ferry_fault_result result;

	ferry_lock_acquire(&rig.space.lock);
	result = ferry_fault_serve(&rig.space, fault);
	ferry_lock_release(&rig.space.lock);
	return result;
}

/* The same, leases included. */
static enum ferry_fault_result serve_at(uint32_t page, bool write, int local_node)
{
	struct ferry_fault fault = { .va = rig_va(&rig, page) + 7,
				     .write = write,
				     .local_node = local_node };
	enum ferry_fault_result result = serve(&fault);

	for (uint32_t tries = 0; result == FERRY_FAULT_SHORT && tries < 8; tries++) {
		ferry_space_refill(&rig.space, fault.short_node, fault.short_pages);
		result = serve(&fault);
	}
	return result;
}

static enum ferry_pte_state state_of(uint32_t page)
{
	return ferry_pte_state(ferry_ptable_get(rig.books, rig_va(&rig, page)));
}

static const struct ferry_counters *counters(void)
{
	return &rig.books->counters;
}

static uint64_t word_at(uint32_t page)
{
	uint64_t value = 4711;

	assert_int_equal(rig_load(&rig, 0, rig_va(&rig, page), &value), FERRY_SOFT_DONE);
	return value;
}

static void a_read_maps_the_zero_page(void **state)
{
	(void)state;
	begin(16, false);
	rig_map(&rig, 0, 16, 0);
	assert_int_equal(serve_at(3, false, -1), FERRY_FAULT_DONE);
	assert_int_equal(state_of(3), FERRY_PTE_ZERO);
	assert_int_equal(word_at(3), 0);
	assert_int_equal(rig_node(&rig, 3), -EFAULT);
	assert_int_equal(counters()->zero_maps, 1);
	assert_int_equal(rig.space.pools[0].charged_pages, 0);
	end();
}

static void a_write_gets_a_frame(void **state)
{
	(void)state;
	begin(16, false);
	rig_map(&rig, 0, 16, 0);
	assert_int_equal(serve_at(3, true, 1), FERRY_FAULT_DONE);
	assert_int_equal(state_of(3), FERRY_PTE_MAPPED);
	assert_int_equal(rig_node(&rig, 3), 1);
	assert_int_equal(word_at(3), 0);
	assert_int_equal(counters()->first_touches, 1);
	assert_int_equal(rig.space.pools[1].charged_pages, 1);
	end();
}

/* Recycled frames hold old data until they are given out. */
static void a_frame_is_zero_again(void **state)
{
	(void)state;
	begin(64, false);
	rig_map(&rig, 0, 64, 0);
	for (uint32_t i = 0; i < 32; i++)
		assert_int_equal(rig_store(&rig, 0, rig_va(&rig, i), 77), FERRY_SOFT_DONE);
	assert_int_equal(rig_move(&rig, 0, 32, 1, NULL, NULL), 1); /* node 0 has dirty frames now */
	for (uint32_t i = 32; i < 64; i++) {
		assert_int_equal(serve_at(i, true, 0), FERRY_FAULT_DONE);
		assert_int_equal(rig_node(&rig, i), 0);
		assert_int_equal(word_at(i), 0);
	}
	end();
}

static void a_write_to_the_zero_page(void **state)
{
	(void)state;
	begin(16, false);
	rig_map(&rig, 0, 16, 0);
	assert_int_equal(word_at(5), 0);
	assert_int_equal(state_of(5), FERRY_PTE_ZERO);
	assert_int_equal(rig_store(&rig, 0, rig_va(&rig, 5), 55), FERRY_SOFT_DONE);
	assert_int_equal(state_of(5), FERRY_PTE_MAPPED);
	assert_int_equal(word_at(5), 55);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

/* The zero page of a mapping that is locked cannot be taken out: the host's copy is charged. */
static void a_write_to_a_locked_zero_page(void **state)
{
	(void)state;
	begin(16, false);
	rig_map(&rig, 0, 16, 0);
	assert_int_equal(word_at(5), 0);
	ferry_soft_mlock(&rig.soft, rig_va(&rig, 5), rig_va(&rig, 6), true);
	assert_int_equal(rig_store(&rig, 0, rig_va(&rig, 5), 55), FERRY_SOFT_DONE);
	assert_int_equal(word_at(5), 55);
	assert_int_equal(state_of(5), FERRY_PTE_MAPPED);
	ferry_soft_mlock(&rig.soft, rig_va(&rig, 5), rig_va(&rig, 6), false);
	assert_int_equal(rig_check(&rig, true), 0);
	assert_int_equal(rig_move(&rig, 5, 1, 2, NULL, NULL), 2);
	assert_int_equal(word_at(5), 55);
	end();
}

static void no_zero_page_on_this_host(void **state)
{
	struct rig_options options = {
		.nodes = 1, .capacity = { 100 }, .pages = 16, .no_zero_page = true
	};

	(void)state;
	bytes_before = test_alloc_bytes();
	rig_begin(&rig, &options);
	rig_map(&rig, 0, 16, 0);
	assert_int_equal(word_at(5), 0);
	assert_int_equal(state_of(5), FERRY_PTE_MAPPED);
	end();
}

static void late_faults_change_nothing(void **state)
{
	uint64_t charged;

	(void)state;
	begin(16, false);
	rig_map(&rig, 0, 16, 0);
	assert_int_equal(rig_store(&rig, 0, rig_va(&rig, 1), 11), FERRY_SOFT_DONE);
	charged = rig.space.pools[0].charged_pages;
	assert_int_equal(serve_at(1, true, -1), FERRY_FAULT_DONE);
	assert_int_equal(serve_at(1, false, -1), FERRY_FAULT_DONE);
	assert_int_equal(rig.space.pools[0].charged_pages, charged);
	assert_int_equal(word_at(1), 11);
	end();
}

/* The host drops a page after its discard was told of and the page was touched again. */
static void a_page_that_the_host_dropped(void **state)
{
	(void)state;
	begin(16, false);
	rig_map(&rig, 0, 16, 0);
	assert_int_equal(ferry_soft_discard(&rig.soft, 0, rig_va(&rig, 2), rig_va(&rig, 3)),
			 -EINPROGRESS);
	assert_true(rig_serve(&rig, FERRY_SOFT_EVENT));
	assert_int_equal(rig_store(&rig, 1, rig_va(&rig, 2), 22), FERRY_SOFT_DONE);
	ferry_soft_continue(&rig.soft, 0);
	assert_int_equal(state_of(2), FERRY_PTE_MAPPED);
	assert_int_equal(word_at(2), 0);
	assert_true(counters()->healed > 0);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

/* Pages that fault-around placed, and one of them written to: taken out to be looked at. */
static void a_held_page_comes_home(void **state)
{
	uint32_t freed;

	(void)state;
	begin(128, false);
	rig_map(&rig, 0, 128, 0);
	assert_true(ferry_space_refill(&rig.space, 0, 500));
	for (uint32_t i = 0; i < 17; i++)
		assert_int_equal(rig_store(&rig, 0, rig_va(&rig, i), 100 + i), FERRY_SOFT_DONE);
	assert_int_equal(rig_store(&rig, 0, rig_va(&rig, 20), 120), FERRY_SOFT_DONE);
	ferry_mmu_inject_plan(&rig.inject, FERRY_OP_ENTER, 1, true, -EAGAIN);
	ferry_lock_acquire(&rig.space.lock);
	freed = ferry_space_reclaim_ahead(&rig.space, 100);
	ferry_lock_release(&rig.space.lock);
	ferry_mmu_inject_plan(&rig.inject, 0, 0, false, 0);
	assert_true(freed > 10);
	assert_int_equal(state_of(20), FERRY_PTE_HELD);
	assert_int_equal(rig_node(&rig, 20), 0);
	assert_int_equal(word_at(20), 120);
	assert_int_equal(state_of(20), FERRY_PTE_MAPPED);
	assert_int_equal(word_at(21), 0);
	end();
}

/* What a mover's copy is interrupted by. */
static enum ferry_fault_result busy_result;

static void fault_meanwhile(void *context, enum ferry_mmu_op op, bool after)
{
	(void)context;
	if (op == FERRY_OP_COPY_FRAME && !after)
		busy_result = serve_at(1, true, -1);
}

static void a_page_in_flight_is_left_to_its_mover(void **state)
{
	(void)state;
	begin(16, false);
	rig_map(&rig, 0, 16, 0);
	assert_int_equal(rig_store(&rig, 0, rig_va(&rig, 1), 11), FERRY_SOFT_DONE);
	rig.inject.delay = fault_meanwhile;
	assert_int_equal(rig_move(&rig, 1, 1, 2, NULL, NULL), 2);
	rig.inject.delay = NULL;
	assert_int_equal(busy_result, FERRY_FAULT_BUSY);
	assert_int_equal(word_at(1), 11);
	end();
}

static void memory_nobody_told_us_of(void **state)
{
	(void)state;
	begin(32, false);
	rig_map_unseen(&rig, 4, 12);
	assert_int_equal(serve_at(6, true, -1), FERRY_FAULT_DONE);
	assert_int_equal(rig.books->region_count, 1);
	assert_int_equal(ferry_books_regions(rig.books)[0].start, rig_va(&rig, 4));
	assert_int_equal(ferry_books_regions(rig.books)[0].end, rig_va(&rig, 12));
	assert_int_equal(state_of(6), FERRY_PTE_MAPPED);
	/* Nothing is mapped there: the access finds out. */
	assert_int_equal(serve_at(20, true, -1), FERRY_FAULT_DONE);
	assert_int_equal(state_of(20), FERRY_PTE_NONE);
	end();
}

/* --- policy ------------------------------------------------------------------------------- */

static void placement_follows_the_policy(void **state)
{
	struct ferry_policy *policy;

	(void)state;
	begin(64, false);
	policy = &rig.machine->policy;
	rig_map(&rig, 0, 64, 0);
	assert_int_equal(serve_at(0, true, 2), FERRY_FAULT_DONE);
	assert_int_equal(rig_node(&rig, 0), 2);
	policy->mode = FERRY_POLICY_BIND;
	ferry_nodeset_clear(&policy->nodes);
	ferry_nodeset_add(&policy->nodes, 1);
	assert_int_equal(serve_at(10, true, 2), FERRY_FAULT_DONE);
	assert_int_equal(rig_node(&rig, 10), 1);
	policy->mode = FERRY_POLICY_INTERLEAVE;
	ferry_nodeset_fill(&policy->nodes, 3);
	for (uint32_t i = 20; i < 50; i++)
		assert_int_equal(serve_at(i, true, 0), FERRY_FAULT_DONE);
	for (uint32_t i = 21; i < 50; i++)
		assert_int_equal(rig_node(&rig, i), (rig_node(&rig, i - 1) + 1) % 3);
	end();
}

/* Nodes that the process may not use, or that are offline, get no page under any policy. */
static void placement_keeps_to_the_allowed_nodes(void **state)
{
	struct ferry_policy *policy;

	(void)state;
	begin(64, false);
	policy = &rig.machine->policy;
	rig_map(&rig, 0, 64, 0);
	rig.allowed.word[0] = 1 << 0 | 1 << 1;
	assert_int_equal(serve_at(0, true, 2), FERRY_FAULT_DONE);
	assert_in_range(rig_node(&rig, 0), 0, 1);
	policy->mode = FERRY_POLICY_INTERLEAVE;
	for (uint32_t i = 10; i < 20; i++) {
		assert_int_equal(serve_at(i, true, 2), FERRY_FAULT_DONE);
		assert_int_equal(rig_node(&rig, i), (i - 10 + (uint32_t)rig_node(&rig, 10)) % 2);
	}
	policy->mode = FERRY_POLICY_BIND;
	policy->nodes.word[0] = 1 << 1 | 1 << 2;
	assert_int_equal(serve_at(22, true, 2), FERRY_FAULT_DONE);
	assert_int_equal(rig_node(&rig, 22), 1);
	/* Nothing is left of the policy: it binds nobody. */
	rig.machine->unusable.word[0] = 1 << 1;
	assert_int_equal(serve_at(24, true, 2), FERRY_FAULT_DONE);
	assert_int_equal(rig_node(&rig, 24), 0);
	policy->mode = FERRY_POLICY_LOCAL;
	assert_int_equal(serve_at(26, true, 1), FERRY_FAULT_DONE);
	assert_int_equal(rig_node(&rig, 26), 0);
	end();
}

/* An allowed node that is full is the end, whatever room there is elsewhere. */
static void no_fallback_out_of_the_allowed_nodes(void **state)
{
	struct rig_options options = {
		.nodes = 2, .capacity = { 4, 64 }, .pages = 16, .lease_step = 1
	};

	(void)state;
	bytes_before = test_alloc_bytes();
	rig_begin(&rig, &options);
	rig_map(&rig, 0, 16, 0);
	rig.allowed.word[0] = 1;
	for (uint32_t i = 0; i < 8; i += 2)
		assert_int_equal(serve_at(i, true, 1), FERRY_FAULT_DONE);
	assert_int_equal(serve_at(8, true, 1), FERRY_FAULT_NOMEM);
	rig.allowed.word[0] = 3;
	assert_int_equal(serve_at(8, true, 1), FERRY_FAULT_DONE);
	assert_int_equal(rig_node(&rig, 8), 1);
	end();
}

static void full_nodes_fall_back_and_end(void **state)
{
	struct rig_options options = {
		.nodes = 3, .capacity = { 4, 4, 0 }, .pages = 16, .lease_step = 1
	};

	(void)state;
	bytes_before = test_alloc_bytes();
	rig_begin(&rig, &options);
	rig_map(&rig, 0, 16, 0);
	for (uint32_t i = 0; i < 16; i += 2) {
		assert_int_equal(serve_at(i, true, 1), FERRY_FAULT_DONE);
		assert_int_equal(rig_node(&rig, i), i < 8 ? 1 : 0);
	}
	assert_int_equal(rig_check(&rig, true), 0);
	assert_int_equal(serve_at(1, true, 1), FERRY_FAULT_NOMEM);
	/* A read still costs nothing, and what is freed can be used. */
	assert_int_equal(serve_at(1, false, 1), FERRY_FAULT_DONE);
	rig_discard(&rig, 0, 0, 2, false);
	assert_int_equal(serve_at(1, true, 1), FERRY_FAULT_DONE);
	end();
}

static void an_ended_space(void **state)
{
	(void)state;
	begin(16, false);
	rig_map(&rig, 0, 16, 0);
	ferry_soft_end(&rig.soft);
	assert_int_equal(serve_at(1, true, -1), FERRY_FAULT_GONE);
	rig_abandon(&rig);
}

/* --- more than one page ---------------------------------------------------------------------- */

static void fault_around_needs_a_streak(void **state)
{
	(void)state;
	begin(512, false);
	rig_map(&rig, 0, 100, 0);
	for (uint32_t i = 0; i < FERRY_STREAK_START; i++)
		assert_int_equal(rig_store(&rig, 0, rig_va(&rig, i), 1), FERRY_SOFT_DONE);
	assert_int_equal(counters()->ahead_pages, 0);
	/* two pages, then four */
	for (uint32_t pages = 2, at = FERRY_STREAK_START; pages <= 4; at += pages, pages *= 2) {
		assert_int_equal(state_of(at), FERRY_PTE_NONE);
		assert_int_equal(rig_store(&rig, 0, rig_va(&rig, at), 1), FERRY_SOFT_DONE);
		assert_int_equal(counters()->ahead_pages + counters()->first_touches, at + pages);
	}
	for (uint32_t i = FERRY_STREAK_START; i < 100; i++)
		assert_int_equal(rig_store(&rig, 0, rig_va(&rig, i), 1), FERRY_SOFT_DONE);
	assert_true(counters()->first_touches < FERRY_STREAK_START + 10);
	assert_int_equal(counters()->first_touches + counters()->ahead_pages, 100);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void scattered_touches_get_one_page_each(void **state)
{
	uint64_t seed = 1;

	(void)state;
	begin(512, false);
	rig_map(&rig, 0, 512, 0);
	for (uint32_t i = 0; i < 200; i++)
		assert_int_equal(rig_store(&rig, 0, rig_va(&rig, test_pick(&seed, 512)), 1),
				 FERRY_SOFT_DONE);
	assert_int_equal(counters()->ahead_pages, 0);
	end();
}

static void huge_regions_get_huge_frames(void **state)
{
	(void)state;
	begin(3 * FERRY_HUGE_PAGES, true);
	rig_map(&rig, 10, 3 * FERRY_HUGE_PAGES, FERRY_REGION_HUGE);
	assert_int_equal(rig_store(&rig, 0, rig_va(&rig, 600), 6), FERRY_SOFT_DONE);
	for (uint32_t i = FERRY_HUGE_PAGES; i < 2 * FERRY_HUGE_PAGES; i++) {
		struct ferry_pte pte = ferry_ptable_get(rig.books, rig_va(&rig, i));

		assert_int_equal(ferry_pte_state(pte), FERRY_PTE_MAPPED);
		assert_true(ferry_pte_has(pte, FERRY_PTE_HUGE));
	}
	assert_int_equal(state_of(2 * FERRY_HUGE_PAGES), FERRY_PTE_NONE);
	/* The first 2 MiB are not all mapped: a small page. */
	assert_int_equal(rig_store(&rig, 0, rig_va(&rig, 20), 2), FERRY_SOFT_DONE);
	assert_false(ferry_pte_has(ferry_ptable_get(rig.books, rig_va(&rig, 20)), FERRY_PTE_HUGE));
	assert_int_equal(state_of(21), FERRY_PTE_NONE);
	/* A part that was discarded makes it small. */
	rig_discard(&rig, 0, 700, 701, false);
	assert_false(ferry_pte_has(ferry_ptable_get(rig.books, rig_va(&rig, 600)), FERRY_PTE_HUGE));
	assert_int_equal(word_at(600), 6);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

/* A page that the host kept is in the way: what is below it comes in as small pages. */
static void a_huge_frame_meets_a_page(void **state)
{
	(void)state;
	begin(FERRY_HUGE_PAGES, true);
	rig_map(&rig, 0, FERRY_HUGE_PAGES, FERRY_REGION_HUGE);
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		assert_int_equal(rig_store(&rig, 0, rig_va(&rig, i), i + 1), FERRY_SOFT_DONE);
	rig_discard(&rig, 0, 0, FERRY_HUGE_PAGES, true);
	ferry_soft_take_lazy(&rig.soft, rig.base, rig_va(&rig, 300));
	ferry_soft_take_lazy(&rig.soft, rig_va(&rig, 301), rig_va(&rig, FERRY_HUGE_PAGES));
	assert_int_equal(rig_store(&rig, 0, rig_va(&rig, 400), 4), FERRY_SOFT_DONE);
	assert_int_equal(state_of(299), FERRY_PTE_MAPPED);
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
		assert_int_equal(word_at(i), i == 300 ? 301 : i == 400 ? 4 : 0);
		assert_false(ferry_pte_has(ferry_ptable_get(rig.books, rig_va(&rig, i)),
					   FERRY_PTE_HUGE));
	}
	rig.space.grace_ns = 0;
	ferry_lock_acquire(&rig.space.lock);
	assert_int_equal(ferry_space_reconcile(&rig.space, rig.base,
					       rig_va(&rig, FERRY_HUGE_PAGES), -1),
			 0);
	ferry_lock_release(&rig.space.lock);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_read_maps_the_zero_page),
		cmocka_unit_test(a_write_gets_a_frame),
		cmocka_unit_test(a_frame_is_zero_again),
		cmocka_unit_test(a_write_to_the_zero_page),
		cmocka_unit_test(a_write_to_a_locked_zero_page),
		cmocka_unit_test(no_zero_page_on_this_host),
		cmocka_unit_test(late_faults_change_nothing),
		cmocka_unit_test(a_page_that_the_host_dropped),
		cmocka_unit_test(a_held_page_comes_home),
		cmocka_unit_test(a_page_in_flight_is_left_to_its_mover),
		cmocka_unit_test(memory_nobody_told_us_of),
		cmocka_unit_test(placement_follows_the_policy),
		cmocka_unit_test(placement_keeps_to_the_allowed_nodes),
		cmocka_unit_test(no_fallback_out_of_the_allowed_nodes),
		cmocka_unit_test(full_nodes_fall_back_and_end),
		cmocka_unit_test(an_ended_space),
		cmocka_unit_test(fault_around_needs_a_streak),
		cmocka_unit_test(scattered_touches_get_one_page_each),
		cmocka_unit_test(huge_regions_get_huge_frames),
		cmocka_unit_test(a_huge_frame_meets_a_page),
	};

	test_host_init();
	test_skip_sleeps();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
