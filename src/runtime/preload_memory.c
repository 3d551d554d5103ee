/* SPDX-License-Identifier: MIT */
/*
 * preload_memory.c - the functions by which a program gets memory.
 *
 * Only what makes new private anonymous memory has to be seen here: it is registered before the
 * caller gets it. What ends or moves memory is told by the kernel (events). glibc's malloc grows by
 * calls inside libc that nobody can stand in front of, so thin wrappers look after each call
 * whether it has: the heap's end, a chunk with a mapping of its own, a new heap of a thread.
 */
#include <errno.h>
#include <linux/magic.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/sys.h"
#include "runtime/door.h"
#include "runtime/preload.h"

#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MAP_HUGE_SHIFT
#define MAP_HUGE_SHIFT 26
#endif

/* glibc's, exported for its own sake. */
extern void *__curbrk;
void *__libc_malloc(size_t size);

enum {
	CHUNK_MMAPPED = 2,     /* bits in the size word in front of a chunk */
	CHUNK_OTHER_HEAP = 4,
	CHUNK_FLAGS = 7,
	HEAP_SHIFT = 26,       /* heaps of threads are aligned to 64 MiB */
};

static long set_errno(long result)
{
	if (result < 0 && result > -4096) {
		errno = (int)-result;
		return -1;
	}
	return result;
}

static void tell_mapped(ferry_va start, size_t len, uint32_t flags)
{
	int saved = errno;

	(void)ferry_door_ask(FERRY_REQUEST_MAP, ferry_page_down(start), ferry_page_up(start + len),
			     flags, 0);
	errno = saved;
}

/* --- mmap ----------------------------------------------------------------------------- */

static bool is_private_anonymous(int flags)
{
	return (flags & MAP_ANONYMOUS) && (flags & MAP_TYPE) == MAP_PRIVATE &&
	       !(flags & MAP_HUGETLB);
}

/* May it be a part of an object? The agent knows better. */
static bool is_object(int flags, long fd)
{
	struct statfs status;

	if ((flags & MAP_TYPE) != MAP_SHARED && (flags & MAP_TYPE) != MAP_SHARED_VALIDATE)
		return false;
	if (flags & MAP_HUGETLB)
		return false;
	return (flags & MAP_ANONYMOUS) || (ferry_sys2(SYS_fstatfs, fd, &status) == 0 &&
					   status.f_type == TMPFS_MAGIC);
}

/* An agent that sleeps finds it when it wakes. */
static void tell_object(long at)
{
	int saved = errno;
	uint32_t cpu = 0;

	if (!ferry_door_is_asleep() && ferry_door_is_open()) {
		(void)ferry_sys3(SYS_getcpu, &cpu, NULL, NULL);
		(void)ferry_door_ask(FERRY_REQUEST_AT, (uint64_t)at, cpu + (uint64_t)1, 0, 0);
	}
	errno = saved;
}

static long map(void *addr, size_t len, int prot, int flags, long fd, off_t offset)
{
	bool ours = is_private_anonymous(flags);
	bool drawn = ours && !(flags & MAP_LOCKED) && ferry_door_draw(len);
	bool managed = ours && !drawn && ferry_door_is_open();
	/* Populating before the memory is ours would take frames that nobody counted. */
	bool populate = managed && (flags & MAP_POPULATE) && !(flags & MAP_LOCKED);
	bool change = (flags & MAP_FIXED) && ferry_door_begin_change();
	long at = ferry_sys6(SYS_mmap, (long)addr, (long)len, prot,
			     populate ? flags & ~MAP_POPULATE : flags, fd, offset);

	ferry_door_end_change(change);
	if ((at < 0 && at > -4096) || !ferry_preload_lock_new(&at, len))
		return at;
	if (is_object(flags, fd))
		tell_object(at);
	else if (managed || (drawn && !ferry_door_is_asleep()))
		tell_mapped((ferry_va)at, len,
			    flags & MAP_LOCKED || ferry_preload_locks_new() ? FERRY_REGION_LOCKED
									    : 0);
	ferry_preload_lock_filled(at, len);
	if (populate)
		(void)ferry_sys3(SYS_madvise, at, ferry_page_up(len),
				 prot & PROT_WRITE ? MADV_POPULATE_WRITE : MADV_WILLNEED);
	return at;
}

FERRY_EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return (void *)set_errno(map(addr, len, prot, flags, fd, offset));
}

FERRY_EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	return (void *)set_errno(map(addr, len, prot, flags, fd, offset));
}

FERRY_EXPORT void *shmat(int id, const void *addr, int flags)
{
	bool change = (flags & SHM_REMAP) && ferry_door_begin_change();
	long at = ferry_sys3(SYS_shmat, id, addr, flags);

	ferry_door_end_change(change);
	if (at >= 0 || at <= -4096)
		tell_object(at);
	return (void *)set_errno(at);
}

FERRY_EXPORT int shmdt(const void *addr)
{
	long ret = ferry_sys1(SYS_shmdt, addr);

	if (ret == 0)
		tell_object((long)(uintptr_t)addr);
	return (int)set_errno(ret);
}

static void tell_flag(const void *addr, size_t len, uint32_t set, uint32_t clear)
{
	ferry_preload_flag((ferry_va)(uintptr_t)addr, len, set, clear);
}

FERRY_EXPORT int munmap(void *addr, size_t len)
{
	bool change = ferry_door_begin_change();
	long ret = ferry_sys2(SYS_munmap, addr, len);

	ferry_door_end_change(change);
	return (int)set_errno(ret);
}

/* A window of the agent would give its pages a protection for the moment: not that of its middle.
 */
FERRY_EXPORT int mprotect(void *addr, size_t len, int prot)
{
	bool change = ferry_door_begin_change();
	long ret = ferry_sys3(SYS_mprotect, addr, len, prot);

	ferry_door_end_change(change);
	return (int)set_errno(ret);
}

FERRY_EXPORT int pkey_mprotect(void *addr, size_t len, int prot, int key)
{
	bool change = ferry_door_begin_change();
	long ret = ferry_sys4(SYS_pkey_mprotect, addr, len, prot, key);

	ferry_door_end_change(change);
	return (int)set_errno(ret);
}

FERRY_EXPORT void *mremap(void *addr, size_t old_len, size_t len, int flags, ...)
{
	bool change = ferry_door_begin_change();
	va_list args;
	void *target = NULL;
	long ret;

	va_start(args, flags);
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))
		target = va_arg(args, void *);
	va_end(args);
	ret = ferry_sys5(SYS_mremap, addr, old_len, len, flags, target);
	ferry_door_end_change(change);
	return (void *)set_errno(ret);
}

/* Nothing of the range may come back from where it was away meanwhile. A handler of a signal must
 * not leave by longjmp while the gate is closed. */
static long gated_discard(void *addr, size_t len, int advice)
{
	uint64_t mask = ferry_signals_block();
	ferry_va start = (ferry_va)(uintptr_t)addr;
	int64_t gate = ferry_door_ask(FERRY_REQUEST_GATE_CLOSE, 0, 0, 0, 0);
	long ret = ferry_sys3(SYS_madvise, addr, len, advice);

	(void)ferry_door_ask(FERRY_REQUEST_RECONCILE, start, start + len, 0, 0);
	if (gate >= 0)
		(void)ferry_door_ask(FERRY_REQUEST_GATE_OPEN, (uint64_t)gate, 0, 0, 0);
	ferry_signals_restore(mask);
	return ret;
}

static bool is_discard(int advice)
{
	return advice == MADV_DONTNEED || advice == MADV_DONTNEED_LOCKED;
}

static long advise(void *addr, size_t len, int advice)
{
	bool slept = ferry_door_is_asleep(), asleep;
	long ret;

	if (is_discard(advice) && ferry_door.gated_discards && ferry_door_is_open())
		return gated_discard(addr, len, advice);
	ret = ferry_sys3(SYS_madvise, addr, len, advice);
	/* An agent that slept before may have woken, and have had pages away already. */
	asleep = slept && ferry_door_is_asleep();
	if (slept && !asleep && is_discard(advice) && ferry_door_is_open() &&
	    ferry_door.gated_discards)
		return gated_discard(addr, len, advice);
	/* A lazy discard looks like one to the agent, but its pages stay. */
	if (ret == 0 && advice == MADV_FREE && !asleep && ferry_door_is_open())
		(void)ferry_door_ask(FERRY_REQUEST_RECONCILE, (ferry_va)(uintptr_t)addr,
				     (ferry_va)(uintptr_t)addr + len, 0, 0);
	if (ret == 0 && advice == MADV_HUGEPAGE)
		tell_flag(addr, len, FERRY_REGION_HUGE, FERRY_REGION_NOHUGE);
	else if (ret == 0 && advice == MADV_NOHUGEPAGE)
		tell_flag(addr, len, FERRY_REGION_NOHUGE, FERRY_REGION_HUGE);
	return ret;
}

FERRY_EXPORT int madvise(void *addr, size_t len, int advice)
{
	return (int)set_errno(advise(addr, len, advice));
}

static void tell_around(const void *p)
{
	int saved = errno;

	(void)ferry_door_ask(FERRY_REQUEST_AT, (uint64_t)(uintptr_t)p, 0, 0, 0);
	errno = saved;
}

/* => whether memory that is there already need not be told of: the agent sleeps. */
static bool is_drawn(size_t bytes)
{
	return ferry_door_draw(bytes) && ferry_door_is_asleep();
}

/* --- the heap ------------------------------------------------------------------------- */

static void *heap_seen; /* (a) end of the heap that the agent knows of */

void ferry_preload_heap_grew(void)
{
	char *now = __atomic_load_n((void **)&__curbrk, __ATOMIC_ACQUIRE);
	char *seen = __atomic_exchange_n(&heap_seen, now, __ATOMIC_ACQ_REL);

	if (now <= seen || is_drawn((size_t)(now - seen)) || !ferry_door_is_open())
		return;
	/* Nobody had asked for a heap before: where it begins, the kernel knows. */
	if (seen)
		tell_mapped((ferry_va)(uintptr_t)seen, (size_t)(now - seen), FERRY_REGION_ADOPTED);
	else
		tell_around(now - 1);
	ferry_preload_lock_found();
}

static void look_at_heap(void)
{
	if (__atomic_load_n((void **)&__curbrk, __ATOMIC_RELAXED) !=
	    __atomic_load_n(&heap_seen, __ATOMIC_RELAXED))
		ferry_preload_heap_grew();
}

FERRY_EXPORT int brk(void *addr)
{
	static int (*next)(void *);
	int ret;

	if (!next)
		next = (int (*)(void *))ferry_preload_next("brk");
	ret = next(addr);
	look_at_heap();
	return ret;
}

FERRY_EXPORT void *sbrk(intptr_t increment)
{
	static void *(*next)(intptr_t);
	void *ret;

	if (!next)
		next = (void *(*)(intptr_t))ferry_preload_next("sbrk");
	ret = next(increment);
	look_at_heap();
	return ret;
}

/* --- malloc --------------------------------------------------------------------------- */

/* The allocator behind us: glibc's, or one that was linked or preloaded (jemalloc, ...). */
static struct {
	bool found;
	bool glibc;
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void *(*reallocarray)(void *, size_t, size_t);
	void *(*memalign)(size_t, size_t);
	void *(*aligned_alloc)(size_t, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
	void *(*valloc)(size_t);
	void *(*pvalloc)(size_t);
} next;

static void find_next(void)
{
	next.malloc = (void *(*)(size_t))ferry_preload_next("malloc");
	next.calloc = (void *(*)(size_t, size_t))ferry_preload_next("calloc");
	next.realloc = (void *(*)(void *, size_t))ferry_preload_next("realloc");
	next.reallocarray =
		(void *(*)(void *, size_t, size_t))ferry_preload_next("reallocarray");
	next.memalign = (void *(*)(size_t, size_t))ferry_preload_next("memalign");
	next.aligned_alloc = (void *(*)(size_t, size_t))ferry_preload_next("aligned_alloc");
	next.posix_memalign =
		(int (*)(void **, size_t, size_t))ferry_preload_next("posix_memalign");
	next.valloc = (void *(*)(size_t))ferry_preload_next("valloc");
	next.pvalloc = (void *(*)(size_t))ferry_preload_next("pvalloc");
	next.glibc = next.malloc == __libc_malloc;
	__atomic_store_n(&next.found, true, __ATOMIC_RELEASE);
}

static inline void need_next(void)
{
	if (__builtin_expect(!__atomic_load_n(&next.found, __ATOMIC_ACQUIRE), 0))
		find_next();
}

static void look_at_other_heap(void *p)
{
	ferry_va heap = (ferry_va)(uintptr_t)p >> HEAP_SHIFT;
	uint64_t bit = UINT64_C(1) << (heap % 64);

	if (__atomic_load_n(&ferry_heap_known[heap / 64], __ATOMIC_RELAXED) & bit)
		return;
	__atomic_fetch_or(&ferry_heap_known[heap / 64], bit, __ATOMIC_RELAXED);
	tell_mapped(heap << HEAP_SHIFT, (size_t)1 << HEAP_SHIFT, FERRY_REGION_ADOPTED);
	ferry_preload_lock_found();
}

static void tell_chunk(const void *p)
{
	tell_around(p);
	ferry_preload_lock_found();
}

/* After glibc gave p: has it mapped anything new for it? */
static inline void *look_at(void *p)
{
	size_t size_word;
	bool asleep = ferry_door_is_asleep();

	if (!p || !next.glibc || (!asleep && !ferry_door_is_open()))
		return p;
	size_word = ((const size_t *)p)[-1];
	if (__builtin_expect(size_word & CHUNK_MMAPPED, 0)) {
		if (!is_drawn(size_word & ~(size_t)CHUNK_FLAGS))
			tell_chunk(p);
	} else if (size_word & CHUNK_OTHER_HEAP)
		look_at_other_heap(p);
	else
		look_at_heap();
	return p;
}

FERRY_EXPORT void *malloc(size_t size)
{
	need_next();
	return look_at(next.malloc(size));
}

FERRY_EXPORT void *calloc(size_t count, size_t size)
{
	need_next();
	return look_at(next.calloc(count, size));
}

FERRY_EXPORT void *realloc(void *p, size_t size)
{
	need_next();
	return look_at(next.realloc(p, size));
}

FERRY_EXPORT void *reallocarray(void *p, size_t count, size_t size)
{
	need_next();
	return look_at(next.reallocarray(p, count, size));
}

FERRY_EXPORT void *memalign(size_t alignment, size_t size)
{
	need_next();
	return look_at(next.memalign(alignment, size));
}

FERRY_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	need_next();
	return look_at(next.aligned_alloc(alignment, size));
}

FERRY_EXPORT int posix_memalign(void **p, size_t alignment, size_t size)
{
	int ret;

	need_next();
	ret = next.posix_memalign(p, alignment, size);
	if (ret == 0)
		(void)look_at(*p);
	return ret;
}

FERRY_EXPORT void *valloc(size_t size)
{
	need_next();
	return look_at(next.valloc(size));
}

FERRY_EXPORT void *pvalloc(size_t size)
{
	need_next();
	return look_at(next.pvalloc(size));
}
