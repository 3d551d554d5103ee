/* SPDX-License-Identifier: MIT */
/*
 * shared.h - an agent's part in shared memory: which mappings of its program are parts of objects,
 * and what the core asks of its host about them (map/space.h).
 *
 * A mapping becomes a region with FERRY_REGION_SHARED once the keeper has said where its part of
 * the object lies. From before that question until the region is there, `attaching` keeps the
 * house from telling the keeper what the program maps: it would leave that one out.
 *
 * What cannot be registered (System V's mappings; a memfd that is sealed against writing) is
 * managed without: who touches a page first is not known, and when it is unmapped nobody tells.
 * Such regions (FERRY_REGION_UNARMED) are compared with the mappings before anything new is taken
 * over.
 */
#ifndef FERRY_RUNTIME_SHARED_H
#define FERRY_RUNTIME_SHARED_H

#include "runtime/agent.h"
#include "runtime/maps.h"

/* What file systems objects are on. To be called once, in the agent's setup. */
void ferry_shared_begin(struct ferry_agent *agent);
/* => whether the mapping is a part of an object, and not our own. */
bool ferry_shared_is_object(const struct ferry_agent *agent, const struct ferry_mapping *mapping);
/* Takes over what no region covers of a mapping that is a part of an object. cpu: 1 + that of who
 * mapped it, 0: unknown. No lock held. => 0, -errno (the rest of it stays the host's). */
FERRY_MUST_CHECK int ferry_shared_adopt(struct ferry_agent *agent,
					const struct ferry_mapping *mapping, uint64_t cpu);
/* Gives up regions that are not mapped any more, and were not registered, in a range. No lock
 * held. */
void ferry_shared_drop_stale(struct ferry_agent *agent, ferry_va start, ferry_va end);
/* Tells the keeper which objects the program maps, if it has unmapped anything. No lock held. */
void ferry_shared_tell_mapped(struct ferry_agent *agent);
/* Everything that agents have said is in the labels when this returns, and pages of objects in the
 * range that have no label get one. No lock held. => 0, -errno. */
FERRY_MUST_CHECK int ferry_shared_settle(struct ferry_agent *agent, ferry_va start, ferry_va end);
/* Sets what the core asks for. */
void ferry_shared_set_host(struct ferry_agent *agent, struct ferry_space_host *host);

#endif
