/* SPDX-License-Identifier: MIT */
/* Node sets: text to set, set to text, and walking through one. */
#include <errno.h>
#include <string.h>

#include "base/nodeset.h"
#include "cases.h"
#include "host.h"

static void parses(void **state)
{
	static const struct {
		const char *text;
		uint32_t nodes;
		const char *printed;
	} rows[] = {
		{ "0", 1, "0" },
		{ "3", 4, "3" },
		{ "0-3,5", 8, "0-3,5" },
		{ "5,0-3", 8, "0-3,5" },
		{ "1,2,3", 4, "1-3" },
		{ "2-2", 4, "2" },
		{ "0-1,1-2", 4, "0-2" },
		{ "all", 3, "0-2" },
		{ "all", 1024, "0-1023" },
		{ "none", 3, "none" },
		{ "!0", 4, "1-3" },
		{ "!1-2", 4, "0,3" },
		{ "!all", 4, "none" },
		{ "!0", 1, "none" },
		{ "63-64,1023", 1024, "63-64,1023" },
	};

	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(rows); i++) {
		struct ferry_nodeset set;
		char text[64];

		assert_int_equal(ferry_nodeset_parse(&set, rows[i].text, rows[i].nodes), 0);
		assert_int_equal(ferry_nodeset_print(&set, text, sizeof(text)),
				 strlen(rows[i].printed));
		assert_string_equal(text, rows[i].printed);
	}
}

static void refuses(void **state)
{
	static const struct {
		const char *text;
		int err;
	} rows[] = {
		{ "", -EINVAL },
		{ "!", -EINVAL },
		{ ",", -EINVAL },
		{ "0,", -EINVAL },
		{ ",0", -EINVAL },
		{ "0-", -EINVAL },
		{ "-3", -EINVAL },
		{ "3-1", -EINVAL },
		{ "0 ", -EINVAL },
		{ "a", -EINVAL },
		{ "0x1", -EINVAL },
		{ "0-1-2", -EINVAL },
		{ "!none", -EINVAL },
		{ "all,0", -EINVAL },
		{ "!!0", -EINVAL },
		{ "nonesuch", -EINVAL },
		{ "4", -ERANGE },
		{ "0-4", -ERANGE },
		{ "!4", -ERANGE },
		{ "4294967296", -ERANGE },
		{ "99999999999999999999", -ERANGE },
		{ "9,x", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(rows); i++) {
		struct ferry_nodeset set;

		memset(&set, 0x5a, sizeof(set));
		assert_int_equal(ferry_nodeset_parse(&set, rows[i].text, 4), rows[i].err);
		assert_int_equal(set.word[0], UINT64_C(0x5a5a5a5a5a5a5a5a));
	}
}

static void walks(void **state)
{
	struct ferry_nodeset set;

	(void)state;
	ferry_nodeset_clear(&set);
	assert_int_equal(ferry_nodeset_next(&set, 0), FERRY_NODES_MAX);
	ferry_nodeset_add(&set, 0);
	ferry_nodeset_add(&set, 64);
	ferry_nodeset_add(&set, 1023);
	assert_int_equal(ferry_nodeset_count(&set), 3);
	assert_int_equal(ferry_nodeset_next(&set, 0), 0);
	assert_int_equal(ferry_nodeset_next(&set, 1), 64);
	assert_int_equal(ferry_nodeset_next(&set, 65), 1023);
	assert_int_equal(ferry_nodeset_next(&set, 1024), FERRY_NODES_MAX);
	assert_true(ferry_nodeset_has(&set, 1023));
	assert_false(ferry_nodeset_has(&set, 1022));
	assert_false(ferry_nodeset_has(&set, 1024));
	ferry_nodeset_fill(&set, 70);
	assert_int_equal(ferry_nodeset_count(&set), 70);
	assert_false(ferry_nodeset_has(&set, 70));
}

static void print_is_bounded(void **state)
{
	struct ferry_nodeset set;
	char text[6] = "#####";

	(void)state;
	ferry_nodeset_fill(&set, 1000);
	assert_int_equal(ferry_nodeset_print(&set, text, 4), 5);
	assert_memory_equal(text, "0-9\0#", 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses),
		cmocka_unit_test(refuses),
		cmocka_unit_test(walks),
		cmocka_unit_test(print_is_bounded),
	};

	test_host_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
