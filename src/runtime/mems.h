/* SPDX-License-Identifier: MIT */
/*
 * mems.h - which nodes a process may use: the keeper's part.
 *
 * The set of a process stands in the machine segment, where its agent reads it at each touch and
 * each move. A process that joins has the set of the image that it was before an exec, else of the
 * nearest ancestor that the machine knows, else the machine's.
 */
#ifndef FERRY_RUNTIME_MEMS_H
#define FERRY_RUNTIME_MEMS_H

#include "runtime/keeper.h"

void ferry_mems_init(struct ferry_keeper *keeper);
/* Gives a process that has just got its slot the nodes that it inherits. */
void ferry_mems_inherit(struct ferry_keeper *keeper, const struct ferry_keeper_process *process);
/* Remembers the nodes of a process that leaves its slot without having ended. */
void ferry_mems_keep(struct ferry_keeper *keeper, const struct ferry_keeper_process *process);
/* A MEMS came from a client. => what to answer. */
FERRY_MUST_CHECK int ferry_mems_set(struct ferry_keeper *keeper,
				    const struct ferry_packet *packet);
/* Would a process, or the machine's next one, have no node left without node? => its pid, 0 for
 * the machine's, -1: none would. */
int32_t ferry_mems_who_needs(struct ferry_keeper *keeper, uint32_t node);

#endif
