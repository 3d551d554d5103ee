/* SPDX-License-Identifier: MIT */
/*
 * remote.h - the functions of the public library on a process that is not the caller.
 *
 * Queries read the process's books; moves go to its agent. The caller's arrays may be anywhere,
 * also nowhere: then the answer is -EFAULT.
 */
#ifndef FERRY_RUNTIME_REMOTE_H
#define FERRY_RUNTIME_REMOTE_H

#include "pageferry/pageferry.h"
#include "runtime/client.h"

struct ferry_remote_call {
	size_t count;
	void *const *pages;
	const int *nodes; /* NULL: query */
	int *status;
	uint8_t *reasons; /* may be NULL */
	unsigned flags;   /* of ferry_move_pages(), checked */
};

/*
 * As ferry_client_open(), with the errors of move_pages(): -ESRCH also for a process that no
 * machine manages, -EINVAL for one without memory (a kernel thread, a zombie). flags: of the call.
 */
FERRY_MUST_CHECK int ferry_remote_open(struct ferry_client *client, int32_t pid, unsigned flags,
				       enum ferry_client_mode mode);

/*
 * The whole call. A move leaves a mailbox at the other process's agent, which the next move finds;
 * the calling thread's rights are looked at each time. If the agent is killed over it the call is
 * made again, and fails with -ESRCH where the process has no other one yet. Any thread. Returns are
 * those of move_pages().
 */
int64_t ferry_remote_move_pages(int32_t pid, const struct ferry_remote_call *call);

/* These take an open client (mode ASK for moves). Returns are those of the public functions. */
int ferry_remote_move_range(struct ferry_client *client, struct ferry_msg *msg,
			    const struct ferry_move_options *options,
			    struct ferry_move_report *report);
int ferry_remote_query_range(struct ferry_client *client, ferry_va start, size_t count,
			     int *status);

#endif
