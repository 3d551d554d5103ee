/* SPDX-License-Identifier: MIT */
/* Books: parts that do not overlap, and refusal of books that somebody else spoilt. */
#include <errno.h>
#include <string.h>

#include "books.h"
#include "cases.h"
#include "host.h"
#include "map/ptable.h"

static void lays_out(void **state)
{
	struct ferry_books *books = test_books_new(FERRY_NODES_MAX);

	(void)state;
	assert_int_equal(ferry_books_validate(books, FERRY_BOOKS_SIZE_BYTES), 0);
	assert_int_equal(books->node_count, FERRY_NODES_MAX);
	assert_true(books->regions_offset >= sizeof(*books));
	assert_true(books->node_counts_offset >=
		    books->regions_offset + FERRY_REGIONS_MAX * sizeof(struct ferry_region));
	assert_true(books->top_offset >=
		    books->node_counts_offset + FERRY_NODES_MAX * sizeof(struct ferry_node_count));
	assert_true((uint64_t)books->bump_page << FERRY_PAGE_SHIFT >=
		    books->top_offset + (1 << 14) * sizeof(uint32_t));
	test_books_free(books);
}

static void refuses_spoilt_books(void **state)
{
	struct ferry_books *books = test_books_new(2);
	struct ferry_books good = *books;

	(void)state;
	assert_int_equal(ferry_books_validate(books, FERRY_BOOKS_SIZE_BYTES - 1), -EINVAL);
	books->magic++;
	assert_int_equal(ferry_books_validate(books, FERRY_BOOKS_SIZE_BYTES), -EINVAL);
	*books = good;
	books->version++;
	assert_int_equal(ferry_books_validate(books, FERRY_BOOKS_SIZE_BYTES), -EINVAL);
	*books = good;
	books->node_count = 0;
	assert_int_equal(ferry_books_validate(books, FERRY_BOOKS_SIZE_BYTES), -EINVAL);
	books->node_count = FERRY_NODES_MAX + 1;
	assert_int_equal(ferry_books_validate(books, FERRY_BOOKS_SIZE_BYTES), -EINVAL);
	*books = good;
	books->regions_offset += 4096;
	assert_int_equal(ferry_books_validate(books, FERRY_BOOKS_SIZE_BYTES), -EINVAL);
	*books = good;
	books->top_offset = UINT64_MAX;
	assert_int_equal(ferry_books_validate(books, FERRY_BOOKS_SIZE_BYTES), -EINVAL);
	*books = good;
	books->node_counts_offset = 0;
	assert_int_equal(ferry_books_validate(books, FERRY_BOOKS_SIZE_BYTES), -EINVAL);
	test_books_free(books);
}

/* A reader follows offsets that another process wrote: none may lead it outside. */
static void readers_check_page_numbers(void **state)
{
	struct ferry_books *books = test_books_new(2);
	uint32_t *top = (uint32_t *)((uintptr_t)books + books->top_offset);
	ferry_va va = UINT64_C(0x7f0000001000);

	(void)state;
	top[va >> 33] = UINT32_MAX;
	assert_int_equal(ferry_ptable_get(books, va).word, 0);
	assert_null(ferry_ptable_leaf(books, va));
	top[va >> 33] = (uint32_t)(FERRY_BOOKS_SIZE_BYTES >> FERRY_PAGE_SHIFT) - 1;
	assert_int_equal(ferry_ptable_get(books, va).word, 0);
	top[va >> 33] = 1;
	assert_null(ferry_ptable_leaf(books, va)); /* reads regions as a table: sane numbers only */
	assert_int_equal(ferry_ptable_get(books, UINT64_C(1) << 47).word, 0);
	assert_int_equal(ferry_ptable_get(books, UINT64_MAX).word, 0);
	assert_null(ferry_ptable_leaf(books, UINT64_MAX));
	test_books_free(books);
}

static void entries_hold_what_they_are_given(void **state)
{
	static const struct ferry_frame frames[] = {
		{ 0, 0, 0 },
		{ UINT32_MAX, 1023, 0 },
		{ 512, 1, 1 },
		{ 0x12345678, 513, 1 },
	};

	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(frames); i++) {
		struct ferry_pte pte = ferry_pte_make(FERRY_PTE_HELD, frames[i],
						      FERRY_PTE_BUSY | FERRY_PTE_THREAD);
		struct ferry_frame frame = ferry_pte_frame(pte);

		assert_int_equal(frame.number, frames[i].number);
		assert_int_equal(frame.node, frames[i].node);
		assert_int_equal(frame.huge, frames[i].huge);
		assert_int_equal(ferry_pte_state(pte), FERRY_PTE_HELD);
		assert_true(ferry_pte_has(pte, FERRY_PTE_BUSY));
		assert_true(ferry_pte_has(pte, FERRY_PTE_THREAD));
		assert_false(ferry_pte_has(pte, FERRY_PTE_COW));
		assert_int_equal(ferry_pte_has(pte, FERRY_PTE_HUGE), frames[i].huge);
		assert_true(ferry_pte_resident(pte));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lays_out),
		cmocka_unit_test(refuses_spoilt_books),
		cmocka_unit_test(readers_check_page_numbers),
		cmocka_unit_test(entries_hold_what_they_are_given),
	};

	test_host_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
