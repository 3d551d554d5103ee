/* SPDX-License-Identifier: MIT */
/*
 * machine.h - what a machine is made of: nodes, distances, CPUs, tunables, processes.
 *
 * This is the layout of the machine segment. The keeper writes it, everybody else maps it
 * read-only; it holds no pointers. All sizes are in pages unless named otherwise.
 *
 * Letters: (c) fixed before the first process joins, (a) atomic, written by the keeper only.
 */
#ifndef FERRY_PHYS_MACHINE_H
#define FERRY_PHYS_MACHINE_H

#include "base/nodeset.h"
#include "base/types.h"

#define FERRY_MACHINE_MAGIC 0x315952524546u /* "FERRY1" */

enum { FERRY_MACHINE_VERSION = 2, FERRY_PROCESSES_MAX = 4096, FERRY_CPUS_MAX = 1024 };

/* Entries of a move_pages() call, unless the machine has a lower limit: indices are 32 bits. */
#define FERRY_COUNT_MAX ((UINT64_C(1) << 31) - 1)

enum ferry_node_kind { FERRY_NODE_RAM = 0 };

enum ferry_policy_mode {
	FERRY_POLICY_LOCAL = 0, /* node of the faulting CPU, then its fallback order */
	FERRY_POLICY_BIND,      /* nearest of the set; nothing outside it */
	FERRY_POLICY_INTERLEAVE /* pages of the set's nodes in turn, by page number */
};

struct ferry_policy {
	uint32_t mode; /* enum ferry_policy_mode */
	uint32_t spare;
	struct ferry_nodeset nodes;
};

enum ferry_thp { FERRY_THP_MADVISE = 0, FERRY_THP_ALWAYS, FERRY_THP_NEVER };

/* Where UFFDIO_MOVE is left alone though the host has it: for tests. */
enum ferry_copy_path {
	FERRY_COPY_PATH_NO = 0,
	FERRY_COPY_PATH_IN,   /* pages come in by UFFDIO_COPY */
	FERRY_COPY_PATH_BOTH, /* and they go out as on hosts without UFFDIO_MOVE */
};

enum ferry_contract {
	FERRY_CONTRACT_BY_DOOR = 0,
	FERRY_CONTRACT_SEED_ALL,
	FERRY_CONTRACT_LINUX_ALL
};

struct ferry_node {
	uint32_t kind;                /* (c) enum ferry_node_kind */
	int32_t real_node;            /* (c) host node behind it, -1: any */
	uint64_t capacity_pages;      /* (c) 0: memoryless */
	uint64_t leased_pages;        /* (a) granted to processes, may exceed capacity by over */
	uint64_t over_pages;          /* (a) max(leased - capacity, 0) */
	uint64_t failed_requests;     /* (a) leases refused */
};

enum ferry_process_state {
	FERRY_PROCESS_FREE = 0,
	FERRY_PROCESS_JOINING,
	FERRY_PROCESS_ALIVE,
	FERRY_PROCESS_ORPHAN, /* its agent was killed, its pages came home: it may join again */
	FERRY_PROCESS_LEFT,   /* its agent gave up, its pages came home: it runs on unmanaged */
	FERRY_PROCESS_ASLEEP, /* its agent has not had to do anything yet: woken by `wake` */
};

struct ferry_process {
	uint32_t state;         /* (a) enum ferry_process_state */
	int32_t pid;            /* (a) */
	int32_t agent_pid;      /* (a) 0: none yet */
	uint32_t joins;         /* (a) counts re-use of this slot */
	uint64_t start_time_ns; /* (a) CLOCK_MONOTONIC at join */
	uint32_t wake;          /* (a) futex: 1: the keeper needs the agent that sleeps */
	uint32_t family;        /* (a) shared by a program and those that it forked, and they */
};

struct ferry_machine {
	uint64_t magic;       /* (c) FERRY_MACHINE_MAGIC */
	uint32_t version;     /* (c) */
	uint32_t node_count;  /* (c) */
	uint64_t size_bytes;  /* (c) of the whole segment */
	char name[32];        /* (c) the machine's id, as `pageferry ps` shows it */
	int32_t keeper_pid;   /* (c) */
	uint32_t contract;    /* (c) enum ferry_contract */
	uint32_t thp;         /* (c) enum ferry_thp */
	uint32_t copy_path;   /* (c) enum ferry_copy_path */
	uint64_t stall_budget_ns; /* (c) default of a batch: 1 ms */
	uint32_t strict;      /* (c) 1: programs that cannot be managed are not executed */
	uint32_t arrivals;    /* (a) processes that have become ALIVE or ASLEEP */
	struct ferry_policy policy; /* (c) */
	struct ferry_nodeset mems;     /* (c) of processes that inherit none */
	struct ferry_nodeset unusable; /* (a) nodes without memory, and nodes that are offline */
	uint64_t max_count;            /* (c) entries of a move_pages() call */
	uint64_t nodes_offset;      /* (c) struct ferry_node[node_count] */
	uint64_t distances_offset;  /* (c) uint8_t[node_count * node_count], 10 = local */
	uint64_t cpu_nodes_offset;  /* (c) int16_t[FERRY_CPUS_MAX]: node of each CPU */
	uint64_t processes_offset;  /* (c) struct ferry_process[FERRY_PROCESSES_MAX] */
	uint64_t mems_offset;       /* (c) struct ferry_nodeset[FERRY_PROCESSES_MAX]: nodes that
				       each process may use, as cpuset(7)'s mems; each (a) */
};

static inline struct ferry_node *ferry_machine_nodes(const struct ferry_machine *machine)
{
	return (struct ferry_node *)((uintptr_t)machine + machine->nodes_offset);
}

static inline uint8_t *ferry_machine_distances(const struct ferry_machine *machine)
{
	return (uint8_t *)((uintptr_t)machine + machine->distances_offset);
}

static inline int16_t *ferry_machine_cpu_nodes(const struct ferry_machine *machine)
{
	return (int16_t *)((uintptr_t)machine + machine->cpu_nodes_offset);
}

static inline struct ferry_process *ferry_machine_processes(const struct ferry_machine *machine)
{
	return (struct ferry_process *)((uintptr_t)machine + machine->processes_offset);
}

/* Apart from the table, so that a search there stays short. */
static inline struct ferry_nodeset *ferry_machine_mems(const struct ferry_machine *machine,
						       uint32_t process)
{
	return (struct ferry_nodeset *)((uintptr_t)machine + machine->mems_offset) + process;
}

/* A member of a set that the keeper may be changing. */
static inline bool ferry_machine_set_has(const struct ferry_nodeset *set, uint32_t node)
{
	return (__atomic_load_n(&set->word[node / 64], __ATOMIC_RELAXED) >> (node % 64) & 1) != 0;
}

/* Is there such a node, with memory, and online? */
static inline bool ferry_machine_has_memory(const struct ferry_machine *machine, int64_t node)
{
	return node >= 0 && node < machine->node_count &&
	       ferry_machine_nodes(machine)[node].capacity_pages != 0 &&
	       !ferry_machine_set_has(&machine->unusable, (uint32_t)node);
}

/* Bytes that a segment for node_count nodes takes, a multiple of the page size. */
uint64_t ferry_machine_size_bytes(uint32_t node_count);
/*
 * Lays out a zeroed segment of ferry_machine_size_bytes(node_count): header, offsets, distances
 * (10 on the diagonal, 20 elsewhere), CPUs of no node (-1), policy local, 1 ms stall budget, all
 * nodes allowed, 2^31-1 entries a call.
 */
void ferry_machine_layout(struct ferry_machine *machine, uint32_t node_count);
/*
 * Checks a segment of size_bytes that somebody else wrote: magic, version, counts, offsets.
 * => 0, -EINVAL.
 */
FERRY_MUST_CHECK int ferry_machine_validate(const struct ferry_machine *machine, size_t size_bytes);
/* Writes the nodes in order of distance from node, itself first; equal distances in round robin
 * (starting after the asking node). order has room for node_count entries. */
void ferry_machine_fallback(const struct ferry_machine *machine, uint32_t node, uint16_t *order);

#endif
