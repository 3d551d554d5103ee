/* SPDX-License-Identifier: MIT */
/*
 * handler.c - the threads that serve faults and events of the program.
 *
 * poll, take the space lock, read without waiting, act, release. A message is read only under the
 * lock, so an event takes effect in the books before the program goes on. Faults that cannot be
 * served at once (an event waits; the lease is used up) are kept by the thread that read them and
 * served again after the lock was let go.
 *
 * The thread that faulted sleeps in the kernel; handlers are pinned, one for each CPU, because a
 * handler on the same CPU answers several times faster than one that another CPU must wake.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>

#include "base/os.h"
#include "base/sys.h"
#include "runtime/agent.h"
#include "runtime/thread.h"

enum {
	MESSAGES = FERRY_INBOX_MESSAGES,
	LEASE_STEP = 1024, /* pages asked for at a time: 4 MiB */
	TIDS = 64,         /* threads whose control blocks are remembered */
	FULL_TRIES = 200,  /* times 5 ms: how long a first touch waits for a frame */
};

#define FULL_WAIT_NS UINT64_C(5000000)

/* Faults that one thread has read and not served yet, and the userfaultfds of forked children. */
struct pending {
	uint32_t count;
	uint32_t child_count;
	struct ferry_fault fault[MESSAGES];
	int child[MESSAGES];
};

struct shortage {
	uint32_t node;
	uint32_t pages;
};

/* --- where a thread runs -------------------------------------------------------------- */

/* Thread pointers by thread id, found once each. Racy by design: a wrong entry costs locality,
 * and may name any memory. */
static struct {
	uint32_t tid;
	ferry_va rseq;
} known[TIDS];

static ferry_va find_rseq(const struct ferry_agent *agent, uint32_t tid)
{
	uint32_t slot = tid % TIDS;
	uint64_t head = 0, len = 0;

	if (__atomic_load_n(&known[slot].tid, __ATOMIC_ACQUIRE) == tid)
		return known[slot].rseq;
	if (ferry_sys3(SYS_get_robust_list, tid, &head, &len) || head == 0)
		return 0;
	__atomic_store_n(&known[slot].tid, 0, __ATOMIC_RELEASE);
	known[slot].rseq = head - (ferry_va)agent->robust_offset + (ferry_va)agent->rseq_offset;
	__atomic_store_n(&known[slot].tid, tid, __ATOMIC_RELEASE);
	return known[slot].rseq;
}

static bool is_there(const struct ferry_agent *agent, ferry_va va)
{
	struct ferry_mmu *mmu = agent->space.mmu;
	uint8_t flags = 0;

	return mmu->ops->lookup(mmu, ferry_page_down(va), 1, &flags) == 0 &&
	       (flags & FERRY_MMU_PRESENT) != 0;
}

/* The kernel keeps the CPU of a thread in its rseq area. => its node, or -1. */
static int node_of_thread(const struct ferry_agent *agent, uint32_t tid)
{
	struct {
		uint32_t cpu_start, cpu;
	} area = {0, 0};
	struct {
		const void *base;
		size_t len;
	} local = {&area, sizeof(area)}, remote;
	ferry_va rseq = agent->rseq_offset ? find_rseq(agent, tid) : 0;
	uint32_t cpu = 0;

	remote.base = (const void *)(uintptr_t)rseq;
	remote.len = sizeof(area);
	/* By copy: the thread may have ended, and its memory with it. What is there now may be
	 * away, and nobody could serve our fault. Under the lock a page that is there stays. */
	if (rseq && is_there(agent, rseq) &&
	    ferry_sys6(SYS_process_vm_readv, agent->pid, (long)&local, 1, (long)&remote, 1,
			       0) == (long)sizeof(area))
		cpu = area.cpu;
	else
		ferry_sys3(SYS_getcpu, &cpu, NULL, NULL);
	return cpu < FERRY_CPUS_MAX ? ferry_machine_cpu_nodes(agent->machine)[cpu] : -1;
}

/* --- messages ------------------------------------------------------------------------- */

struct child {
	const struct ferry_agent *agent;
	int fd;
};

static void copy_to_child(void *context, ferry_va va, struct ferry_frame frame)
{
	const struct child *child = context;
	struct uffdio_copy copy = {
		.dst = va,
		.src = ferry_uffd_slot(&child->agent->uffd, frame),
		.len = FERRY_PAGE_SIZE,
	};

	while (ferry_sys3(SYS_ioctl, child->fd, UFFDIO_COPY, &copy) == -EAGAIN)
		;
}

static void on_fork(struct ferry_agent *agent, int fd, struct pending *pending)
{
	struct child child = {agent, fd};

	ferry_space_on_fork(&agent->space, copy_to_child, &child);
	pending->child[pending->child_count++] = fd;
}

/*
 * The children are complete; closing ends the registration and lets their threads go on. The
 * kernel walks all of a child's page tables for that: not under the lock.
 */
static void let_children_go(struct pending *pending)
{
	while (pending->child_count > 0)
		ferry_sys1(SYS_close, pending->child[--pending->child_count]);
}

static void forget_heaps(ferry_va start, ferry_va end)
{
	for (ferry_va heap = start >> 26; heap <= (end - 1) >> 26; heap++)
		__atomic_fetch_and(&ferry_heap_known[heap / 64], ~(UINT64_C(1) << (heap % 64)),
				   __ATOMIC_RELAXED);
}

static void take_message(struct ferry_agent *agent, const struct uffd_msg *msg,
			 struct pending *pending)
{
	struct ferry_space *space = &agent->space;

	switch (msg->event) {
	case UFFD_EVENT_PAGEFAULT:
		pending->fault[pending->count++] = (struct ferry_fault){
			.va = ferry_page_down(msg->arg.pagefault.address),
			.write = (msg->arg.pagefault.flags & (UFFD_PAGEFAULT_FLAG_WRITE |
							      UFFD_PAGEFAULT_FLAG_WP)) != 0,
			.protection = (msg->arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) != 0,
			.local_node = agent->by_cpu ?
					      node_of_thread(agent, msg->arg.pagefault.feat.ptid) :
					      -1,
		};
		break;
	case UFFD_EVENT_FORK:
		on_fork(agent, (int)msg->arg.fork.ufd, pending);
		break;
	case UFFD_EVENT_REMAP:
		ferry_space_on_remap(space, msg->arg.remap.from, msg->arg.remap.to,
				     msg->arg.remap.len);
		break;
	case UFFD_EVENT_REMOVE:
		ferry_space_on_remove(space, msg->arg.remove.start, msg->arg.remove.end);
		break;
	case UFFD_EVENT_UNMAP:
		ferry_space_on_unmap(space, msg->arg.remove.start, msg->arg.remove.end);
		forget_heaps(msg->arg.remove.start, msg->arg.remove.end);
		break;
	default:
		break;
	}
}

/* Serves what it can. Keeps in pending what has to be tried again. => lock held. The result says
 * what has to be done before the next try: DONE, RETRY, SHORT (then *shortage), NOMEM or GONE. */
static enum ferry_fault_result serve_pending(struct ferry_agent *agent, struct pending *pending,
					     struct shortage *shortage)
{
	enum ferry_fault_result worst = FERRY_FAULT_DONE;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < pending->count; i++) {
		enum ferry_fault_result result =
			ferry_fault_serve(&agent->space, &pending->fault[i]);

		if (result == FERRY_FAULT_GONE)
			return result;
		if (result == FERRY_FAULT_DONE || result == FERRY_FAULT_BUSY)
			continue;
		if (result == FERRY_FAULT_SHORT)
			*shortage = (struct shortage){pending->fault[i].short_node,
						      pending->fault[i].short_pages};
		pending->fault[kept++] = pending->fault[i];
		worst = result;
	}
	pending->count = kept;
	return worst;
}

/*
 * The program runs on as soon as an event is read, and may ask the books at once what has become of
 * its pages: `settling` tells it to wait until the event is in them.
 */
static uint32_t read_messages(struct ferry_agent *agent, struct pending *pending)
{
	struct uffd_msg *msgs = (struct uffd_msg *)(void *)agent->books->inbox;
	uint32_t room = MESSAGES - pending->count;
	uint32_t count;
	long got;

	if (!room)
		return 0;
	__atomic_fetch_add(&agent->books->settling, 1, __ATOMIC_SEQ_CST);
	got = ferry_sys3(SYS_read, agent->uffd.program, msgs, room * sizeof(struct uffd_msg));
	count = got > 0 ? (uint32_t)((size_t)got / sizeof(msgs[0])) : 0;
	for (uint32_t i = 0; i < count; i++) {
		take_message(agent, &msgs[i], pending);
		__atomic_store_n(&msgs[i].event, 0, __ATOMIC_RELEASE);
	}
	__atomic_fetch_sub(&agent->books->settling, 1, __ATOMIC_RELEASE);
	return count;
}

/* Every node that may serve this fault is full. Others may still free: wait a bounded time. */
static void wait_for_frames(struct ferry_agent *agent, uint32_t *tries)
{
	struct ferry_msg msg = {.version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_NOMEM};
	uint32_t freed;

	ferry_lock_acquire(&agent->space.lock);
	freed = ferry_space_reclaim_ahead(&agent->space, MESSAGES);
	ferry_lock_release(&agent->space.lock);
	if (freed)
		return;
	if (++*tries <= FULL_TRIES) {
		uint32_t never = 0;

		ferry_futex_wait(&never, 0, FULL_WAIT_NS);
		return;
	}
	if (ferry_proto_send(agent->up, &msg, NULL, 0))
		ferry_sys2(SYS_kill, agent->pid, 9);
	for (;;) { /* the keeper ends the program, and then watch() ends us */
		uint32_t never = 0;

		ferry_futex_wait(&never, 0, 0);
	}
}

/* One round: read, act, and see every fault that was read through. => messages read. */
static uint32_t round_of(struct ferry_agent *agent)
{
	struct pending pending = {.count = 0, .child_count = 0};
	uint32_t tries = 0, total = 0;

	for (;;) {
		struct shortage shortage = {0, 0};
		enum ferry_fault_result result;

		ferry_lock_acquire(&agent->space.lock);
		total += read_messages(agent, &pending);
		result = serve_pending(agent, &pending, &shortage);
		ferry_lock_release(&agent->space.lock);
		let_children_go(&pending);
		if (result == FERRY_FAULT_SHORT)
			(void)ferry_space_refill(&agent->space, shortage.node,
						 shortage.pages > LEASE_STEP ? shortage.pages :
									       LEASE_STEP);
		else if (result == FERRY_FAULT_NOMEM)
			wait_for_frames(agent, &tries);
		else if (result == FERRY_FAULT_RETRY)
			ferry_sys0(SYS_sched_yield);
		else
			break;
	}
	if (total)
		ferry_house_ring(agent);
	return total;
}

uint32_t ferry_handler_drain(struct ferry_agent *agent)
{
	return round_of(agent);
}

static void pin_to_cpu(uint32_t index)
{
	cpu_set_t allowed, one;

	CPU_ZERO(&allowed);
	if (ferry_sys3(SYS_sched_getaffinity, 0, sizeof(allowed), &allowed) < 0)
		return;
	for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || index-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		(void)ferry_sys3(SYS_sched_setaffinity, 0, sizeof(one), &one);
		return;
	}
}

void ferry_handler_run(void *arg)
{
	static uint32_t started;
	struct ferry_agent *agent = arg;
	struct pollfd poll = {.fd = agent->uffd.program, .events = POLLIN};

	pin_to_cpu(__atomic_fetch_add(&started, 1, __ATOMIC_RELAXED) % agent->handler_count);
	for (;;) {
		if (ferry_sys3(SYS_poll, &poll, 1, -1) > 0)
			(void)round_of(agent);
	}
}
