/* SPDX-License-Identifier: MIT */
/*
 * new_page.c - frames for pages that name the node they go to: the usual get_new_page.
 *
 * A batch asks page by page, but says how many neighbours go to the same node: their frames are
 * taken at once, as a run, so that they are filled and copied to by few calls.
 */
#include <errno.h>

#include "base/os.h"
#include "map/entry.h"
#include "move/migrate.h"

struct ferry_frame ferry_frame_again;

void ferry_new_pages_init(struct ferry_new_pages *new_pages, struct ferry_space *space)
{
	*new_pages = (struct ferry_new_pages){ .space = space, .wish = FERRY_HUGE_PAGES };
}

/* Looking for long runs where there are only scraps takes longer than it saves. */
static void learn_wish(struct ferry_new_pages *new_pages, uint32_t wanted, uint32_t got)
{
	if (got < wanted)
		new_pages->wish = 2 * got;
	else if (got >= new_pages->wish && new_pages->wish < FERRY_HUGE_PAGES)
		new_pages->wish *= 2;
}

static int take(struct ferry_new_pages *new_pages, const struct ferry_page *page, uint32_t node)
{
	struct ferry_space *space = new_pages->space;
	uint32_t pages = page->run < new_pages->wish ? page->run : new_pages->wish;
	int ret;

	if (page->huge) {
		ret = ferry_pool_take_huge(&space->pools[node], space->mmu, FERRY_FILL_ANY,
					   &new_pages->ahead);
	} else {
		ret = ferry_pool_take(&space->pools[node], space->mmu, pages, FERRY_FILL_ANY,
				      &new_pages->ahead);
		/* A lease that is used up says nothing of how scattered the frames are. */
		if (ret >= 0)
			learn_wish(new_pages, pages, new_pages->ahead.pages);
	}
	ferry_entry_publish(space, node);
	if (ret < 0)
		new_pages->ahead.pages = 0;
	return ret < 0 ? ret : 0;
}

/* No frame on node: asks the machine, then takes back what was placed ahead. => try again. */
static bool find(struct ferry_space *space, uint32_t node, uint32_t pages)
{
	bool granted = false;

	if (space->pools[node].dry_until_ns <= ferry_os->now_ns()) {
		ferry_lock_release(&space->lock);
		granted = ferry_space_refill(space, node, pages);
		ferry_lock_acquire(&space->lock);
	}
	return granted || ferry_space_reclaim_ahead_on(space, node, pages) > 0;
}

/* The next of the frames that were taken ahead. */
static struct ferry_frame *give(struct ferry_new_pages *new_pages, bool huge)
{
	struct ferry_run *ahead = &new_pages->ahead;

	new_pages->frame = ahead->first;
	ahead->first = ferry_frame_plus(ahead->first, 1);
	ahead->pages = huge ? 0 : ahead->pages - 1;
	return &new_pages->frame;
}

struct ferry_frame *ferry_new_page(struct ferry_page *page, void *private, int **result)
{
	struct ferry_new_pages *new_pages = private;
	uint32_t node = (uint32_t)page->target;
	int err = 0;

	(void)result; /* as the list has it */
	/* It may have gone offline since the call was checked. */
	if (new_pages->ahead.pages == 0 &&
	    !ferry_machine_has_memory(new_pages->space->machine, page->target))
		return NULL;
	/* What was taken ahead is for the very pages that are asked for next. */
	FERRY_DASSERT(new_pages->ahead.pages == 0 || new_pages->ahead.first.node == node);
	if (new_pages->ahead.pages == 0)
		err = take(new_pages, page, node);
	if (err == 0)
		return give(new_pages, page->huge);
	if (err == -ESRCH)
		__atomic_store_n(&new_pages->space->gone, 1, __ATOMIC_RELAXED);
	if (err != -ENOSPC || page->wanted == 0)
		return NULL;
	return find(new_pages->space, node, page->huge ? FERRY_HUGE_PAGES : page->wanted)
		       ? &ferry_frame_again
		       : NULL;
}
