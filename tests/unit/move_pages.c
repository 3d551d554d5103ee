/* SPDX-License-Identifier: MIT */
/* The contract of move_pages(): what is returned, what each entry says, and what is left alone. */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "cases.h"
#include "host.h"
#include "map/ptable.h"
#include "rig.h"

enum { THREAD = 0, MAX = 64, UNWRITTEN = 4711 };

static struct rig rig;

/* A call under construction. */
static uint64_t pages[MAX];
static int32_t nodes[MAX], status[MAX];
static uint8_t reasons[MAX];
static struct ferry_move_call call;

static void begin_with(const struct rig_options *options)
{
	rig_begin(&rig, options);
	rig_map(&rig, 0, 32, 0);
}

static void begin(void)
{
	struct rig_options options = { .nodes = 4, .capacity = { 100, 100, 100, 0 }, .pages = 64 };

	begin_with(&options);
}

static void store(uint32_t page)
{
	assert_int_equal(rig_store(&rig, THREAD, rig_va(&rig, page), page + 1), FERRY_SOFT_DONE);
}

static void check(uint32_t page)
{
	uint64_t value = 0;

	assert_int_equal(rig_load(&rig, THREAD, rig_va(&rig, page), &value), FERRY_SOFT_DONE);
	assert_int_equal(value, page + 1);
}

static void start(bool seed)
{
	memset(&call, 0, sizeof(call));
	call.pages = pages;
	call.nodes = nodes;
	call.status = status;
	call.reasons = reasons;
	call.seed = seed;
	for (uint32_t i = 0; i < MAX; i++)
		status[i] = UNWRITTEN;
}

static void add(uint64_t address, int32_t node)
{
	pages[call.count] = address;
	nodes[call.count] = node;
	call.count++;
}

static int64_t go(void)
{
	int64_t result = ferry_move_pages_in(&rig.space, &call);

	assert_int_equal(status[call.count], UNWRITTEN);
	return result;
}

static void all_moved(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < 2; seed++) {
		begin();
		start(seed != 0);
		for (uint32_t i = 0; i < 20; i++) {
			store(i);
			add(rig_va(&rig, i), (int32_t)(i % 3));
		}
		assert_int_equal(go(), 0);
		for (uint32_t i = 0; i < 20; i++) {
			assert_int_equal(status[i], i % 3);
			assert_int_equal(rig_node(&rig, i), i % 3);
			check(i);
		}
		rig_end(&rig);
	}
}

static void nothing_to_move(void **state)
{
	(void)state;
	begin();
	store(1);
	for (uint32_t seed = 0; seed < 2; seed++) {
		start(seed != 0);
		assert_int_equal(go(), seed ? -ENOENT : 0); /* no entries at all */
		add(rig_va(&rig, 1), 0);                    /* there already */
		add(rig_va(&rig, 2), 0);                    /* absent */
		add(rig_va(&rig, 50), 0);                   /* not mapped */
		assert_int_equal(go(), seed ? -ENOENT : 0);
		assert_int_equal(status[0], 0);
		assert_int_equal(status[1], -ENOENT);
		assert_int_equal(status[2], -EFAULT);
	}
	rig_end(&rig);
}

/* All or nothing: the last entry's node is wrong, and the first page stays. */
static void wrong_nodes_move_nothing(void **state)
{
	static const int32_t wrong[] = { 4, 3, -1, INT32_MAX, INT32_MIN, 1024 };

	(void)state;
	begin();
	store(1);
	store(2);
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(wrong); i++) {
		start(i % 2 != 0);
		add(rig_va(&rig, 1), 1);
		add(rig_va(&rig, 2), wrong[i]);
		assert_int_equal(go(), -ENODEV);
		assert_int_equal(rig_node(&rig, 1), 0);
		assert_int_equal(rig_node(&rig, 2), 0);
	}
	rig_end(&rig);
}

/* All or nothing again; the first wrong entry says what is wrong. */
static void nodes_that_may_not_be_used(void **state)
{
	static const struct {
		int32_t nodes[3];
		int64_t result;
	} cases[] = {
		{ { 1, 0, 2 }, -EACCES },  { { 1, 2, 9 }, -EACCES }, { { 1, 9, 2 }, -ENODEV },
		{ { 1, 3, 2 }, -ENODEV },  { { 2, 1, 1 }, -EACCES }, { { 0, 0, 0 }, -ENOENT },
		{ { -1, 2, 1 }, -ENODEV },
	};

	(void)state;
	begin();
	rig.allowed.word[0] = 1 << 0 | 1 << 1 | 1 << 3;
	for (uint32_t page = 0; page < 3; page++)
		store(page);
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(cases); i++) {
		start(true);
		for (uint32_t page = 0; page < 3; page++)
			add(rig_va(&rig, page), cases[i].nodes[page]);
		assert_int_equal(go(), cases[i].result);
		for (uint32_t page = 0; page < 3; page++) {
			assert_int_equal(rig_node(&rig, page), 0);
			assert_int_equal(status[page],
					 cases[i].result == -ENOENT ? 0 : UNWRITTEN);
		}
	}
	/* A page that is there already is no exception, and it can leave. */
	rig.allowed.word[0] = 1 << 1;
	start(true);
	add(rig_va(&rig, 0), 0);
	assert_int_equal(go(), -EACCES);
	nodes[0] = 1;
	assert_int_equal(go(), 0);
	assert_int_equal(status[0], 1);
	rig_end(&rig);
}

static void offline_nodes(void **state)
{
	(void)state;
	begin();
	store(0);
	rig.machine->unusable.word[0] = 1 << 2;
	rig.allowed.word[0] = 1 << 0 | 1 << 1;
	start(true);
	add(rig_va(&rig, 0), 2);
	assert_int_equal(go(), -ENODEV); /* comes first */
	rig.machine->unusable.word[0] = 0;
	assert_int_equal(go(), -EACCES);
	rig.allowed.word[0] = 1 << 2;
	assert_int_equal(go(), 0);
	assert_int_equal(status[0], 2);
	rig_end(&rig);
}

static void take_offline(void *context, enum ferry_mmu_op op, bool after)
{
	(void)context;
	if (op == FERRY_OP_COPY_FRAME && !after)
		rig.machine->unusable.word[0] = 1 << 1;
}

/* The node goes offline while the first batch is on its way: that one arrives, no other does. */
static void a_target_goes_offline(void **state)
{
	uint32_t moved = 0;

	(void)state;
	begin();
	start(true);
	for (uint32_t i = 0; i < 2; i++) {
		store(i);
		add(rig_va(&rig, i), (int32_t)i + 1);
	}
	/* Two targets, one of them in a second batch. */
	call.stall_budget_ns = 1;
	rig.inject.delay = take_offline;
	for (uint32_t i = 0; i < 2; i++)
		pages[i] = rig_va(&rig, i);
	nodes[0] = 2;
	nodes[1] = 1;
	(void)go();
	rig.inject.delay = NULL;
	for (uint32_t i = 0; i < 2; i++) {
		assert_true(status[i] == nodes[i] || status[i] == -ENOMEM);
		moved += status[i] >= 0;
		check(i);
	}
	assert_true(moved > 0);
	start(true);
	add(rig_va(&rig, 0), 1);
	assert_int_equal(go(), -ENODEV);
	rig_end(&rig);
}

static void addresses_are_rounded_and_untagged(void **state)
{
	(void)state;
	begin();
	store(1);
	store(2);
	start(false);
	add(rig_va(&rig, 1) + 4095, 1);
	add(rig_va(&rig, 2) | UINT64_C(0x7f) << 57, 2);
	add(UINT64_C(0x7fffffffffff), 1);
	add(0, 1);
	assert_int_equal(go(), 0);
	assert_int_equal(status[0], 1);
	assert_int_equal(status[1], 2);
	assert_int_equal(status[2], -EFAULT);
	assert_int_equal(status[3], -EFAULT);
	start(false);
	call.nodes = NULL;
	add(rig_va(&rig, 1) + 17, 0);
	add(rig_va(&rig, 2) | UINT64_C(0x7f) << 57, 0);
	assert_int_equal(go(), 0);
	assert_int_equal(status[0], 1);
	assert_int_equal(status[1], 2);
	rig_end(&rig);
}

static void entries_of_one_page_agree(void **state)
{
	(void)state;
	begin();
	store(1);
	store(2);
	store(9);
	start(false);
	add(rig_va(&rig, 9), 1);
	add(rig_va(&rig, 1) + 8, 1);
	add(rig_va(&rig, 2), 2);
	add(rig_va(&rig, 1), 1);
	add(rig_va(&rig, 9) + 9, 0);
	add(rig_va(&rig, 1) + 4000, 2); /* the last one wins */
	assert_int_equal(go(), 0);
	assert_int_equal(status[0], 0);
	assert_int_equal(status[4], 0);
	assert_int_equal(status[1], 2);
	assert_int_equal(status[3], 2);
	assert_int_equal(status[5], 2);
	assert_int_equal(rig_node(&rig, 1), 2);
	assert_int_equal(rig_node(&rig, 9), 0);
	rig_end(&rig);
}

/* Any order, many of them: each entry gets its own page's answer. */
static void order_does_not_matter(void **state)
{
	uint64_t seed = test_seed("move_pages");

	(void)state;
	begin();
	for (uint32_t i = 0; i < 32; i += 2)
		store(i);
	for (uint32_t round = 0; round < 200; round++) {
		int32_t target[32];

		start(false);
		for (uint32_t i = 0; i < MAX - 1; i++) {
			uint32_t page = test_pick(&seed, 32);

			target[page] = (int32_t)test_pick(&seed, 3);
			add(rig_va(&rig, page), target[page]);
		}
		assert_int_equal(go(), 0);
		for (uint32_t i = 0; i < call.count; i++) {
			uint32_t page = (uint32_t)((pages[i] - rig.base) >> FERRY_PAGE_SHIFT);

			assert_int_equal(status[i], page % 2 == 0 ? target[page] : -ENOENT);
			assert_int_equal(rig_node(&rig, page), status[i]);
		}
	}
	for (uint32_t i = 0; i < 32; i += 2)
		check(i);
	rig_end(&rig);
}

static void failures_are_counted(void **state)
{
	struct ferry_soft_ref pin;

	(void)state;
	for (uint32_t seed = 0; seed < 2; seed++) {
		begin();
		for (uint32_t i = 0; i < 5; i++)
			store(i);
		assert_int_equal(rig_pin(&rig, THREAD, rig_va(&rig, 1), &pin), FERRY_SOFT_DONE);
		ferry_soft_protect(&rig.soft, rig_va(&rig, 2), rig_va(&rig, 3),
				   FERRY_SOFT_RW | FERRY_SOFT_KEYED);
		start(seed != 0);
		for (uint32_t i = 0; i < 5; i++)
			add(rig_va(&rig, i), 1);
		add(rig_va(&rig, 1), 1); /* an entry counts in seed, a page in linux */
		add(rig_va(&rig, 10), 1);
		assert_int_equal(go(), seed ? 3 : 2);
		assert_int_equal(status[0], 1);
		assert_int_equal(status[1], -EBUSY);
		assert_int_equal(reasons[1], FERRY_REASON_PINNED);
		assert_int_equal(status[2], -EBUSY);
		assert_int_equal(reasons[2], FERRY_REASON_PROTECTION);
		assert_int_equal(status[3], 1);
		assert_int_equal(status[5], -EBUSY);
		assert_int_equal(status[6], -ENOENT);
		ferry_soft_unpin(&rig.soft, pin);
		rig_end(&rig);
	}
}

static void a_full_target(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < 2; seed++) {
		struct rig_options options = { .nodes = 2, .capacity = { 100, 2 }, .pages = 64 };
		uint32_t moved = 0;

		begin_with(&options);
		start(seed != 0);
		for (uint32_t i = 0; i < 6; i++) {
			store(i);
			add(rig_va(&rig, i), 1);
		}
		assert_int_equal(go(), seed ? 4 : -ENOMEM);
		for (uint32_t i = 0; i < 6; i++) {
			assert_true(status[i] == 1 || status[i] == -ENOMEM);
			moved += status[i] == 1;
			assert_int_equal(rig_node(&rig, i), status[i] == 1);
			check(i);
		}
		assert_int_equal(moved, 2);
		rig_end(&rig);
	}
}

static void a_huge_frame_is_one_unit(void **state)
{
	struct rig_options options = {
		.nodes = 3,
		.capacity = { 2048, 2048, 2048 },
		.pages = 2 * FERRY_HUGE_PAGES,
		.huge = true,
	};
	struct ferry_soft_ref pin;

	(void)state;
	rig_begin(&rig, &options);
	rig_map(&rig, 0, 2 * FERRY_HUGE_PAGES, FERRY_REGION_HUGE);
	store(5);
	store(FERRY_HUGE_PAGES + 5);
	start(false);
	add(rig_va(&rig, 400), 1);
	add(rig_va(&rig, 5), 2);
	add(rig_va(&rig, FERRY_HUGE_PAGES + 1), 1);
	add(rig_va(&rig, 17), 1); /* the last one's target is the frame's */
	assert_int_equal(go(), 0);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(status[i], 1);
	assert_int_equal(rig_node(&rig, 0), 1);
	assert_int_equal(rig_node(&rig, 511), 1);
	check(5);
	check(FERRY_HUGE_PAGES + 5);
	/* Pinned: all entries say so; it counts as one for linux. */
	assert_int_equal(rig_pin(&rig, THREAD, rig_va(&rig, 9), &pin), FERRY_SOFT_DONE);
	start(false);
	add(rig_va(&rig, 400), 2);
	add(rig_va(&rig, 5), 2);
	assert_int_equal(go(), 1);
	assert_int_equal(status[0], -EBUSY);
	assert_int_equal(status[1], -EBUSY);
	ferry_soft_unpin(&rig.soft, pin);
	rig_end(&rig);
}

static void a_query_touches_nothing(void **state)
{
	uint64_t faults, calls;

	(void)state;
	begin();
	store(1);
	faults = rig.books->counters.faults;
	calls = rig.check.calls;
	start(true);
	call.nodes = NULL;
	add(rig_va(&rig, 1), 0);
	add(rig_va(&rig, 2), 0);
	add(rig_va(&rig, 50), 0);
	add(UINT64_MAX, 0);
	assert_int_equal(go(), 0);
	assert_int_equal(status[0], 0);
	assert_int_equal(status[1], -ENOENT);
	assert_int_equal(status[2], -EFAULT);
	assert_int_equal(status[3], -EFAULT);
	assert_int_equal(rig.books->counters.faults, faults);
	assert_int_equal(rig.check.calls, calls);
	rig_end(&rig);
}

static void a_range_query_agrees(void **state)
{
	int32_t range[64];

	(void)state;
	begin();
	for (uint32_t i = 0; i < 32; i += 3)
		store(i);
	for (uint32_t i = 1; i < 32; i += 3) {
		uint64_t value;

		(void)rig_load(&rig, THREAD, rig_va(&rig, i), &value);
	}
	assert_true(rig_move(&rig, 6, 12, 2, NULL, NULL) == 2);
	ferry_query_consecutive(&(struct ferry_query){ rig.books, NULL }, rig_va(&rig, 0), 64,
				range);
	for (uint32_t i = 0; i < 64; i++)
		assert_int_equal(range[i], rig_node(&rig, i));
	assert_int_equal(range[0], 0);
	assert_int_equal(range[1], -EFAULT);
	assert_int_equal(range[2], -ENOENT);
	assert_int_equal(range[6], 2);
	assert_int_equal(range[40], -EFAULT);
	rig_end(&rig);
}

static void no_memory_for_the_call(void **state)
{
	(void)state;
	begin();
	for (uint32_t i = 0; i < 32; i++)
		store(i);
	for (uint32_t nth = 1; nth < 4; nth++) {
		start(false);
		for (uint32_t i = 0; i < 32; i++)
			add(rig_va(&rig, i), (int32_t)(nth % 2));
		test_alloc_fail(nth, true);
		if (go() != 0) {
			for (uint32_t i = 0; i < 32; i++)
				assert_int_equal(rig_node(&rig, i), 0);
		}
		test_alloc_fail(0, false);
	}
	for (uint32_t i = 0; i < 32; i++)
		check(i);
	rig_end(&rig);
}

/* --- ranges ------------------------------------------------------------------------------- */

static struct ferry_range_call range_call(int32_t target)
{
	struct ferry_range_call range = { .start = rig_va(&rig, 0),
					  .end = rig_va(&rig, 64),
					  .target = target };

	ferry_nodeset_fill(&range.from, rig.options.nodes);
	return range;
}

static void a_range_moves_what_is_there(void **state)
{
	struct ferry_range_result result;
	struct ferry_range_call range;

	(void)state;
	begin();
	for (uint32_t i = 20; i-- > 0;)
		store(i); /* downward: nothing is placed ahead */
	assert_int_equal(rig_move(&rig, 0, 5, 2, NULL, NULL), 2);
	range = range_call(1);
	ferry_nodeset_clear(&range.from);
	ferry_nodeset_add(&range.from, 0); /* those on node 2 stay */
	memset(&result, 0, sizeof(result));
	assert_int_equal(ferry_range_count(&(struct ferry_query){ rig.books, NULL }, &range), 15);
	assert_int_equal(ferry_move_range_in(&rig.space, &range, &result), 0);
	assert_int_equal(result.asked_pages, 15);
	assert_int_equal(result.reasons[FERRY_REASON_MOVED], 15);
	assert_false(result.stopped);
	for (uint32_t i = 0; i < 20; i++) {
		assert_int_equal(rig_node(&rig, i), i < 5 ? 2 : 1);
		check(i);
	}
	range = range_call(3);
	assert_int_equal(ferry_move_range_in(&rig.space, &range, &result), -ENODEV);
	range = range_call(-1);
	assert_int_equal(ferry_move_range_in(&rig.space, &range, &result), -ENODEV);
	rig.allowed.word[0] = 1;
	range = range_call(2);
	assert_int_equal(ferry_move_range_in(&rig.space, &range, &result), -EACCES);
	rig.machine->unusable.word[0] = 1 << 2;
	assert_int_equal(ferry_move_range_in(&rig.space, &range, &result), -ENODEV);
	rig_end(&rig);
}

static bool stop_now(void *context, size_t done)
{
	(void)context;
	(void)done;
	return true;
}

static void a_range_can_be_stopped(void **state)
{
	struct ferry_range_result result;
	struct ferry_range_call range;

	(void)state;
	begin();
	for (uint32_t i = 0; i < 20; i++)
		store(i);
	memset(&result, 0, sizeof(result));
	range = range_call(1);
	range.between = stop_now;
	assert_int_equal(ferry_move_range_in(&rig.space, &range, &result), 0);
	assert_true(result.stopped);
	for (uint32_t i = 0; i < 20; i++)
		check(i);
	rig_end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_moved),
		cmocka_unit_test(nothing_to_move),
		cmocka_unit_test(wrong_nodes_move_nothing),
		cmocka_unit_test(nodes_that_may_not_be_used),
		cmocka_unit_test(offline_nodes),
		cmocka_unit_test(a_target_goes_offline),
		cmocka_unit_test(addresses_are_rounded_and_untagged),
		cmocka_unit_test(entries_of_one_page_agree),
		cmocka_unit_test(order_does_not_matter),
		cmocka_unit_test(failures_are_counted),
		cmocka_unit_test(a_full_target),
		cmocka_unit_test(a_huge_frame_is_one_unit),
		cmocka_unit_test(a_query_touches_nothing),
		cmocka_unit_test(a_range_query_agrees),
		cmocka_unit_test(no_memory_for_the_call),
		cmocka_unit_test(a_range_moves_what_is_there),
		cmocka_unit_test(a_range_can_be_stopped),
	};

	test_host_init();
	test_skip_sleeps();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
