/* SPDX-License-Identifier: MIT */
/* watch.h - the end of programs, agents and the command. */
#ifndef FERRY_RUNTIME_WATCH_H
#define FERRY_RUNTIME_WATCH_H

#include "runtime/keeper.h"

/* An agent whose program is gone is killed if it has not left by itself after this time. */
enum { FERRY_LEAVE_WAIT_S = 20 };

/* => whether the process of a pidfd has ended. */
bool ferry_watch_has_ended(int pidfd);
/* SIGCHLD came: reaps all children, reports the command's end. */
void ferry_watch_reap(struct ferry_keeper *keeper);
/* The pidfd of a program or an agent says that it has ended. process may be freed. */
void ferry_watch_program_ended(struct ferry_keeper *keeper, struct ferry_keeper_process *process);
void ferry_watch_agent_ended(struct ferry_keeper *keeper, struct ferry_keeper_process *process);
/*
 * Once the command has ended and nothing of it is left in the machine, tells so to the foreground
 * process. over: the machine is empty and the keeper will end.
 */
void ferry_watch_report_left(struct ferry_keeper *keeper, bool over);
/* No frame is left for process: says so and ends it. */
void ferry_watch_out_of_memory(struct ferry_keeper *keeper, struct ferry_keeper_process *process);
/* => when an agent that should leave now is to be killed. */
uint64_t ferry_watch_leave_deadline(void);
/* A program is about to execute one that cannot be managed: says so, once for each. */
void ferry_watch_unmanaged(struct ferry_keeper *keeper, const struct ferry_msg *msg);
/* Kills agents that do not leave. */
void ferry_watch_expire(struct ferry_keeper *keeper, uint64_t now_ns);
/* => when ferry_watch_expire() is needed next, UINT64_MAX: not at all. */
uint64_t ferry_watch_deadline(const struct ferry_keeper *keeper);
/* The foreground process sent a signal for the command, or is gone. */
void ferry_watch_foreground(struct ferry_keeper *keeper);

#endif
