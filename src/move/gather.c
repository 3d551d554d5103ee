/* SPDX-License-Identifier: MIT */
/*
 * gather.c - which pages a batch takes, and where they go.
 *
 * An entry of the caller's list is pending, then settled once. Here it is settled when its page
 * needs no move or can have none; put off when time may help; or it becomes a page of the batch.
 */
#include <errno.h>

#include "base/os.h"
#include "map/region.h"
#include "move/mover.h"

enum {
	GATHER_LOOK = 8192, /* entries looked at while the lock is held */
	SCATTERED = 8,      /* one break in so many neighbours is worth new numbers */
};

/* What to do with an entry. */
enum verdict {
	ANSWERED, /* settled or put off */
	TAKE,     /* a page for the batch */
	TAKE_HUGE,
	UNSHARE, /* a page to be made our own */
};

void ferry_mover_settle(struct ferry_mover *m, size_t index, int32_t status,
			enum ferry_reason reason)
{
	struct ferry_page *entry = &m->entries[index];

	FERRY_DASSERT(entry->status == FERRY_MOVE_PENDING);
	entry->status = status;
	entry->reason = (uint8_t)reason;
	entry->passes = (uint8_t)(m->pass + 1);
	if (entry->result != NULL)
		*entry->result = status;
	m->done++;
	m->failed += ferry_status_failed(status);
	ferry_count(&m->space->books->counters.status[reason], 1);
}

void ferry_mover_put_off(struct ferry_mover *m, size_t index, enum ferry_reason reason)
{
	m->entries[index].reason = (uint8_t)reason;
	if (reason != FERRY_REASON_FULL)
		m->busy = true;
}

void ferry_mover_settle_shared(struct ferry_mover *m, size_t index)
{
	if (!m->list->move_all) {
		ferry_mover_settle(m, index, -EACCES, FERRY_REASON_SHARED);
	} else if (m->entries[index].sharing == FERRY_UNSHARED) {
		/* It cannot be written to, or somebody has forked meanwhile. */
		ferry_mover_settle(m, index, -EBUSY, FERRY_REASON_PINNED);
	} else {
		m->entries[index].sharing = FERRY_SHARED;
		ferry_mover_put_off(m, index, FERRY_REASON_SHARED);
	}
}

uint8_t ferry_mover_look(struct ferry_mover *m, ferry_va va)
{
	struct ferry_mmu *mmu = m->space->mmu;
	ferry_va end = ferry_huge_down(va) + FERRY_HUGE_SIZE;
	uint32_t pages = FERRY_LOOK_PAGES;

	if (m->look_pages > 0 && va >= m->look_va &&
	    va < m->look_va + (ferry_va)m->look_pages * FERRY_PAGE_SIZE)
		return m->look[(va - m->look_va) >> FERRY_PAGE_SHIFT];
	if (pages > (end - va) >> FERRY_PAGE_SHIFT)
		pages = (uint32_t)((end - va) >> FERRY_PAGE_SHIFT);
	m->look_pages = 0;
	/* Not knowing, assume what lets the MMU decide. */
	if (mmu->ops->lookup(mmu, va, pages, m->look) != 0)
		return FERRY_MMU_PRESENT | FERRY_MMU_EXCLUSIVE;
	m->look_va = va;
	m->look_pages = pages;
	return m->look[0];
}

/* --- verdicts ----------------------------------------------------------------------------- */

/* An address in no region: is anything mapped there, and is there a page? */
static void answer_unmanaged(struct ferry_mover *m, size_t index)
{
	const struct ferry_space_host *host = &m->space->host;
	ferry_va va = m->entries[index].va;
	bool anonymous;
	int err = -ENOENT, status = 0;

	if (va < m->hole_start || va >= m->hole_end) {
		m->hole_start = m->hole_end = 0;
		if (host->mapping_at != NULL)
			err = host->mapping_at(host->context, va, &m->hole_start, &m->hole_end,
					       &anonymous);
		m->hole_reason = err == 0 ? FERRY_REASON_UNMANAGED : FERRY_REASON_UNMAPPED;
	}
	if (m->hole_reason == FERRY_REASON_UNMAPPED)
		status = -EFAULT;
	else if (host->page_at != NULL)
		status = host->page_at(host->context, va);
	if (status == -EFAULT)
		ferry_mover_settle(m, index, -EFAULT, FERRY_REASON_UNMAPPED);
	else if (status == -ENOENT)
		ferry_mover_settle(m, index, -ENOENT, FERRY_REASON_ABSENT);
	else
		ferry_mover_settle(m, index, -EBUSY, FERRY_REASON_UNMANAGED);
}

/* Looks for a page where none is known but one may be. => its entry, or NULL. */
static struct ferry_pte *find_unknown(struct ferry_mover *m, ferry_va va)
{
	struct ferry_pte *slot;

	if (!ferry_space_is_in_doubt(m->space, va))
		return NULL;
	if (ferry_space_reconcile(m->space, va, va + FERRY_PAGE_SIZE, -1) != 0)
		return NULL;
	ferry_mover_forget(m);
	slot = ferry_mover_slot(m, va);
	return slot == NULL || ferry_pte_state(*slot) == FERRY_PTE_NONE ? NULL : slot;
}

static void answer_absent(struct ferry_mover *m, size_t index)
{
	if (ferry_region_find(m->space->books, m->entries[index].va) != NULL)
		ferry_mover_settle(m, index, -ENOENT, FERRY_REASON_ABSENT);
	else
		answer_unmanaged(m, index);
}

static bool is_thread_frame(const struct ferry_pte *slot, ferry_va va)
{
	const struct ferry_pte *leaf = slot - ferry_entry_index(va);
	uint64_t any = 0;

	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		any |= leaf[i].word;
	return (any & FERRY_PTE_THREAD) != 0;
}

/* A page shared since a fork as far as we know: the host knows better. => it is our own now. */
static bool judge_shared(struct ferry_mover *m, size_t index, struct ferry_pte *slot)
{
	uint8_t flags = ferry_mover_look(m, m->entries[index].va);

	if ((flags & FERRY_MMU_PRESENT) == 0 &&
	    !ferry_entry_is_lost(m->space, m->entries[index].va)) {
		m->events = true;
		ferry_mover_put_off(m, index, FERRY_REASON_BUSY);
		return false;
	}
	if ((flags & FERRY_MMU_PRESENT) == 0) {
		ferry_entry_forget(m->space, slot);
		ferry_count(&m->space->books->counters.healed, 1);
		ferry_mover_settle(m, index, -ENOENT, FERRY_REASON_ABSENT);
		return false;
	}
	if ((flags & FERRY_MMU_EXCLUSIVE) == 0) {
		ferry_mover_settle_shared(m, index);
		return false;
	}
	ferry_entry_own(m->space, slot, m->entries[index].va);
	return true;
}

/* A page that is away: is it somebody's? => false: put off. */
static bool judge_held(struct ferry_mover *m, size_t index, struct ferry_pte *slot)
{
	int err = -EAGAIN;

	if (!ferry_pte_has(*slot, FERRY_PTE_BUSY))
		err = ferry_space_bring_home(m->space, m->entries[index].va);
	if (err == 0 && ferry_pte_state(*slot) == FERRY_PTE_MAPPED)
		return true;
	if (err == -EAGAIN)
		ferry_mover_put_off(m, index, FERRY_REASON_BUSY);
	else
		ferry_mover_settle(m, index, -ENOENT, FERRY_REASON_VANISHED);
	return false;
}

/* Entries of one huge frame have one target: the last one's. */
static void agree_on_target(struct ferry_mover *m, size_t index)
{
	ferry_va frame = ferry_huge_down(m->entries[index].va);
	size_t end = index + 1;

	if (end == m->count || ferry_huge_down(m->entries[end].va) != frame ||
	    m->entries[end].target == m->entries[index].target)
		return;
	while (end < m->count && ferry_huge_down(m->entries[end].va) == frame)
		end++;
	for (size_t i = index; i < end; i++)
		m->entries[i].target = m->entries[end - 1].target;
}

static enum verdict judge_resident(struct ferry_mover *m, size_t index, struct ferry_pte *slot)
{
	struct ferry_page *entry = &m->entries[index];
	bool huge = ferry_pte_has(*slot, FERRY_PTE_HUGE);

	if (huge)
		agree_on_target(m, index);
	if (ferry_pte_state(*slot) == FERRY_PTE_HELD && !judge_held(m, index, slot))
		return ANSWERED;
	if (ferry_pte_frame(*slot).node == entry->target) {
		ferry_mover_settle(m, index, entry->target, FERRY_REASON_THERE);
		return ANSWERED;
	}
	if (ferry_pte_has(*slot, FERRY_PTE_THREAD) || (huge && is_thread_frame(slot, entry->va))) {
		ferry_mover_settle(m, index, -EBUSY, FERRY_REASON_THREAD);
		return ANSWERED;
	}
	if (__atomic_load_n(&m->space->blind, __ATOMIC_ACQUIRE) != 0) {
		ferry_mover_settle(m, index, -EBUSY, FERRY_REASON_UNSEEN);
		return ANSWERED;
	}
	if (m->list->shared_only && entry->sharing == FERRY_SHARING_UNKNOWN &&
	    !ferry_mover_is_shared(ferry_mover_look(m, entry->va))) {
		ferry_mover_settle(m, index, ferry_pte_frame(*slot).node, FERRY_REASON_THERE);
		return ANSWERED;
	}
	if (entry->sharing != FERRY_SHARED && ferry_pte_has(*slot, FERRY_PTE_COW) &&
	    !judge_shared(m, index, slot))
		return ANSWERED;
	if (ferry_pte_has(*slot, FERRY_PTE_NO_SLOT) && ferry_entry_number(m->space, slot) != 0) {
		ferry_mover_settle(m, index, -EBUSY, FERRY_REASON_UNMANAGED);
		return ANSWERED;
	}
	if (entry->target >= 0 && ferry_nodeset_has(&m->full, (uint32_t)entry->target)) {
		ferry_mover_put_off(m, index, FERRY_REASON_FULL);
		return ANSWERED;
	}
	if (entry->sharing == FERRY_SHARED)
		return UNSHARE;
	return huge ? TAKE_HUGE : TAKE;
}

static enum verdict judge(struct ferry_mover *m, size_t index, struct ferry_pte *slot)
{
	enum ferry_pte_state state = slot == NULL ? FERRY_PTE_NONE : ferry_pte_state(*slot);

	if (state == FERRY_PTE_NONE)
		slot = find_unknown(m, m->entries[index].va);
	if (state == FERRY_PTE_NONE && slot != NULL)
		state = ferry_pte_state(*slot);
	switch (state) {
	case FERRY_PTE_NONE:
		answer_absent(m, index);
		return ANSWERED;
	case FERRY_PTE_ZERO:
		ferry_mover_settle(m, index, -EFAULT, FERRY_REASON_ZERO);
		return ANSWERED;
	default:
		return judge_resident(m, index, slot);
	}
}

/* --- gathering ---------------------------------------------------------------------------- */

static void add_page(struct ferry_mover *m, uint32_t n, size_t index, ferry_va va,
		     struct ferry_frame source)
{
	struct ferry_flight_page *page = &m->flight.pages[n];

	page->va = va;
	page->source = source;
	page->slot = source;
	page->gone = false;
	page->entered = false;
	page->index = (uint32_t)index;
	m->wanted = n == 0 ? 1
			   : m->wanted + (m->entries[index].target ==
					  m->entries[m->flight.pages[0].index].target);
	if (m->pass > 0)
		ferry_count(&m->space->books->counters.retries, 1);
}

/* A huge frame: one page of the batch for all entries in it. */
static void add_huge(struct ferry_mover *m, size_t index, const struct ferry_pte *slot)
{
	ferry_va va = m->entries[index].va, base = ferry_huge_down(va);
	struct ferry_frame source = ferry_pte_frame(*(slot - ferry_entry_index(va)));
	size_t end = index;

	while (end < m->count && m->entries[end].va < base + FERRY_HUGE_SIZE)
		m->entries[end++].resolved = FERRY_RESOLVED;
	m->group_end = end;
	add_page(m, 0, index, base, source);
}

uint32_t ferry_mover_gather(struct ferry_mover *m, size_t *next)
{
	uint32_t n = 0;
	size_t i = *next;
	size_t stop = m->count - i > GATHER_LOOK ? i + GATHER_LOOK : m->count;

	m->group_end = 0;
	for (; i < stop && n < m->limit && m->shared_count < FERRY_BATCH_MAX; i++) {
		struct ferry_page *entry = &m->entries[i];
		struct ferry_pte *slot;
		enum verdict verdict;

		if (entry->status != FERRY_MOVE_PENDING)
			continue;
		if (entry->resolved == FERRY_RESOLVED_GONE) {
			ferry_mover_settle(m, i, -ENOENT, FERRY_REASON_VANISHED);
			continue;
		}
		entry->resolved = FERRY_RESOLVED;
		slot = ferry_mover_slot(m, entry->va);
		verdict = judge(m, i, slot);
		if (verdict == UNSHARE) {
			if (n > 0)
				break;
			ferry_mover_add_shared(m, i);
			continue;
		}
		if (verdict == ANSWERED)
			continue;
		if (m->shared_count > 0)
			break;
		slot = ferry_mover_slot(m, entry->va);
		if (verdict == TAKE) {
			add_page(m, n++, i, entry->va, ferry_pte_frame(*slot));
		} else if (verdict == TAKE_HUGE) {
			if (n > 0)
				break;
			add_huge(m, i, slot);
			i = m->group_end;
			n = 1;
			break;
		}
	}
	*next = i;
	return n;
}

/* --- targets ------------------------------------------------------------------------------ */

/* Neighbouring pages from k on that go to one node: they want neighbouring frames. */
static uint32_t same_target(const struct ferry_mover *m, uint32_t k, uint32_t n)
{
	const struct ferry_flight_page *first = &m->flight.pages[k];
	int32_t target = m->entries[first->index].target;
	uint32_t pages = 1;

	while (k + pages < n && first[pages].va == first->va + (ferry_va)pages * FERRY_PAGE_SIZE &&
	       m->entries[first[pages].index].target == target)
		pages++;
	return pages;
}

/* Asks for the frames of pages [k, k + run), neighbours. => pages that have one; *again: whoever
 * was asked for the next one found some meanwhile. */
static uint32_t ask_frames(struct ferry_mover *m, uint32_t k, uint32_t run, bool *again)
{
	uint32_t got = 0;

	for (; got < run; got++) {
		struct ferry_flight_page *page = &m->flight.pages[k + got];
		struct ferry_page *entry = &m->entries[page->index];
		struct ferry_frame *frame;

		entry->huge = page->source.huge != 0;
		entry->run = (uint16_t)(run - got);
		entry->wanted = (uint16_t)(k + got == 0 ? m->wanted : 0);
		frame = m->get_new_page(entry, m->private, &entry->result);
		*again = frame == &ferry_frame_again;
		if (frame == NULL || *again)
			break;
		FERRY_DASSERT(!frame->huge == !page->source.huge);
		page->target = *frame;
		ferry_flight_tally(m->space, frame->node, frame->huge ? FERRY_HUGE_PAGES : 1);
	}
	return got;
}

/* There is no frame for the first page of the batch. */
static void no_target(struct ferry_mover *m, size_t *next)
{
	size_t first = m->flight.pages[0].index, end = m->group_end > 0 ? m->group_end : first + 1;
	int32_t target = m->entries[first].target;

	/* Where there is no room for a huge frame, small ones may still have it. */
	if (m->group_end == 0 && target != FERRY_ANY_NODE)
		ferry_nodeset_add(&m->full, (uint32_t)target);
	for (*next = first; *next < end; (*next)++)
		ferry_mover_put_off(m, *next, FERRY_REASON_FULL);
}

uint32_t ferry_mover_targets(struct ferry_mover *m, uint32_t n, size_t *next)
{
	uint32_t k = 0, run = 1, got = 1;
	bool again = false;

	while (k < n && got == run) {
		run = same_target(m, k, n);
		got = ask_frames(m, k, run, &again);
		k += got;
	}
	if (k == n)
		return n;
	/* The others are gathered again. */
	*next = m->flight.pages[k].index;
	if (k == 0 && !again)
		no_target(m, next);
	return k;
}

/* --- new numbers -------------------------------------------------------------------------- */

/* Pages from k on with memory of one node; *breaks = neighbours whose frames are none. */
static uint32_t same_source(const struct ferry_mover *m, uint32_t k, uint32_t n, uint32_t *breaks)
{
	const struct ferry_flight_page *first = &m->flight.pages[k];
	uint32_t pages = 1;

	*breaks = 0;
	for (; k + pages < n && first[pages].source.node == first->source.node; pages++)
		*breaks += first[pages].source.number != first[pages - 1].source.number + 1;
	return pages;
}

void ferry_mover_number(struct ferry_mover *m, uint32_t n)
{
	uint32_t pages, breaks;

	for (uint32_t k = 0; k < n && m->group_end == 0; k += pages) {
		struct ferry_flight_page *page = &m->flight.pages[k];
		struct ferry_pool *pool = &m->space->pools[page->source.node];
		struct ferry_run run;

		pages = same_source(m, k, n, &breaks);
		if (breaks * SCATTERED < pages)
			continue;
		pages = ferry_pool_take_numbers(pool, pages, &run);
		for (uint32_t i = 0; i < pages; i++)
			page[i].slot = ferry_frame_plus(run.first, i);
		if (pages == 0)
			pages = 1;
	}
}
