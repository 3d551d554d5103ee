/* SPDX-License-Identifier: MIT */
/*
 * sim.h - a seeded scheduler: many threads of a simulated machine on one real one.
 *
 * Each simulated thread is a coroutine. It runs until it reaches a point where the scheduler may
 * switch: every service of base/os.h (so: every lock operation, clock reading and wait), and every
 * ferry_sim_step(), which the simulated MMU calls in its operations. Who runs next is drawn from
 * the seed, so a run is a pure function of its seed and its bodies: a failing seed fails again, in
 * the same way. Time is virtual; it advances a little at each switch, and jumps when everybody
 * sleeps.
 *
 * A seed also draws how the scheduler behaves: evenly at random, or with long stretches of one
 * thread, or starving some threads for a while. Rare orders need all of these.
 *
 * One simulation at a time. Not part of the core: it may use libc.
 */
#ifndef FERRY_SIM_SIM_H
#define FERRY_SIM_SIM_H

#include "base/os.h"

enum { FERRY_SIM_THREADS = 64, FERRY_SIM_STACK_BYTES = 256 * 1024 };

/* Why a simulation ended. */
enum ferry_sim_end {
	FERRY_SIM_DONE,  /* every thread has returned; daemons may be left, and wait */
	FERRY_SIM_STUCK, /* nobody can run and no time-out is due: a wake-up was lost */
	FERRY_SIM_TIRED, /* more switches than allowed: threads run, but get nowhere */
};

/* Starts a simulation: this becomes the core's host. No thread runs yet. */
void ferry_sim_begin(uint64_t seed);
/*
 * Decides instead of the seed who runs next, so that a test can go through all orders. able: the
 * threads that can run, count > 1 of them, the one that ran last first unless it yielded. => index
 * into able. To be set after ferry_sim_begin(); every step is then asked about.
 */
typedef uint32_t ferry_sim_director(void *context, const uint32_t *able, uint32_t count);
void ferry_sim_direct(ferry_sim_director *director, void *context);
/*
 * Adds a thread; may be called before ferry_sim_run() and from running threads. name: static. A
 * daemon (a fault handler) that waits does not keep the simulation going. => its number.
 */
uint32_t ferry_sim_spawn(const char *name, void (*body)(void *context), void *context, bool daemon);
/* Runs until all is done, at most max_switches. Where it ends otherwise, it says who waits. */
FERRY_MUST_CHECK enum ferry_sim_end ferry_sim_run(uint64_t max_switches);
/* Frees the threads and gives the core its former host back. Memory that the core has not given
 * back is reported: => bytes. */
uint64_t ferry_sim_finish(void);

/* --- for running threads --------------------------------------------------------------------- */

/* The scheduler may switch here. context is ignored: it fits ferry_soft_options.step. */
void ferry_sim_step(void *context);
/* Waits until ready(context) says yes; it is asked before each switch. what: static, for reports.
 */
void ferry_sim_wait_for(bool (*ready)(void *context), void *context, const char *what);
void ferry_sim_sleep_ns(uint64_t ns);
/* A random number below limit, of the simulation's seed. */
uint32_t ferry_sim_pick(uint32_t limit);
/* One line of the trace (FERRY_TRACE=1 prints it): who, when, what. */
void ferry_sim_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

uint64_t ferry_sim_switches(void);

#endif
