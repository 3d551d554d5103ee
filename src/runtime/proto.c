/* SPDX-License-Identifier: MIT */
/*
 * proto.c - one message a packet over a Unix socket.
 *
 * The agent links this file and has neither libc's errno nor its cancellation points, so the
 * system calls are raw ones.
 */
#define _GNU_SOURCE
#include "runtime/proto.h"

#include "base/sys.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

/* Room for the descriptors and the credentials of one packet. */
struct control {
	_Alignas(struct cmsghdr) char bytes[CMSG_SPACE(sizeof(int) * FERRY_MSG_FDS_MAX) +
					    CMSG_SPACE(sizeof(struct ucred))];
};

enum {
	SHORT_MS = 1,
	SHORT_TRIES = 1000,
	PIDFD = 4, /* SCM_PIDFD of Linux 6.5 */
};

static bool never_waits;

void ferry_proto_never_wait(void)
{
	never_waits = true;
}

/* The host is short of memory; that passes, and neither side must be taken for gone meanwhile. */
static bool is_short(long result)
{
	return result == -ENOBUFS || result == -ENOMEM;
}

static void wait_a_moment(void)
{
	(void)ferry_sys3(SYS_poll, NULL, 0, SHORT_MS);
}

static int64_t now_ms(void)
{
	struct timespec now = { 0, 0 };

	(void)ferry_sys2(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int ferry_proto_send(int socket, const struct ferry_msg *msg, const int *fds, uint32_t fd_count)
{
	struct control control;
	struct iovec part = { .iov_base = (void *)(uintptr_t)msg, .iov_len = sizeof(*msg) };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	uint32_t tries = 0;
	long result;

	if (fd_count > FERRY_MSG_FDS_MAX)
		return -EINVAL;
	if (fd_count != 0) {
		struct cmsghdr *cmsg;

		memset(&control, 0, sizeof(control));
		header.msg_control = control.bytes;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		cmsg = CMSG_FIRSTHDR(&header);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
	}
	do {
		result = ferry_sys3(SYS_sendmsg, socket, &header,
				    MSG_NOSIGNAL | (never_waits ? MSG_DONTWAIT : 0));
		if (is_short(result))
			wait_a_moment();
	} while (result == -EINTR || (is_short(result) && ++tries < SHORT_TRIES));
	if (result == -ECONNRESET || result == -ENOTCONN)
		return -EPIPE;
	return result < 0 ? (int)result : 0;
}

static void close_all(struct ferry_packet *packet)
{
	for (uint32_t i = 0; i < packet->fd_count; i++)
		(void)ferry_sys1(SYS_close, packet->fds[i]);
	packet->fd_count = 0;
}

static void take_fds(struct ferry_packet *packet, struct cmsghdr *cmsg)
{
	size_t count = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
		if (packet->fd_count < FERRY_MSG_FDS_MAX)
			packet->fds[packet->fd_count++] = fd;
		else
			(void)ferry_sys1(SYS_close, fd);
	}
}

/* Nobody asked for one, but whoever shares the socket can have it sent along. */
static void take_pidfd(struct cmsghdr *cmsg)
{
	int fd;

	memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
	if (fd >= 0)
		(void)ferry_sys1(SYS_close, fd);
}

static void take_control(struct ferry_packet *packet, struct msghdr *header)
{
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(header); cmsg != NULL;
	     cmsg = CMSG_NXTHDR(header, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET)
			continue;
		if (cmsg->cmsg_type == SCM_RIGHTS) {
			take_fds(packet, cmsg);
		} else if (cmsg->cmsg_type == PIDFD) {
			take_pidfd(cmsg);
		} else if (cmsg->cmsg_type == SCM_CREDENTIALS) {
			struct ucred who;

			memcpy(&who, CMSG_DATA(cmsg), sizeof(who));
			packet->pid = who.pid;
			packet->uid = who.uid;
			packet->gid = who.gid;
		}
	}
}

/* One receive that does not wait. => bytes, 0 at the end, -errno. */
static long receive_now(int socket, struct ferry_packet *packet, int *flags)
{
	struct control control;
	struct iovec part = { .iov_base = &packet->msg, .iov_len = sizeof(packet->msg) };
	struct msghdr header = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	long result = ferry_sys3(SYS_recvmsg, socket, &header,
				 MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (result < 0)
		return result;
	take_control(packet, &header);
	*flags = header.msg_flags;
	return result;
}

/* Waits until something can be read. => 0, -EAGAIN, -errno. */
static int wait_readable(int socket, int timeout_ms, int64_t deadline_ms)
{
	struct pollfd entry = { .fd = socket, .events = POLLIN };
	int64_t left_ms = -1;
	long result;

	if (timeout_ms >= 0) {
		left_ms = deadline_ms - now_ms();
		if (left_ms <= 0)
			return -EAGAIN;
	}
	result = ferry_sys3(SYS_poll, &entry, 1, left_ms);
	if (is_short(result))
		wait_a_moment();
	else if (result < 0 && result != -EINTR)
		return (int)result;
	return 0;
}

int ferry_proto_receive(int socket, struct ferry_packet *packet, int timeout_ms)
{
	int64_t deadline_ms = timeout_ms > 0 ? now_ms() + timeout_ms : 0;
	uint32_t tries = 0;
	int flags = 0;
	long result;

	packet->fd_count = 0;
	packet->pid = 0;
	packet->uid = packet->gid = (uint32_t)-1;
	for (;;) {
		int error;

		result = receive_now(socket, packet, &flags);
		/* A peer that ended with unread messages resets us, once; its own are here. */
		if (result == -EINTR || result == -ECONNRESET)
			continue;
		if (result != -EAGAIN && !(is_short(result) && ++tries < SHORT_TRIES))
			break;
		if (is_short(result))
			wait_a_moment();
		error = wait_readable(socket, timeout_ms, deadline_ms);
		if (error != 0)
			return error;
	}
	if (result == 0) {
		close_all(packet);
		return -EPIPE;
	}
	if (result < 0)
		return (int)result;
	if (result != sizeof(packet->msg) || (flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
	    packet->msg.version != FERRY_PROTO_VERSION) {
		close_all(packet);
		return -EPROTO;
	}
	return 0;
}
