/* SPDX-License-Identifier: MIT */
/* Sizes and bounded texts: what is accepted, what is refused and why, and what is printed. */
#include <errno.h>
#include <string.h>

#include "base/format.h"
#include "base/size.h"
#include "cases.h"
#include "host.h"

static void accepts(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} rows[] = {
		{ "0", 0 },
		{ "1", 1 },
		{ "4096", 4096 },
		{ "4k", 4096 },
		{ "4K", 4096 },
		{ "4KiB", 4096 },
		{ "4kB", 4096 },
		{ "17B", 17 },
		{ "256M", UINT64_C(256) << 20 },
		{ "1G", UINT64_C(1) << 30 },
		{ "1GiB", UINT64_C(1) << 30 },
		{ "2T", UINT64_C(2) << 40 },
		{ "007", 7 },
		{ "18446744073709551615", UINT64_MAX },
		{ "16777215T", UINT64_C(16777215) << 40 },
	};

	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(rows); i++) {
		uint64_t bytes = 1;

		assert_int_equal(ferry_size_parse(rows[i].text, &bytes), 0);
		assert_int_equal(bytes, rows[i].bytes);
	}
}

static void refuses(void **state)
{
	static const struct {
		const char *text;
		int err;
	} rows[] = {
		{ "", -EINVAL },
		{ "k", -EINVAL },
		{ "-1", -EINVAL },
		{ "+1", -EINVAL },
		{ " 1", -EINVAL },
		{ "1 ", -EINVAL },
		{ "1.5G", -EINVAL },
		{ "1x", -EINVAL },
		{ "1kk", -EINVAL },
		{ "1iB", -EINVAL },
		{ "1Ki", -EINVAL },
		{ "1GiBx", -EINVAL },
		{ "0x10", -EINVAL },
		{ "1b", -EINVAL },
		{ "1,000", -EINVAL },
		{ "18446744073709551616", -ERANGE },
		{ "99999999999999999999999", -ERANGE },
		{ "16777216T", -ERANGE },
		{ "18014398509481984k", -ERANGE },
		{ "99999999999999999999999x", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(rows); i++) {
		uint64_t bytes = 42;

		assert_int_equal(ferry_size_parse(rows[i].text, &bytes), rows[i].err);
		assert_int_equal(bytes, 42);
	}
}

static void prints(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1 KiB" },
		{ 1536, "1.5 KiB" },
		{ (UINT64_C(1) << 20) - 1, "1023.9 KiB" },
		{ UINT64_C(256) << 20, "256 MiB" },
		{ (UINT64_C(1) << 30) + (UINT64_C(100) << 20), "1 GiB" },
		{ (UINT64_C(1) << 30) + (UINT64_C(110) << 20), "1.1 GiB" },
		{ UINT64_C(3) << 40, "3 TiB" },
		{ UINT64_MAX, "16777215.9 TiB" },
	};

	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(rows); i++) {
		char text[FERRY_SIZE_TEXT];

		assert_int_equal(ferry_size_print(rows[i].bytes, text, sizeof(text)),
				 strlen(rows[i].text));
		assert_string_equal(text, rows[i].text);
	}
}

static void never_overruns(void **state)
{
	char buffer[8];
	struct ferry_text text;

	(void)state;
	memset(buffer, '#', sizeof(buffer));
	assert_int_equal(ferry_size_print(1536, buffer, 4), 7);
	assert_memory_equal(buffer, "1.5\0####", 8);
	assert_int_equal(ferry_size_print(1536, buffer, 0), 7);
	assert_memory_equal(buffer, "1.5\0####", 8);
	ferry_text_init(&text, buffer, 1);
	ferry_text_string(&text, "abc");
	assert_int_equal(text.length, 3);
	assert_memory_equal(buffer, "\0.5\0####", 8);
}

static void builds_text(void **state)
{
	char buffer[80];
	struct ferry_text text;

	(void)state;
	ferry_text_init(&text, buffer, sizeof(buffer));
	assert_string_equal(buffer, "");
	ferry_text_decimal(&text, 0);
	ferry_text_char(&text, ' ');
	ferry_text_decimal(&text, UINT64_MAX);
	ferry_text_char(&text, ' ');
	ferry_text_signed(&text, INT64_MIN);
	ferry_text_column(&text, 45);
	ferry_text_hex(&text, UINT64_C(0xdead0));
	ferry_text_column(&text, 3);
	assert_string_equal(buffer, "0 18446744073709551615 -9223372036854775808  0xdead0");
	assert_int_equal(text.length, strlen(buffer));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts),     cmocka_unit_test(refuses),
		cmocka_unit_test(prints),      cmocka_unit_test(never_overruns),
		cmocka_unit_test(builds_text),
	};

	test_host_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
