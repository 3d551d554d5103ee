/* SPDX-License-Identifier: MIT */
/*
 * ptable.c - see ptable.h; the layout is in books.h.
 *
 * Invariants:
 *  1. An entry of top or middle is 0 or the number of a page that was given out by bump or taken
 *     from the free list, and never changes while it is not 0, but to 0 (leaves only).
 *  2. A free leaf is all zeros, but for its first word: the next free leaf, shifted to where a
 * frame number stands, so that a late reader sees an entry in state NONE.
 *
 * Readers check every page number: the books may be another process's.
 */
#include "map/ptable.h"
#include "base/os.h"

enum {
	TOP_SHIFT = 33,
	MIDDLE_SHIFT = 21,
	MIDDLE_ENTRIES = 1 << (TOP_SHIFT - MIDDLE_SHIFT),
	MIDDLE_PAGES = MIDDLE_ENTRIES * 4 / FERRY_PAGE_SIZE,
	FREE_SHIFT = 26,
};

static const ferry_va va_end = UINT64_C(1) << FERRY_VA_BITS;
static const uint64_t segment_pages = FERRY_BOOKS_SIZE_BYTES >> FERRY_PAGE_SHIFT;

/* => the page numbered so, or NULL if pages from there on do not lie in the segment. */
static void *page_at(const struct ferry_books *books, uint32_t number, uint32_t pages)
{
	if (number == 0 || (uint64_t)number + pages > segment_pages)
		return NULL;
	return (void *)((uintptr_t)books + ((uintptr_t)number << FERRY_PAGE_SHIFT));
}

static uint32_t *top_entry(const struct ferry_books *books, ferry_va va)
{
	uint32_t *top = (uint32_t *)((uintptr_t)books + books->top_offset);

	return &top[va >> TOP_SHIFT];
}

/* => the entry that names va's leaf, or NULL: no middle table. */
static uint32_t *middle_entry(const struct ferry_books *books, ferry_va va)
{
	uint32_t number = __atomic_load_n(top_entry(books, va), __ATOMIC_ACQUIRE);
	uint32_t *middle = page_at(books, number, MIDDLE_PAGES);

	return middle == NULL ? NULL : &middle[va >> MIDDLE_SHIFT & (MIDDLE_ENTRIES - 1)];
}

struct ferry_pte ferry_ptable_get(const struct ferry_books *books, ferry_va va)
{
	struct ferry_pte none = { 0 }, pte;
	const struct ferry_pte *leaf;
	uint32_t *entry;
	uint32_t number;

	if (va >= va_end)
		return none;
	entry = middle_entry(books, va);
	if (entry == NULL)
		return none;
	number = __atomic_load_n(entry, __ATOMIC_ACQUIRE);
	leaf = page_at(books, number, 1);
	if (leaf == NULL)
		return none;
	pte.word = __atomic_load_n(&leaf[va >> FERRY_PAGE_SHIFT & (FERRY_HUGE_PAGES - 1)].word,
				   __ATOMIC_ACQUIRE);
	/* A leaf that was freed meanwhile may belong to another address by now. */
	if (__atomic_load_n(entry, __ATOMIC_ACQUIRE) != number)
		return none;
	return pte;
}

const struct ferry_pte *ferry_ptable_leaf(const struct ferry_books *books, ferry_va va)
{
	const uint32_t *entry;

	if (va >= va_end)
		return NULL;
	entry = middle_entry(books, va);
	if (entry == NULL)
		return NULL;
	return page_at(books, __atomic_load_n(entry, __ATOMIC_ACQUIRE), 1);
}

/* => number of the first of some pages never used before, or 0. */
static uint32_t bump(struct ferry_books *books, uint32_t pages)
{
	uint32_t number = books->bump_page;

	if ((uint64_t)number + pages > segment_pages)
		return 0;
	books->bump_page += pages;
	return number;
}

static uint32_t take_leaf(struct ferry_books *books)
{
	uint32_t number = books->free_leaf;
	struct ferry_pte *leaf;

	if (number == 0)
		return bump(books, 1);
	leaf = page_at(books, number, 1);
	FERRY_ASSERT(leaf != NULL);
	books->free_leaf = (uint32_t)(leaf[0].word >> FREE_SHIFT);
	__atomic_store_n(&leaf[0].word, 0, __ATOMIC_RELAXED);
	return number;
}

static void put_leaf(struct ferry_books *books, uint32_t number)
{
	struct ferry_pte *leaf = page_at(books, number, 1);

	for (uint32_t i = 1; i < FERRY_HUGE_PAGES; i++)
		__atomic_store_n(&leaf[i].word, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&leaf[0].word, (uint64_t)books->free_leaf << FREE_SHIFT, __ATOMIC_RELAXED);
	books->free_leaf = number;
	books->leaf_count--;
}

struct ferry_pte *ferry_ptable_slot(struct ferry_books *books, ferry_va va)
{
	uint32_t *entry;
	struct ferry_pte *leaf;

	FERRY_ASSERT(va < va_end);
	entry = middle_entry(books, va);
	if (entry == NULL) {
		uint32_t middle = bump(books, MIDDLE_PAGES);

		if (middle == 0)
			return NULL;
		__atomic_store_n(top_entry(books, va), middle, __ATOMIC_RELEASE);
		entry = middle_entry(books, va);
	}
	if (*entry == 0) {
		uint32_t number = take_leaf(books);

		if (number == 0)
			return NULL;
		books->leaf_count++;
		__atomic_store_n(entry, number, __ATOMIC_RELEASE);
	}
	leaf = page_at(books, *entry, 1);
	return &leaf[va >> FERRY_PAGE_SHIFT & (FERRY_HUGE_PAGES - 1)];
}

void ferry_pte_set(struct ferry_pte *slot, struct ferry_pte value)
{
	__atomic_store_n(&slot->word, value.word, __ATOMIC_RELEASE);
}

ferry_va ferry_ptable_next_leaf(const struct ferry_books *books, ferry_va start, ferry_va end)
{
	ferry_va limit = end < va_end ? end : va_end;
	ferry_va va = start;

	while (va < limit) {
		const uint32_t *entry = middle_entry(books, va);

		if (entry == NULL) {
			va = ((va >> TOP_SHIFT) + 1) << TOP_SHIFT;
			continue;
		}
		if (__atomic_load_n(entry, __ATOMIC_ACQUIRE) != 0)
			return va;
		va = ferry_huge_down(va) + FERRY_HUGE_SIZE;
	}
	return end;
}

static bool leaf_is_blank(const struct ferry_pte *leaf)
{
	for (uint32_t i = 0; i < FERRY_HUGE_PAGES; i++) {
		if (ferry_pte_state(leaf[i]) != FERRY_PTE_NONE ||
		    ferry_pte_has(leaf[i], FERRY_PTE_THREAD))
			return false;
	}
	return true;
}

void ferry_ptable_trim(struct ferry_books *books, ferry_va start, ferry_va end)
{
	ferry_va va = ferry_huge_down(start + FERRY_HUGE_SIZE - 1);

	end = ferry_huge_down(end);
	for (va = ferry_ptable_next_leaf(books, va, end); va < end;
	     va = ferry_ptable_next_leaf(books, va + FERRY_HUGE_SIZE, end)) {
		uint32_t *entry = middle_entry(books, va);
		uint32_t number = *entry;

		if (!leaf_is_blank(page_at(books, number, 1)))
			continue;
		__atomic_store_n(entry, 0, __ATOMIC_RELEASE);
		put_leaf(books, number);
	}
}
