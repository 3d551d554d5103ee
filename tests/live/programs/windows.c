/* SPDX-License-Identifier: MIT */
/*
 * windows.c - the agent is killed while pages of a mapping that may only be read are on the move.
 *
 * Moves the pages back and forth until the script says stop, whoever serves it by then. After that
 * the mapping must be as it was: readable only, in one piece, with its content; and mincore() and
 * moves work.
 */
#define _GNU_SOURCE 1
#include "live.h"

enum { PAGES = 512 };

static volatile uint64_t *word_of(char *area, size_t page)
{
	return (volatile uint64_t *)(void *)(area + page * PAGE) + page % PAGE_WORDS;
}

static void print_rights(const char *area)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, end;
	char line[512], rights[5];

	REQUIRE(maps != NULL, "/proc/self/maps");
	while (fgets(line, sizeof(line), maps) != NULL)
		if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) == 3 &&
		    start < (uintptr_t)area + (size_t)PAGES * PAGE && end > (uintptr_t)area)
			REQUIRE(strncmp(rights, "r--", 3) == 0, "left behind: %s", line);
	fclose(maps);
}

int main(void)
{
	char *area = live_map((size_t)PAGES * PAGE), *other = live_map(PAGE);
	unsigned char vec[PAGES];
	int nodes = live_nodes();
	unsigned rounds = 0;

	live_watchdog(60);
	for (size_t page = 0; page < PAGES; page++)
		*word_of(area, page) = page + 1;
	REQUIRE(mprotect(area, (size_t)PAGES * PAGE, PROT_READ) == 0, "mprotect");
	live_ready("up\n");
	while (!live_told_to_stop()) {
		(void)ferry_move_range(0, area, (size_t)PAGES * PAGE,
				       (int)(rounds++ % (unsigned)nodes), NULL, NULL);
		for (size_t page = 0; page < PAGES; page++)
			REQUIRE(*word_of(area, page) == page + 1, "page %zu changed", page);
	}
	/* Any call that changes mappings puts right what was left. */
	REQUIRE(mprotect(other, PAGE, PROT_READ) == 0, "mprotect");
	print_rights(area);
	for (unsigned round = 0; round < 3; round++) {
		REQUIRE(mincore(area, sizeof(vec) * PAGE, vec) == 0, "mincore");
		for (size_t page = 0; page < PAGES; page++)
			REQUIRE(vec[page] & 1, "page %zu is not resident", page);
	}
	printf("rounds %u\n", rounds);
	return 0;
}
