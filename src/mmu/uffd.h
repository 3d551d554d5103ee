/* SPDX-License-Identifier: MIT */
/*
 * uffd.h - the live MMU: pages of a running process, through userfaultfd.
 *
 * Runs in a process that shares the program's memory (an agent). Two userfaultfds. On `program`,
 * the program's memory is registered (missing and write-protect faults, and events), and so are the
 * arenas (write-protect mode only: no fault of ours is ever delivered). Pages come in by
 * UFFDIO_MOVE or UFFDIO_COPY, and go out by UFFDIO_MOVE, always on `program`: so the kernel refuses
 * both, by -EAGAIN, from the instant in which the program changes its mappings until the event that
 * tells of it has been read. Were a page taken out in between, it could be another than the books
 * say: after an mremap, what lies at the target already came from elsewhere.
 *
 * A discard in an arena would be an event, too, which nobody reads while the discarding thread
 * holds the space lock. So pages are thrown away in two steps: by UFFDIO_MOVE on `drain`, which has
 * no events, into a small sink, and from there.
 *
 * Hosts without UFFDIO_MOVE (`evicts`): pages come in by UFFDIO_COPY and go out as uffd_evict.c
 * says; arenas are registered nowhere, and discards are no events.
 */
#ifndef FERRY_MMU_UFFD_H
#define FERRY_MMU_UFFD_H

#include "mmu/mmu.h"
#include "mmu/window.h"

enum { FERRY_LAZY_MAX = 64 };

/* The arenas of one node. Slot s lies at small + s * 4096, or at huge + s * 4096. */
struct ferry_arena {
	ferry_va small;
	ferry_va huge;
	uint64_t slots;       /* in each of the two */
	uint64_t small_ready; /* slots below this are readable and writable (a) */
	uint64_t huge_ready;  /* (a) */
	int32_t real_node;    /* (c) of the host, that it is bound to; -1: none */
};

struct ferry_uffd {
	struct ferry_mmu mmu;
	int program;  /* (c) userfaultfd of the program's memory */
	int drain;    /* (c) userfaultfd of the sink */
	ferry_va sink; /* (c) two times FERRY_HUGE_SIZE: pages on their way out of existence (s).
			  The second half is for 2 MiB pages, which arrive whole only where there
			  never were small ones */
	int pagemap;  /* (c) /proc/self/pagemap */
	int memory;   /* (c) /proc/self/mem, -1 unless evicts */
	bool evicts;  /* (c) no UFFDIO_MOVE here, or it is not to be used */
	bool real_nodes; /* (c) an arena is bound to a node of the host */
	bool scans;   /* (c) the host has PAGEMAP_SCAN, and it is used */
	bool no_thp;  /* (c) the host makes huge pages unasked: 4 KiB regions must refuse them */
	bool huge_used; /* (a) a 2 MiB frame was made: lookup() must tell whether it is whole */
	uint64_t lazy[FERRY_LAZY_MAX]; /* (a) ranges for settle(): address | pages, 0: none */
	uint32_t lazy_count;           /* (a) */
	uint32_t evict_pages;          /* (s) of the next eviction */
	ferry_va zeros; /* (c) pages that read as zeros: what new pages are made from */
	struct ferry_arena *arena; /* (c) by node */
	uint32_t node_count;       /* (c) */
	/*
	 * The first mapping of the program that ends above *start: sets both bounds.
	 * => PROT_* bits, -ENOENT (none), -errno. NULL: pages leave plain mappings only. (c)
	 */
	int (*protection_at)(void *context, ferry_va *start, ferry_va *end);
	void *context;               /* (c) */
	struct ferry_window *window; /* (c) set if protection_at is */
	uint32_t seen_changes;       /* (s) of the window, since seen_since_ns */
	uint64_t seen_since_ns;      /* (s) */
};

/*
 * A userfaultfd that hands over faults inside system calls too: by a descriptor of
 * /dev/userfaultfd, or (device -1, or refused) by the system call.
 * => non-blocking descriptor, -errno.
 */
FERRY_MUST_CHECK int ferry_uffd_open(int device);
/*
 * Registers arenas and sink (fields program, drain, pagemap, memory, evicts, arena, node_count set
 * by the caller) and finds out what the host can do. => 0, -errno.
 */
FERRY_MUST_CHECK int ferry_uffd_init(struct ferry_uffd *uffd);
/* Makes all slots accessible, now and not as they are used. => 0, -ENOMEM. */
FERRY_MUST_CHECK int ferry_uffd_ready_all(struct ferry_uffd *uffd);
/* Has the host move pages of the program that are elsewhere than on the node's real node. */
void ferry_uffd_bring_to_node(const struct ferry_uffd *uffd, ferry_va va, uint32_t pages,
			      uint32_t node);
/* => the address of a slot. */
ferry_va ferry_uffd_slot(const struct ferry_uffd *uffd, struct ferry_frame frame);

#endif
