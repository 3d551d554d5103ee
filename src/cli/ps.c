/* SPDX-License-Identifier: MIT */
/* ps.c - `pageferry ps`: the machines that can be seen, their nodes and processes. */
#define _GNU_SOURCE
#include "cli/cli.h"
#include "cli/nodes.h"
#include "cli/target.h"

#include "runtime/rundir.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

struct listing {
	struct ferry_writer writer;
	uint32_t machines;
};

static const char *state_name(uint32_t state)
{
	static const char *const names[] = { "free", "joining", "alive", "orphan",
					     "left", "asleep" };

	return state < FERRY_ARRAY_SIZE(names) ? names[state] : "?";
}

static void write_process(struct ferry_writer *writer, const struct ferry_process *process)
{
	char comm[32];

	ferry_cli_comm(process->pid, comm, sizeof(comm));
	ferry_writer_row_begin(writer);
	ferry_writer_cell_s64(writer, process->pid);
	ferry_writer_cell_s64(writer, process->agent_pid);
	ferry_writer_cell_string(writer, state_name(process->state));
	ferry_writer_cell_string(writer, comm);
	ferry_writer_row_end(writer);
}

static void write_processes(struct ferry_writer *writer, const struct ferry_machine *machine)
{
	static const struct ferry_column columns[] = {
		{ "pid", "PID", 9 },
		{ "agent_pid", "AGENT", 9 },
		{ "state", "STATE", -7 },
		{ "command", "COMMAND", 0 },
	};
	const struct ferry_process *processes = ferry_machine_processes(machine);

	ferry_writer_rows_begin(writer, "processes", columns, FERRY_ARRAY_SIZE(columns));
	for (uint32_t i = 0; i < FERRY_PROCESSES_MAX; i++) {
		struct ferry_process process = processes[i];

		if (process.state != FERRY_PROCESS_FREE && process.pid != 0)
			write_process(writer, &process);
	}
	ferry_writer_rows_end(writer);
}

static void write_machine(struct listing *listing, const struct ferry_machine *machine,
			  uint32_t uid)
{
	struct ferry_writer *writer = &listing->writer;
	char title[128];

	if (listing->machines++ > 0)
		ferry_writer_line(writer, "");
	(void)snprintf(title, sizeof(title), "machine %.31s of user %u, %u nodes, keeper %d",
		       machine->name, uid, machine->node_count, machine->keeper_pid);
	ferry_writer_line(writer, title);
	ferry_writer_begin(writer, NULL);
	ferry_writer_string(writer, "name", NULL, machine->name);
	ferry_writer_u64(writer, "uid", NULL, uid);
	ferry_writer_s64(writer, "keeper_pid", NULL, machine->keeper_pid);
	ferry_cli_write_nodes(writer, machine, NULL);
	write_processes(writer, machine);
	ferry_writer_end(writer);
}

static int visit(void *context, const char *path, uint32_t uid, const char *name)
{
	struct listing *listing = context;
	struct ferry_client_machine machine;
	int error = ferry_client_connect(path, &machine);

	if (error == -ECONNREFUSED)
		ferry_rundir_remove_stale(path, uid);
	else if (error == -EPROTO || error == -ETIMEDOUT)
		(void)ferry_cli_fail(0, "machine %s does not answer as this version does", name);
	if (error != 0)
		return 0;
	write_machine(listing, machine.machine, uid);
	ferry_client_disconnect(&machine);
	return 0;
}

int ferry_cli_ps(int argc, char **argv)
{
	struct listing listing = { .machines = 0 };
	bool json = false;
	int code = ferry_cli_take_json("ps", argc, argv, &json);

	if (code != FERRY_CLI_GO_ON)
		return code;
	if (optind < argc)
		return ferry_cli_usage("ps", "unexpected '%s'", argv[optind]);
	ferry_cli_writer(&listing.writer, json);
	ferry_cli_document(&listing.writer, "ps");
	ferry_writer_array_begin(&listing.writer, "machines");
	(void)ferry_rundir_each(visit, &listing);
	ferry_writer_array_end(&listing.writer);
	ferry_writer_end(&listing.writer);
	if (listing.machines == 0)
		ferry_writer_line(&listing.writer, "no machines: start one with pageferry run");
	return ferry_cli_finish(FERRY_CLI_OK);
}
