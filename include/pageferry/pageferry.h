/* SPDX-License-Identifier: MIT */
/*
 * pageferry.h - place and move single pages of running programs between memory nodes.
 *
 * Every function takes the pid of a process that runs on a pageferry machine (started by
 * `pageferry run`, or a descendant of one); 0 names the calling process. Errors are returned as
 * negative errno values; errno is not touched. Nothing is printed, nothing exits. All functions
 * may be called from any thread.
 *
 * Rights: the calling thread needs ptrace-read access to the process at the time of the call
 * (same user and dumpable, or CAP_SYS_PTRACE), else -EPERM.
 */
#ifndef PAGEFERRY_PAGEFERRY_H
#define PAGEFERRY_PAGEFERRY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Flags of ferry_move_pages(): the values of MPOL_MF_MOVE and MPOL_MF_MOVE_ALL. */
#define FERRY_MOVE 0x2u
#define FERRY_MOVE_ALL 0x4u
/* Answer as Linux does, or by the rules of 2006 (the default), whatever the machine says. */
#define FERRY_CONTRACT_LINUX 0x10000u
#define FERRY_CONTRACT_SEED 0x20000u

/* The library's version, "MAJOR.MINOR.PATCH". Static storage. */
const char *ferry_version(void);

/*
 * ferry_move_pages - move pages to nodes, or ask where they are.
 *
 * pid:    process, 0 = caller.
 * count:  number of entries in each array.
 * pages:  count addresses in that process; rounded down to their pages.
 * nodes:  count target nodes, or NULL to ask only.
 * status: count results: node number >= 0, or -errno of that page:
 *         -ENOENT absent, -EFAULT no mapping or only the zero page, -EACCES other processes have
 *         it in their page tables, too, -EBUSY busy or pinned, -EPERM locked, -ENOMEM target full.
 * flags:  FERRY_MOVE (0 means the same) or FERRY_MOVE_ALL, and a contract.
 *
 * Returns the number of pages that should have moved and did not (0: all did), or -errno; then
 * nothing was moved: -EINVAL flags, or a process without memory (a zombie); -EPERM no right, or
 * FERRY_MOVE_ALL without CAP_SYS_NICE; -ESRCH no such process, or it is not managed by pageferry;
 * -ENODEV a node does not exist, has no memory or is offline; -EACCES the process may not use a
 * node; -E2BIG count above 2^31-1, or above the machine's limit; -EFAULT an array is not
 * accessible; -ENOMEM no memory for the call, or (contract linux, statuses valid) a target was
 * full; -ENOENT (contract seed only, statuses valid) no page needed moving.
 *
 * Source: the contract of move_pages(2).
 */
long ferry_move_pages(pid_t pid, size_t count, void *const *pages, const int *nodes, int *status,
		      unsigned flags);

/*
 * ferry_move_pages_reasons - the same, with one reason code per page (see ferry_reason_name()).
 * reasons: count bytes, or NULL.
 */
long ferry_move_pages_reasons(pid_t pid, size_t count, void *const *pages, const int *nodes,
			      int *status, uint8_t *reasons, unsigned flags);

/* How many kinds of reasons there are, and the short name of one ("moved", "pinned", ...). */
unsigned ferry_reason_count(void);
const char *ferry_reason_name(unsigned reason);

/* Options of ferry_move_range(); zero the struct, set size to sizeof, then what is needed. */
struct ferry_move_options {
	size_t size;
	const char *from;       /* node list such as "0-3,5", NULL: all */
	uint64_t max_pause_ns;  /* longest time that a page is away, 0: the machine's default */
	uint64_t bytes_per_second; /* 0: as fast as it goes */
	unsigned flags;         /* as for ferry_move_pages() */
	/* Called now and then; a value other than 0 stops the move. NULL: never. */
	int (*progress)(void *context, uint64_t done_pages, uint64_t asked_pages);
	void *context;
};

/* What ferry_move_range() did; set size to sizeof before the call. */
struct ferry_move_report {
	size_t size;
	uint64_t asked_pages;   /* resident pages in the range on the nodes asked for */
	uint64_t moved_pages;
	uint64_t reasons[16];   /* pages by reason */
	uint64_t elapsed_ns;
	int stopped;            /* progress() said so */
};

/*
 * ferry_move_range - move the resident pages of [start, start + len_bytes) to one node.
 * report may be NULL. Returns 0 if all are on the node now, 1 if some are not, or -errno:
 * -EINVAL (empty range, options, node list), -ENODEV, -EACCES, -ESRCH, -EPERM, -ENOMEM.
 */
int ferry_move_range(pid_t pid, const void *start, size_t len_bytes, int node,
		     const struct ferry_move_options *options, struct ferry_move_report *report);

/*
 * ferry_query_range - where are count consecutive pages from start on?
 * status: count results: node, -ENOENT absent, -EFAULT zero page or not managed.
 * Reads page tables and touches no process. Returns 0 or -errno (-ESRCH, -EPERM, -EFAULT).
 */
int ferry_query_range(pid_t pid, const void *start, size_t count, int *status);

/*
 * ferry_home - bring every page of a process home that is on its way between two nodes.
 * For readers that the kernel lets see such a page as absent: ptrace(2), /proc/PID/mem, core files.
 * When it returns each page has been in its place; moves that run go on. Returns 0 or -errno
 * (-ESRCH, -EPERM).
 */
int ferry_home(pid_t pid);

/*
 * ferry_hold - the same, and no page goes away again until the hold ends.
 * Returns a descriptor (close-on-exec): the hold lasts until its last duplicate is closed, be it by
 * the caller's end. Moves in that process wait meanwhile, those that it asked for itself too; it
 * runs on. Holds may overlap. Or -errno (-ESRCH, -EPERM, -EMFILE).
 */
int ferry_hold(pid_t pid);

/* One node of a machine. */
struct ferry_node_info {
	int node;
	uint64_t capacity_bytes;
	uint64_t used_bytes; /* granted to processes */
	uint64_t over_bytes; /* granted beyond capacity */
};

/*
 * ferry_nodes - the nodes of the machine that pid runs on.
 * Fills up to max entries; returns the number of nodes of the machine, or -errno (-ESRCH, -EPERM).
 */
int ferry_nodes(pid_t pid, struct ferry_node_info *info, size_t max);

#ifdef __cplusplus
}
#endif

#endif
