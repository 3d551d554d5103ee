/* SPDX-License-Identifier: MIT */
/* clients.c - see clients.h. */
#define _GNU_SOURCE
#include "runtime/clients.h"

#include "runtime/join.h"
#include "runtime/mems.h"
#include "runtime/offline.h"
#include "runtime/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* Without a descriptor the connection would stay in the queue, and we would be woken for ever. */
static void turn_away(struct ferry_keeper *keeper)
{
	int fd;

	(void)close(keeper->reserve_fd);
	fd = accept4(keeper->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		(void)close(fd);
	keeper->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* In one of the first so many places. */
static void add_client(struct ferry_keeper *keeper, int fd, uint32_t places)
{
	for (uint32_t i = 0; i < places; i++) {
		if (keeper->clients[i] >= 0)
			continue;
		if (ferry_keeper_watch(keeper, fd, FERRY_SOURCE_CLIENT, i) != 0)
			break;
		keeper->clients[i] = fd;
		return;
	}
	(void)close(fd);
}

void ferry_clients_accept(struct ferry_keeper *keeper)
{
	int fd = accept4(keeper->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		turn_away(keeper);
	if (fd >= 0)
		add_client(keeper, fd, FERRY_CLIENTS_MAX);
}

/* Programs leave half of the places to people. */
void ferry_clients_connect(struct ferry_keeper *keeper, struct ferry_packet *packet)
{
	for (uint32_t i = 0; i < packet->fd_count; i++) {
		if (i == 0 && ferry_join_prepare_socket(packet->fds[i]) == 0)
			add_client(keeper, packet->fds[i], FERRY_CLIENTS_MAX / 2);
		else
			(void)close(packet->fds[i]);
	}
}

void ferry_clients_answer(int client, int status, const char *text, const int *fds,
			  uint32_t fd_count)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_OK,
		.status = status,
	};

	(void)snprintf(msg.text, sizeof(msg.text), "%s", text);
	/* A client that is gone is noticed by the next event on its socket. */
	if (ferry_proto_send(client, &msg, fds, fd_count) != 0)
		return;
}

int ferry_clients_introduce(struct ferry_keeper_process *process, enum ferry_client_rights rights)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_CLIENT,
		.a = rights,
	};
	int ends[2], error;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return -errno;
	error = ferry_proto_send(process->down, &msg, &ends[1], 1);
	(void)close(ends[1]);
	if (error == 0)
		return ends[0];
	(void)close(ends[0]);
	return error;
}

/* A descriptor of the books that cannot be written through. */
static int open_books(const struct ferry_keeper_process *process)
{
	char path[64];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", process->books);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void attach(struct ferry_keeper *keeper, int client, const struct ferry_packet *packet)
{
	struct ferry_keeper_process *process;
	struct ferry_rights rights;
	int fds[2] = { -1, -1 }, error = ferry_join_reach(keeper, packet, &process, &rights);

	if (error != 0) {
		ferry_clients_answer(client, error, "", NULL, 0);
		return;
	}
	fds[0] = open_books(process);
	if (fds[0] < 0) {
		ferry_clients_answer(client, fds[0], "the books cannot be opened", NULL, 0);
		return;
	}
	if ((packet->msg.flags & FERRY_MSG_FLAG_LOOK) == 0) {
		fds[1] = ferry_clients_introduce(process,
						 rights.move_all ? FERRY_CLIENT_MOVES_ALL
								 : FERRY_CLIENT_MOVES);
		if (fds[1] < 0)
			ferry_clients_answer(client, fds[1], "the agent does not answer", NULL, 0);
	}
	if (fds[1] >= 0 || (packet->msg.flags & FERRY_MSG_FLAG_LOOK) != 0)
		ferry_clients_answer(client, 0, "", fds, fds[1] >= 0 ? 2 : 1);
	if (fds[1] >= 0)
		(void)close(fds[1]);
	(void)close(fds[0]);
}

static void disconnect(struct ferry_keeper *keeper, uint32_t index)
{
	ferry_offline_client_left(keeper, index);
	ferry_keeper_unwatch(keeper, keeper->clients[index]);
	(void)close(keeper->clients[index]);
	keeper->clients[index] = -1;
}

static void settle(struct ferry_keeper *keeper, uint32_t index)
{
	ferry_join_settle(keeper);
	ferry_clients_answer(keeper->clients[index], 0, "", NULL, 0);
}

void ferry_clients_serve(struct ferry_keeper *keeper, uint32_t index)
{
	struct ferry_packet packet;
	int client = keeper->clients[index];
	int error = ferry_proto_receive(client, &packet, 0);

	if (error == -EAGAIN)
		return;
	if (error != 0) {
		disconnect(keeper, index);
		return;
	}
	if (packet.msg.kind == FERRY_MSG_JOIN) {
		ferry_join_accept(keeper, &packet);
		return;
	}
	for (uint32_t i = 0; i < packet.fd_count; i++)
		(void)close(packet.fds[i]);
	if (packet.msg.kind == FERRY_MSG_HELLO)
		ferry_clients_answer(client, 0, "",
				     (int[]){ keeper->machine_fd, keeper->labels_fd }, 2);
	else if (packet.msg.kind == FERRY_MSG_ATTACH)
		attach(keeper, client, &packet);
	else if (packet.msg.kind == FERRY_MSG_MEMS)
		ferry_clients_answer(client, ferry_mems_set(keeper, &packet), "", NULL, 0);
	else if (packet.msg.kind == FERRY_MSG_SETTLE)
		settle(keeper, index);
	else if (packet.msg.kind == FERRY_MSG_NODE)
		ferry_offline_request(keeper, index, &packet);
	else if (packet.msg.kind == FERRY_MSG_UNMANAGED)
		ferry_watch_unmanaged(keeper, &packet.msg);
	else
		disconnect(keeper, index);
}
