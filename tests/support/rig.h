/* SPDX-License-Identifier: MIT */
/*
 * rig.h - a whole space over the simulated MMU: a machine, books, pools, a program, handlers.
 *
 * The stack is check over inject over soft, so that every test also checks the contract. The rig
 * plays the keeper (leases up to the nodes' capacities) and the handlers' loop. How a program's
 * thread waits is up to `pause`: a plain test serves faults and events itself while it waits; a
 * simulation or a real thread lets somebody else do it.
 */
#ifndef TESTS_SUPPORT_RIG_H
#define TESTS_SUPPORT_RIG_H

#include "engine/check.h"
#include "map/fault.h"
#include "map/region.h"
#include "mmu/check.h"
#include "mmu/inject.h"
#include "mmu/soft.h"
#include "move/move_pages.h"

enum { RIG_NODES_MAX = 8 };

struct rig_options {
	uint32_t nodes;
	uint64_t capacity[RIG_NODES_MAX]; /* pages; 0: memoryless */
	uint64_t slots;                   /* frame numbers a node; 0: plenty */
	uint32_t pages;                   /* of the window of addresses */
	uint32_t memory;                  /* pages of the host; 0: plenty */
	uint64_t lease_step;              /* most pages granted at a time; 0: as asked */
	bool huge;
	bool no_zero_page;
	bool copy_path;
	void (*step)(void *context); /* for ferry_soft_options */
	struct ferry_machine *machine; /* of another rig; NULL: its own */
};

struct rig {
	struct rig_options options;
	struct ferry_soft soft;
	struct ferry_mmu_inject inject;
	struct ferry_mmu_check check;
	struct ferry_machine *machine;
	struct sharing *sharing;        /* sharing.h's, or NULL */
	uint64_t leased[RIG_NODES_MAX]; /* (a) by this rig, of each node */
	struct ferry_books *books;
	struct ferry_space space;
	struct ferry_nodeset allowed; /* all nodes at first */
	ferry_va base;
	/* Returns when thread may no longer wait, or sooner. */
	void (*pause)(struct rig *rig, uint32_t thread);
	uint32_t serving; /* (s) faults that are served, with the lock let go for a moment */
	uint32_t pauses;  /* of the access under way, where the test serves by itself */
	uint32_t nomem;   /* (a) faults that found no frame anywhere */
	bool refuse;      /* the keeper grants nothing */
	bool gives_up;    /* a fault that is not served after some tries is left: nothing works for
			     now */
};

/* A space with nothing mapped. Fails the test by an assertion where it cannot be made. */
void rig_begin(struct rig *rig, const struct rig_options *options);
/* Checks all there is to check, unmaps everything, checks again that nothing is left, and ends. */
void rig_end(struct rig *rig);
/* The same without the checks: for tests that broke something. */
void rig_abandon(struct rig *rig);

static inline ferry_va rig_va(const struct rig *rig, uint32_t page)
{
	return rig->base + (ferry_va)page * FERRY_PAGE_SIZE;
}

/* Maps pages, and takes them under management with region flags. */
void rig_map(struct rig *rig, uint32_t first, uint32_t end, uint32_t flags);
/* The same for a mapping that the program makes by itself: unknown to the space. */
void rig_map_unseen(struct rig *rig, uint32_t first, uint32_t end);

/* --- the program: these wait until they are through -------------------------------------- */

/* => DONE or SEGV. */
enum ferry_soft_result rig_store(struct rig *rig, uint32_t thread, ferry_va va, uint64_t value);
enum ferry_soft_result rig_load(struct rig *rig, uint32_t thread, ferry_va va, uint64_t *value);
enum ferry_soft_result rig_pin(struct rig *rig, uint32_t thread, ferry_va va,
			       struct ferry_soft_ref *pin);
/* mprotect() as the runtime's; ferry_soft_protect() is the raw system call. */
void rig_protect(struct rig *rig, uint32_t first, uint32_t end, uint32_t prot);
/* munmap() as a raw system call. */
void rig_unmap(struct rig *rig, uint32_t thread, uint32_t first, uint32_t end);
void rig_discard(struct rig *rig, uint32_t thread, uint32_t first, uint32_t end, bool lazily);
/* => 0, or the error of ferry_soft_remap(). */
int rig_remap(struct rig *rig, uint32_t thread, uint32_t from, uint32_t to, uint32_t pages);
void rig_fork(struct rig *rig, uint32_t thread, struct ferry_soft_child *child);

/* --- the handlers ---------------------------------------------------------------------------- */

/* Serves one message if one waits: lock, read, act, release. => whether one did. */
bool rig_serve(struct rig *rig, uint32_t kinds);

/* --- checks ---------------------------------------------------------------------------------- */

/* Breaches found, each printed. at_rest: no mover runs, no event waits; then more is checked. */
uint32_t rig_check(struct rig *rig, bool at_rest);
/* The node of a page as a query says: or -ENOENT, -EFAULT. */
int32_t rig_node(struct rig *rig, uint32_t page);
/* Moves pages to a node. => the status of the first; all if statuses is not NULL. */
int64_t rig_move(struct rig *rig, uint32_t first, uint32_t count, int32_t node, int32_t *statuses,
		 uint8_t *reasons);

#endif
