/* SPDX-License-Identifier: MIT */
/* mems.c - `pageferry mems`: the nodes that a process may use. */
#define _GNU_SOURCE
#include "cli/cli.h"
#include "cli/target.h"

#include "runtime/spec.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

enum { LIST_TEXT = 4096 };

static int set(struct ferry_client *client, const char *list)
{
	char error[FERRY_SPEC_ERROR_MAX];
	struct ferry_nodeset nodes;
	int result = ferry_spec_mems(list, client->keeper.machine, &nodes, error);

	if (result == -EINVAL)
		return ferry_cli_usage("mems", "%s", error);
	if (result != 0)
		return ferry_cli_fail(FERRY_CLI_NOT_FOUND, "%s", error);
	result = ferry_client_set_mems(client, &nodes);
	return result == 0 ? 0 : ferry_cli_explain(client->pid, result);
}

static int show(const struct ferry_client *client, bool json)
{
	const struct ferry_machine *machine = client->keeper.machine;
	const struct ferry_nodeset *set = ferry_machine_mems(machine, client->slot);
	struct ferry_nodeset nodes = { .word = { 0 } };
	struct ferry_writer writer;
	char list[LIST_TEXT];

	for (uint32_t node = 0; node < machine->node_count; node++) {
		if (ferry_machine_set_has(set, node))
			ferry_nodeset_add(&nodes, node);
	}
	(void)ferry_nodeset_print(&nodes, list, sizeof(list));
	ferry_cli_writer(&writer, json);
	ferry_cli_document(&writer, "mems");
	ferry_writer_s64(&writer, "pid", NULL, client->pid);
	ferry_writer_string(&writer, "mems", NULL, list);
	ferry_writer_line(&writer, list);
	ferry_writer_end(&writer);
	return ferry_cli_finish(FERRY_CLI_OK);
}

int ferry_cli_mems(int argc, char **argv)
{
	struct ferry_client client;
	const char *list = NULL;
	bool json = false;
	int32_t pid;
	int code = ferry_cli_take_json("mems", argc, argv, &json);

	if (code != FERRY_CLI_GO_ON)
		return code;
	if (optind + 2 == argc)
		list = argv[--argc];
	code = ferry_cli_take_pid("mems", argc, argv, &pid);
	if (code == 0)
		code = ferry_cli_open(&client, pid, FERRY_CLIENT_LOOK);
	if (code != 0)
		return code;
	if (list != NULL)
		code = set(&client, list);
	if (code == 0 && (list == NULL || json))
		code = show(&client, json);
	ferry_client_close(&client);
	return code;
}
