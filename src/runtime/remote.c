/* SPDX-License-Identifier: MIT */
/* remote.c - see remote.h. */
#define _GNU_SOURCE
#include "runtime/remote.h"

#include "base/sys.h"
#include "move/move_pages.h"
#include "runtime/arrays.h"
#include "runtime/mailbox.h"
#include "runtime/reason.h"
#include "runtime/segment.h"
#include "runtime/tasks.h"
#include "runtime/user.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
	QUERY_CHUNK = 4096,
	AGENTS_MAX = 3, /* that may be killed over one call */
};

/* What the kernel says of a call on that process that names no pages: whether it is there, whether
 * the calling thread may, and whether it has memory at all. => 0, -errno. */
static int ask_kernel(int32_t pid, unsigned flags)
{
	return (int)ferry_sys6(SYS_move_pages, pid, 0, 0, 0, 0,
			       (long)(flags & (FERRY_MOVE | FERRY_MOVE_ALL)));
}

/* A process that no machine manages is the kernel's; its word on nodes would be of the host's. */
static int why_unmanaged(int32_t pid, unsigned flags)
{
	int error = ask_kernel(pid, flags);

	return error < 0 && error != -ENOSYS ? error : -ESRCH;
}

int ferry_remote_open(struct ferry_client *client, int32_t pid, unsigned flags,
		      enum ferry_client_mode mode)
{
	int error = pid < 0 ? -ESRCH : ferry_client_open(client, pid, mode);

	return error == -ENOENT || error == -ESRCH ? why_unmanaged(pid, flags) : error;
}

static bool is_seed(const struct ferry_machine *machine, unsigned flags)
{
	if ((flags & (FERRY_CONTRACT_LINUX | FERRY_CONTRACT_SEED)) != 0)
		return (flags & FERRY_CONTRACT_SEED) != 0;
	return machine->contract != FERRY_CONTRACT_LINUX_ALL;
}

/* --- the mailbox of an agent ----------------------------------------------------------------- */

enum {
	KEPT_MAX = 4,
	KEPT_COUNT_MAX = 131072, /* pages of a call: a mailbox for more is not kept */
	COUNT_MIN = 1024,
	LOOK_NS = 100000000, /* how soon an agent's end is noticed */
};

/* Our side of a mailbox. */
struct mailbox {
	struct ferry_mailbox *shared; /* NULL: there is none */
	const struct ferry_machine *machine;
	size_t count_max;
	uint32_t slot, joins;
	int32_t pid, agent_pid;
};

/*
 * Mailboxes that nobody uses just now, for the next call. A place is taken only to copy what is
 * in it. A forked child finds its parent's, and forgets them.
 */
static struct kept {
	uint32_t taken; /* (a) process that is at it, 0: nobody */
	int32_t owner;  /* process whose mailbox it is */
	struct mailbox mailbox;
} kept[KEPT_MAX];
static uint32_t next_victim; /* (a) */

static size_t size_of(const struct mailbox *mailbox)
{
	return FERRY_MAILBOX_ARRAYS + ferry_arrays_size(mailbox->count_max);
}

static void throw_away(struct mailbox *mailbox)
{
	if (mailbox->shared == NULL)
		return;
	(void)ferry_mailbox_change(mailbox->shared, FERRY_MAILBOX_IDLE, FERRY_MAILBOX_CLOSED);
	(void)munmap(mailbox->shared, size_of(mailbox));
	ferry_segment_unmap(mailbox->machine);
	mailbox->shared = NULL;
}

/* => true: the place is ours. Whoever had taken it in a parent of ours does not come back. */
static bool take_place(struct kept *place, int32_t self)
{
	uint32_t taken = __atomic_load_n(&place->taken, __ATOMIC_RELAXED);

	if (taken == (uint32_t)self ||
	    !__atomic_compare_exchange_n(&place->taken, &taken, (uint32_t)self, false,
					 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return false;
	if (place->owner != self)
		place->mailbox.shared = NULL;
	place->owner = self;
	return true;
}

static void leave_place(struct kept *place)
{
	__atomic_store_n(&place->taken, 0, __ATOMIC_RELEASE);
}

/* => a kept mailbox of that process; without one, its shared is NULL. */
static struct mailbox take_kept(int32_t pid)
{
	struct mailbox found = { .shared = NULL };
	int32_t self = getpid();

	for (size_t i = 0; i < KEPT_MAX && found.shared == NULL; i++) {
		if (!take_place(&kept[i], self))
			continue;
		if (kept[i].mailbox.shared != NULL && kept[i].mailbox.pid == pid) {
			found = kept[i].mailbox;
			kept[i].mailbox.shared = NULL;
		}
		leave_place(&kept[i]);
	}
	return found;
}

static void keep(struct mailbox *mailbox)
{
	uint32_t victim = __atomic_fetch_add(&next_victim, 1, __ATOMIC_RELAXED) % KEPT_MAX;
	int32_t self = getpid();

	if (mailbox->count_max > KEPT_COUNT_MAX) {
		throw_away(mailbox);
		return;
	}
	for (size_t i = 0; i <= KEPT_MAX && mailbox->shared != NULL; i++) {
		struct kept *place = &kept[i < KEPT_MAX ? i : victim];
		struct mailbox former;

		if (!take_place(place, self))
			continue;
		former = place->mailbox;
		if (former.shared == NULL || i == KEPT_MAX) {
			place->mailbox = *mailbox;
			*mailbox = former;
		}
		leave_place(place);
	}
	throw_away(mailbox);
}

/* => false: the agent is not the process's any more, or is gone. */
static bool is_agent_there(const struct mailbox *mailbox)
{
	const struct ferry_process *process =
		&ferry_machine_processes(mailbox->machine)[mailbox->slot];

	return __atomic_load_n(&process->state, __ATOMIC_ACQUIRE) == FERRY_PROCESS_ALIVE &&
	       __atomic_load_n(&process->pid, __ATOMIC_RELAXED) == mailbox->pid &&
	       __atomic_load_n(&process->joins, __ATOMIC_RELAXED) == mailbox->joins &&
	       __atomic_load_n(&process->agent_pid, __ATOMIC_RELAXED) == mailbox->agent_pid &&
	       ferry_sys2(SYS_kill, mailbox->agent_pid, 0) != -ESRCH;
}

/* The keeper may be gone, so that the table is of the past, and nobody has reaped the agent. */
static bool has_agent_ended(const struct mailbox *mailbox)
{
	struct ferry_task_stat stat;

	return ferry_tasks_stat(mailbox->agent_pid, &stat) == 0 &&
	       (stat.state == 'Z' || stat.state == 'X');
}

/* The size is sealed: the agent need not fear to read behind the end. => a descriptor, -errno. */
static int make_memory(struct mailbox *mailbox)
{
	size_t size = size_of(mailbox);
	void *memory = MAP_FAILED;
	int fd = memfd_create("pageferry-call", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -ENOMEM;
	if (ftruncate(fd, (off_t)size) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0)
		memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED) {
		(void)close(fd);
		return -ENOMEM;
	}
	mailbox->shared = memory;
	return fd;
}

/* Takes the client's machine over. => 0, -EPIPE (the agent has left), -errno. */
static int open_mailbox(struct ferry_client *client, size_t count, struct mailbox *mailbox)
{
	const struct ferry_msg msg = { .version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_MAILBOX };
	const struct ferry_process *process =
		&ferry_machine_processes(client->keeper.machine)[client->slot];
	struct ferry_msg done = { .status = 0 };
	int fd, error;

	*mailbox = (struct mailbox){
		.machine = client->keeper.machine,
		.count_max = count > COUNT_MIN ? count : COUNT_MIN,
		.slot = client->slot,
		.joins = __atomic_load_n(&process->joins, __ATOMIC_ACQUIRE),
		.agent_pid = __atomic_load_n(&process->agent_pid, __ATOMIC_RELAXED),
		.pid = client->pid,
	};
	fd = make_memory(mailbox);
	if (fd < 0)
		return fd;
	client->keeper.machine = NULL;
	error = ferry_client_ask(client, &msg, fd, NULL, &done);
	if (error == 0)
		error = done.status;
	(void)close(fd);
	if (error != 0)
		throw_away(mailbox);
	return error;
}

/* --- move_pages ---------------------------------------------------------------------------- */

/* => true: *result is what the call returns, and neither books nor agent are needed for it. */
static bool is_answered(const struct ferry_machine *machine, const struct ferry_remote_call *call,
			int64_t *result)
{
	if (call->count > machine->max_count)
		*result = -E2BIG;
	else if (call->count == 0)
		*result = call->nodes != NULL && is_seed(machine, call->flags) ? -ENOENT : 0;
	else if (call->pages == NULL || call->status == NULL)
		*result = -EFAULT;
	else
		return false;
	return true;
}

/* pages, nodes, status, reasons: of a call with so many pages. */
struct arrays {
	uint64_t *pages;
	int32_t *nodes;
	int32_t *status;
	uint8_t *reasons;
};

static struct arrays lay_arrays(void *memory, size_t count)
{
	char *at = memory;

	return (struct arrays){
		.pages = memory,
		.nodes = (int32_t *)(void *)(at + ferry_arrays_nodes_at(count)),
		.status = (int32_t *)(void *)(at + ferry_arrays_status_at(count)),
		.reasons = (uint8_t *)at + ferry_arrays_reasons_at(count),
	};
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

/* => 0 with *result; -EPIPE: the agent has left before it answered. */
static int post(const struct mailbox *mailbox, const struct ferry_remote_call *call,
		int64_t *result)
{
	struct ferry_mailbox *shared = mailbox->shared;

	shared->count = call->count;
	shared->flags = ((call->flags & FERRY_MOVE_ALL) != 0 ? FERRY_MSG_FLAG_MOVE_ALL : 0u) |
			(is_seed(mailbox->machine, call->flags) ? FERRY_MSG_FLAG_SEED : 0u);
	if (!ferry_mailbox_change(shared, FERRY_MAILBOX_IDLE, FERRY_MAILBOX_POSTED))
		return -EPIPE;
	while (ferry_mailbox_state(shared) == FERRY_MAILBOX_POSTED) {
		ferry_mailbox_wait(shared, FERRY_MAILBOX_POSTED, LOOK_NS);
		if (ferry_mailbox_state(shared) == FERRY_MAILBOX_POSTED &&
		    (!is_agent_there(mailbox) || has_agent_ended(mailbox)))
			return -EPIPE;
	}
	*result = shared->result;
	return 0;
}

/* => 0 with *result; -EPIPE as above. */
static int move_by_mailbox(const struct mailbox *mailbox, const struct ferry_remote_call *call,
			   int64_t *result)
{
	struct arrays a = lay_arrays((char *)mailbox->shared + FERRY_MAILBOX_ARRAYS, call->count);
	int error;

	*result = copy_in(&a, call);
	if (*result != 0)
		return 0;
	error = post(mailbox, call, result);
	if (error != 0)
		return error;
	/* -ENOENT (seed) and -ENOMEM (linux, target full) come with statuses. */
	if (*result >= 0 || *result == -ENOENT || *result == -ENOMEM) {
		error = copy_out(&a, call);
		*result = error != 0 ? error : *result;
	}
	return 0;
}

/* By a mailbox of an earlier call, if the kernel lets the calling thread at the process still.
 * => false: there is none that would do. */
static bool move_by_kept(int32_t pid, const struct ferry_remote_call *call, int64_t *result)
{
	struct mailbox mailbox = take_kept(pid);
	bool done;

	if (mailbox.shared == NULL)
		return false;
	done = call->count <= mailbox.count_max && is_agent_there(&mailbox) &&
	       ask_kernel(pid, call->flags) == 0;
	if (done && !is_answered(mailbox.machine, call, result))
		done = move_by_mailbox(&mailbox, call, result) == 0 && *result != -EPERM;
	if (done)
		keep(&mailbox);
	else
		throw_away(&mailbox);
	return done;
}

/* => 0 with *result; -EPIPE: the agent left meanwhile. */
static int move_by_client(struct ferry_client *client, const struct ferry_remote_call *call,
			  int64_t *result)
{
	struct mailbox mailbox;
	int error = open_mailbox(client, call->count, &mailbox);

	if (error != 0) {
		*result = error;
		return error == -EPIPE ? -EPIPE : 0;
	}
	error = move_by_mailbox(&mailbox, call, result);
	if (error == 0)
		keep(&mailbox);
	else
		throw_away(&mailbox);
	return error;
}

static int64_t query(const struct ferry_client *client, const struct ferry_remote_call *call)
{
	size_t size = ferry_arrays_size(call->count);
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct arrays a;
	int error;

	if (memory == MAP_FAILED)
		return -ENOMEM;
	a = lay_arrays(memory, call->count);
	error = copy_in(&a, call);
	if (error == 0) {
		ferry_books_query_pages(client->books, call->count, a.pages, a.status, a.reasons);
		error = copy_out(&a, call);
	}
	(void)munmap(memory, size);
	return error;
}

int64_t ferry_remote_move_pages(int32_t pid, const struct ferry_remote_call *call)
{
	const enum ferry_client_mode mode = call->nodes != NULL ? FERRY_CLIENT_ASK
								: FERRY_CLIENT_LOOK;
	struct ferry_client client;
	int64_t result = 0;
	int error = 0;

	if (call->nodes != NULL && move_by_kept(pid, call, &result))
		return result;
	/* A process whose agent was killed over the call has another one soon. */
	for (int i = 0; i < AGENTS_MAX; i++) {
		error = ferry_remote_open(&client, pid, call->flags, mode);
		if (error != 0)
			return error;
		if (!is_answered(client.keeper.machine, call, &result)) {
			if (call->nodes != NULL)
				error = move_by_client(&client, call, &result);
			else
				result = query(&client, call);
		}
		ferry_client_close(&client);
		if (error == 0)
			return result;
	}
	return -ESRCH;
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

	if (is_seed(client->keeper.machine, options != NULL ? options->flags : 0))
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
