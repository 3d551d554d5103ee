/* SPDX-License-Identifier: MIT */
/* client.c - see client.h. */
#define _GNU_SOURCE
#include "runtime/client.h"

#include "base/os.h"
#include "runtime/rundir.h"
#include "runtime/segment.h"
#include "runtime/tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	ANSWER_MS = 5000,
	TICK_MS = 100, /* how soon a signal is noticed when nothing is said */
	WAKE_MS = 5000, /* how long an agent that sleeps may take to wake */
	JOIN_MS = 1000, /* how long after its birth a process may join its parent's machine */
};

static void close_fds(struct ferry_packet *packet)
{
	for (uint32_t i = 0; i < packet->fd_count; i++)
		(void)close(packet->fds[i]);
	packet->fd_count = 0;
}

/* --- keeper ------------------------------------------------------------------------------ */

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, error;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	error = -errno;
	(void)close(fd);
	return error;
}

/* One question to the keeper. => 0 with an OK in *packet, whatever its status; -errno. */
static int ask_keeper(int control, const struct ferry_msg *msg, struct ferry_packet *packet)
{
	int error = ferry_proto_send(control, msg, NULL, 0);

	if (error == 0)
		error = ferry_proto_receive(control, packet, ANSWER_MS);
	if (error == -EAGAIN)
		return -ETIMEDOUT;
	if (error != 0 || packet->msg.kind == FERRY_MSG_OK)
		return error;
	close_fds(packet);
	return -EPROTO;
}

static int map_books(int fd, const struct ferry_books **books)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat status;
	void *memory;

	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
		return -EPROTO;
	if (fstat(fd, &status) != 0 || status.st_size != (off_t)FERRY_BOOKS_SIZE_BYTES)
		return -EPROTO;
	memory = mmap(NULL, FERRY_BOOKS_SIZE_BYTES, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	if (ferry_books_validate(memory, FERRY_BOOKS_SIZE_BYTES) != 0) {
		(void)munmap(memory, FERRY_BOOKS_SIZE_BYTES);
		return -EPROTO;
	}
	*books = memory;
	return 0;
}

/* Takes the descriptor over. */
static int greet(int control, struct ferry_client_machine *machine)
{
	const struct ferry_msg hello = { .version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_HELLO };
	struct ferry_packet packet;
	int error;

	machine->control = control;
	if (control < 0)
		return control;
	error = ask_keeper(control, &hello, &packet);
	if (error == 0) {
		error = packet.fd_count == 2 ? ferry_segment_map(packet.fds[0], &machine->machine)
					     : -EPROTO;
		if (error == 0) {
			error = map_books(packet.fds[1], &machine->labels);
			if (error != 0)
				ferry_segment_unmap(machine->machine);
		}
		close_fds(&packet);
	}
	if (error != 0)
		(void)close(control);
	return error;
}

int ferry_client_connect(const char *path, struct ferry_client_machine *machine)
{
	return greet(connect_to(path), machine);
}

void ferry_client_disconnect(struct ferry_client_machine *machine)
{
	if (machine->machine != NULL)
		ferry_segment_unmap(machine->machine);
	(void)munmap((void *)(uintptr_t)machine->labels, FERRY_BOOKS_SIZE_BYTES);
	(void)close(machine->control);
}

/* --- finding a process ------------------------------------------------------------------- */

bool ferry_client_find_slot(const struct ferry_machine *machine, int32_t pid, uint32_t *slot)
{
	const struct ferry_process *processes = ferry_machine_processes(machine);
	uint64_t newest_ns = 0;
	bool found = false;

	for (uint32_t i = 0; i < FERRY_PROCESSES_MAX; i++) {
		uint32_t state = __atomic_load_n(&processes[i].state, __ATOMIC_ACQUIRE);

		if ((state != FERRY_PROCESS_ALIVE && state != FERRY_PROCESS_ASLEEP) ||
		    processes[i].pid != pid)
			continue;
		if (found && processes[i].start_time_ns < newest_ns)
			continue;
		newest_ns = processes[i].start_time_ns;
		*slot = i;
		found = true;
	}
	return found;
}

/* control: a connection to a keeper, or an error. => whether the process is in its machine, and the
 * client's keeper is that one. */
static bool look_in(struct ferry_client *client, int control)
{
	if (greet(control, &client->keeper) != 0)
		return false;
	if (ferry_client_find_slot(client->keeper.machine, client->pid, &client->slot))
		return true;
	ferry_client_disconnect(&client->keeper);
	return false;
}

static int visit(void *context, const char *path, uint32_t uid, const char *name)
{
	(void)uid;
	(void)name;
	return look_in(context, connect_to(path));
}

int (*ferry_client_dial)(void);

static bool find_machine(struct ferry_client *client)
{
	if (ferry_client_dial != NULL && look_in(client, ferry_client_dial()))
		return true;
	return ferry_rundir_each(visit, client) != 0;
}

/* => the parent of a process that is younger than JOIN_MS, 0: it is not. */
static int32_t parent_of_newborn(int32_t pid)
{
	struct timespec now = { 0, 0 };
	long ticks = sysconf(_SC_CLK_TCK);
	struct ferry_task_stat stat;

	if (ferry_tasks_stat(pid, &stat) != 0)
		return 0;
	(void)clock_gettime(CLOCK_BOOTTIME, &now);
	if ((long long)stat.start_ticks <= (now.tv_sec - JOIN_MS / 1000) * ticks)
		return 0;
	return stat.parent;
}

/* A child can be asked for before it has joined its parent's machine. */
static bool is_about_to_join(int32_t pid)
{
	struct ferry_client parent = { .pid = parent_of_newborn(pid), .channel = -1 };

	if (parent.pid == 0 || !find_machine(&parent))
		return false;
	ferry_client_disconnect(&parent.keeper);
	return true;
}

static void sleep_a_millisecond(void)
{
	const struct timespec millisecond = { .tv_nsec = 1000000 };

	(void)nanosleep(&millisecond, NULL);
}

/* Why no machine with the process was found. */
static int why_not_found(int32_t pid)
{
	char path[64];
	struct stat status;

	if (pid <= 0 || (kill(pid, 0) != 0 && errno == ESRCH))
		return -ESRCH;
	/* The machines of other users cannot be seen. */
	(void)snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &status) == 0 && status.st_uid != geteuid() && geteuid() != 0)
		return -EPERM;
	return -ENOENT;
}

/* Asks for something that needs an agent: if it sleeps the keeper wakes it, and is asked again.
 * => as the keeper says. */
static int ask_awake(struct ferry_client *client, const struct ferry_msg *msg,
		      struct ferry_packet *packet)
{
	int error = 0;

	for (int waited = 0; waited < WAKE_MS; waited++) {
		error = ask_keeper(client->keeper.control, msg, packet);
		if (error == 0)
			error = packet->msg.status;
		if (error != -EAGAIN)
			return error;
		close_fds(packet);
		sleep_a_millisecond();
	}
	return -ETIMEDOUT;
}

static void let_others_run(void)
{
	(void)sched_yield();
}

/* What readers of books need: they try again while their writer is at it. */
static const struct ferry_os reader_os = { .yield = let_others_run };

static int attach(struct ferry_client *client, enum ferry_client_mode mode)
{
	const struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_ATTACH,
		.a = (uint64_t)client->pid,
		.b = (uint64_t)syscall(SYS_gettid),
		.flags = mode == FERRY_CLIENT_LOOK ? FERRY_MSG_FLAG_LOOK : 0,
	};
	uint32_t fd_count = mode == FERRY_CLIENT_LOOK ? 1 : 2;
	struct ferry_packet packet = { .fd_count = 0 };
	int error = ask_awake(client, &msg, &packet);

	if (error == 0)
		error = packet.fd_count == fd_count ? map_books(packet.fds[0], &client->books)
						    : -EPROTO;
	if (error != 0) {
		close_fds(&packet);
		return error == -ESRCH ? why_not_found(client->pid) : error;
	}
	if (mode == FERRY_CLIENT_ASK)
		client->channel = packet.fds[1];
	(void)close(packet.fds[0]);
	return 0;
}

int ferry_client_open(struct ferry_client *client, int32_t pid, enum ferry_client_mode mode)
{
	int error;

	if (ferry_os == NULL) /* else there is an agent beside us, whose it is */
		ferry_os = &reader_os;
	memset(client, 0, sizeof(*client));
	client->pid = pid;
	client->channel = -1;
	while (!find_machine(client)) {
		if (!is_about_to_join(pid))
			return why_not_found(pid);
		sleep_a_millisecond();
	}
	error = attach(client, mode);
	if (error != 0)
		ferry_client_disconnect(&client->keeper);
	return error;
}

void ferry_client_close(struct ferry_client *client)
{
	(void)munmap((void *)(uintptr_t)client->books, FERRY_BOOKS_SIZE_BYTES);
	if (client->channel >= 0)
		(void)close(client->channel);
	ferry_client_disconnect(&client->keeper);
}

/* --- the keeper's own ---------------------------------------------------------------------- */

int ferry_client_set_mems(struct ferry_client *client, const struct ferry_nodeset *nodes)
{
	const struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_MEMS,
		.a = (uint64_t)client->pid,
		.b = (uint64_t)syscall(SYS_gettid),
		.nodes = *nodes,
	};
	struct ferry_packet packet = { .fd_count = 0 };
	int error = ask_awake(client, &msg, &packet);

	close_fds(&packet);
	return error;
}

int ferry_client_set_online(struct ferry_client_machine *machine, uint32_t node, bool online,
			    char *why)
{
	const struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_NODE,
		.node = (int32_t)node,
		.a = online ? 1 : 0,
	};
	struct ferry_packet packet;
	int error = ask_keeper(machine->control, &msg, &packet);

	if (error != 0)
		return error;
	close_fds(&packet);
	packet.msg.text[sizeof(packet.msg.text) - 1] = '\0';
	memcpy(why, packet.msg.text, sizeof(packet.msg.text));
	return packet.msg.status;
}

int ferry_client_settle(struct ferry_client_machine *machine)
{
	const struct ferry_msg msg = { .version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_SETTLE };
	struct ferry_packet packet;
	int error = ask_keeper(machine->control, &msg, &packet);

	if (error == 0)
		close_fds(&packet);
	return error;
}

/* --- requests ---------------------------------------------------------------------------- */

/* => true: cancel. */
static bool tell_progress(const struct ferry_client_hooks *hooks, const struct ferry_msg *msg)
{
	return hooks != NULL && hooks->progress != NULL && hooks->progress(hooks->context, msg);
}

static void tell_line(const struct ferry_client_hooks *hooks, struct ferry_msg *msg)
{
	msg->text[sizeof(msg->text) - 1] = '\0';
	if (hooks != NULL && hooks->line != NULL)
		hooks->line(hooks->context, msg->text);
}

int ferry_client_ask(struct ferry_client *client, const struct ferry_msg *msg, int fd,
		     const struct ferry_client_hooks *hooks, struct ferry_msg *done)
{
	struct ferry_msg last = { .kind = FERRY_MSG_PROGRESS };
	int error = ferry_proto_send(client->channel, msg, &fd, fd >= 0 ? 1 : 0);

	while (error == 0) {
		struct ferry_packet packet;
		bool cancel = false;

		error = ferry_proto_receive(client->channel, &packet, TICK_MS);
		if (error == -EAGAIN) {
			error = 0;
			cancel = tell_progress(hooks, &last);
		} else if (error == 0) {
			close_fds(&packet);
			if (packet.msg.kind == FERRY_MSG_DONE) {
				*done = packet.msg;
				return 0;
			}
			if (packet.msg.kind == FERRY_MSG_LINE) {
				tell_line(hooks, &packet.msg);
			} else if (packet.msg.kind == FERRY_MSG_PROGRESS) {
				last = packet.msg;
				cancel = tell_progress(hooks, &last);
			}
		}
		/* The agent sees the end of our side, stops, and still answers. */
		if (cancel)
			(void)shutdown(client->channel, SHUT_WR);
	}
	return error;
}
