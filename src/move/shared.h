/* SPDX-License-Identifier: MIT */
/*
 * shared.h - moving pages of objects: protocol P3.
 *
 * Nodes that are numbers for the same silicon: the page stays in its frame, and its label changes
 * (map/object.h), for all who map it at once. Nobody is stopped, nothing can be lost, and a device
 * may write to the page meanwhile. Nodes that stand for nodes of the host: the host moves the page,
 * and the label follows.
 *
 * Steps of a page (nothing is kept between them, so anything may happen in between):
 *   look     in the process's page table? on the target already? mapped by others?   [lock held]
 *   decide   who maps it, or the host's move                                         [no lock]
 *   relabel  by the machine, which has one word for each page and one hand           [no lock]
 */
#ifndef FERRY_MOVE_SHARED_H
#define FERRY_MOVE_SHARED_H

#include "move/move_pages.h"

/* What an address is, for whoever takes a list apart. */
enum ferry_shared_kind {
	FERRY_SHARED_NO,   /* of a region with entries, or of none */
	FERRY_SHARED_YES,  /* of an object, or to be moved by the host */
};

/* => the kind of the page at va, and of those up to *end. => lock held. */
enum ferry_shared_kind ferry_shared_kind_at(const struct ferry_space *space, ferry_va va,
					    ferry_va *end);
/* Gives pages of objects in [start, end) that are there and have no label that of the object's
 * home. => lock NOT held. 0, -ENOMEM, -errno of the machine. */
FERRY_MUST_CHECK int ferry_shared_label(struct ferry_space *space, ferry_va start, ferry_va end);
/* Moves the pages of a list, which are all FERRY_SHARED_YES, as ferry_migrate_list() does.
 * => lock NOT held. 0, -ENOMEM (no page has an answer). */
FERRY_MUST_CHECK int ferry_shared_move_list(const struct ferry_page_list *list);
/*
 * The same for consecutive pages [start, end), at most FERRY_SHARED_CHUNK, of one region, as far as
 * the range call asks for them; adds to its result. => lock NOT held. 0, -ENOMEM.
 */
enum { FERRY_SHARED_CHUNK = 65536 };
FERRY_MUST_CHECK int ferry_shared_move_range(struct ferry_space *space,
					     const struct ferry_range_call *call, ferry_va start,
					     ferry_va end, struct ferry_range_result *result);

#endif
