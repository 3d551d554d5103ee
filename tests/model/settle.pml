/* SPDX-License-Identifier: MIT */
/*
 * settle.pml - queries read the books without a lock, and the program runs on as soon as its event
 * was read: `settling` makes it wait until the event is in the books.
 *
 * A thread unmaps its page and asks for its node; another one asks at any time for a page of its
 * own, which nobody changes. Two handlers read events. What is verified: after munmap() has
 * returned a query says that the page is gone (I8: a status is what was true during the call).
 *
 * MUTANT in the environment breaks one rule.
 */

c_decl {
\#include <stdlib.h>
	static int broken;
	__attribute__((constructor)) static void read_mutant(void)
	{
		if (getenv("MUTANT") != NULL)
			broken = atoi(getenv("MUTANT"));
	}
}
#define mutant(n) c_expr { broken == n }

#define NO_SETTLING 1   /* the handler does not raise it */
#define RAISED_LATE 2   /* ... or raises it after reading only */
#define LOWERED_EARLY 3 /* ... or lowers it before the books are right */
#define NO_WAITING 4    /* a query does not wait */

#define EVENTS 2 /* pages that are unmapped one after the other */

bool lock;
byte settling;
bool event;
byte event_page;
bool entry[EVENTS + 1] = true; /* on a node */

#define acquire atomic { !lock -> lock = true }
#define release lock = false

/* ferry_handler_run(), round_of(), read_messages() */
proctype Handler() {
	byte page;
	bool got;

end:	do
	:: (event); /* poll */
	   acquire;
	   if
	   :: mutant(NO_SETTLING) || mutant(RAISED_LATE)
	   :: else -> settling++
	   fi;
	   atomic {
		if
		:: event -> event = false; page = event_page; got = true /* read() */
		:: else
		fi
	   }
	   if
	   :: mutant(RAISED_LATE) -> settling++
	   :: mutant(LOWERED_EARLY) -> settling--
	   :: else
	   fi;
	   if
	   :: got -> entry[page] = false /* ferry_space_on_unmap() */
	   :: else
	   fi;
	   if
	   :: mutant(NO_SETTLING) || mutant(LOWERED_EARLY)
	   :: else -> settling--
	   fi;
	   got = false; page = 0;
	   release
	od
}

/* wait_until_settled() of preload_calls.c, then ferry_query_pages() */
inline query(page, right) {
	if
	:: mutant(NO_WAITING)
	:: else -> (settling == 0)
	fi;
	assert(entry[page] == right)
}

proctype Unmapper() {
	byte page;

	do
	:: page < EVENTS ->
		atomic { event_page = page; event = true }
		(!event); /* munmap() returns once its event was read */
		query(page, false);
		page++
	:: page == EVENTS -> break
	od
}

proctype Asker() {
	query(EVENTS, true)
}

init {
	atomic { run Handler(); run Handler(); run Unmapper(); run Asker() }
}
