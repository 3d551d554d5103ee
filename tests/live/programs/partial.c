/* SPDX-License-Identifier: MIT */
/*
 * partial.c - huge pages of which a part can leave and a part cannot.
 *
 * A child shares a huge page; the parent writes to some of its pages, which are its own again. The
 * host gives these and refuses the others, in the middle of one request. Then the page is moved,
 * discarded or forked once more: every word must be what it was, and zeros after a discard.
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sys/wait.h>

enum { HUGE_PAGES = HUGE_PAGE / PAGE, ROUNDS = 12 };

enum step { MOVES, DISCARDS, FORKS, STEPS };

static uint64_t *area;
static uint64_t written[HUGE_PAGES];

static uint64_t word_value(size_t page, size_t word)
{
	return written[page] << 32 | page << 9 | word;
}

static void write_page(size_t page, uint64_t stamp)
{
	written[page] = stamp;
	for (size_t word = 0; word < PAGE_WORDS; word++)
		area[page * PAGE_WORDS + word] = word_value(page, word);
}

static bool is_right(void)
{
	for (size_t page = 0; page < HUGE_PAGES; page++)
		for (size_t word = 0; word < PAGE_WORDS; word++)
			if (area[page * PAGE_WORDS + word] != word_value(page, word))
				return false;
	return true;
}

/* => a child that lives until the pipe is closed, and says by its status what it saw. */
static pid_t share(int ends[2])
{
	pid_t pid;
	char none;

	REQUIRE(pipe(ends) == 0, "pipe: %s", strerror(errno));
	pid = fork();
	REQUIRE(pid >= 0, "fork: %s", strerror(errno));
	if (pid > 0)
		return pid;
	close(ends[1]);
	while (read(ends[0], &none, 1) < 0 && errno == EINTR)
		;
	_exit(is_right() ? 0 : 1);
}

static void end_share(pid_t pid, const int ends[2])
{
	int status;

	close(ends[0]);
	close(ends[1]);
	REQUIRE(waitpid(pid, &status, 0) == pid && status == 0, "the child ended with %x",
		(unsigned)status);
}

/* Part of the page leaves: the books must know which. */
static void move_all(int nodes, unsigned round)
{
	if (nodes >= 2)
		(void)ferry_move_range(0, area, HUGE_PAGE, (int)(round + 1) % nodes, NULL, NULL);
	REQUIRE(is_right(), "wrong after a move");
}

static void discard(void)
{
	REQUIRE(madvise(area, HUGE_PAGE, MADV_DONTNEED) == 0, "madvise: %s", strerror(errno));
	for (size_t word = 0; word < (size_t)HUGE_PAGES * PAGE_WORDS; word++)
		REQUIRE(area[word] == 0, "word %zu after a discard: %llx", word,
			(unsigned long long)area[word]);
	for (size_t page = 0; page < HUGE_PAGES; page++)
		write_page(page, page + 1);
}

static void run_round(enum step step, unsigned round, int nodes)
{
	size_t own = (size_t)1 << (round % 10); /* pages from the begin that become the parent's */
	int first[2], second[2];
	pid_t pid = share(first), more;

	for (size_t page = 0; page < own && page < HUGE_PAGES; page++)
		write_page(page, round * 1000 + page);
	switch (step) {
	case MOVES:
		move_all(nodes, round);
		break;
	case DISCARDS:
		discard();
		break;
	default:
		more = share(second);
		move_all(nodes, round);
		end_share(more, second);
	}
	end_share(pid, first);
	move_all(nodes, round);
}

int main(void)
{
	int nodes = live_nodes();

	live_watchdog(60);
	for (unsigned step = 0; step < STEPS; step++) {
		for (unsigned round = 0; round < ROUNDS; round++) {
			area = live_map_huge(HUGE_PAGE);
			for (size_t page = 0; page < HUGE_PAGES; page++)
				write_page(page, page + 1);
			run_round((enum step)step, round, nodes);
			REQUIRE(munmap(area, HUGE_PAGE) == 0, "munmap: %s", strerror(errno));
		}
	}
	return 0;
}
