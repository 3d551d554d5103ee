/* SPDX-License-Identifier: MIT */
/*
 * The public library from outside: a process of a machine is asked about and moved by one that runs
 * bare. Its own calls on itself are tested by the programs of the other live tests, which link the
 * library; here its source is included.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cases.h"
#include "runtime/library.c"
#include "target.h"

/* --- cases ------------------------------------------------------------------------------- */

static void knows_the_nodes(void **state)
{
	struct ferry_node_info info[2] = { { .node = 9 }, { .node = 9 } };

	(void)state;
	assert_int_equal(ferry_nodes(target.pid, info, 0), 2);
	assert_int_equal(info[0].node, 9);
	assert_int_equal(ferry_nodes(target.pid, info, 2), 2);
	assert_int_equal(info[1].node, 1);
	assert_int_equal(info[1].capacity_bytes, 128 << 20);
	assert_true(info[0].used_bytes >= (uint64_t)PAGES * PAGE);
	assert_int_equal(ferry_nodes(target.pid, (struct ferry_node_info *)8, 2), -EFAULT);
}

static void moves_and_finds_again(void **state)
{
	static void *pages[PAGES];
	static int nodes[PAGES], status[PAGES], range[MANY];
	static uint8_t reasons[PAGES];
	int saved = errno = 77;

	(void)state;
	for (size_t i = 0; i < PAGES; i++) {
		pages[i] = target.memory + i * PAGE + i; /* somewhere in the page */
		nodes[i] = i % 3 == 0 ? 0 : 1;
	}
	assert_int_equal(ferry_move_pages_reasons(target.pid, PAGES, pages, nodes, status, reasons,
						  FERRY_MOVE),
			 0);
	for (size_t i = 0; i < PAGES; i++) {
		assert_int_equal(status[i], nodes[i]);
		assert_string_equal(ferry_reason_name(reasons[i]), i % 3 == 0 ? "there" : "moved");
	}
	memset(status, 0x55, sizeof(status));
	assert_int_equal(ferry_move_pages(target.pid, PAGES, pages, NULL, status, 0), 0);
	assert_memory_equal(status, nodes, sizeof(status));
	assert_int_equal(ferry_query_range(target.pid, target.memory, MANY, range), 0);
	assert_memory_equal(range, nodes, sizeof(nodes));
	for (size_t i = PAGES; i < MANY; i++)
		assert_int_equal(range[i], -ENOENT);
	/* Nothing is left to be done: an error by the rules of 2006, none by today's. */
	assert_int_equal(ferry_move_pages(target.pid, PAGES, pages, nodes, status, 0), -ENOENT);
	assert_memory_equal(status, nodes, sizeof(status));
	assert_int_equal(
		ferry_move_pages(target.pid, PAGES, pages, nodes, status, FERRY_CONTRACT_LINUX), 0);
	assert_int_equal(errno, saved);
}

static void moves_ranges(void **state)
{
	struct ferry_move_report report = { .size = sizeof(report) };
	struct ferry_move_options options = { .size = sizeof(options), .from = "1" };
	static int range[PAGES];

	(void)state;
	assert_int_equal(
		ferry_move_range(target.pid, target.memory, (size_t)MANY * PAGE, 1, NULL, &report),
		0);
	assert_int_equal(report.asked_pages, PAGES);
	assert_int_equal(report.stopped, 0);
	assert_int_equal(ferry_move_range(target.pid, target.memory, (size_t)MANY * PAGE, 0,
					  &options, &report),
			 0);
	assert_int_equal(report.moved_pages, PAGES);
	assert_int_equal(report.reasons[0], PAGES);
	assert_true(report.elapsed_ns > 0);
	assert_int_equal(ferry_query_range(target.pid, target.memory, PAGES, range), 0);
	for (size_t i = 0; i < PAGES; i++)
		assert_int_equal(range[i], 0);
	/* An older caller's shorter structs. */
	report.size = offsetof(struct ferry_move_report, reasons);
	report.reasons[0] = 4711;
	options = (struct ferry_move_options){ .size = sizeof(options.size) };
	assert_int_equal(ferry_move_range(target.pid, target.memory, PAGE, 1, &options, &report),
			 0);
	assert_int_equal(report.moved_pages, 1);
	assert_int_equal(report.reasons[0], 4711);
}

static int stop_soon(void *context, uint64_t done, uint64_t asked)
{
	unsigned *calls = context;

	return ++*calls >= 2 && done < asked;
}

static void stops_when_told(void **state)
{
	unsigned calls = 0;
	struct ferry_move_report report = { .size = sizeof(report) };
	struct ferry_move_options options = {
		.size = sizeof(options),
		.bytes_per_second = 2 << 20, /* four seconds */
		.progress = stop_soon,
		.context = &calls,
	};

	(void)state;
	assert_int_equal(ferry_move_range(target.pid, target.memory, (size_t)PAGES * PAGE, 1,
					  &options, &report),
			 1);
	assert_int_equal(report.stopped, 1);
	assert_true(calls >= 2 && report.moved_pages < PAGES);
}

/* In the order of the contract: an earlier one wins. */
static void refuses(void **state)
{
	void *page = target.memory;
	int node = 1, status = 4711, none = 7;
	struct ferry_move_options bad = { .size = sizeof(bad), .from = "x" };
	pid_t pid = target.pid;

	(void)state;
	assert_int_equal(ferry_move_pages(INT_MAX, 1, NULL, NULL, NULL, 1), -EINVAL);
	assert_int_equal(ferry_move_pages(INT_MAX, 1, NULL, NULL, NULL, 0), -ESRCH);
	assert_int_equal(ferry_move_pages(-1, 1, &page, &node, &status, 0), -ESRCH);
	assert_int_equal(ferry_move_pages(0, 1, &page, &node, &status, 0), -ESRCH);
	assert_int_equal(ferry_move_pages(getppid(), 1, &page, &node, &status, 0), -ESRCH);
	assert_int_equal(ferry_move_pages(pid, (size_t)1 << 31, NULL, NULL, NULL, 0), -E2BIG);
	assert_int_equal(ferry_move_pages(pid, 1, NULL, &node, &status, 0), -EFAULT);
	assert_int_equal(ferry_move_pages(pid, 1, (void **)8, &node, &status, 0), -EFAULT);
	assert_int_equal(ferry_move_pages(pid, 1, &page, (int *)8, &status, 0), -EFAULT);
	assert_int_equal(ferry_move_pages(pid, 1, &page, &node, (int *)8, 0), -EFAULT);
	assert_int_equal(ferry_move_pages(pid, 1, &page, NULL, NULL, 0), -EFAULT);
	assert_int_equal(ferry_move_pages(pid, 1, &page, &none, &status, 0), -ENODEV);
	assert_int_equal(status, 4711);
	assert_int_equal(ferry_move_pages(pid, 0, NULL, NULL, NULL, 0), 0);
	assert_int_equal(ferry_move_pages(pid, 0, NULL, &node, NULL, 0), -ENOENT);
	assert_int_equal(ferry_query_range(pid, page, 1, (int *)8), -EFAULT);
	assert_int_equal(ferry_query_range(INT_MAX, page, 1, &status), -ESRCH);
	assert_int_equal(ferry_move_range(pid, page, 0, 1, NULL, NULL), -EINVAL);
	assert_int_equal(ferry_move_range(pid, page, SIZE_MAX, 1, NULL, NULL), -EINVAL);
	assert_int_equal(ferry_move_range(pid, page, PAGE, 7, NULL, NULL), -ENODEV);
	assert_int_equal(ferry_move_range(pid, page, PAGE, -1, NULL, NULL), -ENODEV);
	assert_int_equal(ferry_move_range(pid, page, PAGE, 1, &bad, NULL), -EINVAL);
	bad = (struct ferry_move_options){ .size = 0 };
	assert_int_equal(ferry_move_range(pid, page, PAGE, 1, &bad, NULL), -EINVAL);
}

static void asks_about_odd_addresses(void **state)
{
	void *pages[] = { target.memory + (size_t)PAGES * PAGE, (void *)4096, target.memory };
	int nodes[] = { 1, 1, 0 }, status[3];

	(void)state;
	assert_int_equal(ferry_move_pages(target.pid, 3, pages, NULL, status, 0), 0);
	assert_int_equal(status[0], -ENOENT);
	assert_int_equal(status[1], -EFAULT);
	assert_true(status[2] >= 0);
	assert_int_equal(ferry_move_pages(target.pid, 2, pages, nodes, status, 0), -ENOENT);
	assert_int_equal(status[0], -ENOENT);
	assert_int_equal(status[1], -EFAULT);
}

static void names_things(void **state)
{
	(void)state;
	assert_string_equal(ferry_version(), "0.1.0");
	assert_true(ferry_reason_count() >= 14);
	assert_string_equal(ferry_reason_name(0), "moved");
	assert_string_equal(ferry_reason_name(9999), "unknown");
	for (unsigned i = 0; i < ferry_reason_count(); i++)
		assert_string_not_equal(ferry_reason_name(i), "unknown");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_things),
		cmocka_unit_test(knows_the_nodes),
		cmocka_unit_test(moves_and_finds_again),
		cmocka_unit_test(moves_ranges),
		cmocka_unit_test(stops_when_told),
		cmocka_unit_test(refuses),
		cmocka_unit_test(asks_about_odd_addresses),
	};

	if (argc > 1 && strcmp(argv[1], "target") == 0)
		return play_target();
	return cmocka_run_group_tests(tests, start_target, end_target);
}
