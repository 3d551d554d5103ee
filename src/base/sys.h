/* SPDX-License-Identifier: MIT */
/*
 * sys.h - the table of system calls: the only door from our own code in a program to its host.
 *
 * Raw calls that return -errno and touch neither errno nor thread-local storage, because an agent
 * has none that libc would recognise. Kernel interfaces that Debian 12's headers do not know yet
 * are declared here as the kernel documents them. Not part of the core archive.
 */
#ifndef FERRY_BASE_SYS_H
#define FERRY_BASE_SYS_H

#ifndef __x86_64__
#error "pageferry's runtime is written for x86-64"
#endif

#include <linux/userfaultfd.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#ifdef FERRY_SYS_INJECT
/* Tests only: answers a call of an agent instead of the host. => true: *ret is the answer. */
_Bool ferry_sys_inject(long nr, long a, long b, long *ret);
#endif

static inline long ferry_sys6(long nr, long a, long b, long c, long d, long e, long f)
{
#ifdef FERRY_SYS_INJECT
	long injected;

	if (ferry_sys_inject(nr, a, b, &injected))
		return injected;
#endif
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define FERRY_SYS_ARG(x) ((long)(x))
#define ferry_sys0(nr) ferry_sys6(nr, 0, 0, 0, 0, 0, 0)
#define ferry_sys1(nr, a) ferry_sys6(nr, FERRY_SYS_ARG(a), 0, 0, 0, 0, 0)
#define ferry_sys2(nr, a, b) ferry_sys6(nr, FERRY_SYS_ARG(a), FERRY_SYS_ARG(b), 0, 0, 0, 0)
#define ferry_sys3(nr, a, b, c) \
	ferry_sys6(nr, FERRY_SYS_ARG(a), FERRY_SYS_ARG(b), FERRY_SYS_ARG(c), 0, 0, 0)
#define ferry_sys4(nr, a, b, c, d) \
	ferry_sys6(nr, FERRY_SYS_ARG(a), FERRY_SYS_ARG(b), FERRY_SYS_ARG(c), FERRY_SYS_ARG(d), 0, 0)
#define ferry_sys5(nr, a, b, c, d, e)                                                        \
	ferry_sys6(nr, FERRY_SYS_ARG(a), FERRY_SYS_ARG(b), FERRY_SYS_ARG(c), FERRY_SYS_ARG(d), \
		   FERRY_SYS_ARG(e), 0)

/* --- userfaultfd, as of Linux 6.8 ---------------------------------------------------------- */

#ifndef UFFDIO_MOVE
struct uffdio_move {
	uint64_t dst;
	uint64_t src;
	uint64_t len;
	uint64_t mode;
	int64_t move;
};
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_move)
#define UFFDIO_MOVE_MODE_DONTWAKE ((uint64_t)1 << 0)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES ((uint64_t)1 << 1)
#endif
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE (1 << 16)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif

/* --- /proc/PID/pagemap: PAGEMAP_SCAN, as of Linux 6.7 --------------------------------------- */

#ifndef PAGEMAP_SCAN
#define PAGE_IS_FILE (1 << 2)
#define PAGE_IS_PRESENT (1 << 3)
#define PAGE_IS_SWAPPED (1 << 4)
#define PAGE_IS_PFNZERO (1 << 5)
#define PAGE_IS_HUGE (1 << 6)
struct page_region {
	uint64_t start;
	uint64_t end;
	uint64_t categories;
};
struct pm_scan_arg {
	uint64_t size;
	uint64_t flags;
	uint64_t start;
	uint64_t end;
	uint64_t walk_end;
	uint64_t vec;
	uint64_t vec_len;
	uint64_t max_pages;
	uint64_t category_inverted;
	uint64_t category_mask;
	uint64_t category_anyof_mask;
	uint64_t return_mask;
};
#define PAGEMAP_SCAN _IOWR('f', 16, struct pm_scan_arg)
#endif

#define FERRY_PAGEMAP_PRESENT (UINT64_C(1) << 63)
/* swapped out by the host, or being moved by it (compaction): the page is there all the same */
#define FERRY_PAGEMAP_SWAP (UINT64_C(1) << 62)
/* In memory, swapped out, or on its way to another frame of the host (bit 62 alone). */
#define FERRY_PAGEMAP_THERE (FERRY_PAGEMAP_PRESENT | FERRY_PAGEMAP_SWAP)
#define FERRY_PAGEMAP_FILE (UINT64_C(1) << 61)
#define FERRY_PAGEMAP_WP (UINT64_C(1) << 57)
#define FERRY_PAGEMAP_EXCLUSIVE (UINT64_C(1) << 56)

#define FERRY_MPOL_MF_MOVE 2
#define FERRY_MPOL_MF_MOVE_ALL 4

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#endif
