/* SPDX-License-Identifier: MIT */
/* timeout: 600 */
/*
 * All orders of small things. Where order.c draws long runs from a seed, this goes through every
 * schedule of two or three short threads that differs from the plain one (each runs until it
 * waits) in at most two places (three in a soak; and in one more as far as the time goes). A place
 * is any step of the scheduler: each call of the MMU, each access, each lock.
 *
 * The search is a depth-first walk over the choices: a run replays the choices of the path and
 * takes the plain one from there on; then the last choice that has another one is changed.
 *
 * Each scenario is named after the race of two or three things to one page. Asserted in every
 * order: no store is lost and no old value read (I1-I3), the books balance (I4, I5), everybody
 * gets through (I7), every status is true (I8), a pinned page keeps its memory (I9), nobody waits
 * for what he keeps from coming (I10), a child has what its parent had (I11).
 *
 * FERRY_PATH=SCENARIO:CHOICES, as a failure prints it, runs one order; FERRY_TRACE=1 shows it.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "rig.h"
#include "sim/sim.h"

enum {
	PAGES = 4,
	DEPTH = 8192,     /* choices of one run */
	SWITCHES = 20000, /* of one run: more is a livelock */
	THREADS = 3,
};

#define CHECK(cond) FERRY_ASSERT(cond)

/* --- the walk ----------------------------------------------------------------------------------
 */

static struct walk {
	uint8_t choice[DEPTH];
	uint8_t options[DEPTH];
	uint32_t depth;  /* choices of this run so far */
	uint32_t prefix; /* the first of them are given */
	uint32_t bound;
	uint64_t runs;
	const char *scenario;
} walk;

static uint32_t direct(void *context, const uint32_t *able, uint32_t count)
{
	uint32_t at = walk.depth++;

	(void)context;
	(void)able;
	CHECK(at < DEPTH);
	if (at >= walk.prefix)
		walk.choice[at] = 0;
	walk.options[at] = (uint8_t)count;
	/* The same prefix leads to the same choices. */
	CHECK(walk.choice[at] < count);
	return walk.choice[at];
}

/* Changes the last choice that can be. => false: this was the last order. */
static bool next_order(void)
{
	uint32_t cost = 0;

	for (uint32_t i = 0; i < walk.depth; i++)
		cost += walk.choice[i] != 0;
	for (uint32_t i = walk.depth; i-- > 0;) {
		uint32_t before = cost - (walk.choice[i] != 0);

		cost = before;
		if (walk.choice[i] + 1u < walk.options[i] && before < walk.bound) {
			walk.choice[i]++;
			walk.prefix = i + 1;
			return true;
		}
	}
	return false;
}

/* What to set FERRY_PATH to, before anything may go wrong in this order. */
static void print_path(void)
{
	fprintf(stderr, "FERRY_PATH=%s:", walk.scenario);
	for (uint32_t i = 0; i < walk.depth && i < DEPTH; i++)
		if (walk.choice[i] != 0)
			fprintf(stderr, "%" PRIu32 "=%u,", i, walk.choice[i]);
	fprintf(stderr, "\n");
}

static void read_path(const char *text)
{
	memset(walk.choice, 0, sizeof(walk.choice));
	walk.prefix = 0;
	while (*text != '\0') {
		char *end;
		unsigned long at = strtoul(text, &end, 10);

		if (*end != '=' || at >= DEPTH)
			return;
		walk.choice[at] = (uint8_t)strtoul(end + 1, &end, 10);
		walk.prefix = (uint32_t)at + 1;
		text = *end == ',' ? end + 1 : end;
	}
}

/* --- the world -------------------------------------------------------------------------------- */

static struct world {
	struct rig rig;
	uint64_t value[PAGES];
	bool mapped[PAGES];
	bool changing[PAGES];
	uint32_t done; /* threads that are through */
	uint32_t last_value;
} w;

static bool can_go_on(void *context)
{
	return !ferry_soft_waits(&w.rig.soft, *(uint32_t *)context);
}

static void pause_in_sim(struct rig *rig, uint32_t thread)
{
	(void)rig;
	ferry_sim_wait_for(can_go_on, &thread, "fault or event");
}

static void store(uint32_t thread, uint32_t page)
{
	uint64_t value = ++w.last_value;

	CHECK(rig_store(&w.rig, thread, rig_va(&w.rig, page), value) == FERRY_SOFT_DONE);
	w.value[page] = value;
	ferry_sim_note("page %u := %" PRIu64, page, value);
}

static void load(uint32_t thread, uint32_t page)
{
	uint64_t value = 0;
	enum ferry_soft_result result = rig_load(&w.rig, thread, rig_va(&w.rig, page), &value);

	ferry_sim_note("page %u is %" PRIu64, page, value);
	if (w.changing[page])
		return;
	CHECK((result == FERRY_SOFT_DONE) == w.mapped[page]);
	CHECK(result != FERRY_SOFT_DONE || value == w.value[page]);
}

static void move(uint32_t first, uint32_t count, int32_t node)
{
	int32_t status[PAGES];
	uint8_t reasons[PAGES];

	for (uint32_t i = 0; i < count; i++)
		status[i] = 4711;
	(void)rig_move(&w.rig, first, count, node, status, reasons);
	for (uint32_t i = 0; i < count; i++) {
		ferry_sim_note("page %u to node %d: %d", first + i, node, status[i]);
		CHECK(status[i] == node || status[i] == -ENOENT || status[i] == -EFAULT ||
		      status[i] == -EBUSY || status[i] == -EACCES);
		CHECK(reasons[i] != FERRY_REASON_MOVED || status[i] == node);
	}
}

/* --- threads of the scenarios ----------------------------------------------------------------- */

static void writer(void *context)
{
	uint32_t thread = *(uint32_t *)context;

	store(thread, 0);
	load(thread, 0);
	store(thread, 0);
}

static void reader(void *context)
{
	uint32_t thread = *(uint32_t *)context;

	load(thread, 0);
	load(thread, 0);
}

static void mover(void *context)
{
	(void)context;
	move(0, 1, 1);
}

static void range_mover(void *context)
{
	(void)context;
	move(0, 3, 1);
}

static void back_mover(void *context)
{
	(void)context;
	move(0, 1, 0);
}

static void round_mover(void *context)
{
	(void)context;
	move(0, 1, 1);
	move(0, 1, 0);
}

static void unmapper(void *context)
{
	uint32_t thread = *(uint32_t *)context;

	w.changing[0] = true;
	rig_unmap(&w.rig, thread, 0, 1);
	w.value[0] = 0;
	rig_map(&w.rig, 0, 1, 0);
	w.changing[0] = false;
	load(thread, 0);
	store(thread, 0);
}

/* To where nothing is, or (over) where a page is. */
static void remap(uint32_t thread, uint32_t to)
{
	w.changing[0] = w.changing[to] = true;
	CHECK(rig_remap(&w.rig, thread, 0, to, 1) == 0);
	w.value[to] = w.value[0];
	w.mapped[to] = true;
	w.mapped[0] = false;
	w.changing[0] = w.changing[to] = false;
	load(thread, to);
	store(thread, to);
	load(thread, to);
}

static void remapper(void *context)
{
	remap(*(uint32_t *)context, 3);
}

static void remapper_over(void *context)
{
	remap(*(uint32_t *)context, 2);
}

static void discarder(void *context)
{
	uint32_t thread = *(uint32_t *)context;

	w.changing[0] = true;
	rig_discard(&w.rig, thread, 0, 1, false);
	w.value[0] = 0;
	w.changing[0] = false;
	load(thread, 0);
	store(thread, 0);
	load(thread, 0);
}

static void forker(void *context)
{
	uint32_t thread = *(uint32_t *)context;
	struct ferry_soft_child child;
	uint64_t value = 0, had;

	store(thread, 0);
	had = w.value[0];
	ferry_sim_step(NULL);
	rig_fork(&w.rig, thread, &child);
	store(thread, 0);
	CHECK(ferry_soft_child_peek(&child, rig_va(&w.rig, 0), &value) && value == had);
	ferry_soft_child_destroy(&child);
	load(thread, 0);
}

static void home_bringer(void *context)
{
	struct ferry_space *space = &w.rig.space;

	(void)context;
	CHECK(ferry_space_close_gate(space) == 0);
	ferry_sim_step(NULL);
	CHECK(space->flight_count == 0 && space->idle_held == 0);
	CHECK(space->counts[0].held_pages + space->counts[1].held_pages == 0);
	ferry_space_open_gate(space);
}

/* A mapping that the program made unseen, touched already. */
static void adopter(void *context)
{
	struct ferry_space *space = &w.rig.space;

	(void)context;
	ferry_lock_acquire(&space->lock);
	CHECK(ferry_space_adopt(space, rig_va(&w.rig, 0), rig_va(&w.rig, 1), FERRY_REGION_ADOPTED,
				-1) == 0);
	ferry_lock_release(&space->lock);
}

static void device(void *context)
{
	uint32_t thread = *(uint32_t *)context;
	struct ferry_soft_ref pin;

	CHECK(rig_pin(&w.rig, thread, rig_va(&w.rig, 0), &pin) == FERRY_SOFT_DONE);
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t value = ++w.last_value;

		ferry_soft_pin_store(&w.rig.soft, pin, 0, value);
		w.value[0] = value;
	}
	ferry_soft_unpin(&w.rig.soft, pin);
	load(thread, 0);
}

static void signaller(void *context)
{
	(void)context;
	ferry_soft_interrupt(&w.rig.soft, 0);
	ferry_sim_step(NULL);
	ferry_soft_interrupt(&w.rig.soft, 0);
}

/* --- scenarios -------------------------------------------------------------------------------- */

struct scenario {
	const char *name;
	void (*body[THREADS])(void *context);
	uint32_t pages;   /* mapped and managed at the begin, from page 0 */
	bool unseen;      /* page 0 is mapped, and written to, but not managed */
	bool untouched;   /* nothing was written yet */
	bool copy_path;
};

static const struct scenario scenarios[] = {
	{ .name = "fault-migrate", .body = { writer, mover }, .pages = 2 },
	{ .name = "fault-fault-migrate", .body = { writer, reader, mover }, .pages = 1 },
	{ .name = "first-touch-migrate",
	  .body = { writer, reader, mover },
	  .pages = 1,
	  .untouched = true },
	{ .name = "signal-fault-migrate", .body = { writer, signaller, round_mover }, .pages = 1 },
	{ .name = "migrate-munmap", .body = { unmapper, range_mover }, .pages = 3 },
	{ .name = "migrate-mremap", .body = { remapper, range_mover }, .pages = 3 },
	{ .name = "migrate-mremap-over", .body = { remapper_over, range_mover }, .pages = 3 },
	{ .name = "migrate-dontneed", .body = { discarder, range_mover }, .pages = 3 },
	{ .name = "migrate-fork", .body = { forker, round_mover }, .pages = 2 },
	{ .name = "two-movers", .body = { mover, back_mover, writer }, .pages = 1 },
	{ .name = "home-fault-migrate", .body = { home_bringer, writer, mover }, .pages = 1 },
	{ .name = "adopt-migrate", .body = { adopter, writer, mover }, .unseen = true },
	{ .name = "pin-migrate", .body = { device, round_mover }, .pages = 1 },
	{ .name = "copy-path-dontneed",
	  .body = { discarder, range_mover },
	  .pages = 3,
	  .copy_path = true },
};

static bool is_message_waiting(void *context)
{
	(void)context;
	return ferry_soft_pending(&w.rig.soft, FERRY_SOFT_FAULT | FERRY_SOFT_EVENT);
}

static void handler(void *context)
{
	(void)context;
	for (;;) {
		ferry_sim_wait_for(is_message_waiting, NULL, "messages");
		(void)rig_serve(&w.rig, FERRY_SOFT_EVENT | FERRY_SOFT_FAULT);
	}
}

/* Before there are threads: rig.c serves faults by itself. */
static void prepare(const struct scenario *scenario)
{
	struct rig_options options = {
		.nodes = 2,
		.pages = PAGES,
		.slots = FERRY_HUGE_PAGES,
		.memory = 32,
		.capacity = { 16, 16 },
		.copy_path = scenario->copy_path,
		.step = ferry_sim_step,
	};
	uint32_t pages = scenario->unseen ? 1 : scenario->pages;

	memset(&w, 0, sizeof(w));
	rig_begin(&w.rig, &options);
	if (scenario->unseen)
		rig_map_unseen(&w.rig, 0, pages);
	else
		rig_map(&w.rig, 0, pages, 0);
	for (uint32_t i = 0; i < pages; i++) {
		w.mapped[i] = true;
		if (!scenario->untouched)
			store(0, i);
	}
	w.rig.pause = pause_in_sim;
}

/* Nobody runs any more. */
static void check_all(void)
{
	while (rig_serve(&w.rig, FERRY_SOFT_EVENT | FERRY_SOFT_FAULT))
		continue;
	CHECK(rig_check(&w.rig, true) == 0);
	for (uint32_t i = 0; i < PAGES; i++) {
		uint64_t value = 0;

		(void)ferry_soft_peek(&w.rig.soft, rig_va(&w.rig, i), &value);
		CHECK(!w.mapped[i] || value == w.value[i]);
	}
}

static void run_order(const struct scenario *scenario)
{
	static uint32_t numbers[THREADS];

	walk.depth = 0;
	ferry_sim_begin(1);
	prepare(scenario);
	ferry_sim_direct(direct, NULL);
	for (uint32_t i = 0; i < THREADS && scenario->body[i] != NULL; i++) {
		numbers[i] = i;
		(void)ferry_sim_spawn("thread", scenario->body[i], &numbers[i], false);
	}
	(void)ferry_sim_spawn("handler", handler, NULL, true);
	if (ferry_sim_run(SWITCHES) != FERRY_SIM_DONE) {
		print_path();
		exit(1);
	}
	check_all();
	rig_abandon(&w.rig);
	CHECK(ferry_sim_finish() == 0);
	walk.runs++;
}

/* All orders within the bound, or as many as the time allows. => they were all. */
static bool explore(const struct scenario *scenario, uint32_t bound, uint64_t end_ns)
{
	memset(&walk, 0, sizeof(walk));
	walk.bound = bound;
	walk.scenario = scenario->name;
	do {
		run_order(scenario);
		if (ferry_os->now_ns() > end_ns)
			return false;
	} while (next_order());
	return true;
}

static int replay(const char *text)
{
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(scenarios); i++) {
		size_t len = strlen(scenarios[i].name);

		if (strncmp(text, scenarios[i].name, len) != 0 || text[len] != ':')
			continue;
		walk.scenario = scenarios[i].name;
		read_path(text + len + 1);
		run_order(&scenarios[i]);
		return 0;
	}
	fprintf(stderr, "FERRY_PATH: no such scenario\n");
	return 1;
}

/* An assertion broke. */
static void on_abort(int number)
{
	(void)number;
	print_path();
}

/* Every scenario within bound; with a time, as far as it goes. */
static void explore_all(uint32_t bound, uint64_t time_ns)
{
	uint64_t orders = 0, whole = 0;

	for (size_t i = 0; i < FERRY_ARRAY_SIZE(scenarios); i++) {
		uint64_t share_ns = time_ns / FERRY_ARRAY_SIZE(scenarios);

		whole += explore(&scenarios[i], bound,
				 time_ns == 0 ? UINT64_MAX : ferry_os->now_ns() + share_ns);
		printf("%-20s bound %" PRIu32 ": %" PRIu64 " orders\n", scenarios[i].name, bound,
		       walk.runs);
		orders += walk.runs;
	}
	printf("bound %" PRIu32 ": %" PRIu64 " orders, all in %" PRIu64 " of %zu scenarios\n",
	       bound, orders, whole, FERRY_ARRAY_SIZE(scenarios));
}

int main(void)
{
	const char *path = getenv("FERRY_PATH");

	test_host_init();
	(void)signal(SIGABRT, on_abort);
	if (path != NULL)
		return replay(path);
	/* The sanitizers do not follow threads that are switched so often. */
	if (test_amount(2, 2) < 2) {
		explore_all(1, 0);
		return 0;
	}
	explore_all(2, 0);
	if (test_is_soak())
		explore_all(3, 0);
	explore_all(test_is_soak() ? 4 : 3, (test_is_soak() ? 300 : 4) * UINT64_C(1000000000));
	return 0;
}
