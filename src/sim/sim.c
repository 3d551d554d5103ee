/* SPDX-License-Identifier: MIT */
/*
 * sim.c - see sim.h.
 *
 * The scheduler is the context that called ferry_sim_run(). A thread gives up by switching to it;
 * it picks a thread that can run and switches there. A thread can run if it is READY, or if it
 * waits and what it waits for has come: its condition, its deadline, or a wake of its word.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "sim/sim.h"

enum state { UNUSED, READY, WAITS_WORD, WAITS_CONDITION, ENDED };

enum { OUTSIDE = FERRY_SIM_THREADS }; /* thread number of code that no simulated thread runs */

struct thread {
	ucontext_t context;
	enum state state;
	bool daemon;
	const char *name;
	void (*body)(void *context);
	void *body_context;
	void *stack;
	uint32_t *word;       /* WAITS_WORD */
	uint64_t deadline_ns; /* 0: none */
	bool (*ready)(void *context);
	void *ready_context;
	const char *what; /* it waits for */
	bool yielded;     /* others first */
};

static struct {
	const struct ferry_os *former_os;
	ucontext_t scheduler;
	struct thread threads[FERRY_SIM_THREADS];
	uint32_t count;
	uint32_t current;
	uint64_t seed, random;
	uint64_t now_ns;
	uint64_t switches;
	uint64_t alloc_bytes;
	uint32_t stay_percent;  /* chance that a thread goes on at a step */
	uint64_t starved;       /* bit per thread that rests for now */
	uint64_t starved_until; /* switch at which another set is drawn */
	bool starves;
	bool trace;
	ferry_sim_director *director; /* NULL: the seed decides */
	void *director_context;
	uint32_t last; /* who ran last */
} sim;

static uint64_t next_random(void)
{
	uint64_t z = sim.random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint32_t ferry_sim_pick(uint32_t limit)
{
	return (uint32_t)((next_random() >> 32) * limit >> 32);
}

static struct thread *self(void)
{
	return &sim.threads[sim.current];
}

static void give_up(void)
{
	struct thread *thread = self();

	swapcontext(&thread->context, &sim.scheduler);
}

void ferry_sim_step(void *context)
{
	(void)context;
	if (sim.current == OUTSIDE)
		return;
	sim.now_ns += 20 + ferry_sim_pick(200);
	if (sim.director != NULL || ferry_sim_pick(100) >= sim.stay_percent)
		give_up();
}

/* --- services of the host ----------------------------------------------------------------- */

static void sim_wait(uint32_t *word, uint32_t value, uint64_t timeout_ns)
{
	struct thread *thread = self();

	FERRY_ASSERT(sim.current != OUTSIDE);
	ferry_sim_step(NULL);
	if (*word != value)
		return;
	thread->state = WAITS_WORD;
	thread->word = word;
	thread->what = "word";
	thread->deadline_ns = timeout_ns == 0 ? 0 : sim.now_ns + timeout_ns;
	give_up();
}

static void sim_wake(uint32_t *word, int count)
{
	uint32_t start = sim.count == 0 ? 0 : ferry_sim_pick(sim.count);

	for (uint32_t i = 0; i < sim.count && count > 0; i++) {
		struct thread *thread = &sim.threads[(start + i) % sim.count];

		if (thread->state != WAITS_WORD || thread->word != word)
			continue;
		thread->state = READY;
		count--;
	}
	ferry_sim_step(NULL);
}

static uint64_t sim_now_ns(void)
{
	/* Nobody else can tell when the clock was read: no step where all orders are gone through.
	 */
	if (sim.director == NULL)
		ferry_sim_step(NULL);
	return sim.now_ns;
}

static uint32_t sim_thread_id(void)
{
	ferry_sim_step(NULL);
	return sim.current + 1;
}

static void sim_yield(void)
{
	sim.now_ns += 500;
	if (sim.current == OUTSIDE) /* before the run or after it: there is nobody else */
		return;
	self()->yielded = true;
	give_up();
}

static void *sim_alloc(size_t size_bytes)
{
	void *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	sim.alloc_bytes += size_bytes;
	return memory;
}

static void sim_free(void *memory, size_t size_bytes)
{
	munmap(memory, size_bytes);
	sim.alloc_bytes -= size_bytes;
}

static void __attribute__((noreturn)) sim_die(const char *file, int line, const char *what)
{
	fflush(stdout);
	fprintf(stderr, "FERRY_SEED=%" PRIu64 ": %s, after %" PRIu64 " switches: %s:%d: %s\n",
		sim.seed, sim.current == OUTSIDE ? "outside" : self()->name, sim.switches, file,
		line, what);
	abort();
}

static const struct ferry_os sim_os = {
	.wait = sim_wait,
	.wake = sim_wake,
	.now_ns = sim_now_ns,
	.thread_id = sim_thread_id,
	.yield = sim_yield,
	.alloc = sim_alloc,
	.free = sim_free,
	.die = sim_die,
};

/* --- threads ------------------------------------------------------------------------------ */

void ferry_sim_begin(uint64_t seed)
{
	static const uint32_t stays[] = { 0, 0, 30, 70, 90, 97 };
	const struct ferry_os *former = ferry_os;
	const char *trace = getenv("FERRY_TRACE");

	memset(&sim, 0, sizeof(sim));
	sim.former_os = former;
	sim.seed = seed;
	sim.random = seed;
	sim.now_ns = 1000000000;
	sim.current = OUTSIDE;
	sim.stay_percent = stays[ferry_sim_pick(sizeof(stays) / sizeof(stays[0]))];
	sim.starves = ferry_sim_pick(2) != 0;
	sim.trace = trace != NULL && trace[0] == '1';
	ferry_os = &sim_os;
}

void ferry_sim_direct(ferry_sim_director *director, void *context)
{
	sim.director = director;
	sim.director_context = context;
	sim.last = 0;
}

static void run_body(void)
{
	struct thread *thread = self();

	thread->body(thread->body_context);
	thread->state = ENDED;
	give_up();
	sim_die(__FILE__, __LINE__, "an ended thread ran");
}

uint32_t ferry_sim_spawn(const char *name, void (*body)(void *context), void *context, bool daemon)
{
	uint32_t number = sim.count++;
	struct thread *thread = &sim.threads[number];

	FERRY_ASSERT(number < FERRY_SIM_THREADS);
	thread->stack = mmap(NULL, FERRY_SIM_STACK_BYTES, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	FERRY_ASSERT(thread->stack != MAP_FAILED);
	getcontext(&thread->context);
	thread->context.uc_stack.ss_sp = thread->stack;
	thread->context.uc_stack.ss_size = FERRY_SIM_STACK_BYTES;
	thread->context.uc_link = NULL;
	makecontext(&thread->context, run_body, 0);
	thread->name = name;
	thread->body = body;
	thread->body_context = context;
	thread->daemon = daemon;
	thread->state = READY;
	return number;
}

void ferry_sim_wait_for(bool (*ready)(void *context), void *context, const char *what)
{
	struct thread *thread = self();

	thread->state = WAITS_CONDITION;
	thread->ready = ready;
	thread->ready_context = context;
	thread->deadline_ns = 0;
	thread->what = what;
	give_up();
}

static bool never(void *context)
{
	(void)context;
	return false;
}

void ferry_sim_sleep_ns(uint64_t ns)
{
	struct thread *thread = self();

	thread->state = WAITS_CONDITION;
	thread->ready = never;
	thread->deadline_ns = sim.now_ns + ns;
	thread->what = "time";
	give_up();
}

/* --- scheduling --------------------------------------------------------------------------- */

static bool can_run(struct thread *thread)
{
	if (thread->state == READY)
		return true;
	if (thread->state != WAITS_WORD && thread->state != WAITS_CONDITION)
		return false;
	if (thread->deadline_ns != 0 && thread->deadline_ns <= sim.now_ns)
		return true;
	return thread->state == WAITS_CONDITION && thread->ready(thread->ready_context);
}

static void draw_starved(void)
{
	if (!sim.starves || sim.switches < sim.starved_until)
		return;
	sim.starved = next_random() & next_random();
	sim.starved_until = sim.switches + 1 + ferry_sim_pick(400);
}

/* The same as a director decides. Who ran last comes first, then the others in turn. */
static uint32_t ask_director(void)
{
	uint32_t able[FERRY_SIM_THREADS];
	uint32_t count = 0;
	bool last_yielded = sim.threads[sim.last].yielded;

	sim.threads[sim.last].yielded = false;
	for (uint32_t k = last_yielded ? 1 : 0; k < sim.count + last_yielded; k++) {
		uint32_t i = (sim.last + k) % sim.count;

		if (can_run(&sim.threads[i]))
			able[count++] = i;
	}
	if (count == 0)
		return OUTSIDE;
	sim.last = able[count > 1 ? sim.director(sim.director_context, able, count) : 0];
	return sim.last;
}

/* => a thread that can run, or OUTSIDE. Those that yielded or starve come last. */
static uint32_t choose(void)
{
	uint32_t able[FERRY_SIM_THREADS], preferred[FERRY_SIM_THREADS];
	uint32_t able_count = 0, preferred_count = 0;

	if (sim.director != NULL)
		return ask_director();
	draw_starved();
	for (uint32_t i = 0; i < sim.count; i++) {
		struct thread *thread = &sim.threads[i];

		if (!can_run(thread))
			continue;
		able[able_count++] = i;
		if (!thread->yielded && (sim.starved >> i & 1) == 0)
			preferred[preferred_count++] = i;
	}
	for (uint32_t i = 0; i < sim.count; i++)
		sim.threads[i].yielded = false;
	if (preferred_count > 0)
		return preferred[ferry_sim_pick(preferred_count)];
	return able_count > 0 ? able[ferry_sim_pick(able_count)] : OUTSIDE;
}

/* Nobody can run: goes to the next deadline. => false: there is none. */
static bool jump(void)
{
	uint64_t next = UINT64_MAX;

	for (uint32_t i = 0; i < sim.count; i++) {
		const struct thread *thread = &sim.threads[i];

		if (thread->state != ENDED && thread->deadline_ns > sim.now_ns &&
		    thread->deadline_ns < next &&
		    (thread->state == WAITS_WORD || thread->state == WAITS_CONDITION))
			next = thread->deadline_ns;
	}
	if (next == UINT64_MAX)
		return false;
	sim.now_ns = next;
	return true;
}

static bool all_done(void)
{
	for (uint32_t i = 0; i < sim.count; i++) {
		if (sim.threads[i].state != ENDED && !sim.threads[i].daemon)
			return false;
	}
	return true;
}

static void report(const char *why)
{
	fprintf(stderr, "FERRY_SEED=%" PRIu64 ": %s after %" PRIu64 " switches\n", sim.seed, why,
		sim.switches);
	for (uint32_t i = 0; i < sim.count; i++) {
		const struct thread *thread = &sim.threads[i];

		if (thread->state == READY)
			fprintf(stderr, "  %s: can run\n", thread->name);
		else if (thread->state != ENDED)
			fprintf(stderr, "  %s: waits for %s\n", thread->name, thread->what);
	}
}

/* Daemons that are in the middle of something finish it when the others are done. */
enum ferry_sim_end ferry_sim_run(uint64_t max_switches)
{
	for (;;) {
		uint32_t next = choose();

		if (next == OUTSIDE) {
			if (all_done())
				return FERRY_SIM_DONE;
			if (jump())
				continue;
			report("stuck");
			return FERRY_SIM_STUCK;
		}
		if (++sim.switches > max_switches) {
			report("getting nowhere");
			return FERRY_SIM_TIRED;
		}
		sim.current = next;
		sim.threads[next].state = READY;
		sim.threads[next].deadline_ns = 0;
		swapcontext(&sim.scheduler, &sim.threads[next].context);
		sim.current = OUTSIDE;
	}
}

uint64_t ferry_sim_finish(void)
{
	uint64_t left = sim.alloc_bytes;

	for (uint32_t i = 0; i < sim.count; i++)
		munmap(sim.threads[i].stack, FERRY_SIM_STACK_BYTES);
	ferry_os = sim.former_os;
	sim.count = 0;
	return left;
}

uint64_t ferry_sim_switches(void)
{
	return sim.switches;
}

void ferry_sim_note(const char *format, ...)
{
	va_list args;

	if (!sim.trace)
		return;
	fprintf(stderr, "%10" PRIu64 " %-10s ", sim.switches,
		sim.current == OUTSIDE ? "outside" : self()->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}
