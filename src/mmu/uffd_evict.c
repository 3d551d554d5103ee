/* SPDX-License-Identifier: MIT */
/*
 * uffd_evict.c - how pages leave the program on hosts without UFFDIO_MOVE (Linux before 6.8): they
 * are copied, and then the host is asked to drop them.
 *
 * Dropping alone (MADV_DONTNEED) would lose what a device writes into a pinned page after it was
 * copied, and, in the instant between two system calls of the program, another mapping's page. So
 * the page is made one that the host may reclaim without a place to keep it (MADV_FREE), and the
 * host is asked to reclaim it (MADV_PAGEOUT). Reclaim unmaps it and then looks, with memory
 * barriers against whoever is about to pin it: a page that somebody else has a reference to, or
 * that is dirty, is mapped again and stays. A device's writes count: a pin is a reference, and
 * whoever gives up a pin for writing marks the page dirty before.
 *
 *   state       what is done                       a read      a write
 *   mapped      -                                  goes on     goes on
 *   protected   UFFDIO_WRITEPROTECT                goes on     parks
 *   copied      into the slot                      goes on     parks
 *   lazy        MADV_FREE: clean, droppable        goes on     parks
 *   copied      again, into the slot               goes on     parks
 *   gone        MADV_PAGEOUT, page by page         parks       parks
 *
 * The second copy is the one that counts: from "lazy" on every write of a device shows as a
 * reference or as dirt. The first is for a page that the host reclaims before the second can be
 * made.
 *
 * Where reclaim refuses, the page stays, writable again, and would be droppable until it is next
 * written to. It is noted, and settle(), which runs without the space lock, makes the host see a
 * write that changes nothing.
 *
 * Copies are read through /proc/self/mem: it answers EIO where a load would wait for a fault that
 * only we could serve.
 *
 * The host tells of discards by an event before they are made, and to the discarding thread itself
 * only once the event was read: so on these hosts discards are no events (see agent_setup.c).
 */
#include <errno.h>
#include <sys/mman.h>

#include "base/os.h"
#include "base/sys.h"
#include "mmu/uffd_parts.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

enum { CHUNK = 64 };

static ferry_va plus(ferry_va va, uint32_t pages)
{
	return va + (ferry_va)pages * FERRY_PAGE_SIZE;
}

/* --- pages that settle() sees to ---------------------------------------------------------- */

static bool has_note_room(const struct ferry_uffd *uffd)
{
	return __atomic_load_n(&uffd->lazy_count, __ATOMIC_ACQUIRE) + 2 < FERRY_LAZY_MAX;
}

/* A note is one word: an address, and in its low bits how many pages. */
void ferry_uffd_note_lazy(struct ferry_uffd *uffd, ferry_va va, uint32_t pages)
{
	for (uint32_t i = 0; i < FERRY_LAZY_MAX && pages > 0; i++) {
		uint64_t empty = 0;

		if (!__atomic_compare_exchange_n(&uffd->lazy[i], &empty, va | pages, false,
						 __ATOMIC_RELEASE, __ATOMIC_RELAXED))
			continue;
		__atomic_fetch_add(&uffd->lazy_count, 1, __ATOMIC_RELEASE);
		return;
	}
}

/* A write to a page that is there; where none is any more there is nothing to be kept. */
static void touch(const struct ferry_uffd *uffd, ferry_va va)
{
	uint64_t entry = 0;

	if (ferry_uffd_read_pagemap(uffd, va, &entry, 1) ||
	    !(entry & FERRY_PAGEMAP_THERE))
		return;
	while (ferry_sys3(SYS_madvise, va, FERRY_PAGE_SIZE, MADV_POPULATE_WRITE) == -EINTR)
		;
}

void ferry_uffd_settle(struct ferry_uffd *uffd)
{
	if (__atomic_load_n(&uffd->lazy_count, __ATOMIC_ACQUIRE) == 0)
		return;
	for (uint32_t i = 0; i < FERRY_LAZY_MAX; i++) {
		uint64_t note = __atomic_exchange_n(&uffd->lazy[i], 0, __ATOMIC_ACQUIRE);

		for (uint32_t k = 0; k < note % FERRY_PAGE_SIZE; k++)
			touch(uffd, plus(ferry_page_down(note), k));
		if (note)
			__atomic_fetch_sub(&uffd->lazy_count, 1, __ATOMIC_RELEASE);
	}
}

/* --- one chunk ---------------------------------------------------------------------------- */

struct chunk {
	struct ferry_uffd *uffd;
	ferry_va va;
	ferry_va slot;
	uint32_t pages;
};

/* Leading pages that can go at all. => 0 and *err if the first cannot. */
static uint32_t count_fit(const struct chunk *c, int *err)
{
	const uint64_t wanted = FERRY_PAGEMAP_PRESENT | FERRY_PAGEMAP_EXCLUSIVE;
	uint64_t entries[CHUNK];
	uint32_t n = 0;

	*err = ferry_uffd_read_pagemap(c->uffd, c->va, entries, c->pages);
	if (*err)
		return 0;
	while (n < c->pages &&
	       (entries[n] & (wanted | FERRY_PAGEMAP_FILE)) == wanted)
		n++;
	if (n == 0)
		*err = entries[0] & FERRY_PAGEMAP_THERE ? -EBUSY : -ENOENT;
	return n;
}

/* Copies the leading pages that are there. => how many. */
static uint32_t copy_out(const struct chunk *c, uint32_t first)
{
	size_t want = (size_t)(c->pages - first) * FERRY_PAGE_SIZE;
	size_t have = 0;

	while (have < want) {
		long got = ferry_sys4(SYS_pread64, c->uffd->memory, plus(c->slot, first) + have,
				      want - have, plus(c->va, first) + have);

		if (got == -EINTR)
			continue;
		if (got <= 0)
			break;
		have += (size_t)got;
	}
	return first + (uint32_t)(have / FERRY_PAGE_SIZE);
}

static void copy_again(const struct chunk *c)
{
	/* What is not there any more was copied before. */
	for (uint32_t at = 0; at < c->pages; at++)
		at = copy_out(c, at);
}

/* Pages [first, pages) stay: writable, and not to be dropped. Their copies go: a slot is empty but
 * for a page that left. */
static void keep(const struct chunk *c, uint32_t first, bool lazy)
{
	uint32_t rest = c->pages - first;

	(void)ferry_sys3(SYS_madvise, plus(c->slot, first), (uint64_t)rest * FERRY_PAGE_SIZE,
			 MADV_DONTNEED);
	if (lazy)
		ferry_uffd_note_lazy(c->uffd, plus(c->va, first), rest);
	/* With an event in the way they stay protected, which the next write to them finds out. */
	if (ferry_uffd_write_protect(c->uffd, plus(c->va, first), rest,
			       UFFDIO_WRITEPROTECT_MODE_DONTWAKE))
		return;
}

static bool is_there(const struct chunk *c, uint32_t page)
{
	uint64_t entry = 0;

	return ferry_uffd_read_pagemap(c->uffd, plus(c->va, page), &entry, 1) != 0 ||
	       (entry & FERRY_PAGEMAP_THERE) != 0;
}

/* => pages that are gone, from the first on. */
static uint32_t reclaim(const struct chunk *c)
{
	uint32_t n = 0;

	while (n < c->pages) {
		(void)ferry_sys3(SYS_madvise, plus(c->va, n), FERRY_PAGE_SIZE, MADV_PAGEOUT);
		if (is_there(c, n))
			break;
		n++;
	}
	return n;
}

/* A page that stays has to be written to once: not so where the program may not write. */
static int clip_to_writable(struct chunk *c)
{
	const struct ferry_uffd *uffd = c->uffd;
	ferry_va start = c->va, end = plus(c->va, c->pages);
	int protection = PROT_WRITE;

	if (uffd->protection_at != NULL)
		protection = uffd->protection_at(uffd->context, &start, &end);
	if (protection < 0 || start > c->va)
		return protection < 0 ? protection : -ENOENT;
	if (end < plus(c->va, c->pages))
		c->pages = (uint32_t)((end - c->va) >> FERRY_PAGE_SHIFT);
	return protection & PROT_WRITE ? 0 : -EINVAL;
}

static int evict_chunk(struct chunk *c, uint32_t *done)
{
	int err = clip_to_writable(c);

	*done = 0;
	if (err)
		return err;
	c->pages = count_fit(c, &err);
	if (c->pages == 0)
		return err;
	/* It notes at most twice what it cannot finish: here, and where it comes in again. */
	if (!has_note_room(c->uffd))
		return -EBUSY;
	err = ferry_uffd_write_protect(c->uffd, c->va, c->pages, UFFDIO_WRITEPROTECT_MODE_WP);
	while (ferry_uffd_is_range_error(err) && c->pages > 1) {
		c->pages /= 2;
		err = ferry_uffd_write_protect(c->uffd, c->va, c->pages,
					       UFFDIO_WRITEPROTECT_MODE_WP);
	}
	if (err)
		return err;
	if (copy_out(c, 0) < c->pages) {
		keep(c, 0, false);
		return -EAGAIN;
	}
	err = (int)ferry_sys3(SYS_madvise, c->va, (uint64_t)c->pages * FERRY_PAGE_SIZE, MADV_FREE);
	if (err == -ENOMEM) /* part of it is not mapped */
		err = -ENOENT;
	copy_again(c);
	/* Nobody else can have read an event: if none waits, the mapping is the one we know. */
	if (!err && ferry_uffd_is_event_waiting(c->uffd))
		err = -EAGAIN;
	if (!err)
		*done = reclaim(c);
	if (*done < c->pages)
		keep(c, *done, true);
	return err ? err : *done < c->pages ? -EBUSY : 0;
}

/* A refused page costs the work for its whole chunk, and where one is, there may be more. */
static void learn(struct ferry_uffd *uffd, int err)
{
	if (!err && uffd->evict_pages < CHUNK)
		uffd->evict_pages *= 2;
	else if (err && uffd->evict_pages > 1)
		uffd->evict_pages /= 2;
}

int ferry_uffd_evict(struct ferry_uffd *uffd, ferry_va va, ferry_va slot, uint32_t pages,
		     uint32_t *done)
{
	int err = 0;

	*done = 0;
	while (*done < pages && !err) {
		struct chunk c = {uffd, plus(va, *done), plus(slot, *done), pages - *done};
		uint32_t went;

		if (c.pages > uffd->evict_pages)
			c.pages = uffd->evict_pages;
		err = evict_chunk(&c, &went);
		learn(uffd, err);
		*done += went;
	}
	return ferry_uffd_final_error(uffd, err);
}
