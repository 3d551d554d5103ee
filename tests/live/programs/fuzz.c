/* SPDX-License-Identifier: MIT */
/*
 * fuzz.c - mmap, munmap, mremap, madvise, mprotect at random against a shadow model, while the
 * pages move.
 *
 * Several workers have an area each, so that each model has one writer. A page of the model is a
 * hole, or it has a protection and a tag: every word of the page that the worker looks at must be
 * the tag. MADV_FREE makes a page uncertain until its next write: the tag or zero.
 *
 * usage: fuzz    FERRY_TEST_SEED repeats a run's operations (not its timing)
 */
#define _GNU_SOURCE 1
#include "live.h"

enum {
	ENOUGH_PAGES = 60000,
	WORKERS = 2,
	PAGES = 6144,
	RUN_MAX = 96,
	LOOKED_AT = 4,
	RECORDS = 1024,
	NO_TARGET = PAGES
};

struct model_page {
	uint64_t tag; /* 0: never written, reads as zeros */
	bool mapped;
	bool uncertain; /* MADV_FREE was called: tag or zero */
	uint8_t protection;
};

/* What was done last, so that a failure can tell the story of its page. */
struct record {
	const char *what;
	size_t first, count;
	size_t target; /* of a remap */
	int detail;
};

struct worker {
	char *area;
	struct model_page model[PAGES];
	uint64_t seed;
	uint64_t next_tag;
	uint64_t operations;
	struct record records[RECORDS];
	uint64_t end_ns;
	int nodes;
	struct live_mover mover;
	pthread_t thread;
};

static char *address_of(const struct worker *worker, size_t page)
{
	return worker->area + page * PAGE;
}

static uint64_t *word_of(const struct worker *worker, size_t page, size_t word)
{
	return (uint64_t *)(void *)(address_of(worker, page) + word * 8);
}

static void note(struct worker *worker, const char *what, size_t first, size_t count, int detail)
{
	worker->records[worker->operations % RECORDS] = (struct record){
		.what = what, .first = first, .count = count, .target = NO_TARGET, .detail = detail
	};
}

/* The story of a page, newest first; where it came by a remap, that of its source from there on. */
static void tell(const struct worker *worker, size_t page)
{
	size_t left = worker->operations < RECORDS ? worker->operations : RECORDS - 1;

	for (uint64_t i = worker->operations; left-- > 0; i--) {
		const struct record *record = &worker->records[i % RECORDS];
		bool arrives = record->target != NO_TARGET && page >= record->target &&
			       page < record->target + record->count;

		if (record->what == NULL ||
		    (!arrives && (page < record->first || page >= record->first + record->count)))
			continue;
		fprintf(stderr, "  %llu: %s %zu+%zu", (unsigned long long)i, record->what,
			record->first, record->count);
		if (record->target != NO_TARGET)
			fprintf(stderr, " to %zu", record->target);
		fprintf(stderr, " (%d)\n", record->detail);
		if (arrives)
			page = record->first + (page - record->target);
	}
}

static void check_page(struct worker *worker, size_t page)
{
	const struct model_page *model = &worker->model[page];

	if (!model->mapped || (model->protection & PROT_READ) == 0)
		return;
	for (unsigned i = 0; i < LOOKED_AT; i++) {
		size_t word = live_below(&worker->seed, PAGE_WORDS);
		uint64_t found = *(volatile uint64_t *)word_of(worker, page, word);

		if (found == model->tag || (model->uncertain && found == 0))
			continue;
		tell(worker, page);
		live_sleep_us(100000);
		fprintf(stderr, "  read again: %llx\n",
			(unsigned long long)*(volatile uint64_t *)word_of(worker, page, word));
		LIVE_FAIL("page %zu (%p) word %zu is %llx, not %llx%s", page,
			  (void *)address_of(worker, page), word, (unsigned long long)found,
			  (unsigned long long)model->tag, model->uncertain ? " or 0" : "");
	}
}

static void check_pages(struct worker *worker, size_t first, size_t count)
{
	note(worker, "check", first, count, 0);
	for (size_t page = first; page < first + count; page++)
		check_page(worker, page);
}

static void write_pages(struct worker *worker, size_t first, size_t count)
{
	note(worker, "write", first, count, 0);
	for (size_t page = first; page < first + count; page++) {
		struct model_page *model = &worker->model[page];

		check_page(worker, page);
		if (!model->mapped || (model->protection & PROT_WRITE) == 0)
			continue;
		model->tag = worker->next_tag++;
		model->uncertain = false;
		for (size_t word = 0; word < PAGE_WORDS; word++)
			*(volatile uint64_t *)word_of(worker, page, word) = model->tag;
	}
}

static void set_model(struct worker *worker, size_t first, size_t count, struct model_page value)
{
	for (size_t page = first; page < first + count; page++)
		worker->model[page] = value;
}

static void map_pages(struct worker *worker, size_t first, size_t count, int protection)
{
	char *start = address_of(worker, first);
	void *got = mmap(start, count * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			 -1, 0);

	REQUIRE(got == start, "mmap of %zu pages at %zu: %s", count, first, strerror(errno));
	set_model(worker, first, count,
		  (struct model_page){ .mapped = true, .protection = (uint8_t)protection });
}

static bool all_mapped(const struct worker *worker, size_t first, size_t count)
{
	for (size_t page = first; page < first + count; page++)
		if (!worker->model[page].mapped)
			return false;
	return true;
}

/* Half of the holes stay for a while, and are accessed by nobody. */
static void unmap_pages(struct worker *worker, size_t first, size_t count)
{
	note(worker, "unmap", first, count, 0);
	REQUIRE(munmap(address_of(worker, first), count * PAGE) == 0, "munmap: %s",
		strerror(errno));
	if (live_below(&worker->seed, 2) == 0)
		map_pages(worker, first, count, PROT_READ | PROT_WRITE);
	else
		set_model(worker, first, count, (struct model_page){ .mapped = false });
}

static void protect_pages(struct worker *worker, size_t first, size_t count)
{
	static const int protections[] = { PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE,
					   PROT_READ | PROT_WRITE };
	int protection = protections[live_below(&worker->seed, 4)];

	if (!all_mapped(worker, first, count))
		return;
	note(worker, "mprotect", first, count, protection);
	REQUIRE(mprotect(address_of(worker, first), count * PAGE, protection) == 0, "mprotect: %s",
		strerror(errno));
	for (size_t page = first; page < first + count; page++)
		worker->model[page].protection = (uint8_t)protection;
}

static void discard_pages(struct worker *worker, size_t first, size_t count)
{
	bool free_them = live_below(&worker->seed, 3) == 0;

	if (!all_mapped(worker, first, count))
		return;
	note(worker, "discard", first, count, free_them);
	REQUIRE(madvise(address_of(worker, first), count * PAGE,
			free_them ? MADV_FREE : MADV_DONTNEED) == 0,
		"madvise: %s", strerror(errno));
	for (size_t page = first; page < first + count; page++) {
		if (free_them)
			worker->model[page].uncertain = true;
		else
			worker->model[page].tag = 0, worker->model[page].uncertain = false;
	}
}

static void advise_pages(struct worker *worker, size_t first, size_t count)
{
	static const int advices[] = { MADV_WILLNEED,      MADV_HUGEPAGE,      MADV_NOHUGEPAGE,
				       MADV_RANDOM,        MADV_NORMAL,        MADV_COLD,
				       MADV_POPULATE_READ, MADV_POPULATE_WRITE };
	int advice = advices[live_below(&worker->seed, sizeof(advices) / sizeof(advices[0]))];

	note(worker, "advise", first, count, advice);
	/* Advice changes no content; populating a page without rights is refused. */
	if (all_mapped(worker, first, count) &&
	    madvise(address_of(worker, first), count * PAGE, advice) != 0)
		REQUIRE(advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE,
			"madvise(%d): %s", advice, strerror(errno));
}

/* Moves a run by mremap to another place of the area; source becomes fresh memory. */
static void remap_pages(struct worker *worker, size_t first, size_t count)
{
	size_t target = live_below(&worker->seed, PAGES - count + 1);
	void *got;

	if ((target < first + count && first < target + count) || !all_mapped(worker, first, count))
		return;
	note(worker, "remap", first, count, 0);
	worker->records[worker->operations % RECORDS].target = target;
	got = mremap(address_of(worker, first), count * PAGE, count * PAGE,
		     MREMAP_MAYMOVE | MREMAP_FIXED, address_of(worker, target));
	worker->records[worker->operations % RECORDS].detail = got == MAP_FAILED;
	if (got == MAP_FAILED) {
		/* The source is of several mappings; the target has been unmapped already. */
		REQUIRE(errno == EFAULT, "mremap: %s", strerror(errno));
		map_pages(worker, target, count, PROT_READ | PROT_WRITE);
	} else {
		memcpy(&worker->model[target], &worker->model[first],
		       count * sizeof(worker->model[0]));
	}
	map_pages(worker, first, count, PROT_READ | PROT_WRITE);
}

/* Shrinks a run in place and grows it again, as realloc does: the tail comes back empty. */
static void resize_pages(struct worker *worker, size_t first, size_t count)
{
	size_t kept = count / 2;
	char *start = address_of(worker, first);
	void *got;

	if (kept == 0 || !all_mapped(worker, first, count))
		return;
	for (size_t page = first; page < first + count; page++)
		if (worker->model[page].protection != worker->model[first].protection)
			return;
	note(worker, "resize", first, count, 0);
	got = mremap(start, count * PAGE, kept * PAGE, 0);
	if (got == MAP_FAILED) {
		REQUIRE(errno == EFAULT, "mremap: %s", strerror(errno));
		map_pages(worker, first, count, PROT_READ | PROT_WRITE);
		return;
	}
	REQUIRE(got == start, "mremap shrank elsewhere");
	set_model(worker, first + kept, count - kept,
		  (struct model_page){ .mapped = true,
				       .protection = worker->model[first].protection });
	got = mremap(start, kept * PAGE, count * PAGE, 0);
	worker->records[worker->operations % RECORDS].detail = got == MAP_FAILED ? 2 : 1;
	if (got == MAP_FAILED)
		/* The kept part and what is behind it were not one mapping. */
		map_pages(worker, first + kept, count - kept, PROT_READ | PROT_WRITE);
}

static void operate(struct worker *worker)
{
	size_t count = 1 + live_below(&worker->seed, RUN_MAX);
	size_t first = live_below(&worker->seed, PAGES - count + 1);

	worker->operations++;
	switch (live_below(&worker->seed, 16)) {
	case 0:
		note(worker, "map", first, count, 0);
		map_pages(worker, first, count, PROT_READ | PROT_WRITE);
		break;
	case 1:
		unmap_pages(worker, first, count);
		break;
	case 2:
		protect_pages(worker, first, count);
		break;
	case 3:
		discard_pages(worker, first, count);
		break;
	case 4:
		advise_pages(worker, first, count);
		break;
	case 5:
		remap_pages(worker, first, count);
		break;
	case 6:
		resize_pages(worker, first, count);
		break;
	case 7:
	case 8:
	case 9:
	case 10:
		check_pages(worker, first, count);
		break;
	default:
		write_pages(worker, first, count);
	}
}

/* A busy machine gets more time, so that enough pages move. */
static bool is_enough(const struct worker *worker)
{
	return worker->nodes < 2 ||
	       __atomic_load_n(&worker->mover.reasons[live_reason("moved")], __ATOMIC_RELAXED) >=
		       ENOUGH_PAGES / live_fewer();
}

static void *worker_run(void *argument)
{
	struct worker *worker = argument;

	while (live_now_ns() < worker->end_ns || !is_enough(worker))
		operate(worker);
	check_pages(worker, 0, PAGES);
	return NULL;
}

int main(void)
{
	struct worker *workers = live_map(WORKERS * sizeof(*workers));
	uint64_t seed = live_seed(), operations = 0;
	int nodes = live_nodes();

	live_watchdog(110);
	for (unsigned i = 0; i < WORKERS; i++) {
		struct worker *worker = &workers[i];

		worker->area = live_map_low((size_t)PAGES * PAGE);
		worker->seed = seed + i * 2;
		worker->next_tag = UINT64_C(1) << 56 | (uint64_t)i << 48 | 1;
		worker->end_ns = live_deadline_ns(8);
		worker->nodes = nodes;
		set_model(worker, 0, PAGES,
			  (struct model_page){ .mapped = true,
					       .protection = PROT_READ | PROT_WRITE });
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		live_mover_start(&workers[i].mover, workers[i].area, PAGES, nodes);
		REQUIRE(pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]) == 0,
			"thread");
	}
	live_ready("ready\n");
	for (unsigned i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		live_mover_stop(&workers[i].mover);
		check_pages(&workers[i], 0, PAGES);
		operations += workers[i].operations;
	}
	fprintf(stderr, "operations %llu\n", (unsigned long long)operations);
	return 0;
}
