/* SPDX-License-Identifier: MIT */
/* soft_object.c - memory that several simulated processes map; see soft.h. */
#include <errno.h>

#include "base/os.h"
#include "mmu/soft_parts.h"

static struct ferry_soft_object_page *lock_page(const struct ferry_soft_page *page)
{
	struct ferry_soft_object *object = page->object;

	while (__atomic_exchange_n(&object->busy, 1, __ATOMIC_ACQUIRE) != 0)
		ferry_os->yield();
	FERRY_ASSERT(page->object_page < object->pages);
	return &object->page[page->object_page];
}

static void unlock(const struct ferry_soft_page *page)
{
	__atomic_store_n(&page->object->busy, 0, __ATOMIC_RELEASE);
}

int ferry_soft_object_enter(struct ferry_soft_page *page, bool make)
{
	struct ferry_soft_object_page *shared = lock_page(page);
	int err = 0;

	if (make && shared->made)
		err = -EEXIST;
	else if (!make && !shared->made)
		err = -ENOENT;
	else if (make && page->object->full)
		err = -ENOMEM;
	if (err == 0) {
		shared->made = true;
		shared->maps++;
		page->there = true;
	}
	unlock(page);
	return err;
}

void ferry_soft_object_leave(struct ferry_soft_page *page)
{
	if (!page->there)
		return;
	FERRY_ASSERT(lock_page(page)->maps-- > 0);
	page->there = false;
	unlock(page);
}

void ferry_soft_object_inherit(struct ferry_soft_page *copy)
{
	if (!copy->there)
		return;
	lock_page(copy)->maps++;
	unlock(copy);
}

bool ferry_soft_object_is_alone(const struct ferry_soft_page *page)
{
	bool alone = lock_page(page)->maps == 1;

	unlock(page);
	return alone;
}

enum ferry_soft_result ferry_soft_object_access(struct ferry_soft_page *page, bool write,
						uint64_t *value)
{
	int err = 0;

	if (!page->there)
		err = ferry_soft_object_enter(page, false);
	if (err == -ENOENT && page->armed)
		return FERRY_SOFT_PARKED;
	if (err == -ENOENT)
		err = ferry_soft_object_enter(page, true);
	/* Another process was faster. */
	if (err == -EEXIST)
		err = ferry_soft_object_enter(page, false);
	if (err != 0)
		return FERRY_SOFT_SEGV;
	if (write)
		lock_page(page)->word = *value;
	else
		*value = lock_page(page)->word;
	unlock(page);
	return FERRY_SOFT_DONE;
}

int ferry_soft_map_object(struct ferry_soft *soft, ferry_va start, ferry_va end,
			  struct ferry_soft_object *object, uint32_t first)
{
	int err = ferry_soft_map(soft, start, end, FERRY_SOFT_RW, true);

	ferry_soft_lock(soft);
	for (ferry_va va = start; va < end && err == 0; va += FERRY_PAGE_SIZE) {
		struct ferry_soft_page *page = ferry_soft_page_at(soft, va);

		page->object = object;
		page->object_page = first++;
	}
	ferry_soft_unlock(soft);
	return err;
}

void ferry_soft_zap_object(struct ferry_soft *soft, const struct ferry_soft_object *object,
			   uint32_t first, uint32_t end)
{
	ferry_soft_lock(soft);
	for (uint32_t i = 0; i < soft->options.pages; i++) {
		struct ferry_soft_page *page = &soft->pages[i];

		if (page->object == object && page->object_page >= first &&
		    page->object_page < end)
			ferry_soft_object_leave(page);
	}
	ferry_soft_unlock(soft);
}
