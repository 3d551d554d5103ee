/* SPDX-License-Identifier: MIT */
/*
 * sharing.h - several rigs on one machine, with one object that all of them may map.
 *
 * It plays the keeper's part in shared memory: the labels of the object's pages, which are at
 * object address SHARING_VA + page * 4096, and who maps which page.
 */
#ifndef TESTS_SUPPORT_SHARING_H
#define TESTS_SUPPORT_SHARING_H

#include "move/shared.h"
#include "rig.h"

#define SHARING_VA UINT64_C(0x40000000)

enum { SHARING_RIGS = 4, SHARING_HOME = 0 };

struct sharing {
	struct rig *rigs[SHARING_RIGS]; /* NULL: none there */
	struct ferry_machine *machine;  /* that of all rigs; the first one's */
	struct ferry_books *labels;
	struct ferry_soft_object object;
	bool refuse;                          /* the keeper relabels nothing */
	void (*between)(void *context);       /* or NULL: called when pages have been looked at, and
						 are not labelled yet */
	void *context;
};

/* An object of so many pages, for rigs of one machine. */
void sharing_begin(struct sharing *sharing, uint32_t pages, uint32_t nodes);
void sharing_end(struct sharing *sharing);
/* Begins a rig with what it shares; the first one's options decide on the machine. */
void sharing_add(struct sharing *sharing, struct rig *rig, const struct rig_options *options);
/* The same for a rig that has begun already, as the first one; it gives up what it shares, and has
 * unmapped, before the others are gone from the machine. */
void sharing_join(struct sharing *sharing, struct rig *rig);
void sharing_leave(struct sharing *sharing, struct rig *rig);
/* The rig's process has ended. */
void sharing_remove(struct sharing *sharing, struct rig *rig);
/* Maps pages of the object from first on; managed, unless unseen. */
void sharing_map(struct sharing *sharing, struct rig *rig, uint32_t at, uint32_t end,
		 uint32_t first, bool unseen);
/* => how many processes have the page in their page tables. */
uint32_t sharing_mappers(const struct sharing *sharing, uint32_t page);
/* A part of the object is cut out: its pages are gone, and their labels. */
void sharing_cut(struct sharing *sharing, uint32_t first, uint32_t end);
/* Node of a page by its label; SHARING_HOME if it has none. */
int32_t sharing_node(const struct sharing *sharing, uint32_t page);
/* => breaches: what is leased of each node is what rigs lease and labels name. */
uint32_t sharing_check(const struct sharing *sharing);

#endif
