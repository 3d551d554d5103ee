/* SPDX-License-Identifier: MIT */
/*
 * rights.c - a program gives up its rights for good, and stays on the machine: it still moves its
 * pages, and so do its child and what it executes, which also moves those of a child by its pid.
 *
 * usage: rights    as root; "rights again" is what it executes
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sys/wait.h>

enum { PAGES = 256, NOBODY = 65534 };

static void move_there_and_back(char *area, const char *who)
{
	int nodes = live_nodes();

	for (int node = 1; node <= nodes && nodes >= 2; node++)
		REQUIRE(live_move_all(area, PAGES, node % nodes, 5) == 0,
			"pages of %s do not move to node %d", who, node % nodes);
	for (size_t i = 0; i < PAGES; i++)
		REQUIRE(area[i * PAGE] == (char)(i | 1), "%s: page %zu changed", who, i);
	printf("%s moved\n", who);
	fflush(stdout);
}

static char *make_area(void)
{
	char *area = live_map((size_t)PAGES * PAGE);

	for (size_t i = 0; i < PAGES; i++)
		area[i * PAGE] = (char)(i | 1);
	return area;
}

/* The kernel lets a user at the pages of his processes, whoever owns the machine. */
static void move_pages_of_a_child(void)
{
	int ready[2], end[2], node, status = -999;
	char byte = 0, *area = make_area();
	void *page = area;
	pid_t child;

	if (live_nodes() < 2)
		return;
	REQUIRE(pipe(ready) == 0 && pipe(end) == 0, "pipe: %s", strerror(errno));
	child = fork();
	if (child == 0) {
		close(end[1]);
		area[0] = 1;
		_exit(write(ready[1], &byte, 1) != 1 || read(end[0], &byte, 1) != 0);
	}
	REQUIRE(child > 0 && read(ready[0], &byte, 1) == 1, "no child");
	for (int i = 0; i < 4; i++) {
		node = i % 2;
		LIVE_EXPECT(ferry_move_pages(child, 1, &page, &node, &status,
					     FERRY_MOVE | FERRY_CONTRACT_LINUX), 0);
		LIVE_EXPECT(status, node);
		LIVE_EXPECT(ferry_move_pages(child, 1, &page, NULL, &status, 0), 0);
		LIVE_EXPECT(status, node);
	}
	LIVE_EXPECT(ferry_move_pages(getppid(), 1, &page, &node, &status, FERRY_MOVE), -EPERM);
	close(end[1]);
	REQUIRE(waitpid(child, &status, 0) == child && status == 0, "child: %x", (unsigned)status);
	printf("pages of a child moved\n");
}

int main(int argc, char **argv)
{
	char *area = make_area();
	char *again[] = { argv[0], (char *)"again", NULL };
	pid_t child;
	int status;

	live_watchdog(60);
	if (argc > 1) {
		REQUIRE(getuid() == NOBODY && geteuid() == NOBODY, "rights came back");
		move_there_and_back(area, "the next program");
		move_pages_of_a_child();
		return 0;
	}
	REQUIRE(setgid(NOBODY) == 0 && setuid(NOBODY) == 0, "setuid: %s", strerror(errno));
	REQUIRE(setuid(0) != 0, "rights can be had back");
	move_there_and_back(area, "the program");
	child = fork();
	if (child == 0) {
		for (size_t i = 0; i < PAGES; i++)
			area[i * PAGE] = (char)(i | 1);
		move_there_and_back(area, "its child");
		_exit(0);
	}
	REQUIRE(child > 0 && waitpid(child, &status, 0) == child && status == 0, "child: %x",
		(unsigned)status);
	execv("/proc/self/exe", again);
	LIVE_FAIL("exec: %s", strerror(errno));
}
