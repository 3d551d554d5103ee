/* SPDX-License-Identifier: MIT */
/*
 * move_pages.h - the contract of move_pages(): addresses in, nodes in, one status per page out.
 */
#ifndef FERRY_MOVE_MOVE_PAGES_H
#define FERRY_MOVE_MOVE_PAGES_H

#include "move/migrate.h"

/* An address without its tag: bits 56 to 63 of a tagged user address count for nothing. */
static inline ferry_va ferry_untag(uint64_t address)
{
	const uint64_t tag = UINT64_C(0xff) << 56;

	return (address >> FERRY_VA_BITS & 0x1ff) == 0 ? address & ~tag : address;
}

struct ferry_move_call {
	size_t count;
	const uint64_t *pages; /* any addresses, tags and offsets in the page allowed */
	const int32_t *nodes;  /* NULL: query */
	int32_t *status;       /* written for every entry unless the call fails */
	uint8_t *reasons;      /* NULL, or enum ferry_reason per entry */
	bool seed;             /* contract seed or linux (1.5) */
	bool move_all;
	bool shared_only;      /* as in struct ferry_page_list */
	uint64_t stall_budget_ns;
};

/* Books do not say whether a page of an object is in the process's page table: the host does. A
 * query answers FERRY_QUERY_OBJECT and the node that it is on if it is there; with
 * FERRY_QUERY_NO_LABEL if that is so because nobody was seen to touch it first. */
enum {
	FERRY_QUERY_OBJECT = 1 << 20,
	FERRY_QUERY_NO_LABEL = 1 << 21,
	FERRY_QUERY_NODE = FERRY_NODES_MAX - 1,
};

/* Books to ask, and the labels of objects (NULL: none). */
struct ferry_query {
	const struct ferry_books *books;
	const struct ferry_books *labels;
};

/*
 * Query: fills status from books (any process's, read-only); never faults, never moves.
 * Addresses in no managed region get -EFAULT and FERRY_REASON_UNMANAGED, for the caller to settle;
 * pages of objects FERRY_QUERY_OBJECT, the same.
 */
void ferry_query_pages(const struct ferry_query *query, size_t count, const uint64_t *pages,
		       int32_t *status, uint8_t *reasons);
/*
 * Query of consecutive pages: status[i] for start + i pages: node, -ENOENT, -EFAULT (zero page, or
 * no region), FERRY_QUERY_OBJECT. One pass over the table.
 */
void ferry_query_consecutive(const struct ferry_query *query, ferry_va start, size_t pages,
			     int32_t *status);
/*
 * The final answer for a page of an object: status from above, and the host's own word on the page
 * (a node of the host, or -errno). Where the machine has nodes that stand for nodes of the host it
 * is one that stands for that.
 */
int32_t ferry_query_settle(const struct ferry_machine *machine, int32_t status, int32_t of_host);

/*
 * The whole move call on validated arguments (flags, rights and pointers are the door's affair):
 * checks nodes (at the first one that is wrong -ENODEV or -EACCES; nothing moved then), sorts,
 * merges duplicates (the last target wins, every entry of one page reports that page), migrates.
 * => lock NOT held. >= 0 pages not moved by the rule of the contract, or -ENODEV, -EACCES, -ENOMEM
 *    (control array), -ENOENT (seed: nothing needed moving), -ESRCH.
 */
FERRY_MUST_CHECK int64_t ferry_move_pages_in(struct ferry_space *space,
					     const struct ferry_move_call *call);

/* What a range move asks. */
struct ferry_range_call {
	ferry_va start, end;
	int32_t target;
	struct ferry_nodeset from; /* pages on other nodes are left alone */
	bool move_all;
	bool seed;
	uint64_t stall_budget_ns;
	bool (*between)(void *context, size_t done_pages); /* as in ferry_page_list */
	void *context;
};

struct ferry_range_result {
	uint64_t reasons[FERRY_REASON_COUNT]; /* pages by reason; resident pages only, and absent */
	uint64_t asked_pages;                 /* resident pages in the range and set */
	bool stopped;                         /* between() said so */
};

/* => resident pages that a range call would ask for, from books (no lock, a moment's truth); of
 * objects, pages with a label. */
uint64_t ferry_range_count(const struct ferry_query *query, const struct ferry_range_call *call);
/* Moves the resident pages of a range. => lock NOT held. 0, -ENODEV, -EACCES, -ENOMEM,
 * -ESRCH. */
FERRY_MUST_CHECK int ferry_move_range_in(struct ferry_space *space,
					 const struct ferry_range_call *call,
					 struct ferry_range_result *result);

#endif
