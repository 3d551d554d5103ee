/* SPDX-License-Identifier: MIT */
/* remote.c - see remote.h. */
#define _GNU_SOURCE
#include "runtime/remote.h"

#include "base/sys.h"
#include "move/move_pages.h"
#include "runtime/reason.h"
#include "runtime/user.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { QUERY_CHUNK = 4096 };

/* A process that no machine manages is the kernel's. It is asked whether it is there, whether we
 * may, and whether it has memory at all; its word on nodes would be of the host's. */
static int why_unmanaged(int32_t pid, unsigned flags)
{
	long result = ferry_sys6(SYS_move_pages, pid, 0, 0, 0, 0,
				 (long)(flags & (FERRY_MOVE | FERRY_MOVE_ALL)));

	return result < 0 && result != -ENOSYS ? (int)result : -ESRCH;
}

int ferry_remote_open(struct ferry_client *client, int32_t pid, unsigned flags,
		      enum ferry_client_mode mode)
{
	int error = pid < 0 ? -ESRCH : ferry_client_open(client, pid, mode);

	return error == -ENOENT || error == -ESRCH ? why_unmanaged(pid, flags) : error;
}

/* pages, nodes, status, reasons: as FERRY_MSG_MOVE_PAGES wants them. */
struct arrays {
	int fd;
	size_t size;
	uint64_t *pages;
	int32_t *nodes;
	int32_t *status;
	uint8_t *reasons;
};

static void free_arrays(struct arrays *a)
{
	(void)munmap(a->pages, a->size);
	(void)close(a->fd);
}

/* The size is sealed: the agent need not fear to read behind the end. */
static int make_arrays(struct arrays *a, size_t count)
{
	void *memory = MAP_FAILED;

	a->size = count * (sizeof(uint64_t) + 2 * sizeof(int32_t) + 1);
	a->fd = memfd_create("pageferry-call", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (a->fd < 0)
		return -ENOMEM;
	if (ftruncate(a->fd, (off_t)a->size) == 0 &&
	    fcntl(a->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
		memory = mmap(NULL, a->size, PROT_READ | PROT_WRITE, MAP_SHARED, a->fd, 0);
	if (memory == MAP_FAILED) {
		(void)close(a->fd);
		return -ENOMEM;
	}
	a->pages = memory;
	a->nodes = (int32_t *)(void *)(a->pages + count);
	a->status = a->nodes + count;
	a->reasons = (uint8_t *)(a->status + count);
	return 0;
}

static bool is_seed(const struct ferry_client *client, unsigned flags)
{
	if ((flags & (FERRY_CONTRACT_LINUX | FERRY_CONTRACT_SEED)) != 0)
		return (flags & FERRY_CONTRACT_SEED) != 0;
	return client->keeper.machine->contract != FERRY_CONTRACT_LINUX_ALL;
}

static int copy_in(const struct arrays *a, const struct ferry_remote_call *call)
{
	size_t count = call->count;
	int error = ferry_user_read(a->pages, call->pages, count * sizeof(a->pages[0]));

	if (error == 0 && call->nodes != NULL)
		error = ferry_user_read(a->nodes, call->nodes, count * sizeof(a->nodes[0]));
	if (error == 0)
		error = ferry_user_probe(call->status, count * sizeof(a->status[0]));
	if (error == 0 && call->reasons != NULL)
		error = ferry_user_probe(call->reasons, count);
	return error;
}

static int copy_out(const struct arrays *a, const struct ferry_remote_call *call)
{
	size_t count = call->count;
	int error = ferry_user_write(call->status, a->status, count * sizeof(a->status[0]));

	if (error == 0 && call->reasons != NULL)
		error = ferry_user_write(call->reasons, a->reasons, count);
	return error;
}

static int64_t ask_move(struct ferry_client *client, const struct arrays *a,
			const struct ferry_remote_call *call)
{
	struct ferry_msg done, msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_MOVE_PAGES,
		.a = call->count,
		.flags = ((call->flags & FERRY_MOVE_ALL) != 0 ? FERRY_MSG_FLAG_MOVE_ALL : 0u) |
			 (is_seed(client, call->flags) ? FERRY_MSG_FLAG_SEED : 0u),
	};
	int error = ferry_client_ask(client, &msg, a->fd, NULL, &done);

	if (error != 0)
		return error == -EPIPE ? -ESRCH : error;
	return done.status != 0 ? done.status : (int64_t)done.a;
}

static int64_t call_in(struct ferry_client *client, const struct arrays *a,
		       const struct ferry_remote_call *call)
{
	int64_t result = copy_in(a, call);
	int error;

	if (result != 0)
		return result;
	if (call->nodes != NULL)
		result = ask_move(client, a, call);
	else
		ferry_books_query_pages(client->books, call->count, a->pages, a->status,
					a->reasons);
	/* -ENOENT (seed) and -ENOMEM (linux, target full) come with statuses. */
	if (result < 0 && result != -ENOENT && result != -ENOMEM)
		return result;
	error = copy_out(a, call);
	return error != 0 ? error : result;
}

int64_t ferry_remote_move_pages(struct ferry_client *client, const struct ferry_remote_call *call)
{
	struct arrays arrays;
	int64_t result;

	if (call->count > client->keeper.machine->max_count)
		return -E2BIG;
	if (call->count == 0)
		return call->nodes != NULL && is_seed(client, call->flags) ? -ENOENT : 0;
	if (call->pages == NULL || call->status == NULL)
		return -EFAULT;
	result = make_arrays(&arrays, call->count);
	if (result != 0)
		return result;
	result = call_in(client, &arrays, call);
	free_arrays(&arrays);
	return result;
}

/* --- ranges ------------------------------------------------------------------------------ */

static bool tell_progress(void *context, const struct ferry_msg *msg)
{
	const struct ferry_move_options *options = context;

	return options != NULL && options->progress != NULL &&
	       options->progress(options->context, msg->a, msg->b) != 0;
}

static void fill_report(struct ferry_move_report *report, const struct ferry_msg *done)
{
	struct ferry_move_report full = {
		.size = report->size,
		.asked_pages = done->d,
		.moved_pages = done->reasons[FERRY_REASON_MOVED],
		.elapsed_ns = done->c,
		.stopped = (done->flags & FERRY_MSG_FLAG_STOPPED) != 0,
	};

	memcpy(full.reasons, done->reasons, sizeof(full.reasons));
	memcpy(report, &full, report->size < sizeof(full) ? report->size : sizeof(full));
}

int ferry_remote_move_range(struct ferry_client *client, struct ferry_msg *msg,
			    const struct ferry_move_options *options,
			    struct ferry_move_report *report)
{
	const struct ferry_client_hooks hooks = {
		.progress = tell_progress,
		.context = (void *)(uintptr_t)options,
	};
	struct ferry_msg done;
	int error;

	if (is_seed(client, options != NULL ? options->flags : 0))
		msg->flags |= FERRY_MSG_FLAG_SEED;
	error = ferry_client_ask(client, msg, -1, &hooks, &done);
	if (error == 0)
		error = done.status;
	if (error != 0)
		return error == -EPIPE ? -ESRCH : error;
	if (report != NULL)
		fill_report(report, &done);
	return (done.flags & FERRY_MSG_FLAG_STOPPED) != 0 ||
	       ferry_reason_left_behind(done.reasons) != 0;
}

static void wait_until_settled(const struct ferry_books *books)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };

	/* Bounded: the owner of the books may be dead. */
	for (int i = 0; i < 2000 && __atomic_load_n(&books->settling, __ATOMIC_ACQUIRE) != 0; i++)
		(void)nanosleep(&millisecond, NULL);
}

int ferry_remote_query_range(const struct ferry_client *client, ferry_va start, size_t count,
			     int *status)
{
	int32_t chunk[QUERY_CHUNK];

	wait_until_settled(client->books);
	for (size_t at = 0; at < count; at += QUERY_CHUNK) {
		size_t pages = count - at < QUERY_CHUNK ? count - at : QUERY_CHUNK;

		ferry_books_query_range(client->books, start + at * FERRY_PAGE_SIZE, pages, chunk);
		if (ferry_user_write(status + at, chunk, pages * sizeof(chunk[0])) != 0)
			return -EFAULT;
	}
	return 0;
}
