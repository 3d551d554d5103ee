/* SPDX-License-Identifier: MIT */
/*
 * preload_taint.c - the functions that keep references to pages which the host does not count as
 * pins: vmsplice() (the pipe) and sockets that send without copying (the network).
 *
 * The host moves such a page, and that is well: whoever holds it sees what was there at the time of
 * the call. But its old frame must not become another page's next one, or he would see that.
 *
 * A socket may come from another program with SO_ZEROCOPY set; so it is asked for with each message
 * as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "runtime/door.h"
#include "runtime/preload.h"
#include "runtime/user.h"

void ferry_preload_taint(void)
{
	int saved = errno;

	if (__atomic_load_n(&ferry_tainted, __ATOMIC_ACQUIRE) == 2)
		return;
	/* An agent that starts meanwhile, or a child's, reads it for itself. */
	__atomic_store_n(&ferry_tainted, 1, __ATOMIC_SEQ_CST);
	if (ferry_door_ask(FERRY_REQUEST_TAINT, 0, 0, 0, 0) == 0)
		__atomic_store_n(&ferry_tainted, 2, __ATOMIC_RELEASE);
	errno = saved;
}

void ferry_preload_rings(void)
{
	int saved = errno;

	if (ferry_door.gated_discards)
		(void)ferry_door_ask(FERRY_REQUEST_TAINT, 1, 0, 0, 0);
	errno = saved;
}

bool ferry_preload_is_zerocopy(int level, int name, const void *value, size_t size)
{
	int on = 0;

	if (level != SOL_SOCKET || name != SO_ZEROCOPY || size < sizeof(on))
		return false;
	return ferry_user_read(&on, value, sizeof(on)) == 0 && on != 0;
}

FERRY_EXPORT ssize_t vmsplice(int fd, const struct iovec *parts, size_t count, unsigned int flags)
{
	static ssize_t (*next)(int, const struct iovec *, size_t, unsigned int);

	if (!next)
		next = (ssize_t(*)(int, const struct iovec *, size_t, unsigned int))
			ferry_preload_next("vmsplice");
	ferry_preload_taint();
	return next(fd, parts, count, flags);
}

FERRY_EXPORT int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	static int (*next)(int, int, int, const void *, socklen_t);

	if (!next)
		next = (int (*)(int, int, int, const void *, socklen_t))
			ferry_preload_next("setsockopt");
	if (ferry_preload_is_zerocopy(level, name, value, size))
		ferry_preload_taint();
	return next(fd, level, name, value, size);
}

static inline void look_at_flags(int flags)
{
	if (flags & MSG_ZEROCOPY)
		ferry_preload_taint();
}

FERRY_EXPORT ssize_t send(int fd, const void *data, size_t size, int flags)
{
	static ssize_t (*next)(int, const void *, size_t, int);

	if (!next)
		next = (ssize_t(*)(int, const void *, size_t, int))ferry_preload_next("send");
	look_at_flags(flags);
	return next(fd, data, size, flags);
}

FERRY_EXPORT ssize_t sendto(int fd, const void *data, size_t size, int flags,
			    const struct sockaddr *address, socklen_t address_size)
{
	static ssize_t (*next)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);

	if (!next)
		next = (ssize_t(*)(int, const void *, size_t, int, const struct sockaddr *,
				   socklen_t))ferry_preload_next("sendto");
	look_at_flags(flags);
	return next(fd, data, size, flags, address, address_size);
}

FERRY_EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	static ssize_t (*next)(int, const struct msghdr *, int);

	if (!next)
		next = (ssize_t(*)(int, const struct msghdr *, int))ferry_preload_next("sendmsg");
	look_at_flags(flags);
	return next(fd, message, flags);
}

FERRY_EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	static int (*next)(int, struct mmsghdr *, unsigned int, int);

	if (!next)
		next = (int (*)(int, struct mmsghdr *, unsigned int, int))
			ferry_preload_next("sendmmsg");
	look_at_flags(flags);
	return next(fd, messages, count, flags);
}
