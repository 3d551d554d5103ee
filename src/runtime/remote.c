/* SPDX-License-Identifier: MIT */
/* remote.c - see remote.h. */
#define _GNU_SOURCE
#include "runtime/remote.h"

#include "base/sys.h"
#include "move/move_pages.h"
#include "runtime/arrays.h"
#include "runtime/by_host.h"
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
	TRIES = 5, /* of a call over which agents are killed */
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

/* Our side of a mailbox. Neither mapping is there in a forked child. */
struct mailbox {
	struct ferry_mailbox *shared; /* NULL: there is none */
	const struct ferry_machine *machine;
	size_t count_max;
	uint32_t slot, joins, arrivals;
	int32_t pid, agent_pid;
	uint64_t agent_start_ticks; /* 0: not known */
};

/*
 * Mailboxes that nobody uses just now, for the next call. A place is taken only to copy what is in
 * it. A forked child finds them wiped.
 */
static struct {
	_Alignas(FERRY_PAGE_SIZE) uint32_t is_wiped_on_fork; /* (a) */
	uint32_t next_victim;                                /* (a) */
	struct kept {
		uint32_t taken; /* (a) 1: somebody is at it */
		struct mailbox mailbox;
	} places[KEPT_MAX];
} kept;
_Static_assert(sizeof(kept) == FERRY_PAGE_SIZE, "what is wiped is this and nothing else");

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

/* => whether mailboxes can be kept, without a child's finding them. */
static bool can_keep(void)
{
	if (__atomic_load_n(&kept.is_wiped_on_fork, __ATOMIC_ACQUIRE) != 0)
		return true;
	if (madvise(&kept, sizeof(kept), MADV_WIPEONFORK) != 0)
		return false;
	__atomic_store_n(&kept.is_wiped_on_fork, 1, __ATOMIC_RELEASE);
	return true;
}

static bool take_place(struct kept *place)
{
	return __atomic_exchange_n(&place->taken, 1, __ATOMIC_ACQUIRE) == 0;
}

static void leave_place(struct kept *place)
{
	__atomic_store_n(&place->taken, 0, __ATOMIC_RELEASE);
}

/* => a kept mailbox of that process; without one, its shared is NULL. */
static struct mailbox take_kept(int32_t pid)
{
	struct mailbox found = { .shared = NULL };

	for (size_t i = 0; i < KEPT_MAX && found.shared == NULL; i++) {
		struct kept *place = &kept.places[i];

		if (!take_place(place))
			continue;
		if (place->mailbox.shared != NULL && place->mailbox.pid == pid) {
			found = place->mailbox;
			place->mailbox.shared = NULL;
		}
		leave_place(place);
	}
	return found;
}

/* In an empty place, or in another one's. */
static void keep(struct mailbox *mailbox)
{
	size_t victim = __atomic_fetch_add(&kept.next_victim, 1, __ATOMIC_RELAXED) % KEPT_MAX;
	bool put = mailbox->count_max > KEPT_COUNT_MAX || !can_keep();

	for (size_t i = 0; i <= KEPT_MAX && !put; i++) {
		struct kept *place = &kept.places[i < KEPT_MAX ? i : victim];
		struct mailbox former;

		if (!take_place(place))
			continue;
		former = place->mailbox;
		if (former.shared == NULL || i == KEPT_MAX) {
			place->mailbox = *mailbox;
			*mailbox = former;
			put = true;
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

/* => false: the process has called exec, and the agent is of the image before. */
static bool is_newest_image(struct mailbox *mailbox)
{
	uint32_t arrivals = __atomic_load_n(&mailbox->machine->arrivals, __ATOMIC_ACQUIRE), slot;

	if (arrivals == mailbox->arrivals)
		return true;
	mailbox->arrivals = arrivals;
	return ferry_client_find_slot(mailbox->machine, mailbox->pid, &slot) &&
	       slot == mailbox->slot;
}

/* The keeper may be gone, so that the table is of the past; nobody may have reaped the agent, or
 * another process have its number. */
static bool has_agent_ended(const struct mailbox *mailbox)
{
	struct ferry_task_stat stat;

	return ferry_tasks_stat(mailbox->agent_pid, &stat) == 0 &&
	       (stat.state == 'Z' || stat.state == 'X' ||
		(mailbox->agent_start_ticks != 0 &&
		 stat.start_ticks != mailbox->agent_start_ticks));
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
	const struct ferry_machine *machine = client->keeper.machine;
	const struct ferry_process *process = &ferry_machine_processes(machine)[client->slot];
	struct ferry_msg done = { .status = 0 };
	struct ferry_task_stat stat;
	int fd, error;

	*mailbox = (struct mailbox){
		.machine = machine,
		.count_max = count > COUNT_MIN ? count : COUNT_MIN,
		.slot = client->slot, /* arrivals 0: to be looked at in the next call */
		.joins = __atomic_load_n(&process->joins, __ATOMIC_ACQUIRE),
		.agent_pid = __atomic_load_n(&process->agent_pid, __ATOMIC_RELAXED),
		.pid = client->pid,
	};
	if (ferry_tasks_stat(mailbox->agent_pid, &stat) == 0)
		mailbox->agent_start_ticks = stat.start_ticks;
	fd = make_memory(mailbox);
	if (fd < 0)
		return fd;
	client->keeper.machine = NULL;
	/* Without these a child has them, which is no harm. */
	(void)madvise(mailbox->shared, size_of(mailbox), MADV_DONTFORK);
	(void)madvise((void *)(uintptr_t)machine, machine->size_bytes, MADV_DONTFORK);
	error = ferry_client_ask(client, &msg, fd, NULL, &done);
	if (error == 0)
		error = done.status;
	(void)close(fd);
	if (error != 0)
		throw_away(mailbox);
	return error;
}

/* --- queries ------------------------------------------------------------------------------- */

static void wait_until_settled(const struct ferry_books *books)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };

	/* Bounded: the owner of the books may be dead. */
	for (int i = 0; i < 2000 && __atomic_load_n(&books->settling, __ATOMIC_ACQUIRE) != 0; i++)
		(void)nanosleep(&millisecond, NULL);
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

static int copy_in(const struct ferry_arrays *a, const struct ferry_remote_call *call)
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

static int copy_out(const struct ferry_arrays *a, const struct ferry_remote_call *call)
{
	size_t count = call->count;
	int error = ferry_user_write(call->status, a->status, count * sizeof(a->status[0]));

	if (error == 0 && call->reasons != NULL)
		error = ferry_user_write(call->reasons, a->reasons, count);
	return error;
}

/* => 0 with *result; -EAGAIN: the mailbox is closed; -EPIPE: the agent has left before it answered,
 * and may have moved pages. */
static int post(const struct mailbox *mailbox, const struct ferry_remote_call *call,
		int64_t *result)
{
	struct ferry_mailbox *shared = mailbox->shared;

	shared->count = call->count;
	shared->flags = ((call->flags & FERRY_MOVE_ALL) != 0 ? FERRY_MSG_FLAG_MOVE_ALL : 0u) |
			(is_seed(mailbox->machine, call->flags) ? FERRY_MSG_FLAG_SEED : 0u);
	if (!ferry_mailbox_change(shared, FERRY_MAILBOX_IDLE, FERRY_MAILBOX_POSTED))
		return -EAGAIN;
	for (bool ended = false; ferry_mailbox_state(shared) == FERRY_MAILBOX_POSTED;) {
		if (ended)
			return -EPIPE;
		ferry_mailbox_wait(shared, FERRY_MAILBOX_POSTED, LOOK_NS);
		/* It may answer, and end then. */
		if (ferry_mailbox_state(shared) == FERRY_MAILBOX_POSTED)
			ended = !is_agent_there(mailbox) || has_agent_ended(mailbox);
	}
	*result = shared->result;
	return 0;
}

/* => as post() says. */
static int move_by_mailbox(const struct mailbox *mailbox, const struct ferry_remote_call *call,
			   int64_t *result)
{
	struct ferry_arrays a =
		ferry_arrays_lay((char *)mailbox->shared + FERRY_MAILBOX_ARRAYS, call->count);
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

/*
 * By a mailbox of an earlier call, if the kernel lets the calling thread at the process still.
 * => 0 with *result; -EAGAIN: there is none that would do; -EPIPE as post().
 */
static int move_by_kept(int32_t pid, const struct ferry_remote_call *call, int64_t *result)
{
	struct mailbox mailbox = take_kept(pid);
	int error = -EAGAIN;

	if (mailbox.shared == NULL)
		return -EAGAIN;
	if (call->count <= mailbox.count_max && is_agent_there(&mailbox) &&
	    is_newest_image(&mailbox) && ask_kernel(pid, call->flags) == 0)
		error = is_answered(mailbox.machine, call, result)
				? 0
				: move_by_mailbox(&mailbox, call, result);
	if (error == 0 && *result == -EPERM) /* not a right of whoever made it */
		error = -EAGAIN;
	if (error == 0)
		keep(&mailbox);
	else
		throw_away(&mailbox);
	return error;
}

/* => 0 with *result; otherwise as post() says. */
static int move_by_client(struct ferry_client *client, const struct ferry_remote_call *call,
			  int64_t *result)
{
	struct mailbox mailbox;
	int error = open_mailbox(client, call->count, &mailbox);

	if (error == -EPIPE)
		return -EAGAIN;
	if (error != 0) {
		*result = error;
		return 0;
	}
	error = move_by_mailbox(&mailbox, call, result);
	if (error == 0)
		keep(&mailbox);
	else
		throw_away(&mailbox);
	return error;
}

static void query_books(struct ferry_client *client, size_t count, const struct ferry_arrays *a)
{
	const struct ferry_query query = { client->books, client->keeper.labels };
	const struct ferry_by_host whose = { client->keeper.machine, client->pid };

	wait_until_settled(client->books);
	ferry_query_pages(&query, count, a->pages, a->status, a->reasons);
	/* Somebody may have told the keeper a moment ago. Without a keeper the labels are what they
	 * were. */
	if (ferry_by_host_is_unlabelled(a->status, count) &&
	    ferry_client_settle(&client->keeper) == 0)
		ferry_query_pages(&query, count, a->pages, a->status, a->reasons);
	ferry_by_host_pages(&whose, count, a->pages, a->status, a->reasons);
}

static int64_t query(struct ferry_client *client, const struct ferry_remote_call *call)
{
	size_t size = ferry_arrays_size(call->count);
	void *memory = ferry_user_map(size);
	struct ferry_arrays a;
	int error;

	if (memory == NULL)
		return -ENOMEM;
	a = ferry_arrays_lay(memory, call->count);
	error = copy_in(&a, call);
	if (error == 0) {
		query_books(client, call->count, &a);
		error = copy_out(&a, call);
	}
	(void)munmap(memory, size);
	return error;
}

/* => 0 with *result; otherwise as post() says, and the keeper may have gone as well. */
static int call_by_keeper(int32_t pid, const struct ferry_remote_call *call, int64_t *result)
{
	const enum ferry_client_mode mode = call->nodes != NULL ? FERRY_CLIENT_ASK
								: FERRY_CLIENT_LOOK;
	struct ferry_client client;
	int error = ferry_remote_open(&client, pid, call->flags, mode);

	if (error == -EPIPE)
		return -EAGAIN;
	if (error != 0) {
		*result = error;
		return 0;
	}
	if (!is_answered(client.keeper.machine, call, result)) {
		if (call->nodes != NULL)
			error = move_by_client(&client, call, result);
		else
			*result = query(&client, call);
	}
	ferry_client_close(&client);
	return error;
}

int64_t ferry_remote_move_pages(int32_t pid, const struct ferry_remote_call *call)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };
	int64_t result = 0;
	bool moved = false;
	int error = call->nodes != NULL ? move_by_kept(pid, call, &result) : -EAGAIN;

	for (int i = 0; i < TRIES && error != 0; i++) {
		moved = moved || error == -EPIPE;
		if (i > 0)
			(void)nanosleep(&millisecond, NULL);
		error = call_by_keeper(pid, call, &result);
	}
	if (error != 0)
		return -ESRCH;
	/* Seed's word for "nothing was to be done" is not true of what was begun before. */
	return moved && result == -ENOENT ? 0 : result;
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

int ferry_remote_query_range(struct ferry_client *client, ferry_va start, size_t count,
			     int *status)
{
	const struct ferry_query query = { client->books, client->keeper.labels };
	const struct ferry_by_host whose = { client->keeper.machine, client->pid };
	int32_t chunk[QUERY_CHUNK];

	wait_until_settled(client->books);
	for (size_t at = 0; at < count; at += QUERY_CHUNK) {
		size_t pages = count - at < QUERY_CHUNK ? count - at : QUERY_CHUNK;

		ferry_va from = start + at * FERRY_PAGE_SIZE;

		ferry_query_consecutive(&query, from, pages, chunk);
		if (ferry_by_host_is_unlabelled(chunk, pages) &&
		    ferry_client_settle(&client->keeper) == 0)
			ferry_query_consecutive(&query, from, pages, chunk);
		ferry_by_host_consecutive(&whose, from, pages, chunk);
		if (ferry_user_write(status + at, chunk, pages * sizeof(chunk[0])) != 0)
			return -EFAULT;
	}
	return 0;
}
