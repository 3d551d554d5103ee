/* SPDX-License-Identifier: MIT */
/* shared.c - see shared.h. */
#include "move/shared.h"

#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "map/entry.h"
#include "map/region.h"

enum {
	RUNS = 4096,
	CANDIDATES = 1024,
	LIST_CHUNK = 16384,
	LOOK = FERRY_HUGE_PAGES, /* pages looked at while the lock is held */
	NOT_ASKED = 0xff,        /* a page that is not on a node that the call asks for */
};

/* A page that somebody else has a say in. */
struct candidate {
	ferry_va va;
	uint64_t object_va; /* 0: of no object */
	int32_t target;
	bool there;         /* by its label, it is on the target already */
	uint8_t *reason;
};

struct work {
	struct ferry_space *space;
	bool move_all, seed;
	const struct ferry_nodeset *from; /* NULL: all */
	struct ferry_object_run runs[RUNS];
	uint8_t *run_reasons[RUNS]; /* of each run's first page */
	uint32_t run_count;
	struct candidate candidates[CANDIDATES];
	uint32_t candidate_count;
	/* What candidates are asked with. */
	ferry_va va[CANDIDATES];
	int32_t target[CANDIDATES];
	int32_t status[CANDIDATES];
	bool others[CANDIDATES];
	uint8_t look[LOOK];
	const struct ferry_region *region; /* that is looked at, NULL: none. lock held */
	const struct ferry_pte *leaf;      /* of labels, of leaf_va; or NULL */
	uint64_t leaf_va;
};

static bool by_host(const struct ferry_space *space)
{
	return space->host.move_by_host != NULL;
}

enum ferry_shared_kind ferry_shared_kind_at(const struct ferry_space *space, ferry_va va,
					    ferry_va *end)
{
	const struct ferry_region *regions = ferry_books_regions(space->books);
	uint32_t index = ferry_region_index(space->books, va);

	if (index >= space->books->region_count || regions[index].start > va) {
		*end = index < space->books->region_count ? regions[index].start : UINT64_MAX;
		return by_host(space) ? FERRY_SHARED_YES : FERRY_SHARED_NO;
	}
	*end = regions[index].end;
	return (regions[index].flags & FERRY_REGION_SHARED) != 0 ? FERRY_SHARED_YES
								 : FERRY_SHARED_NO;
}

/* --- relabelling ---------------------------------------------------------------------------- */

static void answer_run(const struct work *w, uint32_t i, int err)
{
	const struct ferry_object_run *run = &w->runs[i];
	uint32_t done = err == 0 ? run->done : 0;

	memset(w->run_reasons[i], FERRY_REASON_MOVED, done);
	memset(w->run_reasons[i] + done, err == 0 ? FERRY_REASON_FULL : FERRY_REASON_BUSY,
	       run->pages - done);
}

static void relabel(struct work *w)
{
	const struct ferry_space_host *host = &w->space->host;
	int err;

	if (w->run_count == 0)
		return;
	err = host->relabel(host->context, w->runs, w->run_count);
	for (uint32_t i = 0; i < w->run_count; i++)
		answer_run(w, i, err);
	w->run_count = 0;
}

/* A page that gets a new label: the end of the last run, or another one. */
static void add_to_runs(struct work *w, uint64_t object_va, int32_t target, uint8_t *reason)
{
	struct ferry_object_run *last = w->run_count > 0 ? &w->runs[w->run_count - 1] : NULL;

	if (last != NULL && last->node == target && last->pages < FERRY_SHARED_CHUNK &&
	    last->object_va + ((uint64_t)last->pages << FERRY_PAGE_SHIFT) == object_va &&
	    w->run_reasons[w->run_count - 1] + last->pages == reason) {
		last->pages++;
		return;
	}
	if (w->run_count == RUNS)
		relabel(w);
	w->runs[w->run_count] = (struct ferry_object_run){
		.object_va = object_va,
		.pages = 1,
		.node = target,
	};
	w->run_reasons[w->run_count++] = reason;
}

/* --- deciding ------------------------------------------------------------------------------- */

static uint8_t reason_of(int32_t status)
{
	switch (status) {
	case -ENOENT:
		return FERRY_REASON_ABSENT;
	case -EFAULT:
		return FERRY_REASON_UNMAPPED;
	case -EACCES:
		return FERRY_REASON_SHARED;
	case -ENOMEM:
		return FERRY_REASON_FULL;
	default:
		return FERRY_REASON_BUSY;
	}
}

/* The host has moved it, or could not. */
static void decide_by_host(struct work *w, const struct candidate *c, int32_t status)
{
	if (status != c->target)
		*c->reason = reason_of(status);
	else if (c->there)
		*c->reason = FERRY_REASON_THERE;
	else if (c->object_va == 0)
		*c->reason = FERRY_REASON_MOVED;
	else
		add_to_runs(w, c->object_va, c->target, c->reason);
}

static void decide(struct work *w)
{
	const struct ferry_space_host *host = &w->space->host;
	uint32_t count = w->candidate_count;
	const struct ferry_host_move move = {
		.va = w->va,
		.target = w->target,
		.status = w->status,
		.count = count,
		.all = w->move_all,
	};

	for (uint32_t i = 0; i < count; i++) {
		w->va[i] = w->candidates[i].va;
		w->target[i] = w->candidates[i].target;
	}
	if (count > 0 && by_host(w->space))
		host->move_by_host(host->context, &move);
	else if (count > 0)
		host->find_mappers(host->context, w->va, count, w->others);
	for (uint32_t i = 0; i < count; i++) {
		const struct candidate *c = &w->candidates[i];

		if (by_host(w->space))
			decide_by_host(w, c, w->status[i]);
		else if (w->others[i])
			*c->reason = FERRY_REASON_SHARED;
		else
			add_to_runs(w, c->object_va, c->target, c->reason);
	}
	w->candidate_count = 0;
}

/* --- looking -------------------------------------------------------------------------------- */

/* The label of a page; the leaf that it is in is kept for the next one. As long as we map the
 * object the leaf stays its. */
static int32_t label_at(struct work *w, uint64_t object_va)
{
	struct ferry_pte pte;

	if (w->leaf == NULL || w->leaf_va != ferry_huge_down(object_va)) {
		w->leaf_va = ferry_huge_down(object_va);
		w->leaf = ferry_ptable_leaf(w->space->host.labels, object_va);
	}
	if (w->leaf == NULL)
		return FERRY_NO_LABEL;
	pte.word = __atomic_load_n(&w->leaf[ferry_entry_index(object_va)].word, __ATOMIC_RELAXED);
	return ferry_label_of(pte);
}

/* A page of w->region. */
static void look_at(struct work *w, ferry_va va, uint8_t flags, int32_t target, uint8_t *reason)
{
	const struct ferry_region *region = w->region;
	uint64_t object_va = region == NULL ? 0 : region->object_va + (va - region->start);
	int32_t node = FERRY_NO_LABEL;

	if (region != NULL) {
		node = label_at(w, object_va);
		node = node == FERRY_NO_LABEL ? (int32_t)region->home : node;
	}
	if ((flags & FERRY_MMU_PRESENT) == 0) {
		*reason = FERRY_REASON_ABSENT;
	} else if (w->from != NULL && node != FERRY_NO_LABEL &&
		   !ferry_nodeset_has(w->from, (uint32_t)node)) {
		*reason = NOT_ASKED;
	} else if (node == target && !by_host(w->space)) {
		*reason = FERRY_REASON_THERE;
	} else if (region != NULL && w->seed && (region->flags & FERRY_REGION_LOCKED) != 0) {
		*reason = FERRY_REASON_LOCKED;
	} else if (by_host(w->space) ||
		   (!w->move_all && (flags & FERRY_MMU_EXCLUSIVE) == 0)) {
		w->candidates[w->candidate_count++] = (struct candidate){
			.va = va,
			.object_va = object_va,
			.target = target,
			.there = node == target,
			.reason = reason,
		};
	} else {
		add_to_runs(w, object_va, target, reason);
	}
}

/* Only whether pages are there: nobody has to know whose they are. => false: the host cannot say.
 */
static bool look_for_presence(struct work *w, ferry_va va, uint32_t pages)
{
	const struct ferry_mmu_ops *ops = w->space->mmu->ops;
	ferry_va at = va, end = va + ((ferry_va)pages << FERRY_PAGE_SHIFT), stop;
	int err = ops->present_run == NULL ? -ENOSYS : 0;

	memset(w->look, 0, pages);
	while (err == 0 && at < end) {
		err = ops->present_run(w->space->mmu, &at, end, &stop);
		if (err != 0)
			break;
		memset(w->look + ((at - va) >> FERRY_PAGE_SHIFT), FERRY_MMU_PRESENT,
		       (stop - at) >> FERRY_PAGE_SHIFT);
		at = stop;
	}
	return err != -ENOSYS;
}

/* Whether pages are there in no region, the mmu cannot be asked: the host's move tells. */
static void look_up(struct work *w, ferry_va va, uint32_t pages)
{
	struct ferry_mmu *mmu = w->space->mmu;

	if (w->region == NULL)
		memset(w->look, FERRY_MMU_PRESENT, pages);
	else if ((!w->move_all || !look_for_presence(w, va, pages)) &&
		 mmu->ops->lookup(mmu, va, pages, w->look) != 0)
		memset(w->look, 0, pages);
}

/*
 * Pages in a row, at most LOOK, with one target. What has become of their region meanwhile counts:
 * a page that has entries now is another one than was asked for.
 */
static void look_at_row(struct work *w, ferry_va va, uint32_t pages, int32_t target,
			uint8_t *reasons)
{
	struct ferry_space *space = w->space;

	if (w->candidate_count + pages > CANDIDATES)
		decide(w);
	/* The runs are not sent with the lock held. */
	if (w->run_count + pages > RUNS)
		relabel(w);
	ferry_lock_acquire(&space->lock);
	for (uint32_t i = 0; i < pages;) {
		ferry_va at = va + ((ferry_va)i << FERRY_PAGE_SHIFT), end;
		enum ferry_shared_kind kind = ferry_shared_kind_at(space, at, &end);
		uint32_t n = pages - i;

		w->region = ferry_region_find(space->books, at);
		if (n > (end - at) >> FERRY_PAGE_SHIFT)
			n = (uint32_t)((end - at) >> FERRY_PAGE_SHIFT);
		if (kind == FERRY_SHARED_YES)
			look_up(w, at, n);
		for (uint32_t k = 0; k < n; k++) {
			if (kind == FERRY_SHARED_YES)
				look_at(w, at + ((ferry_va)k << FERRY_PAGE_SHIFT), w->look[k],
					target, &reasons[i + k]);
			else
				reasons[i + k] = FERRY_REASON_VANISHED;
		}
		i += n;
	}
	ferry_lock_release(&space->lock);
}

static struct work *begin(struct ferry_space *space)
{
	struct work *w = ferry_os->alloc(sizeof(*w));

	if (w != NULL)
		w->space = space;
	return w;
}

/* Every page has its reason after this. */
static void end(struct work *w)
{
	decide(w);
	relabel(w);
	ferry_os->free(w, sizeof(*w));
}

static void count_reason(struct ferry_space *space, uint8_t reason, uint64_t pages)
{
	ferry_count(&space->books->counters.status[reason], pages);
	if (reason == FERRY_REASON_MOVED)
		ferry_count(&space->books->counters.moved_pages, pages);
}

/* --- labels for all ------------------------------------------------------------------------- */

/* Adds pages without a label from va on, at most LOOK, to the runs. => lock held. */
static void add_unlabelled(struct work *w, const struct ferry_region *region, ferry_va va,
			   uint32_t pages)
{
	w->region = region;
	look_up(w, va, pages);
	for (uint32_t i = 0; i < pages; i++) {
		uint64_t object_va = region->object_va + (va - region->start) +
				     ((uint64_t)i << FERRY_PAGE_SHIFT);
		struct ferry_object_run *last = &w->runs[w->run_count > 0 ? w->run_count - 1 : 0];

		if ((w->look[i] & FERRY_MMU_PRESENT) == 0 ||
		    label_at(w, object_va) != FERRY_NO_LABEL)
			continue;
		if (w->run_count > 0 && last->node == (int32_t)region->home &&
		    last->object_va + ((uint64_t)last->pages << FERRY_PAGE_SHIFT) == object_va)
			last->pages++;
		else
			w->runs[w->run_count++] = (struct ferry_object_run){
				.object_va = object_va,
				.pages = 1,
				.node = (int32_t)region->home,
				.adopt = 1,
			};
	}
}

/* The next pages of an object from *va on that are there, at most LOOK of them, are looked at.
 * => false: there are none below end. lock held. */
static bool label_next(struct work *w, ferry_va *va, ferry_va end)
{
	struct ferry_space *space = w->space;
	const struct ferry_region *regions = ferry_books_regions(space->books);
	uint32_t i = ferry_region_index(space->books, *va);
	ferry_va stop;

	while (i < space->books->region_count && (regions[i].flags & FERRY_REGION_SHARED) == 0)
		i++;
	if (i == space->books->region_count || regions[i].start >= end)
		return false;
	if (*va < regions[i].start)
		*va = regions[i].start;
	stop = regions[i].end < end ? regions[i].end : end;
	*va = ferry_mmu_next_present(space->mmu, *va, stop);
	if (stop - *va > (ferry_va)LOOK << FERRY_PAGE_SHIFT)
		stop = *va + ((ferry_va)LOOK << FERRY_PAGE_SHIFT);
	if (*va < stop)
		add_unlabelled(w, &regions[i], *va, (uint32_t)((stop - *va) >> FERRY_PAGE_SHIFT));
	*va = stop;
	return true;
}

int ferry_shared_label(struct ferry_space *space, ferry_va start, ferry_va end_va)
{
	struct work *w = begin(space);
	bool more = true;
	int err = 0;

	if (w == NULL)
		return -ENOMEM;
	while (more && err == 0) {
		ferry_lock_acquire(&space->lock);
		while (more && w->run_count + LOOK <= RUNS)
			more = label_next(w, &start, end_va);
		ferry_lock_release(&space->lock);
		if (w->run_count > 0)
			err = space->host.relabel(space->host.context, w->runs, w->run_count);
		w->run_count = 0;
	}
	ferry_os->free(w, sizeof(*w));
	return err;
}

/* --- a list --------------------------------------------------------------------------------- */

static int32_t status_of(uint8_t reason, int32_t target)
{
	switch (reason) {
	case FERRY_REASON_MOVED:
	case FERRY_REASON_THERE:
		return target;
	case FERRY_REASON_ABSENT:
	case FERRY_REASON_VANISHED:
		return -ENOENT;
	case FERRY_REASON_UNMAPPED:
		return -EFAULT;
	case FERRY_REASON_SHARED:
		return -EACCES;
	case FERRY_REASON_LOCKED:
		return -EPERM;
	case FERRY_REASON_FULL:
		return -ENOMEM;
	default:
		return -EBUSY;
	}
}

/* => pages from first on that lie in a row, with one target, and can be looked at together. */
static uint32_t row_of(const struct ferry_page *first, size_t count)
{
	uint32_t n = 1;

	while (n < count && n < LOOK && first[n].target == first->target &&
	       first[n].va == first->va + ((ferry_va)n << FERRY_PAGE_SHIFT))
		n++;
	return n;
}

static int move_chunk(const struct ferry_page_list *list, struct ferry_page *pages, size_t count,
		      uint8_t *reasons)
{
	struct work *w = begin(list->space);

	if (w == NULL)
		return -ENOMEM;
	w->move_all = list->move_all;
	w->seed = list->seed;
	for (size_t i = 0; i < count;) {
		uint32_t n = row_of(&pages[i], count - i);

		look_at_row(w, pages[i].va, n, pages[i].target, &reasons[i]);
		i += n;
	}
	end(w);
	for (size_t i = 0; i < count; i++) {
		pages[i].reason = reasons[i];
		pages[i].status = status_of(reasons[i], pages[i].target);
		pages[i].passes = 1;
		if (pages[i].result != NULL)
			*pages[i].result = pages[i].status;
		count_reason(list->space, reasons[i], 1);
	}
	return 0;
}

int ferry_shared_move_list(const struct ferry_page_list *list)
{
	size_t room = list->count < LIST_CHUNK ? list->count : LIST_CHUNK;
	uint8_t *reasons = ferry_os->alloc(room);
	int err = reasons == NULL ? -ENOMEM : 0;

	for (size_t at = 0; at < list->count && err == 0; at += room) {
		size_t count = list->count - at < room ? list->count - at : room;

		err = move_chunk(list, list->pages + at, count, reasons);
	}
	if (reasons != NULL)
		ferry_os->free(reasons, room);
	return err;
}

/* --- a range -------------------------------------------------------------------------------- */

int ferry_shared_move_range(struct ferry_space *space, const struct ferry_range_call *call,
			    ferry_va start, ferry_va end_va, struct ferry_range_result *result)
{
	size_t pages = (end_va - start) >> FERRY_PAGE_SHIFT;
	uint8_t *reasons = ferry_os->alloc(pages);
	struct work *w = reasons == NULL ? NULL : begin(space);
	uint64_t counts[256] = { 0 };

	if (w == NULL) {
		if (reasons != NULL)
			ferry_os->free(reasons, pages);
		return -ENOMEM;
	}
	w->move_all = call->move_all;
	w->seed = call->seed;
	w->from = &call->from;
	for (size_t i = 0; i < pages; i += LOOK) {
		uint32_t n = pages - i < LOOK ? (uint32_t)(pages - i) : LOOK;

		look_at_row(w, start + ((ferry_va)i << FERRY_PAGE_SHIFT), n, call->target,
			    &reasons[i]);
	}
	end(w);
	for (size_t i = 0; i < pages; i++)
		counts[reasons[i]]++;
	for (uint32_t reason = 0; reason < FERRY_REASON_COUNT; reason++) {
		result->reasons[reason] += counts[reason];
		if (reason != FERRY_REASON_ABSENT)
			result->asked_pages += counts[reason];
		count_reason(space, (uint8_t)reason, counts[reason]);
	}
	ferry_os->free(reasons, pages);
	return 0;
}
