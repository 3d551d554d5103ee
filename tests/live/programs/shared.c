/* SPDX-License-Identifier: MIT */
/*
 * shared.c - pages that processes share since a fork are moved for all of them (MOVE_ALL).
 *
 * usage: shared         root, on a machine of three nodes
 * usage: shared full    the same; node 0 has 8 MiB, and room for no copy
 * usage: shared storm   everybody moves everybody's pages, and is killed now and then
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sys/wait.h>

enum { COUNT = 1024, CHILDREN = 3, FILL = 4096 };

static struct child {
	pid_t pid;
	int to, from;
} children[CHILDREN];

static void *pages[COUNT];
static int targets[COUNT], status[COUNT];

static uint64_t *word(int page, int who)
{
	return (uint64_t *)pages[page] + 1 + who + (page % 50) * 8;
}

static void write_all(int who)
{
	for (int i = 0; i < COUNT; i++)
		*word(i, who) = (uint64_t)i << 8 | (unsigned)who;
}

/* Who has written sees that; what others have written since the fork nobody sees. */
static void read_all(int self, unsigned writers)
{
	for (int i = 0; i < COUNT; i++) {
		for (int who = 0; who <= CHILDREN; who++) {
			bool is_there = who == 0 || (who == self && (writers >> who & 1) != 0);
			uint64_t want = is_there ? (uint64_t)i << 8 | (unsigned)who : 0;

			REQUIRE(*word(i, who) == want, "%d: page %d, word of %d: %llx, not %llx",
				self, i, who, (unsigned long long)*word(i, who),
				(unsigned long long)want);
		}
	}
}

static void serve(int self, int from, int to)
{
	unsigned writers = 1;
	char command;

	while (read(from, &command, 1) == 1 && command != 'q') {
		if (command == 'w') {
			write_all(self);
			writers |= 1u << self;
		}
		read_all(self, writers);
		REQUIRE(write(to, "k", 1) == 1, "no parent");
	}
	_exit(0);
}

/* The last child is one of the first child's. */
static void start_child(int index)
{
	int to[2], from[2];
	pid_t pid;

	REQUIRE(pipe(to) == 0 && pipe(from) == 0, "pipe");
	pid = fork();
	REQUIRE(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		close(to[1]);
		close(from[0]);
		pid = index == CHILDREN - 1 ? fork() : 0;
		if (pid != 0)
			_exit(waitpid(pid, NULL, 0) != pid);
		pid = getpid();
		REQUIRE(write(from[1], &pid, sizeof(pid)) == sizeof(pid), "no parent");
		serve(index + 1, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	children[index] = (struct child){ .to = to[1], .from = from[0] };
	REQUIRE(read(from[0], &children[index].pid, sizeof(pid)) == sizeof(pid), "no child");
}

static void command(int index, char what)
{
	char answer = 0;

	REQUIRE(write(children[index].to, &what, 1) == 1, "child %d is gone", index);
	REQUIRE(read(children[index].from, &answer, 1) == 1 && answer == 'k',
		"child %d has failed", index);
}

static void end_child(int index)
{
	REQUIRE(write(children[index].to, "q", 1) == 1, "child %d is gone", index);
	REQUIRE(wait(NULL) > 0, "wait: %s", strerror(errno));
	close(children[index].to);
	close(children[index].from);
	children[index].pid = 0;
}

static long move(pid_t pid, int node, unsigned flags)
{
	for (int i = 0; i < COUNT; i++)
		targets[i] = node;
	return ferry_move_pages(pid, COUNT, pages, targets, status, flags);
}

static void expect_all(int want)
{
	for (int i = 0; i < COUNT; i++)
		REQUIRE(status[i] == want, "page %d has status %d, not %d", i, status[i], want);
}

static void expect_on(pid_t pid, int node)
{
	LIVE_EXPECT(ferry_move_pages(pid, COUNT, pages, NULL, status, FERRY_MOVE), 0);
	expect_all(node);
}

static void make_area(void)
{
	char *area = live_map((size_t)COUNT * PAGE);

	for (int i = 0; i < COUNT; i++)
		pages[i] = area + (size_t)i * PAGE;
	write_all(0);
	LIVE_EXPECT(move(0, 0, FERRY_MOVE) <= 0, 1);
	expect_all(0);
}

static void all_who_share(void)
{
	make_area();
	for (int i = 0; i < CHILDREN; i++)
		start_child(i);
	LIVE_EXPECT(move(0, 1, FERRY_MOVE), -ENOENT);
	expect_all(-EACCES);
	LIVE_EXPECT(move(children[0].pid, 0, FERRY_MOVE), -ENOENT);
	expect_all(0); /* it is there already: that comes first */

	/* Of the parent's; some of the children's agents may sleep still. */
	LIVE_EXPECT(move(0, 1, FERRY_MOVE_ALL), 0);
	expect_all(1);
	expect_on(0, 1);
	for (int i = 0; i < CHILDREN; i++) {
		expect_on(children[i].pid, 1);
		command(i, 'r');
	}
	/* They are no longer shared. */
	LIVE_EXPECT(move(children[1].pid, 2, FERRY_MOVE), 0);
	expect_all(2);
	expect_on(0, 1);
	for (int i = 0; i < CHILDREN; i++)
		command(i, 'w');
	read_all(0, 1);
	for (int i = 0; i < CHILDREN; i++)
		end_child(i);

	/* Of a grandchild's, whose parent only waits. */
	start_child(CHILDREN - 1);
	start_child(0);
	command(0, 'w');
	LIVE_EXPECT(move(children[CHILDREN - 1].pid, 0, FERRY_MOVE), -ENOENT);
	expect_all(-EACCES);
	LIVE_EXPECT(move(children[CHILDREN - 1].pid, 0, FERRY_MOVE_ALL), 0);
	expect_all(0);
	expect_on(0, 0);
	/* It has written: its pages are its own, and nobody asked for them. */
	expect_on(children[0].pid, 1);
	command(0, 'r');
	command(CHILDREN - 1, 'w');
	end_child(0);
	end_child(CHILDREN - 1);
	read_all(0, 1);
}

/* A copy of somebody's has no room: no page moves, and none is lost. */
static void no_room(void)
{
	char *rest;

	make_area();
	rest = live_map((size_t)FILL * PAGE);
	for (int i = 0; i < FILL; i++)
		rest[(size_t)i * PAGE] = 1;
	LIVE_EXPECT(ferry_move_range(0, rest, (size_t)FILL * PAGE, 0, NULL, NULL) != 0, 1);
	start_child(0);
	LIVE_EXPECT(move(0, 1, FERRY_MOVE_ALL), COUNT);
	expect_all(-ENOMEM);
	expect_on(0, 0);
	expect_on(children[0].pid, 0);
	command(0, 'r');
	end_child(0);
	LIVE_EXPECT(move(0, 1, FERRY_MOVE_ALL), 0);
	expect_all(1);
	read_all(0, 1);
}

/* Its target may have ended, or all pages may be there already. */
static bool is_possible(long result)
{
	return result >= 0 || result == -ESRCH || result == -ENOENT;
}

/* Writes, reads, forks and moves for ever: its own pages, its parent's, its children's. */
static void be_a_member(int self, uint64_t seed)
{
	unsigned writers = 1;

	for (;;) {
		pid_t target = live_below(&seed, 2) == 0 ? 0 : getppid(), child;
		read_all(self, writers);
		REQUIRE(is_possible(move(target, (int)live_below(&seed, 3), FERRY_MOVE_ALL)),
			"move");
		read_all(self, writers);
		if (live_below(&seed, 4) == 0) {
			write_all(self);
			writers |= 1u << self;
		}
		if (live_below(&seed, 8) != 0)
			continue;
		child = fork();
		REQUIRE(child >= 0, "fork: %s", strerror(errno));
		if (child == 0) {
			read_all(self, writers);
			_exit(0);
		}
		/* Its pages, while it reads and ends. */
		(void)move(child, (int)live_below(&seed, 3), FERRY_MOVE_ALL);
		REQUIRE(waitpid(child, status, 0) == child && status[0] == 0,
			"a child ended with %#x", (unsigned)status[0]);
	}
}

static void storm(void)
{
	uint64_t seed = live_seed(), deadline = live_deadline_ns(5);
	pid_t members[CHILDREN] = { 0 };
	unsigned moves = 0, killed = 0;
	int ended;

	make_area();
	for (; live_now_ns() < deadline; moves++) {
		int i = (int)live_below(&seed, CHILDREN);

		if (members[i] != 0) {
			live_sleep_us((unsigned)live_below(&seed, 30000));
			kill(members[i], SIGKILL);
			REQUIRE(waitpid(members[i], &ended, 0) == members[i] &&
					WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL,
				"member %d ended with %#x", i + 1, (unsigned)ended);
			killed++;
		}
		members[i] = fork();
		REQUIRE(members[i] >= 0, "fork: %s", strerror(errno));
		if (members[i] == 0)
			be_a_member(i + 1, live_random(&seed) | 1);
		REQUIRE(is_possible(move(0, (int)live_below(&seed, 3), FERRY_MOVE_ALL)), "move");
		for (int page = 0; page < COUNT; page++)
			REQUIRE(status[page] >= 0 || status[page] == -EBUSY,
				"page %d has status %d", page, status[page]);
		read_all(0, 1);
	}
	for (int i = 0; i < CHILDREN; i++) {
		if (members[i] == 0)
			continue;
		kill(members[i], SIGKILL);
		waitpid(members[i], NULL, 0);
	}
	LIVE_EXPECT(move(0, 1, FERRY_MOVE_ALL) <= 0, 1);
	expect_all(1);
	read_all(0, 1);
	fprintf(stderr, "%u moves, %u members killed\n", moves, killed);
}

int main(int argc, char **argv)
{
	live_watchdog(120);
	if (live_nodes() < 2)
		return 0;
	if (argc > 1 && strcmp(argv[1], "full") == 0)
		no_room();
	else if (argc > 1 && strcmp(argv[1], "storm") == 0)
		storm();
	else
		all_who_share();
	fprintf(stderr, "ok\n");
	return 0;
}
