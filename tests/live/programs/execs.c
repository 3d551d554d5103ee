/* SPDX-License-Identifier: MIT */
/*
 * execs HOW PROGRAM - executes PROGRAM in a child by one of libc's ways, waits for it and prints
 * how that went: its exit status, or the error.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int by_exec(const char *how, char *path)
{
	char *argv[] = { path, NULL };
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (strcmp(how, "execve") == 0)
		(void)execve(path, argv, environ);
	else if (strcmp(how, "execvp") == 0)
		(void)execvp(path, argv);
	else if (strcmp(how, "execl") == 0)
		(void)execl(path, path, (char *)NULL);
	else if (strcmp(how, "fexecve") == 0)
		(void)fexecve(fd, argv, environ);
	else if (strcmp(how, "execveat") == 0)
		(void)execveat(fd, "", argv, environ, AT_EMPTY_PATH);
	else if (strcmp(how, "syscall") == 0)
		(void)syscall(SYS_execve, path, argv, environ);
	else if (strcmp(how, "nothing") == 0) /* the kernel's answer, not our fault */
		(void)execve((const char *)8, argv, environ);
	return errno;
}

int main(int argc, char **argv)
{
	volatile int *error =
		mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status = 0;
	pid_t pid;

	if (argc != 3 || error == MAP_FAILED)
		return 2;
	if (strcmp(argv[1], "spawn") == 0 || strcmp(argv[1], "spawnp") == 0) {
		char *child[] = { argv[2], NULL };

		*error = (argv[1][5] == 'p' ? posix_spawnp : posix_spawn)(&pid, argv[2], NULL, NULL,
									  child, environ);
	} else {
		pid = vfork();
		if (pid == 0) {
			*error = by_exec(argv[1], argv[2]);
			_exit(99);
		}
	}
	if (*error == 0 || argv[1][0] != 's' || argv[1][1] == 'y') {
		if (waitpid(pid, &status, 0) != pid)
			return 2;
	}
	printf("%s %s\n", argv[1],
	       *error != 0         ? strerrorname_np(*error)
	       : WIFEXITED(status) ? WEXITSTATUS(status) == 0 ? "ran" : "failed"
				   : "killed");
	return 0;
}
