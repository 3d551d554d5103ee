/* SPDX-License-Identifier: MIT */
/*
 * os.h - the services that the core asks of whatever hosts it.
 *
 * The core makes no system call. It waits, reads the clock and gets memory through this table;
 * the live runtime fills it with system calls, the simulator with a seeded scheduler. The table
 * is set once, before any other core function is called.
 */
#ifndef FERRY_BASE_OS_H
#define FERRY_BASE_OS_H

#include "base/types.h"

struct ferry_os {
	/* Sleeps while *word == value, at most timeout_ns (0: for ever). May return early. */
	void (*wait)(uint32_t *word, uint32_t value, uint64_t timeout_ns);
	/* Wakes up to count sleepers on word. */
	void (*wake)(uint32_t *word, int count);
	uint64_t (*now_ns)(void);
	/* An id of the calling thread, never 0. */
	uint32_t (*thread_id)(void);
	/* Lets others run; used between two tries of something that another thread finishes. */
	void (*yield)(void);
	/* Zeroed, page-aligned memory that is not managed by pageferry; NULL: none left. */
	void *(*alloc)(size_t size_bytes);
	void (*free)(void *memory, size_t size_bytes);
	/* Ends the host after a broken invariant; never returns. */
	void (*die)(const char *file, int line, const char *what) __attribute__((noreturn));
};

extern const struct ferry_os *ferry_os;

/* A programmer's error: checked in every build. */
#define FERRY_ASSERT(cond)                                          \
	do {                                                        \
		if (__builtin_expect(!(cond), 0))                   \
			ferry_os->die(__FILE__, __LINE__, #cond);   \
	} while (0)

/* The same for hot paths: checked in debug builds only. */
#ifdef FERRY_DEBUG
#define FERRY_DASSERT(cond) FERRY_ASSERT(cond)
#else
#define FERRY_DASSERT(cond) ((void)sizeof(cond))
#endif

#endif
