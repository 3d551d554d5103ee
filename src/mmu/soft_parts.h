/* SPDX-License-Identifier: MIT */
/* soft_parts.h - what soft.c and soft_program.c share; nobody else includes it. */
#ifndef FERRY_MMU_SOFT_PARTS_H
#define FERRY_MMU_SOFT_PARTS_H

#include "mmu/soft.h"

/* Values of ferry_soft_ref.index. */
enum { FERRY_SOFT_EMPTY = 0, FERRY_SOFT_ZERO = 1, FERRY_SOFT_FIRST = 2 };

void ferry_soft_lock(struct ferry_soft *soft);
void ferry_soft_unlock(struct ferry_soft *soft);
/* => lock NOT held: others may run now. */
void ferry_soft_step(struct ferry_soft *soft);

/* All below: lock held. */

/* => zeroed memory with one user, or none (index FERRY_SOFT_EMPTY). */
struct ferry_soft_ref ferry_soft_new_memory(struct ferry_soft *soft);
void ferry_soft_free_if_unused(struct ferry_soft *soft, struct ferry_soft_ref ref);
void ferry_soft_put_memory(struct ferry_soft *soft, struct ferry_soft_ref ref);
/* => the page, NULL outside the window; and NULL if it is not mapped. */
struct ferry_soft_page *ferry_soft_page_at(struct ferry_soft *soft, ferry_va va);
struct ferry_soft_page *ferry_soft_mapped_at(struct ferry_soft *soft, ferry_va va);
struct ferry_soft_ref *ferry_soft_slot_at(struct ferry_soft *soft, struct ferry_frame frame);
/* A 2 MiB page of which a part is touched on its own falls apart into small ones. */
void ferry_soft_split_huge(struct ferry_soft *soft, ferry_va va);
void ferry_soft_clear_page(struct ferry_soft *soft, struct ferry_soft_page *page);
/* Gives an empty page a copy of what source holds. => 0, -ENOMEM. */
int ferry_soft_copy_in(struct ferry_soft *soft, struct ferry_soft_page *page,
		       struct ferry_soft_ref source);

/*
 * Moves pages from addresses to slots, all before the first that cannot go; of a huge frame all or
 * none. => pages; *err says why not more.
 */
uint32_t ferry_soft_take_out(struct ferry_soft *soft, ferry_va va, struct ferry_frame frame,
			     uint32_t pages, int *err);
/* A write to a page that is there: what is shared since a fork, or zero, gets memory of its own. */
void ferry_soft_make_own(struct ferry_soft *soft, ferry_va va, struct ferry_soft_page *page);

/*
 * The same for pages of a mapping that is not plain, in a window; stops where the protection
 * changes.
 * => lock NOT held. pages; *err says why not more, 0 if others may follow.
 */
uint32_t ferry_soft_take_by_window(struct ferry_soft *soft, ferry_va va, struct ferry_frame frame,
				   uint32_t pages, int *err);

/* soft_object.c: puts a page of an object into the page table, if it has been made; make: makes it.
 * => 0; -EEXIST (make: it has been made already), -ENOENT (it has not), -ENOMEM. */
int ferry_soft_object_enter(struct ferry_soft_page *page, bool make);
/* The page leaves the page table, or enters that of a child. */
void ferry_soft_object_leave(struct ferry_soft_page *page);
void ferry_soft_object_inherit(struct ferry_soft_page *copy);
bool ferry_soft_object_is_alone(const struct ferry_soft_page *page);
/* => as a program's: whether the access goes through. A load sets *value. */
enum ferry_soft_result ferry_soft_object_access(struct ferry_soft_page *page, bool write,
						uint64_t *value);

static inline ferry_va ferry_soft_va_plus(ferry_va va, uint32_t pages)
{
	return va + (ferry_va)pages * FERRY_PAGE_SIZE;
}

#endif
