/* SPDX-License-Identifier: MIT */
/*
 * mailbox.c - move_pages() on another process, call after call: through the mailbox that the first
 * call leaves there (src/runtime/mailbox.h).
 *
 * usage: mailbox calls | outlive
 *   calls    threads, forks, other rights, more pages, an exec, a pause, a kill of the other one
 *   outlive  says the pids of both, calls until told to stop or the other process is not to be
 *            reached any more, and prints what the last call said
 *          mailbox target FD FD   (by ourselves)
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { AREA_PAGES = 4096, THREADS = 4, THREAD_CALLS = 400, TARGET_AT = 0x51 };

static char *const area = (char *)((uintptr_t)TARGET_AT << 32);

struct target {
	pid_t pid;
	int ask, told;
};

/* --- the other process --------------------------------------------------------------------- */

static void write_pages(void)
{
	void *at = mmap(area, (size_t)AREA_PAGES * PAGE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	REQUIRE(at == area, "mmap: %s", strerror(errno));
	for (size_t i = 0; i < AREA_PAGES; i++)
		*(uint64_t *)(void *)(area + i * PAGE) = i;
}

/* Adds one to a word of each page until it is asked for something. => what. */
static char add_until_asked(int ask)
{
	static uint64_t rounds;
	char what = 0;

	do {
		for (size_t i = 0; i < AREA_PAGES; i++) {
			uint64_t *word = (void *)(area + i * PAGE);

			REQUIRE(*word == i + rounds, "page %zu: %llu, not %llu", i,
				(unsigned long long)*word, (unsigned long long)(i + rounds));
			(*word)++;
		}
		rounds++;
		live_sleep_us(500);
	} while (read(ask, &what, 1) != 1);
	return what;
}

static void be_target(const char *program, int ask, int told)
{
	char ask_text[16], told_text[16];

	snprintf(ask_text, sizeof(ask_text), "%d", ask);
	snprintf(told_text, sizeof(told_text), "%d", told);
	write_pages();
	REQUIRE(write(told, "r", 1) == 1, "write: %s", strerror(errno));
	switch (add_until_asked(ask)) {
	case 'x':
		execl(program, program, "target", ask_text, told_text, (char *)NULL);
		LIVE_FAIL("exec: %s", strerror(errno));
	default:
		_exit(0);
	}
}

static struct target start_target(const char *program)
{
	int ask[2], told[2];
	struct target target;

	REQUIRE(pipe2(ask, O_NONBLOCK) == 0 && pipe(told) == 0, "pipe: %s", strerror(errno));
	target = (struct target){ .pid = fork(), .ask = ask[1], .told = told[0] };
	REQUIRE(target.pid >= 0, "fork: %s", strerror(errno));
	if (target.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		be_target(program, ask[0], told[1]);
	}
	close(ask[0]);
	close(told[1]);
	return target;
}

static void wait_for_target(const struct target *target)
{
	char byte;

	REQUIRE(read(target->told, &byte, 1) == 1, "the other process has ended");
}

/* --- calls --------------------------------------------------------------------------------- */

/* => the result of the call; *status is the page's. */
static long move_one(pid_t pid, size_t page, int node, int *status)
{
	void *at = area + page * PAGE;

	*status = -999;
	return ferry_move_pages(pid, 1, &at, &node, status, FERRY_MOVE | FERRY_CONTRACT_LINUX);
}

/* A page that another call has in work is tried again, as the contract wants callers to. */
static void move_for_sure(pid_t pid, size_t page, int node)
{
	int status = -999;

	for (int i = 0; i < 100 && status != node; i++)
		REQUIRE(move_one(pid, page, node, &status) >= 0 &&
				(status == node || status == -EBUSY),
			"page %zu: status %d", page, status);
	LIVE_EXPECT(status, node);
}

static pid_t thread_target;

static void *thread_run(void *arg)
{
	uint64_t random = (uintptr_t)arg * 7919 + 1;

	for (int i = 0; i < THREAD_CALLS; i++)
		move_for_sure(thread_target,
			      (size_t)(uintptr_t)arg + THREADS * live_below(&random,
									    AREA_PAGES / THREADS),
			      (int)live_below(&random, 2));
	return NULL;
}

static void call_from_threads(pid_t pid)
{
	pthread_t threads[THREADS];

	thread_target = pid;
	for (uintptr_t i = 0; i < THREADS; i++)
		REQUIRE(pthread_create(&threads[i], NULL, thread_run, (void *)i) == 0, "thread");
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void expect_exit(pid_t pid)
{
	int status;

	REQUIRE(waitpid(pid, &status, 0) == pid && status == 0, "child ended with %x", status);
}

/* Both have what the parent has kept; each has to get its own answers. */
static void call_from_parent_and_child(pid_t pid)
{
	pid_t child = fork();
	size_t first = child == 0 ? AREA_PAGES / 2 : 0;

	REQUIRE(child >= 0, "fork: %s", strerror(errno));
	for (size_t i = 0; i < THREAD_CALLS; i++)
		move_for_sure(pid, first + i, (int)(i + (child == 0)) % 2);
	if (child == 0)
		_exit(0);
	expect_exit(child);
}

/* Rights are the calling thread's, now: not those of the call that made the mailbox. */
static void call_with_other_rights(pid_t pid)
{
	int node = 1, status = -999;
	void *at = area;

	if (geteuid() != 0)
		return;
	move_for_sure(pid, 0, 0);
	LIVE_EXPECT(ferry_move_pages(pid, 1, &at, &node, &status, FERRY_MOVE_ALL), 0);
	/* As the kernel has it: capabilities are of the effective user, ids are the real ones. */
	REQUIRE(seteuid(65534) == 0, "seteuid: %s", strerror(errno));
	LIVE_EXPECT(move_one(pid, 0, 0, &status), 0);
	LIVE_EXPECT(ferry_move_pages(pid, 1, &at, &node, &status, FERRY_MOVE_ALL), -EPERM);
	REQUIRE(setresuid(65534, 65534, 0) == 0, "setresuid: %s", strerror(errno));
	LIVE_EXPECT(move_one(pid, 0, 1, &status), -EPERM);
	LIVE_EXPECT(status, -999);
	REQUIRE(setresuid(0, 0, 0) == 0, "setresuid: %s", strerror(errno));
	LIVE_EXPECT(ferry_move_pages(pid, 1, &at, &node, &status, FERRY_MOVE_ALL), 0);
	LIVE_EXPECT(status, 1);
	move_for_sure(pid, 0, 0);
}

static void move_all(pid_t pid, int node)
{
	static void *pages[AREA_PAGES];
	static int nodes[AREA_PAGES], status[AREA_PAGES];
	size_t busy = 0;

	for (size_t i = 0; i < AREA_PAGES; i++) {
		pages[i] = area + i * PAGE;
		nodes[i] = node;
	}
	REQUIRE(ferry_move_pages(pid, AREA_PAGES, pages, nodes, status,
				 FERRY_MOVE | FERRY_CONTRACT_LINUX) >= 0, "all pages");
	for (size_t i = 0; i < AREA_PAGES; i++) {
		REQUIRE(status[i] == node || status[i] == -EBUSY, "page %zu: %d", i, status[i]);
		busy += status[i] == -EBUSY;
	}
	REQUIRE(busy < AREA_PAGES / 10, "%zu of %d pages busy", busy, AREA_PAGES);
}

/* A mailbox has room for so many; a call with more needs another one, and then fewer do. */
static void call_with_more_pages(pid_t pid)
{
	for (int node = 1; node >= 0; node--) {
		move_for_sure(pid, 7, node);
		move_all(pid, 1 - node);
		move_for_sure(pid, 7, node);
	}
}

/* The mailbox of the image before is of memory that is not there any more. */
static void call_after_exec(const struct target *target)
{
	REQUIRE(write(target->ask, "x", 1) == 1, "write: %s", strerror(errno));
	wait_for_target(target);
	for (size_t i = 0; i < 100; i++)
		move_for_sure(target->pid, i, (int)i % 2);
}

static void call_after_pause(pid_t pid)
{
	live_sleep_us(1500000);
	for (size_t i = 0; i < 100; i++)
		move_for_sure(pid, i, (int)(i + 1) % 2);
}

/* Killed at some instant of some call. */
static void call_while_it_is_killed(const char *program)
{
	uint64_t random = live_seed();

	for (int round = 0; round < 8; round++) {
		struct target target = start_target(program);
		uint64_t kill_ns;
		bool killed = false;
		long result;
		int status;

		wait_for_target(&target);
		kill_ns = live_now_ns() + live_below(&random, 20000000);
		do {
			if (!killed && live_now_ns() > kill_ns) {
				killed = true;
				kill(target.pid, SIGKILL);
			}
			result = move_one(target.pid, live_below(&random, AREA_PAGES),
					  (int)live_below(&random, 2), &status);
			/* Not reaped yet, it is a process without memory. */
		} while (result >= 0);
		REQUIRE(killed && (result == -ESRCH || result == -EINVAL), "%s, result %ld",
			killed ? "killed" : "alive", result);
		waitpid(target.pid, NULL, 0);
		LIVE_EXPECT(move_one(target.pid, 0, 0, &status), -ESRCH);
		close(target.ask);
		close(target.told);
	}
}

static void check_calls(const char *program)
{
	struct target target = start_target(program);
	int status;

	wait_for_target(&target);
	LIVE_EXPECT(move_one(target.pid, AREA_PAGES, 1, &status), 0);
	LIVE_EXPECT(status, -EFAULT);
	call_from_threads(target.pid);
	call_from_parent_and_child(target.pid);
	call_with_other_rights(target.pid);
	call_with_more_pages(target.pid);
	call_after_exec(&target);
	call_after_pause(target.pid);
	REQUIRE(write(target.ask, "e", 1) == 1, "write: %s", strerror(errno));
	expect_exit(target.pid);
	call_while_it_is_killed(program);
}

static void outlive(const char *program)
{
	struct target target = start_target(program);
	unsigned long long calls = 0;
	long result = 0;
	char text[64];
	int status;

	wait_for_target(&target);
	move_for_sure(target.pid, 0, 1);
	snprintf(text, sizeof(text), "%d %d", (int)getpid(), (int)target.pid);
	live_ready(text);
	/* Without a keeper there is no memory to be had. */
	for (; (result >= 0 || result == -ENOMEM) && !live_told_to_stop(); calls++)
		result = move_one(target.pid, calls % AREA_PAGES, (int)(calls / AREA_PAGES) % 2,
				  &status);
	printf("%llu calls, the last one: %s\n", calls, result < 0 ? strerror((int)-result) : "ok");
	REQUIRE(write(target.ask, "e", 1) == 1, "write: %s", strerror(errno));
	expect_exit(target.pid);
}

int main(int argc, char **argv)
{
	live_watchdog(90);
	if (argc == 4 && strcmp(argv[1], "target") == 0)
		be_target(argv[0], atoi(argv[2]), atoi(argv[3]));
	REQUIRE(argc == 2, "usage: mailbox calls|outlive");
	REQUIRE(live_nodes() >= 2, "needs two nodes");
	if (strcmp(argv[1], "outlive") == 0)
		outlive(argv[0]);
	else
		check_calls(argv[0]);
	return 0;
}
