/* SPDX-License-Identifier: MIT */
/* books.c - laying out the books and judging those that somebody else laid out; see books.h. */
#include <errno.h>

#include <string.h>

#include "map/books.h"
#include "map/region.h"

enum { TOP_ENTRIES = 1 << 14, COPY_TRIES = 8 };

struct layout {
	uint64_t regions, node_counts, top, end;
};

static struct layout layout_of(uint32_t node_count)
{
	struct layout layout;

	layout.regions = ferry_page_up(sizeof(struct ferry_books));
	layout.node_counts =
		ferry_page_up(layout.regions + FERRY_REGIONS_MAX * sizeof(struct ferry_region));
	layout.top = ferry_page_up(layout.node_counts +
				   (uint64_t)node_count * sizeof(struct ferry_node_count));
	layout.end = ferry_page_up(layout.top + TOP_ENTRIES * sizeof(uint32_t));
	return layout;
}

void ferry_books_layout(struct ferry_books *books, uint32_t node_count, int32_t pid)
{
	struct layout layout = layout_of(node_count);

	books->version = FERRY_BOOKS_VERSION;
	books->node_count = node_count;
	books->pid = pid;
	books->regions_offset = layout.regions;
	books->node_counts_offset = layout.node_counts;
	books->top_offset = layout.top;
	books->bump_page = (uint32_t)(layout.end >> FERRY_PAGE_SHIFT);
	/* Last, so that a reader who sees it sees the rest. */
	__atomic_store_n(&books->magic, FERRY_BOOKS_MAGIC, __ATOMIC_RELEASE);
}

uint64_t ferry_books_used_bytes(const struct ferry_books *books)
{
	return (uint64_t)__atomic_load_n(&books->bump_page, __ATOMIC_ACQUIRE) << FERRY_PAGE_SHIFT;
}

int ferry_books_copy(struct ferry_books *copy, uint64_t room_bytes, const struct ferry_books *books)
{
	struct layout layout = layout_of(books->node_count);
	int count;

	ferry_books_layout(copy, books->node_count, books->pid);
	for (int tries = 0; tries < COPY_TRIES; tries++) {
		uint64_t used = ferry_books_used_bytes(books);

		if (used > room_bytes)
			return -EAGAIN;
		count = ferry_region_read(books, ferry_books_regions(copy), FERRY_REGIONS_MAX);
		if (count < 0)
			return -EAGAIN;
		copy->region_count = (uint32_t)count;
		/* Tables first: what they name was there before. */
		memcpy((char *)copy + layout.top, (const char *)books + layout.top,
		       used - layout.top);
		if (ferry_books_used_bytes(books) == used)
			return 0;
	}
	return -EAGAIN;
}

int ferry_books_validate(const struct ferry_books *books, size_t size_bytes)
{
	struct layout layout;

	if (size_bytes < FERRY_BOOKS_SIZE_BYTES ||
	    __atomic_load_n(&books->magic, __ATOMIC_ACQUIRE) != FERRY_BOOKS_MAGIC ||
	    books->version != FERRY_BOOKS_VERSION || books->node_count == 0 ||
	    books->node_count > FERRY_NODES_MAX)
		return -EINVAL;
	layout = layout_of(books->node_count);
	if (books->regions_offset != layout.regions ||
	    books->node_counts_offset != layout.node_counts || books->top_offset != layout.top)
		return -EINVAL;
	return 0;
}
