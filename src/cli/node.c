/* SPDX-License-Identifier: MIT */
/* node.c - `pageferry node`: takes a node of a machine offline, or back. */
#define _GNU_SOURCE
#include "cli/cli.h"
#include "cli/target.h"

#include "runtime/rundir.h"
#include "runtime/spec.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

struct asked {
	const char *machine; /* NULL: the only one */
	bool online, json;
	uint32_t node;
	struct ferry_client_machine found;
	uint32_t count;
};

/* Keeps the connection to the machine that is meant. */
static int visit(void *context, const char *path, uint32_t uid, const char *name)
{
	struct asked *asked = context;
	struct ferry_client_machine machine;

	(void)uid;
	if (asked->machine != NULL && strcmp(asked->machine, name) != 0)
		return 0;
	if (ferry_client_connect(path, &machine) != 0)
		return 0;
	if (asked->count++ == 0)
		asked->found = machine;
	else
		ferry_client_disconnect(&machine);
	return 0;
}

static int report(const struct asked *asked)
{
	struct ferry_writer writer;
	char line[64];

	ferry_cli_writer(&writer, asked->json);
	ferry_cli_document(&writer, "node");
	ferry_writer_u64(&writer, "node", NULL, asked->node);
	ferry_writer_string(&writer, "state", NULL, asked->online ? "online" : "offline");
	(void)snprintf(line, sizeof(line), "node %u is %s", asked->node,
		       asked->online ? "online" : "offline");
	ferry_writer_line(&writer, line);
	ferry_writer_end(&writer);
	return ferry_cli_finish(FERRY_CLI_OK);
}

static int change(struct asked *asked)
{
	const struct ferry_machine *machine = asked->found.machine;
	char why[FERRY_MSG_TEXT];
	int error;

	if (asked->node >= machine->node_count)
		return ferry_cli_fail(FERRY_CLI_NOT_FOUND,
				      "no node %u: this machine has nodes 0 to %u", asked->node,
				      machine->node_count - 1);
	error = ferry_client_set_online(&asked->found, asked->node, asked->online, why);
	switch (error) {
	case 0:
		return report(asked);
	case -EBUSY:
		return ferry_cli_fail(FERRY_CLI_PARTIAL, "node %u stays online: %s", asked->node,
				      why);
	case -ENODEV:
		return ferry_cli_fail(FERRY_CLI_NOT_FOUND, "node %u has no memory", asked->node);
	case -EPERM:
		return ferry_cli_fail(FERRY_CLI_NO_RIGHT, "only the machine's user and root may");
	default:
		return ferry_cli_fail(FERRY_CLI_FAILED, "the machine cannot be reached: %s",
				      strerror(-error));
	}
}

static int run(struct asked *asked)
{
	int code;

	(void)ferry_rundir_each(visit, asked);
	if (asked->count == 0 && asked->machine != NULL)
		return ferry_cli_fail(FERRY_CLI_NOT_FOUND, "no machine %.100s (pageferry ps)",
				      asked->machine);
	if (asked->count == 0)
		return ferry_cli_fail(FERRY_CLI_NOT_FOUND, "no machines");
	if (asked->count == 1)
		code = change(asked);
	else
		code = ferry_cli_usage("node", "there are %u machines: give --machine NAME",
				       asked->count);
	ferry_client_disconnect(&asked->found);
	return code;
}

int ferry_cli_node(int argc, char **argv)
{
	static const struct option options[] = {
		{ "machine", required_argument, NULL, 'm' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct asked asked = { .machine = NULL };
	uint64_t node;
	int option;

	while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (option == 'h') {
			ferry_cli_print_help(ferry_cli_find("node"));
			return FERRY_CLI_OK;
		}
		if (option == 'm')
			asked.machine = optarg;
		else if (option == 'j')
			asked.json = true;
		else
			return ferry_cli_bad_option("node", option, argv);
	}
	if (optind + 2 != argc ||
	    (strcmp(argv[optind], "offline") != 0 && strcmp(argv[optind], "online") != 0))
		return ferry_cli_usage("node", "write offline NODE or online NODE");
	asked.online = strcmp(argv[optind], "online") == 0;
	if (ferry_spec_number(argv[optind + 1], UINT32_MAX, &node) != 0)
		return ferry_cli_usage("node", "'%s' is no node", argv[optind + 1]);
	asked.node = (uint32_t)node;
	return run(&asked);
}
