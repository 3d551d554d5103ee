/* SPDX-License-Identifier: MIT */
#include "books.h"
#include "base/os.h"

struct ferry_books *test_books_new(uint32_t node_count)
{
	struct ferry_books *books = ferry_os->alloc(FERRY_BOOKS_SIZE_BYTES);

	FERRY_ASSERT(books != NULL);
	ferry_books_layout(books, node_count, 0);
	return books;
}

void test_books_free(struct ferry_books *books)
{
	ferry_os->free(books, FERRY_BOOKS_SIZE_BYTES);
}
