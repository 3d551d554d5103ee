/* SPDX-License-Identifier: MIT */
/*
 * mappers.c - eight processes that map one object, each at another address, while its pages move.
 *
 * Each word of a page belongs to one process, which writes its sequence of numbers to all its
 * words, page after page, and finds in them what it wrote before; the others' may only grow. One of
 * them moves pages, with MOVE_ALL and without, one is stopped and goes on again and again, one
 * reads from a file into the object with O_DIRECT, and two are killed and replaced by others, which
 * take their words over.
 *
 * usage: mappers FILE    (of PAGES pages of known content; O_DIRECT is tried)
 */
#define _GNU_SOURCE 1
#include <fcntl.h>
#include <sys/wait.h>

#include "live.h"

enum { MAPPERS = 8, PAGES = 1024, DIRECT_PAGES = 64, MOVER = 0, STOPPED = 1, DIRECT = 2 };

/* In the object: words by page and process, then pages for direct I/O; told[] is in memory that
 * does not move. */
struct page {
	uint64_t word[PAGE_WORDS];
};

static struct told {
	uint64_t sequence[MAPPERS]; /* numbers written to all pages */
	uint64_t moved, refused, full, rounds;
	uint64_t pieces;
	bool stop;
} *told;

static struct page *pages;
static int object, nodes;

static void map_object(unsigned which)
{
	/* Another address in each process. */
	size_t hole = (size_t)(which + 1) * HUGE_PAGE;

	REQUIRE(mmap(NULL, hole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED,
		"mmap");
	pages = mmap(NULL, (PAGES + DIRECT_PAGES) * sizeof(*pages), PROT_READ | PROT_WRITE,
		     MAP_SHARED, object, 0);
	REQUIRE(pages != MAP_FAILED, "mmap of the object");
}

static uint64_t load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

/* A new number into all words of this process: what is there is the last one, or, where a process
 * was killed over it, this one already. */
static void write_round(unsigned which)
{
	uint64_t number = told->sequence[which] + 1;

	for (size_t i = 0; i < PAGES; i++) {
		uint64_t *word = &pages[i].word[which], was = load(word);

		REQUIRE(was == number - 1 || was == number, "process %u, page %zu: %llu, not %llu",
			which, i, (unsigned long long)was, (unsigned long long)number - 1);
		__atomic_store_n(word, number, __ATOMIC_RELEASE);
	}
	__atomic_store_n(&told->sequence[which], number, __ATOMIC_RELEASE);
}

static void read_round(unsigned which, uint64_t *seed)
{
	size_t page = live_below(seed, PAGES);

	for (unsigned i = 0; i < MAPPERS; i++) {
		uint64_t least = load(&told->sequence[i]), found = load(&pages[page].word[i]);

		REQUIRE(found >= least, "process %u sees %llu of %u in page %zu, %llu was written",
			which, (unsigned long long)found, i, page, (unsigned long long)least);
	}
}

/* --- the mover ------------------------------------------------------------------------------ */

static void move_some(uint64_t *seed)
{
	void *where[MOVE_MAX];
	int to[MOVE_MAX], status[MOVE_MAX];
	size_t count = 1 + live_below(seed, MOVE_MAX), first = live_below(seed, PAGES);
	bool all = live_below(seed, 2) == 0;

	for (size_t i = 0; i < count; i++) {
		where[i] = &pages[(first + i) % PAGES];
		to[i] = (int)live_below(seed, (uint64_t)nodes);
		status[i] = 12345;
	}
	if (count % 2 == 0) { /* neighbours to one node */
		for (size_t i = 1; i < count; i++)
			to[i] = to[0];
	}
	REQUIRE(ferry_move_pages(0, count, where, to, status,
				 (all ? FERRY_MOVE_ALL : FERRY_MOVE) | FERRY_CONTRACT_LINUX) >=
			-ENOMEM, "ferry_move_pages");
	for (size_t i = 0; i < count; i++) {
		told->moved += status[i] >= 0;
		told->refused += status[i] == -EACCES;
		told->full += status[i] == -ENOMEM;
		REQUIRE((status[i] >= 0 && status[i] < nodes) || status[i] == -EACCES ||
				status[i] == -ENOMEM || status[i] == -ENOENT,
			"status %d", status[i]);
		REQUIRE(!all || status[i] != -EACCES, "-EACCES with MOVE_ALL");
	}
	told->rounds++;
}

/* --- direct I/O ----------------------------------------------------------------------------- */

static void read_direct(int file, uint64_t *seed)
{
	char *place = (char *)&pages[PAGES];
	void *where[DIRECT_PAGES];
	int to[DIRECT_PAGES], status[DIRECT_PAGES];

	memset(place, 0xee, (size_t)DIRECT_PAGES * PAGE);
	for (size_t i = 0; i < DIRECT_PAGES; i++) {
		where[i] = place + i * PAGE;
		to[i] = nodes > 1 ? (int)live_below(seed, (uint64_t)nodes) : 0;
	}
	for (size_t at = 0; at < DIRECT_PAGES; at += 16) {
		REQUIRE(pread(file, place + at * PAGE, (size_t)16 * PAGE, (off_t)(at * PAGE)) ==
				16 * PAGE, "pread: %m");
		if (nodes > 1) /* a device's pages move like any other: nothing is copied */
			(void)ferry_move_pages(0, DIRECT_PAGES, where, to, status,
					       FERRY_MOVE_ALL | FERRY_CONTRACT_LINUX);
	}
	for (size_t i = 0; i < DIRECT_PAGES; i++) {
		for (size_t k = 0; k < PAGE_WORDS; k++)
			REQUIRE(pages[PAGES + i].word[k] == i * PAGE_WORDS + k,
				"page %zu of the file, word %zu", i, k);
	}
	told->pieces++;
}

/* --- a process ------------------------------------------------------------------------------ */

static void mapper(unsigned which, const char *path)
{
	uint64_t seed = 77 + which;
	int file = -1;

	map_object(which);
	if (which == DIRECT) {
		file = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
		file = file >= 0 ? file : open(path, O_RDONLY | O_CLOEXEC);
		REQUIRE(file >= 0, "%s: %m", path);
	}
	while (!__atomic_load_n(&told->stop, __ATOMIC_ACQUIRE)) {
		write_round(which);
		for (int i = 0; i < 32; i++)
			read_round(which, &seed);
		if (which == MOVER && nodes > 1)
			move_some(&seed);
		if (which == DIRECT)
			read_direct(file, &seed);
	}
	_exit(0);
}

static pid_t start(unsigned which, const char *path)
{
	pid_t child = fork();

	REQUIRE(child >= 0, "fork");
	if (child == 0)
		mapper(which, path);
	return child;
}

static void make_file(const char *path)
{
	static struct page page;
	FILE *file = fopen(path, "we");

	REQUIRE(file != NULL, "%s: %m", path);
	for (size_t i = 0; i < DIRECT_PAGES; i++) {
		for (size_t k = 0; k < PAGE_WORDS; k++)
			page.word[k] = i * PAGE_WORDS + k;
		REQUIRE(fwrite(&page, sizeof(page), 1, file) == 1, "fwrite");
	}
	REQUIRE(fclose(file) == 0, "fclose");
}

int main(int argc, char **argv)
{
	uint64_t end_ns = live_deadline_ns(8), seed = live_seed();
	pid_t children[MAPPERS];
	int status;

	REQUIRE(argc == 2, "usage: mappers FILE");
	nodes = live_nodes();
	live_watchdog(100);
	make_file(argv[1]);
	told = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	object = memfd_create("object", MFD_CLOEXEC);
	REQUIRE(told != MAP_FAILED && object >= 0 &&
			ftruncate(object, (PAGES + DIRECT_PAGES) * PAGE) == 0, "memory");
	for (unsigned i = 0; i < MAPPERS; i++)
		children[i] = start(i, argv[1]);
	while (live_now_ns() < end_ns) {
		unsigned victim = MAPPERS - 2 + (unsigned)live_below(&seed, 2);

		kill(children[STOPPED], SIGSTOP);
		live_sleep_us(100000 + (unsigned)live_below(&seed, 100000));
		kill(children[STOPPED], SIGCONT);
		kill(children[victim], SIGKILL);
		REQUIRE(waitpid(children[victim], &status, 0) == children[victim], "waitpid");
		REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "a child failed");
		children[victim] = start(victim, argv[1]);
	}
	told->stop = true;
	for (unsigned i = 0; i < MAPPERS; i++)
		REQUIRE(waitpid(children[i], &status, 0) == children[i] && status == 0,
			"child %u ended with %x", i, status);
	REQUIRE(nodes < 2 || (told->moved > 100 && told->refused > 10 && told->pieces > 0),
		"moved %llu, refused %llu, pieces %llu", (unsigned long long)told->moved,
		(unsigned long long)told->refused, (unsigned long long)told->pieces);
	fprintf(stderr, "moved %llu, refused %llu, full %llu, calls %llu, pieces %llu\nok\n",
		(unsigned long long)told->moved, (unsigned long long)told->refused,
		(unsigned long long)told->full, (unsigned long long)told->rounds,
		(unsigned long long)told->pieces);
	return 0;
}
