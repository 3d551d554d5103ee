/* SPDX-License-Identifier: MIT */
/* check.h - every invariant of a space, and one printer per struct. */
#ifndef FERRY_ENGINE_CHECK_H
#define FERRY_ENGINE_CHECK_H

#include "map/space.h"

/* Where a checker or printer writes lines. */
struct ferry_sink {
	void (*line)(void *context, const char *text);
	void *context;
};

/*
 * Checks the books against themselves: every frame number has one user, counts equal entries,
 * pools and regions are sane; with look_at_host also each entry against mmu->lookup (only
 * meaningful while the program stands still or under a closed gate; disagreements that the
 * program may cause at any time - a page of fault-free MADV_FREE - are not reported).
 * One line per breach, at most 100. => lock held. number of breaches.
 */
FERRY_MUST_CHECK uint32_t ferry_check_space(struct ferry_space *space, bool look_at_host,
					    struct ferry_sink *sink);

/* Printers: nodes, regions, counters, flights. => lock held. */
void ferry_dump_space(struct ferry_space *space, struct ferry_sink *sink);

#endif
