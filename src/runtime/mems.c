/* SPDX-License-Identifier: MIT */
/* mems.c - see mems.h. */
#define _GNU_SOURCE
#include "runtime/mems.h"

#include "runtime/join.h"
#include "runtime/tasks.h"
#include "runtime/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Generations that are looked back at: a shell in a shell, not a loop in a /proc that lies. */
enum { ANCESTORS_MAX = 64 };

void ferry_mems_init(struct ferry_keeper *keeper)
{
	for (uint32_t i = 0; i < FERRY_MEMS_KEPT_MAX; i++)
		keeper->mems_kept[i].pidfd = -1;
}

/* Is one of the nodes usable, apart from node `without`? */
static bool has_memory(const struct ferry_keeper *keeper, const struct ferry_nodeset *nodes,
		       uint32_t without)
{
	for (uint32_t node = 0; node < keeper->machine->node_count; node++) {
		if (node != without && ferry_machine_set_has(nodes, node) &&
		    ferry_machine_has_memory(keeper->machine, node))
			return true;
	}
	return false;
}

/* Agents read meanwhile: at no instant may a node be missing that is in both sets, nor all. */
static void publish(struct ferry_nodeset *to, const struct ferry_nodeset *nodes)
{
	for (uint32_t i = 0; i < FERRY_ARRAY_SIZE(to->word); i++)
		__atomic_store_n(&to->word[i], to->word[i] | nodes->word[i], __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < FERRY_ARRAY_SIZE(to->word); i++)
		__atomic_store_n(&to->word[i], nodes->word[i], __ATOMIC_RELEASE);
}

/* --- those that have left ----------------------------------------------------------------- */

static void forget(struct ferry_keeper_mems *kept)
{
	(void)close(kept->pidfd);
	kept->pidfd = -1;
}

static struct ferry_keeper_mems *find_kept(struct ferry_keeper *keeper, int32_t pid)
{
	for (uint32_t i = 0; i < FERRY_MEMS_KEPT_MAX; i++) {
		struct ferry_keeper_mems *kept = &keeper->mems_kept[i];

		if (kept->pidfd >= 0 && ferry_watch_has_ended(kept->pidfd))
			forget(kept);
		if (kept->pidfd >= 0 && kept->pid == pid)
			return kept;
	}
	return NULL;
}

static struct ferry_keeper_mems *find_free(struct ferry_keeper *keeper)
{
	for (uint32_t i = 0; i < FERRY_MEMS_KEPT_MAX; i++) {
		if (keeper->mems_kept[i].pidfd < 0)
			return &keeper->mems_kept[i];
	}
	return NULL;
}

static bool is_usual(const struct ferry_keeper *keeper, const struct ferry_nodeset *nodes)
{
	return memcmp(nodes, &keeper->machine->mems, sizeof(*nodes)) == 0;
}

void ferry_mems_keep(struct ferry_keeper *keeper, const struct ferry_keeper_process *process)
{
	const struct ferry_nodeset *nodes = ferry_machine_mems(keeper->machine, process->slot);
	struct ferry_keeper_mems *kept;

	if (process->program_gone || process->program_fd < 0 ||
	    is_usual(keeper, nodes))
		return;
	/* One that has joined again has the set already. */
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		const struct ferry_keeper_process *other = keeper->processes[slot];

		if (other != NULL && other != process && other->pid == process->pid)
			return;
	}
	kept = find_kept(keeper, process->pid);
	if (kept == NULL)
		kept = find_free(keeper);
	if (kept == NULL)
		return; /* it has the machine's set if it comes back */
	if (kept->pidfd < 0)
		kept->pidfd = fcntl(process->program_fd, F_DUPFD_CLOEXEC, 0);
	kept->pid = process->pid;
	kept->nodes = *nodes;
}

/* --- inheritance -------------------------------------------------------------------------- */

static int32_t parent_of(int32_t pid)
{
	struct ferry_task_stat stat;

	return ferry_tasks_stat(pid, &stat) == 0 ? stat.parent : 0;
}

/* The set of the process of that pid: of its newest image but the one in slot `not`. NULL: the
 * machine does not know it. */
static const struct ferry_nodeset *find_set(struct ferry_keeper *keeper, int32_t pid, uint32_t not )
{
	const struct ferry_process *entries = ferry_machine_processes(keeper->machine);
	const struct ferry_keeper_process *newest = NULL;
	const struct ferry_keeper_mems *kept;

	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		const struct ferry_keeper_process *process = keeper->processes[slot];

		if (process == NULL || slot == not || process->pid != pid || process->program_gone)
			continue;
		if (newest == NULL ||
		    entries[slot].start_time_ns > entries[newest->slot].start_time_ns)
			newest = process;
	}
	if (newest != NULL)
		return ferry_machine_mems(keeper->machine, newest->slot);
	kept = find_kept(keeper, pid);
	return kept == NULL ? NULL : &kept->nodes;
}

/* As long as nobody has a set of his own no ancestor need be looked for. */
static bool all_are_usual(struct ferry_keeper *keeper, uint32_t not )
{
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		if (slot != not && keeper->processes[slot] != NULL &&
		    !is_usual(keeper, ferry_machine_mems(keeper->machine, slot)))
			return false;
	}
	for (uint32_t i = 0; i < FERRY_MEMS_KEPT_MAX; i++) {
		if (keeper->mems_kept[i].pidfd >= 0)
			return false;
	}
	return true;
}

void ferry_mems_inherit(struct ferry_keeper *keeper, const struct ferry_keeper_process *process)
{
	const struct ferry_nodeset *nodes = &keeper->machine->mems;
	int32_t pid = process->pid;

	if (!all_are_usual(keeper, process->slot))
		nodes = find_set(keeper, process->pid, process->slot);

	for (int i = 0; i < ANCESTORS_MAX && nodes == NULL && pid > 1; i++) {
		pid = parent_of(pid);
		if (pid > 1)
			nodes = find_set(keeper, pid, process->slot);
	}
	*ferry_machine_mems(keeper->machine, process->slot) =
		nodes != NULL ? *nodes : keeper->machine->mems;
}

/* --- requests ----------------------------------------------------------------------------- */

int ferry_mems_set(struct ferry_keeper *keeper, const struct ferry_packet *packet)
{
	struct ferry_nodeset nodes = packet->msg.nodes, all;
	struct ferry_keeper_process *process;
	struct ferry_rights rights;
	/* It must not sleep: what was leased in advance may be of a node that it is not to use. */
	int error = ferry_join_reach(keeper, packet, &process, &rights);

	if (error != 0)
		return error;
	ferry_nodeset_fill(&all, keeper->machine->node_count);
	for (uint32_t i = 0; i < FERRY_ARRAY_SIZE(nodes.word); i++)
		nodes.word[i] &= all.word[i];
	if (!has_memory(keeper, &nodes, FERRY_NODES_MAX))
		return -ENODEV;
	publish(ferry_machine_mems(keeper->machine, process->slot), &nodes);
	return 0;
}

int32_t ferry_mems_who_needs(struct ferry_keeper *keeper, uint32_t node)
{
	if (!has_memory(keeper, &keeper->machine->mems, node))
		return 0;
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		const struct ferry_keeper_process *process = keeper->processes[slot];

		if (process != NULL &&
		    !has_memory(keeper, ferry_machine_mems(keeper->machine, slot), node))
			return process->pid;
	}
	for (uint32_t i = 0; i < FERRY_MEMS_KEPT_MAX; i++) {
		const struct ferry_keeper_mems *kept = &keeper->mems_kept[i];

		if (kept->pidfd >= 0 && !ferry_watch_has_ended(kept->pidfd) &&
		    !has_memory(keeper, &kept->nodes, node))
			return kept->pid;
	}
	return -1;
}
