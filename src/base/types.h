/* SPDX-License-Identifier: MIT */
/*
 * types.h - the few types and constants that every layer shares.
 *
 * A virtual address is a plain integer here: the core never dereferences memory of a program.
 */
#ifndef FERRY_BASE_TYPES_H
#define FERRY_BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t ferry_va;

enum {
	FERRY_PAGE_SHIFT = 12,
	FERRY_PAGE_SIZE = 1 << FERRY_PAGE_SHIFT,
	FERRY_HUGE_PAGES = 512, /* 4 KiB pages in a 2 MiB page */
	FERRY_HUGE_SIZE = FERRY_HUGE_PAGES * FERRY_PAGE_SIZE,
	FERRY_NODES_MAX = 1024,
	FERRY_VA_BITS = 47, /* user addresses of x86-64 with four-level page tables */
};

/*
 * A frame: a page-sized piece of a RAM node. Its number is its place ("slot") in the arena of
 * that node in one process; the slot is empty while the frame is mapped into the program, and
 * holds the page while it is free or away. A huge frame is FERRY_HUGE_PAGES frames, aligned.
 * huge selects the arena (small or huge pages) that the slot lies in.
 */
struct ferry_frame {
	uint32_t number;
	uint16_t node;
	uint16_t huge;
};

/* A run of consecutive frames of one node. */
struct ferry_run {
	struct ferry_frame first;
	uint32_t pages;
	bool empty; /* frames for a first touch: there is no memory in their slots */
};

#define FERRY_MUST_CHECK __attribute__((warn_unused_result))
#define FERRY_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static inline ferry_va ferry_page_down(ferry_va va)
{
	return va & ~(ferry_va)(FERRY_PAGE_SIZE - 1);
}

static inline ferry_va ferry_page_up(ferry_va va)
{
	return ferry_page_down(va + FERRY_PAGE_SIZE - 1);
}

static inline ferry_va ferry_huge_down(ferry_va va)
{
	return va & ~(ferry_va)(FERRY_HUGE_SIZE - 1);
}

#endif
