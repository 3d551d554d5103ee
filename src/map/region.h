/* SPDX-License-Identifier: MIT */
/*
 * region.h - the managed ranges of a space, sorted by address, in the books.
 *
 * Invariants (ferry_region_check): start < end, both page-aligned; ascending; never overlapping;
 * neighbours that touch and are alike (of an object: and go on there) are merged. Writers hold the
 * space lock and bump region_seq; readers in other processes use ferry_region_read().
 */
#ifndef FERRY_MAP_REGION_H
#define FERRY_MAP_REGION_H

#include "map/books.h"

/* => the region that contains va, or NULL. Valid until regions change. */
struct ferry_region *ferry_region_find(const struct ferry_books *books, ferry_va va);
/* => index of the first region with end > va (region_count: none). */
uint32_t ferry_region_index(const struct ferry_books *books, ferry_va va);
/* The first part of [*start, *end) that no region covers. => false: all is covered. */
FERRY_MUST_CHECK bool ferry_region_gap(const struct ferry_books *books, ferry_va *start,
				       ferry_va *end);
/* Makes [start, end) managed with flags, replacing what was there. => 0, -ENOSPC (too many). */
FERRY_MUST_CHECK int ferry_region_insert(struct ferry_books *books, ferry_va start, ferry_va end,
					 uint32_t flags);
/* The same for a region with all its fields. */
FERRY_MUST_CHECK int ferry_region_put(struct ferry_books *books, const struct ferry_region *region);
/* => a region without the addresses below start. */
struct ferry_region ferry_region_from(const struct ferry_region *region, ferry_va start);
/* Ends management of [start, end), splitting regions at its ends. => 0, -ENOSPC (split). */
FERRY_MUST_CHECK int ferry_region_delete(struct ferry_books *books, ferry_va start, ferry_va end);
/* Sets and clears flags in the managed parts of [start, end). => 0, -ENOSPC. */
FERRY_MUST_CHECK int ferry_region_flag(struct ferry_books *books, ferry_va start, ferry_va end,
				       uint32_t set, uint32_t clear);
/* Copies a region that may be changing, by words in acquire order. */
void ferry_region_load(struct ferry_region *target, const struct ferry_region *source);
/*
 * A consistent copy of up to max regions from books that another process may be changing.
 * => number copied, -EAGAIN if it kept changing.
 */
FERRY_MUST_CHECK int ferry_region_read(const struct ferry_books *books, struct ferry_region *copy,
				       uint32_t max);
FERRY_MUST_CHECK int ferry_region_check(const struct ferry_books *books);

#endif
