/* SPDX-License-Identifier: MIT */
/* The rows of the contract over the simulated MMU. A row that fails is named. */
#include <string.h>

#include "contract_rows.h"
#include "map/region.h"
#include "migrating.h"
#include "sharing.h"

enum {
	UNSEEN = 40,   /* the first page that is not managed */
	UNMAPPED = 50, /* and the first where nothing is mapped */
	OBJECT = 64,   /* the first of an object */
};

static struct ferry_soft_child child;
static struct ferry_soft_ref pins[ENTRIES];
static struct sharing sharing;
static struct rig other; /* maps the object, too */

static bool has(const struct row *row, const char *states)
{
	return strpbrk(row->pages, states) != NULL;
}

static ferry_va address(const struct row *row, uint32_t entry)
{
	uint32_t page = entry;
	char state;

	while (row->pages[page] == '=')
		page--;
	state = row->pages[page];
	if (state == 'U')
		page += UNMAPPED;
	if (state == 'X')
		page += UNSEEN;
	if (strchr("MB", state) != NULL)
		page += OBJECT;
	return rig_va(&rig, page) + ((row->how & OFFSET) != 0 ? 4095 - 7 * entry : 0);
}

static void make_page(char state, uint32_t page)
{
	ferry_va start = rig_va(&rig, page), end = rig_va(&rig, page + 1);

	switch (state) {
	case 'Z':
		assert_int_equal(load(page), 0);
		return;
	case 'D':
		rig_discard(&rig, THREAD, page, page + 1, false);
		return;
	case 'P':
		assert_int_equal(rig_pin(&rig, THREAD, start, &pins[page]), FERRY_SOFT_DONE);
		return;
	case 'R':
		rig_protect(&rig, page, page + 1, FERRY_SOFT_READ);
		return;
	case 'N':
		rig_protect(&rig, page, page + 1, 0);
		return;
	case 'K':
		rig_protect(&rig, page, page + 1, FERRY_SOFT_RW | FERRY_SOFT_KEYED);
		return;
	case 'L':
		ferry_soft_mlock(&rig.soft, start, end, true);
		ferry_lock_acquire(&rig.space.lock);
		assert_int_equal(ferry_region_flag(rig.books, start, end, FERRY_REGION_LOCKED, 0),
				 0);
		ferry_lock_release(&rig.space.lock);
		return;
	case 'T':
		ferry_lock_acquire(&rig.space.lock);
		assert_int_equal(ferry_space_flag_thread(&rig.space, start, end), 0);
		ferry_lock_release(&rig.space.lock);
		return;
	default:
		return;
	}
}

/* Is there a page of its own, with a value that must stay? */
static bool is_written(char state)
{
	return strchr("WLPSRNKTD", state) != NULL;
}

static const struct rig_options options = {
	.nodes = NODES,
	.capacity = { 100, 100, SMALL_PAGES, 0, 100, 100 },
	.pages = OBJECT + ENTRIES,
};

/* Pages of an object: M in our page table only, B in another's, too. */
static void prepare_object(const struct row *row)
{
	sharing_begin(&sharing, ENTRIES, NODES);
	sharing_join(&sharing, &rig);
	sharing_add(&sharing, &other, &options);
	sharing_map(&sharing, &rig, OBJECT, OBJECT + ENTRIES, 0, false);
	sharing_map(&sharing, &other, OBJECT, OBJECT + ENTRIES, 0, false);
	for (uint32_t i = 0; row->pages[i] != '\0'; i++) {
		uint64_t value = i + 1;

		if (strchr("MB", row->pages[i]) == NULL)
			continue;
		assert_int_equal(rig_store(&rig, THREAD, rig_va(&rig, OBJECT + i), value),
				 FERRY_SOFT_DONE);
		if (row->pages[i] == 'B')
			assert_int_equal(rig_load(&other, THREAD, rig_va(&other, OBJECT + i),
						  &value), FERRY_SOFT_DONE);
	}
}

static void finish_object(const struct row *row)
{
	for (uint32_t i = 0; row->pages[i] != '\0'; i++) {
		uint64_t value = 0;

		if (strchr("MB", row->pages[i]) == NULL)
			continue;
		assert_int_equal(rig_load(&rig, THREAD, rig_va(&rig, OBJECT + i), &value),
				 FERRY_SOFT_DONE);
		assert_int_equal(value, i + 1);
	}
	rig_unmap(&rig, THREAD, OBJECT, OBJECT + ENTRIES);
	assert_int_equal(rig_check(&other, true), 0);
	sharing_remove(&sharing, &other);
	sharing_leave(&sharing, &rig);
	sharing_end(&sharing);
}

static void prepare(const struct row *row)
{
	uint32_t count = (uint32_t)strlen(row->pages);

	begin_with(&options);
	rig_map(&rig, 0, 32, 0);
	if (has(row, "MB"))
		prepare_object(row);
	if (has(row, "X"))
		rig_map_unseen(&rig, UNSEEN, UNSEEN + ENTRIES);
	for (uint32_t i = 0; i < count; i++) {
		if (is_written(row->pages[i]))
			store(i, i + 1);
	}
	if (has(row, "S")) {
		rig_fork(&rig, THREAD, &child);
		/* Whoever is written to again is alone. */
		for (uint32_t i = 0; i < count; i++) {
			if (row->pages[i] != 'S' && is_written(row->pages[i]))
				store(i, i + 1);
		}
	}
	for (uint32_t i = 0; i < count; i++)
		make_page(row->pages[i], i);
	rig.machine->unusable.word[0] = 1 << OFFLINE;
	rig.allowed.word[0] &= ~(UINT64_C(1) << FORBIDDEN);
}

static void finish(const struct row *row)
{
	uint32_t count = (uint32_t)strlen(row->pages);

	ferry_nodeset_fill(&rig.allowed, NODES);
	for (uint32_t i = 0; i < count; i++) {
		ferry_va start = rig_va(&rig, i), stop = rig_va(&rig, i + 1);

		if (row->pages[i] == 'P')
			ferry_soft_unpin(&rig.soft, pins[i]);
		if (row->pages[i] == 'L')
			ferry_soft_mlock(&rig.soft, start, stop, false);
		if (has(row, "RNK"))
			ferry_soft_protect(&rig.soft, start, stop, FERRY_SOFT_RW);
		if (is_written(row->pages[i]) && row->pages[i] != 'D')
			assert_int_equal(load(i), i + 1);
	}
	if (has(row, "S"))
		ferry_soft_child_destroy(&child);
	if (has(row, "MB"))
		finish_object(row);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

static void check_row(const struct row *row, bool seed)
{
	const struct expected *want = seed ? &row->seed : &row->linux;
	uint64_t addresses[ENTRIES];
	int32_t nodes[ENTRIES], status[ENTRIES], *told = status;
	int64_t got;
	struct ferry_move_call call = {
		.count = strlen(row->pages),
		.pages = addresses,
		.nodes = (row->how & QUERY) != 0 ? NULL : nodes,
		.seed = seed,
		.move_all = (row->how & ALL) != 0,
	};

	if ((row->how & ALIAS) != 0)
		told = nodes;
	prepare(row);
	for (uint32_t i = 0; i < call.count; i++) {
		addresses[i] = address(row, i);
		if ((row->how & TAGGED) != 0)
			addresses[i] |= UINT64_C(0x55) << 57;
		status[i] = KEPT;
		nodes[i] = row->nodes[i];
	}
	call.status = told;
	got = ferry_move_pages_in(&rig.space, &call);
	if (got != want->result)
		print_error("row %s (%s): %lld, not %lld\n", row->id, seed ? "seed" : "linux",
			    (long long)got, (long long)want->result);
	assert_int_equal(got, want->result);
	for (uint32_t i = 0; i < call.count; i++) {
		/* The host says that the page is there. */
		if (strchr("MB", row->pages[i]) != NULL && (row->how & QUERY) != 0)
			told[i] = ferry_query_settle(rig.machine, told[i], 0);
		if (told[i] != want->status[i])
			print_error("row %s (%s): status[%u] is %d, not %d\n", row->id,
				    seed ? "seed" : "linux", i, told[i], want->status[i]);
		assert_int_equal(told[i], want->status[i]);
		/* What was said is true. */
		if (strchr("MB", row->pages[i]) != NULL)
			assert_int_equal(rig_node(&rig, OBJECT + i) & FERRY_QUERY_NODE,
					 told[i] >= 0 && told[i] != KEPT ? told[i] : 0);
		else if (told[i] >= 0 && told[i] != KEPT && row->pages[i] != '=')
			assert_int_equal(rig_node(&rig, i), told[i]);
		if (told[i] == KEPT && is_written(row->pages[i]) && row->pages[i] != 'D')
			assert_int_equal(rig_node(&rig, i), 0);
	}
	finish(row);
}

static void every_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(rows); i++) {
		check_row(&rows[i], true);
		check_row(&rows[i], false);
	}
}

static void every_row_has_its_own_id(void **state)
{
	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(rows); i++) {
		for (size_t k = i + 1; k < FERRY_ARRAY_SIZE(rows); k++)
			assert_string_not_equal(rows[i].id, rows[k].id);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_has_its_own_id),
		cmocka_unit_test(every_row),
	};

	test_host_init();
	test_skip_sleeps();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
