/* SPDX-License-Identifier: MIT */
/* shared.c - see shared.h. */
#include "runtime/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>

#include "base/sys.h"
#include "map/region.h"
#include "move/shared.h"
#include "runtime/mappers.h"
#include "runtime/objects.h"
#include "runtime/zone.h"

enum {
	CLOEXEC = 1, /* of memfd_create() */
	RELABEL_ROUNDS = 4,
	MOVE_PAGES = 1024, /* of a call of the host's */
	MOVE_UNWRITTEN = INT_MIN,
	KEEPER_WAIT_MS = 100,
};

/* --- what is an object ---------------------------------------------------------------------- */

void ferry_shared_begin(struct ferry_agent *agent)
{
	struct stat status;

	if (ferry_sys2(SYS_fstat, agent->books_fd, &status) == 0)
		agent->memfd_device = ferry_maps_device(status.st_dev);
	if (ferry_sys2(SYS_stat, "/dev/shm", &status) == 0)
		agent->shm_device = ferry_maps_device(status.st_dev);
}

static bool begins_with(const char *text, const char *head)
{
	while (*head != '\0' && *text == *head) {
		text++;
		head++;
	}
	return *head == '\0';
}

bool ferry_shared_is_object(const struct ferry_agent *agent, const struct ferry_mapping *mapping)
{
	if (!mapping->shared || agent->space.host.labels == NULL ||
	    begins_with(mapping->name, "/memfd:pageferry-"))
		return false;
	if (mapping->device == agent->memfd_device)
		return !ferry_zone_covers(mapping->start, mapping->end);
	/* /dev/shm may be a directory of a file system on a disk. */
	return mapping->device == agent->shm_device && begins_with(mapping->name, "/dev/shm/");
}

static enum ferry_object_kind kind_of(const struct ferry_agent *agent,
				      const struct ferry_mapping *mapping)
{
	if (mapping->device != agent->memfd_device)
		return FERRY_OBJECT_FILE;
	if (begins_with(mapping->name, "/SYSV"))
		return FERRY_OBJECT_SYSV;
	return begins_with(mapping->name, "/memfd:") ? FERRY_OBJECT_MEMFD : FERRY_OBJECT_ANONYMOUS;
}

/* --- taking over ---------------------------------------------------------------------------- */

/* => the node of pages that nobody is seen to touch: that of who mapped them. */
static int32_t home_of(const struct ferry_agent *agent, uint64_t cpu)
{
	uint32_t here = 0;

	if (cpu > 0 && cpu <= FERRY_CPUS_MAX)
		return ferry_machine_cpu_nodes(agent->machine)[cpu - 1];
	if (agent->found_node >= 0)
		return agent->found_node;
	ferry_sys3(SYS_getcpu, &here, NULL, NULL);
	return here < FERRY_CPUS_MAX ? ferry_machine_cpu_nodes(agent->machine)[here] : -1;
}

/* Asks the keeper where the part of an object lies that region is mapped to, and cuts the region
 * where it goes on elsewhere. => 0, -errno. */
static int ask_keeper(struct ferry_agent *agent, const struct ferry_mapping *mapping,
		      uint64_t cpu, struct ferry_region *region)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_OBJECT,
		.flags = kind_of(agent, mapping),
		.node = home_of(agent, cpu),
		.a = mapping->device,
		.b = mapping->inode,
		.c = (mapping->offset + (region->start - mapping->start)) >> FERRY_PAGE_SHIFT,
		.d = (region->end - region->start) >> FERRY_PAGE_SHIFT,
	};
	struct ferry_packet answer;
	int err;

	memcpy(msg.text, mapping->name, sizeof(mapping->name));
	err = ferry_agent_request(agent, &msg, NULL, 0, &answer);
	if (!err)
		err = answer.msg.status;
	if (err)
		return err;
	if (answer.msg.b == 0 || answer.msg.b > msg.d || answer.msg.a == 0 ||
	    answer.msg.a != ferry_page_down(answer.msg.a) || answer.msg.node < 0 ||
	    (uint32_t)answer.msg.node >= agent->machine->node_count)
		return -EPROTO;
	region->object_va = answer.msg.a;
	region->home = (uint32_t)answer.msg.node;
	region->end = region->start + (answer.msg.b << FERRY_PAGE_SHIFT);
	return 0;
}

static bool is_same(const struct ferry_mapping *now, const struct ferry_mapping *then)
{
	return now->shared && now->device == then->device && now->inode == then->inode &&
	       now->offset - now->start == then->offset - then->start;
}

/* What is not mapped as it was when the mapping was looked at is no part of the region. Once it is
 * registered such changes are events. => lock held. */
static void drop_changed(struct ferry_agent *agent, const struct ferry_region *region,
			 const struct ferry_mapping *then)
{
	struct ferry_mapping now;

	for (ferry_va at = region->start, stop; at < region->end; at = stop) {
		int err = ferry_maps_next(agent->maps, at, &now);
		bool there = !err && now.start <= at;

		stop = err ? region->end : there ? now.end : now.start;
		if (stop > region->end)
			stop = region->end;
		if (!there || !is_same(&now, then))
			ferry_space_on_unmap(&agent->space, at, stop);
	}
}

/* => false: somebody else has it by now. lock held. */
static bool is_free(const struct ferry_books *books, const struct ferry_region *region)
{
	uint32_t i = ferry_region_index(books, region->start);

	return i >= books->region_count || ferry_books_regions(books)[i].start >= region->end;
}

static int adopt_gap(struct ferry_agent *agent, const struct ferry_mapping *mapping, uint64_t cpu,
		     struct ferry_region *region)
{
	int err = ask_keeper(agent, mapping, cpu, region);
	bool adopted = false;

	ferry_lock_acquire(&agent->space.lock);
	if (!err && is_free(agent->books, region)) {
		err = ferry_space_adopt_shared(&agent->space, region);
		adopted = !err;
	}
	if (adopted)
		drop_changed(agent, region, mapping);
	agent->attaching--;
	ferry_lock_release(&agent->space.lock);
	if (adopted)
		err = ferry_shared_label(&agent->space, region->start, region->end);
	return err;
}

int ferry_shared_adopt(struct ferry_agent *agent, const struct ferry_mapping *mapping, uint64_t cpu)
{
	ferry_va at = mapping->start;
	int err = 0;

	while (at < mapping->end && !err) {
		struct ferry_region region = {.end = mapping->end, .flags = FERRY_REGION_SHARED};
		bool gap;

		ferry_lock_acquire(&agent->space.lock);
		gap = ferry_region_gap(agent->books, &at, &region.end);
		agent->attaching += gap;
		ferry_lock_release(&agent->space.lock);
		if (!gap)
			return 0;
		region.start = at;
		err = adopt_gap(agent, mapping, cpu, &region);
		at = region.end;
	}
	return err;
}

/* --- giving up ------------------------------------------------------------------------------ */

/* => the next region from va on that is not registered. lock held. */
static bool next_unarmed(const struct ferry_books *books, ferry_va va, struct ferry_region *region)
{
	const struct ferry_region *regions = ferry_books_regions(books);

	for (uint32_t i = ferry_region_index(books, va); i < books->region_count; i++) {
		*region = regions[i];
		if (region->flags & FERRY_REGION_UNARMED)
			return true;
	}
	return false;
}

/* Nobody is told when such a mapping ends: whoever maps something new there, or looks, sees. */
void ferry_shared_drop_stale(struct ferry_agent *agent, ferry_va start, ferry_va end)
{
	struct ferry_region region;
	struct ferry_mapping now;

	ferry_lock_acquire(&agent->space.lock);
	while (start < end && next_unarmed(agent->books, start, &region) && region.start < end) {
		bool there = ferry_maps_next(agent->maps, region.start, &now) == 0 &&
			     now.start <= region.start && ferry_shared_is_object(agent, &now);

		/* A part that is mapped in another way goes the next time. */
		if (!there)
			ferry_space_on_unmap(&agent->space, region.start, region.end);
		else if (now.end < region.end)
			ferry_space_on_unmap(&agent->space, now.end, region.end);
		start = region.end;
	}
	ferry_lock_release(&agent->space.lock);
}

void ferry_shared_tell_mapped(struct ferry_agent *agent)
{
	const struct ferry_counters *counters = &agent->books->counters;
	struct ferry_msg msg = {.version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_MAPPED};
	const struct ferry_region *regions = ferry_books_regions(agent->books);
	uint64_t unmaps = __atomic_load_n(&counters->events_unmap, __ATOMIC_RELAXED);

	if (unmaps == agent->unmaps_told)
		return;
	ferry_lock_acquire(&agent->space.lock);
	for (uint32_t i = 0; i < agent->books->region_count; i++) {
		if (!(regions[i].flags & FERRY_REGION_SHARED))
			continue;
		if (msg.a < FERRY_ARRAY_SIZE(msg.words))
			msg.words[msg.a] = regions[i].object_va;
		msg.a++;
	}
	/* Said under the lock, so that nothing is attached in between. Who maps more than can be
	 * said keeps what it had. */
	if (agent->attaching == 0) {
		agent->unmaps_told = unmaps;
		if (msg.a <= FERRY_ARRAY_SIZE(msg.words))
			(void)!ferry_proto_send(agent->up, &msg, NULL, 0);
	}
	ferry_lock_release(&agent->space.lock);
}

int ferry_shared_settle(struct ferry_agent *agent, ferry_va start, ferry_va end)
{
	struct ferry_msg msg = {.version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_SETTLE};
	struct ferry_packet answer;
	int err = ferry_agent_request(agent, &msg, NULL, 0, &answer);

	return err ? err : ferry_shared_label(&agent->space, start, end);
}

/* --- what the core asks for ----------------------------------------------------------------- */

static void host_placed(void *context, uint64_t object_va, uint32_t pages, uint32_t node)
{
	struct ferry_agent *agent = context;
	const struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_PLACED,
		.node = (int32_t)node,
		.a = object_va,
		.b = pages,
	};

	struct pollfd poll = {.fd = agent->up, .events = POLLOUT};

	/* One that stands still is not waited for with the space locked: these pages are without a
	 * label then. */
	if (ferry_sys3(SYS_poll, &poll, 1, KEEPER_WAIT_MS) != 1)
		return;
	/* A keeper that is gone keeps no books. */
	if (ferry_proto_send(agent->up, &msg, NULL, 0))
		__atomic_store_n(&agent->keeper_gone, true, __ATOMIC_RELEASE);
}

static int ask_to_relabel(struct ferry_agent *agent, struct ferry_object_run *runs, uint32_t count)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_RELABEL,
		.a = count,
	};
	const long bytes = (long)(count * sizeof(runs[0]));
	int fd = (int)ferry_sys2(SYS_memfd_create, "pageferry-call", CLOEXEC);
	struct ferry_packet answer;
	int err = fd < 0 ? fd : 0;

	if (!err && ferry_sys4(SYS_pwrite64, fd, runs, bytes, 0) != bytes)
		err = -ENOMEM;
	if (!err)
		err = ferry_agent_request(agent, &msg, &fd, 1, &answer);
	if (!err)
		err = answer.msg.status;
	if (!err && ferry_sys4(SYS_pread64, fd, runs, bytes, 0) != bytes)
		err = -EIO;
	if (fd >= 0)
		ferry_sys1(SYS_close, fd);
	return err;
}

/* Frames that other processes have leased and do not use are called back for the next round: a
 * lease that is given up at once is free for who asks next. => whether there are any. */
static bool make_room(struct ferry_agent *agent, const struct ferry_object_run *runs,
		      uint32_t count)
{
	const struct ferry_space_host *host = &agent->space.host;
	bool found = false;

	for (uint32_t i = 0; i < count;) {
		int32_t node = runs[i].node;
		uint64_t want = 0, granted;

		for (; i < count && runs[i].node == node; i++)
			want += runs[i].pages - runs[i].done;
		granted = want ? host->lease(host->context, (uint32_t)node, want, false) : 0;
		if (granted)
			host->give_back(host->context, (uint32_t)node, granted);
		found |= granted != 0;
	}
	return found;
}

static int host_relabel(void *context, struct ferry_object_run *runs, uint32_t count)
{
	struct ferry_agent *agent = context;
	int err;

	for (int round = 0;; round++) {
		err = ask_to_relabel(agent, runs, count);
		if (err || round == RELABEL_ROUNDS || !make_room(agent, runs, count))
			return err;
	}
}

static void host_find_mappers(void *context, const ferry_va *va, uint32_t count, bool *others)
{
	ferry_mappers_find(context, va, count, others);
}

/* --- nodes of the host ---------------------------------------------------------------------- */

/* A part of a move, as the host wants it. */
struct part {
	uint32_t count;
	uint32_t index[MOVE_PAGES]; /* in the move's arrays */
	uint64_t pages[MOVE_PAGES];
	int nodes[MOVE_PAGES];
	int status[MOVE_PAGES];
};

static long ask_host(const struct part *part, const int *nodes, int *status, bool all)
{
	long flags = all ? FERRY_MPOL_MF_MOVE_ALL : FERRY_MPOL_MF_MOVE;
	long ret = ferry_sys6(SYS_move_pages, 0, part->count, (long)part->pages, (long)nodes,
			      (long)status, flags);

	/* Who may have all moved is not the agent, which may do no more than the program. */
	if (ret == -EPERM && all)
		ret = ferry_sys6(SYS_move_pages, 0, part->count, (long)part->pages, (long)nodes,
				 (long)status, FERRY_MPOL_MF_MOVE);
	return ret;
}

/* The host leaves statuses unwritten where it fails: then where a page is counts. */
static void repair(struct part *part)
{
	int now[MOVE_PAGES];

	if (ask_host(part, NULL, now, false))
		return;
	for (uint32_t i = 0; i < part->count; i++) {
		if (part->status[i] == MOVE_UNWRITTEN)
			part->status[i] = now[i];
	}
}

static void move_part(struct part *part, const struct ferry_host_move *move)
{
	for (uint32_t i = 0; i < part->count; i++)
		part->status[i] = MOVE_UNWRITTEN;
	if (ask_host(part, part->nodes, part->status, move->all) != 0)
		repair(part);
	for (uint32_t i = 0; i < part->count; i++) {
		uint32_t index = part->index[i];
		int answer = part->status[i];

		if (answer == part->nodes[i])
			answer = move->target[index];
		else if (answer >= 0 || answer == MOVE_UNWRITTEN)
			answer = -EBUSY;
		move->status[index] = answer;
	}
	part->count = 0;
}

static void host_move_pages(void *context, const struct ferry_host_move *move)
{
	const struct ferry_agent *agent = context;
	const struct ferry_node *nodes = ferry_machine_nodes(agent->machine);
	struct part *part = ferry_zone_alloc(sizeof(*part));

	for (uint32_t i = 0; i < move->count; i++) {
		int real = nodes[move->target[i]].real_node;

		/* A number that stands for no particular node of the host's: any will do. */
		move->status[i] = real < 0 ? move->target[i] : -EBUSY;
		if (real < 0 || !part)
			continue;
		part->index[part->count] = i;
		part->pages[part->count] = move->va[i];
		part->nodes[part->count++] = real;
		if (part->count == MOVE_PAGES)
			move_part(part, move);
	}
	if (part && part->count)
		move_part(part, move);
	ferry_zone_free(part, sizeof(*part));
}

void ferry_shared_set_host(struct ferry_agent *agent, struct ferry_space_host *host)
{
	host->labels = agent->labels;
	host->placed = host_placed;
	host->relabel = host_relabel;
	host->find_mappers = host_find_mappers;
	if (agent->uffd.real_nodes)
		host->move_by_host = host_move_pages;
}
