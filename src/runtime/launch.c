/* SPDX-License-Identifier: MIT */
/* launch.c - see launch.h. */
#define _GNU_SOURCE
#include "runtime/launch.h"

#include "runtime/keeper.h"
#include "runtime/program.h"
#include "runtime/zone.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	JOIN_FD_MIN = 200, /* descriptors that programs rarely use begin here */
	INHERITED_MAX = 1024,
	LEFT_WAIT_MS = 10000,
};

/* What the caller had, for the command. */
struct inherited {
	sigset_t mask;
	struct rlimit files;
	struct sigaction child; /* a caller may ignore SIGCHLD; we must not */
	int fds[INHERITED_MAX]; /* open descriptors but 0, 1, 2 */
	unsigned fd_count;
};

static int fail(const char *what)
{
	(void)fprintf(stderr, "pageferry: %s: %s\n", what, strerror(errno));
	return FERRY_EXIT_OWN;
}

int ferry_launch_bare(char **argv)
{
	int code;

	(void)execvp(argv[0], argv);
	code = errno == ENOENT ? FERRY_EXIT_NOT_FOUND : FERRY_EXIT_NOT_RUNNABLE;
	(void)fprintf(stderr, "pageferry: cannot run '%s': %s\n", argv[0], strerror(errno));
	return code;
}

/* --- the command ------------------------------------------------------------------------- */

static int set_preload(const char *preload)
{
	const char *others = getenv("LD_PRELOAD");
	char *value = NULL;
	int result;

	/* A machine inside a machine: once is enough. */
	if (others != NULL && strncmp(others, preload, strlen(preload)) == 0)
		return 0;
	if (others == NULL || others[0] == '\0')
		return setenv("LD_PRELOAD", preload, 1);
	if (asprintf(&value, "%s:%s", preload, others) < 0)
		return -1;
	result = setenv("LD_PRELOAD", value, 1);
	free(value);
	return result;
}

/* Moves the programs' end of the join socket out of the way of programs' own descriptors. */
static int move_join_fd(int fd, const struct rlimit *files)
{
	rlim_t min = JOIN_FD_MIN;

	if (files->rlim_cur <= min)
		min = files->rlim_cur > 4 ? files->rlim_cur - 1 : 3;
	return fcntl(fd, F_DUPFD, (int)min);
}

/* A limit of data is meant for the command's, beside which there are arenas. Who may not raise it
 * stays with less. */
static void make_room_for_data(const struct ferry_machine *machine)
{
	rlim_t ours = ferry_zone_data_bytes(machine);
	struct rlimit data;

	if (getrlimit(RLIMIT_DATA, &data) != 0 || data.rlim_cur == RLIM_INFINITY)
		return;
	data.rlim_cur += ours;
	if (data.rlim_max < RLIM_INFINITY - ours)
		data.rlim_max += ours;
	(void)setrlimit(RLIMIT_DATA, &data);
}

/* In the child: becomes the command. */
static int become_command(const struct ferry_launch *launch, const struct ferry_keeper *keeper,
			  int join_fd, const struct inherited *inherited)
{
	struct stat status;
	char *join = NULL;
	int fd;

	(void)setrlimit(RLIMIT_NOFILE, &inherited->files);
	fd = move_join_fd(join_fd, &inherited->files);
	if (fd < 0)
		return fail("no free descriptor");
	if (fstat(fd, &status) != 0 ||
	    asprintf(&join, "%d.%ju:%s", fd, (uintmax_t)status.st_ino, keeper->socket_path) < 0)
		return fail("environment");
	if (!launch->hurt &&
	    (setenv(FERRY_JOIN_ENV, join, 1) != 0 || set_preload(launch->preload) != 0))
		return fail("environment");
	if (!launch->hurt)
		make_room_for_data(keeper->machine);
	(void)sigaction(SIGCHLD, &inherited->child, NULL);
	(void)sigprocmask(SIG_SETMASK, &inherited->mask, NULL);
	return ferry_launch_bare(launch->argv);
}

/* --- the keeper -------------------------------------------------------------------------- */

/* Notes the descriptors that the command shall inherit and the keeper must not keep. */
static void note_inherited(struct inherited *inherited)
{
	DIR *directory = opendir("/proc/self/fd");
	struct dirent *entry;

	inherited->fd_count = 0;
	if (directory == NULL)
		return;
	while ((entry = readdir(directory)) != NULL && inherited->fd_count < INHERITED_MAX) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] != '.' && fd > 2 && fd != dirfd(directory))
			inherited->fds[inherited->fd_count++] = fd;
	}
	(void)closedir(directory);
}

static void redirect(int from, int to)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = from; null >= 0 && fd <= to; fd++)
		(void)dup2(null, fd);
	if (null > 2)
		(void)close(null);
}

/* The keeper belongs to no terminal, holds no pipe of its user's and no directory. */
static void detach(struct ferry_keeper *keeper, const struct inherited *inherited)
{
	for (unsigned i = 0; i < inherited->fd_count; i++) {
		if (inherited->fds[i] != keeper->foreground)
			(void)close(inherited->fds[i]);
	}
	keeper->talk = fcntl(2, F_DUPFD_CLOEXEC, 3);
	redirect(0, 2);
	(void)setsid();
	if (chdir("/") != 0)
		return; /* keeps a directory busy, no more */
}

/* Room for seven descriptors a process. */
static void raise_file_limit(struct inherited *inherited)
{
	struct rlimit files;

	(void)getrlimit(RLIMIT_NOFILE, &inherited->files);
	files = inherited->files;
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

/* Starts the command. => 0, or an exit code. */
static int start_command(struct ferry_keeper *keeper, const struct ferry_launch *launch,
			 const struct inherited *inherited)
{
	int ends[2], on = 1;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0 ||
	    setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) != 0)
		return fail("no join socket");
	keeper->join_fd = ends[0];
	if (ferry_keeper_watch(keeper, ends[0], FERRY_SOURCE_JOIN, 0) != 0 ||
	    ferry_keeper_watch(keeper, keeper->foreground, FERRY_SOURCE_FOREGROUND, 0) != 0)
		return fail("no poll loop");
	/* Orphans of the machine become ours, and their ends are seen. */
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	pid = fork();
	if (pid < 0)
		return fail("fork");
	if (pid == 0)
		_exit(become_command(launch, keeper, ends[1], inherited));
	(void)close(ends[1]);
	keeper->command_pid = pid;
	return 0;
}

static void report_failure(int foreground, int code)
{
	struct ferry_foreground_msg msg = { .kind = FERRY_FOREGROUND_FAILED, .value = code };

	(void)send(foreground, &msg, sizeof(msg), MSG_NOSIGNAL);
}

static int run_keeper(const struct ferry_launch *launch, int foreground,
		      struct inherited *inherited)
{
	static struct ferry_keeper keeper;
	const struct sigaction default_action = { .sa_handler = SIG_DFL };
	sigset_t all;
	int code;

	note_inherited(inherited);
	raise_file_limit(inherited);
	/* Nothing but SIGKILL ends a keeper while programs live on its machine. */
	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, NULL);
	(void)sigaction(SIGCHLD, &default_action, &inherited->child);
	(void)prctl(PR_SET_NAME, "pageferry-keep", 0, 0, 0);
	code = ferry_keeper_init(&keeper, launch->spec);
	if (code == 0) {
		keeper.foreground = foreground;
		code = start_command(&keeper, launch, inherited);
		if (code != 0)
			ferry_keeper_destroy(&keeper);
	}
	if (code != 0) {
		report_failure(foreground, code);
		return code;
	}
	detach(&keeper, inherited);
	ferry_keeper_serve(&keeper);
	return 0;
}

/* --- the foreground process -------------------------------------------------------------- */

static int code_of_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void pass_signal(int signals, int keeper)
{
	struct signalfd_siginfo info;
	struct ferry_foreground_msg msg = { .kind = FERRY_FOREGROUND_SIGNAL };

	if (read(signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	msg.value = (int32_t)info.ssi_signo;
	(void)send(keeper, &msg, sizeof(msg), MSG_NOSIGNAL);
}

/*
 * A bare program's memory is free when the shell goes on. Ours is when the agent has left, too;
 * and a keeper that ends with its command ends before us, so that it is not left to process 1.
 * Who sends a signal now does not want to wait.
 */
static void wait_until_left(int keeper, int signals, pid_t keeper_pid)
{
	struct pollfd polled[] = { { .fd = keeper, .events = POLLIN },
				   { .fd = signals, .events = POLLIN } };
	struct ferry_foreground_msg msg;

	if (poll(polled, 2, LEFT_WAIT_MS) <= 0 || polled[0].revents == 0)
		return;
	if (recv(keeper, &msg, sizeof(msg), 0) == (ssize_t)sizeof(msg) &&
	    msg.kind == FERRY_FOREGROUND_OVER)
		(void)waitpid(keeper_pid, NULL, 0);
}

/* Waits for the keeper's word of the command's end. => an exit code. */
static int wait_for_end(int keeper, int signals, pid_t keeper_pid)
{
	struct pollfd polled[] = { { .fd = keeper, .events = POLLIN },
				   { .fd = signals, .events = POLLIN } };
	struct ferry_foreground_msg msg;

	for (;;) {
		if (poll(polled, 2, -1) < 0 && errno != EINTR)
			return fail("poll");
		if ((polled[1].revents & POLLIN) != 0)
			pass_signal(signals, keeper);
		if (polled[0].revents == 0)
			continue;
		if (recv(keeper, &msg, sizeof(msg), 0) != (ssize_t)sizeof(msg)) {
			(void)fprintf(stderr, "pageferry: the keeper of this machine was killed; "
					      "the program goes on without it\n");
			return FERRY_EXIT_OWN;
		}
		if (msg.kind != FERRY_FOREGROUND_END) {
			(void)waitpid(keeper_pid, NULL, 0);
			return msg.value;
		}
		wait_until_left(keeper, signals, keeper_pid);
		return code_of_status(msg.value);
	}
}

/* Blocks what a terminal or a supervisor sends to us, before there is anybody to pass it on. */
static void block_signals(sigset_t *before, sigset_t *passed)
{
	sigset_t blocked;

	(void)sigemptyset(passed);
	(void)sigaddset(passed, SIGTERM);
	(void)sigaddset(passed, SIGHUP);
	blocked = *passed;
	(void)sigaddset(&blocked, SIGINT);
	(void)sigaddset(&blocked, SIGQUIT);
	(void)sigprocmask(SIG_BLOCK, &blocked, before);
}

int ferry_launch_run(const struct ferry_launch *launch)
{
	static struct inherited inherited;
	sigset_t passed;
	int ends[2], signals;
	pid_t pid;

	/* A closed standard descriptor would become one of ours. */
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return FERRY_EXIT_OWN;
	}
	block_signals(&inherited.mask, &passed);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return fail("socketpair");
	(void)fflush(NULL);
	pid = fork();
	if (pid < 0)
		return fail("fork");
	if (pid == 0) {
		(void)close(ends[0]);
		_exit(run_keeper(launch, ends[1], &inherited));
	}
	(void)close(ends[1]);
	signals = signalfd(-1, &passed, SFD_CLOEXEC);
	if (signals < 0)
		return fail("signalfd");
	/* The command has its own duplicates; ours would keep its pipes open after it closed them.
	 */
	redirect(0, 1);
	return wait_for_end(ends[0], signals, pid);
}
