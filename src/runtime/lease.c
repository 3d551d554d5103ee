/* SPDX-License-Identifier: MIT */
/* lease.c - see lease.h. */
#include "runtime/lease.h"

#include "runtime/join.h"
#include "runtime/objects.h"
#include "runtime/offline.h"

#include <errno.h>

#define NS_PER_MS UINT64_C(1000000)
#define LEASE_MAX (UINT64_C(1) << 44) /* pages of a node that one process may have */

/* An advance beyond what a process has: a part of what is free, within bounds; and in all. */
enum { ADVANCE_PART = 32, ADVANCE_LEAST = 512, ADVANCE_MOST = 16384, ADVANCE_ALL_PART = 4 };

static struct ferry_node *node_of(struct ferry_keeper *keeper, uint32_t node)
{
	return &ferry_machine_nodes(keeper->machine)[node];
}

static void set_leased(struct ferry_node *node, uint64_t leased)
{
	uint64_t over = leased > node->capacity_pages ? leased - node->capacity_pages : 0;

	__atomic_store_n(&node->leased_pages, leased, __ATOMIC_RELAXED);
	__atomic_store_n(&node->over_pages, over, __ATOMIC_RELAXED);
}

/* Changes what process holds of node; both books at once. */
static void account(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
		    uint32_t node_index, uint64_t leases)
{
	struct ferry_node *node = node_of(keeper, node_index);

	set_leased(node, node->leased_pages - process->leases[node_index] + leases);
	process->leases[node_index] = leases;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Pages that nobody has, of a node that is online. */
uint64_t ferry_lease_free(struct ferry_keeper *keeper, uint32_t index)
{
	const struct ferry_node *node = node_of(keeper, index);

	if (!ferry_machine_has_memory(keeper->machine, index) ||
	    node->leased_pages >= node->capacity_pages)
		return 0;
	return node->capacity_pages - node->leased_pages;
}

/* What may be granted of a node just now. */
static uint64_t grantable(struct ferry_keeper *keeper, uint32_t index, uint64_t want)
{
	uint64_t free = ferry_lease_free(keeper, index);
	uint64_t share = free / 8 > FERRY_LEASE_GRAIN ? free / 8 : FERRY_LEASE_GRAIN;

	return min_u64(want, min_u64(free, share));
}

static void forget_wait(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	if (process->wait.active)
		keeper->waiter_count--;
	process->wait.active = false;
}

static void answer(struct ferry_keeper *keeper, struct ferry_keeper_process *process, int status,
		   uint64_t pages)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_OK,
		.status = status,
		.a = pages,
	};

	forget_wait(keeper, process);
	/* An agent that does not read its answers hurts itself only. */
	if (ferry_proto_send(process->up, &msg, NULL, 0) != 0)
		return;
}

static void grant(struct ferry_keeper *keeper, struct ferry_keeper_process *process, uint32_t node,
		  uint64_t pages)
{
	struct ferry_node *entry = node_of(keeper, node);

	if (pages == 0) {
		__atomic_store_n(&entry->failed_requests, entry->failed_requests + 1,
				 __ATOMIC_RELAXED);
		ferry_objects_look(keeper);
	}
	account(keeper, process, node, process->leases[node] + pages);
	answer(keeper, process, 0, pages);
}

static bool send_recall(const struct ferry_keeper_process *process, uint32_t node, uint64_t want)
{
	const struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_RECALL,
		.node = (int32_t)node,
		.a = want,
	};

	return ferry_proto_send(process->down, &msg, NULL, 0) == 0;
}

static void recall_answered(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			    uint32_t node)
{
	if (process->recall[node] == FERRY_RECALL_ASKED)
		keeper->recalls[node]--;
	process->recall[node] = FERRY_RECALL_NONE;
}

/* Asks the others for pages of node. => true if an answer can be hoped for. */
static bool recall(struct ferry_keeper *keeper, const struct ferry_keeper_process *asker,
		   uint32_t node, uint64_t want)
{
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		struct ferry_keeper_process *other = keeper->processes[slot];

		if (other == NULL || other == asker || other->leases[node] == 0 ||
		    other->recall[node] != FERRY_RECALL_NONE)
			continue;
		/* One that sleeps is asked when it has woken. */
		if (!ferry_join_wake(keeper, other) &&
		    (other->agent_fd < 0 || !send_recall(other, node, want)))
			continue;
		other->recall[node] = FERRY_RECALL_ASKED;
		keeper->recalls[node]++;
	}
	return keeper->recalls[node] != 0;
}

void ferry_lease_request(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			 const struct ferry_msg *msg)
{
	uint32_t node = (uint32_t)msg->node;
	uint64_t want = msg->a, pages;

	/* One request at a time; and no sum may ever overflow. */
	if (process->wait.active)
		return;
	if (node >= keeper->machine->node_count || want == 0 ||
	    want > LEASE_MAX - process->leases[node]) {
		answer(keeper, process, -EINVAL, 0);
		return;
	}
	if (msg->b == 1) {
		grant(keeper, process, node, want);
		return;
	}
	pages = grantable(keeper, node, want);
	if (pages == 0 && ferry_machine_has_memory(keeper->machine, node) &&
	    recall(keeper, process, node, want)) {
		process->wait = (struct ferry_lease_wait){
			.active = true,
			.node = node,
			.want = want,
			.deadline_ns = ferry_keeper_now_ns() + FERRY_LEASE_WAIT_MS * NS_PER_MS,
			.order = keeper->lease_order++,
		};
		keeper->waiter_count++;
		return;
	}
	grant(keeper, process, node, pages);
}

void ferry_lease_repeat_recalls(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	for (uint32_t node = 0; node < keeper->machine->node_count; node++) {
		if (process->recall[node] != FERRY_RECALL_NONE &&
		    !send_recall(process, node, process->leases[node]))
			recall_answered(keeper, process, node);
	}
}

/* => the node of a CPU, or the first one that has memory. */
static uint32_t node_of_cpu(struct ferry_keeper *keeper, uint64_t cpu)
{
	const int16_t *cpu_nodes = ferry_machine_cpu_nodes(keeper->machine);
	uint32_t node = 0;

	if (cpu < FERRY_CPUS_MAX && cpu_nodes[cpu] >= 0)
		return (uint32_t)cpu_nodes[cpu];
	while (node + 1 < keeper->machine->node_count &&
	       node_of(keeper, node)->capacity_pages == 0)
		node++;
	return node;
}

uint64_t ferry_lease_advance(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			     uint64_t used, uint64_t cpu, uint32_t *node)
{
	const struct ferry_machine *machine = keeper->machine;
	uint64_t free, more;

	/* Where a page goes must not depend on anything but that CPU. */
	if (used == 0 || machine->policy.mode != FERRY_POLICY_LOCAL ||
	    machine->thp == FERRY_THP_ALWAYS || machine->copy_path != FERRY_COPY_PATH_NO ||
	    keeper->waiter_count != 0)
		return 0;
	*node = node_of_cpu(keeper, cpu);
	if (!ferry_machine_set_has(ferry_machine_mems(machine, process->slot), *node))
		return 0;
	free = ferry_lease_free(keeper, *node);
	more = min_u64(free / ADVANCE_PART, ADVANCE_MOST);
	if (more < ADVANCE_LEAST || used > free / ADVANCE_ALL_PART - more)
		return 0;
	account(keeper, process, *node, used + more);
	return used + more;
}

/* => the request for node that came first, or NULL. */
static struct ferry_keeper_process *first_waiter(struct ferry_keeper *keeper, uint32_t node)
{
	struct ferry_keeper_process *first = NULL;

	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		struct ferry_keeper_process *process = keeper->processes[slot];

		if (process == NULL || !process->wait.active || process->wait.node != node)
			continue;
		if (first == NULL || process->wait.order < first->wait.order)
			first = process;
	}
	return first;
}

/* Grants to those who wait for node, as far as there is something, or no answer is to come. */
static void serve_waiters(struct ferry_keeper *keeper, uint32_t node)
{
	struct ferry_keeper_process *process;

	while ((process = first_waiter(keeper, node)) != NULL) {
		uint64_t pages = grantable(keeper, node, process->wait.want);

		if (pages == 0 && keeper->recalls[node] != 0)
			return;
		grant(keeper, process, node, pages);
	}
}

/* There may be something for those who wait for node. */
static void give_on(struct ferry_keeper *keeper, uint32_t node)
{
	serve_waiters(keeper, node);
	ferry_offline_leases_changed(keeper, node);
}

void ferry_lease_take_label(struct ferry_keeper *keeper, uint32_t node, uint64_t pages)
{
	set_leased(node_of(keeper, node), node_of(keeper, node)->leased_pages + pages);
}

void ferry_lease_return_label(struct ferry_keeper *keeper, uint32_t node, uint64_t pages)
{
	set_leased(node_of(keeper, node), node_of(keeper, node)->leased_pages - pages);
	give_on(keeper, node);
}

void ferry_lease_give_label(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			    uint32_t node, uint64_t pages)
{
	account(keeper, process, node,
		process->leases[node] - min_u64(process->leases[node], pages));
	give_on(keeper, node);
}

void ferry_lease_return(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			const struct ferry_msg *msg)
{
	uint32_t node = (uint32_t)msg->node;
	uint64_t held;

	if (node >= keeper->machine->node_count)
		return;
	held = process->leases[node];
	account(keeper, process, node, held - min_u64(held, msg->a));
	if (msg->b == 1)
		recall_answered(keeper, process, node);
	give_on(keeper, node);
}

void ferry_lease_release(struct ferry_keeper *keeper, struct ferry_keeper_process *process)
{
	forget_wait(keeper, process);
	for (uint32_t node = 0; node < keeper->machine->node_count; node++) {
		if (process->leases[node] == 0 && process->recall[node] == FERRY_RECALL_NONE)
			continue;
		account(keeper, process, node, 0);
		recall_answered(keeper, process, node);
		give_on(keeper, node);
	}
}

bool ferry_lease_recall(struct ferry_keeper *keeper, uint32_t node)
{
	return recall(keeper, NULL, node, LEASE_MAX);
}

/* Nobody counts any longer on those who have not answered. */
static void give_up_recalls(struct ferry_keeper *keeper, uint32_t node)
{
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		struct ferry_keeper_process *process = keeper->processes[slot];

		if (process != NULL && process->recall[node] == FERRY_RECALL_ASKED)
			process->recall[node] = FERRY_RECALL_LATE;
	}
	keeper->recalls[node] = 0;
}

void ferry_lease_expire(struct ferry_keeper *keeper, uint64_t now_ns)
{
	if (keeper->waiter_count == 0)
		return;
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		struct ferry_keeper_process *process = keeper->processes[slot];

		if (process == NULL || !process->wait.active || process->wait.deadline_ns > now_ns)
			continue;
		give_up_recalls(keeper, process->wait.node);
		serve_waiters(keeper, process->wait.node);
	}
}

uint64_t ferry_lease_deadline(const struct ferry_keeper *keeper)
{
	uint64_t deadline_ns = UINT64_MAX;

	if (keeper->waiter_count == 0)
		return deadline_ns;
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		const struct ferry_keeper_process *process = keeper->processes[slot];

		if (process != NULL && process->wait.active)
			deadline_ns = min_u64(deadline_ns, process->wait.deadline_ns);
	}
	return deadline_ns;
}
