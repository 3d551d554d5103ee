/* SPDX-License-Identifier: MIT */
/*
 * soft_program.c - the simulated process seen from its own side, from its handlers' and from tests;
 * see soft.h. The invariants are in soft.c.
 */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "mmu/soft_parts.h"

/* --- the program: mappings ---------------------------------------------------------------- */

int ferry_soft_map(struct ferry_soft *soft, ferry_va start, ferry_va end, uint32_t prot, bool file)
{
	int err = 0;

	ferry_soft_lock(soft);
	for (ferry_va va = start; va < end; va += FERRY_PAGE_SIZE) {
		FERRY_ASSERT(ferry_soft_page_at(soft, va) != NULL);
		if (ferry_soft_mapped_at(soft, va) != NULL)
			err = -EEXIST;
	}
	for (ferry_va va = start; va < end && err == 0; va += FERRY_PAGE_SIZE) {
		struct ferry_soft_page *page = ferry_soft_page_at(soft, va);

		memset(page, 0, sizeof(*page));
		page->mapped = true;
		page->prot = (uint8_t)prot;
		page->file = file;
	}
	ferry_soft_unlock(soft);
	return err;
}

bool ferry_soft_begin_change(struct ferry_soft *soft)
{
	bool closed;

	ferry_soft_lock(soft);
	closed = soft->windows == 0;
	soft->changing += closed;
	ferry_soft_unlock(soft);
	return closed;
}

void ferry_soft_end_change(struct ferry_soft *soft)
{
	ferry_soft_lock(soft);
	FERRY_ASSERT(soft->changing > 0);
	soft->changing--;
	ferry_soft_unlock(soft);
}

void ferry_soft_protect(struct ferry_soft *soft, ferry_va start, ferry_va end, uint32_t prot)
{
	ferry_soft_lock(soft);
	for (ferry_va va = start; va < end; va += FERRY_PAGE_SIZE) {
		struct ferry_soft_page *page = ferry_soft_mapped_at(soft, va);

		if (page != NULL)
			page->prot = (uint8_t)prot;
	}
	ferry_soft_unlock(soft);
}

void ferry_soft_mlock(struct ferry_soft *soft, ferry_va start, ferry_va end, bool locked)
{
	ferry_soft_lock(soft);
	for (ferry_va va = start; va < end; va += FERRY_PAGE_SIZE) {
		if (ferry_soft_mapped_at(soft, va) != NULL)
			ferry_soft_page_at(soft, va)->locked = locked;
	}
	ferry_soft_unlock(soft);
}

static struct ferry_soft_thread *thread_of(struct ferry_soft *soft, uint32_t thread)
{
	FERRY_ASSERT(thread < FERRY_SOFT_THREADS);
	FERRY_ASSERT(!soft->threads[thread].parked && !soft->threads[thread].holding);
	return &soft->threads[thread];
}

static bool any_armed(struct ferry_soft *soft, ferry_va start, ferry_va end)
{
	for (ferry_va va = start; va < end; va += FERRY_PAGE_SIZE) {
		const struct ferry_soft_page *page = ferry_soft_mapped_at(soft, va);

		if (page != NULL && page->armed)
			return true;
	}
	return false;
}

/* Queues an event that holds its thread. => -EINPROGRESS. */
static int queue_event(struct ferry_soft *soft, uint32_t thread,
		       const struct ferry_soft_message *message)
{
	struct ferry_soft_event *event = &soft->events[soft->event_count];

	FERRY_ASSERT(soft->event_count < FERRY_SOFT_EVENTS);
	event->message = *message;
	event->thread = thread;
	soft->event_count++;
	thread_of(soft, thread)->holding = true;
	return -EINPROGRESS;
}

/* A range that ends inside a 2 MiB page breaks it up. */
static void split_at(struct ferry_soft *soft, ferry_va va)
{
	if (ferry_huge_down(va) != va)
		ferry_soft_split_huge(soft, va);
}

static void unmap_range(struct ferry_soft *soft, ferry_va start, ferry_va end)
{
	split_at(soft, start);
	split_at(soft, end);
	for (ferry_va va = start; va < end; va += FERRY_PAGE_SIZE) {
		struct ferry_soft_page *page = ferry_soft_page_at(soft, va);

		ferry_soft_clear_page(soft, page);
		memset(page, 0, sizeof(*page));
	}
}

int ferry_soft_unmap(struct ferry_soft *soft, uint32_t thread, ferry_va start, ferry_va end)
{
	struct ferry_soft_message message = { .kind = FERRY_SOFT_UNMAP,
					      .start = start,
					      .end = end };
	bool armed;
	int result = 0;

	ferry_soft_lock(soft);
	armed = any_armed(soft, start, end);
	unmap_range(soft, start, end);
	if (armed && !soft->gone)
		result = queue_event(soft, thread, &message);
	ferry_soft_unlock(soft);
	return result;
}

static void zap(struct ferry_soft *soft, ferry_va start, ferry_va end)
{
	split_at(soft, start);
	split_at(soft, end);
	for (ferry_va va = start; va < end; va += FERRY_PAGE_SIZE) {
		if (ferry_soft_mapped_at(soft, va) != NULL)
			ferry_soft_clear_page(soft, ferry_soft_page_at(soft, va));
	}
}

static void mark_lazy(struct ferry_soft *soft, ferry_va start, ferry_va end)
{
	for (ferry_va va = start; va < end; va += FERRY_PAGE_SIZE) {
		struct ferry_soft_page *page = ferry_soft_mapped_at(soft, va);

		if (page != NULL && page->memory.index >= FERRY_SOFT_FIRST && page->exclusive)
			page->lazy = true;
	}
}

static void finish_discard(struct ferry_soft *soft, struct ferry_soft_thread *thread)
{
	if (thread->zap)
		zap(soft, thread->start, thread->end);
	if (thread->lazy)
		mark_lazy(soft, thread->start, thread->end);
	thread->zap = false;
	thread->lazy = false;
}

static int discard(struct ferry_soft *soft, uint32_t thread, ferry_va start, ferry_va end,
		   bool lazily)
{
	struct ferry_soft_message message = { .kind = FERRY_SOFT_REMOVE,
					      .start = start,
					      .end = end };
	struct ferry_soft_thread *self;
	int result = 0;

	ferry_soft_lock(soft);
	self = thread_of(soft, thread);
	self->start = start;
	self->end = end;
	self->zap = !lazily;
	self->lazy = lazily;
	if (any_armed(soft, start, end) && !soft->gone)
		result = queue_event(soft, thread, &message);
	else
		finish_discard(soft, self);
	ferry_soft_unlock(soft);
	return result;
}

int ferry_soft_discard(struct ferry_soft *soft, uint32_t thread, ferry_va start, ferry_va end)
{
	return discard(soft, thread, start, end, false);
}

int ferry_soft_discard_lazily(struct ferry_soft *soft, uint32_t thread, ferry_va start,
			      ferry_va end)
{
	return discard(soft, thread, start, end, true);
}

void ferry_soft_take_lazy(struct ferry_soft *soft, ferry_va start, ferry_va end)
{
	ferry_soft_lock(soft);
	for (ferry_va va = start; va < end; va += FERRY_PAGE_SIZE) {
		struct ferry_soft_page *page = ferry_soft_mapped_at(soft, va);

		if (page != NULL && page->lazy && soft->memory[page->memory.index].pins == 0) {
			ferry_soft_split_huge(soft, va);
			ferry_soft_clear_page(soft, page);
		}
	}
	ferry_soft_unlock(soft);
}

/* => 0 if all of the old range is mapped, and the new one lies elsewhere. */
static int why_not_remap(struct ferry_soft *soft, ferry_va from, ferry_va to, uint64_t len_bytes)
{
	if (from < to + len_bytes && to < from + len_bytes)
		return -EINVAL;
	for (uint64_t at = 0; at < len_bytes; at += FERRY_PAGE_SIZE) {
		if (ferry_soft_mapped_at(soft, from + at) == NULL ||
		    ferry_soft_page_at(soft, to + at) == NULL)
			return -EINVAL;
	}
	return 0;
}

static void move_range(struct ferry_soft *soft, ferry_va from, ferry_va to, uint64_t len_bytes)
{
	split_at(soft, from);
	split_at(soft, from + len_bytes);
	for (uint64_t at = 0; at < len_bytes; at += FERRY_PAGE_SIZE) {
		struct ferry_soft_page *old = ferry_soft_page_at(soft, from + at);
		struct ferry_soft_page *new = ferry_soft_page_at(soft, to + at);

		*new = *old;
		if ((to ^ from) % FERRY_HUGE_SIZE != 0)
			new->huge = false;
		memset(old, 0, sizeof(*old));
	}
}

/* What was at the new place is told of first; then, once that has been read, the remap. */
static int queue_remap(struct ferry_soft *soft, uint32_t thread,
		       const struct ferry_soft_message *unmap,
		       const struct ferry_soft_message *remap)
{
	if (unmap == NULL || remap == NULL)
		return queue_event(soft, thread, unmap != NULL ? unmap : remap);
	soft->threads[thread].has_next = true;
	soft->threads[thread].next = *remap;
	return queue_event(soft, thread, unmap);
}

int ferry_soft_remap(struct ferry_soft *soft, uint32_t thread, ferry_va from, ferry_va to,
		     uint64_t len_bytes)
{
	const struct ferry_soft_message remap = {
		.kind = FERRY_SOFT_REMAP, .start = from, .end = from + len_bytes, .to = to
	};
	const struct ferry_soft_message unmap = { .kind = FERRY_SOFT_UNMAP,
						  .start = to,
						  .end = to + len_bytes };
	bool armed, replaces;
	int result;

	ferry_soft_lock(soft);
	armed = any_armed(soft, from, from + len_bytes);
	replaces = any_armed(soft, to, to + len_bytes);
	result = why_not_remap(soft, from, to, len_bytes);
	if (result == 0) {
		unmap_range(soft, to, to + len_bytes);
		move_range(soft, from, to, len_bytes);
		if ((armed || replaces) && !soft->gone)
			result = queue_remap(soft, thread, replaces ? &unmap : NULL,
					     armed ? &remap : NULL);
	}
	ferry_soft_unlock(soft);
	return result;
}

/* The child's picture of one page: shared, or a copy where a device writes to the parent's. */
static void fork_page(struct ferry_soft *soft, struct ferry_soft_page *page,
		      struct ferry_soft_page *copy)
{
	*copy = *page;
	ferry_soft_object_inherit(copy);
	if (page->memory.index < FERRY_SOFT_FIRST)
		return;
	if (page->file) {
		copy->memory.index = FERRY_SOFT_EMPTY;
	} else if (soft->memory[page->memory.index].pins > 0) {
		copy->memory.index = FERRY_SOFT_EMPTY;
		FERRY_ASSERT(ferry_soft_copy_in(soft, copy, page->memory) == 0);
	} else {
		soft->memory[page->memory.index].users++;
		page->exclusive = false;
		copy->exclusive = false;
	}
}

int ferry_soft_fork(struct ferry_soft *soft, uint32_t thread, struct ferry_soft_child *child)
{
	struct ferry_soft_message message = { .kind = FERRY_SOFT_FORK, .child = child };
	ferry_va base = soft->options.base;
	uint32_t pages = soft->options.pages;
	int result = 0;

	child->size_bytes = pages * sizeof(child->pages[0]);
	child->pages = ferry_os->alloc(child->size_bytes);
	if (child->pages == NULL)
		return -ENOMEM;
	child->parent = soft;
	ferry_soft_lock(soft);
	for (uint32_t i = 0; i < pages; i++)
		fork_page(soft, &soft->pages[i], &child->pages[i]);
	if (any_armed(soft, base, ferry_soft_va_plus(base, pages)) && !soft->gone)
		result = queue_event(soft, thread, &message);
	ferry_soft_unlock(soft);
	return result;
}

/* --- the program: threads and accesses ---------------------------------------------------- */

bool ferry_soft_waits(struct ferry_soft *soft, uint32_t thread)
{
	bool waits;

	ferry_soft_lock(soft);
	waits = soft->threads[thread].parked || soft->threads[thread].holding;
	ferry_soft_unlock(soft);
	return waits;
}

void ferry_soft_continue(struct ferry_soft *soft, uint32_t thread)
{
	struct ferry_soft_thread *self;

	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	self = thread_of(soft, thread);
	finish_discard(soft, self);
	ferry_soft_unlock(soft);
}

void ferry_soft_interrupt(struct ferry_soft *soft, uint32_t thread)
{
	ferry_soft_lock(soft);
	soft->threads[thread].parked = false;
	ferry_soft_unlock(soft);
}

static enum ferry_soft_result park(struct ferry_soft *soft, uint32_t thread, ferry_va va,
				   bool write, bool protection)
{
	struct ferry_soft_thread *self = thread_of(soft, thread);

	self->parked = true;
	self->reported = false;
	self->va = va;
	self->write = write;
	self->protection = protection;
	return FERRY_SOFT_PARKED;
}

void ferry_soft_make_own(struct ferry_soft *soft, ferry_va va, struct ferry_soft_page *page)
{
	struct ferry_soft_ref old = page->memory;

	page->lazy = false;
	if (old.index >= FERRY_SOFT_FIRST && (page->exclusive || page->file))
		return;
	if (old.index >= FERRY_SOFT_FIRST && soft->memory[old.index].users == 1) {
		page->exclusive = true;
		return;
	}
	page->memory = ferry_soft_new_memory(soft);
	FERRY_ASSERT(page->memory.index != FERRY_SOFT_EMPTY);
	memcpy(soft->bytes[page->memory.index], soft->bytes[old.index], FERRY_PAGE_SIZE);
	ferry_soft_put_memory(soft, old);
	page->exclusive = true;
	page->wp = false;
	if (page->huge)
		ferry_soft_split_huge(soft, va);
}

/* An access to a page of an object: it has its word only. */
static enum ferry_soft_result access_object(struct ferry_soft *soft, uint32_t thread, ferry_va va,
					    bool write, uint64_t *value)
{
	struct ferry_soft_page *page = ferry_soft_page_at(soft, va);
	uint32_t need = write ? FERRY_SOFT_WRITE : FERRY_SOFT_READ;
	enum ferry_soft_result result;

	if ((page->prot & need) == 0)
		return FERRY_SOFT_SEGV;
	result = ferry_soft_object_access(page, write, value);
	return result == FERRY_SOFT_PARKED ? park(soft, thread, va, write, false) : result;
}

static bool is_of_object(struct ferry_soft *soft, ferry_va va)
{
	const struct ferry_soft_page *page = ferry_soft_mapped_at(soft, va);

	return page != NULL && page->object != NULL && !soft->gone;
}

/* Makes the page at va accessible as the host would, or parks the thread. */
static enum ferry_soft_result touch(struct ferry_soft *soft, uint32_t thread, ferry_va va,
				    bool write, struct ferry_soft_page **result)
{
	struct ferry_soft_page *page = ferry_soft_mapped_at(soft, va);
	uint32_t need = write ? FERRY_SOFT_WRITE : FERRY_SOFT_READ;

	if (page == NULL || (page->prot & need) == 0 || soft->gone)
		return FERRY_SOFT_SEGV;
	if (page->memory.index == FERRY_SOFT_EMPTY) {
		if (page->armed)
			return park(soft, thread, va, write, false);
		page->memory.index = FERRY_SOFT_ZERO;
	}
	if (write && page->wp && page->armed)
		return park(soft, thread, va, write, true);
	if (write)
		ferry_soft_make_own(soft, va, page);
	*result = page;
	return FERRY_SOFT_DONE;
}

static uint64_t word_at(struct ferry_soft *soft, struct ferry_soft_ref memory, ferry_va va)
{
	uint64_t value;

	memcpy(&value, &soft->bytes[memory.index][va % FERRY_PAGE_SIZE], sizeof(value));
	return value;
}

enum ferry_soft_result ferry_soft_load(struct ferry_soft *soft, uint32_t thread, ferry_va va,
				       uint64_t *value)
{
	enum ferry_soft_result result;
	struct ferry_soft_page *page;

	FERRY_ASSERT(va % sizeof(*value) == 0);
	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	if (is_of_object(soft, va)) {
		result = access_object(soft, thread, va, false, value);
	} else {
		result = touch(soft, thread, va, false, &page);
		if (result == FERRY_SOFT_DONE)
			*value = word_at(soft, page->memory, va);
	}
	ferry_soft_unlock(soft);
	return result;
}

enum ferry_soft_result ferry_soft_store(struct ferry_soft *soft, uint32_t thread, ferry_va va,
					uint64_t value)
{
	enum ferry_soft_result result;
	struct ferry_soft_page *page;

	FERRY_ASSERT(va % sizeof(value) == 0);
	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	if (is_of_object(soft, va)) {
		result = access_object(soft, thread, va, true, &value);
		ferry_soft_unlock(soft);
		return result;
	}
	result = touch(soft, thread, va, true, &page);
	if (result == FERRY_SOFT_DONE)
		memcpy(&soft->bytes[page->memory.index][va % FERRY_PAGE_SIZE], &value,
		       sizeof(value));
	ferry_soft_unlock(soft);
	return result;
}

enum ferry_soft_result ferry_soft_pin(struct ferry_soft *soft, uint32_t thread, ferry_va va,
				      struct ferry_soft_ref *pin)
{
	enum ferry_soft_result result;
	struct ferry_soft_page *page;

	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	result = touch(soft, thread, va, true, &page);
	if (result == FERRY_SOFT_DONE) {
		*pin = page->memory;
		soft->memory[pin->index].pins++;
	}
	ferry_soft_unlock(soft);
	return result;
}

void ferry_soft_pin_store(struct ferry_soft *soft, struct ferry_soft_ref pin, uint32_t offset,
			  uint64_t value)
{
	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	FERRY_ASSERT(soft->memory[pin.index].pins > 0);
	memcpy(&soft->bytes[pin.index][offset], &value, sizeof(value));
	ferry_soft_unlock(soft);
}

void ferry_soft_unpin(struct ferry_soft *soft, struct ferry_soft_ref pin)
{
	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	FERRY_ASSERT(soft->memory[pin.index].pins > 0);
	soft->memory[pin.index].pins--;
	ferry_soft_free_if_unused(soft, pin);
	ferry_soft_unlock(soft);
}

/* --- the handlers ------------------------------------------------------------------------- */

static bool find_fault(struct ferry_soft *soft, struct ferry_soft_message *message)
{
	for (uint32_t i = 0; i < FERRY_SOFT_THREADS; i++) {
		struct ferry_soft_thread *thread = &soft->threads[i];

		if (!thread->parked || thread->reported)
			continue;
		if (message == NULL)
			return true;
		thread->reported = true;
		message->kind = FERRY_SOFT_FAULT;
		message->start = thread->va;
		message->end = thread->va + 1;
		message->write = thread->write;
		message->protection = thread->protection;
		return true;
	}
	return false;
}

/* An event has been read: its thread goes on, or has another one to tell of. */
static void take_event(struct ferry_soft *soft, uint32_t i)
{
	struct ferry_soft_event *event = &soft->events[i];
	struct ferry_soft_thread *thread = &soft->threads[event->thread];

	if (thread->has_next) {
		event->message = thread->next;
		thread->has_next = false;
		return;
	}
	thread->holding = false;
	soft->event_count--;
	memmove(event, event + 1, (soft->event_count - i) * sizeof(*event));
}

static bool find_event(struct ferry_soft *soft, uint32_t kinds, struct ferry_soft_message *message)
{
	for (uint32_t i = 0; i < soft->event_count; i++) {
		struct ferry_soft_event *event = &soft->events[i];

		if ((event->message.kind & kinds) == 0)
			continue;
		if (message == NULL)
			return true;
		*message = event->message;
		take_event(soft, i);
		return true;
	}
	return false;
}

bool ferry_soft_read(struct ferry_soft *soft, uint32_t kinds, struct ferry_soft_message *message)
{
	bool found;

	ferry_soft_lock(soft);
	found = find_event(soft, kinds, message) ||
		((kinds & FERRY_SOFT_FAULT) != 0 && find_fault(soft, message));
	ferry_soft_unlock(soft);
	return found;
}

bool ferry_soft_pending(struct ferry_soft *soft, uint32_t kinds)
{
	bool found;

	ferry_soft_lock(soft);
	found = find_event(soft, kinds, NULL) ||
		((kinds & FERRY_SOFT_FAULT) != 0 && find_fault(soft, NULL));
	ferry_soft_unlock(soft);
	return found;
}

static struct ferry_soft_page *child_page(struct ferry_soft_child *child, ferry_va va)
{
	const struct ferry_soft *soft = child->parent;
	uint64_t number = (va - soft->options.base) >> FERRY_PAGE_SHIFT;

	if (va < soft->options.base || number >= soft->options.pages ||
	    !child->pages[number].mapped)
		return NULL;
	return &child->pages[number];
}

void ferry_soft_child_copy(struct ferry_soft_child *child, ferry_va va, struct ferry_frame frame)
{
	struct ferry_soft *soft = child->parent;
	struct ferry_soft_page *page = child_page(child, va);

	ferry_soft_lock(soft);
	/* The mapping may have gone since, in the parent only: the child's is as it was. */
	FERRY_ASSERT(page != NULL);
	/* A page that the parent made its own by a write and lost after the fork: the child has it.
	 */
	if (page->memory.index == FERRY_SOFT_EMPTY)
		FERRY_ASSERT(ferry_soft_copy_in(soft, page, *ferry_soft_slot_at(soft, frame)) == 0);
	ferry_soft_unlock(soft);
}

/* --- looking ------------------------------------------------------------------------------ */

bool ferry_soft_peek(struct ferry_soft *soft, ferry_va va, uint64_t *value)
{
	const struct ferry_soft_page *page;
	bool found;

	ferry_soft_lock(soft);
	page = ferry_soft_mapped_at(soft, va);
	found = page != NULL && page->memory.index != FERRY_SOFT_EMPTY;
	if (found)
		*value = word_at(soft, page->memory, va);
	ferry_soft_unlock(soft);
	return found;
}

bool ferry_soft_child_peek(struct ferry_soft_child *child, ferry_va va, uint64_t *value)
{
	struct ferry_soft *soft = child->parent;
	const struct ferry_soft_page *page = child_page(child, va);

	if (page == NULL)
		return false;
	ferry_soft_lock(soft);
	*value = word_at(soft, page->memory, va);
	ferry_soft_unlock(soft);
	return true;
}

void ferry_soft_child_destroy(struct ferry_soft_child *child)
{
	struct ferry_soft *soft = child->parent;

	ferry_soft_lock(soft);
	for (uint32_t i = 0; i < soft->options.pages; i++) {
		ferry_soft_object_leave(&child->pages[i]);
		ferry_soft_put_memory(soft, child->pages[i].memory);
	}
	ferry_soft_unlock(soft);
	ferry_os->free(child->pages, child->size_bytes);
	child->pages = NULL;
}

bool ferry_soft_slot_filled(struct ferry_soft *soft, struct ferry_frame frame)
{
	bool filled;

	ferry_soft_lock(soft);
	filled = ferry_soft_slot_at(soft, frame)->index != FERRY_SOFT_EMPTY;
	ferry_soft_unlock(soft);
	return filled;
}

uint32_t ferry_soft_used_pages(struct ferry_soft *soft)
{
	uint32_t used;

	ferry_soft_lock(soft);
	used = soft->options.memory_pages - soft->free_pages;
	ferry_soft_unlock(soft);
	return used;
}

bool ferry_soft_is_reported(struct ferry_soft *soft, uint32_t thread, ferry_va *va)
{
	bool reported;

	ferry_soft_lock(soft);
	reported = soft->threads[thread].parked && soft->threads[thread].reported;
	*va = soft->threads[thread].va;
	ferry_soft_unlock(soft);
	return reported;
}

static bool same_mapping(const struct ferry_soft_page *a, const struct ferry_soft_page *b)
{
	return b->mapped && a->prot == b->prot && a->file == b->file && a->armed == b->armed &&
	       a->locked == b->locked;
}

int ferry_soft_mapping_at(struct ferry_soft *soft, ferry_va va, ferry_va *start, ferry_va *end,
			  bool *anonymous)
{
	const struct ferry_soft_page *page, *other;
	int err = 0;

	ferry_soft_lock(soft);
	page = ferry_soft_mapped_at(soft, va);
	if (page == NULL || soft->gone) {
		err = -ENOENT;
		goto out;
	}
	*start = ferry_page_down(va);
	*end = *start + FERRY_PAGE_SIZE;
	while ((other = ferry_soft_page_at(soft, *start - FERRY_PAGE_SIZE)) != NULL &&
	       same_mapping(page, other))
		*start -= FERRY_PAGE_SIZE;
	while ((other = ferry_soft_page_at(soft, *end)) != NULL && same_mapping(page, other))
		*end += FERRY_PAGE_SIZE;
	*anonymous = !page->file;
out:
	ferry_soft_unlock(soft);
	return err;
}
