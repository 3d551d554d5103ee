/* SPDX-License-Identifier: MIT */
/*
 * forks.c - fork() of a process with 1 GiB: until it returns, and until its child, which ends at
 * once, has been reaped. Runs bare as well.
 */
#define _GNU_SOURCE 1
#include "bench.h"

#include <sys/wait.h>

enum { PAGES = 262144, FORKS = 8 };

int main(void)
{
	char *area = bench_map((size_t)PAGES * PAGE);
	pid_t agent = bench_agent();

	memset(area, 1, (size_t)PAGES * PAGE);
	for (int i = 0; i < FORKS; i++) {
		struct bench_span span = bench_start(agent), whole = span;
		pid_t pid = fork();
		int status;

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
