/* SPDX-License-Identifier: MIT */
/*
 * proto.h - what keeper, agents, programs and clients say to each other.
 *
 * All sockets are AF_UNIX SOCK_SEQPACKET, one struct ferry_msg a packet, descriptors by SCM_RIGHTS,
 * SO_PASSCRED on in the receiver. Receivers check size, kind and every number.
 *
 *   control socket   DIR/NAME.sock, listening. A connection is a client (CLI, library), or a
 *                    program whose inherited join socket was lost: told apart by the first message.
 *   join socket      a SOCK_SEQPACKET socketpair made by the keeper; the programs' end is inherited
 *                    by all of them (descriptor number, its inode and the control path in
 *                    PAGEFERRY_JOIN=FD.INODE:PATH).
 *                    A program that starts makes two socketpairs and sends one end of each: `up`
 *                    and `down`.
 *   up               agent asks, keeper answers (LEASE, API, OBJECT, RELABEL ...), or is told
 *                    (RETURN, PLACED, NOMEM ...).
 *                    One request at a time: the agent serialises them.
 *   down             keeper asks the agent (RECALL, CLIENT). Never waits for an answer there.
 *   channel          client <-> agent, made by the keeper at ATTACH. One request, then PROGRESS and
 *                    LINE messages, then DONE. Closing it cancels the request.
 */
#ifndef FERRY_RUNTIME_PROTO_H
#define FERRY_RUNTIME_PROTO_H

#include "base/nodeset.h"
#include "base/types.h"

enum { FERRY_PROTO_VERSION = 5, FERRY_MSG_FDS_MAX = 4, FERRY_MSG_TEXT = 640 };

#define FERRY_JOIN_ENV "PAGEFERRY_JOIN"

enum ferry_msg_kind {
	FERRY_MSG_JOIN = 1,  /* program -> keeper (join or control socket). fds: up, down (keeper's
				ends). pid in the credentials. a = pages that it may have already
				if its agent may sleep at first, 0: it may not; b = CPU that it
				runs on; c = family that it was forked into, 0: a new one; d =
				joins << 32 | slot of whose it was before (a parent's, a killed
				agent's), if c is not 0. Answer WELCOME on up. */
	FERRY_MSG_WELCOME,   /* keeper -> program on up. a = process slot, b = pages of node that
				are leased for as long as the agent sleeps, 0: it must not; c = 1:
				it maps the same objects as the process of JOIN's d. status 0 or
				-errno with text. fds: machine segment, labels (both read-only),
				/dev/userfaultfd (when it could be opened) */
	FERRY_MSG_API,       /* agent -> keeper on up. fds: a userfaultfd. a = features. Keeper
				calls UFFDIO_API on it (it may have rights that the program has
				not). Answer OK with status, a = features granted. */
	FERRY_MSG_AGENT,     /* agent -> keeper on up, from the agent itself (credentials: its pid).
				a = pid of the program as the agent sees it. fds: books (a memfd of
				FERRY_BOOKS_SIZE_BYTES that allows sealing: the keeper seals its
				size), userfaultfd of the program's memory, userfaultfd of the
				arenas. Answer OK, a = pages of node that it has leased already.
				From then on the process is ALIVE and can be attached to. */
	FERRY_MSG_FAILED,    /* agent -> keeper on up, no answer: it woke and cannot manage the
				program. status = -errno, text = what failed. */
	FERRY_MSG_LEASE,     /* agent -> keeper on up. node, a = pages wanted, b = 1: force. Answer
				OK with a = pages granted (0 .. wanted; wanted if forced). */
	FERRY_MSG_RETURN,    /* agent -> keeper on up, no answer. node, a = pages given back,
				b = 1: this answers a RECALL. */
	FERRY_MSG_SHARER,    /* agent -> keeper on up. It looks for the processes that may share
				pages with its own since a fork. a = process slot to begin at.
				Answer OK, a = slot of the first one from there on, fds: a channel
				to its agent that takes SHARED only; status
				-EAGAIN (that one's agent sleeps, and is being woken), -ENOENT
				(there is no more). */
	FERRY_MSG_OBJECT,    /* agent -> keeper on up. It maps a part of an object. a = device
				(major << 32 | minor), b = inode, flags = enum ferry_object_kind,
				text = its name, c = first page, d = pages, node = that of pages
				which nobody is seen to touch, if it is new. Answer OK, a = object
				address of the first page, b = pages that follow there (1 .. d),
				node = as above; -ENOSPC, -ENOMEM. */
	FERRY_MSG_MAPPED,    /* agent -> keeper on up, no answer. a = objects that it maps still,
				words = an object address in each. */
	FERRY_MSG_PLACED,    /* agent -> keeper on up, no answer. b pages of its lease of node are
				the object's from now on, for those from object address a on. */
	FERRY_MSG_RELABEL,   /* agent -> keeper on up. a = count. fds: a memfd with as many struct
				ferry_object_run (map/object.h), of objects that it maps. Answer OK
				when the keeper has set their `done`. */
	FERRY_MSG_SETTLE,    /* agent -> keeper on up; client -> keeper on control. Answer OK when
				everything is in the labels that agents have said before. */
	FERRY_MSG_NOMEM,     /* agent -> keeper on up, no answer: a first touch found no frame
				anywhere: print the line, end the process by SIGKILL. */
	FERRY_MSG_UNMANAGED, /* program -> keeper (join or control socket), no answer. It executes
				a program that cannot be managed. a = enum ferry_program_kind,
				b = 1: a script, text = its name. The keeper tells people once. */
	FERRY_MSG_CONNECT,   /* program -> keeper (join socket), no answer. fds: a socket, whose
				other end has a connection to the control socket from then on: a
				program may not be able to open that itself. */
	FERRY_MSG_OK,        /* answer: status, a, b */

	FERRY_MSG_RECALL,    /* keeper -> agent on down. node, a = pages wanted back. */
	FERRY_MSG_CLIENT,    /* keeper -> agent on down. fds: channel. a = enum
				ferry_client_rights. */

	FERRY_MSG_HELLO,     /* client -> keeper on control. Answer OK. fds: machine segment, labels
				(both read-only) */
	FERRY_MSG_ATTACH,    /* client -> keeper on control. a = pid, b = tid of the caller. Rights
				are checked now, by ptrace-read rules. Answer OK with status 0,
				-ESRCH (no such process in this machine), -EPERM, -EAGAIN (its
				agent sleeps and is being woken: ask again). fds: books
				(read-only), channel; with FLAG_LOOK the books only, and the agent
				hears nothing of it. */

	FERRY_MSG_MOVE_RANGE, /* client -> agent on channel. a = start, b = end, node = target,
				 nodes = from, c = stall budget ns (0: default), d = bytes/s (0: no
				 limit), flags */
	FERRY_MSG_MAILBOX,    /* client -> agent. fds: a memfd that cannot shrink, with a struct
				 ferry_mailbox (mailbox.h): move_pages() calls come through it from
				 now on, and nothing through the channel. Answer DONE. */
	FERRY_MSG_SHARED,     /* agent -> agent of a relative. a = count. fds: a memfd with the
				 arrays of a move_pages() call with MOVE_ALL (arrays.h), of which
				 only pages that are shared since a fork are to move. */
	FERRY_MSG_CHECK,      /* client -> agent. flags bit 0: compare with the host too (closes the
				 gate). Answers LINE per breach, DONE with a = breaches. */
	FERRY_MSG_DUMP,       /* client -> agent. Answers LINEs, DONE. */
	FERRY_MSG_HOME,       /* client -> agent. Bring every page home that is away. Answer
				 DONE, a = pages that were away. With FLAG_HOLD none goes away
				 again before the channel is closed. */
	FERRY_MSG_PROGRESS,   /* agent -> client. a = pages done, b = pages asked, c = ns since
				 start */
	FERRY_MSG_LINE,       /* agent -> client. text */
	FERRY_MSG_DONE,       /* agent -> client. status; a = result; reasons[]; c = ns it took;
				 d = resident pages asked for */
	FERRY_MSG_MEMS,       /* client -> keeper on control. a = pid, b = tid of the caller, nodes:
				 the nodes that the process may use from now on. Rights as for
				 ATTACH. Answer OK with status 0, -ESRCH, -EPERM, -ENODEV (none of
				 them has memory). */
	FERRY_MSG_NODE,       /* client -> keeper on control. node, a = 1: online, 0: offline. Only
				 the machine's user and root may. Answer OK, when it is known, with
				 status 0, -EPERM, -ENODEV (no such node, or it has no memory),
				 -EBUSY with text (pages are on it, or it is needed). */
};

enum ferry_msg_flag {
	FERRY_MSG_FLAG_MOVE_ALL = 1 << 0,
	FERRY_MSG_FLAG_SEED = 1 << 1,
	FERRY_MSG_FLAG_HOST = 1 << 2,
	FERRY_MSG_FLAG_STOPPED = 1 << 3, /* in DONE: the move was cancelled by the client */
	FERRY_MSG_FLAG_LOOK = 1 << 4,    /* in ATTACH: the client will only read */
	FERRY_MSG_FLAG_HOLD = 1 << 5,    /* in HOME: until the channel is closed */
};

/* What whoever is at the other end of a channel may ask an agent for. */
enum ferry_client_rights {
	FERRY_CLIENT_MOVES,     /* anything but MOVE_ALL */
	FERRY_CLIENT_MOVES_ALL, /* anything */
	FERRY_CLIENT_SHARES,    /* only SHARED: the agent of a relative */
};

struct ferry_msg {
	uint32_t version; /* FERRY_PROTO_VERSION */
	uint32_t kind;    /* enum ferry_msg_kind */
	int32_t status;   /* 0 or -errno */
	uint32_t flags;
	int32_t node;
	uint32_t spare;
	uint64_t a, b, c, d;
	union {
		struct ferry_nodeset nodes;
		uint64_t reasons[16];
		uint64_t words[FERRY_MSG_TEXT / sizeof(uint64_t)];
		char text[FERRY_MSG_TEXT];
	};
};

/* A received message with what came along. Descriptors belong to the receiver: close them. */
struct ferry_packet {
	struct ferry_msg msg;
	int fds[FERRY_MSG_FDS_MAX];
	uint32_t fd_count;
	int32_t pid; /* from SCM_CREDENTIALS, 0 if none came */
	uint32_t uid, gid;
};

/*
 * Sends one message with fd_count descriptors. Raw system calls only, so that an agent may use it.
 * => 0, -errno (-EPIPE: the other side is gone). Never raises SIGPIPE.
 */
FERRY_MUST_CHECK int ferry_proto_send(int socket, const struct ferry_msg *msg, const int *fds,
				      uint32_t fd_count);
/* From now on sending fails with -EAGAIN where it would have to wait: a peer who shares a socket
 * can take back that it does not block. For a process that must serve others. */
void ferry_proto_never_wait(void);
/*
 * Receives one message; waits for it at most timeout_ms (-1: for ever, 0: not at all).
 * Descriptors are close-on-exec. => 0, -EPIPE (closed), -EAGAIN (timeout), -EPROTO (malformed;
 * its descriptors were closed), -errno.
 */
FERRY_MUST_CHECK int ferry_proto_receive(int socket, struct ferry_packet *packet, int timeout_ms);

#endif
