/* SPDX-License-Identifier: MIT */
/* rundir.c - making, checking and listing the directories of control sockets. */
#define _GNU_SOURCE
#include "runtime/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SUFFIX ".sock"

struct visit {
	ferry_rundir_visit *visit;
	void *context;
	char seen[3][FERRY_RUNDIR_PATH_MAX]; /* the caller's own directories may coincide */
	unsigned seen_count;
};

/* Formats a path; => 0 or -ENAMETOOLONG. */
static int __attribute__((format(printf, 3, 4)))
path_print(char *path, size_t size, const char *format, ...)
{
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(path, size, format, arguments);
	va_end(arguments);
	return length < 0 || (size_t)length >= size ? -ENAMETOOLONG : 0;
}

/* The n-th directory that machines of the caller may be in. => 0, -ENOENT (not that one). */
static int candidate(unsigned n, char *path, size_t size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char parent[64];

	switch (n) {
	case 0:
		if (runtime == NULL || runtime[0] != '/')
			return -ENOENT;
		return path_print(path, size, "%s/pageferry", runtime);
	case 1:
		(void)path_print(parent, sizeof(parent), "/run/user/%u", geteuid());
		if (access(parent, X_OK) != 0)
			return -ENOENT;
		return path_print(path, size, "%s/pageferry", parent);
	default:
		return path_print(path, size, "/tmp/pageferry-%u", geteuid());
	}
}

/* => 0 if path is a directory of uid's that nobody else may enter. */
static int check_owner(const char *path, uid_t uid)
{
	struct stat status;

	if (lstat(path, &status) != 0)
		return -errno;
	if (!S_ISDIR(status.st_mode) || status.st_uid != uid || (status.st_mode & 077) != 0)
		return -EPERM;
	return 0;
}

int ferry_rundir_make(char *path, size_t size)
{
	for (unsigned n = 0; n < 3; n++) {
		int error = candidate(n, path, size < FERRY_RUNDIR_PATH_MAX ? size
									   : FERRY_RUNDIR_PATH_MAX);

		if (error != 0) {
			if (n == 2)
				return error;
			continue;
		}
		if (mkdir(path, 0700) != 0 && errno != EEXIST) {
			if (n == 2)
				return -errno;
			continue; /* XDG_RUNTIME_DIR may name what is gone, as after su */
		}
		error = check_owner(path, geteuid());
		if (error == 0 || n == 2)
			return error;
	}
	return -ENOENT;
}

static int visit_directory(struct visit *v, const char *path, uid_t uid)
{
	struct dirent *entry;
	DIR *directory;
	int result = 0;

	if (check_owner(path, uid) != 0)
		return 0;
	directory = opendir(path);
	if (directory == NULL)
		return 0;
	while (result == 0 && (entry = readdir(directory)) != NULL) {
		char socket_path[FERRY_RUNDIR_PATH_MAX + sizeof(entry->d_name)];
		size_t length = strlen(entry->d_name);

		if (length <= strlen(SUFFIX) ||
		    strcmp(entry->d_name + length - strlen(SUFFIX), SUFFIX) != 0)
			continue;
		if (path_print(socket_path, sizeof(socket_path), "%s/%s", path, entry->d_name) != 0)
			continue;
		entry->d_name[length - strlen(SUFFIX)] = '\0';
		result = v->visit(v->context, socket_path, uid, entry->d_name);
	}
	closedir(directory);
	return result;
}

static int visit_own(struct visit *v)
{
	int result = 0;

	for (unsigned n = 0; n < 3 && result == 0; n++) {
		char *path = v->seen[v->seen_count];
		bool again = false;

		if (candidate(n, path, FERRY_RUNDIR_PATH_MAX) != 0)
			continue;
		for (unsigned i = 0; i < v->seen_count; i++)
			again |= strcmp(v->seen[i], path) == 0;
		if (again)
			continue;
		v->seen_count++;
		result = visit_directory(v, path, geteuid());
	}
	return result;
}

/* Root: the directories below parent whose name is prefix UID, each with tail behind it. */
static int visit_others(struct visit *v, const char *parent, const char *prefix, const char *tail)
{
	DIR *directory = opendir(parent);
	struct dirent *entry;
	int result = 0;

	if (directory == NULL)
		return 0;
	while (result == 0 && (entry = readdir(directory)) != NULL) {
		char path[FERRY_RUNDIR_PATH_MAX];
		unsigned long uid;
		char *end;

		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		uid = strtoul(entry->d_name + strlen(prefix), &end, 10);
		if (*end != '\0' || end == entry->d_name + strlen(prefix) || uid == geteuid())
			continue;
		if (path_print(path, sizeof(path), "%s/%s%s", parent, entry->d_name, tail) == 0)
			result = visit_directory(v, path, (uid_t)uid);
	}
	closedir(directory);
	return result;
}

int ferry_rundir_each(ferry_rundir_visit *visit, void *context)
{
	struct visit v = { .visit = visit, .context = context };
	int result = visit_own(&v);

	if (result == 0 && geteuid() == 0)
		result = visit_others(&v, "/run/user", "", "/pageferry");
	if (result == 0 && geteuid() == 0)
		result = visit_others(&v, "/tmp", "pageferry-", "");
	return result;
}

void ferry_rundir_remove_stale(const char *path, uint32_t uid)
{
	if (uid == geteuid())
		(void)unlink(path);
}
