/* SPDX-License-Identifier: MIT */
/*
 * mmu.h - the contract between the core and whatever makes pages accessible.
 *
 * The core says "this frame is now at that address"; an MMU makes it so. mmu/soft.c is the
 * definition, mmu/uffd.c does the same to a live process through userfaultfd. mmu/check.c and
 * mmu/inject.c have the same operations and stack in front of either.
 *
 * Two places can hold a page: a virtual address of the program, and a slot of an arena
 * (struct ferry_frame names a slot). Every slot and every armed address is either empty or holds
 * one page. The operations below move pages between them.
 *
 * Rules for every operation on a range (va/frame, pages, done):
 *  1. *done is set on every return: that many pages, counted from the first, have certainly been
 *     done, and no other page has been touched. 0 is returned only if *done == pages.
 *  2. On error the page at index *done is the one that could not be done, for the reason returned.
 *     A backend whose host reports less than it did (facts: a MOVE that is not whole is never
 *     believed) looks before it answers.
 *  3. An access of the program to an empty armed page parks the accessing thread until wake()
 *     covers its address; it then tries again. Waking too often is harmless.
 *  4. No operation sleeps for anything that the program has to do first. -EAGAIN means that an
 *     event of the program (fork, remap, unmap, remove) is waiting to be read: give up the space
 *     lock, let the events be read, look again, retry.
 *  5. -ESRCH: the address space is gone. Nothing else will be answered from then on.
 *  6. pages with frame.huge are FERRY_HUGE_PAGES exactly, va and frame.number aligned. A host that
 *     has split a 2 MiB page (a part was written to after a fork) handles its pages one by one, so
 *     remove() and enter() can end in its middle; what went is small pages in huge slots, or at va.
 *     Only enter_copy() may be given a part of a huge slot (frame.huge, any number of its pages):
 *     what arrives is small pages.
 *
 * Protections. A mapping may be readable, writable, executable (enum ferry_mmu_access), mlocked, or
 * guarded by a protection key. Pages come in by enter() where it is plain (readable, writable and
 * nothing else), by enter_copy() everywhere. remove() takes pages out of every mapping that can be
 * read and is neither locked nor keyed. Where the host moves pages between writable mappings only,
 * it opens a WINDOW for them: the pages are write-protected, then their mapping is made writable,
 * they go, and the mapping becomes what it was. In the window
 *  7. no store gets through that the mapping forbids, and no access is refused that it allows: a
 *     store parks until the window is closed, and then ends as its mapping says;
 *  8. a change that the program makes to the mapping meanwhile stays: only what still looks as the
 *     window made it is put back. Calls that announce themselves (window.h) do not run in a window,
 *     and no window is opened while one runs (-EAGAIN).
 */
#ifndef FERRY_MMU_MMU_H
#define FERRY_MMU_MMU_H

#include <errno.h>

#include "base/types.h"

/* What lookup() says of one page of the program. */
enum ferry_mmu_page {
	FERRY_MMU_PRESENT = 1 << 0,
	FERRY_MMU_EXCLUSIVE = 1 << 1, /* mapped here only: not shared since a fork */
	FERRY_MMU_ZERO = 1 << 2,      /* the zero page */
	FERRY_MMU_FILE = 1 << 3,      /* a page of a file or of shared memory */
	FERRY_MMU_WP = 1 << 4,        /* write-protected by unprotect()'s opposite */
	FERRY_MMU_HUGE = 1 << 5,      /* part of a 2 MiB page */
};

/* How a mapping may be accessed. */
enum ferry_mmu_access {
	FERRY_MMU_READ = 1 << 0,
	FERRY_MMU_WRITE = 1 << 1,
	FERRY_MMU_EXECUTE = 1 << 2,
};

struct ferry_mmu_caps {
	bool move;      /* enter() works, and both ways are cheap; otherwise only enter_copy() */
	bool zero_page; /* enter_zero() works and its page can be told by lookup() */
	bool huge;      /* 2 MiB frames can be filled and moved */
	bool real_nodes; /* locate() is to be asked */
};

struct ferry_mmu;

struct ferry_mmu_ops {
	/*
	 * Slots -> program: the pages of the slots become accessible at va, writable; slots empty.
	 * => 0, -EEXIST (a page is at that address), -ENOENT (nothing armed is mapped there),
	 *    -EINVAL (protection or lock of the mapping: use enter_copy), -EBUSY, -EAGAIN, -ESRCH,
	 *    -ENOMEM (the host has no page table).
	 */
	int (*enter)(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame, uint32_t pages,
		     uint32_t *done);
	/* The same by copying into any protection; the slots keep their pages. Same errors. */
	int (*enter_copy)(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			  uint32_t pages, uint32_t *done);
	/* New pages, all zeros, become accessible at va, writable, whatever the protection of the
	 * mapping; the slots are empty and stay so. Same errors. */
	int (*enter_new)(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			 uint32_t pages, uint32_t *done);
	/*
	 * Program -> slots: pages leave va and lie in the (empty) slots, contents intact; no store
	 * of the program can reach them any more. The program's accesses park from then on.
	 * => 0, -EBUSY (pinned, or shared since a fork: untouched), -ENOENT (no page there),
	 *    -EINVAL (the mapping cannot be read, is locked or keyed), -EEXIST (slot not empty),
	 *    -EAGAIN (also: the program is changing its mappings right now), -ESRCH.
	 * A zero page can be removed too.
	 */
	int (*remove)(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame, uint32_t pages,
		      uint32_t *done);
	/* The same for small pages of an mlocked mapping, which remain locked where they come in.
	 * May be NULL, and may be refused (-EINVAL) where the host allows no more locked memory. */
	int (*remove_locked)(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			     uint32_t pages, uint32_t *done);
	/* How the mapping at va may be accessed: enum ferry_mmu_access bits, 0 for none at all.
	 * => the bits, -ENOENT (nothing is mapped), -errno. */
	int (*access)(struct ferry_mmu *mmu, ferry_va va);
	/*
	 * Maps the zero page at an empty va, so that a write faults again (with write set) and a
	 * read does not. => 0, -EEXIST, -ENOENT, -EAGAIN, -ESRCH, -EINVAL (not supported there).
	 * -ESTALE: a write slipped in: a frame of the host is at va now, writable.
	 */
	int (*enter_zero)(struct ferry_mmu *mmu, ferry_va va);
	/* Lifts the write protection that enter_zero() set. Of a zero page the host then makes a
	 * frame of its own at the next write, unseen. */
	int (*unprotect)(struct ferry_mmu *mmu, ferry_va va, uint32_t pages);
	/* Lets every thread parked in the range go on. Cannot fail but by -ESRCH, which is
	 * ignored. */
	void (*wake)(struct ferry_mmu *mmu, ferry_va va, uint64_t pages);
	/* flags[i] = enum ferry_mmu_page bits of page i. => 0, -ESRCH, -EIO. */
	int (*lookup)(struct ferry_mmu *mmu, ferry_va va, uint32_t pages, uint8_t *flags);
	/*
	 * Pages in a row that are there: the first of them in [*start, end), and maybe more.
	 * => 0 with *start and *stop, -ENOENT (there is none), -ENOSYS (the host cannot say). May
	 * be NULL, as if it could not.
	 */
	int (*present_run)(struct ferry_mmu *mmu, ferry_va *start, ferry_va end, ferry_va *stop);

	/*
	 * The node to which a page of the host's making belongs: node, if its memory is there or
	 * could be brought there; else the one where it is, if there is such a node. May be NULL:
	 * then any node will do.
	 */
	uint32_t (*locate)(struct ferry_mmu *mmu, ferry_va va, uint32_t node);

	/*
	 * A page that was shared by a fork and is mapped here only again (lookup says EXCLUSIVE)
	 * may still be refused by remove(), until it is written to. This makes it movable, contents
	 * unchanged, as a write of the program would. Called WITHOUT the space lock: it may have to
	 * wait for a fault to be served. Any error means that the page is as it was. May be NULL.
	 */
	int (*reclaim_exclusive)(struct ferry_mmu *mmu, ferry_va va, uint32_t pages);

	/*
	 * Finishes what remove() and enter_copy() had to leave undone. Called WITHOUT the space
	 * lock, and by no thread that serves faults, after either: it may have to wait for a fault
	 * to be served. May be NULL.
	 */
	void (*settle)(struct ferry_mmu *mmu);

	/* Puts zeroed pages into empty slots. => 0, -ENOMEM (host has none), -ESRCH. */
	int (*fill)(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages,
		    uint32_t *done);
	/* Gives the pages of slots back to the host; the slots are empty afterwards. */
	void (*drop)(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages);
	/* Copies between pages in slots. Runs without locks; source pages are held, target not
	 * reachable. */
	int (*copy_frame)(struct ferry_mmu *mmu, struct ferry_frame target,
			  struct ferry_frame source, uint32_t pages);
	void (*zero_frame)(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages);
	/* => true if the page in the slot holds only zeros. */
	bool (*is_zero)(struct ferry_mmu *mmu, struct ferry_frame frame);

	/* Makes a mapping of the program deliver its faults from now on. Idempotent.
	 * => 0, -EINVAL (cannot be managed), -EBUSY (belongs to another userfaultfd), -ENOMEM,
	 * -ESRCH. */
	int (*arm)(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes);
	/*
	 * The same for shared memory of a mapping: from now on a touch of a page that is not in the
	 * object yet is delivered, and enter_new() makes it. Touches of others are the host's.
	 * => as arm(); -EINVAL, -EPERM (the host cannot do that for this mapping).
	 */
	int (*arm_shared)(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes);
	/*
	 * The opposite: what is empty in [start, start + len_bytes) is the host's to fill from now
	 * on, write protections are lifted, and who is parked there goes on. No page of it is away:
	 * it would be lost. => 0 (also where nothing is mapped any more), -EAGAIN, -ESRCH.
	 */
	int (*disarm)(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes);
};

/* What enter(), enter_copy(), enter_new() and remove() have in common: for what stands in front. */
typedef int ferry_mmu_range_op(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			       uint32_t pages, uint32_t *done);

struct ferry_mmu_range {
	ferry_va va;
	struct ferry_frame frame;
	uint32_t pages;
};

struct ferry_mmu {
	const struct ferry_mmu_ops *ops;
	struct ferry_mmu_caps caps;
};

/* => where to look for the first page of [start, end): end, if there is none. */
static inline ferry_va ferry_mmu_next_present(struct ferry_mmu *mmu, ferry_va start, ferry_va end)
{
	ferry_va at = start, stop;
	int err = mmu->ops->present_run == NULL ? -ENOSYS
						: mmu->ops->present_run(mmu, &at, end, &stop);

	return err == 0 ? at : err == -ENOENT ? end : start;
}

#endif
