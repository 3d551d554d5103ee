/* SPDX-License-Identifier: MIT */
/*
 * arrays.h - where the arrays of a move_pages() call lie in memory that caller and agent share:
 *
 *   uint64_t pages[count], int32_t nodes[count], int32_t status[count], uint8_t reasons[count]
 *
 * one behind the other. The caller fills the first two, the agent the others.
 */
#ifndef FERRY_RUNTIME_ARRAYS_H
#define FERRY_RUNTIME_ARRAYS_H

#include <stddef.h>
#include <stdint.h>

static inline size_t ferry_arrays_nodes_at(size_t count)
{
	return count * sizeof(uint64_t);
}

static inline size_t ferry_arrays_status_at(size_t count)
{
	return ferry_arrays_nodes_at(count) + count * sizeof(int32_t);
}

static inline size_t ferry_arrays_reasons_at(size_t count)
{
	return ferry_arrays_status_at(count) + count * sizeof(int32_t);
}

static inline size_t ferry_arrays_size(size_t count)
{
	return ferry_arrays_reasons_at(count) + count;
}

struct ferry_arrays {
	uint64_t *pages;
	int32_t *nodes;
	int32_t *status;
	uint8_t *reasons;
};

/* memory: ferry_arrays_size(count) bytes, aligned for the first. */
static inline struct ferry_arrays ferry_arrays_lay(void *memory, size_t count)
{
	char *at = memory;

	return (struct ferry_arrays){
		.pages = memory,
		.nodes = (int32_t *)(void *)(at + ferry_arrays_nodes_at(count)),
		.status = (int32_t *)(void *)(at + ferry_arrays_status_at(count)),
		.reasons = (uint8_t *)at + ferry_arrays_reasons_at(count),
	};
}

#endif
