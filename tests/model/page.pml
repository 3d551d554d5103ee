/* SPDX-License-Identifier: MIT */
/*
 * page.pml - one page of a program with two threads: accesses, discard, unmap, remap, fork and pins
 * against a mover, a handler and housekeeping.
 *
 * There are two addresses, A and B, and two nodes of two frames each. A place (address or slot of a
 * frame) is empty or holds a page, in two halves, so that a torn copy shows. What a thread must
 * read is known exactly: truth[] follows every store at the instant at which the host lets it
 * retire. Each host call, with what the engine notes of it under the lock, is one step; the
 * program's threads run between any two.
 *
 * The host (as mmu/soft.c and userfaultfd):
 *  - a thread that touches an empty armed address parks until it is woken;
 *  - what changes the mapping is done at once, then told as an event; `changing` counts the changes
 *    whose thread has not gone on yet, and refuses MOVE and COPY. What is said of a mapping that
 *    is not there (ENOENT) comes before that refusal;
 *  - a discard is the other way round: told first, done once the event was read;
 *  - events are read in the order of the changes. Two threads whose changes touch the same page
 *    within the few instructions between a change and its event may have them told the other way
 *    round, also while a remap over a mapping tells its two; nobody above the host could tell, and
 *    the model leaves that out.
 *
 * What is verified: no lost store, no torn or old read (I1-I3), one frame for a page (I4, I5),
 * every parked thread goes on (I7: no invalid end state), no pinned page moves (I9), nobody waits
 * with the lock held (I10), a child has what its parent had (I11).
 *
 * -DREMAP -DDISCARD -DUNMAP -DFORK -DPIN -DHOUSE choose what happens; -DACTIONS=N how often for
 * each thread, -DMOVES=N how often the page is moved. MUTANT in the environment breaks one rule.
 */

#ifndef ACTIONS
#define ACTIONS 2
#endif
#ifndef MOVES
#define MOVES 2
#endif

#ifdef HOUSE
#define DAEMONS 2
#else
#define DAEMONS 1
#endif

/* --- mutants: 0 is the protocol as it is ------------------------------------------------------ */

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

#define NO_RECHECK 1      /* in() enters a page that an event has marked as gone */
#define NO_BACK_OUT 2     /* a copy that failed does not bring the page home */
#define NO_FINAL_ERROR 3  /* ENOENT is believed while a change is under way */
#define READ_UNLOCKED 4   /* an event is read before the lock is taken */
#define NO_REDIRECT 5     /* a remap leaves the flight at its old address */
#define FORK_FORGETS 6    /* a fork event does not copy the pages in flight */
#define IGNORE_PINS 7     /* pages leave though a device writes to them */
#define NO_WAKE 8         /* a page that is in wakes nobody */
#define RETRY_LOCKED 9    /* a refused call is tried again without letting the lock go */
#define NO_GRACE 10       /* a discarded page that is still there is taken over at once */
#define ENTER_EARLY 11    /* in before the copy is complete */
#define OUT_UNREFUSED 12  /* MOVE out is not refused while a change is under way */
#define KEEP_FRAME 13     /* a page that is gone keeps its target frame */

/* --- the host ------------------------------------------------------------------------------ */

#define A 0
#define B 1
#define FRAMES 4
#define NOFRAME 7
#define node_of(f) ((f) / 2)
#define slot(f) (2 + (f))
#define PLACES (2 + FRAMES)
#define NOWHERE 15

mtype = { NONE, MAPPED, HELD };                       /* enum ferry_pte_state */
mtype = { E_NONE, E_UNMAP, E_DISCARD, E_REMAP, E_FORK }; /* events */

bool filled[PLACES];
byte lo[PLACES], hi[PLACES];
bool mapped[2], armed[2], shared[2];
byte truth[2];
/* Discards that are not finished, by thread and address: 0 may be read, too. A store meanwhile may
 * come before or after the discard. */
bool window[4], fresh[4];
bool unsure[2];
byte changing;     /* mmap_changing of the userfaultfd */

mtype event[2] = E_NONE; /* of each thread: changed, and not read yet */
bool queued[2];          /* ... and readable */
byte event_at[2];
bool over[2];            /* between the two events of a remap over a mapping */
byte older;              /* whose event comes first, if both have one */
bool parked[2], reported[2];
byte at[2];

byte pin[2] = NOWHERE;   /* the place that a thread's device writes to */

bool forking;
bool child_mapped[2], child_full[2], child_unsure[2];
byte child[2], child_truth[2];

#define other(t) (1 - (t))
#define dropping(a) (window[a] || window[2 + (a)])
#define may_be_zero(a) (dropping(a) || unsure[a])
#define pinned(p) (pin[0] == (p) || pin[1] == (p))
#define readable(t) (queued[t] && (event[other(t)] == E_NONE || older == (t)))
#define fault_waits(t) (parked[t] && !reported[t])

inline vacate(p) {
	filled[p] = false; lo[p] = 0; hi[p] = 0;
	if
	:: pin[0] == p -> pin[0] = NOWHERE
	:: else
	fi;
	if
	:: pin[1] == p -> pin[1] = NOWHERE
	:: else
	fi
}

inline carry(from, to) {
	filled[to] = true; lo[to] = lo[from]; hi[to] = hi[from];
	filled[from] = false; lo[from] = 0; hi[from] = 0;
	if
	:: pin[0] == from -> pin[0] = to
	:: else
	fi;
	if
	:: pin[1] == from -> pin[1] = to
	:: else
	fi
}

/* --- the books ------------------------------------------------------------------------------ */

bool lock;               /* ferry_space.lock */
mtype entry[2] = NONE;
bool busy[2];
byte frame[2] = NOFRAME; /* of the entry */
bool used[FRAMES];       /* taken in its pool */
bool region[2];
bool leaving[2];         /* ferry_space_is_leaving() */

bool flying, gone;       /* the flight: ferry_flight */
byte flight_va, source = NOFRAME, target = NOFRAME;

#define acquire atomic { !lock -> lock = true }
#define release lock = false

/* ferry_mmu_ops.wake */
inline wake(a) {
	if
	:: parked[0] && at[0] == a -> parked[0] = false
	:: else
	fi;
	if
	:: parked[1] && at[1] == a -> parked[1] = false
	:: else
	fi
}

/* ferry_pool_take(): a frame of the node, or NOFRAME */
inline take(n, f) {
	if
	:: !used[2 * n] -> f = 2 * n; used[f] = true
	:: used[2 * n] && !used[2 * n + 1] -> f = 2 * n + 1; used[f] = true
	:: else -> f = NOFRAME
	fi
}

/* ferry_frames_put() */
inline put(f) {
	assert(used[f]); /* I4 */
	used[f] = false;
	filled[slot(f)] = false; lo[slot(f)] = 0; hi[slot(f)] = 0
}

/* clear_entry() of event.c */
inline clear_entry(a) {
	if
	:: entry[a] != NONE && !busy[a] -> put(frame[a])
	:: else
	fi;
	entry[a] = NONE; busy[a] = false; frame[a] = NOFRAME
}

/* cancel_flights() of event.c */
inline cancel(a) {
	if
	:: flying && !gone && flight_va == a -> gone = true; wake(a)
	:: else
	fi
}

/* unmap_range() of event.c */
inline unmap_range(a) {
	cancel(a);
	clear_entry(a);
	region[a] = false
}

/* ferry_space_on_remove() */
inline on_discard(a) {
	if
	:: entry[a] == MAPPED -> leaving[a] = true
	:: else
	fi;
	cancel(a);
	clear_entry(a)
}

/* ferry_space_on_remap(): from a to the other address */
inline on_remap(a) {
	unmap_range(other(a));
	if
	:: flying && !gone && flight_va == a && !mutant(NO_REDIRECT) ->
		flight_va = other(a);
		wake(a)
	:: else
	fi;
	entry[other(a)] = entry[a]; busy[other(a)] = busy[a]; frame[other(a)] = frame[a];
	region[other(a)] = region[a];
	entry[a] = NONE; busy[a] = false; frame[a] = NOFRAME; region[a] = false
}

/* ferry_space_on_fork(): copy_flights(), and the pages that are held idle */
inline child_copy(a, f) {
	if
	:: child_mapped[a] && !child_full[a] ->
		assert(lo[slot(f)] == hi[slot(f)]);
		child[a] = lo[slot(f)];
		child_full[a] = true
	:: else
	fi
}

inline on_fork() {
	if
	:: flying && !gone && !mutant(FORK_FORGETS) -> child_copy(flight_va, source)
	:: else
	fi;
	if
	:: entry[A] == HELD && !busy[A] -> child_copy(A, frame[A])
	:: else
	fi;
	if
	:: entry[B] == HELD && !busy[B] -> child_copy(B, frame[B])
	:: else
	fi
}

/* --- the program ---------------------------------------------------------------------------- */

/* A load or store; v is 0 for a load. */
inline access(a, v) {
	do
	:: atomic {
		if
		:: !mapped[a] -> break
		:: mapped[a] && !filled[a] && armed[a] ->
			parked[me] = true; reported[me] = false; at[me] = a
		:: mapped[a] && (filled[a] || !armed[a]) ->
			filled[a] = true; /* the host's zeros, where nothing is armed */
			if
			:: v != 0 ->
				shared[a] = false; lo[a] = v; hi[a] = v;
				truth[a] = v; unsure[a] = false;
				fresh[a] = window[a]; fresh[2 + (a)] = window[2 + (a)]
			:: v == 0 ->
				assert(lo[a] == hi[a]); /* I2 */
				assert(lo[a] == truth[a] ||
				       (may_be_zero(a) && lo[a] == 0)) /* I1, I3 */
			fi;
			break
		fi
	   }
	   (!parked[me])
	od
}

#define may_change(a) (mapped[a] && armed[a] && !over[other(me)])

inline change(e, a) {
	changing++;
	event[me] = e; event_at[me] = a;
	older = (event[other(me)] == E_NONE -> me : other(me))
}

/* Where the thread's event is read the handler clears event[me]; then the thread goes on. */
inline tell() {
	queued[me] = true;
	(event[me] == E_NONE);
	changing--
}

/* ferry_space_adopt(), asked for by a thread that has mapped something */
inline adopt(a) {
	acquire;
	atomic {
		if
		:: mapped[a] -> armed[a] = true; region[a] = true
		:: else
		fi;
		reconcile(a);
		release
	}
}

/* ferry_space_reconcile() of one page: lock held. Late reads of the host are all one step. */
inline reconcile(a) {
	if
	:: region[a] && entry[a] == NONE && filled[a] && (!leaving[a] || mutant(NO_GRACE)) ->
		take(0, spare);
		if
		:: spare != NOFRAME -> entry[a] = MAPPED; frame[a] = spare
		:: else
		fi;
		spare = NOFRAME
	:: else
	fi
}

inline unmap(a) {
	if
	:: atomic {
		may_change(a) ->
		mapped[a] = false; armed[a] = false; shared[a] = false;
		truth[a] = 0; unsure[a] = false;
		vacate(a);
		change(E_UNMAP, a)
	   }
	   tell();
	   /* mapped again, and known to the engine when mmap() returns */
	   if
	   :: atomic { !mapped[a] -> mapped[a] = true; truth[a] = 0 }
	      adopt(a)
	   :: mapped[a]
	   fi
	:: !may_change(a)
	fi
}

inline discard(a) {
	if
	:: atomic {
		may_change(a) ->
		window[2 * me + a] = true; fresh[2 * me + a] = false;
		change(E_DISCARD, a)
	   }
	   tell();
	   atomic {
		vacate(a);
		shared[a] = false;
		if
		:: fresh[2 * me + a] -> unsure[a] = true
		:: else -> truth[a] = 0; unsure[a] = false
		fi;
		window[2 * me + a] = false; fresh[2 * me + a] = false;
		/* the grace of a second has not passed before this is done */
		leaving[a] = leaving[a] && dropping(a)
	   }
	:: !may_change(a)
	fi
}

/* To the other address; what is mapped there is unmapped, and told of, first. */
inline remap(a) {
	if
	:: atomic {
		may_change(a) && !dropping(a) && !dropping(other(a)) ->
		if
		:: mapped[other(a)] -> vacate(other(a)); change(E_UNMAP, other(a)); over[me] = true
		:: else -> change(E_REMAP, a)
		fi;
		mapped[other(a)] = true; armed[other(a)] = true;
		shared[other(a)] = shared[a]; truth[other(a)] = truth[a];
		unsure[other(a)] = unsure[a];
		if
		:: filled[a] -> carry(a, other(a))
		:: else
		fi;
		mapped[a] = false; armed[a] = false; shared[a] = false; truth[a] = 0
	   }
	   queued[me] = true;
	   if
	   :: over[me] ->
		atomic {
			event[me] == E_NONE ->
			over[me] = false;
			changing--;
			change(E_REMAP, a);
			queued[me] = true
		}
	   :: !over[me]
	   fi;
	   (event[me] == E_NONE);
	   changing--
	:: !(may_change(a) && !dropping(a) && !dropping(other(a)))
	fi
}

inline fork_page(a) {
	child_mapped[a] = mapped[a]; child_full[a] = filled[a]; child[a] = lo[a];
	child_truth[a] = truth[a]; child_unsure[a] = may_be_zero(a);
	shared[a] = shared[a] || (filled[a] && !pinned(a))
}

inline raw_fork() {
	if
	:: atomic {
		!forking && may_change(A) ->
		forking = true;
		fork_page(A); fork_page(B);
		change(E_FORK, A)
	   }
	   tell()
	:: forking || !may_change(A)
	fi
}

/* A device is given the page, stores once, and lets it go. */
inline device(a, v) {
	if
	:: atomic { mapped[a] && filled[a] && pin[me] == NOWHERE -> shared[a] = false; pin[me] = a }
	   atomic {
		if
		:: pin[me] != NOWHERE ->
			lo[pin[me]] = v; hi[pin[me]] = v;
			truth[a] = v
		:: else
		fi
	   }
	   pin[me] = NOWHERE
	:: !(mapped[a] && filled[a])
	fi
}

proctype Program(byte me) {
	byte done, spare = NOFRAME, va = A;
#define value (1 + ACTIONS * me + done)

	do
	:: done < ACTIONS ->
#ifdef REMAP
		if
		:: va = A
		:: va = B
		fi;
#endif
		if
		:: access(va, value)
		:: access(va, 0)
#ifdef UNMAP
		:: unmap(va)
#endif
#ifdef DISCARD
		:: discard(va)
#endif
#ifdef REMAP
		:: remap(va)
#endif
#ifdef FORK
		:: raw_fork()
#endif
#ifdef PIN
		:: device(va, value)
#endif
		fi;
		done++
	:: done == ACTIONS -> break
	od;
	/* What was written is still there at the end. */
	access(A, 0);
#ifdef REMAP
	access(B, 0)
#endif
}

/* --- the handler: ferry_handler_run() --------------------------------------------------------- */

/* serve_none(): a frame of zeros. RETRY is to be told by the fault that stays pending. */
inline first_touch(a) {
	if
	:: changing > 0 -> skip /* enter: EAGAIN */
	:: changing == 0 && (!mapped[a] || !armed[a]) -> wake(a); pending = false
	:: changing == 0 && mapped[a] && armed[a] && filled[a] -> /* heal_present() */
		reconcile(a);
		wake(a); pending = false
	:: changing == 0 && mapped[a] && armed[a] && !filled[a] ->
		take(0, spare);
		if
		:: spare == NOFRAME -> take(1, spare)
		:: else
		fi;
		if
		:: spare != NOFRAME ->
			filled[a] = true; lo[a] = 0; hi[a] = 0;
			entry[a] = MAPPED; frame[a] = spare;
			wake(a); pending = false
		:: else
		fi;
		spare = NOFRAME
	fi
}

/* ferry_fault_serve(); lock held */
inline serve(a) {
	if
	:: !region[a] && mapped[a] -> /* take_over() */
		armed[a] = true; region[a] = true; reconcile(a)
	:: else
	fi;
	if
	:: !region[a] -> wake(a); pending = false
	:: region[a] && entry[a] == NONE -> first_touch(a)
	:: region[a] && entry[a] == MAPPED && filled[a] -> wake(a); pending = false
	:: region[a] && entry[a] == MAPPED && !filled[a] -> /* serve_mapped() */
		if
		:: changing == 0 -> clear_entry(a); first_touch(a)
		:: else
		fi
	:: region[a] && entry[a] == HELD && busy[a] -> pending = false /* the mover wakes */
	:: region[a] && entry[a] == HELD && !busy[a] -> bring_home(a)
	fi
}

/* ferry_space_bring_home() */
inline bring_home(a) {
	if
	:: changing > 0 -> skip
	:: changing == 0 ->
		assert(mapped[a] && armed[a] && !filled[a]);
		carry(slot(frame[a]), a);
		entry[a] = MAPPED;
		wake(a); pending = false
	fi
}

/* take_message() of an event: read, and then in the books */
inline read_event(t) {
	what = event[t]; where = event_at[t];
	event[t] = E_NONE; queued[t] = false
}

inline act() {
	if
	:: what == E_UNMAP -> unmap_range(where)
	:: what == E_DISCARD -> on_discard(where)
	:: what == E_REMAP -> on_remap(where)
	:: what == E_FORK -> on_fork()
	:: what == E_NONE
	fi
}

/* let_children_go(): the child runs on with what it has */
inline let_child_go() {
	if
	:: what == E_FORK ->
		assert(!child_mapped[A] || child[A] == child_truth[A] ||
		       (child_unsure[A] && child[A] == 0)); /* I11 */
		assert(!child_mapped[B] || child[B] == child_truth[B] ||
		       (child_unsure[B] && child[B] == 0));
		child_full[A] = false; child_full[B] = false; child[A] = 0; child[B] = 0;
		child_mapped[A] = false; child_mapped[B] = false;
		forking = false
	:: else
	fi;
	what = E_NONE; where = A
}

proctype Handler() {
	mtype what = E_NONE;
	byte where, spare = NOFRAME, fault_va;
	bool pending; /* a fault was read and could not be served yet */

end:	do
	:: atomic {
		!lock && !mutant(READ_UNLOCKED) &&
		(readable(0) || readable(1) || (!pending && (fault_waits(0) || fault_waits(1)))) ->
		lock = true;
		if
		:: readable(0) -> read_event(0)
		:: readable(1) -> read_event(1)
		:: !pending && fault_waits(0) ->
			reported[0] = true; fault_va = at[0]; pending = true
		:: !pending && fault_waits(1) ->
			reported[1] = true; fault_va = at[1]; pending = true
		fi
	   }
	   atomic { act(); release }
	   atomic { let_child_go() }
	:: atomic { mutant(READ_UNLOCKED) && readable(0) -> read_event(0) }
	   acquire;
	   atomic { act(); release }
	   atomic { let_child_go() }
	:: atomic { mutant(READ_UNLOCKED) && readable(1) -> read_event(1) }
	   acquire;
	   atomic { act(); release }
	   atomic { let_child_go() }
	:: atomic {
		mutant(READ_UNLOCKED) && !pending && fault_waits(0) ->
		reported[0] = true; fault_va = at[0]; pending = true
	   }
	:: atomic {
		mutant(READ_UNLOCKED) && !pending && fault_waits(1) ->
		reported[1] = true; fault_va = at[1]; pending = true
	   }
	/* round_of(): what could not be served is tried again once the lock was let go */
	:: atomic { pending && !lock -> serve(fault_va) }
	od
}

/* --- a mover: run_batch() ------------------------------------------------------------------ */

#define can_leave(a) \
	(entry[a] == MAPPED && !busy[a] && node_of(frame[a]) != goal)

/* ferry_mover_out(): lock held. MOVE out and its answer. */
inline out(a) {
	if
	:: !mapped[a] && changing > 0 && !mutant(NO_FINAL_ERROR) ->
		put(target) /* ferry_uffd_final_error() */
	:: !mapped[a] && (changing == 0 || mutant(NO_FINAL_ERROR)) ->
		clear_entry(a); /* ENOENT: answer_absent() */
		put(target)
	:: mapped[a] && changing > 0 && !mutant(OUT_UNREFUSED) -> put(target) /* EAGAIN */
	:: mapped[a] && (changing == 0 || mutant(OUT_UNREFUSED)) && !filled[a] ->
		put(target); /* answer_absent(): ferry_entry_is_lost()? */
		if
		:: changing == 0 -> clear_entry(a)
		:: else
		fi
	:: mapped[a] && (changing == 0 || mutant(OUT_UNREFUSED)) && filled[a] &&
	   (shared[a] || (pinned(a) && !mutant(IGNORE_PINS))) -> put(target) /* EBUSY */
	:: mapped[a] && (changing == 0 || mutant(OUT_UNREFUSED)) && filled[a] && !shared[a] &&
	   (!pinned(a) || mutant(IGNORE_PINS)) ->
		carry(a, slot(frame[a]));
		entry[a] = HELD; busy[a] = true; /* hold() */
		flying = true; gone = false; flight_va = a; source = frame[a] /* launch() */
	fi
}

/* release_gone() of batch.c */
inline release_gone() {
	put(source);
	if
	:: !mutant(KEEP_FRAME) -> put(target)
	:: mutant(KEEP_FRAME)
	fi;
	land()
}

/* land() of batch.c */
inline land() {
	flying = false; gone = false; flight_va = A; source = NOFRAME; target = NOFRAME
}

/* commit() of batch.c; f: where it came from, rest: the frame that is free then */
inline commit(f, rest) {
	carry(slot(f), flight_va);
	entry[flight_va] = MAPPED; busy[flight_va] = false; frame[flight_va] = f;
	if
	:: !mutant(NO_WAKE) -> wake(flight_va)
	:: mutant(NO_WAKE)
	fi;
	put(rest);
	land()
}

/* vanish() of batch.c: the page has no place to come in at */
inline vanish() {
	entry[flight_va] = NONE; busy[flight_va] = false; frame[flight_va] = NOFRAME;
	put(source); put(target);
	if
	:: filled[flight_va] -> reconcile(flight_va)
	:: else
	fi;
	wake(flight_va);
	land()
}

/* ferry_mover_in() */
inline bring_in(home) {
	do
	:: atomic {
		!lock -> lock = true;
		if
		:: gone && !mutant(NO_RECHECK) -> release_gone(); release; break
		:: (!gone || mutant(NO_RECHECK)) && (mapped[flight_va] && armed[flight_va]) &&
		   changing > 0 -> /* EAGAIN: pause_for_events() */
			if
			:: mutant(RETRY_LOCKED)
			:: !mutant(RETRY_LOCKED) -> release
			fi
		:: (!gone || mutant(NO_RECHECK)) && !(mapped[flight_va] && armed[flight_va]) ->
			if
			:: changing > 0 && !mutant(NO_FINAL_ERROR) -> /* ferry_uffd_final_error() */
				if
				:: mutant(RETRY_LOCKED)
				:: !mutant(RETRY_LOCKED) -> release
				fi
			:: else -> vanish(); release; break
			fi
		:: (!gone || mutant(NO_RECHECK)) && mapped[flight_va] && armed[flight_va] &&
		   changing == 0 && filled[flight_va] -> vanish(); release; break /* EEXIST */
		:: (!gone || mutant(NO_RECHECK)) && mapped[flight_va] && armed[flight_va] &&
		   changing == 0 && !filled[flight_va] ->
			if
			:: home -> commit(source, target)
			:: !home -> commit(target, source)
			fi;
			release;
			break
		fi
	   }
	   /* RETRY_LOCKED: waits, with the lock, for what only a handler can do */
	   if
	   :: mutant(RETRY_LOCKED) -> changing == 0; release
	   :: !mutant(RETRY_LOCKED)
	   fi
	od
}

/* ferry_mover_copy(): without the lock, in two halves; it may fail */
inline copy() {
	atomic { filled[slot(target)] = true; lo[slot(target)] = lo[slot(source)] }
	if
	:: failed = true
	:: !mutant(ENTER_EARLY) -> hi[slot(target)] = hi[slot(source)]
	:: mutant(ENTER_EARLY)
	fi
}

proctype Mover() {
	byte round, goal = 1, spare = NOFRAME, va;
	bool failed;

	do
	:: round < MOVES ->
		atomic {
			!lock ->
			if
			:: can_leave(A) -> va = A
			:: can_leave(B) -> va = B
			:: else -> goto next
			fi;
			lock = true;
			take(goal, target);
		}
		if
		:: target == NOFRAME -> release
		:: target != NOFRAME ->
			atomic {
				out(va);
				release;
				if
				:: !flying -> target = NOFRAME; goto next
				:: flying
				fi
			}
			copy();
			if
			:: !failed -> bring_in(false)
			:: failed && !mutant(NO_BACK_OUT) -> bring_in(true)
			:: failed && mutant(NO_BACK_OUT)
			fi;
			failed = false
		fi;
next:		atomic { goal = 1 - goal; round++; va = A }
	:: round == MOVES -> break
	od
}

/* --- housekeeping: ferry_space_reconcile_slice() ---------------------------------------------- */

proctype House() {
	byte spare = NOFRAME;

end:	do
	:: atomic { !lock && region[A] && entry[A] == NONE && filled[A] -> reconcile(A) }
	od
}

init {
	atomic {
		mapped[A] = true; armed[A] = true; region[A] = true;
		/* touched already: there is something to lose */
		filled[A] = true; lo[A] = 100; hi[A] = 100; truth[A] = 100;
		entry[A] = MAPPED; frame[A] = 0; used[0] = true;
#ifdef BOTH
		mapped[B] = true; armed[B] = true; region[B] = true;
		filled[B] = true; lo[B] = 101; hi[B] = 101; truth[B] = 101;
		entry[B] = MAPPED; frame[B] = 1; used[1] = true;
#endif
		run Handler();
#ifdef HOUSE
		run House();
#endif
		run Mover();
		run Program(0);
		run Program(1)
	}
	/* At the end the books balance: a frame for each page, and no other. */
	(_nr_pr <= 1 + DAEMONS);
	(!lock && changing == 0 && !forking);
	assert(!flying);
	assert(used[0] + used[1] + used[2] + used[3] ==
	       (entry[A] != NONE) + (entry[B] != NONE)) /* I4 */
}
