/* SPDX-License-Identifier: MIT */
/*
 * Several processes and an object that they map, unmap, touch, move and cut, in a random order, and
 * with others of these things between the steps of a move. After each:
 *  - what is leased of each node is what the processes lease and what the labels name;
 *  - every word is the last that was stored, or zero after a cut;
 *  - every process's books are right; and where nothing came between, every status was.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "host.h"
#include "sharing.h"

enum { PAGES = 24, WINDOW = 64, NODES = 3, OPERATIONS = 300, CHECKED = 7 };

struct world {
	struct sharing sharing;
	struct rig rigs[SHARING_RIGS];
	bool alive[SHARING_RIGS];
	uint64_t words[PAGES]; /* what each must be */
	uint64_t random;
	uint32_t depth;   /* of operations between the steps of others */
	uint32_t between; /* so many were done */
	uint64_t moved, refused, full;
};

static uint32_t pick(struct world *w, uint32_t limit)
{
	return test_pick(&w->random, limit);
}

static void start_rig(struct world *w, uint32_t i)
{
	struct rig_options options = {
		.nodes = NODES,
		.capacity = { 64, 6, 9 },
		.pages = WINDOW,
		.slots = FERRY_HUGE_PAGES,
		.memory = 512,
		.lease_step = 2,
	};

	sharing_add(&w->sharing, &w->rigs[i], &options);
	w->alive[i] = true;
	rig_map(&w->rigs[i], 0, 4, 0); /* some memory of its own */
}

static void stop_rig(struct world *w, uint32_t i)
{
	w->alive[i] = false;
	sharing_remove(&w->sharing, &w->rigs[i]);
}

/* => the object's page at a page of the window, or PAGES. */
static uint32_t object_page(const struct rig *rig, uint32_t page)
{
	const struct ferry_soft_page *p = &rig->soft.pages[page];

	return p->mapped && p->object != NULL ? p->object_page : PAGES;
}

static bool is_there(const struct rig *rig, uint32_t page)
{
	return rig->soft.pages[page].there;
}

/* --- operations ----------------------------------------------------------------------------- */

static void map_part(struct world *w, struct rig *rig)
{
	uint32_t first = pick(w, PAGES), pages = 1 + pick(w, PAGES - first);
	uint32_t at = 4 + pick(w, WINDOW - 4 - pages);

	for (uint32_t i = at; i < at + pages; i++) {
		if (rig->soft.pages[i].mapped)
			return;
	}
	sharing_map(&w->sharing, rig, at, at + pages, first, false);
}

static void unmap_part(struct world *w, struct rig *rig)
{
	uint32_t at = 4 + pick(w, WINDOW - 4), end = at + 1 + pick(w, WINDOW - at);

	rig_unmap(rig, 0, at, end < WINDOW ? end : WINDOW);
}

static void remap_part(struct world *w, struct rig *rig)
{
	uint32_t from = 4 + pick(w, WINDOW - 4), pages = 1 + pick(w, 8);
	uint32_t to = 4 + pick(w, WINDOW - 4);

	if (from + pages > WINDOW || to + pages > WINDOW)
		return;
	for (uint32_t i = from; i < from + pages; i++) {
		if (object_page(rig, i) == PAGES)
			return;
	}
	(void)rig_remap(rig, 0, from, to, pages);
}

static void touch_page(struct world *w, struct rig *rig, uint32_t page)
{
	uint32_t of = object_page(rig, page);
	uint64_t value = 0;

	if (of == PAGES)
		return;
	if (pick(w, 2) == 0) {
		w->words[of] = test_random(&w->random);
		assert_int_equal(rig_store(rig, 0, rig_va(rig, page), w->words[of]),
				 FERRY_SOFT_DONE);
		return;
	}
	assert_int_equal(rig_load(rig, 0, rig_va(rig, page), &value), FERRY_SOFT_DONE);
	assert_int_equal(value, w->words[of]);
}

static void touch(struct world *w, struct rig *rig)
{
	uint32_t page = 4 + pick(w, WINDOW - 4);

	for (uint32_t n = pick(w, 8); n > 0 && page < WINDOW; n--)
		touch_page(w, rig, page++);
}

/* What a page must answer if nothing comes between. => false: more than one answer is right. */
static bool expected(const struct world *w, const struct rig *rig, uint32_t page, int32_t node,
		     bool all, int32_t *status)
{
	uint32_t of = object_page(rig, page);

	if (of == PAGES)
		return false;
	*status = node;
	if (!is_there(rig, page))
		*status = -ENOENT;
	else if (sharing_node(&w->sharing, of) != node && !all &&
		 sharing_mappers(&w->sharing, of) > 1)
		*status = -EACCES;
	return true;
}

static void move_list(struct world *w, struct rig *rig)
{
	uint32_t first = 4 + pick(w, WINDOW - 4), count = 1 + pick(w, WINDOW - first);
	int32_t want[WINDOW], status[WINDOW], node = (int32_t)pick(w, NODES);
	bool known[WINDOW], all = pick(w, 2) == 0;
	uint32_t between = w->between;
	uint64_t pages[WINDOW];
	int32_t nodes[WINDOW];
	uint8_t reasons[WINDOW];
	struct ferry_move_call call = {
		.count = count,
		.pages = pages,
		.nodes = nodes,
		.status = status,
		.reasons = reasons,
		.move_all = all,
	};

	for (uint32_t i = 0; i < count; i++) {
		known[i] = expected(w, rig, first + i, node, all, &want[i]);
		pages[i] = rig_va(rig, first + i);
		nodes[i] = node;
		status[i] = 12345;
	}
	assert_true(ferry_move_pages_in(&rig->space, &call) >= -ENOMEM);
	for (uint32_t i = 0; i < count; i++) {
		assert_int_not_equal(status[i], 12345);
		w->moved += reasons[i] == FERRY_REASON_MOVED;
		w->refused += status[i] == -EACCES;
		w->full += status[i] == -ENOMEM;
		if (!known[i] || w->between != between || w->sharing.refuse)
			continue;
		if (status[i] != -ENOMEM)
			assert_int_equal(status[i], want[i]);
		if (status[i] >= 0)
			assert_int_equal(sharing_node(&w->sharing, object_page(rig, first + i)),
					 status[i]);
	}
}

static void move_range(struct world *w, struct rig *rig)
{
	struct ferry_range_call call = {
		.start = rig_va(rig, pick(w, WINDOW)),
		.target = (int32_t)pick(w, NODES),
		.move_all = pick(w, 2) == 0,
	};
	struct ferry_range_result result;

	call.end = call.start + (ferry_va)(1 + pick(w, WINDOW)) * FERRY_PAGE_SIZE;
	ferry_nodeset_fill(&call.from, NODES);
	assert_int_equal(ferry_move_range_in(&rig->space, &call, &result), 0);
}

static void cut(struct world *w)
{
	uint32_t first = pick(w, PAGES), end = first + 1 + pick(w, PAGES - first);

	sharing_cut(&w->sharing, first, end);
	memset(&w->words[first], 0, (end - first) * sizeof(w->words[0]));
}

/* A child has what its parent maps; it is a process like any other then. */
static void fork_rig(struct world *w, struct rig *parent)
{
	for (uint32_t i = 0; i < SHARING_RIGS; i++) {
		struct rig *child = &w->rigs[i];

		if (w->alive[i])
			continue;
		start_rig(w, i);
		for (uint32_t page = 4; page < WINDOW; page++) {
			uint32_t of = object_page(parent, page);

			if (of != PAGES)
				sharing_map(&w->sharing, child, page, page + 1, of, true);
		}
		ferry_lock_acquire(&child->space.lock);
		assert_int_equal(ferry_space_inherit(&child->space, parent->books), 0);
		for (uint32_t r = 0; r < child->books->region_count; r++) {
			const struct ferry_region *region = &ferry_books_regions(child->books)[r];

			if ((region->flags & FERRY_REGION_SHARED) != 0)
				assert_int_equal(child->space.mmu->ops->arm_shared(
							 child->space.mmu, region->start,
							 region->end - region->start), 0);
		}
		ferry_lock_release(&child->space.lock);
		return;
	}
}

static void operate(struct world *w, uint32_t i)
{
	struct rig *rig = &w->rigs[i];

	switch (pick(w, 20)) {
	case 0:
	case 1:
	case 2:
		map_part(w, rig);
		break;
	case 3:
		unmap_part(w, rig);
		break;
	case 4:
		remap_part(w, rig);
		break;
	case 5:
	case 6:
	case 7:
	case 8:
	case 9:
	case 10:
	case 11:
		touch(w, rig);
		break;
	case 12:
	case 13:
	case 14:
		move_list(w, rig);
		break;
	case 15:
		move_range(w, rig);
		break;
	case 16:
		cut(w);
		break;
	case 17:
		/* The keeper is gone for a while. */
		w->sharing.refuse = !w->sharing.refuse && pick(w, 4) == 0;
		(void)!ferry_shared_label(&rig->space, rig_va(rig, 0), rig_va(rig, WINDOW));
		break;
	case 18:
		fork_rig(w, rig);
		break;
	default:
		/* A mapper dies; not in the middle of a call of its own. */
		if (w->depth == 0)
			stop_rig(w, i);
		break;
	}
}

/* Others go on while a move is between two of its steps; one that is in a call itself does not. */
static void go_on(void *context)
{
	struct world *w = context;

	if (w->depth > 0)
		return;
	w->depth++;
	for (uint32_t n = pick(w, 3); n > 0; n--) {
		uint32_t i = pick(w, SHARING_RIGS);

		if (w->alive[i]) {
			w->between++;
			operate(w, i);
		}
	}
	w->depth--;
}

static void run(uint64_t seed, uint64_t totals[3])
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->random = seed;
	sharing_begin(&w->sharing, PAGES, NODES);
	w->sharing.between = go_on;
	w->sharing.context = w;
	start_rig(w, 0);
	for (uint32_t n = 0; n < OPERATIONS; n++) {
		uint32_t i = pick(w, SHARING_RIGS);

		if (w->alive[i])
			operate(w, i);
		else if (pick(w, 4) == 0 || w->sharing.machine == NULL)
			start_rig(w, i);
		if (w->sharing.machine == NULL) {
			memset(w->words, 0, sizeof(w->words));
			continue;
		}
		assert_int_equal(sharing_check(&w->sharing), 0);
		for (i = 0; i < SHARING_RIGS && n % CHECKED == 0; i++) {
			if (w->alive[i])
				assert_int_equal(rig_check(&w->rigs[i], true), 0);
		}
	}
	for (uint32_t i = 0; i < SHARING_RIGS; i++) {
		if (w->alive[i])
			stop_rig(w, i);
	}
	totals[0] += w->moved;
	totals[1] += w->refused;
	totals[2] += w->full;
	sharing_end(&w->sharing);
	free(w);
}

static void in_any_order(void **state)
{
	uint64_t seed = test_seed("shared"), totals[3] = { 0, 0, 0 };

	(void)state;
	for (uint64_t i = test_amount(300, 20000); i > 0; i--)
		run(test_random(&seed), totals);
	print_message("moved %llu, refused %llu, full %llu\n", (unsigned long long)totals[0],
		      (unsigned long long)totals[1], (unsigned long long)totals[2]);
	/* Each answer was given. */
	assert_true(totals[0] > 0 && totals[1] > 0 && totals[2] > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(in_any_order) };

	test_host_init();
	test_skip_sleeps();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
