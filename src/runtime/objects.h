/* SPDX-License-Identifier: MIT */
/*
 * objects.h - the keeper's books of shared memory: which objects there are, where in the space of
 * all objects they lie, who maps them, and the labels of their pages (map/object.h).
 *
 * An object is known by what /proc/PID/maps says of it: device, inode, and what kind of name it has
 * (System V numbers its segments by themselves). It is kept as long as a process of the machine
 * maps it; also without that as long as it has a name (a file in /dev/shm, a System V segment), or,
 * a memfd, is open in a process of the machine. Then its labels are forgotten, and their pages go
 * back to their nodes.
 *
 * Invariants:
 *  1. Extents do not overlap; a label lies in one.
 *  2. nodes[i].leased_pages is what the processes lease, and what the labels say of node i.
 *  3. A process may only name pages of objects that it is a mapper of.
 */
#ifndef FERRY_RUNTIME_OBJECTS_H
#define FERRY_RUNTIME_OBJECTS_H

#include "runtime/keeper.h"

/* What kind of object a mapping's name tells of. Values are sent in messages. */
enum ferry_object_kind {
	FERRY_OBJECT_ANONYMOUS, /* MAP_SHARED | MAP_ANONYMOUS */
	FERRY_OBJECT_MEMFD,
	FERRY_OBJECT_SYSV,
	FERRY_OBJECT_FILE, /* in /dev/shm */
	FERRY_OBJECT_KINDS
};

/* Makes the labels. => 0, -errno. */
FERRY_MUST_CHECK int ferry_objects_init(struct ferry_keeper *keeper);
/* Forgets all objects, and what they were kept in. */
void ferry_objects_destroy(struct ferry_keeper *keeper);
/* Messages of an agent; those with an answer send it. */
void ferry_objects_attach(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			  const struct ferry_msg *msg);
void ferry_objects_mapped(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			  const struct ferry_msg *msg);
void ferry_objects_placed(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			  const struct ferry_msg *msg);
void ferry_objects_relabel(struct ferry_keeper *keeper, struct ferry_keeper_process *process,
			   const struct ferry_packet *packet);
/* A process is what another was (it was forked from it, or has another agent), named by its slot
 * and count of joins. => false: that one is gone. */
bool ferry_objects_inherit(struct ferry_keeper *keeper, const struct ferry_keeper_process *process,
			   uint32_t slot, uint32_t joins);
/* The process maps nothing any more. */
void ferry_objects_leave(struct ferry_keeper *keeper, const struct ferry_keeper_process *process);
/* Memory is short: objects that are gone may have some. */
void ferry_objects_look(struct ferry_keeper *keeper);
/* Forgets objects that nobody maps and that are gone, once the time has come to look. */
void ferry_objects_expire(struct ferry_keeper *keeper, uint64_t now_ns);
/* => when that is, UINT64_MAX: there is nothing to look for. */
uint64_t ferry_objects_deadline(const struct ferry_keeper *keeper);

#endif
