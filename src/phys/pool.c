/* SPDX-License-Identifier: MIT */
/*
 * pool.c - see pool.h for the states of a frame and the invariants.
 *
 * Every change of a frame's state goes through set_state(), which keeps bits, counts and indexes
 * together. The transitions:
 *
 *      free-empty --fill--> free-filled(zero) --take--> taken --put--> free-filled(dirty)
 *           ^ \________________take, put without memory___/                  |
 *           |________________________________drop____________________________|
 *
 * Searching. A search looks at a handful of chunks of the right kind from a cursor on and takes the
 * best run it saw. Short wishes take what is at hand; long ones (a batch of a migration, or of a
 * streak of touches) rather take new frames than settle for scraps, as long as the lease has room:
 * one MMU call moves a run.
 */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "phys/pool.h"

enum {
	CHUNK = FERRY_HUGE_PAGES,
	WORDS = CHUNK / 64,
	LOOK = 8,        /* chunks looked at in one search */
	LONG_RUN = 64,   /* wishes from here on prefer long runs to frames with memory */
	FILL_BATCH = 16, /* short wishes fill this many: the next ones find them */
};

enum frame_state { EMPTY, ZERO, DIRTY, TAKEN };

/* Frames that a search is after. */
enum target { FIND_EMPTY, FIND_ZERO, FIND_DIRTY, FIND_FILLED };

struct place {
	uint32_t chunk;
	uint32_t first;
	uint32_t pages; /* 0: nothing found */
};

/* --- state -------------------------------------------------------------------------------- */

/* => bit per enum ferry_chunk_kind. */
static uint32_t kinds_of(const struct ferry_chunk *chunk)
{
	bool small = chunk->huge_filled == 0;
	uint32_t used = (uint32_t)chunk->taken_count + chunk->filled_count;
	uint32_t kinds = 0;

	if (small && chunk->filled_count > chunk->zero_count)
		kinds |= 1u << FERRY_CHUNK_DIRTY;
	if (small && chunk->zero_count > 0)
		kinds |= 1u << FERRY_CHUNK_ZERO;
	if (small && chunk->filled_count == CHUNK)
		kinds |= 1u << FERRY_CHUNK_WHOLE;
	if (!small)
		kinds |= 1u << FERRY_CHUNK_HUGE;
	if (used < CHUNK)
		kinds |= 1u << FERRY_CHUNK_EMPTY;
	if (used == 0)
		kinds |= 1u << FERRY_CHUNK_FRESH;
	if (chunk->taken_count == 0)
		kinds |= 1u << FERRY_CHUNK_FREE;
	return kinds;
}

static void reindex(struct ferry_pool *pool, uint32_t c)
{
	uint32_t kinds = kinds_of(&pool->chunks[c]);

	for (uint32_t kind = 0; kind < FERRY_CHUNK_KINDS; kind++)
		ferry_bitindex_put(&pool->kinds[kind], c, (kinds >> kind & 1) != 0);
}

/* Sets or clears a run of bits and keeps the chunk's and the pool's count of them. */
static void write_bits(uint64_t *words, const struct place *at, bool value, uint16_t *chunk_count,
		       uint64_t *pool_count)
{
	uint32_t before = ferry_bits_count(words, at->first, at->pages);
	uint32_t after = value ? at->pages : 0;

	if (value)
		ferry_bits_set(words, at->first, at->pages);
	else if (before > 0)
		ferry_bits_clear(words, at->first, at->pages);
	*chunk_count = (uint16_t)(*chunk_count + after - before);
	*pool_count += (uint64_t)after - before;
}

static void set_state(struct ferry_pool *pool, const struct place *at, enum frame_state state,
		      bool huge)
{
	struct ferry_chunk *chunk = &pool->chunks[at->chunk];

	write_bits(chunk->taken, at, state == TAKEN, &chunk->taken_count, &pool->taken_pages);
	write_bits(chunk->filled, at, state == ZERO || state == DIRTY, &chunk->filled_count,
		   &pool->filled_pages);
	write_bits(chunk->zero, at, state == ZERO, &chunk->zero_count, &pool->zero_pages);
	chunk->huge_filled = huge && (state == ZERO || state == DIRTY);
	reindex(pool, at->chunk);
}

static struct ferry_frame frame_at(const struct ferry_pool *pool, const struct place *at, bool huge)
{
	struct ferry_frame frame = {
		.number = at->chunk * CHUNK + at->first,
		.node = pool->node,
		.huge = huge,
	};
	return frame;
}

static struct place whole_chunk(uint32_t c)
{
	struct place at = { .chunk = c, .first = 0, .pages = CHUNK };
	return at;
}

/* --- searching ---------------------------------------------------------------------------- */

static void frames_of(const struct ferry_chunk *chunk, enum target target, uint64_t *mask)
{
	for (uint32_t i = 0; i < WORDS; i++) {
		switch (target) {
		case FIND_EMPTY:
			mask[i] = ~(chunk->taken[i] | chunk->filled[i]);
			break;
		case FIND_ZERO:
			mask[i] = chunk->zero[i];
			break;
		case FIND_DIRTY:
			mask[i] = chunk->filled[i] & ~chunk->zero[i];
			break;
		case FIND_FILLED:
			mask[i] = chunk->filled[i];
			break;
		}
	}
}

/* Improves *best by runs in chunks of a kind, until it has want pages or enough were seen. */
static void search(const struct ferry_pool *pool, enum ferry_chunk_kind kind, enum target target,
		   uint32_t want, struct place *best)
{
	const struct ferry_bitindex *index = &pool->kinds[kind];
	uint32_t start = target == FIND_EMPTY ? pool->empty_cursor : pool->cursor;
	uint32_t first = ferry_bitindex_find(index, start);
	uint32_t c = first;

	for (uint32_t seen = 0; seen < LOOK && c < pool->chunk_count && best->pages < want;
	     seen++) {
		uint64_t mask[WORDS];
		struct ferry_bitrun run;

		frames_of(&pool->chunks[c], target, mask);
		run = ferry_bits_find_run(mask, CHUNK, want);
		if (run.count > best->pages) {
			best->chunk = c;
			best->first = run.first;
			best->pages = run.count;
		}
		c = ferry_bitindex_find(index, c + 1);
		if (c == first)
			break;
	}
}

/* The best run of free frames with memory, those first that have what the caller wants of it. */
static struct place search_filled(const struct ferry_pool *pool, uint32_t want,
				  enum ferry_fill fill)
{
	struct place best = { 0, 0, 0 };

	if (fill != FERRY_FILL_ANY) {
		search(pool, FERRY_CHUNK_ZERO, FIND_ZERO, want, &best);
		if (best.pages == 0)
			search(pool, FERRY_CHUNK_DIRTY, FIND_DIRTY, want, &best);
	} else if (want >= LONG_RUN) {
		search(pool, FERRY_CHUNK_WHOLE, FIND_FILLED, want, &best);
		search(pool, FERRY_CHUNK_DIRTY, FIND_FILLED, want, &best);
		search(pool, FERRY_CHUNK_ZERO, FIND_FILLED, want, &best);
	} else {
		search(pool, FERRY_CHUNK_DIRTY, FIND_DIRTY, want, &best);
		if (best.pages == 0)
			search(pool, FERRY_CHUNK_ZERO, FIND_ZERO, want, &best);
	}
	return best;
}

static struct place search_empty(const struct ferry_pool *pool, uint32_t want)
{
	struct place best = { 0, 0, 0 };

	if (want > CHUNK / 2)
		search(pool, FERRY_CHUNK_FRESH, FIND_EMPTY, want, &best);
	/* On from where the last run ended: runs of a streak of touches then make one long run. */
	search(pool, FERRY_CHUNK_EMPTY, FIND_EMPTY, want, &best);
	if (want >= LONG_RUN)
		search(pool, FERRY_CHUNK_FRESH, FIND_EMPTY, want, &best);
	return best;
}

/* --- memory ------------------------------------------------------------------------------- */

/* Fills empty frames; *at is cut to those that were. => 0 if any were, else the MMU's error. */
static int fill_place(struct ferry_pool *pool, struct ferry_mmu *mmu, struct place *at)
{
	uint32_t done = 0;
	int err = mmu->ops->fill(mmu, frame_at(pool, at, false), at->pages, &done);

	at->pages = done;
	if (done == 0)
		return err == 0 ? -ENOMEM : err;
	set_state(pool, at, ZERO, false);
	pool->empty_cursor = at->chunk;
	return 0;
}

static void drop_place(struct ferry_pool *pool, struct ferry_mmu *mmu, const struct place *at,
		       bool huge)
{
	mmu->ops->drop(mmu, frame_at(pool, at, huge), at->pages);
	set_state(pool, at, EMPTY, false);
}

/* Drops the memory of up to want free frames of one chunk (all of a huge page). => pages. */
static uint32_t drop_some(struct ferry_pool *pool, struct ferry_mmu *mmu, uint32_t want)
{
	struct place at = { 0, 0, 0 };
	uint32_t c;

	if (want > CHUNK)
		want = CHUNK;
	search(pool, FERRY_CHUNK_DIRTY, FIND_DIRTY, want, &at);
	if (at.pages == 0)
		search(pool, FERRY_CHUNK_ZERO, FIND_ZERO, want, &at);
	if (at.pages > 0) {
		drop_place(pool, mmu, &at, false);
		return at.pages;
	}
	c = ferry_bitindex_find(&pool->kinds[FERRY_CHUNK_HUGE], 0);
	if (c >= pool->chunk_count)
		return 0;
	at = whole_chunk(c);
	drop_place(pool, mmu, &at, true);
	return CHUNK;
}

/* Drops memory of free frames until the lease has room for need pages. => it has. */
static bool make_room(struct ferry_pool *pool, struct ferry_mmu *mmu, uint64_t need)
{
	uint64_t used = pool->charged_pages + pool->filled_pages;

	while (used + need > pool->leased_pages) {
		uint64_t excess = used + need - pool->leased_pages;

		if (drop_some(pool, mmu, excess > CHUNK ? CHUNK : (uint32_t)excess) == 0)
			return false;
		used = pool->charged_pages + pool->filled_pages;
	}
	return true;
}

static void drop_filled_of(struct ferry_pool *pool, struct ferry_mmu *mmu, uint32_t c)
{
	struct ferry_chunk *chunk = &pool->chunks[c];

	while (chunk->filled_count > 0) {
		struct ferry_bitrun run = ferry_bits_find_run(chunk->filled, CHUNK, CHUNK);
		struct place at = { c, run.first, run.count };

		drop_place(pool, mmu, &at, chunk->huge_filled != 0);
	}
}

/* --- taking ------------------------------------------------------------------------------- */

static void claim(struct ferry_pool *pool, const struct place *at, bool charged, bool huge,
		  struct ferry_run *run)
{
	set_state(pool, at, TAKEN, false);
	if (charged)
		pool->charged_pages += at->pages;
	run->first = frame_at(pool, at, huge);
	run->pages = at->pages;
	run->empty = false;
}

static int take_numbers(struct ferry_pool *pool, struct ferry_mmu *mmu, uint32_t want,
			struct ferry_run *run)
{
	struct place at = search_empty(pool, want);

	if (at.pages == 0) {
		uint32_t dropped = drop_some(pool, mmu, want);

		if (dropped == 0)
			return -EMFILE;
		at = search_empty(pool, want);
		FERRY_ASSERT(at.pages > 0);
	}
	pool->empty_cursor = at.chunk;
	claim(pool, &at, false, false, run);
	return (int)at.pages;
}

uint32_t ferry_pool_take_numbers(struct ferry_pool *pool, uint32_t want, struct ferry_run *run)
{
	struct place at = { 0, 0, 0 };

	search(pool, FERRY_CHUNK_EMPTY, FIND_EMPTY, want, &at);
	if (at.pages < want)
		search(pool, FERRY_CHUNK_FRESH, FIND_EMPTY, want, &at);
	if (at.pages * 2 < want)
		return 0;
	claim(pool, &at, false, false, run);
	return at.pages;
}

/*
 * Finds empty frames for a wish of want, and fills them unless NEW ones will do, if that is better
 * than *best, and makes *best say so.
 * => 0, or why it was not done: -ENOSPC, -EMFILE, the MMU's error. *best stays good either way.
 */
static int find_better(struct ferry_pool *pool, struct ferry_mmu *mmu, uint32_t want,
		       enum ferry_fill fill, struct place *best)
{
	uint64_t spare = ferry_pool_spare(pool);
	uint32_t pages = fill != FERRY_FILL_NEW && want < FILL_BATCH ? FILL_BATCH : want;
	struct place at;
	int err = 0;

	if (spare == 0)
		return -ENOSPC;
	if (pages > spare)
		pages = (uint32_t)spare;
	at = search_empty(pool, pages);
	if (at.pages == 0)
		return -EMFILE;
	if (at.pages <= 2 * best->pages)
		return 0;
	if (fill == FERRY_FILL_NEW)
		pool->empty_cursor = at.chunk;
	else
		err = fill_place(pool, mmu, &at);
	if (err == 0 && at.pages > best->pages)
		*best = at;
	return err;
}

int ferry_pool_take(struct ferry_pool *pool, struct ferry_mmu *mmu, uint32_t want,
		    enum ferry_fill fill, struct ferry_run *run)
{
	struct place best;
	bool zero, empty;
	int err = 0;

	FERRY_ASSERT(want >= 1 && want <= CHUNK);
	if (fill == FERRY_FILL_NONE)
		return take_numbers(pool, mmu, want, run);
	best = search_filled(pool, want, fill);
	if (best.pages == 0 || (want >= LONG_RUN && best.pages < want))
		err = find_better(pool, mmu, want, fill, &best);
	if (best.pages == 0 && (err == -ENOSPC || err == -EMFILE) &&
	    drop_some(pool, mmu, CHUNK) > 0)
		err = find_better(pool, mmu, want, fill, &best); /* broke up a huge page */
	if (best.pages == 0)
		return err;
	if (best.pages > want)
		best.pages = want;
	pool->cursor = best.chunk;
	zero = ferry_bits_count(pool->chunks[best.chunk].zero, best.first, best.pages) ==
	       best.pages;
	empty = ferry_bits_count(pool->chunks[best.chunk].filled, best.first, best.pages) == 0;
	claim(pool, &best, true, false, run);
	run->empty = empty;
	if (fill != FERRY_FILL_ANY && !zero && !empty)
		mmu->ops->zero_frame(mmu, run->first, run->pages);
	return (int)best.pages;
}

/* A chunk that is free as a whole, empty ones first; its memory is dropped. => 0, -EMFILE. */
static int empty_chunk(struct ferry_pool *pool, struct ferry_mmu *mmu, uint32_t *c)
{
	*c = ferry_bitindex_find(&pool->kinds[FERRY_CHUNK_FRESH], pool->empty_cursor);
	if (*c >= pool->chunk_count)
		*c = ferry_bitindex_find(&pool->kinds[FERRY_CHUNK_FREE], 0);
	if (*c >= pool->chunk_count)
		return -EMFILE;
	drop_filled_of(pool, mmu, *c);
	return 0;
}

/* Makes a new huge page. => 0 with *c filled as one, or the error of taking it. */
static int fill_chunk(struct ferry_pool *pool, struct ferry_mmu *mmu, uint32_t *c)
{
	struct place at;
	uint32_t done = 0;
	int err;

	/* Nothing is dropped for a wish that cannot be met. */
	if (pool->charged_pages + CHUNK > pool->leased_pages)
		return -ENOSPC;
	err = empty_chunk(pool, mmu, c);
	if (err != 0)
		return err;
	if (!make_room(pool, mmu, CHUNK))
		return -ENOSPC;
	at = whole_chunk(*c);
	err = mmu->ops->fill(mmu, frame_at(pool, &at, true), CHUNK, &done);
	if (err != 0)
		return err;
	set_state(pool, &at, ZERO, true);
	return 0;
}

int ferry_pool_take_huge(struct ferry_pool *pool, struct ferry_mmu *mmu, enum ferry_fill fill,
			 struct ferry_run *run)
{
	uint32_t c = ferry_bitindex_find(&pool->kinds[FERRY_CHUNK_HUGE], 0);
	struct place at;
	bool zero;
	int err;

	if (fill == FERRY_FILL_NONE) {
		err = empty_chunk(pool, mmu, &c);
		if (err != 0)
			return err;
		at = whole_chunk(c);
		claim(pool, &at, false, true, run);
		return 0;
	}
	if (c >= pool->chunk_count) {
		err = fill_chunk(pool, mmu, &c);
		if (err != 0)
			return err;
	}
	zero = pool->chunks[c].zero_count == CHUNK;
	at = whole_chunk(c);
	claim(pool, &at, true, true, run);
	if (fill != FERRY_FILL_ANY && !zero)
		mmu->ops->zero_frame(mmu, run->first, run->pages);
	return 0;
}

/* The part of a run that lies in the chunk of its first frame. */
static struct place first_part(const struct ferry_run *run)
{
	struct place at = {
		.chunk = run->first.number / CHUNK,
		.first = run->first.number % CHUNK,
		.pages = run->pages,
	};

	if (at.pages > CHUNK - at.first)
		at.pages = CHUNK - at.first;
	return at;
}

static void skip_part(struct ferry_run *run, uint32_t pages)
{
	run->first.number += pages;
	run->pages -= pages;
}

int ferry_pool_take_exact(struct ferry_pool *pool, struct ferry_run run)
{
	struct ferry_run rest = run;

	if ((uint64_t)run.first.number + run.pages > pool->slot_count)
		return -EMFILE;
	while (rest.pages > 0) {
		struct place at = first_part(&rest);
		const struct ferry_chunk *chunk = &pool->chunks[at.chunk];

		if (ferry_bits_count(chunk->taken, at.first, at.pages) != 0 ||
		    ferry_bits_count(chunk->filled, at.first, at.pages) != 0)
			return -EBUSY;
		skip_part(&rest, at.pages);
	}
	while (run.pages > 0) {
		struct place at = first_part(&run);

		set_state(pool, &at, TAKEN, false);
		skip_part(&run, at.pages);
	}
	return 0;
}

void ferry_pool_put(struct ferry_pool *pool, struct ferry_run run, enum ferry_content content,
		    bool charged)
{
	static const enum frame_state states[] = {
		[FERRY_CONTENT_NONE] = EMPTY,
		[FERRY_CONTENT_ZERO] = ZERO,
		[FERRY_CONTENT_DIRTY] = DIRTY,
	};
	bool memory = content != FERRY_CONTENT_NONE;
	bool huge = run.first.huge != 0 && memory;

	FERRY_ASSERT(run.first.node == pool->node);
	FERRY_ASSERT((uint64_t)run.first.number + run.pages <= pool->slot_count);
	FERRY_ASSERT(!huge || (run.pages == CHUNK && run.first.number % CHUNK == 0));
	if (charged) {
		FERRY_ASSERT(pool->charged_pages >= run.pages);
		pool->charged_pages -= run.pages;
	}
	while (run.pages > 0) {
		struct place at = first_part(&run);

		FERRY_ASSERT(ferry_bits_count(pool->chunks[at.chunk].taken, at.first, at.pages) ==
			     at.pages);
		set_state(pool, &at, states[content], huge);
		if (memory)
			pool->cursor = at.chunk;
		skip_part(&run, at.pages);
	}
}

/* --- the lease ---------------------------------------------------------------------------- */

void ferry_pool_charge(struct ferry_pool *pool, uint64_t pages)
{
	pool->charged_pages += pages;
	FERRY_ASSERT(pool->charged_pages <= pool->taken_pages);
}

void ferry_pool_uncharge(struct ferry_pool *pool, uint64_t pages)
{
	FERRY_ASSERT(pool->charged_pages >= pages);
	pool->charged_pages -= pages;
}

uint64_t ferry_pool_spare(const struct ferry_pool *pool)
{
	uint64_t used = pool->charged_pages + pool->filled_pages;

	return pool->leased_pages > used ? pool->leased_pages - used : 0;
}

uint64_t ferry_pool_over(const struct ferry_pool *pool)
{
	uint64_t used = pool->charged_pages + pool->filled_pages;

	return used > pool->leased_pages ? used - pool->leased_pages : 0;
}

void ferry_pool_grant(struct ferry_pool *pool, uint64_t pages)
{
	pool->leased_pages += pages;
}

uint64_t ferry_pool_shrink(struct ferry_pool *pool, struct ferry_mmu *mmu, uint64_t want)
{
	uint64_t spare;

	if (want > pool->leased_pages)
		want = pool->leased_pages;
	/* What is left short of want is no failure: fewer pages are taken out. */
	(void)make_room(pool, mmu, want);
	spare = ferry_pool_spare(pool);
	if (want > spare)
		want = spare;
	pool->leased_pages -= want;
	return want;
}

uint32_t ferry_pool_prefill(struct ferry_pool *pool, struct ferry_mmu *mmu, uint32_t want)
{
	uint32_t filled = 0;

	while (filled < want) {
		uint64_t room = ferry_pool_spare(pool);
		struct place at;

		if (room > want - filled)
			room = want - filled;
		if (room == 0)
			break;
		at = search_empty(pool, room > CHUNK ? CHUNK : (uint32_t)room);
		if (at.pages == 0 || fill_place(pool, mmu, &at) != 0)
			break;
		filled += at.pages;
	}
	return filled;
}

/* --- life and checks ---------------------------------------------------------------------- */

int ferry_pool_init(struct ferry_pool *pool, uint16_t node, uint64_t slot_count)
{
	static const enum ferry_chunk_kind unused[] = { FERRY_CHUNK_EMPTY, FERRY_CHUNK_FRESH,
							FERRY_CHUNK_FREE };
	uint32_t count = (uint32_t)(slot_count / CHUNK);
	size_t index_words = ferry_bitindex_words(count);
	uint64_t *memory;

	memset(pool, 0, sizeof(*pool));
	pool->node = node;
	pool->chunk_count = count;
	pool->slot_count = (uint64_t)count * CHUNK;
	pool->memory_bytes = count * sizeof(struct ferry_chunk) +
			     FERRY_CHUNK_KINDS * index_words * sizeof(uint64_t);
	if (count == 0)
		return 0;
	pool->chunks = ferry_os->alloc(pool->memory_bytes);
	if (pool->chunks == NULL)
		return -ENOMEM;
	memory = (uint64_t *)(pool->chunks + count);
	for (uint32_t kind = 0; kind < FERRY_CHUNK_KINDS; kind++)
		ferry_bitindex_init(&pool->kinds[kind], memory + kind * index_words, count);
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(unused); i++) {
		struct ferry_bitindex *index = &pool->kinds[unused[i]];

		ferry_bits_set(index->words, 0, count);
		ferry_bits_set(index->summary, 0, (count + 63) / 64);
	}
	return 0;
}

void ferry_pool_destroy(struct ferry_pool *pool)
{
	if (pool->chunks != NULL)
		ferry_os->free(pool->chunks, pool->memory_bytes);
	pool->chunks = NULL;
	pool->chunk_count = 0;
	pool->slot_count = 0;
}

static bool chunk_is_sane(const struct ferry_chunk *chunk)
{
	for (uint32_t i = 0; i < WORDS; i++) {
		if ((chunk->taken[i] & chunk->filled[i]) != 0 ||
		    (chunk->zero[i] & ~chunk->filled[i]) != 0)
			return false;
	}
	if (chunk->huge_filled &&
	    (chunk->filled_count != CHUNK || (chunk->zero_count % CHUNK) != 0))
		return false;
	return chunk->taken_count == ferry_bits_count(chunk->taken, 0, CHUNK) &&
	       chunk->filled_count == ferry_bits_count(chunk->filled, 0, CHUNK) &&
	       chunk->zero_count == ferry_bits_count(chunk->zero, 0, CHUNK);
}

static bool is_indexed(const struct ferry_pool *pool, uint32_t c)
{
	uint32_t kinds = kinds_of(&pool->chunks[c]);

	for (uint32_t kind = 0; kind < FERRY_CHUNK_KINDS; kind++) {
		if (ferry_bit_test(pool->kinds[kind].words, c) != ((kinds >> kind & 1) != 0))
			return false;
	}
	return true;
}

int ferry_pool_check(const struct ferry_pool *pool)
{
	uint64_t taken = 0, filled = 0, zero = 0;

	for (uint32_t c = 0; c < pool->chunk_count; c++) {
		const struct ferry_chunk *chunk = &pool->chunks[c];

		if (!chunk_is_sane(chunk) || !is_indexed(pool, c))
			return -EUCLEAN;
		taken += chunk->taken_count;
		filled += chunk->filled_count;
		zero += chunk->zero_count;
	}
	if (taken != pool->taken_pages || filled != pool->filled_pages ||
	    zero != pool->zero_pages || pool->charged_pages > pool->taken_pages)
		return -EUCLEAN;
	return 0;
}
