/* SPDX-License-Identifier: MIT */
/* maps.c - `pageferry maps`: where the pages of a process are, by mapping or page by page. */
#define _GNU_SOURCE
#include "cli/cli.h"
#include "cli/regions.h"
#include "cli/target.h"

#include "map/ptable.h"
#include "runtime/remote.h"
#include "runtime/spec.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBJECT_PAGES = 4096 };

/* Pages of a range by where they are. */
struct count {
	uint64_t *node; /* node_count of them */
	uint64_t managed, absent, zero, huge, away;
};

struct view {
	struct ferry_writer writer;
	struct ferry_client *client;
	const struct ferry_books *books;
	struct ferry_cli_regions regions;
	struct ferry_cli_mapping pending; /* read, not yet written */
	struct count count, total;
};

/* --- by mapping -------------------------------------------------------------------------- */

static void count_page(const struct view *view, struct count *count, struct ferry_pte pte)
{
	uint32_t node = ferry_pte_frame(pte).node;

	if (ferry_pte_state(pte) == FERRY_PTE_ZERO) {
		count->zero++;
	} else if (!ferry_pte_resident(pte) || node >= view->books->node_count) {
		count->absent++;
	} else {
		count->node[node]++;
		count->huge += ferry_pte_has(pte, FERRY_PTE_HUGE) ? 1 : 0;
		count->away += ferry_pte_state(pte) == FERRY_PTE_HELD ? 1 : 0;
	}
}

/* Pages of an object: where they are, if they are in the process's page table. */
static void each_object_page(struct view *view, ferry_va start, ferry_va end,
			     void (*visit)(void *context, ferry_va va, int node), void *context)
{
	int status[OBJECT_PAGES];

	while (start < end) {
		size_t pages = (end - start) >> FERRY_PAGE_SHIFT;

		pages = pages < OBJECT_PAGES ? pages : OBJECT_PAGES;
		if (ferry_remote_query_range(view->client, start, pages, status) != 0)
			return;
		for (size_t i = 0; i < pages; i++, start += FERRY_PAGE_SIZE)
			visit(context, start, status[i]);
	}
}

static void count_object_page(void *context, ferry_va va, int node)
{
	struct view *view = context;

	(void)va;
	if (node >= 0 && (uint32_t)node < view->books->node_count)
		view->count.node[node]++;
	else
		view->count.absent++;
}

static void count_part(void *context, ferry_va start, ferry_va end,
		       const struct ferry_region *region)
{
	struct view *view = context;
	struct count *count = &view->count;
	ferry_va va = start;

	if (region == NULL)
		return;
	count->managed += (end - start) >> FERRY_PAGE_SHIFT;
	if ((region->flags & FERRY_REGION_SHARED) != 0) {
		each_object_page(view, start, end, count_object_page, view);
		return;
	}
	while (va < end) {
		ferry_va leaf = ferry_ptable_next_leaf(view->books, va, end);
		ferry_va stop = ferry_huge_down(leaf) + FERRY_HUGE_SIZE;

		if (leaf > va) {
			count->absent += (leaf - va) >> FERRY_PAGE_SHIFT;
			va = leaf;
		}
		for (stop = stop < end ? stop : end; va < stop; va += FERRY_PAGE_SIZE)
			count_page(view, count, ferry_ptable_get(view->books, va));
	}
}

static void add_to_total(struct view *view)
{
	const struct count *count = &view->count;
	struct count *total = &view->total;

	for (uint32_t i = 0; i < view->books->node_count; i++)
		total->node[i] += count->node[i];
	total->managed += count->managed;
	total->absent += count->absent;
	total->zero += count->zero;
	total->huge += count->huge;
	total->away += count->away;
}

static bool is_arena(const struct ferry_books *books, const struct ferry_cli_mapping *mapping)
{
	for (uint32_t i = 0; i < books->node_count; i++) {
		const struct ferry_node_count *node = &ferry_books_node_counts(books)[i];

		if ((node->small_arena >= mapping->start && node->small_arena < mapping->end) ||
		    (node->huge_arena >= mapping->start && node->huge_arena < mapping->end))
			return true;
	}
	return false;
}

static void write_counts(struct view *view, const struct count *count)
{
	ferry_writer_cells_u64(&view->writer, count->node, view->books->node_count);
	ferry_writer_cell_u64(&view->writer, count->absent);
	ferry_writer_cell_u64(&view->writer, count->zero);
	ferry_writer_cell_u64(&view->writer, count->huge);
	ferry_writer_cell_u64(&view->writer, count->away);
}

static const char *managed_text(const struct view *view, const struct count *count)
{
	uint64_t pages = (view->pending.end - view->pending.start) >> FERRY_PAGE_SHIFT;

	return count->managed == 0 ? "no" : count->managed == pages ? "yes" : "part";
}

/* Writes the mapping that was put off, if there is one. */
static void write_pending(struct view *view)
{
	const struct ferry_cli_mapping *mapping = &view->pending;
	struct count *count = &view->count;
	uint64_t *node = count->node;
	const char *name = mapping->name;

	if (mapping->start == mapping->end)
		return;
	memset(node, 0, view->books->node_count * sizeof(*node));
	memset(count, 0, sizeof(*count));
	count->node = node;
	ferry_cli_regions_each(&view->regions, mapping->start, mapping->end, count_part, view);
	add_to_total(view);
	if (name[0] == '\0')
		name = is_arena(view->books, mapping) ? "[pageferry arena]" : "[anon]";
	ferry_writer_row_begin(&view->writer);
	ferry_writer_cell_hex(&view->writer, mapping->start);
	ferry_writer_cell_hex(&view->writer, mapping->end);
	ferry_writer_cell_size(&view->writer, mapping->end - mapping->start);
	ferry_writer_cell_string(&view->writer, mapping->permissions);
	ferry_writer_cell_string(&view->writer, managed_text(view, count));
	write_counts(view, count);
	ferry_writer_cell_string(&view->writer, name);
	ferry_writer_row_end(&view->writer);
}

static bool is_managed_at(const struct view *view, ferry_va va)
{
	for (uint32_t i = 0; i < view->regions.count; i++) {
		if (va < view->regions.region[i].end)
			return va >= view->regions.region[i].start;
	}
	return false;
}

/* The host splits mappings for reasons that nobody wants to see: neighbours are put together. */
static int take_mapping(void *context, const struct ferry_cli_mapping *mapping)
{
	struct view *view = context;
	struct ferry_cli_mapping *pending = &view->pending;

	if (pending->end == mapping->start && pending->start != pending->end &&
	    strcmp(pending->name, mapping->name) == 0 &&
	    strcmp(pending->permissions, mapping->permissions) == 0 &&
	    is_managed_at(view, pending->start) == is_managed_at(view, mapping->start)) {
		pending->end = mapping->end;
		return 0;
	}
	write_pending(view);
	*pending = *mapping;
	return 0;
}

static void write_total_line(struct view *view)
{
	ferry_writer_row_begin(&view->writer);
	ferry_writer_cell_string(&view->writer, "managed");
	ferry_writer_cell_string(&view->writer, "in all");
	ferry_writer_cell_size(&view->writer, view->total.managed << FERRY_PAGE_SHIFT);
	ferry_writer_cell_string(&view->writer, "");
	ferry_writer_cell_string(&view->writer, "");
	write_counts(view, &view->total);
	ferry_writer_cell_string(&view->writer, "");
	ferry_writer_row_end(&view->writer);
}

static void write_totals(struct view *view)
{
	ferry_writer_begin(&view->writer, "totals");
	ferry_writer_u64(&view->writer, "managed_pages", NULL, view->total.managed);
	ferry_writer_array_begin(&view->writer, "pages");
	for (uint32_t i = 0; i < view->books->node_count; i++)
		ferry_writer_element_u64(&view->writer, view->total.node[i]);
	ferry_writer_array_end(&view->writer);
	ferry_writer_u64(&view->writer, "absent_pages", NULL, view->total.absent);
	ferry_writer_u64(&view->writer, "zero_pages", NULL, view->total.zero);
	ferry_writer_u64(&view->writer, "huge_pages", NULL, view->total.huge);
	ferry_writer_u64(&view->writer, "away_pages", NULL, view->total.away);
	ferry_writer_end(&view->writer);
}

/* => node_count columns more than the fixed ones, or NULL. titles: room for the nodes' names. */
static struct ferry_column *make_columns(uint32_t node_count, char (*titles)[16])
{
	static const struct ferry_column before[] = {
		{ "start", "START", -14 },    { "end", "END", -14 },
		{ "size_bytes", "SIZE", 9 },  { "permissions", "PERM", -4 },
		{ "managed", "MANAGED", -7 },
	};
	static const struct ferry_column after[] = {
		{ "absent_pages", "ABSENT", 8 }, { "zero_pages", "ZERO", 6 },
		{ "huge_pages", "HUGE", 7 },     { "away_pages", "AWAY", 5 },
		{ "name", "NAME", 0 },
	};
	const uint32_t fixed = FERRY_ARRAY_SIZE(before);
	struct ferry_column *columns =
		calloc(fixed + node_count + FERRY_ARRAY_SIZE(after), sizeof(*columns));

	if (columns == NULL)
		return NULL;
	memcpy(columns, before, sizeof(before));
	memcpy(columns + fixed + node_count, after, sizeof(after));
	for (uint32_t i = 0; i < node_count; i++) {
		(void)snprintf(titles[i], sizeof(titles[i]), "NODE%u", i);
		columns[fixed + i] = (struct ferry_column){ "pages", titles[i], 8 };
	}
	return columns;
}

static int write_mappings(struct view *view, int32_t pid)
{
	uint32_t node_count = view->books->node_count;
	char(*titles)[16] = calloc(node_count, sizeof(*titles));
	struct ferry_column *columns = titles == NULL ? NULL : make_columns(node_count, titles);
	int error;

	view->count.node = calloc(node_count, sizeof(*view->count.node));
	view->total.node = calloc(node_count, sizeof(*view->total.node));
	if (columns == NULL || view->count.node == NULL || view->total.node == NULL)
		return ferry_cli_fail(FERRY_CLI_FAILED, "out of memory");
	ferry_writer_rows_begin(&view->writer, "mappings", columns, 10 + node_count);
	error = ferry_cli_each_mapping(pid, take_mapping, view);
	write_pending(view);
	if (view->writer.mode == FERRY_WRITER_TABLE)
		write_total_line(view);
	ferry_writer_rows_end(&view->writer);
	write_totals(view);
	free(columns);
	free(titles);
	free(view->count.node);
	free(view->total.node);
	return error == 0 ? 0 : ferry_cli_explain(pid, error);
}

/* --- page by page ------------------------------------------------------------------------ */

/* A run of pages that are alike. */
struct run {
	struct view *view;
	ferry_va start, end; /* empty: none yet */
	uint64_t kind;       /* what makes pages alike */
};

enum { KIND_UNMANAGED = 1 << 30, KIND_OBJECT = 1 << 29 };

/*
 * Node, state and the flags worth telling. The frame number is not, nor whether a page was placed
 * ahead: it would cut every run into pieces of 64.
 */
static uint64_t kind_of(struct ferry_pte pte)
{
	const uint64_t flags =
		FERRY_PTE_COW | FERRY_PTE_HUGE | FERRY_PTE_THREAD | FERRY_PTE_NO_SLOT;
	uint64_t node = ferry_pte_resident(pte) ? ferry_pte_frame(pte).node : 0;

	return (pte.word & 3) | (pte.word & flags) | node << 16;
}

static const char *state_text(uint64_t kind)
{
	if ((kind & KIND_UNMANAGED) != 0)
		return "unmanaged";
	switch (kind & 3) {
	case FERRY_PTE_NONE:
		return "absent";
	case FERRY_PTE_ZERO:
		return "zero";
	case FERRY_PTE_MAPPED:
		return "present";
	default:
		return "away";
	}
}

static void flags_text(uint64_t kind, char *text, size_t size)
{
	static const struct {
		uint64_t flag;
		const char *name;
	} names[] = {
		{ FERRY_PTE_HUGE, "huge" },
		{ FERRY_PTE_COW, "shared" },
		{ FERRY_PTE_THREAD, "thread" },
		{ FERRY_PTE_NO_SLOT, "fixed" },
		{ KIND_OBJECT, "object" },
	};

	text[0] = '\0';
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(names); i++) {
		size_t used = strlen(text);

		if ((kind & names[i].flag) != 0)
			(void)snprintf(text + used, size - used, "%s%s", used == 0 ? "" : ",",
				       names[i].name);
	}
}

static void write_run(struct run *run)
{
	struct ferry_writer *writer = &run->view->writer;
	char flags[64];

	if (run->start == run->end)
		return;
	flags_text((run->kind & KIND_UNMANAGED) != 0 ? 0 : run->kind, flags, sizeof(flags));
	ferry_writer_row_begin(writer);
	ferry_writer_cell_hex(writer, run->start);
	ferry_writer_cell_hex(writer, run->end);
	ferry_writer_cell_u64(writer, (run->end - run->start) >> FERRY_PAGE_SHIFT);
	if ((run->kind & KIND_UNMANAGED) == 0 && (run->kind & 2) != 0)
		ferry_writer_cell_u64(writer, run->kind >> 16 & (FERRY_NODES_MAX - 1));
	else
		ferry_writer_cell_none(writer);
	ferry_writer_cell_string(writer, state_text(run->kind));
	ferry_writer_cell_string(writer, flags);
	ferry_writer_row_end(writer);
}

static void add_to_run(struct run *run, ferry_va start, ferry_va end, uint64_t kind)
{
	if (start == end)
		return;
	if (run->start == run->end || run->kind != kind || run->end != start) {
		write_run(run);
		run->start = start;
		run->kind = kind;
	}
	run->end = end;
}

static void run_object_page(void *context, ferry_va va, int node)
{
	uint64_t kind = node < 0 ? FERRY_PTE_NONE : FERRY_PTE_MAPPED | (uint64_t)node << 16;

	add_to_run(context, va, va + FERRY_PAGE_SIZE, kind | KIND_OBJECT);
}

static void run_part(void *context, ferry_va start, ferry_va end,
		     const struct ferry_region *region)
{
	struct run *run = context;
	const struct ferry_books *books = run->view->books;
	ferry_va va = start;

	if (region == NULL) {
		add_to_run(run, start, end, KIND_UNMANAGED);
		return;
	}
	if ((region->flags & FERRY_REGION_SHARED) != 0) {
		each_object_page(run->view, start, end, run_object_page, run);
		return;
	}
	while (va < end) {
		ferry_va leaf = ferry_ptable_next_leaf(books, va, end);
		ferry_va stop = ferry_huge_down(leaf) + FERRY_HUGE_SIZE;

		add_to_run(run, va, leaf, FERRY_PTE_NONE);
		for (stop = stop < end ? stop : end, va = leaf; va < stop; va += FERRY_PAGE_SIZE)
			add_to_run(run, va, va + FERRY_PAGE_SIZE,
				   kind_of(ferry_ptable_get(books, va)));
	}
}

static int write_pages(struct view *view, ferry_va start, ferry_va end)
{
	static const struct ferry_column columns[] = {
		{ "start", "START", -14 }, { "end", "END", -14 },    { "pages", "PAGES", 9 },
		{ "node", "NODE", 5 },     { "state", "STATE", -9 }, { "flags", "FLAGS", 0 },
	};
	struct run run = { .view = view };

	ferry_writer_rows_begin(&view->writer, "runs", columns, FERRY_ARRAY_SIZE(columns));
	ferry_cli_regions_each(&view->regions, ferry_page_down(start), ferry_page_up(end), run_part,
			       &run);
	write_run(&run);
	ferry_writer_rows_end(&view->writer);
	return 0;
}

/* --- options ----------------------------------------------------------------------------- */

struct asked {
	int32_t pid;
	bool json, pages;
	ferry_va start, end;
};

static int show(const struct asked *asked)
{
	struct ferry_client client;
	struct view view;
	int code = ferry_cli_open(&client, asked->pid, FERRY_CLIENT_LOOK), error;

	if (code != 0)
		return code;
	memset(&view, 0, sizeof(view));
	view.client = &client;
	view.books = client.books;
	error = ferry_cli_regions_read(client.books, &view.regions);
	if (error != 0) {
		ferry_client_close(&client);
		return ferry_cli_explain(asked->pid, error);
	}
	ferry_cli_writer(&view.writer, asked->json);
	ferry_cli_document(&view.writer, "maps");
	ferry_writer_s64(&view.writer, "pid", NULL, asked->pid);
	ferry_writer_u64(&view.writer, "page_bytes", NULL, FERRY_PAGE_SIZE);
	code = asked->pages ? write_pages(&view, asked->start, asked->end)
			    : write_mappings(&view, asked->pid);
	ferry_writer_end(&view.writer);
	ferry_cli_regions_free(&view.regions);
	ferry_client_close(&client);
	return ferry_cli_finish(code);
}

int ferry_cli_maps(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "pages", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct asked asked = { .json = false };
	int option, code;

	while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			asked.json = true;
			break;
		case 'p':
			asked.pages = true;
			if (ferry_spec_range(optarg, &asked.start, &asked.end) != 0)
				return ferry_cli_usage("maps",
						       "'%s' is no range: write START-END or "
						       "START+SIZE, addresses in hexadecimal",
						       optarg);
			break;
		case 'h':
			ferry_cli_print_help(ferry_cli_find("maps"));
			return FERRY_CLI_OK;
		default:
			return ferry_cli_bad_option("maps", option, argv);
		}
	}
	code = ferry_cli_take_pid("maps", argc, argv, &asked.pid);
	return code != 0 ? code : show(&asked);
}
