/* SPDX-License-Identifier: MIT */
/*
 * house.c - what an agent does between faults.
 *
 * Settles leases with the keeper, charges the copies that the host made after a fork, looks again
 * where pages were in doubt, finds memory that was mapped without our knowledge: once a second
 * while there is something to do. Faults, events and requests ring for it; a process that does
 * nothing wakes nobody. Only pages shared since a fork have to be looked at unasked: the longer
 * nothing comes of it the more seldom.
 */
#include <errno.h>

#include "base/os.h"
#include "base/sys.h"
#include "map/region.h"
#include "runtime/agent.h"
#include "runtime/maps.h"
#include "runtime/shared.h"
#include "runtime/strays.h"
#include "runtime/thread.h"
#include "runtime/zone.h"

#define PERIOD_NS UINT64_C(1000000000)
#define PERIOD_MAX_NS UINT64_C(16000000000)
#define FERRY_USER_END (UINT64_C(1) << FERRY_VA_BITS)

/* --- adoption ------------------------------------------------------------------------- */

static bool thread_is_born(void)
{
	return __atomic_load_n(&ferry_door.births, __ATOMIC_ACQUIRE) != 0;
}

/*
 * The host arms a range with a hole in it, too: the program may have unmapped a part between our
 * look and the arming. From then on that is an event, so what is no hole now will be known of.
 */
void ferry_house_drop_holes(struct ferry_agent *agent, ferry_va start, ferry_va end)
{
	struct ferry_mapping mapping;

	while (start < end) {
		int err = ferry_maps_next(agent->maps, start, &mapping);
		ferry_va stop = err || mapping.start > end ? end : mapping.start;

		if (stop > start)
			ferry_space_on_unmap(&agent->space, start, stop);
		if (err)
			return;
		start = mapping.end;
	}
}

/* found: a mapping that was found, which may be the stack of a thread that is being born. */
static int adopt_gaps(struct ferry_agent *agent, ferry_va start, ferry_va end, uint32_t flags,
		      bool found)
{
	ferry_va at = start;
	int err = 0;

	while (at < end && !err) {
		ferry_va gap_end = end;

		ferry_lock_acquire(&agent->space.lock);
		if (!ferry_region_gap(agent->books, &at, &gap_end) ||
		    (found && thread_is_born())) {
			ferry_lock_release(&agent->space.lock);
			break;
		}
		err = ferry_space_adopt(&agent->space, at, gap_end, flags, agent->found_node);
		if (!err && found)
			ferry_house_drop_holes(agent, at, gap_end);
		ferry_lock_release(&agent->space.lock);
		at = gap_end;
	}
	return err;
}

/* A region that covers it may be of a time before the mapping: then the host has not armed it. */
static void arm_again(struct ferry_agent *agent, ferry_va start, ferry_va end)
{
	struct ferry_mmu *mmu = &agent->uffd.mmu;

	ferry_lock_acquire(&agent->space.lock);
	/* Without effect where it is armed, and refused where another has it. */
	(void)!mmu->ops->arm(mmu, start, end - start);
	ferry_lock_release(&agent->space.lock);
}

int ferry_house_adopt(struct ferry_agent *agent, ferry_va start, ferry_va end, uint32_t flags)
{
	bool known;

	ferry_shared_drop_stale(agent, start, end);
	ferry_lock_acquire(&agent->space.lock);
	known = ferry_region_find(agent->books, start) != NULL ||
		ferry_region_find(agent->books, end - 1) != NULL;
	ferry_lock_release(&agent->space.lock);
	if (known)
		arm_again(agent, start, end);
	return adopt_gaps(agent, start, end, flags, false);
}

int ferry_house_adopt_at(struct ferry_agent *agent, ferry_va va, uint64_t cpu)
{
	struct ferry_mapping mapping;
	bool known;
	int err;

	ferry_shared_drop_stale(agent, va, va + 1);
	ferry_lock_acquire(&agent->space.lock);
	known = ferry_region_find(agent->books, va) != NULL;
	ferry_lock_release(&agent->space.lock);
	if (known && __atomic_load_n(&agent->settled, __ATOMIC_RELAXED))
		return 0;
	err = ferry_maps_next(agent->maps, va, &mapping);
	if (err)
		return err;
	if (mapping.start <= va && ferry_shared_is_object(agent, &mapping))
		return ferry_shared_adopt(agent, &mapping, cpu);
	if (mapping.start > va || !mapping.anonymous ||
	    ferry_zone_covers(mapping.start, mapping.end))
		return -ENOENT;
	if (known)
		arm_again(agent, mapping.start, mapping.end);
	return adopt_gaps(agent, mapping.start, mapping.end, FERRY_REGION_ADOPTED, true);
}

void ferry_house_go_blind(struct ferry_agent *agent)
{
	if (agent->uffd.evicts)
		__atomic_store_n(&agent->space.blind, 1, __ATOMIC_RELEASE);
}

void ferry_house_look_for_rings(struct ferry_agent *agent)
{
	if (agent->uffd.evicts && !__atomic_load_n(&agent->space.blind, __ATOMIC_RELAXED) &&
	    ferry_maps_have(agent->maps, "anon_inode:[io_uring]"))
		ferry_house_go_blind(agent);
}

void ferry_house_scan(struct ferry_agent *agent)
{
	struct ferry_mapping mapping;

	ferry_house_look_for_rings(agent);
	ferry_shared_drop_stale(agent, 0, FERRY_USER_END);
	/* The stack of a thread that is being created must not be adopted before its control block
	 * is flagged: a mover could have it away when the thread ends. pthread_create() counts
	 * itself in `births` before it maps the stack. */
	for (ferry_va at = 0; at < FERRY_USER_END && !ferry_maps_next(agent->maps, at, &mapping);
	     at = mapping.end) {
		if (ferry_shared_is_object(agent, &mapping) &&
		    !ferry_shared_adopt(agent, &mapping, 0))
			continue;
		if (!mapping.anonymous || ferry_zone_covers(mapping.start, mapping.end) ||
		    mapping.end > FERRY_USER_END)
			continue;
		/* What cannot be registered (special mappings) stays the host's. */
		if (adopt_gaps(agent, mapping.start, mapping.end, FERRY_REGION_ADOPTED, true))
			continue;
	}
}

/* --- after a fork --------------------------------------------------------------------- */

/* Compares what is shared or in doubt with the host, a slice at a time. A space without such pages
 * costs nothing. */
static void reconcile(struct ferry_agent *agent)
{
	ferry_va cursor = 0;
	int more;

	do {
		ferry_lock_acquire(&agent->space.lock);
		more = ferry_space_reconcile_slice(&agent->space, &cursor, agent->found_node);
		ferry_lock_release(&agent->space.lock);
	} while (more > 0);
}

/* --- the thread ----------------------------------------------------------------------- */

void ferry_house_ring(struct ferry_agent *agent)
{
	if (__atomic_load_n(&agent->house_sleeps, __ATOMIC_SEQ_CST) == 0)
		return;
	__atomic_store_n(&agent->house_sleeps, 0, __ATOMIC_SEQ_CST);
	ferry_futex_wake(&agent->house_sleeps, 1);
}

static void look_for_memory(struct ferry_agent *agent)
{
	uint64_t faults = __atomic_load_n(&agent->books->counters.faults, __ATOMIC_RELAXED);

	if (faults == agent->faults_seen && !agent->scan_again)
		return;
	agent->faults_seen = faults;
	agent->scan_again = thread_is_born();
	ferry_house_scan(agent);
}

/* => how long nothing has to be done unless it is rung, 0: for ever. */
static uint64_t rest_of(struct ferry_agent *agent, uint64_t before_ns)
{
	const struct ferry_space *space = &agent->space;
	uint64_t cow;
	bool pending;

	ferry_lock_acquire(&agent->space.lock);
	pending = space->doubt_start < space->doubt_end || space->young_start < space->young_end ||
		  space->old_start < space->old_end;
	cow = space->cow_pages;
	ferry_lock_release(&agent->space.lock);
	if (pending || agent->scan_again || cow != agent->cow_seen) {
		agent->cow_seen = cow;
		return PERIOD_NS;
	}
	/* Nobody tells when a shared page becomes the process's own. */
	if (cow)
		return before_ns && before_ns < PERIOD_MAX_NS ? before_ns * 2 : PERIOD_MAX_NS;
	return 0;
}

/* Sleeps until it is rung, and then for what is left of a period: at most one round in each. */
static void rest(struct ferry_agent *agent, uint64_t rest_ns)
{
	uint64_t began_ns = ferry_clock_ns(), slept_ns;
	uint32_t never = 0;

	__atomic_store_n(&agent->house_sleeps, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&agent->books->counters.faults, __ATOMIC_SEQ_CST) == agent->faults_seen)
		ferry_futex_wait(&agent->house_sleeps, 1, rest_ns);
	__atomic_store_n(&agent->house_sleeps, 0, __ATOMIC_SEQ_CST);
	slept_ns = ferry_clock_ns() - began_ns;
	if (slept_ns < PERIOD_NS)
		ferry_futex_wait(&never, 0, PERIOD_NS - slept_ns);
}

void ferry_house_run(void *arg)
{
	struct ferry_agent *agent = arg;
	uint64_t rest_ns = PERIOD_NS;

	for (;;) {
		reconcile(agent);
		if (agent->inherited) { /* take_over() counted itself in */
			agent->inherited = false;
			__atomic_fetch_sub(&agent->books->settling, 1, __ATOMIC_RELEASE);
		}
		ferry_agent_return_advance(agent);
		look_for_memory(agent);
		agent->uffd.mmu.ops->settle(&agent->uffd.mmu);
		ferry_strays_look(agent);
		ferry_shared_tell_mapped(agent);
		ferry_space_settle_leases(&agent->space);
		rest_ns = rest_of(agent, rest_ns);
		rest(agent, rest_ns);
		__atomic_store_n(&agent->settled, true, __ATOMIC_RELAXED);
	}
}
