/* SPDX-License-Identifier: MIT */
/*
 * rescue.c - see rescue.h.
 *
 * The books of a killed agent may be one step behind: a page can lie in its slot while its entry
 * still says MAPPED. Such pages are told by the host's page map: absent at their address, present
 * in the slot. The reverse, a page that is in place while its entry says HELD, is told by EEXIST.
 */
#define _GNU_SOURCE
#include "runtime/rescue.h"

#include "base/sys.h"
#include "map/ptable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CHILDREN_MAX = 4096, TRIES_MAX = 20000, PAUSE_US = 100 };

/* What the program did to its addresses since the books were written. */
struct change {
	bool gone; /* discarded or unmapped; else moved */
	uint64_t from, to, length;
};

struct rescue {
	const struct ferry_books *books;
	int32_t pid;
	int program_uffd;
	int pagemap;
	uint64_t leaf_va;                /* of the entries below */
	uint64_t leaf[FERRY_HUGE_PAGES]; /* the host's page map of 2 MiB of the program */
	int children[CHILDREN_MAX];      /* userfaultfds of children forked meanwhile */
	uint32_t child_count;
	struct change *changes;
	size_t change_count, change_room;
	bool short_of_memory; /* a change could not be noted */
	uint64_t pages;
};

static uint64_t slot_address(const struct rescue *r, struct ferry_frame frame)
{
	const struct ferry_node_count *node;
	uint64_t arena;

	if (frame.node >= r->books->node_count)
		return 0;
	node = &ferry_books_node_counts(r->books)[frame.node];
	arena = frame.huge != 0 ? node->huge_arena : node->small_arena;
	return arena == 0 ? 0 : arena + (uint64_t)frame.number * FERRY_PAGE_SIZE;
}

/* => whether the host has a page there, in memory or swapped out. */
static bool is_present(const struct rescue *r, uint64_t va)
{
	uint64_t entry = 0;

	if (pread(r->pagemap, &entry, sizeof(entry), (off_t)(va / FERRY_PAGE_SIZE * 8)) !=
	    (ssize_t)sizeof(entry))
		return false;
	return entry >> 62 != 0;
}

/* Reads the host's page map of the 2 MiB around va. What cannot be read counts as absent. */
static void read_leaf(struct rescue *r, uint64_t va)
{
	memset(r->leaf, 0, sizeof(r->leaf));
	r->leaf_va = ferry_huge_down(va);
	if (pread(r->pagemap, r->leaf, sizeof(r->leaf), (off_t)(r->leaf_va / FERRY_PAGE_SIZE * 8)) <
	    0)
		return;
}

/* --- events ------------------------------------------------------------------------------ */

static void add_change(struct rescue *r, struct change change)
{
	if (r->change_count == r->change_room) {
		size_t room = r->change_room != 0 ? r->change_room * 2 : 256;
		struct change *changes = realloc(r->changes, room * sizeof(*changes));

		if (changes == NULL) {
			r->short_of_memory = true;
			return;
		}
		r->changes = changes;
		r->change_room = room;
	}
	r->changes[r->change_count++] = change;
}

static void note_event(struct rescue *r, const struct uffd_msg *msg)
{
	switch (msg->event) {
	case UFFD_EVENT_FORK:
		if (r->child_count < CHILDREN_MAX)
			r->children[r->child_count++] = (int)msg->arg.fork.ufd;
		else
			(void)close((int)msg->arg.fork.ufd);
		break;
	case UFFD_EVENT_REMAP:
		add_change(r, (struct change){ .from = msg->arg.remap.from,
					       .to = msg->arg.remap.to,
					       .length = msg->arg.remap.len });
		break;
	case UFFD_EVENT_REMOVE:
	case UFFD_EVENT_UNMAP:
		add_change(r, (struct change){ .gone = true,
					       .from = msg->arg.remove.start,
					       .length = msg->arg.remove.end -
							 msg->arg.remove.start });
		break;
	default:
		break; /* faults are tried again when their pages are there */
	}
}

static void read_events(struct rescue *r)
{
	struct uffd_msg msg;

	while (read(r->program_uffd, &msg, sizeof(msg)) == (ssize_t)sizeof(msg))
		note_event(r, &msg);
}

/* Where the page of va is by now. => false: it is gone. */
static bool follow(const struct rescue *r, uint64_t *va)
{
	for (size_t i = 0; i < r->change_count; i++) {
		const struct change *change = &r->changes[i];

		if (*va - change->from >= change->length)
			continue;
		if (change->gone)
			return false;
		*va = *va - change->from + change->to;
	}
	return true;
}

/* --- pages ------------------------------------------------------------------------------- */

static int copy_once(int uffd, uint64_t va, const void *content)
{
	struct uffdio_copy copy = {
		.dst = va,
		.src = (uint64_t)(uintptr_t)content,
		.len = FERRY_PAGE_SIZE,
	};

	return (int)ferry_sys3(SYS_ioctl, uffd, UFFDIO_COPY, &copy);
}

/* Puts a page in its place. => 0 (also where there is a page or no mapping any more), -errno. */
static int put_page(struct rescue *r, uint64_t va, const void *content)
{
	for (int tries = 0; tries < TRIES_MAX; tries++) {
		uint64_t place = va;
		int error;

		if (!follow(r, &place))
			return 0;
		error = copy_once(r->program_uffd, place, content);
		if (error == 0)
			r->pages++;
		if (error == 0 || error == -EEXIST || error == -ENOENT || error == -EINVAL)
			return 0;
		if (error != -EAGAIN)
			return error;
		/* An event was read or waits to be; its thread must run before we can go on. */
		read_events(r);
		(void)usleep(PAUSE_US);
	}
	return -EAGAIN;
}

/* Children were forked with the page absent: they get it too. Whatever fails is theirs alone. */
static void put_in_children(const struct rescue *r, uint64_t va, const void *content)
{
	uint64_t place = va;

	for (uint32_t i = 0; i < r->child_count && follow(r, &place); i++) {
		(void)copy_once(r->children[i], place, content);
		place = va;
	}
}

static int bring_home(struct rescue *r, uint64_t va, uint64_t slot)
{
	static _Alignas(FERRY_PAGE_SIZE) char content[FERRY_PAGE_SIZE];
	struct iovec to = { .iov_base = content, .iov_len = sizeof(content) };
	struct iovec from = { .iov_base = (void *)(uintptr_t)slot, .iov_len = sizeof(content) };
	int error;

	if (process_vm_readv(r->pid, &to, 1, &from, 1, 0) != (ssize_t)sizeof(content))
		return errno == ESRCH ? -ESRCH : -EIO;
	error = put_page(r, va, content);
	if (error == 0)
		put_in_children(r, va, content);
	return error;
}

static bool is_away(const struct rescue *r, struct ferry_pte pte, uint64_t va, uint64_t slot)
{
	if (slot == 0 || !ferry_pte_resident(pte) || ferry_pte_has(pte, FERRY_PTE_NO_SLOT))
		return false;
	if (ferry_pte_state(pte) == FERRY_PTE_HELD)
		return is_present(r, slot);
	return r->leaf[(va - r->leaf_va) / FERRY_PAGE_SIZE] >> 62 == 0 && is_present(r, slot);
}

static int rescue_range(struct rescue *r, uint64_t start, uint64_t end)
{
	uint64_t va = ferry_ptable_next_leaf(r->books, start, end);

	while (va < end) {
		uint64_t stop = ferry_huge_down(va) + FERRY_HUGE_SIZE;

		if (va < end)
			read_leaf(r, va);
		for (stop = stop < end ? stop : end; va < stop; va += FERRY_PAGE_SIZE) {
			struct ferry_pte pte = ferry_ptable_get(r->books, va);
			uint64_t slot = slot_address(r, ferry_pte_frame(pte));
			int error = is_away(r, pte, va, slot) ? bring_home(r, va, slot) : 0;

			if (error != 0)
				return error;
		}
		va = ferry_ptable_next_leaf(r->books, va, end);
	}
	return 0;
}

/*
 * Events that the agent had read and perhaps not, or in part, brought into the books. Applied once
 * more they change nothing: what has moved is not at its old place any more. (A fork's descriptor
 * went with the agent.)
 */
static void read_inbox(struct rescue *r)
{
	for (uint32_t i = 0; i < FERRY_INBOX_MESSAGES; i++) {
		struct uffd_msg msg;

		memcpy(&msg, &r->books->inbox[i], sizeof(msg));
		if (msg.event != UFFD_EVENT_FORK)
			note_event(r, &msg);
	}
}

/* All tables: a page that was just moved elsewhere may lie in no region yet. */
static int rescue_pages(struct rescue *r)
{
	int error;

	read_inbox(r);
	read_events(r);
	error = rescue_range(r, 0, UINT64_C(1) << FERRY_VA_BITS);
	return error == 0 && r->short_of_memory ? -ENOMEM : error;
}

/* Ends the delivery of faults for all that is mapped, wherever it is by now; all threads wake. */
static int end_registration(struct rescue *r)
{
	char path[64], line[512];
	FILE *maps;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", r->pid);
	maps = fopen(path, "re");
	if (maps == NULL)
		return -ESRCH;
	while (fgets(line, sizeof(line), maps) != NULL) {
		unsigned long long start, end;
		struct uffdio_range range;

		if (sscanf(line, "%llx-%llx", &start, &end) != 2)
			continue;
		range = (struct uffdio_range){ .start = start, .len = end - start };
		/* Most mappings are not registered, or not on this userfaultfd: no harm. */
		(void)ferry_sys3(SYS_ioctl, r->program_uffd, UFFDIO_UNREGISTER, &range);
	}
	(void)fclose(maps);
	read_events(r);
	return 0;
}

/*
 * After exec or exit nothing is left to be done. The host is asked to lift a write protection where
 * nothing can be mapped; it looks at the address space first.
 */
static bool is_over(const struct rescue *r)
{
	struct uffdio_writeprotect nothing = {
		.range = { .start = (UINT64_C(1) << FERRY_VA_BITS) - 2 * FERRY_PAGE_SIZE,
			   .len = FERRY_PAGE_SIZE },
	};

	return ferry_sys3(SYS_ioctl, r->program_uffd, UFFDIO_WRITEPROTECT, &nothing) == -ESRCH;
}

static int run(struct rescue *r)
{
	char path[64];
	int error;

	if (is_over(r))
		return -ESRCH;
	(void)snprintf(path, sizeof(path), "/proc/%d/pagemap", r->pid);
	r->pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (r->pagemap < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	error = rescue_pages(r);
	if (error == 0)
		error = end_registration(r);
	(void)close(r->pagemap);
	for (uint32_t i = 0; i < r->child_count; i++)
		(void)close(r->children[i]);
	free(r->changes);
	return error;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

int ferry_rescue_process(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			 uint64_t *pages)
{
	static struct rescue rescue;
	void *books = mmap(NULL, FERRY_BOOKS_SIZE_BYTES, PROT_READ, MAP_SHARED | MAP_NORESERVE,
			   process->books, 0);
	int error;

	(void)keeper;
	if (books == MAP_FAILED)
		return -errno;
	memset(&rescue, 0, sizeof(rescue));
	rescue.books = books;
	rescue.pid = process->pid;
	rescue.program_uffd = process->program_uffd;
	error = ferry_books_validate(books, FERRY_BOOKS_SIZE_BYTES);
	if (error == 0)
		error = run(&rescue);
	*pages = rescue.pages;
	(void)munmap(books, FERRY_BOOKS_SIZE_BYTES);
	if (error == 0) {
		close_fd(&process->program_uffd);
		close_fd(&process->arena_uffd);
		close_fd(&process->books);
	}
	return error;
}
