/* SPDX-License-Identifier: MIT */
/* hostinfo.c - see hostinfo.h. */
#define _GNU_SOURCE
#include "runtime/hostinfo.h"

#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NO_LIMIT (UINT64_C(1) << 62) /* version 1 of control groups has a number for it */

uint64_t ferry_hostinfo_available_bytes(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
			break;
	}
	(void)fclose(file);
	return (uint64_t)kib * 1024;
}

/* => the number in a file, UINT64_MAX if there is none ("max"). */
static uint64_t read_limit(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned long long limit = UINT64_MAX;

	if (file == NULL)
		return UINT64_MAX;
	if (fscanf(file, "%llu", &limit) != 1 || limit >= NO_LIMIT)
		limit = UINT64_MAX;
	(void)fclose(file);
	return limit;
}

/* The smallest limit of a group and of all above it; path is cut on the way up. */
static uint64_t limit_of_path(const char *mount, char *path, const char *file)
{
	uint64_t least = UINT64_MAX;

	for (;;) {
		char name[4096 + 128];
		uint64_t limit;
		char *slash;

		(void)snprintf(name, sizeof(name), "%s%s/%s", mount, path, file);
		limit = read_limit(name);
		least = limit < least ? limit : least;
		slash = strrchr(path, '/');
		if (slash == NULL)
			return least;
		*slash = '\0';
	}
}

uint64_t ferry_hostinfo_cgroup_limit_bytes(void)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	uint64_t least = UINT64_MAX;
	char line[4096];

	if (file == NULL)
		return least;
	while (fgets(line, sizeof(line), file) != NULL) {
		char *controllers = strchr(line, ':');
		char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
		uint64_t limit = UINT64_MAX;

		if (path == NULL)
			continue;
		*path++ = '\0';
		path[strcspn(path, "\n")] = '\0';
		if (controllers[1] == '\0')
			limit = limit_of_path("/sys/fs/cgroup", path, "memory.max");
		else if (strstr(controllers, "memory") != NULL)
			limit = limit_of_path("/sys/fs/cgroup/memory", path,
					      "memory.limit_in_bytes");
		least = limit < least ? limit : least;
	}
	(void)fclose(file);
	return least;
}

uint32_t ferry_hostinfo_cpu_count(void)
{
	long count = sysconf(_SC_NPROCESSORS_CONF);

	return count > 0 ? (uint32_t)count : 1;
}

bool ferry_hostinfo_has_node(int32_t real_node)
{
	FILE *file = fopen("/sys/devices/system/node/has_memory", "re");
	bool found = false;
	int first, last;

	/* A host without NUMA support has the one node 0 and no file about it. */
	if (file == NULL)
		return real_node == 0;
	while (!found && fscanf(file, "%d", &first) == 1) {
		int separator = fgetc(file);

		last = first;
		if (separator == '-' && fscanf(file, "%d", &last) == 1)
			separator = fgetc(file);
		found = real_node >= first && real_node <= last;
		if (separator != ',')
			break;
	}
	(void)fclose(file);
	return found;
}

int ferry_hostinfo_open_userfaultfd(int *device)
{
	long result;

	/* Who may read it may use it. */
	*device = open("/dev/userfaultfd", O_RDONLY | O_CLOEXEC);
	if (*device >= 0) {
		result = ferry_sys3(SYS_ioctl, *device, USERFAULTFD_IOC_NEW, O_CLOEXEC);
		if (result >= 0) {
			(void)close((int)result);
			return 0;
		}
		(void)close(*device);
		*device = -1;
	}
	result = ferry_sys1(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (result < 0)
		return (int)result;
	(void)close((int)result);
	return 0;
}
