/* SPDX-License-Identifier: MIT */
/* object.c - see object.h. */
#include "map/object.h"

#include "map/ptable.h"

int32_t ferry_labels_get(const struct ferry_books *labels, uint64_t object_va)
{
	return ferry_label_of(ferry_ptable_get(labels, object_va));
}

/* Changes that are alike are told of together. */
struct changes {
	struct ferry_books *labels;
	ferry_labels_changed *changed;
	void *context;
	int32_t from, to;
	uint64_t pages;
};

static struct changes changes_to(struct ferry_books *labels, int32_t to,
				 ferry_labels_changed *changed, void *context)
{
	return (struct changes){
		.labels = labels,
		.changed = changed,
		.context = context,
		.from = FERRY_NO_LABEL,
		.to = to,
	};
}

static void tally(struct ferry_books *labels, int32_t node, uint64_t pages)
{
	uint64_t *count;

	if (node == FERRY_NO_LABEL)
		return;
	count = &ferry_books_node_counts(labels)[node].mapped_pages;
	__atomic_store_n(count, *count + pages, __ATOMIC_RELAXED);
}

static void tell(struct changes *c)
{
	if (c->pages == 0)
		return;
	tally(c->labels, c->from, -c->pages);
	tally(c->labels, c->to, c->pages);
	c->changed(c->context, c->from, c->to, c->pages);
	c->pages = 0;
}

static void note(struct changes *c, int32_t from)
{
	if (from != c->from)
		tell(c);
	c->from = from;
	c->pages++;
}

/* Entries in one leaf. => how many were gone through; fewer than pages: there was no more room. */
static uint32_t label_leaf(struct changes *c, struct ferry_pte *slots, uint32_t pages, bool adopt,
			   uint64_t *room)
{
	const struct ferry_frame frame = { .node = (uint16_t)c->to };
	const struct ferry_pte label = ferry_pte_make(FERRY_PTE_MAPPED, frame, FERRY_PTE_NO_SLOT);

	for (uint32_t i = 0; i < pages; i++) {
		int32_t from = ferry_label_of(slots[i]);

		if (from == c->to || (adopt && from != FERRY_NO_LABEL))
			continue;
		if (*room == 0)
			return i;
		--*room;
		note(c, from);
		ferry_pte_set(&slots[i], label);
	}
	return pages;
}

void ferry_labels_move(struct ferry_books *labels, struct ferry_object_run *run, uint64_t room,
		       ferry_labels_changed *changed, void *context)
{
	struct changes c = changes_to(labels, run->node, changed, context);

	run->done = 0;
	while (run->done < run->pages) {
		uint64_t va = run->object_va + ((uint64_t)run->done << FERRY_PAGE_SHIFT);
		uint32_t left = FERRY_HUGE_PAGES -
				(uint32_t)(va >> FERRY_PAGE_SHIFT) % FERRY_HUGE_PAGES;
		uint32_t pages = run->pages - run->done < left ? run->pages - run->done : left;
		struct ferry_pte *slots = ferry_ptable_slot(labels, va);
		uint32_t done = slots == NULL ? 0
					      : label_leaf(&c, slots, pages, run->adopt != 0,
							   &room);

		run->done += done;
		if (done < pages)
			break;
	}
	tell(&c);
}

/* Calls visit for the entries of each leaf's part of [start, end). */
static void each_leaf(const struct ferry_books *labels, uint64_t start, uint64_t end,
		      void (*visit)(void *context, const struct ferry_pte *slots, uint32_t pages),
		      void *context)
{
	uint64_t va = ferry_ptable_next_leaf(labels, start, end);

	for (; va < end; va = ferry_ptable_next_leaf(labels, va, end)) {
		const struct ferry_pte *leaf = ferry_ptable_leaf(labels, va);
		uint64_t stop = ferry_huge_down(va) + FERRY_HUGE_SIZE;

		stop = stop < end ? stop : end;
		if (leaf != NULL)
			visit(context,
			      leaf + (va >> FERRY_PAGE_SHIFT) % FERRY_HUGE_PAGES,
			      (uint32_t)((stop - va) >> FERRY_PAGE_SHIFT));
		va = stop;
	}
}

static void clear_leaf(void *context, const struct ferry_pte *slots, uint32_t pages)
{
	struct ferry_pte none = { 0 };
	struct changes *c = context;

	for (uint32_t i = 0; i < pages; i++) {
		int32_t from = ferry_label_of(slots[i]);

		if (from == FERRY_NO_LABEL)
			continue;
		note(c, from);
		ferry_pte_set((struct ferry_pte *)(uintptr_t)&slots[i], none);
	}
}

void ferry_labels_clear(struct ferry_books *labels, uint64_t start, uint64_t end,
			ferry_labels_changed *changed, void *context)
{
	struct changes c = changes_to(labels, FERRY_NO_LABEL, changed, context);

	each_leaf(labels, start, end, clear_leaf, &c);
	tell(&c);
	ferry_ptable_trim(labels, start, end);
}

struct counting {
	const struct ferry_nodeset *nodes;
	uint64_t pages;
};

static void count_leaf(void *context, const struct ferry_pte *slots, uint32_t pages)
{
	struct counting *counting = context;

	for (uint32_t i = 0; i < pages; i++) {
		struct ferry_pte pte = { __atomic_load_n(&slots[i].word, __ATOMIC_RELAXED) };
		int32_t node = ferry_label_of(pte);

		counting->pages += node != FERRY_NO_LABEL &&
				   ferry_nodeset_has(counting->nodes, (uint32_t)node);
	}
}

uint64_t ferry_labels_count(const struct ferry_books *labels, uint64_t start, uint64_t end,
			    const struct ferry_nodeset *nodes)
{
	struct counting counting = { .nodes = nodes };

	each_leaf(labels, start, end, count_leaf, &counting);
	return counting.pages;
}
