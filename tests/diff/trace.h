/* SPDX-License-Identifier: MIT */
/*
 * trace.h - one seeded trace of what programs do to pages, for any backend.
 *
 * The window is cut into blocks; mapping, unmapping, remapping and protecting take whole blocks, so
 * that a block is one mapping of the host for ever. The trace depends on the seed alone. What the
 * backend answers - bytes, statuses, reasons, counts - goes into the log, a line an operation: two
 * backends that follow the same contract write the same log.
 *
 * Left out is what the contract leaves open: long ascending first touches (fault-around), and which
 * of the pages shared since a fork are known to be free again; so the backend settles after a fork.
 */
#ifndef TESTS_DIFF_TRACE_H
#define TESTS_DIFF_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
	TRACE_BLOCK = 32,
	TRACE_BLOCKS = 24,
	TRACE_PAGES = TRACE_BLOCK * TRACE_BLOCKS,
	TRACE_NODES = 3,
	TRACE_MOVE_MAX = 160,
	TRACE_REASONS = 32,
	TRACE_LAST_WORD = 511,
};

/* Pages are counted from the begin of the window, words within their page. */
struct trace_backend {
	void *context;
	void (*map)(void *context, unsigned block);
	void (*unmap)(void *context, unsigned block);
	void (*remap)(void *context, unsigned from, unsigned to); /* `to` is unmapped */
	void (*protect)(void *context, unsigned block, bool writable);
	void (*discard)(void *context, unsigned page, unsigned count);
	void (*store)(void *context, unsigned page, unsigned word, uint64_t value);
	uint64_t (*load)(void *context, unsigned page, unsigned word);
	/* Contract seed. => what the call returns. */
	long (*move)(void *context, unsigned page, unsigned count, int node, int *status,
		     uint8_t *reasons);
	void (*query)(void *context, unsigned page, unsigned count, int *status);
	/* Forks; => what trace_child_digest() says in the child, which then ends. */
	uint64_t (*fork)(void *context, const bool *mapped);
	/* All pages have been written since the fork: waits until none counts as shared. */
	void (*settle)(void *context);
};

struct trace {
	const struct trace_backend *backend;
	FILE *log;
	uint64_t seed;
	uint64_t next_value;
	uint64_t reasons[TRACE_REASONS];
	bool mapped[TRACE_BLOCKS];
	bool writable[TRACE_BLOCKS];
};

static inline uint64_t trace_random(uint64_t *state, uint64_t limit)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (z ^ (z >> 31)) % limit;
}

static inline uint64_t trace_mix(uint64_t digest, uint64_t value)
{
	return (digest ^ value) * UINT64_C(0x100000001b3);
}

/* Over the first and last words of all mapped pages; peek reads without changing anything. */
static inline uint64_t trace_child_digest(const bool *mapped, void *context,
					  uint64_t (*peek)(void *context, unsigned page,
							   unsigned word))
{
	uint64_t digest = UINT64_C(0xcbf29ce484222325);

	for (unsigned page = 0; page < TRACE_PAGES; page++) {
		if (!mapped[page / TRACE_BLOCK])
			continue;
		digest = trace_mix(digest, peek(context, page, 0));
		digest = trace_mix(digest, peek(context, page, TRACE_LAST_WORD));
	}
	return digest;
}

static inline void trace_store(struct trace *trace, unsigned page)
{
	uint64_t value = ++trace->next_value;

	if (!trace->mapped[page / TRACE_BLOCK] || !trace->writable[page / TRACE_BLOCK])
		return;
	trace->backend->store(trace->backend->context, page, 0, value);
	trace->backend->store(trace->backend->context, page, TRACE_LAST_WORD, ~value);
	fprintf(trace->log, "store %u\n", page);
}

static inline void trace_load(struct trace *trace, unsigned page)
{
	uint64_t first, last;

	if (!trace->mapped[page / TRACE_BLOCK])
		return;
	first = trace->backend->load(trace->backend->context, page, 0);
	last = trace->backend->load(trace->backend->context, page, TRACE_LAST_WORD);
	fprintf(trace->log, "load %u: %llx %llx\n", page, (unsigned long long)first,
		(unsigned long long)last);
}

static inline void trace_print(struct trace *trace, const int *status, const uint8_t *reasons,
			       unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		fprintf(trace->log, reasons != NULL ? " %d/%u" : " %d", status[i],
			reasons != NULL ? reasons[i] : 0u);
	fputc('\n', trace->log);
}

static inline void trace_move(struct trace *trace, unsigned page, unsigned count, int node)
{
	int status[TRACE_PAGES];
	uint8_t reasons[TRACE_PAGES];
	long result;

	memset(reasons, 0xff, sizeof(reasons));
	result = trace->backend->move(trace->backend->context, page, count, node, status, reasons);
	fprintf(trace->log, "move %u+%u to %d: %ld:", page, count, node, result);
	trace_print(trace, status, reasons, result == -19 /* ENODEV */ ? 0 : count);
	for (unsigned i = 0; i < count && result != -19; i++)
		trace->reasons[reasons[i] % TRACE_REASONS]++;
}

static inline void trace_query(struct trace *trace, unsigned page, unsigned count)
{
	int status[TRACE_PAGES];

	trace->backend->query(trace->backend->context, page, count, status);
	fprintf(trace->log, "query %u+%u:", page, count);
	trace_print(trace, status, NULL, count);
}

static inline void trace_discard(struct trace *trace, unsigned page, unsigned count)
{
	for (unsigned i = page; i < page + count; i++)
		if (!trace->mapped[i / TRACE_BLOCK])
			return;
	trace->backend->discard(trace->backend->context, page, count);
	fprintf(trace->log, "discard %u+%u\n", page, count);
}

static inline void trace_map(struct trace *trace, unsigned block)
{
	trace->backend->map(trace->backend->context, block);
	trace->mapped[block] = true;
	trace->writable[block] = true;
}

static inline void trace_unmap(struct trace *trace, unsigned block)
{
	if (!trace->mapped[block]) {
		trace_map(trace, block);
		return;
	}
	trace->backend->unmap(trace->backend->context, block);
	trace->mapped[block] = false;
	fprintf(trace->log, "unmap %u\n", block);
}

static inline void trace_remap(struct trace *trace, unsigned from, unsigned to)
{
	if (from == to || !trace->mapped[from])
		return;
	if (trace->mapped[to])
		trace->backend->unmap(trace->backend->context, to);
	trace->backend->remap(trace->backend->context, from, to);
	trace->mapped[to] = true;
	trace->writable[to] = trace->writable[from];
	trace_map(trace, from);
	fprintf(trace->log, "remap %u to %u\n", from, to);
}

static inline void trace_protect(struct trace *trace, unsigned block)
{
	if (!trace->mapped[block])
		return;
	trace->writable[block] = !trace->writable[block];
	trace->backend->protect(trace->backend->context, block, trace->writable[block]);
	fprintf(trace->log, "protect %u %d\n", block, trace->writable[block]);
}

static inline void trace_fork(struct trace *trace)
{
	int status[TRACE_PAGES];
	uint64_t digest;

	for (unsigned block = 0; block < TRACE_BLOCKS; block++)
		if (trace->mapped[block] && !trace->writable[block])
			trace_protect(trace, block);
	digest = trace->backend->fork(trace->backend->context, trace->mapped);
	fprintf(trace->log, "fork: %llx\n", (unsigned long long)digest);
	trace->backend->query(trace->backend->context, 0, TRACE_PAGES, status);
	for (unsigned page = 0; page < TRACE_PAGES; page++)
		if (status[page] >= 0)
			trace_store(trace, page);
	trace->backend->settle(trace->backend->context);
}

static inline void trace_step(struct trace *trace)
{
	unsigned page = (unsigned)trace_random(&trace->seed, TRACE_PAGES);
	unsigned other = (unsigned)trace_random(&trace->seed, TRACE_BLOCKS);
	unsigned count = 1 + (unsigned)trace_random(&trace->seed, TRACE_MOVE_MAX);
	unsigned kind = (unsigned)trace_random(&trace->seed, 100);

	count = count > TRACE_PAGES - page ? TRACE_PAGES - page : count;
	if (kind < 45)
		trace_store(trace, page);
	else if (kind < 60)
		trace_load(trace, page);
	else if (kind < 78)
		/* Now and then a node that is not there. */
		trace_move(trace, page, count,
			   (int)trace_random(&trace->seed, 3 * TRACE_NODES + 1) / 3);
	else if (kind < 84)
		trace_query(trace, page, count);
	else if (kind < 90)
		trace_discard(trace, page,
			      count % 16 + 1 + page <= TRACE_PAGES ? count % 16 + 1 : 1);
	else if (kind < 93)
		trace_unmap(trace, other);
	else if (kind < 97)
		trace_remap(trace, page / TRACE_BLOCK, other);
	else
		trace_protect(trace, other);
}

/* Runs steps operations and forks times in between; ends with all there is to see. */
static inline void trace_run(const struct trace_backend *backend, FILE *log, uint64_t seed,
			     unsigned steps, unsigned forks)
{
	struct trace trace = { .backend = backend, .log = log, .seed = seed };
	int status[TRACE_PAGES];

	for (unsigned block = 0; block < TRACE_BLOCKS; block++)
		trace_map(&trace, block);
	for (unsigned step = 1; step <= steps; step++) {
		trace_step(&trace);
		if (forks != 0 && step % (steps / (forks + 1) + 1) == 0)
			trace_fork(&trace);
	}
	trace_query(&trace, 0, TRACE_PAGES);
	backend->query(backend->context, 0, TRACE_PAGES, status);
	for (unsigned page = 0; page < TRACE_PAGES; page++)
		if (status[page] >= 0)
			trace_load(&trace, page);
	for (unsigned reason = 0; reason < TRACE_REASONS; reason++)
		fprintf(log, "reason %u: %llu\n", reason,
			(unsigned long long)trace.reasons[reason]);
}

#endif
