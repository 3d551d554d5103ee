/* SPDX-License-Identifier: MIT */
/*
 * trace.c - the live half of tests/diff/trace.c: runs the trace on memory of its own, inside a
 * machine, and writes the log to stdout.
 *
 * usage: trace SEED STEPS FORKS
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <sys/wait.h>

#include "../../diff/trace.h"

static char *window;

static char *page_at(unsigned page)
{
	return window + (size_t)page * PAGE;
}

static void map_block(void *context, unsigned block)
{
	char *start = page_at(block * TRACE_BLOCK);

	(void)context;
	REQUIRE(mmap(start, (size_t)TRACE_BLOCK * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == start,
		"mmap");
}

static void unmap_block(void *context, unsigned block)
{
	(void)context;
	REQUIRE(munmap(page_at(block * TRACE_BLOCK), (size_t)TRACE_BLOCK * PAGE) == 0, "munmap");
}

static void remap_block(void *context, unsigned from, unsigned to)
{
	size_t bytes = (size_t)TRACE_BLOCK * PAGE;
	char *target = page_at(to * TRACE_BLOCK);

	(void)context;
	REQUIRE(mremap(page_at(from * TRACE_BLOCK), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED,
		       target) == target,
		"mremap: %s", strerror(errno));
}

static void protect_block(void *context, unsigned block, bool writable)
{
	(void)context;
	REQUIRE(mprotect(page_at(block * TRACE_BLOCK), (size_t)TRACE_BLOCK * PAGE,
			 PROT_READ | (writable ? PROT_WRITE : 0)) == 0,
		"mprotect");
}

static void discard(void *context, unsigned page, unsigned count)
{
	(void)context;
	REQUIRE(madvise(page_at(page), (size_t)count * PAGE, MADV_DONTNEED) == 0, "madvise");
}

static void store(void *context, unsigned page, unsigned word, uint64_t value)
{
	(void)context;
	((volatile uint64_t *)(void *)page_at(page))[word] = value;
}

static uint64_t load(void *context, unsigned page, unsigned word)
{
	(void)context;
	return ((volatile uint64_t *)(void *)page_at(page))[word];
}

static long move(void *context, unsigned page, unsigned count, int node, int *status,
		 uint8_t *reasons)
{
	static void *pages[TRACE_PAGES];
	static int nodes[TRACE_PAGES];

	(void)context;
	for (unsigned i = 0; i < count; i++) {
		pages[i] = page_at(page + i);
		nodes[i] = node;
	}
	return ferry_move_pages_reasons(0, count, pages, nodes, status, reasons,
					FERRY_MOVE | FERRY_CONTRACT_SEED);
}

static void query(void *context, unsigned page, unsigned count, int *status)
{
	(void)context;
	REQUIRE(ferry_query_range(0, page_at(page), count, status) == 0, "ferry_query_range");
}

static uint64_t fork_digest(void *context, const bool *mapped)
{
	uint64_t digest;
	int ends[2], ended;
	pid_t pid;

	REQUIRE(pipe(ends) == 0, "pipe");
	pid = fork();
	if (pid == 0) {
		digest = trace_child_digest(mapped, context, load);
		_exit(write(ends[1], &digest, sizeof(digest)) == sizeof(digest) ? 0 : 1);
	}
	REQUIRE(pid > 0 && read(ends[0], &digest, sizeof(digest)) == sizeof(digest), "fork");
	REQUIRE(waitpid(pid, &ended, 0) == pid && ended == 0, "child: %x", (unsigned)ended);
	close(ends[0]);
	close(ends[1]);
	return digest;
}

/* The pages have been written: at the latest the next scan finds that they are ours. */
static void settle(void *context)
{
	(void)context;
	for (int node = TRACE_NODES - 1; node >= 0; node--)
		REQUIRE(live_move_all(window, TRACE_PAGES, node, 10) == 0,
			"pages do not move after the child has ended");
}

int main(int argc, char **argv)
{
	const struct trace_backend backend = {
		.map = map_block,
		.unmap = unmap_block,
		.remap = remap_block,
		.protect = protect_block,
		.discard = discard,
		.store = store,
		.load = load,
		.move = move,
		.query = query,
		.fork = fork_digest,
		.settle = settle,
	};

	REQUIRE(argc == 4, "usage: trace SEED STEPS FORKS");
	REQUIRE(live_nodes() == TRACE_NODES, "the trace wants a machine of %d nodes", TRACE_NODES);
	live_watchdog(100);
	window = live_map_low((size_t)TRACE_PAGES * PAGE);
	trace_run(&backend, stdout, strtoull(argv[1], NULL, 0), (unsigned)atoi(argv[2]),
		  (unsigned)atoi(argv[3]));
	return fflush(stdout) == 0 ? 0 : 1;
}
