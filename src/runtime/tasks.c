/* SPDX-License-Identifier: MIT */
/* tasks.c - see tasks.h. */
#include "runtime/tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/sys.h"

enum { DIRENT_BYTES = 4096, PATH_BYTES = 64 };

struct dirent64 {
	uint64_t ino;
	int64_t offset;
	uint16_t len;
	uint8_t type;
	char name[];
};

static long parse_decimal(const char *p)
{
	long value = 0;

	if (*p < '0' || *p > '9')
		return -1;
	for (; *p >= '0' && *p <= '9'; p++)
		value = value * 10 + (*p - '0');
	return value;
}

static char *print_decimal(char *p, uint64_t value)
{
	char digits[20];
	int n = 0;

	do
		digits[n++] = (char)('0' + value % 10);
	while ((value /= 10) != 0);
	while (n)
		*p++ = digits[--n];
	return p;
}

static char *print_text(char *p, const char *text)
{
	size_t len = strlen(text);

	memcpy(p, text, len + 1);
	return p + len;
}

static char *print_directory(char *p, int32_t pid)
{
	p = print_text(p, "/proc/");
	p = pid ? print_decimal(p, (uint64_t)pid) : print_text(p, "self");
	return print_text(p, "/task");
}

int ferry_tasks_walk(int32_t pid, ferry_task_look *look, void *context)
{
	char path[PATH_BYTES];
	char entries[DIRENT_BYTES];
	bool enough = false;
	long fd, n;

	(void)print_directory(path, pid);
	fd = ferry_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd == -ENOENT ? -ESRCH : (int)fd;
	while (!enough && ((n = ferry_sys3(SYS_getdents64, fd, entries, sizeof(entries))) > 0 ||
			   n == -EINTR)) {
		for (long at = 0; at < n && !enough;) {
			struct dirent64 *entry = (struct dirent64 *)(void *)(entries + at);
			long tid = parse_decimal(entry->name);

			enough = tid > 0 && look(context, (int32_t)tid);
			at += entry->len;
		}
	}
	ferry_sys1(SYS_close, fd);
	return 0;
}

long ferry_tasks_read(const char *path, char *text, size_t size)
{
	long fd = ferry_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), got = 0;
	size_t have = 0;

	if (fd < 0)
		return fd;
	while (have < size - 1) {
		got = ferry_sys3(SYS_read, fd, text + have, size - 1 - have);
		if (got == -EINTR)
			continue;
		if (got <= 0)
			break;
		have += (size_t)got;
	}
	ferry_sys1(SYS_close, fd);
	text[have] = '\0';
	return have ? (long)have : got;
}

long ferry_tasks_status(int32_t pid, int32_t tid, char *text, size_t size)
{
	char path[PATH_BYTES];
	char *p = print_text(print_directory(path, pid), "/");
	long have;

	(void)print_text(print_decimal(p, (uint64_t)tid), "/status");
	have = ferry_tasks_read(path, text, size);
	return have == 0 || have == -ENOENT ? -ESRCH : have;
}

int ferry_tasks_has_memory(int32_t pid)
{
	char path[PATH_BYTES], sizes[PATH_BYTES];
	char *p = print_text(print_directory(path, pid), "/");
	long have;

	(void)print_text(print_decimal(p, (uint64_t)pid), "/statm");
	have = ferry_tasks_read(path, sizes, sizeof(sizes));
	if (have <= 0)
		return have == 0 || have == -ENOENT ? -ESRCH : (int)have;
	return sizes[0] != '0';
}

static bool starts_with(const char *line, const char *key)
{
	while (*key)
		if (*line++ != *key++)
			return false;
	return true;
}

const char *ferry_tasks_field(const char *status, const char *key)
{
	const char *line = status;

	while (*line) {
		if (starts_with(line, key))
			return line + strlen(key);
		while (*line && *line != '\n')
			line++;
		if (*line)
			line++;
	}
	return NULL;
}
