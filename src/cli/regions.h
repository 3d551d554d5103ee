/* SPDX-License-Identifier: MIT */
/* regions.h - the mappings of a process, and what its books say of their pages. */
#ifndef FERRY_CLI_REGIONS_H
#define FERRY_CLI_REGIONS_H

#include "map/books.h"

/* A line of /proc/PID/maps. */
struct ferry_cli_mapping {
	ferry_va start, end;
	char permissions[5];
	char name[256];
};

/* => 0 when visit returned 0 for all mappings; its result where it did not; -ESRCH, -EPERM. */
int ferry_cli_each_mapping(int32_t pid,
			   int (*visit)(void *context, const struct ferry_cli_mapping *mapping),
			   void *context);
/* => true if the mapping's name matches: a name, a pattern with * and ?, or the file's last part.
 */
bool ferry_cli_name_matches(const struct ferry_cli_mapping *mapping, const char *pattern);

/* The managed ranges of a process, copied at one time. */
struct ferry_cli_regions {
	struct ferry_region *region;
	uint32_t count;
};

/* => 0, -EAGAIN (they kept changing), -ENOMEM. Waits up to two seconds while books settle. */
FERRY_MUST_CHECK int ferry_cli_regions_read(const struct ferry_books *books,
					    struct ferry_cli_regions *regions);
void ferry_cli_regions_free(struct ferry_cli_regions *regions);

/* Called for a part of a range; region: the managed one that it lies in, NULL: none. */
typedef void ferry_cli_part(void *context, ferry_va start, ferry_va end,
			    const struct ferry_region *region);

/* Cuts [start, end) into managed and other parts, in ascending order. */
void ferry_cli_regions_each(const struct ferry_cli_regions *regions, ferry_va start, ferry_va end,
			    ferry_cli_part *part, void *context);

#endif
