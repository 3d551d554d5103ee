/* SPDX-License-Identifier: MIT */
/*
 * uffd_nodes.c - nodes of a machine that stand for memory nodes of the host (ram@REALNODE).
 *
 * Their arenas are bound (MPOL_BIND, which also keeps the host's NUMA balancing away), so a frame
 * has its memory on the right node from the first touch of its slot, and a page that moves by
 * UFFDIO_MOVE takes that memory along. All other pages get their memory from the host: by copying
 * in, by a copy after a fork, or before the program was taken over. These are looked at when they
 * come into the books, and the host moves those that are elsewhere.
 *
 * A program's memory is given the policy MPOL_LOCAL where it is armed: what a mapping without a
 * policy has, but the host's NUMA balancing leaves it alone.
 */
#include <errno.h>

#include "base/sys.h"
#include "mmu/uffd_parts.h"

enum { MODE_BIND = 2, MODE_LOCAL = 4, BLOCK = 64, MASK_WORDS = FERRY_NODES_MAX / 64 };

static bool has_real_nodes(const struct ferry_uffd *uffd)
{
	for (uint32_t n = 0; n < uffd->node_count; n++) {
		if (uffd->arena[n].real_node >= 0)
			return true;
	}
	return false;
}

static int bind_range(ferry_va start, uint64_t slots, int32_t real)
{
	uint64_t mask[MASK_WORDS] = {0};

	mask[real / 64] = UINT64_C(1) << (real % 64);
	return (int)ferry_sys6(SYS_mbind, (long)start, (long)(slots * FERRY_PAGE_SIZE), MODE_BIND,
			       (long)mask, FERRY_NODES_MAX + 1, 0);
}

int ferry_uffd_bind_nodes(struct ferry_uffd *uffd)
{
	int err = 0;

	for (uint32_t n = 0; n < uffd->node_count && !err; n++) {
		const struct ferry_arena *arena = &uffd->arena[n];

		if (arena->real_node < 0 || arena->slots == 0)
			continue;
		err = bind_range(arena->small, arena->slots, arena->real_node);
		if (!err)
			err = bind_range(arena->huge, arena->slots, arena->real_node);
	}
	uffd->real_nodes = has_real_nodes(uffd);
	return err;
}

void ferry_uffd_arm_policy(const struct ferry_uffd *uffd, ferry_va start, uint64_t len_bytes)
{
	/* Where pages are copied in, the mapping's policy would decide on their node. */
	if (uffd->real_nodes && !uffd->evicts)
		(void)ferry_sys6(SYS_mbind, (long)start, (long)len_bytes, MODE_LOCAL, 0, 0, 0);
}

/* Where the host gives the calling thread memory; real < 0: anywhere again. */
void ferry_uffd_prefer(const struct ferry_uffd *uffd, uint32_t node, bool begin)
{
	int32_t real = uffd->arena[node].real_node;
	uint64_t mask[MASK_WORDS] = {0};

	if (real < 0)
		return;
	mask[real / 64] = UINT64_C(1) << (real % 64);
	(void)ferry_sys3(SYS_set_mempolicy, begin ? MODE_BIND : 0, begin ? mask : NULL,
			 begin ? FERRY_NODES_MAX + 1 : 0);
}

/* Asks the host where pages are (targets NULL), or has it move them. => 0, -errno. */
static int ask_host(ferry_va va, uint32_t pages, const int *targets, int *status)
{
	uint64_t addresses[BLOCK];
	long ret;

	for (uint32_t i = 0; i < pages; i++) {
		addresses[i] = va + (ferry_va)i * FERRY_PAGE_SIZE;
		status[i] = -ENOENT;
	}
	ret = ferry_sys6(SYS_move_pages, 0, pages, (long)addresses, (long)targets, (long)status,
			 FERRY_MPOL_MF_MOVE);
	return ret < 0 ? (int)ret : 0;
}

static void move_to_real(ferry_va va, uint32_t pages, int32_t real)
{
	int status[BLOCK], targets[BLOCK], at[BLOCK];

	if (ask_host(va, pages, NULL, at))
		return;
	for (uint32_t i = 0, n; i < pages; i += n) {
		n = 1;
		if (at[i] < 0 || at[i] == real)
			continue;
		while (i + n < pages && at[i + n] >= 0 && at[i + n] != real)
			n++;
		for (uint32_t k = 0; k < n; k++)
			targets[k] = real;
		/* What it cannot move is found out by whoever asks where it is. */
		if (ask_host(va + (ferry_va)i * FERRY_PAGE_SIZE, n, targets, status))
			return;
	}
}

void ferry_uffd_bring_to_node(const struct ferry_uffd *uffd, ferry_va va, uint32_t pages,
			      uint32_t node)
{
	int32_t real = uffd->arena[node].real_node;

	for (uint32_t at = 0; uffd->real_nodes && real >= 0 && at < pages; at += BLOCK)
		move_to_real(va + (ferry_va)at * FERRY_PAGE_SIZE,
			     pages - at < BLOCK ? pages - at : BLOCK, real);
}

uint32_t ferry_uffd_locate(const struct ferry_uffd *uffd, ferry_va va, uint32_t node)
{
	int32_t real = uffd->arena[node].real_node;
	int at = -ENOENT;

	if (!uffd->real_nodes)
		return node;
	ferry_uffd_bring_to_node(uffd, va, 1, node);
	if (real < 0 || ask_host(va, 1, NULL, &at) || at < 0 || at == real)
		return node;
	/* It stays where it is: then it belongs to a node that stands for that. */
	for (uint32_t n = 0; n < uffd->node_count; n++) {
		if (uffd->arena[n].real_node == at && uffd->arena[n].slots > 0)
			return n;
	}
	return node;
}
