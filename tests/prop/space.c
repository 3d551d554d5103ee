/* SPDX-License-Identifier: MIT */
/*
 * Random operations of a program and of movers on one space, against a model that is an array of
 * pages: mapped or not, what its word holds, whether it is pinned, shared or protected. After each
 * operation every invariant is checked, every page is read back, and every status must be the one
 * that the model allows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cases.h"
#include "host.h"
#include "rig.h"

enum { PAGES_MAX = 4 * FERRY_HUGE_PAGES, PINS = 4, THREAD = 0 };

struct page {
	bool mapped;
	bool unsure; /* lazily discarded: may read as zero or as before */
	bool shared; /* since a fork, and not written since */
	bool locked;
	uint32_t prot;
	uint64_t value;
};

struct pin {
	bool used;
	uint32_t page; /* where it is mapped, PAGES_MAX: nowhere any more */
	struct ferry_soft_ref ref;
};

static struct world {
	struct rig rig;
	struct page pages[PAGES_MAX];
	struct pin pins[PINS];
	uint32_t count;
	uint32_t most; /* pages in one operation */
	uint64_t seed;
	uint64_t next_value;
	uint64_t reasons[FERRY_REASON_COUNT];
	bool changes_nodes;
} w;

static uint32_t pick(uint32_t limit)
{
	return test_pick(&w.seed, limit);
}

static void pick_range(uint32_t *first, uint32_t *end)
{
	*first = pick(w.count);
	*end = *first + 1 + pick(w.count - *first < w.most ? w.count - *first : w.most);
	if (*end > w.count)
		*end = w.count;
	/* Often whole huge pages, where there are any. */
	if (w.count >= FERRY_HUGE_PAGES && pick(3) == 0) {
		*first -= *first % FERRY_HUGE_PAGES;
		*end = *first + FERRY_HUGE_PAGES * (1 + pick(2));
		if (*end > w.count)
			*end = w.count;
	}
}

static ferry_va word_of(uint32_t page)
{
	return rig_va(&w.rig, page) + page % 500 * 8;
}

static bool is_pinned(uint32_t page)
{
	for (uint32_t i = 0; i < PINS; i++) {
		if (w.pins[i].used && w.pins[i].page == page)
			return true;
	}
	return false;
}

/* A page that was nowhere and has a node now: one that may be used. */
static void check_placed(uint32_t page, int32_t before)
{
	int32_t now = rig_node(&w.rig, page);

	if (before == -ENOENT && now >= 0)
		assert_true(ferry_space_allows(&w.rig.space, (uint32_t)now));
}

/* --- operations --------------------------------------------------------------------------- */

static void store(void)
{
	uint32_t page = pick(w.count);
	uint64_t value = ++w.next_value;
	int32_t before = rig_node(&w.rig, page);
	enum ferry_soft_result expected =
		w.pages[page].mapped && w.pages[page].prot & 2 ? FERRY_SOFT_DONE : FERRY_SOFT_SEGV;

	assert_int_equal(rig_store(&w.rig, THREAD, word_of(page), value), expected);
	if (expected != FERRY_SOFT_DONE)
		return;
	check_placed(page, before);
	w.pages[page].value = value;
	w.pages[page].shared = false;
	w.pages[page].unsure = false;
}

static void check_value(uint32_t page)
{
	struct page *model = &w.pages[page];
	uint64_t value;

	if (!model->mapped || (model->prot & FERRY_SOFT_READ) == 0) {
		assert_int_equal(rig_load(&w.rig, THREAD, word_of(page), &value), FERRY_SOFT_SEGV);
		return;
	}
	assert_int_equal(rig_load(&w.rig, THREAD, word_of(page), &value), FERRY_SOFT_DONE);
	if (model->unsure && value == 0)
		model->value = 0;
	assert_int_equal(value, model->value);
}

static void store_to(uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++) {
		int32_t before;

		if (!w.pages[i].mapped || (w.pages[i].prot & 2) == 0)
			continue;
		before = rig_node(&w.rig, i);
		w.pages[i].value = ++w.next_value;
		w.pages[i].shared = w.pages[i].unsure = false;
		assert_int_equal(rig_store(&w.rig, THREAD, word_of(i), w.pages[i].value),
				 FERRY_SOFT_DONE);
		check_placed(i, before);
	}
}

static void store_ascending(void)
{
	uint32_t first, end;

	pick_range(&first, &end);
	store_to(first, end);
}

static void store_everywhere(void)
{
	store_to(0, w.count);
}

static void map(void)
{
	uint32_t first, end;

	pick_range(&first, &end);
	while (first < w.count && w.pages[first].mapped)
		first++;
	for (end = first; end < w.count && !w.pages[end].mapped && pick(500) != 0;)
		end++;
	if (end <= first)
		return;
	if (pick(4) == 0)
		rig_map_unseen(&w.rig, first, end);
	else
		rig_map(&w.rig, first, end, pick(2) ? FERRY_REGION_HUGE : 0);
	for (uint32_t i = first; i < end; i++) {
		memset(&w.pages[i], 0, sizeof(w.pages[i]));
		w.pages[i].mapped = true;
		w.pages[i].prot = FERRY_SOFT_RW;
	}
}

static void forget_pins(uint32_t page)
{
	for (uint32_t i = 0; i < PINS; i++) {
		if (w.pins[i].page == page)
			w.pins[i].page = PAGES_MAX;
	}
}

static void unmap(void)
{
	uint32_t first, end;

	pick_range(&first, &end);
	rig_unmap(&w.rig, THREAD, first, end);
	for (uint32_t i = first; i < end; i++) {
		forget_pins(i);
		memset(&w.pages[i], 0, sizeof(w.pages[i]));
	}
}

static void reconcile(void)
{
	ferry_va cursor = 0;
	int more = 1;

	ferry_lock_acquire(&w.rig.space.lock);
	while (more == 1)
		more = ferry_space_reconcile_slice(&w.rig.space, &cursor, -1);
	ferry_lock_release(&w.rig.space.lock);
	assert_int_equal(more, 0);
}

static void discard(void)
{
	uint32_t first, end;
	bool lazily = pick(3) == 0;

	pick_range(&first, &end);
	rig_discard(&w.rig, THREAD, first, end, lazily);
	for (uint32_t i = first; i < end; i++) {
		if (lazily) {
			w.pages[i].unsure = true;
			continue;
		}
		forget_pins(i);
		w.pages[i].value = 0;
		w.pages[i].unsure = w.pages[i].shared = false;
	}
	if (lazily && pick(2) == 0)
		ferry_soft_take_lazy(&w.rig.soft, rig_va(&w.rig, first), rig_va(&w.rig, end));
	if (lazily)
		reconcile(); /* what could not be taken out stays, unknown until then */
}

static void remap(void)
{
	uint32_t first, end, to = pick(w.count), pages;
	int err;

	pick_range(&first, &end);
	if (w.count >= FERRY_HUGE_PAGES && pick(2))
		to -= to % FERRY_HUGE_PAGES;
	pages = end - first;
	err = rig_remap(&w.rig, THREAD, first, to, pages);
	if (err != 0)
		return;
	for (uint32_t i = 0; i < pages; i++) {
		forget_pins(to + i); /* what was mapped there is gone */
		w.pages[to + i] = w.pages[first + i];
		memset(&w.pages[first + i], 0, sizeof(w.pages[0]));
		for (uint32_t k = 0; k < PINS; k++) {
			if (w.pins[k].page == first + i)
				w.pins[k].page = to + i;
		}
	}
	/* Words lie at other offsets now: write them anew. */
	for (uint32_t i = to; i < to + pages; i++) {
		ferry_va old = rig_va(&w.rig, i) + (i - to + first) % 500 * 8;
		uint64_t value;

		if ((w.pages[i].prot & FERRY_SOFT_RW) != FERRY_SOFT_RW)
			ferry_soft_protect(&w.rig.soft, rig_va(&w.rig, i), rig_va(&w.rig, i + 1),
					   w.pages[i].prot = FERRY_SOFT_RW);
		assert_int_equal(rig_load(&w.rig, THREAD, old, &value), FERRY_SOFT_DONE);
		assert_true(value == w.pages[i].value || (w.pages[i].unsure && value == 0));
		if (value == 0 && pick(4))
			w.pages[i].value = 0; /* stays untouched, if it is */
		else
			assert_int_equal(rig_store(&w.rig, THREAD, word_of(i), w.pages[i].value),
					 FERRY_SOFT_DONE);
		w.pages[i].shared = w.pages[i].shared && value == 0 && w.pages[i].value == 0;
	}
}

static void protect(void)
{
	static const uint32_t prots[] = { 0, 1, 3, 3, 3, 5, 7 };
	uint32_t first, end, prot = prots[pick(7)];
	bool lock = pick(4) == 0;

	pick_range(&first, &end);
	if (pick(2) == 0)
		ferry_soft_mlock(&w.rig.soft, rig_va(&w.rig, first), rig_va(&w.rig, end), lock);
	else
		ferry_soft_protect(&w.rig.soft, rig_va(&w.rig, first), rig_va(&w.rig, end), prot);
	for (uint32_t i = first; i < end; i++) {
		struct ferry_soft_page *page =
			&w.rig.soft.pages[(rig_va(&w.rig, i) - w.rig.base) >> FERRY_PAGE_SHIFT];

		w.pages[i].prot = page->prot;
		w.pages[i].locked = page->locked;
	}
}

static void pin(void)
{
	struct pin *pin = &w.pins[pick(PINS)];
	uint32_t page = pick(w.count);

	if (pin->used) {
		ferry_soft_unpin(&w.rig.soft, pin->ref);
		pin->used = false;
		return;
	}
	if (rig_pin(&w.rig, THREAD, word_of(page), &pin->ref) != FERRY_SOFT_DONE)
		return;
	check_value(page); /* settles what a lazy discard left unsure */
	w.pages[page].shared = w.pages[page].unsure = false;
	pin->used = true;
	pin->page = page;
}

static void device_store(void)
{
	struct pin *pin = &w.pins[pick(PINS)];

	if (!pin->used)
		return;
	if (pin->page == PAGES_MAX) {
		ferry_soft_pin_store(&w.rig.soft, pin->ref, 0, 99);
		return;
	}
	w.pages[pin->page].value = ++w.next_value;
	w.pages[pin->page].unsure = false;
	ferry_soft_pin_store(&w.rig.soft, pin->ref, pin->page % 500 * 8, w.next_value);
}

static void fork(void)
{
	struct ferry_soft_child child;

	rig_fork(&w.rig, THREAD, &child);
	for (uint32_t i = 0; i < w.count; i++) {
		uint64_t value;

		assert_int_equal(ferry_soft_child_peek(&child, word_of(i), &value),
				 w.pages[i].mapped);
		if (!w.pages[i].mapped)
			continue;
		assert_true(value == w.pages[i].value || (w.pages[i].unsure && value == 0));
		w.pages[i].shared = w.pages[i].shared || !is_pinned(i);
	}
	ferry_soft_child_destroy(&child);
}

/* --- moves -------------------------------------------------------------------------------- */

/* Whether the model allows what a page of a move was told. */
static void check_status(uint32_t i, int32_t target, int32_t status, uint8_t reason)
{
	const struct page *page = &w.pages[i];
	int32_t now = rig_node(&w.rig, i);

	assert_true(reason < FERRY_REASON_COUNT);
	w.reasons[reason]++;
	switch (status) {
	case -ENOENT: /* nobody else runs: absent it was and is */
		assert_true(page->mapped && (page->value == 0 || page->unsure));
		assert_int_equal(now, -ENOENT);
		break;
	case -EFAULT:
		assert_true(!page->mapped || (page->value == 0 && now == -EFAULT) ||
			    ferry_region_find(w.rig.books, rig_va(&w.rig, i)) == NULL);
		break;
	case -EBUSY:
		/* A huge frame shares the fate of its worst page: they are all asked below. What a
		 * fork shared stays so while it cannot be written to. */
		assert_true(is_pinned(i) || page->locked ||
			    (page->shared && (page->prot & FERRY_SOFT_WRITE) == 0) ||
			    w.count >= FERRY_HUGE_PAGES ||
			    ferry_region_find(w.rig.books, rig_va(&w.rig, i)) == NULL);
		assert_true(now >= 0 || now == -EFAULT);
		break;
	case -EACCES:
		assert_true(page->shared || w.count >= FERRY_HUGE_PAGES);
		break;
	case -ENOMEM:
		assert_true(now >= 0 && now != target);
		break;
	default:
		assert_int_equal(status, target);
		assert_int_equal(now, target);
	}
}

static void move(void)
{
	static int32_t statuses[PAGES_MAX];
	static uint8_t reasons[PAGES_MAX];
	uint32_t first, end;
	int32_t target = (int32_t)pick(w.rig.options.nodes);
	int64_t result;

	pick_range(&first, &end);
	for (uint32_t i = 0; i < end - first; i++)
		statuses[i] = 4711;
	result = rig_move(&w.rig, first, end - first, target, statuses, reasons);
	if (statuses[0] == 4711) {
		assert_int_equal(result, ferry_space_check_target(&w.rig.space, target));
		assert_int_not_equal(result, 0);
		return;
	}
	for (uint32_t i = first; i < end; i++)
		check_status(i, target, statuses[i - first], reasons[i - first]);
}

/* --- housekeeping ------------------------------------------------------------------------- */

/* Mappings that the space has not heard of yet. */
static void adopt_unseen(void)
{
	struct ferry_space *space = &w.rig.space;

	ferry_lock_acquire(&space->lock);
	for (uint32_t i = 0; i < w.count; i++) {
		if (w.pages[i].mapped && ferry_region_find(w.rig.books, rig_va(&w.rig, i)) == NULL)
			assert_int_equal(ferry_space_adopt(space, rig_va(&w.rig, i),
							   rig_va(&w.rig, i + 1),
							   FERRY_REGION_ADOPTED, -1),
					 0);
	}
	ferry_lock_release(&space->lock);
}

/* The program manages a part of its memory itself from now on; adopt_unseen() takes it back. */
static void release(void)
{
	struct ferry_space *space = &w.rig.space;
	uint32_t first, end;

	pick_range(&first, &end);
	assert_int_equal(ferry_space_close_gate(space), 0);
	ferry_lock_acquire(&space->lock);
	assert_int_equal(ferry_space_release(space, rig_va(&w.rig, first), rig_va(&w.rig, end)), 0);
	for (uint32_t i = first; i < end; i++)
		assert_null(ferry_region_find(w.rig.books, rig_va(&w.rig, i)));
	ferry_lock_release(&space->lock);
	ferry_space_open_gate(space);
}

static void housekeeping(void)
{
	struct ferry_space *space = &w.rig.space;

	switch (pick(5)) {
	case 0:
		ferry_space_settle_leases(space);
		break;
	case 4:
		adopt_unseen();
		break;
	case 1:
		assert_int_equal(ferry_space_close_gate(space), 0);
		assert_int_equal(space->flight_count, 0);
		ferry_space_open_gate(space);
		break;
	case 2:
		ferry_lock_acquire(&space->lock);
		(void)!ferry_space_reclaim_ahead(space, pick(100));
		ferry_lock_release(&space->lock);
		break;
	default:
		reconcile();
	}
}

/* Other nodes may be used, some go offline: at least one stays. */
static void change_nodes(void)
{
	uint32_t nodes = w.rig.options.nodes, kept = pick(nodes);

	if (!w.changes_nodes)
		return;
	for (uint32_t node = 0; node < nodes; node++) {
		uint64_t bit = UINT64_C(1) << node;

		w.rig.allowed.word[0] |= bit;
		w.rig.machine->unusable.word[0] &= ~bit;
		if (node != kept && pick(3) == 0)
			w.rig.allowed.word[0] &= ~bit;
		if (node != kept && pick(4) == 0)
			w.rig.machine->unusable.word[0] |= bit;
	}
	if (pick(2) == 0)
		w.rig.machine->policy.mode = pick(3);
	w.rig.machine->policy.nodes.word[0] = 1 + pick(7);
}

static void (*const operations[])(void) = {
	store,
	store_ascending,
	store_ascending,
	store_everywhere,
	map,
	map,
	map,
	map,
	unmap,
	discard,
	remap,
	protect,
	pin,
	pin,
	device_store,
	fork,
	move,
	move,
	move,
	move,
	move,
	move,
	release,
	housekeeping,
	change_nodes,
};

static void begin(uint64_t seed, uint32_t round)
{
	struct rig_options options = {
		.nodes = 3,
		.capacity = { 120, 120, 200 },
		.pages = 96,
		.lease_step = 8,
		.copy_path = round % 8 == 5,
		.no_zero_page = round % 8 == 6,
	};

	memset(&w, 0, sizeof(w));
	w.seed = seed + round;
	w.most = 12;
	if (round % 4 == 1) {
		options.pages = PAGES_MAX;
		options.huge = true;
		options.capacity[0] = options.capacity[1] = options.capacity[2] = 2 * PAGES_MAX;
		options.lease_step = 0;
		w.most = 200;
	}
	if (round % 4 == 2) {
		options.nodes = 4;
		options.capacity[0] = options.capacity[1] = 40; /* tight: falls back, fills up */
		options.capacity[3] = 0;
	}
	if (round % 8 == 7) { /* each node has room for all */
		options.capacity[0] = options.capacity[1] = 200;
		w.changes_nodes = true;
	}
	w.count = options.pages;
	rig_begin(&w.rig, &options);
	w.rig.space.grace_ns = 0; /* nobody runs while a discard is under way */
	for (uint32_t i = 0; i < PINS; i++)
		w.pins[i].page = PAGES_MAX;
}

/* Everything unpinned and written to: now every page must move to a node with room, and back. */
static void finish(void)
{
	for (uint32_t i = 0; i < PINS; i++) {
		if (w.pins[i].used)
			ferry_soft_unpin(&w.rig.soft, w.pins[i].ref);
	}
	ferry_nodeset_fill(&w.rig.allowed, w.rig.options.nodes);
	memset(&w.rig.machine->unusable, 0, sizeof(w.rig.machine->unusable));
	adopt_unseen();
	ferry_soft_mlock(&w.rig.soft, w.rig.base, rig_va(&w.rig, w.count), false);
	ferry_soft_protect(&w.rig.soft, w.rig.base, rig_va(&w.rig, w.count), FERRY_SOFT_RW);
	for (uint32_t i = 0; i < w.count; i++) {
		w.pages[i].prot = FERRY_SOFT_RW;
		if (!w.pages[i].mapped)
			continue;
		check_value(i);
		assert_int_equal(rig_store(&w.rig, THREAD, word_of(i), w.pages[i].value),
				 FERRY_SOFT_DONE);
	}
	reconcile(); /* a zero page that could not be taken over may have been written to */
	for (int32_t node = 2; node >= 1; node--) {
		if (w.rig.options.capacity[node] < w.count)
			continue;
		for (uint32_t i = 0; i < w.count; i++) {
			if (w.pages[i].mapped)
				assert_int_equal(rig_move(&w.rig, i, 1, node, NULL, NULL), node);
		}
		for (uint32_t i = 0; i < w.count; i++) {
			if (w.pages[i].mapped)
				assert_int_equal(rig_node(&w.rig, i), node);
			check_value(i);
		}
	}
	assert_int_equal(w.rig.nomem, 0);
	rig_end(&w.rig);
	assert_int_equal(test_alloc_bytes(), 0);
}

static void random_operations(void **state)
{
	uint64_t seed = test_seed("space"), rounds = test_amount(24, 4000);
	uint64_t reasons[FERRY_REASON_COUNT] = { 0 };
	const char *trace = getenv("FERRY_TRACE");

	(void)state;
	for (uint32_t round = 0; round < rounds; round++) {
		uint32_t steps = round % 4 == 1 ? 150 : 500;

		begin(seed, round);
		for (uint32_t step = 0; step < steps; step++) {
			uint32_t op = pick(FERRY_ARRAY_SIZE(operations));

			if (trace != NULL)
				print_message("round %u step %u op %u\n", round, step, op);
			operations[op]();
			assert_int_equal(rig_check(&w.rig, true), 0);
			if (pick(8) == 0) {
				for (uint32_t i = 0; i < w.count; i++)
					check_value(i);
			}
		}
		finish();
		for (uint32_t i = 0; i < FERRY_REASON_COUNT; i++)
			reasons[i] += w.reasons[i];
	}
	for (uint32_t i = 0; i < FERRY_REASON_COUNT; i++)
		print_message("%10llu %s\n", (unsigned long long)reasons[i],
			      ferry_reason_text((enum ferry_reason)i));
	assert_true(reasons[FERRY_REASON_MOVED] > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations),
	};

	test_host_init();
	test_skip_sleeps();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
