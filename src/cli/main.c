/* SPDX-License-Identifier: MIT */
/* main.c - the `pageferry` command: one table of subcommands feeds running and help. */
#define _GNU_SOURCE
#include "cli/cli.h"

#include "runtime/version.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int run_help(int argc, char **argv);

const struct ferry_cli_command ferry_cli_commands[] = {
	{ "run", "[--nodes N[xSIZE] | --node NODE...] [options] -- COMMAND...",
	  "run a program on a machine of several memory nodes",
	  "  --nodes N[xSIZE]     N equal nodes; without SIZE they share what the host has\n"
	  "  --node KIND[@REAL]:SIZE[,cpus=LIST]\n"
	  "                       one node, such as ram:512M,cpus=0-3; may be given again\n"
	  "  --policy POLICY      local (default), bind:NODES, interleave[:NODES]\n"
	  "  --thp WHEN           2 MiB pages: madvise (default), always, never\n"
	  "  --max-pause TIME     longest time that a page is away, such as 500us (default 1ms)\n"
	  "  --contract WHICH     answer move_pages as seed or as linux, whoever asks\n"
	  "  --mems NODES         the nodes that programs may use, such as 0-1 (default all)\n"
	  "  --max-count N        most entries of a move_pages() call (default 2147483647)\n"
	  "  --strict             refuse programs that cannot be managed (static, setuid, 32-bit)\n"
	  "  --copy-path[=in|both]\n"
	  "                       bring pages in, or in and out, by copying (for tests)\n"
	  "\n"
	  "Without options: two nodes, each half of the available memory.\n"
	  "The exit code is the program's; 125: a failure of pageferry itself.\n"
	  "Environment: PAGEFERRY_DISABLE=1 runs the program bare; PAGEFERRY_PRELOAD names the\n"
	  "library to preload when it is neither beside this command nor installed with it.\n",
	  ferry_cli_run },
	{ "ps", "[--json]", "machines and their processes",
	  "  --json               machine-readable\n", ferry_cli_ps },
	{ "maps", "PID [--pages RANGE] [--json]", "where the pages of a process are",
	  "  --pages RANGE        page by page: START-END or START+SIZE, in hexadecimal\n"
	  "  --json               machine-readable\n",
	  ferry_cli_maps },
	{ "move", "PID (--range RANGE | --mapping NAME | --all) [--from NODES] --to NODE [options]",
	  "move pages of a running process to another node",
	  "  --range RANGE        START-END or START+SIZE, in hexadecimal; may be given again\n"
	  "  --mapping NAME       all mappings of that name, such as [heap]; may hold * and ?\n"
	  "  --all                all managed memory\n"
	  "  --from NODES         only pages that are there, such as 0-2,5 or !1\n"
	  "  --to NODE            the target\n"
	  "  --max-pause TIME     longest time that a page is away, such as 500us\n"
	  "  --rate SIZE/s        no faster than this\n"
	  "  --move-all           also pages shared with other processes (needs CAP_SYS_NICE)\n"
	  "  --json               machine-readable\n"
	  "\n"
	  "Exit code 0: all pages are there now; 1: some are not, and why is said.\n",
	  ferry_cli_move },
	{ "mems", "PID [NODES] [--json]", "show or set the nodes that a process may use",
	  "  NODES                such as 0-2,5 or !1; from now on, also for those that it starts\n"
	  "  --json               machine-readable\n"
	  "\n"
	  "New pages and moves keep to these nodes; pages that are elsewhere stay there.\n",
	  ferry_cli_mems },
	{ "node", "offline|online NODE [--machine NAME] [--json]", "take a node offline, or back",
	  "  --machine NAME       which machine, where there are several (pageferry ps)\n"
	  "  --json               machine-readable\n"
	  "\n"
	  "Exit code 1: it stays online, for pages are on it or a process may use no other node.\n",
	  ferry_cli_node },
	{ "stat", "PID [-i SECONDS] [-c COUNT] [--json]", "nodes, counters and stalls of a process",
	  "  -i SECONDS           again every so many seconds\n"
	  "  -c COUNT             so many times, then end\n"
	  "  --json               machine-readable, one document a line\n",
	  ferry_cli_stat },
	{ "check", "PID [--host] [--json]", "check the books of a live process",
	  "  --host               compare with the host's page tables too; stops moves meanwhile\n"
	  "  --json               machine-readable\n",
	  ferry_cli_check },
	{ "dump", "PID [--json]", "print the inner state of a process's engine",
	  "  --json               machine-readable\n", ferry_cli_dump },
	{ "home", "PID [--json] [-- COMMAND...]",
	  "bring all pages of a process home, for debuggers and checkpointers",
	  "  --json               machine-readable; not with a command\n"
	  "\n"
	  "With a command: runs it while no page can go away, and ends as it ends.\n",
	  ferry_cli_home },
	{ "doctor", "[--json]", "what works on this host, what does not, and what to change",
	  "  --json               machine-readable\n"
	  "\n"
	  "Exit code 0: all works; 1: with limits; 5: programs cannot run on a machine here.\n",
	  ferry_cli_doctor },
	{ "help", "[COMMAND]", "open the manual page of a command", NULL, run_help },
	{ NULL, NULL, NULL, NULL, NULL },
};

const struct ferry_cli_command *ferry_cli_find(const char *name)
{
	for (const struct ferry_cli_command *c = ferry_cli_commands; c->name != NULL; c++) {
		if (strcmp(c->name, name) == 0)
			return c;
	}
	return NULL;
}

void ferry_cli_print_help(const struct ferry_cli_command *command)
{
	(void)printf("usage: pageferry %s %s\n\n%s.\n", command->name, command->arguments,
		     command->summary);
	if (command->help != NULL)
		(void)printf("\n%s", command->help);
}

static void print_overview(FILE *file)
{
	(void)fprintf(file, "usage: pageferry COMMAND [ARGUMENTS]\n\n"
			    "Memory nodes made of anything, and pages ferried between them.\n\n");
	for (const struct ferry_cli_command *c = ferry_cli_commands; c->name != NULL; c++)
		(void)fprintf(file, "  %-7s %s\n", c->name, c->summary);
	(void)fprintf(file, "\n`pageferry COMMAND --help` lists options, `pageferry --version` the "
			    "version.\n");
}

int ferry_cli_fail(int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)fprintf(stderr, "pageferry: ");
	(void)vfprintf(stderr, format, arguments);
	(void)fprintf(stderr, "\n");
	va_end(arguments);
	return code;
}

int ferry_cli_usage(const char *command, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)fprintf(stderr, "pageferry %s: ", command);
	(void)vfprintf(stderr, format, arguments);
	(void)fprintf(stderr, " (see pageferry %s --help)\n", command);
	va_end(arguments);
	return FERRY_CLI_USAGE;
}

int ferry_cli_bad_option(const char *command, int option, char **argv)
{
	if (option == ':')
		return ferry_cli_usage(command, "option %s needs a value", argv[optind - 1]);
	return ferry_cli_usage(command, "unknown option '%s'", argv[optind - 1]);
}

static int run_help(int argc, char **argv)
{
	const struct ferry_cli_command *command;
	char page[64];

	if (argc < 2) {
		print_overview(stdout);
		return FERRY_CLI_OK;
	}
	command = ferry_cli_find(argv[1]);
	if (command == NULL || argc > 2)
		return ferry_cli_fail(FERRY_CLI_USAGE, "no such command: '%s' (see pageferry help)",
				      argv[argc > 2 ? 2 : 1]);
	(void)snprintf(page, sizeof(page), "pageferry-%s", command->name);
	if (isatty(1)) {
		/* Without man, or without our page in its path, the short form is below. */
		if (system(NULL) != 0 && access("/usr/bin/man", X_OK) == 0) {
			char line[128];

			(void)snprintf(line, sizeof(line), "man 1 %s 2>/dev/null", page);
			if (system(line) == 0)
				return FERRY_CLI_OK;
		}
	}
	ferry_cli_print_help(command);
	return FERRY_CLI_OK;
}

int main(int argc, char **argv)
{
	const struct ferry_cli_command *command;

	if (argc < 2) {
		print_overview(stderr);
		return FERRY_CLI_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		print_overview(stdout);
		return FERRY_CLI_OK;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		(void)printf("pageferry %s\n", FERRY_VERSION);
		return FERRY_CLI_OK;
	}
	command = ferry_cli_find(argv[1]);
	if (command == NULL)
		return ferry_cli_fail(FERRY_CLI_USAGE,
				      "no such command: '%s' (see pageferry --help)", argv[1]);
	return command->run(argc - 1, argv + 1);
}
