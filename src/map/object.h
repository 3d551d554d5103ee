/* SPDX-License-Identifier: MIT */
/*
 * object.h - shared memory: which node each page of an object is on.
 *
 * An object is memory that several processes may map: a memfd, a file in /dev/shm, a segment of
 * System V, an anonymous shared mapping. All objects of a machine lie in one space of addresses,
 * each in one or more extents of it, so that a page of an object has an object address, whoever
 * maps it where. A process's region with FERRY_REGION_SHARED says where its part lies.
 *
 * The LABELS are books (books.h) of that space: an entry that is MAPPED and NO_SLOT names the
 * node that the page is charged to; an entry NONE says that nobody of the machine was seen to touch
 * it first. The keeper alone writes them, everybody reads them at any time. Whether a page is there
 * at all, and in whose page table, only the host knows.
 *
 * Invariant: the labels' node counts say how many entries name each node.
 */
#ifndef FERRY_MAP_OBJECT_H
#define FERRY_MAP_OBJECT_H

#include "base/nodeset.h"
#include "map/books.h"

enum { FERRY_NO_LABEL = -1 };

/* Pages in a row that are to have the label of a node. */
struct ferry_object_run {
	uint64_t object_va;
	uint32_t pages;
	uint32_t done; /* out: the first so many have it */
	int32_t node;
	uint32_t adopt; /* 1: only those without a label get it */
};

/* Is told of pages that went from a node (FERRY_NO_LABEL: from none) to another (or to none). */
typedef void ferry_labels_changed(void *context, int32_t from, int32_t to, uint64_t pages);

/* => the node that an entry of the labels names, or FERRY_NO_LABEL. */
static inline int32_t ferry_label_of(struct ferry_pte pte)
{
	return ferry_pte_resident(pte) ? (int32_t)ferry_pte_frame(pte).node : FERRY_NO_LABEL;
}

/* => the node of the page's label, or FERRY_NO_LABEL. */
int32_t ferry_labels_get(const struct ferry_books *labels, uint64_t object_va);
/*
 * Labels the pages of a run, in order, as long as room (pages that the node still takes) lasts, and
 * sets run->done. Pages that have the label already need no room.
 */
void ferry_labels_move(struct ferry_books *labels, struct ferry_object_run *run, uint64_t room,
		       ferry_labels_changed *changed, void *context);
/* The pages of [start, end) have no label any more. */
void ferry_labels_clear(struct ferry_books *labels, uint64_t start, uint64_t end,
			ferry_labels_changed *changed, void *context);
/* => pages of [start, end) whose label names a node of the set. */
uint64_t ferry_labels_count(const struct ferry_books *labels, uint64_t start, uint64_t end,
			    const struct ferry_nodeset *nodes);

#endif
