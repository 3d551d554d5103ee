/* SPDX-License-Identifier: MIT */
/*
 * door_serve.c - the agent's side of the door: what the program's threads ask for.
 *
 * Quick requests are served by one thread, moves by up to FERRY_MOVERS others that the first move
 * starts, so that a mapping never waits for a move.
 */
#include <errno.h>
#include <string.h>

#include "base/os.h"
#include "base/sys.h"
#include "map/region.h"
#include "move/move_pages.h"
#include "runtime/agent.h"
#include "runtime/identity.h"
#include "runtime/limits.h"
#include "runtime/shared.h"
#include "runtime/thread.h"

enum { FLAG_TRIES = 1000 };

/* Served twice where an agent was killed over it, but counted off once. */
static int flag_thread(struct ferry_agent *agent, struct ferry_request *request)
{
	ferry_va start = request->a, end = request->b;
	int err = 0;

	/* Flagged first, managed afterwards: the entries need no region. */
	for (int i = 0; i < FLAG_TRIES; i++) {
		ferry_lock_acquire(&agent->space.lock);
		err = ferry_space_flag_thread(&agent->space, ferry_page_down(start),
					      ferry_page_up(end));
		ferry_lock_release(&agent->space.lock);
		if (err != -EAGAIN)
			break;
		(void)ferry_handler_drain(agent);
		ferry_sys0(SYS_sched_yield);
	}
	if (__atomic_exchange_n(&request->d, 1, __ATOMIC_ACQ_REL) == 0)
		__atomic_fetch_sub(&ferry_door.births, 1, __ATOMIC_ACQ_REL);
	return err ? err : ferry_house_adopt_at(agent, start, 0);
}

static int flag_region(struct ferry_agent *agent, const struct ferry_request *request)
{
	int err;

	ferry_lock_acquire(&agent->space.lock);
	err = ferry_region_flag(agent->books, request->a, request->b, (uint32_t)request->c,
				(uint32_t)request->d);
	ferry_lock_release(&agent->space.lock);
	return err;
}

static int reconcile(struct ferry_agent *agent, const struct ferry_request *request)
{
	int err;

	ferry_lock_acquire(&agent->space.lock);
	err = ferry_space_reconcile(&agent->space, request->a, request->b, -1);
	ferry_lock_release(&agent->space.lock);
	return err;
}

static int release(struct ferry_agent *agent, ferry_va start, ferry_va end)
{
	int err;

	/* Pages that were placed ahead of a touch are not there, as far as the program knows. */
	ferry_lock_acquire(&agent->space.lock);
	(void)!ferry_space_reclaim_ahead(&agent->space, UINT32_MAX);
	ferry_lock_release(&agent->space.lock);
	err = ferry_space_close_gate(&agent->space);
	while (err == 0 || err == -EAGAIN) {
		ferry_lock_acquire(&agent->space.lock);
		err = ferry_space_release(&agent->space, start, end);
		ferry_lock_release(&agent->space.lock);
		if (err != -EAGAIN)
			break;
		(void)ferry_handler_drain(agent);
		ferry_sys0(SYS_sched_yield);
	}
	ferry_space_open_gate(&agent->space);
	return err;
}

/* Two threads of the program may ask at a time. */
static int start_mover(struct ferry_agent *agent)
{
	uint32_t movers = __atomic_load_n(&ferry_door.movers, __ATOMIC_RELAXED);

	if (movers >= FERRY_MOVERS)
		return 0;
	if (ferry_thread_start(FERRY_THREAD, ferry_door_mover_run, agent) < 0)
		return -EAGAIN;
	__atomic_store_n(&ferry_door.movers, movers + 1, __ATOMIC_RELEASE);
	return 0;
}

/* => the generation, for who opens it again; -ESRCH. */
static int64_t close_gate(struct ferry_agent *agent)
{
	int err = ferry_space_close_gate(&agent->space);

	return err ? err : (int64_t)ferry_door.generation;
}

static int64_t serve_quick(struct ferry_agent *agent, struct ferry_request *request)
{
	switch (request->kind) {
	case FERRY_REQUEST_MAP:
		return ferry_house_adopt(agent, request->a, request->b, (uint32_t)request->c);
	case FERRY_REQUEST_AT:
		return ferry_house_adopt_at(agent, request->a, request->b);
	case FERRY_REQUEST_THREAD:
		return flag_thread(agent, request);
	case FERRY_REQUEST_FLAG:
		return flag_region(agent, request);
	case FERRY_REQUEST_RECONCILE:
		return reconcile(agent, request);
	case FERRY_REQUEST_SETTLE:
		return ferry_shared_settle(agent, request->a, request->b);
	case FERRY_REQUEST_SCAN:
		ferry_house_scan(agent);
		return 0;
	case FERRY_REQUEST_GATE_CLOSE:
		return close_gate(agent);
	case FERRY_REQUEST_GATE_OPEN:
		if (request->a == ferry_door.generation)
			ferry_space_open_gate(&agent->space);
		return 0;
	case FERRY_REQUEST_RELEASE:
		return release(agent, request->a, request->b);
	case FERRY_REQUEST_TAINT:
		if (request->a)
			ferry_house_go_blind(agent);
		else
			__atomic_store_n(&agent->space.tainted, 1, __ATOMIC_RELEASE);
		return 0;
	case FERRY_REQUEST_DATA:
		return (int64_t)ferry_limits_count(agent);
	case FERRY_REQUEST_MOVERS:
		return start_mover(agent);
	case FERRY_REQUEST_FOLLOW:
		/* The keeper brings the program's pages home. */
		if (ferry_identity_follow(agent->proc_pid, (int32_t)request->a, request->b != 0,
					  request->c != 0))
			ferry_sys1(SYS_exit_group, 1);
		return 0;
	default:
		return -ENOSYS;
	}
}

static int64_t serve_move(struct ferry_agent *agent, const struct ferry_request *request)
{
	struct ferry_range_result *result = (struct ferry_range_result *)request->b;

	ferry_house_look_for_rings(agent);
	if (request->kind == FERRY_REQUEST_MOVE_PAGES)
		return ferry_move_pages_in(&agent->space,
					   (const struct ferry_move_call *)request->a);
	memset(result, 0, sizeof(*result)); /* a killed agent may have begun */
	return ferry_move_range_in(&agent->space, (const struct ferry_range_call *)request->a,
				   result);
}

/* Sleeps until the bell has rung since it read `heard`. */
static void listen_bell(uint32_t *bell, uint32_t heard)
{
	ferry_futex_wait(bell, heard, 0);
}

void ferry_door_mover_run(void *arg)
{
	struct ferry_agent *agent = arg;

	for (;;) {
		uint32_t heard = __atomic_load_n(&ferry_door.move_bell, __ATOMIC_ACQUIRE);
		struct ferry_request *request;

		while ((request = ferry_door_take(true)) != NULL)
			ferry_door_finish(request, serve_move(agent, request));
		ferry_house_ring(agent);
		listen_bell(&ferry_door.move_bell, heard);
	}
}

void ferry_door_run(void *arg)
{
	struct ferry_agent *agent = arg;

	for (;;) {
		uint32_t heard = __atomic_load_n(&ferry_door.bell, __ATOMIC_ACQUIRE);
		struct ferry_request *request;

		while ((request = ferry_door_take(false)) != NULL) {
			ferry_door_finish(request, serve_quick(agent, request));
			ferry_house_ring(agent);
		}
		listen_bell(&ferry_door.bell, heard);
	}
}
