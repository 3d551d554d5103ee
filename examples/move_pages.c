/* SPDX-License-Identifier: MIT */
/*
 * move_pages.c - moves its own pages between memory nodes by the plain system call.
 *
 * Nothing here knows of pageferry: the same binary runs on bare Linux, where an ordinary machine
 * has node 0 only, and inside `pageferry run --nodes 3`, where it finds three nodes.
 *
 * Eight pages are mapped. Two are left alone: one is never touched, one is only read. The others
 * are written, then moved to one node after another until the kernel, or pageferry, says ENODEV.
 * For each step the status of every page is printed, and the contents are checked.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGES = 8, UNTOUCHED = 2, ONLY_READ = 5, MOVE = 2 /* MPOL_MF_MOVE */ };

static long move_pages(void **pages, const int *nodes, int *status)
{
	return syscall(SYS_move_pages, 0, (unsigned long)PAGES, pages, nodes, status, MOVE);
}

static void print_statuses(const char *what, const int *status)
{
	printf("%-14s", what);
	for (int i = 0; i < PAGES; i++) {
		if (status[i] >= 0)
			printf(" %8d", status[i]);
		else
			printf(" %8s", strerrorname_np(-status[i]));
	}
	printf("\n");
}

static void fill(char *memory, size_t page_size)
{
	for (int i = 0; i < PAGES; i++) {
		if (i != UNTOUCHED && i != ONLY_READ)
			memset(memory + (size_t)i * page_size, 'a' + i, page_size);
	}
}

/* => number of bytes that are not what was written. */
static size_t count_wrong(const char *memory, size_t page_size)
{
	size_t wrong = 0;

	for (int i = 0; i < PAGES; i++) {
		char want = i == ONLY_READ ? 0 : (char)('a' + i);

		for (size_t at = 0; i != UNTOUCHED && at < page_size; at++)
			wrong += memory[(size_t)i * page_size + at] != want;
	}
	return wrong;
}

/* Moves all pages to node. => 0, -ENODEV: there is no such node, -errno. */
static int step(void **pages, int node)
{
	int nodes[PAGES], status[PAGES];
	char title[32];

	for (int i = 0; i < PAGES; i++)
		nodes[i] = node;
	if (move_pages(pages, nodes, status) < 0)
		return -errno;
	snprintf(title, sizeof(title), "move to %d", node);
	print_statuses(title, status);
	if (move_pages(pages, NULL, status) < 0)
		return -errno;
	print_statuses("  they are on", status);
	return 0;
}

int main(void)
{
	size_t page_size = (size_t)sysconf(_SC_PAGESIZE);
	char *memory = mmap(NULL, PAGES * page_size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *pages[PAGES];
	int node, result;

	if (memory == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	for (int i = 0; i < PAGES; i++)
		pages[i] = memory + (size_t)i * page_size;
	fill(memory, page_size);
	if (count_wrong(memory, page_size) != 0)
		return 1;
	for (node = 0; (result = step(pages, node)) == 0; node++)
		continue;
	if (result != -ENODEV || node == 0) {
		fprintf(stderr, "move_pages: %s\n", strerror(-result));
		return 1;
	}
	printf("%d nodes; %zu bytes wrong\n", node, count_wrong(memory, page_size));
	return count_wrong(memory, page_size) != 0;
}
