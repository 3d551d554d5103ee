/* SPDX-License-Identifier: MIT */
/*
 * The contract of move_pages() as a table: one row a case, by the contract of 2006 (seed) and by
 * that of Linux. A row that fails is named. What the doors check before - flags, rights, arrays -
 * has its rows in tests/live/programs/statuses.c.
 */
#include <errno.h>
#include <string.h>

#include "map/region.h"
#include "migrating.h"

enum {
	ENTRIES = 4,
	NODES = 6,
	SMALL = 2, /* two pages */
	MEMORYLESS = 3,
	OFFLINE = 4,
	FORBIDDEN = 5,
	NOT_THERE = 6,
	UNSEEN = 40,   /* the first page that is not managed */
	UNMAPPED = 50, /* and the first where nothing is mapped */
	KEPT = 4711,   /* a status that is not written */
	SMALL_PAGES = 2,
};

enum {
	QUERY = 1 << 0,
	ALIAS = 1 << 1,  /* status is the array of nodes */
	OFFSET = 1 << 2, /* addresses within their pages */
	TAGGED = 1 << 3, /* and with tags */
	ALL = 1 << 4,    /* MOVE_ALL */
};

struct expected {
	int64_t result;
	int32_t status[ENTRIES];
};

/*
 * pages: a letter an entry. W written, on node 0; A absent; D discarded; Z read only, so the zero
 * page; U not mapped; X not managed; L mlocked; P pinned; S shared with a child; R read-only; N no
 * access; K guarded by a key; T holds a thread's control block; = the page of the entry before.
 */
static const struct row {
	const char *id;
	const char *pages;
	int32_t nodes[ENTRIES];
	uint32_t how;
	struct expected seed, linux;
} rows[] = {
	/* The first wrong node is told, and nothing has moved. */
	{ "1.1/7 ENODEV last",
	  "WW",
	  { 1, NOT_THERE },
	  0,
	  { -ENODEV, { KEPT, KEPT } },
	  { -ENODEV, { KEPT, KEPT } } },
	{ "1.1/7 EACCES last",
	  "WW",
	  { 1, FORBIDDEN },
	  0,
	  { -EACCES, { KEPT, KEPT } },
	  { -EACCES, { KEPT, KEPT } } },
	{ "1.1/7 ENODEV before EACCES",
	  "WWW",
	  { 1, NOT_THERE, FORBIDDEN },
	  0,
	  { -ENODEV, { KEPT, KEPT, KEPT } },
	  { -ENODEV, { KEPT, KEPT, KEPT } } },
	{ "1.1/7 EACCES before ENODEV",
	  "WWW",
	  { 1, FORBIDDEN, MEMORYLESS },
	  0,
	  { -EACCES, { KEPT, KEPT, KEPT } },
	  { -EACCES, { KEPT, KEPT, KEPT } } },
	{ "1.2/ENODEV memoryless",
	  "W",
	  { MEMORYLESS },
	  0,
	  { -ENODEV, { KEPT } },
	  { -ENODEV, { KEPT } } },
	{ "1.2/ENODEV offline", "W", { OFFLINE }, 0, { -ENODEV, { KEPT } }, { -ENODEV, { KEPT } } },
	{ "1.2/ENODEV negative", "W", { -1 }, 0, { -ENODEV, { KEPT } }, { -ENODEV, { KEPT } } },
	{ "1.2/ENODEV least", "W", { INT32_MIN }, 0, { -ENODEV, { KEPT } }, { -ENODEV, { KEPT } } },
	{ "1.2/ENODEV most", "W", { INT32_MAX }, 0, { -ENODEV, { KEPT } }, { -ENODEV, { KEPT } } },
	{ "1.2/EACCES absent page",
	  "A",
	  { FORBIDDEN },
	  0,
	  { -EACCES, { KEPT } },
	  { -EACCES, { KEPT } } },

	{ "1.2/0 all moved", "WW", { 1, 1 }, 0, { 0, { 1, 1 } }, { 0, { 1, 1 } } },
	{ "1.2/0 some had to",
	  "WAW",
	  { 1, 1, 0 },
	  0,
	  { 0, { 1, -ENOENT, 0 } },
	  { 0, { 1, -ENOENT, 0 } } },
	{ "1.2/ENOENT nothing had to",
	  "WAZU",
	  { 0, 1, 1, 1 },
	  0,
	  { -ENOENT, { 0, -ENOENT, -EFAULT, -EFAULT } },
	  { 0, { 0, -ENOENT, -EFAULT, -EFAULT } } },
	{ "1.2/ENOENT nothing may",
	  "SAW",
	  { 1, 1, 0 },
	  0,
	  { -ENOENT, { -EACCES, -ENOENT, 0 } },
	  { 0, { -EACCES, -ENOENT, 0 } } },
	{ "1.2/ENOENT locked",
	  "LA",
	  { 1, 1 },
	  0,
	  { -ENOENT, { -EPERM, -ENOENT } },
	  { 0, { 1, -ENOENT } } },
	{ "1.2/>0 busy ones",
	  "PWT",
	  { 1, 1, 1 },
	  0,
	  { 2, { -EBUSY, 1, -EBUSY } },
	  { 2, { -EBUSY, 1, -EBUSY } } },
	{ "1.2/>0 others do not count",
	  "PAZL",
	  { 1, 1, 1, 1 },
	  0,
	  { 1, { -EBUSY, -ENOENT, -EFAULT, -EPERM } },
	  { 1, { -EBUSY, -ENOENT, -EFAULT, 1 } } },
	/* Entries by the one, pages by the other. */
	{ "1.2/>0 twice the same",
	  "P=W",
	  { 1, 1, 1 },
	  0,
	  { 2, { -EBUSY, -EBUSY, 1 } },
	  { 1, { -EBUSY, -EBUSY, 1 } } },
	{ "1.2/ENOMEM target full",
	  "WWWW",
	  { SMALL, SMALL, SMALL, SMALL },
	  0,
	  { 2, { SMALL, SMALL, -ENOMEM, -ENOMEM } },
	  { -ENOMEM, { SMALL, SMALL, -ENOMEM, -ENOMEM } } },
	{ "1.5/full others go on",
	  "WWWW",
	  { SMALL, SMALL, SMALL, 1 },
	  0,
	  { 1, { SMALL, SMALL, -ENOMEM, 1 } },
	  { -ENOMEM, { SMALL, SMALL, -ENOMEM, 1 } } },

	{ "1.3/node", "W", { 1 }, 0, { 0, { 1 } }, { 0, { 1 } } },
	{ "1.3/ENOENT never touched", "A", { 1 }, 0, { -ENOENT, { -ENOENT } }, { 0, { -ENOENT } } },
	{ "1.3/ENOENT discarded", "D", { 1 }, 0, { -ENOENT, { -ENOENT } }, { 0, { -ENOENT } } },
	{ "1.3/EFAULT zero page", "Z", { 1 }, 0, { -ENOENT, { -EFAULT } }, { 0, { -EFAULT } } },
	{ "1.3/EFAULT no mapping", "U", { 1 }, 0, { -ENOENT, { -EFAULT } }, { 0, { -EFAULT } } },
	{ "1.3/EACCES", "S", { 1 }, 0, { -ENOENT, { -EACCES } }, { 0, { -EACCES } } },
	{ "1.3/EACCES on its target", "S", { 0 }, 0, { -ENOENT, { 0 } }, { 0, { 0 } } },
	{ "1.3/EACCES not with MOVE_ALL",
	  "SWS",
	  { 1, 1, 0 },
	  ALL,
	  { 0, { 1, 1, 0 } },
	  { 0, { 1, 1, 0 } } },
	{ "1.4/shared, MOVE_ALL, duplicates", "S=", { 0, 1 }, ALL, { 0, { 1, 1 } }, { 0, { 1, 1 } } },
	{ "1.4/shared, MOVE_ALL, target full",
	  "SSSS",
	  { SMALL, SMALL, SMALL, SMALL },
	  ALL,
	  { 2, { SMALL, SMALL, -ENOMEM, -ENOMEM } },
	  { -ENOMEM, { SMALL, SMALL, -ENOMEM, -ENOMEM } } },
	{ "1.3/EPERM", "L", { 1 }, 0, { -ENOENT, { -EPERM } }, { 0, { 1 } } },
	{ "1.3/EPERM on its target", "L", { 0 }, 0, { -ENOENT, { 0 } }, { 0, { 0 } } },
	{ "1.3/EBUSY pinned", "P", { 1 }, 0, { 1, { -EBUSY } }, { 1, { -EBUSY } } },
	{ "1.3/EBUSY pinned on its target", "P", { 0 }, 0, { -ENOENT, { 0 } }, { 0, { 0 } } },
	{ "1.3/EBUSY thread", "T", { 1 }, 0, { 1, { -EBUSY } }, { 1, { -EBUSY } } },
	{ "1.3/EBUSY key", "K", { 1 }, 0, { 1, { -EBUSY } }, { 1, { -EBUSY } } },
	{ "1.3/EBUSY not managed", "X", { 1 }, 0, { 1, { -EBUSY } }, { 1, { -EBUSY } } },
	{ "1.3/EBUSY with MOVE_ALL too",
	  "PT",
	  { 1, 1 },
	  ALL,
	  { 2, { -EBUSY, -EBUSY } },
	  { 2, { -EBUSY, -EBUSY } } },

	{ "1.4/count 0", "", { 0 }, 0, { -ENOENT, { KEPT } }, { 0, { KEPT } } },
	{ "1.4/count 0 query", "", { 0 }, QUERY, { 0, { KEPT } }, { 0, { KEPT } } },
	{ "1.4/query",
	  "WAZU",
	  { 0 },
	  QUERY,
	  { 0, { 0, -ENOENT, -EFAULT, -EFAULT } },
	  { 0, { 0, -ENOENT, -EFAULT, -EFAULT } } },
	{ "1.4/query asks no right to move",
	  "SLPT",
	  { 0 },
	  QUERY,
	  { 0, { 0, 0, 0, 0 } },
	  { 0, { 0, 0, 0, 0 } } },
	{ "1.4/query unaligned, tagged",
	  "WN",
	  { 0 },
	  QUERY | OFFSET | TAGGED,
	  { 0, { 0, 0 } },
	  { 0, { 0, 0 } } },
	{ "1.4/status aliases nodes",
	  "WAW",
	  { 1, 1, 0 },
	  ALIAS,
	  { 0, { 1, -ENOENT, 0 } },
	  { 0, { 1, -ENOENT, 0 } } },
	{ "1.4/flags MOVE_ALL", "WW", { 1, 0 }, ALL, { 0, { 1, 0 } }, { 0, { 1, 0 } } },
	{ "1.4/unaligned", "WW", { 1, 1 }, OFFSET, { 0, { 1, 1 } }, { 0, { 1, 1 } } },
	{ "1.4/tagged", "WW", { 1, 1 }, TAGGED, { 0, { 1, 1 } }, { 0, { 1, 1 } } },
	{ "1.4/PROT_NONE", "N", { 1 }, 0, { 0, { 1 } }, { 0, { 1 } } },
	{ "1.4/read-only", "RW", { 1, 1 }, 0, { 0, { 1, 1 } }, { 0, { 1, 1 } } },
	{ "1.4/duplicates last wins", "W=", { 0, 1 }, 0, { 0, { 1, 1 } }, { 0, { 1, 1 } } },
	{ "1.4/duplicates last stays", "W=", { 1, 0 }, 0, { -ENOENT, { 0, 0 } }, { 0, { 0, 0 } } },
	{ "1.4/duplicates of one that cannot",
	  "S==",
	  { 0, 1, 1 },
	  0,
	  { -ENOENT, { -EACCES, -EACCES, -EACCES } },
	  { 0, { -EACCES, -EACCES, -EACCES } } },
	{ "1.4/duplicates, one offset",
	  "W==",
	  { 1, 0, 1 },
	  OFFSET,
	  { 0, { 1, 1, 1 } },
	  { 0, { 1, 1, 1 } } },
};

static struct ferry_soft_child child;
static struct ferry_soft_ref pins[ENTRIES];

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

static void prepare(const struct row *row)
{
	struct rig_options options = {
		.nodes = NODES,
		.capacity = { 100, 100, SMALL_PAGES, 0, 100, 100 },
		.pages = 64,
	};
	uint32_t count = (uint32_t)strlen(row->pages);

	begin_with(&options);
	rig_map(&rig, 0, 32, 0);
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
		if (told[i] != want->status[i])
			print_error("row %s (%s): status[%u] is %d, not %d\n", row->id,
				    seed ? "seed" : "linux", i, told[i], want->status[i]);
		assert_int_equal(told[i], want->status[i]);
		/* What was said is true. */
		if (told[i] >= 0 && told[i] != KEPT && row->pages[i] != '=')
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
