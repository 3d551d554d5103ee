/* SPDX-License-Identifier: MIT */
/* Percentiles of stalls out of a histogram of powers of two. */
#include <string.h>

#include "cases.h"
#include "cli/stall.c"

static void says_nothing_of_nothing(void **state)
{
	uint64_t buckets[FERRY_STALL_BUCKETS] = { 0 };
	struct ferry_cli_stall stall;

	(void)state;
	ferry_cli_stall_read(buckets, 0, &stall);
	assert_int_equal(stall.pages, 0);
	assert_int_equal(stall.p50_ns, 0);
	assert_int_equal(stall.p99_ns, 0);
}

/* 1000 stalls in one bucket, spread evenly: the percentiles are where they would be. */
static void interpolates(void **state)
{
	uint64_t buckets[FERRY_STALL_BUCKETS] = { [20] = 1000 };
	struct ferry_cli_stall stall;

	(void)state;
	ferry_cli_stall_read(buckets, UINT64_MAX, &stall);
	assert_int_equal(stall.pages, 1000);
	assert_in_range(stall.p50_ns, (1 << 20) * 149 / 100, (1 << 20) * 151 / 100);
	assert_in_range(stall.p99_ns, 2086000, 2 << 20);
	/* But never longer than the longest. */
	ferry_cli_stall_read(buckets, 1100000, &stall);
	assert_int_equal(stall.p50_ns, 1100000);
	assert_int_equal(stall.max_ns, 1100000);
}

static void finds_the_bucket(void **state)
{
	uint64_t buckets[FERRY_STALL_BUCKETS] = { [10] = 98, [15] = 1, [30] = 1 };
	struct ferry_cli_stall stall;

	(void)state;
	ferry_cli_stall_read(buckets, UINT64_C(3) << 30, &stall);
	assert_int_equal(stall.pages, 100);
	assert_in_range(stall.p50_ns, 1 << 10, 2 << 10);
	assert_in_range(stall.p99_ns, 1 << 15, 2 << 15);
	buckets[30] = 2;
	ferry_cli_stall_read(buckets, UINT64_C(3) << 30, &stall);
	assert_in_range(stall.p99_ns, 1 << 30, UINT64_C(2) << 30);
	memset(buckets, 0, sizeof(buckets));
	buckets[FERRY_STALL_BUCKETS - 1] = 1;
	ferry_cli_stall_read(buckets, UINT64_MAX, &stall);
	assert_true(stall.p50_ns >= UINT64_C(1) << (FERRY_STALL_BUCKETS - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_nothing_of_nothing),
		cmocka_unit_test(interpolates),
		cmocka_unit_test(finds_the_bucket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
