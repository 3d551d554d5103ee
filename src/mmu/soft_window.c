/* SPDX-License-Identifier: MIT */
/*
 * soft_window.c - how pages leave a mapping that is not plain; the rules are in mmu.h.
 *
 *      open       no call that changes mappings may be announced
 *      shield     pages write-protected: from here on stores park
 *      widen      the mapping becomes readable, writable and executable: no program's call would
 *                 make it look so by chance, so that its changes can be told from ours
 *      take       the pages go
 *      narrow     what still looks as widen() left it becomes what it was
 *      unshield   pages that stayed lose the write protection; an event may prevent that, and then
 *                 the fault handler does it when it matters
 *
 * The lock is let go between the steps, as the host would.
 */
#include <errno.h>

#include "base/os.h"
#include "mmu/soft_parts.h"

struct window {
	struct ferry_soft *soft;
	ferry_va va;
	struct ferry_frame frame;
	uint32_t pages;
	uint32_t prot; /* of the mapping */
};

static struct ferry_soft_page *page_of(const struct window *w, uint32_t i)
{
	return ferry_soft_mapped_at(w->soft, ferry_soft_va_plus(w->va, i));
}

static bool is_plain(const struct ferry_soft_page *page)
{
	return page != NULL && page->prot == FERRY_SOFT_RW && !page->locked && !page->file;
}

static bool is_for_window(const struct ferry_soft_page *page)
{
	return page != NULL && (page->prot & FERRY_SOFT_READ) != 0 && page->prot != FERRY_SOFT_RW &&
	       (page->prot & FERRY_SOFT_KEYED) == 0 && !page->locked && !page->file;
}

/* Cuts the window to what has one protection. => 0, or why there is nothing to open it for. */
static int open_window(struct window *w)
{
	uint32_t n = 0;

	if (w->soft->gone)
		return -ESRCH;
	if (w->soft->event_count > 0 || w->soft->changing > 0)
		return -EAGAIN;
	if (!is_for_window(page_of(w, 0)))
		return -EINVAL;
	w->prot = page_of(w, 0)->prot;
	while (n < w->pages && is_for_window(page_of(w, n)) && page_of(w, n)->prot == w->prot)
		n++;
	if (w->frame.huge && n < w->pages)
		return -EINVAL;
	w->pages = n;
	w->soft->windows++;
	return 0;
}

static void shield(const struct window *w)
{
	for (uint32_t i = 0; i < w->pages; i++) {
		struct ferry_soft_page *page = page_of(w, i);

		if (page != NULL && page->armed && page->memory.index != FERRY_SOFT_EMPTY)
			page->wp = true;
	}
}

static void widen(const struct window *w)
{
	for (uint32_t i = 0; i < w->pages; i++) {
		struct ferry_soft_page *page = page_of(w, i);

		if (page == NULL || page->prot != w->prot)
			continue;
		page->was = page->prot;
		page->prot = FERRY_SOFT_RWX;
		page->window = true;
	}
}

static void narrow(const struct window *w)
{
	for (uint32_t i = 0; i < w->pages; i++) {
		struct ferry_soft_page *page = page_of(w, i);

		if (page == NULL || !page->window)
			continue;
		if (page->prot == FERRY_SOFT_RWX)
			page->prot = page->was;
		page->window = false;
	}
}

static void unshield(const struct window *w)
{
	for (uint32_t i = 0; i < w->pages && w->soft->event_count == 0; i++) {
		struct ferry_soft_page *page = page_of(w, i);

		if (page != NULL)
			page->wp = false;
	}
	w->soft->windows--;
}

static void step(const struct window *w)
{
	ferry_soft_unlock(w->soft);
	ferry_soft_step(w->soft);
	ferry_soft_lock(w->soft);
}

uint32_t ferry_soft_take_by_window(struct ferry_soft *soft, ferry_va va, struct ferry_frame frame,
				   uint32_t pages, int *err)
{
	struct window w = { .soft = soft, .va = va, .frame = frame, .pages = pages };
	uint32_t done = 0;

	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	*err = open_window(&w);
	if (*err == -EINVAL && is_plain(page_of(&w, 0))) {
		*err = 0; /* it has become so just now: no window is needed */
	} else if (*err == 0) {
		step(&w);
		shield(&w);
		step(&w);
		widen(&w);
		step(&w);
		done = ferry_soft_take_out(soft, va, frame, w.pages, err);
		step(&w);
		narrow(&w);
		step(&w);
		unshield(&w);
	}
	ferry_soft_unlock(soft);
	return done;
}
