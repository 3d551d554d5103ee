/* SPDX-License-Identifier: MIT */
/* clients.h - connections to the control socket. */
#ifndef FERRY_RUNTIME_CLIENTS_H
#define FERRY_RUNTIME_CLIENTS_H

#include "runtime/keeper.h"

/* Somebody connects. */
void ferry_clients_accept(struct ferry_keeper *keeper);
/* A CONNECT came from the join socket. Takes the packet's descriptors over. */
void ferry_clients_connect(struct ferry_keeper *keeper, struct ferry_packet *packet);
/* Client index has said something or is gone. */
void ferry_clients_serve(struct ferry_keeper *keeper, uint32_t index);
/* Answers OK with a status, a text for people and descriptors, which stay the keeper's. */
void ferry_clients_answer(int client, int status, const char *text, const int *fds,
			  uint32_t fd_count);
/* Makes a channel and hands one end to the agent. => the client's end, -errno. */
FERRY_MUST_CHECK int ferry_clients_introduce(struct ferry_keeper_process *process,
					     enum ferry_client_rights rights);

#endif
