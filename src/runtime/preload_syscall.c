/* SPDX-License-Identifier: MIT */
/*
 * preload_syscall.c - syscall().
 *
 * The numbers that have to be seen go to ferry_syscall_seen(); every other one is the kernel's at
 * once, by the same few instructions that libc uses: nothing may stand on the stack for vfork, or
 * for a clone that shares memory. Like the kernel, this looks at the lower half of the number only.
 */
#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/sys.h"
#include "runtime/preload.h"
#include "runtime/user.h"

enum { NUMBERS = 448 };

long move_pages(int pid, unsigned long count, void **pages, const int *nodes, int *status,
		int flags);

#define SEEN(nr, word) ((nr) / 64 == (word) ? UINT64_C(1) << ((nr) % 64) : 0)
#define SEEN_IN(word)                                                                          \
	(SEEN(SYS_mmap, word) | SEEN(SYS_madvise, word) | SEEN(SYS_setsockopt, word) |         \
	 SEEN(SYS_execve, word) | SEEN(SYS_setuid, word) | SEEN(SYS_setgid, word) |            \
	 SEEN(SYS_setreuid, word) | SEEN(SYS_setregid, word) | SEEN(SYS_setgroups, word) |     \
	 SEEN(SYS_setresuid, word) | SEEN(SYS_setresgid, word) | SEEN(SYS_capset, word) |      \
	 SEEN(SYS_vmsplice, word) | SEEN(SYS_move_pages, word) | SEEN(SYS_sendto, word) |      \
	 SEEN(SYS_sendmsg, word) | SEEN(SYS_sendmmsg, word) | SEEN(SYS_unshare, word) |        \
	 SEEN(SYS_setns, word) | SEEN(SYS_mprotect, word) | SEEN(SYS_munmap, word) |           \
	 SEEN(SYS_mremap, word) | SEEN(SYS_mlock, word) | SEEN(SYS_munlock, word) |            \
	 SEEN(SYS_mlockall, word) | SEEN(SYS_munlockall, word) | SEEN(SYS_ioctl, word) |       \
	 SEEN(SYS_mincore, word) | SEEN(SYS_shmat, word) |             \
	 SEEN(SYS_shmdt, word) | SEEN(SYS_io_uring_setup, word) | SEEN(SYS_fork, word) |     \
	 SEEN(SYS_clone, word) | SEEN(SYS_clone3, word) |                                      \
	 SEEN(SYS_sched_setaffinity, word) | SEEN(SYS_getcpu, word))

/* A bit for each number. */
extern const uint64_t ferry_syscall_bits[NUMBERS / 64];
const uint64_t ferry_syscall_bits[NUMBERS / 64] = {
	SEEN_IN(0), SEEN_IN(1), SEEN_IN(2), SEEN_IN(3), SEEN_IN(4), SEEN_IN(5), SEEN_IN(6),
};

static long set_errno(long result)
{
	if (result < 0 && result > -4096) {
		errno = (int)-result;
		return -1;
	}
	return result;
}

/* See preload_taint.c. */
static bool takes_references(int nr, long b, long c, long d, long e)
{
	switch (nr) {
	case SYS_vmsplice:
		return true;
	case SYS_setsockopt:
		return ferry_preload_is_zerocopy((int)b, (int)c, (const void *)d, (unsigned)e);
	case SYS_sendmsg:
		return (c & MSG_ZEROCOPY) != 0;
	default: /* sendto, sendmmsg */
		return (d & MSG_ZEROCOPY) != 0;
	}
}

/* The head of struct clone_args. */
struct clone_head {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack;
};

/* Does a clone return twice on the same stack, in two memories? Only then may it be called from a
 * function. */
bool ferry_syscall_copies(int nr, unsigned long a, unsigned long b);
__attribute__((used)) bool ferry_syscall_copies(int nr, unsigned long a, unsigned long b)
{
	struct clone_head head = {.flags = a, .stack = b};

	if (nr == SYS_clone3 && (b < sizeof(head) || ferry_user_read(&head, (const void *)a,
								     sizeof(head))))
		return false;
	return (head.flags & (CLONE_VM | CLONE_VFORK)) == 0 && head.stack == 0;
}

/* What changes who the calling thread is. */
static long become(int nr, long a, long b, long c)
{
	long result = ferry_sys3(nr, a, b, c);

	if (result == 0)
		ferry_preload_follow(true);
	return set_errno(result);
}

long ferry_syscall_seen(int nr, long a, long b, long c, long d, long e, long f);
__attribute__((used)) long ferry_syscall_seen(int nr, long a, long b, long c, long d, long e,
					      long f)
{
	switch (nr) {
	case SYS_mmap:
		return (long)mmap((void *)a, (size_t)b, (int)c, (int)d, (int)e, (off_t)f);
	case SYS_madvise:
		return madvise((void *)a, (size_t)b, (int)c);
	case SYS_mprotect:
		return mprotect((void *)a, (size_t)b, (int)c);
	case SYS_munmap:
		return munmap((void *)a, (size_t)b);
	case SYS_mremap:
		return (long)mremap((void *)a, (size_t)b, (size_t)c, (int)d, (void *)e);
	case SYS_mlock:
		return mlock((const void *)a, (size_t)b);
	case SYS_munlock:
		return munlock((const void *)a, (size_t)b);
	case SYS_mlockall:
		return mlockall((int)a);
	case SYS_munlockall:
		return munlockall();
	case SYS_ioctl:
		return ioctl((int)a, (unsigned long)b, c);
	case SYS_mincore:
		return mincore((void *)a, (size_t)b, (unsigned char *)c);
	case SYS_shmat:
		return (long)shmat((int)a, (const void *)b, (int)c);
	case SYS_shmdt:
		return shmdt((const void *)a);
	case SYS_execve:
		return execve((const char *)a, (char *const *)b, (char *const *)c);
	case SYS_move_pages:
		return move_pages((int)a, (unsigned long)b, (void **)c, (const int *)d, (int *)e,
				  (int)f);
	case SYS_setuid:
	case SYS_setgid:
	case SYS_setreuid:
	case SYS_setregid:
	case SYS_setgroups:
	case SYS_setresuid:
	case SYS_setresgid:
	case SYS_capset:
		return become(nr, a, b, c);
	case SYS_sched_setaffinity:
	case SYS_getcpu:
		ferry_preload_wake();
		return set_errno(ferry_sys6(nr, a, b, c, d, e, f));
	case SYS_io_uring_setup:
		ferry_preload_rings();
		return set_errno(ferry_sys6(nr, a, b, c, d, e, f));
	case SYS_fork:
	case SYS_clone:
	case SYS_clone3:
		return set_errno(ferry_preload_clone(nr, a, b, c, d, e));
	case SYS_unshare:
	case SYS_setns:
		return set_errno(ferry_preload_namespace(nr, a, b));
	default:
		if (takes_references(nr, b, c, d, e))
			ferry_preload_taint();
		return set_errno(ferry_sys6(nr, a, b, c, d, e, f));
	}
}

long ferry_syscall_failed(long result);
__attribute__((used)) long ferry_syscall_failed(long result)
{
	errno = (int)-result;
	return -1;
}

__asm__(".text\n"
	".globl syscall\n"
	".type syscall,@function\n"
	"syscall:\n"
	"	cmp $448, %edi\n" /* NUMBERS */
	"	jae 1f\n"
	"	mov %edi, %eax\n"
	"	shr $6, %eax\n"
	"	lea ferry_syscall_bits(%rip), %r11\n"
	"	mov (%r11, %rax, 8), %rax\n"
	"	bt %rdi, %rax\n"
	"	jnc 1f\n"
	"	cmp $56, %edi\n" /* SYS_clone */
	"	je 3f\n"
	"	cmp $435, %edi\n" /* SYS_clone3 */
	"	jne ferry_syscall_seen\n"
	"3:	push %rdi\n"
	"	push %rsi\n"
	"	push %rdx\n"
	"	push %rcx\n"
	"	push %r8\n"
	"	push %r9\n"
	"	sub $8, %rsp\n"
	"	call ferry_syscall_copies\n"
	"	add $8, %rsp\n"
	"	pop %r9\n"
	"	pop %r8\n"
	"	pop %rcx\n"
	"	pop %rdx\n"
	"	pop %rsi\n"
	"	pop %rdi\n"
	"	test %al, %al\n"
	"	jnz ferry_syscall_seen\n"
	"1:	mov %rdi, %rax\n"
	"	mov %rsi, %rdi\n"
	"	mov %rdx, %rsi\n"
	"	mov %rcx, %rdx\n"
	"	mov %r8, %r10\n"
	"	mov %r9, %r8\n"
	"	mov 8(%rsp), %r9\n"
	"	syscall\n"
	"	cmp $-4095, %rax\n"
	"	jae 2f\n"
	"	ret\n"
	"2:	mov %rax, %rdi\n"
	"	jmp ferry_syscall_failed\n"
	".size syscall, .-syscall\n");
