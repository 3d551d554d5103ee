/* SPDX-License-Identifier: MIT */
/*
 * offline.h - nodes that go offline and come back: the keeper's part.
 *
 * A node goes offline in two steps. First nothing new may come to it, and every process is asked
 * for what it holds of the node without using it. Once all have answered, the node is offline if
 * nothing of it is leased any more; else there are pages on it, and it is online again.
 */
#ifndef FERRY_RUNTIME_OFFLINE_H
#define FERRY_RUNTIME_OFFLINE_H

#include "runtime/keeper.h"

enum { FERRY_OFFLINE_WAIT_MS = 2000 };

/* A NODE came from a client: answers now or later. */
void ferry_offline_request(struct ferry_keeper *keeper, uint32_t client,
			   const struct ferry_packet *packet);
/* Leases of node were given back, or a recall was answered. */
void ferry_offline_leases_changed(struct ferry_keeper *keeper, uint32_t node);
/* The client is gone: so is its wish. */
void ferry_offline_client_left(struct ferry_keeper *keeper, uint32_t client);
/* Gives up a node whose leases have not come back in time. */
void ferry_offline_expire(struct ferry_keeper *keeper, uint64_t now_ns);
/* => when ferry_offline_expire() is needed next, UINT64_MAX: not at all. */
uint64_t ferry_offline_deadline(const struct ferry_keeper *keeper);

#endif
