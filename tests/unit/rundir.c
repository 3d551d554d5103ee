/* SPDX-License-Identifier: MIT */
/* Directories of control sockets: made privately, refused where others could meddle. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cases.h"
#include "runtime/rundir.h"

static char base[32];
static char own[64]; /* base/pageferry */

static int make_base(void **state)
{
	(void)state;
	strcpy(base, "/tmp/ferry-XXXXXX");
	if (mkdtemp(base) == NULL)
		return -1;
	snprintf(own, sizeof(own), "%s/pageferry", base);
	return setenv("XDG_RUNTIME_DIR", base, 1);
}

static int remove_base(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", base);
	return system(command);
}

static void makes_it_private(void **state)
{
	char path[FERRY_RUNDIR_PATH_MAX];
	struct stat status;

	(void)state;
	umask(0);
	assert_int_equal(ferry_rundir_make(path, sizeof(path)), 0);
	assert_string_equal(path, own);
	assert_int_equal(stat(own, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0700);
	assert_int_equal(ferry_rundir_make(path, sizeof(path)), 0); /* it is there already */
}

/* => whether the directory of XDG_RUNTIME_DIR was taken. */
static bool is_taken(void)
{
	char path[FERRY_RUNDIR_PATH_MAX] = "";

	return ferry_rundir_make(path, sizeof(path)) == 0 && strcmp(path, own) == 0;
}

static void avoids_what_others_may_enter(void **state)
{
	char elsewhere[64];

	(void)state;
	assert_int_equal(mkdir(own, 0700), 0);
	assert_int_equal(chmod(own, 0750), 0);
	assert_false(is_taken());
	assert_int_equal(chmod(own, 0700), 0);
	assert_true(is_taken());
	assert_int_equal(rmdir(own), 0);
	/* A link may be turned elsewhere at any time. */
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", base);
	assert_int_equal(mkdir(elsewhere, 0700), 0);
	assert_int_equal(symlink(elsewhere, own), 0);
	assert_false(is_taken());
	if (geteuid() != 0)
		return;
	assert_int_equal(unlink(own), 0);
	assert_int_equal(mkdir(own, 0700), 0);
	assert_int_equal(chown(own, 65534, 65534), 0);
	assert_false(is_taken());
}

static int count_ours(void *context, const char *path, uint32_t uid, const char *name)
{
	unsigned *seen = context;

	if (strncmp(path, own, strlen(own)) != 0)
		return 0;
	assert_int_equal(uid, geteuid());
	*seen |= strcmp(name, "12") == 0 ? 1u : strcmp(name, "345") == 0 ? 2u : 8u;
	return *seen == 8u ? 77 : 0;
}

static void touch(const char *name)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", own, name);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
}

static void lists_sockets(void **state)
{
	char path[FERRY_RUNDIR_PATH_MAX], socket_path[128];
	unsigned seen = 0;

	(void)state;
	assert_int_equal(ferry_rundir_make(path, sizeof(path)), 0);
	touch("12.sock");
	touch("345.sock");
	touch(".sock");
	touch("note.txt");
	assert_int_equal(ferry_rundir_each(count_ours, &seen), 0);
	assert_int_equal(seen, 3);
	snprintf(socket_path, sizeof(socket_path), "%s/12.sock", own);
	ferry_rundir_remove_stale(socket_path, geteuid() + 1);
	assert_int_equal(access(socket_path, F_OK), 0);
	ferry_rundir_remove_stale(socket_path, geteuid());
	assert_int_not_equal(access(socket_path, F_OK), 0);
	/* What others may enter is not looked at. */
	assert_int_equal(chmod(own, 0755), 0);
	seen = 0;
	assert_int_equal(ferry_rundir_each(count_ours, &seen), 0);
	assert_int_equal(seen, 0);
}

static void stops_when_told(void **state)
{
	char path[FERRY_RUNDIR_PATH_MAX];
	unsigned seen = 0;

	(void)state;
	assert_int_equal(ferry_rundir_make(path, sizeof(path)), 0);
	touch("x.sock");
	assert_int_equal(ferry_rundir_each(count_ours, &seen), 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(makes_it_private, make_base, remove_base),
		cmocka_unit_test_setup_teardown(avoids_what_others_may_enter, make_base,
						remove_base),
		cmocka_unit_test_setup_teardown(lists_sockets, make_base, remove_base),
		cmocka_unit_test_setup_teardown(stops_when_told, make_base, remove_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
