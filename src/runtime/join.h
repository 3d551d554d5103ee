/* SPDX-License-Identifier: MIT */
/* join.h - how processes become part of a machine. */
#ifndef FERRY_RUNTIME_JOIN_H
#define FERRY_RUNTIME_JOIN_H

#include "runtime/keeper.h"
#include "runtime/rights.h"

/*
 * A JOIN came from the join socket or a control connection: gives the process a slot and answers
 * on its `up` socket. Takes the packet's descriptors over.
 */
void ferry_join_accept(struct ferry_keeper *keeper, struct ferry_packet *packet);
/* Makes sure that a descriptor of somebody else's is a socket of ours that can never block us, and
 * that tells who speaks. => 0, -EINVAL (it is another sort), -errno. */
FERRY_MUST_CHECK int ferry_join_prepare_socket(int fd);
/* Something can be read from a process's `up` socket, or it was closed. */
void ferry_join_serve_up(struct ferry_keeper *keeper, struct ferry_keeper_process *process);
/* Serves what all processes have said so far, and answers those who asked for that. Any process may
 * be gone afterwards. */
void ferry_join_settle(struct ferry_keeper *keeper);
/* Empties a slot: returns the leases, closes everything. process is freed. */
void ferry_join_release(struct ferry_keeper *keeper, struct ferry_keeper_process *process);
/* Wakes the agent of a process that sleeps. => whether it is one. */
bool ferry_join_wake(struct ferry_keeper *keeper, const struct ferry_keeper_process *process);
/* Writes a process's state into the machine segment. */
void ferry_join_publish(struct ferry_keeper *keeper, const struct ferry_keeper_process *process,
			enum ferry_process_state state);
/* => the process of the machine with that pid that joined last and is in state, or NULL. */
struct ferry_keeper_process *ferry_join_find(struct ferry_keeper *keeper, int32_t pid,
					     enum ferry_process_state state);

/*
 * Finds the process that a client asks for (a: its pid, b: the calling thread), whom its rights
 * allow to. One that sleeps is woken.
 * => 0, -ESRCH (the machine has no such process), -EPERM, -EAGAIN (ask again: it is waking).
 */
FERRY_MUST_CHECK int ferry_join_reach(struct ferry_keeper *keeper,
				      const struct ferry_packet *packet,
				      struct ferry_keeper_process **process,
				      struct ferry_rights *rights);

#endif
