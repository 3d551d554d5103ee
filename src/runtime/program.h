/* SPDX-License-Identifier: MIT */
/*
 * program.h - can a program load the preload library at all?
 *
 * Judged by what the kernel and the dynamic linker will do with the file. Used before `run` starts
 * a command, and in programs before they execute another one: there in children of vfork() too, so
 * nothing here allocates, and errno stays.
 */
#ifndef FERRY_RUNTIME_PROGRAM_H
#define FERRY_RUNTIME_PROGRAM_H

#include "base/types.h"

enum { FERRY_PROGRAM_PATH_MAX = 4096 };

enum ferry_program_kind {
	FERRY_PROGRAM_FITS,    /* or it cannot be told */
	FERRY_PROGRAM_STATIC,  /* no dynamic linker is asked */
	FERRY_PROGRAM_SECURE,  /* set-user-ID, set-group-ID, file capabilities: preloads are
				  ignored */
	FERRY_PROGRAM_FOREIGN, /* another machine: 32-bit */
	FERRY_PROGRAM_LIBC,    /* another C library, into which ours cannot be loaded */
	FERRY_PROGRAM_KINDS,
};

/*
 * Finds a command as execvp(3) does. => 0 with *path (FERRY_PROGRAM_PATH_MAX bytes), -ENOENT.
 */
FERRY_MUST_CHECK int ferry_program_find(const char *name, char *path);
/*
 * What kind of program execution of the file would make, as execveat(2) names it; of a script, its
 * interpreter's kind. script: whether it is one.
 */
enum ferry_program_kind ferry_program_judge(int directory, const char *path, bool *script);
/* What is so about it, in words that follow its name; "" for one that fits. */
const char *ferry_program_why(enum ferry_program_kind kind, bool script);
/* Whether what is in the environment for our library would do it harm. */
static inline bool ferry_program_is_hurt(enum ferry_program_kind kind)
{
	return kind == FERRY_PROGRAM_FOREIGN || kind == FERRY_PROGRAM_LIBC;
}

#endif
