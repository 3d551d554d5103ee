/* SPDX-License-Identifier: MIT */
/*
 * region.c - see region.h.
 *
 * Every change is one splice of the sorted array: regions [first, first + removed) are replaced by
 * a short list that was merged before, under an odd sequence number. Fields are written and read as
 * single atomic words, so that a reader may look at any time and then find that it has to look
 * again.
 */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "map/region.h"

enum { WORDS = sizeof(struct ferry_region) / sizeof(uint64_t), READ_TRIES = 1000 };

_Static_assert(sizeof(struct ferry_region) % sizeof(uint64_t) == 0, "a region is whole words");

/* What replaces a part of the array. */
struct splice {
	uint32_t first;
	uint32_t removed;
	uint32_t count;
	struct ferry_region part[3];
};

static void store_region(struct ferry_region *target, const struct ferry_region *source)
{
	uint64_t words[WORDS];

	memcpy(words, source, sizeof(words));
	for (uint32_t i = 0; i < WORDS; i++)
		__atomic_store_n((uint64_t *)target + i, words[i], __ATOMIC_RELAXED);
}

void ferry_region_load(struct ferry_region *target, const struct ferry_region *source)
{
	uint64_t words[WORDS];

	for (uint32_t i = 0; i < WORDS; i++)
		words[i] = __atomic_load_n((const uint64_t *)source + i, __ATOMIC_ACQUIRE);
	memcpy(target, words, sizeof(words));
}

/* Readers of another process's books come here too, while they change: any answer is then good. */
uint32_t ferry_region_index(const struct ferry_books *books, ferry_va va)
{
	const struct ferry_region *regions = ferry_books_regions(books);
	uint32_t low = 0, high = __atomic_load_n(&books->region_count, __ATOMIC_ACQUIRE);

	if (high > FERRY_REGIONS_MAX)
		high = FERRY_REGIONS_MAX;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (__atomic_load_n(&regions[middle].end, __ATOMIC_ACQUIRE) > va)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

struct ferry_region *ferry_region_find(const struct ferry_books *books, ferry_va va)
{
	struct ferry_region *regions = ferry_books_regions(books);
	uint32_t index = ferry_region_index(books, va);

	if (index < books->region_count && regions[index].start <= va)
		return &regions[index];
	return NULL;
}

static void shift(struct ferry_region *regions, uint32_t from, uint32_t to, uint32_t count)
{
	if (to < from) {
		for (uint32_t i = 0; i < count; i++)
			store_region(&regions[to + i], &regions[from + i]);
	} else if (to > from) {
		for (uint32_t i = count; i-- > 0;)
			store_region(&regions[to + i], &regions[from + i]);
	}
}

static int apply(struct ferry_books *books, const struct splice *splice)
{
	struct ferry_region *regions = ferry_books_regions(books);
	uint32_t tail = splice->first + splice->removed;
	uint32_t count = books->region_count - splice->removed + splice->count;

	if (count > FERRY_REGIONS_MAX)
		return -ENOSPC;
	/* An exchange with acquire order keeps the stores below behind it. */
	__atomic_exchange_n(&books->region_seq, books->region_seq + 1, __ATOMIC_ACQ_REL);
	shift(regions, tail, splice->first + splice->count, books->region_count - tail);
	for (uint32_t i = 0; i < splice->count; i++)
		store_region(&regions[splice->first + i], &splice->part[i]);
	__atomic_store_n(&books->region_count, count, __ATOMIC_RELAXED);
	__atomic_store_n(&books->region_seq, books->region_seq + 1, __ATOMIC_RELEASE);
	return 0;
}

struct ferry_region ferry_region_from(const struct ferry_region *region, ferry_va start)
{
	struct ferry_region rest = *region;

	if (rest.start >= start)
		return rest;
	if ((rest.flags & FERRY_REGION_SHARED) != 0)
		rest.object_va += start - rest.start;
	rest.start = start;
	return rest;
}

/* Is right nothing but what follows left? */
static bool goes_on(const struct ferry_region *left, const struct ferry_region *right)
{
	uint64_t object_end = left->object_va;

	if ((left->flags & FERRY_REGION_SHARED) != 0)
		object_end += left->end - left->start;
	return left->end == right->start && left->flags == right->flags &&
	       left->home == right->home && object_end == right->object_va;
}

/* Appends a region to the splice, merging it with the last one where they touch. */
static void append(struct splice *splice, struct ferry_region region)
{
	struct ferry_region *last = splice->count > 0 ? &splice->part[splice->count - 1] : NULL;

	if (region.start >= region.end)
		return;
	if (last == NULL || !goes_on(last, &region)) {
		FERRY_ASSERT(splice->count < FERRY_ARRAY_SIZE(splice->part));
		splice->part[splice->count++] = region;
		return;
	}
	last->end = region.end;
}

/* The parts of the regions next to [start, end): they may be cut by it, or merge with it. */
static void neighbours(const struct ferry_books *books, ferry_va start, ferry_va end,
		       struct splice *splice, struct ferry_region *right)
{
	const struct ferry_region *regions = ferry_books_regions(books);
	uint32_t first = ferry_region_index(books, start > 0 ? start - 1 : 0);
	uint32_t last = ferry_region_index(books, end);

	memset(splice, 0, sizeof(*splice));
	memset(right, 0, sizeof(*right));
	splice->first = first;
	if (first < books->region_count && regions[first].start < start) {
		splice->part[0] = regions[first];
		if (splice->part[0].end > start)
			splice->part[0].end = start;
		splice->count = 1;
	}
	if (last < books->region_count && regions[last].start <= end) {
		*right = ferry_region_from(&regions[last], end);
		last++;
	}
	splice->removed = last - first;
}

int ferry_region_put(struct ferry_books *books, const struct ferry_region *region)
{
	struct ferry_region right;
	struct splice splice;

	FERRY_ASSERT(region->start < region->end &&
		     region->start == ferry_page_down(region->start) &&
		     region->end == ferry_page_down(region->end));
	neighbours(books, region->start, region->end, &splice, &right);
	append(&splice, *region);
	append(&splice, right);
	return apply(books, &splice);
}

int ferry_region_insert(struct ferry_books *books, ferry_va start, ferry_va end, uint32_t flags)
{
	const struct ferry_region region = { .start = start, .end = end, .flags = flags };

	return ferry_region_put(books, &region);
}

int ferry_region_delete(struct ferry_books *books, ferry_va start, ferry_va end)
{
	struct ferry_region right;
	struct splice splice;

	FERRY_ASSERT(start == ferry_page_down(start) && end == ferry_page_down(end));
	if (start >= end)
		return 0;
	neighbours(books, start, end, &splice, &right);
	append(&splice, right);
	return apply(books, &splice);
}

int ferry_region_flag(struct ferry_books *books, ferry_va start, ferry_va end, uint32_t set,
		      uint32_t clear)
{
	const struct ferry_region *regions = ferry_books_regions(books);
	ferry_va va = start;

	while (va < end) {
		uint32_t index = ferry_region_index(books, va);
		struct ferry_region piece;
		int err;

		if (index >= books->region_count || regions[index].start >= end)
			return 0;
		piece = ferry_region_from(&regions[index], va);
		if (piece.end > end)
			piece.end = end;
		va = piece.end;
		if (((piece.flags | set) & ~clear) == piece.flags)
			continue;
		piece.flags = (piece.flags | set) & ~clear;
		err = ferry_region_put(books, &piece);
		if (err != 0)
			return err;
	}
	return 0;
}

bool ferry_region_gap(const struct ferry_books *books, ferry_va *start, ferry_va *end)
{
	const struct ferry_region *regions = ferry_books_regions(books);
	uint32_t i = ferry_region_index(books, *start);

	while (i < books->region_count && regions[i].start <= *start) {
		*start = regions[i].end;
		i++;
	}
	if (*start >= *end)
		return false;
	if (i < books->region_count && regions[i].start < *end)
		*end = regions[i].start;
	return true;
}

int ferry_region_read(const struct ferry_books *books, struct ferry_region *copy, uint32_t max)
{
	const struct ferry_region *regions = ferry_books_regions(books);

	for (uint32_t tries = 0; tries < READ_TRIES; tries++) {
		uint32_t seq = __atomic_load_n(&books->region_seq, __ATOMIC_ACQUIRE);
		uint32_t count = __atomic_load_n(&books->region_count, __ATOMIC_ACQUIRE);

		if (count > FERRY_REGIONS_MAX)
			count = FERRY_REGIONS_MAX;
		if (count > max)
			count = max;
		if ((seq & 1) == 0) {
			for (uint32_t i = 0; i < count; i++)
				ferry_region_load(&copy[i], &regions[i]);
			if (__atomic_load_n(&books->region_seq, __ATOMIC_RELAXED) == seq)
				return (int)count;
		}
		ferry_os->yield();
	}
	return -EAGAIN;
}

int ferry_region_check(const struct ferry_books *books)
{
	const struct ferry_region *regions = ferry_books_regions(books);

	if (books->region_count > FERRY_REGIONS_MAX || (books->region_seq & 1) != 0)
		return -EUCLEAN;
	for (uint32_t i = 0; i < books->region_count; i++) {
		const struct ferry_region *region = &regions[i];

		if (region->start >= region->end ||
		    region->start != ferry_page_down(region->start) ||
		    region->end != ferry_page_down(region->end) ||
		    ((region->flags & FERRY_REGION_SHARED) == 0) != (region->object_va == 0))
			return -EUCLEAN;
		if (i == 0)
			continue;
		if (region->start < region[-1].end || goes_on(&region[-1], region))
			return -EUCLEAN;
	}
	return 0;
}
