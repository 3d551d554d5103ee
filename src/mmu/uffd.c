/* SPDX-License-Identifier: MIT */
/*
 * uffd.c - see uffd.h; the contract is mmu.h.
 *
 * Invariants:
 *  1. A slot is empty, or holds a page that no address of the program maps.
 *  2. A MOVE that did not do all it was asked for is not believed: whether a page went is read
 *     from the pagemap of its slot, which tells both directions apart (out: the slot fills, in: it
 *     empties). The kernel stops at the first page that fails, so what went is a prefix.
 *  3. An error that says what is at an address is given only if no event waits. The kernel looks at
 *     the mapping before it looks, for the last time, for events: what it says of a mapping may
 *     already be news of an mremap that the books do not know.
 *  4. Nothing here takes a lock or waits, but what mmu.h calls without the lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "base/os.h"
#include "base/sys.h"
#include "mmu/uffd_parts.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

enum {
	READY_STEP = 8192, /* slots made accessible at a time: 32 MiB */
	MOVE_TRIES = 8,
	LOOKUP_BLOCK = 512,
	SCAN_REGIONS = 64,
	ZEROS = 64, /* pages of the source of new ones */
};

static struct ferry_uffd *uffd_of(struct ferry_mmu *mmu)
{
	return (struct ferry_uffd *)mmu;
}

ferry_va ferry_uffd_slot(const struct ferry_uffd *uffd, struct ferry_frame frame)
{
	const struct ferry_arena *arena = &uffd->arena[frame.node];

	return (frame.huge ? arena->huge : arena->small) +
	       (ferry_va)frame.number * FERRY_PAGE_SIZE;
}

/* Makes the arena accessible up to the frames' end. Concurrent callers do it twice, harmlessly. */
static int make_ready(struct ferry_uffd *uffd, struct ferry_frame frame, uint32_t pages)
{
	struct ferry_arena *arena = &uffd->arena[frame.node];
	uint64_t *ready = frame.huge ? &arena->huge_ready : &arena->small_ready;
	uint64_t need = (uint64_t)frame.number + pages;
	uint64_t old = __atomic_load_n(ready, __ATOMIC_ACQUIRE);
	long ret;

	if (need <= old)
		return 0;
	need = (need + READY_STEP - 1) / READY_STEP * READY_STEP;
	if (need > arena->slots)
		need = arena->slots;
	ret = ferry_sys3(SYS_mprotect,
			 (frame.huge ? arena->huge : arena->small) + old * FERRY_PAGE_SIZE,
			 (need - old) * FERRY_PAGE_SIZE, PROT_READ | PROT_WRITE);
	if (ret)
		return (int)ret;
	/* held by nobody: another thread may have gone further meanwhile */
	while (old < need && !__atomic_compare_exchange_n(ready, &old, need, false,
							  __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		;
	return 0;
}

int ferry_uffd_read_pagemap(const struct ferry_uffd *uffd, ferry_va va, uint64_t *entries,
			    uint32_t pages)
{
	size_t want = (size_t)pages * sizeof(entries[0]);
	size_t have = 0;

	while (have < want) {
		long got = ferry_sys4(SYS_pread64, uffd->pagemap, (char *)entries + have,
				      want - have,
				      va / FERRY_PAGE_SIZE * sizeof(entries[0]) + have);

		/* Without this there is no truth about a MOVE: a host short of memory is asked on.
		 */
		if (got == -EINTR || got == -ENOMEM)
			continue;
		if (got <= 0)
			return got == 0 ? -ESRCH : (int)got;
		have += (size_t)got;
	}
	return 0;
}

/* How many leading slots are filled (or empty). */
static uint32_t count_slots(const struct ferry_uffd *uffd, ferry_va slot, uint32_t pages,
			    bool filled)
{
	uint64_t entries[LOOKUP_BLOCK];
	uint32_t count = 0;

	while (count < pages) {
		uint32_t block = pages - count < LOOKUP_BLOCK ? pages - count : LOOKUP_BLOCK;

		if (ferry_uffd_read_pagemap(uffd, slot + (ferry_va)count * FERRY_PAGE_SIZE, entries,
					    block))
			return count;
		for (uint32_t i = 0; i < block; i++, count++)
			if (((entries[i] & (FERRY_PAGEMAP_PRESENT | FERRY_PAGEMAP_SWAP)) != 0) !=
			    filled)
				return count;
	}
	return count;
}

/* Does an event wait to be read? Asked by a call that does nothing: its range is not registered. */
bool ferry_uffd_is_event_waiting(const struct ferry_uffd *uffd)
{
	struct uffdio_writeprotect wp = {
		.range = {.start = uffd->sink, .len = FERRY_PAGE_SIZE},
		.mode = UFFDIO_WRITEPROTECT_MODE_DONTWAKE,
	};

	return ferry_sys3(SYS_ioctl, uffd->program, UFFDIO_WRITEPROTECT, &wp) == -EAGAIN;
}

/* Invariant 3. */
int ferry_uffd_final_error(const struct ferry_uffd *uffd, int err)
{
	bool about_mapping = err == -ENOENT || err == -EEXIST || err == -EINVAL;

	return about_mapping && ferry_uffd_is_event_waiting(uffd) ? -EAGAIN : err;
}

/* One MOVE call and its truth. => 0 or -errno; *done = pages that went. */
static int move_once(const struct ferry_uffd *uffd, const struct ferry_uffd_move *r, uint32_t pages,
		     uint32_t *done)
{
	struct uffdio_move move = {
		.dst = r->dst,
		.src = r->src,
		.len = (uint64_t)pages * FERRY_PAGE_SIZE,
		.mode = UFFDIO_MOVE_MODE_DONTWAKE,
	};
	long ret = ferry_sys3(SYS_ioctl, r->fd, UFFDIO_MOVE, &move);

	if (ret == 0 && move.move == (int64_t)move.len) {
		*done = pages;
		return 0;
	}
	*done = count_slots(uffd, r->slot, pages, r->out);
	if (*done == pages)
		return 0;
	return ret < 0 ? (int)ret : -EAGAIN;
}

/*
 * The kernel refuses a range that spans two of its mappings, with the error of a range that has
 * none; neighbours in the books may be two mappings (a heap that grew). So a refused range is
 * halved until its first page is refused alone; a huge frame is refused then.
 */
int ferry_uffd_move_range(struct ferry_uffd *uffd, struct ferry_uffd_move r, uint32_t pages,
			  uint32_t *done)
{
	uint32_t piece = pages;
	int err = 0;

	*done = 0;
	for (int tries = 0; tries < MOVE_TRIES; tries++) {
		struct ferry_uffd_move rest = ferry_uffd_move_from(r, *done);
		uint32_t went;

		err = move_once(uffd, &rest, piece, &went);
		*done += went;
		if (*done == pages)
			return 0;
		if (went) { /* the error may be another page's: ask again for this one */
			tries = -1;
			if (piece > pages - *done)
				piece = pages - *done;
		} else if (ferry_uffd_is_range_error(err) && piece > 1 && !r.whole) {
			tries = -1;
			piece /= 2;
		} else if (err != -EAGAIN && !(err == -EEXIST && r.out)) {
			return err;
		}
	}
	/* A slot that is empty cannot be "there already": the kernel's error is stale. */
	return err == -EEXIST && r.out ? -EBUSY : err;
}

static int uffd_enter(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame, uint32_t pages,
		      uint32_t *done)
{
	struct ferry_uffd *uffd = uffd_of(mmu);
	ferry_va slot = ferry_uffd_slot(uffd, frame);
	struct ferry_uffd_move move = { uffd->program, va, slot, slot, false, frame.huge != 0 };

	return ferry_uffd_final_error(uffd, ferry_uffd_move_range(uffd, move, pages, done));
}

static int uffd_remove(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
		       uint32_t pages, uint32_t *done)
{
	struct ferry_uffd *uffd = uffd_of(mmu);
	ferry_va slot = ferry_uffd_slot(uffd, frame);
	struct ferry_uffd_move move = { uffd->program, slot, va, slot, true, frame.huge != 0 };
	int err = make_ready(uffd, frame, pages);

	*done = 0;
	if (uffd->evicts && !err)
		return ferry_uffd_evict(uffd, va, slot, pages, done);
	while (!err && *done < pages) {
		uint32_t went;

		err = ferry_uffd_move_range(uffd, ferry_uffd_move_from(move, *done), pages - *done,
					    &went);
		*done += went;
		if (err != -EINVAL)
			break;
		err = ferry_uffd_move_by_window(uffd, ferry_uffd_move_from(move, *done),
						pages - *done, &went);
		*done += went;
	}
	return ferry_uffd_final_error(uffd, err);
}

/*
 * UFFDIO_MOVE wants both sides locked or none: so the slots are locked for the moment, and may be
 * filled by faults only, or they would be at once.
 */
static int uffd_remove_locked(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			      uint32_t pages, uint32_t *done)
{
	struct ferry_uffd *uffd = uffd_of(mmu);
	ferry_va slot = ferry_uffd_slot(uffd, frame);
	uint64_t bytes = (uint64_t)pages * FERRY_PAGE_SIZE;
	int err = make_ready(uffd, frame, pages);

	*done = 0;
	if (uffd->evicts || (!err && ferry_sys3(SYS_mlock2, slot, bytes, MLOCK_ONFAULT)))
		return -EINVAL;
	if (!err)
		err = uffd_remove(mmu, va, frame, pages, done);
	(void)ferry_sys2(SYS_munlock, slot, bytes);
	return err;
}

static int uffd_access(struct ferry_mmu *mmu, ferry_va va)
{
	struct ferry_uffd *uffd = uffd_of(mmu);
	ferry_va start = va, end = va;
	int protection = -ENOENT, access = 0;

	if (uffd->protection_at != NULL)
		protection = uffd->protection_at(uffd->context, &start, &end);
	if (protection < 0 || start > va)
		return protection < 0 ? protection : -ENOENT;
	access |= protection & PROT_READ ? FERRY_MMU_READ : 0;
	access |= protection & PROT_WRITE ? FERRY_MMU_WRITE : 0;
	access |= protection & PROT_EXEC ? FERRY_MMU_EXECUTE : 0;
	return access;
}

static int copy_failed(struct ferry_uffd *uffd, ferry_va va, int err)
{
	/* A page that the program moved here while it was on its way out may be droppable. */
	if (err == -EEXIST && uffd->evicts)
		ferry_uffd_note_lazy(uffd, va, 1);
	return ferry_uffd_final_error(uffd, err);
}

static int copy_in(struct ferry_uffd *uffd, ferry_va va, ferry_va slot, uint32_t pages,
		   uint32_t *done)
{
	uint32_t piece = pages;

	*done = 0;
	while (*done < pages) {
		uint64_t offset = (uint64_t)*done * FERRY_PAGE_SIZE;
		struct uffdio_copy copy = {
			.dst = va + offset,
			.src = slot + offset,
			.len = (uint64_t)piece * FERRY_PAGE_SIZE,
			.mode = UFFDIO_COPY_MODE_DONTWAKE,
		};
		long ret = ferry_sys3(SYS_ioctl, uffd->program, UFFDIO_COPY, &copy);

		if (copy.copy > 0)
			*done += (uint32_t)((uint64_t)copy.copy / FERRY_PAGE_SIZE);
		else if (ferry_uffd_is_range_error((int)ret) && piece > 1)
			piece /= 2;
		else if (ret < 0)
			return copy_failed(uffd, va + offset, (int)ret);
		if (piece > pages - *done)
			piece = pages - *done;
	}
	return 0;
}

static int uffd_enter_copy(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			   uint32_t pages, uint32_t *done)
{
	struct ferry_uffd *uffd = uffd_of(mmu);
	int err;

	/* Elsewhere the policy of the mapping decides (ferry_uffd_arm_policy()). */
	if (uffd->evicts)
		ferry_uffd_prefer(uffd, frame.node, true);
	err = copy_in(uffd, va, ferry_uffd_slot(uffd, frame), pages, done);
	if (uffd->evicts)
		ferry_uffd_prefer(uffd, frame.node, false);
	ferry_uffd_bring_to_node(uffd, va, *done, frame.node);
	return err;
}

/* The host makes a page and fills it from ours, with no other CPU to be interrupted for it. */
static int uffd_enter_new(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			  uint32_t pages, uint32_t *done)
{
	struct ferry_uffd *uffd = uffd_of(mmu);
	int err = 0;

	ferry_uffd_prefer(uffd, frame.node, true);
	for (*done = 0; *done < pages && !err;) {
		uint32_t piece = pages - *done, went;

		if (piece > ZEROS)
			piece = ZEROS;
		err = copy_in(uffd, va + (ferry_va)*done * FERRY_PAGE_SIZE, uffd->zeros, piece,
			      &went);
		*done += went;
	}
	ferry_uffd_prefer(uffd, frame.node, false);
	return err;
}

static uint32_t uffd_locate(struct ferry_mmu *mmu, ferry_va va, uint32_t node)
{
	return ferry_uffd_locate(uffd_of(mmu), va, node);
}

int ferry_uffd_write_protect(struct ferry_uffd *uffd, ferry_va va, uint64_t pages, uint64_t mode)
{
	struct uffdio_writeprotect wp = {
		.range = {.start = va, .len = pages * FERRY_PAGE_SIZE},
		.mode = mode,
	};

	return (int)ferry_sys3(SYS_ioctl, uffd->program, UFFDIO_WRITEPROTECT, &wp);
}

/* Does the page map alone say that the zero page is there? What we write-protect for longer than a
 * call is the process's own or the zero page, which is counted for nobody. */
static bool looks_zero(const struct ferry_uffd *uffd, uint8_t flags)
{
	const uint8_t known = FERRY_MMU_PRESENT | FERRY_MMU_EXCLUSIVE | FERRY_MMU_FILE |
			      FERRY_MMU_WP;

	return !uffd->scans && (flags & known) == (FERRY_MMU_PRESENT | FERRY_MMU_WP);
}

/* What only PAGEMAP_SCAN tells: zero pages, and parts of 2 MiB pages. */
static int mark_special(struct ferry_uffd *uffd, ferry_va va, uint32_t pages, uint8_t *flags)
{
	struct page_region found[SCAN_REGIONS];
	ferry_va end = va + (ferry_va)pages * FERRY_PAGE_SIZE;
	ferry_va at = va;

	while (at < end) {
		struct pm_scan_arg scan = {
			.size = sizeof(scan),
			.start = at,
			.end = end,
			.vec = (uint64_t)(uintptr_t)found,
			.vec_len = SCAN_REGIONS,
			.category_anyof_mask = PAGE_IS_PFNZERO | PAGE_IS_HUGE,
			.return_mask = PAGE_IS_PFNZERO | PAGE_IS_HUGE,
		};
		long n = ferry_sys3(SYS_ioctl, uffd->pagemap, PAGEMAP_SCAN, &scan);

		if (n < 0)
			return (int)n;
		for (long i = 0; i < n; i++) {
			unsigned mark = found[i].categories & PAGE_IS_PFNZERO ? FERRY_MMU_ZERO : 0u;

			mark |= found[i].categories & PAGE_IS_HUGE ? FERRY_MMU_HUGE : 0u;
			for (ferry_va p = found[i].start; p < found[i].end; p += FERRY_PAGE_SIZE)
				flags[(p - va) / FERRY_PAGE_SIZE] |= (uint8_t)mark;
		}
		if (scan.walk_end <= at)
			break;
		at = scan.walk_end;
	}
	return 0;
}

static int uffd_lookup(struct ferry_mmu *mmu, ferry_va va, uint32_t pages, uint8_t *flags)
{
	struct ferry_uffd *uffd = uffd_of(mmu);
	uint64_t entries[LOOKUP_BLOCK];
	bool huge_used = __atomic_load_n(&uffd->huge_used, __ATOMIC_RELAXED);
	bool special = false;

	for (uint32_t at = 0; at < pages; at += LOOKUP_BLOCK) {
		uint32_t block = pages - at < LOOKUP_BLOCK ? pages - at : LOOKUP_BLOCK;
		int err = ferry_uffd_read_pagemap(uffd, va + (ferry_va)at * FERRY_PAGE_SIZE,
						  entries, block);

		if (err)
			return err;
		for (uint32_t i = 0; i < block; i++) {
			uint64_t e = entries[i];
			unsigned f = 0;

			/* Whose a page is that is swapped out, the host does not tell: remove()
			 * finds out. */
			if (e & FERRY_PAGEMAP_SWAP) {
				f = FERRY_MMU_PRESENT | FERRY_MMU_EXCLUSIVE;
				f |= e & FERRY_PAGEMAP_WP ? FERRY_MMU_WP : 0u;
			} else if (e & FERRY_PAGEMAP_PRESENT) {
				f |= FERRY_MMU_PRESENT;
				f |= e & FERRY_PAGEMAP_EXCLUSIVE ? FERRY_MMU_EXCLUSIVE : 0u;
				f |= e & FERRY_PAGEMAP_FILE ? FERRY_MMU_FILE : 0u;
				f |= e & FERRY_PAGEMAP_WP ? FERRY_MMU_WP : 0u;
				/* the zero page is counted for nobody: it never looks exclusive */
				if (!(f & (FERRY_MMU_EXCLUSIVE | FERRY_MMU_FILE)) || huge_used)
					special = true;
			}
			if (looks_zero(uffd, (uint8_t)f))
				f |= FERRY_MMU_ZERO;
			flags[at + i] = (uint8_t)f;
		}
	}
	return special && uffd->scans ? mark_special(uffd, va, pages, flags) : 0;
}

static int uffd_present_run(struct ferry_mmu *mmu, ferry_va *start, ferry_va end, ferry_va *stop)
{
	struct page_region found[1];
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.start = *start,
		.end = end,
		.vec = (uint64_t)(uintptr_t)found,
		.vec_len = 1,
		.max_pages = FERRY_HUGE_PAGES,
		.category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED,
	};
	long n = -ENOSYS;

	if (uffd_of(mmu)->scans)
		n = ferry_sys3(SYS_ioctl, uffd_of(mmu)->pagemap, PAGEMAP_SCAN, &scan);
	if (n <= 0)
		return n < 0 ? -ENOSYS : -ENOENT;
	*start = found[0].start;
	*stop = found[0].end;
	return 0;
}

static int uffd_enter_zero(struct ferry_mmu *mmu, ferry_va va)
{
	struct ferry_uffd *uffd = uffd_of(mmu);
	struct uffdio_zeropage zero = {
		.range = {.start = va, .len = FERRY_PAGE_SIZE},
		.mode = UFFDIO_ZEROPAGE_MODE_DONTWAKE,
	};
	uint8_t flags = 0;
	long err;

	if (!mmu->caps.zero_page)
		return -EINVAL;
	err = ferry_sys3(SYS_ioctl, uffd->program, UFFDIO_ZEROPAGE, &zero);
	if (err && err != -EEXIST)
		return ferry_uffd_final_error(uffd, (int)err);
	if (err == -EEXIST) {
		/* An earlier try may have got this far and met an event before it could protect. */
		err = uffd_lookup(mmu, va, 1, &flags);
		if (err)
			return (int)err;
		if (!(flags & FERRY_MMU_ZERO))
			return ferry_uffd_final_error(uffd, -EEXIST);
	}
	err = ferry_uffd_write_protect(uffd, va, 1, UFFDIO_WRITEPROTECT_MODE_WP);
	if (err)
		return (int)err;
	err = uffd_lookup(mmu, va, 1, &flags);
	if (err)
		return (int)err;
	if (flags & FERRY_MMU_ZERO)
		return 0;
	/* A write came between: the host put a frame there. Leave it writable. */
	err = ferry_uffd_write_protect(uffd, va, 1, UFFDIO_WRITEPROTECT_MODE_DONTWAKE);
	return err == -ESRCH ? -ESRCH : -ESTALE;
}

static int uffd_unprotect(struct ferry_mmu *mmu, ferry_va va, uint32_t pages)
{
	return ferry_uffd_write_protect(uffd_of(mmu), va, pages, UFFDIO_WRITEPROTECT_MODE_DONTWAKE);
}

static void uffd_wake(struct ferry_mmu *mmu, ferry_va va, uint64_t pages)
{
	struct uffdio_range range = {.start = va, .len = pages * FERRY_PAGE_SIZE};

	(void)ferry_sys3(SYS_ioctl, uffd_of(mmu)->program, UFFDIO_WAKE, &range);
}

static void uffd_settle(struct ferry_mmu *mmu)
{
	ferry_uffd_settle(uffd_of(mmu));
}

static int uffd_reclaim_exclusive(struct ferry_mmu *mmu, ferry_va va, uint32_t pages)
{
	long ret;

	/* A page that was touched lately is referred to by a list of the CPU that served the touch:
	 * a call that moves no page empties these lists, on all CPUs. */
	if (uffd_of(mmu)->evicts)
		(void)ferry_sys6(SYS_move_pages, 0, 0, (long)&ret, (long)&ret, (long)&ret,
				 FERRY_MPOL_MF_MOVE);
	/* A write fault on each page that the kernel holds for shared: it finds no other user and
	 * keeps the page. Unlike a write of ours it cannot crash on a mapping that is gone. */
	do
		ret = ferry_sys3(SYS_madvise, va, (uint64_t)pages * FERRY_PAGE_SIZE,
				 MADV_POPULATE_WRITE);
	while (ret == -EINTR);
	return (int)ret;
}

static int uffd_fill(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages,
		     uint32_t *done)
{
	struct ferry_uffd *uffd = uffd_of(mmu);
	ferry_va slot = ferry_uffd_slot(uffd, frame);
	int err = make_ready(uffd, frame, pages);
	long ret;

	*done = 0;
	if (err)
		return err;
	if (frame.huge)
		__atomic_store_n(&uffd->huge_used, true, __ATOMIC_RELAXED);
	do
		ret = ferry_sys3(SYS_madvise, slot, (uint64_t)pages * FERRY_PAGE_SIZE,
				 MADV_POPULATE_WRITE);
	while (ret == -EINTR || ret == -EAGAIN);
	if (ret == 0) {
		*done = pages;
		return 0;
	}
	*done = count_slots(uffd, slot, pages, true);
	if (frame.huge && *done) {
		mmu->ops->drop(mmu, frame, pages);
		*done = 0;
	}
	return -ENOMEM;
}

/* Throws away pages from the begin of a range of slots. => slots that are empty now. */
static uint32_t drain_some(const struct ferry_uffd *uffd, ferry_va slot, uint32_t pages, bool huge)
{
	struct uffdio_move move = {
		.dst = uffd->sink + (huge ? FERRY_HUGE_SIZE : 0),
		.src = slot,
		.mode = UFFDIO_MOVE_MODE_DONTWAKE | UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES,
	};
	uint32_t went = 0;

	if (pages > FERRY_HUGE_PAGES)
		pages = FERRY_HUGE_PAGES;
	for (int tries = 0; tries < MOVE_TRIES && went == 0; tries++) {
		move.len = (uint64_t)pages * FERRY_PAGE_SIZE;
		move.move = 0;
		(void)ferry_sys3(SYS_ioctl, uffd->drain, UFFDIO_MOVE, &move);
		(void)ferry_sys3(SYS_madvise, move.dst, FERRY_HUGE_SIZE, MADV_DONTNEED);
		went = count_slots(uffd, slot, pages, false);
	}
	return went;
}

static void uffd_drop(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages)
{
	struct ferry_uffd *uffd = uffd_of(mmu);
	ferry_va slot = ferry_uffd_slot(uffd, frame);

	if (uffd->evicts) { /* no event comes of it there */
		(void)ferry_sys3(SYS_madvise, slot, (uint64_t)pages * FERRY_PAGE_SIZE,
				 MADV_DONTNEED);
		return;
	}
	while (pages > 0) {
		bool huge = frame.huge && pages >= FERRY_HUGE_PAGES &&
			    ferry_huge_down(slot) == slot;
		uint32_t went = drain_some(uffd, slot, pages, huge);

		if (went == 0) {
			/* Somebody refers to it. It must not be read by anybody; and a page that
			 * was shared is ours alone once it was written to, and goes. */
			memset((void *)(uintptr_t)slot, 0, FERRY_PAGE_SIZE);
			went = drain_some(uffd, slot, 1, false);
		}
		/* It stays, zeroed: whoever wants the slot empty finds it, and comes here again. */
		if (went == 0)
			went = 1;
		slot += (ferry_va)went * FERRY_PAGE_SIZE;
		pages -= went;
	}
}

static void *slot_memory(struct ferry_mmu *mmu, struct ferry_frame frame)
{
	return (void *)(uintptr_t)ferry_uffd_slot(uffd_of(mmu), frame);
}

static int uffd_copy_frame(struct ferry_mmu *mmu, struct ferry_frame target,
			   struct ferry_frame source, uint32_t pages)
{
	memcpy(slot_memory(mmu, target), slot_memory(mmu, source), (size_t)pages * FERRY_PAGE_SIZE);
	return 0;
}

static void uffd_zero_frame(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages)
{
	memset(slot_memory(mmu, frame), 0, (size_t)pages * FERRY_PAGE_SIZE);
}

static bool uffd_is_zero(struct ferry_mmu *mmu, struct ferry_frame frame)
{
	const uint64_t *word = slot_memory(mmu, frame);
	uint64_t any = 0;

	for (size_t i = 0; i < FERRY_PAGE_SIZE / sizeof(word[0]); i++)
		any |= word[i];
	return any == 0;
}

static int uffd_arm(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes)
{
	struct ferry_uffd *uffd = uffd_of(mmu);
	struct uffdio_register reg = {
		.range = {.start = start, .len = len_bytes},
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};
	long ret = ferry_sys3(SYS_ioctl, uffd->program, UFFDIO_REGISTER, &reg);

	if (ret == 0 && uffd->no_thp)
		(void)ferry_sys3(SYS_madvise, start, len_bytes, MADV_NOHUGEPAGE);
	if (ret == 0)
		ferry_uffd_arm_policy(uffd, start, len_bytes);
	return (int)ret;
}

/* Pages are never taken out of shared memory, so nothing of it is write-protected. */
static int uffd_arm_shared(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes)
{
	struct uffdio_register reg = {
		.range = {.start = start, .len = len_bytes},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return (int)ferry_sys3(SYS_ioctl, uffd_of(mmu)->program, UFFDIO_REGISTER, &reg);
}

/* The kernel lifts protections and wakes everybody by itself. */
static int uffd_disarm(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes)
{
	struct ferry_uffd *uffd = uffd_of(mmu);
	struct uffdio_range range = {.start = start, .len = len_bytes};
	long ret;

	if (ferry_uffd_is_event_waiting(uffd))
		return -EAGAIN;
	ret = ferry_sys3(SYS_ioctl, uffd->program, UFFDIO_UNREGISTER, &range);
	return ret == -ESRCH || ret == -EAGAIN ? (int)ret : 0;
}

static const struct ferry_mmu_ops uffd_ops = {
	.enter = uffd_enter,
	.enter_copy = uffd_enter_copy,
	.enter_new = uffd_enter_new,
	.remove = uffd_remove,
	.remove_locked = uffd_remove_locked,
	.access = uffd_access,
	.enter_zero = uffd_enter_zero,
	.unprotect = uffd_unprotect,
	.wake = uffd_wake,
	.lookup = uffd_lookup,
	.present_run = uffd_present_run,
	.reclaim_exclusive = uffd_reclaim_exclusive,
	.settle = uffd_settle,
	.locate = uffd_locate,
	.fill = uffd_fill,
	.drop = uffd_drop,
	.copy_frame = uffd_copy_frame,
	.zero_frame = uffd_zero_frame,
	.is_zero = uffd_is_zero,
	.arm = uffd_arm,
	.arm_shared = uffd_arm_shared,
	.disarm = uffd_disarm,
};

static int register_arena(const struct ferry_uffd *uffd, ferry_va start, uint64_t slots)
{
	struct uffdio_register reg = {
		.range = {.start = start, .len = slots * FERRY_PAGE_SIZE},
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	if (slots == 0 || uffd->evicts)
		return 0;
	return (int)ferry_sys3(SYS_ioctl, uffd->program, UFFDIO_REGISTER, &reg);
}

static int make_sink(struct ferry_uffd *uffd)
{
	void *memory = ferry_os->alloc((size_t)4 * FERRY_HUGE_SIZE);
	ferry_va sink = ferry_huge_down((ferry_va)(uintptr_t)memory + FERRY_HUGE_SIZE - 1);
	struct uffdio_register reg = {
		.range = {.start = sink, .len = (uint64_t)2 * FERRY_HUGE_SIZE},
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	if (memory == NULL)
		return -ENOMEM;
	uffd->sink = sink;
	(void)ferry_sys3(SYS_madvise, sink, reg.range.len, MADV_DONTNEED);
	if (uffd->evicts)
		return 0;
	return (int)ferry_sys3(SYS_ioctl, uffd->drain, UFFDIO_REGISTER, &reg);
}

/* Read once, these addresses have the host's zero page, and cost no memory. */
static int make_zeros(struct ferry_uffd *uffd)
{
	const size_t bytes = (size_t)ZEROS * FERRY_PAGE_SIZE;
	const volatile uint8_t *zeros = ferry_os->alloc(bytes);

	if (zeros == NULL)
		return -ENOMEM;
	uffd->zeros = (ferry_va)(uintptr_t)zeros;
	for (size_t at = 0; at < bytes; at += FERRY_PAGE_SIZE)
		(void)zeros[at];
	return (int)ferry_sys3(SYS_mprotect, zeros, bytes, PROT_READ);
}

/* Does PAGEMAP_SCAN know the zero page (Linux 6.7)? */
static bool can_scan(const struct ferry_uffd *uffd)
{
	struct page_region found[1];
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.start = ferry_page_down((ferry_va)(uintptr_t)&found),
		.end = ferry_page_down((ferry_va)(uintptr_t)&found) + FERRY_PAGE_SIZE,
		.vec = (uint64_t)(uintptr_t)found,
		.vec_len = 1,
		.category_mask = PAGE_IS_PFNZERO,
		.return_mask = PAGE_IS_PFNZERO,
	};

	return ferry_sys3(SYS_ioctl, uffd->pagemap, PAGEMAP_SCAN, &scan) >= 0;
}

int ferry_uffd_open(int device)
{
	long fd = -ENOSYS;

	if (device >= 0)
		fd = ferry_sys3(SYS_ioctl, device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		fd = ferry_sys1(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	return (int)fd;
}

int ferry_uffd_ready_all(struct ferry_uffd *uffd)
{
	int err = 0;

	for (uint32_t n = 0; n < uffd->node_count && !err; n++) {
		uint64_t slots = uffd->arena[n].slots;
		struct ferry_frame last = {.node = (uint16_t)n, .number = (uint32_t)(slots - 1)};

		if (slots == 0)
			continue;
		err = make_ready(uffd, last, 1);
		last.huge = true;
		if (!err)
			err = make_ready(uffd, last, 1);
	}
	return err;
}

int ferry_uffd_init(struct ferry_uffd *uffd)
{
	int first_err = make_sink(uffd);

	if (!first_err)
		first_err = make_zeros(uffd);
	if (!first_err)
		first_err = ferry_uffd_bind_nodes(uffd);
	if (first_err)
		return first_err;
	for (uint32_t n = 0; n < uffd->node_count; n++) {
		struct ferry_arena *arena = &uffd->arena[n];
		int err = register_arena(uffd, arena->small, arena->slots);

		if (!err)
			err = register_arena(uffd, arena->huge, arena->slots);
		if (err)
			return err;
		if (arena->slots) {
			(void)ferry_sys3(SYS_madvise, arena->small, arena->slots * FERRY_PAGE_SIZE,
					 MADV_NOHUGEPAGE);
			(void)ferry_sys3(SYS_madvise, arena->huge, arena->slots * FERRY_PAGE_SIZE,
					 MADV_HUGEPAGE);
		}
	}
	uffd->evict_pages = 1;
	uffd->scans = !uffd->evicts && can_scan(uffd);
	uffd->mmu.ops = &uffd_ops;
	uffd->mmu.caps = (struct ferry_mmu_caps){
		.move = !uffd->evicts,
		/* Evicting, the host would make the frame of a first write, anywhere. */
		.zero_page = uffd->scans || (uffd->evicts && !uffd->real_nodes),
		.huge = !uffd->evicts,
		.real_nodes = uffd->real_nodes,
	};
	return 0;
}
