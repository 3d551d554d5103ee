/* SPDX-License-Identifier: MIT */
/* door.c - see door.h. */
#include "runtime/door.h"

#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "map/books.h"
#include "runtime/thread.h"

/* How long a waiting thread sleeps before it looks whether its agent is still there. */
#define LOOK_NS UINT64_C(200000000)

struct ferry_door ferry_door;
uint32_t ferry_tainted;
uint64_t ferry_heap_known[(UINT64_C(1) << (FERRY_VA_BITS - 26)) / 64];

/* --- an agent that sleeps ------------------------------------------------------------------ */

static uint32_t state_now(void)
{
	return __atomic_load_n(&ferry_door.state, __ATOMIC_SEQ_CST);
}

/* => false: the agent has ended. */
static bool wake_agent(void)
{
	uint32_t state = FERRY_DOOR_ASLEEP;

	/* It may be about to wake by itself, and wait for a fork of ours to end. */
	__atomic_store_n(&ferry_door.needed, 1, __ATOMIC_SEQ_CST);
	ferry_futex_wake(&ferry_door.forking, 1);
	if (__atomic_compare_exchange_n(&ferry_door.state, &state, FERRY_DOOR_WAKING, false,
					__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		ferry_futex_wake(&ferry_door.state, 1);
	while ((state = state_now()) == FERRY_DOOR_WAKING) {
		if (__atomic_load_n(&ferry_door.agent, __ATOMIC_ACQUIRE) == 0)
			return false;
		ferry_futex_wait(&ferry_door.state, state, LOOK_NS);
	}
	return true;
}

bool ferry_door_make_open(void)
{
	/* Between fork and join a child sees its parent's door; so does a child of vfork. */
	if (ferry_sys0(SYS_getpid) != ferry_door.pid)
		return false;
	for (;;) {
		uint32_t state = state_now();
		bool alive = __atomic_load_n(&ferry_door.agent, __ATOMIC_ACQUIRE) != 0;

		if (state == FERRY_DOOR_SHUT || (state == FERRY_DOOR_OPEN && alive))
			return state == FERRY_DOOR_OPEN;
		if ((state != FERRY_DOOR_ASLEEP && state != FERRY_DOOR_WAKING) || !alive ||
		    !wake_agent())
			return ferry_door_reopen();
	}
}

bool ferry_door_draw(uint64_t bytes)
{
	int64_t pages = (int64_t)(ferry_page_up(bytes) >> FERRY_PAGE_SHIFT);

	if (!ferry_door_is_asleep())
		return false;
	return __atomic_sub_fetch(&ferry_door.advance_pages, pages, __ATOMIC_RELAXED) >= 0;
}

bool ferry_door_begin_fork(void)
{
	if (!ferry_door_is_asleep() || ferry_door.inherits)
		return false;
	/* An agent that wakes by itself says so first, and looks at this then. */
	__atomic_fetch_add(&ferry_door.forking, 1, __ATOMIC_SEQ_CST);
	if (ferry_door_is_asleep())
		return true;
	ferry_door_end_fork();
	return false;
}

void ferry_door_end_fork(void)
{
	__atomic_fetch_sub(&ferry_door.forking, 1, __ATOMIC_SEQ_CST);
	ferry_futex_wake(&ferry_door.forking, 1);
}

/* --- requests --------------------------------------------------------------------------- */

static bool is_agent_dead(void)
{
	return __atomic_load_n(&ferry_door.state, __ATOMIC_ACQUIRE) != FERRY_DOOR_OPEN ||
	       __atomic_load_n(&ferry_door.agent, __ATOMIC_ACQUIRE) == 0;
}

static struct ferry_request *claim(void)
{
	for (;;) {
		for (uint32_t i = 0; i < FERRY_DOOR_SLOTS; i++) {
			struct ferry_request *request = &ferry_door.slot[i];
			uint32_t expected = FERRY_SLOT_FREE;

			if (__atomic_compare_exchange_n(&request->state, &expected,
							FERRY_SLOT_CLAIMED, false,
							__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				return request;
		}
		if (is_agent_dead() && !ferry_door_reopen())
			return NULL;
		ferry_sys0(SYS_sched_yield);
	}
}

int64_t ferry_door_ask(enum ferry_request_kind kind, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	uint32_t *bell = kind >= FERRY_REQUEST_MOVES ? &ferry_door.move_bell : &ferry_door.bell;
	struct ferry_request *request;
	int64_t result;
	uint32_t state;

	/* Between fork and join a child still sees its parent's door; so does a child of vfork. */
	if (!ferry_door_is_open() || ferry_sys0(SYS_getpid) != ferry_door.pid)
		return -ESRCH;
	request = claim();
	if (!request)
		return -ESRCH;
	request->kind = kind;
	request->a = a;
	request->b = b;
	request->c = c;
	request->d = d;
	__atomic_store_n(&request->state, FERRY_SLOT_POSTED, __ATOMIC_RELEASE);
	__atomic_fetch_add(bell, 1, __ATOMIC_RELEASE);
	ferry_futex_wake(bell, 1);
	while ((state = __atomic_load_n(&request->state, __ATOMIC_ACQUIRE)) != FERRY_SLOT_DONE) {
		ferry_futex_wait(&request->state, state, LOOK_NS);
		if (__atomic_load_n(&request->state, __ATOMIC_ACQUIRE) != FERRY_SLOT_DONE &&
		    is_agent_dead() && !ferry_door_reopen())
			return -ESRCH; /* the slot stays taken: nobody will need it */
	}
	result = request->result;
	__atomic_store_n(&request->state, FERRY_SLOT_FREE, __ATOMIC_RELEASE);
	return result;
}

struct ferry_request *ferry_door_take(bool moves)
{
	for (uint32_t i = 0; i < FERRY_DOOR_SLOTS; i++) {
		struct ferry_request *request = &ferry_door.slot[i];
		uint32_t expected = FERRY_SLOT_POSTED;

		if (__atomic_load_n(&request->state, __ATOMIC_ACQUIRE) != FERRY_SLOT_POSTED ||
		    (request->kind >= FERRY_REQUEST_MOVES) != moves)
			continue;
		if (__atomic_compare_exchange_n(&request->state, &expected, FERRY_SLOT_TAKEN, false,
						__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return request;
	}
	return NULL;
}

void ferry_door_finish(struct ferry_request *request, int64_t result)
{
	request->result = result;
	__atomic_store_n(&request->state, FERRY_SLOT_DONE, __ATOMIC_RELEASE);
	ferry_futex_wake(&request->state, 1);
}

/* --- windows -------------------------------------------------------------------------- */

/* The agent is not there any more, or we are a child that it does not know: what it had opened is
 * put right by whoever comes first. */
static void close_left_window(void)
{
	struct ferry_window *window = &ferry_door.window;
	uint32_t one = 1;

	if (!__atomic_compare_exchange_n(&window->open, &one, 0, false, __ATOMIC_ACQ_REL,
					 __ATOMIC_ACQUIRE))
		return;
	(void)ferry_sys3(SYS_mprotect, window->start, window->end - window->start,
			 window->protection);
	ferry_futex_wake(&window->open, INT32_MAX);
}

static void wait_for_window(void)
{
	struct ferry_window *window = &ferry_door.window;

	while (__atomic_load_n(&window->open, __ATOMIC_SEQ_CST) != 0) {
		if (ferry_sys0(SYS_getpid) != ferry_door.pid)
			return;
		ferry_futex_wait(&window->open, 1, LOOK_NS);
		if (__atomic_load_n(&window->open, __ATOMIC_SEQ_CST) != 0 &&
		    __atomic_load_n(&ferry_door.agent, __ATOMIC_ACQUIRE) == 0)
			close_left_window();
	}
}

bool ferry_door_begin_change(void)
{
	struct ferry_window *window = &ferry_door.window;

	if (state_now() != FERRY_DOOR_ASLEEP && state_now() != FERRY_DOOR_WAKING &&
	    !ferry_door_is_open()) {
		if (__builtin_expect(__atomic_load_n(&window->open, __ATOMIC_ACQUIRE) != 0, 0) &&
		    ferry_sys0(SYS_getpid) == ferry_door.pid)
			close_left_window();
		return false;
	}
	__atomic_fetch_add(&window->changing, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&window->changes, 1, __ATOMIC_SEQ_CST);
	if (__builtin_expect(__atomic_load_n(&window->open, __ATOMIC_SEQ_CST) != 0, 0))
		wait_for_window();
	return true;
}

void ferry_door_end_change(bool begun)
{
	if (begun)
		__atomic_fetch_sub(&ferry_door.window.changing, 1, __ATOMIC_SEQ_CST);
}

void ferry_door_repost(void)
{
	close_left_window();
	for (uint32_t i = 0; i < FERRY_DOOR_SLOTS; i++) {
		struct ferry_request *request = &ferry_door.slot[i];
		uint32_t taken = FERRY_SLOT_TAKEN;

		(void)__atomic_compare_exchange_n(&request->state, &taken, FERRY_SLOT_POSTED, false,
						  __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
	}
}

void ferry_door_forget_books(void)
{
	struct ferry_books *books = ferry_door.books;

	ferry_door.books = NULL;
	if (books)
		(void)ferry_sys2(SYS_munmap, books, FERRY_BOOKS_SIZE_BYTES);
}

void ferry_door_reset(void)
{
	const struct ferry_books *labels = ferry_door.labels;

	close_left_window();
	memset(&ferry_door, 0, sizeof(ferry_door));
	ferry_door.labels = labels;
}
