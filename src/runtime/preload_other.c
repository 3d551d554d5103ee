/* SPDX-License-Identifier: MIT */
/*
 * preload_other.c - move_pages() of an unmodified program on another process.
 *
 * Runs on the caller's thread and may use libc. The keeper checks the caller's rights, the other
 * process's agent does the work.
 */
#include "pageferry/pageferry.h"
#include "runtime/preload.h"

int64_t ferry_preload_other(int pid, const struct ferry_remote_call *call)
{
	struct ferry_client client;
	int64_t ret;
	int err = ferry_remote_open(&client, pid, call->flags,
				    call->nodes ? FERRY_CLIENT_ASK : FERRY_CLIENT_LOOK);

	if (err)
		return err;
	ret = ferry_remote_move_pages(&client, call);
	ferry_client_close(&client);
	return ret;
}
