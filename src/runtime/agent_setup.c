/* SPDX-License-Identifier: MIT */
/*
 * agent_setup.c - what an agent builds before it serves: descriptors, userfaultfds, arenas, books,
 * space, and the memory that the program has already.
 *
 * Every step names itself in start->what, so that a failure can be told in one line.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include "base/os.h"
#include "base/sys.h"
#include "map/ptable.h"
#include "map/region.h"
#include "phys/machine.h"
#include "runtime/agent.h"
#include "runtime/limits.h"
#include "runtime/maps.h"
#include "runtime/shared.h"
#include "runtime/sharers.h"
#include "runtime/tasks.h"
#include "runtime/thread.h"
#include "runtime/zone.h"

#define PROGRAM_FEATURES                                                                       \
	((uint64_t)(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_EVENT_FORK |                 \
		    UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |                     \
		    UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_THREAD_ID))

enum {
	FD_UP,
	FD_DOWN,
	FD_DEVICE,
	FD_KEPT, /* descriptors from here on are closed */
	ARM_WAIT_NS = 200000,
	ARM_PATIENCE = 25000, /* times that: 5 s */
};

/* --- descriptors ------------------------------------------------------------------------------ */

/* The table is a copy, and its limit our own: what the program's limit leaves is enough. */
static void raise_limit(void)
{
	struct {
		uint64_t now, most;
	} files;

	if (ferry_sys4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &files))
		return;
	files.now = files.most;
	(void)ferry_sys4(SYS_prlimit64, 0, RLIMIT_NOFILE, &files, NULL);
}

static bool is_one_of(int fd, const int *fds)
{
	return fd == fds[FD_UP] || fd == fds[FD_DOWN] || fd == fds[FD_DEVICE];
}

/* Closes all but these, so that there is room. */
static void close_others(const int *fds)
{
	int top = 0;

	for (int i = 0; i < FD_KEPT; i++)
		top = fds[i] > top ? fds[i] : top;
	(void)ferry_sys3(SYS_close_range, top + 1, ~0u, 0);
	for (int fd = 0; fd < top; fd++) {
		if (!is_one_of(fd, fds))
			ferry_sys1(SYS_close, fd);
	}
}

/* Gives the descriptors the numbers FD_UP, FD_DOWN and FD_DEVICE, and closes all others. */
static int keep_descriptors(struct ferry_agent *agent, const struct ferry_agent_start *start,
			    int *device)
{
	int fds[FD_KEPT] = {start->up, start->down, start->uffd_device};

	raise_limit();
	close_others(fds);
	for (int i = 0; i < FD_KEPT; i++) {
		long above = fds[i] < 0 || fds[i] >= FD_KEPT ?
				     fds[i] :
				     ferry_sys3(SYS_fcntl, fds[i], F_DUPFD_CLOEXEC, FD_KEPT);

		if (above < 0 && fds[i] >= 0)
			return (int)above;
		fds[i] = (int)above;
	}
	for (int i = 0; i < FD_KEPT; i++) {
		if (fds[i] >= 0 && ferry_sys3(SYS_dup3, fds[i], i, O_CLOEXEC) < 0)
			return -EMFILE;
	}
	(void)ferry_sys3(SYS_close_range, FD_KEPT, ~0u, 0);
	agent->up = FD_UP;
	agent->down = FD_DOWN;
	*device = fds[FD_DEVICE] >= 0 ? FD_DEVICE : -1;
	return 0;
}

/* --- userfaultfds ----------------------------------------------------------------------------- */

static int negotiate(int fd, uint64_t features)
{
	struct uffdio_api api = {.api = UFFD_API, .features = features};

	return (int)ferry_sys3(SYS_ioctl, fd, UFFDIO_API, &api);
}

/*
 * Where pages leave by eviction, discards are no events: a discard by an agent would be one, too,
 * which it had to read for itself. The program's discards close the gate instead.
 */
static uint64_t features_of(const struct ferry_agent *agent)
{
	return agent->uffd.evicts ? PROGRAM_FEATURES & ~(uint64_t)UFFD_FEATURE_EVENT_REMOVE
				  : PROGRAM_FEATURES | UFFD_FEATURE_MOVE;
}

/* Fork events need a right that the program may not have; the keeper may. => -EINVAL: this kernel
 * has not all of these features, which it may say after having looked at the right. */
static int negotiate_events(struct ferry_agent *agent, int fd)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_API,
		.a = features_of(agent),
	};
	struct ferry_packet answer;
	int err = negotiate(fd, features_of(agent));

	if (err != -EPERM)
		return err;
	err = ferry_agent_request(agent, &msg, &fd, 1, &answer);
	if (!err && (answer.msg.status == 0 || answer.msg.status == -EINVAL))
		return answer.msg.status;
	/* Without fork events a fork() closes the gate as ever: nothing is away. Only a clone in
	 * assembler during a move could miss pages. */
	return negotiate(fd, features_of(agent) & ~(uint64_t)UFFD_FEATURE_EVENT_FORK);
}

static int negotiate_program(struct ferry_agent *agent, int fd)
{
	int err;

	agent->uffd.evicts = agent->machine->copy_path == FERRY_COPY_PATH_BOTH;
	err = negotiate_events(agent, fd);
	if (err != -EINVAL || agent->uffd.evicts)
		return err;
	agent->uffd.evicts = true;
	return negotiate_events(agent, fd);
}

static int open_uffds(struct ferry_agent *agent, struct ferry_agent_start *start, int device)
{
	int err;

	start->what = "userfaultfd";
	agent->uffd.program = ferry_uffd_open(device);
	if (agent->uffd.program < 0)
		return agent->uffd.program;
	agent->uffd.drain = ferry_uffd_open(device);
	if (agent->uffd.drain < 0)
		return agent->uffd.drain;
	err = negotiate_program(agent, agent->uffd.program);
	if (!err)
		err = negotiate(agent->uffd.drain,
				features_of(agent) &
					(UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_MOVE));
	ferry_door.gated_discards = agent->uffd.evicts;
	return err;
}

/* --- arenas and books ------------------------------------------------------------------------- */

static int lay_arenas(struct ferry_agent *agent, ferry_va at)
{
	const struct ferry_node *nodes = ferry_machine_nodes(agent->machine);
	struct ferry_node_count *counts = ferry_books_node_counts(agent->books);
	uint32_t n = agent->machine->node_count;

	agent->uffd.arena = ferry_zone_alloc(n * sizeof(agent->uffd.arena[0]));
	if (!agent->uffd.arena)
		return -ENOMEM;
	agent->uffd.node_count = n;
	for (uint32_t i = 0; i < n; i++) {
		struct ferry_arena *arena = &agent->uffd.arena[i];

		arena->slots = ferry_zone_slots(&nodes[i]);
		arena->real_node = nodes[i].real_node;
		arena->small = at;
		arena->huge = at + arena->slots * FERRY_PAGE_SIZE;
		at = arena->huge + arena->slots * FERRY_PAGE_SIZE;
		counts[i].small_arena = arena->small;
		counts[i].huge_arena = arena->huge;
	}
	return 0;
}

static int make_books(struct ferry_agent *agent)
{
	long fd = ferry_sys2(SYS_memfd_create, "pageferry-books", 3 /* CLOEXEC | ALLOW_SEALING */);
	long at;

	if (fd < 0)
		return (int)fd;
	if (ferry_sys2(SYS_ftruncate, fd, FERRY_BOOKS_SIZE_BYTES))
		return -ENOMEM;
	at = ferry_sys6(SYS_mmap, 0, (long)FERRY_BOOKS_SIZE_BYTES, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (at < 0 && at > -4096)
		return (int)at;
	/* A core file would have all of it filled. */
	(void)ferry_sys3(SYS_madvise, at, (long)FERRY_BOOKS_SIZE_BYTES, MADV_DONTDUMP);
	/* Readers cannot write what only this process may write. */
	(void)ferry_sys3(SYS_fcntl, fd, F_ADD_SEALS,
			 F_SEAL_SHRINK | F_SEAL_GROW | 0x0010 | F_SEAL_SEAL);
	agent->books_fd = (int)fd;
	agent->books = (struct ferry_books *)at;
	ferry_books_layout(agent->books, agent->machine->node_count, agent->pid);
	ferry_door.books = agent->books;
	return 0;
}

/* --- the space -------------------------------------------------------------------------------- */

static uint64_t host_lease(void *context, uint32_t node, uint64_t want, bool force)
{
	struct ferry_agent *agent = context;
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_LEASE,
		.node = (int32_t)node,
		.a = want,
		.b = force,
	};
	struct ferry_packet answer;
	int err = ferry_agent_request(agent, &msg, NULL, 0, &answer);

	if (err || answer.msg.status)
		return 0;
	return answer.msg.a <= want ? answer.msg.a : want;
}

static void host_give_back(void *context, uint32_t node, uint64_t pages)
{
	struct ferry_agent *agent = context;
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_RETURN,
		.node = (int32_t)node,
		.a = pages,
	};

	/* A keeper that is gone keeps no books. */
	if (ferry_proto_send(agent->up, &msg, NULL, 0))
		__atomic_store_n(&agent->keeper_gone, true, __ATOMIC_RELEASE);
}

static void host_read_events(void *context)
{
	if (ferry_handler_drain(context) == 0)
		ferry_sys0(SYS_sched_yield);
}

static int host_mapping_at(void *context, ferry_va va, ferry_va *start, ferry_va *end,
			   bool *anonymous)
{
	struct ferry_agent *agent = context;
	struct ferry_mapping mapping;
	int err = ferry_maps_next(agent->maps, va, &mapping);

	if (err)
		return err;
	if (mapping.start > va)
		return -ENOENT;
	*start = mapping.start;
	*end = mapping.end;
	*anonymous = mapping.anonymous && !ferry_zone_covers(mapping.start, mapping.end);
	return mapping.kernels ? -EFAULT : 0;
}

static int host_page_at(void *context, ferry_va va)
{
	void *address = (void *)va;
	int status = -ENOSYS;

	(void)context;
	if (ferry_sys6(SYS_move_pages, 0, 1, (long)&address, 0, (long)&status, 0))
		return -ENOSYS;
	return status;
}

static int protection_at(void *context, ferry_va *start, ferry_va *end)
{
	const struct ferry_agent *agent = context;
	struct ferry_mapping mapping;
	int err = ferry_maps_next(agent->maps, *start, &mapping);

	if (err)
		return err;
	*start = mapping.start;
	*end = mapping.end;
	return mapping.protection;
}

static int make_space(struct ferry_agent *agent)
{
	struct ferry_space_host host = {
		.context = agent,
		.lease = host_lease,
		.give_back = host_give_back,
		.read_events = host_read_events,
		.mapping_at = host_mapping_at,
		.page_at = host_page_at,
		.unshare = ferry_sharers_move,
		.allowed = ferry_machine_mems(agent->machine, ferry_door.process),
	};
	uint32_t n = agent->machine->node_count;
	uint64_t *slots = ferry_zone_alloc(n * sizeof(slots[0]));
	int err;

	if (!slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		slots[i] = agent->uffd.arena[i].slots;
	host.slots = slots;
	ferry_shared_set_host(agent, &host);
	err = ferry_space_init(&agent->space, agent->books, agent->machine, &agent->uffd.mmu,
			       &host);
	/* A child of a tainted parent shares the pages that were referred to. */
	agent->space.tainted = __atomic_load_n(&ferry_tainted, __ATOMIC_ACQUIRE) != 0;
	ferry_zone_free(slots, n * sizeof(slots[0]));
	return err;
}

/* What was leased in advance is drawn on by the adoption of what is there. */
static int tell_keeper(struct ferry_agent *agent)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_AGENT,
		.a = (uint64_t)agent->pid,
	};
	int fds[] = {agent->books_fd, agent->uffd.program, agent->uffd.drain};
	struct ferry_packet answer;
	int err = ferry_agent_request(agent, &msg, fds, 3, &answer);

	if (!err)
		err = answer.msg.status;
	if (err || !answer.msg.a)
		return err;
	if ((uint32_t)answer.msg.node >= agent->machine->node_count)
		return -EPROTO;
	agent->found_node = answer.msg.node;
	ferry_lock_acquire(&agent->space.lock);
	ferry_pool_grant(&agent->space.pools[agent->found_node], answer.msg.a);
	ferry_lock_release(&agent->space.lock);
	return 0;
}

void ferry_agent_return_advance(struct ferry_agent *agent)
{
	uint64_t pages;

	if (agent->found_node < 0)
		return;
	ferry_lock_acquire(&agent->space.lock);
	pages = ferry_space_shrink(&agent->space, (uint32_t)agent->found_node, UINT64_MAX);
	ferry_lock_release(&agent->space.lock);
	if (pages)
		host_give_back(agent, (uint32_t)agent->found_node, pages);
	agent->found_node = -1;
}

/* --- memory that is there already ----------------------------------------------------- */

/* => the number at text; *end is behind it. */
static unsigned long number_at(const char *text, char **end)
{
	unsigned long value = 0;

	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (unsigned long)(*text - '0');
	*end = (char *)(uintptr_t)text;
	return value;
}

/* The argument and environment strings are read by the kernel at any time (I13). */
static int flag_strings(struct ferry_agent *agent)
{
	struct ferry_task_stat self;
	int err = ferry_tasks_stat(0, &self);

	if (err || self.strings_start == 0 || self.strings_end <= self.strings_start)
		return err;
	return ferry_space_flag_thread(&agent->space, ferry_page_down(self.strings_start),
				       ferry_page_up(self.strings_end));
}

/* As long as the parent's agent has not closed the userfaultfd that the fork made, all of the child
 * belongs to that one: waits for it, *patience times in all. */
static int arm_patiently(struct ferry_agent *agent, ferry_va start, ferry_va end, bool shared,
			 uint32_t *patience)
{
	struct ferry_mmu *mmu = &agent->uffd.mmu;
	int (*arm)(struct ferry_mmu *mmu, ferry_va start, uint64_t len_bytes) =
		shared ? mmu->ops->arm_shared : mmu->ops->arm;
	uint32_t never = 0;
	int err = arm(mmu, start, end - start);

	for (; err == -EBUSY && *patience > 0; --*patience) {
		ferry_futex_wait(&never, 0, ARM_WAIT_NS);
		err = arm(mmu, start, end - start);
	}
	return err;
}

/* Arms what the parent's books call managed, as far as the child has it; has_slept: and still has
 * it (the host arms a range with a hole in it, too). */
static int arm_inherited(struct ferry_agent *agent, bool has_slept)
{
	uint32_t patience = ARM_PATIENCE;
	struct ferry_books *books = agent->books;
	struct ferry_region *regions = ferry_books_regions(books);

	for (uint32_t i = 0; i < books->region_count;) {
		ferry_va start = regions[i].start, end = regions[i].end;
		bool shared = (regions[i].flags & FERRY_REGION_SHARED) != 0;
		struct ferry_mapping mapping;
		int err = -EINVAL;

		if (!has_slept && !(regions[i].flags & FERRY_REGION_UNARMED))
			err = arm_patiently(agent, start, end, shared, &patience);
		if (regions[i].flags & FERRY_REGION_UNARMED && !has_slept) {
			i = ferry_region_index(books, end);
			continue;
		}

		/* Part of it is not there (MADV_DONTFORK): piece by piece. */
		for (ferry_va at = start; err && at < end;) {
			ferry_va stop = end;
			int next = ferry_maps_next(agent->maps, at, &mapping);
			bool there = !next && mapping.start <= at &&
				     (shared ? ferry_shared_is_object(agent, &mapping)
					     : mapping.anonymous);

			if (!next)
				stop = mapping.start > at ? mapping.start : mapping.end;
			if (stop > end)
				stop = end;
			if (!there || arm_patiently(agent, at, stop, shared, &patience))
				ferry_space_on_unmap(&agent->space, at, stop);
			else if (has_slept)
				ferry_house_drop_holes(agent, at, stop);
			at = stop;
		}
		i = ferry_region_index(books, end);
	}
	return 0;
}

/* The threads whose control blocks a killed agent knew of live on. */
static int flag_former_threads(struct ferry_agent *agent, const struct ferry_books *former)
{
	const ferry_va end = UINT64_C(1) << FERRY_VA_BITS;
	ferry_va va = ferry_ptable_next_leaf(former, 0, end);
	int err = 0;

	for (; va < end && !err; va = ferry_ptable_next_leaf(former, va, end)) {
		ferry_va stop = ferry_huge_down(va) + FERRY_HUGE_SIZE;

		for (va = ferry_huge_down(va); va < stop && !err; va += FERRY_PAGE_SIZE) {
			if (ferry_pte_has(ferry_ptable_get(former, va), FERRY_PTE_THREAD))
				err = ferry_space_flag_thread(&agent->space, va,
							      va + FERRY_PAGE_SIZE);
		}
	}
	return err;
}

/* What the program advised and locked. The former agent may have been killed over a change of its
 * regions: what comes of that is a hint too many or too few. */
static void flag_former_regions(struct ferry_agent *agent, const struct ferry_books *former)
{
	const struct ferry_region *regions = ferry_books_regions(former);
	uint32_t count = former->region_count;

	for (uint32_t i = 0; i < count && i < FERRY_REGIONS_MAX; i++) {
		uint32_t flags = regions[i].flags & ~(uint32_t)FERRY_REGION_ADOPTED;

		if (!flags || regions[i].start >= regions[i].end)
			continue;
		ferry_lock_acquire(&agent->space.lock);
		if (ferry_region_flag(agent->books, regions[i].start, regions[i].end, flags, 0)) {
			ferry_lock_release(&agent->space.lock);
			return;
		}
		ferry_lock_release(&agent->space.lock);
	}
}

/* What the child has changed in its sleep is found by comparing all of it. */
static void find_changes(struct ferry_agent *agent)
{
	ferry_house_scan(agent);
	ferry_lock_acquire(&agent->space.lock);
	ferry_space_doubt(&agent->space, 0, UINT64_C(1) << FERRY_VA_BITS);
	ferry_lock_release(&agent->space.lock);
}

static void forget_objects(struct ferry_agent *agent)
{
	const struct ferry_region *regions = ferry_books_regions(agent->books);

	for (uint32_t i = 0; i < agent->books->region_count;) {
		if (regions[i].flags & FERRY_REGION_SHARED)
			ferry_space_on_unmap(&agent->space, regions[i].start, regions[i].end);
		else
			i++;
	}
}

static int take_over(struct ferry_agent *agent, struct ferry_agent_start *start)
{
	const struct ferry_books *parent = start->legacy ? start->legacy : start->parent;
	int err = 0;

	ferry_lock_acquire(&agent->space.lock);
	if (parent) {
		__atomic_fetch_add(&agent->books->settling, 1, __ATOMIC_RELEASE);
		agent->inherited = true;
		err = ferry_space_inherit(&agent->space, parent);
		/* What lies at the object addresses, or is mapped there, by now, nobody knows: it
		 * is looked for anew. */
		if (!err && (!start->keeps_objects || start->legacy))
			forget_objects(agent);
		if (!err)
			err = arm_inherited(agent, start->legacy != NULL);
	}
	if (!err && start->former)
		err = flag_former_threads(agent, start->former);
	if (!err)
		err = ferry_space_flag_thread(&agent->space, ferry_page_down(start->thread_block),
					      ferry_page_up(start->thread_block_end));
	if (!err)
		err = flag_strings(agent);
	ferry_lock_release(&agent->space.lock);
	agent->scan_again = true; /* threads that were born meanwhile have kept memory back */
	if (!err && !parent)
		ferry_house_scan(agent);
	else if (!err && start->legacy)
		find_changes(agent);
	ferry_zone_free(start->legacy, start->legacy_bytes);
	start->legacy = NULL;
	if (!err && start->former)
		flag_former_regions(agent, start->former);
	return err;
}

static void count_handlers(struct ferry_agent *agent)
{
	const int16_t *cpu_nodes = ferry_machine_cpu_nodes(agent->machine);
	int16_t first = -1;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	(void)ferry_sys3(SYS_sched_getaffinity, 0, sizeof(cpus), &cpus);
	for (size_t i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET(i, &cpus))
			continue;
		if (agent->handler_count < FERRY_HANDLERS_MAX)
			agent->handler_count++;
		if (i < FERRY_CPUS_MAX && cpu_nodes[i] >= 0) {
			if (first >= 0 && cpu_nodes[i] != first)
				agent->by_cpu = true;
			first = cpu_nodes[i];
		}
	}
	if (!agent->handler_count)
		agent->handler_count = 1;
	if (agent->machine->policy.mode != FERRY_POLICY_LOCAL)
		agent->by_cpu = false;
}

static bool host_makes_huge_pages(void)
{
	char text[64];

	return ferry_tasks_read("/sys/kernel/mm/transparent_hugepage/enabled", text,
				sizeof(text)) > 0 &&
	       strstr(text, "[always]") != NULL;
}

static int open_proc(const char *path)
{
	return (int)ferry_sys4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

/*
 * The page map is for the owner's eyes, and for root's where a process has given up rights (it is
 * not dumpable then; a forked child inherits that). Asking the keeper is no way: what root opens
 * shows the numbers of the host's frames. So this child is dumpable for the one call. The same
 * holds for /proc/self/mem.
 */
static int open_own(const char *path)
{
	int fd = open_proc(path);

	if (fd != -EACCES || ferry_sys5(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 ||
	    ferry_sys5(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0))
		return fd;
	fd = open_proc(path);
	(void)ferry_sys5(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	return fd;
}

/* Linux 6.8 is the first to have UFFDIO_MOVE. */
static bool is_before_move(void)
{
	struct utsname host;
	char *end;
	unsigned long major;

	if (ferry_sys1(SYS_uname, &host))
		return true;
	major = number_at(host.release, &end);
	return major < 6 || (major == 6 && *end == '.' && number_at(end + 1, &end) < 8);
}

int ferry_agent_begin(struct ferry_agent *agent, struct ferry_agent_start *start)
{
	int err;

	agent->machine = start->machine;
	agent->labels = start->labels;
	agent->pid = start->pid;
	agent->proc_pid = start->proc_pid;
	agent->tid_word = start->tid_word;
	agent->rseq_offset = start->rseq_offset;
	agent->robust_offset = start->robust_offset;
	agent->found_node = -1;
	ferry_lock_init(&agent->up_lock, FERRY_RANK_ENGINE);
	agent->uffd.memory = -1;
	start->what = "descriptors";
	err = keep_descriptors(agent, start, &agent->device);
	if (err)
		return err;
	/* Now, as long as the program stands still: see open_own(). */
	start->what = "/proc";
	agent->uffd.pagemap = open_own("/proc/self/pagemap");
	agent->maps = open_own("/proc/self/maps");
	if (agent->machine->copy_path == FERRY_COPY_PATH_BOTH || is_before_move())
		agent->uffd.memory = open_own("/proc/self/mem");
	return agent->uffd.pagemap < 0 || agent->maps < 0 ? -EACCES : 0;
}

int ferry_agent_setup(struct ferry_agent *agent, struct ferry_agent_start *start)
{
	int err = open_uffds(agent, start, agent->device);

	if (agent->device >= 0)
		ferry_sys1(SYS_close, agent->device);
	if (err)
		return err;
	start->what = "/proc";
	agent->pidfd = (int)ferry_sys2(SYS_pidfd_open, agent->pid, 0);
	if (agent->pidfd < 0)
		return agent->pidfd;
	if (agent->uffd.evicts && agent->uffd.memory < 0)
		agent->uffd.memory = open_own("/proc/self/mem");
	if (agent->uffd.evicts && agent->uffd.memory < 0)
		return -EACCES;
	agent->uffd.no_thp = host_makes_huge_pages();
	agent->uffd.protection_at = protection_at;
	agent->uffd.context = agent;
	agent->uffd.window = &ferry_door.window;
	start->what = "books";
	err = make_books(agent);
	if (err)
		return err;
	ferry_shared_begin(agent);
	start->what = "arenas";
	err = lay_arenas(agent, ferry_zone_arenas());
	if (!err)
		err = ferry_uffd_init(&agent->uffd);
	if (!err)
		err = make_space(agent);
	if (err)
		return err;
	start->what = "no room for frames in RLIMIT_DATA";
	err = ferry_limits_begin(agent);
	if (err)
		return err;
	start->what = "keeper";
	err = tell_keeper(agent);
	ferry_sys1(SYS_close, agent->books_fd); /* the keeper has its own, and gives it to others */
	if (err)
		return err;
	count_handlers(agent);
	start->what = "memory of the program";
	return take_over(agent, start);
}
