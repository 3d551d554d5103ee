/* SPDX-License-Identifier: MIT */
/* Every reason a page can be given by a migration, and what happens to pages while they are away.
 */
#include <errno.h>
#include <string.h>

#include "map/ptable.h"
#include "migrating.h"

static void moved_and_there(void **state)
{
	(void)state;
	begin();
	store(1, 11);
	expect(1, 0, 0, FERRY_REASON_THERE);
	expect(1, 2, 2, FERRY_REASON_MOVED);
	assert_int_equal(rig_node(&rig, 1), 2);
	assert_int_equal(load(1), 11);
	assert_int_equal(rig.books->counters.moved_pages, 1);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void absent_zero_unmapped_unmanaged(void **state)
{
	(void)state;
	begin();
	rig_map_unseen(&rig, 40, 44);
	expect(3, 1, -ENOENT, FERRY_REASON_ABSENT);
	assert_int_equal(load(3), 0);
	expect(3, 1, -EFAULT, FERRY_REASON_ZERO);
	expect(50, 1, -EFAULT, FERRY_REASON_UNMAPPED);
	expect(41, 1, -EBUSY, FERRY_REASON_UNMANAGED);
	end();
}

/* Where pins cannot be seen nothing is moved, and that is not taken for a pin. */
static void nothing_moves_blindly(void **state)
{
	(void)state;
	begin();
	store(1, 11);
	rig.space.blind = 1;
	expect(1, 2, -EBUSY, FERRY_REASON_UNSEEN);
	expect(1, 0, 0, FERRY_REASON_THERE);
	expect(3, 1, -ENOENT, FERRY_REASON_ABSENT);
	rig.space.blind = 0;
	expect(1, 2, 2, FERRY_REASON_MOVED);
	end();
}

static const struct ferry_mmu_ops *settled_ops;
static uint32_t settled;

static void count_settle(struct ferry_mmu *mmu)
{
	(void)mmu;
	/* Nothing is away, and the lock is free. */
	assert_int_equal(rig.space.flight_count, 0);
	assert_true(ferry_lock_try(&rig.space.lock));
	ferry_lock_release(&rig.space.lock);
	settled++;
}

/* What remove() left undone is finished after each batch, and before a fork. */
static void batches_are_settled(void **state)
{
	struct ferry_mmu_ops ops;

	(void)state;
	begin();
	settled = 0;
	settled_ops = rig.space.mmu->ops;
	ops = *settled_ops;
	ops.settle = count_settle;
	rig.space.mmu->ops = &ops;
	store(1, 11);
	expect(1, 2, 2, FERRY_REASON_MOVED);
	assert_true(settled > 0);
	settled = 0;
	assert_int_equal(ferry_space_close_gate(&rig.space), 0);
	assert_int_equal(settled, 1);
	ferry_space_open_gate(&rig.space);
	rig.space.mmu->ops = settled_ops;
	end();
}

static void pinned_until_it_is_not(void **state)
{
	struct ferry_soft_ref pin;

	(void)state;
	begin();
	store(1, 11);
	assert_int_equal(rig_pin(&rig, THREAD, rig_va(&rig, 1), &pin), FERRY_SOFT_DONE);
	expect(1, 2, -EBUSY, FERRY_REASON_PINNED);
	ferry_soft_pin_store(&rig.soft, pin, 8, 12);
	assert_int_equal(load(1), 12);
	ferry_soft_unpin(&rig.soft, pin);
	expect(1, 2, 2, FERRY_REASON_MOVED);
	assert_int_equal(load(1), 12);
	end();
}

static void shared_since_a_fork(void **state)
{
	struct ferry_page_list all = { .move_all = true };
	struct ferry_soft_child child;
	uint64_t value;
	uint8_t reason;

	(void)state;
	begin();
	store(1, 11);
	rig_fork(&rig, THREAD, &child);
	expect(1, 2, -EACCES, FERRY_REASON_SHARED);
	expect(1, 0, 0, FERRY_REASON_THERE); /* on its target: that comes first */
	assert_int_equal(migrate(1, 2, &reason, &all), 2);
	assert_int_equal(reason, FERRY_REASON_MOVED);
	assert_int_equal(load(1), 11);
	store(1, 12);
	assert_true(ferry_soft_child_peek(&child, rig_va(&rig, 1) + 8, &value));
	assert_int_equal(value, 11);
	ferry_soft_child_destroy(&child);
	end();
}

/* The child is gone, and the host refuses the page until it is written to: it is made ours again.
 */
static void shared_no_more(void **state)
{
	struct ferry_soft_child child;

	(void)state;
	begin();
	store(1, 11);
	rig_fork(&rig, THREAD, &child);
	ferry_soft_child_destroy(&child);
	expect(1, 2, 2, FERRY_REASON_MOVED);
	assert_int_equal(load(1), 11);
	end();
}

static const uint32_t readable[] = { FERRY_SOFT_READ, FERRY_SOFT_READ | FERRY_SOFT_EXEC,
				     FERRY_SOFT_RWX };

/* Pages leave mappings that can only be read in a window, and come in by copying. */
static void other_protections(void **state)
{
	int32_t status[4];
	uint8_t reasons[4];

	(void)state;
	for (uint32_t i = 0; i < FERRY_ARRAY_SIZE(readable); i++) {
		bool writable = (readable[i] & FERRY_SOFT_WRITE) != 0;

		begin();
		for (uint32_t page = 1; page < 5; page++)
			store(page, page + 10);
		/* In the middle of a run of pages that are plain. */
		rig_protect(&rig, 2, 4, readable[i]);
		assert_int_equal(rig_move(&rig, 1, 4, 2, status, reasons), 2);
		for (uint32_t page = 1; page < 5; page++) {
			assert_int_equal(status[page - 1], 2);
			assert_int_equal(rig_node(&rig, page), 2);
			assert_int_equal(load(page), page + 10);
		}
		assert_true(rig.books->counters.moved_by_copy >= 2);
		assert_int_equal(rig.check.mmu.ops->access(&rig.check.mmu, rig_va(&rig, 2)),
				 (int)readable[i]);
		assert_int_equal(rig_store(&rig, THREAD, rig_va(&rig, 3) + 8, 1),
				 writable ? FERRY_SOFT_DONE : FERRY_SOFT_SEGV);
		assert_int_equal(rig_check(&rig, true), 0);
		end();
	}
}

/* The steps of a window, counted by the simulated MMU; in one of them the program does something.
 */
static uint32_t steps, do_at;
static bool armed, undone;

static void program_steps(void *context)
{
	uint64_t value = 0;

	(void)context;
	if (!armed || steps++ != do_at)
		return;
	/* Nothing is stored in a page that may only be read, and nothing else is refused. */
	assert_int_not_equal(ferry_soft_store(&rig.soft, THREAD, rig_va(&rig, 1), 4711),
			     FERRY_SOFT_DONE);
	assert_int_not_equal(ferry_soft_load(&rig.soft, OTHER, rig_va(&rig, 2), &value),
			     FERRY_SOFT_SEGV);
	if (undone)
		ferry_soft_protect(&rig.soft, rig_va(&rig, 1), rig_va(&rig, 3), FERRY_SOFT_RW);
}

/* => false: there was no such step. */
static bool access_in_step(uint32_t step, bool undo)
{
	struct rig_options options = {
		.nodes = 3, .capacity = { 100, 100, 100 }, .pages = 64, .step = program_steps,
	};
	bool reached;

	armed = false;
	begin_with(&options);
	rig_map(&rig, 0, 32, 0);
	store(1, 11);
	store(2, 22);
	assert_int_equal(rig_move(&rig, 1, 2, 1, NULL, NULL), 1);
	rig_protect(&rig, 1, 3, FERRY_SOFT_READ);
	steps = 0;
	do_at = step;
	undone = undo;
	armed = true;
	assert_int_equal(rig_move(&rig, 1, 2, 2, NULL, NULL), 2);
	armed = false;
	reached = steps > step;
	while (rig_serve(&rig, FERRY_SOFT_EVENT | FERRY_SOFT_FAULT))
		continue;
	/* A store that was made to wait ends as the protection says; what the program set stays. */
	assert_false(ferry_soft_waits(&rig.soft, THREAD) || ferry_soft_waits(&rig.soft, OTHER));
	assert_int_equal(rig_store(&rig, THREAD, rig_va(&rig, 1), 4711),
			 undo && reached ? FERRY_SOFT_DONE : FERRY_SOFT_SEGV);
	assert_int_equal(load(1), 11);
	assert_int_equal(load(2), 22);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
	return reached;
}

static void accesses_in_a_window(void **state)
{
	uint32_t step;

	(void)state;
	for (step = 0; access_in_step(step, false); step++)
		continue;
	assert_true(step > 10);
	for (step = 0; access_in_step(step, true); step++)
		continue;
}

/* Nobody can see where a page is that nobody can access: it stays, and counts for the other node.
 */
static void no_access(void **state)
{
	uint8_t reason;

	(void)state;
	begin();
	store(1, 11);
	store(2, 22);
	rig_protect(&rig, 1, 3, 0);
	expect(1, 2, 2, FERRY_REASON_MOVED);
	assert_int_equal(rig_node(&rig, 1), 2);
	assert_int_equal(rig_check(&rig, true), 0);
	/* Not where a node is more than a number. */
	ferry_machine_nodes(rig.machine)[2].real_node = 1;
	expect(2, 2, -EBUSY, FERRY_REASON_PROTECTION);
	expect(2, 1, 1, FERRY_REASON_MOVED);
	ferry_machine_nodes(rig.machine)[2].real_node = -1;
	rig_protect(&rig, 1, 3, FERRY_SOFT_RW);
	assert_int_equal(load(1), 11);
	assert_int_equal(migrate(1, 0, &reason, &plain), 0);
	assert_int_equal(load(1), 11);
	assert_int_equal(load(2), 22);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void huge_without_access(void **state)
{
	(void)state;
	begin_huge();
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		store(i, i + 1);
	rig_protect(&rig, 0, FERRY_HUGE_PAGES, 0);
	expect(7, 1, 1, FERRY_REASON_MOVED);
	assert_int_equal(rig_node(&rig, 7), 1);
	rig_protect(&rig, 0, FERRY_HUGE_PAGES, FERRY_SOFT_READ);
	expect(8, 2, 2, FERRY_REASON_MOVED);
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		assert_int_equal(load(i), i + 1);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void keyed_and_locked(void **state)
{
	struct ferry_page_list seed = { .seed = true };
	uint8_t reason;

	(void)state;
	begin();
	store(1, 11);
	rig_protect(&rig, 1, 2, FERRY_SOFT_RW | FERRY_SOFT_KEYED);
	expect(1, 2, -EBUSY, FERRY_REASON_PROTECTION);
	ferry_soft_protect(&rig.soft, rig_va(&rig, 1), rig_va(&rig, 2), FERRY_SOFT_RW);
	ferry_soft_mlock(&rig.soft, rig_va(&rig, 1), rig_va(&rig, 2), true);
	ferry_lock_acquire(&rig.space.lock);
	assert_int_equal(ferry_region_flag(rig.books, rig_va(&rig, 1), rig_va(&rig, 2),
					   FERRY_REGION_LOCKED, 0),
			 0);
	ferry_lock_release(&rig.space.lock);
	assert_int_equal(migrate(1, 2, &reason, &seed), -EPERM);
	assert_int_equal(reason, FERRY_REASON_LOCKED);
	/* Linux moves it, and it stays locked. */
	store(2, 22);
	assert_int_equal(rig_move(&rig, 1, 2, 2, NULL, NULL), 2);
	assert_int_equal(rig_node(&rig, 2), 2);
	assert_true(rig.soft.pages[1].locked && !rig.soft.pages[2].locked);
	assert_int_equal(load(1), 11);
	assert_int_equal(load(2), 22);
	end();
}

static void pages_of_a_thread_stay(void **state)
{
	(void)state;
	begin();
	store(1, 11);
	ferry_lock_acquire(&rig.space.lock);
	assert_int_equal(ferry_space_flag_thread(&rig.space, rig_va(&rig, 1), rig_va(&rig, 2)), 0);
	ferry_lock_release(&rig.space.lock);
	expect(1, 2, -EBUSY, FERRY_REASON_THREAD);
	/* The flag outlives the page. */
	rig_discard(&rig, THREAD, 1, 2, false);
	store(1, 12);
	expect(1, 2, -EBUSY, FERRY_REASON_THREAD);
	end();
}

static void a_full_target(void **state)
{
	struct rig_options options = { .nodes = 2, .capacity = { 100, 3 }, .pages = 32 };
	struct ferry_page pages[8];
	uint32_t moved = 0;

	(void)state;
	begin_with(&options);
	rig_map(&rig, 0, 32, 0);
	for (uint32_t i = 0; i < 8; i++) {
		store(i, i);
		pages[i] = (struct ferry_page){ .va = rig_va(&rig, i), .target = 1 };
	}
	assert_int_equal(migrate_pages(pages, 8, &plain), 5);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(load(i), i);
		assert_int_equal(rig_node(&rig, i), pages[i].status == 1 ? 1 : 0);
		if (pages[i].status == -ENOMEM)
			assert_int_equal(pages[i].reason, FERRY_REASON_FULL);
		moved += pages[i].status == 1;
	}
	assert_int_equal(moved, 3);
	/* Room again: the rest may come as far as it goes. */
	expect(0, 0, 0, pages[0].status == 1 ? FERRY_REASON_MOVED : FERRY_REASON_THERE);
	end();
}

/* --- what happens while a page is away -------------------------------------------------------- */

static uint8_t second_reason;
static int32_t second_status;

static void move_it_too(void)
{
	second_status = migrate(1, 1, &second_reason, &plain);
}

static void another_mover_has_it(void **state)
{
	(void)state;
	begin();
	store(1, 11);
	meanwhile = move_it_too;
	expect(1, 2, 2, FERRY_REASON_MOVED);
	assert_int_equal(second_status, -EBUSY);
	assert_int_equal(second_reason, FERRY_REASON_BUSY);
	assert_int_equal(load(1), 11);
	end();
}

static void discard_it(void)
{
	rig_discard(&rig, THREAD, 1, 2, false);
}

static void discarded_on_the_way(void **state)
{
	(void)state;
	begin();
	store(1, 11);
	meanwhile = discard_it;
	expect(1, 2, -ENOENT, FERRY_REASON_VANISHED);
	assert_int_equal(load(1), 0);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void discard_and_store(void)
{
	rig_discard(&rig, THREAD, 1, 2, false);
	store(1, 12);
}

/* A new page at the same address is another page: it is not moved, and not overwritten. */
static void discarded_and_new_on_the_way(void **state)
{
	(void)state;
	begin();
	store(1, 11);
	meanwhile = discard_and_store;
	expect(1, 2, -ENOENT, FERRY_REASON_VANISHED);
	assert_int_equal(load(1), 12);
	assert_int_equal(rig_node(&rig, 1), 0);
	end();
}

static void unmap_it(void)
{
	rig_unmap(&rig, THREAD, 0, 4);
}

static void unmapped_on_the_way(void **state)
{
	(void)state;
	begin();
	store(1, 11);
	store(5, 55);
	meanwhile = unmap_it;
	expect(1, 2, -ENOENT, FERRY_REASON_VANISHED);
	expect(1, 2, -EFAULT, FERRY_REASON_UNMAPPED);
	assert_int_equal(load(5), 55);
	end();
}

static void remap_it(void)
{
	assert_int_equal(rig_remap(&rig, THREAD, 0, 40, 4), 0);
}

/* It arrives where the program has put it meanwhile. */
static void remapped_on_the_way(void **state)
{
	(void)state;
	begin();
	store(1, 11);
	meanwhile = remap_it;
	expect(1, 2, 2, FERRY_REASON_MOVED);
	assert_int_equal(load(41), 11);
	assert_int_equal(rig_node(&rig, 41), 2);
	assert_int_equal(rig_node(&rig, 1), -EFAULT);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static struct ferry_soft_child forked;

static void fork_it(void)
{
	rig_fork(&rig, THREAD, &forked);
}

static void forked_on_the_way(void **state)
{
	uint64_t value = 0;

	(void)state;
	begin();
	store(1, 11);
	store(2, 22);
	meanwhile = fork_it;
	expect(1, 2, 2, FERRY_REASON_MOVED);
	store(1, 12);
	assert_true(ferry_soft_child_peek(&forked, rig_va(&rig, 1) + 8, &value));
	assert_int_equal(value, 11);
	assert_true(ferry_soft_child_peek(&forked, rig_va(&rig, 2) + 8, &value));
	assert_int_equal(value, 22);
	ferry_soft_child_destroy(&forked);
	end();
}

static void protect_it(void)
{
	ferry_soft_protect(&rig.soft, rig_va(&rig, 1), rig_va(&rig, 2), FERRY_SOFT_READ);
}

/* It cannot come in by moving any more: it is copied. */
static void protected_on_the_way(void **state)
{
	(void)state;
	begin();
	store(1, 11);
	meanwhile = protect_it;
	expect(1, 2, 2, FERRY_REASON_MOVED);
	assert_int_equal(rig.books->counters.moved_by_copy, 1);
	assert_int_equal(load(1), 11);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void a_copy_that_fails_goes_home(void **state)
{
	uint8_t reason;

	(void)state;
	begin();
	store(1, 11);
	ferry_mmu_inject_plan(&rig.inject, FERRY_OP_COPY_FRAME, 1, true, -EIO);
	assert_int_equal(migrate(1, 2, &reason, &plain), -EBUSY);
	ferry_mmu_inject_plan(&rig.inject, 0, 0, false, 0);
	assert_int_equal(rig_node(&rig, 1), 0);
	assert_int_equal(load(1), 11);
	assert_int_equal(rig_check(&rig, true), 0);
	expect(1, 2, 2, FERRY_REASON_MOVED);
	end();
}

static void end_it(void)
{
	ferry_soft_end(&rig.soft);
}

static void the_program_ends_on_the_way(void **state)
{
	struct ferry_page pages[2];

	(void)state;
	begin();
	store(1, 11);
	pages[0] = (struct ferry_page){ .va = rig_va(&rig, 1), .target = 2 };
	pages[1] = (struct ferry_page){ .va = rig_va(&rig, 9), .target = 2 };
	meanwhile = end_it;
	assert_int_equal(migrate_pages(pages, 2, &plain), -ESRCH);
	assert_int_equal(pages[0].status, -ENOENT);
	assert_int_equal(pages[1].status, -ENOENT);
	assert_int_equal(rig_check(&rig, false), 0);
	assert_int_equal(migrate_pages(pages, 2, &plain), -ESRCH);
	rig_abandon(&rig);
}

/* --- batches ------------------------------------------------------------------------------ */

static struct ferry_soft_ref pin_of_page;

static void another_page(void)
{
	ferry_soft_unpin(&rig.soft, pin_of_page);
	rig_discard(&rig, OTHER, 1, 2, false);
	store(1, 99);
}

static void another_mapping(void)
{
	ferry_soft_unpin(&rig.soft, pin_of_page);
	rig_unmap(&rig, OTHER, 1, 2);
	rig_map(&rig, 1, 2, 0);
	store(1, 99);
}

/* The address of a pinned page has another page by the time it is tried again: that one stays. */
static void a_new_page_at_the_address_stays(void **state)
{
	void (*const ways[])(void) = { another_page, another_mapping };

	(void)state;
	for (size_t way = 0; way < FERRY_ARRAY_SIZE(ways); way++) {
		struct ferry_page pages[2];

		begin();
		for (uint32_t i = 0; i < 2; i++) {
			store(i, i + 1);
			pages[i] = (struct ferry_page){ .va = rig_va(&rig, i), .target = 2 };
		}
		assert_int_equal(rig_pin(&rig, THREAD, rig_va(&rig, 1), &pin_of_page),
				 FERRY_SOFT_DONE);
		meanwhile = ways[way];
		assert_int_equal(migrate_pages(pages, 2, &plain), 0);
		assert_int_equal(pages[0].status, 2);
		assert_int_equal(pages[1].status, -ENOENT);
		assert_int_equal(pages[1].reason, FERRY_REASON_VANISHED);
		assert_int_equal(rig_node(&rig, 1), 0);
		assert_int_equal(load(1), 99);
		expect(1, 2, 2, FERRY_REASON_MOVED);
		end();
	}
}

static bool stop_after_some(void *context, size_t done)
{
	*(size_t *)context = done;
	return done > 0;
}

static void stops_where_it_is_told(void **state)
{
	struct ferry_page pages[32];
	size_t done = 0;
	struct ferry_page_list options = { .stall_budget_ns = 1,
					   .between = stop_after_some,
					   .context = &done };
	int64_t failed;
	uint32_t moved = 0;

	(void)state;
	begin();
	for (uint32_t i = 0; i < 32; i++) {
		store(i, i);
		pages[i] = (struct ferry_page){ .va = rig_va(&rig, i), .target = 1 };
	}
	/* Two lists: the first batch is large, for nothing is known yet of how long a page takes.
	 */
	failed = migrate_pages(pages, 2, &options);
	assert_true(done > 0);
	for (uint32_t i = 0; i < 2; i++)
		moved += pages[i].status == 1;
	assert_true(moved > 0);
	assert_int_equal(failed, 2 - moved);
	for (uint32_t i = 0; i < 2; i++)
		assert_true(pages[i].status == 1 || pages[i].status == -EBUSY);
	assert_int_equal(migrate_pages(pages, 32, &plain), 0);
	for (uint32_t i = 0; i < 32; i++) {
		assert_int_equal(pages[i].status, 1);
		assert_int_equal(load(i), i);
	}
	end();
}

static void close_and_open(void)
{
	/* From another thread this would wait for the flight; a try must see that it is away. */
	assert_int_equal(rig.space.flight_count, 1);
	assert_int_equal(rig.space.counts[0].held_pages, 1);
}

static void flights_are_counted(void **state)
{
	(void)state;
	begin();
	store(1, 11);
	meanwhile = close_and_open;
	expect(1, 2, 2, FERRY_REASON_MOVED);
	assert_int_equal(rig.space.flight_count, 0);
	assert_int_equal(ferry_space_close_gate(&rig.space), 0);
	ferry_space_open_gate(&rig.space);
	end();
}

/* Without a keeper: what is on its way arrives, and nothing leaves any more. */
static void a_frozen_space_moves_nothing(void **state)
{
	(void)state;
	begin();
	store(1, 11);
	expect(1, 2, 2, FERRY_REASON_MOVED);
	ferry_space_freeze(&rig.space);
	expect(1, 0, -EBUSY, FERRY_REASON_BUSY);
	assert_int_equal(rig_node(&rig, 1), 2);
	assert_int_equal(load(1), 11);
	store(3, 33);
	assert_int_equal(load(3), 33);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}
static uint32_t removals;

static void count_removals(void *context, enum ferry_mmu_op op, bool after)
{
	(void)context;
	removals += op == FERRY_OP_REMOVE && !after;
}

/* Frames in descending order are a call each on the way out, but for new numbers. */
static void scattered_frames_leave_in_one_call(void **state)
{
	enum { PAGES = 32 };
	struct ferry_page pages[PAGES];
	struct ferry_soft_ref pin;

	(void)state;
	begin();
	for (uint32_t i = PAGES; i-- > 0;)
		store(i, i + 1);
	for (uint32_t i = 0; i < PAGES; i++)
		pages[i] = (struct ferry_page){ .va = rig_va(&rig, i), .target = 2 };
	/* One that stays gives its new number back; it is tried once a pass. */
	assert_int_equal(rig_pin(&rig, THREAD, rig_va(&rig, PAGES - 1), &pin), FERRY_SOFT_DONE);
	removals = 0;
	rig.inject.delay = count_removals;
	assert_int_equal(migrate_pages(pages, PAGES, &plain), 1);
	rig.inject.delay = delay;
	ferry_soft_unpin(&rig.soft, pin);
	assert_in_range(removals, 2, PAGES / 2);
	for (uint32_t i = 0; i < PAGES - 1; i++) {
		assert_int_equal(pages[i].status, 2);
		assert_int_equal(load(i), i + 1);
	}
	assert_int_equal(pages[PAGES - 1].status, -EBUSY);
	assert_int_equal(rig.space.pools[0].taken_pages, 1);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void every_reason_has_words(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < FERRY_REASON_COUNT; i++) {
		assert_true(strlen(ferry_reason_text((enum ferry_reason)i)) > 0);
		for (uint32_t k = 0; k < i; k++)
			assert_string_not_equal(ferry_reason_text((enum ferry_reason)i),
						ferry_reason_text((enum ferry_reason)k));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moved_and_there),
		cmocka_unit_test(absent_zero_unmapped_unmanaged),
		cmocka_unit_test(nothing_moves_blindly),
		cmocka_unit_test(batches_are_settled),
		cmocka_unit_test(pinned_until_it_is_not),
		cmocka_unit_test(shared_since_a_fork),
		cmocka_unit_test(shared_no_more),
		cmocka_unit_test(other_protections),
		cmocka_unit_test(accesses_in_a_window),
		cmocka_unit_test(no_access),
		cmocka_unit_test(huge_without_access),
		cmocka_unit_test(keyed_and_locked),
		cmocka_unit_test(pages_of_a_thread_stay),
		cmocka_unit_test(a_full_target),
		cmocka_unit_test(another_mover_has_it),
		cmocka_unit_test(discarded_on_the_way),
		cmocka_unit_test(discarded_and_new_on_the_way),
		cmocka_unit_test(unmapped_on_the_way),
		cmocka_unit_test(remapped_on_the_way),
		cmocka_unit_test(forked_on_the_way),
		cmocka_unit_test(protected_on_the_way),
		cmocka_unit_test(a_copy_that_fails_goes_home),
		cmocka_unit_test(the_program_ends_on_the_way),
		cmocka_unit_test(a_new_page_at_the_address_stays),
		cmocka_unit_test(stops_where_it_is_told),
		cmocka_unit_test(flights_are_counted),
		cmocka_unit_test(a_frozen_space_moves_nothing),
		cmocka_unit_test(scattered_frames_leave_in_one_call),
		cmocka_unit_test(every_reason_has_words),
	};

	test_host_init();
	test_skip_sleeps();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
