/* SPDX-License-Identifier: MIT */
/*
 * agent.c - the birth, watch and end of an agent; see agent.h.
 *
 * Birth. The starting thread makes a middle process, which makes the agent and ends; so the agent
 * is nobody's child in the program and becomes the keeper's, the nearest subreaper. All share the
 * program's memory. The agent has a descriptor table of its own: a copy, of which it closes all
 * but what it needs.
 *
 * The program can write all that an agent is made of. So when the program gives up rights, the
 * agent gives up the same ones before that call returns; see identity.h.
 *
 * Sleep. A program that ends soon, and that nobody looks at, needs no agent: most do. So as a rule
 * an agent begins by sleeping, having given up the program's descriptors; see door.h.
 *
 * End. Exec and exit do not wait for an agent and tell it nothing, but the kernel zeroes the main
 * thread's tid word and wakes one sleeper on it. main() may also leave by pthread_exit: then the
 * program lives on in other threads, which share our memory (kcmp says so).
 */
#include "runtime/agent.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/os.h"
#include "base/sys.h"
#include "runtime/identity.h"
#include "runtime/limits.h"
#include "runtime/tasks.h"
#include "runtime/thread.h"
#include "runtime/zone.h"

enum {
	MIDDLE_STACK = 16 * 1024,
	READY_FAILED = 2,
	LEFT_MAIN_MS = 50,
	LEAVE_MS = 100,
	WORDS = 3, /* that a sleeping agent listens to */
	FORK_LOOK_NS = 10000000,
	LEGACY_SPARE = 64 * 1024,
	BORN = UINT32_MAX, /* an agent's id before it knows it itself */
};

/* --- what the core asks of its host --------------------------------------------------------- */

static void os_yield(void)
{
	ferry_sys0(SYS_sched_yield);
}

static void __attribute__((noreturn)) os_die(const char *file, int line, const char *what)
{
	/* Nobody reads an agent's stderr but a developer with strace; the keeper reports the death
	 * and brings every page home. The three values are in the registers of the trap. */
	__asm__ volatile("" : : "r"(file), "r"(line), "r"(what));
	__builtin_trap();
}

static const struct ferry_os live_os = {
	.wait = ferry_futex_wait,
	.wake = ferry_futex_wake,
	.now_ns = ferry_clock_ns,
	.thread_id = ferry_thread_self,
	.yield = os_yield,
	.alloc = ferry_zone_alloc,
	.free = ferry_zone_free,
	.die = os_die,
};

/* --- watch ------------------------------------------------------------------------------------ */

/* The kernel tells of the memory of a program that is dumpable, or to one with rights over it. */
static bool shares_memory(void *context, int32_t tid)
{
	long *answer = context;
	long self = ferry_sys0(SYS_getpid);

	*answer = ferry_sys5(SYS_kcmp, self, tid, KCMP_VM, 0, 0);
	return *answer == 0 || *answer == -EPERM;
}

/* main() has left, and the process goes on: in its other threads, not in another program? A thread
 * that ends tells so a little before it has no memory any more. */
static bool has_left_main(int32_t pid)
{
	uint32_t never = 0;
	int memory = 1;

	for (int waited = 0; waited < LEAVE_MS && memory == 1; waited++) {
		memory = ferry_tasks_has_memory(pid);
		if (memory == 1)
			ferry_futex_wait(&never, 0, 1000000);
	}
	return memory == 0;
}

/* Does any thread of the program still share our memory? */
static bool program_shares_memory(const struct ferry_agent *agent)
{
	long answer = -ESRCH;

	/* /proc has other numbers than the kernel understands here: only main() can be asked for.
	 */
	if (agent->proc_pid != agent->pid)
		return shares_memory(&answer, agent->pid) || has_left_main(agent->proc_pid);
	if (ferry_tasks_walk(agent->pid, shares_memory, &answer))
		return false;
	return answer == 0 || (answer == -EPERM && has_left_main(agent->pid));
}

static bool has_exited(int pidfd, int wait_ms)
{
	struct pollfd poll = {.fd = pidfd, .events = POLLIN};

	return ferry_sys3(SYS_poll, &poll, 1, wait_ms) == 1;
}

/* Returns once the program has left the memory by exec; its exit is seen by the control thread. */
static void watch(struct ferry_agent *agent)
{
	uint32_t tid;

	while ((tid = __atomic_load_n(agent->tid_word, __ATOMIC_ACQUIRE)) != 0)
		(void)ferry_sys4(SYS_futex, agent->tid_word, FUTEX_WAIT, tid, NULL);
	/* Somebody may wait there as pthread_join does: the kernel woke one, and it was us. */
	(void)ferry_sys3(SYS_futex, agent->tid_word, FUTEX_WAKE, 1);
	/* main() may have left by pthread_exit: then another thread's exec tells nobody. */
	while (program_shares_memory(agent) && !has_exited(agent->pidfd, LEFT_MAIN_MS))
		;
}

/* --- sleep ------------------------------------------------------------------------------------ */

/*
 * Once a second the memory of a process is looked through for what was mapped unseen; one whose
 * agent sleeps is not, so no agent sleeps for much longer than that.
 */
#define SLEEP_NS UINT64_C(4000000000)

/* Sleeps until a word has changed, or until_ns. => -errno; -ETIMEDOUT: until_ns has come. */
static int listen_to(const struct futex_waitv *words, uint64_t until_ns)
{
	const struct timespec until = {
		.tv_sec = (time_t)(until_ns / 1000000000u),
		.tv_nsec = (long)(until_ns % 1000000000u),
	};

	return (int)ferry_sys5(SYS_futex_waitv, words, WORDS, 0, &until, CLOCK_MONOTONIC);
}

/* Nobody has asked yet. A fork that goes by without us must not see us at work. */
static void wake_by_itself(const struct ferry_agent *agent)
{
	uint32_t state = FERRY_DOOR_ASLEEP, forks;

	if (!__atomic_compare_exchange_n(&ferry_door.state, &state, FERRY_DOOR_WAKING, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return;
	/* The program may end in the middle of it. */
	while ((forks = __atomic_load_n(&ferry_door.forking, __ATOMIC_SEQ_CST)) != 0 &&
	       __atomic_load_n(&ferry_door.needed, __ATOMIC_SEQ_CST) == 0 &&
	       __atomic_load_n(agent->tid_word, __ATOMIC_ACQUIRE) != 0)
		ferry_futex_wait(&ferry_door.forking, forks, FORK_LOOK_NS);
}

/*
 * Returns when the agent is needed: by the program (door.h), by the keeper, or because it has slept
 * long enough. Ends the agent when the program has left the memory.
 */
static void sleep_until_needed(const struct ferry_agent *agent,
			       const struct ferry_agent_start *start)
{
	const uint64_t until_ns = ferry_clock_ns() + SLEEP_NS;
	uint32_t *wake = &ferry_machine_processes(start->machine)[start->process].wake;
	struct futex_waitv words[WORDS] = {
		{.uaddr = (uintptr_t)agent->tid_word, .flags = FUTEX_32},
		{.uaddr = (uintptr_t)&ferry_door.state, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG,
		 .val = FERRY_DOOR_ASLEEP},
		{.uaddr = (uintptr_t)wake, .flags = FUTEX_32},
	};
	int err = 0;

	while (__atomic_load_n(&ferry_door.state, __ATOMIC_ACQUIRE) == FERRY_DOOR_ASLEEP &&
	       __atomic_load_n(wake, __ATOMIC_ACQUIRE) == 0 &&
	       (err >= 0 || err == -EAGAIN || err == -EINTR)) {
		words[0].val = __atomic_load_n(agent->tid_word, __ATOMIC_ACQUIRE);
		if (words[0].val == 0)
			break;
		err = listen_to(words, until_ns);
	}
	wake_by_itself(agent);
	if (__atomic_load_n(agent->tid_word, __ATOMIC_ACQUIRE) == 0) {
		(void)ferry_sys3(SYS_futex, agent->tid_word, FUTEX_WAKE, 1);
		if (!program_shares_memory(agent))
			ferry_sys1(SYS_exit_group, 0);
	}
}

/* --- birth ------------------------------------------------------------------------------------ */

static void start_thread(void (*run)(void *arg), struct ferry_agent *agent)
{
	if (ferry_thread_start(FERRY_THREAD, run, agent) < 0)
		ferry_sys1(SYS_exit_group, 1);
}

static void announce(struct ferry_agent_start *start, uint32_t state)
{
	__atomic_store_n(&start->ready, state, __ATOMIC_RELEASE);
	ferry_futex_wake(&start->ready, 1);
}

static void open_door(enum ferry_door_state state)
{
	__atomic_store_n(&ferry_door.state, (uint32_t)state, __ATOMIC_SEQ_CST);
	ferry_futex_wake(&ferry_door.state, INT32_MAX);
}

/* Nothing is away yet: the keeper has nothing to bring home. Who has slept tells it why; else the
 * thread that waits for us says it. */
static void __attribute__((noreturn)) give_up(const struct ferry_agent *agent,
					      struct ferry_agent_start *start, int err,
					      bool has_slept)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_FAILED,
		.status = err,
	};

	/* A program that has left needs no agent. */
	if (has_slept && __atomic_load_n(agent->tid_word, __ATOMIC_ACQUIRE) != 0) {
		for (size_t i = 0; start->what[i] && i < sizeof(msg.text) - 1; i++)
			msg.text[i] = start->what[i];
		/* A keeper that is gone tells nobody. One that cannot be told: we are as if killed,
		 * and the program, which starts the next agent, says what is wrong. */
		err = ferry_proto_send(agent->up, &msg, NULL, 0);
		if (err && err != -EPIPE)
			ferry_sys1(SYS_exit_group, 1);
		ferry_door_forget_books();
		open_door(FERRY_DOOR_SHUT);
	} else if (!has_slept) {
		start->error = err;
		announce(start, READY_FAILED);
	}
	ferry_sys1(SYS_exit_group, 0);
	__builtin_unreachable();
}

static void agent_main(void *arg)
{
	struct ferry_agent_start *start = arg;
	struct ferry_agent *agent = ferry_zone_alloc(sizeof(*agent));
	bool asleep = false;
	uint32_t movers;
	int err;

	ferry_os = &live_os;
	__atomic_store_n(&ferry_door.agent, (uint32_t)ferry_sys0(SYS_getpid), __ATOMIC_RELEASE);
	(void)ferry_sys1(SYS_set_tid_address, &ferry_door.agent);
	(void)ferry_sys2(SYS_prctl, PR_SET_NAME, "pageferry-agent");
	/* A group of our own, for the terminal's signals. A session would be a scheduling group too
	 * (autogroup), and that of a program that never sleeps starves another for seconds. */
	(void)ferry_sys2(SYS_setpgid, 0, 0);
	ferry_identity_prepare();
	err = agent ? ferry_agent_begin(agent, start) : -ENOMEM;
	if (!err && start->advance_pages) {
		ferry_door.advance_pages = (int64_t)start->advance_pages;
		open_door(FERRY_DOOR_ASLEEP);
		announce(start, 1);
		sleep_until_needed(agent, start);
		asleep = true;
	}
	if (!err)
		err = ferry_agent_setup(agent, start);
	if (err)
		give_up(agent, start, err, asleep);
	for (uint32_t i = 0; i < agent->handler_count; i++)
		start_thread(ferry_handler_run, agent);
	movers = ferry_door.movers;
	start_thread(ferry_door_run, agent);
	/* From here on pages may be away: an agent that is killed before has left nothing. */
	open_door(FERRY_DOOR_OPEN);
	/* As many as a killed one had: moves may wait that count on them. */
	for (uint32_t i = 0; i < movers; i++)
		start_thread(ferry_door_mover_run, agent);
	start_thread(ferry_control_run, agent);
	start_thread(ferry_house_run, agent);
	if (!asleep)
		announce(start, 1);
	watch(agent);
	ferry_sys1(SYS_exit_group, 0);
}

static void middle_main(void *arg)
{
	struct ferry_agent_start *start = arg;
	long pid = ferry_thread_start(FERRY_PROCESS, agent_main, start);

	if (pid < 0) {
		start->error = (int)pid;
		start->what = "clone";
		announce(start, READY_FAILED);
	} else {
		ferry_door.agent_pid = (int32_t)pid;
	}
	/* Returning ends this thread only, which is the whole process. */
}

/*
 * By way of a middle process; except where orphans come back to the program, to be waited for as
 * its children: there the agent is a clone of it, which only __WALL sees.
 */
static int start_agent(struct ferry_agent_start *start)
{
	int reaper = 0, status;
	char *stack;
	long middle;

	(void)ferry_sys2(SYS_prctl, PR_GET_CHILD_SUBREAPER, &reaper);
	if (reaper || start->pid == 1) {
		if (start->former) /* who was ours, too */
			(void)ferry_sys4(SYS_wait4, ferry_door.agent_pid, &status, __WALL, NULL);
		middle = ferry_thread_start(FERRY_PROCESS, agent_main, start);
		ferry_door.agent_pid = (int32_t)middle;
		return middle < 0 ? (int)middle : 0;
	}
	stack = ferry_zone_alloc(MIDDLE_STACK);
	if (!stack)
		return -ENOMEM;
	middle = ferry_thread_start_bare(stack, MIDDLE_STACK, middle_main, start);
	if (middle < 0)
		return (int)middle;
	/* Another thread in waitpid(-1, __WALL) may have taken it: then it has ended as well. */
	while (ferry_sys4(SYS_wait4, middle, &status, __WALL, NULL) == -EINTR)
		;
	ferry_zone_free(stack, MIDDLE_STACK);
	return 0;
}

/* The parent's books go on; an agent that sleeps first needs them as they are now. Where they
 * cannot be kept it does not sleep. */
static void keep_legacy(struct ferry_agent_start *start)
{
	start->legacy_bytes = ferry_books_used_bytes(start->parent) + LEGACY_SPARE;
	start->legacy = ferry_zone_alloc(start->legacy_bytes);
	if (start->legacy &&
	    ferry_books_copy(start->legacy, start->legacy_bytes, start->parent) == 0)
		return;
	ferry_zone_free(start->legacy, start->legacy_bytes);
	start->legacy = NULL;
	start->advance_pages = 0;
}

int ferry_agent_launch(struct ferry_agent_start *start)
{
	int err;

	start->ready = 0;
	start->what = "no room for frames in RLIMIT_DATA";
	if (!ferry_limits_have_room(start->machine))
		return -ENOMEM;
	start->what = "address space";
	ferry_door.agent = BORN;
	err = ferry_zone_create(ferry_zone_arena_bytes(start->machine));
	if (err)
		return err;
	start->legacy = NULL;
	if (start->parent && start->advance_pages)
		keep_legacy(start);
	ferry_door.inherits = start->legacy != NULL;
	start->what = "clone";
	err = start_agent(start);
	if (err)
		return err;
	while (__atomic_load_n(&start->ready, __ATOMIC_ACQUIRE) == 0) {
		ferry_futex_wait(&start->ready, 0, 200000000);
		if (__atomic_load_n(&start->ready, __ATOMIC_ACQUIRE) == 0 &&
		    (__atomic_load_n(&ferry_door.agent, __ATOMIC_ACQUIRE) == 0 ||
		     ferry_sys2(SYS_kill, ferry_door.agent_pid, 0) == -ESRCH)) {
			start->what = "agent ended";
			return -ECHILD;
		}
	}
	return start->ready == 1 ? 0 : start->error;
}
