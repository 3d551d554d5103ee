/* SPDX-License-Identifier: MIT */
/*
 * direct.c - a device reads into, and writes from, pages that are on the move.
 *
 * Readers read random pieces of a file with O_DIRECT into random places of a shared buffer of their
 * own and compare all of it; a writer writes pieces of known content and reads them back. A
 * page that is pinned by the device must answer "pinned" and stay; afterwards it must move.
 *
 * usage: direct FILE    (created, removed); status 77 if the file system has no O_DIRECT
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <fcntl.h>

enum { READERS = 2, BUFFER_PAGES = 512, FILE_PAGES = 4096, PIECE_PAGES = 64 };

struct reader {
	char *buffer;
	int file;
	uint64_t seed;
	uint64_t end_ns;
	uint64_t pieces;
	struct live_mover mover;
	pthread_t thread;
};

static uint64_t file_word(uint64_t page, uint64_t word)
{
	return (page * PAGE_WORDS + word) * UINT64_C(0x9e3779b97f4a7c15);
}

static void fill_page(char *page, uint64_t number)
{
	uint64_t *words = (uint64_t *)(void *)page;

	for (uint64_t i = 0; i < PAGE_WORDS; i++)
		words[i] = file_word(number, i);
}

static void check_page(const char *page, uint64_t number, const char *what)
{
	const uint64_t *words = (const uint64_t *)(const void *)page;

	for (uint64_t i = 0; i < PAGE_WORDS; i++)
		REQUIRE(words[i] == file_word(number, i), "%s: page %llu word %llu is %llx", what,
			(unsigned long long)number, (unsigned long long)i,
			(unsigned long long)words[i]);
}

static void write_file(const char *path)
{
	static char page[PAGE];
	FILE *file = fopen(path, "we");

	REQUIRE(file != NULL, "%s: %s", path, strerror(errno));
	for (uint64_t i = 0; i < FILE_PAGES; i++) {
		fill_page(page, i);
		REQUIRE(fwrite(page, PAGE, 1, file) == 1, "write %s", path);
	}
	REQUIRE(fflush(file) == 0 && fsync(fileno(file)) == 0 && fclose(file) == 0, "%s", path);
}

/* One piece in, compared; in a quarter of the cases out again from memory, to its own place. */
static void transfer(struct reader *reader)
{
	uint64_t count = 1 + live_below(&reader->seed, PIECE_PAGES);
	uint64_t first = live_below(&reader->seed, FILE_PAGES - count + 1);
	uint64_t place = live_below(&reader->seed, BUFFER_PAGES - count + 1);
	char *memory = reader->buffer + place * PAGE;
	ssize_t bytes = (ssize_t)(count * PAGE);

	/* What lies there already must not look like what will be read. */
	memset(memory, 0xee, (size_t)bytes);
	REQUIRE(pread(reader->file, memory, (size_t)bytes, (off_t)(first * PAGE)) == bytes,
		"O_DIRECT read: %s", strerror(errno));
	for (uint64_t i = 0; i < count; i++)
		check_page(memory + i * PAGE, first + i, "read");
	if (live_below(&reader->seed, 4) == 0)
		REQUIRE(pwrite(reader->file, memory, (size_t)bytes, (off_t)(first * PAGE)) == bytes,
			"O_DIRECT write: %s", strerror(errno));
	reader->pieces++;
}

static void *reader_run(void *argument)
{
	struct reader *reader = argument;

	while (live_now_ns() < reader->end_ns)
		transfer(reader);
	return NULL;
}

/* The file must hold what it held, as the page cache sees it. */
static void check_file(const char *path)
{
	static char page[PAGE];
	FILE *file = fopen(path, "re");

	REQUIRE(file != NULL, "%s: %s", path, strerror(errno));
	for (uint64_t i = 0; i < FILE_PAGES; i++) {
		REQUIRE(fread(page, PAGE, 1, file) == 1, "read %s", path);
		check_page(page, i, "written back");
	}
	fclose(file);
}

static void join_reader(struct reader *reader, int nodes)
{
	pthread_join(reader->thread, NULL);
	live_mover_stop(&reader->mover);
	for (int node = 0; node < nodes && nodes >= 2; node++)
		REQUIRE(live_move_all(reader->buffer, BUFFER_PAGES, node, 5) == 0,
			"pages do not move after the last read has ended");
	fprintf(stderr, "pieces %llu\n", (unsigned long long)reader->pieces);
}

int main(int argc, char **argv)
{
	struct reader readers[READERS];
	int nodes = live_nodes(), file;

	REQUIRE(argc == 2, "usage: direct FILE");
	live_watchdog(100);
	write_file(argv[1]);
	file = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (file < 0) {
		REQUIRE(errno == EINVAL, "%s: %s", argv[1], strerror(errno));
		unlink(argv[1]);
		return 77;
	}
	for (unsigned i = 0; i < READERS; i++) {
		struct reader *reader = &readers[i];

		*reader = (struct reader){ .file = file, .seed = 31 + i };
		reader->end_ns = live_deadline_ns(6);
		reader->buffer = live_map((size_t)BUFFER_PAGES * PAGE);
		memset(reader->buffer, 1, (size_t)BUFFER_PAGES * PAGE);
		live_mover_start(&reader->mover, reader->buffer, BUFFER_PAGES, nodes);
		REQUIRE(pthread_create(&reader->thread, NULL, reader_run, reader) == 0, "thread");
	}
	for (unsigned i = 0; i < READERS; i++)
		join_reader(&readers[i], nodes);
	close(file);
	check_file(argv[1]);
	unlink(argv[1]);
	return 0;
}
