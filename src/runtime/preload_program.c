/* SPDX-License-Identifier: MIT */
/*
 * preload_program.c - what a program is told before it executes another one that cannot be managed.
 *
 * Runs in children of vfork() too: only the stack is written to.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/format.h"
#include "base/sys.h"
#include "runtime/door.h"
#include "runtime/preload.h"
#include "runtime/program.h"

/* Writes the name of a program into size bytes; of one that is too long, the end, which tells more.
 * A descriptor is named by what it leads to. */
static void name_program(int directory, const char *path, char *name, size_t size)
{
	char link[48];
	struct ferry_text text;
	size_t len = strlen(path);
	long got;

	if (len > 0) {
		strcpy(name, len < size ? path : path + len - size + 1);
		return;
	}
	ferry_text_init(&text, link, sizeof(link));
	ferry_text_string(&text, "/proc/self/fd/");
	ferry_text_signed(&text, directory);
	got = ferry_sys3(SYS_readlink, link, name, size - 1);
	name[got > 0 ? got : 0] = '\0';
}

static int tell(int directory, const char *path, enum ferry_program_kind kind, bool script)
{
	const struct ferry_machine *machine = ferry_door.machine;
	bool strict = machine && machine->strict;
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_UNMANAGED,
		.status = strict ? -EACCES : 0,
		.a = kind,
		.b = script,
	};

	name_program(directory, path, msg.text, sizeof(msg.text));
	ferry_preload_tell(&msg);
	return strict ? -EACCES : (int)kind;
}

int ferry_preload_judge(int directory, const char *path)
{
	enum ferry_program_kind kind;
	bool script;

	if (!ferry_door.machine)
		return FERRY_PROGRAM_FITS;
	kind = ferry_program_judge(directory, path, &script);
	return kind == FERRY_PROGRAM_FITS ? FERRY_PROGRAM_FITS
					  : tell(directory, path, kind, script);
}

int ferry_preload_judge_name(const char *name)
{
	char path[FERRY_PROGRAM_PATH_MAX];

	if (!ferry_door.machine || !name || ferry_program_find(name, path))
		return FERRY_PROGRAM_FITS;
	return ferry_preload_judge(AT_FDCWD, path);
}
