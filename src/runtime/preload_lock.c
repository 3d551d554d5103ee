/* SPDX-License-Identifier: MIT */
/*
 * preload_lock.c - mlock() and its kin.
 *
 * mlockall() is not the kernel's: that would lock the agent's memory, too, and fill its arenas.
 * Here each mapping of the program is locked by itself, and with MCL_FUTURE each one that follows.
 * What libc maps by itself is found where the program's memory is looked after anyway.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/sys.h"
#include "runtime/door.h"
#include "runtime/maps.h"
#include "runtime/preload.h"
#include "runtime/zone.h"

#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

#define ADDRESSES (UINT64_C(1) << FERRY_VA_BITS)

static int future; /* (a) MCL_ bits of the last mlockall(), if MCL_FUTURE was one of them */

static int set_errno(long result)
{
	if (result >= 0)
		return (int)result;
	errno = (int)-result;
	return -1;
}

void ferry_preload_flag(ferry_va start, size_t len, uint32_t set, uint32_t clear)
{
	int saved = errno;

	if (ferry_door_is_open())
		(void)ferry_door_ask(FERRY_REQUEST_FLAG, ferry_page_down(start),
				     ferry_page_up(start + len), set, clear);
	errno = saved;
}

static int locked(long result, const void *addr, size_t len)
{
	if (result == 0)
		ferry_preload_flag((ferry_va)(uintptr_t)addr, len, FERRY_REGION_LOCKED, 0);
	return set_errno(result);
}

FERRY_EXPORT int mlock(const void *addr, size_t len)
{
	return locked(ferry_sys2(SYS_mlock, addr, len), addr, len);
}

FERRY_EXPORT int mlock2(const void *addr, size_t len, unsigned flags)
{
	return locked(ferry_sys3(SYS_mlock2, addr, len, flags), addr, len);
}

FERRY_EXPORT int munlock(const void *addr, size_t len)
{
	long ret = ferry_sys2(SYS_munlock, addr, len);

	if (ret == 0)
		ferry_preload_flag((ferry_va)(uintptr_t)addr, len, 0, FERRY_REGION_LOCKED);
	return set_errno(ret);
}

/* --- all of it -------------------------------------------------------------------------- */

static bool overlaps(const struct ferry_mapping *mapping, const void *start, uint64_t len)
{
	ferry_va va = (ferry_va)(uintptr_t)start;

	return start && mapping->start < va + len && va < mapping->end;
}

/* The agent's memory, the books (which are huge, and nearly empty), the machine. */
static bool is_ours(const struct ferry_mapping *mapping)
{
	return ferry_zone_covers(mapping->start, mapping->end) ||
	       overlaps(mapping, ferry_door.books, FERRY_BOOKS_SIZE_BYTES) ||
	       overlaps(mapping, ferry_door.labels, FERRY_BOOKS_SIZE_BYTES) ||
	       overlaps(mapping, ferry_door.machine,
			ferry_door.machine ? ferry_door.machine->size_bytes : 0);
}

/* Calls visit for each mapping of the program. => 0, -errno (/proc cannot be read). */
static int each_mapping(void (*visit)(const struct ferry_mapping *mapping, void *context),
			void *context)
{
	struct ferry_mapping mapping = {.end = 0};
	long fd = ferry_sys4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return (int)fd;
	while (mapping.end < ADDRESSES && ferry_maps_next((int)fd, mapping.end, &mapping) == 0) {
		if (mapping.end <= ADDRESSES && !is_ours(&mapping))
			visit(&mapping, context);
	}
	ferry_sys1(SYS_close, fd);
	return 0;
}

/* The kernel, too, locks what it can, and does not say what it could not. */
static void lock_one(const struct ferry_mapping *mapping, void *context)
{
	const int *flags = context;
	unsigned on_fault = *flags & MCL_ONFAULT ? MLOCK_ONFAULT : 0;

	(void)ferry_sys3(SYS_mlock2, mapping->start, mapping->end - mapping->start, on_fault);
}

static void add_bytes(const struct ferry_mapping *mapping, void *context)
{
	uint64_t *bytes = context;

	*bytes += mapping->end - mapping->start;
}

static bool may_lock_anything(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

	return ferry_sys2(SYS_capget, &header, data) == 0 &&
	       (data[0].effective >> CAP_IPC_LOCK & 1) != 0;
}

/* => 0, or what the kernel would say. */
static int check_limit(int flags)
{
	struct rlimit limit = {.rlim_cur = 0};
	uint64_t bytes = 0;
	int err;

	if (may_lock_anything())
		return 0;
	(void)ferry_sys4(SYS_prlimit64, 0, RLIMIT_MEMLOCK, NULL, &limit);
	if (limit.rlim_cur == 0)
		return -EPERM;
	err = each_mapping(add_bytes, &bytes);
	if (err == 0 && (flags & MCL_CURRENT) && bytes > limit.rlim_cur)
		err = -ENOMEM;
	return err;
}

static int lock_all(int flags)
{
	int err;

	if (flags == 0 || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) ||
	    flags == MCL_ONFAULT)
		return -EINVAL;
	err = check_limit(flags);
	if (err)
		return err;
	__atomic_store_n(&future, flags & MCL_FUTURE ? flags : 0, __ATOMIC_RELEASE);
	if (!(flags & MCL_CURRENT))
		return 0;
	err = each_mapping(lock_one, &flags);
	if (!err)
		ferry_preload_flag(0, ADDRESSES, FERRY_REGION_LOCKED, 0);
	return err;
}

FERRY_EXPORT int mlockall(int flags)
{
	if (!ferry_door_is_open())
		return set_errno(ferry_sys1(SYS_mlockall, flags));
	return set_errno(lock_all(flags));
}

FERRY_EXPORT int munlockall(void)
{
	long ret = ferry_sys0(SYS_munlockall);

	__atomic_store_n(&future, 0, __ATOMIC_RELEASE);
	if (ret == 0)
		ferry_preload_flag(0, ADDRESSES, 0, FERRY_REGION_LOCKED);
	return set_errno(ret);
}

/* --- what is mapped later ----------------------------------------------------------------- */

bool ferry_preload_locks_new(void)
{
	return __atomic_load_n(&future, __ATOMIC_ACQUIRE) != 0;
}

bool ferry_preload_lock_new(long *at, size_t len)
{
	if (!ferry_preload_locks_new() || ferry_sys3(SYS_mlock2, *at, len, MLOCK_ONFAULT) == 0)
		return true;
	(void)ferry_sys2(SYS_munmap, *at, len);
	*at = -EAGAIN;
	return false;
}

void ferry_preload_lock_filled(long at, size_t len)
{
	int flags = __atomic_load_n(&future, __ATOMIC_ACQUIRE);

	if (flags && !(flags & MCL_ONFAULT))
		(void)ferry_sys2(SYS_mlock, at, len);
}

void ferry_preload_lock_found(void)
{
	int flags = __atomic_load_n(&future, __ATOMIC_ACQUIRE);

	if (!flags)
		return;
	(void)each_mapping(lock_one, &flags);
	ferry_preload_flag(0, ADDRESSES, FERRY_REGION_LOCKED, 0);
}

void ferry_preload_lock_reset(void)
{
	future = 0;
}
