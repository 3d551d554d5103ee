/* SPDX-License-Identifier: MIT */
/*
 * managed.c - memory of every kind that a program gets without asking for a mapping by itself.
 *
 * Says where each lies, in the file that the script waits for, and waits until it is told to end.
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <dlfcn.h>
#include <sys/syscall.h>

enum { BYTES = 1 << 16, LINES = 4096 };

static char big_bss[16 * BYTES];
static __thread char thread_local_bytes[3 * PAGE];
static char lines[LINES];
static pthread_barrier_t barrier;

static void say(const char *name, void *address, size_t bytes)
{
	size_t used = strlen(lines);

	memset(address, 1, bytes);
	snprintf(lines + used, sizeof(lines) - used, "%s %lx\n", name,
		 (unsigned long)(uintptr_t)address);
}

static void *run_thread(void *argument)
{
	char local[BYTES];

	say("thread-stack", local, sizeof(local));
	say("thread-tls", thread_local_bytes + PAGE, PAGE);
	say("thread-heap", malloc(BYTES), BYTES);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return argument;
}

/* A system call that nobody stands in front of. */
static void *map_raw(size_t bytes)
{
	register long flags __asm__("r10") = MAP_PRIVATE | MAP_ANONYMOUS;
	register long fd __asm__("r8") = -1;
	register long offset __asm__("r9") = 0;
	long address;

	__asm__ volatile("syscall"
			 : "=a"(address)
			 : "a"((long)SYS_mmap), "D"(0L), "S"(bytes),
			   "d"((long)(PROT_READ | PROT_WRITE)), "r"(flags), "r"(fd), "r"(offset)
			 : "rcx", "r11", "memory");
	return (void *)address;
}

int main(void)
{
	char local[BYTES];
	pthread_t thread;
	char *area;

	live_watchdog(100);
	(void)live_nodes();
	area = live_map(BYTES);
	say("mmap", area, BYTES);
	say("bss", big_bss + 8 * BYTES, BYTES);
	say("stack", local, sizeof(local));
	say("heap", malloc(PAGE), PAGE);
	say("heap-end", sbrk(BYTES), BYTES);
	say("chunk", malloc(16 * BYTES), 16 * BYTES);
	say("grown-chunk", realloc(malloc(16 * BYTES), 64 * BYTES), 64 * BYTES);
	say("aligned", aligned_alloc(BYTES, BYTES), BYTES);
	say("moved", mremap(live_map(BYTES), BYTES, 32 * BYTES, MREMAP_MAYMOVE), 32 * BYTES);
	REQUIRE(mprotect(area, PAGE, PROT_READ | PROT_EXEC) == 0, "mprotect");
	/* libc's and the loader's own, behind their data. */
	say("libc-data", stdin->_IO_buf_base != NULL ? stdin->_IO_buf_base : malloc(1), 1);
	say("raw-mmap", map_raw(BYTES), BYTES);
	pthread_barrier_init(&barrier, NULL, 2);
	REQUIRE(pthread_create(&thread, NULL, run_thread, NULL) == 0, "thread");
	pthread_barrier_wait(&barrier);
	live_ready(lines);
	while (!live_told_to_stop()) {
		live_sleep_us(20000);
		/* A fault now and then lets housekeeping look for what it has not seen. */
		area[5 * PAGE] = 1;
		madvise(area + 5 * PAGE, PAGE, MADV_DONTNEED);
	}
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	return 0;
}
