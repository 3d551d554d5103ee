/* SPDX-License-Identifier: MIT */
/* home.c - `pageferry home`: every page in its place, now or as long as a command runs. */
#define _GNU_SOURCE
#include "cli/cli.h"
#include "cli/target.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_NOT_RUNNABLE = 126, EXIT_NOT_FOUND = 127, EXIT_SIGNAL = 128 };

struct asked {
	int32_t pid;
	bool json;
	char **command; /* NULL: none */
};

static int bring_home(struct ferry_client *client, const struct asked *asked,
		      struct ferry_msg *done)
{
	const struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_HOME,
		.flags = asked->command != NULL ? FERRY_MSG_FLAG_HOLD : 0,
	};
	int error = ferry_client_ask(client, &msg, -1, NULL, done);

	if (error == 0)
		error = done->status == -ESRCH ? -EPIPE : done->status;
	return error == 0 ? 0 : ferry_cli_explain(asked->pid, error);
}

static int report(const struct asked *asked, const struct ferry_msg *done)
{
	struct ferry_writer writer;
	char line[96];

	ferry_cli_writer(&writer, asked->json);
	ferry_cli_document(&writer, "home");
	ferry_writer_s64(&writer, "pid", NULL, asked->pid);
	ferry_writer_u64(&writer, "away_pages", NULL, done->a);
	ferry_writer_u64(&writer, "elapsed_ns", NULL, done->c);
	(void)snprintf(line, sizeof(line), "all pages of %d are home; %llu were on their way",
		       asked->pid, (unsigned long long)done->a);
	ferry_writer_line(&writer, line);
	ferry_writer_end(&writer);
	return ferry_cli_finish(FERRY_CLI_OK);
}

/* What a terminal sends is the command's affair. => an exit code. */
static int run_command(char **command)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction interrupt, quit;
	int status;
	pid_t pid;

	(void)sigaction(SIGINT, &ignore, &interrupt);
	(void)sigaction(SIGQUIT, &ignore, &quit);
	pid = fork();
	if (pid < 0)
		return ferry_cli_fail(FERRY_CLI_FAILED, "fork: %s", strerror(errno));
	if (pid == 0) {
		(void)sigaction(SIGINT, &interrupt, NULL);
		(void)sigaction(SIGQUIT, &quit, NULL);
		(void)execvp(command[0], command);
		_exit(ferry_cli_fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE,
				     "cannot run '%s': %s", command[0], strerror(errno)));
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return ferry_cli_fail(FERRY_CLI_FAILED, "wait: %s", strerror(errno));
	}
	return WIFSIGNALED(status) ? EXIT_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run(const struct asked *asked)
{
	struct ferry_client client;
	struct ferry_msg done = { .a = 0 };
	int code = ferry_cli_open(&client, asked->pid, FERRY_CLIENT_ASK);

	if (code != 0)
		return code;
	code = bring_home(&client, asked, &done);
	if (code == 0)
		code = asked->command != NULL ? run_command(asked->command) : report(asked, &done);
	ferry_client_close(&client);
	return code;
}

int ferry_cli_home(int argc, char **argv)
{
	struct asked asked = { .command = NULL };
	int operands = argc, code;

	/* What stands behind -- is not ours to look into. */
	for (int i = 1; i < argc && operands == argc; i++) {
		if (strcmp(argv[i], "--") == 0)
			operands = i;
	}
	code = ferry_cli_take_json("home", operands, argv, &asked.json);
	if (code != FERRY_CLI_GO_ON)
		return code;
	code = ferry_cli_take_pid("home", operands, argv, &asked.pid);
	if (code != 0)
		return code;
	if (operands + 1 < argc)
		asked.command = argv + operands + 1;
	else if (operands < argc)
		return ferry_cli_usage("home", "no command behind --");
	if (asked.json && asked.command != NULL)
		return ferry_cli_usage("home", "--json goes with no command");
	return run(&asked);
}
