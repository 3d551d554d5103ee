/* SPDX-License-Identifier: MIT */
/* regions.c - see regions.h. */
#define _GNU_SOURCE
#include "cli/regions.h"

#include "map/region.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool parse_line(char *line, struct ferry_cli_mapping *mapping)
{
	unsigned long long start, end;
	int name = 0;

	if (sscanf(line, "%llx-%llx %4s %*s %*s %*s %n", &start, &end, mapping->permissions,
		   &name) != 3 || name == 0)
		return false;
	mapping->start = start;
	mapping->end = end;
	line[strcspn(line, "\n")] = '\0';
	(void)snprintf(mapping->name, sizeof(mapping->name), "%s", line + name);
	return true;
}

int ferry_cli_each_mapping(int32_t pid,
			   int (*visit)(void *context, const struct ferry_cli_mapping *mapping),
			   void *context)
{
	struct ferry_cli_mapping mapping;
	size_t size = 0;
	char path[64], *line = NULL;
	FILE *file;
	int result = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	file = fopen(path, "re");
	if (file == NULL)
		return errno == ENOENT ? -ESRCH : -errno;
	while (result == 0 && getline(&line, &size, file) > 0) {
		if (parse_line(line, &mapping))
			result = visit(context, &mapping);
	}
	free(line);
	(void)fclose(file);
	return result;
}

bool ferry_cli_name_matches(const struct ferry_cli_mapping *mapping, const char *pattern)
{
	const char *last = strrchr(mapping->name, '/');

	/* Names such as [heap] are meant as they stand, not as a set of letters. */
	if (strcmp(mapping->name, pattern) == 0 ||
	    (last != NULL && strcmp(last + 1, pattern) == 0))
		return true;
	return strpbrk(pattern, "*?") != NULL &&
	       (fnmatch(pattern, mapping->name, 0) == 0 ||
		(last != NULL && fnmatch(pattern, last + 1, 0) == 0));
}

static void sleep_ms(long ms)
{
	const struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	(void)nanosleep(&time, NULL);
}

int ferry_cli_regions_read(const struct ferry_books *books, struct ferry_cli_regions *regions)
{
	int result = -EAGAIN;

	for (int i = 0; i < 2000 && __atomic_load_n(&books->settling, __ATOMIC_ACQUIRE) != 0; i++)
		sleep_ms(1);
	regions->region = calloc(FERRY_REGIONS_MAX, sizeof(*regions->region));
	if (regions->region == NULL)
		return -ENOMEM;
	for (int i = 0; i < 100 && result == -EAGAIN; i++) {
		if (i > 0)
			sleep_ms(1);
		result = ferry_region_read(books, regions->region, FERRY_REGIONS_MAX);
	}
	if (result < 0) {
		ferry_cli_regions_free(regions);
		return result;
	}
	regions->count = (uint32_t)result;
	return 0;
}

void ferry_cli_regions_free(struct ferry_cli_regions *regions)
{
	free(regions->region);
	regions->region = NULL;
}

void ferry_cli_regions_each(const struct ferry_cli_regions *regions, ferry_va start, ferry_va end,
			    ferry_cli_part *part, void *context)
{
	for (uint32_t i = 0; i < regions->count && start < end; i++) {
		const struct ferry_region *region = &regions->region[i];
		ferry_va from = region->start > start ? region->start : start;
		ferry_va to = region->end < end ? region->end : end;

		if (from >= to)
			continue;
		if (start < from)
			part(context, start, from, NULL);
		part(context, from, to, region);
		start = to;
	}
	if (start < end)
		part(context, start, end, NULL);
}
