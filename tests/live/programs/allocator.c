/* SPDX-License-Identifier: MIT */
/*
 * allocator.c - threads take, resize, check and return blocks of all sizes, until told to stop.
 *
 * usage: allocator malloc   what is linked or preloaded as malloc
 *        allocator own      an allocator of the program's own: small blocks from sbrk(), large ones
 *                           by mmap as a system call that nobody can stand in front of
 *
 * Each block is full of numbers that follow from its own. At the end each page of the blocks that
 * are left must be managed memory; memory that was mapped unseen may need a moment to become so.
 */
#define _GNU_SOURCE 1
#include "live.h"

#include "base/sys.h"

enum { THREADS = 3, BLOCKS = 192, ROUNDS_MIN = 400, CLASSES = 17, SETTLE_MS = 20000 };

struct block {
	uint64_t *words;
	size_t count;
	uint64_t value;
};

struct worker {
	struct block blocks[BLOCKS];
	uint64_t seed;
	uint64_t rounds;
	pthread_t thread;
};

struct methods {
	void *(*take)(size_t bytes);
	void *(*resize)(void *old, size_t bytes);
	void (*put)(void *block);
};

static const struct methods *methods;
static bool stop; /* atomic */

/* --- an allocator of our own -------------------------------------------------------------- */

/* In front of each block: its size, of which powers of two up to 64 KiB are small ones. */
struct header {
	size_t bytes;
	struct header *next;
};

static pthread_mutex_t own_lock = PTHREAD_MUTEX_INITIALIZER;
static struct header *own_free[CLASSES];

static unsigned class_of(size_t bytes)
{
	unsigned power = 0;

	while (((size_t)1 << power) < bytes)
		power++;
	return power;
}

static void *own_take(size_t bytes)
{
	size_t whole = bytes + sizeof(struct header);
	unsigned power = class_of(whole);
	struct header *header;

	if (power >= CLASSES) {
		long at = ferry_sys6(SYS_mmap, 0, (long)whole, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		REQUIRE(at > 0, "mmap: %ld", at);
		header = (struct header *)at;
		header->bytes = whole;
		return header + 1;
	}
	pthread_mutex_lock(&own_lock);
	header = own_free[power];
	if (header != NULL) {
		own_free[power] = header->next;
	} else {
		header = sbrk((intptr_t)1 << power);
		REQUIRE(header != (void *)-1, "sbrk: %s", strerror(errno));
	}
	pthread_mutex_unlock(&own_lock);
	header->bytes = (size_t)1 << power;
	return header + 1;
}

static void own_put(void *block)
{
	struct header *header = (struct header *)block - 1;
	unsigned power = class_of(header->bytes);

	if (power >= CLASSES) {
		REQUIRE(ferry_sys2(SYS_munmap, header, header->bytes) == 0, "munmap");
		return;
	}
	pthread_mutex_lock(&own_lock);
	header->next = own_free[power];
	own_free[power] = header;
	pthread_mutex_unlock(&own_lock);
}

static void *own_resize(void *old, size_t bytes)
{
	size_t had = ((struct header *)old - 1)->bytes - sizeof(struct header);
	void *block = own_take(bytes);

	memcpy(block, old, had < bytes ? had : bytes);
	own_put(old);
	return block;
}

static const struct methods own_methods = { own_take, own_resize, own_put };
static const struct methods libc_methods = { malloc, realloc, free };

/* --- blocks ------------------------------------------------------------------------------- */

/* Mostly small, sometimes large enough for a mapping of its own. */
static size_t random_words(uint64_t *seed)
{
	switch (live_below(seed, 16)) {
	case 0:
		return 1 + live_below(seed, 64 * 1024);
	case 1:
	case 2:
		return 1 + live_below(seed, 8 * 1024);
	default:
		return 1 + live_below(seed, 256);
	}
}

static void fill(struct block *block, size_t from)
{
	for (size_t i = from; i < block->count; i++)
		block->words[i] = block->value * (i + 1);
}

static void verify(const struct block *block, size_t count)
{
	for (size_t i = 0; i < count; i++)
		REQUIRE(block->words[i] == block->value * (i + 1), "word %zu of a block changed",
			i);
}

static void change(struct worker *worker, struct block *block)
{
	size_t count = random_words(&worker->seed), kept;

	if (block->words == NULL) {
		block->words = methods->take(count * 8);
		REQUIRE(block->words != NULL, "no memory");
		block->count = count;
		block->value = live_random(&worker->seed) | 1;
		fill(block, 0);
		return;
	}
	verify(block, block->count);
	if (live_below(&worker->seed, 2) == 0) {
		methods->put(block->words);
		block->words = NULL;
		return;
	}
	kept = count < block->count ? count : block->count;
	block->words = methods->resize(block->words, count * 8);
	REQUIRE(block->words != NULL, "no memory");
	block->count = count;
	verify(block, kept);
	fill(block, kept);
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	while (worker->rounds < ROUNDS_MIN / live_slow() ||
	       !__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
		worker->rounds++;
		for (unsigned i = 0; i < 16; i++)
			change(worker, &worker->blocks[live_below(&worker->seed, BLOCKS)]);
	}
	for (unsigned i = 0; i < BLOCKS; i++)
		if (worker->blocks[i].words != NULL)
			verify(&worker->blocks[i], worker->blocks[i].count);
	return NULL;
}

/* --- is it managed? ----------------------------------------------------------------------- */

static bool is_managed(uintptr_t va)
{
	void *page = (void *)va;
	int node = 0, status = 0;
	uint8_t reason = 0;
	long result = ferry_move_pages_reasons(0, 1, &page, &node, &status, &reason, FERRY_MOVE);

	REQUIRE(result >= 0 || result == -ENOENT, "ferry_move_pages: %ld", result);
	return reason != live_reason("unmanaged");
}

/* => pages looked at. */
static uint64_t require_managed(const struct block *block)
{
	uintptr_t va = (uintptr_t)block->words & ~(uintptr_t)(PAGE - 1);
	uintptr_t end = (uintptr_t)(block->words + block->count);
	uint64_t pages = 0;

	for (; va < end; va += PAGE, pages++) {
		unsigned ms = 0;

		for (; !is_managed(va) && ms < SETTLE_MS * live_slow(); ms += 20)
			live_sleep_us(20000);
		REQUIRE(ms < SETTLE_MS * live_slow(), "%#lx is not managed", (unsigned long)va);
	}
	return pages;
}

int main(int argc, char **argv)
{
	static struct worker workers[THREADS];
	uint64_t seed = live_seed(), rounds = 0, pages = 0;
	bool managed = live_nodes() > 0;

	methods = argc > 1 && strcmp(argv[1], "own") == 0 ? &own_methods : &libc_methods;
	live_watchdog(150);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].seed = live_random(&seed) | 1;
		REQUIRE(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "thread");
	}
	live_ready("ready\n");
	while (!live_told_to_stop())
		live_sleep_us(10000);
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		rounds += workers[i].rounds;
	}
	REQUIRE(!managed || !is_managed((uintptr_t)main), "code is no managed memory");
	for (unsigned i = 0; i < THREADS * BLOCKS && managed; i++) {
		const struct block *block = &workers[i / BLOCKS].blocks[i % BLOCKS];

		if (block->words != NULL)
			pages += require_managed(block);
	}
	printf("rounds %llu\npages %llu\n", (unsigned long long)rounds, (unsigned long long)pages);
	return 0;
}
