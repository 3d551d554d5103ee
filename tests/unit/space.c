/* SPDX-License-Identifier: MIT */
/* Spaces: adoption, a child's beginning, leases, the gate, and pages that hold a thread. */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "cases.h"
#include "host.h"
#include "map/entry.h"
#include "map/ptable.h"
#include "rig.h"

enum { THREAD = 0, PAGES = 64 };

static struct rig rig, other;

static void begin(struct rig *it, uint64_t capacity)
{
	struct rig_options options = { .nodes = 3,
				       .capacity = { capacity, capacity, capacity },
				       .pages = PAGES };

	rig_begin(it, &options);
	it->space.grace_ns = 0;
}

static void store(struct rig *it, uint32_t page, uint64_t value)
{
	assert_int_equal(rig_store(it, THREAD, rig_va(it, page), value), FERRY_SOFT_DONE);
}

/* Downwards: no streak, so no page is placed ahead. */
static void store_singly(struct rig *it, uint32_t pages)
{
	for (uint32_t i = pages; i-- > 0;)
		store(it, i, i + 1);
}

static uint64_t load(struct rig *it, uint32_t page)
{
	uint64_t value = 4711;

	assert_int_equal(rig_load(it, THREAD, rig_va(it, page), &value), FERRY_SOFT_DONE);
	return value;
}

static int adopt(struct rig *it, uint32_t first, uint32_t end, int local_node)
{
	int err;

	ferry_lock_acquire(&it->space.lock);
	err = ferry_space_adopt(&it->space, rig_va(it, first), rig_va(it, end),
				FERRY_REGION_ADOPTED, local_node);
	ferry_lock_release(&it->space.lock);
	return err;
}

static struct ferry_pte entry(struct rig *it, uint32_t page)
{
	return ferry_ptable_get(it->books, rig_va(it, page));
}

/* --- adoption ----------------------------------------------------------------------------- */

static void what_is_there_is_charged(void **state)
{
	(void)state;
	begin(&rig, 100);
	rig_map_unseen(&rig, 0, 20);
	for (uint32_t i = 0; i < 10; i++)
		store(&rig, i, i + 1);
	(void)load(&rig, 12); /* a zero page */
	assert_int_equal(adopt(&rig, 0, 20, 2), 0);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(rig_node(&rig, i), 2);
	assert_int_equal(rig_node(&rig, 12), -EFAULT);
	assert_int_equal(rig_node(&rig, 15), -ENOENT);
	assert_int_equal(rig.space.pools[2].charged_pages, 10);
	assert_int_equal(ferry_pool_over(&rig.space.pools[2]), 10);
	assert_int_equal(rig.books->counters.adopted_pages, 10);
	ferry_space_settle_leases(&rig.space);
	assert_int_equal(ferry_pool_over(&rig.space.pools[2]), 0);
	assert_int_equal(ferry_machine_nodes(rig.machine)[2].leased_pages, 10);
	/* From now on they are pages like others: they move, and a write to the zero page is seen.
	 */
	assert_int_equal(rig_move(&rig, 0, 10, 1, NULL, NULL), 1);
	store(&rig, 12, 13);
	assert_true(rig_node(&rig, 12) >= 0);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(load(&rig, i), i + 1);
	rig_end(&rig);
}

/* Shared since a fork that nobody told us of: charged once they are the process's own. */
static void what_is_shared_is_not_charged(void **state)
{
	struct ferry_soft_child child;

	(void)state;
	begin(&rig, 100);
	rig_map_unseen(&rig, 0, 20);
	for (uint32_t i = 0; i < 10; i++)
		store(&rig, i, i + 1);
	rig_fork(&rig, THREAD, &child);
	for (uint32_t i = 0; i < 10; i += 3)
		store(&rig, i, i + 1);
	assert_int_equal(adopt(&rig, 0, 20, 2), 0);
	for (uint32_t i = 0; i < 10; i++) {
		assert_int_equal(rig_node(&rig, i), 2);
		assert_int_equal(ferry_pte_has(entry(&rig, i), FERRY_PTE_COW), i % 3 != 0);
	}
	assert_int_equal(rig.space.pools[2].charged_pages, 4);
	assert_int_equal(rig.space.cow_pages, 6);
	for (uint32_t i = 0; i < 10; i++)
		store(&rig, i, i + 2);
	ferry_lock_acquire(&rig.space.lock);
	assert_int_equal(ferry_space_reconcile(&rig.space, rig_va(&rig, 0), rig_va(&rig, 20), -1),
			 0);
	ferry_lock_release(&rig.space.lock);
	assert_int_equal(rig.space.pools[2].charged_pages, 10);
	assert_int_equal(rig.space.cow_pages, 0);
	ferry_space_settle_leases(&rig.space);
	assert_int_equal(rig_check(&rig, true), 0);
	ferry_soft_child_destroy(&child);
	rig_end(&rig);
}

static void files_cannot_be_adopted(void **state)
{
	(void)state;
	begin(&rig, 100);
	assert_int_equal(
		ferry_soft_map(&rig.soft, rig_va(&rig, 0), rig_va(&rig, 4), FERRY_SOFT_RW, true),
		0);
	assert_int_equal(adopt(&rig, 0, 4, -1), -EINVAL);
	assert_int_equal(rig.books->region_count, 0);
	rig_end(&rig);
}

static void adoption_fills_nodes_in_order(void **state)
{
	uint32_t on[3] = { 0 };

	(void)state;
	begin(&rig, 20);
	rig_map_unseen(&rig, 0, 50);
	for (uint32_t i = 0; i < 50; i++)
		store(&rig, i, i + 1);
	for (uint32_t i = 0; i < 50; i += 5)
		assert_int_equal(adopt(&rig, i, i + 5, 0), 0);
	for (uint32_t i = 0; i < 50; i++)
		on[rig_node(&rig, i)]++;
	assert_int_equal(on[0], 20);
	assert_int_equal(on[1], 20);
	assert_int_equal(on[2], 10);
	rig_end(&rig);
}

/* --- nodes that stand for nodes of the host ------------------------------------------------- */

/* The host has page i on node i % 3, and will not move it. */
static uint32_t where_it_is(struct ferry_mmu *mmu, ferry_va va, uint32_t node)
{
	(void)mmu;
	(void)node;
	return (uint32_t)((va - rig.base) >> FERRY_PAGE_SHIFT) % 3;
}

static void pages_are_booked_where_they_are(void **state)
{
	const struct ferry_mmu_ops *plain;
	struct ferry_mmu_ops ops;

	(void)state;
	begin(&rig, 100);
	plain = rig.space.mmu->ops;
	ops = *plain;
	ops.locate = where_it_is;
	rig.space.mmu->ops = &ops;
	rig.space.mmu->caps.real_nodes = true;
	rig_map_unseen(&rig, 0, 30);
	for (uint32_t i = 0; i < 30; i++)
		store(&rig, i, i + 1);
	assert_int_equal(adopt(&rig, 0, 30, 0), 0);
	for (uint32_t i = 0; i < 30; i++)
		assert_int_equal(rig_node(&rig, i), i % 3);
	/* Copies after a fork: the books said node 0. */
	for (uint32_t i = 0; i < 3; i++) {
		struct ferry_pte *slot = ferry_entry_find(&rig.space, rig_va(&rig, i * 3));

		ferry_lock_acquire(&rig.space.lock);
		ferry_entry_forget(&rig.space, slot);
		ferry_entry_set(&rig.space, slot,
				ferry_pte_make(FERRY_PTE_MAPPED,
					       (struct ferry_frame){ .node = 1 },
					       FERRY_PTE_COW | FERRY_PTE_NO_SLOT));
		ferry_entry_own(&rig.space, slot, rig_va(&rig, i * 3));
		assert_int_equal(ferry_pte_frame(*slot).node, 0);
		assert_true(ferry_entry_charged(*slot));
		ferry_lock_release(&rig.space.lock);
	}
	rig.space.mmu->caps.real_nodes = false;
	rig.space.mmu->ops = plain;
	rig_end(&rig);
}

/* --- a child begins ------------------------------------------------------------------------- */

static void copy_parent_to_child(void)
{
	rig_map_unseen(&other, 0, 32);
	for (uint32_t i = 0; i < 32; i++) {
		if (ferry_pte_resident(entry(&rig, i)))
			store(&other, i, i + 1);
	}
}

static void a_child_repeats_its_parent(void **state)
{
	(void)state;
	begin(&rig, 100);
	rig_map(&rig, 0, 32, 0);
	for (uint32_t i = 0; i < 20; i += 2)
		store(&rig, i, i + 1);
	assert_int_equal(rig_move(&rig, 4, 8, 2, NULL, NULL), 2);
	begin(&other, 100);
	copy_parent_to_child();
	ferry_lock_acquire(&other.space.lock);
	assert_int_equal(ferry_space_inherit(&other.space, rig.books), 0);
	ferry_lock_release(&other.space.lock);
	assert_int_equal(other.books->region_count, rig.books->region_count);
	for (uint32_t i = 0; i < 32; i++) {
		struct ferry_pte mine = entry(&other, i), parents = entry(&rig, i);

		assert_int_equal(rig_node(&other, i), rig_node(&rig, i));
		if (!ferry_pte_resident(parents))
			continue;
		assert_true(ferry_pte_has(mine, FERRY_PTE_COW));
		assert_int_equal(ferry_pte_frame(mine).number, ferry_pte_frame(parents).number);
	}
	for (uint32_t node = 0; node < 3; node++)
		assert_int_equal(other.space.pools[node].charged_pages, 0);
	assert_int_equal(other.space.cow_pages, 10);
	/* They have become the child's own: the host says so. */
	ferry_lock_acquire(&other.space.lock);
	assert_int_equal(
		other.check.mmu.ops->arm(&other.check.mmu, rig_va(&other, 0), 32 * FERRY_PAGE_SIZE),
		0);
	assert_int_equal(
		ferry_space_reconcile(&other.space, rig_va(&other, 0), rig_va(&other, 32), -1), 0);
	ferry_lock_release(&other.space.lock);
	assert_int_equal(other.space.cow_pages, 0);
	assert_int_equal(other.books->counters.cow_charged, 10);
	ferry_space_settle_leases(&other.space);
	assert_int_equal(rig_check(&other, true), 0);
	assert_int_equal(rig_move(&other, 0, 20, 1, NULL, NULL), 1);
	for (uint32_t i = 0; i < 20; i += 2)
		assert_int_equal(load(&other, i), i + 1);
	rig_end(&other);
	rig_end(&rig);
}

static void what_is_left_shared_is_charged_at_last(void **state)
{
	(void)state;
	begin(&rig, 100);
	rig_map(&rig, 0, 32, 0);
	store_singly(&rig, 10);
	begin(&other, 100);
	copy_parent_to_child();
	ferry_lock_acquire(&other.space.lock);
	assert_int_equal(ferry_space_inherit(&other.space, rig.books), 0);
	ferry_space_own_shared(&other.space);
	ferry_lock_release(&other.space.lock);
	assert_int_equal(other.space.cow_pages, 0);
	assert_int_equal(other.space.pools[0].charged_pages, 10);
	assert_int_equal(rig_check(&other, false), 0);
	rig_abandon(&other);
	rig_end(&rig);
}

/* --- leases ------------------------------------------------------------------------------- */

static void a_refusal_is_not_repeated_at_once(void **state)
{
	(void)state;
	begin(&rig, 100);
	rig.refuse = true;
	assert_false(ferry_space_refill(&rig.space, 1, 10));
	assert_true(rig.space.pools[1].dry_until_ns > ferry_os->now_ns());
	rig.refuse = false;
	assert_true(ferry_space_refill(&rig.space, 1, 10));
	assert_int_equal(rig.space.pools[1].dry_until_ns, 0);
	assert_int_equal(rig.space.pools[1].leased_pages, 10);
	rig_end(&rig);
}

static void much_more_than_needed_goes_back(void **state)
{
	uint64_t before, after;

	(void)state;
	begin(&rig, 100000);
	assert_true(ferry_space_refill(&rig.space, 1, 50000));
	before = ferry_machine_nodes(rig.machine)[1].leased_pages;
	for (uint32_t i = 0; i < 40; i++)
		ferry_space_settle_leases(&rig.space);
	after = ferry_machine_nodes(rig.machine)[1].leased_pages;
	assert_int_equal(before, 50000);
	assert_true(after < 10000);
	assert_int_equal(after, rig.space.pools[1].leased_pages);
	rig_end(&rig);
}

static void leases_can_be_recalled(void **state)
{
	uint64_t got;

	(void)state;
	begin(&rig, 100);
	rig_map(&rig, 0, 32, 0);
	store_singly(&rig, 10);
	assert_int_equal(rig_move(&rig, 0, 10, 1, NULL, NULL), 1); /* node 0 has free frames */
	ferry_lock_acquire(&rig.space.lock);
	got = ferry_space_shrink(&rig.space, 0, 1000);
	ferry_lock_release(&rig.space.lock);
	rig.space.host.give_back(rig.space.host.context, 0, got);
	assert_true(got >= 10);
	assert_int_equal(rig.space.pools[0].leased_pages, 0);
	assert_int_equal(rig.space.pools[0].filled_pages, 0);
	assert_int_equal(rig_check(&rig, true), 0);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(load(&rig, i), i + 1);
	rig_end(&rig);
}

/* --- the gate, and threads ------------------------------------------------------------------ */

static void the_gate_nests(void **state)
{
	(void)state;
	begin(&rig, 100);
	assert_int_equal(ferry_space_close_gate(&rig.space), 0);
	assert_int_equal(ferry_space_close_gate(&rig.space), 0);
	assert_int_equal(rig.space.gate, 2);
	ferry_space_open_gate(&rig.space);
	assert_int_equal(rig.space.gate, 1);
	ferry_space_open_gate(&rig.space);
	assert_int_equal(rig.space.gate, 0);
	rig_end(&rig);
}

/* A page that is away, with nobody working on it: the gate brings it home. */
static void make_one_held(void)
{
	/* Each third touch places another page ahead; one of the two is used. */
	for (uint32_t i = 0; i < 3; i++) {
		store(&rig, 17 + i, 18 + i);
		store(&rig, 30 + i, 31 + i);
	}
	store(&rig, 20, 21);
	ferry_mmu_inject_plan(&rig.inject, FERRY_OP_ENTER, 1, true, -EAGAIN);
	ferry_lock_acquire(&rig.space.lock);
	assert_true(ferry_space_reclaim_ahead(&rig.space, 100) > 0);
	ferry_lock_release(&rig.space.lock);
	ferry_mmu_inject_plan(&rig.inject, 0, 0, false, 0);
	assert_int_equal(ferry_pte_state(entry(&rig, 20)), FERRY_PTE_HELD);
	assert_int_equal(rig.space.idle_held, 1);
}

static void begin_with_one_held(void)
{
	begin(&rig, 1000);
	rig_map(&rig, 0, PAGES, 0);
	assert_true(ferry_space_refill(&rig.space, 0, 500));
	make_one_held();
}

static void the_gate_brings_pages_home(void **state)
{
	(void)state;
	begin_with_one_held();
	assert_int_equal(ferry_space_close_gate(&rig.space), 0);
	assert_int_equal(rig.space.idle_held, 0);
	assert_int_equal(ferry_pte_state(entry(&rig, 20)), FERRY_PTE_MAPPED);
	ferry_space_open_gate(&rig.space);
	assert_int_equal(load(&rig, 20), 21);
	rig_end(&rig);
}

static void a_threads_page_comes_home_and_stays(void **state)
{
	(void)state;
	begin_with_one_held();
	ferry_lock_acquire(&rig.space.lock);
	assert_int_equal(
		ferry_space_flag_thread(&rig.space, rig_va(&rig, 20) + 100, rig_va(&rig, 20) + 200),
		0);
	ferry_lock_release(&rig.space.lock);
	assert_int_equal(ferry_pte_state(entry(&rig, 20)), FERRY_PTE_MAPPED);
	assert_int_equal(rig_move(&rig, 20, 1, 1, NULL, NULL), -EBUSY);
	assert_int_equal(load(&rig, 20), 21);
	assert_int_equal(rig_check(&rig, true), 0);
	rig_end(&rig);
}

static void a_held_page_goes_with_its_mapping(void **state)
{
	(void)state;
	begin_with_one_held();
	assert_int_equal(rig_remap(&rig, THREAD, 18, 40, 4), 0);
	assert_int_equal(ferry_pte_state(entry(&rig, 42)), FERRY_PTE_HELD);
	assert_int_equal(load(&rig, 42), 21);
	rig_end(&rig);
	begin_with_one_held();
	rig_unmap(&rig, THREAD, 18, 24);
	assert_int_equal(rig.space.idle_held, 0);
	assert_int_equal(rig_check(&rig, true), 0);
	rig_end(&rig);
	begin_with_one_held();
	rig_discard(&rig, THREAD, 18, 24, false);
	assert_int_equal(load(&rig, 20), 0);
	rig_end(&rig);
}

static void a_child_gets_held_pages(void **state)
{
	struct ferry_soft_child child;
	uint64_t value = 0;

	(void)state;
	begin_with_one_held();
	rig_fork(&rig, THREAD, &child);
	assert_true(ferry_soft_child_peek(&child, rig_va(&rig, 20), &value));
	assert_int_equal(value, 21);
	ferry_soft_child_destroy(&child);
	rig_end(&rig);
}

/* --- a range that the program manages itself ------------------------------------------------ */

static void what_is_released_is_the_hosts(void **state)
{
	(void)state;
	begin(&rig, 100);
	rig_map(&rig, 0, 20, 0);
	for (uint32_t i = 0; i < 10; i++)
		store(&rig, i, i + 1);
	(void)load(&rig, 12); /* a zero page, write-protected */
	assert_int_equal(rig_move(&rig, 0, 10, 1, NULL, NULL), 1);
	ferry_lock_acquire(&rig.space.lock);
	assert_int_equal(ferry_space_release(&rig.space, rig_va(&rig, 5), rig_va(&rig, 15)), 0);
	ferry_lock_release(&rig.space.lock);
	assert_int_equal(rig.space.pools[1].charged_pages, 5);
	assert_int_equal(rig.books->region_count, 2);
	assert_int_equal(rig_check(&rig, true), 0);
	/* Nobody serves faults there any more, nobody need. */
	store(&rig, 12, 13);
	store(&rig, 14, 15);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(load(&rig, i), i + 1);
	assert_int_equal(rig_node(&rig, 4), 1);
	assert_int_equal(adopt(&rig, 5, 15, 2), 0);
	assert_int_equal(rig_node(&rig, 12), 2);
	assert_int_equal(rig_node(&rig, 9), 2);
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(load(&rig, i), i + 1);
	rig_end(&rig);
}

static void what_is_away_is_not_released(void **state)
{
	(void)state;
	begin_with_one_held();
	ferry_lock_acquire(&rig.space.lock);
	assert_int_equal(ferry_space_release(&rig.space, rig_va(&rig, 0), rig_va(&rig, PAGES)),
			 -EAGAIN);
	ferry_lock_release(&rig.space.lock);
	assert_int_equal(ferry_space_close_gate(&rig.space), 0);
	ferry_lock_acquire(&rig.space.lock);
	assert_int_equal(ferry_space_release(&rig.space, rig_va(&rig, 0), rig_va(&rig, PAGES)), 0);
	ferry_lock_release(&rig.space.lock);
	ferry_space_open_gate(&rig.space);
	assert_int_equal(rig.books->region_count, 0);
	assert_int_equal(load(&rig, 20), 21);
	rig_end(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_there_is_charged),
		cmocka_unit_test(what_is_shared_is_not_charged),
		cmocka_unit_test(files_cannot_be_adopted),
		cmocka_unit_test(adoption_fills_nodes_in_order),
		cmocka_unit_test(pages_are_booked_where_they_are),
		cmocka_unit_test(a_child_repeats_its_parent),
		cmocka_unit_test(what_is_left_shared_is_charged_at_last),
		cmocka_unit_test(a_refusal_is_not_repeated_at_once),
		cmocka_unit_test(much_more_than_needed_goes_back),
		cmocka_unit_test(leases_can_be_recalled),
		cmocka_unit_test(the_gate_nests),
		cmocka_unit_test(the_gate_brings_pages_home),
		cmocka_unit_test(a_threads_page_comes_home_and_stays),
		cmocka_unit_test(a_held_page_goes_with_its_mapping),
		cmocka_unit_test(a_child_gets_held_pages),
		cmocka_unit_test(what_is_released_is_the_hosts),
		cmocka_unit_test(what_is_away_is_not_released),
	};

	test_host_init();
	test_skip_sleeps();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
