/* SPDX-License-Identifier: MIT */
/*
 * by_host.h - the answers of a query that only the host knows: memory that is not managed, and
 * whether pages of objects are in a process's page table.
 */
#ifndef FERRY_RUNTIME_BY_HOST_H
#define FERRY_RUNTIME_BY_HOST_H

#include "move/move_pages.h"

/* Whose pages are asked about. */
struct ferry_by_host {
	const struct ferry_machine *machine;
	int32_t pid; /* 0: the calling process */
};

/* Settles what ferry_query_pages() has left open; reasons are those that it gave. What the host
 * does not say of another process stays -EFAULT. */
void ferry_by_host_pages(const struct ferry_by_host *whose, size_t count, const uint64_t *pages,
			 int32_t *status, uint8_t *reasons);
/* The same for ferry_query_consecutive(), of objects only. */
void ferry_by_host_consecutive(const struct ferry_by_host *whose, ferry_va start, size_t count,
			       int32_t *status);
/* => whether a page of an object has no label: its place may be known to somebody already. */
bool ferry_by_host_is_unlabelled(const int32_t *status, size_t count);

#endif
