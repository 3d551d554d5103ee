/* SPDX-License-Identifier: MIT */
/*
 * target.h - a process of a machine, for a test that runs bare and gets at it from outside. The
 * test's own program is it, called with "target".
 */
#ifndef TESTS_LIVE_TARGET_H
#define TESTS_LIVE_TARGET_H

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 2048, MANY = 16384 };

static struct {
	pid_t run, pid;
	char *memory; /* in the process: MANY pages, of which PAGES were touched */
} target;

static uint32_t mark_of(size_t page)
{
	return (uint32_t)(page * 2654435761u + 1);
}

/* Tells where its memory is, and goes on reading it until its input ends. */
static int play_target(void)
{
	char *memory = mmap(NULL, (size_t)MANY * PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t mark;
	char c;

	if (memory == MAP_FAILED)
		return 1;
	/* Downwards: nothing is placed ahead of a touch. */
	for (size_t i = PAGES; i-- > 0;) {
		mark = mark_of(i);
		memcpy(memory + i * PAGE, &mark, sizeof(mark));
	}
	printf("%d %p\n", getpid(), (void *)memory);
	fflush(stdout);
	if (read(0, &c, 1) < 0)
		return 1;
	for (size_t i = 0; i < PAGES; i++) {
		memcpy(&mark, memory + i * PAGE, sizeof(mark));
		if (mark != mark_of(i))
			return 2;
	}
	return 0;
}

static int input = -1;

static void start_inside(int in, int out)
{
	char command[PATH_MAX], self[PATH_MAX - 32];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[length > 0 ? length : 0] = '\0';
	snprintf(command, sizeof(command), "%.*s../../pageferry",
		 (int)(strrchr(self, '/') + 1 - self), self);
	dup2(in, 0);
	dup2(out, 1);
	execl(command, command, "run", "--nodes", "2x128M", "--policy", "bind:0", "--", self,
	      "target", (char *)NULL);
	_exit(99);
}

static int start_target(void **state)
{
	int in[2], out[2];
	char line[128];
	ssize_t length;
	void *memory;

	(void)state;
	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
		return -1;
	target.run = fork();
	if (target.run == 0)
		start_inside(in[0], out[1]);
	close(in[0]);
	close(out[1]);
	input = in[1];
	length = read(out[0], line, sizeof(line) - 1);
	line[length > 0 ? length : 0] = '\0';
	close(out[0]);
	if (sscanf(line, "%d %p", &target.pid, &memory) != 2)
		return -1;
	target.memory = memory;
	return 0;
}

/* The process found all of its content again. */
static int end_target(void **state)
{
	int status = 0;

	(void)state;
	close(input);
	return waitpid(target.run, &status, 0) == target.run && status == 0 ? 0 : -1;
}

#endif
