/* SPDX-License-Identifier: MIT */
/* doctor.c - `pageferry doctor`: what host/doctor.h finds, for people and for programs. */
#define _GNU_SOURCE
#include "cli/cli.h"
#include "cli/target.h"

#include "host/doctor.h"

#include <getopt.h>
#include <stdio.h>

enum { LEVELS = FERRY_FINDING_MISSING + 1 };

/* "label   text", where there is any. */
static void write_line(struct ferry_writer *writer, const char *label, const char *text)
{
	char line[FERRY_FINDING_TEXT + 64];

	if (text[0] == '\0')
		return;
	(void)snprintf(line, sizeof(line), "%-9s%s", label, text);
	ferry_writer_line(writer, line);
}

static void write_finding(struct ferry_writer *writer, const struct ferry_finding *finding)
{
	const char *level = ferry_doctor_level_name(finding->level);

	ferry_writer_begin(writer, NULL);
	ferry_writer_string(writer, "key", NULL, finding->key);
	ferry_writer_string(writer, "level", NULL, level);
	ferry_writer_string(writer, "found", NULL, finding->found);
	ferry_writer_string(writer, "cost", NULL, finding->cost);
	ferry_writer_string(writer, "fix", NULL, finding->fix);
	ferry_writer_end(writer);
}

static void write_for_people(struct ferry_writer *writer, const struct ferry_finding *finding)
{
	write_line(writer, ferry_doctor_level_name(finding->level), finding->found);
	write_line(writer, "", finding->cost);
	write_line(writer, finding->fix[0] != '\0' ? "      ->" : "", finding->fix);
}

static void write_sum(struct ferry_writer *writer, const uint32_t *counts)
{
	bool usable = counts[FERRY_FINDING_MISSING] == 0;
	char line[128];

	ferry_writer_bool(writer, "usable", NULL, usable);
	ferry_writer_u64(writer, "limits", NULL, counts[FERRY_FINDING_LIMIT]);
	if (!usable)
		(void)snprintf(line, sizeof(line), "programs cannot run on a machine here");
	else if (counts[FERRY_FINDING_LIMIT] == 0)
		(void)snprintf(line, sizeof(line), "all works here");
	else
		(void)snprintf(line, sizeof(line), "programs can run here, with %u limit%s",
			       counts[FERRY_FINDING_LIMIT],
			       counts[FERRY_FINDING_LIMIT] == 1 ? "" : "s");
	ferry_writer_line(writer, line);
}

static int examine(bool json)
{
	static struct ferry_probe probe;
	uint32_t counts[LEVELS] = { 0 };
	struct ferry_writer writer;

	ferry_probe(&probe);
	ferry_cli_writer(&writer, json);
	ferry_cli_document(&writer, "doctor");
	ferry_writer_array_begin(&writer, "findings");
	for (uint32_t i = 0; i < ferry_doctor_count(); i++) {
		struct ferry_finding finding;

		ferry_doctor_find(&probe, i, &finding);
		counts[finding.level]++;
		if (json)
			write_finding(&writer, &finding);
		else
			write_for_people(&writer, &finding);
	}
	ferry_writer_array_end(&writer);
	write_sum(&writer, counts);
	ferry_writer_end(&writer);
	if (counts[FERRY_FINDING_MISSING] != 0)
		return ferry_cli_finish(FERRY_CLI_UNMANAGED);
	return ferry_cli_finish(counts[FERRY_FINDING_LIMIT] != 0 ? FERRY_CLI_PARTIAL
								 : FERRY_CLI_OK);
}

int ferry_cli_doctor(int argc, char **argv)
{
	bool json = false;
	int code = ferry_cli_take_json("doctor", argc, argv, &json);

	if (code != FERRY_CLI_GO_ON)
		return code;
	if (optind != argc)
		return ferry_cli_usage("doctor", "no operands, not '%s'", argv[optind]);
	return examine(json);
}
