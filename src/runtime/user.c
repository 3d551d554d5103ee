/* SPDX-License-Identifier: MIT */
/*
 * user.c - see user.h.
 *
 * The kernel copies: process_vm_readv and process_vm_writev on the calling process answer EFAULT
 * where a pointer of ours would crash. Where a seccomp filter forbids them, a pipe does the same.
 */
#include "runtime/user.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "base/sys.h"

enum { PIPE_BLOCK = 4096 };

/* Each step is at most a page, so that a pipe never blocks. */
static int copy_by_pipe(char *to, const char *from, size_t size_bytes)
{
	int fds[2];
	int err = (int)ferry_sys2(SYS_pipe2, fds, 02000000 /* O_CLOEXEC */);

	for (size_t at = 0; !err && at < size_bytes;) {
		size_t left = size_bytes - at;
		long n = ferry_sys3(SYS_write, fds[1], from + at,
				    left < PIPE_BLOCK ? left : PIPE_BLOCK);

		if (n > 0 && ferry_sys3(SYS_read, fds[0], to + at, n) == n)
			at += (size_t)n;
		else if (n != -EINTR)
			err = -EFAULT;
	}
	if (err != -EMFILE && err != -ENFILE) {
		ferry_sys1(SYS_close, fds[0]);
		ferry_sys1(SYS_close, fds[1]);
	}
	return err;
}

static int copy(char *to, const char *from, size_t size_bytes, long nr)
{
	long self = ferry_sys0(SYS_gettid); /* main() may have left, and its memory with it */
	size_t at = 0;

	while (at < size_bytes) {
		struct iovec local = {.iov_base = nr == SYS_process_vm_readv ? to + at :
						  (char *)(uintptr_t)(from + at),
				      .iov_len = size_bytes - at};
		struct iovec remote = {.iov_base = nr == SYS_process_vm_readv ?
						   (char *)(uintptr_t)(from + at) : to + at,
				       .iov_len = size_bytes - at};
		long n = ferry_sys6(nr, self, (long)&local, 1, (long)&remote, 1, 0);

		if (n == -EPERM || n == -ENOSYS || n == -EACCES)
			return copy_by_pipe(to + at, from + at, size_bytes - at);
		if (n == -EINTR)
			continue;
		if (n <= 0)
			return -EFAULT;
		at += (size_t)n;
	}
	return 0;
}

int ferry_user_read(void *to, const void *from, size_t size_bytes)
{
	return copy(to, from, size_bytes, SYS_process_vm_readv);
}

int ferry_user_write(void *to, const void *from, size_t size_bytes)
{
	return copy(to, from, size_bytes, SYS_process_vm_writev);
}

int ferry_user_probe(void *memory, size_t size_bytes)
{
	char *at = memory;
	char *end = at + size_bytes;
	int err = 0;

	if (end < at)
		return -EFAULT;
	/* A byte of each page is read and written back: another thread that writes it meanwhile has
	 * handed us an array that it still uses. */
	while (!err && at < end) {
		char byte;

		err = ferry_user_read(&byte, at, 1);
		if (!err)
			err = ferry_user_write(at, &byte, 1);
		at = (char *)(ferry_page_down((ferry_va)(uintptr_t)at) + FERRY_PAGE_SIZE);
	}
	return err;
}

void *ferry_user_map(size_t size_bytes)
{
	long fd = ferry_sys2(SYS_memfd_create, "pageferry-call", MFD_CLOEXEC), at = -ENOMEM;

	if (fd < 0)
		return NULL;
	if (ferry_sys2(SYS_ftruncate, fd, size_bytes) == 0)
		at = ferry_sys6(SYS_mmap, 0, (long)size_bytes, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_POPULATE, fd, 0);
	ferry_sys1(SYS_close, fd);
	return at < 0 && at > -4096 ? NULL : (void *)at;
}
