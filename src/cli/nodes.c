/* SPDX-License-Identifier: MIT */
/* nodes.c - see nodes.h. */
#include "cli/nodes.h"

static uint64_t load(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static void write_share(struct ferry_writer *writer, const struct ferry_node_count *count)
{
	ferry_writer_cell_size(writer, load(&count->leased_pages) << FERRY_PAGE_SHIFT);
	ferry_writer_cell_u64(writer, load(&count->mapped_pages));
	ferry_writer_cell_u64(writer, load(&count->held_pages));
	ferry_writer_cell_u64(writer, load(&count->shared_pages));
	ferry_writer_cell_u64(writer, load(&count->filled_pages));
}

static const char *state_of(const struct ferry_machine *machine, uint32_t number)
{
	if (ferry_machine_nodes(machine)[number].capacity_pages == 0)
		return "memoryless";
	return ferry_machine_has_memory(machine, number) ? "online" : "offline";
}

static void write_node(struct ferry_writer *writer, const struct ferry_machine *machine,
		       uint32_t number)
{
	const struct ferry_node *node = &ferry_machine_nodes(machine)[number];
	uint64_t leased = load(&node->leased_pages), capacity = node->capacity_pages;
	uint64_t free = capacity > leased ? capacity - leased : 0;

	ferry_writer_cell_u64(writer, number);
	ferry_writer_cell_string(writer, node->kind == FERRY_NODE_RAM ? "ram" : "?");
	ferry_writer_cell_size(writer, capacity << FERRY_PAGE_SHIFT);
	ferry_writer_cell_size(writer, leased << FERRY_PAGE_SHIFT);
	ferry_writer_cell_size(writer, free << FERRY_PAGE_SHIFT);
	ferry_writer_cell_size(writer, load(&node->over_pages) << FERRY_PAGE_SHIFT);
	ferry_writer_cell_string(writer, state_of(machine, number));
}

void ferry_cli_write_nodes(struct ferry_writer *writer, const struct ferry_machine *machine,
			   const struct ferry_books *books)
{
	static const struct ferry_column columns[] = {
		{ "node", "NODE", 4 },
		{ "kind", "KIND", -4 },
		{ "capacity_bytes", "CAPACITY", 10 },
		{ "used_bytes", "USED", 10 },
		{ "free_bytes", "FREE", 10 },
		{ "over_bytes", "OVER", 9 },
		{ "state", "STATE", -10 },
		/* of one process */
		{ "leased_bytes", "LEASED", 10 },
		{ "mapped_pages", "PAGES", 10 },
		{ "held_pages", "AWAY", 6 },
		{ "shared_pages", "SHARED", 8 },
		{ "filled_pages", "READY", 7 },
	};
	uint32_t count = books == NULL ? 7 : FERRY_ARRAY_SIZE(columns);

	ferry_writer_rows_begin(writer, "nodes", columns, count);
	for (uint32_t i = 0; i < machine->node_count; i++) {
		ferry_writer_row_begin(writer);
		write_node(writer, machine, i);
		if (books != NULL)
			write_share(writer, &ferry_books_node_counts(books)[i]);
		ferry_writer_row_end(writer);
	}
	ferry_writer_rows_end(writer);
}
