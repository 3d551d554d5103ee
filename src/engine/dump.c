/* SPDX-License-Identifier: MIT */
/* dump.c - one printer per struct: nodes, regions, counters, flights. */
#include "base/format.h"
#include "engine/check.h"
#include "map/region.h"
#include "move/migrate.h"

struct printer {
	struct ferry_sink *sink;
	struct ferry_text text;
	char line[256];
};

static void begin(struct printer *p, const char *what)
{
	ferry_text_init(&p->text, p->line, sizeof(p->line));
	ferry_text_string(&p->text, what);
}

static void number(struct printer *p, const char *name, uint64_t value)
{
	ferry_text_char(&p->text, ' ');
	ferry_text_string(&p->text, name);
	ferry_text_char(&p->text, '=');
	ferry_text_decimal(&p->text, value);
}

static void address(struct printer *p, const char *name, uint64_t value)
{
	ferry_text_char(&p->text, ' ');
	ferry_text_string(&p->text, name);
	ferry_text_char(&p->text, '=');
	ferry_text_hex(&p->text, value);
}

static void end(struct printer *p)
{
	p->sink->line(p->sink->context, p->line);
}

static void dump_node(struct printer *p, const struct ferry_space *space, uint32_t node)
{
	const struct ferry_node *info = &ferry_machine_nodes(space->machine)[node];
	const struct ferry_node_count *count = &space->counts[node];
	const struct ferry_pool *pool = &space->pools[node];

	begin(p, "node");
	number(p, "id", node);
	number(p, "capacity", info->capacity_pages);
	number(p, "leased", pool->leased_pages);
	number(p, "charged", pool->charged_pages);
	number(p, "taken", pool->taken_pages);
	number(p, "filled", pool->filled_pages);
	number(p, "zero", pool->zero_pages);
	number(p, "mapped", count->mapped_pages);
	number(p, "held", count->held_pages);
	number(p, "shared", count->shared_pages);
	number(p, "flight", count->flight_pages);
	number(p, "slots", pool->slot_count);
	end(p);
}

static void dump_region(struct printer *p, const struct ferry_region *region)
{
	begin(p, "region");
	address(p, "start", region->start);
	address(p, "end", region->end);
	address(p, "flags", region->flags);
	end(p);
}

static void dump_space(struct printer *p, const struct ferry_space *space)
{
	begin(p, "space");
	number(p, "regions", space->books->region_count);
	number(p, "leaves", space->books->leaf_count);
	number(p, "flights", space->flight_count);
	number(p, "gate", space->gate);
	number(p, "gone", space->gone);
	number(p, "tainted", space->tainted);
	number(p, "cow", space->cow_pages);
	number(p, "ahead", space->ahead_pages);
	number(p, "idle_held", space->idle_held);
	end(p);
}

static void dump_counters(struct printer *p, const struct ferry_counters *c)
{
	begin(p, "faults");
	number(p, "all", c->faults);
	number(p, "first_touches", c->first_touches);
	number(p, "ahead", c->ahead_pages);
	number(p, "ahead_taken", c->ahead_taken);
	number(p, "zero_maps", c->zero_maps);
	number(p, "held", c->held_faults);
	number(p, "healed", c->healed);
	number(p, "adopted", c->adopted_pages);
	number(p, "cow_charged", c->cow_charged);
	end(p);
	begin(p, "moves");
	number(p, "calls", c->move_calls);
	number(p, "pages", c->moved_pages);
	number(p, "huge", c->moved_huge);
	number(p, "by_copy", c->moved_by_copy);
	number(p, "brought_home", c->brought_home);
	number(p, "batches", c->batches);
	number(p, "retries", c->retries);
	number(p, "stall_max_ns", c->stall_max_ns);
	end(p);
	begin(p, "events");
	number(p, "fork", c->events_fork);
	number(p, "remap", c->events_remap);
	number(p, "unmap", c->events_unmap);
	number(p, "remove", c->events_remove);
	end(p);
}

static void dump_answers(struct printer *p, const struct ferry_counters *c)
{
	for (uint32_t reason = 0; reason < FERRY_REASON_COUNT; reason++) {
		if (c->status[reason] == 0)
			continue;
		begin(p, "answers ");
		ferry_text_decimal(&p->text, c->status[reason]);
		ferry_text_char(&p->text, ' ');
		ferry_text_string(&p->text, ferry_reason_text((enum ferry_reason)reason));
		end(p);
	}
}

static void dump_flight(struct printer *p, const struct ferry_flight *flight)
{
	begin(p, "flight");
	number(p, "pages", flight->count);
	number(p, "split", flight->split);
	number(p, "started_ns", flight->started_ns);
	if (flight->count > 0) {
		address(p, "va", flight->pages[0].va);
		number(p, "source", flight->pages[0].source.node);
		number(p, "target", flight->pages[0].target.node);
		number(p, "huge", flight->pages[0].source.huge);
	}
	end(p);
}

void ferry_dump_space(struct ferry_space *space, struct ferry_sink *sink)
{
	const struct ferry_region *regions = ferry_books_regions(space->books);
	struct printer p = { .sink = sink };

	dump_space(&p, space);
	for (uint32_t node = 0; node < space->machine->node_count; node++)
		dump_node(&p, space, node);
	for (uint32_t i = 0; i < space->books->region_count; i++)
		dump_region(&p, &regions[i]);
	dump_counters(&p, &space->books->counters);
	dump_answers(&p, &space->books->counters);
	for (const struct ferry_flight *f = space->flights; f != NULL; f = f->next)
		dump_flight(&p, f);
}
