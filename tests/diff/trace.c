/* SPDX-License-Identifier: MIT */
/*
 * trace.c - one seeded trace over the simulated MMU and over the live one: the same bytes, the same
 * statuses and reasons, the same counts.
 *
 * The simulated half runs here; the live half is tests/live/programs/trace.c inside `pageferry
 * run`. Both write a log, a line an operation, and the logs are compared line by line.
 */
#define _GNU_SOURCE 1
#include <stdlib.h>
#include <sys/utsname.h>

#include "host.h"
#include "map/ptable.h"
#include "rig.h"
#include "trace.h"

enum { FORKS = 3 };

/* --- the simulated half ---------------------------------------------------------------------- */

static void map_block(void *context, unsigned block)
{
	rig_map(context, block * TRACE_BLOCK, (block + 1) * TRACE_BLOCK, 0);
}

static void unmap_block(void *context, unsigned block)
{
	rig_unmap(context, 0, block * TRACE_BLOCK, (block + 1) * TRACE_BLOCK);
}

static void remap_block(void *context, unsigned from, unsigned to)
{
	FERRY_ASSERT(rig_remap(context, 0, from * TRACE_BLOCK, to * TRACE_BLOCK, TRACE_BLOCK) == 0);
}

static void protect_block(void *context, unsigned block, bool writable)
{
	struct rig *rig = context;

	ferry_soft_protect(&rig->soft, rig_va(rig, block * TRACE_BLOCK),
			   rig_va(rig, (block + 1) * TRACE_BLOCK),
			   FERRY_SOFT_READ | (writable ? FERRY_SOFT_WRITE : 0u));
}

static void discard(void *context, unsigned page, unsigned count)
{
	rig_discard(context, 0, page, page + count, false);
}

static void store(void *context, unsigned page, unsigned word, uint64_t value)
{
	FERRY_ASSERT(rig_store(context, 0, rig_va(context, page) + word * 8, value) ==
		     FERRY_SOFT_DONE);
}

static uint64_t load(void *context, unsigned page, unsigned word)
{
	uint64_t value = 0;

	FERRY_ASSERT(rig_load(context, 0, rig_va(context, page) + word * 8, &value) ==
		     FERRY_SOFT_DONE);
	return value;
}

static long move(void *context, unsigned page, unsigned count, int node, int *status,
		 uint8_t *reasons)
{
	struct rig *rig = context;
	uint64_t pages[TRACE_PAGES];
	int32_t nodes[TRACE_PAGES];
	struct ferry_move_call call = {
		.count = count,
		.pages = pages,
		.nodes = nodes,
		.status = status,
		.reasons = reasons,
		.seed = true,
	};

	for (unsigned i = 0; i < count; i++) {
		pages[i] = rig_va(rig, page + i);
		nodes[i] = node;
	}
	return (long)ferry_move_pages_in(&rig->space, &call);
}

static void query(void *context, unsigned page, unsigned count, int *status)
{
	struct rig *rig = context;

	ferry_query_consecutive(&(struct ferry_query){ rig->books, NULL }, rig_va(rig, page), count,
				status);
}

struct child_of {
	struct rig *rig;
	struct ferry_soft_child child;
};

static uint64_t child_peek(void *context, unsigned page, unsigned word)
{
	struct child_of *of = context;
	uint64_t value = 0;

	FERRY_ASSERT(ferry_soft_child_peek(&of->child, rig_va(of->rig, page) + word * 8, &value));
	return value;
}

static uint64_t fork_digest(void *context, const bool *mapped)
{
	struct child_of of = { .rig = context };
	uint64_t digest;

	rig_fork(of.rig, 0, &of.child);
	digest = trace_child_digest(mapped, &of, child_peek);
	ferry_soft_child_destroy(&of.child);
	return digest;
}

static void settle(void *context)
{
	struct rig *rig = context;
	int status[TRACE_PAGES];
	uint8_t reasons[TRACE_PAGES];

	ferry_lock_acquire(&rig->space.lock);
	FERRY_ASSERT(ferry_space_reconcile(&rig->space, rig->base, rig_va(rig, TRACE_PAGES), -1) ==
		     0);
	ferry_lock_release(&rig->space.lock);
	for (int node = TRACE_NODES - 1; node >= 0; node--)
		(void)move(context, 0, TRACE_PAGES, node, status, reasons);
}

static char *run_simulated(uint64_t seed, unsigned steps)
{
	const struct rig_options options = {
		.nodes = TRACE_NODES,
		.capacity = { 16384, 16384, 16384 },
		.pages = TRACE_PAGES,
	};
	static struct rig rig;
	const struct trace_backend backend = {
		.context = &rig,
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
	char *text = NULL;
	size_t size = 0;
	FILE *log = open_memstream(&text, &size);

	FERRY_ASSERT(log != NULL);
	rig_begin(&rig, &options);
	rig.machine->policy.mode = FERRY_POLICY_BIND;
	ferry_nodeset_add(&rig.machine->policy.nodes, 0);
	trace_run(&backend, log, seed, steps, FORKS);
	rig_end(&rig);
	fclose(log);
	return text;
}

/* --- the live half --------------------------------------------------------------------------- */

/* => everything the command wrote, NULL if it failed. */
static char *read_command(const char *command)
{
	FILE *stream = popen(command, "r");
	char *text = NULL, buffer[65536];
	size_t size = 0, got;
	FILE *copy = open_memstream(&text, &size);

	FERRY_ASSERT(stream != NULL && copy != NULL);
	while ((got = fread(buffer, 1, sizeof(buffer), stream)) > 0)
		fwrite(buffer, 1, got, copy);
	fclose(copy);
	if (pclose(stream) == 0)
		return text;
	free(text);
	return NULL;
}

static char *run_live(uint64_t seed, unsigned steps)
{
	const char *build = getenv("FERRY_BUILD");
	char command[8192];

	FERRY_ASSERT(build != NULL);
	snprintf(command, sizeof(command),
		 "exec '%s/pageferry' run --nodes %dx64M --policy bind:0 -- "
		 "'%s/tests/live/programs/trace' %llu %u %d",
		 build, TRACE_NODES, build, (unsigned long long)seed, steps, FORKS);
	return read_command(command);
}

/* => the number of the first line that differs, 0: none. Prints it, or how much was compared. */
static unsigned find_difference(const char *simulated, const char *live)
{
	for (unsigned line = 1;; line++) {
		size_t left = strcspn(simulated, "\n"), right = strcspn(live, "\n");

		if (left != right || memcmp(simulated, live, left) != 0) {
			printf("line %u\n  simulated: %.*s\n  live:      %.*s\n", line, (int)left,
			       simulated, (int)right, live);
			return line;
		}
		if (simulated[left] == '\0' && live[right] == '\0') {
			printf("%u lines agree\n", line - 1);
			return 0;
		}
		simulated += left + (simulated[left] != '\0');
		live += right + (live[right] != '\0');
	}
}

/* Kernels before 6.8 have no UFFDIO_MOVE: pages leave by eviction, and which of them the host holds
 * on to for the moment (those that a CPU has made and not put on a list yet) is in no contract. */
static bool host_evicts(void)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	FERRY_ASSERT(uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2);
	return major < 6 || (major == 6 && minor < 8);
}

int main(void)
{
	unsigned steps = (unsigned)test_amount(20000, 400000), different;
	uint64_t seed;
	char *simulated, *live;

	test_host_init();
	if (host_evicts()) {
		printf("pages that leave by eviction may stay\n");
		return 77;
	}
	seed = test_seed("trace");
	simulated = run_simulated(seed, steps);
	live = run_live(seed, steps);
	if (live == NULL) {
		printf("the live half failed\n");
		return 1;
	}
	different = find_difference(simulated, live);
	free(simulated);
	free(live);
	return different == 0 ? 0 : 1;
}
