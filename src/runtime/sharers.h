/* SPDX-License-Identifier: MIT */
/*
 * sharers.h - the processes that share pages with ours since a fork.
 *
 * They are looked for in our family, those that descend by fork from one program. Whether a page is
 * shared each of their agents asks the host: what it finds shared at the same address it takes for
 * ours. A page that one of them has remapped to another address stays where it is.
 */
#ifndef FERRY_RUNTIME_SHARERS_H
#define FERRY_RUNTIME_SHARERS_H

#include "runtime/agent.h"

/* The unshare() of struct ferry_space_host; context: the agent. */
void ferry_sharers_move(void *context, const ferry_va *va, const int32_t *target, int32_t *status,
			uint32_t count);

#endif
