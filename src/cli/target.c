/* SPDX-License-Identifier: MIT */
/* target.c - see target.h. */
#define _GNU_SOURCE
#include "cli/target.h"

#include "cli/cli.h"
#include "runtime/spec.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static void write_stdout(void *context, const char *bytes, size_t length)
{
	(void)context;
	(void)fwrite(bytes, 1, length, stdout); /* errors are kept by stdio: ferry_cli_finish() */
}

void ferry_cli_writer(struct ferry_writer *writer, bool json)
{
	ferry_writer_init(writer, json ? FERRY_WRITER_JSON : FERRY_WRITER_TABLE, write_stdout,
			  NULL);
}

void ferry_cli_document(struct ferry_writer *writer, const char *command)
{
	ferry_writer_begin(writer, NULL);
	ferry_writer_u64(writer, "schema_version", NULL, FERRY_CLI_SCHEMA_VERSION);
	ferry_writer_string(writer, "command", NULL, command);
}

int ferry_cli_finish(int code)
{
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return code;
	return ferry_cli_fail(FERRY_CLI_FAILED, "cannot write the results: %s", strerror(errno));
}

int ferry_cli_take_json(const char *command, int argc, char **argv, bool *json)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (option == 'h') {
			ferry_cli_print_help(ferry_cli_find(command));
			return FERRY_CLI_OK;
		}
		if (option != 'j')
			return ferry_cli_bad_option(command, option, argv);
		*json = true;
	}
	return FERRY_CLI_GO_ON;
}

int ferry_cli_take_pid(const char *command, int argc, char **argv, int32_t *pid)
{
	uint64_t number;

	if (optind == argc)
		return ferry_cli_usage(command,
				       "which process? Give its pid (pageferry ps lists them)");
	if (optind + 1 < argc)
		return ferry_cli_usage(command, "one pid at a time, not also '%s'",
				       argv[optind + 1]);
	if (ferry_spec_number(argv[optind], INT32_MAX, &number) != 0 || number == 0)
		return ferry_cli_usage(command, "'%s' is no pid", argv[optind]);
	*pid = (int32_t)number;
	return 0;
}

int ferry_cli_explain(int32_t pid, int error)
{
	switch (error) {
	case -ESRCH:
		return ferry_cli_fail(FERRY_CLI_NOT_FOUND, "no such process: %d", pid);
	case -EPERM:
		return ferry_cli_fail(FERRY_CLI_NO_RIGHT,
				      "no right to look into process %d: be its user, or root",
				      pid);
	case -ENOENT:
		return ferry_cli_fail(
			FERRY_CLI_UNMANAGED,
			"process %d is not managed by pageferry: start it with pageferry "
			"run (pageferry ps lists those that are)",
			pid);
	case -EPIPE:
		return ferry_cli_fail(FERRY_CLI_FAILED,
				      "process %d ended, or became another program", pid);
	case -EPROTO:
		return ferry_cli_fail(
			FERRY_CLI_FAILED,
			"process %d runs on a machine of another version of pageferry", pid);
	default:
		return ferry_cli_fail(FERRY_CLI_FAILED, "process %d cannot be reached: %s", pid,
				      strerror(-error));
	}
}

int ferry_cli_open(struct ferry_client *client, int32_t pid, enum ferry_client_mode mode)
{
	int error = ferry_client_open(client, pid, mode);

	return error == 0 ? 0 : ferry_cli_explain(pid, error);
}

void ferry_cli_comm(int32_t pid, char *comm, size_t size)
{
	char path[64];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (file == NULL || fgets(comm, (int)size, file) == NULL)
		(void)snprintf(comm, size, "?");
	comm[strcspn(comm, "\n")] = '\0';
	if (file != NULL)
		(void)fclose(file);
}
