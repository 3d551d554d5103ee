/* SPDX-License-Identifier: MIT */
/*
 * protections.c - pages of mappings that are not plainly readable and writable.
 *
 *  - each protection: pages change their frames, keep their content, and the mapping is as it was;
 *  - threads that store where they may only read get their SEGV and change nothing, and system
 *    calls their EFAULT, while the pages go back and forth;
 *  - code is run while its pages move, and rewritten in turns of writable and executable;
 *  - the same with mprotect() by a raw system call, which nobody stands in front of;
 *  - protection keys, where there are any ("protections key": nothing else).
 *
 * Frames are compared where pagemap shows them: to root.
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sys/syscall.h>

enum { PAGES = 512, CODE_PAGES = 16, SECONDS = 1, STORERS = 2 };

static int nodes;
static bool done; /* atomic */

static __thread sigjmp_buf on_segv;
static __thread volatile sig_atomic_t expects_segv;
static __thread void *volatile segv_address;

static void segv(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (!expects_segv)
		LIVE_FAIL("SEGV at %p", info->si_addr);
	segv_address = info->si_addr;
	siglongjmp(on_segv, 1);
}

/* Writes *value to word, or reads it from there. => the access was let through. */
static bool try_access(volatile uint64_t *word, uint64_t *value, bool store)
{
	if (sigsetjmp(on_segv, 1) != 0) {
		expects_segv = 0;
		return false;
	}
	expects_segv = 1;
	if (store)
		*word = *value;
	else
		*value = *word;
	expects_segv = 0;
	return true;
}

static bool try_store(volatile uint64_t *word, uint64_t value)
{
	return try_access(word, &value, true);
}

static volatile uint64_t *word_of(char *area, size_t page, size_t word)
{
	return (volatile uint64_t *)(void *)(area + page * PAGE) + word;
}

static uint64_t pattern(size_t page, size_t word)
{
	return page * 1000003 + word;
}

static void fill(char *area, size_t pages)
{
	for (size_t page = 0; page < pages; page++)
		for (size_t word = 0; word < PAGE_WORDS; word++)
			*word_of(area, page, word) = pattern(page, word);
}

static void check_filled(char *area, size_t pages)
{
	for (size_t page = 0; page < pages; page++)
		for (size_t word = 0; word < PAGE_WORDS; word++)
			REQUIRE(*word_of(area, page, word) == pattern(page, word),
				"page %zu word %zu changed", page, word);
}

static void protect(char *area, size_t pages, int protection)
{
	REQUIRE(mprotect(area, pages * PAGE, protection) == 0, "mprotect: %s", strerror(errno));
}

/* As code does that calls the kernel by itself. */
static void protect_raw(char *area, size_t pages, int protection)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"((long)SYS_mprotect), "D"(area), "S"(pages * PAGE),
			   "d"((long)protection)
			 : "rcx", "r11", "memory");
	REQUIRE(ret == 0, "mprotect: %ld", ret);
}

/* --- one protection after the other ------------------------------------------------------- */

/* The area is one mapping with these rights. */
static void check_mapping(char *area, size_t pages, const char *rights)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], found[5] = "";
	unsigned long start, end;
	bool seen = false;

	REQUIRE(maps != NULL, "/proc/self/maps");
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (sscanf(line, "%lx-%lx %4s", &start, &end, found) != 3 ||
		    (uintptr_t)area < start || (uintptr_t)area >= end)
			continue;
		seen = true;
		REQUIRE((uintptr_t)area + pages * PAGE <= end, "the mapping is in pieces: %s",
			line);
		REQUIRE(strncmp(found, rights, 3) == 0, "rights %s, not %s", found, rights);
	}
	REQUIRE(seen, "the mapping is gone");
	fclose(maps);
}

static void read_frames(int pagemap, char *area, uint64_t *frames)
{
	REQUIRE(pread(pagemap, frames, PAGES * sizeof(*frames),
		      (off_t)((uintptr_t)area / PAGE * 8)) == (ssize_t)(PAGES * sizeof(*frames)),
		"pagemap");
	for (size_t i = 0; i < PAGES; i++)
		frames[i] &= (UINT64_C(1) << 55) - 1;
}

static void expect_answer(char *area, int node, unsigned flags, const char *reason,
			  int status_wanted)
{
	static void *pages[PAGES];
	static int targets[PAGES], status[PAGES];
	static uint8_t reasons[PAGES];
	long result;

	for (size_t i = 0; i < PAGES; i++) {
		pages[i] = area + i * PAGE;
		targets[i] = node;
	}
	result = ferry_move_pages_reasons(0, PAGES, pages, targets, status, reasons,
					  FERRY_MOVE | flags);
	REQUIRE(result >= 0 || result == -ENOENT, "ferry_move_pages: %ld", result);
	for (size_t i = 0; i < PAGES; i++)
		REQUIRE(status[i] == status_wanted && reasons[i] == live_reason(reason),
			"page %zu: status %d, reason %s", i, status[i],
			ferry_reason_name(reasons[i]));
}

static void expect_moved(char *area, int node, const char *reason, int status_wanted)
{
	expect_answer(area, node, 0, reason, status_wanted);
}

static void check_protection(int protection, const char *rights)
{
	static uint64_t before[PAGES], after[PAGES];
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char *area = live_map((size_t)PAGES * PAGE);

	REQUIRE(pagemap >= 0, "pagemap");
	fill(area, PAGES);
	REQUIRE(nodes < 2 || live_move_all(area, PAGES, 0, 5) == 0, "pages do not move to node 0");
	protect(area, PAGES, protection);
	for (int step = 1; step <= 4 && nodes >= 2; step++) {
		read_frames(pagemap, area, before);
		expect_moved(area, step % nodes, "moved", step % nodes);
		read_frames(pagemap, area, after);
		for (size_t i = 0; i < PAGES && geteuid() == 0; i++)
			REQUIRE((before[i] != after[i]) == (protection != PROT_NONE),
				"%s: page %zu: frame %llx", rights, i,
				(unsigned long long)after[i]);
		check_mapping(area, PAGES, rights);
		if (protection & PROT_READ)
			check_filled(area, PAGES);
		if (!(protection & PROT_WRITE))
			REQUIRE(!try_store(word_of(area, (size_t)step, 5), 4711) &&
					segv_address == word_of(area, (size_t)step, 5),
				"%s: a store got through", rights);
	}
	protect(area, PAGES, PROT_READ | PROT_WRITE);
	check_filled(area, PAGES);
	munmap(area, (size_t)PAGES * PAGE);
	close(pagemap);
}

/* --- protection keys ------------------------------------------------------------------------ */

static void guard(char *area, size_t pages, int protection, int key)
{
	REQUIRE(pkey_mprotect(area, pages * PAGE, protection, key) == 0, "pkey_mprotect: %s",
		strerror(errno));
}

/* Copies take the key along: where pages leave by eviction, they do. */
static void expect_guarded(char *area)
{
	if (nodes >= 2 && live_evicts())
		REQUIRE(ferry_move_range(0, area, (size_t)PAGES * PAGE, 1, NULL, NULL) >= 0,
			"ferry_move_range");
	else if (nodes >= 2)
		expect_moved(area, 1, "protection", -EBUSY);
}

/* The kernel runs a handler with the rights that a new thread has, so that they have to be given
 * anew after each signal. */
static void check_key_refuses(char *area, int key)
{
	uint64_t value;

	for (size_t page = 0; page < 2 * PAGES; page += 37) {
		volatile uint64_t *word = word_of(area, page, 9);

		pkey_set(key, PKEY_DISABLE_WRITE);
		REQUIRE(!try_store(word, 4711) && segv_address == word, "a store got through");
		pkey_set(key, PKEY_DISABLE_ACCESS);
		REQUIRE(!try_access(word, &value, false) && segv_address == word,
			"a load got through");
		pkey_set(key, PKEY_DISABLE_WRITE);
		REQUIRE(try_access(word, &value, false) &&
				(page >= PAGES || value == pattern(page, 9)),
			"page %zu cannot be read, or changed", page);
	}
	pkey_set(key, PKEY_DISABLE_ACCESS);
	expect_guarded(area);
	pkey_set(key, 0);
}

static void *move_about(void *area)
{
	for (int node = 0; nodes >= 2 && !__atomic_load_n(&done, __ATOMIC_ACQUIRE); node++)
		REQUIRE(ferry_move_range(0, area, (size_t)PAGES * PAGE, node % nodes, NULL, NULL) >=
				0,
			"ferry_move_range");
	return NULL;
}

/* A key comes and goes while the pages move: those that are away come home under it. */
static void check_key_flips(char *area, int key)
{
	uint64_t end = live_now_ns() + SECONDS * UINT64_C(1000000000), flips = 0;
	pthread_t mover;

	__atomic_store_n(&done, false, __ATOMIC_RELEASE);
	REQUIRE(pthread_create(&mover, NULL, move_about, area) == 0, "thread");
	for (; live_now_ns() < end; flips++) {
		guard(area, PAGES, PROT_READ | PROT_WRITE, flips % 2 ? 0 : key);
		for (size_t page = flips % 16; page < PAGES; page += 16) {
			REQUIRE(*word_of(area, page, 7) == pattern(page, 7), "page %zu changed",
				page);
			*word_of(area, page, 7) = pattern(page, 7);
		}
	}
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	pthread_join(mover, NULL);
	guard(area, PAGES, PROT_READ | PROT_WRITE, 0);
	REQUIRE(nodes < 2 || live_move_all(area, PAGES, 0, 5) == 0, "back to node 0");
	guard(area, PAGES, PROT_READ | PROT_WRITE, key);
	check_filled(area, PAGES);
	fprintf(stderr, "keys changed %llu times\n", (unsigned long long)flips);
}

/*
 * Where this CPU has keys: pages that one guards stay, whatever it allows; those that are first
 * touched under it are right. pkey_free() leaves them guarded; they move once no key guards them.
 */
static void check_key(void)
{
	int key = pkey_alloc(0, 0);
	char *area = live_map((size_t)2 * PAGES * PAGE), *fresh = area + (size_t)PAGES * PAGE;

	printf("key %d\n", key);
	if (key >= 0) {
		fill(area, PAGES);
		REQUIRE(nodes < 2 || live_move_all(area, PAGES, 0, 5) == 0, "move to node 0");
		guard(area, (size_t)2 * PAGES, PROT_READ | PROT_WRITE, key);
		expect_guarded(area);
		check_filled(area, PAGES);
		guard(area, PAGES, PROT_READ, key);
		expect_guarded(area);
		check_mapping(area, PAGES, "r--");
		check_filled(area, PAGES);
		guard(area, PAGES, PROT_READ | PROT_WRITE, key);
		check_key_refuses(area, key);
		fill(fresh, PAGES);
		check_key_flips(area, key);
		check_filled(fresh, PAGES);
		REQUIRE(pkey_free(key) == 0, "pkey_free: %s", strerror(errno));
		expect_guarded(area);
		guard(area, (size_t)2 * PAGES, PROT_READ | PROT_WRITE, 0);
		REQUIRE(nodes < 2 || live_move_all(area, (size_t)2 * PAGES, 1, 5) == 0,
			"pages do not move without a key");
		check_filled(area, PAGES);
		check_filled(fresh, PAGES);
	}
	munmap(area, (size_t)2 * PAGES * PAGE);
}

static void print_locked(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];

	REQUIRE(file != NULL, "/proc/self/status");
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, "VmLck:", 6) == 0)
			printf("%s", line);
	fclose(file);
}

/* By the contract of 2006 locked pages stay; Linux moves them, and they are locked afterwards. */
static void check_locked(int protection)
{
	static uint64_t before[PAGES], after[PAGES];
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	char *area = live_map((size_t)PAGES * PAGE);
	unsigned char vec[PAGES];

	fill(area, PAGES);
	REQUIRE(nodes < 2 || live_move_all(area, PAGES, 0, 5) == 0, "pages do not move to node 0");
	protect(area, PAGES, protection);
	REQUIRE(mlock(area, (size_t)PAGES * PAGE) == 0, "mlock: %s", strerror(errno));
	if (nodes >= 2) {
		expect_answer(area, 1, FERRY_CONTRACT_SEED, "locked", -EPERM);
		read_frames(pagemap, area, before);
		expect_answer(area, 1, FERRY_CONTRACT_LINUX, "moved", 1);
		read_frames(pagemap, area, after);
		for (size_t i = 0; i < PAGES && geteuid() == 0; i++)
			REQUIRE(before[i] != after[i], "locked page %zu kept its frame", i);
	}
	check_filled(area, PAGES);
	REQUIRE(mincore(area, (size_t)PAGES * PAGE, vec) == 0, "mincore");
	for (size_t i = 0; i < PAGES; i++)
		REQUIRE(vec[i] & 1, "locked page %zu is not there", i);
	print_locked();
	REQUIRE(munlock(area, (size_t)PAGES * PAGE) == 0, "munlock");
	munmap(area, (size_t)PAGES * PAGE);
	close(pagemap);
}

/* --- stores into what may only be read ------------------------------------------------------ */

struct storer {
	char *area;
	uint64_t seed;
	uint64_t refused;
	pthread_t thread;
};

static void *store_run(void *argument)
{
	struct storer *storer = argument;
	int ends[2];

	REQUIRE(pipe(ends) == 0 && write(ends[1], "x", 1) == 1, "pipe");
	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
		size_t page = live_below(&storer->seed, PAGES);
		volatile uint64_t *word =
			word_of(storer->area, page, live_below(&storer->seed, PAGE_WORDS));

		REQUIRE(!try_store(word, 4711), "a store got through");
		REQUIRE(segv_address == word, "SEGV at %p, not %p", segv_address, (void *)word);
		storer->refused++;
		REQUIRE(read(ends[0], (void *)word, 1) == -1 && errno == EFAULT,
			"read() into a page that may only be read");
		page = live_below(&storer->seed, PAGES);
		REQUIRE(*word_of(storer->area, page, 7) == pattern(page, 7), "page %zu changed",
			page);
	}
	close(ends[0]);
	close(ends[1]);
	return NULL;
}

static void check_stores(void)
{
	struct storer storers[STORERS];
	struct live_mover mover;
	char *area = live_map((size_t)PAGES * PAGE);
	uint64_t refused = 0;

	fill(area, PAGES);
	protect(area, PAGES, PROT_READ);
	__atomic_store_n(&done, false, __ATOMIC_RELEASE);
	for (int i = 0; i < STORERS; i++) {
		storers[i] = (struct storer){ .area = area, .seed = live_seed() + 2 * (unsigned)i };
		REQUIRE(pthread_create(&storers[i].thread, NULL, store_run, &storers[i]) == 0,
			"thread");
	}
	live_mover_start(&mover, area, PAGES, nodes);
	live_sleep_us(SECONDS * 1000000);
	live_mover_stop(&mover);
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	for (int i = 0; i < STORERS; i++) {
		pthread_join(storers[i].thread, NULL);
		refused += storers[i].refused;
	}
	REQUIRE(refused > 0, "no store was tried");
	check_filled(area, PAGES);
	check_mapping(area, PAGES, "r--");
	printf("stores refused %llu\n", (unsigned long long)refused);
	munmap(area, (size_t)PAGES * PAGE);
}

/* --- code ------------------------------------------------------------------------------------ */

typedef uint32_t function(void);

/* mov eax, value; ret */
static void emit(char *at, uint32_t value)
{
	at[0] = (char)0xb8;
	memcpy(at + 1, &value, sizeof(value));
	at[5] = (char)0xc3;
}

static uint32_t run_at(char *at)
{
	return ((function *)(uintptr_t)at)();
}

/* Code that stands still is run all the time. */
static void *run_code(void *argument)
{
	char *code = argument;
	uint64_t seed = live_now_ns() | 1;

	while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
		uint32_t page = (uint32_t)live_below(&seed, CODE_PAGES);

		REQUIRE(run_at(code + page * PAGE) == page, "code of page %u", page);
	}
	return NULL;
}

/* The other half of it is rewritten: never writable and executable at once. */
static uint64_t rewrite_code(char *code, void (*set)(char *, size_t, int), uint64_t *refused)
{
	uint64_t end = live_deadline_ns(SECONDS), seed = live_seed(), rounds = 0;

	while (live_now_ns() < end) {
		uint32_t value = (uint32_t)live_random(&seed);
		size_t page = live_below(&seed, CODE_PAGES);
		char *at = code + page * PAGE;

		set(code, CODE_PAGES, PROT_READ | PROT_WRITE);
		/* Stored where it is written, by one store that may be refused in a raw window. */
		while (!try_store((volatile uint64_t *)(void *)(at + 64), value)) {
			++*refused;
			set(code, CODE_PAGES, PROT_READ | PROT_WRITE);
		}
		emit(at, value);
		set(code, CODE_PAGES, PROT_READ | PROT_EXEC);
		REQUIRE(run_at(at) == value, "page %zu: old code", page);
		REQUIRE(*(volatile uint64_t *)(void *)(at + 64) == value, "page %zu: old word",
			page);
		REQUIRE(!try_store((volatile uint64_t *)(void *)(at + 64), 0),
			"code that can be written");
		rounds++;
	}
	return rounds;
}

static void check_code(void (*set)(char *, size_t, int), const char *how)
{
	char *code = live_map((size_t)2 * CODE_PAGES * PAGE);
	struct live_mover mover;
	uint64_t rounds, refused = 0;
	pthread_t runner;

	for (uint32_t page = 0; page < CODE_PAGES; page++)
		emit(code + page * PAGE, page);
	memset(code + (size_t)CODE_PAGES * PAGE, 0x90, (size_t)CODE_PAGES * PAGE);
	protect(code, CODE_PAGES, PROT_READ | PROT_EXEC);
	__atomic_store_n(&done, false, __ATOMIC_RELEASE);
	REQUIRE(pthread_create(&runner, NULL, run_code, code) == 0, "thread");
	live_mover_start(&mover, code, (size_t)2 * CODE_PAGES, nodes);
	rounds = rewrite_code(code + (size_t)CODE_PAGES * PAGE, set, &refused);
	live_mover_stop(&mover);
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	pthread_join(runner, NULL);
	printf("code rewritten by %s %llu times, %llu stores refused\n", how,
	       (unsigned long long)rounds, (unsigned long long)refused);
	/* The functions of libc are never in a window. */
	REQUIRE(set != protect || refused == 0, "a store was refused");
	munmap(code, (size_t)2 * CODE_PAGES * PAGE);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_sigaction = segv, .sa_flags = SA_SIGINFO };

	live_watchdog(100);
	nodes = live_nodes();
	REQUIRE(sigaction(SIGSEGV, &action, NULL) == 0, "sigaction");
	if (argc > 1 && strcmp(argv[1], "key") == 0) {
		check_key();
		return 0;
	}
	check_protection(PROT_READ, "r--");
	check_protection(PROT_READ | PROT_EXEC, "r-x");
	check_protection(PROT_READ | PROT_WRITE | PROT_EXEC, "rwx");
	check_protection(PROT_NONE, "---");
	check_key();
	check_locked(PROT_READ | PROT_WRITE);
	check_locked(PROT_READ);
	check_stores();
	check_code(protect, "mprotect");
	check_code(protect_raw, "a raw call");
	return 0;
}
