/* SPDX-License-Identifier: MIT */
/*
 * batch.c - a batch of pages goes out, is copied, and comes in.
 *
 * A page of a flight, and who makes each step:
 *
 *      gathered --out--> away --in--> entered        out(): entry MAPPED -> HELD busy
 *        | |              |  '-event-> gone          in(): entry HELD busy -> MAPPED at the target
 *        | '-> answered   '---home---> entered       home: entry HELD busy -> MAPPED at the source
 *        '---relabelled--------------> entered       entry MAPPED -> MAPPED at the target
 *
 *  - The target frame is the flight's from targets() on; the source frame is the entry's until
 * in().
 *  - The source slot keeps the content until the page is in, so going home is possible up to then.
 *  - A page that is gone (event) or has lost its place (-ENOENT, -EEXIST) gives both frames back.
 *  - A page that nobody can access (PROT_NONE) cannot be taken out. Between nodes on the same
 *    silicon it is relabelled: it stays in place, and its entry names a frame of the target node.
 *  - Pages of a split huge frame lie in huge slots and come in by copying; finish_split() gives
 *    back both huge slots as wholes.
 *  - Of a huge frame that the host has split a part may leave: it is split here too, and the part
 *    goes home. It is a flight, so that events find the pages that are away.
 */
#include <errno.h>

#include "base/os.h"
#include "map/region.h"
#include "move/mover.h"

enum {
	AGAIN_TRIES = 16,  /* of one page that events are in the way of, in a pass */
	ENTER_TRIES = 1000 /* of a page that can be neither moved nor copied in */
};

static uint32_t unit_pages(const struct ferry_flight_page *page, bool split)
{
	return page->source.huge && !split ? FERRY_HUGE_PAGES : 1;
}

static void put_frame(struct ferry_mover *m, struct ferry_frame frame, uint32_t pages)
{
	struct ferry_run run = { .first = frame, .pages = pages };

	ferry_frames_put(m->space, run, FERRY_CONTENT_DIRTY, true);
}

/* A frame that get_new_page gave, and that is not used. */
static void put_new(struct ferry_mover *m, struct ferry_frame frame)
{
	uint32_t pages = frame.huge ? FERRY_HUGE_PAGES : 1;

	ferry_flight_tally(m->space, frame.node, -(int64_t)pages);
	if (m->put_new_page != NULL)
		m->put_new_page(&frame, m->private);
	else
		put_frame(m, frame, pages);
}

/* --- answers for a page of the batch: all entries of a huge frame ------------------------------
 */

static size_t entries_end(const struct ferry_mover *m, const struct ferry_flight_page *page)
{
	return m->group_end > 0 ? m->group_end : (size_t)page->index + 1;
}

static void answer(struct ferry_mover *m, const struct ferry_flight_page *page, int32_t status,
		   enum ferry_reason reason)
{
	for (size_t i = page->index; i < entries_end(m, page); i++) {
		if (m->entries[i].status == FERRY_MOVE_PENDING)
			ferry_mover_settle(m, i, status, reason);
	}
}

static void put_off(struct ferry_mover *m, const struct ferry_flight_page *page,
		    enum ferry_reason reason)
{
	for (size_t i = page->index; i < entries_end(m, page); i++) {
		if (m->entries[i].status == FERRY_MOVE_PENDING)
			ferry_mover_put_off(m, i, reason);
	}
}

static void answer_shared(struct ferry_mover *m, const struct ferry_flight_page *page)
{
	for (size_t i = page->index; i < entries_end(m, page); i++) {
		if (m->entries[i].status == FERRY_MOVE_PENDING)
			ferry_mover_settle_shared(m, i);
	}
}

/* --- out ---------------------------------------------------------------------------------- */

/* Pages from r on that one call can remove. */
static uint32_t out_run(const struct ferry_mover *m, uint32_t r, uint32_t n)
{
	const struct ferry_flight_page *first = &m->flight.pages[r];
	uint32_t len = 1;

	while (r + len < n && first[len].va == first->va + (ferry_va)len * FERRY_PAGE_SIZE &&
	       first[len].slot.node == first->slot.node &&
	       first[len].slot.number == first->slot.number + len)
		len++;
	return len;
}

/* Gives back the target of a page that was not taken out. A relabelled one uses it. */
static void drop_target(struct ferry_mover *m, const struct ferry_flight_page *page)
{
	if (!page->entered)
		put_new(m, page->target);
}

/* Of the numbers that a page had and was to get, gives back the one that it has not. */
static void put_number(struct ferry_mover *m, const struct ferry_flight_page *page, bool out)
{
	struct ferry_run unused = { .first = out ? page->source : page->slot, .pages = 1 };

	if (page->slot.number != page->source.number)
		ferry_frames_put(m->space, unused, FERRY_CONTENT_NONE, false);
}

/* A page that stays where it is. */
static void stay(struct ferry_mover *m, const struct ferry_flight_page *page)
{
	put_number(m, page, false);
	drop_target(m, page);
}

/* The first `pages` pages of a unit are out. */
static void hold(struct ferry_mover *m, struct ferry_flight_page *page, uint32_t pages)
{
	const uint32_t away = FERRY_PTE_HELD | FERRY_PTE_BUSY;
	struct ferry_pte *slot = ferry_mover_slot(m, page->va);

	if (page->slot.number != page->source.number) {
		uint32_t ahead = (uint32_t)slot->word & FERRY_PTE_AHEAD;

		ferry_entry_set(m->space, slot,
				ferry_pte_make(FERRY_PTE_HELD, page->slot, FERRY_PTE_BUSY | ahead));
		put_number(m, page, true);
		page->source = page->slot;
		return;
	}
	for (uint32_t i = 0; i < pages; i++)
		ferry_entry_set(m->space, &slot[i], ferry_entry_with(slot[i], away, 0));
}

/* A huge frame that the host will not give: has it split it, does somebody share it? */
static void answer_busy_huge(struct ferry_mover *m, const struct ferry_flight_page *page)
{
	uint8_t all = FERRY_MMU_HUGE | FERRY_MMU_EXCLUSIVE;

	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		all &= ferry_mover_look(m, page->va + (ferry_va)i * FERRY_PAGE_SIZE);
	if ((all & FERRY_MMU_HUGE) == 0) {
		ferry_entry_split(m->space, page->va);
		put_off(m, page, FERRY_REASON_BUSY);
	} else if ((all & FERRY_MMU_EXCLUSIVE) == 0) {
		answer_shared(m, page);
	} else {
		put_off(m, page, FERRY_REASON_PINNED);
	}
}

static void answer_absent(struct ferry_mover *m, const struct ferry_flight_page *page)
{
	if (!ferry_entry_is_lost(m->space, page->va)) {
		m->events = true;
		put_off(m, page, FERRY_REASON_BUSY);
		return;
	}
	if (page->source.huge) {
		ferry_entry_split(m->space, page->va);
		put_off(m, page, FERRY_REASON_BUSY);
		return;
	}
	ferry_entry_forget(m->space, ferry_mover_slot(m, page->va));
	ferry_count(&m->space->books->counters.healed, 1);
	answer(m, page, -ENOENT, FERRY_REASON_ABSENT);
}

static void answer_busy(struct ferry_mover *m, const struct ferry_flight_page *page)
{
	uint8_t flags;

	if (page->source.huge) {
		answer_busy_huge(m, page);
		return;
	}
	flags = ferry_mover_look(m, page->va);
	if ((flags & FERRY_MMU_PRESENT) == 0)
		answer_absent(m, page);
	else if ((flags & FERRY_MMU_EXCLUSIVE) == 0)
		answer_shared(m, page);
	else
		put_off(m, page, FERRY_REASON_PINNED);
}

static bool is_same_silicon(const struct ferry_mover *m, const struct ferry_flight_page *page)
{
	const struct ferry_node *nodes = ferry_machine_nodes(m->space->machine);

	return nodes[page->source.node].real_node == nodes[page->target.node].real_node;
}

/* A small page in a mapping that allows no access at all: nobody can tell where it is. */
static void relabel(struct ferry_mover *m, struct ferry_flight_page *page)
{
	struct ferry_run target = { .first = page->target, .pages = 1 };
	struct ferry_run source = { .first = page->source, .pages = 1 };
	struct ferry_pte *slot = ferry_mover_slot(m, page->va);

	/* The slot of a page that is mapped is empty. */
	ferry_frames_drop(m->space, target);
	ferry_entry_set(m->space, slot,
			ferry_pte_make(FERRY_PTE_MAPPED, page->target,
				       (uint32_t)(slot->word & FERRY_PTE_AHEAD)));
	ferry_flight_tally(m->space, page->target.node, -1);
	ferry_frames_put(m->space, source, FERRY_CONTENT_NONE, true);
	page->entered = true;
	m->moved++;
	ferry_count(&m->space->books->counters.moved_pages, 1);
	answer(m, page, page->target.node, FERRY_REASON_MOVED);
}

/* => the page was dealt with. */
static bool move_inaccessible(struct ferry_mover *m, struct ferry_flight_page *page)
{
	struct ferry_mmu *mmu = m->space->mmu;

	if (mmu->ops->access(mmu, page->va) != 0 || !is_same_silicon(m, page))
		return false;
	if ((ferry_mover_look(m, page->va) & FERRY_MMU_PRESENT) == 0) {
		answer_absent(m, page);
	} else if (page->source.huge) {
		ferry_entry_split(m->space, page->va);
		put_off(m, page, FERRY_REASON_BUSY);
	} else {
		relabel(m, page);
	}
	return true;
}

static void answer_protected(struct ferry_mover *m, struct ferry_flight_page *page)
{
	const struct ferry_region *region = ferry_region_find(m->space->books, page->va);
	bool locked = region != NULL && (region->flags & FERRY_REGION_LOCKED) != 0;

	if (move_inaccessible(m, page))
		return;
	if (locked && m->list->seed) {
		answer(m, page, -EPERM, FERRY_REASON_LOCKED);
	} else if (page->source.huge) { /* small ones may be moved */
		ferry_entry_split(m->space, page->va);
		put_off(m, page, FERRY_REASON_BUSY);
	} else {
		answer(m, page, -EBUSY, FERRY_REASON_PROTECTION);
	}
}

/* An event is in the way of a page: it is tried again once the event was read. */
static void await_event(struct ferry_mover *m, const struct ferry_flight_page *page, size_t *next)
{
	m->events = true;
	if (m->again_at != page->index)
		m->again = 0;
	m->again_at = page->index;
	*next = page->index;
	if (++m->again > AGAIN_TRIES) {
		put_off(m, page, FERRY_REASON_BUSY);
		m->again = 0;
		*next = entries_end(m, page);
	}
}

/* => go on with the next page. */
static bool out_failed(struct ferry_mover *m, struct ferry_flight_page *page, int err, size_t *next)
{
	struct ferry_run slot = { .first = page->slot, .pages = unit_pages(page, false) };

	switch (err) {
	case -EAGAIN:
		await_event(m, page, next);
		return false;
	case -ESRCH:
		__atomic_store_n(&m->space->gone, 1, __ATOMIC_RELAXED);
		return false;
	case -EBUSY:
		answer_busy(m, page);
		return true;
	case -ENOENT:
		answer_absent(m, page);
		return true;
	case -EINVAL:
		answer_protected(m, page);
		return true;
	case -EEXIST: /* left over in the slot of a page that is mapped: of no use to anybody */
		ferry_frames_drop(m->space, slot);
		put_off(m, page, FERRY_REASON_BUSY);
		return true;
	default:
		put_off(m, page, FERRY_REASON_BUSY);
		return true;
	}
}

/* Is the page known to be shared, from a look after an earlier -EBUSY? */
static bool is_known_shared(const struct ferry_mover *m, const struct ferry_flight_page *page)
{
	uint64_t i = (page->va - m->look_va) >> FERRY_PAGE_SHIFT;

	return m->look_pages > 0 && page->va >= m->look_va && i < m->look_pages &&
	       ferry_mover_is_shared(m->look[i]);
}

static void launch(struct ferry_mover *m, uint32_t count)
{
	struct ferry_flight *flight = &m->flight;
	const struct ferry_flight_page *page = &flight->pages[0];

	flight->count = count;
	m->out_pages = count;
	if (count == 0)
		return;
	if (page->source.huge) {
		m->out_pages = FERRY_HUGE_PAGES;
		m->huge_source = (struct ferry_run){ page->source, FERRY_HUGE_PAGES, false };
		m->huge_target = (struct ferry_run){ page->target, FERRY_HUGE_PAGES, false };
	}
	flight->next = m->space->flights;
	m->space->flights = flight;
	__atomic_store_n(&m->space->flight_count, m->space->flight_count + 1, __ATOMIC_RELAXED);
	ferry_count(&m->space->books->counters.batches, 1);
}

/* Takes a run of pages out, or one huge frame. By the contract of 2006 locked pages stay. */
static int take_out(struct ferry_mover *m, const struct ferry_flight_page *page, uint32_t len,
		    uint32_t *done)
{
	struct ferry_mmu *mmu = m->space->mmu;
	bool huge = page->source.huge != 0;
	int err = mmu->ops->remove(mmu, page->va, page->slot, huge ? FERRY_HUGE_PAGES : len, done);
	uint32_t more = 0;

	if (err == -EINVAL && !huge && !m->list->seed && mmu->ops->remove_locked != NULL) {
		err = mmu->ops->remove_locked(mmu, page->va + (ferry_va)*done * FERRY_PAGE_SIZE,
					      ferry_frame_plus(page->slot, *done), len - *done,
					      &more);
		*done += more;
	}
	return err;
}

/* Of the one huge frame of a batch the host gave the first `done` pages: they go home. */
static void out_partly(struct ferry_mover *m, uint32_t done, int err)
{
	hold(m, &m->flight.pages[0], done);
	launch(m, 1);
	ferry_flight_split(m->space, &m->flight);
	for (uint32_t i = done; i < FERRY_HUGE_PAGES; i++)
		m->flight.pages[i].entered = true; /* it never left */
	m->flight.home = true; /* only a part of it would leave */
	m->events |= err == -EAGAIN;
}

static void out_whole(struct ferry_mover *m, size_t *next)
{
	struct ferry_flight_page *page = &m->flight.pages[0];
	uint32_t done = 0;
	int err = take_out(m, page, 1, &done);

	if (err != 0 && done > 0) {
		out_partly(m, done, err);
		return;
	}
	if (err == 0) {
		hold(m, page, FERRY_HUGE_PAGES);
	} else {
		(void)out_failed(m, page, err, next);
		stay(m, page);
	}
	launch(m, err == 0 ? 1 : 0);
}

static void out_small(struct ferry_mover *m, uint32_t n, size_t *next)
{
	struct ferry_flight_page *pages = m->flight.pages;
	uint32_t r = 0, w = 0;
	bool go_on = true;

	while (r < n && go_on) {
		uint32_t len = out_run(m, r, n), done = 0;
		int err;

		if (is_known_shared(m, &pages[r])) {
			answer_shared(m, &pages[r]);
			stay(m, &pages[r++]);
			continue;
		}
		err = take_out(m, &pages[r], len, &done);
		for (; done > 0; done--) {
			hold(m, &pages[r], 1);
			pages[w++] = pages[r++];
		}
		if (err != 0) {
			go_on = out_failed(m, &pages[r], err, next);
			stay(m, &pages[r++]);
		}
	}
	while (r < n)
		stay(m, &pages[r++]);
	launch(m, w);
}

void ferry_mover_out(struct ferry_mover *m, uint32_t n, size_t *next)
{
	m->flight.home = false;
	m->flight.split = false;
	m->flight.started_ns = ferry_os->now_ns();
	if (m->flight.pages[0].source.huge)
		out_whole(m, next);
	else
		out_small(m, n, next);
}

/* --- copy --------------------------------------------------------------------------------- */

int ferry_mover_copy(struct ferry_mover *m)
{
	struct ferry_mmu *mmu = m->space->mmu;
	const struct ferry_flight_page *page = m->flight.pages;

	/* Only source and target are read here: events change the rest of a page meanwhile. */
	if (m->group_end > 0)
		return mmu->ops->copy_frame(mmu, m->huge_target.first, m->huge_source.first,
					    FERRY_HUGE_PAGES);
	for (uint32_t k = 0; k < m->out_pages;) {
		uint32_t len = 1;
		int err;

		while (k + len < m->out_pages && page[k + len].source.node == page[k].source.node &&
		       page[k + len].source.number == page[k].source.number + len &&
		       page[k + len].target.node == page[k].target.node &&
		       page[k + len].target.number == page[k].target.number + len)
			len++;
		err = mmu->ops->copy_frame(mmu, page[k].target, page[k].source, len);
		if (err != 0)
			return err;
		k += len;
	}
	return 0;
}

/* --- in: the books ------------------------------------------------------------------------ */

static struct ferry_frame frame_of(const struct ferry_flight_page *page, bool home)
{
	return home ? page->source : page->target;
}

static void note_stall(struct ferry_mover *m, uint32_t pages)
{
	struct ferry_counters *counters = &m->space->books->counters;
	uint64_t stall, bucket;

	m->back_ns = ferry_os->now_ns();
	stall = m->back_ns > m->flight.started_ns ? m->back_ns - m->flight.started_ns : 1;
	bucket = 63 - (uint64_t)__builtin_clzll(stall);
	if (bucket >= FERRY_STALL_BUCKETS)
		bucket = FERRY_STALL_BUCKETS - 1;
	ferry_count(&counters->stall[bucket], pages);
	/* Two movers may both raise it: the lock is held. */
	if (stall > counters->stall_max_ns)
		__atomic_store_n(&counters->stall_max_ns, stall, __ATOMIC_RELAXED);
}

/* The entries of a page that is in: their frame, their state. */
static void enter_entries(struct ferry_mover *m, struct ferry_flight_page *page, bool home)
{
	struct ferry_pte *slot = ferry_mover_slot(m, page->va);
	struct ferry_frame frame = frame_of(page, home);

	if (m->flight.split)
		frame.huge = 0;
	for (uint32_t i = 0; i < unit_pages(page, m->flight.split); i++) {
		uint64_t ahead = slot[i].word & FERRY_PTE_AHEAD;

		FERRY_ASSERT(ferry_pte_state(slot[i]) == FERRY_PTE_HELD &&
			     ferry_pte_has(slot[i], FERRY_PTE_BUSY));
		ferry_entry_set(m->space, &slot[i],
				ferry_pte_make(FERRY_PTE_MAPPED, ferry_frame_plus(frame, i),
					       (uint32_t)ahead));
	}
	page->entered = true;
}

/* Gives back the old frames of pages [k, k + n): runs of consecutive ones at a time. */
static void put_sources(struct ferry_mover *m, uint32_t k, uint32_t n)
{
	const struct ferry_flight_page *pages = &m->flight.pages[k];

	for (uint32_t i = 0, len; i < n; i += len) {
		struct ferry_frame first = pages[i].source;

		len = 1;
		while (i + len < n && !first.huge && pages[i + len].source.node == first.node &&
		       pages[i + len].source.number == first.number + len)
			len++;
		put_frame(m, first, first.huge ? FERRY_HUGE_PAGES : len);
	}
}

/* A node that gives up a page has a frame again. */
static void node_has_frame(struct ferry_mover *m, uint32_t node)
{
	m->full.word[node / 64] &= ~(UINT64_C(1) << (node % 64));
}

static void count_moved(struct ferry_mover *m, const struct ferry_flight_page *page, uint32_t pages)
{
	struct ferry_counters *counters = &m->space->books->counters;

	m->moved += pages;
	ferry_count(&counters->moved_pages, pages);
	if (page->source.huge && !m->flight.split)
		ferry_count(&counters->moved_huge, 1);
	node_has_frame(m, page->source.node);
}

/* Pages [k, k + n), consecutive, are accessible: at their targets, or at home. */
static void commit(struct ferry_mover *m, uint32_t k, uint32_t n, bool home)
{
	struct ferry_flight_page *pages = &m->flight.pages[k];
	uint32_t total = n * unit_pages(&pages[0], m->flight.split);
	struct ferry_space *space = m->space;

	for (uint32_t i = 0; i < n; i++)
		enter_entries(m, &pages[i], home);
	space->mmu->ops->wake(space->mmu, pages[0].va, total);
	note_stall(m, total);
	if (home)
		ferry_count(&space->books->counters.brought_home, total);
	else
		count_moved(m, &pages[0], total);
	if (!home)
		ferry_flight_tally(space, pages[0].target.node, -(int64_t)total);
	if (m->flight.split) {
		/* Its frames go back with the huge slots; its entry is answered then too. */
		if (!home)
			ferry_flight_tally(space, pages[0].source.node, total);
		return;
	}
	if (!home)
		put_sources(m, k, n);
	for (uint32_t i = 0; i < n; i++) {
		if (home) {
			put_new(m, pages[i].target);
			put_off(m, &pages[i], FERRY_REASON_BUSY);
		} else {
			answer(m, &pages[i], pages[i].target.node, FERRY_REASON_MOVED);
		}
	}
}

/* A page that is gone gives both frames back. */
static void release_gone(struct ferry_mover *m, uint32_t k)
{
	struct ferry_flight_page *page = &m->flight.pages[k];
	int64_t pages = unit_pages(page, m->flight.split);

	page->entered = true;
	if (m->flight.split)
		return;
	put_sources(m, k, 1);
	ferry_flight_tally(m->space, page->source.node, -pages);
	put_new(m, page->target);
	node_has_frame(m, page->source.node);
	answer(m, page, -ENOENT, FERRY_REASON_VANISHED);
}

/* A page has no place to come in at; occupied: there is another page of the host's now. */
static void vanish(struct ferry_mover *m, uint32_t k, bool occupied)
{
	struct ferry_flight_page *page = &m->flight.pages[k];
	struct ferry_pte *slot = ferry_mover_slot(m, page->va);

	ferry_entry_set(m->space, slot, ferry_entry_blank(*slot));
	ferry_flight_tally(m->space, page->source.node, 1);
	ferry_count(&m->space->books->counters.healed, 1);
	if (occupied)
		ferry_entry_adopt(m->space, slot, page->va, page->source.node, 0);
	page->gone = true;
	m->space->mmu->ops->wake(m->space->mmu, page->va, 1);
	release_gone(m, k);
}

/* Neither moving nor copying works there: the page stays away, its next touch tries again. */
static void park(struct ferry_mover *m, uint32_t k)
{
	struct ferry_flight_page *page = &m->flight.pages[k];
	struct ferry_pte *slot = ferry_mover_slot(m, page->va);

	ferry_entry_set(m->space, slot, ferry_entry_with(*slot, 0, FERRY_PTE_BUSY));
	drop_target(m, page);
	page->entered = true;
	m->space->mmu->ops->wake(m->space->mmu, page->va, 1);
	answer(m, page, -EBUSY, FERRY_REASON_PROTECTION);
}

/* The numbers of one side of a split flight that no entry uses; the slots were dropped. */
static void put_unused(struct ferry_mover *m, bool sources)
{
	for (uint32_t k = 0; k < FERRY_HUGE_PAGES; k++) {
		const struct ferry_flight_page *page = &m->flight.pages[k];
		struct ferry_run run = { .first = frame_of(page, sources), .pages = 1 };

		run.first.huge = 0;
		if (!page->gone)
			continue;
		ferry_frames_put(m->space, run, FERRY_CONTENT_NONE, true);
		ferry_flight_tally(m->space, run.first.node, -1);
	}
}

/* All pages of a split flight are in or gone: gives back the huge slots, answers the entries. */
static void finish_split(struct ferry_mover *m, bool home)
{
	struct ferry_run used = home ? m->huge_source : m->huge_target;
	struct ferry_run unused = home ? m->huge_target : m->huge_source;
	const struct ferry_flight_page *pages = m->flight.pages;

	ferry_frames_drop(m->space, used);
	put_unused(m, home);
	if (home) {
		put_new(m, unused.first);
	} else {
		put_frame(m, unused.first, FERRY_HUGE_PAGES);
		ferry_flight_tally(m->space, unused.first.node, -FERRY_HUGE_PAGES);
	}
	for (size_t i = pages[0].index; i < m->group_end; i++) {
		const struct ferry_flight_page *page = &pages[ferry_entry_index(m->entries[i].va)];

		/* Some may have had an answer before there was a huge frame. */
		if (m->entries[i].status != FERRY_MOVE_PENDING)
			continue;
		if (page->gone)
			ferry_mover_settle(m, i, -ENOENT, FERRY_REASON_VANISHED);
		else if (home)
			ferry_mover_put_off(m, i, FERRY_REASON_BUSY);
		else
			ferry_mover_settle(m, i, used.first.node, FERRY_REASON_MOVED);
	}
}

/* --- in: the MMU -------------------------------------------------------------------------- */

/* Pages from k on that one call can bring in. */
static uint32_t in_run(const struct ferry_mover *m, uint32_t k, bool home)
{
	const struct ferry_flight_page *first = &m->flight.pages[k];
	struct ferry_frame start = frame_of(first, home);
	uint32_t len = 1;

	if (ferry_flight_is_huge(&m->flight))
		return 1;
	while (k + len < m->flight.count) {
		const struct ferry_flight_page *page = &first[len];
		struct ferry_frame frame = frame_of(page, home);

		if (page->gone || page->entered ||
		    page->va != first->va + (ferry_va)len * FERRY_PAGE_SIZE ||
		    frame.node != start.node || frame.number != start.number + len)
			break;
		/* The pages of a run have their sources on one node too: they are counted as one.
		 */
		if (page->source.node != first->source.node ||
		    page->target.node != first->target.node)
			break;
		len++;
	}
	return len;
}

/* Lets the lock go so that events can be read. */
static void pause_for_events(struct ferry_mover *m)
{
	struct ferry_space *space = m->space;

	ferry_lock_release(&space->lock);
	if (space->host.read_events != NULL)
		space->host.read_events(space->host.context);
	ferry_os->yield();
	ferry_lock_acquire(&space->lock);
	ferry_mover_forget(m);
}

/* => pages (or the one huge frame) that are in, from k on; *err says why not more. */
static uint32_t bring_in(struct ferry_mover *m, uint32_t k, bool home, int *err)
{
	struct ferry_mmu *mmu = m->space->mmu;
	const struct ferry_flight_page *page = &m->flight.pages[k];
	struct ferry_run run = { .first = frame_of(page, home), .pages = in_run(m, k, home) };
	uint32_t done = 0;

	if (!run.first.huge) {
		*err = ferry_frames_enter(m->space, page->va, run, &done);
	} else if (m->flight.split) {
		*err = mmu->ops->enter_copy(mmu, page->va, run.first, run.pages, &done);
		ferry_count(&m->space->books->counters.moved_by_copy, done);
	} else {
		*err = -EINVAL;
		if (!m->space->machine->copy_path)
			*err = mmu->ops->enter(mmu, page->va, run.first, FERRY_HUGE_PAGES, &done);
		if (*err == 0)
			done = 1;
		else if (done > 0) /* the host has split it: the others follow one by one */
			ferry_flight_split(m->space, &m->flight);
	}
	return done;
}

/* What the host says instead of taking page k. tries counts what cannot go on for ever. */
static void in_failed(struct ferry_mover *m, uint32_t k, int err, uint32_t *tries)
{
	struct ferry_space *space = m->space;
	bool whole = ferry_flight_is_huge(&m->flight);
	uint8_t flags = 0;

	switch (err) {
	case -ESRCH:
		__atomic_store_n(&space->gone, 1, __ATOMIC_RELAXED);
		return;
	case -ENOENT:
		if (whole)
			ferry_flight_split(space, &m->flight);
		else
			vanish(m, k, false);
		return;
	case -EEXIST:
		if (whole)
			ferry_flight_split(space, &m->flight);
		else if (space->mmu->ops->lookup(space->mmu, m->flight.pages[k].va, 1, &flags) ==
				 0 &&
			 (flags & FERRY_MMU_PRESENT) != 0)
			vanish(m, k, true);
		else
			pause_for_events(m);
		return;
	case -EINVAL:
		if (whole)
			ferry_flight_split(space, &m->flight);
		else if (++*tries > ENTER_TRIES && !m->flight.split)
			park(m, k);
		else
			pause_for_events(m);
		return;
	default:
		pause_for_events(m);
		return;
	}
}

/* The space has ended: the frames go back, nothing comes in. */
static void abandon(struct ferry_mover *m)
{
	if (ferry_flight_is_huge(&m->flight) && !m->flight.pages[0].gone)
		ferry_flight_split(m->space, &m->flight);
	for (uint32_t k = 0; k < m->flight.count; k++) {
		const struct ferry_flight_page *page = &m->flight.pages[k];

		if (page->entered)
			continue;
		if (page->gone)
			release_gone(m, k);
		else
			vanish(m, k, false);
	}
}

static void land(struct ferry_mover *m)
{
	struct ferry_space *space = m->space;
	struct ferry_flight **at = &space->flights;

	while (*at != &m->flight)
		at = &(*at)->next;
	*at = m->flight.next;
	__atomic_store_n(&space->flight_count, space->flight_count - 1, __ATOMIC_RELAXED);
	if (space->gate > 0)
		ferry_os->wake(&space->flight_count, INT32_MAX);
}

void ferry_mover_in(struct ferry_mover *m, bool home)
{
	uint32_t tries = 0;

	m->flight.home = home;
	for (uint32_t k = 0; k < m->flight.count && m->space->gone == 0;) {
		const struct ferry_flight_page *page = &m->flight.pages[k];
		uint32_t done;
		int err;

		if (page->entered) {
			k++;
			continue;
		}
		if (page->gone) {
			release_gone(m, k++);
			continue;
		}
		done = bring_in(m, k, home, &err);
		if (done > 0)
			commit(m, k, done, home);
		k += done;
		if (err != 0)
			in_failed(m, k, err, &tries);
	}
	if (m->space->gone != 0)
		abandon(m);
	if (m->flight.split)
		finish_split(m, home);
	land(m);
}
