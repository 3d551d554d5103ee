/* SPDX-License-Identifier: MIT */
/*
 * corners.c - the corners of a process's life, one by name: each checks every word of its memory,
 * while a thread moves all pages of the process, and prints what a bare run prints as well.
 *
 * usage: corners CASE [ARGUMENT]
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/sched.h> /* struct clone_args */
#include <poll.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

enum { PAGES = 1024, THREADS = 3, ROUNDS = 3 };

extern char **environ;

static uint64_t *area;
static char self[4096];

static void fill_area(void)
{
	area = live_map((size_t)PAGES * PAGE);
	for (size_t i = 0; i < (size_t)PAGES * PAGE_WORDS; i++)
		area[i] = i * UINT64_C(0x9e3779b97f4a7c15);
}

/* Calls nothing: for children of any kind. => whether every word is right. */
static bool is_right(void)
{
	for (size_t i = 0; i < (size_t)PAGES * PAGE_WORDS; i++)
		if (area[i] != i * UINT64_C(0x9e3779b97f4a7c15))
			return false;
	return true;
}

static void require_right(const char *when)
{
	REQUIRE(is_right(), "the memory is wrong %s", when);
}

static int status_of(pid_t pid, const char *what)
{
	int status;

	REQUIRE(pid > 0, "%s: %s", what, strerror(errno));
	while (waitpid(pid, &status, 0) < 0)
		REQUIRE(errno == EINTR, "%s: waitpid: %s", what, strerror(errno));
	return status;
}

static void expect_exit(pid_t pid, int want, const char *what)
{
	int status = status_of(pid, what);

	REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == want, "%s: status %x, not exit %d",
		what, (unsigned)status, want);
}

static void expect_signal(pid_t pid, int want, const char *what)
{
	int status = status_of(pid, what);

	REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == want, "%s: status %x, not signal %d",
		what, (unsigned)status, want);
}

static uint64_t moved; /* atomic */

/* Everything that the process has, stacks and heap too. Takes no signals. */
static void *mover_run(void *unused)
{
	struct ferry_move_report report = { .size = sizeof(report) };
	int nodes = live_nodes(), node = 0;

	while (nodes >= 2) {
		if (ferry_move_range(0, (void *)PAGE, (UINT64_C(1) << 47) - 2 * PAGE, node, NULL,
				     &report) >= 0)
			__atomic_fetch_add(&moved, report.moved_pages, __ATOMIC_RELAXED);
		node = (node + 1) % nodes;
		live_sleep_us(300);
	}
	for (;;)
		pause();
	return unused;
}

static void start_mover(void)
{
	pthread_t thread;
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	REQUIRE(pthread_create(&thread, NULL, mover_run, NULL) == 0, "thread");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void move_on(const char *when)
{
	uint64_t before = __atomic_load_n(&moved, __ATOMIC_RELAXED), seen = before;

	for (unsigned tries = 0; tries < 5000 && live_nodes() >= 2 && seen < before + PAGES;
	     tries++) {
		REQUIRE(tries < 4999, "nothing moves %s", when);
		live_sleep_us(2000);
		seen = __atomic_load_n(&moved, __ATOMIC_RELAXED);
	}
}

/* --- children ------------------------------------------------------------------------- */

static void spawn_check(int (*spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
				     const posix_spawnattr_t *, char *const[], char *const[]))
{
	char *arguments[] = { self, (char *)"check", NULL };
	pid_t pid = 0;
	int error = spawn(&pid, self, NULL, NULL, arguments, environ);

	REQUIRE(error == 0, "posix_spawn: %s", strerror(error));
	expect_exit(pid, 0, "posix_spawn");
}

static void vfork_check(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execl(self, self, "check", (char *)NULL);
		_exit(9);
	}
	expect_exit(pid, 0, "vfork and exec");
	pid = vfork();
	if (pid == 0)
		_exit(is_right() ? 4 : 9);
	expect_exit(pid, 4, "vfork and _exit");
}

static pid_t raw_clone(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, 0, NULL, NULL, 0);
}

/* As programs do that call the kernel by themselves: nobody sees it but the kernel. */
static pid_t clone_in_assembler(void)
{
	long pid;

	__asm__ volatile("xor %%edx, %%edx\n\txor %%r10d, %%r10d\n\txor %%r8d, %%r8d\n\tsyscall"
			 : "=a"(pid)
			 : "a"((long)SYS_clone), "D"((long)SIGCHLD), "S"(0L)
			 : "rdx", "r10", "r8", "rcx", "r11", "memory");
	return (pid_t)pid;
}

static pid_t clone3_by_number(void)
{
	struct clone_args arguments = { .exit_signal = SIGCHLD };

	return (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
}

static pid_t fork_by_number(void)
{
	return (pid_t)syscall(SYS_fork);
}

/* A child that libc does not know of goes on using libc, as far as that goes. */
static int live_as_raw_clone(void)
{
	char *memory = malloc(3 << 20);
	uint64_t *mapping = live_map(64 * PAGE);
	pid_t pid;
	int status;

	if (!memory || !is_right())
		return 1;
	memset(memory, 7, 3 << 20);
	mapping[5] = 6;
	pid = fork();
	if (pid == 0)
		_exit(is_right() && memory[1 << 20] == 7 && mapping[5] == 6 ? 3 : 9);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
	    WEXITSTATUS(status) != 3)
		return 2;
	free(memory);
	return munmap(mapping, 64 * PAGE) == 0 && is_right() ? 0 : 4;
}

static void clone_check(void)
{
	pid_t pid = raw_clone();

	if (pid == 0)
		syscall(SYS_exit_group, is_right() ? 6 : 9);
	expect_exit(pid, 6, "raw clone");
	pid = raw_clone();
	if (pid == 0) {
		execl(self, self, "check", (char *)NULL);
		syscall(SYS_exit_group, 9);
	}
	expect_exit(pid, 0, "raw clone and exec");
}

static int end_as_clone(void *unused)
{
	(void)unused;
	return is_right() ? 6 : 9;
}

/* libc's clone() begins the child on another stack, with the signals that it had. */
static void libc_clone_check(void)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	struct clone_args bad = { .exit_signal = SIGCHLD, .flags = ~UINT64_C(0) };
	sigset_t before, after;

	sigemptyset(&before);
	after = before;
	sigprocmask(SIG_SETMASK, NULL, &before);
	expect_exit(clone(end_as_clone, stack + sizeof(stack), SIGCHLD, NULL), 6, "clone()");
	sigprocmask(SIG_SETMASK, NULL, &after);
	REQUIRE(memcmp(&before, &after, sizeof(before)) == 0, "clone() changed the signal mask");
	REQUIRE(clone(NULL, stack + sizeof(stack), SIGCHLD, NULL) == -1 && errno == EINVAL,
		"clone() of nothing");
	REQUIRE(syscall(SYS_clone3, &bad, sizeof(bad)) == -1 && errno == EINVAL, "clone3 flags");
	REQUIRE(syscall(SYS_clone3, (void *)8, sizeof(bad)) == -1 && errno == EFAULT,
		"clone3 of a bad pointer");
	REQUIRE(syscall(SYS_clone3, &bad, 8) == -1 && errno == EINVAL, "clone3 of a bad size");
}

/* Children that libc does not know of, of all kinds: they have all of their parent's memory, use
 * it, fork and execute, and their parent's pages move on. */
static void case_clones(void)
{
	static pid_t (*const kinds[])(void) = { raw_clone, clone3_by_number, fork_by_number,
						clone_in_assembler };
	bool events = getenv("FERRY_TEST_NO_EVENTS") == NULL;

	for (unsigned round = 0; round < 60; round++) {
		unsigned kind = round % (events ? 4 : 3);
		pid_t pid = kinds[kind]();

		if (pid == 0 && round % 20 < 4)
			syscall(SYS_exit_group, live_as_raw_clone());
		if (pid == 0 && round % 20 < 8)
			execl(self, self, "check", (char *)NULL);
		if (pid == 0)
			syscall(SYS_exit_group, is_right() ? 0 : 9);
		expect_exit(pid, 0, kind < 3 ? "a clone by number" : "a clone in assembler");
		libc_clone_check();
	}
	move_on("after clones");
	require_right("after clones");
}

static void *exit_group_run(void *unused)
{
	syscall(SYS_exit_group, is_right() ? 8 : 9);
	return unused;
}

static void end_child(unsigned way)
{
	pthread_t thread;

	switch (way) {
	case 0:
		_exit(is_right() ? 1 : 9);
	case 1:
		exit(is_right() ? 2 : 9);
	case 2:
		if (is_right())
			abort();
		_exit(9);
	case 3:
		if (is_right())
			raise(SIGTERM);
		_exit(9);
	default:
		if (pthread_create(&thread, NULL, exit_group_run, NULL))
			_exit(9);
		for (;;)
			pause();
	}
}

static void ways_to_end(void)
{
	static const int exits[] = { 1, 2, 0, 0, 8 };
	static const int signals[] = { 0, 0, SIGABRT, SIGTERM, 0 };

	for (unsigned way = 0; way < 5; way++) {
		pid_t pid = way == 0 || way == 3 ? _Fork() : fork();

		if (pid == 0)
			end_child(way);
		if (signals[way])
			expect_signal(pid, signals[way], "a child");
		else
			expect_exit(pid, exits[way], "a child");
	}
}

static void *storm_run(void *unused)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		vfork_check();
		spawn_check(i % 2 ? posix_spawn : posix_spawnp);
		clone_check();
		ways_to_end();
	}
	return unused;
}

/* Forks of all kinds, from several threads at a time. */
static void case_storm(void)
{
	pthread_t threads[THREADS];
	struct rlimit none = { 0, 0 };

	setrlimit(RLIMIT_CORE, &none);
	for (unsigned i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, storm_run, NULL) == 0, "thread");
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 5; i++) {
		pid_t pid = raw_clone();

		if (pid == 0)
			syscall(SYS_exit_group, live_as_raw_clone());
		expect_exit(pid, 0, "life as a raw clone");
	}
}

/* --- exec and ends -------------------------------------------------------------------- */

static void *exec_run(void *unused)
{
	execl(self, self, "check", (char *)NULL);
	return unused;
}

/* The last image is another thread's exec. */
static void case_exec(void)
{
	for (int i = 0; i < 6; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			pthread_t thread;

			live_sleep_us(20000);
			require_right("before an exec");
			if (i % 2)
				exec_run(NULL);
			pthread_create(&thread, NULL, exec_run, NULL);
			for (;;)
				pause();
		}
		expect_exit(pid, 0, "exec");
	}
}

static void *outlive_run(void *unused)
{
	(void)unused;
	for (int i = 0; i < 10; i++) {
		live_sleep_us(30000);
		require_right("after main's end");
	}
	printf("outlived\n");
	fflush(stdout);
	_exit(5);
}

static void case_mainless(void)
{
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, outlive_run, NULL) == 0, "thread");
	pthread_exit(NULL);
}

/* --- descriptors ---------------------------------------------------------------------- */

static void fork_and_exec(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		require_right("in a child");
		execl(self, self, "check", (char *)NULL);
		_exit(9);
	}
	expect_exit(pid, 0, "fork and exec");
}

static void case_closed(void)
{
	int pair[2];

	closefrom(3);
	fork_and_exec();
	/* All of the numbers are the program's; what is sent there is its own. */
	for (int i = 0; i < 150; i++)
		REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0, "socketpair");
	fork_and_exec();
	for (int fd = 3; fd <= pair[1]; fd++) {
		char byte;

		REQUIRE(recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN,
			"somebody wrote to descriptor %d", fd);
	}
	REQUIRE(syscall(SYS_close_range, 3, ~0u, 0) == 0, "close_range");
	fork_and_exec();
	require_right("without descriptors");
}

static void case_daemon(void)
{
	REQUIRE(daemon(1, 1) == 0, "daemon");
	fork_and_exec();
	require_right("in a daemon");
	live_ready("daemon\n");
}

static void limit_files(rlim_t files)
{
	struct rlimit limit = { files, files };

	REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
	syscall(SYS_close_range, 3, ~0u, 0);
	fork_and_exec();
	require_right("with few descriptors");
}

static void case_limits(void)
{
	static const int kinds[] = { RLIMIT_AS, RLIMIT_MEMLOCK, RLIMIT_NPROC };
	struct rlimit limit;
	void *memory;

	for (unsigned i = 1; i < 3; i++) {
		limit = (struct rlimit){ 1 << 16, 1 << 16 };
		REQUIRE(setrlimit((__rlimit_resource_t)kinds[i], &limit) == 0, "setrlimit");
		fork_and_exec();
	}
	limit = (struct rlimit){ UINT64_C(400) << 20, UINT64_C(500) << 20 };
	REQUIRE(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
	REQUIRE(getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur == UINT64_C(400) << 20 &&
			limit.rlim_max == UINT64_C(500) << 20,
		"getrlimit: %llx", (unsigned long long)limit.rlim_cur);
	memory = live_map(UINT64_C(100) << 20);
	REQUIRE(mmap(NULL, UINT64_C(450) << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
			MAP_FAILED,
		"RLIMIT_AS does not limit");
	munmap(memory, UINT64_C(100) << 20);
	fork_and_exec();
	require_right("under limits");
}

static rlim_t data_limit(void)
{
	struct rlimit limit;

	REQUIRE(getrlimit(RLIMIT_DATA, &limit) == 0, "getrlimit");
	return limit.rlim_cur;
}

/* How many MiB can be mapped; all is given back. */
static unsigned count_mappable(void)
{
	enum { MOST = 256 };
	void *memory[MOST];
	unsigned count = 0;

	while (count < MOST) {
		memory[count] = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (memory[count] == MAP_FAILED)
			break;
		count++;
	}
	REQUIRE(count == MOST || errno == ENOMEM, "mmap over the limit: %s", strerror(errno));
	for (unsigned i = 0; i < count; i++)
		munmap(memory[i], 1 << 20);
	return count;
}

/* Of a limit of 64 MiB of data the program has as much as it has bare, and so have its children;
 * its agent goes on working when there is nothing left of it. */
static void expect_limited(void)
{
	unsigned count = count_mappable();
	void *memory[64];

	REQUIRE(data_limit() == 64 << 20, "getrlimit: %llx", (unsigned long long)data_limit());
	/* Stacks of threads and heaps are taken off. */
	REQUIRE(count >= 40 && count <= 63, "%u MiB can be mapped", count);
	for (unsigned i = 0; i < count; i++) {
		memory[i] = live_map(1 << 20);
		memset(memory[i], 5, 1 << 20);
	}
	REQUIRE(malloc(2 << 20) == NULL && errno == ENOMEM, "malloc over the limit");
	REQUIRE(sbrk(2 << 20) == (void *)-1 && errno == ENOMEM, "sbrk over the limit");
	REQUIRE(mmap(NULL, 8 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED,
		"mmap of what is no data");
	move_on("at the limit");
	require_right("at the limit");
	for (unsigned i = 0; i < count; i++) {
		for (unsigned at = 0; at < 1 << 20; at += 512)
			REQUIRE(((char *)memory[i])[at] == 5, "wrong content at the limit");
		munmap(memory[i], 1 << 20);
	}
}

static void case_data(void)
{
	struct rlimit limit = { 64 << 20, 128 << 20 }, old;
	pid_t pid;

	REQUIRE(prlimit(0, RLIMIT_DATA, &limit, &old) == 0, "prlimit");
	REQUIRE(old.rlim_cur == RLIM_INFINITY && old.rlim_max == RLIM_INFINITY, "old limit");
	expect_limited();
	limit.rlim_cur = 128 << 20;
	REQUIRE(setrlimit(RLIMIT_DATA, &limit) == 0, "up to the hard limit");
	REQUIRE(count_mappable() > 64, "only %u MiB of 128", count_mappable());
	limit.rlim_cur = 64 << 20;
	REQUIRE(setrlimit(RLIMIT_DATA, &limit) == 0, "down again");
	pid = fork();
	if (pid == 0) {
		start_mover();
		expect_limited();
		execl(self, self, "limited", (char *)NULL);
		_exit(9);
	}
	expect_exit(pid, 0, "a child of limited data");
	require_right("under a limit of data");
}

/* --- stacks and jumps ------------------------------------------------------------------ */

static volatile sig_atomic_t handled;

static void on_alternate_stack(int number)
{
	volatile uint64_t words[512];

	(void)number;
	for (unsigned i = 0; i < 512; i++)
		words[i] = i * 3;
	for (unsigned i = 0; i < 512; i++)
		if (words[i] != i * 3)
			_exit(9);
	handled++;
}

static uint64_t recurse(unsigned depth)
{
	volatile uint64_t frame[64];
	uint64_t sum = 0;

	for (unsigned i = 0; i < 64; i++)
		frame[i] = depth + i;
	if (depth > 0)
		sum = recurse(depth - 1);
	for (unsigned i = 0; i < 64; i++)
		REQUIRE(frame[i] == depth + i, "a stack frame is wrong at depth %u", depth);
	return sum + frame[1];
}

static void *deep_run(void *unused)
{
	for (int i = 0; i < 6; i++)
		REQUIRE(recurse(3000) == UINT64_C(3001) * 3002 / 2, "recursion");
	return unused;
}

static jmp_buf back;

static void jump_from(unsigned depth)
{
	volatile char frame[900];

	frame[depth % 900] = 1;
	if (depth > 0)
		jump_from(depth - 1);
	else if (frame[0] == 1)
		longjmp(back, 1);
	frame[0] = frame[1];
}

static void case_stacks(void)
{
	enum { STACK = 4 << 20 };
	stack_t stack = { .ss_sp = live_map(64 * 1024), .ss_size = 64 * 1024 };
	struct sigaction action = { .sa_handler = on_alternate_stack, .sa_flags = SA_ONSTACK };
	pthread_attr_t attr;
	pthread_t threads[THREADS];

	REQUIRE(sigaltstack(&stack, NULL) == 0, "sigaltstack");
	REQUIRE(sigaction(SIGUSR1, &action, NULL) == 0, "sigaction");
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_attr_init(&attr);
		REQUIRE(pthread_attr_setstack(&attr, live_map(STACK), STACK) == 0, "setstack");
		REQUIRE(pthread_create(&threads[i], &attr, deep_run, NULL) == 0, "thread");
	}
	for (volatile unsigned i = 0; i < 300; i++) {
		raise(SIGUSR1);
		if (setjmp(back) == 0)
			jump_from(2000);
		live_sleep_us(1000);
	}
	REQUIRE(handled == 300, "%d signals of 300", (int)handled);
	REQUIRE(recurse(9000) != 0, "recursion");
	for (unsigned i = 0; i < THREADS; i++)
		REQUIRE(pthread_join(threads[i], NULL) == 0, "join");
	require_right("after jumps");
}

/* --- alarms ---------------------------------------------------------------------------- */

static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
	(void)number;
	alarms++;
}

static void alarm_storm(int flags, long us)
{
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = flags };
	struct itimerval timer = { { 0, us }, { 0, us } };

	REQUIRE(sigaction(SIGALRM, &action, NULL) == 0, "sigaction");
	REQUIRE(setitimer(ITIMER_REAL, &timer, NULL) == 0, "setitimer");
}

static void print_result(const char *name, long result)
{
	printf("%s: %s %s\n", name, result < 0 ? "failed" : "done",
	       result < 0 ? strerrorname_np(errno) : "");
}

/* Calls that wait: they end by the signal, always. */
static void waiting_calls(int empty)
{
	struct timespec long_time = { 100, 0 };
	struct pollfd polled = { .fd = empty, .events = POLLIN };
	fd_set set;
	sem_t semaphore;
	char byte;

	sem_init(&semaphore, 0, 0);
	FD_ZERO(&set);
	FD_SET(empty, &set);
	print_result("nanosleep", nanosleep(&long_time, NULL));
	print_result("poll", poll(&polled, 1, 100000));
	print_result("select", select(empty + 1, &set, NULL, NULL, NULL));
	print_result("pause", pause());
	print_result("sem_wait", sem_wait(&semaphore));
	print_result("read", read(empty, &byte, 1));
}

/* Calls that do not wait, ours among them: never by the signal. */
static void quick_calls(void)
{
	for (int i = 0; i < 40; i++) {
		uint64_t *memory = live_map(256 * PAGE);
		char *chunk = malloc(1 << 20);
		pid_t pid;

		REQUIRE(chunk != NULL, "malloc");
		errno = 0;
		memory = mremap(memory, 256 * PAGE, 512 * PAGE, MREMAP_MAYMOVE);
		REQUIRE(memory != MAP_FAILED && errno == 0, "mremap: %s", strerror(errno));
		REQUIRE(madvise(memory, 256 * PAGE, MADV_DONTNEED) == 0 && errno == 0, "madvise");
		REQUIRE(munmap(memory, 512 * PAGE) == 0 && errno == 0, "munmap");
		pid = fork();
		if (pid == 0)
			_exit(is_right() ? 0 : 9);
		expect_exit(pid, 0, "fork");
		free(chunk);
	}
	print_result("quick calls", 0);
}

static void case_alarms(void)
{
	int ends[2];

	REQUIRE(pipe(ends) == 0, "pipe");
	alarm_storm(0, 1000);
	for (int i = 0; i < 20; i++)
		waiting_calls(ends[0]);
	quick_calls();
	alarm_storm(SA_RESTART, 1000);
	quick_calls();
	alarm_storm(SA_RESTART, 0);
	require_right("after alarms");
	REQUIRE(alarms > 50, "only %d alarms", (int)alarms);
}

/* --- whose children are they ------------------------------------------------------------- */

static volatile sig_atomic_t reaped, strangers;
static pid_t expected[64];

static void on_child(int number)
{
	int saved = errno, status;
	pid_t pid;

	(void)number;
	while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
		bool known = false;

		for (unsigned i = 0; i < 64; i++)
			known |= expected[i] == pid;
		if (known || !WIFEXITED(status) || WEXITSTATUS(status) == 7)
			reaped++;
		else
			strangers++;
	}
	errno = saved;
}

static void count_entries(const char *path, bool low_only)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int count = 0;

	REQUIRE(directory != NULL, "%s", path);
	while ((entry = readdir(directory)) != NULL)
		count += entry->d_name[0] != '.' && (!low_only || atoi(entry->d_name) < 200);
	closedir(directory);
	printf("%s: %d\n", path, count);
}

static void case_children(void)
{
	struct sigaction action = { .sa_handler = on_child, .sa_flags = SA_RESTART };
	sigset_t blocked;

	count_entries("/proc/self/task", false);
	count_entries("/proc/self/fd", true);
	errno = 0;
	REQUIRE(wait(NULL) == -1 && errno == ECHILD, "a child that nobody made");
	REQUIRE(waitpid(-1, NULL, __WALL) == -1 && errno == ECHILD, "a clone that nobody made");
	REQUIRE(sigaction(SIGCHLD, &action, NULL) == 0, "sigaction");
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGCHLD);
	for (unsigned i = 0; i < 64; i++) {
		sigprocmask(SIG_BLOCK, &blocked, NULL);
		expected[i] = i % 4 ? fork() : raw_clone();
		if (expected[i] == 0)
			syscall(SYS_exit_group, is_right() ? 7 : 9);
		REQUIRE(expected[i] > 0, "fork: %s", strerror(errno));
		sigprocmask(SIG_UNBLOCK, &blocked, NULL);
	}
	while (reaped < 64)
		live_sleep_us(1000);
	printf("reaped %d, strangers %d\n", (int)reaped, (int)strangers);
	REQUIRE(waitpid(-1, NULL, __WALL) == -1 && errno == ECHILD, "one child too many");
}

/* A reaper of orphans: sees its orphan, and comes to an end. */
static void case_reaper(void)
{
	int status, orphans = 0;
	pid_t pid;

	REQUIRE(getpid() == 1 || prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, "prctl");
	fork_and_exec();
	pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			live_sleep_us(50000);
			_exit(is_right() ? 33 : 9);
		}
		_exit(0);
	}
	while ((pid = wait(&status)) > 0)
		orphans += WIFEXITED(status) && WEXITSTATUS(status) == 33;
	REQUIRE(errno == ECHILD, "wait: %s", strerror(errno));
	printf("orphans %d\n", orphans);
	require_right("in a reaper");
}

/* Signals to all: in namespaces of our own, as process 1. */
static void case_everybody(void)
{
	pid_t pid;

	fork_and_exec();
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	REQUIRE(kill(-1, SIGTERM) == 0, "kill(-1): %s", strerror(errno));
	expect_signal(pid, SIGTERM, "kill(-1)");
	require_right("after a signal to all");
	REQUIRE(kill(-1, SIGKILL) == 0 || errno == ESRCH, "kill(-1): %s", strerror(errno));
	while (wait(NULL) > 0)
		;
	for (int i = 0; i < 20; i++) {
		uint64_t *memory = live_map(512 * PAGE);

		memory[i] = 1;
		require_right("after a death to all");
		munmap(memory, 512 * PAGE);
		live_sleep_us(10000);
	}
	fork_and_exec();
	printf("alive\n");
}

static void case_chroot(const char *root)
{
	char *arguments[] = { (char *)"/corners", (char *)"check", NULL };
	pid_t pid = fork();

	if (pid == 0) {
		REQUIRE(chroot(root) == 0 && chdir("/") == 0, "chroot: %s", strerror(errno));
		require_right("in another root");
		pid = fork();
		if (pid == 0)
			_exit(is_right() ? 0 : 9);
		expect_exit(pid, 0, "fork in another root");
		execv("/corners", arguments);
		_exit(9);
	}
	expect_exit(pid, 0, "exec in another root");
}

static void case_check(void)
{
	if (getenv("FERRY_TEST_SHOW") != NULL)
		printf("nodes %d\n", ferry_nodes(0, NULL, 0) > 0);
	require_right("in a new image");
}

static void run_case(const char *name, const char *argument)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{ "check", case_check },
		{ "storm", case_storm },
		{ "clones", case_clones },
		{ "data", case_data },
		{ "limited", expect_limited },
		{ "exec", case_exec },
		{ "mainless", case_mainless },
		{ "closed", case_closed },
		{ "daemon", case_daemon },
		{ "limits", case_limits },
		{ "stacks", case_stacks },
		{ "alarms", case_alarms },
		{ "children", case_children },
		{ "reaper", case_reaper },
		{ "everybody", case_everybody },
	};

	if (strcmp(name, "files") == 0) {
		limit_files(argument != NULL ? (rlim_t)atoi(argument) : 8);
		return;
	}
	if (strcmp(name, "chroot") == 0) {
		case_chroot(argument != NULL ? argument : "/");
		return;
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (strcmp(name, cases[i].name) == 0) {
			cases[i].run();
			return;
		}
	}
	LIVE_FAIL("no such case: %s", name);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	snprintf(self + (length > 0 ? length : 0), 1, "%s", "");
	fill_area();
	if (strcmp(name, "check") != 0) {
		live_watchdog(100);
		start_mover();
	}
	run_case(name, argc > 2 ? argv[2] : NULL);
	printf("%s: right\n", name);
	fflush(stdout);
	if (strcmp(name, "check") != 0)
		fprintf(stderr, "moved %llu\n", (unsigned long long)moved);
	return 0;
}
