/* SPDX-License-Identifier: MIT */
/*
 * preload.c - how a program becomes part of a machine.
 *
 * The constructor finds the join socket in the environment, hands the keeper two connections, maps
 * the machine and starts an agent. Everything that is opened here is closed again but the join
 * socket, which children inherit; the agent has its own copies.
 */
#include "runtime/preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/sys.h"
#include "runtime/agent.h"
#include "runtime/client.h"
#include "runtime/door.h"
#include "runtime/proto.h"
#include "runtime/tasks.h"
#include "runtime/thread.h"
#include "runtime/zone.h"

enum {
	ENV_BYTES = 4096,
	ENV_ADDED = 3, /* two strings and the end */
	THREAD_BLOCK_BYTES = 2304, /* libc's struct pthread: tid, robust list, rseq lie in it */
	WELCOME_MS = 10000,
	RESCUE_MS = 30000, /* how long a keeper may take to bring all pages home */
	LOOK_MS = 100,     /* between two looks whether it is still there */
	JOIN_TRIES = 8,    /* agents that may be killed before one serves */
	STATM_BYTES = 128,
	STATM_DATA = 5, /* spaces before the field in /proc/self/statm */
};

#define BUSY_NS UINT64_C(10000000)

/* What children need in their environment, as it was when this program started. */
static char env_preload[ENV_BYTES];
static char env_join[ENV_BYTES];
static int join_fd = -1;
static uint64_t join_inode;
static const char *join_path;
/* Here and not on a stack: an agent may sleep long before it reads it. */
static struct ferry_agent_start agent_start;

extern const ptrdiff_t __rseq_offset __attribute__((weak));

/* --- small things --------------------------------------------------------------------- */

uint64_t ferry_signals_block(void)
{
	uint64_t all = ~UINT64_C(0), old = 0;

	ferry_sys4(SYS_rt_sigprocmask, 0 /* SIG_BLOCK */, &all, &old, sizeof(all));
	return old;
}

void ferry_signals_restore(uint64_t mask)
{
	ferry_sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &mask, NULL, sizeof(mask));
}

long ferry_preload_proc_id(const char *link, long id)
{
	char text[64];
	long length = ferry_sys4(SYS_readlinkat, AT_FDCWD, link, text, sizeof(text) - 1);
	const char *last;

	if (length <= 0)
		return id;
	text[length] = '\0';
	last = strrchr(text, '/');
	return atol(last ? last + 1 : text);
}

static size_t append(char *line, size_t size, size_t used, const char *part)
{
	size_t length = strlen(part);

	if (used + length > size)
		return used;
	for (size_t i = 0; i < length; i++) /* no string: its end is not ours to write */
		line[used + i] = part[i];
	return used + length;
}

/* One line of three parts. */
static void say_line(const char *begin, const char *what, const char *why)
{
	char line[512];
	size_t used = append(line, sizeof(line) - 1, 0, begin);

	used = append(line, sizeof(line) - 1, used, what);
	used = append(line, sizeof(line) - 1, used, why ? ": " : "");
	used = append(line, sizeof(line) - 1, used, why ? why : "");
	line[used++] = '\n';
	ferry_sys3(SYS_write, 2, line, used);
}

static void say(const char *what, const char *why)
{
	say_line("pageferry: this process runs unmanaged: ", what, why);
}

void *ferry_preload_next(const char *symbol)
{
	void *next = dlsym(RTLD_NEXT, symbol);

	if (!next) {
		say("libc has no such function", symbol);
		ferry_sys1(SYS_exit_group, 125);
	}
	return next;
}

/* --- environment of children ---------------------------------------------------------- */

static bool same_name(const char *entry, const char *with_value)
{
	size_t len = (size_t)(strchr(with_value, '=') - with_value) + 1;

	return strncmp(entry, with_value, len) == 0;
}

size_t ferry_preload_environment_words(char *const *envp)
{
	size_t n = 0;

	while (envp && envp[n])
		n++;
	return n + ENV_ADDED;
}

/*
 * The next program's loader looks for this library from where we stand: in another root, or as
 * another user, it may not be there. The loader would say so for each program; we say it once, and
 * do not ask for it.
 */
static bool can_be_preloaded(void)
{
	static bool said;
	size_t length = strcspn(env_preload + sizeof("LD_PRELOAD"), ": ");
	char path[ENV_BYTES];

	memcpy(path, env_preload + sizeof("LD_PRELOAD"), length);
	path[length] = '\0';
	if (ferry_sys4(SYS_faccessat2, AT_FDCWD, path, R_OK, AT_EACCESS) == 0)
		return true;
	if (!said)
		say_line("pageferry: what is executed from here runs unmanaged: it cannot read ",
			 path, NULL);
	said = true;
	return false;
}

/* => what is left of the value of LD_PRELOAD without this library, NULL: nothing. */
static char *without_library(char *entry)
{
	static char rest[ENV_BYTES];
	const char *others = strpbrk(entry, ": ");

	if (strcmp(entry, env_preload) != 0) /* the program's own making */
		return strstr(entry, "libpageferry-preload.so") ? NULL : entry;
	if (!others)
		return NULL;
	stpcpy(stpcpy(rest, "LD_PRELOAD="), others + 1);
	return rest;
}

char *const *ferry_preload_environment(char *const *envp, char **buffer, size_t buffer_words)
{
	size_t n = 0;
	bool preload = false, join = false, readable;

	if (!env_join[0])
		return envp;
	if (ferry_preload_environment_words(envp) > buffer_words)
		return NULL;
	readable = can_be_preloaded();
	for (size_t i = 0; envp && envp[i]; i++) {
		if (same_name(envp[i], env_preload) && !readable) {
			char *others = without_library(envp[i]);

			if (others)
				buffer[n++] = others;
		} else if (same_name(envp[i], env_join)) {
			join = true;
			buffer[n++] = env_join;
		} else if (same_name(envp[i], env_preload)) {
			/* What the program added of its own stays. */
			preload = true;
			buffer[n++] = strstr(envp[i], "libpageferry-preload.so") ? envp[i] :
										  env_preload;
		} else {
			buffer[n++] = envp[i];
		}
	}
	if (!preload && readable)
		buffer[n++] = env_preload;
	if (!join)
		buffer[n++] = env_join;
	buffer[n] = NULL;
	return buffer;
}

static bool is_ours(const char *entry)
{
	return same_name(entry, env_join) ||
	       (same_name(entry, env_preload) && strstr(entry, "libpageferry-preload.so"));
}

char *const *ferry_preload_environment_bare(char *const *envp, char **buffer, size_t buffer_words)
{
	size_t n = 0;

	if (!env_join[0])
		return envp;
	if (ferry_preload_environment_words(envp) > buffer_words)
		return NULL;
	for (size_t i = 0; envp && envp[i]; i++)
		if (!is_ours(envp[i]))
			buffer[n++] = envp[i];
	buffer[n] = NULL;
	return buffer;
}

static bool keep_environment(void)
{
	const char *join = getenv(FERRY_JOIN_ENV);
	const char *preload = getenv("LD_PRELOAD");
	char *end;

	if (!join || !preload || strlen(join) + sizeof(FERRY_JOIN_ENV) + 1 > ENV_BYTES ||
	    strlen(preload) + sizeof("LD_PRELOAD=") > ENV_BYTES)
		return false;
	stpcpy(stpcpy(env_join, FERRY_JOIN_ENV "="), join);
	stpcpy(stpcpy(env_preload, "LD_PRELOAD="), preload);
	join_fd = (int)strtol(env_join + sizeof(FERRY_JOIN_ENV), &end, 10);
	join_inode = *end == '.' ? strtoull(end + 1, &end, 10) : 0;
	join_path = *end == ':' ? end + 1 : NULL;
	return true;
}

/* --- joining -------------------------------------------------------------------------- */

/*
 * A program may close what it does not know, and use the number for something of its own. The
 * keeper named the socket by its inode.
 */
static bool is_join_socket(void)
{
	struct stat status;

	return join_fd >= 0 && ferry_sys2(SYS_fstat, join_fd, &status) == 0 &&
	       S_ISSOCK(status.st_mode) && status.st_ino == join_inode;
}

/* => a descriptor, -errno. */
static int connect_control(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	long fd, err;

	if (!join_path || strlen(join_path) >= sizeof(address.sun_path))
		return -EINVAL;
	strcpy(address.sun_path, join_path);
	fd = ferry_sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	err = fd < 0 ? fd : ferry_sys3(SYS_connect, fd, &address, sizeof(address));
	if (err && fd >= 0)
		ferry_sys1(SYS_close, fd);
	return (int)(err ? err : fd);
}

/* Sends through the inherited socket, or through the control socket where the program has closed
 * that. => 0, -errno. */
static int send_to_keeper(const struct ferry_msg *msg, const int *fds, uint32_t fd_count)
{
	int err = is_join_socket() ? ferry_proto_send(join_fd, msg, fds, fd_count) : -EBADF;
	int control;

	if (!err)
		return 0;
	control = connect_control();
	if (control < 0)
		return control;
	err = ferry_proto_send(control, msg, fds, fd_count);
	ferry_sys1(SYS_close, control);
	return err;
}

/* Pages that this process may have touched: of its private writable mappings and its stack, but for
 * what is ours. => 0: nobody knows. */
static uint64_t pages_used(void)
{
	char text[STATM_BYTES], *p = text;

	if (ferry_tasks_read("/proc/self/statm", text, sizeof(text)) <= 0)
		return 0;
	for (int spaces = 0; *p && spaces < STATM_DATA; p++)
		spaces += *p == ' ';
	return strtoull(p, NULL, 10);
}

/* Of our slot's, and of those of all children; an exec ends it. */
static uint32_t own_family;
/* Which slot that is, and its count of joins: joins << 32 | slot. Of a child's parent, until the
 * child has one. */
static uint64_t own_place;

static int send_join(const struct ferry_agent_start *start, const int fds[2])
{
	uint32_t cpu = 0;
	struct ferry_msg msg = {.version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_JOIN};

	(void)ferry_sys3(SYS_getcpu, &cpu, NULL, NULL);
	msg.a = start->eager ? 0 : pages_used();
	msg.b = cpu;
	msg.c = own_family;
	msg.d = own_place;
	return send_to_keeper(&msg, fds, 2);
}

/* Whether somebody holds the other end of the join socket, or listens. */
static bool is_keeper_gone(void)
{
	struct pollfd poll = {.fd = join_fd};
	int control;

	if (is_join_socket() && ferry_sys3(SYS_poll, &poll, 1, 0) >= 0)
		return (poll.revents & POLLHUP) != 0;
	control = connect_control();
	if (control >= 0)
		ferry_sys1(SYS_close, control);
	if (control == -EACCES && ferry_door.machine) /* in another root, or as another user */
		return ferry_sys2(SYS_kill, ferry_door.machine->keeper_pid, 0) == -ESRCH;
	return control == -ECONNREFUSED || control == -ENOENT;
}

int ferry_preload_dial(void)
{
	const struct ferry_msg msg = {.version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_CONNECT};
	int ends[2];
	long err = is_join_socket() ? ferry_sys4(SYS_socketpair, AF_UNIX,
						 SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) : -EBADF;

	if (err)
		return (int)err;
	err = ferry_proto_send(join_fd, &msg, &ends[1], 1);
	ferry_sys1(SYS_close, ends[1]);
	if (err)
		ferry_sys1(SYS_close, ends[0]);
	return (int)(err ? err : ends[0]);
}

void ferry_preload_tell(const struct ferry_msg *msg)
{
	/* A keeper that is gone tells nobody. */
	if (env_join[0] && send_to_keeper(msg, NULL, 0))
		return;
}

static int map_machine(struct ferry_agent_start *start, int fd)
{
	long len = ferry_sys3(SYS_lseek, fd, 0, SEEK_END);
	long at;

	if (len <= 0)
		return -EPROTO;
	at = ferry_sys6(SYS_mmap, 0, len, PROT_READ, MAP_SHARED, fd, 0);
	if (at < 0 && at > -4096)
		return (int)at;
	start->machine = (const struct ferry_machine *)at;
	return ferry_machine_validate(start->machine, (size_t)len);
}

/* A child finds them mapped: they are those of its machine. */
static int map_labels(int fd)
{
	long at = ferry_sys6(SYS_mmap, 0, (long)FERRY_BOOKS_SIZE_BYTES, PROT_READ,
			     MAP_SHARED | MAP_NORESERVE, fd, 0);

	if (at < 0 && at > -4096)
		return (int)at;
	/* A core file would have all of it filled. */
	(void)ferry_sys3(SYS_madvise, at, (long)FERRY_BOOKS_SIZE_BYTES, MADV_DONTDUMP);
	ferry_door.labels = (const struct ferry_books *)at;
	return 0;
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0)
			ferry_sys1(SYS_close, fds[i]);
}

/* => 0 with start's sockets, machine and process set; -errno with start->what. */
static int meet_keeper(struct ferry_agent_start *start, struct ferry_packet *welcome)
{
	int up[2] = {-1, -1}, down[2] = {-1, -1};
	int err;

	start->what = "socketpair";
	err = (int)ferry_sys4(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, up);
	if (!err)
		err = (int)ferry_sys4(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				      down);
	if (!err) {
		start->what = "no keeper";
		err = send_join(start, (int[]){up[1], down[1]});
	}
	close_all((int[]){up[1], down[1]}, 2);
	start->up = up[0];
	start->down = down[0];
	if (!err)
		err = ferry_proto_receive(up[0], welcome, WELCOME_MS);
	if (!err && welcome->msg.kind != FERRY_MSG_WELCOME)
		err = -EPROTO;
	if (!err && welcome->msg.status) {
		start->what = "refused by the keeper";
		err = welcome->msg.status;
	}
	return err;
}

static char *thread_pointer(void)
{
	char *tp;

	__asm__("mov %%fs:0, %0" : "=r"(tp));
	return tp;
}

/* The kernel zeroes the word when the main thread ends. Only that thread can ask for it. */
static uint32_t *main_tid_word;
static ferry_va main_block;

static void describe_thread(struct ferry_agent_start *start)
{
	char *tp = thread_pointer();
	char *robust = NULL;
	size_t len = 0;

	start->pid = (int32_t)ferry_sys0(SYS_getpid);
	start->proc_pid = (int32_t)ferry_preload_proc_id("/proc/self", start->pid);
	/* One that replaces another is started by any thread. */
	if (!start->eager) {
		(void)ferry_sys2(SYS_prctl, PR_GET_TID_ADDRESS, &main_tid_word);
		main_block = (ferry_va)(uintptr_t)tp;
	}
	start->tid_word = main_tid_word;
	start->thread_block = start->former ? (ferry_va)(uintptr_t)tp : main_block;
	start->thread_block_end = start->thread_block + THREAD_BLOCK_BYTES;
	if (ferry_sys3(SYS_get_robust_list, 0, &robust, &len) == 0 && robust)
		start->robust_offset = robust - tp;
	if (&__rseq_offset && robust)
		start->rseq_offset = __rseq_offset;
}

static uint32_t own_joins; /* of our slot when we joined: it may be another's by now */

static const struct ferry_process *own_slot(void)
{
	return &ferry_machine_processes(ferry_door.machine)[ferry_door.process];
}

static enum ferry_process_state own_state(void)
{
	const struct ferry_process *process = own_slot();
	uint32_t state = __atomic_load_n(&process->state, __ATOMIC_ACQUIRE);

	if (__atomic_load_n(&process->joins, __ATOMIC_RELAXED) != own_joins)
		return FERRY_PROCESS_FREE;
	return (enum ferry_process_state)state;
}

/* => 0, or -errno with start->what; -ECHILD: the agent was killed before it served. */
static int join_once(struct ferry_agent_start *start)
{
	struct ferry_packet welcome = {.fd_count = 0};
	int err = meet_keeper(start, &welcome);

	if (!err && ferry_door.machine) {
		start->machine = ferry_door.machine;
	} else if (!err) {
		start->what = "machine segment";
		err = welcome.fd_count > 1 ? map_machine(start, welcome.fds[0]) : -EPROTO;
	}
	if (!err && !ferry_door.labels) {
		start->what = "labels";
		err = map_labels(welcome.fds[1]);
	}
	if (!err) {
		start->labels = ferry_door.labels;
		start->keeps_objects = welcome.msg.c == 1;
		start->process = (uint32_t)welcome.msg.a;
		start->advance_pages = welcome.msg.b;
		start->uffd_device = welcome.fd_count > 2 ? welcome.fds[2] : -1;
		describe_thread(start);
		ferry_door.machine = start->machine;
		ferry_door.process = start->process;
		own_joins = __atomic_load_n(&own_slot()->joins, __ATOMIC_RELAXED);
		own_place = (uint64_t)own_joins << 32 | start->process;
		own_family = __atomic_load_n(&own_slot()->family, __ATOMIC_RELAXED);
		ferry_door.pid = start->pid;
		err = start->tid_word ? ferry_agent_launch(start) : -ENOSYS;
	}
	close_all((int[]){start->up, start->down}, 2);
	close_all(welcome.fds, welcome.fd_count);
	return err;
}

/* What an agent leaves that was killed before it served: the keeper lets its memory go first. */
static void clear_failed(const struct ferry_agent_start *start)
{
	const struct ferry_books *books = ferry_door.books;
	uint32_t never = 0;

	for (uint32_t waited = 0; waited < RESCUE_MS && own_state() == FERRY_PROCESS_ALIVE;
	     waited++)
		ferry_futex_wait(&never, 0, 1000000);
	ferry_zone_destroy();
	ferry_thread_reset();
	if (books && books != start->former && books != start->parent &&
	    __atomic_load_n(&ferry_door.readers, __ATOMIC_SEQ_CST) == 0) {
		ferry_door.books = (struct ferry_books *)(uintptr_t)start->former;
		(void)ferry_sys2(SYS_munmap, books, FERRY_BOOKS_SIZE_BYTES);
	}
}

static int join(struct ferry_agent_start *start)
{
	int err = join_once(start);

	for (int tries = 1; err == -ECHILD && tries < JOIN_TRIES; tries++) {
		clear_failed(start);
		err = join_once(start);
	}
	return err;
}

static void begin(const struct ferry_agent_start *start)
{
	agent_start = *start;
	agent_start.up = agent_start.down = agent_start.uffd_device = -1;
}

void ferry_preload_join(bool is_child, const struct ferry_books *parent)
{
	int err;

	begin(&(struct ferry_agent_start){.parent = parent});
	err = join(&agent_start);
	if (err) {
		ferry_door_reset();
		/* That a machine's keeper is gone is said once, by who was there before. */
		if (!is_keeper_gone())
			say(agent_start.what, strerrorname_np(-err));
		/* A child cannot be refused any more; a program can. */
		if (!is_child && agent_start.machine && agent_start.machine->strict)
			ferry_sys1(SYS_exit_group, 125);
	}
}

/* --- another agent ---------------------------------------------------------------------- */

/* The keeper first brings the killed agent's pages home. => whether it has. */
static bool await_rescue(void)
{
	uint32_t never = 0;

	for (uint32_t waited = 0; waited < RESCUE_MS; waited++) {
		enum ferry_process_state state = own_state();

		if (state != FERRY_PROCESS_ALIVE)
			return state == FERRY_PROCESS_ORPHAN;
		if (waited % LOOK_MS == 0 && is_keeper_gone())
			return false;
		ferry_futex_wait(&never, 0, 1000000);
	}
	return false;
}

/* Books that were given up before these, and are read by nobody any more. */
static const struct ferry_books *old_books;
static uint64_t old_books_bytes;

static void forget_old_books(const struct ferry_books *former, uint64_t used)
{
	if (old_books && __atomic_load_n(&ferry_door.readers, __ATOMIC_SEQ_CST) == 0)
		(void)ferry_sys2(SYS_munmap, old_books, old_books_bytes);
	old_books = former;
	old_books_bytes = used;
}

/* The agent had not opened the door yet: nothing is away. => whether there may be another. */
static bool forget_sleeper(void)
{
	enum ferry_process_state state = own_state();

	if (state == FERRY_PROCESS_LEFT || (state == FERRY_PROCESS_ALIVE && !await_rescue()))
		return false;
	ferry_door_forget_books();
	return true;
}

static bool is_sleeper(void)
{
	uint32_t state = __atomic_load_n(&ferry_door.state, __ATOMIC_ACQUIRE);

	return state == FERRY_DOOR_ASLEEP || state == FERRY_DOOR_WAKING;
}

static bool replace_agent(void)
{
	bool slept = is_sleeper();
	struct ferry_books *former = slept ? NULL : ferry_door.books;
	uint64_t used;
	int err;

	if (slept ? !forget_sleeper() : !former || !await_rescue())
		return false;
	begin(&(struct ferry_agent_start){.former = former, .eager = true});
	/* What was never used goes at once: two books do not fit under a limit of addresses. */
	used = former ? ferry_books_used_bytes(former) : 0;
	if (former && used < FERRY_BOOKS_SIZE_BYTES)
		(void)ferry_sys2(SYS_munmap, (uintptr_t)former + used,
				 FERRY_BOOKS_SIZE_BYTES - used);
	__atomic_store_n(&ferry_door.state, FERRY_DOOR_REOPENING, __ATOMIC_RELEASE);
	ferry_zone_destroy();
	ferry_thread_reset();
	ferry_door_repost();
	ferry_door.generation++;
	err = join(&agent_start);
	if (err && !is_keeper_gone())
		say(agent_start.what, strerrorname_np(-err));
	else if (!err && former)
		forget_old_books(former, used);
	return err == 0;
}

bool ferry_door_reopen(void)
{
	uint32_t *busy = &ferry_door.reopening;
	uint64_t mask;

	if (ferry_sys0(SYS_getpid) != ferry_door.pid)
		return false;
	mask = ferry_signals_block();
	while (__atomic_exchange_n(busy, 1, __ATOMIC_ACQUIRE))
		ferry_futex_wait(busy, 1, BUSY_NS);
	if (__atomic_load_n(&ferry_door.state, __ATOMIC_ACQUIRE) != FERRY_DOOR_SHUT &&
	    __atomic_load_n(&ferry_door.agent, __ATOMIC_ACQUIRE) == 0 && !replace_agent())
		__atomic_store_n(&ferry_door.state, FERRY_DOOR_SHUT, __ATOMIC_RELEASE);
	__atomic_store_n(busy, 0, __ATOMIC_RELEASE);
	ferry_futex_wake(busy, 1);
	ferry_signals_restore(mask);
	return __atomic_load_n(&ferry_door.state, __ATOMIC_ACQUIRE) == FERRY_DOOR_OPEN;
}

/* --- start ---------------------------------------------------------------------------- */

/* Our own data is never managed: doors and books are used while pages are away. */
static int exclude_own_data(struct dl_phdr_info *info, size_t size, void *unused)
{
	ferry_va own = (ferry_va)(uintptr_t)&ferry_door;
	(void)size;
	(void)unused;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		ferry_va start = info->dlpi_addr + p->p_vaddr;

		if (p->p_type == PT_LOAD && own >= start && own < start + p->p_memsz) {
			ferry_zone_exclude(start, start + p->p_memsz);
			return 1;
		}
	}
	return 0;
}

__attribute__((constructor)) static void preload_start(void)
{
	const char *disable = getenv("PAGEFERRY_DISABLE");
	int saved = errno;
	uint64_t mask;

	if ((disable && strcmp(disable, "1") == 0) || !keep_environment())
		return;
	ferry_client_dial = ferry_preload_dial;
	dl_iterate_phdr(exclude_own_data, NULL);
	(void)sbrk(0); /* from here on libc knows where the heap begins */
	mask = ferry_signals_block();
	ferry_preload_join(false, NULL);
	ferry_preload_heap_grew();
	ferry_signals_restore(mask);
	errno = saved;
}
