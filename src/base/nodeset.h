/* SPDX-License-Identifier: MIT */
/* nodeset.h - sets of node numbers, and their text form ("0-3,5", "all", "!0", "none"). */
#ifndef FERRY_BASE_NODESET_H
#define FERRY_BASE_NODESET_H

#include "base/types.h"

struct ferry_nodeset {
	uint64_t word[FERRY_NODES_MAX / 64];
};

static inline void ferry_nodeset_add(struct ferry_nodeset *set, uint32_t node)
{
	set->word[node / 64] |= UINT64_C(1) << (node % 64);
}

static inline bool ferry_nodeset_has(const struct ferry_nodeset *set, uint32_t node)
{
	return node < FERRY_NODES_MAX && (set->word[node / 64] >> (node % 64) & 1) != 0;
}

void ferry_nodeset_clear(struct ferry_nodeset *set);
/* All nodes 0 .. count-1. */
void ferry_nodeset_fill(struct ferry_nodeset *set, uint32_t count);
uint32_t ferry_nodeset_count(const struct ferry_nodeset *set);
/* First member >= from, or FERRY_NODES_MAX. */
uint32_t ferry_nodeset_next(const struct ferry_nodeset *set, uint32_t from);
/*
 * Parses text ("0", "0-3,5", "all", "none", "!0") against nodes 0 .. node_count-1.
 * => 0, -EINVAL (syntax), -ERANGE (a node that does not exist).
 */
FERRY_MUST_CHECK int ferry_nodeset_parse(struct ferry_nodeset *set, const char *text,
					 uint32_t node_count);
/* Writes the text form, always terminated; returns the length that would have been needed. */
size_t ferry_nodeset_print(const struct ferry_nodeset *set, char *text, size_t size);

#endif
