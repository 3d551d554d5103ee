/* SPDX-License-Identifier: MIT */
/*
 * Random takes, puts, leases and shrinks of a pool over the simulated MMU, against a model that is
 * an array of frame states. After each operation the counts, the memory behind every slot and the
 * pool's own invariants are compared.
 */
#include <errno.h>
#include <string.h>

#include "cases.h"
#include "host.h"
#include "mmu/soft.h"
#include "phys/pool.h"

enum { CHUNKS = 6, SLOTS = CHUNKS * FERRY_HUGE_PAGES, MEMORY = 2 * SLOTS };

enum holding { OURS_NOT, OURS_CHARGED, OURS_UNCHARGED };

struct world {
	struct ferry_soft soft;
	struct ferry_pool pool;
	uint64_t seed;
	uint8_t holding[SLOTS]; /* enum holding */
	bool huge[SLOTS];       /* taken as part of a huge frame */
	bool memory[SLOTS];     /* we hold memory in its slot */
	uint64_t charged, leased;
};

static struct ferry_frame frame_of(uint32_t number, bool huge)
{
	struct ferry_frame frame = { .number = number, .node = 0, .huge = huge };
	return frame;
}

static void begin(struct world *world, uint32_t memory_pages)
{
	static const uint64_t slots[] = { SLOTS };
	struct ferry_soft_options options = {
		.base = UINT64_C(1) << 30,
		.pages = 1,
		.memory_pages = memory_pages,
		.node_count = 1,
		.slots = slots,
		.caps = { .move = true, .zero_page = true, .huge = true },
	};

	memset(world, 0, sizeof(*world));
	assert_int_equal(ferry_soft_init(&world->soft, &options), 0);
	assert_int_equal(ferry_pool_init(&world->pool, 0, SLOTS + 100), 0);
	assert_int_equal(world->pool.slot_count, SLOTS);
}

static void end(struct world *world)
{
	ferry_pool_destroy(&world->pool);
	ferry_soft_destroy(&world->soft);
	assert_int_equal(test_alloc_bytes(), 0);
}

static void compare(struct world *world)
{
	const struct ferry_pool *pool = &world->pool;
	uint64_t taken = 0, filled = 0;

	assert_int_equal(ferry_pool_check(pool), 0);
	for (uint32_t i = 0; i < SLOTS; i++) {
		const struct ferry_chunk *chunk = &pool->chunks[i / FERRY_HUGE_PAGES];
		bool ours = world->holding[i] != OURS_NOT;
		bool small = ferry_soft_slot_filled(&world->soft, frame_of(i, false));
		bool huge = ferry_soft_slot_filled(&world->soft, frame_of(i, true));
		bool is_filled = ferry_bit_test(chunk->filled, i % FERRY_HUGE_PAGES);

		assert_int_equal(ferry_pool_is_taken(pool, i), ours);
		taken += ours;
		filled += is_filled;
		if (ours) {
			assert_int_equal(small, world->memory[i] && !world->huge[i]);
			assert_int_equal(huge, world->memory[i] && world->huge[i]);
		} else {
			assert_int_equal(small, is_filled && !chunk->huge_filled);
			assert_int_equal(huge, is_filled && chunk->huge_filled);
		}
		if (ferry_bit_test(chunk->zero, i % FERRY_HUGE_PAGES))
			assert_true(world->soft.mmu.ops->is_zero(
				&world->soft.mmu, frame_of(i, chunk->huge_filled != 0)));
	}
	assert_int_equal(pool->taken_pages, taken);
	assert_int_equal(pool->filled_pages, filled);
	assert_int_equal(pool->charged_pages, world->charged);
	assert_int_equal(pool->leased_pages, world->leased);
	assert_true(ferry_pool_spare(pool) == 0 || ferry_pool_over(pool) == 0);
}

/* Makes frames ours; with memory they are written to, so that the next owner must not see it. */
static void own(struct world *world, struct ferry_run run, enum ferry_fill fill)
{
	for (uint32_t i = 0; i < run.pages; i++) {
		uint32_t n = run.first.number + i;

		assert_int_equal(world->holding[n], OURS_NOT);
		world->holding[n] = fill == FERRY_FILL_NONE ? OURS_UNCHARGED : OURS_CHARGED;
		world->huge[n] = run.first.huge != 0;
		world->memory[n] = fill != FERRY_FILL_NONE && !run.empty;
		world->charged += fill != FERRY_FILL_NONE;
		assert_true(!run.empty || fill == FERRY_FILL_NEW);
		if (world->memory[n] && fill != FERRY_FILL_ANY)
			assert_true(world->soft.mmu.ops->is_zero(&world->soft.mmu,
								 frame_of(n, run.first.huge != 0)));
	}
}

/* Writes to the memory of a slot of ours: by copying a page that is not zero. */
static void soil(struct world *world, struct ferry_frame frame)
{
	struct ferry_soft *soft = &world->soft;
	uint32_t index = soft->arena[frame.huge][frame.number].index;

	soft->bytes[index][test_pick(&world->seed, FERRY_PAGE_SIZE)] = 0x5a;
}

static void take(struct world *world, bool huge)
{
	static const uint32_t wants[] = { 1, 1, 2, 8, 16, 63, 64, 200, 512 };
	uint32_t want = wants[test_pick(&world->seed, FERRY_ARRAY_SIZE(wants))];
	enum ferry_fill fill = (enum ferry_fill)test_pick(&world->seed, FERRY_FILL_NONE + 1);
	uint64_t leased = world->pool.leased_pages, charged = world->pool.charged_pages;
	uint64_t room = leased > charged ? leased - charged : 0;
	struct ferry_run run = { .pages = 0 };
	int got;

	if (huge)
		got = ferry_pool_take_huge(&world->pool, &world->soft.mmu, fill, &run);
	else
		got = ferry_pool_take(&world->pool, &world->soft.mmu, want, fill, &run);
	if (huge && got == 0)
		got = FERRY_HUGE_PAGES;
	if (got > 0) {
		assert_int_equal(got, run.pages);
		assert_int_equal(run.first.huge, huge);
		assert_true(huge ? run.pages == FERRY_HUGE_PAGES : run.pages <= want);
		assert_int_equal(run.first.number / FERRY_HUGE_PAGES,
				 (run.first.number + run.pages - 1) / FERRY_HUGE_PAGES);
		own(world, run, fill);
	} else if (got == -ENOSPC) {
		/* Only when neither lease nor memory that is there would do. */
		assert_true(fill != FERRY_FILL_NONE);
		assert_true(huge ? room < FERRY_HUGE_PAGES : room == 0);
	} else {
		assert_true(got == -EMFILE || got == -ENOMEM);
	}
}

/* Gives back the longest run of equal frames from a random one of ours on, whole huge frames. */
static void put(struct world *world)
{
	uint32_t n = test_pick(&world->seed, SLOTS), pages = 1, most;
	enum ferry_content content = (enum ferry_content)test_pick(&world->seed, 3);
	struct ferry_run run;

	while (world->holding[n] == OURS_NOT) {
		n = n + 1;
		if (n == SLOTS)
			return;
	}
	if (world->huge[n])
		n -= n % FERRY_HUGE_PAGES;
	most = world->huge[n] ? FERRY_HUGE_PAGES : 1 + test_pick(&world->seed, 700);
	while (pages < most && n + pages < SLOTS &&
	       world->holding[n + pages] == world->holding[n] &&
	       world->huge[n + pages] == world->huge[n] &&
	       world->memory[n + pages] == world->memory[n])
		pages++;
	run.first = frame_of(n, world->huge[n]);
	run.pages = pages;
	if (world->huge[n] && pages < FERRY_HUGE_PAGES)
		return;
	if (!world->memory[n])
		content = FERRY_CONTENT_NONE;
	else if (content == FERRY_CONTENT_NONE)
		world->soft.mmu.ops->drop(&world->soft.mmu, run.first, pages);
	else if (content == FERRY_CONTENT_ZERO)
		world->soft.mmu.ops->zero_frame(&world->soft.mmu, run.first, pages);
	else
		soil(world, run.first);
	ferry_pool_put(&world->pool, run, content, world->holding[n] == OURS_CHARGED);
	if (world->holding[n] == OURS_CHARGED)
		world->charged -= pages;
	memset(world->holding + n, OURS_NOT, pages);
	memset(world->memory + n, false, pages);
	memset(world->huge + n, false, pages);
}

static void take_exact(struct world *world)
{
	struct ferry_run run = { .first = frame_of(test_pick(&world->seed, SLOTS), false) };
	int err;

	run.pages = 1 + test_pick(&world->seed, 40);
	err = ferry_pool_take_exact(&world->pool, run);
	if (err == 0)
		own(world, run, FERRY_FILL_NONE);
	else
		assert_true(err == (run.first.number + run.pages > SLOTS ? -EMFILE : -EBUSY));
}

static void take_numbers(struct world *world)
{
	uint32_t want = 1 + test_pick(&world->seed, FERRY_HUGE_PAGES);
	uint64_t filled = world->pool.filled_pages;
	struct ferry_run run;
	uint32_t got = ferry_pool_take_numbers(&world->pool, want, &run);

	assert_true(got <= want && (got == 0 || 2 * got >= want));
	assert_int_equal(world->pool.filled_pages, filled);
	if (got > 0) {
		assert_int_equal(got, run.pages);
		own(world, run, FERRY_FILL_NONE);
	}
}

static void lease(struct world *world)
{
	uint64_t pages = test_pick(&world->seed, 600);
	uint64_t over = ferry_pool_over(&world->pool);

	if (test_pick(&world->seed, 2) == 0) {
		ferry_pool_grant(&world->pool, pages);
		world->leased += pages;
		return;
	}
	pages = ferry_pool_shrink(&world->pool, &world->soft.mmu, pages);
	world->leased -= pages;
	assert_true(over == 0 || ferry_pool_over(&world->pool) <= over);
	assert_true(pages == 0 || ferry_pool_over(&world->pool) == 0);
}

static void prefill(struct world *world)
{
	uint32_t want = test_pick(&world->seed, 700);
	uint64_t before = world->pool.filled_pages;
	uint32_t got = ferry_pool_prefill(&world->pool, &world->soft.mmu, want);

	assert_true(got <= want);
	assert_int_equal(world->pool.filled_pages, before + got);
}

static void recharge(struct world *world)
{
	uint32_t n = test_pick(&world->seed, SLOTS);

	if (world->huge[n])
		return; /* one frame: not in parts */
	if (world->holding[n] == OURS_UNCHARGED) {
		ferry_pool_charge(&world->pool, 1);
		world->holding[n] = OURS_CHARGED;
		world->charged++;
	} else if (world->holding[n] == OURS_CHARGED) {
		ferry_pool_uncharge(&world->pool, 1);
		world->holding[n] = OURS_UNCHARGED;
		world->charged--;
	}
}

static void run(struct world *world, uint64_t steps)
{
	for (uint64_t i = 0; i < steps; i++) {
		switch (test_pick(&world->seed, 13)) {
		case 0:
			take(world, true);
			break;
		case 1:
			take_exact(world);
			break;
		case 2:
			lease(world);
			break;
		case 3:
			prefill(world);
			break;
		case 4:
			recharge(world);
			break;
		case 5:
			take_numbers(world);
			break;
		case 6:
		case 7:
		case 8:
		case 9:
			put(world);
			break;
		default:
			take(world, false);
			break;
		}
		compare(world);
	}
}

static void random_operations(void **state)
{
	static struct world world;
	uint64_t seed = test_seed("pool"), rounds = test_amount(4, 600);

	(void)state;
	for (uint64_t round = 0; round < rounds; round++) {
		/* In some rounds the host has less memory than there are slots. */
		begin(&world, round % 2 == 0 ? MEMORY : SLOTS / 2);
		world.seed = seed + round;
		run(&world, test_amount(2400, 2400));
		end(&world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations),
	};

	test_host_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
