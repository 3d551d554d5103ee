/* SPDX-License-Identifier: MIT */
/*
 * Shared memory on nodes: each kind of object, by the contract of Linux but for what the documents
 * say. Run as `objects`, as `objects look NAME` (from itself), or as `objects touch NAME`.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/wait.h>

#include "live.h"

enum { PAGES = 64, BYTES = PAGES * PAGE, AROUND = 16 };

static void *pages_of(void **pages, char *memory, size_t count)
{
	for (size_t i = 0; i < count; i++)
		pages[i] = memory + i * PAGE;
	return pages;
}

static long move(pid_t pid, void *memory, size_t count, int node, int *status, unsigned flags)
{
	void *pages[PAGES];
	int nodes[PAGES];

	for (size_t i = 0; i < count; i++)
		nodes[i] = node;
	pages_of(pages, memory, count);
	return ferry_move_pages(pid, count, pages, nodes, status, flags | FERRY_CONTRACT_LINUX);
}

static void expect_all(const int *status, size_t count, int want, int line)
{
	for (size_t i = 0; i < count; i++)
		REQUIRE(status[i] == want, "line %d: status[%zu] is %d, not %d", line, i, status[i],
			want);
}

static void expect_node(void *memory, size_t count, int want, int line)
{
	void *pages[PAGES];
	int status[PAGES], range[PAGES];

	LIVE_EXPECT(ferry_move_pages(0, count, pages_of(pages, memory, count), NULL, status, 0), 0);
	expect_all(status, count, want, line);
	LIVE_EXPECT(ferry_query_range(0, memory, count, range), 0);
	expect_all(range, count, want, line);
}

#define EXPECT_NODE(memory, count, want) expect_node(memory, count, want, __LINE__)
#define EXPECT_ALL(status, count, want)  expect_all(status, count, want, __LINE__)

static void fill(char *memory, size_t count)
{
	for (size_t i = 0; i < count; i++)
		memset(memory + i * PAGE, (int)(i + 1), PAGE);
}

static void expect_filled(const char *memory, size_t count)
{
	for (size_t i = 0; i < count; i++)
		REQUIRE(memory[i * PAGE] == (char)(i + 1) &&
				memory[i * PAGE + PAGE - 1] == (char)(i + 1),
			"page %zu is wrong", i);
}

static void move_to(void *memory, size_t count, int node, unsigned flags)
{
	int status[PAGES];

	LIVE_EXPECT(move(0, memory, count, node, status, flags), 0);
	EXPECT_ALL(status, count, node);
	EXPECT_NODE(memory, count, node);
}

static int nodes;

/* Touched here first, moved, and as it was. */
static void exercise(char *memory, const char *what)
{
	int status[PAGES];

	fprintf(stderr, "%s\n", what);
	EXPECT_NODE(memory, PAGES, -ENOENT);
	LIVE_EXPECT(move(0, memory, PAGES, 1, status, FERRY_MOVE), 0);
	EXPECT_ALL(status, PAGES, -ENOENT);
	fill(memory, PAGES);
	EXPECT_NODE(memory, PAGES, 0);
	move_to(memory, PAGES, 1, FERRY_MOVE);
	move_to(memory + PAGE, 3, 2, FERRY_MOVE);
	EXPECT_NODE(memory, 1, 1);
	EXPECT_NODE(memory + 4 * PAGE, 1, 1);
	move_to(memory, PAGES, 2, FERRY_MOVE);
	expect_filled(memory, PAGES);
}

static void *map_anonymous(void)
{
	void *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	REQUIRE(memory != MAP_FAILED, "mmap");
	return memory;
}

static void *map_fd(int fd, int prot)
{
	void *memory = mmap(NULL, BYTES, prot, MAP_SHARED, fd, 0);

	REQUIRE(memory != MAP_FAILED, "mmap");
	return memory;
}

static int make_memfd(const char *name, unsigned flags)
{
	int fd = memfd_create(name, MFD_CLOEXEC | flags);

	REQUIRE(fd >= 0 && ftruncate(fd, BYTES) == 0, "memfd_create");
	return fd;
}

/* --- several processes ---------------------------------------------------------------------- */

static void wait_for(pid_t child)
{
	int status;

	REQUIRE(waitpid(child, &status, 0) == child && status == 0, "a child failed: %x", status);
}

static void tell(int fd)
{
	REQUIRE(write(fd, "x", 1) == 1, "write");
}

static void hear(int fd)
{
	char c;

	REQUIRE(read(fd, &c, 1) == 1, "read");
}

/* A child that touches some of its parent's pages, and lives on. */
static void with_a_child(char *memory)
{
	int up[2], down[2], status[PAGES];
	pid_t child;

	REQUIRE(pipe(up) == 0 && pipe(down) == 0, "pipe");
	move_to(memory, PAGES, 0, FERRY_MOVE);
	child = fork();
	if (child == 0) {
		expect_filled(memory + (size_t)0, PAGES / 2);
		tell(up[1]);
		hear(down[0]);
		EXPECT_NODE(memory, PAGES / 2, 2);
		/* Two mappings here are one address space. */
		tell(up[1]);
		hear(down[0]);
		_exit(0);
	}
	hear(up[0]);
	LIVE_EXPECT(move(0, memory, PAGES, 1, status, FERRY_MOVE), 0);
	EXPECT_ALL(status, PAGES / 2, -EACCES);
	/* The kernel may have mapped neighbours of what the child read. */
	EXPECT_ALL(status + PAGES / 2 + AROUND, PAGES / 2 - AROUND, 1);
	LIVE_EXPECT(move(0, memory, PAGES, 0, status, FERRY_MOVE), 0);
	EXPECT_ALL(status, PAGES, 0); /* on their target: nobody is asked */
	move_to(memory, PAGES, 2, FERRY_MOVE_ALL);
	tell(down[1]);
	hear(up[0]);
	/* Through the child's pid. */
	LIVE_EXPECT(move(child, memory, PAGES / 2, 1, status, FERRY_MOVE), 0);
	EXPECT_ALL(status, PAGES / 2, -EACCES);
	LIVE_EXPECT(move(child, memory, PAGES / 2, 1, status, FERRY_MOVE_ALL), 0);
	EXPECT_ALL(status, PAGES / 2, 1);
	EXPECT_NODE(memory, PAGES / 2, 1);
	tell(down[1]);
	wait_for(child);
	move_to(memory, PAGES, 0, FERRY_MOVE);
	expect_filled(memory, PAGES);
}

static void mapped_twice(int fd, char *memory)
{
	char *other = map_fd(fd, PROT_READ | PROT_WRITE);

	expect_filled(other, PAGES);
	move_to(memory, PAGES, 1, FERRY_MOVE);
	EXPECT_NODE(other, PAGES, 1);
	move_to(other, PAGES, 2, FERRY_MOVE);
	REQUIRE(munmap(other, BYTES) == 0, "munmap");
	EXPECT_NODE(memory, PAGES, 2);
}

static void remapped(int fd)
{
	char *memory = map_fd(fd, PROT_READ | PROT_WRITE);
	char *window = mmap(NULL, 4 * (size_t)BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect_filled(memory, PAGES);
	move_to(memory, PAGES, 1, FERRY_MOVE);
	move_to(memory, PAGES / 2, 2, FERRY_MOVE);
	REQUIRE(mremap(memory, BYTES, BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, window + BYTES) ==
			window + BYTES, "mremap");
	memory = window + BYTES;
	expect_filled(memory, PAGES);
	EXPECT_NODE(memory, PAGES / 2, 2);
	EXPECT_NODE(memory + BYTES / 2, PAGES / 2, 1);
	REQUIRE(munmap(memory + PAGE, PAGE) == 0, "munmap");
	EXPECT_NODE(memory + 2 * PAGE, PAGES / 2 - 2, 2);
	move_to(memory + 2 * PAGE, PAGES - 2, 0, FERRY_MOVE);
	REQUIRE(munmap(window, 4 * (size_t)BYTES) == 0, "munmap");
	memory = map_fd(fd, PROT_READ | PROT_WRITE);
	expect_filled(memory, PAGES);
	EXPECT_NODE(memory, 2, 2);
	EXPECT_NODE(memory + 2 * PAGE, PAGES - 2, 0);
	REQUIRE(munmap(memory, BYTES) == 0, "munmap");
}

static void sealed(void)
{
	int fd = make_memfd("sealed", MFD_ALLOW_SEALING), status[PAGES];
	char *memory = map_fd(fd, PROT_READ | PROT_WRITE);

	fprintf(stderr, "sealed\n");
	fill(memory, PAGES);
	move_to(memory, PAGES, 1, FERRY_MOVE);
	REQUIRE(munmap(memory, BYTES) == 0, "munmap");
	REQUIRE(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) == 0, "seals");
	memory = map_fd(fd, PROT_READ);
	expect_filled(memory, PAGES);
	EXPECT_NODE(memory, PAGES, 1);
	move_to(memory, PAGES, 2, FERRY_MOVE);
	expect_filled(memory, PAGES);
	/* Nobody tells of the end of this mapping: other memory is there afterwards. */
	REQUIRE(mmap(memory, BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == memory, "mmap");
	fill(memory, PAGES);
	EXPECT_NODE(memory, PAGES, 0);
	LIVE_EXPECT(move(0, memory, PAGES, 1, status, FERRY_MOVE), 0);
	EXPECT_ALL(status, PAGES, 1);
	expect_filled(memory, PAGES);
	REQUIRE(munmap(memory, BYTES) == 0, "munmap");
	close(fd);
}

static sigjmp_buf caught;

static void on_bus(int signal_number)
{
	(void)signal_number;
	siglongjmp(caught, 1);
}

static void truncated(void)
{
	int fd = make_memfd("cut", 0);
	char *memory = map_fd(fd, PROT_READ | PROT_WRITE);

	fprintf(stderr, "truncated\n");
	fill(memory, PAGES);
	move_to(memory, PAGES, 1, FERRY_MOVE);
	REQUIRE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, PAGE) == 0,
		"fallocate");
	EXPECT_NODE(memory + PAGE, 1, -ENOENT);
	EXPECT_NODE(memory, 1, 1);
	REQUIRE(memory[PAGE] == 0, "a hole is not zero");
	REQUIRE(madvise(memory + 2 * PAGE, PAGE, MADV_REMOVE) == 0, "madvise");
	REQUIRE(memory[2 * PAGE] == 0, "a hole is not zero");
	REQUIRE(ftruncate(fd, BYTES / 2) == 0, "ftruncate");
	EXPECT_NODE(memory + BYTES / 2, PAGES / 2, -ENOENT);
	signal(SIGBUS, on_bus);
	if (sigsetjmp(caught, 1) == 0) {
		memory[BYTES / 2] = 1;
		LIVE_FAIL("a write behind the end of a file goes through");
	}
	signal(SIGBUS, SIG_DFL);
	REQUIRE(ftruncate(fd, BYTES) == 0, "ftruncate");
	memory[BYTES / 2] = 1;
	move_to(memory + BYTES / 2, 1, 2, FERRY_MOVE);
	REQUIRE(munmap(memory, BYTES) == 0, "munmap");
	close(fd);
}

/* A test that fails leaves no segment behind. */
static pid_t start_janitor(int id, int *until)
{
	int ends[2];
	pid_t child;
	char c;

	REQUIRE(pipe(ends) == 0, "pipe");
	child = fork();
	if (child == 0) {
		close(ends[1]);
		(void)!read(ends[0], &c, 1);
		(void)shmctl(id, IPC_RMID, NULL);
		_exit(0);
	}
	close(ends[0]);
	fcntl(ends[1], F_SETFD, FD_CLOEXEC);
	*until = ends[1];
	return child;
}

static void system_v(void)
{
	int id = shmget(IPC_PRIVATE, BYTES, IPC_CREAT | 0600), until;
	pid_t janitor = start_janitor(id, &until);
	char *memory = id < 0 ? (void *)-1 : shmat(id, NULL, 0);

	REQUIRE(memory != (void *)-1, "shmat: %m");
	exercise(memory, "System V");
	with_a_child(memory);
	move_to(memory, PAGES, 1, FERRY_MOVE);
	REQUIRE(shmdt(memory) == 0, "shmdt");
	live_sleep_us(1500000); /* the keeper hears that nobody maps it */
	memory = shmat(id, NULL, 0);
	expect_filled(memory, PAGES);
	EXPECT_NODE(memory, PAGES, 1);
	REQUIRE(shmctl(id, IPC_RMID, NULL) == 0 && shmdt(memory) == 0, "shmctl");
	close(until);
	wait_for(janitor);
}

static void posix(const char *self)
{
	char name[64];
	int fd;
	char *memory;
	pid_t child;

	snprintf(name, sizeof(name), "/pageferry-test-%d", getpid());
	fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	REQUIRE(fd >= 0 && ftruncate(fd, BYTES) == 0, "shm_open");
	memory = map_fd(fd, PROT_READ | PROT_WRITE);
	exercise(memory, "POSIX");
	move_to(memory, PAGES, 1, FERRY_MOVE);
	REQUIRE(munmap(memory, BYTES) == 0 && close(fd) == 0, "munmap");
	/* It lives on by its name, for another program, too. */
	child = fork();
	if (child == 0) {
		execl(self, self, "look", name, (char *)NULL);
		_exit(127);
	}
	wait_for(child);
	fd = shm_open(name, O_RDWR, 0);
	memory = map_fd(fd, PROT_READ | PROT_WRITE);
	expect_filled(memory, PAGES);
	EXPECT_NODE(memory, PAGES, 2);
	REQUIRE(shm_unlink(name) == 0, "shm_unlink");
	move_to(memory, PAGES, 0, FERRY_MOVE);
	REQUIRE(munmap(memory, BYTES) == 0 && close(fd) == 0, "munmap");
}

static int look(const char *name)
{
	int fd = shm_open(name, O_RDWR, 0);
	char *memory = map_fd(fd, PROT_READ | PROT_WRITE);

	expect_filled(memory, PAGES);
	EXPECT_NODE(memory, PAGES, 1);
	move_to(memory, PAGES, 2, FERRY_MOVE);
	return 0;
}

static void memory_file(void)
{
	int fd = make_memfd("test", 0);
	char *memory = map_fd(fd, PROT_READ | PROT_WRITE);

	exercise(memory, "memfd");
	mapped_twice(fd, memory);
	REQUIRE(munmap(memory, BYTES) == 0, "munmap");
	live_sleep_us(1500000);
	memory = map_fd(fd, PROT_READ | PROT_WRITE);
	EXPECT_NODE(memory, PAGES, -ENOENT); /* in nobody's page table */
	expect_filled(memory, PAGES);
	EXPECT_NODE(memory, PAGES, 2);
	REQUIRE(munmap(memory, BYTES) == 0, "munmap");
	remapped(fd);
	close(fd);
}

/* --- where pages go, and what they cost ----------------------------------------------------- */

static uint64_t used_pages(int node)
{
	struct ferry_node_info info[8];

	REQUIRE(ferry_nodes(0, info, 8) == nodes, "ferry_nodes");
	return info[node].used_bytes / PAGE;
}

static void first_touch(void)
{
	enum { MANY = 4096 };
	size_t bytes = (size_t)MANY * PAGE;
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t before = used_pages(1);
	int *status = malloc(MANY * sizeof(*status));
	cpu_set_t cpus;

	fprintf(stderr, "first touch\n");
	REQUIRE(memory != MAP_FAILED && status != NULL, "mmap");
	CPU_ZERO(&cpus);
	CPU_SET(1, &cpus); /* of node 1 */
	REQUIRE(sched_setaffinity(0, sizeof(cpus), &cpus) == 0, "sched_setaffinity");
	for (size_t i = 0; i < bytes; i += PAGE)
		memory[i] = 1;
	live_stay_on_node_0();
	LIVE_EXPECT(ferry_query_range(0, memory, MANY, status), 0);
	for (size_t i = 0; i < MANY; i++)
		LIVE_EXPECT(status[i], 1);
	REQUIRE(used_pages(1) >= before + MANY - 64, "%llu pages of node 1 used, %llu before",
		(unsigned long long)used_pages(1), (unsigned long long)before);
	LIVE_EXPECT(ferry_move_range(0, memory, bytes, 2, NULL, NULL), 0);
	REQUIRE(used_pages(2) >= MANY, "node 2 is not charged");
	REQUIRE(munmap(memory, bytes) == 0, "munmap");
	for (int i = 0; i < 50 && used_pages(2) >= MANY; i++)
		live_sleep_us(100000);
	REQUIRE(used_pages(2) < MANY, "node 2 is charged for what is gone");
	free(status);
}

static void file_mapping(void)
{
	char name[] = "/tmp/pageferry-test-XXXXXX";
	int fd = mkstemp(name), status[PAGES];
	uint8_t reasons[PAGES];
	int target[PAGES];
	void *pages[PAGES];
	char *memory;

	fprintf(stderr, "files\n");
	REQUIRE(fd >= 0 && unlink(name) == 0 && ftruncate(fd, BYTES) == 0, "mkstemp");
	memory = map_fd(fd, PROT_READ | PROT_WRITE);
	fill(memory, PAGES / 2);
	pages_of(pages, memory, PAGES);
	LIVE_EXPECT(ferry_move_pages(0, PAGES, pages, NULL, status, 0), 0);
	EXPECT_ALL(status, PAGES / 2, 0);
	EXPECT_ALL(status + PAGES / 2, PAGES / 2, -ENOENT);
	for (size_t i = 0; i < PAGES; i++)
		target[i] = 1;
	LIVE_EXPECT(ferry_move_pages_reasons(0, PAGES, pages, target, status, reasons,
					     FERRY_MOVE | FERRY_CONTRACT_LINUX), PAGES / 2);
	EXPECT_ALL(status, PAGES / 2, -EBUSY);
	EXPECT_ALL(status + PAGES / 2, PAGES / 2, -ENOENT);
	LIVE_EXPECT(reasons[0], live_reason("unmanaged"));
	REQUIRE(munmap(memory, BYTES) == 0, "munmap");
	close(fd);
}

int main(int argc, char **argv)
{
	nodes = live_nodes();
	if (nodes < 3)
		return 0;
	live_watchdog(100);
	if (argc == 3)
		return look(argv[2]);
	live_stay_on_node_0();
	exercise(map_anonymous(), "anonymous");
	first_touch();
	memory_file();
	sealed();
	truncated();
	posix("/proc/self/exe");
	system_v();
	file_mapping();
	fprintf(stderr, "ok\n");
	return 0;
}
