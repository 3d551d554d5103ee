/* SPDX-License-Identifier: MIT */
/*
 * soft.h - a simulated process, and the MMU over it that defines the contract of mmu.h.
 *
 * The process is a window of addresses. Each page of it is mapped or not, armed or not, has a
 * protection and a lock, and is empty, the zero page, or a page of memory; memory can be pinned and
 * can be shared since a fork. There are arenas of slots, one for small and one for huge pages a
 * node. Memory holds real bytes, and moves between addresses and slots by moving, not by copying,
 * so that a store in the wrong moment is lost here as it would be lost live.
 *
 * What is modelled of the host:
 *  - an access to an empty armed page, and a write to a write-protected one, parks the thread;
 *  - fork, remap, unmap and discard queue an event and hold their thread until it has been read.
 *    Fork, remap and unmap have happened by then; a discard happens after it. While an event is
 *    unread, all operations that change what is at an address answer -EAGAIN;
 *  - a page that was shared by a fork stays so, even when the other side is gone, until it is
 *    written or reclaimed; it and a pinned page cannot be removed;
 *  - pages entered by moving need a mapping that is exactly readable and writable, and unlocked;
 *    pages are removed from others in a window, whose steps are steps of their own;
 *  - empty pages that are not armed get memory of the host's own, unseen by the core;
 *  - a discard may also be lazy (MADV_FREE): the host takes the page later, without an event.
 *
 * Objects (struct ferry_soft_object) are memory that several processes map; each page of one is a
 * word. A page is made by the first touch where that is not armed, else by enter_new(); a touch of
 * one that has been made puts it into the toucher's page table, unseen.
 *
 * Everything is guarded by a lock of its own (letter m), which is never held over a copy or a step.
 * `step`, if set, is called at the begin of every operation and in the middle of those that are
 * not atomic; a scheduler switches threads in it.
 */
#ifndef FERRY_MMU_SOFT_H
#define FERRY_MMU_SOFT_H

#include "mmu/mmu.h"

enum { FERRY_SOFT_THREADS = 64, FERRY_SOFT_EVENTS = 64 };

enum ferry_soft_prot {
	FERRY_SOFT_READ = 1 << 0,
	FERRY_SOFT_WRITE = 1 << 1,
	FERRY_SOFT_EXEC = 1 << 2,
	FERRY_SOFT_KEYED = 1 << 3, /* guarded by a protection key, which allows everything now */
	FERRY_SOFT_RW = FERRY_SOFT_READ | FERRY_SOFT_WRITE,
	FERRY_SOFT_RWX = FERRY_SOFT_RW | FERRY_SOFT_EXEC,
};

/* What an access of the program comes to. */
enum ferry_soft_result {
	FERRY_SOFT_DONE,
	FERRY_SOFT_PARKED, /* the thread waits: try again once ferry_soft_waits() says no */
	FERRY_SOFT_SEGV,   /* no mapping, or a protection that forbids it */
};

enum ferry_soft_kind {
	FERRY_SOFT_FAULT = 1 << 0,
	FERRY_SOFT_FORK = 1 << 1,
	FERRY_SOFT_REMAP = 1 << 2,
	FERRY_SOFT_UNMAP = 1 << 3,
	FERRY_SOFT_REMOVE = 1 << 4,
	FERRY_SOFT_EVENT =
		FERRY_SOFT_FORK | FERRY_SOFT_REMAP | FERRY_SOFT_UNMAP | FERRY_SOFT_REMOVE,
};

struct ferry_soft_child;

/* What a handler reads. */
struct ferry_soft_message {
	enum ferry_soft_kind kind;
	bool write;      /* FAULT */
	bool protection; /* FAULT: the page is there but write-protected */
	ferry_va start;  /* FAULT: the address; else the range, of REMAP where it was */
	ferry_va end;
	ferry_va to;                    /* REMAP */
	struct ferry_soft_child *child; /* FORK */
};

/* Where a page's memory is: an index into the memory of the process. */
struct ferry_soft_ref {
	uint32_t index; /* 0: empty, 1: the zero page */
};

struct ferry_soft_object_page {
	bool made;
	uint32_t maps; /* page table entries of all processes */
	uint64_t word;
};

/* Memory that several processes map; the test's own. */
struct ferry_soft_object {
	uint32_t busy; /* (a) its lock, taken after that of a process */
	uint32_t pages;
	bool full;     /* no page is made any more */
	struct ferry_soft_object_page *page; /* pages of them */
};

struct ferry_soft_page {
	struct ferry_soft_ref memory;
	struct ferry_soft_object *object; /* NULL: memory of the process */
	uint32_t object_page;
	bool there; /* of an object: in the page table */
	bool mapped;
	bool armed;
	bool locked;
	bool file;      /* of a file or shared: cannot be armed */
	bool exclusive; /* not shared since a fork */
	bool wp;        /* write-protected by enter_zero() */
	bool huge;      /* part of a 2 MiB page */
	bool lazy;      /* MADV_FREE, not written since */
	bool window;    /* prot is that of a window, was the mapping's own */
	uint8_t prot;   /* enum ferry_soft_prot */
	uint8_t was;
};

struct ferry_soft_memory {
	uint32_t next_free;
	uint32_t users; /* addresses and slots, of all processes that share it */
	uint32_t pins;
};

struct ferry_soft_thread {
	bool parked;
	bool reported; /* its fault has been read */
	bool write;
	bool protection;
	bool holding;  /* an event of its own is unread */
	bool zap;      /* discard [start, end) once the event has been read */
	bool lazy;     /* the same, lazily */
	bool has_next; /* another event follows when this one has been read: next */
	struct ferry_soft_message next;
	ferry_va va;
	ferry_va start, end;
};

struct ferry_soft_event {
	struct ferry_soft_message message;
	uint32_t thread;
};

/* The child of a fork: a picture of the parent's pages, sharing its memory. */
struct ferry_soft_child {
	struct ferry_soft *parent;
	struct ferry_soft_page *pages;
	uint64_t size_bytes;
};

struct ferry_soft_options {
	ferry_va base;         /* aligned to FERRY_HUGE_SIZE */
	uint32_t pages;        /* in the window */
	uint32_t memory_pages; /* memory of the host, for slots and pages together */
	uint32_t node_count;
	const uint64_t *slots; /* per node, in each arena */
	struct ferry_mmu_caps caps;
	void (*step)(void *context); /* or NULL */
	void *context;
};

struct ferry_soft {
	struct ferry_mmu mmu; /* first: the operations get this */
	uint32_t busy;        /* (a) the lock; everything below is (m) unless (c) */
	bool gone;
	struct ferry_soft_options options; /* (c) */
	struct ferry_soft_page *pages;
	struct ferry_soft_memory *memory;
	uint8_t (*bytes)[FERRY_PAGE_SIZE];
	struct ferry_soft_ref **arena; /* (c) [node * 2 + huge] -> slots */
	uint64_t *arena_slots;         /* (c) own copy of options.slots */
	uint64_t size_bytes;           /* (c) of the one allocation */
	void *allocation;              /* (c) */
	uint32_t free_list;
	uint32_t free_pages;
	struct ferry_soft_thread threads[FERRY_SOFT_THREADS];
	struct ferry_soft_event events[FERRY_SOFT_EVENTS];
	uint32_t event_count;
	uint32_t windows;  /* windows that are open */
	uint32_t changing; /* calls that announced themselves */
};

/* => 0, -ENOMEM. The MMU is &soft->mmu. */
FERRY_MUST_CHECK int ferry_soft_init(struct ferry_soft *soft,
				     const struct ferry_soft_options *options);
void ferry_soft_destroy(struct ferry_soft *soft);
/* The process ends: every operation answers -ESRCH, nobody waits any more. */
void ferry_soft_end(struct ferry_soft *soft);

/* --- the program's side ---------------------------------------------------------------------
 * thread is 0 .. FERRY_SOFT_THREADS-1 and must not be waiting. Operations that return -EINPROGRESS
 * have queued an event: when ferry_soft_waits() is false, call ferry_soft_continue().
 */

/* => 0, -EEXIST (something is mapped there). */
FERRY_MUST_CHECK int ferry_soft_map(struct ferry_soft *soft, ferry_va start, ferry_va end,
				    uint32_t prot, bool file);
/* Maps pages of an object from first on, readable and writable. => as above. */
FERRY_MUST_CHECK int ferry_soft_map_object(struct ferry_soft *soft, ferry_va start, ferry_va end,
					   struct ferry_soft_object *object, uint32_t first);
/* A part of an object is cut out: in this process's page table there is nothing of it any more. */
void ferry_soft_zap_object(struct ferry_soft *soft, const struct ferry_soft_object *object,
			   uint32_t first, uint32_t end);
/* Announces a call that changes mappings. => false: a window is open, try again. */
FERRY_MUST_CHECK bool ferry_soft_begin_change(struct ferry_soft *soft);
void ferry_soft_end_change(struct ferry_soft *soft);
/* Takes effect in the middle of a window, too, unless it was announced. */
void ferry_soft_protect(struct ferry_soft *soft, ferry_va start, ferry_va end, uint32_t prot);
void ferry_soft_mlock(struct ferry_soft *soft, ferry_va start, ferry_va end, bool locked);
/* => 0, -EINPROGRESS. */
FERRY_MUST_CHECK int ferry_soft_unmap(struct ferry_soft *soft, uint32_t thread, ferry_va start,
				      ferry_va end);
FERRY_MUST_CHECK int ferry_soft_discard(struct ferry_soft *soft, uint32_t thread, ferry_va start,
					ferry_va end);
FERRY_MUST_CHECK int ferry_soft_discard_lazily(struct ferry_soft *soft, uint32_t thread,
					       ferry_va start, ferry_va end);
/* Moves mapped pages elsewhere; what is mapped there is unmapped. => 0, -EINPROGRESS, -EINVAL. */
FERRY_MUST_CHECK int ferry_soft_remap(struct ferry_soft *soft, uint32_t thread, ferry_va from,
				      ferry_va to, uint64_t len_bytes);
/* => 0, -EINPROGRESS, -ENOMEM. The child is complete when the event has been served. */
FERRY_MUST_CHECK int ferry_soft_fork(struct ferry_soft *soft, uint32_t thread,
				     struct ferry_soft_child *child);
bool ferry_soft_waits(struct ferry_soft *soft, uint32_t thread);
void ferry_soft_continue(struct ferry_soft *soft, uint32_t thread);
/* A signal: a parked thread tries again without having been woken. */
void ferry_soft_interrupt(struct ferry_soft *soft, uint32_t thread);
/* Loads or stores the aligned 8-byte word at va. */
enum ferry_soft_result ferry_soft_load(struct ferry_soft *soft, uint32_t thread, ferry_va va,
				       uint64_t *value);
enum ferry_soft_result ferry_soft_store(struct ferry_soft *soft, uint32_t thread, ferry_va va,
					uint64_t value);
/* Pins the page at va for writing, as a device does; pinned memory outlives its mapping. */
enum ferry_soft_result ferry_soft_pin(struct ferry_soft *soft, uint32_t thread, ferry_va va,
				      struct ferry_soft_ref *pin);
/* The device stores a word at a byte offset of the pinned page. */
void ferry_soft_pin_store(struct ferry_soft *soft, struct ferry_soft_ref pin, uint32_t offset,
			  uint64_t value);
void ferry_soft_unpin(struct ferry_soft *soft, struct ferry_soft_ref pin);
/* The host takes back lazily discarded pages of the range. */
void ferry_soft_take_lazy(struct ferry_soft *soft, ferry_va start, ferry_va end);

/* --- the handlers' side --------------------------------------------------------------------- */

/* Reads one waiting message of the kinds asked for, oldest first. => false: none waits. */
bool ferry_soft_read(struct ferry_soft *soft, uint32_t kinds, struct ferry_soft_message *message);
/* Whether a message of the kinds waits. */
bool ferry_soft_pending(struct ferry_soft *soft, uint32_t kinds);
/* Copies the page in a slot to va of the child, if it has none there. */
void ferry_soft_child_copy(struct ferry_soft_child *child, ferry_va va, struct ferry_frame frame);

/* --- looking without touching: for checks ---------------------------------------------------- */

/* The word at va as the program would read it. => false: no page is there. */
bool ferry_soft_peek(struct ferry_soft *soft, ferry_va va, uint64_t *value);
/* The word at va in the child; empty pages read as zeros. => false: not mapped. */
bool ferry_soft_child_peek(struct ferry_soft_child *child, ferry_va va, uint64_t *value);
void ferry_soft_child_destroy(struct ferry_soft_child *child);
/* Whether a slot holds a page. */
bool ferry_soft_slot_filled(struct ferry_soft *soft, struct ferry_frame frame);
/* Pages of memory in use, each counted once. */
uint32_t ferry_soft_used_pages(struct ferry_soft *soft);
/* Whether a thread is parked and its fault has been read; *va = where. */
bool ferry_soft_is_reported(struct ferry_soft *soft, uint32_t thread, ferry_va *va);
/* The mapping at va: equal neighbours. => 0, -ENOENT. */
FERRY_MUST_CHECK int ferry_soft_mapping_at(struct ferry_soft *soft, ferry_va va, ferry_va *start,
					   ferry_va *end, bool *anonymous);

#endif
