/* SPDX-License-Identifier: MIT */
/* program.c - see program.h. */
#define _GNU_SOURCE
#include "runtime/program.h"

#include "base/sys.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

enum {
	SEGMENTS_MAX = 64,
	LINE_MAX_BYTES = 256, /* as much of a #! line as the kernel reads */
	SCRIPTS_MAX = 5,      /* interpreters of interpreters */
	NOSUID = 2,           /* ST_NOSUID in f_flags */
};

#define LINKER       "ld-linux-x86-64.so.2"
#define DEFAULT_PATH "/bin:/usr/bin"

/* --- finding ------------------------------------------------------------------------------ */

static bool is_program(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

static int find(const char *name, char *path)
{
	const char *directories = getenv("PATH");

	if (strchr(name, '/') != NULL) {
		(void)snprintf(path, FERRY_PROGRAM_PATH_MAX, "%s", name);
		return is_program(path) ? 0 : -ENOENT;
	}
	for (const char *at = directories != NULL ? directories : DEFAULT_PATH; *at != '\0';) {
		int length = (int)strcspn(at, ":");

		(void)snprintf(path, FERRY_PROGRAM_PATH_MAX, "%.*s/%s", length == 0 ? 1 : length,
			       length == 0 ? "." : at, name);
		if (is_program(path))
			return 0;
		at += length + (at[length] == ':' ? 1 : 0);
	}
	return -ENOENT;
}

int ferry_program_find(const char *name, char *path)
{
	int saved = errno, result = find(name, path);

	errno = saved;
	return result;
}

/* --- judging ------------------------------------------------------------------------------ */

/* The last part of a path. */
static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* The dynamic linker ignores LD_PRELOAD where an id changes or capabilities come. */
static bool gains_privileges(int fd)
{
	struct statfs system;
	struct stat status;
	char capabilities[64];

	if (fstat(fd, &status) != 0 || fstatfs(fd, &system) != 0 ||
	    (system.f_flags & NOSUID) != 0 ||
	    ferry_sys5(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		return false;
	if ((status.st_mode & S_ISUID) != 0 && status.st_uid != getuid())
		return true;
	if ((status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
	    status.st_gid != getgid())
		return true;
	return getuid() != 0 && ferry_sys4(SYS_fgetxattr, fd, "security.capability", capabilities,
					   sizeof(capabilities)) > 0;
}

/* Judges by the dynamic linker that an executable asks for. */
static enum ferry_program_kind judge_segments(int fd, const Elf64_Ehdr *header)
{
	Elf64_Phdr segments[SEGMENTS_MAX];
	size_t count = header->e_phnum < SEGMENTS_MAX ? header->e_phnum : SEGMENTS_MAX;
	size_t size = count * sizeof(segments[0]);

	/* What cannot be read is not judged. */
	if (ferry_sys4(SYS_pread64, fd, segments, size, header->e_phoff) != (long)size)
		return FERRY_PROGRAM_FITS;
	for (size_t i = 0; i < count; i++) {
		char linker[LINE_MAX_BYTES];
		long length;

		if (segments[i].p_type != PT_INTERP)
			continue;
		length = ferry_sys4(SYS_pread64, fd, linker, sizeof(linker) - 1,
				    segments[i].p_offset);
		linker[length > 0 ? length : 0] = '\0';
		return strcmp(last_part(linker), LINKER) == 0 ? FERRY_PROGRAM_FITS
							      : FERRY_PROGRAM_LIBC;
	}
	return FERRY_PROGRAM_STATIC;
}

/* The interpreter of a script. => false: text does not begin as one. */
static bool find_interpreter(char *text, char **interpreter)
{
	if (text[0] != '#' || text[1] != '!')
		return false;
	text += 2;
	text[strcspn(text, "\n")] = '\0';
	text += strspn(text, " \t");
	text[strcspn(text, " \t")] = '\0';
	*interpreter = text;
	return text[0] != '\0';
}

/* => the kind; *interpreter: what to judge instead, in text. */
static enum ferry_program_kind judge(int fd, char *text, char **interpreter)
{
	Elf64_Ehdr header;
	long length = ferry_sys4(SYS_pread64, fd, text, LINE_MAX_BYTES - 1, 0);

	*interpreter = NULL;
	text[length > 0 ? length : 0] = '\0';
	if (length > 2 && find_interpreter(text, interpreter))
		return FERRY_PROGRAM_FITS;
	if (length < (long)sizeof(header) || memcmp(text, ELFMAG, SELFMAG) != 0)
		return FERRY_PROGRAM_FITS; /* the shell's, or none at all */
	if (gains_privileges(fd))
		return FERRY_PROGRAM_SECURE;
	memcpy(&header, text, sizeof(header));
	if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64)
		return FERRY_PROGRAM_FOREIGN;
	return judge_segments(fd, &header);
}

enum ferry_program_kind ferry_program_judge(int directory, const char *path, bool *script)
{
	char text[LINE_MAX_BYTES], *interpreter = NULL;
	enum ferry_program_kind kind = FERRY_PROGRAM_FITS;
	int saved = errno;

	*script = false;
	for (int depth = 0; depth < SCRIPTS_MAX; depth++) {
		/* The kernel sees first whether there is a path at all. An empty one names the
		 * directory's descriptor itself. */
		long fd = ferry_sys4(SYS_openat, directory, path, O_RDONLY | O_CLOEXEC, 0);
		bool opens = fd != -ENOENT || path[0] != '\0';

		if (!opens)
			fd = directory;
		/* The linker as a command runs its argument with our library. */
		if (fd < 0 || strcmp(last_part(path), LINKER) == 0)
			kind = FERRY_PROGRAM_FITS;
		else
			kind = judge((int)fd, text, &interpreter);
		if (opens && fd >= 0)
			ferry_sys1(SYS_close, fd);
		if (fd < 0 || interpreter == NULL)
			break;
		*script = true;
		path = interpreter;
		directory = AT_FDCWD;
		interpreter = NULL;
	}
	errno = saved;
	return kind;
}

const char *ferry_program_why(enum ferry_program_kind kind, bool script)
{
	static const char *const words[FERRY_PROGRAM_KINDS][2] = {
		{ "", "" },
		{ "is linked statically", "is run by an interpreter that is linked statically" },
		{ "gains privileges when it is executed",
		  "is run by an interpreter that gains privileges when it is executed" },
		{ "is made for another kind of machine",
		  "is run by an interpreter made for another kind of machine" },
		{ "uses another C library", "is run by an interpreter with another C library" },
	};

	return words[kind][script ? 1 : 0];
}
