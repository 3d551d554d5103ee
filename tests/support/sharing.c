/* SPDX-License-Identifier: MIT */
/* sharing.c - see sharing.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "books.h"
#include "sharing.h"

static struct sharing *sharing_of(void *context)
{
	return ((struct rig *)context)->sharing;
}

static uint64_t *leased_of(const struct sharing *sharing, int32_t node)
{
	return &ferry_machine_nodes(sharing->machine)[node].leased_pages;
}

/* --- the keeper ----------------------------------------------------------------------------- */

static void changed(void *context, int32_t from, int32_t to, uint64_t pages)
{
	const struct sharing *sharing = context;

	if (to != FERRY_NO_LABEL)
		*leased_of(sharing, to) += pages;
	if (from != FERRY_NO_LABEL)
		*leased_of(sharing, from) -= pages;
}

static void keeper_placed(void *context, uint64_t object_va, uint32_t pages, uint32_t node)
{
	struct sharing *sharing = sharing_of(context);
	struct rig *rig = context;
	struct ferry_object_run run = {
		.object_va = object_va,
		.pages = pages,
		.node = (int32_t)node,
		.adopt = 1,
	};

	ferry_labels_move(sharing->labels, &run, pages, changed, sharing);
	FERRY_ASSERT(rig->leased[node] >= pages);
	rig->leased[node] -= pages;
	*leased_of(sharing, (int32_t)node) -= pages;
}

static int keeper_relabel(void *context, struct ferry_object_run *runs, uint32_t count)
{
	struct sharing *sharing = sharing_of(context);

	if (sharing->between != NULL)
		sharing->between(sharing->context);
	if (sharing->refuse)
		return -EPIPE;
	for (uint32_t i = 0; i < count; i++) {
		const struct ferry_node *nodes = ferry_machine_nodes(sharing->machine);
		const struct ferry_node *node = &nodes[runs[i].node];
		uint64_t room = node->capacity_pages > node->leased_pages
					? node->capacity_pages - node->leased_pages
					: 0;

		FERRY_ASSERT(runs[i].object_va >= SHARING_VA);
		ferry_labels_move(sharing->labels, &runs[i],
				  runs[i].adopt != 0 ? UINT64_MAX : room, changed, sharing);
	}
	return 0;
}

static void keeper_find_mappers(void *context, const ferry_va *va, uint32_t count, bool *others)
{
	struct sharing *sharing = sharing_of(context);
	const struct rig *rig = context;

	if (sharing->between != NULL)
		sharing->between(sharing->context);
	for (uint32_t i = 0; i < count; i++) {
		const struct ferry_soft_page *page =
			&rig->soft.pages[(va[i] - rig->base) >> FERRY_PAGE_SHIFT];
		uint32_t mappers = 0;

		if (page->object != NULL)
			mappers = sharing_mappers(sharing, page->object_page);
		others[i] = mappers > (page->there ? 1 : 0);
	}
}

/* --- life ----------------------------------------------------------------------------------- */

void sharing_begin(struct sharing *sharing, uint32_t pages, uint32_t nodes)
{
	memset(sharing, 0, sizeof(*sharing));
	sharing->labels = test_books_new(nodes);
	sharing->object.pages = pages;
	sharing->object.page = calloc(pages, sizeof(sharing->object.page[0]));
	FERRY_ASSERT(sharing->object.page != NULL);
}

void sharing_end(struct sharing *sharing)
{
	for (uint32_t i = 0; i < SHARING_RIGS; i++)
		FERRY_ASSERT(sharing->rigs[i] == NULL);
	for (uint32_t i = 0; i < sharing->object.pages; i++)
		FERRY_ASSERT(sharing->object.page[i].maps == 0);
	free(sharing->object.page);
	test_books_free(sharing->labels);
}

void sharing_join(struct sharing *sharing, struct rig *rig)
{
	uint32_t place = 0;

	rig->sharing = sharing;
	if (sharing->machine == NULL) {
		sharing->machine = rig->machine;
		rig->options.machine = rig->machine; /* it goes with the last one */
	}
	rig->space.host.labels = sharing->labels;
	rig->space.host.placed = keeper_placed;
	rig->space.host.relabel = keeper_relabel;
	rig->space.host.find_mappers = keeper_find_mappers;
	while (sharing->rigs[place] != NULL)
		FERRY_ASSERT(++place < SHARING_RIGS);
	sharing->rigs[place] = rig;
}

void sharing_add(struct sharing *sharing, struct rig *rig, const struct rig_options *options)
{
	struct rig_options with_machine = *options;

	with_machine.machine = sharing->machine;
	rig_begin(rig, &with_machine);
	sharing_join(sharing, rig);
}

/* => how many are left. */
static uint32_t forget_rig(struct sharing *sharing, const struct rig *rig)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < SHARING_RIGS; i++) {
		if (sharing->rigs[i] == rig)
			sharing->rigs[i] = NULL;
		left += sharing->rigs[i] != NULL;
	}
	return left;
}

void sharing_leave(struct sharing *sharing, struct rig *rig)
{
	sharing_cut(sharing, 0, sharing->object.pages);
	FERRY_ASSERT(sharing_check(sharing) == 0);
	FERRY_ASSERT(forget_rig(sharing, rig) == 0);
	rig->options.machine = NULL;
	sharing->machine = NULL;
}

void sharing_remove(struct sharing *sharing, struct rig *rig)
{
	uint32_t left = forget_rig(sharing, rig);

	for (uint32_t node = 0; node < rig->options.nodes; node++) {
		*leased_of(sharing, (int32_t)node) -= rig->leased[node];
		rig->leased[node] = 0;
	}
	ferry_soft_end(&rig->soft);
	if (left == 0) {
		sharing_cut(sharing, 0, sharing->object.pages);
		FERRY_ASSERT(sharing_check(sharing) == 0);
		rig->options.machine = NULL;
		sharing->machine = NULL;
	}
	rig_abandon(rig);
}

void sharing_map(struct sharing *sharing, struct rig *rig, uint32_t at, uint32_t end,
		 uint32_t first, bool unseen)
{
	const struct ferry_region region = {
		.start = rig_va(rig, at),
		.end = rig_va(rig, end),
		.flags = FERRY_REGION_SHARED,
		.home = SHARING_HOME,
		.object_va = SHARING_VA + ((uint64_t)first << FERRY_PAGE_SHIFT),
	};

	FERRY_ASSERT(ferry_soft_map_object(&rig->soft, region.start, region.end, &sharing->object,
					   first) == 0);
	if (unseen)
		return;
	ferry_lock_acquire(&rig->space.lock);
	FERRY_ASSERT(ferry_space_adopt_shared(&rig->space, &region) == 0);
	ferry_lock_release(&rig->space.lock);
}

/* --- looking -------------------------------------------------------------------------------- */

static bool maps(const struct rig *rig, const struct ferry_soft_object *object, uint32_t page)
{
	for (uint32_t i = 0; i < rig->options.pages; i++) {
		const struct ferry_soft_page *p = &rig->soft.pages[i];

		if (p->object == object && p->object_page == page && p->there)
			return true;
	}
	return false;
}

uint32_t sharing_mappers(const struct sharing *sharing, uint32_t page)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < SHARING_RIGS; i++)
		count += sharing->rigs[i] != NULL &&
			 maps(sharing->rigs[i], &sharing->object, page);
	return count;
}

void sharing_cut(struct sharing *sharing, uint32_t first, uint32_t end)
{
	for (uint32_t i = 0; i < SHARING_RIGS; i++) {
		if (sharing->rigs[i] != NULL)
			ferry_soft_zap_object(&sharing->rigs[i]->soft, &sharing->object, first,
					      end);
	}
	for (uint32_t i = first; i < end; i++) {
		sharing->object.page[i].made = false;
		sharing->object.page[i].word = 0;
	}
	ferry_labels_clear(sharing->labels, SHARING_VA + ((uint64_t)first << FERRY_PAGE_SHIFT),
			   SHARING_VA + ((uint64_t)end << FERRY_PAGE_SHIFT), changed, sharing);
}

int32_t sharing_node(const struct sharing *sharing, uint32_t page)
{
	int32_t node = ferry_labels_get(sharing->labels,
					SHARING_VA + ((uint64_t)page << FERRY_PAGE_SHIFT));

	return node == FERRY_NO_LABEL ? SHARING_HOME : node;
}

uint32_t sharing_check(const struct sharing *sharing)
{
	const struct ferry_node_count *counts = ferry_books_node_counts(sharing->labels);
	uint32_t breaches = 0;

	for (uint32_t node = 0; node < sharing->machine->node_count; node++) {
		uint64_t leased = 0, labels = 0;

		for (uint32_t i = 0; i < SHARING_RIGS; i++)
			leased += sharing->rigs[i] == NULL ? 0 : sharing->rigs[i]->leased[node];
		for (uint32_t i = 0; i < sharing->object.pages; i++)
			labels += ferry_labels_get(sharing->labels,
						   SHARING_VA +
							   ((uint64_t)i << FERRY_PAGE_SHIFT)) ==
				  (int32_t)node;
		if (labels == counts[node].mapped_pages &&
		    *leased_of(sharing, (int32_t)node) == leased + labels)
			continue;
		fprintf(stderr,
			"breach: node %u: leased %llu, rigs %llu, labels %llu (said %llu)\n",
			node, (unsigned long long)*leased_of(sharing, (int32_t)node),
			(unsigned long long)leased, (unsigned long long)labels,
			(unsigned long long)counts[node].mapped_pages);
		breaches++;
	}
	return breaches;
}
