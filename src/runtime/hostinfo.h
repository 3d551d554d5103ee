/* SPDX-License-Identifier: MIT */
/* hostinfo.h - what the host has: memory, CPUs, nodes, userfaultfd. */
#ifndef FERRY_RUNTIME_HOSTINFO_H
#define FERRY_RUNTIME_HOSTINFO_H

#include "base/types.h"

/* MemAvailable, 0 if unknown. */
uint64_t ferry_hostinfo_available_bytes(void);
/* The smallest memory limit of the control groups (v1 and v2) we are in; UINT64_MAX: none. */
uint64_t ferry_hostinfo_cgroup_limit_bytes(void);
/* CPU numbers 0 .. n-1 may exist. */
uint32_t ferry_hostinfo_cpu_count(void);
/* Whether the host has a memory node of that number. */
bool ferry_hostinfo_has_node(int32_t real_node);
/*
 * Opens /dev/userfaultfd. *device = -1 if that cannot be used, but the system call serves faults
 * of the kernel too. => 0; -EPERM, -ENOSYS: there is no way.
 */
FERRY_MUST_CHECK int ferry_hostinfo_open_userfaultfd(int *device);

#endif
