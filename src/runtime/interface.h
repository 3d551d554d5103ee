/* SPDX-License-Identifier: MIT */
/*
 * interface.h - what the preload library offers to the public library in the same process.
 *
 * Found by dlsym(RTLD_DEFAULT, "ferry_runtime_interface"). Semantics of the public functions of
 * pageferry.h for the calling process; -ESRCH where it is not managed. Flags and arrays need not
 * have been checked.
 */
#ifndef FERRY_RUNTIME_INTERFACE_H
#define FERRY_RUNTIME_INTERFACE_H

#include "pageferry/pageferry.h"

enum { FERRY_RUNTIME_INTERFACE_VERSION = 2 };

struct ferry_runtime_interface {
	uint32_t version;
	uint32_t spare;
	long (*move_pages)(size_t count, void *const *pages, const int *nodes, int *status,
			   uint8_t *reasons, unsigned flags);
	int (*move_range)(const void *start, size_t len_bytes, int node,
			  const struct ferry_move_options *options,
			  struct ferry_move_report *report);
	int (*query_range)(const void *start, size_t count, int *status);
	int (*nodes)(struct ferry_node_info *info, size_t max);
	int (*dial)(void); /* see ferry_client_dial */
};

#endif
