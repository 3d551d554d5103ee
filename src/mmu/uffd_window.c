/* SPDX-License-Identifier: MIT */
/*
 * uffd_window.c - how pages leave a mapping that is not plainly readable and writable; the rules
 * are in mmu.h, the order of steps in soft_window.c.
 *
 * UFFDIO_MOVE wants both sides writable, and with equal protections. So the slots become readable,
 * writable and executable for the moment, and so does a mapping that may only be read: under write
 * protection, which UFFDIO_WRITEPROTECT puts on first and which goes with the page.
 *
 * A window is wider than rw- on purpose: what still has all three rights when it is to be closed
 * has not been changed by the program. Where the host refuses that to a mapping without execution
 * (PR_SET_MDWE, SELinux), rw- has to do.
 *
 * Limits: a raw fork in a window gives the child the wide protection; a raw mremap moves it along.
 * libc's functions and syscall() wait for the window (window.h).
 */
#include <errno.h>
#include <sys/mman.h>

#include "base/os.h"
#include "base/sys.h"
#include "mmu/uffd_parts.h"

enum { PROT_RW = PROT_READ | PROT_WRITE, PROT_RWX = PROT_RW | PROT_EXEC };

/* An announced call that has not been followed by another for this long does not count. */
#define STUCK_NS UINT64_C(1000000000)

struct opening {
	struct ferry_uffd *uffd;
	ferry_va start, end; /* of the program */
	ferry_va slot;       /* as many */
	int protection;      /* of the program's mapping */
	int wide;            /* in the window */
};

static uint64_t bytes_of(const struct opening *o)
{
	return o->end - o->start;
}

static int set_protection(ferry_va va, uint64_t bytes, int protection)
{
	return (int)ferry_sys3(SYS_mprotect, va, bytes, protection);
}

/* Is a call of the program under way that changes mappings? Only the holder of the space lock asks.
 */
static bool is_changing(struct ferry_uffd *uffd)
{
	uint32_t changes = __atomic_load_n(&uffd->window->changes, __ATOMIC_SEQ_CST);
	uint64_t now = ferry_os->now_ns();

	if (__atomic_load_n(&uffd->window->changing, __ATOMIC_SEQ_CST) == 0)
		return false;
	if (changes != uffd->seen_changes || uffd->seen_since_ns == 0) {
		uffd->seen_changes = changes;
		uffd->seen_since_ns = now;
	}
	return now - uffd->seen_since_ns < STUCK_NS;
}

static void announce_close(struct ferry_uffd *uffd)
{
	__atomic_store_n(&uffd->window->open, 0, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&uffd->window->changing, __ATOMIC_SEQ_CST) != 0)
		ferry_os->wake(&uffd->window->open, INT32_MAX);
}

static int announce_open(const struct opening *o)
{
	struct ferry_window *window = o->uffd->window;

	window->start = o->start;
	window->end = o->end;
	window->protection = o->protection;
	__atomic_store_n(&window->open, 1, __ATOMIC_SEQ_CST);
	if (!is_changing(o->uffd))
		return 0;
	announce_close(o->uffd);
	return -EAGAIN;
}

/* What still looks as the window made it becomes what it was. */
static void narrow(const struct opening *o)
{
	ferry_va at = o->start;

	while (at < o->end) {
		ferry_va start = at, end = at;
		int protection = o->uffd->protection_at(o->uffd->context, &start, &end);

		if (protection == -ENOENT || start >= o->end)
			return;
		/* Not knowing more, believe that nothing changed. */
		if (protection < 0) {
			start = at;
			end = o->end;
			protection = o->wide;
		}
		if (start < at)
			start = at;
		if (end > o->end)
			end = o->end;
		if (protection == o->wide)
			(void)set_protection(start, end - start, o->protection);
		at = end;
	}
}

/* Shields the pages and makes their mapping writable. => 0, -errno: nothing has changed. */
static int widen(struct opening *o)
{
	uint64_t pages = bytes_of(o) >> FERRY_PAGE_SHIFT;
	int err = ferry_uffd_write_protect(o->uffd, o->start, pages, UFFDIO_WRITEPROTECT_MODE_WP);

	if (!err)
		err = set_protection(o->start, bytes_of(o), o->wide);
	if (err == -EACCES && !(o->protection & PROT_EXEC)) {
		o->wide = PROT_RW;
		err = set_protection(o->start, bytes_of(o), o->wide);
	}
	if (err)
		narrow(o); /* it may have gone half way */
	return err == -EAGAIN || err == -ESRCH ? err : err ? -EINVAL : 0;
}

static int move_wide(const struct opening *o, struct ferry_uffd_move move, uint32_t *done)
{
	uint32_t pages = (uint32_t)(bytes_of(o) >> FERRY_PAGE_SHIFT);
	int err;

	if (o->wide == PROT_RW)
		return ferry_uffd_move_range(o->uffd, move, pages, done);
	err = set_protection(o->slot, bytes_of(o), o->wide);
	if (!err)
		err = ferry_uffd_move_range(o->uffd, move, pages, done);
	else
		err = -EINVAL;
	(void)set_protection(o->slot, bytes_of(o), PROT_RW);
	return err;
}

static int move_in_window(struct opening *o, struct ferry_uffd_move move, uint32_t *done)
{
	uint64_t pages = bytes_of(o) >> FERRY_PAGE_SHIFT;
	int err = announce_open(o);

	if (err)
		return err;
	err = widen(o);
	if (!err) {
		err = move_wide(o, move, done);
		narrow(o);
	}
	/* Where an event prevents this, the handler of a write fault does it. */
	if (*done < pages)
		(void)ferry_uffd_write_protect(o->uffd, o->start, pages,
					       UFFDIO_WRITEPROTECT_MODE_DONTWAKE);
	announce_close(o->uffd);
	return err;
}

int ferry_uffd_move_by_window(struct ferry_uffd *uffd, struct ferry_uffd_move move, uint32_t pages,
			      uint32_t *done)
{
	struct opening o = {.uffd = uffd, .slot = move.slot, .wide = PROT_RWX};
	ferry_va start = move.src, end = move.src;

	*done = 0;
	o.protection = uffd->protection_at ? uffd->protection_at(uffd->context, &start, &end) :
					     -ENOSYS;
	if (o.protection < 0 || start > move.src || !(o.protection & PROT_READ))
		return -EINVAL;
	if (o.protection == PROT_RW) /* locked or keyed, or it has become plain just now */
		return ferry_uffd_move_range(uffd, move, pages, done);
	o.start = move.src;
	o.end = move.src + (ferry_va)pages * FERRY_PAGE_SIZE;
	if (end < o.end && move.whole)
		return -EINVAL;
	if (end < o.end)
		o.end = end;
	if (o.protection == PROT_RWX)
		return move_wide(&o, move, done);
	return move_in_window(&o, move, done);
}
