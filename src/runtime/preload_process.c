/* SPDX-License-Identifier: MIT */
/*
 * preload_process.c - the functions by which a program makes processes and threads, or becomes
 * another program.
 *
 * fork: the gate is closed first, so that no page is away while libc's own handlers run in the
 * child, whose memory nobody serves until it has joined. All signals are blocked until then.
 * exec: what the next program needs to join is put back into its environment.
 * pthread_create: the new thread's control block must never be away (I13).
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "runtime/door.h"
#include "runtime/preload.h"
#include "runtime/program.h"
#include "runtime/thread.h"

enum { THREAD_BLOCK_BYTES = 2304, ARGS_MAX = 1024, PARENT_GROWS_BYTES = 64 << 20 };

/* --- fork ----------------------------------------------------------------------------- */

static void join_as_child(void)
{
	const struct ferry_books *parent = ferry_door.books;
	const struct ferry_machine *machine = ferry_door.machine;
	uint64_t used = 0;

	if (parent) {
		/* The parent's grow while we read them. */
		used = ferry_books_used_bytes(parent) + PARENT_GROWS_BYTES;
		if (used > FERRY_BOOKS_SIZE_BYTES)
			used = FERRY_BOOKS_SIZE_BYTES;
		/* Two books at a time would not fit under a limit of addresses. */
		if (used < FERRY_BOOKS_SIZE_BYTES)
			(void)ferry_sys2(SYS_munmap, (uintptr_t)parent + used,
					 FERRY_BOOKS_SIZE_BYTES - used);
	}
	ferry_door_reset();
	ferry_preload_lock_reset();
	ferry_thread_reset();
	ferry_preload_join(true, parent);
	if (parent)
		(void)ferry_sys2(SYS_munmap, parent, used);
	(void)ferry_sys2(SYS_munmap, machine, machine->size_bytes);
}

/* A child with a copy of the memory is being made: nothing is away meanwhile. */
struct copied {
	uint64_t mask;
	int64_t gate;
	bool beside; /* an agent that sleeps: there is no gate */
	int (*run)(void *);
	void *arg;
};

/* => false: there is no agent. */
static bool begin_copy(struct copied *copied)
{
	if (ferry_sys0(SYS_getpid) != ferry_door.pid)
		return false;
	copied->gate = -ESRCH;
	copied->mask = ferry_signals_block();
	copied->beside = ferry_door_begin_fork();
	if (copied->beside)
		return true;
	if (!ferry_door_is_open()) {
		ferry_signals_restore(copied->mask);
		return false;
	}
	copied->gate = ferry_door_ask(FERRY_REQUEST_GATE_CLOSE, 0, 0, 0, 0);
	return true;
}

static void end_copy(const struct copied *copied, bool in_parent)
{
	if (in_parent && copied->beside)
		ferry_door_end_fork();
	if (in_parent && copied->gate >= 0)
		(void)ferry_door_ask(FERRY_REQUEST_GATE_OPEN, (uint64_t)copied->gate, 0, 0, 0);
	ferry_signals_restore(copied->mask);
}

static pid_t fork_by(pid_t (*next)(void))
{
	struct copied copied;
	pid_t pid;
	int saved;

	if (!begin_copy(&copied))
		return next();
	pid = next();
	saved = errno;
	if (pid == 0)
		join_as_child();
	end_copy(&copied, pid != 0);
	errno = saved;
	return pid;
}

FERRY_EXPORT pid_t fork(void)
{
	static pid_t (*next)(void);

	if (!next)
		next = (pid_t(*)(void))ferry_preload_next("fork");
	return fork_by(next);
}

FERRY_EXPORT pid_t _Fork(void)
{
	static pid_t (*next)(void);

	if (!next)
		next = (pid_t(*)(void))ferry_preload_next("_Fork");
	return fork_by(next);
}

/* --- clone ---------------------------------------------------------------------------- */

/*
 * Children that libc does not know of stay unmanaged: what libc would put right in them before they
 * could join is not. Nothing is away while they are made, so that they have all that their parent
 * has, whatever becomes of its agent, and also where the kernel tells nobody of a fork.
 */
long ferry_preload_clone(long nr, long a, long b, long c, long d, long e)
{
	struct copied copied;
	long result;

	if (!begin_copy(&copied))
		return ferry_sys5(nr, a, b, c, d, e);
	result = ferry_sys5(nr, a, b, c, d, e);
	end_copy(&copied, result != 0);
	return result;
}

static int run_copied(void *arg)
{
	const struct copied *copied = arg;

	ferry_signals_restore(copied->mask);
	return copied->run(copied->arg);
}

FERRY_EXPORT int clone(int (*run)(void *), void *stack, int flags, void *arg, ...)
{
	static int (*next)(int (*)(void *), void *, int, void *, void *, void *, void *);
	struct copied copied = {.run = run, .arg = arg};
	void *parent_tid, *tls, *child_tid;
	va_list args;
	int result, saved;

	if (!next)
		next = (int (*)(int (*)(void *), void *, int, void *, void *, void *, void *))
			ferry_preload_next("clone");
	/* Those that flags do not ask for may not be there, and nobody looks at them. */
	va_start(args, arg);
	parent_tid = va_arg(args, void *);
	tls = va_arg(args, void *);
	child_tid = va_arg(args, void *);
	va_end(args);
	if (!run || (flags & (CLONE_VM | CLONE_VFORK)) || !begin_copy(&copied))
		return next(run, stack, flags, arg, parent_tid, tls, child_tid);
	result = next(run_copied, stack, flags, &copied, parent_tid, tls, child_tid);
	saved = errno;
	end_copy(&copied, true);
	errno = saved;
	return result;
}

/* libc's own forks without passing through the symbol. */
FERRY_EXPORT int daemon(int nochdir, int noclose)
{
	int fd;

	switch (fork()) {
	case -1:
		return -1;
	case 0:
		break;
	default:
		_exit(0);
	}
	if (setsid() == -1)
		return -1;
	if (!nochdir && chdir("/"))
		return -1;
	if (noclose)
		return 0;
	fd = open("/dev/null", O_RDWR);
	if (fd == -1)
		return -1;
	for (int target = 0; target <= 2; target++)
		if (dup2(fd, target) == -1)
			return -1;
	if (fd > 2)
		close(fd);
	return 0;
}

/* --- threads -------------------------------------------------------------------------- */

FERRY_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr,
				void *(*start)(void *), void *arg)
{
	static int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	ferry_va block;
	int saved = errno;
	int ret;

	if (!next)
		next = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))
			ferry_preload_next("pthread_create");
	if (!ferry_door_is_open())
		return next(thread, attr, start, arg);
	__atomic_fetch_add(&ferry_door.births, 1, __ATOMIC_ACQ_REL);
	ret = next(thread, attr, start, arg);
	block = (ferry_va)*thread;
	/* The agent counts the birth off when the block is flagged. */
	if (ret || ferry_door_ask(FERRY_REQUEST_THREAD, block, block + THREAD_BLOCK_BYTES, 0, 0) ==
			   -ESRCH)
		__atomic_fetch_sub(&ferry_door.births, 1, __ATOMIC_ACQ_REL);
	ferry_preload_lock_found();
	errno = saved;
	return ret;
}

/* --- exec ----------------------------------------------------------------------------- */

/* An environment that may have to live in a mapping of its own, when it is large. */
struct environment {
	char *const *envp;
	void *mapping;
	size_t len;
};

/* kind: of the program, or why it is not executed. => 0; -1 with errno. */
static int prepare(struct environment *env, char *const *envp, char **small, int kind)
{
	const size_t small_words = ARGS_MAX;
	size_t words = ferry_preload_environment_words(envp);

	env->mapping = NULL;
	if (kind < 0) {
		errno = -kind;
		return -1;
	}
	if (words > small_words) {
		env->len = words * sizeof(char *);
		env->mapping = (void *)ferry_sys6(SYS_mmap, 0, (long)env->len,
						  PROT_READ | PROT_WRITE,
						  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if ((long)env->mapping < 0 && (long)env->mapping > -4096) {
			env->mapping = NULL;
			errno = ENOMEM;
			return -1;
		}
		small = env->mapping;
	}
	env->envp = ferry_program_is_hurt((enum ferry_program_kind)kind) ?
			    ferry_preload_environment_bare(envp, small, words) :
			    ferry_preload_environment(envp, small, words);
	return 0;
}

static void forget(const struct environment *env)
{
	if (env->mapping)
		(void)ferry_sys2(SYS_munmap, env->mapping, env->len);
}

static int set_errno(long result)
{
	if (result < 0) {
		errno = (int)-result;
		return -1;
	}
	return (int)result;
}

/* The two calls under all others. at: SYS_execveat with its flags. */
static int exec_at(int dirfd, const char *path, char *const *argv, char *const *envp, int flags)
{
	char *small[ARGS_MAX];
	struct environment env;
	int ret;

	if (prepare(&env, envp, small, ferry_preload_judge(dirfd, path)))
		return -1;
	ret = set_errno(dirfd == AT_FDCWD && !flags ?
				ferry_sys3(SYS_execve, path, argv, env.envp) :
				ferry_sys5(SYS_execveat, dirfd, path, argv, env.envp, flags));
	forget(&env);
	return ret;
}

FERRY_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	return exec_at(AT_FDCWD, path, argv, envp, 0);
}

FERRY_EXPORT int execveat(int dirfd, const char *path, char *const argv[], char *const envp[],
			  int flags)
{
	return exec_at(dirfd, path, argv, envp, flags);
}

FERRY_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	return exec_at(fd, "", argv, envp, AT_EMPTY_PATH);
}

FERRY_EXPORT int execv(const char *path, char *const argv[])
{
	return execve(path, argv, environ);
}

/* The search along PATH is libc's. */
FERRY_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	static int (*next)(const char *, char *const[], char *const[]);
	char *small[ARGS_MAX];
	struct environment env;
	int ret;

	if (!next)
		next = (int (*)(const char *, char *const[], char *const[]))
			ferry_preload_next("execvpe");
	if (prepare(&env, envp, small, ferry_preload_judge_name(file)))
		return -1;
	ret = next(file, argv, env.envp);
	forget(&env);
	return ret;
}

FERRY_EXPORT int execvp(const char *file, char *const argv[])
{
	return execvpe(file, argv, environ);
}

/* Collects the arguments of the execl family. => false: too many. */
static bool collect(char **argv, const char *arg, va_list *list)
{
	size_t n = 0;

	for (argv[n++] = (char *)(uintptr_t)arg; arg; argv[n++] = (char *)(uintptr_t)arg) {
		if (n >= ARGS_MAX)
			return false;
		arg = va_arg(*list, const char *);
	}
	return true;
}

FERRY_EXPORT int execl(const char *path, const char *arg, ...)
{
	char *argv[ARGS_MAX + 1];
	va_list list;
	bool ok;

	va_start(list, arg);
	ok = collect(argv, arg, &list);
	va_end(list);
	return ok ? execve(path, argv, environ) : set_errno(-E2BIG);
}

FERRY_EXPORT int execlp(const char *file, const char *arg, ...)
{
	char *argv[ARGS_MAX + 1];
	va_list list;
	bool ok;

	va_start(list, arg);
	ok = collect(argv, arg, &list);
	va_end(list);
	return ok ? execvpe(file, argv, environ) : set_errno(-E2BIG);
}

FERRY_EXPORT int execle(const char *path, const char *arg, ...)
{
	char *argv[ARGS_MAX + 1];
	char *const *envp = NULL;
	va_list list;
	bool ok;

	va_start(list, arg);
	ok = collect(argv, arg, &list);
	if (ok)
		envp = va_arg(list, char *const *);
	va_end(list);
	return ok ? execve(path, argv, envp) : set_errno(-E2BIG);
}

typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *,
			   const posix_spawnattr_t *, char *const[], char *const[]);

struct spawn {
	pid_t *pid;
	const char *path;
	const posix_spawn_file_actions_t *actions;
	const posix_spawnattr_t *attributes;
	int kind;
};

static int spawn_by(spawn_function *next, const struct spawn *s, char *const *argv,
		    char *const *envp)
{
	char *small[ARGS_MAX];
	struct environment env;
	int saved = errno, ret;

	if (prepare(&env, envp, small, s->kind)) {
		ret = errno;
		errno = saved;
		return ret;
	}
	ret = next(s->pid, s->path, s->actions, s->attributes, argv, env.envp);
	forget(&env);
	return ret;
}

FERRY_EXPORT int posix_spawn(pid_t *pid, const char *path,
			     const posix_spawn_file_actions_t *actions,
			     const posix_spawnattr_t *attributes, char *const argv[],
			     char *const envp[])
{
	static spawn_function *next;

	if (!next)
		next = (spawn_function *)ferry_preload_next("posix_spawn");
	return spawn_by(next,
			&(struct spawn){pid, path, actions, attributes,
					ferry_preload_judge(AT_FDCWD, path)},
			argv, envp);
}

FERRY_EXPORT int posix_spawnp(pid_t *pid, const char *file,
			      const posix_spawn_file_actions_t *actions,
			      const posix_spawnattr_t *attributes, char *const argv[],
			      char *const envp[])
{
	static spawn_function *next;

	if (!next)
		next = (spawn_function *)ferry_preload_next("posix_spawnp");
	return spawn_by(next,
			&(struct spawn){pid, file, actions, attributes,
					ferry_preload_judge_name(file)},
			argv, envp);
}
