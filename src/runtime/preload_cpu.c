/* SPDX-License-Identifier: MIT */
/*
 * preload_cpu.c - the functions by which a program asks for its CPU or chooses it.
 *
 * A first touch goes to the node of the CPU that it is made on. Which one that was is not known of
 * pages that were touched while the agent slept; a program that asks has it awake.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "runtime/door.h"
#include "runtime/preload.h"

void ferry_preload_wake(void)
{
	int saved = errno;

	(void)!ferry_door_is_open();
	errno = saved;
}

FERRY_EXPORT int sched_setaffinity(pid_t pid, size_t size, const cpu_set_t *cpus)
{
	static int (*next)(pid_t, size_t, const cpu_set_t *);

	if (!next)
		next = (int (*)(pid_t, size_t, const cpu_set_t *))
			ferry_preload_next("sched_setaffinity");
	ferry_preload_wake();
	return next(pid, size, cpus);
}

FERRY_EXPORT int pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *cpus)
{
	static int (*next)(pthread_t, size_t, const cpu_set_t *);

	if (!next)
		next = (int (*)(pthread_t, size_t, const cpu_set_t *))
			ferry_preload_next("pthread_setaffinity_np");
	ferry_preload_wake();
	return next(thread, size, cpus);
}

FERRY_EXPORT int sched_getcpu(void)
{
	static int (*next)(void);

	if (!next)
		next = (int (*)(void))ferry_preload_next("sched_getcpu");
	ferry_preload_wake();
	return next();
}

FERRY_EXPORT int getcpu(unsigned *cpu, unsigned *node)
{
	static int (*next)(unsigned *, unsigned *);

	if (!next)
		next = (int (*)(unsigned *, unsigned *))ferry_preload_next("getcpu");
	ferry_preload_wake();
	return next(cpu, node);
}
