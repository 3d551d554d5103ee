/* SPDX-License-Identifier: MIT */
/* stall.h - percentiles of how long pages were away. */
#ifndef FERRY_CLI_STALL_H
#define FERRY_CLI_STALL_H

#include "map/books.h"

/* Stalls by power of two, and what they say. */
struct ferry_cli_stall {
	uint64_t pages;
	uint64_t p50_ns, p99_ns, max_ns;
};

/*
 * buckets: FERRY_STALL_BUCKETS counts; max_ns: the longest stall seen. Within a bucket stalls are
 * taken to be spread evenly, so that a percentile is right to within its bucket.
 */
void ferry_cli_stall_read(const uint64_t *buckets, uint64_t max_ns, struct ferry_cli_stall *stall);

#endif
