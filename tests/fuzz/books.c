/* SPDX-License-Identifier: MIT */
/*
 * Books that a hostile process wrote: whoever looks at them finds them invalid, or reads within
 * their segment. Input: number pairs (where, what) that are written over good books.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "fuzz.h"
#include "map/ptable.h"
#include "map/region.h"
#include "move/move_pages.h"

enum { WRITES = 32, PAGES = 24 };

static void ask(const struct ferry_books *books, ferry_va va)
{
	/* Labels are the keeper's; any good books do. */
	const struct ferry_query query = { books, books };
	uint64_t pages[PAGES];
	int32_t status[PAGES];
	uint8_t reasons[PAGES];
	struct ferry_range_call call = { .start = va, .end = va + PAGES * FERRY_PAGE_SIZE };

	for (uint32_t i = 0; i < PAGES; i++)
		pages[i] = va + i * UINT64_C(0x2001000);
	ferry_query_pages(&query, PAGES, pages, status, reasons);
	for (uint32_t i = 0; i < PAGES; i++)
		FUZZ_CHECK((status[i] & ~(FERRY_QUERY_OBJECT | FERRY_QUERY_NO_LABEL)) <
			   (int32_t)FERRY_NODES_MAX);
	ferry_query_consecutive(&query, va, PAGES, status);
	ferry_nodeset_fill(&call.from, 4);
	(void)ferry_range_count(&query, &call);
	(void)ferry_region_find(books, va);
	(void)ferry_ptable_next_leaf(books, va, va + (UINT64_C(1) << 40));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz fuzz = { data, size };
	struct ferry_books *books;
	struct ferry_pte *slot;

	books = mmap(NULL, FERRY_BOOKS_SIZE_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	FUZZ_CHECK(books != MAP_FAILED);
	ferry_books_layout(books, 4, 1);
	FUZZ_CHECK(ferry_region_insert(books, 0x700000000000, 0x700000800000, 0) == 0);
	slot = ferry_ptable_slot(books, 0x700000000000);
	FUZZ_CHECK(slot != NULL);
	for (int i = 0; i < WRITES && fuzz.size > 0; i++) {
		uint64_t where = fuzz_number(&fuzz), what = fuzz_number(&fuzz);
		uint64_t bases[] = { 0, books->top_offset, books->regions_offset,
				     (uint64_t)((uintptr_t)slot - (uintptr_t)books) };
		uint64_t at = bases[where >> 2 & 3] + (where >> 4) * 4;

		if (at + sizeof(what) <= FERRY_BOOKS_SIZE_BYTES / 1024)
			memcpy((char *)books + at, &what, where & 1 ? 4 : 8);
	}
	if (ferry_books_validate(books, FERRY_BOOKS_SIZE_BYTES) == 0) {
		ask(books, 0x700000000000);
		ask(books, fuzz_number(&fuzz));
	}
	munmap(books, FERRY_BOOKS_SIZE_BYTES);
	return 0;
}
