/* SPDX-License-Identifier: MIT */
/*
 * refuse NUMBER:ERRNO... -- COMMAND... - runs a command under a seccomp filter that answers these
 * system calls with these errors, as a container's does.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { CALLS_MAX = 16 };

int main(int argc, char **argv)
{
	struct sock_filter code[2 * CALLS_MAX + 2] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};
	struct sock_fprog program = { .filter = code };
	unsigned short n = 1;
	int at = 1;

	for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
		unsigned number, error;

		if (sscanf(argv[at], "%u:%u", &number, &error) != 2 || n > 2 * CALLS_MAX - 2)
			return 2;
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1);
		code[n++] =
			(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error);
	}
	if (at + 1 >= argc)
		return 2;
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
		perror("seccomp");
		return 1;
	}
	(void)execvp(argv[at + 1], argv + at + 1);
	perror(argv[at + 1]);
	return 127;
}
