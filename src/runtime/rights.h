/* SPDX-License-Identifier: MIT */
/*
 * rights.h - may this thread look into that process?
 *
 * The credentials of a socket are those of the moment of connect(); what counts are those of the
 * calling thread now, while it waits for our answer. They are read from /proc.
 */
#ifndef FERRY_RUNTIME_RIGHTS_H
#define FERRY_RUNTIME_RIGHTS_H

#include "base/types.h"

struct ferry_rights {
	bool read;     /* ptrace-read access */
	bool move_all; /* CAP_SYS_NICE: may move pages that are shared */
};

/*
 * Rights of thread tid of process pid over process target, by the rules that move_pages(2) has
 * (ptrace(2), for reading, by real ids; security modules aside): it is the caller's own process,
 * or the real ids equal all three ids of a target that is dumpable and has no capabilities that
 * the caller lacks, or CAP_SYS_PTRACE in the target's user namespace.
 * => 0; -ESRCH (no such target); -EPERM (no such caller, or its credentials cannot be read): then
 *    nothing is allowed.
 */
FERRY_MUST_CHECK int ferry_rights_get(int32_t pid, int32_t tid, int32_t target,
				      struct ferry_rights *rights);

#endif
