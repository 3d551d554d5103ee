/* SPDX-License-Identifier: MIT */
/*
 * preload.h - between the files of the preload library that run on the program's own threads.
 *
 * Rules for an interposed function:
 *  1. It behaves as libc's does, errno included; errno changes only on failure.
 *  2. It takes no lock, and allocates nothing with malloc.
 *  3. It may be called before the library's constructor ran (other constructors do), in a child
 *     between fork and join, and in a child of vfork: then it passes straight through.
 */
#ifndef FERRY_RUNTIME_PRELOAD_H
#define FERRY_RUNTIME_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "map/books.h"
#include "runtime/proto.h"

#define FERRY_EXPORT __attribute__((visibility("default")))

/* Blocks every signal of the calling thread; restore gives the old mask back. */
uint64_t ferry_signals_block(void);
void ferry_signals_restore(uint64_t mask);

/*
 * Joins the machine and starts an agent; parent: the books of a forked child's parent, NULL: that
 * had none yet. Says on stderr in one line why the process runs unmanaged, where it does.
 */
void ferry_preload_join(bool is_child, const struct ferry_books *parent);
/* => envp, or a copy in which what our children need is put back. The copy lies in buffer
 * (buffer_words pointers); NULL if that is too small. */
char *const *ferry_preload_environment(char *const *envp, char **buffer, size_t buffer_words);
/* => words that ferry_preload_environment() needs for envp at most. */
size_t ferry_preload_environment_words(char *const *envp);
/* => a copy of envp without what our children need, for programs that it would hurt. NULL as above.
 */
char *const *ferry_preload_environment_bare(char *const *envp, char **buffer, size_t buffer_words);
/*
 * Looks at a program that is about to be executed; tells people, by way of the keeper, if it cannot
 * be managed. => its kind (enum ferry_program_kind), -EACCES: the machine is strict, do not.
 */
int ferry_preload_judge(int directory, const char *path);
/* The same for a name that is looked for in PATH. */
int ferry_preload_judge_name(const char *name);
/* => a connection to the keeper's control socket, by way of the join socket; -errno. */
int ferry_preload_dial(void);
/* Tells the keeper something to which no answer is due. */
void ferry_preload_tell(const struct ferry_msg *msg);
/* The next definition of a symbol after ours. Never NULL: dies with a line if there is none. */
void *ferry_preload_next(const char *symbol);
/* Asks the agent to take on the identity of the calling thread, once that has changed.
 * one_thread: the call was about it alone. errno stays. */
void ferry_preload_follow(bool one_thread);
/* unshare() and setns() as the kernel answers them, and followed where they change the user
 * namespace. => 0, -errno. */
long ferry_preload_namespace(long nr, long a, long b);
/* To be called before an interface that keeps plain references to pages: once it has returned,
 * pages that have moved away are not used again. errno stays. */
void ferry_preload_taint(void);
/* To be called before an io_uring is set up: pages of its buffers may be pinned unseen. errno
 * stays. */
void ferry_preload_rings(void);
/* => whether setsockopt() with these arguments is such an interface. */
bool ferry_preload_is_zerocopy(int level, int name, const void *value, size_t size);
/* Sets and clears flags of the managed parts of a range. errno stays. */
void ferry_preload_flag(ferry_va start, size_t len, uint32_t set, uint32_t clear);
/* preload_lock.c: mlockall(MCL_FUTURE) is in effect. */
bool ferry_preload_locks_new(void);
/* Locks a new mapping if that is so. => false: not allowed; it is unmapped, *at = -EAGAIN. */
bool ferry_preload_lock_new(long *at, size_t len);
/* ... and fills it, if that was asked for. */
void ferry_preload_lock_filled(long at, size_t len);
/* libc mapped something by itself: locks it if that is so. */
void ferry_preload_lock_found(void);
/* A child has no locks. */
void ferry_preload_lock_reset(void);
/* => the number that link (/proc/self, /proc/thread-self) names: that of the pid namespace of
 * /proc. Without a /proc: id. */
long ferry_preload_proc_id(const char *link, long id);
/* Wakes the agent if it sleeps. errno stays. */
void ferry_preload_wake(void);
/* fork, clone or clone3 by number, of a child with a copy of the memory and of the stack: it gets
 * all of it, and is not managed. => as the kernel answers, twice. */
long ferry_preload_clone(long nr, long a, long b, long c, long d, long e);
/* Tells the agent of memory that libc mapped by itself. */
void ferry_preload_heap_grew(void);

#endif
