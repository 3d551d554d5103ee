/* SPDX-License-Identifier: MIT */
/*
 * uring.c - fixed buffers of io_uring: pages that a device may write into for as long as they are
 * registered.
 *
 * Half of the area is registered. While it is, its pages answer "pinned" and stay where they are;
 * pages beside it move. What the kernel reads into the buffers arrives whole. After the buffers
 * are unregistered, every page must move.
 *
 * usage: uring FILE    status 77: no io_uring here
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <fcntl.h>
#include <liburing.h>

enum {
	AREA_PAGES = 1024,
	FIXED_PAGES = 512,
	PIECE_PAGES = 16,
	FILE_PAGES = 1024,
	DEPTH = 8,
	ENOUGH_PAGES = 11000,
};

static char *area;

static uint64_t file_word(uint64_t page, uint64_t word)
{
	return (page * PAGE_WORDS + word) * UINT64_C(0xd1342543de82ef95) + 1;
}

static int make_file(const char *path)
{
	static uint64_t page[PAGE_WORDS];
	int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	REQUIRE(file >= 0, "%s: %s", path, strerror(errno));
	for (uint64_t i = 0; i < FILE_PAGES; i++) {
		for (uint64_t word = 0; word < PAGE_WORDS; word++)
			page[word] = file_word(i, word);
		REQUIRE(write(file, page, PAGE) == PAGE, "write %s", path);
	}
	REQUIRE(fsync(file) == 0, "fsync");
	close(file);
	/* Past the page cache where the file system can: then a device writes into the pages. */
	file = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (file < 0)
		file = open(path, O_RDONLY | O_CLOEXEC);
	REQUIRE(file >= 0, "%s: %s", path, strerror(errno));
	unlink(path);
	return file;
}

/* DEPTH reads at once, each into its own part of the registered half. */
static void read_round(struct io_uring *ring, int file, uint64_t *seed)
{
	uint64_t first[DEPTH];

	for (unsigned i = 0; i < DEPTH; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
		char *memory = area + (size_t)i * PIECE_PAGES * PAGE;

		REQUIRE(sqe != NULL, "no submission entry");
		first[i] = live_below(seed, FILE_PAGES - PIECE_PAGES + 1);
		memset(memory, 0xdd, (size_t)PIECE_PAGES * PAGE);
		io_uring_prep_read_fixed(sqe, file, memory, (unsigned)PIECE_PAGES * PAGE,
					 first[i] * PAGE, 0);
	}
	REQUIRE(io_uring_submit_and_wait(ring, DEPTH) == DEPTH, "submit");
	for (unsigned i = 0; i < DEPTH; i++) {
		struct io_uring_cqe *cqe;

		REQUIRE(io_uring_wait_cqe(ring, &cqe) == 0, "wait");
		REQUIRE(cqe->res == PIECE_PAGES * PAGE, "read: %d", cqe->res);
		io_uring_cqe_seen(ring, cqe);
	}
	for (uint64_t page = 0; page < (uint64_t)DEPTH * PIECE_PAGES; page++) {
		const uint64_t *words = (const uint64_t *)(void *)(area + page * PAGE);
		uint64_t number = first[page / PIECE_PAGES] + page % PIECE_PAGES;

		for (uint64_t word = 0; word < PAGE_WORDS; word++)
			REQUIRE(words[word] == file_word(number, word), "page %llu word %llu",
				(unsigned long long)page, (unsigned long long)word);
	}
}

/* Every registered page refuses to move, for the right reason. Where pages leave by eviction no
 * page of a program with an io_uring moves. */
static void check_pinned(int nodes)
{
	void *pages[MOVE_MAX];
	int targets[MOVE_MAX], status[MOVE_MAX], before[FIXED_PAGES];
	uint8_t reasons[MOVE_MAX];
	long result;

	if (nodes < 2)
		return;
	REQUIRE(ferry_query_range(0, area, FIXED_PAGES, before) == 0, "ferry_query_range");
	for (int i = 0; i < FIXED_PAGES; i++) {
		pages[i] = area + (size_t)i * PAGE;
		targets[i] = (before[i] + 1) % nodes;
	}
	result = ferry_move_pages_reasons(0, FIXED_PAGES, pages, targets, status, reasons,
					  FERRY_MOVE);
	REQUIRE(result == FIXED_PAGES, "%ld of %d pinned pages did not move", result, FIXED_PAGES);
	for (int i = 0; i < FIXED_PAGES; i++)
		REQUIRE(status[i] == -EBUSY &&
				reasons[i] == live_reason(live_evicts() ? "unseen" : "pinned"),
			"pinned page %d: status %d, %s", i, status[i],
			ferry_reason_name(reasons[i]));
}

/* A slow machine gets more time, so that enough pages move. */
static bool is_enough(const struct live_mover *mover)
{
	return mover->nodes < 2 || live_evicts() ||
	       __atomic_load_n(&mover->reasons[live_reason("moved")], __ATOMIC_RELAXED) >=
		       ENOUGH_PAGES / live_slow();
}

int main(int argc, char **argv)
{
	struct iovec registered = { .iov_len = (size_t)FIXED_PAGES * PAGE };
	struct io_uring ring;
	struct live_mover mover;
	uint64_t end = live_deadline_ns(4), seed = 5, rounds = 0;
	int nodes = live_nodes(), file, error;

	REQUIRE(argc == 2, "usage: uring FILE");
	live_watchdog(100);
	error = io_uring_queue_init(DEPTH, &ring, 0);
	if (error == -ENOSYS || error == -EPERM)
		return 77;
	REQUIRE(error == 0, "io_uring: %s", strerror(-error));
	file = make_file(argv[1]);
	area = live_map((size_t)AREA_PAGES * PAGE);
	memset(area, 1, (size_t)AREA_PAGES * PAGE);
	registered.iov_base = area;
	error = io_uring_register_buffers(&ring, &registered, 1);
	REQUIRE(error == 0, "register buffers: %s", strerror(-error));
	check_pinned(nodes);
	live_mover_start(&mover, area, AREA_PAGES, nodes);
	while (live_now_ns() < end || !is_enough(&mover)) {
		read_round(&ring, file, &seed);
		rounds++;
	}
	live_mover_stop(&mover);
	check_pinned(nodes);
	REQUIRE(io_uring_unregister_buffers(&ring) == 0, "unregister buffers");
	for (int node = 0; node < nodes && nodes >= 2 && !live_evicts(); node++)
		REQUIRE(live_move_all(area, AREA_PAGES, node, 5) == 0,
			"pages do not move after the buffers were unregistered");
	io_uring_queue_exit(&ring);
	fprintf(stderr, "rounds %llu\n", (unsigned long long)rounds);
	return 0;
}
