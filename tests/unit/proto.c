/* SPDX-License-Identifier: MIT */
/* Messages over sockets: descriptors, credentials, and what malformed packets do not do. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cases.h"
#include "runtime/proto.h"

static int ends[2];

static int make_ends(void **state)
{
	int on = 1;

	(void)state;
	return socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0 ||
	       setsockopt(ends[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0;
}

static int close_ends(void **state)
{
	(void)state;
	close(ends[0]);
	if (ends[1] >= 0)
		close(ends[1]);
	return 0;
}

static struct ferry_msg message(uint64_t a)
{
	struct ferry_msg msg = { .version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_LEASE, .a = a };

	return msg;
}

/* Descriptors of this process. */
static unsigned count_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void carries_a_message(void **state)
{
	struct ferry_packet packet;
	struct ferry_msg msg = message(42);
	int pipe_ends[2];
	char c = 0;

	(void)state;
	assert_int_equal(pipe(pipe_ends), 0);
	assert_int_equal(ferry_proto_send(ends[0], &msg, pipe_ends, 2), 0);
	assert_int_equal(ferry_proto_receive(ends[1], &packet, 0), 0);
	assert_memory_equal(&packet.msg, &msg, sizeof(msg));
	assert_int_equal(packet.pid, getpid());
	assert_int_equal(packet.uid, getuid());
	assert_int_equal(packet.fd_count, 2);
	assert_true((fcntl(packet.fds[0], F_GETFD) & FD_CLOEXEC) != 0);
	assert_int_equal(write(packet.fds[1], "x", 1), 1);
	assert_int_equal(read(pipe_ends[0], &c, 1), 1);
	assert_int_equal(c, 'x');
	for (int i = 0; i < 2; i++) {
		close(packet.fds[i]);
		close(pipe_ends[i]);
	}
}

static void waits_as_long_as_told(void **state)
{
	struct ferry_packet packet;
	struct timespec before, after;
	int64_t ms;

	(void)state;
	assert_int_equal(ferry_proto_receive(ends[1], &packet, 0), -EAGAIN);
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(ferry_proto_receive(ends[1], &packet, 30), -EAGAIN);
	clock_gettime(CLOCK_MONOTONIC, &after);
	ms = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
	assert_true(ms >= 29);
}

static void knows_a_closed_end(void **state)
{
	struct ferry_packet packet;
	struct ferry_msg msg = message(1);

	(void)state;
	close(ends[1]);
	ends[1] = -1;
	assert_int_equal(ferry_proto_receive(ends[0], &packet, 1000), -EPIPE);
	assert_int_equal(ferry_proto_send(ends[0], &msg, NULL, 0), -EPIPE); /* and no SIGPIPE */
}

/* One who goes with unread messages resets the connection; what it had sent is received. */
static void last_words_arrive(void **state)
{
	struct ferry_packet packet;
	struct ferry_msg msg = message(1), last = message(7);

	(void)state;
	assert_int_equal(ferry_proto_send(ends[0], &msg, NULL, 0), 0);
	assert_int_equal(ferry_proto_send(ends[1], &last, NULL, 0), 0);
	close(ends[1]);
	ends[1] = -1;
	assert_int_equal(ferry_proto_receive(ends[0], &packet, 1000), 0);
	assert_int_equal(packet.msg.a, 7);
	assert_int_equal(ferry_proto_receive(ends[0], &packet, 1000), -EPIPE);
}

static void send_raw(const void *bytes, size_t length, const int *fds, size_t fd_count)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)] = { 0 };
	struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = length };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd_count != 0) {
		struct cmsghdr *cmsg;

		header.msg_control = control;
		header.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
		cmsg = CMSG_FIRSTHDR(&header);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
		memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
	}
	assert_int_equal(sendmsg(ends[0], &header, 0), (ssize_t)length);
}

/* Too short, too long, of another version, with too many descriptors: none is kept open. */
static void refuses_the_malformed(void **state)
{
	struct {
		struct ferry_msg msg;
		char more;
	} longer = { .msg = message(1) };
	struct ferry_msg other = message(1);
	struct ferry_packet packet;
	const int fds[] = { 0, 1, 2, 0, 1, 2, 0, 1 };
	unsigned before = count_fds();

	(void)state;
	send_raw("x", 1, fds, 1);
	assert_int_equal(ferry_proto_receive(ends[1], &packet, 0), -EPROTO);
	send_raw(&longer, sizeof(longer), fds, 2);
	assert_int_equal(ferry_proto_receive(ends[1], &packet, 0), -EPROTO);
	send_raw(&longer.msg, sizeof(longer.msg), fds, 8);
	assert_int_equal(ferry_proto_receive(ends[1], &packet, 0), -EPROTO);
	other.version++;
	assert_int_equal(ferry_proto_send(ends[0], &other, fds, 1), 0);
	assert_int_equal(ferry_proto_receive(ends[1], &packet, 0), -EPROTO);
	assert_int_equal(count_fds(), before);
	assert_int_equal(ferry_proto_send(ends[0], &longer.msg, fds, FERRY_MSG_FDS_MAX + 1),
			 -EINVAL);
	/* The socket is as good as before. */
	assert_int_equal(ferry_proto_send(ends[0], &longer.msg, NULL, 0), 0);
	assert_int_equal(ferry_proto_receive(ends[1], &packet, 0), 0);
	assert_int_equal(packet.fd_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(carries_a_message, make_ends, close_ends),
		cmocka_unit_test_setup_teardown(waits_as_long_as_told, make_ends, close_ends),
		cmocka_unit_test_setup_teardown(knows_a_closed_end, make_ends, close_ends),
		cmocka_unit_test_setup_teardown(last_words_arrive, make_ends, close_ends),
		cmocka_unit_test_setup_teardown(refuses_the_malformed, make_ends, close_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
