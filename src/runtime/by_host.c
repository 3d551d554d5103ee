/* SPDX-License-Identifier: MIT */
/* by_host.c - see by_host.h. */
#include "runtime/by_host.h"

#include <errno.h>

#include "base/sys.h"

enum { BLOCK = 256 };

/* Questions to the host, asked together. */
struct questions {
	struct ferry_by_host whose;
	int32_t *status;
	uint8_t *reasons; /* or NULL */
	uint32_t count;
	uint64_t pages[BLOCK];
	size_t index[BLOCK]; /* in status */
};

static bool is_object(int32_t status)
{
	return status >= 0 && (status & FERRY_QUERY_OBJECT) != 0;
}

static bool has_real_nodes(const struct ferry_machine *machine)
{
	const struct ferry_node *nodes = ferry_machine_nodes(machine);

	for (uint32_t i = 0; i < machine->node_count; i++) {
		if (nodes[i].real_node >= 0)
			return true;
	}
	return false;
}

static int32_t answer(const struct questions *q, int32_t status, int of_host)
{
	/* A node of the host's own, or ours that stands for it. */
	if (!is_object(status) && (of_host < 0 || !has_real_nodes(q->whose.machine)))
		return of_host;
	return ferry_query_settle(q->whose.machine, is_object(status) ? status : of_host, of_host);
}

static void ask(struct questions *q)
{
	int of_host[BLOCK];

	for (uint32_t i = 0; i < q->count; i++)
		of_host[i] = -EFAULT;
	/* Whoever may not ask hears nothing. */
	(void)ferry_sys6(SYS_move_pages, q->whose.pid, q->count, (long)q->pages, 0, (long)of_host,
			 0);
	for (uint32_t i = 0; i < q->count; i++) {
		int32_t *status = &q->status[q->index[i]];
		bool object = is_object(*status);

		*status = answer(q, *status, of_host[i]);
		if (q->reasons != NULL && object && *status < 0)
			q->reasons[q->index[i]] = FERRY_REASON_ABSENT;
	}
	q->count = 0;
}

static void add(struct questions *q, uint64_t page, size_t index)
{
	q->pages[q->count] = page;
	q->index[q->count++] = index;
	if (q->count == BLOCK)
		ask(q);
}

void ferry_by_host_pages(const struct ferry_by_host *whose, size_t count, const uint64_t *pages,
			 int32_t *status, uint8_t *reasons)
{
	struct questions q = { .whose = *whose, .status = status, .reasons = reasons };

	for (size_t i = 0; i < count; i++) {
		if (reasons[i] == FERRY_REASON_UNMANAGED || is_object(status[i]))
			add(&q, ferry_untag(pages[i]), i);
	}
	if (q.count > 0)
		ask(&q);
}

void ferry_by_host_consecutive(const struct ferry_by_host *whose, ferry_va start, size_t count,
			       int32_t *status)
{
	struct questions q = { .whose = *whose, .status = status };

	for (size_t i = 0; i < count; i++) {
		if (is_object(status[i]))
			add(&q, start + ((ferry_va)i << FERRY_PAGE_SHIFT), i);
	}
	if (q.count > 0)
		ask(&q);
}

bool ferry_by_host_is_unlabelled(const int32_t *status, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (is_object(status[i]) && (status[i] & FERRY_QUERY_NO_LABEL) != 0)
			return true;
	}
	return false;
}
