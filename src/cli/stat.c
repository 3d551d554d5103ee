/* SPDX-License-Identifier: MIT */
/* stat.c - `pageferry stat`: nodes, counters and stalls of a process, once or again and again. */
#define _GNU_SOURCE
#include "cli/cli.h"
#include "cli/nodes.h"
#include "cli/stall.h"
#include "cli/target.h"

#include "base/size.h"
#include "runtime/reason.h"
#include "runtime/spec.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct asked {
	int32_t pid;
	bool json, again;
	uint64_t interval_ns, count;
};

/* What one look saw. */
struct sample {
	struct ferry_counters counters;
	uint64_t time_ns;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void take_sample(const struct ferry_books *books, struct sample *sample)
{
	const uint64_t *from = (const uint64_t *)&books->counters;
	uint64_t *to = (uint64_t *)&sample->counters;

	/* All counters are single words. */
	for (size_t i = 0; i < sizeof(sample->counters) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	sample->time_ns = now_ns();
}

/* --- the whole picture ------------------------------------------------------------------- */

static void write_counters(struct ferry_writer *writer, const struct ferry_counters *c)
{
	const struct {
		const char *key, *label;
		uint64_t value;
	} fields[] = {
		{ "faults", "faults served", c->faults },
		{ "first_touches", "  first touches", c->first_touches },
		{ "zero_maps", "  zero pages mapped", c->zero_maps },
		{ "held_faults", "  on pages away", c->held_faults },
		{ "ahead_pages", "pages placed ahead", c->ahead_pages },
		{ "ahead_taken", "  taken back unused", c->ahead_taken },
		{ "adopted_pages", "pages adopted", c->adopted_pages },
		{ "cow_charged", "copies after fork", c->cow_charged },
		{ "healed", "entries put right", c->healed },
		{ "move_calls", "move calls", c->move_calls },
		{ "moved_pages", "pages moved", c->moved_pages },
		{ "moved_huge", "  whole 2 MiB frames", c->moved_huge },
		{ "moved_by_copy", "  by copying", c->moved_by_copy },
		{ "brought_home", "moves backed out", c->brought_home },
		{ "batches", "batches", c->batches },
		{ "retries", "pages tried again", c->retries },
		{ "events_fork", "forks", c->events_fork },
		{ "events_remap", "remaps", c->events_remap },
		{ "events_unmap", "unmaps", c->events_unmap },
		{ "events_remove", "discards", c->events_remove },
	};

	ferry_writer_begin(writer, "counters");
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(fields); i++)
		ferry_writer_u64(writer, fields[i].key, fields[i].label, fields[i].value);
	ferry_writer_size(writer, "moved_bytes", "bytes moved", c->moved_pages << FERRY_PAGE_SHIFT);
	ferry_writer_end(writer);
}

static void write_statuses(struct ferry_writer *writer, const struct ferry_counters *c)
{
	ferry_writer_begin(writer, "reasons");
	for (uint32_t i = 0; i < FERRY_REASON_COUNT && i < FERRY_STATUS_KINDS; i++) {
		char label[40];

		(void)snprintf(label, sizeof(label), "answered %s", ferry_reason_short(i));
		ferry_writer_u64(writer, ferry_reason_short(i), c->status[i] != 0 ? label : NULL,
				 c->status[i]);
	}
	ferry_writer_end(writer);
}

/* Microseconds for people, nanoseconds for programs. */
static void write_time(struct ferry_writer *writer, const char *key, const char *label, uint64_t ns)
{
	if (writer->mode == FERRY_WRITER_JSON)
		ferry_writer_u64(writer, key, NULL, ns);
	else
		ferry_writer_fixed(writer, key, label, ns / 100, 1);
}

static void write_stall(struct ferry_writer *writer, const struct ferry_counters *c)
{
	struct ferry_cli_stall stall;

	ferry_cli_stall_read(c->stall, c->stall_max_ns, &stall);
	ferry_writer_begin(writer, "stall");
	ferry_writer_u64(writer, "pages", "pages that were away", stall.pages);
	write_time(writer, "p50_ns", "  for, p50 [us]", stall.p50_ns);
	write_time(writer, "p99_ns", "       p99 [us]", stall.p99_ns);
	write_time(writer, "max_ns", "       max [us]", stall.max_ns);
	ferry_writer_array_begin(writer, "histogram");
	for (uint32_t i = 0; i < FERRY_STALL_BUCKETS; i++)
		ferry_writer_element_u64(writer, c->stall[i]);
	ferry_writer_array_end(writer);
	ferry_writer_end(writer);
}

static void write_all(const struct ferry_client *client, const struct asked *asked,
		      const struct sample *sample)
{
	struct ferry_writer writer;

	ferry_cli_writer(&writer, asked->json);
	ferry_cli_document(&writer, "stat");
	ferry_writer_s64(&writer, "pid", NULL, asked->pid);
	ferry_writer_u64(&writer, "time_ns", NULL, sample->time_ns);
	ferry_cli_write_nodes(&writer, client->keeper.machine, client->books);
	ferry_writer_line(&writer, "");
	write_counters(&writer, &sample->counters);
	write_statuses(&writer, &sample->counters);
	write_stall(&writer, &sample->counters);
	ferry_writer_end(&writer);
}

/* --- a line every interval --------------------------------------------------------------- */

enum { NODES_SHOWN = 8 };

static void write_title(uint32_t node_count)
{
	(void)printf("%9s %9s %9s %9s %7s %9s %9s", "faults/s", "first/s", "away/s", "moved/s",
		     "GB/s", "p99 us", "max us");
	for (uint32_t i = 0; i < node_count && i < NODES_SHOWN; i++)
		(void)printf("      node%u", i);
	(void)printf("\n");
}

static double per_second(uint64_t now, uint64_t before, double seconds)
{
	return seconds > 0 ? (double)(now - before) / seconds : 0;
}

/* The rates since the sample before; the nodes' share of the process as it is. */
static void write_line(const struct ferry_client *client, const struct sample *before,
		       const struct sample *now)
{
	const struct ferry_counters *b = &before->counters, *n = &now->counters;
	double seconds = (double)(now->time_ns - before->time_ns) / 1e9;
	double moved = per_second(n->moved_pages, b->moved_pages, seconds);
	uint64_t stall[FERRY_STALL_BUCKETS];
	struct ferry_cli_stall read;

	for (uint32_t i = 0; i < FERRY_STALL_BUCKETS; i++)
		stall[i] = n->stall[i] - b->stall[i];
	ferry_cli_stall_read(stall, n->stall_max_ns, &read);
	(void)printf("%9.0f %9.0f %9.0f %9.0f %7.2f %9.1f %9.1f",
		     per_second(n->faults, b->faults, seconds),
		     per_second(n->first_touches, b->first_touches, seconds),
		     per_second(n->held_faults, b->held_faults, seconds), moved,
		     moved * FERRY_PAGE_SIZE / 1e9, (double)read.p99_ns / 1e3,
		     (double)read.max_ns / 1e3);
	for (uint32_t i = 0; i < client->books->node_count && i < NODES_SHOWN; i++) {
		const struct ferry_node_count *node = &ferry_books_node_counts(client->books)[i];
		char size[FERRY_SIZE_TEXT];

		(void)ferry_size_print((node->mapped_pages + node->held_pages) << FERRY_PAGE_SHIFT,
				       size, sizeof(size));
		(void)printf(" %10s", size);
	}
	(void)printf("\n");
}

/* => true while the process is the one that was opened. */
static bool is_alive(const struct ferry_client *client)
{
	const struct ferry_process *process =
		&ferry_machine_processes(client->keeper.machine)[client->slot];

	return __atomic_load_n(&process->state, __ATOMIC_ACQUIRE) == FERRY_PROCESS_ALIVE &&
	       process->pid == client->pid;
}

static int watch(const struct ferry_client *client, const struct asked *asked)
{
	const struct timespec interval = {
		.tv_sec = (time_t)(asked->interval_ns / 1000000000u),
		.tv_nsec = (long)(asked->interval_ns % 1000000000u),
	};
	struct sample before, now;

	take_sample(client->books, &before);
	if (!asked->json)
		write_title(client->books->node_count);
	for (uint64_t i = 0; (asked->count == 0 || i < asked->count) && is_alive(client); i++) {
		/* Documents hold totals: the first comes at once. Lines are rates. */
		if (i > 0 || !asked->json)
			(void)nanosleep(&interval, NULL);
		take_sample(client->books, &now);
		if (asked->json)
			write_all(client, asked, &now);
		else
			write_line(client, &before, &now);
		if (fflush(stdout) != 0)
			break;
		before = now;
	}
	return FERRY_CLI_OK;
}

/* --- options ----------------------------------------------------------------------------- */

/* "1", "0.5": seconds. */
static int take_interval(struct asked *asked, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);

	if (text[0] < '0' || text[0] > '9' || *end != '\0' ||
	    !(seconds >= 0.01 && seconds <= 86400))
		return ferry_cli_usage("stat", "-i '%s': write seconds, from 0.01 to 86400", text);
	asked->interval_ns = (uint64_t)(seconds * 1e9);
	asked->again = true;
	return 0;
}

static int take_count(struct asked *asked, const char *text)
{
	if (ferry_spec_number(text, UINT32_MAX, &asked->count) != 0 || asked->count == 0)
		return ferry_cli_usage("stat", "-c '%s': write how many times, 1 or more", text);
	asked->again = true;
	return 0;
}

static int run(const struct asked *asked)
{
	struct ferry_client client;
	struct sample sample;
	int code = ferry_cli_open(&client, asked->pid, FERRY_CLIENT_LOOK);

	if (code != 0)
		return code;
	if (asked->again) {
		code = watch(&client, asked);
	} else {
		take_sample(client.books, &sample);
		write_all(&client, asked, &sample);
	}
	ferry_client_close(&client);
	return ferry_cli_finish(code);
}

int ferry_cli_stat(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ "interval", required_argument, NULL, 'i' },
		{ "count", required_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	struct asked asked = { .interval_ns = 1000000000u };
	int option, code = 0;

	while (code == 0 && (option = getopt_long(argc, argv, ":hi:c:", options, NULL)) != -1) {
		if (option == 'h') {
			ferry_cli_print_help(ferry_cli_find("stat"));
			return FERRY_CLI_OK;
		}
		if (option == 'i')
			code = take_interval(&asked, optarg);
		else if (option == 'c')
			code = take_count(&asked, optarg);
		else if (option == 'j')
			asked.json = true;
		else
			code = ferry_cli_bad_option("stat", option, argv);
	}
	if (code == 0)
		code = ferry_cli_take_pid("stat", argc, argv, &asked.pid);
	return code != 0 ? code : run(&asked);
}
