/* SPDX-License-Identifier: MIT */
/* segment.c - see segment.h. */
#define _GNU_SOURCE
#include "runtime/segment.h"

#include "base/size.h"
#include "runtime/hostinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* The nodes of the default machine, or those whose sizes are still open. */
enum { DEFAULT_NODES = 2 };

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t host_bytes(void)
{
	return min_u64(ferry_hostinfo_available_bytes(), ferry_hostinfo_cgroup_limit_bytes());
}

/* Equal shares of what the host has. */
static int share_host(struct ferry_machine *machine, char *error)
{
	uint64_t share = ferry_huge_down(host_bytes() / machine->node_count);

	if (share == 0) {
		(void)snprintf(error, FERRY_SPEC_ERROR_MAX,
			       "the memory of this host is too small for %u nodes of 2 MiB; "
			       "give sizes with --nodes NxSIZE",
			       machine->node_count);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < machine->node_count; i++)
		ferry_machine_nodes(machine)[i].capacity_pages = share >> FERRY_PAGE_SHIFT;
	return 0;
}

static int take_nodes(const struct ferry_machine_spec *spec, struct ferry_machine *machine,
		      char *warning, char *error)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < machine->node_count; i++) {
		const struct ferry_node_spec *asked = &spec->nodes[i];
		struct ferry_node *node = &ferry_machine_nodes(machine)[i];

		if (asked->real_node >= 0 && !ferry_hostinfo_has_node(asked->real_node)) {
			(void)snprintf(error, FERRY_SPEC_ERROR_MAX,
				       "this host has no memory node %d", asked->real_node);
			return -ENODEV;
		}
		node->kind = asked->kind;
		node->real_node = asked->real_node;
		node->capacity_pages = asked->size_bytes >> FERRY_PAGE_SHIFT;
		if (__builtin_add_overflow(sum, asked->size_bytes, &sum))
			sum = UINT64_MAX;
	}
	if (sum == 0) {
		(void)snprintf(error, FERRY_SPEC_ERROR_MAX, "at least one node needs memory");
		return -EINVAL;
	}
	if (sum > host_bytes()) {
		char asked[FERRY_SIZE_TEXT], has[FERRY_SIZE_TEXT];

		(void)ferry_size_print(sum, asked, sizeof(asked));
		(void)ferry_size_print(host_bytes(), has, sizeof(has));
		(void)snprintf(warning, FERRY_SPEC_ERROR_MAX,
			       "the nodes have %s together, this host has %s available", asked,
			       has);
	}
	return 0;
}

static const struct ferry_node_spec *asked_of(const struct ferry_machine_spec *spec, uint32_t node)
{
	static const struct ferry_node_spec nothing;

	return spec->nodes == NULL ? &nothing : &spec->nodes[node];
}

/* CPUs that nodes name. => 0, -EINVAL (one is named twice). */
static int deal_named_cpus(const struct ferry_machine_spec *spec, struct ferry_machine *machine,
			   char *error)
{
	int16_t *cpu_nodes = ferry_machine_cpu_nodes(machine);

	for (uint32_t i = 0; i < machine->node_count; i++) {
		for (uint32_t cpu = 0; cpu < FERRY_CPUS_MAX; cpu++) {
			if (!ferry_cpuset_has(&asked_of(spec, i)->cpus, cpu))
				continue;
			if (cpu_nodes[cpu] >= 0) {
				(void)snprintf(error, FERRY_SPEC_ERROR_MAX,
					       "CPU %u is given to node %d and to node %u", cpu,
					       cpu_nodes[cpu], i);
				return -EINVAL;
			}
			cpu_nodes[cpu] = (int16_t)i;
		}
	}
	return 0;
}

/* All others, in turn to the nodes that have memory and name none; if there are no such nodes, to
 * those that have memory. */
static void deal_other_cpus(const struct ferry_machine_spec *spec, struct ferry_machine *machine)
{
	int16_t *cpu_nodes = ferry_machine_cpu_nodes(machine);
	const struct ferry_node *nodes = ferry_machine_nodes(machine);
	uint32_t count = ferry_hostinfo_cpu_count(), turn = 0;
	bool open = false;

	for (uint32_t i = 0; i < machine->node_count; i++)
		open |= !asked_of(spec, i)->has_cpus && nodes[i].capacity_pages != 0;
	for (uint32_t cpu = 0; cpu < count && cpu < FERRY_CPUS_MAX;) {
		bool fits = nodes[turn].capacity_pages != 0 &&
			    !(open && asked_of(spec, turn)->has_cpus);

		if (cpu_nodes[cpu] >= 0) {
			cpu++;
			continue;
		}
		if (fits)
			cpu_nodes[cpu++] = (int16_t)turn;
		turn = turn + 1 == machine->node_count ? 0 : turn + 1;
	}
}

static int fill(const struct ferry_machine_spec *spec, struct ferry_machine *machine, char *warning,
		char *error)
{
	int result = spec->nodes == NULL ? share_host(machine, error)
					 : take_nodes(spec, machine, warning, error);

	if (result == 0)
		result = deal_named_cpus(spec, machine, error);
	if (result == 0)
		deal_other_cpus(spec, machine);
	for (uint32_t i = 0; i < machine->node_count; i++) {
		if (ferry_machine_nodes(machine)[i].capacity_pages == 0)
			ferry_nodeset_add(&machine->unusable, i);
	}
	if (result == 0 && spec->mems != NULL)
		result = ferry_spec_mems(spec->mems, machine, &machine->mems, error);
	if (result == 0 && spec->policy != NULL)
		result = ferry_spec_policy(spec->policy, machine, &machine->policy, error);
	machine->keeper_pid = getpid();
	machine->contract = spec->contract;
	machine->thp = spec->thp;
	machine->copy_path = spec->copy_path;
	machine->strict = spec->strict;
	if (spec->max_count != 0)
		machine->max_count = spec->max_count;
	if (spec->stall_budget_ns != 0)
		machine->stall_budget_ns = spec->stall_budget_ns;
	(void)snprintf(machine->name, sizeof(machine->name), "%d", machine->keeper_pid);
	return result;
}

int ferry_segment_memory(const char *name, uint64_t size, void **memory, int *fd)
{
	int writable = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), error = 0;
	char path[64];

	*memory = MAP_FAILED;
	*fd = -1;
	if (writable < 0)
		return -errno;
	if (ftruncate(writable, (off_t)size) == 0)
		*memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
			       writable, 0);
	if (*memory == MAP_FAILED ||
	    fcntl(writable, F_ADD_SEALS,
		  F_SEAL_FUTURE_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
		error = -errno;
		goto out;
	}
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", writable);
	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		error = -errno;
out:
	(void)close(writable);
	if (error != 0 && *memory != MAP_FAILED)
		(void)munmap(*memory, size);
	return error;
}

int ferry_segment_create(const struct ferry_machine_spec *spec, struct ferry_machine **machine,
			 int *fd, char *warning, char *error)
{
	uint32_t node_count = spec->node_count != 0 ? spec->node_count : DEFAULT_NODES;
	void *memory;
	int result = ferry_segment_memory("pageferry-machine", ferry_machine_size_bytes(node_count),
					  &memory, fd);

	warning[0] = '\0';
	if (result != 0) {
		(void)snprintf(error, FERRY_SPEC_ERROR_MAX,
			       "the machine segment cannot be made: %s", strerror(-result));
		return result;
	}
	*machine = memory;
	ferry_machine_layout(*machine, node_count);
	result = fill(spec, *machine, warning, error);
	if (result != 0) {
		ferry_segment_unmap(*machine);
		(void)close(*fd);
	}
	return result;
}

int ferry_segment_map(int fd, const struct ferry_machine **machine)
{
	struct stat status;
	void *memory;
	int seals = fcntl(fd, F_GET_SEALS);

	/* Without the seal the owner could cut it while we read. */
	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
		return -EPROTO;
	if (fstat(fd, &status) != 0)
		return -errno;
	if (status.st_size < (off_t)sizeof(struct ferry_machine) ||
	    status.st_size > (off_t)ferry_machine_size_bytes(FERRY_NODES_MAX))
		return -EPROTO;
	memory = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	if (ferry_machine_validate(memory, (size_t)status.st_size) != 0) {
		(void)munmap(memory, (size_t)status.st_size);
		return -EPROTO;
	}
	*machine = memory;
	return 0;
}

void ferry_segment_unmap(const struct ferry_machine *machine)
{
	(void)munmap((void *)(uintptr_t)machine, machine->size_bytes);
}
