/* SPDX-License-Identifier: MIT */
/*
 * Regions against the plainest model: one byte of flags for each page of a small window. Also: a
 * reader in another thread only ever sees states that the writer left.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "books.h"
#include "cases.h"
#include "host.h"
#include "map/region.h"

enum { PAGES = 48, UNMANAGED = 0xff };

static const ferry_va base = UINT64_C(0x10000000);

static ferry_va at(uint32_t page)
{
	return base + (ferry_va)page * FERRY_PAGE_SIZE;
}

static void compare(const struct ferry_books *books, const uint8_t *model)
{
	uint32_t regions = 0;

	assert_int_equal(ferry_region_check(books), 0);
	for (uint32_t i = 0; i < PAGES; i++) {
		const struct ferry_region *region = ferry_region_find(books, at(i) + 5);

		if (model[i] == UNMANAGED) {
			assert_null(region);
			continue;
		}
		assert_non_null(region);
		assert_int_equal(region->flags, model[i]);
		regions += i == 0 || model[i - 1] != model[i];
	}
	/* Neighbours that agree are one region. */
	assert_int_equal(books->region_count, regions);
	assert_null(ferry_region_find(books, at(PAGES)));
	assert_null(ferry_region_find(books, base - 1));
}

static void random_operations(void **state)
{
	uint64_t seed = test_seed("region"), steps = test_amount(30000, 3000000);
	struct ferry_books *books = test_books_new(1);
	uint8_t model[PAGES];

	(void)state;
	memset(model, UNMANAGED, sizeof(model));
	for (uint64_t step = 0; step < steps; step++) {
		uint32_t first = test_pick(&seed, PAGES);
		uint32_t end = first + 1 + test_pick(&seed, PAGES - first);
		uint8_t flags = (uint8_t)test_pick(&seed, 4), clear = (uint8_t)test_pick(&seed, 4);

		switch (test_pick(&seed, 3)) {
		case 0:
			assert_int_equal(ferry_region_insert(books, at(first), at(end), flags), 0);
			memset(model + first, flags, end - first);
			break;
		case 1:
			assert_int_equal(ferry_region_delete(books, at(first), at(end)), 0);
			memset(model + first, UNMANAGED, end - first);
			break;
		default:
			assert_int_equal(ferry_region_flag(books, at(first), at(end), flags, clear),
					 0);
			for (uint32_t i = first; i < end; i++) {
				if (model[i] != UNMANAGED)
					model[i] = (uint8_t)((model[i] | flags) & ~clear);
			}
		}
		compare(books, model);
	}
	test_books_free(books);
}

static void refuses_too_many(void **state)
{
	struct ferry_books *books = test_books_new(1);
	ferry_va wide = UINT64_C(1) << 40;

	(void)state;
	for (uint32_t i = 0; i < FERRY_REGIONS_MAX - 1; i++)
		assert_int_equal(ferry_region_insert(books, base + (ferry_va)i * 8192,
						     base + (ferry_va)i * 8192 + 4096, 0),
				 0);
	assert_int_equal(ferry_region_insert(books, wide, wide + 3 * 4096, 0), 0);
	assert_int_equal(ferry_region_insert(books, wide + 8 * 4096, wide + 9 * 4096, 0), -ENOSPC);
	assert_int_equal(ferry_region_delete(books, wide + 4096, wide + 8192), -ENOSPC);
	assert_int_equal(ferry_region_flag(books, wide + 4096, wide + 8192, 1, 0), -ENOSPC);
	assert_int_equal(books->region_count, FERRY_REGIONS_MAX);
	assert_int_equal(ferry_region_check(books), 0);
	assert_int_equal(ferry_region_delete(books, wide, wide + 3 * 4096), 0);
	assert_int_equal(ferry_region_insert(books, base, base + (UINT64_C(1) << 32), 0), 0);
	assert_int_equal(books->region_count, 1);
	test_books_free(books);
}

struct reading {
	struct ferry_books *books;
	uint32_t stop;
	uint32_t good;
};

/* The writer only ever leaves pairs of regions with the same flags, next to a gap. */
static void *read_on(void *context)
{
	struct reading *reading = context;
	struct ferry_region copy[64];

	while (__atomic_load_n(&reading->stop, __ATOMIC_RELAXED) == 0) {
		int count = ferry_region_read(reading->books, copy, 64);

		if (count < 0)
			continue;
		for (int i = 1; i < count; i++) {
			if (copy[i].start < copy[i - 1].end || copy[i].start >= copy[i].end ||
			    (copy[i].start == copy[i - 1].end &&
			     copy[i].flags == copy[i - 1].flags))
				return reading;
		}
		reading->good++;
	}
	return NULL;
}

static void readers_see_whole_states(void **state)
{
	struct reading reading = { .books = test_books_new(1) };
	uint64_t seed = test_seed("region readers");
	pthread_t thread;
	void *broken;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, read_on, &reading), 0);
	for (uint64_t step = 0; step < test_amount(100000, 10000000); step++) {
		uint32_t first = test_pick(&seed, PAGES);
		uint32_t end = first + 1 + test_pick(&seed, PAGES - first);

		if (test_pick(&seed, 2) == 0)
			assert_int_equal(ferry_region_insert(reading.books, at(first), at(end),
							     test_pick(&seed, 2)),
					 0);
		else
			assert_int_equal(ferry_region_delete(reading.books, at(first), at(end)), 0);
	}
	__atomic_store_n(&reading.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, &broken);
	assert_null(broken);
	test_books_free(reading.books);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations),
		cmocka_unit_test(refuses_too_many),
		cmocka_unit_test(readers_see_whole_states),
	};

	test_host_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
