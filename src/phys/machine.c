/* SPDX-License-Identifier: MIT */
/*
 * machine.c - see machine.h.
 *
 * Layout: header | nodes[] | distances[] | cpu_nodes[] | processes[] | mems[], each part on a cache
 * line.
 */
#include <errno.h>
#include <string.h>

#include "phys/machine.h"

struct layout {
	uint64_t nodes, distances, cpu_nodes, processes, mems, end;
};

static uint64_t aligned(uint64_t offset)
{
	return (offset + 63) & ~(uint64_t)63;
}

static struct layout layout_of(uint32_t node_count)
{
	struct layout layout;
	uint64_t n = node_count;

	layout.nodes = aligned(sizeof(struct ferry_machine));
	layout.distances = aligned(layout.nodes + n * sizeof(struct ferry_node));
	layout.cpu_nodes = aligned(layout.distances + n * n);
	layout.processes = aligned(layout.cpu_nodes + FERRY_CPUS_MAX * sizeof(int16_t));
	layout.mems = aligned(layout.processes +
			      FERRY_PROCESSES_MAX * sizeof(struct ferry_process));
	layout.end =
		ferry_page_up(layout.mems + FERRY_PROCESSES_MAX * sizeof(struct ferry_nodeset));
	return layout;
}

uint64_t ferry_machine_size_bytes(uint32_t node_count)
{
	return layout_of(node_count).end;
}

void ferry_machine_layout(struct ferry_machine *machine, uint32_t node_count)
{
	struct layout layout = layout_of(node_count);
	uint8_t *distances;
	int16_t *cpu_nodes;

	machine->magic = FERRY_MACHINE_MAGIC;
	machine->version = FERRY_MACHINE_VERSION;
	machine->node_count = node_count;
	machine->size_bytes = layout.end;
	machine->stall_budget_ns = 1000000;
	machine->policy.mode = FERRY_POLICY_LOCAL;
	ferry_nodeset_fill(&machine->policy.nodes, node_count);
	ferry_nodeset_fill(&machine->mems, node_count);
	machine->max_count = FERRY_COUNT_MAX;
	machine->nodes_offset = layout.nodes;
	machine->distances_offset = layout.distances;
	machine->cpu_nodes_offset = layout.cpu_nodes;
	machine->processes_offset = layout.processes;
	machine->mems_offset = layout.mems;
	for (uint32_t i = 0; i < node_count; i++)
		ferry_machine_nodes(machine)[i].real_node = -1;
	distances = ferry_machine_distances(machine);
	memset(distances, 20, (size_t)node_count * node_count);
	for (uint32_t i = 0; i < node_count; i++)
		distances[(size_t)i * node_count + i] = 10;
	cpu_nodes = ferry_machine_cpu_nodes(machine);
	for (uint32_t i = 0; i < FERRY_CPUS_MAX; i++)
		cpu_nodes[i] = -1;
}

int ferry_machine_validate(const struct ferry_machine *machine, size_t size_bytes)
{
	struct layout layout;

	if (size_bytes < sizeof(*machine) || machine->magic != FERRY_MACHINE_MAGIC ||
	    machine->version != FERRY_MACHINE_VERSION || machine->node_count == 0 ||
	    machine->node_count > FERRY_NODES_MAX)
		return -EINVAL;
	layout = layout_of(machine->node_count);
	if (machine->size_bytes != layout.end || size_bytes < layout.end ||
	    machine->nodes_offset != layout.nodes ||
	    machine->distances_offset != layout.distances ||
	    machine->cpu_nodes_offset != layout.cpu_nodes ||
	    machine->processes_offset != layout.processes || machine->mems_offset != layout.mems)
		return -EINVAL;
	return 0;
}

/* A counting sort by distance: it is stable, and machines of a thousand nodes need a thousand. */
void ferry_machine_fallback(const struct ferry_machine *machine, uint32_t node, uint16_t *order)
{
	uint32_t count = machine->node_count;
	const uint8_t *row = ferry_machine_distances(machine) + (size_t)node * count;
	uint32_t place[256 + 1] = { 0 };

	for (uint32_t i = 0; i < count; i++) {
		if (i != node)
			place[row[i] + 1u]++;
	}
	place[0] = 1;
	for (uint32_t d = 1; d <= 256; d++)
		place[d] += place[d - 1];
	order[0] = (uint16_t)node;
	for (uint32_t i = 1; i < count; i++) {
		uint32_t other = (node + i) % count;

		order[place[row[other]]++] = (uint16_t)other;
	}
}
