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
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/sys.h"
#include "move/move_pages.h"
#include "pageferry/pageferry.h"
#include "runtime/client.h"
#include "runtime/preload.h"
#include "runtime/user.h"

/* The kernel's view: ESRCH, EPERM, EINVAL (no memory); otherwise it exists and is not ours. */
static int64_t unmanaged(int pid, unsigned flags)
{
	long ret = ferry_sys6(SYS_move_pages, pid, 0, 0, 0, 0,
			      (long)(flags & (FERRY_MOVE | FERRY_MOVE_ALL)));

	return ret < 0 ? ret : -ESRCH;
}

/* pages, nodes, status, reasons: as FERRY_MSG_MOVE_PAGES wants them. */
struct shared_arrays {
	int fd;
	size_t size;
	char *memory;
	uint64_t *pages;
	int32_t *nodes;
	int32_t *status;
	uint8_t *reasons;
};

static int make_arrays(struct shared_arrays *a, size_t count)
{
	a->size = count * (sizeof(uint64_t) + 2 * sizeof(int32_t) + 1);
	a->fd = memfd_create("pageferry-call", MFD_CLOEXEC);
	if (a->fd < 0)
		return -ENOMEM;
	a->memory = MAP_FAILED;
	if (ftruncate(a->fd, (off_t)a->size) == 0)
		a->memory = mmap(NULL, a->size, PROT_READ | PROT_WRITE, MAP_SHARED, a->fd, 0);
	if (a->memory == MAP_FAILED) {
		close(a->fd);
		return -ENOMEM;
	}
	a->pages = (uint64_t *)(void *)a->memory;
	a->nodes = (int32_t *)(void *)(a->pages + count);
	a->status = a->nodes + count;
	a->reasons = (uint8_t *)(a->status + count);
	return 0;
}

static int64_t ask_move(struct ferry_client *client, const struct shared_arrays *a, size_t count,
			unsigned flags)
{
	struct ferry_msg done, msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_MOVE_PAGES,
		.a = count,
		.flags = (flags & FERRY_MOVE_ALL ? (uint32_t)FERRY_MSG_FLAG_MOVE_ALL : 0) |
			 (flags & FERRY_CONTRACT_SEED ? (uint32_t)FERRY_MSG_FLAG_SEED : 0),
	};
	int err = ferry_client_ask(client, &msg, a->fd, NULL, &done);

	if (err)
		return err == -EPIPE ? -ESRCH : err;
	return done.status ? done.status : (int64_t)done.a;
}

static int64_t call_in(struct ferry_client *client, const struct shared_arrays *a,
		       const struct ferry_other_call *call)
{
	size_t count = call->count;
	int64_t ret = ferry_user_read(a->pages, call->pages, count * sizeof(a->pages[0]));

	if (!ret && call->nodes)
		ret = ferry_user_read(a->nodes, call->nodes, count * sizeof(a->nodes[0]));
	if (!ret)
		ret = ferry_user_probe(call->status, count * sizeof(a->status[0]));
	if (ret)
		return ret;
	if (call->nodes)
		ret = ask_move(client, a, count, call->flags);
	else
		ferry_books_query_pages(client->books, count, a->pages, a->status, a->reasons);
	if ((ret >= 0 || ret == -ENOENT || ret == -ENOMEM) &&
	    ferry_user_write(call->status, a->status, count * sizeof(a->status[0])))
		return -EFAULT;
	return ret;
}

int64_t ferry_preload_other(int pid, const struct ferry_other_call *call)
{
	struct ferry_client client;
	struct shared_arrays arrays;
	int64_t ret;
	int err = ferry_client_open(&client, pid,
				    call->nodes ? FERRY_CLIENT_ASK : FERRY_CLIENT_LOOK);

	if (err == -ENOENT || err == -ESRCH)
		return unmanaged(pid, call->flags);
	if (err)
		return err;
	if (call->count > ((UINT64_C(1) << 31) - 1)) {
		ret = -E2BIG;
	} else if (call->count == 0) {
		ret = call->nodes && (call->flags & FERRY_CONTRACT_SEED) ? -ENOENT : 0;
	} else if (!call->pages || !call->status) {
		ret = -EFAULT;
	} else {
		ret = make_arrays(&arrays, call->count);
		if (!ret) {
			ret = call_in(&client, &arrays, call);
			munmap(arrays.memory, arrays.size);
			close(arrays.fd);
		}
	}
	ferry_client_close(&client);
	return ret;
}
