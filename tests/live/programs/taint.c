/* SPDX-License-Identifier: MIT */
/*
 * taint.c - pages that others refer to move, and nobody sees another page in their place.
 *
 * usage: taint [raw]              vmsplice() a page into a pipe, by syscall() where raw is given;
 *                                 move it and many others, and read the pipe
 *        taint left               pages in a pipe are asked to move, and unmapped: nothing is left
 *        taint off|on|raw-on      only set SO_ZEROCOPY on a socket, and wait to be looked at
 *        taint fork               the same in a child of a process that has set it
 *        taint send|sendto|sendmsg|sendmmsg|raw-sendto|raw-sendmsg|raw-sendmmsg|plain
 *                                 only send one message, MSG_ZEROCOPY but for plain
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

enum { OTHERS = 512, ROUNDS = 25, LAPS = 3 };

static void fill(uint64_t *page, uint64_t value)
{
	for (size_t i = 0; i < PAGE_WORDS; i++)
		page[i] = value * 1000003 + i;
}

static void verify(const uint64_t *page, uint64_t value, const char *what)
{
	for (size_t i = 0; i < PAGE_WORDS; i++)
		REQUIRE(page[i] == value * 1000003 + i, "%s: word %zu is %#llx, not %#llx", what, i,
			(unsigned long long)page[i], (unsigned long long)(value * 1000003 + i));
}

static void move(void *area, size_t pages, int node)
{
	REQUIRE(live_move_all(area, pages, node, 10) == 0, "pages do not move to node %d", node);
}

static ssize_t splice_in(int pipe_end, void *page, bool raw)
{
	struct iovec part = { .iov_base = page, .iov_len = PAGE };

	if (!raw)
		return vmsplice(pipe_end, &part, 1, 0);
	return syscall(SYS_vmsplice, pipe_end, &part, 1L, 0L);
}

/* Where pages leave by eviction a page in a pipe counts as pinned. */
static void move_piped(void *page, int node)
{
	uint8_t reason = 0;
	int status;

	if (!live_evicts()) {
		move(page, 1, node);
		return;
	}
	REQUIRE(ferry_move_pages_reasons(0, 1, &page, &node, &status, &reason, FERRY_MOVE) == 1 &&
			status == -EBUSY && reason == live_reason("pinned"),
		"a page in a pipe: status %d, %s", status, ferry_reason_name(reason));
}

/* One page into the pipe; it and the others go from node to node, through each other's frames. */
static void run_round(uint64_t *page, char *others, uint64_t round, bool raw)
{
	uint64_t seen[PAGE_WORDS];
	int ends[2];

	fill(page, round);
	move(page, 1, 0);
	move(others, OTHERS, 1);
	REQUIRE(pipe(ends) == 0, "pipe");
	REQUIRE(splice_in(ends[1], page, raw) == PAGE, "vmsplice: %s", strerror(errno));
	for (int lap = 0; lap < LAPS; lap++) {
		move_piped(page, 1);
		move(others, OTHERS, 0);
		/* A page that stays is the pipe's as well. */
		if (!live_evicts())
			fill(page, round + 1000 + (uint64_t)lap);
		move_piped(page, live_evicts() ? 1 : 0);
		move(others, OTHERS, 1);
		verify(page, live_evicts() ? round : round + 1000 + (uint64_t)lap, "the page");
	}
	REQUIRE(read(ends[0], seen, PAGE) == PAGE, "read");
	verify(seen, round, "the pipe");
	close(ends[0]);
	close(ends[1]);
}

static int run_rounds(bool raw)
{
	uint64_t *page = live_map(PAGE);
	char *others = live_map((size_t)OTHERS * PAGE);
	uint64_t rounds = (ROUNDS + live_slow() - 1) / live_slow();

	for (size_t i = 0; i < OTHERS; i++)
		fill((uint64_t *)(void *)(others + i * PAGE), 5000 + i);
	for (uint64_t round = 0; round < rounds; round++)
		run_round(page, others, round, raw);
	for (size_t i = 0; i < OTHERS; i++)
		verify((uint64_t *)(void *)(others + i * PAGE), 5000 + i, "another page");
	return 0;
}

/* Pages that the host may refuse to give up leave nothing behind in their frames. */
static void leave_nothing(void)
{
	enum { PIPED = 256, FRESH = 4 * PIPED };
	struct iovec part = { .iov_base = live_map((size_t)PIPED * PAGE),
			      .iov_len = (size_t)PIPED * PAGE };
	uint64_t *fresh;
	int ends[2];

	for (size_t page = 0; page < PIPED; page++)
		fill((uint64_t *)part.iov_base + page * PAGE_WORDS, page);
	REQUIRE(pipe(ends) == 0 && fcntl(ends[1], F_SETPIPE_SZ, PIPED * PAGE) == PIPED * PAGE,
		"pipe: %s", strerror(errno));
	REQUIRE(vmsplice(ends[1], &part, 1, 0) == PIPED * PAGE, "vmsplice: %s", strerror(errno));
	for (int node = 0; node < live_nodes(); node++)
		REQUIRE(ferry_move_range(0, part.iov_base, part.iov_len, node, NULL, NULL) >= 0,
			"move: %s", strerror(errno));
	REQUIRE(munmap(part.iov_base, part.iov_len) == 0, "munmap: %s", strerror(errno));
	close(ends[0]);
	close(ends[1]);
	fresh = live_map((size_t)FRESH * PAGE);
	for (size_t page = 0; page < FRESH; page++)
		fresh[page * PAGE_WORDS] = 1;
	for (size_t word = 0; word < (size_t)FRESH * PAGE_WORDS; word++)
		REQUIRE(fresh[word] == (word % PAGE_WORDS == 0), "word %zu of a fresh page is %llx",
			word, (unsigned long long)fresh[word]);
	munmap(fresh, (size_t)FRESH * PAGE);
}

static void set_zerocopy(const char *how)
{
	int on = strcmp(how, "off") != 0;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	REQUIRE(fd >= 0, "socket: %s", strerror(errno));
	REQUIRE(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, NULL, sizeof(on)) == -1 && errno == EFAULT,
		"SO_ZEROCOPY from nowhere: %s", strerror(errno));
	if (strcmp(how, "raw-on") == 0)
		REQUIRE(syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)) == 0,
			"SO_ZEROCOPY: %s", strerror(errno));
	else
		REQUIRE(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)) == 0,
			"SO_ZEROCOPY: %s", strerror(errno));
	close(fd);
}

/* => messages or bytes sent; the kernel does without MSG_ZEROCOPY where the socket cannot. */
static long send_one(int fd, const char *how)
{
	static char data[1] = { 'x' };
	struct iovec part = { .iov_base = data, .iov_len = 1 };
	struct mmsghdr message = { .msg_hdr = { .msg_iov = &part, .msg_iovlen = 1 } };
	int flags = MSG_ZEROCOPY;

	if (strcmp(how, "plain") == 0)
		return send(fd, data, 1, MSG_NOSIGNAL) + sendto(fd, data, 1, 0, NULL, 0) +
		       sendmsg(fd, &message.msg_hdr, 0) + sendmmsg(fd, &message, 1, 0) +
		       syscall(SYS_sendto, fd, data, 1L, 0L, NULL, 0L) +
		       syscall(SYS_sendmsg, fd, &message.msg_hdr, 0L) +
		       syscall(SYS_sendmmsg, fd, &message, 1L, 0L) - 6;
	if (strcmp(how, "send") == 0)
		return send(fd, data, 1, flags);
	if (strcmp(how, "sendto") == 0)
		return sendto(fd, data, 1, flags, NULL, 0);
	if (strcmp(how, "sendmsg") == 0)
		return sendmsg(fd, &message.msg_hdr, flags);
	if (strcmp(how, "sendmmsg") == 0)
		return sendmmsg(fd, &message, 1, flags);
	if (strcmp(how, "raw-sendto") == 0)
		return syscall(SYS_sendto, fd, data, 1L, (long)flags, NULL, 0L);
	if (strcmp(how, "raw-sendmsg") == 0)
		return syscall(SYS_sendmsg, fd, &message.msg_hdr, (long)flags);
	return syscall(SYS_sendmmsg, fd, &message, 1L, (long)flags);
}

static void send_message(const char *how)
{
	int ends[2];

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
	REQUIRE(send_one(ends[0], how) == 1, "%s: %s", how, strerror(errno));
	close(ends[0]);
	close(ends[1]);
}

static void wait_to_be_looked_at(void)
{
	char text[32];

	snprintf(text, sizeof(text), "%d\n", getpid());
	live_ready(text);
	while (!live_told_to_stop())
		live_sleep_us(10000);
}

static int wait_as_child(void)
{
	pid_t child = fork();
	int status;

	REQUIRE(child >= 0, "fork");
	if (child == 0) {
		wait_to_be_looked_at();
		_exit(0);
	}
	REQUIRE(waitpid(child, &status, 0) == child && status == 0, "child: status %x", status);
	return 0;
}

int main(int argc, char **argv)
{
	live_watchdog(100);
	if (argc == 1 || strcmp(argv[1], "raw") == 0)
		return live_nodes() >= 2 ? run_rounds(argc > 1) : 0;
	for (int round = 0; strcmp(argv[1], "left") == 0; round++) {
		if (round == LAPS)
			return 0;
		leave_nothing();
	}
	if (strstr(argv[1], "send") != NULL || strcmp(argv[1], "plain") == 0)
		send_message(argv[1]);
	else
		set_zerocopy(argv[1]);
	if (strcmp(argv[1], "fork") == 0)
		return wait_as_child();
	wait_to_be_looked_at();
	return 0;
}
