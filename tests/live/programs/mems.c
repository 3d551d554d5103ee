/* SPDX-License-Identifier: MIT */
/*
 * mems.c - the nodes that a process may use, and the limit of entries of a call.
 *
 * usage: mems    on a machine of nodes 0 to 2 with memory and a memoryless one, run with --mems 0-1
 *                --max-count 100; FERRY names the command
 * usage: mems after-exec    what it executes; it may use nodes 1 and 2
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sys/syscall.h>
#include <sys/wait.h>

enum { COUNT = 64, MAX_COUNT = 100, MEMORYLESS_NODE = 3, NO_NODE = 9, UNWRITTEN = 12345 };

static void *pages[COUNT];
static int targets[COUNT], status[COUNT];

static char *make_area(void)
{
	char *area = live_map((size_t)COUNT * PAGE);

	for (size_t i = 0; i < COUNT; i++) {
		area[i * PAGE] = (char)i;
		pages[i] = area + i * PAGE;
	}
	return area;
}

/* Every page is on a node of the set (a bit each). */
static void expect_on(unsigned nodes)
{
	LIVE_EXPECT(ferry_move_pages(0, COUNT, pages, NULL, status, FERRY_MOVE), 0);
	for (size_t i = 0; i < COUNT; i++)
		REQUIRE(status[i] >= 0 && (nodes >> status[i] & 1) != 0,
			"page %zu is on %d, and the nodes are %x", i, status[i], nodes);
}

static long by_kernel_name(pid_t pid, size_t count, void **where, const int *nodes)
{
	long result = syscall(SYS_move_pages, pid, count, where, nodes, status, FERRY_MOVE);

	return result == -1 ? -errno : result;
}

/* The last targets say what the call answers; nothing has moved then, whoever asks. */
static void expect_refusal(pid_t pid, int first, int last, int want)
{
	int before[COUNT];

	LIVE_EXPECT(ferry_move_pages(pid, COUNT, pages, NULL, before, FERRY_MOVE), 0);
	for (int i = 0; i < COUNT; i++) {
		targets[i] = before[i];
		status[i] = UNWRITTEN;
	}
	targets[0] = before[0] == 1 ? 0 : 1;
	targets[COUNT - 2] = first;
	targets[COUNT - 1] = last;
	LIVE_EXPECT(ferry_move_pages(pid, COUNT, pages, targets, status, FERRY_MOVE), want);
	LIVE_EXPECT(by_kernel_name(pid, COUNT, pages, targets), want);
	for (int i = 0; i < COUNT; i++)
		LIVE_EXPECT(status[i], UNWRITTEN);
	LIVE_EXPECT(ferry_move_pages(pid, COUNT, pages, NULL, status, FERRY_MOVE), 0);
	for (int i = 0; i < COUNT; i++)
		LIVE_EXPECT(status[i], before[i]);
}

static void expect_refusals(pid_t pid)
{
	struct ferry_move_report report = { .size = sizeof(report) };

	expect_refusal(pid, 0, 2, -EACCES);
	expect_refusal(pid, 2, MEMORYLESS_NODE, -EACCES);
	expect_refusal(pid, MEMORYLESS_NODE, 2, -ENODEV);
	expect_refusal(pid, 2, NO_NODE, -EACCES);
	expect_refusal(pid, NO_NODE, 2, -ENODEV);
	expect_refusal(pid, -1, 2, -ENODEV);
	LIVE_EXPECT(ferry_move_range(pid, pages[0], PAGE, 2, NULL, &report), -EACCES);
	LIVE_EXPECT(ferry_move_range(pid, pages[0], PAGE, MEMORYLESS_NODE, NULL, &report), -ENODEV);
}

/* Above the limit nothing is read or written: the arrays need not be there. */
static void expect_limit(pid_t pid)
{
	static void *where[MAX_COUNT + 1];
	static int found[MAX_COUNT + 1];
	static const size_t too_many[] = { MAX_COUNT + 1, (size_t)1 << 31, SIZE_MAX };
	void *nowhere = (void *)(uintptr_t)8;

	for (size_t i = 0; i < sizeof(too_many) / sizeof(too_many[0]); i++) {
		LIVE_EXPECT(ferry_move_pages(pid, too_many[i], nowhere, nowhere, nowhere,
					     FERRY_MOVE),
			    -E2BIG);
		LIVE_EXPECT(ferry_move_pages(pid, too_many[i], NULL, NULL, NULL, FERRY_MOVE),
			    -E2BIG);
		LIVE_EXPECT(by_kernel_name(pid, too_many[i], nowhere, nowhere), -E2BIG);
		/* Flags are looked at before. */
		LIVE_EXPECT(ferry_move_pages(pid, too_many[i], nowhere, NULL, NULL, 1), -EINVAL);
	}
	LIVE_EXPECT(ferry_move_pages(pid, MAX_COUNT, nowhere, NULL, found, FERRY_MOVE), -EFAULT);
	for (size_t i = 0; i < MAX_COUNT; i++)
		where[i] = pages[i % COUNT];
	LIVE_EXPECT(ferry_move_pages(pid, MAX_COUNT, where, NULL, found, FERRY_MOVE), 0);
}

static void set_mems(const char *nodes)
{
	char command[512];

	(void)snprintf(command, sizeof(command), "%s mems %d %s", getenv("FERRY"), getpid(), nodes);
	LIVE_EXPECT(system(command), 0);
}

/* In a child: the nodes are the parent's, and the parent may not move it elsewhere either. */
static void check_child(unsigned nodes, int forbidden)
{
	int go[2], status_of_child;
	pid_t child;
	char byte;

	REQUIRE(pipe(go) == 0, "pipe");
	child = fork();
	REQUIRE(child >= 0, "fork: %s", strerror(errno));
	if (child == 0) {
		close(go[1]);
		(void)make_area();
		expect_on(nodes);
		for (int i = 0; i < COUNT; i++)
			targets[i] = forbidden;
		LIVE_EXPECT(ferry_move_pages(0, COUNT, pages, targets, status, FERRY_MOVE),
			    -EACCES);
		(void)!read(go[0], &byte, 1);
		_exit(0);
	}
	for (int i = 0; i < COUNT; i++)
		targets[i] = forbidden;
	for (int tries = 0; tries < 500; tries++) {
		long result = ferry_move_pages(child, 1, pages, targets, status, FERRY_MOVE);

		if (result != -ESRCH) {
			LIVE_EXPECT(result, -EACCES);
			break;
		}
		live_sleep_us(10000);
	}
	expect_limit(child);
	close(go[1]);
	REQUIRE(waitpid(child, &status_of_child, 0) == child && status_of_child == 0, "child: %x",
		status_of_child);
	close(go[0]);
}

/* A child's agent may share the pages for a moment longer than the child. */
static void check_move(int node)
{
	for (int tries = 0; tries < 500; tries++) {
		for (int i = 0; i < COUNT; i++)
			targets[i] = node;
		(void)!ferry_move_pages(0, COUNT, pages, targets, status, FERRY_MOVE);
		if (memcmp(status, targets, sizeof(status)) == 0)
			return;
		live_sleep_us(10000);
	}
	LIVE_FAIL("pages do not move to node %d: %d", node, status[0]);
}

static void check_moves(int from, int to)
{
	check_move(from);
	check_move(to);
}

int main(int argc, char **argv)
{
	char *again[] = { argv[0], (char *)"after-exec", NULL };

	live_watchdog(60);
	LIVE_EXPECT(live_nodes(), 4);
	(void)make_area();
	if (argc > 1) {
		expect_on(1 << 1 | 1 << 2);
		for (int i = 0; i < COUNT; i++)
			targets[i] = 0;
		LIVE_EXPECT(ferry_move_pages(0, COUNT, pages, targets, status, FERRY_MOVE),
			    -EACCES);
		check_child(1 << 1 | 1 << 2, 0);
		printf("after exec\n");
		return 0;
	}
	expect_on(1 << 0 | 1 << 1);
	expect_refusals(0);
	expect_limit(0);
	check_moves(0, 1);
	check_child(1 << 0 | 1 << 1, 2);
	/* Pages stay where they are; new ones and moves keep to the new set. */
	set_mems("1-2");
	expect_on(1 << 1);
	check_moves(1, 2);
	(void)make_area();
	expect_on(1 << 1 | 1 << 2);
	check_child(1 << 1 | 1 << 2, 0);
	execv(argv[0], again);
	LIVE_FAIL("exec: %s", strerror(errno));
}
