/* SPDX-License-Identifier: MIT */
/* cli.h - what the subcommands of `pageferry` share. */
#ifndef FERRY_CLI_CLI_H
#define FERRY_CLI_CLI_H

#include "base/types.h"

/* Exit codes; FERRY_EXIT_OWN and its neighbours (runtime/launch.h) are those of `run`. */
enum ferry_cli_exit {
	FERRY_CLI_OK = 0,
	FERRY_CLI_PARTIAL = 1,    /* some pages were not moved; a check found something */
	FERRY_CLI_USAGE = 2,
	FERRY_CLI_NOT_FOUND = 3,  /* no such process or node */
	FERRY_CLI_NO_RIGHT = 4,
	FERRY_CLI_UNMANAGED = 5,  /* the process does not run on a machine, or the host cannot */
	FERRY_CLI_FAILED = 6,     /* the other side went away, a file could not be read */
};

struct ferry_cli_command {
	const char *name;
	const char *arguments; /* one line of usage behind the name */
	const char *summary;
	const char *help;      /* the options, a line each; NULL: none */
	int (*run)(int argc, char **argv);
};

/* The table of all commands, ended by a NULL name. */
extern const struct ferry_cli_command ferry_cli_commands[];
/* => the command of that name, or NULL. */
const struct ferry_cli_command *ferry_cli_find(const char *name);
/* Usage, summary and options of a command on stdout. */
void ferry_cli_print_help(const struct ferry_cli_command *command);
/* One line "pageferry: ..." on stderr; => code. */
int ferry_cli_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Usage error of a command: the line and where to read more. => FERRY_CLI_USAGE. */
int ferry_cli_usage(const char *command, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* What getopt_long() did not understand in argv; => FERRY_CLI_USAGE. */
int ferry_cli_bad_option(const char *command, int option, char **argv);

int ferry_cli_run(int argc, char **argv);
int ferry_cli_ps(int argc, char **argv);
int ferry_cli_maps(int argc, char **argv);
int ferry_cli_move(int argc, char **argv);
int ferry_cli_stat(int argc, char **argv);
int ferry_cli_check(int argc, char **argv);
int ferry_cli_dump(int argc, char **argv);
int ferry_cli_doctor(int argc, char **argv);
int ferry_cli_home(int argc, char **argv);
int ferry_cli_mems(int argc, char **argv);
int ferry_cli_node(int argc, char **argv);

#endif
