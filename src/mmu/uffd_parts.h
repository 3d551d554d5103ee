/* SPDX-License-Identifier: MIT */
/* uffd_parts.h - what the uffd*.c share; nobody else includes it. */
#ifndef FERRY_MMU_UFFD_PARTS_H
#define FERRY_MMU_UFFD_PARTS_H

#include <errno.h>

#include "mmu/uffd.h"

/* Pages to be moved by UFFDIO_MOVE. */
struct ferry_uffd_move {
	int fd;
	ferry_va dst;
	ferry_va src;
	ferry_va slot; /* whichever of the two is a slot */
	bool out;      /* the slot is the destination */
	bool whole;    /* a huge frame: in one mapping, or not at all */
};

static inline struct ferry_uffd_move ferry_uffd_move_from(struct ferry_uffd_move move,
							  uint32_t pages)
{
	ferry_va offset = (ferry_va)pages * FERRY_PAGE_SIZE;

	move.dst += offset;
	move.src += offset;
	move.slot += offset;
	return move;
}

/* Moves pages, all before the first that cannot go. => 0, -errno; *done = pages that went. */
FERRY_MUST_CHECK int ferry_uffd_move_range(struct ferry_uffd *uffd, struct ferry_uffd_move move,
					   uint32_t pages, uint32_t *done);
/* UFFDIO_WRITEPROTECT with a mode. => 0, -errno. */
int ferry_uffd_write_protect(struct ferry_uffd *uffd, ferry_va va, uint64_t pages, uint64_t mode);
/*
 * The same as ferry_uffd_move_range() for pages whose mapping is not plain; stops where the mapping
 * ends. => 0 with pages moved (others may follow), -EINVAL (cannot be moved out of there), -EAGAIN,
 * -errno.
 */
FERRY_MUST_CHECK int ferry_uffd_move_by_window(struct ferry_uffd *uffd, struct ferry_uffd_move move,
					       uint32_t pages, uint32_t *done);

/* => 0, -ESRCH (nothing to be read: the address space is gone), -errno. */
FERRY_MUST_CHECK int ferry_uffd_read_pagemap(const struct ferry_uffd *uffd, ferry_va va,
					     uint64_t *entries, uint32_t pages);
/* Does an event wait to be read? */
bool ferry_uffd_is_event_waiting(const struct ferry_uffd *uffd);
/* What the host says of a mapping counts only if no event waits: => err, or -EAGAIN. */
int ferry_uffd_final_error(const struct ferry_uffd *uffd, int err);

/* The error of a range that spans two mappings, or has none. */
static inline bool ferry_uffd_is_range_error(int err)
{
	return err == -EINVAL || err == -ENOENT;
}

/* uffd_evict.c: as mmu->remove, for small pages; the slots are accessible. */
FERRY_MUST_CHECK int ferry_uffd_evict(struct ferry_uffd *uffd, ferry_va va, ferry_va slot,
				      uint32_t pages, uint32_t *done);
/* A page at va may be one that the host would drop: settle() sees to it. */
void ferry_uffd_note_lazy(struct ferry_uffd *uffd, ferry_va va, uint32_t pages);
/* uffd_nodes.c: binds the arenas that stand for nodes of the host. => 0, -errno. */
FERRY_MUST_CHECK int ferry_uffd_bind_nodes(struct ferry_uffd *uffd);
/* Memory of the program is armed. */
void ferry_uffd_arm_policy(const struct ferry_uffd *uffd, ferry_va start, uint64_t len_bytes);
/* What the host allocates for the calling thread comes from the node (begin), or from anywhere. */
void ferry_uffd_prefer(const struct ferry_uffd *uffd, uint32_t node, bool begin);
/* As mmu->locate. */
uint32_t ferry_uffd_locate(const struct ferry_uffd *uffd, ferry_va va, uint32_t node);
/* As mmu->settle. */
void ferry_uffd_settle(struct ferry_uffd *uffd);

#endif
