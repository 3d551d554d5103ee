/* SPDX-License-Identifier: MIT */
/* keeper.c - see keeper.h: making a machine, and the poll loop. */
#define _GNU_SOURCE
#include "runtime/keeper.h"

#include "runtime/clients.h"
#include "runtime/hostinfo.h"
#include "runtime/join.h"
#include "runtime/lease.h"
#include "runtime/mems.h"
#include "runtime/objects.h"
#include "runtime/offline.h"
#include "runtime/segment.h"
#include "runtime/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, EXIT_NO_NODE = 3, EXIT_OWN = 125 };

uint64_t ferry_keeper_now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void ferry_keeper_say(struct ferry_keeper *keeper, char *line)
{
	/* Names are whatever somebody gave himself; none may reach a terminal as controls. */
	for (char *c = line; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	if (keeper->talk >= 0)
		(void)dprintf(keeper->talk, "%s\n", line);
}

int ferry_keeper_watch(struct ferry_keeper *keeper, int fd, enum ferry_keeper_source source,
		       uint32_t index)
{
	struct epoll_event event = { .events = EPOLLIN,
				     .data.u64 = (uint64_t)source << 32 | index };

	return epoll_ctl(keeper->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 ? -errno : 0;
}

void ferry_keeper_unwatch(struct ferry_keeper *keeper, int fd)
{
	if (fd >= 0)
		(void)epoll_ctl(keeper->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* --- making ------------------------------------------------------------------------------ */

static int fail(const char *what, int error)
{
	(void)fprintf(stderr, "pageferry: %s: %s\n", what, strerror(error));
	return EXIT_OWN;
}

static int make_segment(struct ferry_keeper *keeper, const struct ferry_machine_spec *spec)
{
	char warning[FERRY_SPEC_ERROR_MAX], error[FERRY_SPEC_ERROR_MAX];
	int result =
		ferry_segment_create(spec, &keeper->machine, &keeper->machine_fd, warning, error);

	if (result != 0) {
		(void)fprintf(stderr, "pageferry: %s\n", error);
		return result == -EINVAL ? EXIT_USAGE : result == -ENODEV ? EXIT_NO_NODE : EXIT_OWN;
	}
	if (warning[0] != '\0')
		(void)fprintf(stderr, "pageferry: warning: %s\n", warning);
	keeper->recalls = calloc(keeper->machine->node_count, sizeof(*keeper->recalls));
	if (keeper->recalls == NULL)
		return fail("no memory for the keeper", ENOMEM);
	result = ferry_objects_init(keeper);
	return result == 0 ? 0 : fail("no memory for labels", -result);
}

static int open_device(struct ferry_keeper *keeper)
{
	if (ferry_hostinfo_open_userfaultfd(&keeper->device_fd) == 0)
		return 0;
	(void)fprintf(stderr, "pageferry: userfaultfd is not usable here: pageferry doctor tells "
			      "what to change\n");
	return EXIT_OWN;
}

static int listen_at(struct ferry_keeper *keeper)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char directory[FERRY_RUNDIR_PATH_MAX];
	int error = ferry_rundir_make(directory, sizeof(directory)), on = 1;

	if (error == -EPERM) {
		(void)fprintf(stderr,
			      "pageferry: %s must be a directory of your own with mode 0700\n",
			      directory);
		return EXIT_OWN;
	}
	if (error != 0)
		return fail("no runtime directory; set XDG_RUNTIME_DIR to a directory of your own",
			    -error);
	(void)snprintf(keeper->socket_path, sizeof(keeper->socket_path), "%s/%s.sock", directory,
		       keeper->machine->name);
	if (strlen(keeper->socket_path) >= sizeof(address.sun_path))
		return fail(keeper->socket_path, ENAMETOOLONG);
	memcpy(address.sun_path, keeper->socket_path, strlen(keeper->socket_path) + 1);
	/* A former process of our pid may have left one. */
	(void)unlink(keeper->socket_path);
	keeper->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Connections inherit it: what is said before we accept one carries credentials, too. */
	if (keeper->listen_fd < 0 ||
	    setsockopt(keeper->listen_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0 ||
	    bind(keeper->listen_fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(keeper->listen_fd, 64) != 0)
		return fail(keeper->socket_path, errno);
	return 0;
}

static int make_loop(struct ferry_keeper *keeper)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0)
		return fail("sigprocmask", errno);
	keeper->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	keeper->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (keeper->signal_fd < 0 || keeper->epoll_fd < 0 ||
	    ferry_keeper_watch(keeper, keeper->signal_fd, FERRY_SOURCE_SIGNAL, 0) != 0 ||
	    ferry_keeper_watch(keeper, keeper->listen_fd, FERRY_SOURCE_LISTEN, 0) != 0)
		return fail("no poll loop", errno);
	return 0;
}

int ferry_keeper_init(struct ferry_keeper *keeper, const struct ferry_machine_spec *spec)
{
	int result;

	memset(keeper, 0, sizeof(*keeper));
	keeper->device_fd = keeper->epoll_fd = keeper->signal_fd = keeper->listen_fd = -1;
	keeper->join_fd = keeper->foreground = keeper->talk = -1;
	keeper->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (uint32_t i = 0; i < FERRY_CLIENTS_MAX; i++)
		keeper->clients[i] = -1;
	ferry_proto_never_wait();
	ferry_mems_init(keeper);
	result = make_segment(keeper, spec);
	if (result == 0)
		result = open_device(keeper);
	if (result == 0)
		result = listen_at(keeper);
	if (result == 0)
		result = make_loop(keeper);
	if (result != 0)
		ferry_keeper_destroy(keeper);
	return result;
}

void ferry_keeper_destroy(struct ferry_keeper *keeper)
{
	if (keeper->listen_fd >= 0)
		(void)unlink(keeper->socket_path);
	keeper->listen_fd = -1;
}

/* --- serving ----------------------------------------------------------------------------- */

static void serve_signal(struct ferry_keeper *keeper)
{
	struct signalfd_siginfo info;

	while (read(keeper->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		continue;
	ferry_watch_reap(keeper);
}

static void serve_join(struct ferry_keeper *keeper)
{
	struct ferry_packet packet;
	int error = ferry_proto_receive(keeper->join_fd, &packet, 0);

	if (error == -EPIPE) { /* nobody holds the other end any more */
		ferry_keeper_unwatch(keeper, keeper->join_fd);
		return;
	}
	if (error != 0)
		return;
	if (packet.msg.kind == FERRY_MSG_JOIN) {
		ferry_join_accept(keeper, &packet);
		return;
	}
	if (packet.msg.kind == FERRY_MSG_CONNECT) {
		ferry_clients_connect(keeper, &packet);
		return;
	}
	if (packet.msg.kind == FERRY_MSG_UNMANAGED)
		ferry_watch_unmanaged(keeper, &packet.msg);
	for (uint32_t i = 0; i < packet.fd_count; i++)
		(void)close(packet.fds[i]);
}

static void dispatch(struct ferry_keeper *keeper, enum ferry_keeper_source source, uint32_t index)
{
	struct ferry_keeper_process *process =
		index < FERRY_PROCESSES_MAX ? keeper->processes[index] : NULL;

	switch (source) {
	case FERRY_SOURCE_SIGNAL:
		serve_signal(keeper);
		break;
	case FERRY_SOURCE_FOREGROUND:
		ferry_watch_foreground(keeper);
		break;
	case FERRY_SOURCE_JOIN:
		serve_join(keeper);
		break;
	case FERRY_SOURCE_LISTEN:
		ferry_clients_accept(keeper);
		break;
	case FERRY_SOURCE_CLIENT:
		ferry_clients_serve(keeper, index);
		break;
	case FERRY_SOURCE_UP:
		if (process != NULL)
			ferry_join_serve_up(keeper, process);
		break;
	case FERRY_SOURCE_PROGRAM:
		if (process != NULL)
			ferry_watch_program_ended(keeper, process);
		break;
	case FERRY_SOURCE_AGENT:
		if (process != NULL)
			ferry_watch_agent_ended(keeper, process);
		break;
	}
}

/* Milliseconds until something must be done without being told, -1: never. */
static int next_timeout(const struct ferry_keeper *keeper)
{
	uint64_t lease_ns = ferry_lease_deadline(keeper), watch_ns = ferry_watch_deadline(keeper);
	uint64_t offline_ns = ferry_offline_deadline(keeper);
	uint64_t objects_ns = ferry_objects_deadline(keeper);
	uint64_t deadline_ns = lease_ns < watch_ns ? lease_ns : watch_ns;
	uint64_t now_ns = ferry_keeper_now_ns();

	if (offline_ns < deadline_ns)
		deadline_ns = offline_ns;
	if (objects_ns < deadline_ns)
		deadline_ns = objects_ns;
	if (deadline_ns == UINT64_MAX)
		return -1;
	return deadline_ns <= now_ns ? 0 : (int)((deadline_ns - now_ns + 999999) / 1000000);
}

static bool is_over(const struct ferry_keeper *keeper)
{
	return keeper->command_pid == 0 && keeper->process_count == 0 && keeper->childless;
}

void ferry_keeper_serve(struct ferry_keeper *keeper)
{
	ferry_watch_reap(keeper); /* children may have ended before the loop could see it */
	for (;;) {
		struct epoll_event event;
		uint64_t now_ns;
		bool over = is_over(keeper);
		int count;

		if (over)
			ferry_keeper_destroy(keeper);
		ferry_watch_report_left(keeper, over);
		if (over)
			return;
		/* One at a time: serving one may end the process that the next is about. */
		count = epoll_wait(keeper->epoll_fd, &event, 1, next_timeout(keeper));
		if (count == 1)
			dispatch(keeper, (enum ferry_keeper_source)(event.data.u64 >> 32),
				 (uint32_t)event.data.u64);
		now_ns = ferry_keeper_now_ns();
		ferry_lease_expire(keeper, now_ns);
		ferry_watch_expire(keeper, now_ns);
		ferry_offline_expire(keeper, now_ns);
		ferry_objects_expire(keeper, now_ns);
	}
}
