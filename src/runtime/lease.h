/* SPDX-License-Identifier: MIT */
/*
 * lease.h - who may use how many frames of which node.
 *
 * A grant never makes a node hold more than its capacity unless it is forced. It is at most an
 * eighth of what is free (but 64 pages), so that the last free frames are not all with the first
 * process that asks. When nothing is free the other processes are asked to give back what they do
 * not use; the asker waits for that at most 50 ms in all, and is then told 0.
 *
 * A process whose agent sleeps touches its pages unseen. It has an advance: leases for all that it
 * could touch already, and some more, which it draws on as it maps memory. Its agent takes them
 * over when it wakes.
 */
#ifndef FERRY_RUNTIME_LEASE_H
#define FERRY_RUNTIME_LEASE_H

#include "runtime/keeper.h"

enum { FERRY_LEASE_GRAIN = 64, FERRY_LEASE_WAIT_MS = 50 };

/* A LEASE came from process: answers now or later. */
void ferry_lease_request(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			 const struct ferry_msg *msg);
/* A RETURN came. */
void ferry_lease_return(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			const struct ferry_msg *msg);
/*
 * Leases to a process that has just joined what it may touch while its agent sleeps, beyond the
 * used pages that it may have touched already: of the node of cpu, and only where that has plenty.
 * => pages, 0: its agent must not sleep. *node is set with pages.
 */
uint64_t ferry_lease_advance(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			     uint64_t used, uint64_t cpu, uint32_t *node);
/* Asks a process that has woken for what others have waited for meanwhile. */
void ferry_lease_repeat_recalls(struct ferry_keeper *keeper, struct ferry_keeper_process *process);
/* The process has ended: all of its leases come back, its request is forgotten. */
void ferry_lease_release(struct ferry_keeper *keeper, struct ferry_keeper_process *process);
/* Pages that nobody has, of a node that is online. */
uint64_t ferry_lease_free(struct ferry_keeper *keeper, uint32_t node);
/* Pages of objects got a label of node, or lost it. */
void ferry_lease_take_label(struct ferry_keeper *keeper, uint32_t node, uint64_t pages);
void ferry_lease_return_label(struct ferry_keeper *keeper, uint32_t node, uint64_t pages);
/* Pages of a process's lease are an object's now, or, if it has them already, nobody's. */
void ferry_lease_give_label(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			    uint32_t node, uint64_t pages);
/* Asks every process for what it does not use of node. => true if an answer can be hoped for. */
bool ferry_lease_recall(struct ferry_keeper *keeper, uint32_t node);
/* Answers the requests whose time is over. */
void ferry_lease_expire(struct ferry_keeper *keeper, uint64_t now_ns);
/* => when ferry_lease_expire() is needed next, UINT64_MAX: not at all. */
uint64_t ferry_lease_deadline(const struct ferry_keeper *keeper);

#endif
