/* SPDX-License-Identifier: MIT */
/*
 * fault.h - serving an access to a page that is not accessible.
 *
 * check -> lookup -> fill -> enter -> done. Handlers are idempotent: duplicate, late and spurious
 * faults are normal.
 *
 *   entry is          fault            answer
 *   NONE              read             zero page (ZERO)
 *   NONE              write            frame by policy, zeroed (MAPPED); a whole huge frame where
 *                                      the region wants one; fault-around in a streak
 *   ZERO              write protected  zero page out, frame in (MAPPED)
 *   MAPPED            missing          host dropped it unseen (MADV_FREE, raw unmap): heal, as NONE
 *   MAPPED            present          spurious: wake
 *   HELD, not busy    any              bring home
 *   HELD, busy        any              nothing: the mover wakes
 *   no region         any              take the host's mapping under management, then as NONE
 *   (of an object)    missing          nobody has made the page yet: a page of the lease becomes
 *                                      the object's, its node the page's label
 */
#ifndef FERRY_MAP_FAULT_H
#define FERRY_MAP_FAULT_H

#include "map/space.h"

struct ferry_fault {
	ferry_va va;
	bool write;
	bool protection;    /* the page is there but write-protected */
	int local_node;     /* node of the CPU that faulted, -1 unknown */
	uint32_t short_node; /* out, with FERRY_FAULT_SHORT */
	uint32_t short_pages; /* out, with FERRY_FAULT_SHORT: pages that would do */
	/* The server's own: 0 at first, kept between the calls for one fault. */
	uint16_t asked;      /* nodes asked once more although they were dry */
	uint16_t host_tries; /* times that the host had no memory */
	uint16_t placed;     /* pages from va on that the machine knows to be an object's */
};

enum ferry_fault_result {
	FERRY_FAULT_DONE,  /* served; threads woken */
	FERRY_FAULT_BUSY,  /* a mover has the page; it will wake the thread */
	FERRY_FAULT_RETRY, /* events wait: let the lock go, read them, call again */
	FERRY_FAULT_SHORT, /* short_node's lease is used up: let go, ferry_space_refill(), again */
	FERRY_FAULT_NOMEM, /* every allowed node is full: the process cannot go on */
	FERRY_FAULT_GONE,  /* the address space has ended */
};

/* => space lock held on entry and exit, never given up in between. */
FERRY_MUST_CHECK enum ferry_fault_result ferry_fault_serve(struct ferry_space *space,
							   struct ferry_fault *fault);

/* Fault-around: starts after this many ascending first touches; the next one places two pages, each
 * further one twice as many as the last, up to FERRY_AHEAD_MAX. */
enum { FERRY_STREAK_START = 2, FERRY_AHEAD_MAX = 64 };

#endif
