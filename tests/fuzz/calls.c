/* SPDX-License-Identifier: MIT */
/*
 * What a hostile client can ask an agent for: moves of any ranges and pages to any nodes, over a
 * space of 48 pages, with accesses, discards, unmaps and remaps between. Every status is written
 * and one of those that there are, nothing stored is lost, the books balance.
 */
#include <errno.h>

#include "fuzz.h"
#include "host.h"
#include "rig.h"

enum { PAGES = 48, STEPS = 40, COUNT = 16 };

static struct rig rig;
static uint64_t values[PAGES];
static bool mapped[PAGES];

/* An address: in the space as a rule. */
static uint64_t some_va(struct fuzz *fuzz)
{
	uint8_t kind = fuzz_byte(fuzz);

	if (kind < 224)
		return rig_va(&rig, kind % (PAGES + 2)) + fuzz_byte(fuzz) * 16;
	return fuzz_number(fuzz);
}

static int32_t some_node(struct fuzz *fuzz)
{
	uint8_t kind = fuzz_byte(fuzz);

	return kind < 240 ? (int32_t)(kind % 5) - 1 : (int32_t)fuzz_number(fuzz);
}

static void move_range(struct fuzz *fuzz)
{
	struct ferry_range_result result = { .stopped = false };
	struct ferry_range_call call = {
		.start = some_va(fuzz),
		.end = some_va(fuzz),
		.target = some_node(fuzz),
		.move_all = fuzz_byte(fuzz) % 2 != 0,
		.seed = fuzz_byte(fuzz) % 2 != 0,
		.stall_budget_ns = fuzz_number(fuzz),
	};
	int err;

	fuzz_take(fuzz, &call.from, 8);
	(void)ferry_range_count(&(struct ferry_query){ rig.books, NULL }, &call);
	err = ferry_move_range_in(&rig.space, &call, &result);
	FUZZ_CHECK(err == 0 || err == -EINVAL || err == -ENODEV || err == -EACCES);
}

static void move_pages(struct fuzz *fuzz)
{
	uint64_t pages[COUNT];
	int32_t nodes[COUNT], status[COUNT];
	uint8_t reasons[COUNT];
	struct ferry_move_call call = {
		.count = fuzz_byte(fuzz) % (COUNT + 1),
		.pages = pages,
		.nodes = nodes,
		.status = status,
		.reasons = reasons,
		.move_all = fuzz_byte(fuzz) % 2 != 0,
		.seed = fuzz_byte(fuzz) % 2 != 0,
		.stall_budget_ns = fuzz_number(fuzz),
	};
	int64_t result;

	for (uint32_t i = 0; i < COUNT; i++) {
		pages[i] = some_va(fuzz);
		nodes[i] = some_node(fuzz);
		status[i] = 4711;
	}
	result = ferry_move_pages_in(&rig.space, &call);
	if (result < 0 && result != -ENOENT)
		return;
	for (uint32_t i = 0; i < call.count; i++)
		FUZZ_CHECK(status[i] < (int32_t)rig.options.nodes && status[i] > -134 &&
			   reasons[i] < FERRY_REASON_COUNT);
}

static void touch(struct fuzz *fuzz)
{
	uint32_t page = fuzz_byte(fuzz) % PAGES;
	uint64_t value = 0;
	enum ferry_soft_result result = rig_load(&rig, 0, rig_va(&rig, page), &value);

	FUZZ_CHECK((result == FERRY_SOFT_DONE) == mapped[page]);
	FUZZ_CHECK(!mapped[page] || value == values[page]);
	if (mapped[page] && fuzz_byte(fuzz) % 2 != 0) {
		values[page] = fuzz_byte(fuzz) + 1u;
		FUZZ_CHECK(rig_store(&rig, 0, rig_va(&rig, page), values[page]) ==
			   FERRY_SOFT_DONE);
	}
}

static void shape(struct fuzz *fuzz)
{
	uint32_t first = fuzz_byte(fuzz) % PAGES, end = first + 1 + fuzz_byte(fuzz) % 4;
	bool unmap = fuzz_byte(fuzz) % 2 != 0;

	if (end > PAGES)
		end = PAGES;
	if (unmap)
		rig_unmap(&rig, 0, first, end);
	else
		rig_discard(&rig, 0, first, end, false);
	for (uint32_t i = first; i < end; i++) {
		values[i] = 0;
		mapped[i] = mapped[i] && !unmap;
	}
}

static void begin(void)
{
	struct rig_options options = {
		.nodes = 3,
		.pages = PAGES,
		.slots = FERRY_HUGE_PAGES,
		.memory = 4 * PAGES,
		.capacity = { 40, 0, 20 },
	};

	memset(values, 0, sizeof(values));
	rig_begin(&rig, &options);
	rig_map(&rig, 0, PAGES, 0);
	for (uint32_t i = 0; i < PAGES; i++)
		mapped[i] = true;
	for (uint32_t i = 0; i < PAGES / 2; i++) {
		values[i] = i + 1;
		FUZZ_CHECK(rig_store(&rig, 0, rig_va(&rig, i), values[i]) == FERRY_SOFT_DONE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	struct fuzz fuzz = { data, size };

	if (!ready)
		test_host_init();
	ready = true;
	test_skip_sleeps();
	begin();
	for (int i = 0; i < STEPS && fuzz.size > 0; i++) {
		switch (fuzz_byte(&fuzz) % 4) {
		case 0:
			move_range(&fuzz);
			break;
		case 1:
			move_pages(&fuzz);
			break;
		case 2:
			touch(&fuzz);
			break;
		default:
			shape(&fuzz);
		}
	}
	FUZZ_CHECK(rig.nomem == 0 && rig_check(&rig, true) == 0);
	rig_abandon(&rig);
	return 0;
}
