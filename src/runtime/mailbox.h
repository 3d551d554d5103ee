/* SPDX-License-Identifier: MIT */
/*
 * mailbox.h - memory in which one process leaves move_pages() calls for the agent of another one.
 *
 * To be introduced by the keeper takes several messages between three processes. A caller that
 * moves pages of another process one by one does that once, and then shares a mailbox with the
 * agent: it writes a call down, sets the state, and sleeps on it until the answer is there. The
 * caller keeps no descriptor, which its program might close or use up.
 *
 *   IDLE -> POSTED (caller) -> IDLE (agent), and IDLE -> CLOSED (either side)
 *
 * The agent closes a mailbox that was not used for FERRY_MAILBOX_IDLE_NS, so a caller that has
 * ended costs nothing for long, and an idle agent does not wake. What may be asked for was found by
 * the keeper when the mailbox was made; the caller has the kernel look at its rights before each
 * call.
 */
#ifndef FERRY_RUNTIME_MAILBOX_H
#define FERRY_RUNTIME_MAILBOX_H

#include "base/types.h"

#define FERRY_MAILBOX_IDLE_NS UINT64_C(1000000000)

enum ferry_mailbox_state {
	FERRY_MAILBOX_IDLE,
	FERRY_MAILBOX_POSTED,
	FERRY_MAILBOX_CLOSED,
};

/* The first page of a memfd; the call's arrays (arrays.h) lie behind it. */
struct ferry_mailbox {
	uint32_t state; /* (a) enum ferry_mailbox_state, and a futex */
	uint32_t flags; /* enum ferry_msg_flag */
	uint64_t count;
	int64_t result; /* pages that were not moved, -errno */
};

/* Where the arrays begin, bytes. */
#define FERRY_MAILBOX_ARRAYS FERRY_PAGE_SIZE

static inline enum ferry_mailbox_state ferry_mailbox_state(const struct ferry_mailbox *mailbox)
{
	return (enum ferry_mailbox_state)__atomic_load_n(&mailbox->state, __ATOMIC_ACQUIRE);
}

/* Changes the state, and wakes the other side. => false: it was not in state from. */
bool ferry_mailbox_change(struct ferry_mailbox *mailbox, enum ferry_mailbox_state from,
			  enum ferry_mailbox_state to);
/* Sleeps while the mailbox is in that state, at most timeout_ns, and sometimes shorter. */
void ferry_mailbox_wait(struct ferry_mailbox *mailbox, enum ferry_mailbox_state state,
			uint64_t timeout_ns);

#endif
