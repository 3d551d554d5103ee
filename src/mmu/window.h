/* SPDX-License-Identifier: MIT */
/*
 * window.h - how a program's calls that change mappings and the windows of its agent keep out of
 * each other's way; see "Protections" in mmu.h.
 *
 * One word for each side. Each announces itself first and then looks at the other's word, so they
 * never both go on:
 *
 *      program                                 agent
 *      changing++                              open = 1
 *      while (open) wait for it to become 0    if (changing) { open = 0; try again later }
 *      the system call                         the window
 *      changing--                              open = 0, wake
 *
 * A window takes microseconds. A thread that is stopped in the middle of its call keeps windows
 * shut; one that has left it by a longjmp from a signal handler would for ever, so an announcement
 * without news for some time no longer counts: what a raw system call may do in a window is safe as
 * well, it can only look wrong for an instant.
 *
 * start, end and protection say what has to be put right if the agent is killed in a window.
 */
#ifndef FERRY_MMU_WINDOW_H
#define FERRY_MMU_WINDOW_H

#include "base/types.h"

struct ferry_window {
	uint32_t open;     /* (a) futex: 1 while a window is open */
	uint32_t changing; /* (a) calls under way */
	uint32_t changes;  /* (a) calls that ever began */
	int32_t protection; /* PROT_*, of the mapping before */
	ferry_va start, end;
};

#endif
