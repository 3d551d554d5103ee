/* SPDX-License-Identifier: MIT */
/* uffd_parts.h - what uffd.c and uffd_window.c share; nobody else includes it. */
#ifndef FERRY_MMU_UFFD_PARTS_H
#define FERRY_MMU_UFFD_PARTS_H

#include "mmu/uffd.h"

/* Pages to be moved by UFFDIO_MOVE. */
struct ferry_uffd_move {
	int fd;
	ferry_va dst;
	ferry_va src;
	ferry_va slot; /* whichever of the two is a slot */
	bool out;      /* the slot is the destination */
	bool whole;    /* a 2 MiB page: all or nothing */
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

#endif
