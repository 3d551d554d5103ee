/* SPDX-License-Identifier: MIT */
/*
 * agent.h - the process that shares a program's memory and serves it.
 *
 * Threads of an agent, all by raw clone:
 *   watch      its first thread: may sleep until the agent is needed; starts the others, then
 *              sleeps until the program has left the memory (exec or exit), then ends the agent
 *   handlers   one for each CPU the program may use, at most 4, pinned: faults and events
 *   door       quick requests of the program's threads
 *   movers     moves that the program asks for itself; started when the first one is asked for
 *   control    messages of the keeper; starts a thread for each client
 *   house      when rung, at most once a second: leases, pages that fork's copies made ours, memory
 *              that was mapped without our knowledge
 *
 * Locks: up_lock (rank ENGINE) makes requests to the keeper one at a time; the space lock (rank
 * SPACE) guards the rest. No thread holds the space lock while it waits for the keeper.
 *
 * Letters: (c) fixed before the threads start, (a) atomic, (u) up_lock.
 */
#ifndef FERRY_RUNTIME_AGENT_H
#define FERRY_RUNTIME_AGENT_H

#include "map/fault.h"
#include "mmu/uffd.h"
#include "runtime/door.h"
#include "runtime/proto.h"

enum { FERRY_HANDLERS_MAX = 4, FERRY_MOVERS = 2 };

/* What the thread that starts an agent knows. Lives until the agent is ready, or has woken. */
struct ferry_agent_start {
	int up, down;      /* to the keeper */
	int uffd_device;   /* /dev/userfaultfd, or -1: use the system call */
	int32_t pid;       /* the program */
	int32_t proc_pid;  /* and its name in /proc, which may be of another pid namespace */
	uint32_t process;  /* slot in the machine's table */
	const struct ferry_machine *machine;
	const struct ferry_books *labels; /* of objects */
	bool keeps_objects; /* the keeper counts it as a mapper of its parent's objects */
	uint32_t *tid_word;   /* the kernel zeroes it when the main thread leaves */
	ferry_va thread_block, thread_block_end; /* the calling thread's control block */
	ptrdiff_t rseq_offset;    /* of a thread's rseq area from its thread pointer, 0: unknown */
	ptrdiff_t robust_offset;  /* of a thread's robust list head from its thread pointer */
	const struct ferry_books *parent; /* after fork: the parent's books */
	const struct ferry_books *former; /* of an agent that was killed */
	bool eager;               /* the agent must not sleep */
	struct ferry_books *legacy; /* a copy of the parent's books, kept while the agent sleeps */
	uint64_t legacy_bytes;
	uint64_t advance_pages;   /* leased while the agent sleeps; 0: it does not */
	uint32_t ready;    /* (a) futex: 0 not yet, 1 ready, 2 failed */
	int error;         /* -errno when failed */
	const char *what;  /* what failed */
};

struct ferry_agent {
	struct ferry_space space;
	struct ferry_uffd uffd;
	const struct ferry_machine *machine; /* (c) */
	struct ferry_books *books;           /* (c) */
	const struct ferry_books *labels;    /* (c) of objects */
	uint64_t memfd_device, shm_device;   /* (c) file systems of objects */
	uint32_t attaching;                  /* (space lock) mappings of objects that the keeper has
						been asked about, and that are no regions yet */
	uint64_t unmaps_told; /* the house's: unmaps when it last told what objects are mapped */
	int up, down;                        /* (c) */
	int maps;                            /* (c) /proc/self/maps */
	int books_fd;                        /* (c) */
	int pidfd;                           /* (c) of the program */
	int device;                          /* the set-up's: /dev/userfaultfd, -1 */
	int32_t pid, proc_pid;               /* (c) */
	uint32_t *tid_word;                  /* (c) */
	ptrdiff_t rseq_offset, robust_offset; /* (c) */
	struct ferry_lock up_lock;
	bool keeper_gone;      /* (a) */
	uint32_t house_sleeps; /* (a) futex: 1 until it is rung */
	bool settled;          /* (a) what was mapped while it woke has been found */
	bool scan_again;       /* the house's: memory was left out, or may be new */
	uint64_t faults_seen;  /* the house's: count at its last scan */
	uint64_t cow_seen;     /* the house's: shared pages when it last looked */
	uint32_t handler_count; /* (c) */
	bool inherited;        /* the house's: entries of a parent are not compared with the host
				  yet */
	uint64_t forks_settled; /* the house's: forks after which no page is shared any more */
	bool by_cpu;           /* (c) placement needs the CPU of the faulting thread */
	int found_node;        /* where pages go that were touched while it slept; -1: any, or it
				  did not */
};

/*
 * Starts an agent for the calling process and waits until it serves. Called by a thread of the
 * program with all signals blocked. => 0; -errno and start->what.
 */
FERRY_MUST_CHECK int ferry_agent_launch(struct ferry_agent_start *start);

/* --- between the agent's files --------------------------------------------------------------- */

/* agent_setup.c: what cannot wait, and everything else up to the message AGENT and the adoption of
 * what is there. Run in the watch thread, in this order. */
FERRY_MUST_CHECK int ferry_agent_begin(struct ferry_agent *agent, struct ferry_agent_start *start);
FERRY_MUST_CHECK int ferry_agent_setup(struct ferry_agent *agent, struct ferry_agent_start *start);
/* What was leased in advance goes back, as far as adoption did not need it. No lock held. */
void ferry_agent_return_advance(struct ferry_agent *agent);
/* handler.c */
void ferry_handler_run(void *agent);
/* Reads and serves what waits on the program's userfaultfd. => messages read. No lock held. */
uint32_t ferry_handler_drain(struct ferry_agent *agent);
/* door_serve.c */
void ferry_door_run(void *agent);
void ferry_door_mover_run(void *agent);
/* control.c */
void ferry_control_run(void *agent);
/* A request to the keeper and its answer. => 0, -EPIPE (no keeper), -errno. No lock held. */
FERRY_MUST_CHECK int ferry_agent_request(struct ferry_agent *agent, const struct ferry_msg *msg,
					 const int *fds, uint32_t fd_count,
					 struct ferry_packet *answer);
/* house.c */
void ferry_house_run(void *agent);
/* Something was done that may leave work behind. Costs nothing while the house is awake. */
void ferry_house_ring(struct ferry_agent *agent);
/* Takes memory under management that was mapped without our knowledge. No lock held. */
void ferry_house_scan(struct ferry_agent *agent);
/* From here on no page of the program is moved, if pages leave by eviction: the program has an
 * io_uring, whose buffers' pins end without a trace that reclaim would see. */
void ferry_house_go_blind(struct ferry_agent *agent);
/* Does so if the program has mapped the rings of one. */
void ferry_house_look_for_rings(struct ferry_agent *agent);
/* Takes the mapping around va under management if it is new, and memory that can be. cpu: 1 + that
 * of who mapped it, 0: unknown. => 0, -ENOENT, -errno. */
FERRY_MUST_CHECK int ferry_house_adopt_at(struct ferry_agent *agent, ferry_va va, uint64_t cpu);
/* Regions of [start, end) that have just been armed lose what is not mapped. lock held. */
void ferry_house_drop_holes(struct ferry_agent *agent, ferry_va start, ferry_va end);
/* adopts the parts of [start, end) that no region covers. No lock held. */
FERRY_MUST_CHECK int ferry_house_adopt(struct ferry_agent *agent, ferry_va start, ferry_va end,
				       uint32_t flags);

#endif
