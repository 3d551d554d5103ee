/* SPDX-License-Identifier: MIT */
/*
 * door.h - how threads of the program ask their agent for something.
 *
 * The door lies in this library's own data: never managed, never away, copied by fork (the child
 * resets it). A thread claims a slot, fills it in, rings, and sleeps on the slot's state; signals
 * may be handled meanwhile, nothing is locked.
 *
 * A slot: FREE -> CLAIMED (program) -> POSTED (program) -> TAKEN (agent) -> DONE (agent) -> FREE.
 *
 * The door itself: SHUT (no agent yet, or no more) -> OPEN (agent) -> REOPENING (a thread of the
 * program, once the agent was killed and its pages were brought home) -> OPEN (the next agent) or
 * SHUT. Whoever has a request posted meanwhile goes on waiting: the next agent serves it.
 *
 * An agent may sleep at first: SHUT -> ASLEEP -> WAKING -> OPEN (or SHUT, where it cannot manage
 * the program). As long as it sleeps nothing is registered, nothing moves and no fault is served;
 * pages are the host's, paid for in advance (`advance_pages`). Everything that needs an agent wakes
 * it and waits. What does not need one - to map memory, to fork - looks at the state before and
 * after: either the agent, when it takes the program's memory over, finds what was mapped, or the
 * mapping thread finds that it is no longer asleep. The program has one thread then: the first
 * pthread_create() wakes the agent.
 */
#ifndef FERRY_RUNTIME_DOOR_H
#define FERRY_RUNTIME_DOOR_H

#include "base/types.h"
#include "mmu/window.h"
#include "phys/machine.h"

enum ferry_request_kind {
	FERRY_REQUEST_MAP,        /* a, b: start and end of memory just mapped; c: region flags */
	FERRY_REQUEST_AT,         /* a: an address: manage the mapping around it, if new and
				     anonymous or a part of an object; b: CPU + 1 of who mapped it,
				     0: unknown */
	FERRY_REQUEST_THREAD,     /* a, b: bounds of a thread's control block */
	FERRY_REQUEST_FLAG,       /* a, b: range; c: region flags to set; d: to clear */
	FERRY_REQUEST_RECONCILE,  /* a, b: compare with the host */
	FERRY_REQUEST_SETTLE,     /* a, b: pages of objects in it have their labels afterwards */
	FERRY_REQUEST_SCAN,       /* find memory that was mapped without our knowledge */
	FERRY_REQUEST_GATE_CLOSE, /* nothing is away when this returns, until ...; => the door's
				     generation */
	FERRY_REQUEST_GATE_OPEN,  /* a: what GATE_CLOSE returned; a later agent's gate is open */
	FERRY_REQUEST_RELEASE,    /* a, b: range that is the program's own from now on */
	FERRY_REQUEST_TAINT,      /* the program took references that moves cannot see; a: 1: or
				     is about to use io_uring */
	FERRY_REQUEST_FOLLOW,     /* a: a thread that has become another user or given up
				     rights; b: 1: it alone, not the whole program; c: 1: it
				     is in another user namespace now */
	FERRY_REQUEST_DATA,       /* the program limits its data; => what is to be added for the
				     agent's */
	FERRY_REQUEST_MOVERS,     /* start one more mover thread */
	FERRY_REQUEST_MOVES,      /* from here on: served by movers */
	FERRY_REQUEST_MOVE_PAGES = FERRY_REQUEST_MOVES, /* a: struct ferry_move_call * (not
							   managed) */
	FERRY_REQUEST_MOVE_RANGE, /* a: struct ferry_range_call *, b: struct ferry_range_result * */
};

enum ferry_request_state {
	FERRY_SLOT_FREE,
	FERRY_SLOT_CLAIMED,
	FERRY_SLOT_POSTED,
	FERRY_SLOT_TAKEN,
	FERRY_SLOT_DONE,
};

struct ferry_request {
	uint32_t state; /* (a) enum ferry_request_state, and a futex */
	uint32_t kind;
	uint64_t a, b, c, d;
	int64_t result;
};

enum { FERRY_DOOR_SLOTS = 64 };

enum ferry_door_state {
	FERRY_DOOR_SHUT,
	FERRY_DOOR_OPEN,
	FERRY_DOOR_REOPENING,
	FERRY_DOOR_ASLEEP,
	FERRY_DOOR_WAKING,
};

struct ferry_door {
	uint32_t state;     /* (a) enum ferry_door_state, and a futex */
	uint32_t agent;     /* (a) id of the agent's first thread; the kernel zeroes it when that
			       ends, however it does */
	uint32_t bell;      /* (a) futex: rung for quick requests */
	uint32_t move_bell; /* (a) futex: rung for moves */
	uint32_t movers;    /* (a) mover threads started */
	uint32_t births;    /* (a) threads being created, whose control blocks are not flagged
			       yet */
	uint32_t reopening; /* (a) futex: 1: a thread of the program is at it */
	uint32_t generation; /* agents that this process has had before */
	uint32_t needed;    /* (a) futex: 1: the program waits for the agent to wake */
	uint32_t forking;   /* (a) futex: forks that go by without the agent; it must not wake */
	uint32_t inherits;  /* the agent that sleeps keeps the books of a parent: a fork needs it */
	int64_t advance_pages; /* (a) what the program may still map while the agent sleeps */
	uint32_t readers;   /* (a) threads of the program that look into the books */
	int32_t agent_pid;  /* (a) */
	int32_t pid;        /* of the process that this door belongs to */
	uint32_t process;   /* slot in the machine's table */
	uint32_t gated_discards; /* the agent has no other way to know of a discard: the gate is
				    closed around it */
	uint64_t data_bytes; /* (a) of RLIMIT_DATA, that are the agent's; 0: it has none there */
	const struct ferry_machine *machine;
	const struct ferry_books *labels; /* of objects; stays over fork */
	struct ferry_books *books;
	struct ferry_window window;
	struct ferry_request slot[FERRY_DOOR_SLOTS];
};

extern struct ferry_door ferry_door;
/* (a) The program uses interfaces that keep plain references to its pages; so do its children, who
 * share these pages. 1: it is about to, 2: the agent knows. */
extern uint32_t ferry_tainted;
/* Which 64 MiB blocks are known to be managed heaps of malloc; cleared when they are unmapped. */
extern uint64_t ferry_heap_known[(UINT64_C(1) << (FERRY_VA_BITS - 26)) / 64];

/* => result of the request, -ESRCH if no agent answers (any more). Any thread of the program. A
 * request may be served twice when an agent is killed over it. */
int64_t ferry_door_ask(enum ferry_request_kind kind, uint64_t a, uint64_t b, uint64_t c,
		       uint64_t d);
/* The agent's side. => a posted request, now TAKEN; NULL: none. moves: which of the two sorts. */
struct ferry_request *ferry_door_take(bool moves);
void ferry_door_finish(struct ferry_request *request, int64_t result);
/* Unmaps books that nobody has seen: the door was never open. */
void ferry_door_forget_books(void);
/* A forked child begins with an empty, closed door. */
void ferry_door_reset(void);

/*
 * Around a call that changes mappings: it does not run in a window of the agent (mmu/window.h).
 * begin => what end is to be given. Nothing is locked; the thread may be stopped in between.
 */
bool ferry_door_begin_change(void);
void ferry_door_end_change(bool begun);

/* The slow part of ferry_door_is_open(): wakes an agent that sleeps, replaces a killed one. */
bool ferry_door_make_open(void);
/* => whether the agent sleeps, and is not about to wake; one that was killed does not. */
static inline bool ferry_door_is_asleep(void)
{
	return __atomic_load_n(&ferry_door.state, __ATOMIC_SEQ_CST) == FERRY_DOOR_ASLEEP &&
	       __atomic_load_n(&ferry_door.agent, __ATOMIC_RELAXED) != 0;
}

/* => true: the agent sleeps, and memory of so many bytes need not be told to it (then
 * ferry_door_is_asleep() has to be asked again once the memory is there). */
bool ferry_door_draw(uint64_t bytes);
/* Around a fork without the agent. begin => false: it is awake. */
bool ferry_door_begin_fork(void);
void ferry_door_end_fork(void);

/*
 * The agent has ended: if it was killed, waits until the keeper has brought the pages home and
 * starts another one. Any thread of the program. => whether the door is open.
 */
bool ferry_door_reopen(void);
/* Puts right what a killed agent has left, and makes the requests ready for the next one. */
void ferry_door_repost(void);

/* => whether an agent answers. One that sleeps is woken, one that was killed is replaced first. */
static inline bool ferry_door_is_open(void)
{
	if (__builtin_expect(__atomic_load_n(&ferry_door.state, __ATOMIC_ACQUIRE) ==
				     FERRY_DOOR_OPEN &&
			     __atomic_load_n(&ferry_door.agent, __ATOMIC_RELAXED) != 0, 1))
		return true;
	return __atomic_load_n(&ferry_door.state, __ATOMIC_ACQUIRE) != FERRY_DOOR_SHUT &&
	       ferry_door_make_open();
}

/* The books stay mapped between these two, whatever becomes of the agent. */
static inline const struct ferry_books *ferry_door_read_books(void)
{
	__atomic_fetch_add(&ferry_door.readers, 1, __ATOMIC_SEQ_CST);
	return __atomic_load_n(&ferry_door.books, __ATOMIC_SEQ_CST);
}

static inline void ferry_door_leave_books(void)
{
	__atomic_fetch_sub(&ferry_door.readers, 1, __ATOMIC_RELEASE);
}

#endif
