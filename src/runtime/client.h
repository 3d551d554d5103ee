/* SPDX-License-Identifier: MIT */
/*
 * client.h - talking to machines from outside: the command and the public library.
 *
 * What comes from the other side is not trusted: segments are mapped read-only after a look at
 * their seals and validated; every number is checked where it is used.
 */
#ifndef FERRY_RUNTIME_CLIENT_H
#define FERRY_RUNTIME_CLIENT_H

#include "map/books.h"
#include "phys/machine.h"
#include "runtime/proto.h"

/* A connection to a keeper. */
struct ferry_client_machine {
	int control;
	const struct ferry_machine *machine; /* NULL: who needed it longer has taken it over */
	const struct ferry_books *labels;    /* of objects */
};

/* A connection to a process of a machine. */
struct ferry_client {
	struct ferry_client_machine keeper;
	int32_t pid;
	uint32_t slot;
	int channel;                     /* to its agent; -1: only looking */
	const struct ferry_books *books; /* read-only */
};

/* => a connection to the keeper of the calling process's own machine, -errno. NULL, or set once by
 * whoever knows a way where the keeper's socket cannot be opened by its path. */
extern int (*ferry_client_dial)(void);

/* => 0, -ECONNREFUSED (nobody listens: a stale socket), -EPROTO, -errno. */
FERRY_MUST_CHECK int ferry_client_connect(const char *path, struct ferry_client_machine *machine);
void ferry_client_disconnect(struct ferry_client_machine *machine);

enum ferry_client_mode {
	FERRY_CLIENT_LOOK, /* reads books and machine; the process is not touched */
	FERRY_CLIENT_ASK,  /* gets a channel to the agent, for ferry_client_ask() */
};

/*
 * Opens the process of that pid: finds its machine, is introduced, maps its books.
 * => 0; -ESRCH (no such process), -EPERM (no right to look into it), -ENOENT (it is not managed by
 *    pageferry), -ETIMEDOUT, -EPROTO, -errno.
 */
FERRY_MUST_CHECK int ferry_client_open(struct ferry_client *client, int32_t pid,
				       enum ferry_client_mode mode);
void ferry_client_close(struct ferry_client *client);

/* Sets the nodes that the process may use. => 0, -ESRCH, -EPERM, -ENODEV (none of them has memory),
 * -ETIMEDOUT, -EPROTO, -errno. */
FERRY_MUST_CHECK int ferry_client_set_mems(struct ferry_client *client,
					   const struct ferry_nodeset *nodes);
/*
 * Takes a node of the machine online or offline. => 0; -EPERM; -ENODEV (no such node, or it has no
 * memory); -EBUSY with *why (FERRY_MSG_TEXT bytes) filled; -ETIMEDOUT, -EPROTO, -errno.
 */
FERRY_MUST_CHECK int ferry_client_set_online(struct ferry_client_machine *machine, uint32_t node,
					     bool online, char *why);

/* Returns when all that agents have said is in the labels. => 0, -ETIMEDOUT, -EPROTO, -errno. */
FERRY_MUST_CHECK int ferry_client_settle(struct ferry_client_machine *machine);

/* => true: the machine has a living process of that pid, and *slot is that of its newest image. */
bool ferry_client_find_slot(const struct ferry_machine *machine, int32_t pid, uint32_t *slot);

/* What is said during a request. Functions may be NULL. */
struct ferry_client_hooks {
	/* => true: cancel; the answer still comes. Called for every PROGRESS, and with
	 * the last one again while nothing is said. */
	bool (*progress)(void *context, const struct ferry_msg *msg);
	void (*line)(void *context, const char *text);
	void *context;
};

/*
 * Asks the agent and waits for its DONE. fd: -1, or a descriptor that goes along. A client whose
 * request was cancelled can only be closed.
 * => 0 with *done (done->status may be an error of the request); -EPIPE (the agent has left),
 *    -EPROTO, -errno.
 */
FERRY_MUST_CHECK int ferry_client_ask(struct ferry_client *client, const struct ferry_msg *msg,
				      int fd, const struct ferry_client_hooks *hooks,
				      struct ferry_msg *done);

#endif
