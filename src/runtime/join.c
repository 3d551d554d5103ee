/* SPDX-License-Identifier: MIT */
/* join.c - see join.h. */
#define _GNU_SOURCE
#include "runtime/join.h"

#include "base/sys.h"
#include "runtime/clients.h"
#include "runtime/lease.h"
#include "runtime/mems.h"
#include "runtime/objects.h"
#include "runtime/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	MESSAGES_MAX = 64, /* of one process, served in a row */
	ROUNDS_MAX = 8,    /* while others ask for the same */
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void close_packet(struct ferry_packet *packet)
{
	for (uint32_t i = 0; i < packet->fd_count; i++)
		(void)close(packet->fds[i]);
	packet->fd_count = 0;
}

/* Takes descriptor i out of a packet. */
static int take_fd(struct ferry_packet *packet, uint32_t i)
{
	int fd = packet->fds[i];

	packet->fds[i] = -1;
	return fd;
}

int ferry_join_prepare_socket(int fd)
{
	int domain = 0, type = 0, on = 1, flags;
	socklen_t length = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0)
		return -errno;
	if (domain != AF_UNIX || type != SOCK_SEQPACKET)
		return -EINVAL;
	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0)
		return -errno;
	return 0;
}

static struct ferry_process *entry_of(struct ferry_keeper *keeper,
				      const struct ferry_keeper_process *process)
{
	return &ferry_machine_processes(keeper->machine)[process->slot];
}

bool ferry_join_wake(struct ferry_keeper *keeper, const struct ferry_keeper_process *process)
{
	struct ferry_process *entry = entry_of(keeper, process);

	if (entry->state != FERRY_PROCESS_ASLEEP)
		return false;
	if (__atomic_exchange_n(&entry->wake, 1, __ATOMIC_SEQ_CST) == 0)
		(void)syscall(SYS_futex, &entry->wake, FUTEX_WAKE, 1, NULL, NULL, 0);
	return true;
}

void ferry_join_publish(struct ferry_keeper *keeper, const struct ferry_keeper_process *process,
			enum ferry_process_state state)
{
	struct ferry_process *entry = entry_of(keeper, process);

	__atomic_store_n(&entry->pid, process->pid, __ATOMIC_RELAXED);
	__atomic_store_n(&entry->agent_pid, process->agent_pid, __ATOMIC_RELAXED);
	__atomic_store_n(&entry->state, (uint32_t)state, __ATOMIC_RELEASE);
	if (state == FERRY_PROCESS_ALIVE || state == FERRY_PROCESS_ASLEEP)
		__atomic_fetch_add(&keeper->machine->arrivals, 1, __ATOMIC_RELEASE);
}

struct ferry_keeper_process *ferry_join_find(struct ferry_keeper *keeper, int32_t pid,
					     enum ferry_process_state state)
{
	const struct ferry_process *entries = ferry_machine_processes(keeper->machine);
	struct ferry_keeper_process *newest = NULL;

	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		struct ferry_keeper_process *process = keeper->processes[slot];

		if (process == NULL || process->pid != pid || process->program_gone ||
		    entries[slot].state != (uint32_t)state)
			continue;
		if (newest == NULL ||
		    entries[slot].start_time_ns > entries[newest->slot].start_time_ns)
			newest = process;
	}
	return newest;
}

int ferry_join_reach(struct ferry_keeper *keeper, const struct ferry_packet *packet,
		     struct ferry_keeper_process **process, struct ferry_rights *rights)
{
	int32_t pid = (int32_t)packet->msg.a;
	struct ferry_keeper_process *sleeper = ferry_join_find(keeper, pid, FERRY_PROCESS_ASLEEP);
	int error;

	*process = ferry_join_find(keeper, pid, FERRY_PROCESS_ALIVE);
	if (*process == NULL && sleeper == NULL)
		return -ESRCH;
	error = ferry_rights_get(packet->pid, (int32_t)packet->msg.b, pid, rights);
	if (error != 0 || !rights->read)
		return error == -ESRCH ? error : -EPERM;
	/* If there are both, the program has called exec, and its former agent is leaving. */
	return sleeper != NULL && ferry_join_wake(keeper, sleeper) ? -EAGAIN : 0;
}

/* => a new process without descriptors, in no slot yet; NULL: no memory. */
static struct ferry_keeper_process *create_process(const struct ferry_keeper *keeper, int32_t pid)
{
	struct ferry_keeper_process *process = calloc(1, sizeof(*process));

	if (process == NULL)
		return NULL;
	process->leases = calloc(keeper->machine->node_count, sizeof(*process->leases));
	process->recall = calloc(keeper->machine->node_count, sizeof(*process->recall));
	process->pid = pid;
	process->program_fd = process->agent_fd = process->up = process->down = -1;
	process->books = process->program_uffd = process->arena_uffd = -1;
	if (process->leases != NULL && process->recall != NULL)
		return process;
	free(process->leases);
	free(process->recall);
	free(process);
	return NULL;
}

static void destroy_process(struct ferry_keeper_process *process)
{
	close_fd(&process->program_fd);
	close_fd(&process->agent_fd);
	close_fd(&process->up);
	close_fd(&process->down);
	close_fd(&process->books);
	close_fd(&process->program_uffd);
	close_fd(&process->arena_uffd);
	free(process->leases);
	free(process->recall);
	free(process);
}

static int take_slot(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	for (uint32_t slot = 0; slot < FERRY_PROCESSES_MAX; slot++) {
		struct ferry_process *entry;

		if (keeper->processes[slot] != NULL)
			continue;
		keeper->processes[slot] = process;
		keeper->process_count++;
		if (slot >= keeper->process_end)
			keeper->process_end = slot + 1;
		process->slot = slot;
		ferry_mems_inherit(keeper, process);
		entry = entry_of(keeper, process);
		__atomic_store_n(&entry->joins, entry->joins + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&entry->start_time_ns, ferry_keeper_now_ns(), __ATOMIC_RELAXED);
		__atomic_store_n(&entry->wake, 0, __ATOMIC_RELAXED);
		ferry_join_publish(keeper, process, FERRY_PROCESS_JOINING);
		return 0;
	}
	return -ENOSPC;
}

/* advance: pages of node that are leased already. inherits: the objects of who was there before. */
static void send_welcome(struct ferry_keeper *keeper, const struct ferry_keeper_process *process,
			 uint64_t advance, uint32_t node, bool inherits)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_WELCOME,
		.a = process->slot,
		.b = advance,
		.c = inherits,
		.node = (int32_t)node,
	};
	int fds[3] = { keeper->machine_fd, keeper->labels_fd, keeper->device_fd };

	/* A program that is gone already is noticed by its pidfd. */
	if (ferry_proto_send(process->up, &msg, fds, keeper->device_fd >= 0 ? 3 : 2) != 0)
		return;
}

static void refuse(int up, int status, const char *text)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_WELCOME,
		.status = status,
	};

	(void)snprintf(msg.text, sizeof(msg.text), "%s", text);
	if (ferry_proto_send(up, &msg, NULL, 0) != 0)
		return;
}

/* Watches a process that has its sockets already. => 0, -errno. */
static int enter(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	int error;

	process->program_fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	if (process->program_fd < 0)
		return -errno;
	error = take_slot(keeper, process);
	if (error != 0)
		return error;
	error = ferry_keeper_watch(keeper, process->program_fd, FERRY_SOURCE_PROGRAM,
				   process->slot);
	if (error == 0)
		error = ferry_keeper_watch(keeper, process->up, FERRY_SOURCE_UP, process->slot);
	return error;
}

void ferry_join_release(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	const int watched[] = { process->program_fd, process->agent_fd, process->up };

	ferry_lease_release(keeper, process);
	ferry_objects_leave(keeper, process);
	ferry_mems_keep(keeper, process);
	/* A duplicate elsewhere would keep a closed descriptor in the epoll set. */
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(watched); i++)
		ferry_keeper_unwatch(keeper, watched[i]);
	process->pid = process->agent_pid = 0;
	ferry_join_publish(keeper, process, FERRY_PROCESS_FREE);
	keeper->processes[process->slot] = NULL;
	keeper->process_count--;
	destroy_process(process);
}

/*
 * A process has joined again: after an exec, or because its agent was killed. What it had before is
 * given up; an agent that has not noticed the exec has no more than the usual time.
 */
static void replace_older(struct ferry_keeper *keeper, const struct ferry_keeper_process *newer)
{
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		struct ferry_keeper_process *older = keeper->processes[slot];

		if (older == NULL || older == newer || older->pid != newer->pid ||
		    entry_of(keeper, older)->start_time_ns >
			    entry_of(keeper, newer)->start_time_ns)
			continue;
		/* No agent said that it had taken anything over, or it has ended. */
		if (older->agent_fd < 0)
			ferry_join_release(keeper, older);
		else if (older->leave_deadline_ns == 0)
			older->leave_deadline_ns = ferry_watch_leave_deadline();
	}
}

/* A program begins a family; who is forked stays in its parent's. */
static void set_family(struct ferry_keeper *keeper, const struct ferry_keeper_process *process,
		       uint32_t family)
{
	if (family == 0)
		family = ++keeper->families;
	__atomic_store_n(&entry_of(keeper, process)->family, family, __ATOMIC_RELAXED);
}

void ferry_join_accept(struct ferry_keeper *keeper, struct ferry_packet *packet)
{
	struct ferry_keeper_process *process;
	uint64_t advance;
	uint32_t node = 0;
	bool entered, inherits;
	int error;

	if (packet->fd_count != 2 || packet->pid <= 0 ||
	    ferry_join_prepare_socket(packet->fds[0]) != 0 ||
	    ferry_join_prepare_socket(packet->fds[1]) != 0) {
		close_packet(packet);
		return;
	}
	process = create_process(keeper, packet->pid);
	if (process == NULL) {
		refuse(packet->fds[0], -ENOMEM, "the keeper has no memory");
		close_packet(packet);
		return;
	}
	process->up = take_fd(packet, 0);
	process->down = take_fd(packet, 1);
	error = enter(keeper, process);
	if (error == 0) {
		set_family(keeper, process, (uint32_t)packet->msg.c);
		inherits = packet->msg.c != 0 &&
			   ferry_objects_inherit(keeper, process, (uint32_t)packet->msg.d,
						 (uint32_t)(packet->msg.d >> 32));
		advance = ferry_lease_advance(keeper, process, packet->msg.a, packet->msg.b, &node);
		if (advance != 0) {
			replace_older(keeper, process);
			ferry_join_publish(keeper, process, FERRY_PROCESS_ASLEEP);
		}
		send_welcome(keeper, process, advance, node, inherits);
		return;
	}
	entered = keeper->processes[process->slot] == process;
	refuse(process->up, error,
	       error == -ENOSPC ? "the machine has no room for another process" : "");
	if (entered)
		ferry_join_release(keeper, process);
	else
		destroy_process(process);
}

/* --- messages of an agent ---------------------------------------------------------------- */

static void answer(struct ferry_keeper_process *process, int status, uint64_t a, const char *text)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_OK,
		.status = status,
		.a = a,
	};

	(void)snprintf(msg.text, sizeof(msg.text), "%s", text);
	/* An agent that does not read its answers hurts itself only. */
	if (ferry_proto_send(process->up, &msg, NULL, 0) != 0)
		return;
}

/* Starts a userfaultfd for a program that lacks the rights to ask for fork events. */
static void serve_api(struct ferry_keeper_process *process, struct ferry_packet *packet)
{
	struct uffdio_api api = { .api = UFFD_API, .features = packet->msg.a };
	long result = -EINVAL;

	if (packet->fd_count == 1)
		result = ferry_sys3(SYS_ioctl, packet->fds[0], UFFDIO_API, &api);
	answer(process, (int)result, api.features, "");
}

/* The books must keep their size, or whoever reads them could be killed by SIGBUS. */
static int seal_books(int fd)
{
	const int wanted = F_SEAL_SHRINK | F_SEAL_GROW;
	int seals;

	(void)fcntl(fd, F_ADD_SEALS, wanted);
	seals = fcntl(fd, F_GET_SEALS);
	return seals >= 0 && (seals & wanted) == wanted ? 0 : -EINVAL;
}

static int enter_agent(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
		       struct ferry_packet *packet)
{
	int fd;

	if (process->agent_pid != 0 || packet->fd_count != 3 || packet->pid <= 0)
		return -EINVAL;
	fd = (int)syscall(SYS_pidfd_open, packet->pid, 0);
	if (fd < 0)
		return -errno;
	if (ferry_keeper_watch(keeper, fd, FERRY_SOURCE_AGENT, process->slot) != 0) {
		(void)close(fd);
		return -ENOMEM;
	}
	process->agent_fd = fd;
	process->agent_pid = packet->pid;
	process->books = take_fd(packet, 0);
	process->program_uffd = take_fd(packet, 1);
	process->arena_uffd = take_fd(packet, 2);
	replace_older(keeper, process);
	ferry_join_publish(keeper, process, FERRY_PROCESS_ALIVE);
	return 0;
}

/* A sleeper has woken: what it was given in advance is now a lease like any other. */
static void answer_agent(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	struct ferry_msg msg = { .version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_OK };

	for (uint32_t node = 0; node < keeper->machine->node_count; node++) {
		if (process->leases[node] == 0)
			continue;
		msg.node = (int32_t)node;
		msg.a = process->leases[node];
	}
	if (ferry_proto_send(process->up, &msg, NULL, 0) == 0)
		ferry_lease_repeat_recalls(keeper, process);
}

static void serve_agent(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			struct ferry_packet *packet)
{
	const char *text = "";
	int error;

	if (packet->fd_count >= 1 && seal_books(packet->fds[0]) != 0) {
		error = -EINVAL;
		text = "the books are no memfd whose size can be sealed";
	} else {
		error = enter_agent(keeper, process, packet);
	}
	if (error == 0)
		answer_agent(keeper, process);
	else
		answer(process, error, 0, text);
}

/* A sleeper could not wake: the program runs on as if it had been refused at its start. */
static void serve_failed(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			 struct ferry_msg *msg)
{
	uint32_t state = entry_of(keeper, process)->state;
	int error = msg->status < 0 && msg->status > -4096 ? -msg->status : EPROTO;
	char line[FERRY_MSG_TEXT + 160];

	if (state != FERRY_PROCESS_ASLEEP && state != FERRY_PROCESS_ALIVE)
		return;
	msg->text[sizeof(msg->text) - 1] = '\0';
	(void)snprintf(line, sizeof(line), "pageferry: process %d %s unmanaged: %s: %s",
		       process->pid, keeper->machine->strict ? "would run" : "runs", msg->text,
		       strerror(error));
	ferry_keeper_say(keeper, line);
	if (keeper->machine->strict)
		(void)syscall(SYS_pidfd_send_signal, process->program_fd, SIGKILL, NULL, 0);
	/* That of an agent that we know is seen by its end. */
	if (state == FERRY_PROCESS_ASLEEP)
		ferry_join_release(keeper, process);
}

/* => 0, or the status of the answer; *fd: a channel to the agent of the process in *slot. */
static int find_sharer(struct ferry_keeper *keeper, const struct ferry_keeper_process *process,
		       uint64_t *slot, int *fd)
{
	const struct ferry_process *entries = ferry_machine_processes(keeper->machine);

	for (; *slot < keeper->process_end; ++*slot) {
		struct ferry_keeper_process *other = keeper->processes[*slot];

		if (other == NULL || other == process || other->program_gone ||
		    entries[*slot].family != entries[process->slot].family)
			continue;
		if (ferry_join_wake(keeper, other))
			return -EAGAIN;
		if (entries[*slot].state != FERRY_PROCESS_ALIVE)
			continue;
		/* An agent that cannot be reached moves nothing. */
		*fd = ferry_clients_introduce(other, FERRY_CLIENT_SHARES);
		if (*fd >= 0)
			return 0;
	}
	return -ENOENT;
}

static void serve_sharer(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			 const struct ferry_msg *request)
{
	uint64_t slot = request->a;
	int fd = -1;
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_OK,
		.status = find_sharer(keeper, process, &slot, &fd),
		.a = slot,
	};

	/* An agent that does not read its answers hurts itself only. */
	(void)!ferry_proto_send(process->up, &msg, &fd, fd >= 0 ? 1 : 0);
	close_fd(&fd);
}

/* Whoever asks while others are served has another round begin, and is answered after that. */
static void serve_settle(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	process->wants_settled = true;
	keeper->settle_again = true;
	if (!keeper->settling)
		ferry_join_settle(keeper);
}

static void serve_message(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			  struct ferry_packet *packet)
{
	switch (packet->msg.kind) {
	case FERRY_MSG_API:
		serve_api(process, packet);
		break;
	case FERRY_MSG_AGENT:
		serve_agent(keeper, process, packet);
		break;
	case FERRY_MSG_FAILED:
		serve_failed(keeper, process, &packet->msg);
		break;
	case FERRY_MSG_LEASE:
		ferry_lease_request(keeper, process, &packet->msg);
		break;
	case FERRY_MSG_SHARER:
		serve_sharer(keeper, process, &packet->msg);
		break;
	case FERRY_MSG_RETURN:
		ferry_lease_return(keeper, process, &packet->msg);
		break;
	case FERRY_MSG_OBJECT:
		ferry_objects_attach(keeper, process, &packet->msg);
		break;
	case FERRY_MSG_MAPPED:
		ferry_objects_mapped(keeper, process, &packet->msg);
		break;
	case FERRY_MSG_PLACED:
		ferry_objects_placed(keeper, process, &packet->msg);
		break;
	case FERRY_MSG_RELABEL:
		ferry_objects_relabel(keeper, process, packet);
		break;
	case FERRY_MSG_SETTLE:
		serve_settle(keeper, process);
		break;
	case FERRY_MSG_NOMEM:
		ferry_watch_out_of_memory(keeper, process);
		break;
	default:
		break; /* a later version's message; whoever waits for its answer sees no answer */
	}
}

/* Serves a message if one is there. => false: there was none, or the process is gone now. */
static bool serve_up(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	struct ferry_packet packet;
	int error = ferry_proto_receive(process->up, &packet, 0);

	if (error == 0) {
		serve_message(keeper, process, &packet);
		for (uint32_t i = 0; i < packet.fd_count; i++)
			close_fd(&packet.fds[i]);
		return true;
	}
	if (error == -EAGAIN)
		return false;
	/* Closed, or not to be understood. An agent's end is seen by its pidfd. */
	ferry_keeper_unwatch(keeper, process->up);
	if (process->agent_fd < 0 && !process->agent_gone)
		ferry_join_release(keeper, process);
	return false;
}

void ferry_join_serve_up(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	(void)serve_up(keeper, process);
}

/* Serves what all processes have said so far. One may be gone afterwards. */
static void serve_all(struct ferry_keeper *keeper)
{
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		uint32_t count = 0;

		/* One that goes on and on has said enough. */
		while (keeper->processes[slot] != NULL && count++ < MESSAGES_MAX &&
		       serve_up(keeper, keeper->processes[slot]))
			continue;
	}
}

void ferry_join_settle(struct ferry_keeper *keeper)
{
	keeper->settling = true;
	for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
		keeper->settle_again = false;
		serve_all(keeper);
		if (!keeper->settle_again)
			break;
	}
	keeper->settling = false;
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		struct ferry_keeper_process *process = keeper->processes[slot];

		if (process == NULL || !process->wants_settled)
			continue;
		process->wants_settled = false;
		answer(process, 0, 0, "");
	}
}
