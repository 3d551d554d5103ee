/* SPDX-License-Identifier: MIT */
/*
 * space.h - the managed address space of one process.
 *
 * A space ties the books (regions, page table, counters), the pools of frames, the MMU and the
 * moves in flight together. One lock, rank SPACE, guards all of it; it is held for the MMU calls
 * that change where a page is, never across a copy and never while waiting for anybody else.
 *
 * Events. The host tells of forks, remaps, unmaps and discards that the program does. The runtime
 * reads an event *while holding the space lock* and calls the function below for it before giving
 * the lock up: so a page is either moved before the program goes on, or known to be gone.
 *
 * Moves in flight. A mover takes pages out under the lock, copies without it, and brings them in
 * under it. In between, events may change what its pages are: they find the batch in the list
 * `flights` and mark its entries: `gone` (discarded or unmapped: both frames are free once the
 * mover looks) or a new va (remapped: the page comes in at its new place). A flight of one huge
 * frame that an event touches in part is split into its small pages, which keep lying in the
 * huge slots until they are in.
 *
 * Invariants (engine/check.c):
 *  1. A frame number is used by one entry, or by one flight, or is free in its pool.
 *  2. An entry is HELD and busy if and only if a flight has a page with its va, its frame as
 *     source, neither gone nor entered. HELD and not busy: away with nobody working on it; the
 *     next touch brings it home.
 *  3. Every frame is charged but those of entries with COW; NO_SLOT entries have no frame.
 *  4. counts[] equals what the entries and flights say, at every release of the lock.
 *  5. A flight is in the list from before its first page leaves until after its last is in.
 */
#ifndef FERRY_MAP_SPACE_H
#define FERRY_MAP_SPACE_H

#include "base/lock.h"
#include "map/books.h"
#include "map/object.h"
#include "mmu/mmu.h"
#include "phys/machine.h"
#include "phys/pool.h"

enum { FERRY_BATCH_MAX = 512 };

/* One page (or one whole huge frame) on its way. */
struct ferry_flight_page {
	ferry_va va;               /* (s) changes when the program remaps it */
	struct ferry_frame source; /* its content until it is in */
	struct ferry_frame slot;   /* where it goes out to: the source's number, or its new one */
	struct ferry_frame target;
	bool gone;                 /* (s) discarded by the program meanwhile */
	bool entered;              /* (s) accessible again, or otherwise done with */
	uint32_t index;            /* the mover's own */
};

/* The pages that one mover has taken out and not yet brought in. */
struct ferry_flight {
	struct ferry_flight *next; /* (s) */
	uint32_t count;            /* (s) */
	bool split;                /* (s) pages of one huge frame, by their place in it */
	bool home;                 /* (s) its pages go back to where they were */
	uint64_t started_ns;       /* when its first page left */
	struct ferry_flight_page pages[FERRY_BATCH_MAX];
};

/* Somebody who has looked pages up and comes back to them later: he is told what the program gives
 * up meanwhile, since another page may be at the same address by then. */
struct ferry_lookup {
	struct ferry_lookup *next; /* (s) */
	void (*gone)(struct ferry_lookup *lookup, ferry_va start, ferry_va end);
};

/* Pages that are to go to the nodes of the host behind their targets. */
struct ferry_host_move {
	const ferry_va *va;
	const int32_t *target;
	int32_t *status; /* out: target[i], or -errno */
	uint32_t count;
	bool all;        /* those that several processes map, too */
};

/* What the host of a space can be asked for. None is called with the space lock held, except
 * where said. */
struct ferry_space_host {
	void *context;
	/* Frame numbers per node, as many as its arenas have slots; read by ferry_space_init(). */
	const uint64_t *slots;
	/* The nodes that the process may use; they may change. NULL: all. */
	const struct ferry_nodeset *allowed;
	/* Asks the machine for want more pages of node; force: take them beyond capacity.
	 * => pages granted, 0 if none are left. May wait for the keeper. */
	uint64_t (*lease)(void *context, uint32_t node, uint64_t want, bool force);
	/* Tells the machine that pages of node are no longer leased. May be called locked. */
	void (*give_back)(void *context, uint32_t node, uint64_t pages);
	/* Reads and handles events that wait, taking the space lock itself. */
	void (*read_events)(void *context);
	/* The host's mapping at va: its bounds, and whether it is private anonymous memory.
	 * => 0, -ENOENT (the bounds may then be set to those of the gap), -EFAULT (a mapping of the
	 * host's own, such as the vdso). May be called with the lock. */
	int (*mapping_at)(void *context, ferry_va va, ferry_va *start, ferry_va *end,
			  bool *anonymous);
	/* What the host says of a page that is not managed: a node of the host's, -ENOENT (none
	 * there), -EFAULT; -ENOSYS (it does not say). May be called with the lock. */
	int (*page_at)(void *context, ferry_va va);
	/*
	 * Pages of the space that are shared since a fork are to move to the nodes target[]. Has
	 * whoever else shares the one at va[i] make a copy of his own and move it there; sets
	 * status[i] to -ENOMEM if somebody had no room for it. NULL: nobody can be asked.
	 */
	void (*unshare)(void *context, const ferry_va *va, const int32_t *target, int32_t *status,
			uint32_t count);

	/* Shared memory. NULL: none is managed. (c) */
	const struct ferry_books *labels;
	/* Gives pages of the lease of node to an object, for those from object_va on, which nobody
	 * else was seen to touch. Called locked; waits for nobody. */
	void (*placed)(void *context, uint64_t object_va, uint32_t pages, uint32_t node);
	/* Has the machine label runs, whose `done` it sets. => 0, -errno (none is done). */
	int (*relabel)(void *context, struct ferry_object_run *runs, uint32_t count);
	/* others[i]: does another process of the machine have the page of the object that is at
	 * va[i] in its page table, too? */
	void (*find_mappers)(void *context, const ferry_va *va, uint32_t count, bool *others);
	/* Has the host itself move pages that are not ours. NULL: no node is one of the host's. */
	void (*move_by_host)(void *context, const struct ferry_host_move *move);
};

/* Ascending first touches, page after page. Several go on at a time: threads, arrays. */
struct ferry_stream {
	ferry_va next;    /* address that would continue it */
	uint32_t streak;  /* touches in a row */
	uint32_t touched; /* stream_clock at the last of them */
};

enum { FERRY_STREAMS = 8 };

struct ferry_space {
	struct ferry_lock lock;
	struct ferry_books *books;            /* (c) */
	const struct ferry_machine *machine;  /* (c) */
	struct ferry_mmu *mmu;                /* (c) */
	struct ferry_space_host host;         /* (c) */
	struct ferry_pool *pools;             /* (c) machine->node_count of them; each (s) */
	struct ferry_node_count *counts;      /* (c) those of the books */
	uint16_t *fallback;                   /* (c) node_count x node_count, by distance */
	struct ferry_flight *flights;         /* (s) */
	struct ferry_lookup *lookups;         /* (s) */
	uint32_t gate;                        /* (s) > 0: no new page may be taken out (fork) */
	uint32_t frozen;                      /* (a) the gate will not open again */
	uint32_t gone;                        /* (a) address space ended */
	uint32_t tainted;                     /* (a) old frames must not be recycled */
	uint32_t blind;                       /* (a) pages may be pinned where the host does not
						 show it: none is moved */
	uint32_t flight_count;                /* (s) batches in flight */
	ferry_va doubt_start, doubt_end;      /* (s) pages may be there that no entry knows */
	ferry_va round_start, round_end;      /* (s) the same, looked at in this round */
	ferry_va young_start, young_end;      /* (s) discarded lately: see event.c */
	ferry_va old_start, old_end;          /* (s) discarded a grace ago */
	uint64_t turned_ns;                   /* (s) when the young range became the old one */
	uint64_t grace_ns;                    /* (s) 1 s; 0 only where no discard is under way */
	uint64_t cow_pages;                   /* (s) entries with COW */
	uint64_t ahead_pages;                 /* (s) entries with AHEAD */
	uint64_t idle_held;                   /* (s) entries HELD and not busy */
	ferry_va ahead_cursor;                /* (s) where the search for AHEAD pages goes on */
	struct ferry_stream streams[FERRY_STREAMS]; /* (s) */
	uint32_t stream_clock;                /* (s) counts touches, to find the oldest stream */
	void *idle_mover;                     /* (s) working memory of a past migration, kept */
	size_t idle_mover_bytes;              /* (s) */
};

/*
 * Sets a space up over books that are laid out already.
 * => 0, -ENOMEM. The caller owns books and machine.
 */
FERRY_MUST_CHECK int ferry_space_init(struct ferry_space *space, struct ferry_books *books,
				      const struct ferry_machine *machine, struct ferry_mmu *mmu,
				      const struct ferry_space_host *host);
void ferry_space_destroy(struct ferry_space *space);

/* --- regions ------------------------------------------------------------------------------ */

/*
 * Takes [start, end) under management: arms it, and charges the pages that are present already
 * to nodes by policy (local_node: -1 unknown). thread pages stay flagged.
 * => lock held on entry and exit. 0, or the error of mmu->arm / -ENOSPC; then nothing changed.
 */
FERRY_MUST_CHECK int ferry_space_adopt(struct ferry_space *space, ferry_va start, ferry_va end,
				       uint32_t flags, int local_node);
/*
 * The same for a part of an object: arms it, so that who touches a page first is known; what cannot
 * be armed (-EINVAL, -EPERM) is managed all the same. No page of it gets an entry.
 * => lock held. 0, -ENOSPC, the error of mmu->arm_shared; then nothing changed.
 */
FERRY_MUST_CHECK int ferry_space_adopt_shared(struct ferry_space *space,
					      const struct ferry_region *region);
/* Compares entries of [start, end) with the host: present pages unknown to us are charged, entries
 * whose page is gone are dropped, pages that have become the process's own lose COW and are
 * charged. => lock held. 0 or -ESRCH. */
FERRY_MUST_CHECK int ferry_space_reconcile(struct ferry_space *space, ferry_va start, ferry_va end,
					   int local_node);
/*
 * The same over the whole space, a slice at a time, for housekeeping: let the lock go between two
 * calls. Looks only where pages are shared, or were seen that could not be taken over; costs
 * nothing where there are none.
 * => lock held. 1: go on at *cursor, 0: once through (*cursor is 0 again), -ESRCH.
 */
FERRY_MUST_CHECK int ferry_space_reconcile_slice(struct ferry_space *space, ferry_va *cursor,
						 int local_node);
/* Flags the pages of [start, end) as holding a thread's control block (I13); brings them home if
 * one is away. => lock held. 0, -ENOMEM, -EAGAIN (one is in flight: let go and try again). */
FERRY_MUST_CHECK int ferry_space_flag_thread(struct ferry_space *space, ferry_va start,
					     ferry_va end);
/*
 * Gives up the management of [start, end): every page stays where it is and is the host's. Whoever
 * may still be told of a fault there takes the mapping over again, if it can.
 * => lock held. 0, -EAGAIN (a page is away, or an event waits: close the gate, try again), -ESRCH.
 */
FERRY_MUST_CHECK int ferry_space_release(struct ferry_space *space, ferry_va start, ferry_va end);
/* A child begins with its parent's regions and entries: resident ones become MAPPED|COW
 * (uncharged), HELD ones too (the fork event copied them). => lock held. 0, -ENOMEM, -ENOSPC. */
FERRY_MUST_CHECK int ferry_space_inherit(struct ferry_space *child,
					 const struct ferry_books *parent);
/* The host may be about to drop the page at va: it is not to be taken over. => lock held. */
static inline bool ferry_space_is_leaving(const struct ferry_space *space, ferry_va va)
{
	return (va >= space->young_start && va < space->young_end) ||
	       (va >= space->old_start && va < space->old_end);
}

/* A page that no entry knows may be at va. => lock held. */
static inline bool ferry_space_is_in_doubt(const struct ferry_space *space, ferry_va va)
{
	return (va >= space->doubt_start && va < space->doubt_end) ||
	       (va >= space->round_start && va < space->round_end);
}

/* Pages may be in the range that no entry knows: housekeeping is to look there. => lock held. */
void ferry_space_doubt(struct ferry_space *space, ferry_va start, ferry_va end);
/* The same for a range that the host may still be about to drop: after a grace. => lock held. */
void ferry_space_leave(struct ferry_space *space, ferry_va start, ferry_va end);
/* The other owner of the shared pages is gone: charge what is still COW. => lock held. */
void ferry_space_own_shared(struct ferry_space *space);

/* --- events: space lock held, called between reading the event and releasing the lock ------- */

void ferry_space_on_remove(struct ferry_space *space, ferry_va start, ferry_va end);
void ferry_space_on_unmap(struct ferry_space *space, ferry_va start, ferry_va end);
void ferry_space_on_remap(struct ferry_space *space, ferry_va from, ferry_va to, uint64_t len);
/* A child was forked: copy_in is called for each 4 KiB page that is away, so that the child has
 * it. frame.huge only names the arena that the page lies in. */
void ferry_space_on_fork(struct ferry_space *space,
			 void (*copy_in)(void *context, ferry_va va, struct ferry_frame frame),
			 void *context);

/* May node hold new pages of this process: allowed, with memory, online? */
static inline bool ferry_space_allows(const struct ferry_space *space, uint32_t node)
{
	const struct ferry_nodeset *allowed = space->host.allowed;

	return ferry_machine_has_memory(space->machine, node) &&
	       (allowed == NULL || ferry_machine_set_has(allowed, node));
}

/* May pages be moved to node? => 0, -ENODEV (there is none, or it has no memory, or is offline),
 * -EACCES (the process may not use it). */
FERRY_MUST_CHECK int ferry_space_check_target(const struct ferry_space *space, int32_t node);

/* --- frames -------------------------------------------------------------------------------- */

/* A first touch that needs frames. */
struct ferry_touch {
	ferry_va va;
	int local_node;      /* -1: unknown */
	uint32_t want;       /* pages; a run of fewer may be the answer */
	bool huge;           /* one whole huge frame instead */
	bool shared;         /* pages of the lease instead, to be given to an object: no frames */
	uint32_t short_node; /* out, with -ENOSPC: the node to ask a lease for; every allowed node
				is dry: FERRY_NODES_MAX */
};

/*
 * Takes frames by policy.
 * => lock held. pages in *run, -ENOSPC, -ENOMEM (the host has none).
 */
FERRY_MUST_CHECK int ferry_space_take(struct ferry_space *space, struct ferry_touch *touch,
				      struct ferry_run *run);
/*
 * The nodes that the policy binds to or interleaves over, as far as the process may use them. None
 * are left: the policy says nothing then, as where a cpuset has no node of a policy.
 * => how many there are.
 */
uint32_t ferry_space_policy_nodes(const struct ferry_space *space, struct ferry_nodeset *nodes);
/* Asks the machine for more of node; on refusal the node is dry for 20 ms.
 * => lock NOT held. true if something was granted. */
bool ferry_space_refill(struct ferry_space *space, uint32_t node, uint64_t want);
/* Settles what adoption charged beyond the lease with the machine (forced leases), and gives back
 * lease far beyond need. => lock NOT held. */
void ferry_space_settle_leases(struct ferry_space *space);
/* Takes up to want pages of node out of the lease, to be given back to the machine by the caller:
 * unused lease first, then memory of free frames. => lock held. pages taken out. */
FERRY_MUST_CHECK uint64_t ferry_space_shrink(struct ferry_space *space, uint32_t node,
					     uint64_t want);
/* Takes back pages that fault-around placed and that are still zero, up to want.
 * => lock held. pages freed. */
FERRY_MUST_CHECK uint32_t ferry_space_reclaim_ahead(struct ferry_space *space, uint32_t want);
/* The same on one node (FERRY_NODES_MAX: on all). */
FERRY_MUST_CHECK uint32_t ferry_space_reclaim_ahead_on(struct ferry_space *space, uint32_t node,
						       uint32_t want);
/* The node that policy names for a page at va that is there already (adoption): one with room if
 * there is one. => lock held. */
uint32_t ferry_space_home_node(struct ferry_space *space, ferry_va va, int local_node);

/* Brings a page that is away home to va (MAPPED); its entry is HELD and not busy. (A page of a
 * huge frame brings the whole frame.)
 * => lock held. 0, -EAGAIN, -ENOENT (mapping gone), -ESRCH. Wakes. */
FERRY_MUST_CHECK int ferry_space_bring_home(struct ferry_space *space, ferry_va va);

/*
 * Closes the gate: no page is taken out until it is opened again; returns once no page is away.
 * Nested; it counts as closed whatever is answered. => lock NOT held on entry and exit. 0, -ESRCH.
 */
FERRY_MUST_CHECK int ferry_space_close_gate(struct ferry_space *space);
void ferry_space_open_gate(struct ferry_space *space);
/* Closes the gate for good; moves are refused (-EBUSY) instead of waiting at it. => lock NOT held.
 */
void ferry_space_freeze(struct ferry_space *space);

#endif
