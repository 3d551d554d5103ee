/* SPDX-License-Identifier: MIT */
/* migrating.h - what the unit tests of migrations share: a rig, a program's words, expectations. */
#ifndef TESTS_SUPPORT_MIGRATING_H
#define TESTS_SUPPORT_MIGRATING_H

#include "base/os.h"
#include "cases.h"
#include "host.h"
#include "rig.h"

enum { THREAD = 0, OTHER = 1 };

static struct rig rig;
static uint64_t bytes_before;

/* Done once, before the first call of an operation in a migration: of the copy, as a rule, when no
 * lock is held. */
static void (*meanwhile)(void);
static enum ferry_mmu_op meanwhile_at;

static inline void delay(void *context, enum ferry_mmu_op op, bool after)
{
	void (*call)(void) = meanwhile;

	(void)context;
	if (op != meanwhile_at || after || call == NULL)
		return;
	meanwhile = NULL;
	call();
}

static inline void begin_with(const struct rig_options *options)
{
	bytes_before = test_alloc_bytes();
	rig_begin(&rig, options);
	rig.inject.delay = delay;
	meanwhile = NULL;
	meanwhile_at = FERRY_OP_COPY_FRAME;
}

static inline void begin(void)
{
	struct rig_options options = { .nodes = 3, .capacity = { 100, 100, 100 }, .pages = 64 };

	begin_with(&options);
	rig_map(&rig, 0, 32, 0);
}

static inline void begin_huge(void)
{
	struct rig_options options = {
		.nodes = 3,
		.capacity = { 4096, 4096, 4096 },
		.pages = 3 * FERRY_HUGE_PAGES,
		.huge = true,
	};

	begin_with(&options);
	rig_map(&rig, 0, 2 * FERRY_HUGE_PAGES, FERRY_REGION_HUGE);
}

static inline void end(void)
{
	assert_null(meanwhile);
	rig.inject.delay = NULL;
	rig.space.grace_ns = 0;
	ferry_lock_acquire(&rig.space.lock);
	assert_int_equal(
		ferry_space_reconcile(&rig.space, rig.base, rig_va(&rig, rig.options.pages), -1),
		0);
	ferry_lock_release(&rig.space.lock);
	rig_end(&rig);
	assert_int_equal(test_alloc_bytes(), bytes_before);
}

static inline void store(uint32_t page, uint64_t value)
{
	assert_int_equal(rig_store(&rig, THREAD, rig_va(&rig, page) + 8, value), FERRY_SOFT_DONE);
}

static inline uint64_t load(uint32_t page)
{
	uint64_t value = 4711;

	assert_int_equal(rig_load(&rig, OTHER, rig_va(&rig, page) + 8, &value), FERRY_SOFT_DONE);
	return value;
}

static const struct ferry_page_list plain;

/* Moves pages to the nodes that they name. options: a list without pages. */
static inline int64_t migrate_pages(struct ferry_page *pages, size_t count,
				    const struct ferry_page_list *options)
{
	struct ferry_page_list list = *options;
	struct ferry_new_pages new_pages;

	list.space = &rig.space;
	list.pages = pages;
	list.count = count;
	ferry_new_pages_init(&new_pages, &rig.space);
	return ferry_migrate_list(&list, ferry_new_page, NULL, &new_pages);
}

/* Moves one page. => its status; *reason. */
static inline int32_t migrate(uint32_t page, int32_t target, uint8_t *reason,
			      const struct ferry_page_list *options)
{
	int result = 4711;
	struct ferry_page entry = { .va = rig_va(&rig, page), .target = target, .result = &result };
	int64_t failed = migrate_pages(&entry, 1, options);

	assert_int_equal(failed, ferry_status_failed(result));
	assert_int_equal(entry.status, result);
	*reason = entry.reason;
	return result;
}

static inline void expect(uint32_t page, int32_t target, int32_t status, enum ferry_reason reason)
{
	uint8_t got;

	assert_int_equal(migrate(page, target, &got, &plain), status);
	assert_int_equal(got, reason);
}

#endif
