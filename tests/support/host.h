/* SPDX-License-Identifier: MIT */
/*
 * host.h - a host for the core in tests: real threads, futexes, mmap; memory that can be made to
 * fail; assertions that can be expected; seeds.
 */
#ifndef TESTS_SUPPORT_HOST_H
#define TESTS_SUPPORT_HOST_H

#include "base/os.h"

/* Makes this host the core's. Call it first in main(). */
void test_host_init(void);

/* From now on a wait with a time-out returns at once and the clock jumps. Single-threaded only. */
void test_skip_sleeps(void);

/* Fails the nth allocation from now on (1: the next), and with for_ever all that follow; 0: none.
 */
void test_alloc_fail(uint32_t nth, bool for_ever);
/* Allocations made since the last test_alloc_fail(), and bytes not given back yet. */
uint32_t test_alloc_count(void);
uint64_t test_alloc_bytes(void);

/* Whether call(context) breaks an assertion of the core. Single-threaded tests only. */
bool test_breaks_assertion(void (*call)(void *context), void *context);

/*
 * FERRY_SEED if set; else always the same one, so that a check judges a change and not its luck; in
 * a soak a new one. Printed, so that a failure can be replayed.
 */
uint64_t test_seed(const char *name);
/* Whether FERRY_SOAK asks for long forms. */
bool test_is_soak(void);
/* quick (a part of it under a sanitizer, at least 1), or soak if FERRY_SOAK is set. */
uint64_t test_amount(uint64_t quick, uint64_t soak);

/* A small generator (splitmix64), so that a seed means the same everywhere. */
uint64_t test_random(uint64_t *state);
/* A number below limit. */
uint32_t test_pick(uint64_t *state, uint32_t limit);

#endif
