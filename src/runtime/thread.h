/* SPDX-License-Identifier: MIT */
/*
 * thread.h - threads and processes by raw clone, for agents.
 *
 * Not pthreads: libc does not know of them, they own no memory of the program's malloc and have a
 * thread-local area of their own, of which only the id below is used. They may call nothing that
 * touches errno or other thread-local storage.
 */
#ifndef FERRY_RUNTIME_THREAD_H
#define FERRY_RUNTIME_THREAD_H

#include "base/types.h"

enum { FERRY_STACK_BYTES = 64 * 1024 };

/* The call stays within the caller's descriptor table, or gets a copy (a new process). */
enum ferry_thread_kind {
	FERRY_THREAD,  /* a thread of the calling process */
	FERRY_PROCESS, /* a process that shares only memory; no signal at its end */
};

/*
 * Runs run(arg) on a new stack; the thread (process) ends when it returns.
 * => its id, -errno. The stack (FERRY_STACK_BYTES) comes from the zone; a thread that ends by
 * ferry_thread_end() gives it back.
 */
FERRY_MUST_CHECK long ferry_thread_start(enum ferry_thread_kind kind, void (*run)(void *arg),
					 void *arg);
/* Ends the calling thread (FERRY_THREAD). Never returns. */
void ferry_thread_end(void) __attribute__((noreturn));
/* As a process, but with stack memory of the caller's and the caller's thread-local area: for a
 * process that only starts another one and ends. */
FERRY_MUST_CHECK long ferry_thread_start_bare(void *stack, size_t stack_bytes,
					      void (*run)(void *arg), void *arg);
/* Forgets threads of another life: for a forked child. */
void ferry_thread_reset(void);
/* => id of the calling thread, which must have been started here. */
uint32_t ferry_thread_self(void);

/* Sleeps while *word == value (0: for ever), and its opposite. Within one address space. */
void ferry_futex_wait(uint32_t *word, uint32_t value, uint64_t timeout_ns);
void ferry_futex_wake(uint32_t *word, int count);
uint64_t ferry_clock_ns(void);

#endif
