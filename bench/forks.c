/* SPDX-License-Identifier: MIT */
/*
 * forks.c - fork() of a process with 1 GiB: until it returns, and until its child, which ends at
 * once, has been reaped. What the end of a child leaves to be done is done before the next. Runs
 * bare as well.
 */
#define _GNU_SOURCE 1
#include "bench.h"

#include <sys/wait.h>

enum { PAGES = 262144, FORKS = 8, REST_US = 100000 };

int main(void)
{
	char *area = bench_map((size_t)PAGES * PAGE);
	pid_t agent = bench_agent();

	memset(area, 1, (size_t)PAGES * PAGE);
	for (int i = 0; i < FORKS; i++) {
		struct bench_span span, whole;
		int status;
		pid_t pid;

		usleep(REST_US);
		span = whole = bench_start(agent);
		pid = fork();
		if (pid == 0)
			_exit(0);
		span = bench_end(span, agent);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
			bench_fail("fork", -errno);
		whole = bench_end(whole, agent);
		/* The first finds page tables that no fork has been through. */
		if (i > 0) {
			bench_print("fork", span, 1);
			bench_print("fork-and-wait", whole, 1);
		}
	}
	return 0;
}
