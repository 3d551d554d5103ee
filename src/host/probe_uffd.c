/* SPDX-License-Identifier: MIT */
/* probe_uffd.c - see probe.h: userfaultfd, tried on pages of our own. */
#define _GNU_SOURCE
#include "host/probe.h"

#include "base/sys.h"
#include "mmu/uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define NEEDED                                                                  \
	((uint64_t)(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_EVENT_REMAP | \
		    UFFD_FEATURE_EVENT_REMOVE | UFFD_FEATURE_EVENT_UNMAP |      \
		    UFFD_FEATURE_THREAD_ID))

enum { USER_MODE_ONLY = 1, MARK = 0x5a };

/* --- ways to one -------------------------------------------------------------------------- */

static int try_call(int flags)
{
	long fd = ferry_sys1(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags);

	if (fd < 0)
		return (int)fd;
	(void)close((int)fd);
	return 0;
}

/* The minor number of the misc device, -1 if the kernel has none. */
static int find_minor(void)
{
	FILE *file = fopen("/proc/misc", "re");
	char line[128], name[64];
	int minor = -1, number;

	if (file == NULL)
		return -1;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "%d %63s", &number, name) == 2 && strcmp(name, "userfaultfd") == 0)
			minor = number;
	}
	(void)fclose(file);
	return minor;
}

static int read_unprivileged(void)
{
	FILE *file = fopen("/proc/sys/vm/unprivileged_userfaultfd", "re");
	int value = -1;

	if (file == NULL)
		return -1;
	if (fscanf(file, "%d", &value) != 1)
		value = -1;
	(void)fclose(file);
	return value;
}

/* --- what it can do ----------------------------------------------------------------------- */

/* => a userfaultfd with these features; *all, if not NULL, those that there are. -errno. */
static int open_with(int device, uint64_t features, uint64_t *all)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = ferry_uffd_open(device), error;

	if (fd < 0)
		return fd;
	error = (int)ferry_sys3(SYS_ioctl, fd, UFFDIO_API, &api);
	if (error == 0) {
		if (all != NULL)
			*all = api.features;
		return fd;
	}
	(void)close(fd);
	return error;
}

static int try_features(int device, uint64_t features, uint64_t *all)
{
	int fd = open_with(device, features, all);

	if (fd < 0)
		return fd;
	(void)close(fd);
	return 0;
}

static int arm(int fd, const unsigned char *page)
{
	struct uffdio_register range = {
		.range = { .start = (uintptr_t)page, .len = FERRY_PAGE_SIZE },
		.mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
	};

	return (int)ferry_sys3(SYS_ioctl, fd, UFFDIO_REGISTER, &range);
}

static int do_move(int fd, const unsigned char *to, const unsigned char *from)
{
	struct uffdio_move move = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)from,
		.len = FERRY_PAGE_SIZE,
	};

	return (int)ferry_sys3(SYS_ioctl, fd, UFFDIO_MOVE, &move);
}

static int do_copy(int fd, const unsigned char *to, const unsigned char *from)
{
	struct uffdio_copy copy = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)from,
		.len = FERRY_PAGE_SIZE,
		.mode = UFFDIO_COPY_MODE_WP,
	};

	return (int)ferry_sys3(SYS_ioctl, fd, UFFDIO_COPY, &copy);
}

/* Brings one page to an armed one by `place`. => 0 if its content is there afterwards. */
static int try_page(int device, uint64_t features,
		    int (*place)(int fd, const unsigned char *to, const unsigned char *from))
{
	int fd = open_with(device, features, NULL), error;
	unsigned char *pages;

	if (fd < 0)
		return fd;
	pages = mmap(NULL, 2 * FERRY_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	if (pages == MAP_FAILED) {
		(void)close(fd);
		return -ENOMEM;
	}
	/* A whole huge page would have to be split first. */
	(void)madvise(pages, 2 * FERRY_PAGE_SIZE, MADV_NOHUGEPAGE);
	pages[FERRY_PAGE_SIZE] = MARK;
	error = arm(fd, pages);
	if (error == 0)
		error = place(fd, pages, pages + FERRY_PAGE_SIZE);
	/* Read only when it is there: nobody serves a fault. */
	if (error == 0 && *(volatile unsigned char *)pages != MARK)
		error = -EIO;
	(void)munmap(pages, 2 * FERRY_PAGE_SIZE);
	(void)close(fd);
	return error;
}

void ferry_probe_uffd(struct ferry_probe_uffd *uffd)
{
	long made;
	int device;

	memset(uffd, 0, sizeof(*uffd));
	device = open("/dev/userfaultfd", O_RDONLY | O_CLOEXEC);
	uffd->device = device < 0 ? -errno : 0;
	made = device < 0
		       ? uffd->device
		       : ferry_sys3(SYS_ioctl, device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
	uffd->device_new = made < 0 ? (int)made : 0;
	if (made >= 0)
		(void)close((int)made);
	uffd->call = try_call(0);
	uffd->call_user = try_call(USER_MODE_ONLY);
	uffd->device_minor = find_minor();
	uffd->unprivileged = read_unprivileged();
	(void)try_features(device, 0, &uffd->features);
	uffd->api = try_features(device, NEEDED, NULL);
	uffd->fork_events = try_features(device, NEEDED | UFFD_FEATURE_EVENT_FORK, NULL);
	uffd->move = try_page(device, UFFD_FEATURE_MOVE, do_move);
	uffd->copy = try_page(device, UFFD_FEATURE_PAGEFAULT_FLAG_WP, do_copy);
	if (device >= 0)
		(void)close(device);
}
