/* SPDX-License-Identifier: MIT */
/* objects.c - see objects.h. */
#define _GNU_SOURCE
#include "runtime/objects.h"

#include "map/object.h"
#include "runtime/lease.h"
#include "runtime/maps.h"
#include "runtime/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	OBJECTS_MAX = 16384,
	RUNS_MAX = 4096, /* of a message */
	ADOPT_MOST = 4, /* times its capacity that a node may be charged */
	SPARE_PAGES = 4096, /* addresses kept behind an object, for its growth */
	NAME_BYTES = 256,
};

#define LOOK_NS    UINT64_C(200000000)
#define PAGES_MAX  (UINT64_C(1) << (FERRY_VA_BITS - FERRY_PAGE_SHIFT - 1)) /* of an object */
#define OBJECT_END (UINT64_C(1) << FERRY_VA_BITS)

/* Consecutive pages of an object, and where they lie in the space of all. */
struct ferry_keeper_extent {
	uint64_t va;
	uint64_t first; /* page of the object */
	uint64_t pages;
	struct ferry_keeper_object *object;
};

struct ferry_keeper_object {
	struct ferry_keeper_object *next;
	uint64_t device, inode;
	enum ferry_object_kind kind;
	char name[NAME_BYTES];
	uint32_t home;
	uint32_t mapper_count;
	uint64_t mappers[FERRY_PROCESSES_MAX / 64]; /* by slot */
};

/* All objects, and all extents by address; addresses that were given back. */
struct ferry_keeper_objects {
	struct ferry_keeper_object *first;
	struct ferry_keeper_extent *extents;
	size_t extent_count, extent_room;
	struct span {
		uint64_t va, bytes;
	} *spans;
	size_t span_count, span_room;
	uint64_t end;     /* addresses from here on were never used */
	uint64_t look_ns; /* when to look for objects that are gone; UINT64_MAX: not at all */
	uint32_t count;
	bool any_kept;    /* one that nobody maps is kept */
	struct ferry_object_run runs[RUNS_MAX];
};

/* --- labels --------------------------------------------------------------------------------- */

int ferry_objects_init(struct ferry_keeper *keeper)
{
	void *memory;
	int error;

	keeper->objects = calloc(1, sizeof(*keeper->objects));
	if (keeper->objects == NULL)
		return -ENOMEM;
	keeper->objects->end = FERRY_HUGE_SIZE;
	keeper->objects->look_ns = UINT64_MAX;
	error = ferry_segment_memory("pageferry-labels", FERRY_BOOKS_SIZE_BYTES, &memory,
				     &keeper->labels_fd);
	if (error != 0)
		return error;
	keeper->labels = memory;
	ferry_books_layout(keeper->labels, keeper->machine->node_count, 0);
	return 0;
}

static void label_changed(void *context, int32_t from, int32_t to, uint64_t pages)
{
	struct ferry_keeper *keeper = context;

	if (to != FERRY_NO_LABEL)
		ferry_lease_take_label(keeper, (uint32_t)to, pages);
	if (from != FERRY_NO_LABEL)
		ferry_lease_return_label(keeper, (uint32_t)from, pages);
}

/* --- addresses ------------------------------------------------------------------------------ */

static bool make_room(void **array, size_t *room, size_t count, size_t size)
{
	size_t more = *room != 0 ? *room * 2 : 64;
	void *grown;

	if (count < *room)
		return true;
	grown = realloc(*array, more * size);
	if (grown == NULL)
		return false;
	*array = grown;
	*room = more;
	return true;
}

/* => addresses for so many bytes, 0: there are none left. */
static uint64_t take_addresses(struct ferry_keeper_objects *objects, uint64_t bytes)
{
	uint64_t va;

	for (size_t i = 0; i < objects->span_count; i++) {
		struct span *span = &objects->spans[i];

		if (span->bytes < bytes)
			continue;
		va = span->va;
		span->va += bytes;
		span->bytes -= bytes;
		if (span->bytes == 0)
			*span = objects->spans[--objects->span_count];
		return va;
	}
	if (bytes > OBJECT_END - objects->end)
		return 0;
	va = objects->end;
	objects->end += bytes;
	return va;
}

static void give_addresses(struct ferry_keeper_objects *objects, uint64_t va, uint64_t bytes)
{
	/* Without memory for a note they are not used again. */
	if (make_room((void **)&objects->spans, &objects->span_room, objects->span_count,
		      sizeof(objects->spans[0])))
		objects->spans[objects->span_count++] = (struct span){ va, bytes };
}

/* An extent's addresses end at 2 MiB, so that no leaf of labels belongs to two objects. */
static uint64_t bytes_of(uint64_t pages)
{
	return ferry_huge_down((pages << FERRY_PAGE_SHIFT) + FERRY_HUGE_SIZE - 1);
}

/* => the number of extents that end at or below va: the place of the one that has it. */
static size_t place_of(const struct ferry_keeper_objects *objects, uint64_t va)
{
	size_t low = 0, high = objects->extent_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct ferry_keeper_extent *extent = &objects->extents[middle];

		if (extent->va + (extent->pages << FERRY_PAGE_SHIFT) > va)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* => the extent that has va, or NULL. */
static struct ferry_keeper_extent *extent_at(const struct ferry_keeper_objects *objects,
					     uint64_t va)
{
	size_t place = place_of(objects, va);

	if (place == objects->extent_count || objects->extents[place].va > va)
		return NULL;
	return &objects->extents[place];
}

/* => the extent of the object that has the page, or NULL; *next: where the one above begins. */
static struct ferry_keeper_extent *extent_of(const struct ferry_keeper_objects *objects,
					     const struct ferry_keeper_object *object,
					     uint64_t page, uint64_t *next)
{
	struct ferry_keeper_extent *found = NULL;

	*next = UINT64_MAX;
	for (size_t i = 0; i < objects->extent_count; i++) {
		struct ferry_keeper_extent *extent = &objects->extents[i];

		if (extent->object != object)
			continue;
		if (extent->first <= page && page - extent->first < extent->pages)
			found = extent;
		else if (extent->first > page && extent->first < *next)
			*next = extent->first;
	}
	return found;
}

/* Makes an extent of an object from a page on, for pages of them and some more, below limit.
 * => the extent, NULL: no room. */
static struct ferry_keeper_extent *add_extent(struct ferry_keeper_objects *objects,
					      struct ferry_keeper_object *object, uint64_t first,
					      uint64_t pages, uint64_t limit)
{
	struct ferry_keeper_extent extent = { .first = first, .object = object };
	size_t place;

	extent.pages = pages + (pages > SPARE_PAGES ? pages : SPARE_PAGES);
	if (extent.pages > limit - first)
		extent.pages = limit - first;
	if (!make_room((void **)&objects->extents, &objects->extent_room, objects->extent_count,
		       sizeof(extent)))
		return NULL;
	extent.va = take_addresses(objects, bytes_of(extent.pages));
	if (extent.va == 0)
		return NULL;
	place = place_of(objects, extent.va);
	memmove(&objects->extents[place + 1], &objects->extents[place],
		(objects->extent_count - place) * sizeof(extent));
	objects->extents[place] = extent;
	objects->extent_count++;
	return &objects->extents[place];
}

/* --- objects -------------------------------------------------------------------------------- */

static bool is_mapper(const struct ferry_keeper_object *object, uint32_t slot)
{
	return (object->mappers[slot / 64] >> (slot % 64) & 1) != 0;
}

static void add_mapper(struct ferry_keeper_object *object, uint32_t slot)
{
	object->mapper_count += !is_mapper(object, slot);
	object->mappers[slot / 64] |= UINT64_C(1) << (slot % 64);
}

static void remove_mapper(struct ferry_keeper *keeper, struct ferry_keeper_object *object,
			  uint32_t slot)
{
	if (!is_mapper(object, slot))
		return;
	object->mappers[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
	object->mapper_count--;
	/* A process that ends may have had it open, too. */
	if (object->mapper_count == 0)
		keeper->objects->look_ns = 0;
}

static struct ferry_keeper_object *find_object(const struct ferry_keeper_objects *objects,
					       const struct ferry_msg *msg)
{
	struct ferry_keeper_object *object = objects->first;

	while (object != NULL && (object->device != msg->a || object->inode != msg->b ||
				  object->kind != (enum ferry_object_kind)msg->flags))
		object = object->next;
	return object;
}

/* The node of pages that nobody was seen to touch. */
static uint32_t choose_home(const struct ferry_keeper *keeper, int32_t wish)
{
	uint32_t node = 0;

	if (ferry_machine_has_memory(keeper->machine, wish))
		return (uint32_t)wish;
	while (node + 1 < keeper->machine->node_count &&
	       !ferry_machine_has_memory(keeper->machine, node))
		node++;
	return node;
}

static struct ferry_keeper_object *make_object(struct ferry_keeper *keeper,
					       const struct ferry_msg *msg)
{
	struct ferry_keeper_object *object = NULL;

	if (keeper->objects->count < OBJECTS_MAX)
		object = calloc(1, sizeof(*object));
	if (object == NULL)
		return NULL;
	keeper->objects->count++;
	object->device = msg->a;
	object->inode = msg->b;
	object->kind = (enum ferry_object_kind)msg->flags;
	memcpy(object->name, msg->text, sizeof(object->name));
	object->name[sizeof(object->name) - 1] = '\0';
	object->home = choose_home(keeper, msg->node);
	object->next = keeper->objects->first;
	keeper->objects->first = object;
	return object;
}

static void forget_object(struct ferry_keeper *keeper, struct ferry_keeper_object *object)
{
	struct ferry_keeper_objects *objects = keeper->objects;
	struct ferry_keeper_object **at = &objects->first;
	size_t kept = 0;

	for (size_t i = 0; i < objects->extent_count; i++) {
		const struct ferry_keeper_extent *extent = &objects->extents[i];

		if (extent->object != object) {
			objects->extents[kept++] = *extent;
			continue;
		}
		ferry_labels_clear(keeper->labels, extent->va,
				   extent->va + bytes_of(extent->pages), label_changed, keeper);
		give_addresses(objects, extent->va, bytes_of(extent->pages));
	}
	objects->extent_count = kept;
	while (*at != object)
		at = &(*at)->next;
	*at = object->next;
	objects->count--;
	free(object);
}

/* --- messages ------------------------------------------------------------------------------- */

static void answer(struct ferry_keeper_process *process, struct ferry_msg *msg)
{
	msg->version = FERRY_PROTO_VERSION;
	msg->kind = FERRY_MSG_OK;
	/* An agent that does not read its answers hurts itself only. */
	if (ferry_proto_send(process->up, msg, NULL, 0) != 0)
		return;
}

static int attach(struct ferry_keeper *keeper, const struct ferry_keeper_process *process,
		  const struct ferry_msg *msg, struct ferry_msg *ok)
{
	struct ferry_keeper_objects *objects = keeper->objects;
	struct ferry_keeper_object *object;
	struct ferry_keeper_extent *extent;
	uint64_t next;

	if (msg->flags >= FERRY_OBJECT_KINDS || msg->d == 0 || msg->d > PAGES_MAX ||
	    msg->c > PAGES_MAX)
		return -EINVAL;
	object = find_object(objects, msg);
	if (object == NULL)
		object = make_object(keeper, msg);
	if (object == NULL)
		return -ENOMEM;
	add_mapper(object, process->slot);
	extent = extent_of(objects, object, msg->c, &next);
	if (extent == NULL)
		extent = add_extent(objects, object, msg->c, msg->d, next);
	if (extent == NULL)
		return -ENOSPC;
	ok->node = (int32_t)object->home;
	ok->a = extent->va + ((msg->c - extent->first) << FERRY_PAGE_SHIFT);
	ok->b = extent->pages - (msg->c - extent->first);
	if (ok->b > msg->d)
		ok->b = msg->d;
	return 0;
}

void ferry_objects_attach(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			  const struct ferry_msg *msg)
{
	struct ferry_msg ok = { .status = 0 };

	ok.status = attach(keeper, process, msg, &ok);
	answer(process, &ok);
}

/* What a process maps, by an object address of each part: no other object is mapped by it. */
void ferry_objects_mapped(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			  const struct ferry_msg *msg)
{
	struct ferry_keeper_object *object, *next;

	if (msg->a > FERRY_ARRAY_SIZE(msg->words))
		return;
	for (object = keeper->objects->first; object != NULL; object = next) {
		bool named = false;

		next = object->next;
		for (uint64_t i = 0; i < msg->a && !named; i++) {
			const struct ferry_keeper_extent *extent =
				extent_at(keeper->objects, msg->words[i]);

			named = extent != NULL && extent->object == object;
		}
		if (!named)
			remove_mapper(keeper, object, process->slot);
	}
}

/* => whether the process may name these pages. */
static bool may_name(const struct ferry_keeper *keeper, const struct ferry_keeper_process *process,
		     uint64_t va, uint64_t pages)
{
	const struct ferry_keeper_extent *extent = extent_at(keeper->objects, va);

	return extent != NULL && va == ferry_page_down(va) &&
	       pages <= extent->pages - ((va - extent->va) >> FERRY_PAGE_SHIFT) &&
	       is_mapper(extent->object, process->slot);
}

void ferry_objects_placed(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			  const struct ferry_msg *msg)
{
	struct ferry_object_run run = {
		.object_va = msg->a,
		.pages = (uint32_t)msg->b,
		.node = msg->node,
		.adopt = 1,
	};

	/* No process can give more than it has. */
	if (msg->node < 0 || (uint32_t)msg->node >= keeper->machine->node_count ||
	    msg->b > FERRY_HUGE_PAGES || msg->b > process->leases[msg->node])
		return;
	/* Pages that somebody else was faster with go back to their node. */
	if (may_name(keeper, process, run.object_va, run.pages))
		ferry_labels_move(keeper->labels, &run, run.pages, label_changed, keeper);
	ferry_lease_give_label(keeper, process, (uint32_t)msg->node, run.pages);
}

/* What is there already is charged, with room or without; but nobody shows the keeper that it is.
 */
static uint64_t room_to_adopt(const struct ferry_keeper *keeper, uint32_t index)
{
	const struct ferry_node *node = &ferry_machine_nodes(keeper->machine)[index];
	uint64_t most = node->capacity_pages * ADOPT_MOST;

	return most > node->leased_pages ? most - node->leased_pages : 0;
}

static void relabel_run(struct ferry_keeper *keeper, const struct ferry_keeper_process *process,
			struct ferry_object_run *run)
{
	uint64_t room;

	run->done = 0;
	if (run->node < 0 || !ferry_machine_has_memory(keeper->machine, run->node) ||
	    !may_name(keeper, process, run->object_va, run->pages))
		return;
	room = run->adopt != 0 ? room_to_adopt(keeper, (uint32_t)run->node)
			       : ferry_lease_free(keeper, (uint32_t)run->node);
	ferry_labels_move(keeper->labels, run, room, label_changed, keeper);
}

void ferry_objects_relabel(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			   const struct ferry_packet *packet)
{
	struct ferry_object_run *runs = keeper->objects->runs;
	ssize_t bytes = (ssize_t)(packet->msg.a * sizeof(runs[0]));
	struct ferry_msg ok = { .status = -EINVAL };

	/* Another file than a memfd could let us wait. */
	if (packet->fd_count == 1 && packet->msg.a <= RUNS_MAX &&
	    fcntl(packet->fds[0], F_GET_SEALS) >= 0 &&
	    pread(packet->fds[0], runs, (size_t)bytes, 0) == bytes) {
		for (uint64_t i = 0; i < packet->msg.a; i++)
			relabel_run(keeper, process, &runs[i]);
		ok.status = pwrite(packet->fds[0], runs, (size_t)bytes, 0) == bytes ? 0 : -EIO;
	}
	answer(process, &ok);
}

bool ferry_objects_inherit(struct ferry_keeper *keeper, const struct ferry_keeper_process *process,
			   uint32_t slot, uint32_t joins)
{
	const struct ferry_process *entries = ferry_machine_processes(keeper->machine);

	if (slot >= FERRY_PROCESSES_MAX || keeper->processes[slot] == NULL ||
	    entries[slot].joins != joins)
		return false;
	for (struct ferry_keeper_object *object = keeper->objects->first; object != NULL;
	     object = object->next) {
		if (is_mapper(object, slot))
			add_mapper(object, process->slot);
	}
	return true;
}

void ferry_objects_leave(struct ferry_keeper *keeper, const struct ferry_keeper_process *process)
{
	for (struct ferry_keeper_object *object = keeper->objects->first; object != NULL;
	     object = object->next)
		remove_mapper(keeper, object, process->slot);
	/* It may have been the last one to have a memfd open. */
	if (keeper->objects->any_kept && keeper->objects->look_ns == UINT64_MAX)
		keeper->objects->look_ns = ferry_keeper_now_ns() + LOOK_NS;
}

void ferry_objects_look(struct ferry_keeper *keeper)
{
	if (keeper->objects->any_kept)
		keeper->objects->look_ns = 0;
}

/* --- life ----------------------------------------------------------------------------------- */

static bool is_it(const struct ferry_keeper_object *object, const struct stat *status)
{
	return ferry_maps_device(status->st_dev) == object->device &&
	       status->st_ino == object->inode;
}

static bool has_segment(uint64_t id)
{
	FILE *file = fopen("/proc/sysvipc/shm", "re");
	char line[512];
	long long found;
	bool has = false;

	if (file == NULL)
		return true;
	while (!has && fgets(line, sizeof(line), file) != NULL)
		has = sscanf(line, "%*d %lld", &found) == 1 && (uint64_t)found == id;
	(void)fclose(file);
	return has;
}

/* Is a descriptor in a process's /proc/PID/fd of this object? Only what has such a name is looked
 * at closer: a file on a server that is gone could let us wait. */
static bool is_of(int directory, const char *name, const struct ferry_keeper_object *object)
{
	char target[16] = "";
	struct stat status;

	return readlinkat(directory, name, target, sizeof(target) - 1) > 0 &&
	       (strncmp(target, "/memfd:", 7) == 0 || strncmp(target, "/dev/shm/", 9) == 0) &&
	       fstatat(directory, name, &status, 0) == 0 && is_it(object, &status);
}

static bool has_open(int32_t pid, const struct ferry_keeper_object *object)
{
	const struct dirent *entry;
	bool has = false;
	char path[64];
	DIR *directory;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	directory = opendir(path);
	while (directory != NULL && !has && (entry = readdir(directory)) != NULL)
		has = is_of(dirfd(directory), entry->d_name, object);
	if (directory != NULL)
		(void)closedir(directory);
	return has;
}

/* Is there an object that nobody maps, and that somebody may map again? */
static bool is_kept(const struct ferry_keeper *keeper, const struct ferry_keeper_object *object)
{
	struct stat status;

	switch (object->kind) {
	case FERRY_OBJECT_SYSV:
		return has_segment(object->inode);
	case FERRY_OBJECT_FILE:
		if (strncmp(object->name, "/dev/shm/", 9) == 0 &&
		    stat(object->name, &status) == 0 && is_it(object, &status))
			return true;
		break;
	case FERRY_OBJECT_MEMFD:
		break;
	default:
		return false;
	}
	for (uint32_t slot = 0; slot < keeper->process_end; slot++) {
		const struct ferry_keeper_process *process = keeper->processes[slot];

		if (process != NULL && !process->program_gone && has_open(process->pid, object))
			return true;
	}
	return false;
}

void ferry_objects_expire(struct ferry_keeper *keeper, uint64_t now_ns)
{
	struct ferry_keeper_objects *objects = keeper->objects;
	struct ferry_keeper_object *object, *next;

	if (objects->look_ns > now_ns)
		return;
	objects->look_ns = UINT64_MAX;
	objects->any_kept = false;
	for (object = objects->first; object != NULL; object = next) {
		next = object->next;
		if (object->mapper_count != 0)
			continue;
		if (is_kept(keeper, object))
			objects->any_kept = true;
		else
			forget_object(keeper, object);
	}
}

uint64_t ferry_objects_deadline(const struct ferry_keeper *keeper)
{
	return keeper->objects->look_ns;
}

void ferry_objects_destroy(struct ferry_keeper *keeper)
{
	struct ferry_keeper_objects *objects = keeper->objects;

	while (objects != NULL && objects->first != NULL)
		forget_object(keeper, objects->first);
	if (keeper->labels != NULL)
		(void)munmap(keeper->labels, FERRY_BOOKS_SIZE_BYTES);
	if (objects != NULL) {
		free(objects->extents);
		free(objects->spans);
		(void)close(keeper->labels_fd);
	}
	free(objects);
	keeper->objects = NULL;
	keeper->labels = NULL;
}
