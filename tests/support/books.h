/* SPDX-License-Identifier: MIT */
/* books.h - books in plain sparse memory, laid out. */
#ifndef TESTS_SUPPORT_BOOKS_H
#define TESTS_SUPPORT_BOOKS_H

#include "map/books.h"

struct ferry_books *test_books_new(uint32_t node_count);
void test_books_free(struct ferry_books *books);

#endif
