/* SPDX-License-Identifier: MIT */
/*
 * Page tables against an array of entries, over a few 2 MiB ranges that lie far apart, so that
 * every level is crossed; leaves are freed and used again.
 */
#include <string.h>

#include "books.h"
#include "cases.h"
#include "host.h"
#include "map/ptable.h"

enum { RANGES = 6, ENTRIES = RANGES * FERRY_HUGE_PAGES };

static const ferry_va ranges[RANGES] = {
	0,
	UINT64_C(0x200000),
	UINT64_C(0x1ffe00000), /* the last under the first middle table */
	UINT64_C(0x200000000), /* the first under the second */
	UINT64_C(0x555555400000),
	UINT64_C(0x7fffffe00000), /* the last there is */
};

static ferry_va va_of(uint32_t entry)
{
	return ranges[entry / FERRY_HUGE_PAGES] +
	       (ferry_va)(entry % FERRY_HUGE_PAGES) * FERRY_PAGE_SIZE;
}

static bool range_is_blank(const uint64_t *model, uint32_t range)
{
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
		if (model[range * FERRY_HUGE_PAGES + i] != 0)
			return false;
	}
	return true;
}

static void compare(const struct ferry_books *books, const uint64_t *model, const bool *leaf)
{
	uint32_t leaves = 0;

	for (uint32_t i = 0; i < ENTRIES; i++)
		assert_int_equal(ferry_ptable_get(books, va_of(i) + 4095).word, model[i]);
	for (uint32_t r = 0; r < RANGES; r++) {
		assert_int_equal(ferry_ptable_leaf(books, ranges[r] + 5000) != NULL, leaf[r]);
		leaves += leaf[r];
	}
	assert_int_equal(books->leaf_count, leaves);
}

/* Walks all leaves with next_leaf(); they must be those of the model, in order. */
static void walk(const struct ferry_books *books, const bool *leaf, ferry_va start, ferry_va end)
{
	ferry_va va = start;

	for (uint32_t r = 0; r < RANGES; r++) {
		ferry_va low = ranges[r] > start ? ranges[r] : start;

		if (!leaf[r] || low >= ranges[r] + FERRY_HUGE_SIZE || low >= end)
			continue;
		assert_int_equal(ferry_ptable_next_leaf(books, va, end), low);
		va = ranges[r] + FERRY_HUGE_SIZE;
	}
	assert_int_equal(ferry_ptable_next_leaf(books, va, end), end);
}

static void trim(struct ferry_books *books, const uint64_t *model, bool *leaf, ferry_va start,
		 ferry_va end)
{
	ferry_ptable_trim(books, start, end);
	for (uint32_t r = 0; r < RANGES; r++) {
		if (ranges[r] >= start && ranges[r] + FERRY_HUGE_SIZE <= end &&
		    range_is_blank(model, r))
			leaf[r] = false;
	}
}

static void random_operations(void **state)
{
	static uint64_t model[ENTRIES];
	uint64_t seed = test_seed("ptable"), steps = test_amount(3000, 300000);
	struct ferry_books *books = test_books_new(1);
	bool leaf[RANGES] = { false };

	(void)state;
	for (uint64_t step = 0; step < steps; step++) {
		uint32_t range = test_pick(&seed, RANGES);
		uint32_t first = test_pick(&seed, FERRY_HUGE_PAGES);
		uint32_t count = 1 + test_pick(&seed, FERRY_HUGE_PAGES - first);
		bool clear = test_pick(&seed, 2) != 0;

		if (clear && test_pick(&seed, 2) != 0) {
			first = 0;
			count = FERRY_HUGE_PAGES;
		}
		for (uint32_t i = 0; i < count; i++) {
			uint32_t entry = range * FERRY_HUGE_PAGES + first + i;
			struct ferry_frame frame = { (uint32_t)test_random(&seed), 3, 0 };
			struct ferry_pte pte = ferry_pte_make(FERRY_PTE_MAPPED, frame, 0);
			struct ferry_pte *slot = ferry_ptable_slot(books, va_of(entry));

			if (clear)
				pte.word = test_pick(&seed, 400) == 0 ? FERRY_PTE_THREAD : 0;
			assert_non_null(slot);
			assert_int_equal(slot->word, model[entry]);
			ferry_pte_set(slot, pte);
			model[entry] = pte.word;
		}
		leaf[range] = true;
		if (test_pick(&seed, 3) == 0)
			trim(books, model, leaf, va_of(test_pick(&seed, ENTRIES)),
			     test_pick(&seed, 2) ? UINT64_C(1) << 47
						 : va_of(test_pick(&seed, ENTRIES)));
		compare(books, model, leaf);
		walk(books, leaf, va_of(test_pick(&seed, ENTRIES)), UINT64_C(1) << 47);
	}
	test_books_free(books);
}

static void freed_leaves_read_as_none(void **state)
{
	struct ferry_books *books = test_books_new(1);
	const struct ferry_pte *first, *second;
	uint32_t pages;

	(void)state;
	assert_non_null(ferry_ptable_slot(books, ranges[1]));
	assert_non_null(ferry_ptable_slot(books, ranges[4]));
	first = ferry_ptable_leaf(books, ranges[1]);
	second = ferry_ptable_leaf(books, ranges[4]);
	pages = books->bump_page;
	ferry_ptable_trim(books, 0, UINT64_C(1) << 47);
	assert_int_equal(books->leaf_count, 0);
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
		assert_int_equal(ferry_pte_state(first[i]), FERRY_PTE_NONE);
		assert_int_equal(ferry_pte_state(second[i]), FERRY_PTE_NONE);
		assert_false(ferry_pte_has(first[i], FERRY_PTE_BUSY));
		assert_false(ferry_pte_has(second[i], FERRY_PTE_THREAD));
	}
	/* Used again before anything new is. */
	for (uint32_t r = 0; r < 2; r++) {
		assert_non_null(ferry_ptable_slot(books, ranges[r + 2]));
		for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
			assert_int_equal(ferry_ptable_leaf(books, ranges[r + 2])[i].word, 0);
	}
	assert_true(books->bump_page <= pages + 4);
	test_books_free(books);
}

static void a_full_segment_says_so(void **state)
{
	struct ferry_books *books = test_books_new(1);

	(void)state;
	books->bump_page = (uint32_t)(FERRY_BOOKS_SIZE_BYTES >> FERRY_PAGE_SHIFT) - 4;
	assert_null(ferry_ptable_slot(books, ranges[1])); /* a middle table, but no leaf */
	assert_int_equal(books->leaf_count, 0);
	assert_null(ferry_ptable_slot(books, ranges[4]));
	assert_int_equal(ferry_ptable_get(books, ranges[1]).word, 0);
	test_books_free(books);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations),
		cmocka_unit_test(freed_leaves_read_as_none),
		cmocka_unit_test(a_full_segment_says_so),
	};

	test_host_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
