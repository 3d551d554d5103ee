/* SPDX-License-Identifier: MIT */
/* mailbox.c - see mailbox.h. */
#include "runtime/mailbox.h"

#include <linux/futex.h>
#include <time.h>

#include "base/sys.h"

bool ferry_mailbox_change(struct ferry_mailbox *mailbox, enum ferry_mailbox_state from,
			  enum ferry_mailbox_state to)
{
	uint32_t expected = from;

	if (!__atomic_compare_exchange_n(&mailbox->state, &expected, to, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return false;
	(void)ferry_sys3(SYS_futex, &mailbox->state, FUTEX_WAKE, 1);
	return true;
}

void ferry_mailbox_wait(struct ferry_mailbox *mailbox, enum ferry_mailbox_state state,
			uint64_t timeout_ns)
{
	struct timespec limit = {
		.tv_sec = (time_t)(timeout_ns / 1000000000u),
		.tv_nsec = (long)(timeout_ns % 1000000000u),
	};

	(void)ferry_sys4(SYS_futex, &mailbox->state, FUTEX_WAIT, state, &limit);
}
