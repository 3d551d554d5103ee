/* SPDX-License-Identifier: MIT */
/* rights.c - see rights.h. */
#define _GNU_SOURCE
#include "runtime/rights.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct credentials {
	unsigned uid[4], gid[4]; /* real, effective, saved, file system */
	unsigned long long capabilities, permitted;
	char user_namespace[64];
};

/* The parts of a status file that matter. => true if all were there. */
static bool parse_status(FILE *file, struct credentials *c)
{
	char line[256];
	unsigned found = 0;

	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "Uid: %u %u %u %u", &c->uid[0], &c->uid[1], &c->uid[2],
			   &c->uid[3]) == 4)
			found |= 1;
		else if (sscanf(line, "Gid: %u %u %u %u", &c->gid[0], &c->gid[1], &c->gid[2],
				&c->gid[3]) == 4)
			found |= 2;
		else if (sscanf(line, "CapEff: %llx", &c->capabilities) == 1)
			found |= 4;
		else if (sscanf(line, "CapPrm: %llx", &c->permitted) == 1)
			found |= 8;
	}
	return found == 15;
}

static int read_credentials(const char *directory, struct credentials *c)
{
	char path[96];
	ssize_t length;
	FILE *file;
	bool whole;

	(void)snprintf(path, sizeof(path), "%s/status", directory);
	file = fopen(path, "re");
	if (file == NULL)
		return -ESRCH;
	whole = parse_status(file, c);
	(void)fclose(file);
	if (!whole)
		return -ESRCH;
	(void)snprintf(path, sizeof(path), "%s/ns/user", directory);
	length = readlink(path, c->user_namespace, sizeof(c->user_namespace) - 1);
	/* Unreadable: it equals no other, so that capabilities do not count. */
	c->user_namespace[length > 0 ? length : 0] = '\0';
	return 0;
}

/*
 * The kernel gives the files below /proc/PID to root when the process is not dumpable. That cannot
 * be told for a target of root; who is root and has no CAP_SYS_PTRACE is let in there.
 */
static bool dumpable(const char *directory, const struct credentials *target)
{
	char path[96];
	struct stat status;

	(void)snprintf(path, sizeof(path), "%s/status", directory);
	return stat(path, &status) == 0 && status.st_uid == target->uid[1];
}

static bool same_ids(const unsigned *target, unsigned caller)
{
	return target[0] == caller && target[1] == caller && target[2] == caller;
}

static bool share_user_namespace(const struct credentials *a, const struct credentials *b)
{
	return a->user_namespace[0] != '\0' && strcmp(a->user_namespace, b->user_namespace) == 0;
}

/* Nobody looks into who may do more than he, or elsewhere. A namespace that we may not read does
 * not count here. */
static bool may_as_much(const struct credentials *caller, const struct credentials *target)
{
	bool unknown = caller->user_namespace[0] == '\0' || target->user_namespace[0] == '\0';

	return (target->permitted & ~caller->permitted) == 0 &&
	       (unknown || share_user_namespace(caller, target));
}

static bool capable(const struct credentials *caller, const struct credentials *target,
		    int capability)
{
	return (caller->capabilities >> capability & 1) != 0 &&
	       share_user_namespace(caller, target);
}

int ferry_rights_get(int32_t pid, int32_t tid, int32_t target_pid, struct ferry_rights *rights)
{
	struct credentials caller, target;
	char path[64];

	rights->read = rights->move_all = false;
	(void)snprintf(path, sizeof(path), "/proc/%d", target_pid);
	if (target_pid <= 0 || read_credentials(path, &target) != 0)
		return -ESRCH;
	rights->read = dumpable(path, &target);
	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, tid);
	if (pid <= 0 || tid <= 0 || read_credentials(path, &caller) != 0) {
		rights->read = false;
		return -EPERM;
	}
	rights->read = rights->read && same_ids(target.uid, caller.uid[0]) &&
		       same_ids(target.gid, caller.gid[0]) && may_as_much(&caller, &target);
	rights->read = rights->read || pid == target_pid; /* who looks into itself */
	rights->read = rights->read || capable(&caller, &target, CAP_SYS_PTRACE);
	rights->move_all = capable(&caller, &target, CAP_SYS_NICE);
	return 0;
}
