/* SPDX-License-Identifier: MIT */
/* inject.c - see inject.h. */
#include <errno.h>
#include <string.h>

#include "mmu/inject.h"

static struct ferry_mmu_inject *inject_of(struct ferry_mmu *mmu)
{
	return (struct ferry_mmu_inject *)mmu;
}

static void delay(struct ferry_mmu_inject *inject, enum ferry_mmu_op op, bool after)
{
	if (inject->delay != NULL)
		inject->delay(inject->context, op, after);
}

/* Counts a call. => it has to fail. */
static bool has_to_fail(struct ferry_mmu_inject *inject, enum ferry_mmu_op op)
{
	uint64_t call;

	delay(inject, op, false);
	if ((inject->ops & (uint32_t)op) == 0)
		return false;
	call = __atomic_add_fetch(&inject->calls, 1, __ATOMIC_RELAXED);
	if (inject->nth == 0 || call < inject->nth || (call > inject->nth && !inject->for_ever))
		return false;
	__atomic_fetch_add(&inject->failures, 1, __ATOMIC_RELAXED);
	return true;
}

/* An operation on a range that fails on purpose, in its middle where that is wanted and allowed. */
static int fail_range(struct ferry_mmu_inject *inject, ferry_mmu_range_op *call,
		      const struct ferry_mmu_range *range, uint32_t *done)
{
	int err = 0;

	*done = 0;
	if (inject->partly && range->pages > 1)
		err = call(inject->below, range->va, range->frame, range->pages / 2, done);
	return err != 0 ? err : inject->err;
}

static int on_range(struct ferry_mmu *mmu, enum ferry_mmu_op op, ferry_mmu_range_op *call,
		    const struct ferry_mmu_range *range, uint32_t *done)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);
	int err;

	if (has_to_fail(inject, op))
		err = fail_range(inject, call, range, done);
	else
		err = call(inject->below, range->va, range->frame, range->pages, done);
	delay(inject, op, true);
	return err;
}

static int inject_enter(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			uint32_t pages, uint32_t *done)
{
	struct ferry_mmu_range range = { va, frame, pages };

	return on_range(mmu, FERRY_OP_ENTER, inject_of(mmu)->below->ops->enter, &range, done);
}

static int inject_enter_copy(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			     uint32_t pages, uint32_t *done)
{
	struct ferry_mmu_range range = { va, frame, pages };

	return on_range(mmu, FERRY_OP_ENTER_COPY, inject_of(mmu)->below->ops->enter_copy, &range,
			done);
}

static int inject_enter_new(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			    uint32_t pages, uint32_t *done)
{
	struct ferry_mmu_range range = { va, frame, pages };

	return on_range(mmu, FERRY_OP_ENTER_NEW, inject_of(mmu)->below->ops->enter_new, &range,
			done);
}

static int inject_remove(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			 uint32_t pages, uint32_t *done)
{
	struct ferry_mmu_range range = { va, frame, pages };

	return on_range(mmu, FERRY_OP_REMOVE, inject_of(mmu)->below->ops->remove, &range, done);
}

static int inject_remove_locked(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
				uint32_t pages, uint32_t *done)
{
	ferry_mmu_range_op *call = inject_of(mmu)->below->ops->remove_locked;
	struct ferry_mmu_range range = { va, frame, pages };

	*done = 0;
	return call == NULL ? -EINVAL : on_range(mmu, FERRY_OP_REMOVE, call, &range, done);
}

static int inject_access(struct ferry_mmu *mmu, ferry_va va)
{
	struct ferry_mmu *below = inject_of(mmu)->below;

	return below->ops->access(below, va);
}

static int inject_enter_zero(struct ferry_mmu *mmu, ferry_va va)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);
	int err = inject->err;

	if (!has_to_fail(inject, FERRY_OP_ENTER_ZERO))
		err = inject->below->ops->enter_zero(inject->below, va);
	delay(inject, FERRY_OP_ENTER_ZERO, true);
	return err;
}

static int inject_unprotect(struct ferry_mmu *mmu, ferry_va va, uint32_t pages)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);
	int err = inject->err;

	if (!has_to_fail(inject, FERRY_OP_UNPROTECT))
		err = inject->below->ops->unprotect(inject->below, va, pages);
	delay(inject, FERRY_OP_UNPROTECT, true);
	return err;
}

static void inject_wake(struct ferry_mmu *mmu, ferry_va va, uint64_t pages)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);

	delay(inject, FERRY_OP_WAKE, false);
	inject->below->ops->wake(inject->below, va, pages);
	delay(inject, FERRY_OP_WAKE, true);
}

static int inject_lookup(struct ferry_mmu *mmu, ferry_va va, uint32_t pages, uint8_t *flags)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);
	int err = inject->err;

	if (!has_to_fail(inject, FERRY_OP_LOOKUP))
		err = inject->below->ops->lookup(inject->below, va, pages, flags);
	delay(inject, FERRY_OP_LOOKUP, true);
	return err;
}

static int inject_present_run(struct ferry_mmu *mmu, ferry_va *start, ferry_va end, ferry_va *stop)
{
	struct ferry_mmu *below = inject_of(mmu)->below;

	return below->ops->present_run == NULL ? -ENOSYS
					       : below->ops->present_run(below, start, end, stop);
}

static int inject_reclaim_exclusive(struct ferry_mmu *mmu, ferry_va va, uint32_t pages)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);
	int err = inject->err;

	if (!has_to_fail(inject, FERRY_OP_RECLAIM))
		err = inject->below->ops->reclaim_exclusive == NULL
			      ? -EINVAL
			      : inject->below->ops->reclaim_exclusive(inject->below, va, pages);
	delay(inject, FERRY_OP_RECLAIM, true);
	return err;
}

static uint32_t inject_locate(struct ferry_mmu *mmu, ferry_va va, uint32_t node)
{
	struct ferry_mmu *below = inject_of(mmu)->below;

	return below->ops->locate == NULL ? node : below->ops->locate(below, va, node);
}

static void inject_settle(struct ferry_mmu *mmu)
{
	struct ferry_mmu *below = inject_of(mmu)->below;

	if (below->ops->settle != NULL)
		below->ops->settle(below);
}

static int inject_fill(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages,
		       uint32_t *done)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);
	int err = inject->err;

	if (has_to_fail(inject, FERRY_OP_FILL)) {
		*done = 0;
		if (inject->partly && pages > 1 && !frame.huge) {
			int real = inject->below->ops->fill(inject->below, frame, pages / 2, done);

			err = real != 0 ? real : err;
		}
	} else {
		err = inject->below->ops->fill(inject->below, frame, pages, done);
	}
	delay(inject, FERRY_OP_FILL, true);
	return err;
}

static void inject_drop(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);

	delay(inject, FERRY_OP_DROP, false);
	inject->below->ops->drop(inject->below, frame, pages);
	delay(inject, FERRY_OP_DROP, true);
}

static int inject_copy_frame(struct ferry_mmu *mmu, struct ferry_frame target,
			     struct ferry_frame source, uint32_t pages)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);
	int err = inject->err;

	if (!has_to_fail(inject, FERRY_OP_COPY_FRAME))
		err = inject->below->ops->copy_frame(inject->below, target, source, pages);
	delay(inject, FERRY_OP_COPY_FRAME, true);
	return err;
}

static void inject_zero_frame(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);

	delay(inject, FERRY_OP_ZERO_FRAME, false);
	inject->below->ops->zero_frame(inject->below, frame, pages);
	delay(inject, FERRY_OP_ZERO_FRAME, true);
}

static bool inject_is_zero(struct ferry_mmu *mmu, struct ferry_frame frame)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);
	bool zero;

	delay(inject, FERRY_OP_IS_ZERO, false);
	zero = inject->below->ops->is_zero(inject->below, frame);
	delay(inject, FERRY_OP_IS_ZERO, true);
	return zero;
}

static int inject_arm(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);
	int err = inject->err;

	if (!has_to_fail(inject, FERRY_OP_ARM))
		err = inject->below->ops->arm(inject->below, start, len_bytes);
	delay(inject, FERRY_OP_ARM, true);
	return err;
}

static int inject_arm_shared(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes)
{
	struct ferry_mmu_inject *inject = inject_of(mmu);
	int err = inject->err;

	if (!has_to_fail(inject, FERRY_OP_ARM))
		err = inject->below->ops->arm_shared(inject->below, start, len_bytes);
	delay(inject, FERRY_OP_ARM, true);
	return err;
}

static int inject_disarm(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes)
{
	struct ferry_mmu *below = inject_of(mmu)->below;

	return below->ops->disarm(below, start, len_bytes);
}

static const struct ferry_mmu_ops inject_ops = {
	.enter = inject_enter,
	.enter_copy = inject_enter_copy,
	.enter_new = inject_enter_new,
	.remove = inject_remove,
	.remove_locked = inject_remove_locked,
	.access = inject_access,
	.enter_zero = inject_enter_zero,
	.unprotect = inject_unprotect,
	.wake = inject_wake,
	.lookup = inject_lookup,
	.present_run = inject_present_run,
	.reclaim_exclusive = inject_reclaim_exclusive,
	.settle = inject_settle,
	.locate = inject_locate,
	.fill = inject_fill,
	.drop = inject_drop,
	.copy_frame = inject_copy_frame,
	.zero_frame = inject_zero_frame,
	.is_zero = inject_is_zero,
	.arm = inject_arm,
	.arm_shared = inject_arm_shared,
	.disarm = inject_disarm,
};

void ferry_mmu_inject_init(struct ferry_mmu_inject *inject, struct ferry_mmu *below)
{
	memset(inject, 0, sizeof(*inject));
	inject->mmu.ops = &inject_ops;
	inject->mmu.caps = below->caps;
	inject->below = below;
}

void ferry_mmu_inject_plan(struct ferry_mmu_inject *inject, uint32_t ops, uint64_t nth,
			   bool for_ever, int err)
{
	inject->ops = ops;
	inject->nth = nth;
	inject->for_ever = for_ever;
	inject->err = err;
	inject->calls = 0;
	inject->failures = 0;
}
