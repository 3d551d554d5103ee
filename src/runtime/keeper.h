/* SPDX-License-Identifier: MIT */
/*
 * keeper.h - the process that owns a machine.
 *
 * One thread, one poll loop, no lock. It alone writes the machine segment. Everything that comes
 * from other processes is checked before it is used; nothing is ever waited for: answers that
 * need others (a lease that must be recalled) are kept as state and given later.
 *
 * A process of the machine goes through
 *   JOINING  it said JOIN; ends when its `up` socket closes or it dies before an agent came
 *   ASLEEP   the same, but its agent sleeps: pages of one node are leased for what it may touch
 *            meanwhile; ends as JOINING, or when the agent was woken and said AGENT
 *   ALIVE    its agent said AGENT
 *   ORPHAN   its agent was killed; its pages were brought home (rescue.h), its leases stay until
 *            it has joined again, in a slot of its own
 *   LEFT     the same, but its agent gave up or crashed: it does not join again
 *   FREE     program and agent are gone (or the agent left by itself: exec): leases are returned
 *
 * Invariants:
 *  1. nodes[i].leased_pages is the sum of processes[*]->leases[i], and of the pages of objects
 *     whose labels name node i (objects.h).
 *  2. over_pages is max(leased - capacity, 0); only forced leases raise it.
 *  3. A process with wait.active has had no answer to its last LEASE.
 *  4. recalls[i] counts the processes with recall[i] == FERRY_RECALL_ASKED.
 */
#ifndef FERRY_RUNTIME_KEEPER_H
#define FERRY_RUNTIME_KEEPER_H

#include "base/types.h"
#include "map/books.h"
#include "phys/machine.h"
#include "runtime/proto.h"
#include "runtime/rundir.h"
#include "runtime/spec.h"

enum { FERRY_CLIENTS_MAX = 256, FERRY_TOLD_MAX = 64, FERRY_MEMS_KEPT_MAX = 64 };

/* What an epoll event is about; kept with an index (process slot, client) in its data. */
enum ferry_keeper_source {
	FERRY_SOURCE_SIGNAL = 1,
	FERRY_SOURCE_FOREGROUND,
	FERRY_SOURCE_JOIN,
	FERRY_SOURCE_LISTEN,
	FERRY_SOURCE_CLIENT,
	FERRY_SOURCE_UP,
	FERRY_SOURCE_PROGRAM,
	FERRY_SOURCE_AGENT,
};

enum ferry_recall_state {
	FERRY_RECALL_NONE = 0,
	FERRY_RECALL_ASKED, /* waiters count on its answer */
	FERRY_RECALL_LATE,  /* did not answer in time; not asked again before it has answered */
};

/* A node that is to go offline: leases that nobody uses are being recalled. */
struct ferry_keeper_offline {
	bool active;
	uint32_t node;
	uint32_t client; /* who is to be answered */
	uint32_t rounds; /* recalls that were asked for */
	uint64_t deadline_ns;
};

/* The nodes that a process may use that has left the machine by an exec: it may come back, and
 * have children. */
struct ferry_keeper_mems {
	int32_t pid;
	int pidfd; /* -1: free */
	struct ferry_nodeset nodes;
};

/* A lease that could not be granted at once. */
struct ferry_lease_wait {
	bool active;
	uint32_t node;
	uint64_t want;
	uint64_t deadline_ns;
	uint64_t order; /* earlier requests are served first */
};

struct ferry_keeper_process {
	uint32_t slot;
	int32_t pid, agent_pid;
	int program_fd, agent_fd; /* pidfds; -1: none yet, or gone */
	int up, down;
	int books, program_uffd, arena_uffd;
	bool program_gone, agent_gone;
	bool wants_settled; /* has asked for SETTLE, and has no answer yet */
	bool agent_status_known;
	int agent_status;           /* as by waitpid() */
	uint64_t leave_deadline_ns; /* 0, or when an agent whose program is gone is killed */
	struct ferry_lease_wait wait;
	uint64_t *leases; /* pages per node */
	uint8_t *recall;  /* enum ferry_recall_state per node */
};

struct ferry_keeper {
	struct ferry_machine *machine;
	int machine_fd; /* read-only, for others */
	struct ferry_books *labels; /* of objects */
	int labels_fd;              /* read-only, for others */
	struct ferry_keeper_objects *objects;
	int device_fd;  /* /dev/userfaultfd, -1 */
	int epoll_fd, signal_fd, listen_fd;
	int reserve_fd;      /* given up for a moment when descriptors run out */
	int join_fd;         /* the keeper's end */
	int foreground;      /* socket to the foreground process, -1 when it is gone */
	int talk;            /* where lines for people go while the command runs, -1 */
	int32_t command_pid; /* 0: ended */
	int32_t ended_pid;   /* the command's pid once it has ended, until the foreground knows
				that its memory is free */
	bool settling;       /* all that processes have said is being served */
	bool settle_again;   /* somebody has asked for that meanwhile */
	bool childless;      /* no process of the machine is left that could join */
	struct ferry_keeper_process *processes[FERRY_PROCESSES_MAX];
	uint32_t process_count;
	uint32_t process_end;           /* no slot from here on was ever used */
	uint32_t waiter_count;          /* processes with wait.active */
	int clients[FERRY_CLIENTS_MAX]; /* -1: free */
	uint32_t *recalls;              /* per node: answers waited for */
	uint64_t lease_order;
	uint32_t families;              /* begun so far */
	struct ferry_keeper_offline offline;
	struct ferry_keeper_mems mems_kept[FERRY_MEMS_KEPT_MAX];
	uint64_t told[FERRY_TOLD_MAX]; /* hashes of what people were told of unmanaged programs */
	uint32_t told_count;
	char socket_path[FERRY_RUNDIR_PATH_MAX + 40];
};

/* Between the foreground process and the keeper. */
enum ferry_foreground_kind {
	FERRY_FOREGROUND_SIGNAL = 1, /* to the keeper: send this signal to the command */
	FERRY_FOREGROUND_END,        /* to the foreground: wait status of the command */
	FERRY_FOREGROUND_FAILED, /* to the foreground: the machine could not be made; said why */
	FERRY_FOREGROUND_LEFT,   /* to the foreground: the command's memory is free again */
	FERRY_FOREGROUND_OVER,   /* to the foreground: so it is, and the keeper ends too */
};

struct ferry_foreground_msg {
	int32_t kind;
	int32_t value;
};

/*
 * Makes a machine: segment, sockets, device. Errors are told on stderr.
 * => 0, or the exit code that `run` should end with.
 */
FERRY_MUST_CHECK int ferry_keeper_init(struct ferry_keeper *keeper,
				       const struct ferry_machine_spec *spec);
/* Serves until the last process of the machine is gone, then removes the socket. */
void ferry_keeper_serve(struct ferry_keeper *keeper);
/* Removes what the file system knows of the machine. */
void ferry_keeper_destroy(struct ferry_keeper *keeper);

/* For the keeper's own files. */
FERRY_MUST_CHECK int ferry_keeper_watch(struct ferry_keeper *keeper, int fd,
					enum ferry_keeper_source source, uint32_t index);
void ferry_keeper_unwatch(struct ferry_keeper *keeper, int fd);
uint64_t ferry_keeper_now_ns(void);
/* One line for people, as long as the command runs; control characters in it become '?'. */
void ferry_keeper_say(struct ferry_keeper *keeper, char *line);

#endif
