/* SPDX-License-Identifier: MIT */
/*
 * limits.h - what an agent's memory counts for under the program's RLIMIT_DATA.
 *
 * The host counts writable private memory, so the arenas too, which grow as they are used. Under a
 * limit all of them is made writable at once (addresses, not memory): then what they count for is
 * one number for a machine, in every process of it and after every exec, and can be added to the
 * limit that the program sets and taken off the one that it is shown.
 */
#ifndef FERRY_RUNTIME_LIMITS_H
#define FERRY_RUNTIME_LIMITS_H

#include "runtime/agent.h"

/* Does the calling process's limit leave room for the arenas? A program whose frames run out is
 * killed: without room it had better run unmanaged. */
bool ferry_limits_have_room(const struct ferry_machine *machine);
/* The agent begins: its own limit is as high as it may be, so that the program's hinders none of
 * its work; the arenas are counted if the program has one. => 0, -ENOMEM. */
FERRY_MUST_CHECK int ferry_limits_begin(struct ferry_agent *agent);
/* The program sets a limit. => what is to be added to it; 0: it cannot be counted. */
uint64_t ferry_limits_count(struct ferry_agent *agent);

#endif
