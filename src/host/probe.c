/* SPDX-License-Identifier: MIT */
/* probe.c - see probe.h: all but userfaultfd itself. */
#define _GNU_SOURCE
#include "host/probe.h"

#include "base/sys.h"
#include "runtime/hostinfo.h"
#include "runtime/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

/* --- files of one value ------------------------------------------------------------------- */

/* The first line of a file. => false: it cannot be read. */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");
	bool read;

	line[0] = '\0';
	if (file == NULL)
		return false;
	read = fgets(line, (int)size, file) != NULL;
	(void)fclose(file);
	line[strcspn(line, "\n")] = '\0';
	return read;
}

/* => the number in a file, or what it stands for when there is none. */
static int64_t read_number(const char *path, int64_t otherwise)
{
	char line[64];

	return read_line(path, line, sizeof(line)) ? strtoll(line, NULL, 10) : otherwise;
}

/* The number behind NAME: in a file of such lines. */
static int64_t read_field(const char *path, const char *name, int64_t otherwise)
{
	FILE *file = fopen(path, "re");
	size_t length = strlen(name);
	int64_t value = otherwise;
	char line[256];

	if (file == NULL)
		return otherwise;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (strncmp(line, name, length) == 0 && line[length] == ':')
			value = strtoll(line + length + 1, NULL, 10);
	}
	(void)fclose(file);
	return value;
}

/* --- system calls that a filter may refuse --------------------------------------------------- */

static int result_of(long result)
{
	return result < 0 ? (int)result : 0;
}

static int try_pidfd(void)
{
	long fd = ferry_sys2(SYS_pidfd_open, getpid(), 0);

	if (fd >= 0)
		(void)close((int)fd);
	return result_of(fd);
}

static int try_remote_read(void)
{
	char from = 1, to = 0;
	struct iovec local = { .iov_base = &to, .iov_len = 1 };
	struct iovec remote = { .iov_base = &from, .iov_len = 1 };
	long got = ferry_sys6(SYS_process_vm_readv, getpid(), FERRY_SYS_ARG(&local), 1,
			      FERRY_SYS_ARG(&remote), 1, 0);

	return got == 1 && to == from ? 0 : got < 0 ? (int)got : -EIO;
}

static int try_memfd(void)
{
	long fd = ferry_sys2(SYS_memfd_create, "pageferry-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int error;

	if (fd < 0)
		return (int)fd;
	error = fcntl((int)fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0 ? -errno : 0;
	(void)close((int)fd);
	return error;
}

static void try_pagemap(struct ferry_probe *probe)
{
	uint64_t entry = 0;
	struct page_region region;
	struct pm_scan_arg scan = {
		.size = sizeof(scan),
		.start = ferry_page_down((uintptr_t)&entry),
		.end = ferry_page_down((uintptr_t)&entry) + FERRY_PAGE_SIZE,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_PRESENT,
		.return_mask = PAGE_IS_PRESENT | PAGE_IS_PFNZERO,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	probe->pagemap = fd < 0 ? -errno : 0;
	probe->pagemap_scan = probe->pagemap;
	if (fd < 0)
		return;
	if (pread(fd, &entry, sizeof(entry),
		  (off_t)(scan.start / FERRY_PAGE_SIZE * sizeof(entry))) != sizeof(entry) ||
	    (entry & FERRY_PAGEMAP_PRESENT) == 0)
		probe->pagemap = -EIO;
	probe->pagemap_scan = result_of(ferry_sys3(SYS_ioctl, fd, PAGEMAP_SCAN, &scan));
	(void)close(fd);
}

/* --- limits and settings -------------------------------------------------------------------- */

static uint64_t limit_of(int resource, bool hard)
{
	struct rlimit limit;
	rlim_t value;

	if (getrlimit((__rlimit_resource_t)resource, &limit) != 0)
		return UINT64_MAX;
	value = hard ? limit.rlim_max : limit.rlim_cur;
	return value == RLIM_INFINITY ? UINT64_MAX : (uint64_t)value;
}

/* Tried, and taken back. */
static bool may_raise(int resource)
{
	struct rlimit limit, more;
	bool may;

	if (getrlimit((__rlimit_resource_t)resource, &limit) != 0)
		return false;
	if (limit.rlim_max == RLIM_INFINITY)
		return true;
	more = limit;
	more.rlim_max++;
	may = setrlimit((__rlimit_resource_t)resource, &more) == 0;
	return may && setrlimit((__rlimit_resource_t)resource, &limit) == 0;
}

static void read_limits(struct ferry_probe *probe)
{
	probe->files_max = limit_of(RLIMIT_NOFILE, true);
	probe->address_space_bytes = limit_of(RLIMIT_AS, false);
	probe->locked_bytes = limit_of(RLIMIT_MEMLOCK, false);
	probe->data_bytes = limit_of(RLIMIT_DATA, false);
	probe->data_may_rise = may_raise(RLIMIT_DATA);
	probe->core_bytes = limit_of(RLIMIT_CORE, false);
	probe->group_bytes = ferry_hostinfo_cgroup_limit_bytes();
	probe->memory_bytes = ferry_hostinfo_available_bytes();
}

/* The word in brackets. */
static void read_choice(const char *path, char *word, size_t size)
{
	char line[128];
	const char *open;

	word[0] = '\0';
	if (!read_line(path, line, sizeof(line)))
		return;
	open = strchr(line, '[');
	if (open != NULL)
		(void)snprintf(word, size, "%.*s", (int)strcspn(open + 1, "]"), open + 1);
}

static void read_memory_settings(struct ferry_probe *probe)
{
	int64_t limit = read_field("/proc/meminfo", "CommitLimit", 0);
	int64_t used = read_field("/proc/meminfo", "Committed_AS", 0);

	read_choice("/sys/kernel/mm/transparent_hugepage/enabled", probe->thp, sizeof(probe->thp));
	probe->overcommit = (int)read_number("/proc/sys/vm/overcommit_memory", -1);
	probe->commit_left_bytes = limit > used ? (uint64_t)(limit - used) * 1024 : 0;
	probe->max_map_count = (uint64_t)read_number("/proc/sys/vm/max_map_count", 0);
	probe->huge_pages = (uint64_t)read_field("/proc/meminfo", "HugePages_Total", 0);
	(void)read_line("/sys/devices/system/node/has_memory", probe->nodes, sizeof(probe->nodes));
}

static bool has_capability(int capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };

	return ferry_sys2(SYS_capget, &header, data) == 0 &&
	       (data[0].effective >> capability & 1) != 0;
}

void ferry_probe_needed(struct ferry_probe *probe)
{
	memset(probe, 0, sizeof(*probe));
	probe->uid = geteuid();
	ferry_probe_uffd(&probe->uffd);
	try_pagemap(probe);
}

void ferry_probe(struct ferry_probe *probe)
{
	char directory[FERRY_RUNDIR_PATH_MAX];
	struct utsname names;

	ferry_probe_needed(probe);
	if (uname(&names) == 0) {
		(void)snprintf(probe->release, sizeof(probe->release), "%s", names.release);
		(void)snprintf(probe->machine, sizeof(probe->machine), "%s", names.machine);
	}
	probe->may_ptrace = has_capability(CAP_SYS_PTRACE);
	probe->pidfd = try_pidfd();
	probe->remote_read = try_remote_read();
	probe->kcmp = result_of(ferry_sys5(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0));
	probe->sealed_memfd = try_memfd();
	read_limits(probe);
	read_memory_settings(probe);
	probe->seccomp = (int)read_field("/proc/self/status", "Seccomp", -1);
	probe->no_new_privileges = read_field("/proc/self/status", "NoNewPrivs", 0) != 0;
	probe->yama = (int)read_number("/proc/sys/kernel/yama/ptrace_scope", -1);
	probe->run_directory = ferry_rundir_make(directory, sizeof(directory));
}
