/* SPDX-License-Identifier: MIT */
/*
 * lock.c - see lock.h.
 *
 * The word is that of a futex mutex: whoever had to sleep leaves it at 2, so that a release without
 * sleepers needs no call to the host.
 *
 * Debug builds keep, per thread, the ranks that it holds. Threads are told apart by the host's
 * thread ids and not by thread-local storage, which the threads of an agent may not have. The table
 * is a fixed number of entries, each claimed by a thread for as long as it holds any lock.
 */
#include "base/lock.h"
#include "base/os.h"

enum {
	FREE = 0,
	HELD = 1,
	HELD_WAITED = 2,
	SPINS = 64, /* a few microseconds: what a holder on another CPU mostly needs */
};

#ifdef FERRY_DEBUG
enum { HOLDERS = 1024, PROBES = 32 };

static struct holder {
	uint32_t thread; /* (a) 0: entry free */
	uint32_t ranks;  /* (a) bit per rank; written by that thread only */
} holders[HOLDERS];

/* => the thread's entry, or NULL. claim: make one. NULL then: a full neighbourhood, unchecked. */
static struct holder *holder_of(uint32_t thread, bool claim)
{
	uint32_t home = thread * 2654435761u;

	for (uint32_t i = 0; i < PROBES; i++) {
		struct holder *holder = &holders[(home + i) % HOLDERS];

		if (__atomic_load_n(&holder->thread, __ATOMIC_RELAXED) == thread)
			return holder;
	}
	for (uint32_t i = 0; claim && i < PROBES; i++) {
		struct holder *holder = &holders[(home + i) % HOLDERS];
		uint32_t none = 0;

		if (__atomic_compare_exchange_n(&holder->thread, &none, thread, false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return holder;
	}
	return NULL;
}

/* waiting: the rule of ascending ranks holds for those who would sleep only. */
static void note_acquired(const struct ferry_lock *lock, uint32_t thread, bool waiting)
{
	struct holder *holder = holder_of(thread, true);

	if (holder == NULL)
		return;
	if (waiting)
		FERRY_ASSERT(holder->ranks >> lock->rank == 0);
	holder->ranks |= 1u << lock->rank;
}

static void note_released(const struct ferry_lock *lock, uint32_t thread)
{
	struct holder *holder = holder_of(thread, false);

	if (holder == NULL)
		return;
	holder->ranks &= ~(1u << lock->rank);
	if (holder->ranks == 0)
		__atomic_store_n(&holder->thread, 0, __ATOMIC_RELEASE);
}
#else
static void note_acquired(const struct ferry_lock *lock, uint32_t thread, bool waiting)
{
	(void)lock;
	(void)thread;
	(void)waiting;
}

static void note_released(const struct ferry_lock *lock, uint32_t thread)
{
	(void)lock;
	(void)thread;
}
#endif

static bool try_word(struct ferry_lock *lock)
{
	uint32_t expected = FREE;

	return __atomic_compare_exchange_n(&lock->word, &expected, HELD, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

static bool spin(struct ferry_lock *lock)
{
	for (int i = 0; i < SPINS; i++) {
		if (__atomic_load_n(&lock->word, __ATOMIC_RELAXED) == FREE && try_word(lock))
			return true;
		__builtin_ia32_pause();
	}
	return false;
}

void ferry_lock_init(struct ferry_lock *lock, enum ferry_lock_rank rank)
{
	lock->word = FREE;
	lock->owner = 0;
	lock->rank = (uint32_t)rank;
	lock->spare = 0;
}

void ferry_lock_acquire(struct ferry_lock *lock)
{
	uint32_t thread = ferry_os->thread_id();

	FERRY_ASSERT(__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) != thread);
	note_acquired(lock, thread, true);
	if (!try_word(lock) && !spin(lock)) {
		while (__atomic_exchange_n(&lock->word, HELD_WAITED, __ATOMIC_ACQUIRE) != FREE)
			ferry_os->wait(&lock->word, HELD_WAITED, 0);
	}
	__atomic_store_n(&lock->owner, thread, __ATOMIC_RELAXED);
}

bool ferry_lock_try(struct ferry_lock *lock)
{
	uint32_t thread = ferry_os->thread_id();

	if (!try_word(lock))
		return false;
	note_acquired(lock, thread, false);
	__atomic_store_n(&lock->owner, thread, __ATOMIC_RELAXED);
	return true;
}

void ferry_lock_release(struct ferry_lock *lock)
{
	uint32_t thread = ferry_os->thread_id();

	FERRY_ASSERT(__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) == thread);
	note_released(lock, thread);
	__atomic_store_n(&lock->owner, 0, __ATOMIC_RELAXED);
	if (__atomic_exchange_n(&lock->word, FREE, __ATOMIC_RELEASE) == HELD_WAITED)
		ferry_os->wake(&lock->word, 1);
}

void ferry_lock_assert_held(const struct ferry_lock *lock)
{
	FERRY_ASSERT(__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) == ferry_os->thread_id());
}
