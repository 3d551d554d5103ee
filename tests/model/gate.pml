/* SPDX-License-Identifier: MIT */
/*
 * gate.pml - the gate of a space: two movers, two threads that fork, and the futexes they sleep on.
 *
 * Waits have no time-out here, as if GATE_WAIT_NS were for ever: a wake-up that is lost shows as
 * an invalid end state. What is verified: between ferry_space_close_gate() and
 * ferry_space_open_gate() no page is away, and everybody gets through.
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

#define NO_CHECK 1      /* movers do not look at the gate */
#define NO_WAIT 2       /* closing does not wait for flights */
#define NO_BRING_HOME 3 /* closing leaves what is held idle */
#define LAND_SILENT 4   /* land() does not wake */
#define OPEN_SILENT 5   /* opening does not wake */
#define NO_COMPARE 6    /* a futex wait does not look at its word again */
#define LEASE_BLIND 7   /* after asking for frames a mover does not look at the gate again */

#define MOVERS 2
#define FORKERS 2
#define ROUNDS 2 /* of each mover; a thread forks once */

bool lock;
byte gate, flight_count, idle_held;
byte closed; /* forkers that rely on it */

#define ON_GATE 1
#define ON_FLIGHTS 2
byte asleep[MOVERS + FORKERS]; /* what each sleeps on */

#define acquire atomic { !lock -> lock = true }
#define release lock = false

/* ferry_os->wait() */
inline futex_wait(what, word, value) {
	atomic {
		if
		:: word == value || mutant(NO_COMPARE) -> asleep[me] = what
		:: else
		fi
	}
	(asleep[me] == 0)
}

/* ferry_os->wake() */
inline futex_wake(what) {
	atomic {
		for (w : 0 .. MOVERS + FORKERS - 1) {
			if
			:: asleep[w] == what -> asleep[w] = 0
			:: else
			fi
		}
		w = 0
	}
}

/* enter_gate() of migrate.c: returns with the lock and an open gate */
inline enter_gate() {
	do
	:: acquire;
	   if
	   :: gate == 0 || mutant(NO_CHECK) -> break
	   :: else
	   fi;
	   seen = gate;
	   release;
	   futex_wait(ON_GATE, gate, seen)
	od;
	seen = 0
}

proctype Mover(byte me) {
	byte round, seen, w;

	do
	:: round < ROUNDS ->
		enter_gate();
		/* ferry_mover_targets() may let the lock go to ask for a lease: it answers 0 */
		if
		:: release;
		   if
		   :: mutant(LEASE_BLIND) -> acquire
		   :: else -> enter_gate()
		   fi
		:: true
		fi;
		atomic { assert(closed == 0); flight_count++ } /* ferry_mover_out(), launch() */
		release;
		acquire; /* after ferry_mover_copy() */
		if
		:: true              /* commit() */
		:: idle_held++       /* park(): stays away, its next touch brings it home */
		fi;
		flight_count--;      /* land() */
		if
		:: gate > 0 && !mutant(LAND_SILENT) -> futex_wake(ON_FLIGHTS)
		:: else
		fi;
		release;
		round++
	:: round == ROUNDS -> break
	od
}

/* ferry_space_close_gate() */
inline close_gate() {
	acquire;
	gate++;
	do
	:: seen = flight_count;
	   if
	   :: seen == 0 || mutant(NO_WAIT) ->
		if
		:: !mutant(NO_BRING_HOME) -> idle_held = 0 /* bring_all_home() */
		:: else
		fi;
		break
	   :: else
	   fi;
	   release;
	   futex_wait(ON_FLIGHTS, flight_count, seen);
	   acquire
	od;
	seen = 0;
	release
}

/* ferry_space_open_gate() */
inline open_gate() {
	acquire;
	gate--;
	release;
	if
	:: !mutant(OPEN_SILENT) -> futex_wake(ON_GATE)
	:: else
	fi
}

/* fork() of the program: door.c asks its agent to close and to open */
proctype Forker(byte me) {
	byte seen, w;

	close_gate();
	closed++;
	assert(flight_count == 0 && idle_held == 0);
	closed--;
	open_gate()
}

init {
	atomic {
		run Mover(0);
		run Mover(1);
		run Forker(2);
		run Forker(3)
	}
	(_nr_pr == 1);
	assert(gate == 0 && flight_count == 0 && !lock)
}
