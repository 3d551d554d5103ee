/* SPDX-License-Identifier: MIT */
/*
 * zone.c - see zone.h.
 *
 * Layout: heap (HEAP_BYTES) | arenas. The heap hands out blocks of a power of two pages, from lists
 * of freed blocks or from its end; freed blocks are given back to the host at once, so that every
 * block reads as zeros. A free block's link lives in a side table (links[]), one per page.
 */
#include "runtime/zone.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/sys.h"

#define HEAP_BYTES (UINT64_C(1) << 34)
#define HEAP_DATA_BYTES (UINT64_C(64) << 20) /* what agents need, with room */

enum {
	CLASSES = 23,
	READY_PAGES = 4096,
	SLOTS_SPARE = 4096, /* frame numbers beyond a node's capacity, for what adoption finds */
};

static struct {
	ferry_va start;
	ferry_va end;
	ferry_va own_start; /* this library's data */
	ferry_va own_end;
	uint32_t lock;
	uint32_t bump;          /* pages handed out from the end */
	uint32_t ready;         /* pages made accessible */
	uint32_t free[CLASSES]; /* first page + 1 of a list by block size */
	uint32_t *links;        /* in the first pages of the heap */
} zone;

static void lock_zone(void)
{
	while (__atomic_exchange_n(&zone.lock, 1, __ATOMIC_ACQUIRE))
		ferry_sys0(SYS_sched_yield);
}

static void unlock_zone(void)
{
	__atomic_store_n(&zone.lock, 0, __ATOMIC_RELEASE);
}

static uint32_t class_of(size_t size_bytes)
{
	uint64_t pages = (size_bytes + FERRY_PAGE_SIZE - 1) / FERRY_PAGE_SIZE;
	uint32_t class = 0;

	while (((uint64_t)1 << class) < pages)
		class++;
	return class;
}

static void *page_at(uint32_t page)
{
	return (void *)(uintptr_t)(zone.start + (ferry_va)page * FERRY_PAGE_SIZE);
}

/* Makes more pages of the heap writable. zone locked. => 0, -errno. */
static int make_ready(uint32_t more)
{
	long ret;

	if ((uint64_t)zone.ready + more > HEAP_BYTES / FERRY_PAGE_SIZE)
		more = (uint32_t)(HEAP_BYTES / FERRY_PAGE_SIZE) - zone.ready;
	ret = ferry_sys3(SYS_mprotect, page_at(zone.ready), (uint64_t)more * FERRY_PAGE_SIZE,
			 PROT_READ | PROT_WRITE);
	if (ret == 0)
		zone.ready += more;
	return (int)ret;
}

/* Pages from the end of the heap; UINT32_MAX: none left. => zone locked. */
static uint32_t take_end(uint32_t pages)
{
	uint32_t first = zone.bump;

	if ((uint64_t)first + pages > HEAP_BYTES / FERRY_PAGE_SIZE)
		return UINT32_MAX;
	if (first + pages > zone.ready && make_ready(pages > READY_PAGES ? pages : READY_PAGES))
		return UINT32_MAX;
	zone.bump += pages;
	return first;
}

int ferry_zone_create(uint64_t arena_bytes)
{
	uint64_t links_pages = HEAP_BYTES / FERRY_PAGE_SIZE * sizeof(uint32_t) / FERRY_PAGE_SIZE;
	uint64_t len = HEAP_BYTES + arena_bytes + FERRY_HUGE_SIZE;
	long at = ferry_sys6(SYS_mmap, 0, (long)len, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at < 0 && at > -4096)
		return (int)at;
	(void)ferry_sys3(SYS_madvise, at, len, MADV_DONTFORK);
	zone.start = (ferry_va)at;
	zone.end = zone.start + len;
	zone.lock = 0;
	zone.bump = 0;
	zone.ready = 0;
	for (uint32_t i = 0; i < CLASSES; i++)
		zone.free[i] = 0;
	if (take_end((uint32_t)links_pages) == UINT32_MAX)
		return -ENOMEM;
	zone.links = page_at(0);
	return 0;
}

ferry_va ferry_zone_arenas(void)
{
	return ferry_huge_down(zone.start + HEAP_BYTES + FERRY_HUGE_SIZE - 1);
}

void ferry_zone_destroy(void)
{
	(void)ferry_sys2(SYS_munmap, zone.start, zone.end - zone.start);
	zone.start = 0;
	zone.end = 0;
}

uint64_t ferry_zone_bytes(void)
{
	return zone.end - zone.start;
}

int ferry_zone_count_heap(void)
{
	const uint32_t want = (uint32_t)(HEAP_DATA_BYTES / FERRY_PAGE_SIZE);
	int err = 0;

	lock_zone();
	if (zone.ready < want)
		err = make_ready(want - zone.ready);
	unlock_zone();
	return err;
}

uint64_t ferry_zone_slots(const struct ferry_node *node)
{
	uint64_t slots = node->capacity_pages;

	if (!slots)
		return 0;
	return (slots + SLOTS_SPARE + FERRY_HUGE_PAGES - 1) / FERRY_HUGE_PAGES * FERRY_HUGE_PAGES;
}

uint64_t ferry_zone_arena_bytes(const struct ferry_machine *machine)
{
	const struct ferry_node *nodes = ferry_machine_nodes(machine);
	uint64_t slots = 0;

	for (uint32_t n = 0; n < machine->node_count; n++)
		slots += ferry_zone_slots(&nodes[n]);
	return slots * 2 * FERRY_PAGE_SIZE;
}

uint64_t ferry_zone_data_bytes(const struct ferry_machine *machine)
{
	return HEAP_DATA_BYTES + ferry_zone_arena_bytes(machine);
}

bool ferry_zone_covers(ferry_va start, ferry_va end)
{
	return (start < zone.end && zone.start < end) ||
	       (start < zone.own_end && zone.own_start < end);
}

void ferry_zone_exclude(ferry_va start, ferry_va end)
{
	zone.own_start = ferry_page_down(start);
	zone.own_end = ferry_page_up(end);
}

void *ferry_zone_alloc(size_t size_bytes)
{
	uint32_t class = class_of(size_bytes);
	uint32_t page;

	if (class >= CLASSES)
		return NULL;
	lock_zone();
	page = zone.free[class];
	if (page) {
		page--;
		zone.free[class] = zone.links[page];
	} else {
		page = take_end((uint32_t)1 << class);
	}
	unlock_zone();
	return page == UINT32_MAX ? NULL : page_at(page);
}

void ferry_zone_free(void *memory, size_t size_bytes)
{
	uint32_t class = class_of(size_bytes);
	uint32_t page = (uint32_t)(((ferry_va)(uintptr_t)memory - zone.start) / FERRY_PAGE_SIZE);

	if (!memory)
		return;
	(void)ferry_sys3(SYS_madvise, memory, ((uint64_t)FERRY_PAGE_SIZE << class), MADV_DONTNEED);
	lock_zone();
	zone.links[page] = zone.free[class];
	zone.free[class] = page + 1;
	unlock_zone();
}

static int put(void *page, int flags, int fd)
{
	long at = ferry_sys6(SYS_mmap, (long)page, FERRY_PAGE_SIZE, PROT_READ | PROT_WRITE,
			     MAP_FIXED | flags, fd, 0);

	if (at < 0 && at > -4096)
		return (int)at;
	(void)ferry_sys3(SYS_madvise, page, FERRY_PAGE_SIZE, MADV_DONTFORK);
	return 0;
}

int ferry_zone_show(void *page, int fd)
{
	return put(page, MAP_SHARED, fd);
}

int ferry_zone_hide(void *page)
{
	return put(page, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}
