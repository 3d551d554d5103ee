/* SPDX-License-Identifier: MIT */
/*
 * identity.c - a program of root's that becomes somebody else, while its memory moves.
 *
 * After every change each thread of its agent must be what the calling thread is: user, groups and
 * capabilities. As nobody, the program still moves memory, and makes threads, children and other
 * programs that are managed in their turn.
 *
 * usage: identity [after]   after: what it executes itself as
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PAGES = 2048, NOBODY = 65534, ROUNDS = 40, THREADS = 8, STATUS_BYTES = 8192 };

int capset(void *header, const void *data);
int capget(void *header, void *data);

static uint64_t *area;
static int nodes;
static int agent;

/* --- who is who ------------------------------------------------------------------------------ */

/* The lines of a status that make up an identity. */
static void read_identity(const char *path, char *identity)
{
	static const char *const keys[] = { "Uid:", "Gid:", "Groups:", "CapPrm:", "CapEff:" };
	FILE *file = fopen(path, "re");
	char line[4096];
	unsigned found = 0;

	identity[0] = '\0';
	if (file == NULL)
		return;
	while (fgets(line, sizeof(line), file) != NULL)
		for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
			if (strncmp(line, keys[i], strlen(keys[i])) == 0) {
				strcat(identity, line);
				found++;
			}
	fclose(file);
	/* none: the thread has ended since it was opened */
	REQUIRE(found == 5 || found == 0, "%s has %u lines of five", path, found);
}

/* The process that shares our memory: the host tells as long as it is dumpable or we are root. */
static int find_agent(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	int found = 0;

	REQUIRE(proc != NULL, "/proc");
	while ((entry = readdir(proc)) != NULL) {
		int pid = atoi(entry->d_name);

		if (pid > 0 && pid != getpid() &&
		    syscall(SYS_kcmp, getpid(), pid, KCMP_VM, 0, 0) == 0)
			found = pid;
	}
	closedir(proc);
	REQUIRE(found > 0, "no process shares our memory");
	return found;
}

/* => threads that are as we are. */
static unsigned require_same(const char *after)
{
	char path[300], own[STATUS_BYTES], other[STATUS_BYTES];
	struct dirent *entry;
	unsigned count = 0;
	DIR *tasks;

	if (agent == 0)
		return 0;
	read_identity("/proc/thread-self/status", own);
	snprintf(path, sizeof(path), "/proc/%d/task", agent);
	tasks = opendir(path);
	REQUIRE(tasks != NULL, "after %s: the agent has ended", after);
	while ((entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", agent, entry->d_name);
		read_identity(path, other);
		if (other[0] == '\0') /* a client's thread that has ended */
			continue;
		REQUIRE(strcmp(own, other) == 0,
			"after %s: thread %s of the agent is\n%swe are\n%s", after,
			entry->d_name, other, own);
		count++;
	}
	closedir(tasks);
	REQUIRE(count >= 5, "after %s: the agent has %u threads", after, count);
	return count;
}

/* --- memory ---------------------------------------------------------------------------------- */

static void fill(uint64_t value)
{
	for (size_t i = 0; i < (size_t)PAGES * PAGE_WORDS; i++)
		area[i] = value + i;
}

static void verify(uint64_t value, const char *where)
{
	for (size_t i = 0; i < (size_t)PAGES * PAGE_WORDS; i++)
		REQUIRE(area[i] == value + i, "%s: word %zu changed", where, i);
}

/* All of it to each node in turn, by a process that nobody else moves memory of. */
static void require_moves(const char *where)
{
	for (int node = 0; node < nodes; node++)
		REQUIRE(live_move_all(area, PAGES, node, 10) == 0, "%s: pages do not move to %d",
			where, node);
}

/* --- children, programs, threads ------------------------------------------------------------- */

static void await(pid_t child, const char *what)
{
	int status;

	REQUIRE(child > 0, "fork: %s", strerror(errno));
	REQUIRE(waitpid(child, &status, 0) == child, "waitpid");
	REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: status %x", what, status);
}

/* One thread only, so raw calls and capset() are the whole program's. */
static void be_raw_child(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	gid_t groups[] = { 7, 8, 4000000000u };

	nodes = live_nodes();
	agent = nodes > 0 ? find_agent() : 0;
	REQUIRE(prctl(PR_SET_DUMPABLE, 1) == 0, "PR_SET_DUMPABLE");
	REQUIRE(capget(&header, data) == 0, "capget");
	data[0].permitted &= ~(1u << CAP_NET_RAW);
	data[0].effective = data[0].permitted & ~(1u << CAP_CHOWN);
	data[0].inheritable = 0;
	REQUIRE(capset(&header, data) == 0, "capset: %s", strerror(errno));
	require_same("capset");
	REQUIRE(prctl(PR_GET_DUMPABLE) == 1, "not dumpable after capset");
	REQUIRE(syscall(SYS_setgroups, 3, groups) == 0, "setgroups");
	require_same("syscall(setgroups)");
	REQUIRE(syscall(SYS_setresgid, 1, 2, 3) == 0, "setresgid");
	require_same("syscall(setresgid)");
	REQUIRE(syscall(SYS_setresuid, 0, NOBODY, 0) == 0, "setresuid");
	require_same("syscall(setresuid) of the effective user");
	REQUIRE(prctl(PR_SET_KEEPCAPS, 1) == 0, "PR_SET_KEEPCAPS");
	REQUIRE(syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY) == 0, "setresuid");
	require_same("syscall(setresuid) that keeps capabilities");
	data[0].permitted = data[0].effective = 1u << CAP_KILL;
	data[1].permitted = data[1].effective = 0;
	REQUIRE(syscall(SYS_capset, &header, data) == 0, "capset");
	require_same("syscall(capset)");
	REQUIRE(syscall(SYS_setuid, 0) == -1 && errno == EPERM, "root again");
	fill(2);
	require_moves("raw child");
	verify(2, "raw child");
	_exit(0);
}

static void be_child(void)
{
	nodes = live_nodes();
	verify(1, "child");
	REQUIRE(prctl(PR_GET_DUMPABLE) == 0, "the child is dumpable");
	if (nodes > 0) {
		REQUIRE(prctl(PR_SET_DUMPABLE, 1) == 0, "PR_SET_DUMPABLE");
		agent = find_agent();
		require_same("fork");
	}
	fill(2);
	require_moves("child");
	verify(2, "child");
	_exit(0);
}

static void *be_last(void *argument)
{
	live_sleep_us(500000);
	fill(4);
	require_moves("the last thread");
	verify(4, "the last thread");
	_exit(0);
	return argument;
}

/* main() leaves; whether the rest shares the agent's memory nobody tells whom root is lost to. */
static void be_headless_child(void)
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, be_last, NULL) == 0, "pthread_create");
	pthread_exit(NULL);
}

static void write_text(const char *format, pid_t pid, const char *text)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), format, pid);
	file = fopen(path, "we");
	REQUIRE(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0, "%s: %s", path,
		strerror(errno));
}

/* In a user namespace the program may become somebody whom its agent may not: it must end. */
static void be_namespace_child(const int *ready, const int *mapped)
{
	char byte;

	fill(6);
	REQUIRE(setuid(NOBODY) == 0, "setuid");
	if (unshare(CLONE_NEWUSER) != 0) {
		fprintf(stderr, "no user namespace: %s\n", strerror(errno));
		_exit(0);
	}
	REQUIRE(write(ready[1], "r", 1) == 1, "write");
	REQUIRE(read(mapped[0], &byte, 1) == 1, "read");
	REQUIRE(setuid(1) == 0, "setuid: %s", strerror(errno));
	REQUIRE(ferry_nodes(0, NULL, 0) < 0, "an agent has more rights than its program");
	verify(6, "without an agent");
	_exit(0);
}

/* Enters the user namespace of a child that has made one. */
static int join_other(void)
{
	int ready[2], fd, result = -1;
	char path[64], byte;
	pid_t other;

	REQUIRE(pipe(ready) == 0, "pipe");
	other = fork();
	if (other == 0) {
		close(ready[0]);
		if (unshare(CLONE_NEWUSER) == 0 && write(ready[1], "r", 1) == 1)
			pause();
		_exit(0);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", other);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		REQUIRE(fd >= 0, "%s: %s", path, strerror(errno));
		result = setns(fd, 0);
		close(fd);
	}
	close(ready[0]);
	REQUIRE(kill(other, SIGKILL) == 0 && waitpid(other, NULL, 0) == other, "kill");
	return result;
}

enum way { WAY_LIBC, WAY_RAW, WAY_JOIN, WAYS };

static int leave_namespace(enum way way)
{
	if (way == WAY_JOIN)
		return join_other();
	return way == WAY_RAW ? (int)syscall(SYS_unshare, CLONE_NEWUSER) : unshare(CLONE_NEWUSER);
}

/* Root in a namespace of its own is nobody outside, where its agent is. */
static void be_root_elsewhere(enum way way)
{
	char path[300], other[STATUS_BYTES];
	struct dirent *entry;
	DIR *tasks;

	agent = find_agent();
	fill(7);
	if (leave_namespace(way) != 0) {
		fprintf(stderr, "no user namespace: %s\n", strerror(errno));
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d/task", agent);
	tasks = opendir(path);
	REQUIRE(tasks != NULL, "the agent has ended");
	while ((entry = readdir(tasks)) != NULL) {
		snprintf(path, sizeof(path), "/proc/%d/task/%s/status", agent, entry->d_name);
		if (entry->d_name[0] == '.')
			continue;
		read_identity(path, other);
		REQUIRE(strstr(other, "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"),
			"thread %s of the agent is\n%s", entry->d_name, other);
	}
	closedir(tasks);
	require_moves("elsewhere");
	verify(7, "elsewhere");
	_exit(0);
}

static void go_elsewhere(void)
{
	for (enum way way = WAY_LIBC; way < WAYS; way++) {
		pid_t child = fork();

		if (child == 0)
			be_root_elsewhere(way);
		await(child, "root elsewhere");
	}
}

static void lose_agent(void)
{
	int ready[2], mapped[2];
	char byte;
	pid_t child;

	REQUIRE(pipe(ready) == 0 && pipe(mapped) == 0, "pipe");
	child = fork();
	if (child == 0) {
		close(ready[0]);
		be_namespace_child(ready, mapped);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1) {
		write_text("/proc/%d/uid_map", child, "0 65534 1\n1 65533 1\n");
		REQUIRE(write(mapped[1], "m", 1) == 1, "write");
	}
	close(mapped[1]);
	await(child, "child in a user namespace");
	close(ready[0]);
	close(mapped[0]);
}

static int be_after(void)
{
	nodes = live_nodes();
	agent = nodes > 0 ? find_agent() : 0;
	require_same("exec");
	area = live_map((size_t)PAGES * PAGE);
	fill(3);
	require_moves("program");
	verify(3, "program");
	return 0;
}

static void *be_thread(void *argument)
{
	uint64_t *own = malloc(PAGE * 4);

	REQUIRE(own != NULL, "malloc");
	memset(own, 5, PAGE * 4);
	require_same("pthread_create");
	verify(1, "thread");
	free(own);
	return argument;
}

/* Gives up root for itself alone: the agent stays with the others. */
static void *be_different(void *argument)
{
	REQUIRE(syscall(SYS_setresuid, NOBODY, NOBODY, NOBODY) == 0, "setresuid");
	return argument;
}

static void run_thread(void *(*run)(void *))
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, run, NULL) == 0, "pthread_create");
	pthread_join(thread, NULL);
}

/* --- the story ------------------------------------------------------------------------------- */

#define CHANGE(call)                                                      \
	do {                                                              \
		errno = 4711;                                             \
		REQUIRE((call) == 0, "%s: %s", #call, strerror(errno));   \
		REQUIRE(errno == 4711, "%s: errno is %d", #call, errno);  \
		require_same(#call);                                      \
	} while (0)

static void go_back_and_forth(void)
{
	gid_t some[] = { 3, 1, 2 };

	for (int round = 0; round < ROUNDS; round++) {
		CHANGE(seteuid(NOBODY));
		CHANGE(seteuid(0));
		CHANGE(setegid(NOBODY));
		CHANGE(setegid(0));
		CHANGE(setgroups((size_t)round % 4, some));
		CHANGE(setreuid((uid_t)-1, NOBODY));
		CHANGE(setreuid(0, 0));
	}
	CHANGE(setregid(0, 5));
	CHANGE(setresuid(0, 7, 0));
	CHANGE(setresuid(0, 0, 0));
	CHANGE(setgid(0));
	REQUIRE(initgroups("root", 0) == 0, "initgroups");
	require_same("initgroups");
}

static void become_nobody(void)
{
	gid_t group = NOBODY;

	CHANGE(setgroups(1, &group));
	CHANGE(setresgid(NOBODY, NOBODY, NOBODY));
	CHANGE(setuid(NOBODY));
	REQUIRE(setuid(0) == -1 && errno == EPERM, "root again: %s", strerror(errno));
	require_same("a call that failed");
	REQUIRE(prctl(PR_GET_DUMPABLE) == 0, "dumpable as nobody");
	REQUIRE(access("/dev/userfaultfd", R_OK | W_OK) == -1, "nobody may open /dev/userfaultfd");
}

/* Pages go on moving, whoever else moves them. */
static void require_moving(struct live_mover *mover, const char *when)
{
	uint64_t *moved = &mover->reasons[live_reason("moved")];
	uint64_t before = __atomic_load_n(moved, __ATOMIC_RELAXED);
	uint64_t end = live_now_ns() + live_slow() * UINT64_C(20000000000);

	while (nodes >= 2 &&
	       __atomic_load_n(moved, __ATOMIC_RELAXED) < before + 2000 / live_fewer())
		REQUIRE(live_now_ns() < end, "%s: memory moves no more", when);
}

int main(int argc, char **argv)
{
	struct live_mover mover;

	live_watchdog(100);
	if (argc > 1)
		return be_after();
	nodes = live_nodes();
	agent = nodes > 0 ? find_agent() : 0;
	area = live_map((size_t)PAGES * PAGE);
	fill(1);
	pid_t child = fork();
	if (child == 0)
		be_raw_child();
	await(child, "raw child");
	if (nodes > 0) {
		go_elsewhere();
		lose_agent();
	}
	live_ready("ready\n");
	live_mover_start(&mover, area, PAGES, nodes);
	run_thread(be_different);
	require_same("another thread's change");
	go_back_and_forth();
	require_moving(&mover, "as root");
	become_nobody();
	require_moving(&mover, "as nobody");
	verify(1, "as nobody");
	for (int i = 0; i < THREADS; i++)
		run_thread(be_thread);
	for (int i = 0; i < 3; i++) {
		child = fork();
		if (child == 0)
			be_child();
		await(child, "child");
	}
	child = fork();
	if (child == 0)
		be_headless_child();
	await(child, "child without its main thread");
	child = fork();
	if (child == 0) {
		execl(argv[0], argv[0], "after", (char *)NULL);
		LIVE_FAIL("%s: %s", argv[0], strerror(errno));
	}
	await(child, "program");
	require_moving(&mover, "at the end");
	live_mover_stop(&mover);
	verify(1, "at the end");
	require_same("all");
	return 0;
}
