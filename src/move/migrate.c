/* SPDX-License-Identifier: MIT */
/*
 * migrate.c - moving a list of pages: passes over the list, batches in a pass; see migrate.h.
 *
 * A pass takes every entry without an answer once. Between two passes the mover gives way, later it
 * sleeps a little longer each time (about 6 ms in all), so that pins and other movers may end.
 * Entries that only lack a frame are tried again as long as passes move anything.
 */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "move/mover.h"

enum {
	PASSES = 10,
	QUICK_PASSES = 3,            /* before these the mover gives way only */
	FIRST_SLEEP_NS = 100 * 1000, /* doubled each time */
	FIRST_BATCH = 64,
	GATE_WAIT_NS = 1000 * 1000,
};

static const char *const reason_texts[FERRY_REASON_COUNT] = {
	[FERRY_REASON_MOVED] = "moved",
	[FERRY_REASON_THERE] = "already there",
	[FERRY_REASON_ABSENT] = "absent",
	[FERRY_REASON_ZERO] = "zero page",
	[FERRY_REASON_UNMAPPED] = "not mapped",
	[FERRY_REASON_PINNED] = "pinned",
	[FERRY_REASON_BUSY] = "busy",
	[FERRY_REASON_THREAD] = "holds a thread's control block",
	[FERRY_REASON_PROTECTION] = "protection of the mapping",
	[FERRY_REASON_LOCKED] = "locked",
	[FERRY_REASON_SHARED] = "shared",
	[FERRY_REASON_FULL] = "target full",
	[FERRY_REASON_VANISHED] = "vanished during the move",
	[FERRY_REASON_UNMANAGED] = "not managed",
	[FERRY_REASON_UNSEEN] = "pins not visible on this kernel",
};

const char *ferry_reason_text(enum ferry_reason reason)
{
	return (unsigned int)reason < FERRY_REASON_COUNT ? reason_texts[reason] : "unknown";
}

/* --- the size of batches -------------------------------------------------------------------- */

/* Sizes the next batch so that its pages are away for the budget at most, as far as one can tell.
 */
static void adapt(struct ferry_mover *m)
{
	uint64_t away = m->back_ns - m->flight.started_ns;
	uint64_t page_ns, fits;

	/* A huge frame takes what it takes. */
	if (m->group_end > 0 || m->out_pages == 0 || m->back_ns <= m->flight.started_ns)
		return;
	page_ns = away / m->out_pages + 1;
	/* Slower counts at once, faster by and by. */
	if (page_ns < m->page_ns)
		page_ns = m->page_ns - (m->page_ns - page_ns) / 4;
	m->page_ns = page_ns;
	fits = m->budget_ns * 3 / 4 / page_ns;
	if (fits > (uint64_t)m->limit * 2)
		fits = (uint64_t)m->limit * 2;
	if (fits > FERRY_BATCH_MAX)
		fits = FERRY_BATCH_MAX;
	m->limit = fits < 1 ? 1 : (uint32_t)fits;
}

/* --- a batch ------------------------------------------------------------------------------ */

/* Gathers a batch and takes it out. => lock held. false: nothing is out. */
static bool depart(struct ferry_mover *m, size_t *next)
{
	uint32_t n = ferry_mover_gather(m, next);

	if (n > 0)
		n = ferry_mover_targets(m, n, next);
	/* The gate may have been closed while targets() asked for frames; then it answered 0. */
	if (n == 0)
		return false;
	ferry_mover_number(m, n);
	ferry_mover_out(m, n, next);
	return m->flight.count > 0;
}

/* => false: the gate is closed; waited a little. */
static bool enter_gate(struct ferry_mover *m)
{
	struct ferry_space *space = m->space;
	uint32_t gate;

	ferry_lock_acquire(&space->lock);
	gate = space->gate;
	if (gate == 0)
		return true;
	ferry_lock_release(&space->lock);
	ferry_os->wait(&space->gate, gate, GATE_WAIT_NS);
	return false;
}

static void read_events(struct ferry_mover *m)
{
	if (m->space->host.read_events != NULL)
		m->space->host.read_events(m->space->host.context);
	ferry_os->yield();
	m->events = false;
}

/* One batch of the list from *next on. => lock NOT held. */
static void run_batch(struct ferry_mover *m, size_t *next)
{
	struct ferry_space *space = m->space;
	bool out;

	if (!enter_gate(m))
		return;
	ferry_mover_forget(m);
	out = depart(m, next);
	ferry_lock_release(&space->lock);
	if (out) {
		bool home = m->flight.home || ferry_mover_copy(m) != 0;

		ferry_lock_acquire(&space->lock);
		ferry_mover_forget(m);
		ferry_mover_in(m, home);
		ferry_lock_release(&space->lock);
		adapt(m);
	}
	if (m->shared_count > 0)
		*next = ferry_mover_unshare(m);
	/* Nothing of ours is away now. */
	if (space->mmu->ops->settle != NULL)
		space->mmu->ops->settle(space->mmu);
	if (m->events)
		read_events(m);
}

/* --- passes ------------------------------------------------------------------------------- */

static bool is_stopped(const struct ferry_mover *m)
{
	const struct ferry_page_list *list = m->list;

	return list->between != NULL && list->between(list->context, m->done);
}

/* => true: stop here. */
static bool run_pass(struct ferry_mover *m)
{
	size_t next = 0;

	m->busy = false;
	m->moved = 0;
	m->again = 0;
	memset(&m->full, 0, sizeof(m->full));
	while (next < m->count) {
		run_batch(m, &next);
		if (__atomic_load_n(&m->space->gone, __ATOMIC_RELAXED) != 0 ||
		    __atomic_load_n(&m->space->frozen, __ATOMIC_RELAXED) != 0 || is_stopped(m))
			return true;
	}
	return false;
}

static void rest(struct ferry_mover *m)
{
	if (m->pass == 0)
		ferry_mover_reclaim(m);
	read_events(m);
	if (m->pass >= QUICK_PASSES)
		ferry_os->wait(&m->never, 0, (uint64_t)FIRST_SLEEP_NS << (m->pass - QUICK_PASSES));
}

static void run_passes(struct ferry_mover *m)
{
	for (m->pass = 0; m->pass < PASSES; m->pass++) {
		if (run_pass(m) || m->done == m->count)
			return;
		if (!m->busy && m->moved == 0)
			return;
		if (m->busy && m->pass + 1 < PASSES)
			rest(m);
	}
	m->pass = PASSES - 1;
}

/* What has no answer yet gets one. */
static void settle_rest(struct ferry_mover *m, bool gone)
{
	for (size_t i = 0; i < m->count && m->done < m->count; i++) {
		struct ferry_page *entry = &m->entries[i];

		if (entry->status != FERRY_MOVE_PENDING)
			continue;
		if (gone)
			ferry_mover_settle(m, i, -ENOENT, FERRY_REASON_VANISHED);
		else if (entry->reason == FERRY_REASON_FULL)
			ferry_mover_settle(m, i, -ENOMEM, FERRY_REASON_FULL);
		else
			ferry_mover_settle(m, i, -EBUSY, (enum ferry_reason)entry->reason);
	}
}

/* --- pages that the program gives up ------------------------------------------------------ */

static size_t first_at_or_above(const struct ferry_mover *m, ferry_va va)
{
	size_t low = 0, high = m->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (m->entries[middle].va < va)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* => lock held. */
static void note_gone(struct ferry_lookup *lookup, ferry_va start, ferry_va end)
{
	char *mover = (char *)lookup - offsetof(struct ferry_mover, lookup);
	struct ferry_mover *m = (struct ferry_mover *)(void *)mover;

	for (size_t i = first_at_or_above(m, start); i < m->count && m->entries[i].va < end; i++) {
		if (m->entries[i].resolved == FERRY_RESOLVED)
			m->entries[i].resolved = FERRY_RESOLVED_GONE;
	}
}

/* --- the working memory ----------------------------------------------------------------------- */

/* => space lock held. */
static void mover_init(struct ferry_mover *m, const struct ferry_page_list *list)
{
	/* All but the pages of the flight, which are written before they are read. */
	memset(m, 0, offsetof(struct ferry_mover, flight.pages));
	m->space = list->space;
	m->list = list;
	m->entries = list->pages;
	m->count = list->count;
	m->limit = FIRST_BATCH;
	m->budget_ns = list->stall_budget_ns != 0 ? list->stall_budget_ns
						  : list->space->machine->stall_budget_ns;
	ferry_mover_forget(m);
	m->lookup.gone = note_gone;
	m->lookup.next = m->space->lookups;
	m->space->lookups = &m->lookup;
}

static struct ferry_mover *mover_get(const struct ferry_page_list *list)
{
	struct ferry_space *space = list->space;
	struct ferry_mover *m;

	ferry_lock_acquire(&space->lock);
	m = space->idle_mover;
	space->idle_mover = NULL;
	if (m == NULL) {
		ferry_lock_release(&space->lock);
		m = ferry_os->alloc(sizeof(*m));
		if (m == NULL)
			return NULL;
		ferry_lock_acquire(&space->lock);
	}
	mover_init(m, list);
	ferry_lock_release(&space->lock);
	return m;
}

static void forget_lookup(struct ferry_space *space, const struct ferry_lookup *lookup)
{
	struct ferry_lookup **at = &space->lookups;

	while (*at != lookup)
		at = &(*at)->next;
	*at = lookup->next;
}

static void mover_put(struct ferry_space *space, struct ferry_mover *m)
{
	ferry_lock_acquire(&space->lock);
	forget_lookup(space, &m->lookup);
	if (space->idle_mover == NULL) {
		space->idle_mover = m;
		space->idle_mover_bytes = sizeof(*m);
		m = NULL;
	}
	ferry_lock_release(&space->lock);
	if (m != NULL)
		ferry_os->free(m, sizeof(*m));
}

static void entries_init(const struct ferry_page_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		list->pages[i].status = FERRY_MOVE_PENDING;
		list->pages[i].reason = FERRY_REASON_BUSY;
		list->pages[i].passes = 0;
		list->pages[i].resolved = FERRY_RESOLVED_NOT;
		list->pages[i].sharing = FERRY_SHARING_UNKNOWN;
	}
}

int64_t ferry_migrate_list(const struct ferry_page_list *list, ferry_get_new_page *get_new_page,
			   ferry_put_new_page *put_new_page, void *private)
{
	struct ferry_mover *m;
	int64_t result;
	bool gone;

	entries_init(list);
	m = mover_get(list);
	if (m == NULL)
		return -ENOMEM;
	m->get_new_page = get_new_page;
	m->put_new_page = put_new_page;
	m->private = private;
	run_passes(m);
	gone = __atomic_load_n(&list->space->gone, __ATOMIC_RELAXED) != 0;
	settle_rest(m, gone);
	result = gone ? -ESRCH : (int64_t)m->failed;
	mover_put(list->space, m);
	return result;
}
