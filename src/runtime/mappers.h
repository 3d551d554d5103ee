/* SPDX-License-Identifier: MIT */
/*
 * mappers.h - which pages of shared memory other processes of the machine have in their page
 * tables.
 *
 * Address spaces are counted, not mappings: a page that one process maps twice is its own. The host
 * tells by /proc; no other process takes part, so it may be stopped, or be dying.
 */
#ifndef FERRY_RUNTIME_MAPPERS_H
#define FERRY_RUNTIME_MAPPERS_H

#include "runtime/agent.h"

/* others[i]: has another process the page, too, that is mapped at va[i] here? One whose /proc may
 * not be read counts as such. As host.find_mappers in map/space.h. No lock held. */
void ferry_mappers_find(struct ferry_agent *agent, const ferry_va *va, uint32_t count,
			bool *others);

#endif
