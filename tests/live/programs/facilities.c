/* SPDX-License-Identifier: MIT */
/*
 * facilities.c - what programs do with their memory besides reading and writing it.
 *
 * Each part prints what it saw, which is the same in every run: the script compares a bare run with
 * one whose pages are ferried meanwhile. With arguments only the parts that are named run.
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <setjmp.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif
#ifndef MCL_ONFAULT
#define MCL_ONFAULT 4
#endif

enum { PAGES = 256, ROUNDS = 300 };

static uint64_t seed;
static int nodes;

static volatile uint64_t *word_of(char *area, size_t page)
{
	return (volatile uint64_t *)(void *)(area + page * PAGE) + page % PAGE_WORDS;
}

static void fill(char *area, size_t pages)
{
	for (size_t page = 0; page < pages; page++)
		*word_of(area, page) = page + 1;
}

static bool is_filled(char *area, size_t pages)
{
	for (size_t page = 0; page < pages; page++)
		if (*word_of(area, page) != page + 1)
			return false;
	return true;
}

static int open_proc(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	REQUIRE(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

static void read_pagemap(int fd, const char *area, size_t pages, uint64_t *entries)
{
	REQUIRE(pread(fd, entries, pages * 8, (off_t)((uintptr_t)area / PAGE * 8)) ==
			(ssize_t)(pages * 8),
		"pagemap");
}

/* A number of /proc/self/status, kB. */
static unsigned long status_kb(const char *name)
{
	FILE *file = fopen("/proc/self/status", "r");
	unsigned long value = 0;
	char line[256];

	REQUIRE(file != NULL, "/proc/self/status");
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			value = strtoul(line + strlen(name) + 1, NULL, 10);
	fclose(file);
	return value;
}

/* The VmFlags of the mapping around an address hold this one. */
static bool has_vm_flag(const void *address, const char *flag)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long start = 0, end = 0, a, b;
	bool found = false;
	char line[512];

	REQUIRE(file != NULL, "/proc/self/smaps");
	while (fgets(line, sizeof(line), file) != NULL) {
		if (sscanf(line, "%lx-%lx ", &a, &b) == 2) {
			start = a;
			end = b;
		} else if (strncmp(line, "VmFlags:", 8) == 0 && (uintptr_t)address >= start &&
			   (uintptr_t)address < end) {
			found = strstr(line, flag) != NULL;
		}
	}
	fclose(file);
	return found;
}

/* --- looking at pages ------------------------------------------------------------------------ */

static void part_mincore(void)
{
	char *area = live_map((size_t)PAGES * PAGE);
	unsigned char vec[PAGES];
	unsigned wrong = 0;

	for (size_t page = 0; page < PAGES; page += 3)
		*word_of(area, page) = page;
	for (unsigned round = 0; round < ROUNDS; round++) {
		memset(vec, 0xff, sizeof(vec));
		REQUIRE(mincore(area, sizeof(vec) * PAGE, vec) == 0, "mincore");
		for (size_t page = 0; page < PAGES; page++)
			wrong += (vec[page] & 1) != (page % 3 == 0);
	}
	REQUIRE(mincore(area + 1, PAGE, vec) == -1 && errno == EINVAL, "mincore unaligned");
	munmap(area, (size_t)PAGES * PAGE);
	REQUIRE(mincore(area, PAGE, vec) == -1 && errno == ENOMEM, "mincore of nothing");
	printf("mincore: %u wrong\n", wrong);
}

static bool stop_moving; /* atomic */

static void *move_about(void *area)
{
	for (int node = 0; nodes >= 2 && !__atomic_load_n(&stop_moving, __ATOMIC_ACQUIRE); node++)
		REQUIRE(ferry_move_range(0, area, (size_t)PAGES * PAGE, node % nodes, NULL, NULL) >=
				0,
			"ferry_move_range");
	return NULL;
}

/* Looks at the pages that were written in this round. => how many have been seen with no entry only
 * so far, being on their way. Adds to *clean those that are called so. */
static unsigned count_written(int pagemap, char *area, unsigned round, bool *seen,
			      unsigned *clean)
{
	uint64_t entries[PAGES];
	unsigned unseen = 0;

	read_pagemap(pagemap, area, PAGES, entries);
	for (size_t page = round % 4; page < PAGES; page += 4) {
		seen[page] |= entries[page] >> 62 != 0;
		unseen += !seen[page];
		*clean += entries[page] >> 62 != 0 && (entries[page] >> 55 & 1) == 0;
	}
	return unseen;
}

/* A page that was written since the bits were cleared is never called clean, moved or not. */
static void part_soft_dirty(void)
{
	char *area = live_map((size_t)PAGES * PAGE);
	int pagemap = open_proc("/proc/self/pagemap", O_RDONLY);
	int clear = open_proc("/proc/self/clear_refs", O_WRONLY);
	unsigned clean = 0, missed = 0, kept = 0, unseen;
	bool seen[PAGES] = { false };
	pthread_t mover;

	fill(area, PAGES);
	unseen = count_written(pagemap, area, 0, seen, &clean);
	if (clean != 0 && unseen + clean == PAGES / 4) {
		printf("soft dirty: not on this kernel\n");
		goto out;
	}
	__atomic_store_n(&stop_moving, false, __ATOMIC_RELEASE);
	REQUIRE(pthread_create(&mover, NULL, move_about, area) == 0, "thread");
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t end = live_now_ns() + UINT64_C(2000000000) * live_slow();

		REQUIRE(write(clear, "4", 1) == 1, "clear_refs: %s", strerror(errno));
		for (size_t page = round % 4; page < PAGES; page += 4)
			*word_of(area, page) = page + 1;
		memset(seen, 0, sizeof(seen));
		do {
			unseen = count_written(pagemap, area, round, seen, &clean);
		} while (unseen != 0 && live_now_ns() < end);
		missed += unseen;
		kept += is_filled(area, PAGES);
	}
	__atomic_store_n(&stop_moving, true, __ATOMIC_RELEASE);
	pthread_join(mover, NULL);
	printf("soft dirty: %u called clean, %u missed, %u right\n", clean, missed, kept);
out:
	close(clear);
	close(pagemap);
	munmap(area, (size_t)PAGES * PAGE);
}

static void part_pagemap(void)
{
	char *area = live_map((size_t)PAGES * PAGE);
	int pagemap = open_proc("/proc/self/pagemap", O_RDONLY);
	static uint64_t entries[PAGES];
	static bool seen[PAGES];
	uint64_t end = live_now_ns() + UINT64_C(2000000000);
	size_t present = 0, touched = 0;

	for (size_t page = 0; page < PAGES; page += 2)
		*word_of(area, page) = page;
	/* Each page that was touched is there, or will be in a moment; no other ever is. */
	while (touched < PAGES / 2 && live_now_ns() < end) {
		read_pagemap(pagemap, area, PAGES, entries);
		touched = present = 0;
		for (size_t page = 0; page < PAGES; page++) {
			seen[page] |= entries[page] >> 63 != 0;
			touched += seen[page] && page % 2 == 0;
			present += seen[page] && page % 2 == 1;
		}
	}
	printf("pagemap: %zu touched, %zu others\n", touched, present);
	close(pagemap);
	munmap(area, (size_t)PAGES * PAGE);
}

/* PAGEMAP_SCAN and PROCMAP_QUERY, as the kernel documents them. */
struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

struct map_query {
	uint64_t size, query_flags, query_addr, vma_start, vma_end, vma_flags, vma_page_size;
	uint64_t vma_offset, inode;
	uint32_t dev_major, dev_minor, vma_name_size, build_id_size;
	uint64_t vma_name_addr, build_id_addr;
};

enum { SCAN_PRESENT = 1 << 3, MAP_BITS = 7 };

/* Pages that a scan says are present. => 0 where the kernel cannot scan. */
static size_t scan_present(int pagemap, char *area, bool *seen)
{
	static struct scan_region regions[PAGES];
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)area,
		.end = (uintptr_t)area + (size_t)PAGES * PAGE,
		.vec = (uintptr_t)regions,
		.vec_len = PAGES,
		.category_mask = SCAN_PRESENT,
		.return_mask = SCAN_PRESENT,
	};
	int found = ioctl(pagemap, _IOWR('f', 16, struct scan_arg), &arg);
	size_t count = 0;

	for (int i = 0; i < found; i++)
		for (uint64_t at = regions[i].start; at < regions[i].end; at += PAGE)
			seen[(at - (uintptr_t)area) / PAGE] = true;
	for (size_t page = 0; page < PAGES; page++)
		count += seen[page];
	return count;
}

static void part_scan(void)
{
	static bool seen[PAGES];
	char *area = live_map((size_t)PAGES * PAGE);
	int pagemap = open_proc("/proc/self/pagemap", O_RDONLY);
	int maps = open_proc("/proc/self/maps", O_RDONLY);
	struct map_query query = { .size = sizeof(query), .query_addr = (uintptr_t)area + PAGE };
	size_t present = 0;

	for (size_t page = 0; page < PAGES; page += 2)
		*word_of(area, page) = page;
	/* What is in flight at one scan is there at another; what was never touched never is. */
	for (unsigned round = 0; round < ROUNDS; round++)
		present = scan_present(pagemap, area, seen);
	printf("scan: %zu present\n", present);
	REQUIRE(mprotect(area, (size_t)PAGES * PAGE, PROT_READ) == 0, "mprotect");
	live_sleep_us(1000);
	REQUIRE(mprotect(area, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE) == 0, "mprotect");
	if (ioctl(maps, _IOWR('f', 17, struct map_query), &query) == 0)
		printf("query: %d, rights %llu\n",
		       query.vma_start <= (uintptr_t)area &&
			       query.vma_end >= (uintptr_t)area + (size_t)PAGES * PAGE,
		       (unsigned long long)query.vma_flags & MAP_BITS);
	close(maps);
	close(pagemap);
	munmap(area, (size_t)PAGES * PAGE);
}

/* --- advice ---------------------------------------------------------------------------------- */

static void part_advice(void)
{
	static const int advices[] = { MADV_COLD,          MADV_PAGEOUT,       MADV_MERGEABLE,
				       MADV_WILLNEED,      MADV_DONTFORK,      MADV_UNMERGEABLE,
				       MADV_DODUMP,        MADV_DOFORK,        MADV_SEQUENTIAL,
				       MADV_POPULATE_READ, MADV_POPULATE_WRITE };
	char *area = live_map((size_t)PAGES * PAGE);

	fill(area, PAGES);
	for (unsigned i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		int result = 0, error = 0;

		for (unsigned round = 0; round < 5; round++) {
			result |= madvise(area, (size_t)PAGES * PAGE, advices[i]);
			if (result != 0)
				error = errno;
			live_sleep_us(500);
		}
		printf("advice %d: %d %s, %s\n", advices[i], result, strerror(error),
		       is_filled(area, PAGES) ? "right" : "wrong");
	}
	munmap(area, (size_t)PAGES * PAGE);
}

/* Equal pages are merged where the kernel does so (the script lets it); then they are written to.
 */
static void part_merging(void)
{
	char *area = live_map((size_t)PAGES * PAGE);
	uint64_t end = live_now_ns() + UINT64_C(1500000000);
	bool right = true;

	memset(area, 0x5a, (size_t)PAGES * PAGE);
	(void)madvise(area, (size_t)PAGES * PAGE, MADV_MERGEABLE);
	while (live_now_ns() < end) {
		size_t page = live_below(&seed, PAGES), other = live_below(&seed, PAGES);
		unsigned char was = (unsigned char)area[other * PAGE + 9];

		live_sleep_us(20000);
		area[page * PAGE + 9]++;
		was = (unsigned char)(page == other ? was + 1 : was);
		right = right && (unsigned char)area[other * PAGE + 9] == was;
		area[page * PAGE + 9]--;
	}
	for (size_t i = 0; i < (size_t)PAGES * PAGE; i++)
		right = right && area[i] == 0x5a;
	printf("merging: %s\n", right ? "right" : "wrong");
	munmap(area, (size_t)PAGES * PAGE);
}

/* --- locks ----------------------------------------------------------------------------------- */

static void print_locked(const char *what, unsigned long kb)
{
	printf("locked by %s: %lu kB\n", what, kb);
}

static void part_mlock(void)
{
	char *area = live_map((size_t)PAGES * PAGE), *later;
	unsigned char vec[PAGES];
	size_t resident = 0;

	fill(area, PAGES / 2);
	REQUIRE(mlock(area, (size_t)PAGES * PAGE) == 0, "mlock: %s", strerror(errno));
	print_locked("mlock", status_kb("VmLck:"));
	REQUIRE(mincore(area, (size_t)PAGES * PAGE, vec) == 0, "mincore");
	for (size_t page = 0; page < PAGES; page++)
		resident += vec[page] & 1;
	printf("resident: %zu\n", resident);
	REQUIRE(munlock(area, (size_t)PAGES * PAGE) == 0, "munlock");
	print_locked("munlock", status_kb("VmLck:"));
	REQUIRE(mlock2(area, PAGE * 3, MLOCK_ONFAULT) == 0, "mlock2");
	print_locked("mlock2", status_kb("VmLck:"));

	REQUIRE(mlockall(0) == -1 && errno == EINVAL, "mlockall(0)");
	REQUIRE(mlockall(MCL_ONFAULT) == -1 && errno == EINVAL, "mlockall(ONFAULT)");
	REQUIRE(mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0, "mlockall: %s",
		strerror(errno));
	later = live_map((size_t)PAGES * PAGE);
	*later = 1;
	printf("mlockall on fault: area %d, later %d, stack %d, much %d\n",
	       has_vm_flag(area, " lo"), has_vm_flag(later, " lo"), has_vm_flag(&area, " lo"),
	       status_kb("VmLck:") > 2000000);
	REQUIRE(mlockall(MCL_CURRENT | MCL_FUTURE) == 0, "mlockall: %s", strerror(errno));
	munmap(later, (size_t)PAGES * PAGE);
	later = live_map((size_t)PAGES * PAGE);
	REQUIRE(mincore(later, (size_t)PAGES * PAGE, vec) == 0, "mincore");
	resident = 0;
	for (size_t page = 0; page < PAGES; page++)
		resident += vec[page] & 1;
	printf("mlockall: later %d, resident %zu, much %d\n", has_vm_flag(later, " lo"), resident,
	       status_kb("VmLck:") > 2000000);
	free(malloc(1 << 20));
	fflush(stdout);
	if (fork() == 0) {
		print_locked("nobody in a child", status_kb("VmLck:"));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	REQUIRE(munlockall() == 0, "munlockall");
	print_locked("munlockall", status_kb("VmLck:"));
	munmap(later, (size_t)PAGES * PAGE);
	later = live_map((size_t)PAGES * PAGE);
	*later = 1;
	printf("later %d, %s\n", has_vm_flag(later, " lo"),
	       is_filled(area, PAGES / 2) ? "right" : "wrong");
	munmap(later, (size_t)PAGES * PAGE);
	munmap(area, (size_t)PAGES * PAGE);
}

/* --- limits: in children, for they only ever get tighter -------------------------------------- */

static void *try_map(size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void limit(int what, const char *name, rlim_t soft)
{
	struct rlimit set = { soft, soft }, got = { 0, 0 };
	void *little, *much;

	REQUIRE(setrlimit((__rlimit_resource_t)what, &set) == 0, "setrlimit: %s", strerror(errno));
	REQUIRE(getrlimit((__rlimit_resource_t)what, &got) == 0, "getrlimit");
	little = try_map(64 << 20);
	much = try_map((size_t)4 << 30);
	if (little != MAP_FAILED)
		memset(little, 1, 64 << 20);
	printf("%s: %d, little %d, much %d\n", name, got.rlim_cur == soft && got.rlim_max == soft,
	       little != MAP_FAILED, much != MAP_FAILED);
}

static void limit_locks(void)
{
	struct rlimit set = { 64 << 10, 64 << 10 };
	char *area = live_map((size_t)PAGES * PAGE);
	int few, many, all;

	REQUIRE(setrlimit(RLIMIT_MEMLOCK, &set) == 0, "setrlimit");
	if (geteuid() == 0)
		REQUIRE(setresuid(65534, 65534, 65534) == 0, "setresuid");
	few = mlock(area, 8 * PAGE) == 0 ? 0 : errno;
	many = mlock(area, 200 * PAGE) == 0 ? 0 : errno;
	all = mlockall(MCL_CURRENT) == 0 ? 0 : errno;
	printf("memlock: few %d, many %d, all %d\n", few, many, all);
	all = mlockall(MCL_FUTURE) == 0 ? 0 : errno;
	printf("memlock: future %d, map %s\n", all,
	       try_map(64 << 20) == MAP_FAILED ? strerror(errno) : "works");
}

static void in_child(void (*part)(void))
{
	int status = 0;

	fflush(stdout);
	if (fork() == 0) {
		part();
		fflush(stdout);
		_exit(0);
	}
	REQUIRE(wait(&status) > 0 && status == 0, "child: status %x", (unsigned)status);
}

static void limit_addresses(void)
{
	limit(RLIMIT_AS, "address space", (rlim_t)1 << 30);
}

static void limit_data(void)
{
	limit(RLIMIT_DATA, "data", (rlim_t)1 << 30);
}

static void part_limits(void)
{
	in_child(limit_addresses);
	in_child(limit_data);
	in_child(limit_locks);
}

/* --- mappings of many kinds --------------------------------------------------------------------
 */

static void part_grows_down(void)
{
	size_t bytes = (size_t)2 * PAGES * PAGE;
	char *room = live_map_low(bytes), *top = room + bytes;
	char *area;

	munmap(room, bytes);
	area = mmap(top - 2 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_STACK | MAP_FIXED, -1, 0);
	REQUIRE(area == top - 2 * PAGE, "mmap: %s", strerror(errno));
	for (size_t page = 1; page <= PAGES; page++)
		*word_of(top - page * PAGE, 0) = page;
	for (unsigned round = 0; round < 20; round++) {
		for (size_t page = 1; page <= PAGES; page++)
			REQUIRE(*word_of(top - page * PAGE, 0) == page, "page %zu changed", page);
		live_sleep_us(1000);
	}
	printf("grew down by %d pages\n", PAGES - 2);
	munmap(top - (size_t)PAGES * PAGE, (size_t)PAGES * PAGE);
}

static void part_brk(void)
{
	size_t bytes = (size_t)PAGES * PAGE;
	unsigned dirty = 0, changed = 0;

	for (unsigned round = 0; round < 15; round++) {
		char *area = sbrk((intptr_t)bytes);

		REQUIRE(area != (void *)-1, "sbrk: %s", strerror(errno));
		for (size_t i = 0; i < bytes; i += 64)
			dirty += area[i] != 0;
		memset(area, 0x77, bytes);
		live_sleep_us(500);
		for (size_t i = 0; i < bytes; i += 64)
			changed += area[i] != 0x77;
		REQUIRE(sbrk(-(intptr_t)bytes / 2) != (void *)-1, "sbrk");
		REQUIRE(sbrk((intptr_t)bytes / 2) == area + bytes / 2, "sbrk");
		for (size_t i = bytes / 2; i < bytes; i += 64)
			dirty += area[i] != 0;
		for (size_t i = 0; i < bytes / 2; i += 64)
			changed += area[i] != 0x77;
		REQUIRE(sbrk(-(intptr_t)bytes) != (void *)-1, "sbrk");
	}
	printf("brk: %u dirty, %u changed\n", dirty, changed);
}

/* As virtual machines do: much is reserved, a little used, given back, and used again. */
static void part_reserve(void)
{
	size_t bytes = (size_t)64 << 30, chunk = (size_t)64 * PAGE;
	char *area =
		mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	unsigned dirty = 0, changed = 0;

	REQUIRE(area != MAP_FAILED, "mmap: %s", strerror(errno));
	for (unsigned round = 0; round < 60; round++) {
		char *at = area + live_below(&seed, bytes / chunk) * chunk;
		bool by_map = round % 2 == 0;

		if (by_map)
			REQUIRE(mmap(at, chunk, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at,
				"commit: %s", strerror(errno));
		else
			REQUIRE(mprotect(at, chunk, PROT_READ | PROT_WRITE) == 0, "commit: %s",
				strerror(errno));
		for (size_t i = 0; i < chunk; i += 64)
			dirty += at[i] != 0;
		memset(at, (int)round, chunk);
		live_sleep_us(200);
		for (size_t i = 0; i < chunk; i += 64)
			changed += at[i] != (char)round;
		if (by_map)
			REQUIRE(mmap(at, chunk, PROT_NONE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
				     0) == at,
				"decommit");
		else
			REQUIRE(madvise(at, chunk, MADV_DONTNEED) == 0 &&
					mprotect(at, chunk, PROT_NONE) == 0,
				"decommit");
	}
	munmap(area, bytes);
	printf("reserve: %u dirty, %u changed\n", dirty, changed);
}

static unsigned count_mappings(const char *area, size_t bytes)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, end;
	unsigned count = 0;
	char line[512];

	REQUIRE(maps != NULL, "/proc/self/maps");
	while (fgets(line, sizeof(line), maps) != NULL)
		count += sscanf(line, "%lx-%lx ", &start, &end) == 2 &&
			 start < (uintptr_t)area + bytes && end > (uintptr_t)area;
	fclose(maps);
	return count;
}

/* The host allows 65,530 mappings: ours must not be more than the program's own. */
static void part_many_mappings(void)
{
	enum { MANY = 20000 };
	size_t bytes = (size_t)MANY * PAGE;
	char *area = live_map_low(bytes);
	unsigned before;

	fill(area, MANY);
	for (size_t page = 1; page < MANY; page += 2)
		REQUIRE(mprotect(area + page * PAGE, PAGE, PROT_READ) == 0, "mprotect: %s",
			strerror(errno));
	before = count_mappings(area, bytes);
	live_sleep_us(300000);
	printf("many mappings: %u, %s\n", count_mappings(area, bytes),
	       before >= MANY && is_filled(area, MANY) ? "right" : "wrong");
	REQUIRE(mprotect(area, bytes, PROT_READ | PROT_WRITE) == 0, "mprotect: %s",
		strerror(errno));
	printf("one mapping: %d, %s\n", count_mappings(area, bytes) <= 2,
	       is_filled(area, MANY) ? "right" : "wrong");
	munmap(area, bytes);
	/* Every second page of its own. */
	area = live_map_low(bytes);
	munmap(area, bytes);
	for (size_t page = 0; page < MANY; page += 2)
		REQUIRE(mmap(area + page * PAGE, PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED,
			"mmap %zu: %s", page, strerror(errno));
	for (size_t page = 0; page < MANY; page += 2)
		*word_of(area, page) = page;
	printf("pieces: %u\n", count_mappings(area, bytes));
	munmap(area, bytes);
}

/* --- stacks ------------------------------------------------------------------------------------
 */

static uint64_t recurse(unsigned depth, uint64_t salt)
{
	volatile uint64_t local[64];

	for (unsigned i = 0; i < 64; i++)
		local[i] = depth * 64 + i + salt;
	if (depth == 0)
		return local[salt % 64];
	return recurse(depth - 1, salt) + local[(depth + salt) % 64];
}

static void *recurse_in_thread(void *result)
{
	*(uint64_t *)result = recurse(20000, 3);
	return NULL;
}

static void part_recursion(void)
{
	size_t bytes = (size_t)64 << 20;
	void *stack = live_map(bytes);
	pthread_attr_t attr;
	pthread_t thread;
	uint64_t result = 0;

	printf("recursion: %llu\n", (unsigned long long)recurse(10000, 1));
	for (unsigned round = 0; round < 4; round++) {
		pthread_attr_init(&attr);
		REQUIRE(round % 2 ? pthread_attr_setstack(&attr, stack, bytes) == 0
				  : pthread_attr_setstacksize(&attr, bytes) == 0,
			"stack");
		REQUIRE(pthread_create(&thread, &attr, recurse_in_thread, &result) == 0, "thread");
		pthread_join(thread, NULL);
		pthread_attr_destroy(&attr);
		printf("recursion in a thread: %llu\n", (unsigned long long)result);
	}
	munmap(stack, bytes);
}

static sigjmp_buf overflown;
static char *volatile handler_stack;
static volatile unsigned signals_seen;

static void on_signal(int number)
{
	char local[512];

	memset(local, number, sizeof(local));
	handler_stack = local;
	signals_seen++;
	if (number == SIGSEGV)
		siglongjmp(overflown, 1);
}

static void *signals_in_thread(void *argument)
{
	size_t bytes = (size_t)16 * PAGE;
	stack_t alternate = { .ss_sp = live_map(bytes), .ss_size = bytes };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK };
	char *low = alternate.ss_sp;
	unsigned elsewhere = 0, overflows = 0;

	REQUIRE(sigaltstack(&alternate, NULL) == 0, "sigaltstack");
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	signals_seen = 0;
	for (unsigned round = 0; round < 2000; round++) {
		raise(SIGUSR1);
		elsewhere += handler_stack < low || handler_stack >= low + bytes;
	}
	for (volatile unsigned round = 0; round < 5; round++) {
		if (sigsetjmp(overflown, 1) == 0)
			(void)recurse(10000000, 1);
		else
			overflows++;
	}
	printf("signals: %u, %u on another stack, %u overflows\n", signals_seen, elsewhere,
	       overflows);
	signal(SIGSEGV, SIG_DFL);
	alternate.ss_flags = SS_DISABLE;
	sigaltstack(&alternate, NULL);
	munmap(low, bytes);
	return argument;
}

static void part_alternate_stack(void)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, (size_t)1 << 20);
	REQUIRE(pthread_create(&thread, &attr, signals_in_thread, NULL) == 0, "thread");
	pthread_join(thread, NULL);
	pthread_attr_destroy(&attr);
}

/* --- userfaultfd of the program's own ------------------------------------------------------------
 */

static int user_fault_fd;

static void *serve_faults(void *argument)
{
	static char content[PAGE] __attribute__((aligned(PAGE)));
	struct pollfd poll_fd = { .fd = user_fault_fd, .events = POLLIN };
	uintptr_t served = 0;

	while (poll(&poll_fd, 1, 3000) > 0) {
		struct uffd_msg message;
		struct uffdio_copy copy = { .src = (uintptr_t)content, .len = PAGE };

		if (read(user_fault_fd, &message, sizeof(message)) != sizeof(message))
			break;
		copy.dst = message.arg.pagefault.address & ~(uintptr_t)(PAGE - 1);
		memset(content, (int)(copy.dst / PAGE), PAGE);
		REQUIRE(ioctl(user_fault_fd, UFFDIO_COPY, &copy) == 0, "UFFDIO_COPY: %s",
			strerror(errno));
		if (++served == *(uintptr_t *)argument)
			break;
	}
	return (void *)served;
}

static void serve_area(char *area, size_t pages, size_t absent, bool raw)
{
	struct uffdio_register reg = { .range = { (uintptr_t)area, pages * PAGE },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	unsigned wrong = 0;
	void *served = NULL;
	pthread_t thread;
	uintptr_t want = absent;

	if (raw)
		REQUIRE(syscall(SYS_ioctl, user_fault_fd, UFFDIO_REGISTER, &reg) == 0,
			"UFFDIO_REGISTER: %s", strerror(errno));
	else
		REQUIRE(ioctl(user_fault_fd, UFFDIO_REGISTER, &reg) == 0, "UFFDIO_REGISTER: %s",
			strerror(errno));
	REQUIRE(pthread_create(&thread, NULL, serve_faults, &want) == 0, "thread");
	for (size_t page = 0; page < pages - absent; page++)
		wrong += *word_of(area, page) != page + 1;
	for (size_t page = pages - absent; page < pages; page++)
		wrong += area[page * PAGE + 5] != (char)((uintptr_t)area / PAGE + page);
	pthread_join(thread, &served);
	REQUIRE(ioctl(user_fault_fd, UFFDIO_UNREGISTER, &reg.range) == 0, "UFFDIO_UNREGISTER");
	printf("own userfaultfd: %u wrong, %zu served\n", wrong, (size_t)(uintptr_t)served);
}

static void part_user_faults(void)
{
	struct uffdio_api api = { .api = UFFD_API };

	user_fault_fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (user_fault_fd < 0) {
		printf("own userfaultfd: %s\n", strerror(errno));
		return;
	}
	REQUIRE(ioctl(user_fault_fd, UFFDIO_API, &api) == 0, "UFFDIO_API: %s", strerror(errno));
	for (int raw = 0; raw < 2; raw++) {
		char *area = live_map((size_t)PAGES * PAGE);

		fill(area, PAGES / 2);
		live_sleep_us(20000);
		/* All of it, then a part of what was given up is taken back by itself. */
		serve_area(area, PAGES, PAGES / 2, raw != 0);
		live_sleep_us(20000);
		REQUIRE(is_filled(area, PAGES / 2), "changed");
		munmap(area, (size_t)PAGES * PAGE);
	}
	close(user_fault_fd);
}

/* ------------------------------------------------------------------------------------------------
 */

static const struct {
	const char *name;
	void (*run)(void);
} parts[] = {
	{ "mincore", part_mincore },
	{ "soft-dirty", part_soft_dirty },
	{ "scan", part_scan },
	{ "pagemap", part_pagemap },
	{ "advice", part_advice },
	{ "merging", part_merging },
	{ "mlock", part_mlock },
	{ "limits", part_limits },
	{ "grows-down", part_grows_down },
	{ "brk", part_brk },
	{ "reserve", part_reserve },
	{ "many", part_many_mappings },
	{ "recursion", part_recursion },
	{ "stack", part_alternate_stack },
	{ "user-faults", part_user_faults },
};

int main(int argc, char **argv)
{
	live_watchdog(100);
	seed = 12345;
	nodes = live_nodes();
	live_ready("up\n");
	for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		bool wanted = argc < 2;
		uint64_t began = live_now_ns();

		for (int k = 1; k < argc; k++)
			wanted |= strcmp(argv[k], parts[i].name) == 0;
		if (!wanted)
			continue;
		parts[i].run();
		fflush(stdout);
		fprintf(stderr, "%s: %llu ms\n", parts[i].name,
			(unsigned long long)(live_now_ns() - began) / 1000000);
	}
	return 0;
}
