/* SPDX-License-Identifier: MIT */
/*
 * preload_identity.c - the functions by which a program becomes another user or gives up rights.
 *
 * The agent must never be more than the program. It follows before the call returns, so the program
 * does nothing as its new self while its old one is within its reach. libc's functions change all
 * threads at once; capset(), and the same by syscall(), only the calling one. A thread that enters
 * another user namespace has every capability there and none here.
 */
#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "runtime/door.h"
#include "runtime/preload.h"

static uint64_t own_proc_id(void)
{
	return (uint64_t)ferry_preload_proc_id("/proc/thread-self", ferry_sys0(SYS_gettid));
}

void ferry_preload_follow(bool one_thread)
{
	int saved = errno;

	(void)ferry_door_ask(FERRY_REQUEST_FOLLOW, own_proc_id(), one_thread, 0,
			     0);
	errno = saved;
}

static uint64_t user_namespace(void)
{
	struct stat status;

	if (ferry_sys2(SYS_stat, "/proc/thread-self/ns/user", &status))
		return 0;
	return status.st_ino;
}

long ferry_preload_namespace(long nr, long a, long b)
{
	bool leaves = nr == SYS_unshare && (a & CLONE_NEWUSER);
	uint64_t before = nr == SYS_setns && ferry_door_is_open() ? user_namespace() : 0;
	long result = ferry_sys2(nr, a, b);

	if (result == 0 && (leaves || (before && user_namespace() != before)))
		(void)ferry_door_ask(FERRY_REQUEST_FOLLOW, own_proc_id(), true,
				     true, 0);
	return result;
}

static int set_errno(long result)
{
	if (result < 0) {
		errno = (int)-result;
		return -1;
	}
	return (int)result;
}

FERRY_EXPORT int unshare(int flags)
{
	return set_errno(ferry_preload_namespace(SYS_unshare, flags, 0));
}

FERRY_EXPORT int setns(int fd, int kind)
{
	return set_errno(ferry_preload_namespace(SYS_setns, fd, kind));
}

static int followed(int ret)
{
	if (ret == 0)
		ferry_preload_follow(false);
	return ret;
}

FERRY_EXPORT int setuid(uid_t uid)
{
	static int (*next)(uid_t);

	if (!next)
		next = (int (*)(uid_t))ferry_preload_next("setuid");
	return followed(next(uid));
}

FERRY_EXPORT int seteuid(uid_t effective)
{
	static int (*next)(uid_t);

	if (!next)
		next = (int (*)(uid_t))ferry_preload_next("seteuid");
	return followed(next(effective));
}

FERRY_EXPORT int setreuid(uid_t real, uid_t effective)
{
	static int (*next)(uid_t, uid_t);

	if (!next)
		next = (int (*)(uid_t, uid_t))ferry_preload_next("setreuid");
	return followed(next(real, effective));
}

FERRY_EXPORT int setresuid(uid_t real, uid_t effective, uid_t saved)
{
	static int (*next)(uid_t, uid_t, uid_t);

	if (!next)
		next = (int (*)(uid_t, uid_t, uid_t))ferry_preload_next("setresuid");
	return followed(next(real, effective, saved));
}

FERRY_EXPORT int setgid(gid_t gid)
{
	static int (*next)(gid_t);

	if (!next)
		next = (int (*)(gid_t))ferry_preload_next("setgid");
	return followed(next(gid));
}

FERRY_EXPORT int setegid(gid_t effective)
{
	static int (*next)(gid_t);

	if (!next)
		next = (int (*)(gid_t))ferry_preload_next("setegid");
	return followed(next(effective));
}

FERRY_EXPORT int setregid(gid_t real, gid_t effective)
{
	static int (*next)(gid_t, gid_t);

	if (!next)
		next = (int (*)(gid_t, gid_t))ferry_preload_next("setregid");
	return followed(next(real, effective));
}

FERRY_EXPORT int setresgid(gid_t real, gid_t effective, gid_t saved)
{
	static int (*next)(gid_t, gid_t, gid_t);

	if (!next)
		next = (int (*)(gid_t, gid_t, gid_t))ferry_preload_next("setresgid");
	return followed(next(real, effective, saved));
}

FERRY_EXPORT int setgroups(size_t count, const gid_t *groups)
{
	static int (*next)(size_t, const gid_t *);

	if (!next)
		next = (int (*)(size_t, const gid_t *))ferry_preload_next("setgroups");
	return followed(next(count, groups));
}

/* libc's own calls setgroups() without passing through the symbol. */
FERRY_EXPORT int initgroups(const char *user, gid_t group)
{
	static int (*next)(const char *, gid_t);

	if (!next)
		next = (int (*)(const char *, gid_t))ferry_preload_next("initgroups");
	return followed(next(user, group));
}

/* Declared in no header of libc. */
int capset(void *header, const void *data);
FERRY_EXPORT int capset(void *header, const void *data)
{
	static int (*next)(void *, const void *);
	int ret;

	if (!next)
		next = (int (*)(void *, const void *))ferry_preload_next("capset");
	ret = next(header, data);
	if (ret == 0)
		ferry_preload_follow(true);
	return ret;
}
