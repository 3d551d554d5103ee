/* SPDX-License-Identifier: MIT */
/* move.c - `pageferry move`: moves ranges, mappings or all of a process to one node. */
#define _GNU_SOURCE
#include "cli/cli.h"
#include "cli/regions.h"
#include "cli/target.h"

#include "base/size.h"
#include "runtime/reason.h"
#include "runtime/spec.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RANGES_MAX = 65536, NAMES_MAX = 64, BAR_WIDTH = 30 };

struct range {
	ferry_va start, end;
};

struct asked {
	int32_t pid;
	struct range *ranges;
	size_t range_count, range_capacity;
	const char *names[NAMES_MAX];
	uint32_t name_count, name; /* name: the one that is looked for */
	bool all, move_all, json;
	const char *from, *to;
	int32_t node;
	struct ferry_nodeset from_nodes;
	uint64_t pause_ns, bytes_per_second;
};

struct result {
	uint64_t reasons[FERRY_REASON_COUNT];
	uint64_t asked_pages, elapsed_ns;
	bool stopped;
};

static volatile sig_atomic_t interrupted;

static void note_interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

/* --- what to move ------------------------------------------------------------------------ */

static int add_range(struct asked *asked, ferry_va start, ferry_va end)
{
	if (asked->range_count == RANGES_MAX)
		return ferry_cli_usage("move", "too many ranges");
	if (asked->range_count == asked->range_capacity) {
		size_t capacity = asked->range_capacity == 0 ? 16 : asked->range_capacity * 2;
		struct range *ranges = realloc(asked->ranges, capacity * sizeof(*ranges));

		if (ranges == NULL)
			return ferry_cli_fail(FERRY_CLI_FAILED, "out of memory");
		asked->ranges = ranges;
		asked->range_capacity = capacity;
	}
	asked->ranges[asked->range_count++] = (struct range){ start, end };
	return 0;
}

static int match_mapping(void *context, const struct ferry_cli_mapping *mapping)
{
	struct asked *asked = context;

	if (!ferry_cli_name_matches(mapping, asked->names[asked->name]))
		return 0;
	return add_range(asked, mapping->start, mapping->end);
}

/* Turns names and --all into ranges. => 0 or an exit code. */
static int settle_ranges(struct asked *asked)
{
	if (asked->all)
		return add_range(asked, 0, UINT64_C(1) << FERRY_VA_BITS);
	for (asked->name = 0; asked->name < asked->name_count; asked->name++) {
		size_t before = asked->range_count;
		int error = ferry_cli_each_mapping(asked->pid, match_mapping, asked);

		if (error < 0)
			return ferry_cli_explain(asked->pid, error);
		if (error > 0)
			return error;
		if (asked->range_count == before)
			return ferry_cli_fail(FERRY_CLI_NOT_FOUND,
					      "process %d has no mapping named '%s' "
					      "(pageferry maps %d lists them)",
					      asked->pid, asked->names[asked->name], asked->pid);
	}
	return 0;
}

/* Checks nodes against the machine. => 0 or an exit code. */
static int settle_nodes(struct asked *asked, const struct ferry_machine *machine)
{
	uint64_t node;
	int error = ferry_spec_number(asked->to, UINT32_MAX, &node);

	if (error == -EINVAL)
		return ferry_cli_usage("move", "--to '%s': write the number of a node", asked->to);
	if (error != 0 || node >= machine->node_count)
		return ferry_cli_fail(FERRY_CLI_NOT_FOUND,
				      "no node %s: this machine has nodes 0 to %u", asked->to,
				      machine->node_count - 1);
	if (ferry_machine_nodes(machine)[node].capacity_pages == 0)
		return ferry_cli_fail(FERRY_CLI_NOT_FOUND, "node %s has no memory", asked->to);
	if (!ferry_machine_has_memory(machine, (int64_t)node))
		return ferry_cli_fail(FERRY_CLI_NOT_FOUND, "node %s is offline", asked->to);
	asked->node = (int32_t)node;
	ferry_nodeset_fill(&asked->from_nodes, machine->node_count);
	if (asked->from == NULL)
		return 0;
	error = ferry_nodeset_parse(&asked->from_nodes, asked->from, machine->node_count);
	if (error == -ERANGE)
		return ferry_cli_fail(FERRY_CLI_NOT_FOUND,
				      "--from '%s': this machine has nodes 0 to %u", asked->from,
				      machine->node_count - 1);
	if (error != 0)
		return ferry_cli_usage("move", "--from '%s': write nodes like 0-2,5 or !1",
				       asked->from);
	return 0;
}

/* --- moving ------------------------------------------------------------------------------ */

static void draw_bar(uint64_t done, uint64_t asked, uint64_t elapsed_ns)
{
	char bar[BAR_WIDTH + 1], rate[FERRY_SIZE_TEXT];
	uint64_t full = asked == 0 ? 0 : (done < asked ? done : asked) * BAR_WIDTH / asked;
	double seconds = (double)elapsed_ns / 1e9;
	double pages_per_second = seconds > 0 ? (double)done / seconds : 0;
	double left = asked > done && pages_per_second > 0
			      ? (double)(asked - done) / pages_per_second
			      : 0;

	memset(bar, '.', BAR_WIDTH);
	memset(bar, '#', full);
	bar[BAR_WIDTH] = '\0';
	(void)ferry_size_print((uint64_t)(pages_per_second * FERRY_PAGE_SIZE), rate, sizeof(rate));
	(void)fprintf(stderr, "\r[%s] %3u %%  %9s/s  %.1f s left \033[K", bar,
		      asked == 0 ? 0 : (unsigned)((done < asked ? done : asked) * 100 / asked),
		      rate, left);
}

static bool show_progress(void *context, const struct ferry_msg *msg)
{
	const bool *draw = context;

	if (*draw && msg->b != 0)
		draw_bar(msg->a, msg->b, msg->c);
	return interrupted != 0;
}

static int explain_refusal(const struct asked *asked, int error)
{
	switch (error) {
	case -EPERM:
		return ferry_cli_fail(FERRY_CLI_NO_RIGHT, "--move-all needs CAP_SYS_NICE");
	case -EACCES:
		return ferry_cli_fail(FERRY_CLI_NO_RIGHT,
				      "process %d may not use node %d (pageferry mems %d tells "
				      "which it may)",
				      asked->pid, asked->node, asked->pid);
	case -ENODEV:
		return ferry_cli_fail(FERRY_CLI_NOT_FOUND, "no memory on node %d", asked->node);
	case -ESRCH:
		return ferry_cli_explain(asked->pid, -EPIPE);
	default:
		return ferry_cli_fail(FERRY_CLI_FAILED, "process %d: %s", asked->pid,
				      strerror(-error));
	}
}

static int move_range(struct ferry_client *client, const struct asked *asked,
		      const struct range *range, struct result *result)
{
	bool draw = !asked->json && isatty(2) == 1;
	const struct ferry_client_hooks hooks = { .progress = show_progress, .context = &draw };
	bool linux_contract = client->keeper.machine->contract == FERRY_CONTRACT_LINUX_ALL;
	struct ferry_msg done, msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_MOVE_RANGE,
		.flags = (asked->move_all ? FERRY_MSG_FLAG_MOVE_ALL : 0u) |
			 (linux_contract ? 0u : FERRY_MSG_FLAG_SEED),
		.node = asked->node,
		.a = ferry_page_down(range->start),
		.b = ferry_page_up(range->end),
		.c = asked->pause_ns,
		.d = asked->bytes_per_second,
		.nodes = asked->from_nodes,
	};
	int error = ferry_client_ask(client, &msg, -1, &hooks, &done);

	if (draw)
		(void)fprintf(stderr, "\r\033[K");
	if (error != 0)
		return ferry_cli_explain(asked->pid, error);
	for (uint32_t i = 0; i < FERRY_REASON_COUNT; i++)
		result->reasons[i] += done.reasons[i];
	result->asked_pages += done.d;
	result->elapsed_ns += done.c;
	result->stopped |= (done.flags & FERRY_MSG_FLAG_STOPPED) != 0;
	return done.status == 0 ? 0 : explain_refusal(asked, done.status);
}

static int move_all_ranges(struct ferry_client *client, const struct asked *asked,
			   struct result *result)
{
	const struct sigaction action = { .sa_handler = note_interrupt };
	int code = 0;

	(void)sigaction(SIGINT, &action, NULL);
	(void)sigaction(SIGTERM, &action, NULL);
	for (size_t i = 0; i < asked->range_count && code == 0 && !result->stopped; i++)
		code = move_range(client, asked, &asked->ranges[i], result);
	return code;
}

/* --- results ----------------------------------------------------------------------------- */

static void write_json(const struct asked *asked, const struct result *result)
{
	struct ferry_writer writer;
	uint64_t moved = result->reasons[FERRY_REASON_MOVED];
	double seconds = (double)result->elapsed_ns / 1e9;

	ferry_cli_writer(&writer, true);
	ferry_cli_document(&writer, "move");
	ferry_writer_s64(&writer, "pid", NULL, asked->pid);
	ferry_writer_s64(&writer, "target", NULL, asked->node);
	ferry_writer_u64(&writer, "asked_pages", NULL, result->asked_pages);
	ferry_writer_u64(&writer, "moved_pages", NULL, moved);
	ferry_writer_u64(&writer, "failed_pages", NULL, ferry_reason_left_behind(result->reasons));
	ferry_writer_begin(&writer, "reasons");
	for (uint32_t i = 0; i < FERRY_REASON_COUNT; i++)
		ferry_writer_u64(&writer, ferry_reason_short(i), NULL, result->reasons[i]);
	ferry_writer_end(&writer);
	ferry_writer_u64(&writer, "elapsed_ns", NULL, result->elapsed_ns);
	ferry_writer_u64(&writer, "bytes_per_second", NULL,
			 seconds > 0 ? (uint64_t)((double)moved * FERRY_PAGE_SIZE / seconds) : 0);
	ferry_writer_bool(&writer, "stopped", NULL, result->stopped);
	ferry_writer_end(&writer);
}

static void write_text(const struct asked *asked, const struct result *result)
{
	uint64_t moved = result->reasons[FERRY_REASON_MOVED];
	double seconds = (double)result->elapsed_ns / 1e9;
	char size[FERRY_SIZE_TEXT];

	(void)ferry_size_print(moved << FERRY_PAGE_SHIFT, size, sizeof(size));
	(void)printf("%s%llu of %llu pages (%s) moved to node %d in %.3f s: %.2f GB/s\n",
		     result->stopped ? "stopped: " : "", (unsigned long long)moved,
		     (unsigned long long)result->asked_pages, size, asked->node, seconds,
		     seconds > 0 ? (double)moved * FERRY_PAGE_SIZE / seconds / 1e9 : 0);
	for (uint32_t i = 0; i < FERRY_REASON_COUNT; i++) {
		/* What nobody touched was not asked for: it would only frighten. */
		if (result->reasons[i] == 0 || i == FERRY_REASON_ABSENT)
			continue;
		(void)printf("%12llu  %s%s\n", (unsigned long long)result->reasons[i],
			     ferry_reason_text((enum ferry_reason)i),
			     result->stopped && i == FERRY_REASON_BUSY ? ", or not tried" : "");
	}
}

static int run(struct asked *asked)
{
	struct ferry_client client;
	struct result result = { .stopped = false };
	int code = ferry_cli_open(&client, asked->pid, FERRY_CLIENT_ASK);

	if (code != 0)
		return code;
	code = settle_nodes(asked, client.keeper.machine);
	if (code == 0)
		code = settle_ranges(asked);
	if (code == 0)
		code = move_all_ranges(&client, asked, &result);
	ferry_client_close(&client);
	if (code != 0)
		return code;
	if (asked->json)
		write_json(asked, &result);
	else
		write_text(asked, &result);
	return ferry_cli_finish(result.stopped || ferry_reason_left_behind(result.reasons) != 0
					? FERRY_CLI_PARTIAL
					: FERRY_CLI_OK);
}

/* --- options ----------------------------------------------------------------------------- */

static int take_range(struct asked *asked, const char *text)
{
	ferry_va start, end;

	if (ferry_spec_range(text, &start, &end) != 0)
		return ferry_cli_usage("move",
				       "'%s' is no range: write START-END or START+SIZE, "
				       "addresses in hexadecimal",
				       text);
	return add_range(asked, start, end);
}

static int take_name(struct asked *asked, const char *text)
{
	if (asked->name_count == NAMES_MAX)
		return ferry_cli_usage("move", "too many --mapping");
	asked->names[asked->name_count++] = text;
	return 0;
}

static int take_pause(struct asked *asked, const char *text)
{
	if (ferry_spec_time(text, &asked->pause_ns) != 0 || asked->pause_ns < 1000)
		return ferry_cli_usage("move",
				       "--max-pause '%s': write a time of 1us or more, such "
				       "as 500us or 1ms",
				       text);
	return 0;
}

static int take_rate(struct asked *asked, const char *text)
{
	if (ferry_spec_rate(text, &asked->bytes_per_second) != 0 || asked->bytes_per_second == 0)
		return ferry_cli_usage("move", "--rate '%s': write a size a second, such as 200M/s",
				       text);
	return 0;
}

static int take_option(struct asked *asked, int option, char **argv)
{
	switch (option) {
	case 'r':
		return take_range(asked, optarg);
	case 'm':
		return take_name(asked, optarg);
	case 'a':
		asked->all = true;
		return 0;
	case 'f':
		asked->from = optarg;
		return 0;
	case 't':
		asked->to = optarg;
		return 0;
	case 'p':
		return take_pause(asked, optarg);
	case 's':
		return take_rate(asked, optarg);
	case 'A':
		asked->move_all = true;
		return 0;
	case 'j':
		asked->json = true;
		return 0;
	default:
		return ferry_cli_bad_option("move", option, argv);
	}
}

static int check_options(const struct asked *asked)
{
	int ways = (asked->range_count != 0) + (asked->name_count != 0) + asked->all;

	if (ways == 0)
		return ferry_cli_usage("move", "what to move? Give --range, --mapping or --all");
	if (asked->all && ways > 1)
		return ferry_cli_usage("move", "--all already includes every range and mapping");
	if (asked->to == NULL)
		return ferry_cli_usage("move", "where to? Give --to NODE");
	return 0;
}

int ferry_cli_move(int argc, char **argv)
{
	static const struct option options[] = {
		{ "range", required_argument, NULL, 'r' },
		{ "mapping", required_argument, NULL, 'm' },
		{ "all", no_argument, NULL, 'a' },
		{ "from", required_argument, NULL, 'f' },
		{ "to", required_argument, NULL, 't' },
		{ "max-pause", required_argument, NULL, 'p' },
		{ "rate", required_argument, NULL, 's' },
		{ "move-all", no_argument, NULL, 'A' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	static struct asked asked;
	int option, code = 0;

	while (code == 0 && (option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (option == 'h') {
			ferry_cli_print_help(ferry_cli_find("move"));
			return FERRY_CLI_OK;
		}
		code = take_option(&asked, option, argv);
	}
	if (code == 0)
		code = ferry_cli_take_pid("move", argc, argv, &asked.pid);
	if (code == 0)
		code = check_options(&asked);
	return code != 0 ? code : run(&asked);
}
