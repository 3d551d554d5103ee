/* SPDX-License-Identifier: MIT */
/*
 * move_pages.c - two users of ferry_migrate_list(): a list of addresses, and a range.
 *
 * A list is sorted by page (unless it is already), and entries of one page are merged into one
 * page of the list to migrate. Its result is the status of the first of them, and is copied to the
 * others. Entries in one huge frame share a target: the last one's in the caller's order. Pages of
 * objects are moved in another way (shared.h): the list is cut where they begin and end.
 */
#include "move/move_pages.h"

#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "map/entry.h"
#include "map/region.h"
#include "move/shared.h"

enum {
	RANGE_PAGES = 16384,
	FEW = 16, /* entries of a list call that needs no allocation */
};

/* One entry of the caller's list. */
struct item {
	ferry_va va;
	uint32_t index;
	uint32_t page;
};

/* The working memory of a list call, in one piece. */
struct list {
	struct ferry_space *space;
	const struct ferry_move_call *call;
	struct item *items; /* count, sorted */
	struct item *spare; /* count */
	struct ferry_page *pages;
	size_t page_count;
};

/* --- sorting ------------------------------------------------------------------------------ */

static void merge(const struct item *from, struct item *to, size_t left, size_t middle,
		  size_t right)
{
	size_t i = left, j = middle;

	for (size_t k = left; k < right; k++) {
		bool first = i < middle && (j >= right || from[i].va <= from[j].va);

		to[k] = first ? from[i++] : from[j++];
	}
}

/* Stable, so that the last of equal addresses is the last in the caller's order. */
static void sort_items(struct list *list)
{
	size_t count = list->call->count;

	for (size_t width = 1; width < count; width *= 2) {
		struct item *from = list->items;

		for (size_t left = 0; left < count; left += 2 * width) {
			size_t middle = left + width < count ? left + width : count;
			size_t right = left + 2 * width < count ? left + 2 * width : count;

			merge(from, list->spare, left, middle, right);
		}
		list->items = list->spare;
		list->spare = from;
	}
}

/* --- from entries to pages ------------------------------------------------------------------ */

static int check_nodes(const struct ferry_space *space, const struct ferry_move_call *call)
{
	int err = 0;

	for (size_t i = 0; i < call->count && err == 0; i++)
		err = ferry_space_check_target(space, call->nodes[i]);
	return err;
}

static void list_divide(struct list *list, void *memory)
{
	list->items = memory;
	list->spare = list->items + list->call->count;
	list->pages = (struct ferry_page *)(void *)(list->spare + list->call->count);
}

static void fill_items(struct list *list)
{
	bool ascending = true;

	for (size_t i = 0; i < list->call->count; i++) {
		struct item *item = &list->items[i];

		item->va = ferry_page_down(ferry_untag(list->call->pages[i]));
		item->index = (uint32_t)i;
		if (i > 0 && item->va < item[-1].va)
			ascending = false;
	}
	if (!ascending)
		sort_items(list);
}

/* Each page once; its last target wins. */
static void merge_items(struct list *list)
{
	size_t n = 0;

	for (size_t i = 0; i < list->call->count; i++) {
		struct item *item = &list->items[i];

		if (n == 0 || list->pages[n - 1].va != item->va) {
			list->pages[n].va = item->va;
			list->pages[n++].result = &list->call->status[item->index];
		}
		list->pages[n - 1].target = list->call->nodes[item->index];
		item->page = (uint32_t)(n - 1);
	}
	list->page_count = n;
}

/* Items [first, end) lie in one 2 MiB range: if it is a huge frame, the last target wins. */
static void unite(struct list *list, size_t first, size_t end)
{
	const struct item *items = list->items;
	struct ferry_pte pte = ferry_ptable_get(list->space->books, items[first].va);
	uint32_t last = items[first].index;

	if (!ferry_pte_has(pte, FERRY_PTE_HUGE) || items[first].page == items[end - 1].page)
		return;
	for (size_t i = first; i < end; i++) {
		if (items[i].index > last)
			last = items[i].index;
	}
	for (size_t i = first; i < end; i++)
		list->pages[items[i].page].target = list->call->nodes[last];
}

static void unite_huge(struct list *list)
{
	size_t first = 0, count = list->call->count;

	while (first < count) {
		ferry_va frame = ferry_huge_down(list->items[first].va);
		size_t end = first + 1;

		while (end < count && ferry_huge_down(list->items[end].va) == frame)
			end++;
		if (end - first > 1)
			unite(list, first, end);
		first = end;
	}
}

/* --- from pages to answers ------------------------------------------------------------------ */

static void scatter(const struct list *list)
{
	for (size_t i = 0; i < list->call->count; i++) {
		const struct item *item = &list->items[i];
		const struct ferry_page *page = &list->pages[item->page];

		if (page->result != &list->call->status[item->index])
			list->call->status[item->index] = *page->result;
		if (list->call->reasons != NULL)
			list->call->reasons[item->index] = page->reason;
	}
}

/* Contract seed: entries that failed; -ENOENT if no page needed moving. */
static int64_t result_seed(const struct list *list)
{
	int64_t failed = 0;
	bool moved = false;

	for (size_t i = 0; i < list->call->count; i++) {
		const struct ferry_page *page = &list->pages[list->items[i].page];

		failed += ferry_status_failed(page->status);
		moved = moved || (page->status >= 0 && page->reason == FERRY_REASON_MOVED);
	}
	return failed == 0 && !moved ? -ENOENT : failed;
}

/* Contract linux: pages that failed, a huge frame counts as one; -ENOMEM if a target was full. */
static int64_t result_linux(const struct list *list)
{
	int64_t failed = 0;
	ferry_va counted = 1;

	for (size_t i = 0; i < list->page_count; i++) {
		const struct ferry_page *page = &list->pages[i];
		struct ferry_pte pte;

		if (!ferry_status_failed(page->status))
			continue;
		if (page->status == -ENOMEM)
			return -ENOMEM;
		pte = ferry_ptable_get(list->space->books, page->va);
		if (ferry_pte_has(pte, FERRY_PTE_HUGE) && ferry_huge_down(page->va) == counted)
			continue;
		counted = ferry_pte_has(pte, FERRY_PTE_HUGE) ? ferry_huge_down(page->va) : 1;
		failed++;
	}
	return failed;
}

static bool is_any_moved(const struct list *list)
{
	for (size_t i = 0; i < list->page_count; i++) {
		if (list->pages[i].status >= 0)
			return true;
	}
	return false;
}

/* => pages from first on that are moved in one way. */
static size_t stretch_of(const struct list *list, size_t first, enum ferry_shared_kind *kind)
{
	size_t n = 1;
	ferry_va end;

	ferry_lock_acquire(&list->space->lock);
	*kind = ferry_shared_kind_at(list->space, list->pages[first].va, &end);
	while (first + n < list->page_count) {
		if (list->pages[first + n].va >= end &&
		    ferry_shared_kind_at(list->space, list->pages[first + n].va, &end) != *kind)
			break;
		n++;
	}
	ferry_lock_release(&list->space->lock);
	return n;
}

static void answer_rest(const struct list *list, size_t first, size_t count, int32_t status,
			enum ferry_reason reason)
{
	for (size_t i = first; i < first + count; i++) {
		list->pages[i].status = status;
		list->pages[i].reason = (uint8_t)reason;
		*list->pages[i].result = status;
	}
}

static int move_stretch(const struct list *list, const struct ferry_page_list *pages,
			enum ferry_shared_kind kind)
{
	struct ferry_new_pages new_pages;
	int64_t result;

	if (kind == FERRY_SHARED_YES)
		return ferry_shared_move_list(pages);
	ferry_new_pages_init(&new_pages, list->space);
	result = ferry_migrate_list(pages, ferry_new_page, NULL, &new_pages);
	return result < 0 ? (int)result : 0;
}

/* => 0; -ENOMEM: no page has an answer; -ESRCH. */
static int move_stretches(const struct list *list, struct ferry_page_list *pages)
{
	for (size_t at = 0; at < list->page_count; at += pages->count) {
		enum ferry_shared_kind kind;
		int err;

		pages->pages = list->pages + at;
		pages->count = stretch_of(list, at, &kind);
		err = move_stretch(list, pages, kind);
		if (err == -ENOMEM && at == 0)
			return err;
		if (err == -ENOMEM)
			answer_rest(list, at, pages->count, -EBUSY, FERRY_REASON_BUSY);
		if (err == -ESRCH) {
			at += pages->count;
			answer_rest(list, at, list->page_count - at, -ENOENT,
				    FERRY_REASON_VANISHED);
			return err;
		}
	}
	return 0;
}

static int64_t move_list(struct list *list)
{
	const struct ferry_move_call *call = list->call;
	struct ferry_page_list pages = {
		.space = list->space,
		.stall_budget_ns = call->stall_budget_ns,
		.move_all = call->move_all,
		.shared_only = call->shared_only,
		.seed = call->seed,
	};
	int64_t result;

	fill_items(list);
	merge_items(list);
	unite_huge(list);
	result = move_stretches(list, &pages);
	if (result == -ENOMEM)
		return result;
	scatter(list);
	/* A program that ends in mid-call has its pages where they are; one that had ended is none.
	 */
	if (result < 0 && !is_any_moved(list))
		return result;
	return call->seed ? result_seed(list) : result_linux(list);
}

int64_t ferry_move_pages_in(struct ferry_space *space, const struct ferry_move_call *call)
{
	const size_t each = 2 * sizeof(struct item) + sizeof(struct ferry_page);
	struct list list = { .space = space, .call = call };
	uint64_t few[FEW * (2 * sizeof(struct item) + sizeof(struct ferry_page)) / 8];
	void *memory = few;
	int64_t result;

	if (call->nodes == NULL) {
		const struct ferry_query query = { space->books, space->host.labels };

		ferry_query_pages(&query, call->count, call->pages, call->status, call->reasons);
		return 0;
	}
	ferry_count(&space->books->counters.move_calls, 1);
	if (call->count == 0)
		return call->seed ? -ENOENT : 0;
	result = check_nodes(space, call);
	if (result != 0)
		return result;
	if (call->count > FEW)
		memory = call->count > INT32_MAX ? NULL : ferry_os->alloc(call->count * each);
	if (memory == NULL)
		return -ENOMEM;
	list_divide(&list, memory);
	result = move_list(&list);
	if (memory != few)
		ferry_os->free(memory, call->count * each);
	return result;
}

/* --- a range ------------------------------------------------------------------------------ */

/* => resident pages on the nodes asked for, among pages entries from first on. */
static uint64_t count_asked(const struct ferry_pte *first, uint64_t pages,
			    const struct ferry_nodeset *from)
{
	uint64_t asked = 0;

	for (uint64_t i = 0; i < pages; i++) {
		struct ferry_pte pte = { .word = __atomic_load_n(&first[i].word,
								 __ATOMIC_RELAXED) };

		asked += ferry_pte_resident(pte) &&
			 ferry_nodeset_has(from, ferry_pte_frame(pte).node);
	}
	return asked;
}

/* => pages of objects in the range that have a label which is asked for. */
static uint64_t count_labels(const struct ferry_query *query, const struct ferry_range_call *call)
{
	const struct ferry_region *regions = ferry_books_regions(query->books);
	uint32_t i = ferry_region_index(query->books, call->start);
	uint32_t count = __atomic_load_n(&query->books->region_count, __ATOMIC_RELAXED);
	uint64_t asked = 0;

	for (; i < count && i < FERRY_REGIONS_MAX && query->labels != NULL; i++) {
		struct ferry_region region;

		ferry_region_load(&region, &regions[i]);
		if (region.start >= call->end)
			break;
		region = ferry_region_from(&region, call->start);
		if (region.end > call->end)
			region.end = call->end;
		if ((region.flags & FERRY_REGION_SHARED) != 0 && region.start < region.end)
			asked += ferry_labels_count(query->labels, region.object_va,
						    region.object_va + region.end - region.start,
						    &call->from);
	}
	return asked;
}

uint64_t ferry_range_count(const struct ferry_query *query, const struct ferry_range_call *call)
{
	const struct ferry_books *books = query->books;
	ferry_va va = ferry_ptable_next_leaf(books, ferry_page_down(call->start), call->end);
	uint64_t asked = 0;

	while (va < call->end) {
		const struct ferry_pte *leaf = ferry_ptable_leaf(books, va);
		ferry_va stop = ferry_huge_down(va) + FERRY_HUGE_SIZE;

		if (stop > call->end)
			stop = ferry_page_up(call->end);
		if (leaf != NULL)
			asked += count_asked(leaf + ferry_entry_index(va),
					     (stop - va) >> FERRY_PAGE_SHIFT, &call->from);
		va = ferry_ptable_next_leaf(books, stop, call->end);
	}
	return asked + count_labels(query, call);
}

struct sweep {
	struct ferry_space *space;
	const struct ferry_range_call *call;
	struct ferry_range_result *result;
	struct ferry_page *pages;
	size_t count;
	ferry_va shared_end; /* not 0: pages of an object come next, up to there */
	ferry_va va;        /* how far it has come */
	size_t done_before; /* entries of earlier chunks */
};

/* Adds the pages of entries [first, last) of a leaf. */
static void sweep_entries(struct sweep *s, const struct ferry_pte *leaf, uint32_t first,
			  uint32_t last)
{
	ferry_va va = s->va;

	for (uint32_t i = first; i < last; i++, va += FERRY_PAGE_SIZE) {
		struct ferry_pte pte = leaf[i];

		if (!ferry_pte_resident(pte)) {
			bool zero = ferry_pte_state(pte) == FERRY_PTE_ZERO;

			s->result->reasons[zero ? FERRY_REASON_ZERO : FERRY_REASON_ABSENT]++;
			continue;
		}
		if (!ferry_nodeset_has(&s->call->from, ferry_pte_frame(pte).node))
			continue;
		s->pages[s->count++] =
			(struct ferry_page){ .va = va, .target = s->call->target };
	}
}

/* Goes on by at most one leaf. => false: the range is done, or pages of an object come next. */
static bool sweep_step(struct sweep *s)
{
	const struct ferry_books *books = s->space->books;
	const struct ferry_region *regions = ferry_books_regions(books);
	uint32_t index = ferry_region_index(books, s->va);
	const struct ferry_pte *leaf;
	ferry_va stop;

	if (s->va >= s->call->end || index >= books->region_count ||
	    regions[index].start >= s->call->end)
		return false;
	if (s->va < regions[index].start)
		s->va = regions[index].start;
	stop = regions[index].end < s->call->end ? regions[index].end : s->call->end;
	if ((regions[index].flags & FERRY_REGION_SHARED) != 0) {
		s->shared_end = ferry_page_up(stop);
		return false;
	}
	leaf = ferry_entry_leaf(s->space, s->va);
	if (leaf == NULL) {
		stop = ferry_ptable_next_leaf(books, s->va, stop);
		s->result->reasons[FERRY_REASON_ABSENT] += (stop - s->va) >> FERRY_PAGE_SHIFT;
	} else {
		uint32_t first = ferry_entry_index(s->va);

		if (stop > ferry_huge_down(s->va) + FERRY_HUGE_SIZE)
			stop = ferry_huge_down(s->va) + FERRY_HUGE_SIZE;
		sweep_entries(s, leaf, first,
			      first + (uint32_t)((stop - s->va) >> FERRY_PAGE_SHIFT));
	}
	s->va = stop;
	return true;
}

/* Collects the next chunk of pages. => false: there are no more after these. */
static bool sweep_collect(struct sweep *s)
{
	bool more = true;

	s->count = 0;
	ferry_lock_acquire(&s->space->lock);
	/* Whole leaves, so that no huge frame is cut in two. */
	while (more && s->count + FERRY_HUGE_PAGES <= RANGE_PAGES)
		more = sweep_step(s);
	ferry_lock_release(&s->space->lock);
	return more;
}

static bool sweep_between(void *context, size_t done)
{
	struct sweep *s = context;

	if (s->call->between != NULL && s->call->between(s->call->context, s->done_before + done))
		s->result->stopped = true;
	return s->result->stopped;
}

static int sweep_migrate(struct sweep *s)
{
	struct ferry_page_list list = {
		.space = s->space,
		.pages = s->pages,
		.count = s->count,
		.stall_budget_ns = s->call->stall_budget_ns,
		.move_all = s->call->move_all,
		.seed = s->call->seed,
		.between = sweep_between,
		.context = s,
	};
	struct ferry_new_pages new_pages;
	int64_t result;

	if (s->count == 0)
		return 0;
	ferry_new_pages_init(&new_pages, s->space);
	result = ferry_migrate_list(&list, ferry_new_page, NULL, &new_pages);
	if (result == -ENOMEM)
		return -ENOMEM;
	s->result->asked_pages += s->count;
	s->done_before += s->count;
	for (size_t i = 0; i < s->count; i++)
		s->result->reasons[s->pages[i].reason]++;
	return result < 0 ? (int)result : 0;
}

/* A part of the pages of an object that come next. */
static int sweep_shared(struct sweep *s)
{
	uint64_t before = s->result->asked_pages;
	ferry_va start = s->va;
	int err;

	s->va = s->shared_end;
	if (s->va - start > (ferry_va)FERRY_SHARED_CHUNK << FERRY_PAGE_SHIFT)
		s->va = start + ((ferry_va)FERRY_SHARED_CHUNK << FERRY_PAGE_SHIFT);
	s->shared_end = 0;
	err = ferry_shared_move_range(s->space, s->call, start, s->va, s->result);
	s->done_before += s->result->asked_pages - before;
	if (err == 0)
		(void)sweep_between(s, 0);
	return err;
}

int ferry_move_range_in(struct ferry_space *space, const struct ferry_range_call *call,
			struct ferry_range_result *result)
{
	struct sweep s = {
		.space = space,
		.call = call,
		.result = result,
		.va = ferry_page_down(call->start),
	};
	const size_t bytes = RANGE_PAGES * sizeof(struct ferry_page);
	bool more = true;
	int err = 0;

	memset(result, 0, sizeof(*result));
	err = ferry_space_check_target(space, call->target);
	if (err != 0)
		return err;
	s.pages = ferry_os->alloc(bytes);
	if (s.pages == NULL)
		return -ENOMEM;
	ferry_count(&space->books->counters.move_calls, 1);
	while (more && err == 0 && !result->stopped) {
		more = sweep_collect(&s);
		err = sweep_migrate(&s);
		if (err == 0 && s.shared_end != 0 && !result->stopped) {
			err = sweep_shared(&s);
			more = true;
		}
	}
	ferry_os->free(s.pages, bytes);
	return err;
}
