/* SPDX-License-Identifier: MIT */
/* What people write on the command line: times, rates, ranges, CPU lists, nodes, policies. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "runtime/spec.h"

static void reads_times(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t ns;
	} rows[] = {
		{ "10000ns", 0, 10000 },
		{ "500us", 0, 500000 },
		{ "1ms", 0, 1000000 },
		{ "2s", 0, UINT64_C(2000000000) },
		{ "1", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ "ms", -EINVAL, 0 },
		{ "-1ms", -EINVAL, 0 },
		{ " 1ms", -EINVAL, 0 },
		{ "1ms ", -EINVAL, 0 },
		{ "1m", -EINVAL, 0 },
		{ "1.5ms", -EINVAL, 0 },
		{ "18446744073709551616ns", -ERANGE, 0 },
		{ "18446744074s", -ERANGE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(rows); i++) {
		uint64_t ns = 0;

		assert_int_equal(ferry_spec_time(rows[i].text, &ns), rows[i].result);
		if (rows[i].result == 0)
			assert_int_equal(ns, rows[i].ns);
	}
}

static void reads_rates(void **state)
{
	uint64_t rate;

	(void)state;
	assert_int_equal(ferry_spec_rate("200M/s", &rate), 0);
	assert_int_equal(rate, UINT64_C(200) << 20);
	assert_int_equal(ferry_spec_rate("4k", &rate), 0);
	assert_int_equal(rate, 4096);
	assert_int_equal(ferry_spec_rate("/s", &rate), -EINVAL);
	assert_int_equal(ferry_spec_rate("", &rate), -EINVAL);
	assert_int_equal(ferry_spec_rate("1M/m", &rate), -EINVAL);
	assert_int_equal(ferry_spec_rate("11111111111111111111111111111111111111111/s", &rate),
			 -EINVAL);
}

static void reads_numbers(void **state)
{
	uint64_t number;

	(void)state;
	assert_int_equal(ferry_spec_number("0", 5, &number), 0);
	assert_int_equal(number, 0);
	assert_int_equal(ferry_spec_number("5", 5, &number), 0);
	assert_int_equal(number, 5);
	assert_int_equal(ferry_spec_number("6", 5, &number), -ERANGE);
	assert_int_equal(ferry_spec_number("99999999999999999999", 5, &number), -ERANGE);
	assert_int_equal(ferry_spec_number("5x", 9, &number), -EINVAL);
	assert_int_equal(ferry_spec_number("+5", 9, &number), -EINVAL);
	assert_int_equal(ferry_spec_number("", 9, &number), -EINVAL);
}

static void reads_ranges(void **state)
{
	static const char *const bad[] = {
		"",
		"1000",
		"1000-",
		"1000-1000",
		"2000-1000",
		"1000+",
		"1000+0",
		"1000+x",
		"-2000",
		"1000-2000x",
		"x-y",
		"1000-20000000000000000",
		"0-800000000001",
		"0x-2000",
		"1000+99999999T",
	};
	uint64_t start, end;

	(void)state;
	assert_int_equal(ferry_spec_range("7f0000001000-7f0000003000", &start, &end), 0);
	assert_true(start == 0x7f0000001000 && end == 0x7f0000003000);
	assert_int_equal(ferry_spec_range("0xABC000+8k", &start, &end), 0);
	assert_true(start == 0xabc000 && end == 0xabe000);
	assert_int_equal(ferry_spec_range("0-800000000000", &start, &end), 0);
	assert_true(start == 0 && end == UINT64_C(1) << 47);
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(bad); i++)
		assert_int_equal(ferry_spec_range(bad[i], &start, &end), -EINVAL);
}

static void reads_cpus(void **state)
{
	struct ferry_cpuset cpus;

	(void)state;
	assert_int_equal(ferry_spec_cpus("0-2,5,1023", &cpus), 0);
	for (uint32_t cpu = 0; cpu < FERRY_CPUS_MAX; cpu++)
		assert_int_equal(ferry_cpuset_has(&cpus, cpu), cpu <= 2 || cpu == 5 || cpu == 1023);
	assert_false(ferry_cpuset_has(&cpus, FERRY_CPUS_MAX));
	assert_int_equal(ferry_spec_cpus("1024", &cpus), -ERANGE);
	assert_int_equal(ferry_spec_cpus("3-1", &cpus), -EINVAL);
	assert_int_equal(ferry_spec_cpus("1,", &cpus), -EINVAL);
	assert_int_equal(ferry_spec_cpus("", &cpus), -EINVAL);
	assert_int_equal(ferry_spec_cpus("all", &cpus), -EINVAL);
}

static void reads_nodes(void **state)
{
	char error[FERRY_SPEC_ERROR_MAX];
	struct ferry_node_spec node;

	(void)state;
	assert_int_equal(ferry_spec_node("ram:512M", &node, error), 0);
	assert_int_equal(node.kind, FERRY_NODE_RAM);
	assert_int_equal(node.size_bytes, UINT64_C(512) << 20);
	assert_int_equal(node.real_node, -1);
	assert_false(node.has_cpus);
	assert_int_equal(ferry_spec_node("ram@3:5M,cpus=0-1,7", &node, error), 0);
	assert_int_equal(node.real_node, 3);
	assert_int_equal(node.size_bytes, 4 << 20); /* whole pages of 2 MiB */
	assert_true(node.has_cpus);
	assert_true(ferry_cpuset_has(&node.cpus, 1) && ferry_cpuset_has(&node.cpus, 7));
	assert_false(ferry_cpuset_has(&node.cpus, 2));
	assert_int_equal(ferry_spec_node("ram:0", &node, error), 0);
	assert_int_equal(node.size_bytes, 0);
}

/* Each with one line that names the text. */
static void refuses_nodes(void **state)
{
	static const char *const bad[] = {
		"",
		"ram",
		"ram:",
		":1G",
		"disk:1G",
		"RAM:1G",
		"ram:1M",
		"ram:-1",
		"ram:1X",
		"ram:99999999T",
		"ram@:1G",
		"ram@x:1G",
		"ram@1024:1G",
		"ram:1G:/p",
		"ram:1G,",
		"ram:1G,cpus",
		"ram:1G,cpus=",
		"ram:1G,color=red",
		"ram:1G,cpus=0-",
		"ram:1G cpus=0",
		"ram@1@2:1G",
		"ram:1G,cpus=0,cpus",
		"ram:18446744073709551616",
	};

	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(bad); i++) {
		char error[FERRY_SPEC_ERROR_MAX] = "";
		struct ferry_node_spec node;

		assert_int_equal(ferry_spec_node(bad[i], &node, error), -EINVAL);
		assert_non_null(strstr(error, bad[i]));
		assert_null(strchr(error, '\n'));
	}
}

static void reads_counts_of_nodes(void **state)
{
	static const char *const bad[] = { "",
					   "0",
					   "1025",
					   "-1",
					   "x",
					   "2x",
					   "x1G",
					   "2y1G",
					   "2x1",
					   "2x0",
					   "2X1G",
					   "2x1G1",
					   "99999999999999999999" };
	char error[FERRY_SPEC_ERROR_MAX];
	uint64_t size_bytes;
	uint32_t count;

	(void)state;
	assert_int_equal(ferry_spec_nodes("1", &count, &size_bytes, error), 0);
	assert_true(count == 1 && size_bytes == 0);
	assert_int_equal(ferry_spec_nodes("1024x2M", &count, &size_bytes, error), 0);
	assert_true(count == 1024 && size_bytes == 2 << 20);
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(bad); i++)
		assert_int_equal(ferry_spec_nodes(bad[i], &count, &size_bytes, error), -EINVAL);
}

static struct ferry_machine *make_machine(uint32_t nodes)
{
	struct ferry_machine *machine = calloc(1, ferry_machine_size_bytes(nodes));

	assert_non_null(machine);
	ferry_machine_layout(machine, nodes);
	for (uint32_t i = 0; i < nodes; i++)
		ferry_machine_nodes(machine)[i].capacity_pages = 512;
	return machine;
}

static void reads_policies(void **state)
{
	struct ferry_machine *machine = make_machine(4);
	char error[FERRY_SPEC_ERROR_MAX];
	struct ferry_policy policy;

	(void)state;
	ferry_machine_nodes(machine)[3].capacity_pages = 0;
	assert_int_equal(ferry_spec_policy("local", machine, &policy, error), 0);
	assert_int_equal(policy.mode, FERRY_POLICY_LOCAL);
	assert_int_equal(ferry_spec_policy("bind:1-2", machine, &policy, error), 0);
	assert_int_equal(policy.mode, FERRY_POLICY_BIND);
	assert_int_equal(ferry_nodeset_count(&policy.nodes), 2);
	assert_int_equal(ferry_spec_policy("interleave", machine, &policy, error), 0);
	assert_int_equal(policy.mode, FERRY_POLICY_INTERLEAVE);
	assert_int_equal(ferry_nodeset_count(&policy.nodes), 4);
	assert_int_equal(ferry_spec_policy("interleave:!0", machine, &policy, error), 0);
	assert_int_equal(ferry_nodeset_count(&policy.nodes), 3);
	assert_int_equal(ferry_spec_mems("!0", machine, &policy.nodes, error), 0);
	assert_int_equal(policy.nodes.word[0], 0xe);
	assert_int_equal(ferry_spec_mems("3", machine, &policy.nodes, error), -ENODEV);
	assert_int_equal(ferry_spec_mems("4", machine, &policy.nodes, error), -ENODEV);
	assert_int_equal(ferry_spec_mems("none", machine, &policy.nodes, error), -ENODEV);
	assert_int_equal(ferry_spec_mems("0-", machine, &policy.nodes, error), -EINVAL);
	assert_int_equal(ferry_spec_mems("", machine, &policy.nodes, error), -EINVAL);
	assert_non_null(strstr(error, "written like"));
	assert_int_equal(ferry_spec_policy("bind:3", machine, &policy, error), -ENODEV);
	assert_int_equal(ferry_spec_policy("bind:4", machine, &policy, error), -ENODEV);
	assert_int_equal(ferry_spec_policy("bind:none", machine, &policy, error), -ENODEV);
	assert_int_equal(ferry_spec_policy("bind", machine, &policy, error), -EINVAL);
	assert_int_equal(ferry_spec_policy("bind:x", machine, &policy, error), -EINVAL);
	assert_int_equal(ferry_spec_policy("local:1", machine, &policy, error), -EINVAL);
	assert_int_equal(ferry_spec_policy("sometimes", machine, &policy, error), -EINVAL);
	free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_times),    cmocka_unit_test(reads_rates),
		cmocka_unit_test(reads_numbers),  cmocka_unit_test(reads_ranges),
		cmocka_unit_test(reads_cpus),     cmocka_unit_test(reads_nodes),
		cmocka_unit_test(refuses_nodes),  cmocka_unit_test(reads_counts_of_nodes),
		cmocka_unit_test(reads_policies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
