/* SPDX-License-Identifier: MIT */
/*
 * launch.h - `pageferry run`: the foreground process, the keeper and the command.
 *
 *   foreground --fork--> keeper --fork--> command
 *
 * The foreground process stands for the command in the shell's eyes: it waits for the keeper's word
 * of the command's end and exits like it. It passes SIGTERM and SIGHUP on, and leaves SIGINT and
 * SIGQUIT, which a terminal sends to the command itself, alone. The command is in its process
 * group, so that job control works. The keeper leaves that group and stays until the machine is
 * empty.
 */
#ifndef FERRY_RUNTIME_LAUNCH_H
#define FERRY_RUNTIME_LAUNCH_H

#include "runtime/spec.h"

enum {
	FERRY_EXIT_OWN = 125, /* a failure of pageferry's own */
	FERRY_EXIT_NOT_RUNNABLE = 126,
	FERRY_EXIT_NOT_FOUND = 127,
};

struct ferry_launch {
	const struct ferry_machine_spec *spec;
	char **argv;         /* the command, NULL-terminated */
	const char *preload; /* path of libpageferry-preload.so */
	bool hurt;           /* the command must not find it in its environment */
};

/* Runs the command on a machine of its own. => the exit code for the caller. */
FERRY_MUST_CHECK int ferry_launch_run(const struct ferry_launch *launch);
/* Executes the command in place of the caller, without a machine. => the exit code if that fails.
 */
FERRY_MUST_CHECK int ferry_launch_bare(char **argv);

#endif
