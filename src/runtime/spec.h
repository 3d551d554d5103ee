/* SPDX-License-Identifier: MIT */
/*
 * spec.h - the text forms of times, rates, ranges, CPU lists and nodes, and what a machine is
 * asked to be.
 *
 * Parsers take the whole text: trailing characters, a sign, an overflow are errors. Those that
 * have an `error` argument write one line for people into it when they fail.
 */
#ifndef FERRY_RUNTIME_SPEC_H
#define FERRY_RUNTIME_SPEC_H

#include "base/nodeset.h"
#include "base/types.h"
#include "phys/machine.h"

enum { FERRY_SPEC_ERROR_MAX = 256 };

struct ferry_cpuset {
	uint64_t word[FERRY_CPUS_MAX / 64];
};

/* One node as asked for: KIND[@REALNODE]:SIZE[:PATH][,key=value]... */
struct ferry_node_spec {
	uint32_t kind;       /* enum ferry_node_kind */
	int32_t real_node;   /* -1: none named */
	uint64_t size_bytes; /* rounded down to 2 MiB; 0: memoryless */
	bool has_cpus;
	struct ferry_cpuset cpus;
};

/* The whole machine. Zeroed: the default machine. */
struct ferry_machine_spec {
	uint32_t node_count; /* 0: two nodes that share what the host has */
	struct ferry_node_spec *nodes;
	const char *policy; /* NULL: local */
	uint32_t thp;       /* enum ferry_thp */
	uint32_t contract;  /* enum ferry_contract */
	uint64_t stall_budget_ns; /* 0: 1 ms */
	uint32_t copy_path; /* enum ferry_copy_path */
	bool strict;
	const char *mems;   /* nodes that programs may use, NULL: all */
	uint64_t max_count; /* entries of a move_pages() call, 0: FERRY_COUNT_MAX */
};

/* "500us", "1ms", "2s", "10000ns"; a unit is needed. => 0, -EINVAL, -ERANGE. */
FERRY_MUST_CHECK int ferry_spec_time(const char *text, uint64_t *ns);
/* "200M/s" or "200M": bytes a second. => 0, -EINVAL, -ERANGE. */
FERRY_MUST_CHECK int ferry_spec_rate(const char *text, uint64_t *bytes_per_second);
/* A decimal number of at most max. => 0, -EINVAL, -ERANGE. */
FERRY_MUST_CHECK int ferry_spec_number(const char *text, uint64_t max, uint64_t *number);
/* "A-B" or "A+SIZE", addresses in hexadecimal with or without 0x. => 0, -EINVAL (also if empty). */
FERRY_MUST_CHECK int ferry_spec_range(const char *text, uint64_t *start, uint64_t *end);
/* "0-3,5". => 0, -EINVAL, -ERANGE (CPU number too large). */
FERRY_MUST_CHECK int ferry_spec_cpus(const char *text, struct ferry_cpuset *cpus);

static inline bool ferry_cpuset_has(const struct ferry_cpuset *cpus, uint32_t cpu)
{
	return cpu < FERRY_CPUS_MAX && (cpus->word[cpu / 64] >> (cpu % 64) & 1) != 0;
}

/* A node. => 0, -EINVAL with *error (FERRY_SPEC_ERROR_MAX bytes) filled. */
FERRY_MUST_CHECK int ferry_spec_node(const char *text, struct ferry_node_spec *node, char *error);
/*
 * "N" or "NxSIZE". *size_bytes = 0 if there was none. => 0, -EINVAL with *error filled.
 */
FERRY_MUST_CHECK int ferry_spec_nodes(const char *text, uint32_t *count, uint64_t *size_bytes,
				      char *error);
/* The nodes that programs may use, against a laid out machine. => as ferry_spec_policy(). */
FERRY_MUST_CHECK int ferry_spec_mems(const char *text, const struct ferry_machine *machine,
				     struct ferry_nodeset *mems, char *error);
/*
 * "local", "bind:SET", "interleave", "interleave:SET", against the nodes of a laid out machine.
 * => 0, -EINVAL (syntax), -ENODEV (a node that does not exist or has no memory), *error filled.
 */
FERRY_MUST_CHECK int ferry_spec_policy(const char *text, const struct ferry_machine *machine,
				       struct ferry_policy *policy, char *error);

#endif
