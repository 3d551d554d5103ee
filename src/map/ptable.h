/* SPDX-License-Identifier: MIT */
/*
 * ptable.h - page tables inside the books.
 *
 * Readers (any process) need no lock: entries are single words and tables are never moved; a leaf
 * is freed only when its whole 2 MiB left the managed regions, and readers of a freed leaf see
 * entries that are NONE. Writers hold the space lock.
 */
#ifndef FERRY_MAP_PTABLE_H
#define FERRY_MAP_PTABLE_H

#include "map/books.h"

/* => the entry of va's page; NONE where no table exists or the offsets are not sane. */
struct ferry_pte ferry_ptable_get(const struct ferry_books *books, ferry_va va);
/*
 * => the place of va's entry, its leaf allocated; NULL if the segment is used up.
 * The FERRY_HUGE_PAGES entries of a 2 MiB range are consecutive.
 */
FERRY_MUST_CHECK struct ferry_pte *ferry_ptable_slot(struct ferry_books *books, ferry_va va);
/* => the leaf that covers va (512 entries), or NULL: for scans that skip absent ranges. */
const struct ferry_pte *ferry_ptable_leaf(const struct ferry_books *books, ferry_va va);
/* Stores an entry with release order. */
void ferry_pte_set(struct ferry_pte *slot, struct ferry_pte value);
/* Frees the leaves that lie wholly in [start, end) and hold only NONE without THREAD. */
void ferry_ptable_trim(struct ferry_books *books, ferry_va start, ferry_va end);
/* First va >= start with a leaf, or end. */
ferry_va ferry_ptable_next_leaf(const struct ferry_books *books, ferry_va start, ferry_va end);

#endif
