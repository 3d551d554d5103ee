/* SPDX-License-Identifier: MIT */
/*
 * rescue.h - when an agent was killed while its program lives.
 *
 * The pages that were away lie in the arenas of the program, which nobody serves any more: accesses
 * park. The keeper has the books and duplicates of both userfaultfds. It reads the events that
 * wait, copies every page that is HELD from its slot to its place, ends the registration of all
 * regions, which lets every parked thread go on, and closes its duplicates. The program runs on
 * unmanaged.
 */
#ifndef FERRY_RUNTIME_RESCUE_H
#define FERRY_RUNTIME_RESCUE_H

#include "runtime/keeper.h"

/*
 * Brings the pages of process home. *pages = how many. The userfaultfds and books are closed.
 * => 0; -ESRCH: the address space has ended (exec or exit), nothing was to be done; -errno: some
 *    pages could not be brought home, and the program cannot be let go on.
 */
FERRY_MUST_CHECK int ferry_rescue_process(struct ferry_keeper *keeper,
					  struct ferry_keeper_process *process, uint64_t *pages);

#endif
