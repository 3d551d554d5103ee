/* SPDX-License-Identifier: MIT */
/*
 * preload_vm.c - calls of programs that manage or watch memory themselves.
 *
 * A mapping can belong to one userfaultfd. A program that registers one of its own gets it: the
 * pages come home, we give the range up, and it stays the program's. Likewise the source of its
 * UFFDIO_MOVE.
 *
 * mincore(): a page that is away is as resident as it was.
 *
 * RLIMIT_AS and RLIMIT_DATA: what a program sets is meant for its own memory. What we have beside
 * it is added when it sets a limit, and taken off when it asks.
 */
#include <errno.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/sys.h"
#include "runtime/door.h"
#include "runtime/preload.h"
#include "runtime/user.h"
#include "runtime/zone.h"

/* Times that housekeeping may take a mapping over again before the program has registered it. */
enum { RELEASE_TRIES = 16 };

static long set_errno(long result)
{
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

static void release(uint64_t start, uint64_t len)
{
	if (start + len > start && ferry_door_is_open())
		(void)ferry_door_ask(FERRY_REQUEST_RELEASE, ferry_page_down(start),
				     ferry_page_up(start + len), 0, 0);
}

static long register_range(int fd, void *arg)
{
	struct uffdio_register reg;
	long ret = ferry_sys3(SYS_ioctl, fd, UFFDIO_REGISTER, arg);

	/* Is it we who have it? */
	for (int tries = 0; ret == -EBUSY && tries < RELEASE_TRIES; tries++) {
		if (ferry_user_read(&reg, arg, sizeof(reg)))
			break;
		release(reg.range.start, reg.range.len);
		ret = ferry_sys3(SYS_ioctl, fd, UFFDIO_REGISTER, arg);
	}
	return ret;
}

static long move_range(int fd, void *arg)
{
	struct uffdio_move move;

	if (ferry_user_read(&move, arg, sizeof(move)) == 0)
		release(move.src, move.len);
	return ferry_sys3(SYS_ioctl, fd, UFFDIO_MOVE, arg);
}

FERRY_EXPORT int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	int saved = errno;
	void *arg;
	long ret;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (__builtin_expect(request == UFFDIO_REGISTER, 0))
		ret = register_range(fd, arg);
	else if (__builtin_expect(request == UFFDIO_MOVE, 0))
		ret = move_range(fd, arg);
	else
		ret = ferry_sys3(SYS_ioctl, fd, request, arg);
	errno = saved;
	return (int)set_errno(ret);
}

FERRY_EXPORT int mincore(void *addr, size_t len, unsigned char *vec)
{
	int saved = errno;
	bool managed = ferry_door_is_open();
	int64_t gate = -ESRCH;
	uint64_t mask = 0;
	long ret;

	if (managed) {
		/* Nobody may leave this by a longjmp while the gate is closed. */
		mask = ferry_signals_block();
		gate = ferry_door_ask(FERRY_REQUEST_GATE_CLOSE, 0, 0, 0, 0);
	}
	ret = ferry_sys3(SYS_mincore, addr, len, vec);
	if (gate >= 0)
		(void)ferry_door_ask(FERRY_REQUEST_GATE_OPEN, (uint64_t)gate, 0, 0, 0);
	if (managed)
		ferry_signals_restore(mask);
	errno = saved;
	return (int)set_errno(ret);
}

/* --- limits ----------------------------------------------------------------------------- */

static rlim_t own_addresses(void)
{
	/* An agent that sleeps will need as much. */
	if (!ferry_door_is_asleep() && (!ferry_door_is_open() || !ferry_door.books))
		return 0;
	return ferry_zone_bytes() + 2 * FERRY_BOOKS_SIZE_BYTES; /* with the labels */
}

static rlim_t with_ours(rlim_t limit, rlim_t ours)
{
	return limit >= RLIM_INFINITY - ours ? RLIM_INFINITY : limit + ours;
}

static rlim_t without_ours(rlim_t limit, rlim_t ours)
{
	if (limit == RLIM_INFINITY)
		return limit;
	return limit > ours ? limit - ours : 0;
}

/* What is to be added to a limit of data: the first one that is set makes the arenas count. */
static rlim_t own_data(const struct rlimit *set)
{
	rlim_t ours = __atomic_load_n(&ferry_door.data_bytes, __ATOMIC_ACQUIRE);
	int64_t counted;

	if (ours || (set->rlim_cur == RLIM_INFINITY && set->rlim_max == RLIM_INFINITY) ||
	    !ferry_door_is_open())
		return ours;
	counted = ferry_door_ask(FERRY_REQUEST_DATA, 0, 0, 0, 0);
	return counted > 0 ? (rlim_t)counted : 0;
}

/* Limits of memory, of the calling process. => 0, -errno. */
static long limit_memory(int resource, const struct rlimit *set, struct rlimit *got)
{
	bool data = resource == RLIMIT_DATA;
	rlim_t ours = data ? __atomic_load_n(&ferry_door.data_bytes, __ATOMIC_ACQUIRE) :
			     own_addresses();
	struct rlimit now, new;
	long ret;

	if (set) {
		rlim_t more = ours;

		if (ferry_user_read(&new, set, sizeof(new)))
			return -EFAULT;
		if (data)
			more = own_data(&new);
		new.rlim_cur = with_ours(new.rlim_cur, more);
		new.rlim_max = with_ours(new.rlim_max, more);
	}
	ret = ferry_sys4(SYS_prlimit64, 0, resource, set ? &new : NULL, &now);
	if (ret || !got)
		return ret;
	now.rlim_cur = without_ours(now.rlim_cur, ours);
	now.rlim_max = without_ours(now.rlim_max, ours);
	return ferry_user_write(got, &now, sizeof(now));
}

static int limit(int pid, int resource, const struct rlimit *set, struct rlimit *got)
{
	bool self = pid == 0 || pid == (int)ferry_sys0(SYS_getpid);
	int saved = errno;
	long ret;

	if ((resource == RLIMIT_AS || resource == RLIMIT_DATA) && self)
		ret = limit_memory(resource, set, got);
	else
		ret = ferry_sys4(SYS_prlimit64, pid, resource, set, got);
	errno = saved;
	return (int)set_errno(ret);
}

/* On this machine the functions with 64 in their names are the same. */
FERRY_EXPORT int setrlimit(__rlimit_resource_t resource, const struct rlimit *set)
{
	return limit(0, (int)resource, set, NULL);
}

FERRY_EXPORT int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *set)
{
	return limit(0, (int)resource, (const struct rlimit *)set, NULL);
}

FERRY_EXPORT int getrlimit(__rlimit_resource_t resource, struct rlimit *got)
{
	return limit(0, (int)resource, NULL, got);
}

FERRY_EXPORT int getrlimit64(__rlimit_resource_t resource, struct rlimit64 *got)
{
	return limit(0, (int)resource, NULL, (struct rlimit *)got);
}

FERRY_EXPORT int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *set,
			 struct rlimit *got)
{
	return limit(pid, (int)resource, set, got);
}

FERRY_EXPORT int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *set,
			   struct rlimit64 *got)
{
	return limit(pid, (int)resource, (const struct rlimit *)set, (struct rlimit *)got);
}
