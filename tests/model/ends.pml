/* SPDX-License-Identifier: MIT */
/*
 * ends.pml - two callers in other processes have the same page moved to opposite nodes; the program
 * ends at any instant, and so does a caller.
 *
 * The address space lives until the agent leaves it: a program that has ended takes no page from a
 * move. The agent ends as a whole, in the middle of whatever its threads do. Page and frames are
 * its books then: they are gone with it, and the keeper takes its leases back.
 *
 * What is verified: every caller that lives has an answer, its node, -EBUSY or -ESRCH (1.4, "target
 * exits"); a node that was told was true (I8); a caller that is killed leaves no page busy and no
 * frame behind; leases come back once.
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

#define TAKE_BUSY 1      /* a page that another mover has taken out is taken */
#define CANCEL_AWAY 2    /* a caller that is gone ends the move while its page is away */
#define KEEP_TARGET 3    /* the frame of a page that was busy is not given back */
#define NO_CLOSE 4       /* an agent's end does not close its channels */
#define NO_RELEASE 5     /* the keeper does not notice an agent's end */
#define RELEASE_TWICE 6  /* ... or takes the leases back for the program's end, too */
#define ANSWER_TARGET 7  /* the answer is the target, wherever the page is */

#define ROUNDS 2 /* passes over the page */

#define NOTHING 255
#define BUSY 254
#define GONE 253

bool lock;
bool held;           /* the page is away */
byte node;           /* of the page */
byte frames[2] = 0;  /* that are charged, by node */
bool agent = true, program = true;
byte leased = 1;     /* the machine's count of what the process has leased */
bool asked[2], answered[2], killed[2], hung_up[2];
byte answer[2] = NOTHING;

#define acquire atomic { !lock -> lock = true }
#define release lock = false

/* client_run(), serve_request(), ferry_migrate_list() */
proctype Mover(byte target) {
	byte pass, status = BUSY;

	{
		(asked[target] || hung_up[target]);
		do
		:: pass < ROUNDS && status == BUSY && !hung_up[target] /* client_cancelled() */ ->
			pass++;
			acquire;
			if
			:: !held && node == target -> status = target
			:: held && !mutant(TAKE_BUSY) ->
				if
				:: mutant(KEEP_TARGET) -> frames[target]++
				:: else
				fi
			:: else ->
				atomic { /* ferry_mover_targets(), ferry_mover_out() */
					assert(!held);
					frames[target]++;
					held = true
				}
				release;
				if /* ferry_mover_copy() */
				:: mutant(CANCEL_AWAY) && hung_up[target] -> goto leave
				:: else
				fi;
				acquire;
				atomic { /* ferry_mover_in() */
					frames[node]--;
					node = target;
					held = false;
					status = target
				}
			fi;
			if
			:: status == target -> assert(node == target)
			:: else
			fi;
			release
		:: else -> break
		od;
leave:
		atomic {
			if
			:: mutant(ANSWER_TARGET) && status == BUSY -> assert(node == target)
			:: else
			fi;
			answer[target] = status;
			answered[target] = true
		}
	} unless { !agent }
}

/* ferry_client_ask() in another process */
proctype Caller(byte target) {
	byte result = NOTHING;
	bool doomed;

	if
	:: doomed = true
	:: true
	fi;
	asked[target] = true;
	if
	:: answered[target] -> result = answer[target]
	:: (!agent && !mutant(NO_CLOSE)) -> result = GONE
	:: doomed -> killed[target] = true; hung_up[target] = true
	fi;
	assert(killed[target] || result == target || result == BUSY || result == GONE)
}

/* The program ends, or does not; its agent sees that and goes: wait_for_program() */
proctype Program() {
	if
	:: program = false
	:: true
	fi;
	if
	:: !program -> agent = false
	:: else
	fi
}

/* ferry_watch_agent_ended(), ferry_watch_program_ended() */
proctype Keeper() {
	bool done;

end:	do
	:: !program && !done && mutant(RELEASE_TWICE) -> leased--; done = true
	:: !agent && !mutant(NO_RELEASE) -> leased--; break
	od
}

init {
	atomic {
		frames[0] = 1;
		run Mover(0);
		run Mover(1);
		run Caller(0);
		run Caller(1);
		run Program();
		run Keeper()
	}
	(timeout);
	if
	:: agent -> assert(!held && frames[0] + frames[1] == 1 && frames[node] == 1 && leased == 1)
	:: else -> assert(leased == 0)
	fi
}
