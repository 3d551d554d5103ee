/* SPDX-License-Identifier: MIT */
/*
 * A keeper that hostile programs and clients talk to: messages of every kind with any numbers and
 * any descriptors, packets that are no messages, sockets that close in the middle. After every
 * step the keeper's invariants hold (keeper.h 1, 2, 4), and it has closed what it was sent.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"
#include "map/object.h"
#include "runtime/clients.h"
#include "runtime/join.h"
#include "runtime/keeper.h"
#include "runtime/lease.h"
#include "runtime/mems.h"
#include "runtime/objects.h"

enum { NODES = 3, MEMBERS = 4, STEPS = 64 };

/* A program of the machine, seen from outside. */
struct member {
	int up, down; /* -1: not joined, or closed */
};

static struct ferry_keeper keeper;
static struct member members[MEMBERS];
static int client; /* the client's end of keeper.clients[0], -1 */
static int dead;   /* the pidfd of nobody */

static void make_dead(void)
{
	pid_t pid = fork();

	FUZZ_CHECK(pid >= 0);
	if (pid == 0)
		_exit(0);
	dead = (int)syscall(SYS_pidfd_open, pid, 0);
	FUZZ_CHECK(dead >= 0 && waitpid(pid, NULL, 0) == pid);
}

static void begin(void)
{
	memset(&keeper, 0, sizeof(keeper));
	ferry_mems_init(&keeper);
	keeper.machine = calloc(1, ferry_machine_size_bytes(NODES));
	keeper.recalls = calloc(NODES, sizeof(*keeper.recalls));
	FUZZ_CHECK(keeper.machine != NULL && keeper.recalls != NULL);
	ferry_machine_layout(keeper.machine, NODES);
	FUZZ_CHECK(ferry_objects_init(&keeper) == 0);
	for (uint32_t i = 0; i < NODES; i++)
		ferry_machine_nodes(keeper.machine)[i].capacity_pages = i * 200;
	/* With room for agents to sleep: what they have in advance is of the first with memory. */
	ferry_machine_nodes(keeper.machine)[1].capacity_pages = 20000;
	keeper.device_fd = keeper.signal_fd = keeper.listen_fd = -1;
	keeper.join_fd = keeper.foreground = keeper.talk = -1;
	keeper.machine_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	keeper.reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	keeper.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	FUZZ_CHECK(keeper.epoll_fd >= 0);
	for (uint32_t i = 0; i < FERRY_CLIENTS_MAX; i++)
		keeper.clients[i] = -1;
	for (uint32_t i = 0; i < MEMBERS; i++)
		members[i] = (struct member){ -1, -1 };
	client = -1;
}

static void pair(int *keepers, int *others)
{
	int ends[2], on = 1;

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) ==
		   0);
	FUZZ_CHECK(setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0);
	*keepers = ends[0];
	*others = ends[1];
}

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* A memfd with runs of labels, some of them for what is there. */
static int some_runs(struct fuzz *fuzz)
{
	struct ferry_object_run runs[4];
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	for (size_t i = 0; i < FERRY_ARRAY_SIZE(runs); i++)
		runs[i] = (struct ferry_object_run){
			.object_va = FERRY_HUGE_SIZE + (fuzz_number(fuzz) << 10),
			.pages = (uint32_t)fuzz_number(fuzz) % 2000,
			.node = (int32_t)fuzz_number(fuzz) % 5 - 1,
			.adopt = fuzz_byte(fuzz) % 2,
		};
	FUZZ_CHECK(write(fd, runs, sizeof(runs)) == sizeof(runs));
	return fd;
}

static int some_descriptor(struct fuzz *fuzz)
{
	int ends[2];

	switch (fuzz_byte(fuzz) % 6) {
	case 5:
		return some_runs(fuzz);
	case 0:
		return open("/dev/null", O_RDONLY | O_CLOEXEC);
	case 1:
		return memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	case 2:
		return memfd_create("fuzz", MFD_CLOEXEC);
	case 3:
		FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
		break;
	default:
		FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	}
	close(ends[1]);
	return ends[0];
}

/* A message of some kind. One that ends a process is sent to nobody's pidfd: see join(). */
static void send_message(struct fuzz *fuzz, int socket)
{
	struct ferry_msg msg = { .version = FERRY_PROTO_VERSION };
	uint32_t fd_count = fuzz_byte(fuzz) % 5;
	int fds[FERRY_MSG_FDS_MAX];

	msg.kind = fuzz_byte(fuzz) % (FERRY_MSG_NODE + 2);
	msg.flags = fuzz_byte(fuzz);
	msg.node = (int32_t)fuzz_number(fuzz) % 8 - 1;
	msg.a = fuzz_byte(fuzz) == 7 ? (uint64_t)getpid() : fuzz_number(fuzz);
	msg.b = fuzz_number(fuzz);
	msg.c = fuzz_number(fuzz);
	msg.d = fuzz_number(fuzz);
	if (msg.kind == FERRY_MSG_RELABEL)
		msg.a %= 5;
	if (msg.kind == FERRY_MSG_OBJECT)
		msg.flags %= FERRY_OBJECT_KINDS + 1;
	if (msg.kind == FERRY_MSG_MAPPED)
		msg.words[0] = FERRY_HUGE_SIZE;
	if (msg.kind == FERRY_MSG_PLACED)
		msg.a = FERRY_HUGE_SIZE + (msg.a << FERRY_PAGE_SHIFT);
	if (fuzz_byte(fuzz) == 200)
		msg.version = FERRY_PROTO_VERSION + 1;
	for (uint32_t i = 0; i < fd_count; i++)
		fds[i] = some_descriptor(fuzz);
	/* Nobody reads on the other side: what does not fit is lost, as it should be. */
	(void)!ferry_proto_send(socket, &msg, fds, fd_count);
	for (uint32_t i = 0; i < fd_count; i++)
		close(fds[i]);
}

static void send_bytes(struct fuzz *fuzz, int socket)
{
	uint8_t bytes[2 * sizeof(struct ferry_msg)];
	size_t size = fuzz_byte(fuzz) < 128 ? fuzz_byte(fuzz) : sizeof(struct ferry_msg);

	fuzz_take(fuzz, bytes, sizeof(bytes));
	(void)!send(socket, bytes, size + fuzz_byte(fuzz) % 2, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* A program joins; used: pages that it has, if its agent may sleep. */
static void join(struct member *member, uint64_t used)
{
	struct ferry_packet packet = { .fd_count = 2, .pid = getpid() };
	uint32_t before = keeper.process_end;

	if (member->up >= 0)
		return;
	shut(&member->down);
	packet.msg.kind = FERRY_MSG_JOIN;
	packet.msg.a = used;
	pair(&packet.fds[0], &member->up);
	pair(&packet.fds[1], &member->down);
	ferry_join_accept(&keeper, &packet);
	for (uint32_t slot = 0; slot <= before && slot < FERRY_PROCESSES_MAX; slot++) {
		struct ferry_keeper_process *process = keeper.processes[slot];

		/* Whoever is ended is nobody. */
		if (process != NULL && process->program_fd >= 0)
			dup3(dead, process->program_fd, O_CLOEXEC);
	}
}

/* A program connects by way of the join socket, with a socket of some sort. */
static void connect_client(struct fuzz *fuzz)
{
	struct ferry_packet packet = { .fd_count = 1 + fuzz_byte(fuzz) % 2 };

	pair(&packet.fds[0], &client);
	if (fuzz_byte(fuzz) % 4 == 3) {
		shut(&packet.fds[0]);
		packet.fds[0] = some_descriptor(fuzz);
	}
	packet.fds[1] = packet.fd_count > 1 ? some_descriptor(fuzz) : -1;
	ferry_clients_connect(&keeper, &packet);
	if (keeper.clients[0] < 0)
		shut(&client);
}

static void drain(int socket)
{
	struct ferry_packet packet;

	while (socket >= 0 && ferry_proto_receive(socket, &packet, 0) == 0)
		for (uint32_t i = 0; i < packet.fd_count; i++)
			close(packet.fds[i]);
}

/* The keeper hears whatever was said. */
static void serve(void)
{
	for (uint32_t i = 0; i < FERRY_CLIENTS_MAX && keeper.clients[0] >= 0 && i < 4; i++)
		ferry_clients_serve(&keeper, 0);
	for (uint32_t slot = 0; slot < keeper.process_end; slot++) {
		for (int i = 0; i < 4 && keeper.processes[slot] != NULL; i++)
			ferry_join_serve_up(&keeper, keeper.processes[slot]);
		if (keeper.processes[slot] != NULL && keeper.processes[slot]->program_fd >= 0)
			dup3(dead, keeper.processes[slot]->program_fd, O_CLOEXEC);
	}
	for (uint32_t i = 0; i < MEMBERS; i++) {
		drain(members[i].up);
		drain(members[i].down);
	}
	drain(client);
}

static void check(void)
{
	for (uint32_t node = 0; node < NODES; node++) {
		const struct ferry_node *entry = &ferry_machine_nodes(keeper.machine)[node];
		uint64_t leased = 0, over;
		uint32_t asked = 0;

		for (uint32_t slot = 0; slot < keeper.process_end; slot++) {
			const struct ferry_keeper_process *process = keeper.processes[slot];

			if (process == NULL)
				continue;
			FUZZ_CHECK(process->leases[node] <= UINT64_C(1) << 44);
			leased += process->leases[node];
			asked += process->recall[node] == FERRY_RECALL_ASKED;
		}
		leased += ferry_books_node_counts(keeper.labels)[node].mapped_pages;
		over = leased > entry->capacity_pages ? leased - entry->capacity_pages : 0;
		FUZZ_CHECK(entry->leased_pages == leased && entry->over_pages == over);
		FUZZ_CHECK(keeper.recalls[node] == asked);
	}
}

static void step(struct fuzz *fuzz)
{
	uint8_t what = fuzz_byte(fuzz);
	struct member *member = &members[what / 16 % MEMBERS];

	switch (what % 8) {
	case 0:
		join(member, what < 128 ? 0 : 100);
		break;
	case 1:
		if (client < 0 && keeper.clients[0] < 0)
			connect_client(fuzz);
		break;
	case 2:
		if (client >= 0)
			send_message(fuzz, client);
		break;
	case 3:
		if (client >= 0)
			send_bytes(fuzz, client);
		break;
	case 4:
		if (member->up >= 0)
			send_bytes(fuzz, member->up);
		break;
	case 5:
		shut(what < 64 ? &client : what < 128 ? &member->down : &member->up);
		break;
	case 6:
		ferry_lease_expire(&keeper, what < 128 ? 0 : UINT64_MAX);
		ferry_objects_expire(&keeper, UINT64_MAX - 1);
		break;
	default:
		if (member->up >= 0)
			send_message(fuzz, member->up);
	}
}

static unsigned open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	FUZZ_CHECK(dir != NULL);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

static void end(void)
{
	for (uint32_t slot = 0; slot < keeper.process_end; slot++)
		if (keeper.processes[slot] != NULL)
			ferry_join_release(&keeper, keeper.processes[slot]);
	FUZZ_CHECK(keeper.process_count == 0 && keeper.waiter_count == 0);
	check();
	for (uint32_t i = 0; i < MEMBERS; i++) {
		shut(&members[i].up);
		shut(&members[i].down);
	}
	for (uint32_t i = 0; i < FERRY_MEMS_KEPT_MAX; i++)
		shut(&keeper.mems_kept[i].pidfd);
	shut(&client);
	shut(&keeper.clients[0]);
	shut(&keeper.machine_fd);
	shut(&keeper.reserve_fd);
	shut(&keeper.epoll_fd);
	ferry_objects_destroy(&keeper);
	free(keeper.machine);
	free(keeper.recalls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz fuzz = { data, size };
	unsigned before;

	if (dead == 0)
		make_dead();
	before = open_descriptors();
	begin();
	for (int i = 0; i < STEPS && fuzz.size > 0; i++) {
		step(&fuzz);
		serve();
		check();
	}
	end();
	FUZZ_CHECK(open_descriptors() == before);
	return 0;
}
