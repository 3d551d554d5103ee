/* SPDX-License-Identifier: MIT */
/*
 * strays.h - pages that the host copied after a fork, on machines whose nodes stand for nodes of
 * the host.
 *
 * The parent's own write to a page that a child shares gets a copy from wherever the writing thread
 * runs; the books go on with the node that the page had. While any page is shared, housekeeping
 * asks the host where pages are and has it move those that are elsewhere.
 */
#ifndef FERRY_RUNTIME_STRAYS_H
#define FERRY_RUNTIME_STRAYS_H

#include "runtime/agent.h"

/* One look over all pages, if there was a fork since the last that found none shared. No lock
 * held. */
void ferry_strays_look(struct ferry_agent *agent);

#endif
