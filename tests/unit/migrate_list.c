/* SPDX-License-Identifier: MIT */
/* ferry_migrate_list() with callbacks of a caller: what they are asked, and what becomes of it. */
#include <errno.h>
#include <string.h>

#include "map/entry.h"
#include "map/ptable.h"
#include "migrating.h"

enum { PAGES = 16, UNWRITTEN = 4711 };

static struct ferry_page pages[PAGES];
static int results[PAGES];

/* A caller that has a place for the result of its own, and chooses the node. */
struct caller {
	uint32_t node;
	uint32_t asked[PAGES], asked_in_all, put;
	uint32_t firsts;  /* batches */
	uint32_t refuses; /* page that gets no frame; PAGES: none */
	uint32_t again;   /* times to say that there are frames now */
	uint32_t fails;   /* the call that answers none, from 1 on; 0: no call does */
	struct ferry_frame frame;
};

static struct caller caller;

static uint32_t index_of(const struct ferry_page *page)
{
	return (uint32_t)(page - pages);
}

static struct ferry_frame *get(struct ferry_page *page, void *private, int **result)
{
	struct caller *c = private;
	struct ferry_run run;

	assert_ptr_equal(c, &caller);
	ferry_lock_assert_held(&rig.space.lock);
	assert_ptr_equal(result, &page->result);
	*result = &results[index_of(page)];
	c->asked[index_of(page)]++;
	c->asked_in_all++;
	c->firsts += page->wanted > 0;
	if (page->wanted > 0 && c->again > 0) {
		c->again--;
		ferry_lock_release(&rig.space.lock);
		ferry_lock_acquire(&rig.space.lock);
		return &ferry_frame_again;
	}
	if (index_of(page) == c->refuses || c->asked_in_all == c->fails)
		return NULL;
	if (page->huge)
		assert_int_equal(ferry_pool_take_huge(&rig.space.pools[c->node], rig.space.mmu,
						      FERRY_FILL_ANY, &run),
				 0);
	else
		assert_true(ferry_pool_take(&rig.space.pools[c->node], rig.space.mmu, 1,
					    FERRY_FILL_ANY, &run) >= 0);
	ferry_entry_publish(&rig.space, c->node);
	c->frame = run.first;
	return &c->frame;
}

static void put(struct ferry_frame *frame, void *private)
{
	struct caller *c = private;
	struct ferry_run run = { .first = *frame, .pages = frame->huge ? FERRY_HUGE_PAGES : 1 };

	ferry_lock_assert_held(&rig.space.lock);
	assert_int_equal(frame->node, c->node);
	c->put++;
	ferry_frames_put(&rig.space, run, FERRY_CONTENT_DIRTY, true);
}

static void set_out(uint32_t node, int32_t target)
{
	memset(&caller, 0, sizeof(caller));
	caller.node = node;
	caller.refuses = PAGES;
	for (uint32_t i = 0; i < PAGES; i++) {
		pages[i] = (struct ferry_page){ .va = rig_va(&rig, i), .target = target };
		results[i] = UNWRITTEN;
		store(i, i + 1);
	}
	/* The callbacks here ask no machine for more. */
	assert_true(ferry_space_refill(&rig.space, node, 2 * PAGES));
}

static int64_t go(const struct ferry_page_list *options)
{
	struct ferry_page_list list = *options;

	list.space = &rig.space;
	list.pages = pages;
	list.count = PAGES;
	return ferry_migrate_list(&list, get, put, &caller);
}

static void finish(void)
{
	for (uint32_t i = 0; i < PAGES; i++)
		assert_int_equal(load(i), i + 1);
	assert_int_equal(rig_check(&rig, true), 0);
	end();
}

/* Every page leaves its frame, also one that is on the node already. */
static void any_node_will_do(void **state)
{
	(void)state;
	begin();
	set_out(0, FERRY_ANY_NODE);
	assert_int_equal(go(&plain), 0);
	for (uint32_t i = 0; i < PAGES; i++) {
		assert_int_equal(results[i], 0);
		assert_int_equal(pages[i].status, 0);
		assert_int_equal(pages[i].reason, FERRY_REASON_MOVED);
		assert_int_equal(caller.asked[i], 1);
	}
	assert_int_equal(caller.put, 0);
	assert_int_equal(rig.books->counters.moved_pages, PAGES);
	finish();
}

/* Pages that need no frame are not asked for, and answered all the same. */
static void asked_for_no_page_in_vain(void **state)
{
	int there = UNWRITTEN, absent = UNWRITTEN;

	(void)state;
	begin();
	set_out(1, 0);
	rig_discard(&rig, THREAD, 3, 4, false);
	while (rig_serve(&rig, FERRY_SOFT_EVENT))
		;
	for (uint32_t i = 0; i < PAGES; i++)
		pages[i].target = i < 3 ? 0 : 1;
	pages[2].result = &there;
	pages[3].result = &absent;
	assert_int_equal(go(&plain), 0);
	for (uint32_t i = 0; i < PAGES; i++) {
		assert_int_equal(caller.asked[i], i > 3);
		assert_int_equal(results[i], i > 3 ? 1 : UNWRITTEN);
	}
	assert_int_equal(there, 0);
	assert_int_equal(absent, -ENOENT);
	store(3, 4);
	finish();
}

static void none_is_enomem(void **state)
{
	(void)state;
	begin();
	set_out(2, FERRY_ANY_NODE);
	caller.refuses = 5;
	assert_int_equal(go(&plain), 1);
	for (uint32_t i = 0; i < PAGES; i++)
		assert_int_equal(results[i], i == 5 ? -ENOMEM : 2);
	assert_int_equal(pages[5].reason, FERRY_REASON_FULL);
	assert_int_equal(rig_node(&rig, 5), 0);
	/* It was asked for again as long as other pages moved. */
	assert_in_range(caller.asked[5], 2, 4);
	finish();
}

/* With a target the refusal counts for the node: the others are not asked for in that pass. */
static void none_for_a_node(void **state)
{
	(void)state;
	begin();
	set_out(2, 2);
	caller.refuses = 0;
	assert_int_equal(go(&plain), PAGES);
	assert_int_equal(caller.asked_in_all, 1);
	for (uint32_t i = 0; i < PAGES; i++) {
		assert_int_equal(pages[i].status, -ENOMEM);
		assert_int_equal(rig_node(&rig, i), 0);
	}
	finish();
}

/* The k-th call answers none, for each k: the page is asked for again, and nothing is lost. */
static void each_call_fails_once(void **state)
{
	(void)state;
	for (uint32_t k = 1; k <= PAGES; k++) {
		begin();
		set_out(1, k % 2 != 0 ? 1 : FERRY_ANY_NODE);
		caller.fails = k;
		/* Where none has moved there is no reason to ask again. */
		(void)go(&plain);
		for (uint32_t i = 0; i < PAGES; i++) {
			assert_int_equal(pages[i].status, rig_node(&rig, i) == 1 ? 1 : -ENOMEM);
			assert_true(pages[i].status == 1 || k == 1);
			if (caller.asked[i] > 0)
				assert_int_equal(results[i], pages[i].status);
		}
		assert_int_equal(caller.put, 0);
		finish();
	}
}

static void asked_again_after_letting_the_lock_go(void **state)
{
	(void)state;
	begin();
	set_out(1, 1);
	caller.again = 3;
	assert_int_equal(go(&plain), 0);
	assert_int_equal(caller.asked[0], 4);
	assert_int_equal(caller.asked_in_all, PAGES + 3);
	assert_int_equal(caller.put, 0);
	finish();
}

/* A pinned page gives its frame back each time that it is tried. */
static void unused_frames_come_back(void **state)
{
	struct ferry_soft_ref pin;
	uint64_t charged;

	(void)state;
	begin();
	set_out(1, 1);
	charged = rig.space.pools[1].charged_pages;
	assert_int_equal(rig_pin(&rig, THREAD, rig_va(&rig, 7), &pin), FERRY_SOFT_DONE);
	assert_int_equal(go(&plain), 1);
	ferry_soft_unpin(&rig.soft, pin);
	for (uint32_t i = 0; i < PAGES; i++)
		assert_int_equal(results[i], i == 7 ? -EBUSY : 1);
	assert_int_equal(pages[7].passes, 10);
	assert_int_equal(caller.asked[7], 10);
	assert_int_equal(caller.put, 10);
	assert_int_equal(rig.space.pools[1].charged_pages, charged + PAGES - 1);
	finish();
}

static void discard_two(void)
{
	rig_discard(&rig, OTHER, 4, 6, false);
}

/* A page that is discarded while it is away leaves a frame that nobody wants. */
static void vanished_pages_give_frames_back(void **state)
{
	(void)state;
	begin();
	set_out(1, 1);
	meanwhile = discard_two;
	assert_int_equal(go(&plain), 0);
	for (uint32_t i = 0; i < PAGES; i++)
		assert_int_equal(results[i], i == 4 || i == 5 ? -ENOENT : 1);
	assert_int_equal(caller.put, 2);
	for (uint32_t i = 4; i < 6; i++)
		store(i, i + 1);
	finish();
}

/* What a batch says of itself: its first page, and who comes next. */
static struct ferry_frame *count_neighbours(struct ferry_page *page, void *private, int **result)
{
	static uint32_t left;

	assert_int_equal(page->wanted, index_of(page) == 0 ? PAGES - 2 : 0);
	if (left == 0)
		left = page->run;
	assert_int_equal(page->run, left--);
	return get(page, private, result);
}

static void neighbours_are_told(void **state)
{
	struct ferry_page_list list = { .space = &rig.space, .pages = pages, .count = PAGES };

	(void)state;
	begin();
	set_out(1, 1);
	assert_true(ferry_space_refill(&rig.space, 2, PAGES));
	pages[6].target = pages[7].target = 2;
	assert_int_equal(ferry_migrate_list(&list, count_neighbours, NULL, &caller), 0);
	assert_int_equal(caller.firsts, 1);
	/* Where a page lands is up to the callback alone. */
	for (uint32_t i = 0; i < PAGES; i++)
		assert_int_equal(results[i], 1);
	finish();
}

/* One frame for a whole huge page, whatever the entries in it; and it comes back whole. */
static void huge_pages(void **state)
{
	struct ferry_soft_ref pin;

	(void)state;
	begin_huge();
	set_out(1, 1);
	assert_true(ferry_space_refill(&rig.space, 1, 4 * FERRY_HUGE_PAGES));
	assert_int_equal(rig_pin(&rig, THREAD, rig_va(&rig, 7), &pin), FERRY_SOFT_DONE);
	assert_int_equal(go(&plain), PAGES);
	ferry_soft_unpin(&rig.soft, pin);
	assert_int_equal(caller.put, caller.asked_in_all);
	assert_int_equal(rig.space.pools[1].charged_pages, 0);
	memset(&caller, 0, sizeof(caller));
	caller.node = 1;
	caller.refuses = PAGES;
	assert_int_equal(go(&plain), 0);
	assert_int_equal(caller.asked_in_all, 1);
	/* Entries that were not asked for have no place for a result. */
	assert_int_equal(results[0], 1);
	for (uint32_t i = 0; i < PAGES; i++)
		assert_int_equal(pages[i].status, 1);
	finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_node_will_do),
		cmocka_unit_test(asked_for_no_page_in_vain),
		cmocka_unit_test(none_is_enomem),
		cmocka_unit_test(none_for_a_node),
		cmocka_unit_test(each_call_fails_once),
		cmocka_unit_test(asked_again_after_letting_the_lock_go),
		cmocka_unit_test(unused_frames_come_back),
		cmocka_unit_test(vanished_pages_give_frames_back),
		cmocka_unit_test(neighbours_are_told),
		cmocka_unit_test(huge_pages),
	};

	test_host_init();
	test_skip_sleeps();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
