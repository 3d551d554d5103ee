/* SPDX-License-Identifier: MIT */
/*
 * tasks.h - what /proc says of a process's threads, read by agents.
 *
 * Raw system calls only; nothing is kept between two calls.
 */
#ifndef FERRY_RUNTIME_TASKS_H
#define FERRY_RUNTIME_TASKS_H

#include "base/types.h"

/* Looks at one thread. => true: that was enough. */
typedef bool ferry_task_look(void *context, int32_t tid);

/* Calls look() for the threads of a process (0: the own one) until it has had enough.
 * => 0, -ESRCH or another -errno of opening their directory. */
FERRY_MUST_CHECK int ferry_tasks_walk(int32_t pid, ferry_task_look *look, void *context);
/* Reads a small file, or as much as there is room for, with a NUL behind it. => bytes, -errno. */
FERRY_MUST_CHECK long ferry_tasks_read(const char *path, char *text, size_t size);
/* Of a process, from its /proc/PID/stat. */
struct ferry_task_stat {
	char state;           /* as ps(1) shows it */
	int32_t parent;       /* 0: none that the reader knows */
	uint64_t start_ticks; /* since boot, in clock ticks */
	uint64_t strings_start, strings_end; /* arguments and environment; 0: it has none, or the
						reader may not know */
};

/* pid 0: the own process. => 0, -ESRCH, -errno. */
FERRY_MUST_CHECK int ferry_tasks_stat(int32_t pid, struct ferry_task_stat *stat);
/* Reads the status of a thread of pid (0: the own process), or as much as there is room for, with a
 * NUL behind it. => bytes, -errno. */
FERRY_MUST_CHECK long ferry_tasks_status(int32_t pid, int32_t tid, char *text, size_t size);
/* Has the main thread of pid memory still? One that has ended, while others go on, has none.
 * => 1, 0, -errno. */
FERRY_MUST_CHECK int ferry_tasks_has_memory(int32_t pid);
/* => what stands behind key ("Uid:") at the start of a line of a status, NULL: no such line. */
const char *ferry_tasks_field(const char *status, const char *key);

#endif
