/* SPDX-License-Identifier: MIT */
/* mappers.c - see mappers.h. */
#include "runtime/mappers.h"

#include <errno.h>
#include <fcntl.h>

#include "base/format.h"
#include "base/sys.h"
#include "runtime/maps.h"

enum { ROW = 512, PAGEMAP_ENTRY = 8 };

/* Pages in a row that are asked about, and where they are in what file. */
struct row {
	ferry_va va;
	uint32_t pages;
	uint64_t device, inode;
	uint64_t offset; /* of the first page, bytes */
	bool *others;
};

static int open_of(int32_t pid, const char *file)
{
	struct ferry_text text;
	char path[64];

	ferry_text_init(&text, path, sizeof(path));
	ferry_text_string(&text, "/proc/");
	ferry_text_decimal(&text, (uint64_t)pid);
	ferry_text_string(&text, file);
	return (int)ferry_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

static void mark_all(const struct row *row)
{
	for (uint32_t i = 0; i < row->pages; i++)
		row->others[i] = true;
}

/* A mapping of the other process shows pages [first, last) of the row, the first one at va. */
static void look_at_pages(const struct row *row, int pagemap, uint32_t first, uint32_t last,
			  ferry_va va)
{
	uint64_t entries[ROW];
	uint32_t n;
	long got;

	for (; first < last; first += n, va += (ferry_va)n << FERRY_PAGE_SHIFT) {
		n = last - first < ROW ? last - first : ROW;
		got = ferry_sys4(SYS_pread64, pagemap, entries, n * sizeof(entries[0]),
				 (va >> FERRY_PAGE_SHIFT) * PAGEMAP_ENTRY);
		for (uint32_t i = 0; i < n && (long)((i + 1) * sizeof(entries[0])) <= got; i++)
			row->others[first + i] |= (entries[i] & FERRY_PAGEMAP_PRESENT) != 0;
	}
}

static void look_at_mapping(const struct row *row, int pagemap, const struct ferry_mapping *mapping)
{
	uint64_t len = mapping->end - mapping->start, row_len;
	uint64_t from = mapping->offset, to = mapping->offset + len;

	if (mapping->device != row->device || mapping->inode != row->inode)
		return;
	row_len = (uint64_t)row->pages << FERRY_PAGE_SHIFT;
	if (from < row->offset)
		from = row->offset;
	if (to > row->offset + row_len)
		to = row->offset + row_len;
	if (from < to)
		look_at_pages(row, pagemap, (uint32_t)((from - row->offset) >> FERRY_PAGE_SHIFT),
			      (uint32_t)((to - row->offset) >> FERRY_PAGE_SHIFT),
			      mapping->start + (from - mapping->offset));
}

static void look_at_process(const struct row *row, int32_t pid)
{
	int maps = open_of(pid, "/maps"), pagemap = open_of(pid, "/pagemap");
	struct ferry_mapping mapping = {.end = 0};

	if (maps >= 0 && pagemap >= 0) {
		while (ferry_maps_next(maps, mapping.end, &mapping) == 0)
			look_at_mapping(row, pagemap, &mapping);
	} else if (maps == -EACCES || pagemap == -EACCES || pagemap == -EPERM) {
		mark_all(row);
	}
	if (maps >= 0)
		ferry_sys1(SYS_close, maps);
	if (pagemap >= 0)
		ferry_sys1(SYS_close, pagemap);
}

static void look_at_row(const struct ferry_agent *agent, const struct row *row)
{
	const struct ferry_process *processes = ferry_machine_processes(agent->machine);

	/* In another pid namespace than the keeper's their numbers are not those of our /proc. */
	if (processes[ferry_door.process].pid != agent->proc_pid) {
		mark_all(row);
		return;
	}
	for (uint32_t i = 0; i < FERRY_PROCESSES_MAX; i++) {
		uint32_t state = __atomic_load_n(&processes[i].state, __ATOMIC_ACQUIRE);
		int32_t pid = __atomic_load_n(&processes[i].pid, __ATOMIC_RELAXED);

		if (state == FERRY_PROCESS_FREE || pid <= 0 || i == ferry_door.process ||
		    pid == agent->pid)
			continue;
		look_at_process(row, pid);
	}
}

void ferry_mappers_find(struct ferry_agent *agent, const ferry_va *va, uint32_t count,
			bool *others)
{
	uint32_t n;

	for (uint32_t i = 0; i < count; i += n) {
		struct ferry_mapping mapping;
		struct row row = {.va = va[i], .others = &others[i]};

		others[i] = false;
		for (n = 1; i + n < count &&
			    va[i + n] == va[i] + ((ferry_va)n << FERRY_PAGE_SHIFT); n++)
			others[i + n] = false;
		if (ferry_maps_next(agent->maps, va[i], &mapping) || mapping.start > va[i])
			continue;
		if (n > (mapping.end - va[i]) >> FERRY_PAGE_SHIFT)
			n = (uint32_t)((mapping.end - va[i]) >> FERRY_PAGE_SHIFT);
		row.pages = n;
		row.device = mapping.device;
		row.inode = mapping.inode;
		row.offset = mapping.offset + (va[i] - mapping.start);
		look_at_row(agent, &row);
	}
}
