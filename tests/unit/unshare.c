/* SPDX-License-Identifier: MIT */
/* Pages that are shared since a fork move for all who share them: who pays, who is asked, when. */
#include <errno.h>
#include <string.h>

#include "map/entry.h"
#include "migrating.h"

enum { MANY = 3 * FERRY_BATCH_MAX, FEW = 20 };

static const struct ferry_page_list all = { .move_all = true };
static const struct ferry_page_list mine = { .move_all = true, .shared_only = true };

static struct ferry_soft_child child;
static struct ferry_page list[MANY];

/* Pages on node 0 that a child shares. charged: they are the parent's; else the child's, found as
 * its agent finds them. capacity: of node 0. */
static void begin_shared(uint32_t pages, uint64_t capacity, bool charged)
{
	struct rig_options options = {
		.nodes = 3,
		.capacity = { capacity, 2 * MANY, 2 * MANY },
		.pages = 2 * MANY,
	};

	begin_with(&options);
	rig.space.grace_ns = 0;
	if (charged)
		rig_map(&rig, 0, 2 * MANY, 0);
	else
		rig_map_unseen(&rig, 0, 2 * MANY);
	for (uint32_t i = pages; i-- > 0;)
		store(i, i + 1);
	rig_fork(&rig, THREAD, &child);
	if (!charged) {
		ferry_lock_acquire(&rig.space.lock);
		assert_int_equal(ferry_space_adopt(&rig.space, rig_va(&rig, 0),
						   rig_va(&rig, 2 * MANY), 0, 0),
				 0);
		ferry_lock_release(&rig.space.lock);
	}
	assert_int_equal(rig.space.pools[0].charged_pages, charged ? pages : 0);
}

static int64_t migrate_all(uint32_t pages, int32_t target, const struct ferry_page_list *options)
{
	for (uint32_t i = 0; i < pages; i++)
		list[i] = (struct ferry_page){ .va = rig_va(&rig, i), .target = target };
	return migrate_pages(list, pages, options);
}

/* Nothing is lost on either side. */
static void end_shared(uint32_t pages)
{
	uint64_t value;

	for (uint32_t i = 0; i < pages; i++) {
		assert_int_equal(load(i), i + 1);
		assert_true(ferry_soft_child_peek(&child, rig_va(&rig, i) + 8, &value));
		assert_int_equal(value, i + 1);
	}
	ferry_soft_child_destroy(&child);
	ferry_space_settle_leases(&rig.space);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void copies_are_charged_and_moved(void **state)
{
	(void)state;
	for (int charged = 0; charged < 2; charged++) {
		begin_shared(MANY, 2 * MANY, charged != 0);
		assert_int_equal(migrate_all(MANY, 1, &plain), 0);
		for (uint32_t i = 0; i < MANY; i++)
			assert_int_equal(list[i].status, -EACCES);
		assert_int_equal(migrate_all(MANY, 1, &all), 0);
		for (uint32_t i = 0; i < MANY; i++) {
			assert_int_equal(list[i].status, 1);
			assert_int_equal(list[i].reason, FERRY_REASON_MOVED);
		}
		assert_int_equal(rig.space.cow_pages, 0);
		assert_int_equal(rig.space.pools[1].charged_pages, MANY);
		assert_int_equal(rig.space.pools[0].charged_pages, 0);
		end_shared(MANY);
	}
}

/* The node of the copies has room for some at a time: that is enough. For none: no page moves. */
static void copies_need_room(void **state)
{
	(void)state;
	begin_shared(FEW, 3, false);
	assert_int_equal(migrate_all(FEW, 1, &all), FEW - 3);
	for (uint32_t i = 0; i < FEW; i++)
		assert_int_equal(list[i].status, i < 3 ? 1 : -ENOMEM);
	/* What moved has left room for others. */
	for (uint32_t had = 3; had < FEW; had += 3)
		assert_int_equal(migrate_all(FEW, 1, &all), FEW - had > 3 ? FEW - had - 3 : 0);
	end_shared(FEW);

	begin_shared(FEW, 3, false);
	for (uint32_t i = 0; i < 3; i++)
		store(MANY + i, 1);
	assert_int_equal(migrate_all(FEW, 1, &all), FEW);
	for (uint32_t i = 0; i < FEW; i++) {
		assert_int_equal(list[i].status, -ENOMEM);
		assert_int_equal(list[i].reason, FERRY_REASON_FULL);
	}
	assert_int_equal(rig.space.cow_pages, FEW);
	end_shared(FEW);
}

/* The program's own writes have copied more than there was room for: that comes first. */
static void what_is_over_comes_first(void **state)
{
	(void)state;
	begin_shared(FEW, 100, false);
	ferry_lock_acquire(&rig.space.lock);
	(void)!ferry_space_shrink(&rig.space, 0, 100);
	ferry_lock_release(&rig.space.lock);
	for (uint32_t i = 0; i < 5; i++)
		store(i, i + 1);
	ferry_lock_acquire(&rig.space.lock);
	assert_int_equal(
		ferry_space_reconcile(&rig.space, rig_va(&rig, 0), rig_va(&rig, FEW), -1), 0);
	ferry_lock_release(&rig.space.lock);
	assert_true(ferry_pool_over(&rig.space.pools[0]) > 0);
	assert_int_equal(migrate_all(FEW, 1, &all), 0);
	end_shared(FEW);
}

/* --- the others --------------------------------------------------------------------------- */

static uint32_t asked, calls;
static bool others_leave;

static void unshare(void *context, const ferry_va *va, const int32_t *target, int32_t *status,
		    uint32_t count)
{
	(void)context;
	assert_true(ferry_lock_try(&rig.space.lock));
	ferry_lock_release(&rig.space.lock);
	calls++;
	for (uint32_t i = 0; i < count; i++, asked++) {
		assert_int_equal(va[i], rig_va(&rig, asked));
		assert_int_equal(target[i], 1);
		assert_int_equal(status[i], 0);
		/* Every third page is too much for somebody. */
		if (!others_leave && asked % 3 == 0)
			status[i] = -ENOMEM;
	}
	if (others_leave)
		ferry_soft_child_destroy(&child);
}

static void begin_asking(uint32_t pages, bool leave)
{
	begin_shared(pages, 2 * MANY, false);
	rig.space.host.unshare = unshare;
	asked = calls = 0;
	others_leave = leave;
}

static void others_are_asked_first(void **state)
{
	(void)state;
	begin_asking(MANY, false);
	assert_int_equal(migrate_all(MANY, 1, &all), MANY / 3);
	for (uint32_t i = 0; i < MANY; i++)
		assert_int_equal(list[i].status, i % 3 == 0 ? -ENOMEM : 1);
	assert_int_equal(asked, MANY);
	assert_int_equal(calls, MANY / FERRY_BATCH_MAX);
	end_shared(MANY);
}

/* Whoever is the last one keeps the page: no copy is made. */
static void the_last_one_makes_no_copy(void **state)
{
	uint32_t free_pages;

	(void)state;
	begin_asking(FEW, true);
	free_pages = rig.soft.free_pages;
	assert_int_equal(migrate_all(FEW, 1, &all), 0);
	assert_int_equal(calls, 1);
	/* The target frames; the sources are free. */
	assert_true(rig.soft.free_pages + FEW >= free_pages);
	for (uint32_t i = 0; i < FEW; i++)
		assert_int_equal(load(i), i + 1);
	ferry_space_settle_leases(&rig.space);
	end();
}

/* For somebody else's call: what is ours alone stays, and nobody is asked in turn. */
static void only_what_is_shared(void **state)
{
	(void)state;
	begin_asking(FEW, false);
	store(3, 4);
	store(7, 8);
	assert_int_equal(migrate_all(FEW, 1, &mine), 0);
	for (uint32_t i = 0; i < FEW; i++)
		assert_int_equal(rig_node(&rig, i), i == 3 || i == 7 ? 0 : 1);
	assert_int_equal(calls, 0);
	end_shared(FEW);
}

/* What cannot be written to cannot be copied that way. */
static void read_only_pages_stay(void **state)
{
	(void)state;
	begin_shared(FEW, 100, true);
	rig_protect(&rig, 4, 6, FERRY_SOFT_READ);
	assert_int_equal(migrate_all(FEW, 1, &all), 2);
	for (uint32_t i = 0; i < FEW; i++)
		assert_int_equal(list[i].status, i == 4 || i == 5 ? -EBUSY : 1);
	rig_protect(&rig, 4, 6, FERRY_SOFT_RW);
	end_shared(FEW);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_are_charged_and_moved),
		cmocka_unit_test(copies_need_room),
		cmocka_unit_test(what_is_over_comes_first),
		cmocka_unit_test(others_are_asked_first),
		cmocka_unit_test(the_last_one_makes_no_copy),
		cmocka_unit_test(only_what_is_shared),
		cmocka_unit_test(read_only_pages_stay),
	};

	test_host_init();
	test_skip_sleeps();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
