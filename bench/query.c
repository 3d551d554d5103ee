/* SPDX-License-Identifier: MIT */
/*
 * query.c - where are 1 Mi pages? By range, by array, and by the kernel's own move_pages(2).
 *
 * usage: query [REPEATS]    on a machine with more than 4 GiB in all
 */
#define _GNU_SOURCE 1
#include "bench.h"

enum { PAGES = 1 << 20 };

/* The kernel's call, past everything that stands in front of libc's. */
static long kernel_query(void **pages, int *status)
{
	register long flags __asm__("r9") = 0;
	register int *r_status __asm__("r8") = status;
	register long nodes __asm__("r10") = 0;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"((long)SYS_move_pages), "D"(0L), "S"((long)PAGES), "d"(pages),
			   "r"(nodes), "r"(r_status), "r"(flags)
			 : "rcx", "r11", "memory");
	return result;
}

int main(int argc, char **argv)
{
	int repeats = argc > 1 ? atoi(argv[1]) : 5;
	char *area = bench_map((size_t)PAGES * PAGE);
	void **pages = bench_map(PAGES * sizeof(*pages));
	int *status = bench_map(PAGES * sizeof(*status));
	struct bench_span span;
	long result;

	for (size_t i = 0; i < PAGES; i++) {
		area[i * PAGE] = 1;
		pages[i] = area + i * PAGE;
		status[i] = 1;
	}
	for (int i = 0; i < repeats; i++) {
		span = bench_start(0);
		result = kernel_query(pages, status);
		if (result != 0 || status[PAGES - 1] != 0)
			bench_fail("move_pages(2)", result);
		bench_print("query-kernel", bench_end(span, 0), PAGES);
		span = bench_start(0);
		result = ferry_query_range(0, area, PAGES, status);
		if (result != 0 || status[PAGES - 1] < 0)
			bench_fail("ferry_query_range", result);
		bench_print("query-range", bench_end(span, 0), PAGES);
		span = bench_start(0);
		result = ferry_move_pages(0, PAGES, pages, NULL, status, 0);
		if (result != 0 || status[PAGES - 1] < 0)
			bench_fail("ferry_move_pages", result);
		bench_print("query-array", bench_end(span, 0), PAGES);
	}
	return 0;
}
