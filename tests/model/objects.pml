/* SPDX-License-Identifier: MIT */
/*
 * objects.pml - one page of an object, two processes that map it, and the keeper. Each process
 * touches the page; process 0 then asks where it is and moves it; process 1 may be killed at any
 * instant, with its agent. Meanwhile the object may be cut, once.
 *
 * What is verified, for every order of their steps and of the messages of different processes:
 *  - the keeper's books balance: free pages, leases and labels are all there is (I4);
 *  - a process whose touch made the page finds it on the node that it was given;
 *  - a move that says so has moved it, and nobody waits for ever, whoever dies.
 *
 * Messages are read in the order of their process's socket; what is unread when the keeper gives a
 * process up is never read.
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

#define TELL_LATE 1     /* the page is made before the keeper is told */
#define NO_SETTLE 2     /* a query believes the labels without asking */
#define LAST_WINS 3     /* a second PLACED takes the label over */
#define NOT_GIVEN 4     /* the keeper does not take the page from the lease */
#define LEASE_STAYS 5   /* an ended process's lease does not come back */
#define MOVE_FREE 6     /* a move takes no page of its target */
#define MOVE_KEEPS 7    /* and gives none back */
#define CUT_CHARGED 8   /* the label of a page that was cut out stays charged */

/* No label; pages of its node that each process has at first, and that nobody has, of each. */
#define NONE 2
#define LEASE 1
#define FREE 1

/* The host's. */
bool made;
byte maker = NONE; /* who made the page, as far as it lives and the page was not cut */

/* The keeper's. */
byte label = NONE;
byte free[2] = FREE, lease[2] = LEASE; /* of node i; process i leases pages of node i */
bool gone[2];           /* given up */

chan up0 = [3] of { mtype }; /* to the keeper, by process */
chan up1 = [3] of { mtype };
chan answer = [1] of { mtype }; /* to process 0 */
mtype = { PLACED, SETTLE, RELABEL_0, RELABEL_1, OK, FULL };

bool told[2]; /* the keeper: by process i */
bool killed;  /* process 1 */
bool done0;

#define charged(n) (label == n -> 1 : 0)
#define balanced \
	(free[0] + lease[0] + charged(0) == FREE + LEASE && \
	 free[1] + lease[1] + charged(1) == FREE + LEASE)

/* serve_shared() of fault.c. The agent has taken a page out of its own count of the lease. */
inline fault(me, up) {
	if
	:: made -> skip /* the host maps it, and tells nobody */
	:: else ->
	   if
	   :: !mutant(TELL_LATE) -> atomic { up!PLACED; told[me] = true }
	   :: else
	   fi;
	   atomic {
		if
		:: !made -> made = true; maker = me
		:: else /* -EEXIST */
		fi
	   };
	   if
	   :: mutant(TELL_LATE) -> atomic { up!PLACED; told[me] = true }
	   :: else
	   fi
	fi
}

/* ferry_objects_placed() */
inline placed(p) {
	if
	:: label == NONE || mutant(LAST_WINS) ->
	   if
	   :: label != NONE -> free[label]++
	   :: else
	   fi;
	   label = p;
	   if
	   :: !mutant(NOT_GIVEN) && lease[p] > 0 -> lease[p]--
	   :: else
	   fi
	:: else ->
	   /* somebody was faster: the page goes back to its node */
	   if
	   :: lease[p] > 0 -> lease[p]--; free[p]++
	   :: else
	   fi
	fi
}

/* ferry_objects_relabel() */
inline relabel(n) {
	if
	:: label == n -> answer!OK
	:: label != n && free[n] == 0 -> answer!FULL
	:: label != n && free[n] > 0 ->
	   if
	   :: !mutant(MOVE_FREE) -> free[n]--
	   :: else
	   fi;
	   if
	   :: label != NONE && !mutant(MOVE_KEEPS) -> free[label]++
	   :: else
	   fi;
	   label = n;
	   answer!OK
	fi
}

/* ferry_join_release() */
inline give_up(p) {
	gone[p] = true;
	if
	:: !mutant(LEASE_STAYS) -> free[p] = free[p] + lease[p]; lease[p] = 0
	:: else -> lease[p] = 0
	fi
}

active proctype keeper() {
	mtype m;

end:
	do
	:: atomic { !gone[0] && nempty(up0) -> up0?m;
		if
		:: m == PLACED -> placed(0)
		:: m == RELABEL_0 -> relabel(0)
		:: m == RELABEL_1 -> relabel(1)
		:: m == SETTLE ->
		   /* ferry_join_settle(): what others have said comes first */
		   do
		   :: !gone[1] && nempty(up1) -> up1?m; placed(1)
		   :: else -> break
		   od;
		   answer!OK
		fi;
		assert(balanced) }
	:: atomic { !gone[1] && nempty(up1) -> up1?m; placed(1); assert(balanced) }
	:: atomic { killed && !gone[1] -> give_up(1); assert(balanced) }
	od
}

active proctype process0() {
	mtype m;
	byte by, where, to;

	fault(0, up0);
	/* where is it? */
	if
	:: !mutant(NO_SETTLE) -> up0!SETTLE; answer?m
	:: else
	fi;
	atomic {
		by = maker;
		where = label;
		/* Who has made it had told so before; of two at a time, either has its way. Who was
		 * killed may not have been heard. */
		assert(by == NONE || where != NONE || (by == 1 && gone[1]));
		assert(where == NONE || told[where])
	};
	/* move it */
	if
	:: to = 0; up0!RELABEL_0
	:: to = 1; up0!RELABEL_1
	fi;
	answer?m;
	if
	:: m == OK -> assert(label == to)
	:: else
	fi;
	done0 = true
}

active proctype process1() {
	{ fault(1, up1) } unless { killed }
}

/* The end of process 1 and of its agent, at any instant: what they have not done, they do not. */
active proctype killer() {
	if
	:: true -> killed = true
	:: true -> skip
	fi
}

/* The object loses the page, and the keeper hears of it when it forgets the object. */
active proctype cutter() {
	if
	:: true ->
	   (done0);
	   atomic {
		made = false;
		maker = NONE;
		/* ferry_labels_clear() */
		if
		:: label != NONE && !mutant(CUT_CHARGED) -> free[label]++
		:: else
		fi;
		label = NONE;
		assert(balanced)
	   }
	:: true -> skip
	fi
}
