/* SPDX-License-Identifier: MIT */
/*
 * zone.h - the memory of an agent inside the program's address space.
 *
 * One reserved range of addresses holds everything private to an agent: a heap, thread stacks and
 * the arenas. It is never managed and never inherited by a forked child. Its bounds are all that a
 * scan of the program's mappings has to leave out.
 */
#ifndef FERRY_RUNTIME_ZONE_H
#define FERRY_RUNTIME_ZONE_H

#include "phys/machine.h"

/* Reserves a zone with arena_bytes behind the heap. Forgets an older zone (a forked child has none
 * of its parent's). => 0, -errno. */
FERRY_MUST_CHECK int ferry_zone_create(uint64_t arena_bytes);
/* => where the arenas start, 2 MiB aligned. */
ferry_va ferry_zone_arenas(void);
/* Ends the zone; nothing in it may be in use. */
void ferry_zone_destroy(void);
/* => bytes of addresses that a zone takes, 0: there is none. */
uint64_t ferry_zone_bytes(void);
/*
 * Makes so much of the heap writable that it seldom needs more, so that it counts as data (see
 * RLIMIT_DATA) to the same amount from then on. => 0, -ENOMEM.
 */
FERRY_MUST_CHECK int ferry_zone_count_heap(void);
/* => slots in each of a node's two arenas. */
uint64_t ferry_zone_slots(const struct ferry_node *node);
/* => bytes of all arenas. */
uint64_t ferry_zone_arena_bytes(const struct ferry_machine *machine);
/* => what a zone counts as data once its heap and its arenas are writable: the same for every
 * process of a machine. */
uint64_t ferry_zone_data_bytes(const struct ferry_machine *machine);
/* => true if [start, end) lies in the zone or in this library's own data. */
bool ferry_zone_covers(ferry_va start, ferry_va end);
/* Leaves [start, end) out of management as well: the library's own data. */
void ferry_zone_exclude(ferry_va start, ferry_va end);
/* Zeroed, page-aligned memory; NULL: none left. Raw system calls only; any thread. */
void *ferry_zone_alloc(size_t size_bytes);
void ferry_zone_free(void *memory, size_t size_bytes);
/* Has one page of such memory show the first page of a file, and be zeroed memory again. => 0,
 * -errno: there may be a hole now. A fork without our wrapper may take such a page along. */
FERRY_MUST_CHECK int ferry_zone_show(void *page, int fd);
FERRY_MUST_CHECK int ferry_zone_hide(void *page);

#endif
