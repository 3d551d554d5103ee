/* SPDX-License-Identifier: MIT */
/*
 * event.c - what the program did to its mappings: discards, unmaps, remaps, forks.
 *
 * Each function runs between the reading of the event and the release of the space lock. What an
 * event does to a page, by the state of its entry:
 *
 *      entry          discard, unmap                     remap
 *      ZERO           NONE                               moves along
 *      MAPPED         NONE, frame free                   moves along
 *      HELD idle      NONE, frame free (dirty)           moves along
 *      HELD busy      NONE, flight page gone: the        moves along, flight page gets its new va
 *                     mover frees both frames
 *
 * The event of a discard is told of before the host drops the pages, and once it is read the
 * program runs on; it may be a lazy discard (MADV_FREE), after which the program may write to a
 * page that is still there. So the event only changes the books, and housekeeping looks for pages
 * that stayed; but not before a grace has passed: a page that was taken over and moved before the
 * host dropped it would come back with its old content.
 */
#include <errno.h>

#include "base/os.h"
#include "map/entry.h"
#include "map/flight.h"
#include "map/region.h"

/* --- flights ------------------------------------------------------------------------------ */

void ferry_flight_split(struct ferry_space *space, struct ferry_flight *flight)
{
	struct ferry_flight_page whole = flight->pages[0];

	FERRY_ASSERT(ferry_flight_is_huge(flight));
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
		struct ferry_flight_page *page = &flight->pages[i];

		*page = whole;
		page->va = whole.va + (ferry_va)i * FERRY_PAGE_SIZE;
		page->source = ferry_frame_plus(whole.source, i);
		page->target = ferry_frame_plus(whole.target, i);
	}
	flight->count = FERRY_HUGE_PAGES;
	flight->split = true;
	ferry_entry_split(space, whole.va);
}

static bool is_flying(const struct ferry_flight_page *page, ferry_va start, ferry_va end)
{
	return !page->gone && !page->entered && page->va >= start && page->va < end;
}

/* Splits flights of huge frames of which [start, end) holds a part (also_whole: or all). */
static void split_flights(struct ferry_space *space, ferry_va start, ferry_va end, bool also_whole)
{
	for (struct ferry_flight *flight = space->flights; flight != NULL; flight = flight->next) {
		ferry_va va = flight->pages[0].va;
		ferry_va va_end = va + FERRY_HUGE_SIZE;

		if (!ferry_flight_is_huge(flight) || va >= end || va_end <= start)
			continue;
		if (also_whole || va < start || va_end > end)
			ferry_flight_split(space, flight);
	}
}

/* The pages of [start, end) in flight are gone; their entries follow. */
static void cancel_flights(struct ferry_space *space, ferry_va start, ferry_va end)
{
	bool any = false;

	split_flights(space, start, end, false);
	for (struct ferry_flight *flight = space->flights; flight != NULL; flight = flight->next) {
		int64_t pages = ferry_flight_is_huge(flight) ? FERRY_HUGE_PAGES : 1;

		for (uint32_t i = 0; i < flight->count; i++) {
			struct ferry_flight_page *page = &flight->pages[i];

			if (!is_flying(page, start, end))
				continue;
			page->gone = true;
			ferry_flight_tally(space, page->source.node, pages);
			any = true;
		}
	}
	if (any)
		space->mmu->ops->wake(space->mmu, start, (end - start) >> FERRY_PAGE_SHIFT);
}

/* --- giving frames back in runs ------------------------------------------------------------- */

struct release {
	struct ferry_space *space;
	struct ferry_run run; /* pages 0: none */
	enum ferry_content content;
	bool charged;
};

static void release_flush(struct release *release)
{
	if (release->run.pages > 0)
		ferry_frames_put(release->space, release->run, release->content, release->charged);
	release->run.pages = 0;
}

static void release_add(struct release *release, struct ferry_frame frame,
			enum ferry_content content, bool charged)
{
	const struct ferry_frame *first = &release->run.first;

	if (release->run.pages > 0 && first->node == frame.node && first->huge == frame.huge &&
	    first->number + release->run.pages == frame.number && release->content == content &&
	    release->charged == charged) {
		release->run.pages++;
		return;
	}
	release_flush(release);
	release->run.first = frame;
	release->run.pages = 1;
	release->content = content;
	release->charged = charged;
}

/* --- discard and unmap ---------------------------------------------------------------------- */

/* Entries [first, last) of the leaf at va. */
struct part {
	ferry_va va;
	struct ferry_pte *leaf;
	uint32_t first;
	uint32_t last;
};

static bool is_part(struct part *part, struct ferry_space *space, ferry_va start, ferry_va end)
{
	ferry_va leaf_end = part->va + FERRY_HUGE_SIZE;

	part->leaf = ferry_entry_leaf(space, part->va);
	part->first = part->va < start ? ferry_entry_index(start) : 0;
	part->last = leaf_end > end ? ferry_entry_index(end) : FERRY_HUGE_PAGES;
	return part->leaf != NULL;
}

/* Entries of huge frames of which the range holds a part only become small ones. */
static void split_ends(struct ferry_space *space, ferry_va start, ferry_va end)
{
	if (start != ferry_huge_down(start))
		ferry_entry_split(space, start);
	if (end != ferry_huge_down(end))
		ferry_entry_split(space, end);
}

/* The page of an entry is gone from its address. */
static void clear_entry(struct ferry_space *space, struct ferry_pte *slot, struct release *release,
			bool unmapped)
{
	struct ferry_pte old = *slot, none = { 0 };
	struct ferry_frame frame = ferry_pte_frame(old);
	enum ferry_content content = FERRY_CONTENT_NONE;

	if (old.word == 0)
		return;
	ferry_entry_set(space, slot, unmapped ? none : ferry_entry_blank(old));
	if (!ferry_pte_resident(old) || ferry_pte_has(old, FERRY_PTE_NO_SLOT) ||
	    ferry_pte_has(old, FERRY_PTE_BUSY))
		return;
	if (ferry_pte_state(old) == FERRY_PTE_HELD)
		content = FERRY_CONTENT_DIRTY;
	frame.huge = 0;
	release_add(release, frame, content, ferry_entry_charged(old));
}

/* => true if any of the entries had a page at its address. */
static bool clear_range(struct ferry_space *space, ferry_va start, ferry_va end, bool unmapped)
{
	struct release release = { .space = space, .run = { .pages = 0 } };
	bool any = false;
	ferry_va va = ferry_ptable_next_leaf(space->books, start, end);

	for (; va < end; va = ferry_ptable_next_leaf(space->books, va, end)) {
		struct part part = { .va = ferry_huge_down(va) };

		if (is_part(&part, space, start, end)) {
			for (uint32_t i = part.first; i < part.last; i++) {
				any |= ferry_pte_state(part.leaf[i]) == FERRY_PTE_MAPPED;
				clear_entry(space, &part.leaf[i], &release, unmapped);
			}
		}
		va = part.va + FERRY_HUGE_SIZE;
	}
	release_flush(&release);
	return any;
}

/* The pages of [start, end) are others from now on. */
static void tell_lookups(struct ferry_space *space, ferry_va start, ferry_va end)
{
	for (struct ferry_lookup *lookup = space->lookups; lookup != NULL; lookup = lookup->next)
		lookup->gone(lookup, start, end);
}

void ferry_space_on_remove(struct ferry_space *space, ferry_va start, ferry_va end)
{
	ferry_count(&space->books->counters.events_remove, 1);
	start = ferry_page_down(start);
	end = ferry_page_up(end);
	if (start >= end)
		return;
	tell_lookups(space, start, end);
	cancel_flights(space, start, end);
	split_ends(space, start, end);
	if (clear_range(space, start, end, false))
		ferry_space_leave(space, start, end);
}

/* Nothing is mapped in [start, end) any more. */
static void unmap_range(struct ferry_space *space, ferry_va start, ferry_va end)
{
	tell_lookups(space, start, end);
	cancel_flights(space, start, end);
	split_ends(space, start, end);
	(void)clear_range(space, start, end, true);
	ferry_ptable_trim(space->books, start, end);
	/* With the table of regions full the middle of one cannot be cut out: it stays, empty. */
	if (ferry_region_delete(space->books, start, end) != 0)
		ferry_count(&space->books->counters.healed, 1);
}

void ferry_space_on_unmap(struct ferry_space *space, ferry_va start, ferry_va end)
{
	ferry_count(&space->books->counters.events_unmap, 1);
	start = ferry_page_down(start);
	end = ferry_page_up(end);
	if (start < end)
		unmap_range(space, start, end);
}

/* --- release ------------------------------------------------------------------------------ */

static bool is_any_away(const struct ferry_space *space, ferry_va start, ferry_va end)
{
	ferry_va va = ferry_ptable_next_leaf(space->books, start, end);

	for (; va < end; va = ferry_ptable_next_leaf(space->books, va, end)) {
		const struct ferry_pte *leaf = ferry_entry_leaf(space, va);
		ferry_va stop = ferry_huge_down(va) + FERRY_HUGE_SIZE;

		for (; leaf != NULL && va < stop && va < end; va += FERRY_PAGE_SIZE) {
			if (ferry_pte_state(leaf[ferry_entry_index(va)]) == FERRY_PTE_HELD)
				return true;
		}
		va = stop;
	}
	return false;
}

int ferry_space_release(struct ferry_space *space, ferry_va start, ferry_va end)
{
	int err = 0;

	if (is_any_away(space, start, end))
		return -EAGAIN;
	for (;;) {
		const struct ferry_region *region = ferry_books_regions(space->books);
		uint32_t index = ferry_region_index(space->books, start);
		ferry_va from, to;

		if (index >= space->books->region_count || region[index].start >= end)
			return 0;
		from = region[index].start > start ? region[index].start : start;
		to = region[index].end < end ? region[index].end : end;
		err = space->mmu->ops->disarm(space->mmu, from, to - from);
		if (err != 0)
			return err;
		split_ends(space, from, to);
		(void)clear_range(space, from, to, false);
		err = ferry_region_delete(space->books, from, to);
		if (err != 0)
			return err;
		start = to;
	}
}

/* --- remap -------------------------------------------------------------------------------- */

struct remap {
	ferry_va from;
	ferry_va to;
	uint64_t len;
};

static void redirect_flights(struct ferry_space *space, const struct remap *remap)
{
	bool any = false;

	split_flights(space, remap->from, remap->from + remap->len,
		      (remap->to - remap->from) % FERRY_HUGE_SIZE != 0);
	for (struct ferry_flight *flight = space->flights; flight != NULL; flight = flight->next) {
		for (uint32_t i = 0; i < flight->count; i++) {
			struct ferry_flight_page *page = &flight->pages[i];

			if (!is_flying(page, remap->from, remap->from + remap->len))
				continue;
			page->va = page->va - remap->from + remap->to;
			any = true;
		}
	}
	if (any)
		space->mmu->ops->wake(space->mmu, remap->from, remap->len >> FERRY_PAGE_SHIFT);
}

static void move_entry(struct ferry_space *space, struct ferry_pte *slot, ferry_va target)
{
	struct ferry_pte none = { 0 };
	struct ferry_pte *place;

	if (slot->word == 0)
		return;
	place = ferry_ptable_slot(space->books, target);
	/* The books have room for the tables of more memory than hosts have. */
	FERRY_ASSERT(place != NULL);
	ferry_entry_set(space, place, *slot);
	ferry_entry_set(space, slot, none);
}

static void move_entries(struct ferry_space *space, const struct remap *remap)
{
	ferry_va end = remap->from + remap->len;
	ferry_va va = ferry_ptable_next_leaf(space->books, remap->from, end);

	for (; va < end; va = ferry_ptable_next_leaf(space->books, va, end)) {
		struct part part = { .va = ferry_huge_down(va) };
		ferry_va delta = remap->to - remap->from;

		/* A huge frame that is not huge at its new place is small from now on. */
		if (delta % FERRY_HUGE_SIZE != 0)
			ferry_entry_split(space, part.va);
		if (is_part(&part, space, remap->from, end)) {
			for (uint32_t i = part.first; i < part.last; i++)
				move_entry(space, &part.leaf[i],
					   part.va + (ferry_va)i * FERRY_PAGE_SIZE + delta);
		}
		va = part.va + FERRY_HUGE_SIZE;
	}
}

/* Regions of the old place are made at the new one. */
static int move_regions(struct ferry_space *space, const struct remap *remap)
{
	ferry_va va = remap->from, end = remap->from + remap->len;
	int err = 0;

	while (va < end && err == 0) {
		const struct ferry_region *regions = ferry_books_regions(space->books);
		uint32_t index = ferry_region_index(space->books, va);
		struct ferry_region region;

		if (index >= space->books->region_count || regions[index].start >= end)
			break;
		region = ferry_region_from(&regions[index], va);
		if (region.end > end)
			region.end = end;
		va = region.end;
		region.start = region.start - remap->from + remap->to;
		region.end = region.end - remap->from + remap->to;
		err = ferry_region_put(space->books, &region);
	}
	if (err == 0)
		err = ferry_region_delete(space->books, remap->from, end);
	return err;
}

/* May there be pages in [start, end) that no entry knows? */
static bool is_any_unknown(const struct ferry_space *space, ferry_va start, ferry_va end)
{
	return (start < space->young_end && end > space->young_start) ||
	       (start < space->old_end && end > space->old_start) ||
	       (start < space->doubt_end && end > space->doubt_start) ||
	       (start < space->round_end && end > space->round_start);
}

void ferry_space_on_remap(struct ferry_space *space, ferry_va from, ferry_va to, uint64_t len)
{
	struct remap remap = {
		.from = ferry_page_down(from),
		.to = ferry_page_down(to),
		.len = ferry_page_up(len),
	};

	ferry_count(&space->books->counters.events_remap, 1);
	if (remap.len == 0 || remap.from == remap.to)
		return;
	if (is_any_unknown(space, remap.from, remap.from + remap.len))
		ferry_space_leave(space, remap.to, remap.to + remap.len);
	unmap_range(space, remap.to, remap.to + remap.len);
	tell_lookups(space, remap.from, remap.from + remap.len);
	redirect_flights(space, &remap);
	split_ends(space, remap.from, remap.from + remap.len);
	move_entries(space, &remap);
	if (move_regions(space, &remap) != 0)
		ferry_count(&space->books->counters.healed, 1);
	ferry_ptable_trim(space->books, remap.from, remap.from + remap.len);
}

/* --- fork --------------------------------------------------------------------------------- */

typedef void copy_in_fn(void *context, ferry_va va, struct ferry_frame frame);

static void copy_flights(struct ferry_space *space, copy_in_fn *copy_in, void *context)
{
	for (struct ferry_flight *flight = space->flights; flight != NULL; flight = flight->next) {
		uint32_t pages = ferry_flight_is_huge(flight) ? FERRY_HUGE_PAGES : 1;

		for (uint32_t i = 0; i < flight->count; i++) {
			const struct ferry_flight_page *page = &flight->pages[i];

			for (uint32_t k = 0; k < pages && !page->gone && !page->entered; k++)
				copy_in(context, page->va + (ferry_va)k * FERRY_PAGE_SIZE,
					ferry_frame_plus(page->source, k));
		}
	}
}

void ferry_space_on_fork(struct ferry_space *space, copy_in_fn *copy_in, void *context)
{
	const ferry_va end = UINT64_C(1) << FERRY_VA_BITS;
	uint64_t left = space->idle_held;
	ferry_va va = left > 0 ? ferry_ptable_next_leaf(space->books, 0, end) : end;

	ferry_count(&space->books->counters.events_fork, 1);
	copy_flights(space, copy_in, context);
	for (; va < end && left > 0; va = ferry_ptable_next_leaf(space->books, va, end)) {
		const struct ferry_pte *leaf = ferry_entry_leaf(space, va);

		va = ferry_huge_down(va);
		for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++, va += FERRY_PAGE_SIZE) {
			if (ferry_pte_state(leaf[i]) != FERRY_PTE_HELD ||
			    ferry_pte_has(leaf[i], FERRY_PTE_BUSY))
				continue;
			copy_in(context, va, ferry_pte_frame(leaf[i]));
			left--;
		}
	}
}
