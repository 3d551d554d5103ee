/* SPDX-License-Identifier: MIT */
/* check.c - `pageferry check` and `pageferry dump`: what the agent itself says of its books. */
#define _GNU_SOURCE
#include "cli/cli.h"
#include "cli/target.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

struct asked {
	const char *command;
	int32_t pid;
	bool json, host;
};

/* Lines in the order they come: rows of one column. */
static void write_text(void *context, const char *text)
{
	struct ferry_writer *writer = context;

	if (writer->mode == FERRY_WRITER_TABLE) {
		ferry_writer_line(writer, text);
		return;
	}
	ferry_writer_row_begin(writer);
	ferry_writer_cell_string(writer, text);
	ferry_writer_row_end(writer);
}

static int ask(struct ferry_client *client, const struct asked *asked, struct ferry_writer *writer,
	       struct ferry_msg *done)
{
	const struct ferry_client_hooks hooks = { .line = write_text, .context = writer };
	bool dump = strcmp(asked->command, "dump") == 0;
	const struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = dump ? FERRY_MSG_DUMP : FERRY_MSG_CHECK,
		.flags = asked->host ? FERRY_MSG_FLAG_HOST : 0,
	};
	int error = ferry_client_ask(client, &msg, -1, &hooks, done);

	if (error == 0)
		error = done->status == -ESRCH ? -EPIPE : done->status;
	return error == 0 ? 0 : ferry_cli_explain(asked->pid, error);
}

static int run(const struct asked *asked)
{
	static const struct ferry_column columns[] = { { "text", "", 0 } };
	struct ferry_client client;
	struct ferry_writer writer;
	struct ferry_msg done = { .a = 0 };
	bool check = strcmp(asked->command, "check") == 0;
	int code = ferry_cli_open(&client, asked->pid, FERRY_CLIENT_ASK);

	if (code != 0)
		return code;
	ferry_cli_writer(&writer, asked->json);
	ferry_cli_document(&writer, asked->command);
	ferry_writer_s64(&writer, "pid", NULL, asked->pid);
	if (asked->json)
		ferry_writer_rows_begin(&writer, "lines", columns, 1);
	code = ask(&client, asked, &writer, &done);
	if (asked->json)
		ferry_writer_rows_end(&writer);
	if (check && code == 0) {
		ferry_writer_u64(&writer, "breaches", NULL, done.a);
		ferry_writer_line(&writer,
				  done.a == 0 ? "the books balance" : "the books do not balance");
	}
	ferry_writer_end(&writer);
	ferry_client_close(&client);
	if (code == 0 && done.a != 0 && check)
		code = FERRY_CLI_PARTIAL;
	return ferry_cli_finish(code);
}

static int take_options(struct asked *asked, int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "host", no_argument, NULL, 'H' },
		{ NULL, 0, NULL, 0 },
	};
	bool check = strcmp(asked->command, "check") == 0;
	int option, code;

	while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (option == 'h') {
			ferry_cli_print_help(ferry_cli_find(asked->command));
			return FERRY_CLI_OK;
		}
		if (option == 'j')
			asked->json = true;
		else if (option == 'H' && check)
			asked->host = true;
		else
			return ferry_cli_bad_option(asked->command, option, argv);
	}
	code = ferry_cli_take_pid(asked->command, argc, argv, &asked->pid);
	return code != 0 ? code : run(asked);
}

int ferry_cli_check(int argc, char **argv)
{
	struct asked asked = { .command = "check" };

	return take_options(&asked, argc, argv);
}

int ferry_cli_dump(int argc, char **argv)
{
	struct asked asked = { .command = "dump" };

	return take_options(&asked, argc, argv);
}
