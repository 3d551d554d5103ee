/* SPDX-License-Identifier: MIT */
/*
 * contract_rows.h - the contract of move_pages() as a table: one row a case, by the contract of
 * 2006 (seed) and by that of Linux. tests/unit/contract.c tries them over the simulated MMU,
 * tests/live/programs/contract.c inside a machine and with the kernel's own call. What the doors
 * check before - flags, rights, arrays - has its rows in tests/live/programs/statuses.c.
 */
#ifndef TESTS_SUPPORT_CONTRACT_ROWS_H
#define TESTS_SUPPORT_CONTRACT_ROWS_H

#include <errno.h>
#include <stdint.h>

enum {
	ENTRIES = 4,
	NODES = 6,
	SMALL = 2, /* two pages */
	MEMORYLESS = 3,
	OFFLINE = 4,
	FORBIDDEN = 5,
	NOT_THERE = 6,
	KEPT = 4711,   /* a status that is not written */
	SMALL_PAGES = 2,
};

enum {
	QUERY = 1 << 0,
	ALIAS = 1 << 1,  /* status is the array of nodes */
	OFFSET = 1 << 2, /* addresses within their pages */
	TAGGED = 1 << 3, /* and with tags */
	ALL = 1 << 4,    /* MOVE_ALL */
};

struct expected {
	int64_t result;
	int32_t status[ENTRIES];
};

/*
 * pages: a letter an entry. W written, on node 0; A absent; D discarded; Z read only, so the zero
 * page; U not mapped; X not managed; L mlocked; P pinned; S shared with a child; R read-only; N no
 * access; K guarded by a key; T holds a thread's control block; = the page of the entry before.
 */
static const struct row {
	const char *id;
	const char *pages;
	int32_t nodes[ENTRIES];
	uint32_t how;
	struct expected seed, linux;
} rows[] = {
	/* The first wrong node is told, and nothing has moved. */
	{ "1.1/7 ENODEV last",
	  "WW",
	  { 1, NOT_THERE },
	  0,
	  { -ENODEV, { KEPT, KEPT } },
	  { -ENODEV, { KEPT, KEPT } } },
	{ "1.1/7 EACCES last",
	  "WW",
	  { 1, FORBIDDEN },
	  0,
	  { -EACCES, { KEPT, KEPT } },
	  { -EACCES, { KEPT, KEPT } } },
	{ "1.1/7 ENODEV before EACCES",
	  "WWW",
	  { 1, NOT_THERE, FORBIDDEN },
	  0,
	  { -ENODEV, { KEPT, KEPT, KEPT } },
	  { -ENODEV, { KEPT, KEPT, KEPT } } },
	{ "1.1/7 EACCES before ENODEV",
	  "WWW",
	  { 1, FORBIDDEN, MEMORYLESS },
	  0,
	  { -EACCES, { KEPT, KEPT, KEPT } },
	  { -EACCES, { KEPT, KEPT, KEPT } } },
	{ "1.2/ENODEV memoryless",
	  "W",
	  { MEMORYLESS },
	  0,
	  { -ENODEV, { KEPT } },
	  { -ENODEV, { KEPT } } },
	{ "1.2/ENODEV offline", "W", { OFFLINE }, 0, { -ENODEV, { KEPT } }, { -ENODEV, { KEPT } } },
	{ "1.2/ENODEV negative", "W", { -1 }, 0, { -ENODEV, { KEPT } }, { -ENODEV, { KEPT } } },
	{ "1.2/ENODEV least", "W", { INT32_MIN }, 0, { -ENODEV, { KEPT } }, { -ENODEV, { KEPT } } },
	{ "1.2/ENODEV most", "W", { INT32_MAX }, 0, { -ENODEV, { KEPT } }, { -ENODEV, { KEPT } } },
	{ "1.2/EACCES absent page",
	  "A",
	  { FORBIDDEN },
	  0,
	  { -EACCES, { KEPT } },
	  { -EACCES, { KEPT } } },

	{ "1.2/0 all moved", "WW", { 1, 1 }, 0, { 0, { 1, 1 } }, { 0, { 1, 1 } } },
	{ "1.2/0 some had to",
	  "WAW",
	  { 1, 1, 0 },
	  0,
	  { 0, { 1, -ENOENT, 0 } },
	  { 0, { 1, -ENOENT, 0 } } },
	{ "1.2/ENOENT nothing had to",
	  "WAZU",
	  { 0, 1, 1, 1 },
	  0,
	  { -ENOENT, { 0, -ENOENT, -EFAULT, -EFAULT } },
	  { 0, { 0, -ENOENT, -EFAULT, -EFAULT } } },
	{ "1.2/ENOENT nothing may",
	  "SAW",
	  { 1, 1, 0 },
	  0,
	  { -ENOENT, { -EACCES, -ENOENT, 0 } },
	  { 0, { -EACCES, -ENOENT, 0 } } },
	{ "1.2/ENOENT locked",
	  "LA",
	  { 1, 1 },
	  0,
	  { -ENOENT, { -EPERM, -ENOENT } },
	  { 0, { 1, -ENOENT } } },
	{ "1.2/>0 busy ones",
	  "PWT",
	  { 1, 1, 1 },
	  0,
	  { 2, { -EBUSY, 1, -EBUSY } },
	  { 2, { -EBUSY, 1, -EBUSY } } },
	{ "1.2/>0 others do not count",
	  "PAZL",
	  { 1, 1, 1, 1 },
	  0,
	  { 1, { -EBUSY, -ENOENT, -EFAULT, -EPERM } },
	  { 1, { -EBUSY, -ENOENT, -EFAULT, 1 } } },
	/* Entries by the one, pages by the other. */
	{ "1.2/>0 twice the same",
	  "P=W",
	  { 1, 1, 1 },
	  0,
	  { 2, { -EBUSY, -EBUSY, 1 } },
	  { 1, { -EBUSY, -EBUSY, 1 } } },
	{ "1.2/ENOMEM target full",
	  "WWWW",
	  { SMALL, SMALL, SMALL, SMALL },
	  0,
	  { 2, { SMALL, SMALL, -ENOMEM, -ENOMEM } },
	  { -ENOMEM, { SMALL, SMALL, -ENOMEM, -ENOMEM } } },
	{ "1.5/full others go on",
	  "WWWW",
	  { SMALL, SMALL, SMALL, 1 },
	  0,
	  { 1, { SMALL, SMALL, -ENOMEM, 1 } },
	  { -ENOMEM, { SMALL, SMALL, -ENOMEM, 1 } } },

	{ "1.3/node", "W", { 1 }, 0, { 0, { 1 } }, { 0, { 1 } } },
	{ "1.3/ENOENT never touched", "A", { 1 }, 0, { -ENOENT, { -ENOENT } }, { 0, { -ENOENT } } },
	{ "1.3/ENOENT discarded", "D", { 1 }, 0, { -ENOENT, { -ENOENT } }, { 0, { -ENOENT } } },
	{ "1.3/EFAULT zero page", "Z", { 1 }, 0, { -ENOENT, { -EFAULT } }, { 0, { -EFAULT } } },
	{ "1.3/EFAULT no mapping", "U", { 1 }, 0, { -ENOENT, { -EFAULT } }, { 0, { -EFAULT } } },
	{ "1.3/EACCES", "S", { 1 }, 0, { -ENOENT, { -EACCES } }, { 0, { -EACCES } } },
	{ "1.3/EACCES on its target", "S", { 0 }, 0, { -ENOENT, { 0 } }, { 0, { 0 } } },
	{ "1.3/EACCES not with MOVE_ALL",
	  "SWS",
	  { 1, 1, 0 },
	  ALL,
	  { 0, { 1, 1, 0 } },
	  { 0, { 1, 1, 0 } } },
	{ "1.4/shared, MOVE_ALL, duplicates",
	  "S=",
	  { 0, 1 },
	  ALL,
	  { 0, { 1, 1 } },
	  { 0, { 1, 1 } } },
	{ "1.4/shared, MOVE_ALL, target full",
	  "SSSS",
	  { SMALL, SMALL, SMALL, SMALL },
	  ALL,
	  { 2, { SMALL, SMALL, -ENOMEM, -ENOMEM } },
	  { -ENOMEM, { SMALL, SMALL, -ENOMEM, -ENOMEM } } },
	{ "1.3/EPERM", "L", { 1 }, 0, { -ENOENT, { -EPERM } }, { 0, { 1 } } },
	{ "1.3/EPERM on its target", "L", { 0 }, 0, { -ENOENT, { 0 } }, { 0, { 0 } } },
	{ "1.3/EBUSY pinned", "P", { 1 }, 0, { 1, { -EBUSY } }, { 1, { -EBUSY } } },
	{ "1.3/EBUSY pinned on its target", "P", { 0 }, 0, { -ENOENT, { 0 } }, { 0, { 0 } } },
	{ "1.3/EBUSY thread", "T", { 1 }, 0, { 1, { -EBUSY } }, { 1, { -EBUSY } } },
	{ "1.3/EBUSY key", "K", { 1 }, 0, { 1, { -EBUSY } }, { 1, { -EBUSY } } },
	{ "1.3/EBUSY not managed", "X", { 1 }, 0, { 1, { -EBUSY } }, { 1, { -EBUSY } } },
	{ "1.3/EBUSY with MOVE_ALL too",
	  "PT",
	  { 1, 1 },
	  ALL,
	  { 2, { -EBUSY, -EBUSY } },
	  { 2, { -EBUSY, -EBUSY } } },

	{ "1.4/count 0", "", { 0 }, 0, { -ENOENT, { KEPT } }, { 0, { KEPT } } },
	{ "1.4/count 0 query", "", { 0 }, QUERY, { 0, { KEPT } }, { 0, { KEPT } } },
	{ "1.4/query",
	  "WAZU",
	  { 0 },
	  QUERY,
	  { 0, { 0, -ENOENT, -EFAULT, -EFAULT } },
	  { 0, { 0, -ENOENT, -EFAULT, -EFAULT } } },
	{ "1.4/query asks no right to move",
	  "SLPT",
	  { 0 },
	  QUERY,
	  { 0, { 0, 0, 0, 0 } },
	  { 0, { 0, 0, 0, 0 } } },
	{ "1.4/query unaligned, tagged",
	  "WN",
	  { 0 },
	  QUERY | OFFSET | TAGGED,
	  { 0, { 0, 0 } },
	  { 0, { 0, 0 } } },
	{ "1.4/status aliases nodes",
	  "WAW",
	  { 1, 1, 0 },
	  ALIAS,
	  { 0, { 1, -ENOENT, 0 } },
	  { 0, { 1, -ENOENT, 0 } } },
	{ "1.4/flags MOVE_ALL", "WW", { 1, 0 }, ALL, { 0, { 1, 0 } }, { 0, { 1, 0 } } },
	{ "1.4/unaligned", "WW", { 1, 1 }, OFFSET, { 0, { 1, 1 } }, { 0, { 1, 1 } } },
	{ "1.4/tagged", "WW", { 1, 1 }, TAGGED, { 0, { 1, 1 } }, { 0, { 1, 1 } } },
	{ "1.4/PROT_NONE", "N", { 1 }, 0, { 0, { 1 } }, { 0, { 1 } } },
	{ "1.4/read-only", "RW", { 1, 1 }, 0, { 0, { 1, 1 } }, { 0, { 1, 1 } } },
	{ "1.4/duplicates last wins", "W=", { 0, 1 }, 0, { 0, { 1, 1 } }, { 0, { 1, 1 } } },
	{ "1.4/duplicates last stays", "W=", { 1, 0 }, 0, { -ENOENT, { 0, 0 } }, { 0, { 0, 0 } } },
	{ "1.4/duplicates of one that cannot",
	  "S==",
	  { 0, 1, 1 },
	  0,
	  { -ENOENT, { -EACCES, -EACCES, -EACCES } },
	  { 0, { -EACCES, -EACCES, -EACCES } } },
	{ "1.4/duplicates, one offset",
	  "W==",
	  { 1, 0, 1 },
	  OFFSET,
	  { 0, { 1, 1, 1 } },
	  { 0, { 1, 1, 1 } } },
};

#endif
