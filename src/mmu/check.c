/* SPDX-License-Identifier: MIT */
/*
 * check.c - see check.h.
 *
 * A mover's copy_frame() runs without the space lock, beside other operations, hence atomic bits.
 * Their order is that of the space lock, or of the mover itself.
 */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "mmu/check.h"

enum { NOT_SET = 0x7fffffff };

static struct ferry_mmu_check *check_of(struct ferry_mmu *mmu)
{
	return (struct ferry_mmu_check *)mmu;
}

/* --- the shadow --------------------------------------------------------------------------- */

static uint64_t *shadow_word(struct ferry_mmu_check *check, struct ferry_frame frame, uint32_t i)
{
	return &check->filled[frame.node * 2u + frame.huge][(frame.number + i) / 64];
}

static bool is_filled(struct ferry_mmu_check *check, struct ferry_frame frame, uint32_t i)
{
	uint64_t word = __atomic_load_n(shadow_word(check, frame, i), __ATOMIC_RELAXED);

	return (word >> ((frame.number + i) % 64) & 1) != 0;
}

static void note(struct ferry_mmu_check *check, struct ferry_frame frame, uint32_t pages,
		 bool filled)
{
	for (uint32_t i = 0; i < pages; i++) {
		uint64_t bit = UINT64_C(1) << ((frame.number + i) % 64);
		uint64_t *word = shadow_word(check, frame, i);

		if (filled)
			__atomic_fetch_or(word, bit, __ATOMIC_RELAXED);
		else
			__atomic_fetch_and(word, ~bit, __ATOMIC_RELAXED);
	}
}

static void assert_all(struct ferry_mmu_check *check, struct ferry_frame frame, uint32_t pages,
		       bool filled)
{
	for (uint32_t i = 0; i < pages; i++)
		FERRY_ASSERT(is_filled(check, frame, i) == filled);
}

/* --- arguments and answers ---------------------------------------------------------------- */

static void assert_frames(struct ferry_mmu_check *check, struct ferry_frame frame, uint32_t pages,
			  bool whole)
{
	FERRY_ASSERT(pages > 0);
	FERRY_ASSERT(frame.node < check->node_count && frame.huge <= 1);
	FERRY_ASSERT((uint64_t)frame.number + pages <= check->slots[frame.node]);
	if (frame.huge && whole)
		FERRY_ASSERT(pages == FERRY_HUGE_PAGES && frame.number % FERRY_HUGE_PAGES == 0);
}

static void assert_address(ferry_va va, struct ferry_frame frame)
{
	FERRY_ASSERT(va == ferry_page_down(va) && va >> FERRY_VA_BITS == 0);
	FERRY_ASSERT(!frame.huge || va == ferry_huge_down(va));
}

static void begin(struct ferry_mmu_check *check)
{
	__atomic_fetch_add(&check->calls, 1, __ATOMIC_RELAXED);
}

static bool is_one_of(int err, const int *errors)
{
	while (*errors != 0) {
		if (*errors++ == err)
			return true;
	}
	return false;
}

/* An answer without a count. errors ends with 0. */
static int answer(struct ferry_mmu_check *check, int err, const int *errors)
{
	FERRY_ASSERT(err == 0 || is_one_of(err, errors));
	/* The space may end while other calls are under way: their answers may still come. */
	if (err == -ESRCH)
		__atomic_store_n(&check->gone, 1, __ATOMIC_RELAXED);
	return err;
}

static void assert_still_gone(uint32_t was_gone, int err)
{
	FERRY_ASSERT(was_gone == 0 || err == -ESRCH);
}

static void assert_done(int err, uint32_t done, uint32_t pages)
{
	FERRY_ASSERT(done != NOT_SET && done <= pages);
	FERRY_ASSERT((err == 0) == (done == pages));
}

static uint32_t gone(struct ferry_mmu_check *check)
{
	return __atomic_load_n(&check->gone, __ATOMIC_RELAXED);
}

/* --- operations --------------------------------------------------------------------------- */

static const int enter_errors[] = {
	-EEXIST, -ENOENT, -EINVAL, -EBUSY, -EAGAIN, -ESRCH, -ENOMEM, 0
};
static const int remove_errors[] = { -EBUSY, -ENOENT, -EINVAL, -EEXIST, -EAGAIN, -ESRCH, 0 };
static const int zero_errors[] = {
	-EEXIST, -ENOENT, -EAGAIN, -ESRCH, -EINVAL, -ESTALE, -ENOMEM, 0
};
static const int unprotect_errors[] = { -ENOENT, -EAGAIN, -ESRCH, 0 };
static const int lookup_errors[] = { -ESRCH, -EIO, 0 };
static const int fill_errors[] = { -ENOMEM, -ESRCH, 0 };
static const int copy_errors[] = { -ENOMEM, -EIO, -ESRCH, 0 };
static const int present_run_errors[] = { -ENOENT, -ENOSYS, 0 };
static const int disarm_errors[] = { -EAGAIN, -ESRCH, 0 };
static const int arm_errors[] = { -EINVAL, -EBUSY, -ENOMEM, -ESRCH, 0 };
static const int arm_shared_errors[] = { -EINVAL, -EPERM, -EBUSY, -ENOMEM, -ESRCH, 0 };

/* An operation on a range: what it says of what was done, and that an end stays an end. */
static int call_range(struct ferry_mmu_check *check, ferry_mmu_range_op *call,
		      const struct ferry_mmu_range *range, uint32_t *done)
{
	uint32_t was_gone = gone(check);
	int err;

	*done = NOT_SET;
	err = call(check->below, range->va, range->frame, range->pages, done);
	assert_done(err, *done, range->pages);
	assert_still_gone(was_gone, err);
	return err;
}

static int check_enter(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame, uint32_t pages,
		       uint32_t *done)
{
	struct ferry_mmu_check *check = check_of(mmu);
	struct ferry_mmu_range range = { va, frame, pages };
	int err;

	begin(check);
	assert_frames(check, frame, pages, true);
	assert_address(va, frame);
	assert_all(check, frame, pages, true);
	err = call_range(check, check->below->ops->enter, &range, done);
	note(check, frame, *done, false);
	return answer(check, err, enter_errors);
}

static int check_enter_copy(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			    uint32_t pages, uint32_t *done)
{
	struct ferry_mmu_check *check = check_of(mmu);
	struct ferry_mmu_range range = { va, frame, pages };
	struct ferry_frame small = { 0, 0, 0 };
	int err;

	begin(check);
	assert_frames(check, frame, pages, false);
	assert_address(va, small);
	assert_all(check, frame, pages, true);
	err = call_range(check, check->below->ops->enter_copy, &range, done);
	return answer(check, err, enter_errors);
}

static int check_enter_new(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			   uint32_t pages, uint32_t *done)
{
	struct ferry_mmu_check *check = check_of(mmu);
	struct ferry_mmu_range range = { va, frame, pages };
	int err;

	begin(check);
	assert_frames(check, frame, pages, true);
	assert_address(va, frame);
	FERRY_ASSERT(!frame.huge);
	assert_all(check, frame, pages, false);
	err = call_range(check, check->below->ops->enter_new, &range, done);
	return answer(check, err, enter_errors);
}

static int check_remove(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			uint32_t pages, uint32_t *done)
{
	struct ferry_mmu_check *check = check_of(mmu);
	struct ferry_mmu_range range = { va, frame, pages };
	int err;

	begin(check);
	assert_frames(check, frame, pages, true);
	assert_address(va, frame);
	assert_all(check, frame, pages, false);
	err = call_range(check, check->below->ops->remove, &range, done);
	note(check, frame, *done, true);
	return answer(check, err, remove_errors);
}

static int check_remove_locked(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			       uint32_t pages, uint32_t *done)
{
	struct ferry_mmu_check *check = check_of(mmu);
	int err = -EINVAL;

	begin(check);
	assert_frames(check, frame, pages, true);
	assert_address(va, frame);
	assert_all(check, frame, pages, false);
	FERRY_ASSERT(!frame.huge);
	*done = check->below->ops->remove_locked != NULL ? NOT_SET : 0;
	if (check->below->ops->remove_locked != NULL)
		err = check->below->ops->remove_locked(check->below, va, frame, pages, done);
	assert_done(err, *done, pages);
	note(check, frame, *done, true);
	return answer(check, err, remove_errors);
}

static int check_access(struct ferry_mmu *mmu, ferry_va va)
{
	struct ferry_mmu_check *check = check_of(mmu);
	struct ferry_frame small = { 0, 0, 0 };
	int access;

	begin(check);
	assert_address(va, small);
	access = check->below->ops->access(check->below, va);
	FERRY_ASSERT(access < 0 ||
		     (access & ~(FERRY_MMU_READ | FERRY_MMU_WRITE | FERRY_MMU_EXECUTE)) == 0);
	return access;
}

static int check_enter_zero(struct ferry_mmu *mmu, ferry_va va)
{
	struct ferry_mmu_check *check = check_of(mmu);
	struct ferry_frame small = { 0, 0, 0 };
	uint32_t was_gone = gone(check);
	int err;

	begin(check);
	assert_address(va, small);
	err = check->below->ops->enter_zero(check->below, va);
	assert_still_gone(was_gone, err);
	return answer(check, err, zero_errors);
}

static int check_unprotect(struct ferry_mmu *mmu, ferry_va va, uint32_t pages)
{
	struct ferry_mmu_check *check = check_of(mmu);
	struct ferry_frame small = { 0, 0, 0 };
	uint32_t was_gone = gone(check);
	int err;

	begin(check);
	assert_address(va, small);
	FERRY_ASSERT(pages > 0);
	err = check->below->ops->unprotect(check->below, va, pages);
	assert_still_gone(was_gone, err);
	return answer(check, err, unprotect_errors);
}

static void check_wake(struct ferry_mmu *mmu, ferry_va va, uint64_t pages)
{
	struct ferry_mmu_check *check = check_of(mmu);
	struct ferry_frame small = { 0, 0, 0 };

	begin(check);
	assert_address(va, small);
	FERRY_ASSERT(pages > 0);
	check->below->ops->wake(check->below, va, pages);
}

static int check_lookup(struct ferry_mmu *mmu, ferry_va va, uint32_t pages, uint8_t *flags)
{
	struct ferry_mmu_check *check = check_of(mmu);
	struct ferry_frame small = { 0, 0, 0 };
	uint32_t was_gone = gone(check);
	int err;

	begin(check);
	assert_address(va, small);
	FERRY_ASSERT(pages > 0);
	err = check->below->ops->lookup(check->below, va, pages, flags);
	assert_still_gone(was_gone, err);
	for (uint32_t i = 0; i < pages && err == 0; i++)
		FERRY_ASSERT(flags[i] == 0 || (flags[i] & FERRY_MMU_PRESENT) != 0);
	return answer(check, err, lookup_errors);
}

static int check_present_run(struct ferry_mmu *mmu, ferry_va *start, ferry_va end, ferry_va *stop)
{
	struct ferry_mmu_check *check = check_of(mmu);
	ferry_va from = *start;
	int err = -ENOSYS;

	begin(check);
	FERRY_ASSERT(from < end && from == ferry_page_down(from));
	if (check->below->ops->present_run != NULL)
		err = check->below->ops->present_run(check->below, start, end, stop);
	FERRY_ASSERT(err != 0 || (*start >= from && *start < *stop && *stop <= end));
	return answer(check, err, present_run_errors);
}

/* Any error of the host will do: the page is as it was then. */
static int check_reclaim_exclusive(struct ferry_mmu *mmu, ferry_va va, uint32_t pages)
{
	struct ferry_mmu_check *check = check_of(mmu);
	struct ferry_frame small = { 0, 0, 0 };

	begin(check);
	assert_address(va, small);
	FERRY_ASSERT(pages > 0);
	if (check->below->ops->reclaim_exclusive == NULL)
		return -EINVAL;
	return check->below->ops->reclaim_exclusive(check->below, va, pages);
}

static uint32_t check_locate(struct ferry_mmu *mmu, ferry_va va, uint32_t node)
{
	struct ferry_mmu *below = check_of(mmu)->below;

	return below->ops->locate == NULL ? node : below->ops->locate(below, va, node);
}

static void check_settle(struct ferry_mmu *mmu)
{
	struct ferry_mmu_check *check = check_of(mmu);

	begin(check);
	if (check->below->ops->settle != NULL)
		check->below->ops->settle(check->below);
}

static int check_fill(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages,
		      uint32_t *done)
{
	struct ferry_mmu_check *check = check_of(mmu);
	int err;

	begin(check);
	assert_frames(check, frame, pages, true);
	assert_all(check, frame, pages, false);
	*done = NOT_SET;
	err = check->below->ops->fill(check->below, frame, pages, done);
	assert_done(err, *done, pages);
	FERRY_ASSERT(!frame.huge || *done == 0 || *done == pages);
	note(check, frame, *done, true);
	return answer(check, err, fill_errors);
}

static void check_drop(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages)
{
	struct ferry_mmu_check *check = check_of(mmu);

	begin(check);
	assert_frames(check, frame, pages, false);
	check->below->ops->drop(check->below, frame, pages);
	note(check, frame, pages, false);
}

static int check_copy_frame(struct ferry_mmu *mmu, struct ferry_frame target,
			    struct ferry_frame source, uint32_t pages)
{
	struct ferry_mmu_check *check = check_of(mmu);
	int err;

	begin(check);
	assert_frames(check, target, pages, false);
	assert_frames(check, source, pages, false);
	FERRY_ASSERT(target.node != source.node || target.huge != source.huge ||
		     target.number >= source.number + pages ||
		     source.number >= target.number + pages);
	assert_all(check, source, pages, true);
	assert_all(check, target, pages, true);
	err = check->below->ops->copy_frame(check->below, target, source, pages);
	assert_all(check, source, pages, true);
	assert_all(check, target, pages, true);
	return answer(check, err, copy_errors);
}

static void check_zero_frame(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages)
{
	struct ferry_mmu_check *check = check_of(mmu);

	begin(check);
	assert_frames(check, frame, pages, true);
	assert_all(check, frame, pages, true);
	check->below->ops->zero_frame(check->below, frame, pages);
}

static bool check_is_zero(struct ferry_mmu *mmu, struct ferry_frame frame)
{
	struct ferry_mmu_check *check = check_of(mmu);

	begin(check);
	assert_frames(check, frame, 1, false);
	assert_all(check, frame, 1, true);
	return check->below->ops->is_zero(check->below, frame);
}

static void begin_span(struct ferry_mmu_check *check, ferry_va start, uint64_t len_bytes)
{
	struct ferry_frame small = { 0, 0, 0 };

	begin(check);
	assert_address(start, small);
	FERRY_ASSERT(len_bytes > 0 && len_bytes % FERRY_PAGE_SIZE == 0);
}

static int check_arm(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes)
{
	struct ferry_mmu_check *check = check_of(mmu);

	begin_span(check, start, len_bytes);
	return answer(check, check->below->ops->arm(check->below, start, len_bytes), arm_errors);
}

static int check_arm_shared(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes)
{
	struct ferry_mmu_check *check = check_of(mmu);

	begin_span(check, start, len_bytes);
	return answer(check, check->below->ops->arm_shared(check->below, start, len_bytes),
		      arm_shared_errors);
}

static int check_disarm(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes)
{
	struct ferry_mmu_check *check = check_of(mmu);

	begin_span(check, start, len_bytes);
	return answer(check, check->below->ops->disarm(check->below, start, len_bytes),
		      disarm_errors);
}

static const struct ferry_mmu_ops check_ops = {
	.enter = check_enter,
	.enter_copy = check_enter_copy,
	.enter_new = check_enter_new,
	.remove = check_remove,
	.remove_locked = check_remove_locked,
	.access = check_access,
	.enter_zero = check_enter_zero,
	.unprotect = check_unprotect,
	.wake = check_wake,
	.lookup = check_lookup,
	.present_run = check_present_run,
	.reclaim_exclusive = check_reclaim_exclusive,
	.settle = check_settle,
	.locate = check_locate,
	.fill = check_fill,
	.drop = check_drop,
	.copy_frame = check_copy_frame,
	.zero_frame = check_zero_frame,
	.is_zero = check_is_zero,
	.arm = check_arm,
	.arm_shared = check_arm_shared,
	.disarm = check_disarm,
};

int ferry_mmu_check_init(struct ferry_mmu_check *check, struct ferry_mmu *below,
			 uint32_t node_count, const uint64_t *slots)
{
	uint64_t words = 0;
	uint64_t *memory;

	memset(check, 0, sizeof(*check));
	for (uint32_t i = 0; i < node_count; i++)
		words += 2 * (slots[i] / 64 + 1);
	check->size_bytes = (words + node_count) * sizeof(uint64_t) +
			    2 * (uint64_t)node_count * sizeof(uint64_t *);
	check->allocation = ferry_os->alloc(check->size_bytes);
	if (check->allocation == NULL)
		return -ENOMEM;
	check->mmu.ops = &check_ops;
	check->mmu.caps = below->caps;
	check->below = below;
	check->node_count = node_count;
	check->filled = check->allocation;
	check->slots = (uint64_t *)(check->filled + (size_t)2 * node_count);
	memory = check->slots + node_count;
	for (uint32_t i = 0; i < 2 * node_count; i++) {
		check->slots[i / 2] = slots[i / 2];
		check->filled[i] = memory;
		memory += slots[i / 2] / 64 + 1;
	}
	return 0;
}

void ferry_mmu_check_destroy(struct ferry_mmu_check *check)
{
	ferry_os->free(check->allocation, check->size_bytes);
	check->allocation = NULL;
}
