/* SPDX-License-Identifier: MIT */
/*
 * fork.c - children see what their parent saw, while the parent's pages move.
 *
 * Each forker has an area that nobody else writes. Before each fork it stamps some pages with a new
 * number; the child, made in one of several ways, verifies every word of the whole area, overwrites
 * it, verifies that, and tells its verdict by its status. The parent verifies its own afterwards.
 * At the end, when no child is left, every page must move.
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sched.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { FORKERS = 2, PAGES_MAX = 4096, STAMPED = 256, WAYS = 6 };

extern char **environ;

static size_t area_pages = PAGES_MAX; /* of each forker; fewer on a slow machine */

/* Shared with all children: the first wrong word that one of them saw. */
struct sighting {
	size_t page;
	size_t word;
	uint64_t value;
	uint64_t stamp;
};

struct forker {
	uint64_t *area;
	struct sighting *sighting;
	uint64_t stamps[PAGES_MAX];
	uint64_t seed;
	uint64_t end_ns;
	uint64_t children[WAYS];
	struct live_mover mover;
	int nodes;
	pthread_t thread;
};

static uint64_t word_value(size_t page, size_t word, uint64_t stamp)
{
	return stamp << 24 | (uint64_t)page << 9 | word;
}

static void stamp_page(struct forker *forker, size_t page, uint64_t stamp)
{
	forker->stamps[page] = stamp;
	for (size_t word = 0; word < PAGE_WORDS; word++)
		forker->area[page * PAGE_WORDS + word] = word_value(page, word, stamp);
}

/* => index of the first wrong word, or area_pages * PAGE_WORDS. Calls nothing: for raw clones. */
static size_t find_wrong(const struct forker *forker)
{
	for (size_t page = 0; page < area_pages; page++)
		for (size_t word = 0; word < PAGE_WORDS; word++) {
			uint64_t value = forker->area[page * PAGE_WORDS + word];

			if (value == word_value(page, word, forker->stamps[page]))
				continue;
			*forker->sighting = (struct sighting){
				.page = page,
				.word = word,
				.value = value,
				.stamp = forker->stamps[page],
			};
			return page * PAGE_WORDS + word;
		}
	return area_pages * PAGE_WORDS;
}

/* In the child: 0 right, 1 content at fork wrong, 2 content after writing wrong. Others: 3 its own
 * move was refused, 4 its own fork failed, 5 content wrong after its own moves. */
static int judge_child(struct forker *forker)
{
	size_t wrong = find_wrong(forker);

	if (wrong != area_pages * PAGE_WORDS)
		return 1;
	for (size_t page = 0; page < area_pages; page += 3)
		stamp_page(forker, page, forker->stamps[page] + 7);
	return find_wrong(forker) == area_pages * PAGE_WORDS ? 0 : 2;
}

/* A child by fork() is on the machine itself: its pages, its own by now, move or say why not. */
static int judge_member(struct forker *forker)
{
	int verdict = judge_child(forker);

	for (int node = 0; node < forker->nodes && forker->nodes >= 2; node++)
		if (ferry_move_range(0, forker->area, area_pages * PAGE, node, NULL, NULL) < 0)
			return 3;
	if (verdict == 0 && find_wrong(forker) != area_pages * PAGE_WORDS)
		return 5;
	return verdict;
}

/* A child of the child must see the child's content. */
static int judge_grandchild(struct forker *forker)
{
	int verdict = judge_child(forker), status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(judge_child(forker));
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return 4;
	return verdict != 0 ? verdict : WEXITSTATUS(status);
}

static void expect_exit(const struct sighting *seen, pid_t pid, int want, const char *way)
{
	int status;

	REQUIRE(pid > 0, "%s: %s", way, strerror(errno));
	while (waitpid(pid, &status, 0) < 0)
		REQUIRE(errno == EINTR, "%s: waitpid: %s", way, strerror(errno));
	REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == want,
		"%s: child ended with status %x, not exit %d; first wrong word: page %zu word %zu "
		"reads page %llu word %llu stamp %llu, not stamp %llu",
		way, (unsigned)status, want, seen->page, seen->word,
		(unsigned long long)(seen->value >> 9 & 0x7fff),
		(unsigned long long)(seen->value & 0x1ff),
		(unsigned long long)(seen->value >> 24), (unsigned long long)seen->stamp);
}

static void spawn_true(const struct forker *forker, const char *way)
{
	char *arguments[] = { (char *)"true", NULL };
	pid_t pid = 0;
	int error = posix_spawnp(&pid, "true", NULL, NULL, arguments, environ);

	REQUIRE(error == 0, "%s: %s", way, strerror(error));
	expect_exit(forker->sighting, pid, 0, way);
}

static pid_t vfork_exec(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execlp("sh", "sh", "-c", "exit 5", (char *)NULL);
		_exit(9);
	}
	return pid;
}

static void make_child(struct forker *forker, unsigned way)
{
	pid_t pid;

	switch (way) {
	case 0:
		pid = fork();
		if (pid == 0)
			_exit(judge_member(forker));
		expect_exit(forker->sighting, pid, 0, "fork");
		break;
	case 1:
		pid = fork();
		if (pid == 0)
			_exit(judge_grandchild(forker));
		expect_exit(forker->sighting, pid, 0, "fork twice");
		break;
	case 2:
		pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, NULL, NULL, 0);
		if (pid == 0)
			syscall(SYS_exit_group, judge_child(forker));
		expect_exit(forker->sighting, pid, 0, "raw clone");
		break;
	case 3:
		expect_exit(forker->sighting, vfork_exec(), 5, "vfork and exec");
		break;
	case 4:
		spawn_true(forker, "posix_spawn");
		break;
	default: {
		int status = system("exit 6");

		REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 6, "system: %x",
			(unsigned)status);
	}
	}
	forker->children[way]++;
}

static void *forker_run(void *argument)
{
	struct forker *forker = argument;
	uint64_t stamp = area_pages;
	unsigned way = 0;

	do {
		for (unsigned i = 0; i < STAMPED; i++)
			stamp_page(forker, live_below(&forker->seed, area_pages), ++stamp);
		make_child(forker, way++ % WAYS);
		REQUIRE(find_wrong(forker) == area_pages * PAGE_WORDS,
			"the parent's word %zu is wrong", find_wrong(forker));
	} while (live_now_ns() < forker->end_ns || way < WAYS);
	return NULL;
}

int main(void)
{
	struct forker *forkers = live_map(FORKERS * sizeof(*forkers));
	int nodes = live_nodes();

	area_pages /= live_slow();
	live_watchdog(100);
	for (unsigned i = 0; i < FORKERS; i++) {
		struct forker *forker = &forkers[i];

		forker->area = live_map(area_pages * PAGE);
		forker->sighting = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		REQUIRE(forker->sighting != MAP_FAILED, "mmap: %s", strerror(errno));
		forker->seed = 1234567 + i;
		forker->nodes = nodes;
		forker->end_ns = live_deadline_ns(8);
		for (size_t page = 0; page < area_pages; page++)
			stamp_page(forker, page, page);
		live_mover_start(&forker->mover, forker->area, area_pages, nodes);
		REQUIRE(pthread_create(&forker->thread, NULL, forker_run, forker) == 0, "thread");
	}
	live_ready("ready\n");
	/* A child of any forker shares the areas of all. */
	for (unsigned i = 0; i < FORKERS; i++)
		pthread_join(forkers[i].thread, NULL);
	for (unsigned i = 0; i < FORKERS; i++) {
		struct forker *forker = &forkers[i];

		live_mover_stop(&forker->mover);
		for (unsigned way = 0; way < WAYS; way++)
			fprintf(stderr, " %llu", (unsigned long long)forker->children[way]);
		fprintf(stderr,
			" children (fork, fork twice, clone, vfork, posix_spawn, system)\n");
		/* No sharer is left: whatever was refused while children lived must move now. */
		for (int node = 0; node < nodes && nodes >= 2; node++) {
			size_t left = live_move_all(forker->area, area_pages, node, 5);

			REQUIRE(left == 0, "%zu pages do not move after their sharers ended", left);
		}
		REQUIRE(find_wrong(forker) == area_pages * PAGE_WORDS, "wrong after the moves");
	}
	return 0;
}
