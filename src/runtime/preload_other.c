/* SPDX-License-Identifier: MIT */
/*
 * preload_other.c - move_pages() of an unmodified program on another process.
 *
 * Runs on the caller's thread and may use libc. The keeper checks the caller's rights, the other
 * process's agent does the work. A process that no machine manages is the kernel's: it is asked
 * whether it is there at all, and then the answer is ESRCH, because the kernel would name nodes of
 * the host.
 */
#include <errno.h>

#include "base/sys.h"
#include "pageferry/pageferry.h"
#include "runtime/preload.h"

/* The kernel's view: ESRCH, EPERM, EINVAL (no memory); otherwise it exists and is not ours. */
static int64_t unmanaged(int pid, unsigned flags)
{
	long ret = ferry_sys6(SYS_move_pages, pid, 0, 0, 0, 0,
			      (long)(flags & (FERRY_MOVE | FERRY_MOVE_ALL)));

	return ret < 0 ? ret : -ESRCH;
}

int64_t ferry_preload_other(int pid, const struct ferry_remote_call *call)
{
	struct ferry_client client;
	int64_t ret;
	int err = ferry_client_open(&client, pid,
				    call->nodes ? FERRY_CLIENT_ASK : FERRY_CLIENT_LOOK);

	if (err == -ENOENT || err == -ESRCH)
		return unmanaged(pid, call->flags);
	if (err)
		return err;
	ret = ferry_remote_move_pages(&client, call);
	ferry_client_close(&client);
	return ret;
}
