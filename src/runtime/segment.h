/* SPDX-License-Identifier: MIT */
/* segment.h - making the machine segment from what was asked for, and mapping it. */
#ifndef FERRY_RUNTIME_SEGMENT_H
#define FERRY_RUNTIME_SEGMENT_H

#include "phys/machine.h"
#include "runtime/spec.h"

/*
 * Makes the segment: nodes, CPUs, policy, tunables; sealed so that only the mapping made here can
 * write to it. *fd = a read-only descriptor for others. warning (FERRY_SPEC_ERROR_MAX bytes) is
 * empty or one line for people.
 * => 0; -EINVAL, -ENODEV (a node or real node that does not exist), -ENOMEM, -errno: *error filled.
 */
FERRY_MUST_CHECK int ferry_segment_create(const struct ferry_machine_spec *spec,
					  struct ferry_machine **machine, int *fd, char *warning,
					  char *error);
/*
 * Makes memory that is mapped writable here and can never be again; it reads as zeros. *fd = a
 * read-only descriptor for others. => 0, -errno.
 */
FERRY_MUST_CHECK int ferry_segment_memory(const char *name, uint64_t size, void **memory, int *fd);
/*
 * Maps a segment that came from somebody else, after a look at its seals, size and content.
 * => 0, -EPROTO (it is none), -errno.
 */
FERRY_MUST_CHECK int ferry_segment_map(int fd, const struct ferry_machine **machine);
void ferry_segment_unmap(const struct ferry_machine *machine);

#endif
