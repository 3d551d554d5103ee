/* SPDX-License-Identifier: MIT */
/*
 * probe.h - what this host lets us do, found by trying it.
 *
 * Nothing is concluded from a version where it can be tried: a feature is there if its call did
 * its work on a page of our own. What is tried leaves nothing behind.
 */
#ifndef FERRY_HOST_PROBE_H
#define FERRY_HOST_PROBE_H

#include "base/types.h"

/* 0: it works; else -errno of the call that failed. */
struct ferry_probe_uffd {
	int device;      /* opening /dev/userfaultfd */
	int device_new;  /* a userfaultfd from it */
	int call;        /* the system call, for faults of the kernel too */
	int call_user;   /* the same for faults of user mode only */
	int api;         /* the features without which nothing works */
	int fork_events; /* the same and events of fork */
	int move;        /* UFFDIO_MOVE moved a page */
	int copy;        /* UFFDIO_COPY placed one, write-protected */
	uint64_t features;
	int device_minor; /* of the misc device, -1: the kernel has none */
	int unprivileged; /* vm.unprivileged_userfaultfd, -1: cannot be read */
};

struct ferry_probe {
	char release[68];
	char machine[68];
	uint32_t uid;
	bool may_ptrace; /* CAP_SYS_PTRACE */
	struct ferry_probe_uffd uffd;
	int pagemap, pagemap_scan;
	int pidfd, remote_read, kcmp, sealed_memfd;
	char thp[64];   /* the word in brackets; empty: no transparent huge pages */
	int overcommit; /* vm.overcommit_memory, -1: cannot be read */
	uint64_t commit_left_bytes;
	uint64_t max_map_count;
	uint64_t memory_bytes; /* available */
	uint64_t group_bytes;  /* limit of the memory cgroup, UINT64_MAX: none */
	uint64_t files_max;    /* RLIMIT_NOFILE, the hard one; UINT64_MAX: no limit, as below */
	uint64_t address_space_bytes, locked_bytes, data_bytes, core_bytes;
	char nodes[128]; /* nodes with memory; empty: a host without NUMA */
	bool data_may_rise; /* RLIMIT_DATA can be raised by what a machine adds */
	int seccomp;     /* mode, -1: cannot be read */
	bool no_new_privileges;
	int yama; /* ptrace_scope, -1: no such module */
	uint64_t huge_pages;
	int run_directory;
};

void ferry_probe(struct ferry_probe *probe);
/* The part without which nothing can run: uid, uffd, pagemap; the rest is zero. */
void ferry_probe_needed(struct ferry_probe *probe);
void ferry_probe_uffd(struct ferry_probe_uffd *uffd);

static inline bool ferry_probe_is_usable(const struct ferry_probe_uffd *uffd)
{
	return uffd->api == 0 && (uffd->move == 0 || uffd->copy == 0);
}

#endif
