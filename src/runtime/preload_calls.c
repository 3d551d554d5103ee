/* SPDX-License-Identifier: MIT */
/*
 * preload_calls.c - move_pages() of the calling process: the door of unmodified programs (contract
 * linux) and of the public library (contract seed).
 *
 * Order of checks: flags, MOVE_ALL's right, process, count, arrays; then nodes and pages in the
 * engine. Arrays are copied into memory that is never managed before the agent looks at them, so
 * they may lie on the very pages that move. A query is answered right here, from the books.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/sys.h"
#include "move/move_pages.h"
#include "runtime/arrays.h"
#include "runtime/by_host.h"
#include "runtime/door.h"
#include "runtime/interface.h"
#include "runtime/preload.h"
#include "runtime/remote.h"
#include "runtime/thread.h"
#include "runtime/user.h"

enum {
	QUERY_PAGES = 2048,  /* of a large query that are answered at a time */
	SMALL_BYTES = 40960, /* of a buffer: enough for QUERY_PAGES */
	SMALL_BUFFERS = 8,
	SETTLE_YIELDS = 20,
	FLAGS_MOVE = FERRY_MOVE | FERRY_MOVE_ALL,
	FLAGS_CONTRACT = FERRY_CONTRACT_LINUX | FERRY_CONTRACT_SEED,
};

#define SETTLE_NS UINT64_C(200000)

/* --- buffers -------------------------------------------------------------------------- */

static struct {
	uint32_t taken; /* (a) */
	char memory[SMALL_BYTES] __attribute__((aligned(64)));
} small[SMALL_BUFFERS];

struct buffer {
	char *memory;
	size_t size;
	uint32_t *taken; /* NULL: a mapping of its own */
};

static int take_buffer(struct buffer *buffer, size_t size)
{
	buffer->size = size;
	for (int i = 0; size <= SMALL_BYTES && i < SMALL_BUFFERS; i++) {
		if (__atomic_exchange_n(&small[i].taken, 1, __ATOMIC_ACQUIRE) == 0) {
			buffer->memory = small[i].memory;
			buffer->taken = &small[i].taken;
			return 0;
		}
	}
	buffer->memory = ferry_user_map(size);
	buffer->taken = NULL;
	return buffer->memory == NULL ? -ENOMEM : 0;
}

static void give_buffer(struct buffer *buffer)
{
	if (buffer->taken)
		__atomic_store_n(buffer->taken, 0, __ATOMIC_RELEASE);
	else
		(void)ferry_sys2(SYS_munmap, buffer->memory, buffer->size);
}

/* The arrays of one call, in one buffer. */
struct arrays {
	struct ferry_move_call call;
	struct ferry_arrays at;
};

static struct arrays *lay_arrays(struct buffer *buffer, size_t count)
{
	struct arrays *a = (struct arrays *)(void *)buffer->memory;

	memset(a, 0, sizeof(*a));
	a->at = ferry_arrays_lay(a + 1, count);
	return a;
}

static size_t arrays_bytes(size_t count)
{
	return sizeof(struct arrays) + ferry_arrays_size(count);
}

/* --- checks --------------------------------------------------------------------------- */

static bool may_move_all(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}};

	if (ferry_sys2(SYS_capget, &header, data))
		return false;
	return (data[0].effective >> CAP_SYS_NICE & 1) != 0;
}

static int check_flags(unsigned flags)
{
	if (flags & ~(unsigned)(FLAGS_MOVE | FLAGS_CONTRACT))
		return -EINVAL;
	if ((flags & FERRY_MOVE_ALL) && !may_move_all())
		return -EPERM;
	return 0;
}

static bool is_seed(unsigned flags)
{
	uint32_t machine = ferry_door.machine->contract;

	if (flags & FLAGS_CONTRACT)
		return (flags & FERRY_CONTRACT_SEED) != 0;
	return machine == FERRY_CONTRACT_SEED_ALL;
}

struct call {
	size_t count;
	void *const *pages;
	const int *nodes;
	int *status;
	uint8_t *reasons;
	unsigned flags;
};

/* --- answers -------------------------------------------------------------------------- */

/* What this thread did to its mappings has been read by a handler, but may not be in the books
 * yet. */
static void wait_until_settled(void)
{
	for (uint32_t tries = 0; ferry_door_is_open(); tries++) {
		uint32_t never = 0, settling;

		settling = __atomic_load_n(&ferry_door_read_books()->settling, __ATOMIC_ACQUIRE);
		ferry_door_leave_books();
		if (!settling)
			return;
		if (tries < SETTLE_YIELDS)
			ferry_sys0(SYS_sched_yield);
		else
			ferry_futex_wait(&never, 0, SETTLE_NS);
	}
}

/* Books, and the labels of objects. The books stay mapped until query_end(). */
static struct ferry_query query_begin(void)
{
	struct ferry_query query = {ferry_door_read_books(), ferry_door.labels};

	return query;
}

static void query_end(void)
{
	ferry_door_leave_books();
}

static void query_books(struct arrays *a, size_t count)
{
	const struct ferry_query query = query_begin();

	ferry_query_pages(&query, count, a->at.pages, a->at.status, a->at.reasons);
	query_end();
}

static bool has_unmanaged(const struct arrays *a, size_t count)
{
	return memchr(a->at.reasons, FERRY_REASON_UNMANAGED, count) != NULL;
}

/* Pages of objects that another process has touched a moment ago get their labels. */
static void settle_labels(const struct arrays *a, size_t count)
{
	uint64_t first = UINT64_MAX, last = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t page = ferry_page_down(ferry_untag(a->at.pages[i]));

		if (!ferry_by_host_is_unlabelled(&a->at.status[i], 1))
			continue;
		first = page < first ? page : first;
		last = page > last ? page : last;
	}
	(void)ferry_door_ask(FERRY_REQUEST_SETTLE, first, last + FERRY_PAGE_SIZE, 0, 0);
}

static void query(struct arrays *a, size_t count)
{
	wait_until_settled();
	query_books(a, count);
	/* It may be memory that libc mapped for itself a moment ago. */
	if (has_unmanaged(a, count)) {
		(void)ferry_door_ask(FERRY_REQUEST_SCAN, 0, 0, 0, 0);
		query_books(a, count);
	}
	if (ferry_by_host_is_unlabelled(a->at.status, count)) {
		settle_labels(a, count);
		query_books(a, count);
	}
	ferry_by_host_pages(&(struct ferry_by_host){.machine = ferry_door.machine}, count,
			    a->at.pages, a->at.status, a->at.reasons);
}

static void need_movers(void)
{
	while (__atomic_load_n(&ferry_door.movers, __ATOMIC_ACQUIRE) < 2) {
		if (ferry_door_ask(FERRY_REQUEST_MOVERS, 0, 0, 0, 0))
			return;
	}
}

static int64_t move(struct arrays *a, size_t count, unsigned flags)
{
	wait_until_settled();
	query_books(a, count);
	if (has_unmanaged(a, count))
		(void)ferry_door_ask(FERRY_REQUEST_SCAN, 0, 0, 0, 0);
	need_movers();
	a->call = (struct ferry_move_call){
		.count = count,
		.pages = a->at.pages,
		.nodes = a->at.nodes,
		.status = a->at.status,
		.reasons = a->at.reasons,
		.seed = is_seed(flags),
		.move_all = (flags & FERRY_MOVE_ALL) != 0,
	};
	return ferry_door_ask(FERRY_REQUEST_MOVE_PAGES, (uint64_t)(uintptr_t)&a->call, 0, 0, 0);
}

static int copy_in(struct arrays *a, const struct call *c)
{
	int err = ferry_user_read(a->at.pages, c->pages, c->count * sizeof(a->at.pages[0]));

	if (!err && c->nodes) {
		err = ferry_user_read(a->at.nodes, c->nodes, c->count * sizeof(a->at.nodes[0]));
		if (!err)
			err = ferry_user_probe(c->status, c->count * sizeof(a->at.status[0]));
		if (!err && c->reasons)
			err = ferry_user_probe(c->reasons, c->count);
	}
	return err;
}

static int copy_out(const struct arrays *a, const struct call *c)
{
	int err = ferry_user_write(c->status, a->at.status, c->count * sizeof(a->at.status[0]));

	if (!err && c->reasons)
		err = ferry_user_write(c->reasons, a->at.reasons, c->count);
	return err;
}

/* A query, piece by piece through one small buffer, which stays in the cache. => 0, -errno. */
static int64_t query_call(const struct call *c)
{
	size_t room = c->count < QUERY_PAGES ? c->count : QUERY_PAGES;
	struct buffer buffer;
	int err = take_buffer(&buffer, arrays_bytes(room));

	if (err)
		return err;
	for (size_t at = 0; at < c->count && !err; at += room) {
		struct call piece = *c;
		struct arrays *a;

		piece.count = c->count - at < room ? c->count - at : room;
		piece.pages = c->pages + at;
		piece.status = c->status + at;
		piece.reasons = c->reasons ? c->reasons + at : NULL;
		a = lay_arrays(&buffer, piece.count);
		err = copy_in(a, &piece);
		if (!err) {
			query(a, piece.count);
			err = copy_out(a, &piece);
		}
	}
	give_buffer(&buffer);
	return err;
}

/* A move, all arrays at once. => pages not moved, or -errno. */
static int64_t move_call(const struct call *c)
{
	struct buffer buffer;
	struct arrays *a;
	int64_t ret;
	int err = take_buffer(&buffer, arrays_bytes(c->count));

	if (err)
		return err;
	a = lay_arrays(&buffer, c->count);
	ret = copy_in(a, c);
	if (!ret) {
		ret = move(a, c->count, c->flags);
		/* -ENOENT (seed) and -ENOMEM (linux, target full) come with statuses */
		if (ret >= 0 || ret == -ENOENT || ret == -ENOMEM) {
			err = copy_out(a, c);
			ret = err ? err : ret;
		}
	}
	give_buffer(&buffer);
	return ret;
}

/* The whole call on the own process. => pages not moved, or -errno. */
static int64_t call_own(const struct call *c)
{
	int err = check_flags(c->flags);

	if (err)
		return err;
	if (!ferry_door_is_open())
		return -ESRCH;
	if (c->count > ferry_door.machine->max_count)
		return -E2BIG;
	if (c->count == 0)
		return c->nodes && is_seed(c->flags) ? -ENOENT : 0;
	if (!c->pages || !c->status)
		return -EFAULT;
	return c->nodes ? move_call(c) : query_call(c);
}

/* --- the door of unmodified programs -------------------------------------------------- */

/* Another process is the client library's affair (it talks to the keeper); without it in the
 * program, the kernel's own answer would name the wrong nodes. */
static int64_t call_other(int pid, const struct call *c)
{
	const struct ferry_remote_call other = {
		.count = c->count,
		.pages = c->pages,
		.nodes = c->nodes,
		.status = c->status,
		.flags = c->flags,
	};

	return ferry_remote_move_pages(pid, &other);
}

static int64_t move_pages_linux(int pid, const struct call *given)
{
	struct call c = *given;
	int err = check_flags(c.flags);

	if (c.flags & FLAGS_CONTRACT)
		err = -EINVAL;
	if (err)
		return err;
	c.flags |= ferry_door.machine->contract == FERRY_CONTRACT_SEED_ALL ? FERRY_CONTRACT_SEED :
									     FERRY_CONTRACT_LINUX;
	if (pid == 0 || pid == ferry_door.pid)
		return call_own(&c);
	return call_other(pid, &c);
}

static long set_errno(int64_t result)
{
	if (result < 0) {
		errno = (int)-result;
		return -1;
	}
	return (long)result;
}

static bool is_ours(void)
{
	return ferry_door_is_open() && ferry_sys0(SYS_getpid) == ferry_door.pid;
}

long move_pages(int pid, unsigned long count, void **pages, const int *nodes, int *status,
		int flags);
FERRY_EXPORT long move_pages(int pid, unsigned long count, void **pages, const int *nodes,
			     int *status, int flags)
{
	struct call c = {count, pages, nodes, status, NULL, (unsigned)flags};

	if (!is_ours())
		return set_errno(ferry_sys6(SYS_move_pages, pid, (long)count, (long)pages,
					    (long)nodes, (long)status, flags));
	return set_errno(move_pages_linux(pid, &c));
}

/* --- the door of the public library --------------------------------------------------- */

static long interface_move_pages(size_t count, void *const *pages, const int *nodes, int *status,
				 uint8_t *reasons, unsigned flags)
{
	struct call c = {count, pages, nodes, status, reasons, flags};
	int err = check_flags(flags);

	if (err)
		return err;
	if (!is_ours())
		return -ESRCH;
	if (!(flags & FLAGS_CONTRACT))
		c.flags |= ferry_door.machine->contract == FERRY_CONTRACT_LINUX_ALL ?
				   FERRY_CONTRACT_LINUX :
				   FERRY_CONTRACT_SEED;
	return (long)call_own(&c);
}

struct range_buffer {
	struct ferry_range_call call;
	struct ferry_range_result result;
};

static void report_range(struct ferry_move_report *report, const struct range_buffer *r,
			 uint64_t elapsed_ns)
{
	struct ferry_move_report full = {
		.size = report->size,
		.asked_pages = r->result.asked_pages,
		.moved_pages = r->result.reasons[FERRY_REASON_MOVED],
		.elapsed_ns = elapsed_ns,
		.stopped = r->result.stopped,
	};
	size_t size = report->size < sizeof(full) ? report->size : sizeof(full);

	for (size_t i = 0; i < FERRY_ARRAY_SIZE(full.reasons) && i < FERRY_REASON_COUNT; i++)
		full.reasons[i] = r->result.reasons[i];
	memcpy(report, &full, size);
}

static bool all_there(const struct ferry_range_result *result)
{
	return result->reasons[FERRY_REASON_MOVED] + result->reasons[FERRY_REASON_THERE] >=
	       result->asked_pages;
}

static int range_call(struct ferry_range_call *call, const void *start, size_t len_bytes, int node,
		      const struct ferry_move_options *options)
{
	ferry_va first = ferry_page_down((ferry_va)(uintptr_t)start);
	ferry_va end = ferry_page_up((ferry_va)(uintptr_t)start + len_bytes);
	unsigned flags = options ? options->flags : 0;
	uint32_t nodes = ferry_door.machine->node_count;

	if (end <= first || (options && options->size < sizeof(options->size)))
		return -EINVAL;
	memset(call, 0, sizeof(*call));
	call->start = first;
	call->end = end;
	call->target = node;
	call->move_all = (flags & FERRY_MOVE_ALL) != 0;
	call->seed = is_seed(flags);
	call->stall_budget_ns = options ? options->max_pause_ns : 0;
	ferry_nodeset_fill(&call->from, nodes);
	return options && options->from && ferry_nodeset_parse(&call->from, options->from, nodes) ?
		       -EINVAL : 0;
}

static uint64_t count_range(const struct ferry_range_call *call)
{
	const struct ferry_query query = query_begin();
	uint64_t pages = ferry_range_count(&query, call);

	query_end();
	return pages;
}

/*
 * progress() and the rate are between two pieces of the range: the callback must run on the
 * caller's thread, where no lock is held.
 */
enum { PIECE_BYTES = 64 << 20, RATE_PIECE_BYTES = 1 << 20 };

struct range_run {
	const struct ferry_move_options *options;
	struct range_buffer *r;
	struct ferry_range_result sum;
	uint64_t started_ns;
	uint64_t asked_pages;
};

static void add_result(struct ferry_range_result *sum, const struct ferry_range_result *piece)
{
	for (int i = 0; i < FERRY_REASON_COUNT; i++)
		sum->reasons[i] += piece->reasons[i];
	sum->asked_pages += piece->asked_pages;
}

/* => true: stop. */
static bool between_pieces(const struct range_run *run)
{
	const struct ferry_move_options *o = run->options;
	uint64_t done = run->sum.asked_pages;

	if (o && o->bytes_per_second) {
		uint64_t due = run->started_ns +
			       (uint64_t)((double)done * FERRY_PAGE_SIZE /
					  (double)o->bytes_per_second * 1e9);
		uint64_t now = ferry_clock_ns();
		uint32_t never = 0;

		if (due > now)
			ferry_futex_wait(&never, 0, due - now);
	}
	return o && o->progress && o->progress(o->context, done, run->asked_pages) != 0;
}

static int run_range(struct range_run *run)
{
	struct range_buffer *r = run->r;
	const struct ferry_move_options *o = run->options;
	ferry_va start = r->call.start, end = r->call.end;
	ferry_va piece = !o || (!o->progress && !o->bytes_per_second) ? end - start :
			 o->bytes_per_second ? (ferry_va)RATE_PIECE_BYTES : (ferry_va)PIECE_BYTES;
	int64_t ret = 0;

	for (ferry_va at = start; at < end && !ret && !run->sum.stopped; at = r->call.end) {
		r->call.start = at;
		r->call.end = end - at > piece ? at + piece : end;
		memset(&r->result, 0, sizeof(r->result));
		ret = ferry_door_ask(FERRY_REQUEST_MOVE_RANGE, (uint64_t)(uintptr_t)&r->call,
				     (uint64_t)(uintptr_t)&r->result, 0, 0);
		add_result(&run->sum, &r->result);
		run->sum.stopped = between_pieces(run) && r->call.end < end;
	}
	r->result = run->sum;
	return (int)ret;
}

static int interface_move_range(const void *start, size_t len_bytes, int node,
				const struct ferry_move_options *options,
				struct ferry_move_report *report)
{
	unsigned flags = options ? options->flags : 0;
	struct range_run run = {.options = options};
	struct buffer buffer;
	int err = check_flags(flags);

	if (err)
		return err;
	if (!is_ours())
		return -ESRCH;
	err = take_buffer(&buffer, sizeof(struct range_buffer));
	if (err)
		return err;
	run.r = (struct range_buffer *)(void *)buffer.memory;
	run.started_ns = ferry_clock_ns();
	err = range_call(&run.r->call, start, len_bytes, node, options);
	if (!err) {
		wait_until_settled();
		(void)ferry_door_ask(FERRY_REQUEST_SCAN, 0, 0, 0, 0);
		need_movers();
		run.asked_pages = count_range(&run.r->call);
		err = run_range(&run);
		if (report)
			report_range(report, run.r, ferry_clock_ns() - run.started_ns);
		if (!err)
			err = all_there(&run.r->result) && !run.sum.stopped ? 0 : 1;
	}
	give_buffer(&buffer);
	return err;
}

enum { QUERY_BLOCK = 1 << 18 };

static void query_block(ferry_va start, size_t count, int32_t *status)
{
	struct ferry_query query = query_begin();

	ferry_query_consecutive(&query, start, count, status);
	query_end();
	if (ferry_by_host_is_unlabelled(status, count)) {
		(void)ferry_door_ask(FERRY_REQUEST_SETTLE, start,
				     start + count * FERRY_PAGE_SIZE, 0, 0);
		query = query_begin();
		ferry_query_consecutive(&query, start, count, status);
		query_end();
	}
	ferry_by_host_consecutive(&(struct ferry_by_host){.machine = ferry_door.machine}, start,
				  count, status);
}

static int interface_query_range(const void *start, size_t count, int *status)
{
	ferry_va at = ferry_page_down((ferry_va)(uintptr_t)start);
	struct buffer buffer;
	int err;

	if (!is_ours())
		return -ESRCH;
	if (count && (!status || count > SIZE_MAX / sizeof(status[0])))
		return -EFAULT;
	err = take_buffer(&buffer,
			  (count < QUERY_BLOCK ? count : QUERY_BLOCK) * sizeof(status[0]) + 1);
	if (err)
		return err;
	wait_until_settled();
	for (size_t done = 0; done < count && !err;) {
		size_t block = count - done < QUERY_BLOCK ? count - done : QUERY_BLOCK;

		query_block(at + done * FERRY_PAGE_SIZE, block, (int32_t *)(void *)buffer.memory);
		err = ferry_user_write(status + done, buffer.memory, block * sizeof(status[0]));
		done += block;
	}
	give_buffer(&buffer);
	return err;
}

static int interface_nodes(struct ferry_node_info *info, size_t max)
{
	const struct ferry_node *nodes;
	uint32_t count;

	if (!is_ours())
		return -ESRCH;
	nodes = ferry_machine_nodes(ferry_door.machine);
	count = ferry_door.machine->node_count;
	for (uint32_t i = 0; i < count && i < max; i++) {
		info[i] = (struct ferry_node_info){
			.node = (int)i,
			.capacity_bytes = nodes[i].capacity_pages * FERRY_PAGE_SIZE,
			.used_bytes = __atomic_load_n(&nodes[i].leased_pages, __ATOMIC_RELAXED) *
				      FERRY_PAGE_SIZE,
			.over_bytes = __atomic_load_n(&nodes[i].over_pages, __ATOMIC_RELAXED) *
				      FERRY_PAGE_SIZE,
		};
	}
	return (int)count;
}

extern const struct ferry_runtime_interface ferry_runtime_interface;
FERRY_EXPORT const struct ferry_runtime_interface ferry_runtime_interface = {
	.version = FERRY_RUNTIME_INTERFACE_VERSION,
	.move_pages = interface_move_pages,
	.move_range = interface_move_range,
	.query_range = interface_query_range,
	.nodes = interface_nodes,
	.dial = ferry_preload_dial,
};
