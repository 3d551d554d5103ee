/* SPDX-License-Identifier: MIT */
/*
 * fault.c - serving faults; the table of answers is in fault.h.
 *
 * Each step answers with a result, or with NEXT: the entry is NONE now, go on with that.
 * Nothing here waits: what needs the machine, or events to be read, is an answer.
 */
#include "map/fault.h"

#include <errno.h>

#include "base/os.h"
#include "map/entry.h"
#include "map/region.h"

enum { NEXT = -1, HOST_TRIES = 8 };

struct service {
	struct ferry_space *space;
	struct ferry_fault *fault;
	struct ferry_region *region;
	struct ferry_pte *slot;
	ferry_va va;
	struct ferry_stream *stream; /* the one that this touch continues or begins */
	uint32_t streak;      /* ascending first touches in a row, with this one */
	struct ferry_run run; /* frames taken for this touch */
};

static int wake(const struct service *s, ferry_va va, uint64_t pages)
{
	s->space->mmu->ops->wake(s->space->mmu, va, pages);
	return FERRY_FAULT_DONE;
}

static int ended(const struct service *s)
{
	__atomic_store_n(&s->space->gone, 1, __ATOMIC_RELAXED);
	return FERRY_FAULT_GONE;
}

/* The host's page at the address is not one that we put there: it is charged. */
static int heal_present(const struct service *s, ferry_va va)
{
	ferry_count(&s->space->books->counters.healed, 1);
	if (ferry_space_reconcile(s->space, va, va + FERRY_PAGE_SIZE, s->fault->local_node) != 0)
		return ended(s);
	return wake(s, va, 1);
}

/* --- frames for a touch --------------------------------------------------------------------- */

static bool is_allowed(const struct ferry_space *space, uint32_t node)
{
	struct ferry_nodeset bound;

	if (!ferry_space_allows(space, node))
		return false;
	return space->machine->policy.mode != FERRY_POLICY_BIND ||
	       ferry_space_policy_nodes(space, &bound) == 0 || ferry_nodeset_has(&bound, node);
}

/* All nodes are dry: the one that refused longest ago, or FERRY_NODES_MAX if each was asked again.
 */
static uint32_t node_to_ask(struct service *s)
{
	uint32_t oldest = FERRY_NODES_MAX, allowed = 0;

	for (uint32_t node = 0; node < s->space->machine->node_count; node++) {
		if (!is_allowed(s->space, node))
			continue;
		allowed++;
		if (oldest == FERRY_NODES_MAX ||
		    s->space->pools[node].dry_until_ns < s->space->pools[oldest].dry_until_ns)
			oldest = node;
	}
	/* Refusals age: before anybody is ended for want of memory, each node is asked again. */
	return s->fault->asked++ < allowed ? oldest : FERRY_NODES_MAX;
}

/* The host has no memory: that may pass. */
static int host_is_full(const struct service *s)
{
	return s->fault->host_tries++ < HOST_TRIES ? FERRY_FAULT_RETRY : FERRY_FAULT_NOMEM;
}

static int ask(const struct service *s, uint32_t node, uint32_t pages)
{
	s->fault->short_node = node;
	s->fault->short_pages = pages;
	return FERRY_FAULT_SHORT;
}

/* Takes frames for a small touch. => pages, or a negative number and *result. */
static int take_small(struct service *s, uint32_t want, int *result)
{
	struct ferry_touch touch = {
		.va = s->va,
		.local_node = s->fault->local_node,
		.want = want,
		.shared = (s->region->flags & FERRY_REGION_SHARED) != 0,
	};
	int ret = ferry_space_take(s->space, &touch, &s->run);
	uint32_t node = touch.short_node;

	if (ret == -ENOSPC && node == FERRY_NODES_MAX &&
	    ferry_space_reclaim_ahead(s->space, FERRY_AHEAD_MAX) > 0) {
		touch.want = 1;
		ret = ferry_space_take(s->space, &touch, &s->run);
		node = touch.short_node;
	}
	if (ret > 0)
		return ret;
	if (ret == -ESRCH) {
		*result = ended(s);
	} else if (ret != -ENOSPC) {
		*result = host_is_full(s);
	} else {
		if (node == FERRY_NODES_MAX)
			node = node_to_ask(s);
		*result = node == FERRY_NODES_MAX ? FERRY_FAULT_NOMEM : ask(s, node, want);
	}
	return ret;
}

/* Why the first page could not be entered, as an answer. The frames are free again. */
static int enter_failed(const struct service *s, int err)
{
	switch (err) {
	case -EEXIST:
		return heal_present(s, s->va);
	case -ENOENT: /* unmapped meanwhile: the access will find out */
		return wake(s, s->va, 1);
	case -ESRCH:
		return ended(s);
	case -ENOMEM:
		return host_is_full(s);
	default:
		return FERRY_FAULT_RETRY;
	}
}

/* Frames that the touch did not use. */
static void put_back(const struct service *s, struct ferry_run run)
{
	ferry_frames_put(s->space, run, s->run.empty ? FERRY_CONTENT_NONE : FERRY_CONTENT_ZERO,
			 true);
}

/* --- NONE --------------------------------------------------------------------------------- */

static void set_mapped(const struct service *s, struct ferry_frame frame, uint32_t pages,
		       bool ahead)
{
	for (uint32_t i = 0; i < pages; i++) {
		uint32_t flags = (uint32_t)ferry_entry_blank(s->slot[i]).word;

		if (ahead && i > 0)
			flags |= FERRY_PTE_AHEAD;
		ferry_entry_set(
			s->space, &s->slot[i],
			ferry_pte_make(FERRY_PTE_MAPPED, ferry_frame_plus(frame, i), flags));
	}
}

/* The stream that a touch at va continues, or the one least lately touched. */
static struct ferry_stream *find_stream(struct ferry_space *space, ferry_va va)
{
	struct ferry_stream *oldest = &space->streams[0];

	space->stream_clock++;
	for (uint32_t i = 0; i < FERRY_STREAMS; i++) {
		struct ferry_stream *stream = &space->streams[i];

		if (stream->next == va)
			return stream;
		if (space->stream_clock - stream->touched > space->stream_clock - oldest->touched)
			oldest = stream;
	}
	return oldest;
}

/* Never much more than the streak has proved to be of use. */
static uint32_t ahead_limit(uint32_t streak)
{
	uint32_t further = streak - FERRY_STREAK_START;

	return further < 6 ? UINT32_C(1) << further : FERRY_AHEAD_MAX;
}

/* How many pages a touch may give: 1, or more in a streak of ascending first touches. */
static uint32_t pages_proved(struct service *s)
{
	const struct ferry_region *region = s->region;
	uint32_t max = FERRY_HUGE_PAGES - ferry_entry_index(s->va);

	s->stream = find_stream(s->space, s->va);
	s->streak = s->va == s->stream->next ? s->stream->streak + 1 : 1;
	/* With interleaving single pages, so that every page goes where its number says. */
	if (s->streak <= FERRY_STREAK_START ||
	    s->space->machine->policy.mode == FERRY_POLICY_INTERLEAVE)
		return 1;
	if (max > ahead_limit(s->streak))
		max = ahead_limit(s->streak);
	if (max > (region->end - s->va) >> FERRY_PAGE_SHIFT)
		max = (uint32_t)((region->end - s->va) >> FERRY_PAGE_SHIFT);
	return max;
}

/* The same for a write at va, as far as no other pages are there. */
static uint32_t pages_wanted(struct service *s)
{
	uint32_t max = pages_proved(s), n = 1;

	if (!s->fault->write)
		return 1;
	while (n < max && s->slot[n].word == 0)
		n++;
	return n;
}

static void note_touch(const struct service *s, uint32_t pages)
{
	*s->stream = (struct ferry_stream){
		.next = s->va + (ferry_va)pages * FERRY_PAGE_SIZE,
		.streak = s->streak,
		.touched = s->space->stream_clock,
	};
}

static int serve_small(struct service *s)
{
	struct ferry_space *space = s->space;
	struct ferry_run rest = { .pages = 0 };
	uint32_t done = 0;
	int result, err;

	if (take_small(s, pages_wanted(s), &result) < 0)
		return result;
	err = ferry_frames_enter(space, s->va, s->run, &done);
	set_mapped(s, s->run.first, done, true);
	rest.first = ferry_frame_plus(s->run.first, done);
	rest.pages = s->run.pages - done;
	if (rest.pages > 0)
		put_back(s, rest);
	if (done == 0)
		return enter_failed(s, err);
	ferry_count(&space->books->counters.first_touches, 1);
	ferry_count(&space->books->counters.ahead_pages, done - 1);
	note_touch(s, done);
	return wake(s, s->va, done);
}

static bool wants_huge(const struct service *s)
{
	const struct ferry_machine *machine = s->space->machine;
	ferry_va base = ferry_huge_down(s->va);
	const struct ferry_pte *leaf = s->slot - ferry_entry_index(s->va);
	uint64_t any = 0;

	if (!s->space->mmu->caps.huge || machine->thp == FERRY_THP_NEVER || machine->copy_path ||
	    (s->region->flags & FERRY_REGION_NOHUGE) != 0)
		return false;
	if ((s->region->flags & FERRY_REGION_HUGE) == 0 && machine->thp != FERRY_THP_ALWAYS)
		return false;
	if (base < s->region->start || base + FERRY_HUGE_SIZE > s->region->end)
		return false;
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++)
		any |= leaf[i].word;
	return any == 0;
}

/* Of a huge frame the host took the first pages only, as small ones: the others are free again. */
static int keep_part(struct service *s, uint32_t pages)
{
	struct ferry_space *space = s->space;
	uint32_t index = ferry_entry_index(s->va);
	struct ferry_run rest = {
		.first = ferry_frame_plus(s->run.first, pages),
		.pages = FERRY_HUGE_PAGES - pages,
	};

	ferry_frames_drop(space, rest);
	ferry_frames_put(space, rest, FERRY_CONTENT_NONE, true);
	s->run.first.huge = 0;
	s->slot -= index;
	set_mapped(s, s->run.first, pages, false);
	s->slot += index;
	ferry_count(&space->books->counters.first_touches, pages);
	(void)wake(s, ferry_huge_down(s->va), pages);
	return index < pages ? FERRY_FAULT_DONE : FERRY_FAULT_RETRY;
}

/* Enters a huge frame. => a result, or NEXT: a small page has to do. */
static int serve_huge(struct service *s)
{
	struct ferry_space *space = s->space;
	ferry_va base = ferry_huge_down(s->va);
	struct ferry_touch touch = {
		.va = base,
		.local_node = s->fault->local_node,
		.huge = true,
	};
	uint32_t done = 0;
	int ret = ferry_space_take(space, &touch, &s->run);

	if (ret == -ENOSPC && touch.short_node != FERRY_NODES_MAX)
		return ask(s, touch.short_node, FERRY_HUGE_PAGES);
	if (ret < 0)
		return NEXT;
	ret = space->mmu->ops->enter(space->mmu, base, s->run.first, FERRY_HUGE_PAGES, &done);
	if (ret != 0 && done > 0)
		return keep_part(s, done);
	if (ret != 0) {
		put_back(s, s->run);
		return ret == -EAGAIN || ret == -ESRCH ? enter_failed(s, ret) : NEXT;
	}
	s->slot -= ferry_entry_index(s->va);
	set_mapped(s, s->run.first, FERRY_HUGE_PAGES, false);
	ferry_count(&space->books->counters.first_touches, FERRY_HUGE_PAGES);
	return wake(s, base, FERRY_HUGE_PAGES);
}

static int serve_write(struct service *s)
{
	int result = NEXT;

	if (wants_huge(s))
		result = serve_huge(s);
	return result == NEXT ? serve_small(s) : result;
}

static int serve_read(struct service *s)
{
	struct ferry_space *space = s->space;
	struct ferry_pte zero = { .word = FERRY_PTE_ZERO | s->slot->word };
	int err = -EINVAL;

	if (space->mmu->caps.zero_page)
		err = space->mmu->ops->enter_zero(space->mmu, s->va);
	if (err == -EINVAL)
		return serve_small(s);
	if (err == -ESTALE)
		return heal_present(s, s->va);
	if (err != 0)
		return enter_failed(s, err);
	ferry_entry_set(space, s->slot, zero);
	ferry_count(&space->books->counters.zero_maps, 1);
	return wake(s, s->va, 1);
}

static int serve_none(struct service *s)
{
	return s->fault->write ? serve_write(s) : serve_read(s);
}

/* --- ZERO --------------------------------------------------------------------------------- */

/* A zero page that cannot be taken out: the host's copy of it is let happen, and charged. */
static int let_host_copy(struct service *s)
{
	struct ferry_space *space = s->space;
	int err = space->mmu->ops->unprotect(space->mmu, s->va, 1);

	if (err == -ESRCH)
		return ended(s);
	if (err == -EAGAIN)
		return FERRY_FAULT_RETRY;
	ferry_entry_adopt(space, s->slot, s->va, s->run.first.node, 0);
	return wake(s, s->va, 1);
}

/* The rest of a write to a zero page, with a frame in hand. */
static int exchange_zero(struct service *s)
{
	struct ferry_space *space = s->space;
	uint32_t done = 0;
	int err = ferry_entry_take_zero(space, s->slot, s->va, s->run.first.node);

	if (err == 0 || err == -ENOENT) {
		ferry_entry_set(space, s->slot, ferry_entry_blank(*s->slot));
		err = ferry_frames_enter(space, s->va, s->run, &done);
	} else {
		put_back(s, s->run);
		if (ferry_pte_state(*s->slot) == FERRY_PTE_HELD)
			return NEXT;
		return err == -EINVAL || err == -EBUSY ? let_host_copy(s) : enter_failed(s, err);
	}
	if (done == 0) {
		put_back(s, s->run);
		return enter_failed(s, err);
	}
	set_mapped(s, s->run.first, 1, false);
	ferry_count(&space->books->counters.first_touches, 1);
	return wake(s, s->va, 1);
}

static int serve_held(struct service *s)
{
	int err;

	ferry_count(&s->space->books->counters.held_faults, 1);
	if (ferry_pte_has(*s->slot, FERRY_PTE_BUSY))
		return FERRY_FAULT_BUSY;
	err = ferry_space_bring_home(s->space, s->va);
	if (err == -ESRCH)
		return FERRY_FAULT_GONE;
	return err == -EAGAIN ? FERRY_FAULT_RETRY : FERRY_FAULT_DONE;
}

static int serve_zero(struct service *s)
{
	uint8_t flags = 0;
	int result;

	if (s->fault->write) {
		if (take_small(s, 1, &result) < 0)
			return result;
		result = exchange_zero(s);
		return result == NEXT ? serve_held(s) : result;
	}
	if (s->space->mmu->ops->lookup(s->space->mmu, s->va, 1, &flags) == -ESRCH)
		return ended(s);
	if ((flags & FERRY_MMU_PRESENT) != 0)
		return wake(s, s->va, 1);
	ferry_entry_set(s->space, s->slot, ferry_entry_blank(*s->slot));
	return serve_none(s);
}

/* --- MAPPED ------------------------------------------------------------------------------- */

static int serve_mapped(struct service *s)
{
	struct ferry_space *space = s->space;
	uint8_t flags = 0;
	int err = space->mmu->ops->lookup(space->mmu, s->va, 1, &flags);

	if (err == -ESRCH)
		return ended(s);
	if (err != 0)
		return FERRY_FAULT_RETRY;
	if ((flags & FERRY_MMU_PRESENT) != 0) {
		/* Late news, or a page that took the zero page's place and kept its protection. */
		if ((flags & FERRY_MMU_WP) != 0 &&
		    space->mmu->ops->unprotect(space->mmu, s->va, 1) == -EAGAIN)
			return FERRY_FAULT_RETRY;
		return wake(s, s->va, 1);
	}
	if (!ferry_entry_is_lost(space, s->va))
		return FERRY_FAULT_RETRY;
	if (ferry_pte_has(*s->slot, FERRY_PTE_HUGE))
		ferry_entry_split(space, s->va);
	ferry_entry_forget(space, s->slot);
	ferry_count(&space->books->counters.healed, 1);
	return serve_none(s);
}

/* --- objects ------------------------------------------------------------------------------ */

/* The host makes no page there for us (its file system is full): whoever touches it hears so from
 * the host itself. */
static int leave_to_host(const struct service *s)
{
	int err;

	if (s->fault->host_tries++ < HOST_TRIES)
		return FERRY_FAULT_RETRY;
	err = s->space->mmu->ops->disarm(s->space->mmu, s->va, FERRY_PAGE_SIZE);
	if (err == -ESRCH)
		return ended(s);
	return err == -EAGAIN ? FERRY_FAULT_RETRY : wake(s, s->va, 1);
}

/* Makes pages from va on; those that somebody else has made meanwhile are passed over. => 0, or
 * what was in the way of the first one. */
static int make_shared(const struct service *s, uint32_t pages)
{
	const struct ferry_frame frame = { .node = s->run.first.node };
	struct ferry_mmu *mmu = s->space->mmu;
	int first = 0;

	for (uint32_t at = 0, done; at < pages;) {
		ferry_va va = s->va + ((ferry_va)at << FERRY_PAGE_SHIFT);
		int err = mmu->ops->enter_new(mmu, va, frame, pages - at, &done);

		if (at + done == 0)
			first = err;
		at += done;
		ferry_count(&s->space->books->counters.first_touches, done);
		if (err == -EEXIST)
			at++;
		else if (err != 0)
			break;
	}
	return first == -EEXIST ? 0 : first;
}

/* The machine is told of pages before anybody can see them. */
static int serve_shared(struct service *s)
{
	struct ferry_space *space = s->space;
	int result, err;

	if (s->fault->placed == 0) {
		if (take_small(s, pages_proved(s), &result) < 0)
			return result;
		space->host.placed(space->host.context,
				   s->region->object_va + (s->va - s->region->start),
				   s->run.pages, s->run.first.node);
		s->fault->placed = (uint16_t)s->run.pages;
		note_touch(s, s->run.pages);
	}
	err = make_shared(s, s->fault->placed);
	if (err == -ENOMEM)
		return leave_to_host(s);
	return err == 0 ? wake(s, s->va, s->fault->placed) : enter_failed(s, err);
}

/* --- no region ------------------------------------------------------------------------------ */

/* Takes the host's mapping around va under management, as far as no region has it. */
static int take_over(struct service *s)
{
	struct ferry_space *space = s->space;
	const struct ferry_region *regions = ferry_books_regions(space->books);
	uint32_t index = ferry_region_index(space->books, s->va);
	ferry_va start = 0, end = 0;
	bool anonymous = false;
	int err = -ENOENT;

	if (space->host.mapping_at != NULL)
		err = space->host.mapping_at(space->host.context, s->va, &start, &end, &anonymous);
	if (err != 0 || !anonymous || s->va < start || s->va >= end)
		return wake(s, s->va, 1);
	if (index > 0 && regions[index - 1].end > start)
		start = regions[index - 1].end;
	if (index < space->books->region_count && regions[index].start < end)
		end = regions[index].start;
	err = ferry_space_adopt(space, start, end, FERRY_REGION_ADOPTED, s->fault->local_node);
	if (err == -ESRCH)
		return ended(s);
	if (err == -ENOSPC || err == -ENOMEM)
		return FERRY_FAULT_NOMEM;
	return err == 0 ? NEXT : wake(s, s->va, 1);
}

/* --- the door ----------------------------------------------------------------------------- */

enum ferry_fault_result ferry_fault_serve(struct ferry_space *space, struct ferry_fault *fault)
{
	struct service s = {
		.space = space,
		.fault = fault,
		.va = ferry_page_down(fault->va),
	};
	int result = NEXT;

	ferry_count(&space->books->counters.faults, 1);
	if (space->gone != 0)
		return FERRY_FAULT_GONE;
	if (s.va >> FERRY_VA_BITS != 0)
		return (enum ferry_fault_result)wake(&s, s.va, 1);
	if (ferry_region_find(space->books, s.va) == NULL)
		result = take_over(&s);
	if (result != NEXT)
		return (enum ferry_fault_result)result;
	s.region = ferry_region_find(space->books, s.va);
	if (s.region != NULL && (s.region->flags & FERRY_REGION_SHARED) != 0)
		return (enum ferry_fault_result)serve_shared(&s);
	s.slot = ferry_ptable_slot(space->books, s.va);
	if (s.region == NULL || s.slot == NULL)
		return FERRY_FAULT_NOMEM;
	switch (ferry_pte_state(*s.slot)) {
	case FERRY_PTE_NONE:
		return (enum ferry_fault_result)serve_none(&s);
	case FERRY_PTE_ZERO:
		return (enum ferry_fault_result)serve_zero(&s);
	case FERRY_PTE_MAPPED:
		return (enum ferry_fault_result)serve_mapped(&s);
	default:
		return (enum ferry_fault_result)serve_held(&s);
	}
}
