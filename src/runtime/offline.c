/* SPDX-License-Identifier: MIT */
/* offline.c - see offline.h. */
#define _GNU_SOURCE
#include "runtime/offline.h"

#include "runtime/clients.h"
#include "runtime/lease.h"
#include "runtime/mems.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A process may have been asked for less before: then it is asked a second time. */
enum { ROUNDS = 2 };

#define NS_PER_MS UINT64_C(1000000)

static void __attribute__((format(printf, 4, 5)))
answer(struct ferry_keeper *keeper, uint32_t client, int status, const char *format, ...)
{
	char text[FERRY_MSG_TEXT];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	ferry_clients_answer(keeper->clients[client], status, text, NULL, 0);
}

static void set_usable(struct ferry_keeper *keeper, uint32_t node, bool usable)
{
	uint64_t *word = &keeper->machine->unusable.word[node / 64];
	uint64_t bit = UINT64_C(1) << (node % 64);

	__atomic_store_n(word, usable ? *word & ~bit : *word | bit, __ATOMIC_RELEASE);
}

static void give_up(struct ferry_keeper *keeper, const char *why)
{
	struct ferry_keeper_offline *offline = &keeper->offline;
	uint64_t pages = ferry_machine_nodes(keeper->machine)[offline->node].leased_pages;
	uint32_t holders = 0;
	int32_t pid = 0;

	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		const struct ferry_keeper_process *process = keeper->processes[slot];

		if (process == NULL || process->leases[offline->node] == 0)
			continue;
		holders++;
		pid = process->pid;
	}
	offline->active = false;
	set_usable(keeper, offline->node, true);
	if (holders > 1)
		answer(keeper, offline->client, -EBUSY, "%s%llu pages of %u processes are on it",
		       why, (unsigned long long)pages, holders);
	else if (holders == 0)
		answer(keeper, offline->client, -EBUSY, "%s%llu pages of shared memory are on it",
		       why, (unsigned long long)pages);
	else
		answer(keeper, offline->client, -EBUSY, "%s%llu pages of process %d are on it", why,
		       (unsigned long long)pages, pid);
}

void ferry_offline_leases_changed(struct ferry_keeper *keeper, uint32_t node)
{
	struct ferry_keeper_offline *offline = &keeper->offline;

	if (!offline->active || offline->node != node)
		return;
	if (ferry_machine_nodes(keeper->machine)[node].leased_pages == 0) {
		offline->active = false;
		answer(keeper, offline->client, 0, "%s", "");
		return;
	}
	if (keeper->recalls[node] != 0)
		return;
	if (offline->rounds++ < ROUNDS && ferry_lease_recall(keeper, node))
		return;
	give_up(keeper, "");
}

static int may_change(const struct ferry_packet *packet)
{
	return packet->pid > 0 && (packet->uid == geteuid() || packet->uid == 0) ? 0 : -EPERM;
}

/* Can the machine do without it? => true; else it was answered. */
static bool can_spare(struct ferry_keeper *keeper, uint32_t client, uint32_t node)
{
	int32_t pid = ferry_mems_who_needs(keeper, node);

	if (keeper->offline.active)
		answer(keeper, client, -EBUSY, "node %u is going offline just now",
		       keeper->offline.node);
	else if (pid == 0)
		answer(keeper, client, -EBUSY, "%s", "programs have no other node with memory");
	else if (pid > 0)
		answer(keeper, client, -EBUSY, "process %d may use no other node with memory", pid);
	else
		return true;
	return false;
}

void ferry_offline_request(struct ferry_keeper *keeper, uint32_t client,
			   const struct ferry_packet *packet)
{
	struct ferry_keeper_offline *offline = &keeper->offline;
	int64_t node = packet->msg.node;
	bool online = packet->msg.a == 1;

	if (may_change(packet) != 0) {
		answer(keeper, client, -EPERM, "%s", "");
	} else if (node < 0 || node >= keeper->machine->node_count ||
		   ferry_machine_nodes(keeper->machine)[node].capacity_pages == 0) {
		answer(keeper, client, -ENODEV, "%s", "");
	} else if (online && offline->active && offline->node == (uint32_t)node) {
		answer(keeper, client, -EBUSY, "it is going offline just now");
	} else if (online || !ferry_machine_has_memory(keeper->machine, node)) {
		if (online)
			set_usable(keeper, (uint32_t)node, true);
		answer(keeper, client, 0, "%s", "");
	} else if (can_spare(keeper, client, (uint32_t)node)) {
		*offline = (struct ferry_keeper_offline){
			.active = true,
			.node = (uint32_t)node,
			.client = client,
			.deadline_ns = ferry_keeper_now_ns() + FERRY_OFFLINE_WAIT_MS * NS_PER_MS,
		};
		set_usable(keeper, offline->node, false);
		ferry_offline_leases_changed(keeper, offline->node);
	}
}

void ferry_offline_client_left(struct ferry_keeper *keeper, uint32_t client)
{
	if (!keeper->offline.active || keeper->offline.client != client)
		return;
	keeper->offline.active = false;
	set_usable(keeper, keeper->offline.node, true);
}

void ferry_offline_expire(struct ferry_keeper *keeper, uint64_t now_ns)
{
	if (keeper->offline.active && keeper->offline.deadline_ns <= now_ns)
		give_up(keeper, "not every process has answered: ");
}

uint64_t ferry_offline_deadline(const struct ferry_keeper *keeper)
{
	return keeper->offline.active ? keeper->offline.deadline_ns : UINT64_MAX;
}
