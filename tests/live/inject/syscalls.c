/* SPDX-License-Identifier: MIT */
/*
 * syscalls.c - lets a system call of an agent fail. Part of a preload library that only
 * tests/live/inject.sh uses: the sources that an agent runs are built with FERRY_SYS_INJECT.
 *
 *   FERRY_INJECT=AT[+]     the agent's call number AT fails; with + all later ones of its kind too
 *   FERRY_INJECT_LOG=PATH  gets one line when that happens: "AT KIND ERROR", or at the agent's end
 *                          without it: "calls N"
 *
 * Calls that cannot fail do not count, nor do waits. The error is one that the call may really
 * give. A forked child has its parent's plan.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"

enum { PROCMAP_QUERY_CODE = 0x6611 };
enum { MOVE_CODE = 0x05, COPY_CODE = 0x03, ZEROPAGE_CODE = 0x04, WP_CODE = 0x06, WAKE_CODE = 0x02 };

static struct plan {
	long program; /* pid: its own calls go through */
	uint32_t at;
	uint32_t for_ever;
	char log[256];
	uint32_t calls; /* (a) */
	long kind;      /* (a) of call `at`, -1 before it */
	long leaving;   /* (a) pid of the agent that one of its threads ends */
} plan = { .kind = -1 };

static long plain(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return ret;
}

__attribute__((constructor(101))) static void read_plan(void)
{
	const char *text = getenv("FERRY_INJECT"), *log = getenv("FERRY_INJECT_LOG");

	if (text == NULL || log == NULL || strlen(log) >= sizeof(plan.log))
		return;
	plan.at = (uint32_t)strtoul(text, NULL, 10);
	plan.for_ever = strchr(text, '+') != NULL;
	memcpy(plan.log, log, strlen(log) + 1);
	plan.program = plain(SYS_getpid, 0, 0, 0);
	unsetenv("FERRY_INJECT");
}

/* 0: a call that cannot fail, or whose failure is the end of everything */
static int error_of(long nr, long b)
{
	switch (nr) {
	case SYS_ioctl:
		/* a wake-up cannot fail in a process that lives */
		if ((b & 0xffff) == (0xaa00 | WAKE_CODE))
			return 0;
		return (b & 0xffff) == (0xaa00 | MOVE_CODE) ||
				       (b & 0xffff) == (0xaa00 | COPY_CODE) ||
				       (b & 0xffff) == (0xaa00 | ZEROPAGE_CODE) ||
				       (b & 0xffff) == (0xaa00 | WP_CODE)
			       ? EAGAIN
			       : ENOMEM;
	case SYS_mmap:
	case SYS_mprotect:
	case SYS_madvise:
	case SYS_pread64:
	case SYS_poll:
	case SYS_fcntl:
	case SYS_memfd_create:
	case SYS_dup3:
	case SYS_close_range:
	case SYS_ftruncate:
	case SYS_process_vm_readv:
		return ENOMEM;
	case SYS_munmap:
		return 0;
	case SYS_read:
		return EINTR;
	case SYS_openat:
	case SYS_userfaultfd:
		return EMFILE;
	case SYS_pidfd_open:
		return ENOMEM;
	case SYS_getdents64:
		return ENOENT;
	case SYS_clone:
	case SYS_clone3:
		return EAGAIN;
	case SYS_sendmsg:
		return ENOBUFS;
	case SYS_recvmsg:
		return ENOMEM;
	case SYS_get_robust_list:
	case SYS_kcmp:
		return EPERM;
	default:
		return 0;
	}
}

/* For ever this is the end of everything: a host without memory, an agent that cannot look. */
static _Bool is_vital(long nr, long b)
{
	if (nr == SYS_ioctl)
		return (b & 0xffff) == PROCMAP_QUERY_CODE;
	return nr == SYS_poll || nr == SYS_read || nr == SYS_pread64 || nr == SYS_madvise;
}

static void note(const char *format, long a, long b, long c)
{
	char line[96];
	size_t used = 0;
	long values[3] = { a, b, c };
	uint32_t next = 0;
	long fd = plain(SYS_open, (long)plan.log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	for (; *format != '\0'; format++) {
		char digits[24];
		unsigned long value;
		int n = 0;

		if (*format != '%') {
			line[used++] = *format;
			continue;
		}
		value = (unsigned long)values[next++];
		do
			digits[n++] = (char)('0' + value % 10);
		while ((value /= 10) != 0);
		while (n > 0)
			line[used++] = digits[--n];
	}
	if (fd >= 0) {
		(void)plain(SYS_write, fd, (long)line, (long)used);
		(void)plain(SYS_close, fd, 0, 0);
	}
}

_Bool ferry_sys_inject(long nr, long a, long b, long *ret)
{
	long kind = nr == SYS_ioctl ? (b & 0xffff) << 16 | nr : nr;
	long self = plain(SYS_getpid, 0, 0, 0);
	int error;
	uint32_t call;

	(void)a;
	if (plan.program == 0 || self == plan.program)
		return 0;
	/* Several threads may end their agent at the same time: one does, after its note. */
	while (nr == SYS_exit_group &&
	       __atomic_exchange_n(&plan.leaving, self, __ATOMIC_RELAXED) == self)
		(void)plain(SYS_pause, 0, 0, 0);
	if (nr == SYS_exit_group && plan.kind == -1)
		note("calls %\n", __atomic_load_n(&plan.calls, __ATOMIC_RELAXED), 0, 0);
	error = error_of(nr, b);
	if (error == 0)
		return 0;
	call = __atomic_add_fetch(&plan.calls, 1, __ATOMIC_RELAXED);
	if (call == plan.at) {
		__atomic_store_n(&plan.kind, kind, __ATOMIC_RELAXED);
		note("% % %\n", call, kind, error);
	} else if (!plan.for_ever || is_vital(nr, b) ||
		   __atomic_load_n(&plan.kind, __ATOMIC_RELAXED) != kind) {
		return 0;
	}
	*ret = -error;
	return 1;
}
