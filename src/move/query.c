/* SPDX-License-Identifier: MIT */
/*
 * query.c - where pages are, read from the books of any process, without a lock.
 *
 * The books may be changing: tables are never moved, an entry is one word, and the bounds of
 * regions only tell "absent" from "not managed".
 */
#include <errno.h>

#include "map/ptable.h"
#include "map/region.h"
#include "move/move_pages.h"

enum { STRETCH_TRIES = 100000 };

/* What was found last; neighbouring addresses find it again. */
struct cursor {
	const struct ferry_books *books;
	const struct ferry_books *labels; /* or NULL */
	ferry_va leaf_va;                 /* 1: none yet */
	const struct ferry_pte *leaf;
	ferry_va start; /* a stretch that is all managed or all not */
	ferry_va end;
	bool managed;
	bool shared;        /* a part of an object */
	uint32_t home;      /* of the object */
	uint64_t object_va; /* of start */
};

static uint32_t region_count(const struct ferry_books *books)
{
	uint32_t count = __atomic_load_n(&books->region_count, __ATOMIC_RELAXED);

	return count < FERRY_REGIONS_MAX ? count : FERRY_REGIONS_MAX;
}

/* => whether regions changed since seq was read, or were changing then. */
static bool has_changed(const struct ferry_books *books, uint32_t seq)
{
	return (seq & 1) != 0 || __atomic_load_n(&books->region_seq, __ATOMIC_RELAXED) != seq;
}

static void look_for_stretch(struct cursor *c, ferry_va va)
{
	const struct ferry_region *regions = ferry_books_regions(c->books);
	uint32_t count = region_count(c->books);
	uint32_t index = ferry_region_index(c->books, va);
	struct ferry_region region;

	c->managed = c->shared = false;
	c->start = va;
	c->end = UINT64_MAX;
	if (index >= count)
		return;
	/* In acquire order, so before has_changed() looks again. */
	ferry_region_load(&region, &regions[index]);
	c->managed = region.start <= va && va < region.end;
	c->end = c->managed ? region.end : region.start;
	if (c->managed && (region.flags & FERRY_REGION_SHARED) != 0) {
		c->shared = true;
		c->home = region.home;
		c->object_va = region.object_va + (va - region.start);
	}
	/* Regions changed under us: believe nothing beyond this page. */
	if (c->end <= va)
		c->end = va + 1;
}

/* Finds the stretch that va lies in. Books whose writer died in the middle never come to rest. */
static void find_stretch(struct cursor *c, ferry_va va)
{
	uint32_t seq;

	for (int tries = 0; tries < STRETCH_TRIES; tries++) {
		seq = __atomic_load_n(&c->books->region_seq, __ATOMIC_ACQUIRE);
		look_for_stretch(c, va);
		if (!has_changed(c->books, seq))
			return;
	}
}

static bool is_managed(struct cursor *c, ferry_va va)
{
	if (va < c->start || va >= c->end)
		find_stretch(c, va);
	return c->managed;
}

static uint64_t load_entry(struct cursor *c, ferry_va va)
{
	ferry_va leaf_va = ferry_huge_down(va);

	if (c->leaf_va != leaf_va) {
		c->leaf = ferry_ptable_leaf(c->books, va);
		c->leaf_va = leaf_va;
	}
	if (c->leaf == NULL)
		return 0;
	return __atomic_load_n(&c->leaf[va >> FERRY_PAGE_SHIFT & (FERRY_HUGE_PAGES - 1)].word,
			       __ATOMIC_RELAXED);
}

/* For a page of the object that the stretch is a part of: where it is, if it is there. */
static int32_t answer_object(const struct cursor *c, ferry_va va)
{
	int32_t node = FERRY_NO_LABEL;

	if (c->labels != NULL)
		node = ferry_labels_get(c->labels, c->object_va + (va - c->start));
	if (node != FERRY_NO_LABEL)
		return FERRY_QUERY_OBJECT | node;
	return FERRY_QUERY_OBJECT | FERRY_QUERY_NO_LABEL | (int32_t)(c->home & FERRY_QUERY_NODE);
}

int32_t ferry_query_settle(const struct ferry_machine *machine, int32_t status, int32_t of_host)
{
	const struct ferry_node *nodes = ferry_machine_nodes(machine);
	int32_t node = status & FERRY_QUERY_NODE;

	if (of_host < 0)
		return of_host;
	if ((uint32_t)node < machine->node_count && nodes[node].real_node == of_host)
		return node;
	for (uint32_t i = 0; i < machine->node_count; i++) {
		if (nodes[i].real_node == of_host)
			return (int32_t)i;
	}
	return node;
}

/* A page that is on no node. */
static int32_t answer_absent(struct cursor *c, ferry_va va, uint64_t word,
			     enum ferry_reason *reason)
{
	if ((word & 3) == FERRY_PTE_ZERO) {
		*reason = FERRY_REASON_ZERO;
		return -EFAULT;
	}
	*reason = is_managed(c, va) ? FERRY_REASON_ABSENT : FERRY_REASON_UNMANAGED;
	if (c->managed && c->shared) {
		*reason = FERRY_REASON_THERE;
		return answer_object(c, va);
	}
	return *reason == FERRY_REASON_ABSENT ? -ENOENT : -EFAULT;
}

static struct cursor begin(const struct ferry_query *query)
{
	struct cursor c = {
		.books = query->books,
		.labels = query->labels,
		.leaf_va = 1,
		.start = 1,
		.end = 0,
	};

	return c;
}

void ferry_query_pages(const struct ferry_query *query, size_t count, const uint64_t *pages,
		       int32_t *status, uint8_t *reasons)
{
	struct cursor c = begin(query);

	for (size_t i = 0; i < count; i++) {
		ferry_va va = ferry_page_down(ferry_untag(pages[i]));
		uint64_t word = load_entry(&c, va);
		enum ferry_reason reason = FERRY_REASON_THERE;

		if ((word & 2) != 0)
			status[i] = (int32_t)(word >> 16 & (FERRY_NODES_MAX - 1));
		else
			status[i] = answer_absent(&c, va, word, &reason);
		if (reasons != NULL)
			reasons[i] = (uint8_t)reason;
	}
}

/* Pages of one leaf, in one stretch. absent: what a page without an entry answers. */
static void query_leaf(const struct ferry_pte *leaf, size_t pages, int32_t absent, int32_t *status)
{
	for (size_t i = 0; i < pages; i++) {
		uint64_t word = __atomic_load_n(&leaf[i].word, __ATOMIC_RELAXED);
		int32_t node = (int32_t)(word >> 16 & (FERRY_NODES_MAX - 1));
		int32_t other = (word & 1) != 0 ? -EFAULT : absent;

		status[i] = (word & 2) != 0 ? node : other;
	}
}

static void query_nothing(size_t pages, int32_t absent, int32_t *status)
{
	for (size_t i = 0; i < pages; i++)
		status[i] = absent;
}

static void query_object(const struct cursor *c, ferry_va va, size_t pages, int32_t *status)
{
	for (size_t i = 0; i < pages; i++)
		status[i] = answer_object(c, va + ((ferry_va)i << FERRY_PAGE_SHIFT));
}

void ferry_query_consecutive(const struct ferry_query *query, ferry_va start, size_t pages,
			     int32_t *status)
{
	const struct ferry_books *books = query->books;
	struct cursor c = begin(query);
	ferry_va va = ferry_page_down(start);

	while (pages > 0) {
		int32_t absent = is_managed(&c, va) ? -ENOENT : -EFAULT;
		const struct ferry_pte *leaf = ferry_ptable_leaf(books, va);
		size_t first = va >> FERRY_PAGE_SHIFT & (FERRY_HUGE_PAGES - 1);
		size_t n = FERRY_HUGE_PAGES - first;

		if (n > pages)
			n = pages;
		/* A stretch may end at the end of all addresses: no sum here. */
		if (n > ((c.end - va - 1) >> FERRY_PAGE_SHIFT) + 1)
			n = ((c.end - va - 1) >> FERRY_PAGE_SHIFT) + 1;
		if (c.managed && c.shared)
			query_object(&c, va, n, status);
		else if (leaf != NULL)
			query_leaf(leaf + first, n, absent, status);
		else
			query_nothing(n, absent, status);
		va += (ferry_va)n << FERRY_PAGE_SHIFT;
		status += n;
		pages -= n;
	}
}
