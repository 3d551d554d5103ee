/* SPDX-License-Identifier: MIT */
/*
 * contract.c - the rows of the contract of move_pages(), each in a process of its own.
 *
 * usage: contract machine    by both contracts, inside a machine: nodes 0 and 1 with memory, SMALL
 *                            small enough to be filled up, MEMORYLESS without, OFFLINE, and
 *                            FORBIDDEN, which the run may not use (--mems)
 * usage: contract kernel     by that of Linux, bare, with the kernel's own call: real nodes 0 and 1
 *                            with memory, 2 without, 3, which the cpuset leaves out, and 4, which
 *                            is nearly full. One line for each row that it answers in another way.
 */
#define _GNU_SOURCE 1
#include "live.h"

#include <liburing.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "contract_rows.h"

enum {
	SAME = 0,
	DIFFERS = 2,
	SKIPPED = 77,
	KERNELS_MEMORYLESS = 2,
	KERNELS_FORBIDDEN = 3,
	KERNELS_SMALL = 4,
	FILL_BYTES = 64 << 20
};

enum mode { SEED, LINUX, KERNEL };
static const char *const mode_names[] = { "seed", "linux", "kernel" };

static enum mode mode;
static const struct row *row;
static char *entry[ENTRIES]; /* their pages */
static int targets[ENTRIES], status[ENTRIES];
static struct io_uring ring;
static int child_waits[2];

static size_t count(void)
{
	return strlen(row->pages);
}

static bool has(const char *states)
{
	return strpbrk(row->pages, states) != NULL;
}

/* Is there a page with a value that must stay? */
static bool is_written(char state)
{
	return strchr("WLPSRKMB", state) != NULL;
}

static long call(size_t n, void **where, const int *nodes, int *results, int flags)
{
	long result;

	if (mode != KERNEL)
		return ferry_move_pages(0, n, where, nodes, results,
					(unsigned)flags | (mode == SEED ? FERRY_CONTRACT_SEED
									: FERRY_CONTRACT_LINUX));
	result = syscall(SYS_move_pages, 0, n, where, nodes, results, flags);
	return result < 0 ? -errno : result;
}

static int where_is(char *page)
{
	void *address = page;
	int found = KEPT;

	REQUIRE(call(1, &address, NULL, &found, FERRY_MOVE) == 0, "a query fails");
	return found;
}

/* --- pages --------------------------------------------------------------------------------- */

static void skip(const char *why)
{
	printf("skipped %s (%s): %s\n", row->id, mode_names[mode], why);
	fflush(stdout);
	_exit(SKIPPED);
}

static void *wait_for_ever(void *ready)
{
	*(pthread_t *)ready = pthread_self();
	pause();
	return NULL;
}

/* The page of a thread's control block. */
static char *start_thread(void)
{
	static pthread_t self;
	pthread_t thread;

	REQUIRE(pthread_create(&thread, NULL, wait_for_ever, &self) == 0, "pthread_create");
	return (char *)((uintptr_t)thread & ~(uintptr_t)(PAGE - 1));
}

static char *map_object(void)
{
	char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	REQUIRE(page != MAP_FAILED, "mmap of shared memory");
	return page;
}

static char *map_file(void)
{
	char name[] = "/tmp/pageferry-contract-XXXXXX";
	int file = mkstemp(name);
	char *page;

	REQUIRE(file >= 0 && unlink(name) == 0 && ftruncate(file, PAGE) == 0, "a file");
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	REQUIRE(page != MAP_FAILED, "mmap of a file");
	page[0] = 1;
	return page;
}

static void pin(void)
{
	struct iovec pages[ENTRIES];
	unsigned n = 0;
	int error = io_uring_queue_init(4, &ring, 0);

	if (error != 0)
		skip("no io_uring");
	for (size_t i = 0; i < count(); i++)
		if (row->pages[i] == 'P')
			pages[n++] = (struct iovec){ .iov_base = entry[i], .iov_len = PAGE };
	REQUIRE(io_uring_register_buffers(&ring, pages, n) == 0, "no buffers");
}

static void protect(char *page, int protection)
{
	REQUIRE(mprotect(page, PAGE, protection) == 0, "mprotect");
}

static void make_page(char state, char *page)
{
	int key;

	switch (state) {
	case 'Z':
		REQUIRE(*(volatile char *)page == 0, "an untouched page is not zero");
		break;
	case 'D':
		REQUIRE(madvise(page, PAGE, MADV_DONTNEED) == 0, "MADV_DONTNEED");
		break;
	case 'U':
		REQUIRE(munmap(page, PAGE) == 0, "munmap");
		break;
	case 'L':
		if (mlock(page, PAGE) != 0)
			skip("mlock");
		break;
	case 'R':
		protect(page, PROT_READ);
		break;
	case 'N':
		protect(page, PROT_NONE);
		break;
	case 'K':
		key = pkey_alloc(0, 0);
		if (key < 0)
			skip("no protection keys");
		REQUIRE(pkey_mprotect(page, PAGE, PROT_READ | PROT_WRITE, key) == 0, "pkey");
		break;
	default:
		break;
	}
}

/* A child that shares what it does not write, and we do not write; pages of objects it touches. */
static void start_child(void)
{
	int touched[2];
	char none;

	REQUIRE(pipe(child_waits) == 0 && pipe(touched) == 0, "pipe");
	if (fork() == 0) {
		close(child_waits[1]);
		for (size_t i = 0; i < count(); i++) {
			if (row->pages[i] == 'B')
				REQUIRE(((volatile char *)entry[i])[8] == (char)(i + 1), "lost");
		}
		REQUIRE(write(touched[1], "x", 1) == 1, "write");
		(void)!read(child_waits[0], &none, 1);
		_exit(0);
	}
	close(child_waits[0]);
	REQUIRE(read(touched[0], &none, 1) == 1, "read");
	close(touched[0]);
	close(touched[1]);
}

static void write_page(size_t i)
{
	entry[i][8] = (char)(i + 1);
}

/* Each page lies alone: nothing is placed ahead of a touch beside it. */
static void map_pages(void)
{
	char *area = live_map_low((size_t)ENTRIES * 64 * PAGE);

	for (size_t i = 0; i < count(); i++) {
		char state = row->pages[i];

		entry[i] = state == 'T'   ? start_thread()
			   : state == 'X' ? map_file()
			   : strchr("MB", state) != NULL ? map_object()
			   : state == '=' ? entry[i - 1]
					  : area + i * 64 * PAGE;
	}
}

/* All of the small node but SMALL_PAGES. */
static void fill_small_node(void)
{
	struct ferry_node_info nodes[NODES];
	size_t bytes;
	char *area;

	REQUIRE(ferry_nodes(0, nodes, NODES) == NODES, "the test wants %d nodes", NODES);
	bytes = nodes[SMALL].capacity_bytes - (size_t)SMALL_PAGES * PAGE;
	area = live_map(bytes);
	memset(area, 1, bytes);
	REQUIRE(ferry_move_range(0, area, bytes, SMALL, NULL, NULL) == 0, "no filling");
}

static bool has_small_target(void)
{
	for (size_t i = 0; i < count(); i++) {
		if (row->nodes[i] == SMALL && (row->how & QUERY) == 0)
			return true;
	}
	return false;
}

static void to_node_0(char *page)
{
	void *address = page;
	int node = 0, found = KEPT;
	long result = call(1, &address, &node, &found, FERRY_MOVE);

	REQUIRE(found == 0, "a page is on %d, not on 0: %ld", found, result);
}

static void prepare(void)
{
	const char *states = row->pages;

	if (has_small_target() && mode != KERNEL)
		fill_small_node();
	map_pages();
	/* An agent that sleeps leaves it to the host what a read finds. */
	if (count() > 0)
		(void)where_is(entry[0]);
	for (size_t i = 0; i < count(); i++) {
		if (!is_written(states[i]) && strchr("ND", states[i]) == NULL)
			continue;
		write_page(i);
		to_node_0(entry[i]);
	}
	if (has("SB")) {
		start_child();
		/* Whoever is written to again is alone. */
		for (size_t i = 0; i < count(); i++) {
			if (strchr("SB", states[i]) == NULL && is_written(states[i])) {
				write_page(i);
				to_node_0(entry[i]);
			}
		}
	}
	if (has("P"))
		pin();
	for (size_t i = 0; i < count(); i++)
		make_page(states[i], entry[i]);
}

/* --- a row --------------------------------------------------------------------------------- */

static int real_node(int node)
{
	switch (mode == KERNEL ? node : 0) {
	case MEMORYLESS:
		return KERNELS_MEMORYLESS;
	case FORBIDDEN:
		return KERNELS_FORBIDDEN;
	case SMALL:
		return KERNELS_SMALL;
	case OFFLINE:
	case NOT_THERE:
		return 60;
	default:
		break;
	}
	return node;
}

static bool is_as_expected(long result, const struct expected *want, const int *told)
{
	bool same = result == want->result;

	for (size_t i = 0; i < count(); i++)
		same = same && told[i] == want->status[i];
	return same;
}

/* What was said is true, and nothing is lost. */
static void check_pages(const int *told, const int *before)
{
	for (size_t i = 0; i < count(); i++) {
		char state = row->pages[i];
		int found = strchr("=U", state) != NULL ? KEPT : where_is(entry[i]);

		if (mode != KERNEL && told[i] >= 0 && told[i] != KEPT && found != KEPT)
			REQUIRE(found == told[i], "%s: entry %zu is on %d, not on %d as was said",
				row->id, i, found, told[i]);
		if (mode != KERNEL && told[i] == KEPT && found != KEPT)
			REQUIRE(found == before[i], "%s: entry %zu went from %d to %d", row->id, i,
				before[i], found);
		if (is_written(state))
			REQUIRE(entry[i][8] == (char)(i + 1), "%s: entry %zu is lost", row->id, i);
	}
}

static int try_row(void)
{
	const struct expected *want = mode == SEED ? &row->seed : &row->linux;
	int *told = (row->how & ALIAS) != 0 ? targets : status;
	int before[ENTRIES] = { 0 };
	void *where[ENTRIES];
	long result;

	if (has(mode == LINUX ? "KPRL" : "KPR") && live_evicts() && mode != KERNEL)
		skip("another answer, where pages leave by eviction");
	if (has("S") && has_small_target() && mode != KERNEL)
		skip("the child's copies take the room as well");
	for (size_t i = 0; i < count(); i++) {
		targets[i] = real_node(row->nodes[i]);
		status[i] = KEPT;
	}
	prepare();
	for (size_t i = 0; i < count(); i++) {
		uintptr_t address = (uintptr_t)entry[i];

		before[i] = strchr("=U", row->pages[i]) != NULL ? KEPT : where_is(entry[i]);
		address += (row->how & OFFSET) != 0 ? 4095 - 7 * i : 0;
		address |= (row->how & TAGGED) != 0 ? UINT64_C(0x55) << 57 : 0;
		where[i] = (void *)address;
	}
	result = call(count(), where, (row->how & QUERY) != 0 ? NULL : targets, told,
		      (row->how & ALL) != 0 ? (int)FERRY_MOVE_ALL : (int)FERRY_MOVE);
	if (!is_as_expected(result, want, told)) {
		fprintf(stderr, "differs %s (%s): %ld", row->id, mode_names[mode], result);
		for (size_t i = 0; i < count(); i++)
			fprintf(stderr, " %d", told[i]);
		fputc('\n', stderr);
		_exit(DIFFERS);
	}
	check_pages(told, before);
	return SAME;
}

/* --- all rows ------------------------------------------------------------------------------ */

/* Those before have left the small node. */
static void await_small_node(void)
{
	uint64_t deadline = live_now_ns() + UINT64_C(5000000000) * live_slow();
	struct ferry_node_info nodes[NODES];

	do {
		REQUIRE(ferry_nodes(0, nodes, NODES) == NODES, "the test wants %d nodes", NODES);
		REQUIRE(live_now_ns() < deadline, "the small node is not empty");
		if (nodes[SMALL].used_bytes != 0)
			live_sleep_us(1000);
	} while (nodes[SMALL].used_bytes != 0);
}

/* Takes what is left of the kernel's small node, for as long as we run. */
static void fill_kernels_small_node(void)
{
	char *area = live_map(FILL_BYTES);
	size_t moved = 0;
	int target = KERNELS_SMALL, found = KEPT;

	for (size_t at = 0; at < FILL_BYTES && found != -ENOMEM; at += PAGE) {
		void *where = area + at;
		long result;

		area[at] = 1;
		found = KEPT;
		result = syscall(SYS_move_pages, 0, 1, &where, &target, &found, FERRY_MOVE);
		if (result < 0)
			found = -errno;
		moved += found == target;
	}
	REQUIRE(found == -ENOMEM, "node %d is not full with %zu pages: %d", target, moved, found);
	printf("%zu pages fill node %d\n", moved, target);
}

static int run_row(size_t index, enum mode its_mode)
{
	char number[24];
	int ended = 0;
	pid_t pid;

	if (its_mode != KERNEL)
		await_small_node();
	snprintf(number, sizeof(number), "%zu", index);
	pid = fork();
	REQUIRE(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		execl("/proc/self/exe", "contract", "row", number, mode_names[its_mode],
		      (char *)NULL);
		_exit(127);
	}
	REQUIRE(waitpid(pid, &ended, 0) == pid && WIFEXITED(ended), "row %s (%s) ended with %#x",
		rows[index].id, mode_names[its_mode], (unsigned)ended);
	return WEXITSTATUS(ended);
}

static int run_rows(bool kernel)
{
	unsigned same = 0, differs = 0, skipped = 0;

	if (kernel)
		fill_kernels_small_node();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int m = kernel ? KERNEL : SEED; m <= (kernel ? KERNEL : LINUX); m++) {
			int result = run_row(i, (enum mode)m);

			REQUIRE(result == SAME || result == DIFFERS || result == SKIPPED,
				"row %s (%s) failed", rows[i].id, mode_names[m]);
			same += result == SAME;
			differs += result == DIFFERS;
			skipped += result == SKIPPED;
		}
	}
	printf("%u rows as expected, %u not, %u skipped\n", same, differs, skipped);
	return kernel || differs == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	live_watchdog(300);
	live_stay_on_node_0();
	if (argc == 2)
		return run_rows(strcmp(argv[1], "kernel") == 0);
	REQUIRE(argc == 4, "usage: contract machine|kernel");
	row = &rows[strtoul(argv[2], NULL, 10)];
	while (strcmp(argv[3], mode_names[mode]) != 0)
		mode++;
	return try_row();
}
