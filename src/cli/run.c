/* SPDX-License-Identifier: MIT */
/* run.c - `pageferry run`: options, then runtime/launch.h. */
#define _GNU_SOURCE
#include "cli/cli.h"

#include "base/size.h"
#include "host/doctor.h"
#include "runtime/launch.h"
#include "runtime/program.h"
#include "runtime/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PRELOAD_NAME "libpageferry-preload.so"

enum option_key {
	OPTION_NODES = 256,
	OPTION_NODE,
	OPTION_POLICY,
	OPTION_THP,
	OPTION_PAUSE,
	OPTION_CONTRACT,
	OPTION_COPY,
	OPTION_STRICT,
	OPTION_MEMS,
	OPTION_COUNT,
};

static const struct option options[] = {
	{ "nodes", required_argument, NULL, OPTION_NODES },
	{ "node", required_argument, NULL, OPTION_NODE },
	{ "policy", required_argument, NULL, OPTION_POLICY },
	{ "thp", required_argument, NULL, OPTION_THP },
	{ "max-pause", required_argument, NULL, OPTION_PAUSE },
	{ "contract", required_argument, NULL, OPTION_CONTRACT },
	{ "copy-path", optional_argument, NULL, OPTION_COPY },
	{ "strict", no_argument, NULL, OPTION_STRICT },
	{ "mems", required_argument, NULL, OPTION_MEMS },
	{ "max-count", required_argument, NULL, OPTION_COUNT },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

struct asked {
	struct ferry_machine_spec spec;
	uint32_t capacity;    /* of spec.nodes */
	bool has_nodes;       /* --nodes was given */
	uint32_t equal_count; /* nodes of --nodes */
	uint64_t equal_bytes; /* of each; 0: share what the host has */
};

static int append_node(struct asked *asked, const struct ferry_node_spec *node)
{
	struct ferry_node_spec *nodes = asked->spec.nodes;

	if (asked->spec.node_count == FERRY_NODES_MAX)
		return ferry_cli_usage("run", "a machine has at most %d nodes", FERRY_NODES_MAX);
	if (asked->spec.node_count == asked->capacity) {
		uint32_t capacity = asked->capacity == 0 ? 8 : asked->capacity * 2;

		nodes = realloc(nodes, capacity * sizeof(*nodes));
		if (nodes == NULL)
			return ferry_cli_fail(FERRY_EXIT_OWN, "out of memory");
		asked->spec.nodes = nodes;
		asked->capacity = capacity;
	}
	nodes[asked->spec.node_count++] = *node;
	return 0;
}

static int take_nodes(struct asked *asked, const char *text)
{
	char error[FERRY_SPEC_ERROR_MAX];

	if (ferry_spec_nodes(text, &asked->equal_count, &asked->equal_bytes, error) != 0)
		return ferry_cli_usage("run", "%s", error);
	asked->has_nodes = true;
	return 0;
}

static int take_node(struct asked *asked, const char *text)
{
	char error[FERRY_SPEC_ERROR_MAX];
	struct ferry_node_spec node;

	if (ferry_spec_node(text, &node, error) != 0)
		return ferry_cli_usage("run", "%s", error);
	return append_node(asked, &node);
}

/* The index of text in a list of words, -1: not one of them. */
static int word_index(const char *text, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(text, words[i]) == 0)
			return (int)i;
	}
	return -1;
}

static int take_thp(struct asked *asked, const char *text)
{
	static const char *const words[] = { "madvise", "always", "never" };
	int index = word_index(text, words, FERRY_ARRAY_SIZE(words));

	if (index < 0)
		return ferry_cli_usage("run", "--thp '%s': write madvise, always or never", text);
	asked->spec.thp = (uint32_t)index;
	return 0;
}

static int take_contract(struct asked *asked, const char *text)
{
	static const char *const words[] = { "", "seed", "linux" };
	int index = word_index(text, words, FERRY_ARRAY_SIZE(words));

	if (index <= 0)
		return ferry_cli_usage("run", "--contract '%s': write seed or linux", text);
	asked->spec.contract = (uint32_t)index;
	return 0;
}

static int take_pause(struct asked *asked, const char *text)
{
	uint64_t *ns = &asked->spec.stall_budget_ns;

	if (ferry_spec_time(text, ns) != 0 || *ns < 1000 || *ns > UINT64_C(60000000000))
		return ferry_cli_usage("run", "--max-pause '%s': write a time from 1us to 60s",
				       text);
	return 0;
}

static int take_copy_path(struct asked *asked, const char *text)
{
	if (text == NULL || strcmp(text, "in") == 0)
		asked->spec.copy_path = FERRY_COPY_PATH_IN;
	else if (strcmp(text, "both") == 0)
		asked->spec.copy_path = FERRY_COPY_PATH_BOTH;
	else
		return ferry_cli_usage("run", "--copy-path is 'in' or 'both', not '%.100s'", text);
	return 0;
}

static int take_max_count(struct asked *asked, const char *text)
{
	uint64_t *count = &asked->spec.max_count;

	if (ferry_spec_number(text, FERRY_COUNT_MAX, count) != 0 || *count == 0)
		return ferry_cli_usage("run",
				       "--max-count '%s': write a number from 1 to 2147483647",
				       text);
	return 0;
}

static int take_option(struct asked *asked, int option, char **argv)
{
	switch (option) {
	case OPTION_NODES:
		return take_nodes(asked, optarg);
	case OPTION_NODE:
		return take_node(asked, optarg);
	case OPTION_POLICY:
		asked->spec.policy = optarg;
		return 0;
	case OPTION_THP:
		return take_thp(asked, optarg);
	case OPTION_PAUSE:
		return take_pause(asked, optarg);
	case OPTION_CONTRACT:
		return take_contract(asked, optarg);
	case OPTION_COPY:
		return take_copy_path(asked, optarg);
	case OPTION_STRICT:
		asked->spec.strict = true;
		return 0;
	case OPTION_MEMS:
		asked->spec.mems = optarg;
		return 0;
	case OPTION_COUNT:
		return take_max_count(asked, optarg);
	default:
		return ferry_cli_bad_option("run", option, argv);
	}
}

/* Turns --nodes into nodes of their own. */
static int settle_nodes(struct asked *asked)
{
	struct ferry_node_spec node = { .real_node = -1, .size_bytes = asked->equal_bytes };
	int error = 0;

	if (!asked->has_nodes)
		return 0;
	if (asked->spec.node_count != 0)
		return ferry_cli_usage("run", "give --nodes or --node, not both");
	if (asked->equal_bytes == 0) {
		asked->spec.node_count = asked->equal_count; /* spec.nodes stays NULL */
		return 0;
	}
	for (uint32_t i = 0; i < asked->equal_count && error == 0; i++)
		error = append_node(asked, &node);
	return error;
}

/*
 * The preload library: named by the environment, else beside the command (in a build tree), else in
 * the private directory of the prefix that the command is installed in.
 */
static int find_preload(char *path, size_t size)
{
	static const char *const places[] = { "", "../lib/pageferry/",
					      "../lib/x86_64-linux-gnu/pageferry/",
					      "../lib64/pageferry/" };
	const char *named = getenv("PAGEFERRY_PRELOAD");
	char self[PATH_MAX], candidate[PATH_MAX + 64];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	const char *directory;

	self[length > 0 ? length : 0] = '\0';
	directory = dirname(self);
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(places); i++) {
		if (named != NULL)
			(void)snprintf(candidate, sizeof(candidate), "%s", named);
		else
			(void)snprintf(candidate, sizeof(candidate), "%s/%s%s", directory,
				       places[i], PRELOAD_NAME);
		if (access(candidate, R_OK) == 0 && realpath(candidate, path) != NULL)
			break;
		if (named != NULL || i + 1 == FERRY_ARRAY_SIZE(places))
			return ferry_cli_fail(FERRY_EXIT_OWN,
					      "cannot find %s; set PAGEFERRY_PRELOAD",
					      named != NULL ? named : PRELOAD_NAME);
	}
	/* The dynamic linker separates the names in LD_PRELOAD by both. */
	if (strpbrk(path, " :") != NULL || strlen(path) + 1 > size)
		return ferry_cli_fail(FERRY_EXIT_OWN,
				      "the path '%s' must not hold blanks or colons", path);
	return 0;
}

/* Programs that no library can be put into run as ever, or not at all; nobody shall wonder why. */
static int judge_command(const struct asked *asked, struct ferry_launch *launch)
{
	char path[FERRY_PROGRAM_PATH_MAX];
	enum ferry_program_kind kind;
	bool script;

	if (ferry_program_find(launch->argv[0], path) != 0)
		return 0; /* execution will tell */
	kind = ferry_program_judge(AT_FDCWD, path, &script);
	if (kind == FERRY_PROGRAM_FITS)
		return 0;
	launch->hurt = ferry_program_is_hurt(kind);
	if (asked->spec.strict)
		return ferry_cli_fail(FERRY_EXIT_OWN, "'%s' %s: it cannot be managed (--strict)",
				      launch->argv[0], ferry_program_why(kind, script));
	(void)ferry_cli_fail(0, "warning: '%s' %s: it runs unmanaged", launch->argv[0],
			     ferry_program_why(kind, script));
	return 0;
}

int ferry_cli_run(int argc, char **argv)
{
	static struct asked asked;
	struct ferry_launch launch = { .spec = &asked.spec };
	char preload[PATH_MAX], advice[FERRY_ADVICE_TEXT];
	const char *disabled = getenv("PAGEFERRY_DISABLE");
	int option, error = 0;

	while (error == 0 && (option = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
		if (option == 'h') {
			ferry_cli_print_help(ferry_cli_find("run"));
			return FERRY_CLI_OK;
		}
		error = take_option(&asked, option, argv);
	}
	if (error == 0)
		error = settle_nodes(&asked);
	if (error != 0)
		return error;
	if (optind == argc)
		return ferry_cli_usage("run", "no command given: pageferry run -- COMMAND...");
	launch.argv = argv + optind;
	if (disabled != NULL && strcmp(disabled, "1") == 0)
		return ferry_launch_bare(launch.argv);
	error = find_preload(preload, sizeof(preload));
	if (error != 0)
		return error;
	launch.preload = preload;
	if (!ferry_doctor_may_run(advice))
		return ferry_cli_fail(FERRY_EXIT_OWN, "%s (pageferry doctor tells more)", advice);
	error = judge_command(&asked, &launch);
	return error != 0 ? error : ferry_launch_run(&launch);
}
