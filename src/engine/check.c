/* SPDX-License-Identifier: MIT */
/*
 * check.c - the invariants of a space, checked against everything there is.
 *
 * Counts what entries and flights say, page by page, and compares it with what counts, pools and
 * regions say. Nothing is repaired. Linear in the size of the space.
 */
#include "engine/check.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/format.h"
#include "base/os.h"
#include "map/entry.h"
#include "map/flight.h"
#include "map/region.h"

enum { BREACHES_MAX = 100 };

/* What entries and flights say of a node. */
struct found {
	uint64_t mapped, held, shared, flight;
	uint64_t taken; /* frame numbers in use */
	uint64_t charged;
	uint64_t *bits; /* one for each frame number in use */
	size_t bytes;
};

struct check {
	struct ferry_space *space;
	struct ferry_sink *sink;
	bool look_at_host;
	uint32_t breaches;
	struct found *nodes;
	uint64_t cow, ahead, idle_held, busy;
};

/* --- breaches ----------------------------------------------------------------------------- */

static void emit(struct check *c, const char *text)
{
	if (c->breaches++ < BREACHES_MAX)
		c->sink->line(c->sink->context, text);
}

static void page_breach(struct check *c, ferry_va va, struct ferry_pte pte, const char *what)
{
	struct ferry_text text;
	char line[160];

	ferry_text_init(&text, line, sizeof(line));
	ferry_text_string(&text, "page ");
	ferry_text_hex(&text, va);
	ferry_text_string(&text, ", entry ");
	ferry_text_hex(&text, pte.word);
	ferry_text_string(&text, ": ");
	ferry_text_string(&text, what);
	emit(c, line);
}

static void expect(struct check *c, uint32_t node, const char *what, uint64_t said,
		   uint64_t counted)
{
	struct ferry_text text;
	char line[160];

	if (said == counted)
		return;
	ferry_text_init(&text, line, sizeof(line));
	if (node != FERRY_NODES_MAX) {
		ferry_text_string(&text, "node ");
		ferry_text_decimal(&text, node);
		ferry_text_string(&text, ": ");
	}
	ferry_text_string(&text, what);
	ferry_text_string(&text, " says ");
	ferry_text_decimal(&text, said);
	ferry_text_string(&text, ", counted ");
	ferry_text_decimal(&text, counted);
	emit(c, line);
}

/* --- frames ------------------------------------------------------------------------------- */

static void use_frame(struct check *c, ferry_va va, struct ferry_pte pte, struct ferry_frame frame)
{
	const struct ferry_pool *pool = &c->space->pools[frame.node];
	struct found *found = &c->nodes[frame.node];
	const struct ferry_chunk *chunk;

	if (frame.number >= pool->slot_count) {
		page_breach(c, va, pte, "frame number out of range");
		return;
	}
	chunk = &pool->chunks[frame.number / FERRY_HUGE_PAGES];
	if (!ferry_bit_test(chunk->taken, frame.number % FERRY_HUGE_PAGES))
		page_breach(c, va, pte, "its frame is free in the pool");
	if (ferry_bit_test(found->bits, frame.number))
		page_breach(c, va, pte, "its frame has another user");
	ferry_bits_set(found->bits, frame.number, 1);
	found->taken++;
}

/* --- entries ------------------------------------------------------------------------------ */

static void check_flags(struct check *c, ferry_va va, struct ferry_pte pte)
{
	enum ferry_pte_state state = ferry_pte_state(pte);
	const uint64_t thread = FERRY_PTE_THREAD;

	switch (state) {
	case FERRY_PTE_NONE:
		if ((pte.word & ~thread) != 0)
			page_breach(c, va, pte, "flags or frame without a page");
		break;
	case FERRY_PTE_ZERO:
		if ((pte.word & ~thread) != FERRY_PTE_ZERO)
			page_breach(c, va, pte, "flags or frame with a zero page");
		break;
	case FERRY_PTE_MAPPED:
		if (ferry_pte_has(pte, FERRY_PTE_BUSY))
			page_breach(c, va, pte, "mapped and busy");
		break;
	case FERRY_PTE_HELD:
		if ((pte.word & (FERRY_PTE_COW | FERRY_PTE_NO_SLOT | thread)) != 0)
			page_breach(c, va, pte,
				    "away, but shared, of a thread, or without a frame");
		break;
	}
	if (pte.word != 0 && state != FERRY_PTE_NONE &&
	    ferry_region_find(c->space->books, va) == NULL)
		page_breach(c, va, pte, "in no region");
}

/* A huge entry is one of 512 with the same state and consecutive, aligned frames. */
static void check_huge(struct check *c, ferry_va va, const struct ferry_pte *leaf, uint32_t i)
{
	struct ferry_frame first = ferry_pte_frame(leaf[0]), frame = ferry_pte_frame(leaf[i]);

	if (!ferry_pte_has(leaf[0], FERRY_PTE_HUGE) || first.number % FERRY_HUGE_PAGES != 0 ||
	    first.node != frame.node || first.number + i != frame.number ||
	    ((leaf[0].word ^ leaf[i].word) & (3 | FERRY_PTE_BUSY)) != 0)
		page_breach(c, va, leaf[i], "huge, but not part of a huge frame");
	if (i == 0) {
		for (uint32_t k = 1; k < FERRY_HUGE_PAGES; k++) {
			if (!ferry_pte_has(leaf[k], FERRY_PTE_HUGE))
				page_breach(c, va + (ferry_va)k * FERRY_PAGE_SIZE, leaf[k],
					    "small inside a huge frame");
		}
	}
}

static void count_entry(struct check *c, ferry_va va, struct ferry_pte pte)
{
	struct ferry_frame frame = ferry_pte_frame(pte);
	bool held = ferry_pte_state(pte) == FERRY_PTE_HELD;
	struct found *found;

	if (frame.node >= c->space->machine->node_count) {
		page_breach(c, va, pte, "on a node that does not exist");
		return;
	}
	found = &c->nodes[frame.node];
	if (held)
		found->held++;
	else if (ferry_entry_charged(pte))
		found->mapped++;
	else
		found->shared++;
	if (held && ferry_pte_has(pte, FERRY_PTE_BUSY))
		c->busy++;
	else if (held)
		c->idle_held++;
	c->cow += ferry_pte_has(pte, FERRY_PTE_COW);
	c->ahead += ferry_pte_has(pte, FERRY_PTE_AHEAD);
	if (!ferry_pte_has(pte, FERRY_PTE_NO_SLOT)) {
		found->charged += ferry_entry_charged(pte);
		use_frame(c, va, pte, frame);
	}
}

/* A page that no entry knows may be there: housekeeping is going to look. */
static bool is_unsure(const struct ferry_space *space, ferry_va va)
{
	return ferry_space_is_leaving(space, va) || ferry_space_is_in_doubt(space, va);
}

/* Host page against entry. */
static void check_page(struct check *c, ferry_va va, struct ferry_pte pte, uint8_t flags)
{
	bool present = (flags & FERRY_MMU_PRESENT) != 0;
	bool ours = present && (flags & FERRY_MMU_FILE) == 0;

	switch (ferry_pte_state(pte)) {
	case FERRY_PTE_NONE:
		/* Zero pages that are not ours to know may be there: they cost no frame. */
		if (ours && (flags & FERRY_MMU_ZERO) == 0 && !is_unsure(c->space, va) &&
		    ferry_region_find(c->space->books, va) != NULL)
			page_breach(c, va, pte, "absent, but the host has a page");
		break;
	case FERRY_PTE_ZERO:
		if (ours && (flags & FERRY_MMU_ZERO) == 0 && !is_unsure(c->space, va))
			page_breach(c, va, pte, "zero page, but the host has another one");
		break;
	case FERRY_PTE_MAPPED:
		if (!ours)
			page_breach(c, va, pte, "mapped, but the host has no page");
		break;
	case FERRY_PTE_HELD:
		if (present)
			page_breach(c, va, pte, "away, but the host has a page");
		break;
	}
}

static void check_leaf(struct check *c, ferry_va va)
{
	const struct ferry_pte *leaf = ferry_entry_leaf(c->space, va);
	struct ferry_mmu *mmu = c->space->mmu;
	uint8_t flags[FERRY_HUGE_PAGES];
	bool look = c->look_at_host && mmu->ops->lookup(mmu, va, FERRY_HUGE_PAGES, flags) == 0;

	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
		ferry_va page = va + (ferry_va)i * FERRY_PAGE_SIZE;

		check_flags(c, page, leaf[i]);
		if (ferry_pte_resident(leaf[i]))
			count_entry(c, page, leaf[i]);
		if (ferry_pte_has(leaf[i], FERRY_PTE_HUGE))
			check_huge(c, page, leaf, i);
		if (look)
			check_page(c, page, leaf[i], flags[i]);
	}
}

static void check_entries(struct check *c)
{
	const ferry_va end = UINT64_C(1) << FERRY_VA_BITS;
	ferry_va va = ferry_ptable_next_leaf(c->space->books, 0, end);

	while (va < end) {
		va = ferry_huge_down(va);
		check_leaf(c, va);
		va = ferry_ptable_next_leaf(c->space->books, va + FERRY_HUGE_SIZE, end);
	}
}

/* --- flights ------------------------------------------------------------------------------ */

/* Frames of a flight that no entry has. */
static void use_flight_frame(struct check *c, ferry_va va, struct ferry_frame frame, uint32_t pages)
{
	struct ferry_pte none = { 0 };

	for (uint32_t i = 0; i < pages; i++)
		use_frame(c, va, none, ferry_frame_plus(frame, i));
	c->nodes[frame.node].flight += pages;
	c->nodes[frame.node].charged += pages;
}

static void check_flight(struct check *c, const struct ferry_flight *flight, uint64_t *flying)
{
	uint32_t pages = ferry_flight_is_huge(flight) ? FERRY_HUGE_PAGES : 1;

	for (uint32_t i = 0; i < flight->count; i++) {
		const struct ferry_flight_page *page = &flight->pages[i];
		struct ferry_pte pte = ferry_ptable_get(c->space->books, page->va);
		struct ferry_frame frame = ferry_pte_frame(pte);
		bool away = !page->entered && !page->gone;
		bool in = page->entered && !page->gone;

		/* Of a split huge frame both sides are kept until all of it is in. */
		if (page->entered && !flight->split)
			continue;
		if (!in || flight->home)
			use_flight_frame(c, page->va, page->target, pages);
		if (!away && (!in || !flight->home))
			use_flight_frame(c, page->va, page->source, pages);
		if (!away)
			continue;
		*flying += pages;
		if (ferry_pte_state(pte) != FERRY_PTE_HELD || !ferry_pte_has(pte, FERRY_PTE_BUSY) ||
		    frame.node != page->source.node || frame.number != page->source.number)
			page_breach(c, page->va, pte, "in flight, but its entry says otherwise");
	}
}

static void check_flights(struct check *c)
{
	uint64_t flights = 0, flying = 0;

	for (const struct ferry_flight *f = c->space->flights; f != NULL; f = f->next) {
		flights++;
		check_flight(c, f, &flying);
	}
	expect(c, FERRY_NODES_MAX, "the number of flights", c->space->flight_count, flights);
	expect(c, FERRY_NODES_MAX, "busy entries", c->busy, flying);
}

/* --- sums --------------------------------------------------------------------------------- */

static void check_node(struct check *c, uint32_t node)
{
	const struct ferry_pool *pool = &c->space->pools[node];
	const struct ferry_node_count *count = &c->space->counts[node];
	const struct found *found = &c->nodes[node];

	expect(c, node, "mapped", count->mapped_pages, found->mapped);
	expect(c, node, "held", count->held_pages, found->held);
	expect(c, node, "shared", count->shared_pages, found->shared);
	expect(c, node, "flight", count->flight_pages, found->flight);
	expect(c, node, "taken frames of the pool", pool->taken_pages, found->taken);
	expect(c, node, "charged frames of the pool", pool->charged_pages, found->charged);
	expect(c, node, "leased", count->leased_pages, pool->leased_pages);
	expect(c, node, "filled", count->filled_pages, pool->filled_pages);
	expect(c, node, "over", count->over_pages, ferry_pool_over(pool));
	if (ferry_pool_check(pool) != 0)
		expect(c, node, "the pool's own check", 1, 0);
}

static void check_sums(struct check *c)
{
	const struct ferry_space *space = c->space;

	for (uint32_t node = 0; node < space->machine->node_count; node++)
		check_node(c, node);
	expect(c, FERRY_NODES_MAX, "shared pages of the space", space->cow_pages, c->cow);
	expect(c, FERRY_NODES_MAX, "pages placed ahead", space->ahead_pages, c->ahead);
	expect(c, FERRY_NODES_MAX, "pages away with no mover", space->idle_held, c->idle_held);
	if (ferry_region_check(space->books) != 0)
		expect(c, FERRY_NODES_MAX, "the regions' own check", 1, 0);
}

/* --- the door ----------------------------------------------------------------------------- */

static void free_found(struct check *c)
{
	uint32_t node_count = c->space->machine->node_count;

	for (uint32_t node = 0; c->nodes != NULL && node < node_count; node++) {
		if (c->nodes[node].bits != NULL)
			ferry_os->free(c->nodes[node].bits, c->nodes[node].bytes);
	}
	if (c->nodes != NULL)
		ferry_os->free(c->nodes, node_count * sizeof(struct found));
}

static int alloc_found(struct check *c)
{
	uint32_t node_count = c->space->machine->node_count;

	c->nodes = ferry_os->alloc(node_count * sizeof(struct found));
	if (c->nodes == NULL)
		return -ENOMEM;
	for (uint32_t node = 0; node < node_count; node++) {
		struct found *found = &c->nodes[node];

		found->bytes = c->space->pools[node].slot_count / 8;
		if (found->bytes == 0)
			continue;
		found->bits = ferry_os->alloc(found->bytes);
		if (found->bits == NULL)
			return -ENOMEM;
	}
	return 0;
}

uint32_t ferry_check_space(struct ferry_space *space, bool look_at_host, struct ferry_sink *sink)
{
	struct check c = { .space = space, .sink = sink, .look_at_host = look_at_host };

	if (alloc_found(&c) == 0) {
		check_entries(&c);
		check_flights(&c);
		check_sums(&c);
	} else {
		emit(&c, "no memory to check with");
	}
	free_found(&c);
	return c.breaches;
}
