/* SPDX-License-Identifier: MIT */
/* program.h - can a program load the preload library at all? */
#ifndef FERRY_RUNTIME_PROGRAM_H
#define FERRY_RUNTIME_PROGRAM_H

#include "base/types.h"

enum { FERRY_PROGRAM_PATH_MAX = 4096 };

/*
 * Finds a command as execvp(3) does. => 0 with *path (FERRY_PROGRAM_PATH_MAX bytes), -ENOENT.
 */
FERRY_MUST_CHECK int ferry_program_find(const char *name, char *path);
/*
 * => why the program at path will run without pageferry, in words that follow its name; NULL: it
 * will not, or it cannot be told.
 */
const char *ferry_program_why_unmanaged(const char *path);

#endif
