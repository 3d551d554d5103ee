/* SPDX-License-Identifier: MIT */
/* timeout: 300 */
/*
 * Orders of events. Under the seeded scheduler run, on one space:
 *
 *   writers    store ever new values, each to a word of its own in every page
 *   readers    load any word of any page at any time
 *   shapers    unmap and map, remap, discard, protect, lock, fork; pin, let a device store, unpin
 *   movers     move pages to nodes, two of them in opposite directions, one by ranges
 *   keeper     housekeeping: reconcile, leases, pages placed ahead, the gate; checks the books
 *   handlers   read faults and events and serve them
 *
 * A store and the test's own note of it are one step of the scheduler, so what a word must hold is
 * known exactly at every moment, but for pages whose mapping is being changed just then. Asserted:
 * no store is lost, no old or foreign value is read, a child has what the parent had, every parked
 * thread goes on, every status is written and true, protections hold as the program last set them,
 * and the books balance, during and after.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "host.h"
#include "rig.h"
#include "sim/sim.h"

enum {
	PAGES_MAX = 3 * FERRY_HUGE_PAGES,
	WRITERS = 3,
	DEVICE = WRITERS, /* word that devices store to */
	WORDS = WRITERS + 1,
	MAX_SWITCHES = 3000000,
};

struct page {
	bool mapped;
	bool changing;  /* by a shaper: what it holds is not certain */
	bool unsure;    /* discarded lazily once: a word may also be 0 */
	uint32_t users; /* writers and devices: its mapping must not change */
	uint64_t value[WORDS];
};

static struct world {
	struct rig rig;
	struct page pages[PAGES_MAX];
	uint32_t touched[64]; /* the pages that the test uses: all, or a few of each huge page */
	uint32_t count;       /* of them */
	uint32_t last_value;
	uint32_t rounds;
	bool signals; /* threads are woken by others now and then: that hides lost wakeups */
	bool stop;    /* writers are through: movers end */
	uint64_t moved, forks, statuses[FERRY_REASON_COUNT];
} w;

#define CHECK(cond) FERRY_ASSERT(cond)

static uint32_t pick(uint32_t limit)
{
	return ferry_sim_pick(limit);
}

static uint32_t pick_page(void)
{
	return w.touched[pick(w.count)];
}

/* Whether a word may hold value. */
static bool is_right(const struct page *page, uint32_t word, uint64_t value)
{
	return value == page->value[word] || (page->unsure && value == 0);
}

/* Words lie at both ends of a page and in the middle. */
static ferry_va word_at(uint32_t page, uint32_t word)
{
	static const uint32_t offsets[WORDS] = { 0, 2048, 4088, 1024 };

	return rig_va(&w.rig, page) + offsets[word];
}

static bool can_go_on(void *context)
{
	return !ferry_soft_waits(&w.rig.soft, *(uint32_t *)context);
}

static void pause_in_sim(struct rig *rig, uint32_t thread)
{
	(void)rig;
	ferry_sim_wait_for(can_go_on, &thread, "fault or event");
}

/* --- writers and readers ------------------------------------------------------------------ */

static void write_words(void *context)
{
	uint32_t thread = *(uint32_t *)context;

	for (uint32_t i = 0; i < w.rounds; i++) {
		uint32_t page = pick_page();
		uint64_t value = ++w.last_value;

		if (!w.pages[page].mapped || w.pages[page].changing)
			continue;
		w.pages[page].users++;
		CHECK(rig_store(&w.rig, thread, word_at(page, thread), value) == FERRY_SOFT_DONE);
		w.pages[page].value[thread] = value;
		ferry_sim_note("page %u word %u := %" PRIu64, page, thread, value);
		w.pages[page].users--;
		if (w.signals && pick(8) == 0)
			ferry_soft_interrupt(&w.rig.soft, pick(8)); /* a signal somewhere */
	}
	w.stop = true;
}

static void read_words(void *context)
{
	uint32_t thread = *(uint32_t *)context;

	while (!w.stop) {
		uint32_t page = pick_page(), word = pick(WORDS);
		uint64_t value = 0;
		enum ferry_soft_result result =
			rig_load(&w.rig, thread, word_at(page, word), &value);

		if (w.pages[page].changing)
			continue;
		if (result == FERRY_SOFT_DONE && !is_right(&w.pages[page], word, value))
			ferry_sim_note("page %u word %u is %" PRIu64 ", not %" PRIu64, page, word,
				       value, w.pages[page].value[word]);
		CHECK((result == FERRY_SOFT_DONE) == w.pages[page].mapped);
		CHECK(result != FERRY_SOFT_DONE || is_right(&w.pages[page], word, value));
	}
}

/* --- shapers ------------------------------------------------------------------------------ */

/* Claims pages whose mapping is to be changed. => false: somebody uses one. */
static bool claim(uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++) {
		if (w.pages[i].changing || w.pages[i].users > 0)
			return false;
	}
	for (uint32_t i = first; i < end; i++)
		w.pages[i].changing = true;
	return true;
}

static void unclaim(uint32_t first, uint32_t end)
{
	for (uint32_t i = first; i < end; i++)
		w.pages[i].changing = false;
}

static void wipe(uint32_t first, uint32_t end, bool mapped)
{
	for (uint32_t i = first; i < end; i++) {
		w.pages[i].mapped = mapped;
		w.pages[i].unsure = false;
		memset(w.pages[i].value, 0, sizeof(w.pages[i].value));
	}
}

static bool all_mapped(uint32_t first, uint32_t end, bool mapped)
{
	for (uint32_t i = first; i < end; i++) {
		if (w.pages[i].mapped != mapped)
			return false;
	}
	return true;
}

static void map_again(uint32_t first, uint32_t end)
{
	if (pick(5) == 0)
		rig_map_unseen(&w.rig, first, end);
	else
		rig_map(&w.rig, first, end, pick(2) ? FERRY_REGION_HUGE : 0);
	wipe(first, end, true);
}

static void shape_unmap(uint32_t thread, uint32_t first, uint32_t end)
{
	if (!claim(first, end))
		return;
	ferry_sim_note("unmap %u-%u", first, end);
	rig_unmap(&w.rig, thread, first, end);
	wipe(first, end, false);
	ferry_sim_note("unmapped %u-%u", first, end);
	if (pick(4) != 0)
		map_again(first, end);
	unclaim(first, end);
}

static void shape_map(uint32_t first, uint32_t end)
{
	if (!all_mapped(first, end, false) || !claim(first, end))
		return;
	map_again(first, end);
	unclaim(first, end);
}

static void shape_discard(uint32_t thread, uint32_t first, uint32_t end, bool lazily)
{
	if (!claim(first, end))
		return;
	ferry_sim_note("discard %u-%u%s", first, end, lazily ? " lazily" : "");
	rig_discard(&w.rig, thread, first, end, lazily);
	for (uint32_t i = first; i < end; i++) {
		if (lazily)
			w.pages[i].unsure = true;
		else
			wipe(i, i + 1, w.pages[i].mapped);
	}
	ferry_sim_note("discarded %u-%u", first, end);
	unclaim(first, end);
}

static void shape_remap(uint32_t thread, uint32_t first, uint32_t end)
{
	uint32_t pages = end - first, to = pick(w.rig.options.pages - pages + 1);

	/* Over what is mapped there, or where nothing is. */
	if (pages >= FERRY_HUGE_PAGES)
		to -= to % FERRY_HUGE_PAGES;
	if ((to < end && first < to + pages) || !all_mapped(first, end, true) || !claim(first, end))
		return;
	if (!claim(to, to + pages)) {
		unclaim(first, end);
		return;
	}
	ferry_sim_note("remap %u-%u to %u", first, end, to);
	CHECK(rig_remap(&w.rig, thread, first, to, pages) == 0);
	for (uint32_t i = 0; i < pages; i++) {
		memcpy(w.pages[to + i].value, w.pages[first + i].value, sizeof(w.pages[0].value));
		w.pages[to + i].mapped = true;
		w.pages[to + i].unsure = w.pages[first + i].unsure;
	}
	wipe(first, end, false);
	ferry_sim_note("remapped %u-%u to %u", first, end, to);
	unclaim(first, end);
	unclaim(to, to + pages);
}

/* Pages that are claimed are accessed exactly as their protection says, moved or not. */
static void access_claimed(uint32_t thread, uint32_t page, uint32_t prot)
{
	uint64_t value = ++w.last_value;
	enum ferry_soft_result loads = prot & FERRY_SOFT_READ ? FERRY_SOFT_DONE : FERRY_SOFT_SEGV;
	enum ferry_soft_result stores = prot & FERRY_SOFT_WRITE ? FERRY_SOFT_DONE : FERRY_SOFT_SEGV;

	if (!w.pages[page].mapped)
		return;
	CHECK(rig_store(&w.rig, thread, word_at(page, DEVICE), value) == stores);
	if (stores == FERRY_SOFT_DONE)
		w.pages[page].value[DEVICE] = value;
	CHECK(rig_load(&w.rig, thread, word_at(page, DEVICE), &value) == loads);
	CHECK(loads != FERRY_SOFT_DONE || is_right(&w.pages[page], DEVICE, value));
}

static void protect(uint32_t first, uint32_t end, uint32_t prot)
{
	if (pick(2))
		rig_protect(&w.rig, first, end, prot);
	else
		ferry_soft_protect(&w.rig.soft, rig_va(&w.rig, first), rig_va(&w.rig, end), prot);
}

/* While a page is not plainly writable, it leaves in a window and comes in by copying. */
static void shape_protection(uint32_t thread, uint32_t first, uint32_t end)
{
	static const uint32_t prots[] = { 0, FERRY_SOFT_READ, FERRY_SOFT_READ | FERRY_SOFT_EXEC,
					  FERRY_SOFT_RWX, FERRY_SOFT_RW | FERRY_SOFT_KEYED };
	ferry_va start = rig_va(&w.rig, first), stop = rig_va(&w.rig, end);
	uint32_t prot = prots[pick(FERRY_ARRAY_SIZE(prots))];
	bool lock = pick(4) == 0;

	if (!claim(first, end))
		return;
	ferry_sim_note("protect %u-%u: %u%s", first, end, prot, lock ? ", locked" : "");
	if (lock)
		ferry_soft_mlock(&w.rig.soft, start, stop, true);
	protect(first, end, prot);
	for (uint32_t i = pick(100); i > 0; i--) {
		if (pick(10) == 0)
			access_claimed(thread, first + pick(end - first), prot);
		ferry_sim_step(NULL);
	}
	if (lock)
		ferry_soft_mlock(&w.rig.soft, start, stop, false);
	protect(first, end, FERRY_SOFT_RW);
	ferry_sim_note("protected %u-%u", first, end);
	for (uint32_t i = pick(3); i > 0; i--)
		access_claimed(thread, first + pick(end - first), FERRY_SOFT_RW);
	unclaim(first, end);
}

static void shape_fork(uint32_t thread)
{
	struct page *then = malloc(sizeof(w.pages));
	struct ferry_soft_child child;

	CHECK(then != NULL);
	memcpy(then, w.pages, sizeof(w.pages));
	ferry_sim_note("fork");
	rig_fork(&w.rig, thread, &child);
	ferry_sim_note("forked");
	w.forks++;
	for (uint32_t i = 0; i < w.count; i++) {
		uint32_t page = w.touched[i];

		for (uint32_t word = 0; word < WORDS && !then[page].changing; word++) {
			uint64_t value;
			bool mapped = ferry_soft_child_peek(&child, word_at(page, word), &value);

			CHECK(mapped == then[page].mapped);
			CHECK(!mapped || is_right(&then[page], word, value));
		}
	}
	for (uint32_t i = pick(100); i > 0; i--)
		ferry_sim_step(NULL);
	ferry_soft_child_destroy(&child);
	free(then);
}

static void shape_pin(uint32_t thread)
{
	uint32_t page = pick_page();
	struct ferry_soft_ref pin;

	if (!w.pages[page].mapped || w.pages[page].changing)
		return;
	w.pages[page].users++;
	CHECK(rig_pin(&w.rig, thread, word_at(page, DEVICE), &pin) == FERRY_SOFT_DONE);
	for (uint32_t i = pick(6); i > 0; i--) {
		uint64_t value = ++w.last_value;

		ferry_soft_pin_store(&w.rig.soft, pin, 1024, value);
		w.pages[page].value[DEVICE] = value;
		ferry_sim_note("device: page %u := %" PRIu64, page, value);
		for (uint32_t k = pick(20); k > 0; k--)
			ferry_sim_step(NULL);
	}
	ferry_soft_unpin(&w.rig.soft, pin);
	w.pages[page].users--;
}

static void shape(void *context)
{
	uint32_t thread = *(uint32_t *)context;

	while (!w.stop) {
		uint32_t first = pick_page(), end = first + 1 + pick(6);

		if (w.rig.options.huge && pick(2)) {
			first -= first % FERRY_HUGE_PAGES;
			end = first + FERRY_HUGE_PAGES;
		}
		if (end > w.rig.options.pages)
			end = w.rig.options.pages;
		switch (pick(8)) {
		case 0:
			shape_unmap(thread, first, end);
			break;
		case 1:
			shape_discard(thread, first, end, pick(3) == 0);
			break;
		case 2:
		case 3:
			shape_remap(thread, first, end);
			break;
		case 4:
			shape_protection(thread, first, end);
			break;
		case 5:
			shape_fork(thread);
			break;
		case 6:
			shape_map(first, end);
			break;
		default:
			shape_pin(thread);
		}
		ferry_sim_sleep_ns(pick(20000));
	}
}

/* --- movers ------------------------------------------------------------------------------- */

static bool is_status(int32_t status)
{
	return (status >= 0 && status < (int32_t)w.rig.options.nodes) || status == -ENOENT ||
	       status == -EFAULT || status == -EACCES || status == -EBUSY || status == -ENOMEM ||
	       status == -EPERM;
}

static void move_some(uint32_t mover)
{
	uint64_t pages[64];
	int32_t nodes[64], status[64];
	uint8_t reasons[64];
	struct ferry_move_call call = {
		.count = 1 + pick(FERRY_ARRAY_SIZE(pages)),
		.pages = pages,
		.nodes = nodes,
		.status = status,
		.reasons = reasons,
		.move_all = pick(2) != 0,
		.stall_budget_ns = pick(2) ? 0 : 1000 + pick(100000),
	};
	uint32_t page = pick_page();
	int64_t result;

	for (uint32_t i = 0; i < call.count; i++) {
		/* Neighbours, or any: with duplicates, unsorted, inside pages. */
		page = pick(4) == 0 ? pick_page() : (page + 1) % w.rig.options.pages;
		pages[i] = rig_va(&w.rig, page) + pick(4096);
		nodes[i] = (int32_t)(mover % w.rig.options.nodes);
		status[i] = 4711;
		reasons[i] = 99;
	}
	result = ferry_move_pages_in(&w.rig.space, &call);
	CHECK(result >= 0 && result <= (int64_t)call.count);
	for (uint32_t i = 0; i < call.count; i++) {
		CHECK(is_status(status[i]) && reasons[i] < FERRY_REASON_COUNT);
		w.statuses[reasons[i]]++;
		w.moved += reasons[i] == FERRY_REASON_MOVED;
		if (reasons[i] == FERRY_REASON_MOVED)
			CHECK(status[i] == nodes[i]);
	}
}

static void move_range(uint32_t mover)
{
	struct ferry_range_result result = { .stopped = false };
	struct ferry_range_call call = {
		.start = rig_va(&w.rig, 0),
		.end = rig_va(&w.rig, w.rig.options.pages),
		.target = (int32_t)(mover % w.rig.options.nodes),
		.move_all = pick(2) != 0,
	};
	uint64_t answered = 0;

	ferry_nodeset_fill(&call.from, w.rig.options.nodes);
	CHECK(ferry_move_range_in(&w.rig.space, &call, &result) == 0);
	for (uint32_t i = 0; i < FERRY_REASON_COUNT; i++)
		answered += result.reasons[i];
	w.moved += result.reasons[FERRY_REASON_MOVED];
	CHECK(answered >= result.asked_pages);
}

static void move(void *context)
{
	uint32_t mover = *(uint32_t *)context;

	while (!w.stop) {
		if (mover == 2 || pick(4) == 0)
			move_range(mover + pick(2));
		else
			move_some(mover);
		ferry_sim_sleep_ns(pick(3000));
	}
}

/* --- keeper and handlers ------------------------------------------------------------------ */

static void close_gate(void)
{
	struct ferry_space *space = &w.rig.space;
	uint64_t held = 0;

	CHECK(ferry_space_close_gate(space) == 0);
	for (uint32_t i = pick(20); i > 0; i--)
		ferry_sim_step(NULL);
	for (uint32_t i = 0; i < w.rig.options.nodes; i++)
		held += space->counts[i].held_pages;
	CHECK(held == 0 && space->flight_count == 0);
	ferry_space_open_gate(space);
}

/* What the program mapped by itself is found some time; a thread may begin on any page. */
static void look_around(void)
{
	struct ferry_space *space = &w.rig.space;
	uint32_t page = pick_page();
	ferry_va va = rig_va(&w.rig, page);

	ferry_soft_take_lazy(&w.rig.soft, va, va + 8 * FERRY_PAGE_SIZE);
	ferry_lock_acquire(&space->lock);
	if (w.pages[page].mapped && ferry_region_find(w.rig.books, va) == NULL) {
		/* It may be gone by now: then it cannot be taken over. */
		int err = ferry_space_adopt(space, va, va + FERRY_PAGE_SIZE, FERRY_REGION_ADOPTED,
					    -1);
		CHECK(err == 0 || err == -EINVAL);
	} else if (pick(20) == 0 && ferry_region_find(w.rig.books, va) != NULL) {
		int err = ferry_space_flag_thread(space, va, va + 1);

		CHECK(err == 0 || err == -EAGAIN);
	}
	ferry_lock_release(&space->lock);
}

/* The program takes pages for itself; they are found again, as others that were not known of. */
static void release(void)
{
	struct ferry_space *space = &w.rig.space;
	uint32_t page = pick_page();
	int err = ferry_space_close_gate(space);

	ferry_sim_note("release %u-%u", page, page + 4);
	while (err == 0 || err == -EAGAIN) {
		ferry_lock_acquire(&space->lock);
		err = ferry_space_release(space, rig_va(&w.rig, page), rig_va(&w.rig, page + 4));
		ferry_lock_release(&space->lock);
		if (err != -EAGAIN)
			break;
		ferry_os->yield();
	}
	CHECK(err == 0);
	ferry_space_open_gate(space);
}

static void keep(void *context)
{
	struct ferry_space *space = &w.rig.space;
	ferry_va cursor = 0;

	(void)context;
	while (!w.stop) {
		CHECK(rig_check(&w.rig, false) == 0);
		switch (pick(7)) {
		case 6:
			release();
			break;
		case 0:
			close_gate();
			break;
		case 1:
			ferry_space_settle_leases(space);
			break;
		case 2:
			ferry_lock_acquire(&space->lock);
			(void)!ferry_space_reclaim_ahead(space, 8);
			ferry_lock_release(&space->lock);
			break;
		case 3:
			look_around();
			break;
		default:
			ferry_lock_acquire(&space->lock);
			CHECK(ferry_space_reconcile_slice(space, &cursor, -1) >= 0);
			ferry_lock_release(&space->lock);
		}
		ferry_sim_sleep_ns(1000 + pick(40000));
	}
}

static bool is_message_waiting(void *context)
{
	(void)context;
	return ferry_soft_pending(&w.rig.soft, FERRY_SOFT_FAULT | FERRY_SOFT_EVENT);
}

static void handle(void *context)
{
	(void)context;
	for (;;) {
		ferry_sim_wait_for(is_message_waiting, NULL, "messages");
		/* The host reads faults before events; here any order. */
		if (pick(2) == 0)
			rig_serve(&w.rig, FERRY_SOFT_FAULT);
		else
			rig_serve(&w.rig, FERRY_SOFT_EVENT | FERRY_SOFT_FAULT);
	}
}

/* --- one run ------------------------------------------------------------------------------ */

static struct rig_options draw_options(uint64_t *seed)
{
	struct rig_options options = {
		.nodes = 2 + test_pick(seed, 2),
		.pages = 24 + test_pick(seed, 24),
		.slots = 2048,
		.memory = 2048,
		.lease_step = test_pick(seed, 2) ? 4 : 64,
		.copy_path = test_pick(seed, 8) == 0,
		.no_zero_page = test_pick(seed, 8) == 0,
		.step = ferry_sim_step,
	};
	uint64_t capacity;

	if (test_pick(seed, 10) == 0) {
		options.huge = true;
		options.pages = PAGES_MAX;
		options.slots = 4 * PAGES_MAX;
		options.memory = 8 * PAGES_MAX;
		options.lease_step = 0;
	}
	/* From just enough in all to plenty on each. */
	capacity = options.pages * (1 + test_pick(seed, 3)) + 16;
	for (uint32_t i = 0; i < options.nodes; i++)
		options.capacity[i] = capacity;
	return options;
}

static void begin(uint64_t seed)
{
	struct rig_options options = draw_options(&seed);

	memset(&w, 0, sizeof(w));
	rig_begin(&w.rig, &options);
	w.rig.pause = pause_in_sim;
	w.rounds = 60 + test_pick(&seed, options.huge ? 100 : 200);
	w.signals = test_pick(&seed, 4) == 0;
	for (uint32_t i = 0; i < options.pages; i++) {
		if (!options.huge || i % 73 == 0 || i % FERRY_HUGE_PAGES == 511)
			w.touched[w.count++] = i;
	}
	rig_map(&w.rig, 0, options.pages * 2 / 3, options.huge ? FERRY_REGION_HUGE : 0);
	wipe(0, options.pages * 2 / 3, true);
}

static void spawn_all(void)
{
	static uint32_t numbers[FERRY_SOFT_THREADS];
	uint32_t thread = 0;

	for (uint32_t i = 0; i < FERRY_SOFT_THREADS; i++)
		numbers[i] = i;
	for (uint32_t i = 0; i < WRITERS; i++)
		ferry_sim_spawn("writer", write_words, &numbers[thread++], false);
	for (uint32_t i = 0; i < 2; i++)
		ferry_sim_spawn("reader", read_words, &numbers[thread++], false);
	for (uint32_t i = 0; i < 2; i++)
		ferry_sim_spawn("shaper", shape, &numbers[thread++], false);
	for (uint32_t i = 0; i < 3; i++)
		ferry_sim_spawn("mover", move, &numbers[i], false);
	ferry_sim_spawn("keeper", keep, NULL, false);
	ferry_sim_spawn("handler", handle, NULL, true);
	ferry_sim_spawn("handler", handle, NULL, true);
}

/* Nobody runs any more: every word must be there, on every page. */
static void check_all_words(void)
{
	for (uint32_t i = 0; i < w.count; i++) {
		uint32_t page = w.touched[i];

		for (uint32_t word = 0; word < WORDS && w.pages[page].mapped; word++) {
			uint64_t value = 0;

			/* What is empty reads as zeros, unless it is away: the gate saw to that. */
			(void)ferry_soft_peek(&w.rig.soft, word_at(page, word), &value);
			CHECK(is_right(&w.pages[page], word, value));
		}
	}
}

static void reconcile_all(void *context)
{
	struct ferry_space *space = &w.rig.space;
	ferry_va cursor = 0;

	/* The host has dropped by now what it was told to drop; the space waits until that is sure.
	 */
	(void)context;
	for (uint32_t rounds = 0; rounds < 4; rounds += cursor == 0) {
		ferry_sim_sleep_ns(2000000000);
		ferry_lock_acquire(&space->lock);
		CHECK(ferry_space_reconcile_slice(space, &cursor, -1) >= 0);
		ferry_lock_release(&space->lock);
	}
	ferry_lock_acquire(&space->lock);
	CHECK(ferry_space_reconcile(space, rig_va(&w.rig, 0), rig_va(&w.rig, w.rig.options.pages),
				    -1) == 0);
	ferry_lock_release(&space->lock);
}

/* What waits is served, and what the host dropped after it told of it is found. */
static void settle(void)
{
	ferry_sim_spawn("settler", reconcile_all, NULL, false);
	CHECK(ferry_sim_run(MAX_SWITCHES) == FERRY_SIM_DONE);
	CHECK(ferry_space_close_gate(&w.rig.space) == 0);
	ferry_space_open_gate(&w.rig.space);
}

static void run(uint64_t seed, uint64_t *switches, uint64_t *moved)
{
	ferry_sim_begin(seed);
	begin(seed);
	spawn_all();
	if (ferry_sim_run(MAX_SWITCHES) != FERRY_SIM_DONE)
		exit(1);
	CHECK(w.rig.nomem == 0);
	settle();
	check_all_words();
	*switches += ferry_sim_switches();
	*moved += w.moved;
	rig_end(&w.rig);
	if (ferry_sim_finish() != 0) {
		fprintf(stderr, "FERRY_SEED=%" PRIu64 ": memory was not given back\n", seed);
		exit(1);
	}
}

int main(void)
{
	uint64_t seed, runs = 0, switches = 0, moved = 0, end_ns;

	test_host_init();
	seed = test_seed("order");
	end_ns = ferry_os->now_ns() + (uint64_t)(test_is_soak() ? 600 : 5) * 1000000000;
	do {
		run(seed + runs, &switches, &moved);
		runs++;
	} while (getenv("FERRY_SEED") == NULL && ferry_os->now_ns() < end_ns);
	printf("%" PRIu64 " orders, %" PRIu64 " switches, %" PRIu64 " pages moved\n", runs,
	       switches, moved);
	if (moved == 0 && runs > 10) {
		fprintf(stderr, "nothing moved\n");
		return 1;
	}
	return 0;
}
