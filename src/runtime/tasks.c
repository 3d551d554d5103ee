/* SPDX-License-Identifier: MIT */
/* tasks.c - see tasks.h. */
#include "runtime/tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/sys.h"

enum { DIRENT_BYTES = 4096, PATH_BYTES = 64, STAT_BYTES = 1024 };

/* Fields of a stat file, counted as proc(5) does. */
enum {
	STAT_STATE = 3,
	STAT_PARENT = 4,
	STAT_START_TIME = 22,
	STAT_ARG_START = 48,
	STAT_ENV_END = 51,
};

struct dirent64 {
	uint64_t ino;
	int64_t offset;
	uint16_t len;
	uint8_t type;
	char name[];
};

/* => the number at p, 0: there is none. */
static uint64_t parse_decimal(const char *p)
{
	uint64_t value = 0;

	for (; *p >= '0' && *p <= '9'; p++)
		value = value * 10 + (uint64_t)(*p - '0');
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
	return pid ? print_decimal(p, (uint64_t)pid) : print_text(p, "self");
}

int ferry_tasks_walk(int32_t pid, ferry_task_look *look, void *context)
{
	char path[PATH_BYTES];
	char entries[DIRENT_BYTES];
	bool enough = false;
	long fd, n;

	(void)print_text(print_directory(path, pid), "/task");
	fd = ferry_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd == -ENOENT ? -ESRCH : (int)fd;
	while (!enough && ((n = ferry_sys3(SYS_getdents64, fd, entries, sizeof(entries))) > 0 ||
			   n == -EINTR)) {
		for (long at = 0; at < n && !enough;) {
			struct dirent64 *entry = (struct dirent64 *)(void *)(entries + at);
			uint64_t tid = parse_decimal(entry->name);

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

int ferry_tasks_stat(int32_t pid, struct ferry_task_stat *stat)
{
	char path[PATH_BYTES], text[STAT_BYTES];
	uint64_t field[STAT_ENV_END + 1] = {0};
	const char *p;
	long have;

	(void)print_text(print_directory(path, pid), "/stat");
	have = ferry_tasks_read(path, text, sizeof(text));
	if (have <= 0)
		return have == 0 || have == -ENOENT ? -ESRCH : (int)have;
	p = strrchr(text, ')'); /* its name may hold anything */
	if (!p || p[1] != ' ')
		return -EPROTO;
	p += 2;
	stat->state = *p;
	for (int n = STAT_STATE; n <= STAT_ENV_END && *p; n++) {
		field[n] = parse_decimal(p);
		while (*p && *p++ != ' ')
			continue;
	}
	stat->parent = (int32_t)field[STAT_PARENT];
	stat->start_ticks = field[STAT_START_TIME];
	stat->strings_start = field[STAT_ARG_START];
	stat->strings_end = field[STAT_ENV_END];
	return 0;
}

long ferry_tasks_status(int32_t pid, int32_t tid, char *text, size_t size)
{
	char path[PATH_BYTES];
	char *p = print_text(print_directory(path, pid), "/task/");
	long have;

	(void)print_text(print_decimal(p, (uint64_t)tid), "/status");
	have = ferry_tasks_read(path, text, size);
	return have == 0 || have == -ENOENT ? -ESRCH : have;
}

int ferry_tasks_has_memory(int32_t pid)
{
	char path[PATH_BYTES], sizes[PATH_BYTES];
	char *p = print_text(print_directory(path, pid), "/task/");
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
