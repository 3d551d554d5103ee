/* SPDX-License-Identifier: MIT */
/* thread.c - see thread.h. */
#include "runtime/thread.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <time.h>

#include "base/sys.h"
#include "runtime/zone.h"

/* What %fs points to in our threads. The first word must point to itself (the ABI says so), the
 * canary of the stack protector lies at 0x28 and stays zero. */
struct local {
	struct local *self;
	uint64_t thread_id;
	char *stack;
	uint64_t zero[29];
};

struct start {
	void (*run)(void *arg);
	void *arg;
	struct local *local;
};

/*
 * long ferry_clone(flags, stack_top, tls, run, arg): the child runs run(arg) on its stack and ends
 * with exit(0) of its thread.
 */
long ferry_clone(unsigned long flags, void *stack_top, void *tls, void (*run)(void *), void *arg);
__asm__(".text\n"
	".globl ferry_clone\n"
	".hidden ferry_clone\n"
	".type ferry_clone,@function\n"
	"ferry_clone:\n"
	"	sub $16, %rsi\n"
	"	mov %rcx, 0(%rsi)\n"
	"	mov %r8, 8(%rsi)\n"
	"	mov %rdx, %r8\n"
	"	xor %edx, %edx\n"
	"	xor %r10d, %r10d\n"
	"	mov $56, %eax\n"
	"	syscall\n"
	"	test %rax, %rax\n"
	"	jz 1f\n"
	"	ret\n"
	"1:	xor %ebp, %ebp\n"
	"	pop %rax\n"
	"	pop %rdi\n"
	"	and $-16, %rsp\n"
	"	call *%rax\n"
	"	xor %edi, %edi\n"
	"	mov $60, %eax\n"
	"	syscall\n"
	"	hlt\n"
	".size ferry_clone, .-ferry_clone\n");

static void thread_entry(void *arg)
{
	struct start *start = arg;

	start->local->thread_id = (uint64_t)ferry_sys0(SYS_gettid);
	start->run(start->arg);
}

long ferry_thread_start(enum ferry_thread_kind kind, void (*run)(void *arg), void *arg)
{
	const unsigned long shared = CLONE_VM | CLONE_SETTLS;
	const unsigned long thread = CLONE_THREAD | CLONE_SIGHAND | CLONE_FS | CLONE_FILES |
				     CLONE_SYSVSEM;
	char *stack = ferry_zone_alloc(FERRY_STACK_BYTES);
	struct local *local;
	struct start *start;

	if (!stack)
		return -ENOMEM;
	/* From the top: the local area, the start block, the stack proper. */
	local = (struct local *)(void *)(stack + FERRY_STACK_BYTES - sizeof(*local));
	start = (struct start *)(void *)((char *)local - 64);
	local->self = local;
	local->stack = stack;
	*start = (struct start){run, arg, local};
	return ferry_clone(shared | (kind == FERRY_THREAD ? thread : (unsigned long)CLONE_UNTRACED),
			   start, local, thread_entry, start);
}

long ferry_thread_start_bare(void *stack, size_t stack_bytes, void (*run)(void *arg), void *arg)
{
	uintptr_t top = ((uintptr_t)stack + stack_bytes) & ~(uintptr_t)15;

	return ferry_clone(CLONE_VM | CLONE_UNTRACED, (void *)top, NULL, run, arg);
}

/*
 * A stack cannot be freed by who stands on it. One thread at a time may: it leaves its stack in
 * `leaving`, and the next to start or end frees it once the kernel says that it has left it.
 */
static struct {
	uint32_t lock;
	char *stack;
	uint32_t thread_id; /* zeroed by the kernel when the thread has ended */
} leaving;

static void free_left_stack(void)
{
	if (leaving.stack && __atomic_load_n(&leaving.thread_id, __ATOMIC_ACQUIRE) == 0) {
		ferry_zone_free(leaving.stack, FERRY_STACK_BYTES);
		leaving.stack = NULL;
	}
}

void ferry_thread_end(void)
{
	uint32_t id = ferry_thread_self();
	struct local *local;

	__asm__("mov %%fs:0, %0" : "=r"(local));
	while (__atomic_exchange_n(&leaving.lock, 1, __ATOMIC_ACQUIRE))
		ferry_sys0(SYS_sched_yield);
	for (free_left_stack(); leaving.stack; free_left_stack())
		ferry_sys0(SYS_sched_yield);
	leaving.stack = local->stack;
	leaving.thread_id = id;
	(void)ferry_sys1(SYS_set_tid_address, &leaving.thread_id);
	__atomic_store_n(&leaving.lock, 0, __ATOMIC_RELEASE);
	for (;;)
		ferry_sys1(SYS_exit, 0);
}

void ferry_thread_reset(void)
{
	leaving.lock = 0;
	leaving.stack = NULL;
}

uint32_t ferry_thread_self(void)
{
	uint64_t id;

	__asm__("mov %%fs:8, %0" : "=r"(id));
	return (uint32_t)id;
}

void ferry_futex_wait(uint32_t *word, uint32_t value, uint64_t timeout_ns)
{
	struct timespec limit = {
		.tv_sec = (time_t)(timeout_ns / 1000000000u),
		.tv_nsec = (long)(timeout_ns % 1000000000u),
	};

	(void)ferry_sys4(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout_ns ? &limit : NULL);
}

void ferry_futex_wake(uint32_t *word, int count)
{
	(void)ferry_sys3(SYS_futex, word, FUTEX_WAKE_PRIVATE, count);
}

uint64_t ferry_clock_ns(void)
{
	struct timespec now;

	/* Not libc's: it looks for the vdso's function in its own data, which may be away. */
	ferry_sys2(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
