/* SPDX-License-Identifier: MIT */
/* program.c - see program.h. */
#define _GNU_SOURCE
#include "runtime/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEGMENTS_MAX = 64 };

static bool is_program(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

int ferry_program_find(const char *name, char *path)
{
	const char *directories = getenv("PATH");

	if (strchr(name, '/') != NULL) {
		(void)snprintf(path, FERRY_PROGRAM_PATH_MAX, "%s", name);
		return is_program(path) ? 0 : -ENOENT;
	}
	for (const char *at = directories; at != NULL && *at != '\0';) {
		int length = (int)strcspn(at, ":");

		(void)snprintf(path, FERRY_PROGRAM_PATH_MAX, "%.*s/%s", length == 0 ? 1 : length,
			       length == 0 ? "." : at, name);
		if (is_program(path))
			return 0;
		at += length + (at[length] == ':' ? 1 : 0);
	}
	return -ENOENT;
}

static bool has_interpreter(int fd, const Elf64_Ehdr *header)
{
	Elf64_Phdr segments[SEGMENTS_MAX];
	size_t count = header->e_phnum < SEGMENTS_MAX ? header->e_phnum : SEGMENTS_MAX;
	ssize_t length = pread(fd, segments, count * sizeof(segments[0]), (off_t)header->e_phoff);

	/* What cannot be read is not judged. */
	if (length != (ssize_t)(count * sizeof(segments[0])))
		return true;
	for (size_t i = 0; i < count; i++) {
		if (segments[i].p_type == PT_INTERP)
			return true;
	}
	return false;
}

/* The dynamic linker ignores LD_PRELOAD where an id changes. */
static bool gains_privileges(const struct stat *status)
{
	return ((status->st_mode & S_ISUID) != 0 && status->st_uid != getuid()) ||
	       ((status->st_mode & S_ISGID) != 0 && status->st_gid != getgid());
}

static const char *judge(int fd)
{
	Elf64_Ehdr header;
	struct stat status;

	if (fstat(fd, &status) == 0 && gains_privileges(&status))
		return "gains privileges when it is executed";
	if (pread(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
	    memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
		return NULL; /* a script: its interpreter is another affair */
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64)
		return "is made for another kind of machine";
	return has_interpreter(fd, &header) ? NULL : "is linked statically";
}

const char *ferry_program_why_unmanaged(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const char *why;

	if (fd < 0)
		return NULL;
	why = judge(fd);
	(void)close(fd);
	return why;
}
