/* SPDX-License-Identifier: MIT */
/* maps.h - the mappings of the address space we run in, one at a time, without libc. */
#ifndef FERRY_RUNTIME_MAPS_H
#define FERRY_RUNTIME_MAPS_H

#include <sys/types.h>

#include "base/types.h"

enum { FERRY_MAPPING_NAME = 256 };

struct ferry_mapping {
	ferry_va start;
	ferry_va end;
	int protection; /* PROT_READ, PROT_WRITE, PROT_EXEC */
	bool anonymous; /* private, backed by no file, not the kernel's own */
	bool shared;    /* MAP_SHARED */
	bool kernels;   /* the kernel's own: vdso, vvar */
	uint64_t device; /* of the file behind it: major << 32 | minor */
	uint64_t inode;
	uint64_t offset; /* of start in the file, bytes */
	char name[FERRY_MAPPING_NAME]; /* "" where it has none, or a longer one */
};

/*
 * The mapping that contains va, or the next above it. fd: /proc/PID/maps of an address space that
 * stands still enough (a mapping may be gone when the answer arrives).
 * => 0, -ENOENT (none above), -errno.
 */
FERRY_MUST_CHECK int ferry_maps_next(int fd, ferry_va va, struct ferry_mapping *mapping);
/* => the device of a file, as stat() tells it, in the form of a mapping's device. */
uint64_t ferry_maps_device(dev_t device);
/* => whether any mapping has this name. */
FERRY_MUST_CHECK bool ferry_maps_have(int fd, const char *name);

#endif
