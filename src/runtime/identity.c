/* SPDX-License-Identifier: MIT */
/*
 * identity.c - see identity.h.
 *
 * Credentials are a thread's, and libc knows nothing of an agent's threads. So it is done as libc
 * does it: a signal makes each of them take on the same identity in its handler. Whether all have
 * is not counted but read from /proc, which also shows threads that were started meanwhile: these
 * have the identity of who started them.
 *
 * Two clean looks in a row are needed. A thread that is found as it should be may have started
 * another before, which the directory did not show yet; the second look sees that one.
 *
 * The signal is an ordinary one (SIGURG): a queued one could be refused, for want of room that the
 * program's user has used up. One that somebody else sends finds no target and does nothing.
 */
#include "runtime/identity.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/sys.h"
#include "runtime/tasks.h"
#include "runtime/thread.h"
#include "runtime/zone.h"

enum {
	GROUPS_MAX = 65536, /* the kernel's own limit */
	STATUS_BYTES = 1 << 20,
	SIGNAL = SIGURG,
	CLEAN_LOOKS = 2,
};

#define ANSWER_NS UINT64_C(5000000)
#define LIMIT_NS UINT64_C(30000000000)

struct identity {
	uint32_t uid[4], gid[4]; /* real, effective, saved, file system */
	uint64_t permitted, effective;
	uint32_t group_count;
	uint32_t groups[GROUPS_MAX]; /* the kernel keeps them sorted */
};

/* All that one call of follow() needs, in the zone. */
struct work {
	struct identity target;
	struct identity found;
	int32_t pid; /* whose threads are looked at, 0: our own */
	int32_t skip;
	uint32_t differing;
	int error;
	char status[STATUS_BYTES];
};

static struct {
	const struct identity *target; /* (a) NULL: there is nothing to follow */
	uint32_t inside;               /* (a) handlers that may be reading it */
	uint32_t answers;              /* (a) futex */
	bool elsewhere;                /* the program is in another user namespace than we are */
} call;

/* --- taking it on ----------------------------------------------------------------------------- */

struct capabilities {
	struct __user_cap_header_struct header;
	struct __user_cap_data_struct data[2];
};

static void set_capabilities(struct capabilities *c, uint64_t permitted, uint64_t effective)
{
	for (int i = 0; i < 2; i++) {
		c->data[i].permitted = (uint32_t)(permitted >> (32 * i));
		c->data[i].effective = (uint32_t)(effective >> (32 * i));
	}
	(void)ferry_sys2(SYS_capset, &c->header, c->data);
}

/* What fails here shows when the thread is looked at. */
static void take_on(const struct identity *t)
{
	struct capabilities c = {.header = {.version = _LINUX_CAPABILITY_VERSION_3}};
	uint64_t permitted;

	(void)ferry_sys2(SYS_capget, &c.header, c.data);
	permitted = c.data[0].permitted | (uint64_t)c.data[1].permitted << 32;
	set_capabilities(&c, permitted, permitted);
	(void)ferry_sys5(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
	(void)ferry_sys2(SYS_setgroups, t->group_count, t->groups);
	(void)ferry_sys3(SYS_setresgid, t->gid[0], t->gid[1], t->gid[2]);
	(void)ferry_sys3(SYS_setresuid, t->uid[0], t->uid[1], t->uid[2]);
	/* leaving root has taken them out of effect */
	set_capabilities(&c, permitted, permitted);
	(void)ferry_sys1(SYS_setfsgid, t->gid[3]);
	(void)ferry_sys1(SYS_setfsuid, t->uid[3]);
	(void)ferry_sys5(SYS_prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0);
	set_capabilities(&c, permitted & t->permitted, permitted & t->effective);
}

static void on_signal(int signal)
{
	const struct identity *target;

	(void)signal;
	__atomic_fetch_add(&call.inside, 1, __ATOMIC_SEQ_CST);
	target = __atomic_load_n(&call.target, __ATOMIC_SEQ_CST);
	if (target)
		take_on(target);
	__atomic_fetch_sub(&call.inside, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&call.answers, 1, __ATOMIC_SEQ_CST);
	ferry_futex_wake(&call.answers, 1);
}

void ferry_identity_restorer(void);
__asm__(".text\n"
	".globl ferry_identity_restorer\n"
	".hidden ferry_identity_restorer\n"
	".type ferry_identity_restorer,@function\n"
	"ferry_identity_restorer:\n"
	"	mov $15, %eax\n" /* rt_sigreturn */
	"	syscall\n"
	".size ferry_identity_restorer, .-ferry_identity_restorer\n");

void ferry_identity_prepare(void)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restorer)(void);
		uint64_t mask;
	} action = {on_signal, SA_RESTART | 0x04000000 /* SA_RESTORER */, ferry_identity_restorer,
		    ~UINT64_C(0)};
	uint64_t signals = UINT64_C(1) << (SIGNAL - 1);

	call.target = NULL;
	call.inside = 0;
	call.elsewhere = false;
	(void)ferry_sys4(SYS_rt_sigaction, SIGNAL, &action, NULL, sizeof(action.mask));
	(void)ferry_sys4(SYS_rt_sigprocmask, SIG_UNBLOCK, &signals, NULL, sizeof(signals));
}

/* --- reading it ------------------------------------------------------------------------------- */

/* The numbers of one line. => how many, -1: more than there is room for. */
static long parse_numbers(const char *p, uint32_t *numbers, long room)
{
	long count = 0;

	for (;;) {
		uint32_t value = 0;

		while (*p == ' ' || *p == '\t')
			p++;
		if (*p < '0' || *p > '9')
			return count;
		if (count == room)
			return -1;
		for (; *p >= '0' && *p <= '9'; p++)
			value = value * 10 + (uint32_t)(*p - '0');
		numbers[count++] = value;
	}
}

static uint64_t parse_hex(const char *p)
{
	uint64_t value = 0;

	for (; *p == ' ' || *p == '\t'; p++)
		;
	for (;; p++) {
		if (*p >= '0' && *p <= '9')
			value = value << 4 | (uint64_t)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			value = value << 4 | (uint64_t)(*p - 'a' + 10);
		else
			return value;
	}
}

static int read_identity(struct work *w, int32_t pid, int32_t tid, struct identity *id)
{
	long got = ferry_tasks_status(pid, tid, w->status, sizeof(w->status));
	const char *uid, *gid, *groups, *permitted, *effective;
	long count;

	if (got < 0)
		return (int)got;
	uid = ferry_tasks_field(w->status, "Uid:");
	gid = ferry_tasks_field(w->status, "Gid:");
	groups = ferry_tasks_field(w->status, "Groups:");
	permitted = ferry_tasks_field(w->status, "CapPrm:");
	effective = ferry_tasks_field(w->status, "CapEff:");
	if (!uid || !gid || !groups || !permitted || !effective)
		return -EPROTO;
	count = parse_numbers(groups, id->groups, GROUPS_MAX);
	if (count < 0 || parse_numbers(uid, id->uid, 4) != 4 || parse_numbers(gid, id->gid, 4) != 4)
		return -EPROTO;
	id->group_count = (uint32_t)count;
	id->permitted = parse_hex(permitted);
	id->effective = parse_hex(effective);
	return 0;
}

static bool is_same(const struct identity *a, const struct identity *b)
{
	return memcmp(a->uid, b->uid, sizeof(a->uid)) == 0 &&
	       memcmp(a->gid, b->gid, sizeof(a->gid)) == 0 && a->permitted == b->permitted &&
	       a->effective == b->effective && a->group_count == b->group_count &&
	       memcmp(a->groups, b->groups, a->group_count * sizeof(a->groups[0])) == 0;
}

/* --- all threads ------------------------------------------------------------------------------ */

/* Counts a thread that is not as it should be; signals it if it is ours. */
static bool look(void *context, int32_t tid)
{
	struct work *w = context;
	int err;

	if (tid == w->skip)
		return false;
	err = read_identity(w, w->pid, tid, &w->found);
	if (err == -ESRCH) /* it has ended */
		return false;
	w->error = err;
	if (err || is_same(&w->found, &w->target))
		return err != 0;
	w->differing++;
	if (w->pid == 0)
		(void)ferry_sys3(SYS_tgkill, ferry_sys0(SYS_getpid), tid, SIGNAL);
	return false;
}

/* => threads of pid other than skip that differ from the target; -errno. */
static int count_differing(struct work *w, int32_t pid, int32_t skip)
{
	int err;

	w->pid = pid;
	w->skip = skip;
	w->differing = 0;
	w->error = 0;
	err = ferry_tasks_walk(pid, look, w);
	if (!err)
		err = w->error;
	return err ? err : (int)w->differing;
}

/* What this thread may not become, no other one may. */
static int lead_self(struct work *w)
{
	int err;

	take_on(&w->target);
	err = read_identity(w, 0, (int32_t)ferry_thread_self(), &w->found);
	if (err)
		return err;
	return is_same(&w->found, &w->target) ? 0 : -EPERM;
}

static int lead_others(struct work *w)
{
	uint64_t limit_ns = ferry_clock_ns() + LIMIT_NS;
	int clean = 0;

	while (clean < CLEAN_LOOKS) {
		uint32_t answers = __atomic_load_n(&call.answers, __ATOMIC_SEQ_CST);
		int differing = count_differing(w, 0, 0);

		if (differing < 0)
			return differing;
		clean = differing ? 0 : clean + 1;
		if (!differing)
			continue;
		if (ferry_clock_ns() > limit_ns)
			return -ETIMEDOUT;
		ferry_futex_wait(&call.answers, answers, ANSWER_NS);
	}
	return 0;
}

/* The threads' changes have marked the memory that they share with the program as not dumpable;
 * the program's own change may not have. */
static void restore_dumpable(long dumpable)
{
	if (ferry_sys5(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0) != dumpable)
		(void)ferry_sys5(SYS_prctl, PR_SET_DUMPABLE, dumpable, 0, 0, 0);
}

static int follow(struct work *w)
{
	long dumpable = ferry_sys5(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
	int err = read_identity(w, 0, (int32_t)ferry_thread_self(), &w->found);

	if (err)
		return err;
	w->target.permitted &= call.elsewhere ? 0 : w->found.permitted;
	w->target.effective &= w->target.permitted;
	if (is_same(&w->found, &w->target))
		return 0;
	__atomic_store_n(&call.target, &w->target, __ATOMIC_SEQ_CST);
	err = lead_self(w);
	if (!err)
		err = lead_others(w);
	__atomic_store_n(&call.target, NULL, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&call.inside, __ATOMIC_SEQ_CST))
		ferry_sys0(SYS_sched_yield);
	restore_dumpable(dumpable);
	return err;
}

int ferry_identity_follow(int32_t pid, int32_t tid, bool one_thread, bool new_namespace)
{
	struct work *w = ferry_zone_alloc(sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	call.elsewhere |= new_namespace;
	err = read_identity(w, pid, tid, &w->target);
	if (!err && one_thread)
		err = count_differing(w, pid, tid);
	if (!err)
		err = follow(w);
	ferry_zone_free(w, sizeof(*w));
	return err < 0 ? err : 0;
}
