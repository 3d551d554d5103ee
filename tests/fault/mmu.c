/* SPDX-License-Identifier: MIT */
/* timeout: 600 */
/*
 * One program, played again and again while the Nth MMU call of a kind fails, or the Nth frame
 * allocation, or the Nth piece of working memory: for all N until none fails, once and for ever.
 * What was stored must be there or the operation must have said no; the books balance; every status
 * is written; and once the failures stop, everything works again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cases.h"
#include "host.h"
#include "rig.h"

enum { PAGES = 48, UNSEEN = 40, THREAD = 0 };

struct plan {
	const char *name;
	uint32_t ops;
	int err;
	bool for_ever;
	bool partly;
	bool alloc;  /* fails allocations of working memory instead */
	bool refuse; /* fails requests for leases instead */
};

static struct world {
	struct rig rig;
	uint64_t values[PAGES];
	bool mapped[PAGES];
	bool huge;
	uint64_t lease_calls, lease_fail_at;
	bool lease_fail_for_ever;
	uint64_t (*lease)(void *context, uint32_t node, uint64_t want, bool force);
} w;

/* --- failing leases ----------------------------------------------------------------------- */

static uint64_t failing_lease(void *context, uint32_t node, uint64_t want, bool force)
{
	uint64_t call = ++w.lease_calls;

	if (!force && w.lease_fail_at != 0 &&
	    (call == w.lease_fail_at || (w.lease_fail_for_ever && call > w.lease_fail_at)))
		return 0;
	return w.lease(context, node, want, force);
}

static void set_failure(const struct plan *plan, uint64_t nth)
{
	if (plan->alloc) {
		test_alloc_fail((uint32_t)nth, plan->for_ever);
	} else if (plan->refuse) {
		w.lease_calls = 0;
		w.lease_fail_at = nth;
		w.lease_fail_for_ever = plan->for_ever;
	} else {
		ferry_mmu_inject_plan(&w.rig.inject, plan->ops, nth, plan->for_ever, plan->err);
		w.rig.inject.partly = plan->partly;
	}
}

static bool has_failed(const struct plan *plan, uint64_t nth)
{
	if (plan->alloc)
		return test_alloc_count() >= nth;
	if (plan->refuse)
		return w.lease_calls >= nth;
	return w.rig.inject.failures > 0;
}

static void stop_failing(void)
{
	test_alloc_fail(0, false);
	w.lease_fail_at = 0;
	ferry_mmu_inject_plan(&w.rig.inject, 0, 0, false, 0);
}

/* --- the program -------------------------------------------------------------------------- */

static ferry_va word_of(uint32_t page)
{
	return rig_va(&w.rig, page) + page % 8 * 512;
}

/* Serves at most some rounds: with failures that last, an access may never get through. */
static bool try_store(uint32_t page, uint64_t value)
{
	enum ferry_soft_result result;

	for (uint32_t rounds = 0; rounds < 50; rounds++) {
		if (ferry_soft_waits(&w.rig.soft, THREAD)) {
			if (!rig_serve(&w.rig, FERRY_SOFT_EVENT | FERRY_SOFT_FAULT))
				break;
			continue;
		}
		result = ferry_soft_store(&w.rig.soft, THREAD, word_of(page), value);
		if (result == FERRY_SOFT_PARKED)
			continue;
		if (result == FERRY_SOFT_DONE)
			w.values[page] = value;
		return result == FERRY_SOFT_DONE;
	}
	/* The thread goes away without its store. */
	ferry_soft_interrupt(&w.rig.soft, THREAD);
	return false;
}

static void try_load(uint32_t page)
{
	enum ferry_soft_result result = FERRY_SOFT_PARKED;
	uint64_t value = 0;

	for (uint32_t rounds = 0; rounds < 50 && result == FERRY_SOFT_PARKED; rounds++) {
		if (!ferry_soft_waits(&w.rig.soft, THREAD))
			result = ferry_soft_load(&w.rig.soft, THREAD, word_of(page), &value);
		else if (!rig_serve(&w.rig, FERRY_SOFT_EVENT | FERRY_SOFT_FAULT))
			break;
	}
	ferry_soft_interrupt(&w.rig.soft, THREAD);
	if (result == FERRY_SOFT_DONE)
		assert_int_equal(value, w.values[page]);
}

/* Takes the mapping that the space has not heard of under management. */
static bool try_adopt(void)
{
	int err;

	ferry_lock_acquire(&w.rig.space.lock);
	err = ferry_space_adopt(&w.rig.space, rig_va(&w.rig, UNSEEN), rig_va(&w.rig, PAGES),
				FERRY_REGION_ADOPTED, -1);
	ferry_lock_release(&w.rig.space.lock);
	return err == 0;
}

static void check_values(void)
{
	for (uint32_t i = 0; i < PAGES; i++) {
		uint64_t value = 4711;

		if (!w.mapped[i])
			continue;
		assert_int_equal(rig_load(&w.rig, THREAD, word_of(i), &value), FERRY_SOFT_DONE);
		assert_int_equal(value, w.values[i]);
	}
}

static void move(uint32_t first, uint32_t count, int32_t node)
{
	int32_t statuses[PAGES];
	uint8_t reasons[PAGES];

	for (uint32_t i = 0; i < count; i++)
		statuses[i] = 4711;
	if (rig_move(&w.rig, first, count, node, statuses, reasons) < 0)
		return; /* no working memory: nothing was moved */
	for (uint32_t i = 0; i < count; i++) {
		assert_true(statuses[i] >= -ENOMEM - 100 && statuses[i] < 3);
		assert_true(reasons[i] < FERRY_REASON_COUNT);
		if (statuses[i] >= 0)
			assert_int_equal(rig_node(&w.rig, first + i), statuses[i]);
	}
}

static void discard(uint32_t first, uint32_t end)
{
	if (ferry_soft_discard(&w.rig.soft, THREAD, rig_va(&w.rig, first), rig_va(&w.rig, end)) ==
	    -EINPROGRESS) {
		while (ferry_soft_waits(&w.rig.soft, THREAD))
			assert_true(rig_serve(&w.rig, FERRY_SOFT_EVENT));
		ferry_soft_continue(&w.rig.soft, THREAD);
	}
	for (uint32_t i = first; i < end; i++)
		w.values[i] = 0;
}

static void fork(void)
{
	struct ferry_soft_child child;

	if (ferry_soft_fork(&w.rig.soft, THREAD, &child) == -ENOMEM)
		return; /* the simulated host had no memory for it */
	while (ferry_soft_waits(&w.rig.soft, THREAD))
		assert_true(rig_serve(&w.rig, FERRY_SOFT_EVENT));
	for (uint32_t i = 0; i < PAGES; i++) {
		uint64_t value;

		if (!w.mapped[i] || w.rig.space.gone || w.rig.soft.gone)
			continue;
		assert_true(ferry_soft_child_peek(&child, word_of(i), &value));
		assert_int_equal(value, w.values[i]);
	}
	ferry_soft_child_destroy(&child);
}

static void remap(void)
{
	if (rig_remap(&w.rig, THREAD, 0, 32, 8) != 0)
		return;
	for (uint32_t i = 0; i < 8; i++) {
		w.values[32 + i] = w.values[i]; /* page % 8 is the same */
		w.mapped[32 + i] = true;
		w.mapped[i] = false;
	}
}

static void play(void)
{
	for (uint32_t i = 0; i < 24; i++)
		try_store(i, 100 + i);
	for (uint32_t i = 18; i < 30; i++)
		try_load(i);
	for (uint32_t i = 26; i < 30; i++)
		try_store(i, 150 + i);
	for (uint32_t i = UNSEEN; i < UNSEEN + 4; i++)
		try_store(i, 160 + i);
	try_load(UNSEEN + 5);
	try_adopt();
	move(0, 24, 1);
	for (uint32_t i = 0; i < 24; i += 3)
		try_store(i, 200 + i);
	move(0, 32, 2);
	discard(4, 7);
	fork();
	for (uint32_t i = 0; i < 28; i += 2)
		try_store(i, 300 + i);
	remap();
	move(0, PAGES, 0);
	ferry_soft_protect(&w.rig.soft, rig_va(&w.rig, 8), rig_va(&w.rig, 12), FERRY_SOFT_READ);
	move(6, 10, 1);
	ferry_soft_protect(&w.rig.soft, rig_va(&w.rig, 8), rig_va(&w.rig, 12), FERRY_SOFT_RW);
	ferry_space_settle_leases(&w.rig.space);
	for (uint32_t i = 12; i < PAGES; i += 2) {
		if (w.mapped[i])
			try_store(i, 400 + i);
	}
}

/* A huge frame: filled, moved whole, split by a discard while it is on no way, moved in parts. */
static void play_huge(void)
{
	uint64_t value = 0;

	try_store(0, 1);
	if (w.values[0] == 0)
		return;
	move(0, PAGES, 1);
	move(0, PAGES, 0);
	discard(4, 6);
	move(0, PAGES, 2);
	assert_int_equal(rig_load(&w.rig, THREAD, word_of(0), &value), FERRY_SOFT_DONE);
}

static void begin(bool huge)
{
	struct rig_options options = {
		.nodes = 3,
		.capacity = { 60, 60, 60 },
		.pages = PAGES,
		.slots = 1024,
		.lease_step = 8,
	};

	memset(&w, 0, sizeof(w));
	w.huge = huge;
	if (huge) {
		options.huge = true;
		options.pages = FERRY_HUGE_PAGES;
		options.slots = 2048;
		options.lease_step = 0;
		options.capacity[0] = options.capacity[1] = options.capacity[2] = 2048;
	}
	rig_begin(&w.rig, &options);
	w.rig.space.grace_ns = 0;
	w.rig.gives_up = true;
	w.lease = w.rig.space.host.lease;
	w.rig.space.host.lease = failing_lease;
	rig_map(&w.rig, 0, huge ? options.pages : 32, huge ? FERRY_REGION_HUGE : 0);
	for (uint32_t i = 0; i < 32; i++)
		w.mapped[i] = true;
	for (uint32_t i = 32; i < PAGES; i++)
		w.mapped[i] = huge || i >= UNSEEN;
	if (!huge)
		rig_map_unseen(&w.rig, UNSEEN, PAGES);
}

/* After the failures: all there, all of it moves, and the books balance. */
static void recover(void)
{
	ferry_va cursor = 0;

	stop_failing();
	w.rig.gives_up = false;
	for (uint32_t node = 0; node < 3; node++)
		w.rig.space.pools[node].dry_until_ns = 0;
	if (!w.rig.soft.gone) {
		check_values();
		assert_true(w.huge || try_adopt());
		ferry_lock_acquire(&w.rig.space.lock);
		while (ferry_space_reconcile_slice(&w.rig.space, &cursor, -1) > 0)
			continue;
		ferry_lock_release(&w.rig.space.lock);
		for (uint32_t i = 0; i < PAGES; i++) {
			if (!w.mapped[i])
				continue;
			assert_true(try_store(i, 1000 + i));
			assert_int_equal(rig_move(&w.rig, i, 1, 1, NULL, NULL), 1);
			assert_int_equal(rig_move(&w.rig, i, 1, 2, NULL, NULL), 2);
		}
		check_values();
		rig_end(&w.rig);
	} else {
		rig_abandon(&w.rig);
	}
	assert_int_equal(test_alloc_bytes(), 0);
}

static void exhaust(const struct plan *plan, bool huge)
{
	/* Every call; under a sanitizer every eighth. */
	uint64_t stride = 8 / test_amount(8, 8);

	for (uint64_t nth = 1;; nth += stride) {
		bool failed;

		begin(huge);
		set_failure(plan, nth);
		if (huge)
			play_huge();
		else
			play();
		failed = has_failed(plan, nth);
		recover();
		if (!failed) {
			print_message("%-30s %s%s%s: %llu calls\n", plan->name,
				      plan->for_ever ? "for ever" : "once",
				      plan->partly ? ", partly" : "", huge ? ", huge" : "",
				      (unsigned long long)nth - 1);
			return;
		}
	}
}

static const struct plan plans[] = {
	{ .name = "enter -EAGAIN", .ops = FERRY_OP_ENTER, .err = -EAGAIN },
	{ .name = "enter -EBUSY", .ops = FERRY_OP_ENTER, .err = -EBUSY },
	{ .name = "enter -EINVAL", .ops = FERRY_OP_ENTER, .err = -EINVAL },
	{ .name = "enter -ENOMEM", .ops = FERRY_OP_ENTER, .err = -ENOMEM },
	{ .name = "enter, enter_copy -ENOMEM",
	  .ops = FERRY_OP_ENTER | FERRY_OP_ENTER_COPY,
	  .err = -ENOMEM },
	{ .name = "enter_new -EAGAIN", .ops = FERRY_OP_ENTER_NEW, .err = -EAGAIN },
	{ .name = "enter_new -ENOMEM", .ops = FERRY_OP_ENTER_NEW, .err = -ENOMEM },
	{ .name = "enter_new -EBUSY", .ops = FERRY_OP_ENTER_NEW, .err = -EBUSY },
	{ .name = "remove -EBUSY", .ops = FERRY_OP_REMOVE, .err = -EBUSY },
	{ .name = "remove -EINVAL", .ops = FERRY_OP_REMOVE, .err = -EINVAL },
	{ .name = "remove -EAGAIN", .ops = FERRY_OP_REMOVE, .err = -EAGAIN },
	{ .name = "enter_zero -EAGAIN", .ops = FERRY_OP_ENTER_ZERO, .err = -EAGAIN },
	{ .name = "enter_zero -EINVAL", .ops = FERRY_OP_ENTER_ZERO, .err = -EINVAL },
	{ .name = "unprotect -EAGAIN", .ops = FERRY_OP_UNPROTECT, .err = -EAGAIN },
	{ .name = "lookup -EIO", .ops = FERRY_OP_LOOKUP, .err = -EIO },
	{ .name = "fill -ENOMEM", .ops = FERRY_OP_FILL, .err = -ENOMEM },
	{ .name = "copy_frame -EIO", .ops = FERRY_OP_COPY_FRAME, .err = -EIO },
	{ .name = "arm -ENOMEM", .ops = FERRY_OP_ARM, .err = -ENOMEM },
	{ .name = "working memory", .alloc = true },
	{ .name = "lease", .refuse = true },
};

/* Failures for ever that leave no way on: a page that can be neither moved nor copied in. */
static bool leaves_no_way(const struct plan *plan)
{
	const uint32_t in = FERRY_OP_ENTER | FERRY_OP_ENTER_COPY | FERRY_OP_ENTER_NEW;

	return (plan->ops & in) != 0 && plan->err != -EINVAL;
}

static void run_plans(bool for_ever, bool partly, bool huge)
{
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(plans); i++) {
		struct plan plan = plans[i];

		if (for_ever && leaves_no_way(&plan))
			continue;
		plan.for_ever = for_ever;
		plan.partly = partly;
		exhaust(&plan, huge);
	}
}

static void once(void **state)
{
	(void)state;
	run_plans(false, false, false);
}

static void once_partly(void **state)
{
	(void)state;
	run_plans(false, true, false);
}

static void for_ever(void **state)
{
	(void)state;
	run_plans(true, false, false);
}

static void huge_once(void **state)
{
	(void)state;
	run_plans(false, false, true);
}

static void huge_once_partly(void **state)
{
	(void)state;
	run_plans(false, true, true);
}

static void huge_for_ever(void **state)
{
	(void)state;
	run_plans(true, false, true);
}

/* The address space ends at the Nth call of anything. */
static void ends_anywhere(void **state)
{
	const struct plan plan = {
		.name = "everything -ESRCH",
		.ops = FERRY_OP_ENTER | FERRY_OP_ENTER_COPY | FERRY_OP_ENTER_NEW | FERRY_OP_REMOVE |
		       FERRY_OP_ENTER_ZERO | FERRY_OP_UNPROTECT | FERRY_OP_LOOKUP | FERRY_OP_FILL |
		       FERRY_OP_COPY_FRAME | FERRY_OP_ARM,
		.err = -ESRCH,
		.for_ever = true,
	};

	(void)state;
	for (uint64_t nth = 1;; nth++) {
		bool failed;

		begin(false);
		set_failure(&plan, nth);
		play();
		failed = has_failed(&plan, nth);
		if (failed) {
			/* Nothing hangs, nothing is answered wrongly, and the frames can be
			 * counted. */
			assert_int_equal(rig_check(&w.rig, false), 0);
			ferry_soft_end(&w.rig.soft);
			rig_abandon(&w.rig);
			continue;
		}
		recover();
		return;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(once),          cmocka_unit_test(once_partly),
		cmocka_unit_test(for_ever),      cmocka_unit_test(huge_once),
		cmocka_unit_test(huge_for_ever), cmocka_unit_test(huge_once_partly),
		cmocka_unit_test(ends_anywhere),
	};

	test_host_init();
	test_skip_sleeps();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
