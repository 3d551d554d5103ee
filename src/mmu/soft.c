/* SPDX-License-Identifier: MIT */
/*
 * soft.c - see soft.h.
 *
 * Invariants:
 *  1. Memory is free, or has users + pins > 0: each mapped page, slot and child page that refers to
 *     it is one user. Memory in a slot has that one user only.
 *  2. A page that is not mapped is empty. An exclusive page's memory has one user.
 *  3. wp is set on pages that are not empty only.
 */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "mmu/soft_parts.h"

static struct ferry_soft *soft_of(struct ferry_mmu *mmu)
{
	return (struct ferry_soft *)mmu;
}

void ferry_soft_lock(struct ferry_soft *soft)
{
	while (__atomic_exchange_n(&soft->busy, 1, __ATOMIC_ACQUIRE) != 0)
		ferry_os->yield();
}

void ferry_soft_unlock(struct ferry_soft *soft)
{
	__atomic_store_n(&soft->busy, 0, __ATOMIC_RELEASE);
}

void ferry_soft_step(struct ferry_soft *soft)
{
	if (soft->options.step != NULL)
		soft->options.step(soft->options.context);
}

/* --- memory ------------------------------------------------------------------------------- */

struct ferry_soft_ref ferry_soft_new_memory(struct ferry_soft *soft)
{
	struct ferry_soft_ref ref = { soft->free_list };

	if (ref.index == FERRY_SOFT_EMPTY)
		return ref;
	soft->free_list = soft->memory[ref.index].next_free;
	soft->free_pages--;
	soft->memory[ref.index].users = 1;
	memset(soft->bytes[ref.index], 0, FERRY_PAGE_SIZE);
	return ref;
}

void ferry_soft_free_if_unused(struct ferry_soft *soft, struct ferry_soft_ref ref)
{
	struct ferry_soft_memory *memory = &soft->memory[ref.index];

	if (memory->users > 0 || memory->pins > 0)
		return;
	memory->next_free = soft->free_list;
	soft->free_list = ref.index;
	soft->free_pages++;
}

void ferry_soft_put_memory(struct ferry_soft *soft, struct ferry_soft_ref ref)
{
	if (ref.index < FERRY_SOFT_FIRST)
		return;
	FERRY_ASSERT(soft->memory[ref.index].users > 0);
	soft->memory[ref.index].users--;
	ferry_soft_free_if_unused(soft, ref);
}

/* --- addresses and slots ------------------------------------------------------------------ */

struct ferry_soft_page *ferry_soft_page_at(struct ferry_soft *soft, ferry_va va)
{
	uint64_t number = (va - soft->options.base) >> FERRY_PAGE_SHIFT;

	if (va < soft->options.base || number >= soft->options.pages)
		return NULL;
	return &soft->pages[number];
}

struct ferry_soft_page *ferry_soft_mapped_at(struct ferry_soft *soft, ferry_va va)
{
	struct ferry_soft_page *page = ferry_soft_page_at(soft, va);

	return page != NULL && page->mapped ? page : NULL;
}

struct ferry_soft_ref *ferry_soft_slot_at(struct ferry_soft *soft, struct ferry_frame frame)
{
	FERRY_ASSERT(frame.node < soft->options.node_count && frame.huge <= 1);
	FERRY_ASSERT(frame.number < soft->arena_slots[frame.node]);
	return &soft->arena[frame.node * 2u + frame.huge][frame.number];
}

/* The frame i pages further. */
static struct ferry_frame frame_plus(struct ferry_frame frame, uint32_t i)
{
	frame.number += i;
	return frame;
}

static void assert_range(ferry_va va, struct ferry_frame frame, uint32_t pages)
{
	FERRY_ASSERT(pages > 0 && ferry_page_down(va) == va);
	if (frame.huge)
		FERRY_ASSERT(pages <= FERRY_HUGE_PAGES && ferry_huge_down(va) == va &&
			     frame.number % FERRY_HUGE_PAGES == 0);
}

void ferry_soft_split_huge(struct ferry_soft *soft, ferry_va va)
{
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
		struct ferry_soft_page *page =
			ferry_soft_page_at(soft, ferry_soft_va_plus(ferry_huge_down(va), i));

		if (page != NULL)
			page->huge = false;
	}
}

void ferry_soft_clear_page(struct ferry_soft *soft, struct ferry_soft_page *page)
{
	ferry_soft_object_leave(page);
	ferry_soft_put_memory(soft, page->memory);
	page->memory.index = FERRY_SOFT_EMPTY;
	page->exclusive = false;
	page->wp = false;
	page->lazy = false;
	page->huge = false;
}

static void set_page(struct ferry_soft_page *page, struct ferry_soft_ref memory, bool huge)
{
	page->memory = memory;
	page->exclusive = memory.index >= FERRY_SOFT_FIRST;
	page->wp = false;
	page->lazy = false;
	page->huge = huge;
}

/* --- the MMU: program <-> slots ----------------------------------------------------------- */

/* Why nothing at an address can be changed now. => 0: it can. */
static int why_not_now(const struct ferry_soft *soft)
{
	if (soft->gone)
		return -ESRCH;
	return soft->event_count > 0 ? -EAGAIN : 0;
}

/* Why no page can come in at va; plain: by moving, which wants a plain mapping. */
static int why_not_enter(struct ferry_soft *soft, ferry_va va, bool plain)
{
	const struct ferry_soft_page *page = ferry_soft_mapped_at(soft, va);
	int err = why_not_now(soft);

	if (err != 0)
		return err;
	if (page == NULL || !page->armed)
		return -ENOENT;
	if (plain && (page->prot != FERRY_SOFT_RW || page->locked))
		return -EINVAL;
	if (page->memory.index != FERRY_SOFT_EMPTY || page->there)
		return -EEXIST;
	return 0;
}

/* Pages that can come in by moving: all before the first error. A huge frame is refused as a whole
 * but where there are pages already, which it would come in between. */
static uint32_t enterable(struct ferry_soft *soft, ferry_va va, bool huge, uint32_t pages, int *err)
{
	uint32_t i;

	*err = 0;
	for (i = 0; i < pages && *err == 0; i++)
		*err = why_not_enter(soft, ferry_soft_va_plus(va, i), true);
	if (*err == 0)
		return pages;
	return huge && *err != -EEXIST ? 0 : i - 1;
}

static int soft_enter(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame, uint32_t pages,
		      uint32_t *done)
{
	struct ferry_soft *soft = soft_of(mmu);
	int err;

	assert_range(va, frame, pages);
	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	*done = enterable(soft, va, frame.huge != 0, pages, &err);
	for (uint32_t i = 0; i < *done; i++) {
		struct ferry_soft_ref *slot = ferry_soft_slot_at(soft, frame_plus(frame, i));

		FERRY_ASSERT(slot->index != FERRY_SOFT_EMPTY);
		set_page(ferry_soft_page_at(soft, ferry_soft_va_plus(va, i)), *slot,
			 *done == FERRY_HUGE_PAGES && frame.huge != 0);
		slot->index = FERRY_SOFT_EMPTY;
	}
	ferry_soft_unlock(soft);
	return err;
}

int ferry_soft_copy_in(struct ferry_soft *soft, struct ferry_soft_page *page,
		       struct ferry_soft_ref source)
{
	struct ferry_soft_ref memory = ferry_soft_new_memory(soft);

	FERRY_ASSERT(source.index != FERRY_SOFT_EMPTY);
	if (memory.index == FERRY_SOFT_EMPTY)
		return -ENOMEM;
	memcpy(soft->bytes[memory.index], soft->bytes[source.index], FERRY_PAGE_SIZE);
	set_page(page, memory, false);
	return 0;
}

/* Page by page, also out of a huge slot: what arrives is small pages. */
static int soft_enter_copy(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			   uint32_t pages, uint32_t *done)
{
	struct ferry_soft *soft = soft_of(mmu);
	int err = 0;

	FERRY_ASSERT(pages > 0 && ferry_page_down(va) == va);
	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	for (*done = 0; *done < pages; (*done)++) {
		ferry_va at = ferry_soft_va_plus(va, *done);

		err = why_not_enter(soft, at, false);
		if (err == 0)
			err = ferry_soft_copy_in(
				soft, ferry_soft_page_at(soft, at),
				*ferry_soft_slot_at(soft, frame_plus(frame, *done)));
		if (err != 0)
			break;
	}
	ferry_soft_unlock(soft);
	return err;
}

static int enter_new_page(struct ferry_soft *soft, ferry_va va, struct ferry_frame frame)
{
	struct ferry_soft_page *page = ferry_soft_page_at(soft, va);
	struct ferry_soft_ref memory;
	int err = why_not_enter(soft, va, false);

	if (err != 0)
		return err;
	if (page->object != NULL)
		return ferry_soft_object_enter(page, true);
	FERRY_ASSERT(ferry_soft_slot_at(soft, frame)->index == FERRY_SOFT_EMPTY);
	memory = ferry_soft_new_memory(soft);
	if (memory.index == FERRY_SOFT_EMPTY)
		return -ENOMEM;
	set_page(page, memory, false);
	return 0;
}

/* The host stops with -ENOMEM, as it does for copies. */
static int soft_enter_new(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			  uint32_t pages, uint32_t *done)
{
	struct ferry_soft *soft = soft_of(mmu);
	int err = 0;

	assert_range(va, frame, pages);
	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	for (*done = 0; *done < pages && err == 0;) {
		err = enter_new_page(soft, ferry_soft_va_plus(va, *done),
				     frame_plus(frame, *done));
		*done += err == 0;
	}
	ferry_soft_unlock(soft);
	return err;
}

static int why_not_remove(struct ferry_soft *soft, ferry_va va, struct ferry_frame frame)
{
	const struct ferry_soft_page *page = ferry_soft_mapped_at(soft, va);
	int err = why_not_now(soft);

	if (err != 0)
		return err;
	if (page == NULL)
		return -ENOENT;
	if (page->prot != FERRY_SOFT_RW && !(page->window && page->prot == FERRY_SOFT_RWX))
		return -EINVAL;
	if (page->locked || page->file)
		return -EINVAL;
	if (page->memory.index == FERRY_SOFT_EMPTY)
		return -ENOENT;
	if (ferry_soft_slot_at(soft, frame)->index != FERRY_SOFT_EMPTY)
		return -EEXIST;
	if (page->memory.index == FERRY_SOFT_ZERO)
		return 0;
	if (!page->exclusive || soft->memory[page->memory.index].pins > 0)
		return -EBUSY;
	return 0;
}

uint32_t ferry_soft_take_out(struct ferry_soft *soft, ferry_va va, struct ferry_frame frame,
			     uint32_t pages, int *err)
{
	const struct ferry_soft_page *first = ferry_soft_mapped_at(soft, va);
	bool whole = frame.huge && pages == FERRY_HUGE_PAGES && first != NULL && first->huge;
	uint32_t i, done;

	*err = 0;
	for (i = 0; i < pages && *err == 0; i++)
		*err = why_not_remove(soft, ferry_soft_va_plus(va, i), frame_plus(frame, i));
	done = *err == 0 ? pages : whole ? 0 : i - 1;
	for (i = 0; i < done; i++) {
		struct ferry_soft_page *page = ferry_soft_page_at(soft, ferry_soft_va_plus(va, i));

		if (page->huge && (!frame.huge || done < FERRY_HUGE_PAGES))
			ferry_soft_split_huge(soft, ferry_soft_va_plus(va, i));
		*ferry_soft_slot_at(soft, frame_plus(frame, i)) = page->memory;
		page->memory.index = FERRY_SOFT_EMPTY; /* its user is the slot now */
		ferry_soft_clear_page(soft, page);
	}
	return done;
}

static int soft_remove(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame, uint32_t pages,
		       uint32_t *done)
{
	struct ferry_soft *soft = soft_of(mmu);
	int err = 0;

	assert_range(va, frame, pages);
	ferry_soft_step(soft);
	for (*done = 0; *done < pages && err == 0;) {
		ferry_va at = ferry_soft_va_plus(va, *done);
		struct ferry_frame to = frame_plus(frame, *done);

		ferry_soft_lock(soft);
		*done += ferry_soft_take_out(soft, at, to, pages - *done, &err);
		ferry_soft_unlock(soft);
		if (err != -EINVAL)
			break;
		at = ferry_soft_va_plus(va, *done);
		to = frame_plus(frame, *done);
		*done += ferry_soft_take_by_window(soft, at, to, pages - *done, &err);
	}
	return err;
}

/* In one step: the locks are as if they were not there meanwhile. Plain mappings only. */
static int soft_remove_locked(struct ferry_mmu *mmu, ferry_va va, struct ferry_frame frame,
			      uint32_t pages, uint32_t *done)
{
	struct ferry_soft *soft = soft_of(mmu);
	bool locked[FERRY_HUGE_PAGES] = { false };
	int err;

	assert_range(va, frame, pages);
	FERRY_ASSERT(pages <= FERRY_HUGE_PAGES && !frame.huge);
	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	for (uint32_t i = 0; i < pages; i++) {
		ferry_va at = ferry_soft_va_plus(va, i);
		struct ferry_soft_page *page = ferry_soft_mapped_at(soft, at);

		if (page == NULL)
			continue;
		locked[i] = page->locked;
		page->locked = false;
	}
	*done = ferry_soft_take_out(soft, va, frame, pages, &err);
	for (uint32_t i = 0; i < pages; i++) {
		if (locked[i])
			ferry_soft_page_at(soft, ferry_soft_va_plus(va, i))->locked = true;
	}
	ferry_soft_unlock(soft);
	return err;
}

static int soft_access(struct ferry_mmu *mmu, ferry_va va)
{
	struct ferry_soft *soft = soft_of(mmu);
	const struct ferry_soft_page *page;
	int access;

	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	page = ferry_soft_mapped_at(soft, va);
	access = soft->gone ? -ESRCH : -ENOENT;
	if (page != NULL && !soft->gone)
		access = page->prot & FERRY_SOFT_RWX; /* enum ferry_mmu_access has the same bits */
	ferry_soft_unlock(soft);
	return access;
}

/* Protects the zero page that was put at va a step ago. */
static int protect_zero(struct ferry_soft *soft, ferry_va va)
{
	struct ferry_soft_page *page = ferry_soft_mapped_at(soft, va);
	int err = why_not_now(soft);

	if (err != 0)
		return err;
	if (page == NULL || !page->armed)
		return -ENOENT;
	if (page->memory.index == FERRY_SOFT_EMPTY)
		return -EAGAIN;
	if (page->memory.index != FERRY_SOFT_ZERO)
		return -ESTALE;
	page->wp = true;
	return 0;
}

/* Two steps, as on the host: a write may slip in between them. */
static int soft_enter_zero(struct ferry_mmu *mmu, ferry_va va)
{
	struct ferry_soft *soft = soft_of(mmu);
	int err;

	FERRY_ASSERT(ferry_page_down(va) == va);
	if (!mmu->caps.zero_page)
		return -EINVAL;
	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	err = why_not_enter(soft, va, false);
	if (err == 0)
		ferry_soft_page_at(soft, va)->memory.index = FERRY_SOFT_ZERO;
	else if (err == -EEXIST && ferry_soft_page_at(soft, va)->memory.index == FERRY_SOFT_ZERO)
		err = 0; /* an earlier try met an event before it could protect */
	ferry_soft_unlock(soft);
	if (err != 0)
		return err;
	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	err = protect_zero(soft, va);
	ferry_soft_unlock(soft);
	return err;
}

static int soft_unprotect(struct ferry_mmu *mmu, ferry_va va, uint32_t pages)
{
	struct ferry_soft *soft = soft_of(mmu);
	int err;

	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	err = why_not_now(soft);
	for (uint32_t i = 0; i < pages && err == 0; i++) {
		struct ferry_soft_page *page =
			ferry_soft_mapped_at(soft, ferry_soft_va_plus(va, i));

		if (page != NULL)
			page->wp = false;
	}
	ferry_soft_unlock(soft);
	return err;
}

static void soft_wake(struct ferry_mmu *mmu, ferry_va va, uint64_t pages)
{
	struct ferry_soft *soft = soft_of(mmu);

	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	for (uint32_t i = 0; i < FERRY_SOFT_THREADS; i++) {
		struct ferry_soft_thread *thread = &soft->threads[i];

		if (thread->parked && thread->va >= va &&
		    thread->va - va < pages << FERRY_PAGE_SHIFT)
			thread->parked = false;
	}
	ferry_soft_unlock(soft);
}

/*
 * Exclusive is said of memory that nobody else maps, also where the host still remembers a fork and
 * refuses to remove it.
 */
static uint8_t look(const struct ferry_soft *soft, const struct ferry_soft_page *page)
{
	uint32_t flags = FERRY_MMU_PRESENT;

	if (page != NULL && page->there)
		return (uint8_t)(flags | FERRY_MMU_FILE |
				 (ferry_soft_object_is_alone(page) ? FERRY_MMU_EXCLUSIVE : 0u));
	if (page == NULL || page->memory.index == FERRY_SOFT_EMPTY)
		return 0;
	if (page->memory.index == FERRY_SOFT_ZERO)
		flags |= FERRY_MMU_ZERO;
	else if (soft->memory[page->memory.index].users == 1)
		flags |= FERRY_MMU_EXCLUSIVE;
	if (page->file)
		flags |= FERRY_MMU_FILE;
	if (page->wp)
		flags |= FERRY_MMU_WP;
	if (page->huge)
		flags |= FERRY_MMU_HUGE;
	return (uint8_t)flags;
}

static int soft_lookup(struct ferry_mmu *mmu, ferry_va va, uint32_t pages, uint8_t *flags)
{
	struct ferry_soft *soft = soft_of(mmu);
	int err;

	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	err = soft->gone ? -ESRCH : 0;
	for (uint32_t i = 0; i < pages && err == 0; i++)
		flags[i] = look(soft, ferry_soft_mapped_at(soft, ferry_soft_va_plus(va, i)));
	ferry_soft_unlock(soft);
	return err;
}

static int soft_present_run(struct ferry_mmu *mmu, ferry_va *start, ferry_va end, ferry_va *stop)
{
	struct ferry_soft *soft = soft_of(mmu);
	ferry_va va = *start;

	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	while (va < end && look(soft, ferry_soft_mapped_at(soft, va)) == 0) {
		va += FERRY_PAGE_SIZE;
		/* Nothing lies outside the window. */
		if (ferry_soft_page_at(soft, va) == NULL)
			va = va < soft->options.base && soft->options.base < end
				     ? soft->options.base
				     : end;
	}
	*start = va;
	while (va < end && look(soft, ferry_soft_mapped_at(soft, va)) != 0)
		va += FERRY_PAGE_SIZE;
	*stop = va;
	ferry_soft_unlock(soft);
	return *start < end ? 0 : -ENOENT;
}

static int why_not_reclaim(struct ferry_soft *soft, ferry_va va)
{
	const struct ferry_soft_page *page = ferry_soft_mapped_at(soft, va);

	if (soft->gone)
		return -ESRCH;
	if (page == NULL)
		return -ENOMEM;
	if ((page->prot & FERRY_SOFT_WRITE) == 0)
		return -EFAULT;
	/* Where the live one would wait for a fault, this one leaves it. */
	if (page->memory.index < FERRY_SOFT_FIRST || page->wp)
		return -EAGAIN;
	return 0;
}

static int soft_reclaim_exclusive(struct ferry_mmu *mmu, ferry_va va, uint32_t pages)
{
	struct ferry_soft *soft = soft_of(mmu);
	int err = 0;

	for (uint32_t i = 0; i < pages && err == 0; i++) {
		ferry_va at = ferry_soft_va_plus(va, i);

		ferry_soft_step(soft);
		ferry_soft_lock(soft);
		err = why_not_reclaim(soft, at);
		if (err == 0)
			ferry_soft_make_own(soft, at, ferry_soft_page_at(soft, at));
		ferry_soft_unlock(soft);
	}
	return err;
}

/* --- the MMU: slots ----------------------------------------------------------------------- */

static int soft_fill(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages,
		     uint32_t *done)
{
	struct ferry_soft *soft = soft_of(mmu);
	uint32_t can = pages;
	int err = 0;

	assert_range(0, frame, pages);
	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	if (can > soft->free_pages) {
		can = frame.huge ? 0 : soft->free_pages;
		err = -ENOMEM;
	}
	if (soft->gone) {
		can = 0;
		err = -ESRCH;
	}
	for (uint32_t i = 0; i < can; i++) {
		struct ferry_soft_ref *slot = ferry_soft_slot_at(soft, frame_plus(frame, i));

		FERRY_ASSERT(slot->index == FERRY_SOFT_EMPTY);
		*slot = ferry_soft_new_memory(soft);
	}
	*done = can;
	ferry_soft_unlock(soft);
	return err;
}

static void soft_drop(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages)
{
	struct ferry_soft *soft = soft_of(mmu);

	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	for (uint32_t i = 0; i < pages; i++) {
		struct ferry_soft_ref *slot = ferry_soft_slot_at(soft, frame_plus(frame, i));

		ferry_soft_put_memory(soft, *slot);
		slot->index = FERRY_SOFT_EMPTY;
	}
	ferry_soft_unlock(soft);
}

/* => bytes of the page in a slot that may be written; a zero page there becomes memory. */
static uint8_t *slot_bytes(struct ferry_soft *soft, struct ferry_frame frame)
{
	struct ferry_soft_ref *slot;
	uint8_t *bytes;

	ferry_soft_lock(soft);
	slot = ferry_soft_slot_at(soft, frame);
	FERRY_ASSERT(slot->index != FERRY_SOFT_EMPTY);
	if (slot->index == FERRY_SOFT_ZERO)
		*slot = ferry_soft_new_memory(soft);
	bytes = slot->index == FERRY_SOFT_EMPTY ? NULL : soft->bytes[slot->index];
	ferry_soft_unlock(soft);
	return bytes;
}

static const uint8_t *slot_source(struct ferry_soft *soft, struct ferry_frame frame)
{
	struct ferry_soft_ref slot;

	ferry_soft_lock(soft);
	slot = *ferry_soft_slot_at(soft, frame);
	ferry_soft_unlock(soft);
	FERRY_ASSERT(slot.index != FERRY_SOFT_EMPTY);
	return soft->bytes[slot.index];
}

/* No lock is held over the copy, and it can be interrupted: that it is safe is up to the core. */
static int soft_copy_frame(struct ferry_mmu *mmu, struct ferry_frame target,
			   struct ferry_frame source, uint32_t pages)
{
	struct ferry_soft *soft = soft_of(mmu);

	for (uint32_t i = 0; i < pages; i++) {
		const uint8_t *from = slot_source(soft, frame_plus(source, i));
		uint8_t *to = slot_bytes(soft, frame_plus(target, i));

		if (to == NULL)
			return -ENOMEM;
		ferry_soft_step(soft);
		memcpy(to, from, FERRY_PAGE_SIZE / 2);
		ferry_soft_step(soft);
		memcpy(to + FERRY_PAGE_SIZE / 2, from + FERRY_PAGE_SIZE / 2, FERRY_PAGE_SIZE / 2);
	}
	return 0;
}

static void soft_zero_frame(struct ferry_mmu *mmu, struct ferry_frame frame, uint32_t pages)
{
	struct ferry_soft *soft = soft_of(mmu);

	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	for (uint32_t i = 0; i < pages; i++) {
		struct ferry_soft_ref slot = *ferry_soft_slot_at(soft, frame_plus(frame, i));

		FERRY_ASSERT(slot.index != FERRY_SOFT_EMPTY);
		if (slot.index >= FERRY_SOFT_FIRST)
			memset(soft->bytes[slot.index], 0, FERRY_PAGE_SIZE);
	}
	ferry_soft_unlock(soft);
}

static bool soft_is_zero(struct ferry_mmu *mmu, struct ferry_frame frame)
{
	const uint8_t *bytes = slot_source(soft_of(mmu), frame);

	return bytes[0] == 0 && memcmp(bytes, bytes + 1, FERRY_PAGE_SIZE - 1) == 0;
}

static int arm(struct ferry_soft *soft, ferry_va start, uint64_t len_bytes, bool shared)
{
	uint32_t mapped = 0;
	int err = 0;

	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	for (ferry_va va = start; va < start + len_bytes; va += FERRY_PAGE_SIZE) {
		const struct ferry_soft_page *page = ferry_soft_mapped_at(soft, va);

		mapped += page != NULL;
		if (page != NULL && (shared ? page->object == NULL : page->file))
			err = -EINVAL;
	}
	if (mapped == 0)
		err = -EINVAL;
	if (soft->gone)
		err = -ESRCH;
	for (ferry_va va = start; va < start + len_bytes && err == 0; va += FERRY_PAGE_SIZE) {
		if (ferry_soft_mapped_at(soft, va) != NULL)
			ferry_soft_page_at(soft, va)->armed = true;
	}
	ferry_soft_unlock(soft);
	return err;
}

static int soft_arm(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes)
{
	return arm(soft_of(mmu), start, len_bytes, false);
}

static int soft_arm_shared(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes)
{
	return arm(soft_of(mmu), start, len_bytes, true);
}

static int soft_disarm(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes)
{
	struct ferry_soft *soft = soft_of(mmu);
	int err;

	ferry_soft_step(soft);
	ferry_soft_lock(soft);
	err = why_not_now(soft);
	for (ferry_va va = start; va < start + len_bytes && err == 0; va += FERRY_PAGE_SIZE) {
		struct ferry_soft_page *page = ferry_soft_mapped_at(soft, va);

		if (page != NULL) {
			page->armed = false;
			page->wp = false;
		}
	}
	ferry_soft_unlock(soft);
	if (err == 0)
		soft_wake(mmu, start, len_bytes >> FERRY_PAGE_SHIFT);
	return err;
}

static const struct ferry_mmu_ops soft_ops = {
	.enter = soft_enter,
	.enter_copy = soft_enter_copy,
	.enter_new = soft_enter_new,
	.remove = soft_remove,
	.remove_locked = soft_remove_locked,
	.access = soft_access,
	.enter_zero = soft_enter_zero,
	.unprotect = soft_unprotect,
	.wake = soft_wake,
	.lookup = soft_lookup,
	.present_run = soft_present_run,
	.reclaim_exclusive = soft_reclaim_exclusive,
	.fill = soft_fill,
	.drop = soft_drop,
	.copy_frame = soft_copy_frame,
	.zero_frame = soft_zero_frame,
	.is_zero = soft_is_zero,
	.arm = soft_arm,
	.arm_shared = soft_arm_shared,
	.disarm = soft_disarm,
};

/* --- life --------------------------------------------------------------------------------- */

/* Where the parts of the one allocation lie. */
struct layout {
	uint64_t bytes, pages, memory, slots, arenas, slot_counts, end;
};

static struct layout layout_of(const struct ferry_soft_options *options)
{
	uint64_t memory = (uint64_t)options->memory_pages + FERRY_SOFT_FIRST;
	struct layout layout = { .bytes = 0 };
	uint64_t slots = 0;

	for (uint32_t i = 0; i < options->node_count; i++)
		slots += 2 * options->slots[i];
	layout.arenas = layout.bytes + memory * FERRY_PAGE_SIZE;
	layout.slot_counts = layout.arenas + options->node_count * 2 * sizeof(void *);
	layout.pages = layout.slot_counts + options->node_count * sizeof(uint64_t);
	layout.memory = layout.pages + options->pages * sizeof(struct ferry_soft_page);
	layout.slots = layout.memory + memory * sizeof(struct ferry_soft_memory);
	layout.end = layout.slots + slots * sizeof(struct ferry_soft_ref);
	return layout;
}

static void lay_out(struct ferry_soft *soft, const struct layout *layout)
{
	uintptr_t at = (uintptr_t)soft->allocation;
	struct ferry_soft_ref *slots = (struct ferry_soft_ref *)(at + layout->slots);

	soft->bytes = (uint8_t(*)[FERRY_PAGE_SIZE])(at + layout->bytes);
	soft->arena = (struct ferry_soft_ref **)(at + layout->arenas);
	soft->arena_slots = (uint64_t *)(at + layout->slot_counts);
	soft->pages = (struct ferry_soft_page *)(at + layout->pages);
	soft->memory = (struct ferry_soft_memory *)(at + layout->memory);
	for (uint32_t i = 0; i < soft->options.node_count; i++) {
		soft->arena_slots[i] = soft->options.slots[i];
		soft->arena[i * 2u] = slots;
		soft->arena[i * 2u + 1] = slots + soft->arena_slots[i];
		slots += 2 * soft->arena_slots[i];
	}
}

int ferry_soft_init(struct ferry_soft *soft, const struct ferry_soft_options *options)
{
	struct layout layout = layout_of(options);

	FERRY_ASSERT(ferry_huge_down(options->base) == options->base);
	memset(soft, 0, sizeof(*soft));
	soft->mmu.ops = &soft_ops;
	soft->mmu.caps = options->caps;
	soft->options = *options;
	soft->size_bytes = layout.end;
	soft->allocation = ferry_os->alloc(layout.end);
	if (soft->allocation == NULL)
		return -ENOMEM;
	lay_out(soft, &layout);
	soft->options.slots = soft->arena_slots;
	for (uint32_t i = options->memory_pages + FERRY_SOFT_FIRST; i-- > FERRY_SOFT_FIRST;) {
		struct ferry_soft_ref ref = { i };

		ferry_soft_free_if_unused(soft, ref);
	}
	return 0;
}

void ferry_soft_destroy(struct ferry_soft *soft)
{
	ferry_os->free(soft->allocation, soft->size_bytes);
	soft->allocation = NULL;
}

void ferry_soft_end(struct ferry_soft *soft)
{
	ferry_soft_lock(soft);
	soft->gone = true;
	soft->event_count = 0;
	for (uint32_t i = 0; i < FERRY_SOFT_THREADS; i++) {
		soft->threads[i].parked = false;
		soft->threads[i].holding = false;
	}
	for (uint32_t i = 0; i < soft->options.pages; i++) {
		ferry_soft_clear_page(soft, &soft->pages[i]);
		memset(&soft->pages[i], 0, sizeof(soft->pages[i]));
	}
	ferry_soft_unlock(soft);
}
