/* SPDX-License-Identifier: MIT */
/* Migrations of 2 MiB frames: whole, split by what happens on their way, and given in parts. */
#include <errno.h>

#include "map/ptable.h"
#include "migrating.h"

static void huge_frames_move_whole(void **state)
{
	uint64_t calls;

	(void)state;
	begin_huge();
	store(5, 5);
	store(511, 511);
	assert_true(ferry_pte_has(ferry_ptable_get(rig.books, rig_va(&rig, 5)), FERRY_PTE_HUGE));
	calls = rig.check.calls;
	expect(7, 1, 1, FERRY_REASON_MOVED);
	assert_true(rig.check.calls - calls < 20);
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		assert_int_equal(rig_node(&rig, i), 1);
	assert_int_equal(rig_node(&rig, 512), -ENOENT);
	assert_int_equal(rig.books->counters.moved_huge, 1);
	assert_int_equal(load(5), 5);
	assert_int_equal(load(511), 511);
	assert_true(ferry_pte_has(ferry_ptable_get(rig.books, rig_va(&rig, 5)), FERRY_PTE_HUGE));
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void discard_a_part(void)
{
	rig_discard(&rig, THREAD, 100, 200, false);
}

static void huge_and_cut_on_the_way(void **state)
{
	uint8_t reason;

	(void)state;
	begin_huge();
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		store(i, i + 1);
	meanwhile = discard_a_part;
	(void)migrate(7, 1, &reason, &plain);
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		assert_int_equal(load(i), i >= 100 && i < 200 ? 0 : i + 1);
	assert_int_equal(rig_check(&rig, true), 0);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(rig_move(&rig, i, 1, 2, NULL, NULL), 2);
	end();
}

static void remap_by_a_page(void)
{
	assert_int_equal(rig_remap(&rig, THREAD, 0, 2 * FERRY_HUGE_PAGES, 300), 0);
}

static void huge_and_torn_on_the_way(void **state)
{
	uint8_t reason;

	(void)state;
	begin_huge();
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		store(i, i + 1);
	meanwhile = remap_by_a_page;
	(void)migrate(7, 1, &reason, &plain);
	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(load(2 * FERRY_HUGE_PAGES + i), i + 1);
	for (uint32_t i = 300; i < FERRY_HUGE_PAGES; i++)
		assert_int_equal(load(i), i + 1);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void protect_a_part(void)
{
	ferry_soft_protect(&rig.soft, rig_va(&rig, 30), rig_va(&rig, 40), FERRY_SOFT_READ);
}

/* Moving it in whole is refused: it comes in page by page, into any protection. */
static void huge_and_protected_on_the_way(void **state)
{
	uint8_t reason;

	(void)state;
	begin_huge();
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		store(i, i + 1);
	meanwhile = protect_a_part;
	assert_int_equal(migrate(7, 1, &reason, &plain), 1);
	assert_int_equal(rig.books->counters.moved_by_copy, FERRY_HUGE_PAGES);
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
		assert_int_equal(load(i), i + 1);
		assert_int_equal(rig_node(&rig, i), 1);
	}
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void remap_whole(void)
{
	assert_int_equal(rig_remap(&rig, THREAD, 0, 2 * FERRY_HUGE_PAGES, FERRY_HUGE_PAGES), 0);
}

static void huge_and_remapped_whole_on_the_way(void **state)
{
	(void)state;
	begin_huge();
	store(5, 6);
	meanwhile = remap_whole;
	expect(7, 1, 1, FERRY_REASON_MOVED);
	assert_int_equal(load(2 * FERRY_HUGE_PAGES + 5), 6);
	assert_int_equal(rig_node(&rig, 2 * FERRY_HUGE_PAGES + 9), 1);
	assert_true(ferry_pte_has(ferry_ptable_get(rig.books, rig_va(&rig, 2 * FERRY_HUGE_PAGES)),
				  FERRY_PTE_HUGE));
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void unmap_whole(void)
{
	rig_unmap(&rig, THREAD, 0, FERRY_HUGE_PAGES);
}

static void huge_and_unmapped_on_the_way(void **state)
{
	(void)state;
	begin_huge();
	store(5, 6);
	meanwhile = unmap_whole;
	expect(7, 1, -ENOENT, FERRY_REASON_VANISHED);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

/* A host that has split the page in the meantime: it moves as 512 small ones. */
static void huge_that_the_host_split(void **state)
{
	struct ferry_soft_child child;
	struct ferry_page pages[FERRY_HUGE_PAGES];

	(void)state;
	begin_huge();
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		store(i, i + 1);
	rig_fork(&rig, THREAD, &child);
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
		store(i, i + 2); /* the copies that the host makes are small */
		pages[i] = (struct ferry_page){ .va = rig_va(&rig, i), .target = 2 };
	}
	ferry_soft_child_destroy(&child);
	assert_int_equal(migrate_pages(pages, FERRY_HUGE_PAGES, &plain), 0);
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
		assert_int_equal(pages[i].status, 2);
		assert_int_equal(load(i), i + 2);
	}
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

/* A huge page that a child shares, but for its first pages: those the host gives, the rest not. */
static void share_all_but(uint32_t own, struct ferry_soft_child *child)
{
	begin_huge();
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		store(i, i + 1);
	rig_fork(&rig, THREAD, child);
	for (uint32_t i = 0; i < own; i++)
		store(i, i + 1001);
}

static void expect_all_but(uint32_t own)
{
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		assert_int_equal(load(i), i < own ? i + 1001 : i + 1);
	assert_int_equal(rig_check(&rig, true), 0);
}

static void a_part_of_a_huge_frame_leaves(void **state)
{
	static const uint32_t parts[] = { 1, 9, FERRY_HUGE_PAGES - 1 };

	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(parts); i++) {
		struct ferry_soft_child child;

		share_all_but(parts[i], &child);
		expect(FERRY_HUGE_PAGES - 1, 2, -EACCES, FERRY_REASON_SHARED);
		expect_all_but(parts[i]);
		expect(0, 1, 1, FERRY_REASON_MOVED);
		expect_all_but(parts[i]);
		ferry_soft_child_destroy(&child);
		end();
	}
}

static struct ferry_soft_child forked;

static void fork_without_waiting(void)
{
	assert_int_equal(ferry_soft_fork(&rig.soft, THREAD, &forked), -EINPROGRESS);
}

static void a_part_forked_on_its_way_home(void **state)
{
	struct ferry_soft_child child;
	uint64_t value;

	(void)state;
	share_all_but(9, &child);
	meanwhile = fork_without_waiting;
	meanwhile_at = FERRY_OP_ENTER_COPY;
	expect(FERRY_HUGE_PAGES - 1, 2, -EACCES, FERRY_REASON_SHARED);
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
		assert_true(ferry_soft_child_peek(&forked, rig_va(&rig, i) + 8, &value));
		assert_int_equal(value, i < 9 ? i + 1001 : i + 1);
	}
	ferry_soft_child_destroy(&forked);
	expect_all_but(9);
	ferry_soft_child_destroy(&child);
	end();
}

static void discard_the_begin(void)
{
	assert_int_equal(ferry_soft_discard(&rig.soft, THREAD, rig.base, rig_va(&rig, 20)),
			 -EINPROGRESS);
}

static void a_part_discarded_on_its_way_home(void **state)
{
	struct ferry_soft_child child;

	(void)state;
	share_all_but(9, &child);
	meanwhile = discard_the_begin;
	meanwhile_at = FERRY_OP_ENTER_COPY;
	expect(FERRY_HUGE_PAGES - 1, 2, -EACCES, FERRY_REASON_SHARED);
	ferry_soft_continue(&rig.soft, THREAD);
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		assert_int_equal(load(i), i < 20 ? 0 : i + 1);
	ferry_soft_child_destroy(&child);
	end();
}

static void a_pin_holds_a_huge_frame(void **state)
{
	struct ferry_soft_ref pin;

	(void)state;
	begin_huge();
	store(5, 5);
	assert_int_equal(rig_pin(&rig, THREAD, rig_va(&rig, 300), &pin), FERRY_SOFT_DONE);
	expect(7, 1, -EBUSY, FERRY_REASON_PINNED);
	ferry_soft_unpin(&rig.soft, pin);
	expect(7, 1, 1, FERRY_REASON_MOVED);
	assert_int_equal(load(5), 5);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(huge_frames_move_whole),
		cmocka_unit_test(huge_and_cut_on_the_way),
		cmocka_unit_test(huge_and_torn_on_the_way),
		cmocka_unit_test(huge_and_protected_on_the_way),
		cmocka_unit_test(huge_and_remapped_whole_on_the_way),
		cmocka_unit_test(huge_and_unmapped_on_the_way),
		cmocka_unit_test(huge_that_the_host_split),
		cmocka_unit_test(a_part_of_a_huge_frame_leaves),
		cmocka_unit_test(a_part_forked_on_its_way_home),
		cmocka_unit_test(a_part_discarded_on_its_way_home),
		cmocka_unit_test(a_pin_holds_a_huge_frame),
	};

	test_host_init();
	test_skip_sleeps();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
