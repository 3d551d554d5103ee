/* SPDX-License-Identifier: MIT */
/*
 * The keeper by itself: programs that know the protocol and play processes of a machine. timeout:
 * 60
 *
 * Without an argument this is the test. It runs itself inside `pageferry run`, with a library that
 * does nothing in the preload library's place and the name of a role as argument; a role ends with
 * status 0 if everything was as it should be.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/sys.h"
#include "cases.h"
#include "host.h"
#include "map/ptable.h"
#include "map/region.h"
#include "runtime/client.h"
#include "runtime/proto.h"

#define SMALL    "2x4M" /* too small for an agent to sleep */
#define LARGE    "2x256M"
#define HARMLESS "/lib/x86_64-linux-gnu/libc.so.6"

enum { NODE_PAGES = 1024, PAGES = 64 }; /* --nodes 2x4M */

#define REQUIRE(cond)                                                                        \
	do {                                                                                 \
		if (!(cond)) {                                                               \
			fprintf(stderr, "%s:%d: %s (errno %d)\n", __FILE__, __LINE__, #cond, \
				errno);                                                      \
			_exit(1);                                                            \
		}                                                                            \
	} while (0)

/* --- a process of the machine ------------------------------------------------------------ */

struct member {
	int up, down;
	const struct ferry_machine *machine;
	int device;
	uint32_t slot;
	uint64_t advance; /* leased while its agent sleeps */
};

static void pair(int *ours, int *theirs)
{
	int ends[2];

	REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
	*ours = ends[0];
	*theirs = ends[1];
}

/* Joins by the inherited socket, or by the control socket if that is asked for; with an agent that
 * may sleep, if there are pages that it may have touched. */
static void join_with(struct member *member, bool control, uint64_t used)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *join = getenv(FERRY_JOIN_ENV);
	struct ferry_msg msg = { .version = FERRY_PROTO_VERSION,
				 .kind = FERRY_MSG_JOIN,
				 .a = used,
				 .b = UINT32_MAX };
	struct ferry_packet packet;
	int fds[2], socket_fd;
	struct stat status;
	void *memory;
	char *path;

	REQUIRE(join != NULL);
	socket_fd = (int)strtol(join, &path, 10);
	REQUIRE(*path == '.' && socket_fd >= 200);
	REQUIRE(fstat(socket_fd, &status) == 0);
	REQUIRE(strtoull(path + 1, &path, 10) == status.st_ino && *path == ':');
	if (control) {
		snprintf(address.sun_path, sizeof(address.sun_path), "%s", path + 1);
		socket_fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
		REQUIRE(connect(socket_fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	}
	pair(&member->up, &fds[0]);
	pair(&member->down, &fds[1]);
	REQUIRE(ferry_proto_send(socket_fd, &msg, fds, 2) == 0);
	close(fds[0]);
	close(fds[1]);
	REQUIRE(ferry_proto_receive(member->up, &packet, 2000) == 0);
	REQUIRE(packet.msg.kind == FERRY_MSG_WELCOME && packet.msg.status == 0);
	REQUIRE(packet.fd_count >= 1);
	memory = mmap(NULL, ferry_machine_size_bytes(2), PROT_READ, MAP_SHARED, packet.fds[0], 0);
	REQUIRE(memory != MAP_FAILED);
	/* The segment is the keeper's alone. */
	REQUIRE(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, packet.fds[0], 0) ==
		MAP_FAILED);
	REQUIRE(write(packet.fds[0], "x", 1) < 0);
	member->machine = memory;
	member->device = packet.fd_count == 2 ? packet.fds[1] : -1;
	member->slot = (uint32_t)packet.msg.a;
	member->advance = packet.msg.b;
	REQUIRE(packet.msg.node == 0);
	close(packet.fds[0]);
}

static void join_by(struct member *member, bool control)
{
	join_with(member, control, 0);
	REQUIRE(member->advance == 0);
}

static struct ferry_msg ask(const struct member *member, const struct ferry_msg *msg,
			    const int *fds, uint32_t fd_count)
{
	struct ferry_packet packet;

	REQUIRE(ferry_proto_send(member->up, msg, fds, fd_count) == 0);
	REQUIRE(ferry_proto_receive(member->up, &packet, 3000) == 0);
	REQUIRE(packet.msg.kind == FERRY_MSG_OK && packet.fd_count == 0);
	return packet.msg;
}

static struct ferry_books *make_books(int *fd)
{
	struct ferry_books *books;

	*fd = memfd_create("books", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	REQUIRE(*fd >= 0 && ftruncate(*fd, (off_t)FERRY_BOOKS_SIZE_BYTES) == 0);
	books = mmap(NULL, FERRY_BOOKS_SIZE_BYTES, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_NORESERVE, *fd, 0);
	REQUIRE(books != MAP_FAILED);
	ferry_books_layout(books, 2, getpid());
	return books;
}

static struct ferry_msg ask_agent(const struct member *member, int books, int program_uffd,
				  int arena_uffd)
{
	const struct ferry_msg msg = { .version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_AGENT };
	int fds[] = { books, program_uffd, arena_uffd };

	return ask(member, &msg, fds, 3);
}

/* Says AGENT for the calling process. */
static int say_agent(const struct member *member, int books, int program_uffd, int arena_uffd)
{
	return ask_agent(member, books, program_uffd, arena_uffd).status;
}

static struct member become_member(void)
{
	struct member member;
	struct ferry_books *books;
	int fd, null = open("/dev/null", O_RDONLY);

	join_by(&member, false);
	books = make_books(&fd);
	REQUIRE(say_agent(&member, fd, null, null) == 0);
	REQUIRE(say_agent(&member, fd, null, null) == -EINVAL); /* once is enough */
	munmap(books, FERRY_BOOKS_SIZE_BYTES);
	close(fd);
	return member;
}

static uint64_t lease(const struct member *member, int node, uint64_t pages, bool force)
{
	const struct ferry_msg msg = { .version = FERRY_PROTO_VERSION,
				       .kind = FERRY_MSG_LEASE,
				       .node = node,
				       .a = pages,
				       .b = force };
	struct ferry_msg answer = ask(member, &msg, NULL, 0);

	REQUIRE(answer.status == 0 && (force ? answer.a == pages : answer.a <= pages));
	return answer.a;
}

static void give_back(const struct member *member, int node, uint64_t pages, bool recalled)
{
	const struct ferry_msg msg = { .version = FERRY_PROTO_VERSION,
				       .kind = FERRY_MSG_RETURN,
				       .node = node,
				       .a = pages,
				       .b = recalled };

	REQUIRE(ferry_proto_send(member->up, &msg, NULL, 0) == 0);
}

static const struct ferry_node *node_of(const struct member *member, int node)
{
	return &ferry_machine_nodes(member->machine)[node];
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool eventually(bool (*is_so)(const struct member *member), const struct member *member)
{
	for (int i = 0; i < 2000 && !is_so(member); i++)
		usleep(1000);
	return is_so(member);
}

/* --- roles: leases ----------------------------------------------------------------------- */

/* All of a node in shares that shrink, to the last page; never more. */
static uint64_t lease_all(const struct member *member, int node)
{
	uint64_t sum = 0, pages;

	while ((pages = lease(member, node, 4096, false)) != 0)
		sum += pages;
	return sum;
}

static int role_capacity(void)
{
	struct member member = become_member();
	const struct ferry_msg bad = {
		.version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_LEASE, .node = 2, .a = 1
	};

	REQUIRE(node_of(&member, 0)->capacity_pages == NODE_PAGES);
	REQUIRE(lease(&member, 0, NODE_PAGES, false) == NODE_PAGES / 8);
	REQUIRE(lease_all(&member, 0) == NODE_PAGES - NODE_PAGES / 8);
	REQUIRE(node_of(&member, 0)->leased_pages == NODE_PAGES);
	REQUIRE(node_of(&member, 0)->over_pages == 0);
	REQUIRE(node_of(&member, 0)->failed_requests >= 1);
	REQUIRE(lease(&member, 0, 10, true) == 10);
	REQUIRE(node_of(&member, 0)->over_pages == 10);
	REQUIRE(node_of(&member, 1)->leased_pages == 0);
	give_back(&member, 0, 30, false);
	REQUIRE(lease(&member, 0, 64, false) == 20);
	REQUIRE(node_of(&member, 0)->over_pages == 0);
	/* More than there is to give back is all that there is. */
	give_back(&member, 0, UINT64_MAX, false);
	REQUIRE(lease(&member, 0, 1, false) == 1);
	REQUIRE(node_of(&member, 0)->leased_pages == 1);
	REQUIRE(ask(&member, &bad, NULL, 0).status == -EINVAL);
	return 0;
}

static void *answer_recall(void *argument)
{
	const struct member *member = argument;
	struct ferry_packet packet;

	REQUIRE(ferry_proto_receive(member->down, &packet, 3000) == 0);
	REQUIRE(packet.msg.kind == FERRY_MSG_RECALL && packet.msg.node == 0);
	REQUIRE(packet.msg.a == 40);
	give_back(member, 0, 25, true);
	return NULL;
}

static bool node_is_empty(const struct member *member)
{
	return __atomic_load_n(&node_of(member, 0)->leased_pages, __ATOMIC_RELAXED) == 0;
}

static int role_recall(void)
{
	struct member rich = become_member(), poor = become_member();
	struct ferry_packet packet;
	pthread_t thread;
	uint64_t before_ms;

	REQUIRE(lease_all(&rich, 0) == NODE_PAGES);
	REQUIRE(pthread_create(&thread, NULL, answer_recall, &rich) == 0);
	REQUIRE(lease(&poor, 0, 40, false) == 25);
	pthread_join(thread, NULL);
	/* Nobody answers: no for an answer, and soon. */
	before_ms = now_ms();
	REQUIRE(lease(&poor, 0, 40, false) == 0);
	REQUIRE(now_ms() - before_ms >= 45 && now_ms() - before_ms < 1000);
	/* Who has not answered is not waited for again. */
	before_ms = now_ms();
	REQUIRE(lease(&poor, 0, 40, false) == 0);
	REQUIRE(now_ms() - before_ms < 45);
	/* A late answer counts, and so does the next recall. */
	REQUIRE(ferry_proto_receive(rich.down, &packet, 1000) == 0);
	give_back(&rich, 0, 0, true);
	REQUIRE(lease(&rich, 1, 1, false) == 1); /* and with it the answer has been read */
	before_ms = now_ms();
	REQUIRE(lease(&poor, 0, 40, false) == 0);
	REQUIRE(now_ms() - before_ms >= 45);
	return 0;
}

/* A process that dies gives everything back, also while others wait for it. */
static int role_death(void)
{
	struct member member = become_member();
	int ready[2];
	pid_t child;
	char c;

	REQUIRE(pipe(ready) == 0);
	child = fork();
	REQUIRE(child >= 0);
	if (child == 0) {
		struct member other = become_member();

		REQUIRE(lease_all(&other, 0) == NODE_PAGES);
		REQUIRE(write(ready[1], "x", 1) == 1);
		pause();
		_exit(1);
	}
	REQUIRE(read(ready[0], &c, 1) == 1);
	REQUIRE(node_of(&member, 0)->leased_pages == NODE_PAGES);
	kill(child, SIGKILL);
	REQUIRE(lease(&member, 0, 64, false) == 64 || eventually(node_is_empty, &member));
	waitpid(child, NULL, 0);
	return 0;
}

/* --- roles: agents that sleep ------------------------------------------------------------- */

static const struct ferry_process *process_of(const struct member *member)
{
	return &ferry_machine_processes(member->machine)[member->slot];
}

static bool is_being_woken(const struct member *member)
{
	return __atomic_load_n(&process_of(member)->wake, __ATOMIC_ACQUIRE) == 1;
}

static struct member fall_asleep(uint64_t used)
{
	struct member member;

	join_with(&member, false, used);
	REQUIRE(member.advance >= used + 512);
	REQUIRE(process_of(&member)->state == FERRY_PROCESS_ASLEEP);
	REQUIRE(process_of(&member)->wake == 0);
	return member;
}

/* It has what it was given in advance, and nothing besides. */
static void wake_up(const struct member *member)
{
	int books_fd, null = open("/dev/null", O_RDONLY);
	struct ferry_books *books = make_books(&books_fd);
	struct ferry_msg answer = ask_agent(member, books_fd, null, null);

	REQUIRE(answer.status == 0 && answer.a == member->advance && answer.node == 0);
	REQUIRE(process_of(member)->state == FERRY_PROCESS_ALIVE);
	munmap(books, FERRY_BOOKS_SIZE_BYTES);
	close(books_fd);
}

static void *look_at_sleeper(void *argument)
{
	struct ferry_client client;

	(void)argument;
	REQUIRE(ferry_client_open(&client, getpid(), FERRY_CLIENT_LOOK) == 0);
	ferry_client_close(&client);
	return NULL;
}

static int role_asleep(void)
{
	struct member member = fall_asleep(100), next;
	pthread_t thread;

	REQUIRE(node_of(&member, 0)->leased_pages == member.advance);
	REQUIRE(pthread_create(&thread, NULL, look_at_sleeper, NULL) == 0);
	REQUIRE(eventually(is_being_woken, &member));
	wake_up(&member);
	pthread_join(thread, NULL);
	give_back(&member, 0, member.advance, false);
	/* As after an exec, without anybody having woken: the former one's advance is over. */
	next = fall_asleep(100);
	member = fall_asleep(200);
	REQUIRE(process_of(&next)->state == FERRY_PROCESS_FREE);
	REQUIRE(node_of(&member, 0)->leased_pages == member.advance);
	/* More than a node has to spare. */
	join_with(&next, false, 16384);
	REQUIRE(next.advance == 0);
	return 0;
}

/* What a sleeper has too much of comes back when others need it. */
static int role_asleep_recall(void)
{
	struct member member = fall_asleep(100);
	struct ferry_packet packet;
	int status;
	pid_t child = fork();

	REQUIRE(child >= 0);
	if (child == 0) {
		struct member other = become_member();

		REQUIRE(lease_all(&other, 0) == node_of(&other, 0)->capacity_pages - 10);
		_exit(0);
	}
	REQUIRE(eventually(is_being_woken, &member));
	wake_up(&member);
	REQUIRE(ferry_proto_receive(member.down, &packet, 3000) == 0);
	REQUIRE(packet.msg.kind == FERRY_MSG_RECALL && packet.msg.node == 0);
	REQUIRE(packet.msg.a == member.advance);
	give_back(&member, 0, member.advance - 10, true);
	REQUIRE(waitpid(child, &status, 0) == child && status == 0);
	return 0;
}

static int role_asleep_failed(void)
{
	struct member member = fall_asleep(100);
	struct ferry_msg msg = { .version = FERRY_PROTO_VERSION,
				 .kind = FERRY_MSG_FAILED,
				 .status = -EMFILE };
	struct ferry_packet packet;

	snprintf(msg.text, sizeof(msg.text), "books");
	REQUIRE(ferry_proto_send(member.up, &msg, NULL, 0) == 0);
	REQUIRE(ferry_proto_receive(member.up, &packet, 2000) == -EPIPE);
	REQUIRE(node_is_empty(&member));
	return 0;
}

static int role_join_by_path(void)
{
	struct member member;

	join_by(&member, true);
	REQUIRE(lease(&member, 1, 8, false) == 8);
	return 0;
}

static int role_out_of_memory(void)
{
	struct member member = become_member();
	const struct ferry_msg msg = { .version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_NOMEM };

	REQUIRE(lease(&member, 1, 100, false) == 100);
	REQUIRE(ferry_proto_send(member.up, &msg, NULL, 0) == 0);
	for (;;)
		pause();
}

/* --- role: what must not hurt ------------------------------------------------------------ */

static int role_nonsense(void)
{
	struct member member = become_member();
	struct ferry_msg msg = { .version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_JOIN };
	const char *join = getenv(FERRY_JOIN_ENV);
	int fds[3] = { open("/dev/null", O_RDONLY), 1, 2 };
	int join_fd = atoi(join == NULL ? "" : join);
	struct ferry_packet packet;
	struct member other;

	REQUIRE(ferry_proto_send(join_fd, &msg, NULL, 0) == 0);
	REQUIRE(ferry_proto_send(join_fd, &msg, fds, 2) == 0); /* no sockets */
	msg.kind = 9999;
	REQUIRE(ferry_proto_send(join_fd, &msg, fds, 3) == 0);
	REQUIRE(send(join_fd, "x", 1, 0) == 1);
	REQUIRE(ferry_proto_send(member.up, &msg, fds, 1) == 0);
	msg.kind = FERRY_MSG_RETURN;
	msg.node = -1;
	msg.a = 5;
	REQUIRE(ferry_proto_send(member.up, &msg, NULL, 0) == 0);
	msg.kind = FERRY_MSG_API;
	REQUIRE(ask(&member, &msg, fds, 1).status < 0); /* not a userfaultfd */
	/* Books that could be cut under their readers are refused. */
	join_by(&other, false);
	REQUIRE(say_agent(&other, memfd_create("books", MFD_CLOEXEC), fds[0], fds[0]) == -EINVAL);
	/* A stream of nonsense ends a membership, and nothing else. */
	REQUIRE(send(other.up, "x", 1, 0) == 1);
	REQUIRE(ferry_proto_receive(other.up, &packet, 2000) == -EPIPE);
	REQUIRE(lease(&member, 0, 8, false) == 8);
	return 0;
}

/* --- role: introductions ----------------------------------------------------------------- */

static int role_attach(void)
{
	struct member member = become_member();
	struct ferry_client client;
	struct ferry_packet packet;

	REQUIRE(ferry_client_open(&client, getpid(), FERRY_CLIENT_LOOK) == 0);
	REQUIRE(client.books->pid == getpid() && client.channel < 0);
	REQUIRE(client.slot == member.slot);
	ferry_client_close(&client);
	REQUIRE(ferry_proto_receive(member.down, &packet, 0) == -EAGAIN);

	REQUIRE(ferry_client_open(&client, getpid(), FERRY_CLIENT_ASK) == 0);
	REQUIRE(ferry_proto_receive(member.down, &packet, 1000) == 0);
	REQUIRE(packet.msg.kind == FERRY_MSG_CLIENT && packet.fd_count == 1);
	REQUIRE(write(client.channel, "x", 1) == 1);
	ferry_client_close(&client);
	close(packet.fds[0]);

	REQUIRE(ferry_client_open(&client, getppid(), FERRY_CLIENT_LOOK) == -ENOENT);
	REQUIRE(ferry_client_open(&client, INT_MAX, FERRY_CLIENT_LOOK) == -ESRCH);
	REQUIRE(ferry_client_open(&client, 0, FERRY_CLIENT_LOOK) == -ESRCH);
	return 0;
}

/* The calling thread's rights count, not those of the process when it connected. */
static void *look_as_nobody(void *argument)
{
	int32_t pid = *(int32_t *)argument;
	struct ferry_client client;

	if (ferry_sys3(SYS_setresgid, 65534, 65534, 65534) != 0 ||
	    ferry_sys3(SYS_setresuid, 65534, -1L, -1L) != 0)
		return NULL;
	/* Real id changed, effective still root: allowed by the capability. */
	REQUIRE(ferry_client_open(&client, pid, FERRY_CLIENT_LOOK) == 0);
	/* Another effective id, and with it no capabilities; the connection is as before. */
	ferry_client_close(&client);
	return NULL;
}

/* Another process of the machine, of our user, until we end. => its pid. */
static int32_t start_other_member(void)
{
	int ends[2];
	char ready;
	pid_t child;

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	child = fork();
	REQUIRE(child >= 0);
	close(ends[child == 0 ? 0 : 1]);
	if (child == 0) {
		(void)become_member();
		REQUIRE(write(ends[1], "", 1) == 1);
		_exit(read(ends[1], &ready, 1) != 0);
	}
	REQUIRE(read(ends[0], &ready, 1) == 1);
	return child;
}

static int role_rights(void)
{
	struct member member = become_member();
	int32_t other = start_other_member();
	int32_t pid = getpid();
	struct ferry_msg msg = { .version = FERRY_PROTO_VERSION,
				 .kind = FERRY_MSG_ATTACH,
				 .a = (uint64_t)pid,
				 .b = (uint64_t)pid,
				 .flags = FERRY_MSG_FLAG_LOOK };
	const char *path = strchr(getenv(FERRY_JOIN_ENV), ':');
	struct ferry_client_machine machine;
	struct ferry_packet packet;
	pthread_t thread;

	(void)member;
	REQUIRE(pthread_create(&thread, NULL, look_as_nobody, &pid) == 0);
	pthread_join(thread, NULL);
	REQUIRE(ferry_client_connect(path + 1, &machine) == 0);
	REQUIRE(ferry_proto_send(machine.control, &msg, NULL, 0) == 0);
	REQUIRE(ferry_proto_receive(machine.control, &packet, 2000) == 0);
	REQUIRE(packet.msg.status == 0 && packet.fd_count == 1);
	msg.b = 1; /* a thread that is not the caller's */
	REQUIRE(ferry_proto_send(machine.control, &msg, NULL, 0) == 0);
	REQUIRE(ferry_proto_receive(machine.control, &packet, 2000) == 0);
	REQUIRE(packet.msg.status == -EPERM && packet.fd_count == 0);
	if (geteuid() != 0)
		return 0;
	/* The connection was root's; the thread is not any more. It may look into itself only. */
	msg.b = (uint64_t)pid;
	REQUIRE(ferry_sys3(SYS_setresuid, 65534, 65534, 0) == 0);
	REQUIRE(ferry_proto_send(machine.control, &msg, NULL, 0) == 0);
	REQUIRE(ferry_proto_receive(machine.control, &packet, 2000) == 0);
	REQUIRE(packet.msg.status == 0 && packet.fd_count == 1);
	msg.a = (uint64_t)other;
	REQUIRE(ferry_proto_send(machine.control, &msg, NULL, 0) == 0);
	REQUIRE(ferry_proto_receive(machine.control, &packet, 2000) == 0);
	REQUIRE(packet.msg.status == -EPERM && packet.fd_count == 0);
	return 0;
}

/* --- role: an agent is killed ------------------------------------------------------------ */

struct stage {
	struct member member;
	struct ferry_books *books;
	int books_fd, program_uffd, arena_uffd;
	char *pages, *arena;
	uint32_t toucher_saw; /* what a thread read of a page that was away */
};

static int make_uffd(const struct member *member, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = member->device >= 0 ? (int)ferry_sys3(SYS_ioctl, member->device,
						       USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK)
				     : (int)ferry_sys1(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	REQUIRE(fd >= 0 && ferry_sys3(SYS_ioctl, fd, UFFDIO_API, &api) == 0);
	return fd;
}

static char *map_pages(void)
{
	char *memory = mmap(NULL, PAGES * FERRY_PAGE_SIZE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	REQUIRE(memory != MAP_FAILED);
	return memory;
}

static void register_pages(int uffd, const char *memory, uint64_t mode)
{
	struct uffdio_register registration = {
		.range = { (uint64_t)(uintptr_t)memory, PAGES * FERRY_PAGE_SIZE },
		.mode = mode,
	};

	REQUIRE(ferry_sys3(SYS_ioctl, uffd, UFFDIO_REGISTER, &registration) == 0);
}

/* Page i goes away: its content is in slot i. Every fourth entry lags behind. */
static void take_out(struct stage *stage, uint32_t i)
{
	ferry_va va = (ferry_va)(uintptr_t)stage->pages + i * FERRY_PAGE_SIZE;
	struct uffdio_move move = {
		.dst = (uint64_t)(uintptr_t)stage->arena + i * FERRY_PAGE_SIZE,
		.src = va,
		.len = FERRY_PAGE_SIZE,
	};
	struct ferry_frame frame = { .number = i };
	struct ferry_pte *slot = ferry_ptable_slot(stage->books, va);
	enum ferry_pte_state state = i % 4 == 3 ? FERRY_PTE_MAPPED : FERRY_PTE_HELD;

	REQUIRE(ferry_sys3(SYS_ioctl, stage->arena_uffd, UFFDIO_MOVE, &move) == 0);
	REQUIRE(slot != NULL);
	ferry_pte_set(slot, ferry_pte_make(state, frame, 0));
}

static void set_stage(struct stage *stage)
{
	uint64_t events = UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP |
			  UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_EVENT_REMOVE;
	ferry_va start;

	join_by(&stage->member, false);
	stage->books = make_books(&stage->books_fd);
	stage->program_uffd = make_uffd(&stage->member, events);
	stage->arena_uffd = make_uffd(&stage->member, UFFD_FEATURE_MOVE);
	stage->pages = map_pages();
	stage->arena = map_pages();
	for (uint32_t i = 0; i < PAGES; i++)
		memset(stage->pages + i * FERRY_PAGE_SIZE, (int)(i + 1), FERRY_PAGE_SIZE);
	register_pages(stage->program_uffd, stage->pages,
		       UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
	register_pages(stage->arena_uffd, stage->arena, UFFDIO_REGISTER_MODE_WP);
	start = (ferry_va)(uintptr_t)stage->pages;
	REQUIRE(ferry_region_insert(stage->books, start, start + PAGES * FERRY_PAGE_SIZE, 0) == 0);
	ferry_books_node_counts(stage->books)[0].small_arena = (uint64_t)(uintptr_t)stage->arena;
	for (uint32_t i = 0; i < PAGES; i++)
		take_out(stage, i);
}

static void *touch_page(void *argument)
{
	struct stage *stage = argument;

	__atomic_store_n(&stage->toucher_saw, (uint8_t)stage->pages[5 * FERRY_PAGE_SIZE],
			 __ATOMIC_RELEASE);
	return NULL;
}

/* Waits inside the kernel until somebody reads the event. */
static void *discard_page(void *argument)
{
	struct stage *stage = argument;

	REQUIRE(madvise(stage->pages + 8 * FERRY_PAGE_SIZE, FERRY_PAGE_SIZE, MADV_DONTNEED) == 0);
	return NULL;
}

static bool is_orphan(const struct member *member)
{
	return ferry_machine_processes(member->machine)[member->slot].state == FERRY_PROCESS_ORPHAN;
}

static pid_t start_agent(struct stage *stage)
{
	int ready[2];
	pid_t agent;
	char c;

	REQUIRE(pipe(ready) == 0);
	agent = fork();
	REQUIRE(agent >= 0);
	if (agent == 0) {
		REQUIRE(say_agent(&stage->member, stage->books_fd, stage->program_uffd,
				  stage->arena_uffd) == 0);
		REQUIRE(write(ready[1], "x", 1) == 1);
		pause();
		_exit(1);
	}
	REQUIRE(read(ready[0], &c, 1) == 1);
	return agent;
}

/* How many bytes of page i are not value. */
static uint32_t wrong_bytes(const struct stage *stage, uint32_t i, uint8_t value)
{
	const uint8_t *page = (const uint8_t *)stage->pages + (size_t)i * FERRY_PAGE_SIZE;
	uint32_t wrong = 0;

	for (uint32_t at = 0; at < FERRY_PAGE_SIZE; at++)
		wrong += page[at] != value;
	return wrong;
}

/* The agent had read this event, and was killed before it was in the books. */
static void leave_in_inbox(struct stage *stage, uint32_t page)
{
	struct uffd_msg msg = { .event = UFFD_EVENT_REMOVE };

	msg.arg.remove.start = (uint64_t)(uintptr_t)stage->pages + page * FERRY_PAGE_SIZE;
	msg.arg.remove.end = msg.arg.remove.start + FERRY_PAGE_SIZE;
	memcpy(&stage->books->inbox[2], &msg, sizeof(msg));
}

static int role_rescue(void)
{
	static struct stage stage;
	pthread_t toucher, discarder;
	pid_t agent;

	set_stage(&stage);
	/* The agent is a plain child here; its fork would wait for an event to be read. */
	REQUIRE(madvise(stage.pages, PAGES * FERRY_PAGE_SIZE, MADV_DONTFORK) == 0);
	leave_in_inbox(&stage, 10);
	agent = start_agent(&stage);
	REQUIRE(pthread_create(&toucher, NULL, touch_page, &stage) == 0);
	REQUIRE(pthread_create(&discarder, NULL, discard_page, &stage) == 0);
	usleep(50000);
	REQUIRE(__atomic_load_n(&stage.toucher_saw, __ATOMIC_ACQUIRE) == 0);
	kill(agent, SIGKILL);
	pthread_join(toucher, NULL);
	REQUIRE(stage.toucher_saw == 6);
	pthread_join(discarder, NULL);
	waitpid(agent, NULL, 0);
	for (uint32_t i = 0; i < PAGES; i++)
		REQUIRE(wrong_bytes(&stage, i, i == 8 || i == 10 ? 0 : (uint8_t)(i + 1)) == 0);
	REQUIRE(eventually(is_orphan, &stage.member));
	/* Nobody parks any more. */
	REQUIRE(madvise(stage.pages, PAGES * FERRY_PAGE_SIZE, MADV_DONTNEED) == 0);
	REQUIRE(wrong_bytes(&stage, 3, 0) == 0);
	return 0;
}

/* An agent that leaves by itself, as at exec, leaves no orphan. */
static bool slot_is_used_up(const struct member *member)
{
	return ferry_machine_processes(member->machine)[member->slot].state == FERRY_PROCESS_FREE;
}

static int role_leave(void)
{
	struct member member;
	struct ferry_books *books;
	int fd, null = open("/dev/null", O_RDONLY);
	pid_t middle;

	join_by(&member, false);
	books = make_books(&fd);
	/* As the real one it is orphaned at once, and so becomes the keeper's child. */
	middle = fork();
	REQUIRE(middle >= 0);
	if (middle == 0) {
		middle = getpid();
		if (fork() != 0)
			_exit(0);
		while (getppid() == middle)
			usleep(1000);
		REQUIRE(say_agent(&member, fd, null, null) == 0);
		REQUIRE(lease(&member, 0, 50, false) == 50);
		_exit(0);
	}
	REQUIRE(waitpid(middle, NULL, 0) == middle);
	REQUIRE(eventually(slot_is_used_up, &member));
	REQUIRE(node_is_empty(&member));
	munmap(books, FERRY_BOOKS_SIZE_BYTES);
	return 0;
}

/* The keeper is killed: the program goes on, the foreground process says so and does not wait. */
static int role_orphaned(void)
{
	struct member member = become_member();
	struct ferry_packet packet;
	const char *join = getenv(FERRY_JOIN_ENV);
	const char *path = strchr(join == NULL ? "" : join, ':');

	REQUIRE(path != NULL && access(path + 1, F_OK) == 0);
	REQUIRE(member.machine->keeper_pid == getppid());
	kill(getppid(), SIGKILL);
	REQUIRE(ferry_proto_receive(member.up, &packet, 5000) == -EPIPE);
	REQUIRE(unlink(path + 1) == 0);
	return 0;
}

/* --- the test ---------------------------------------------------------------------------- */

static const struct role {
	const char *name;
	int (*play)(void);
	int status;
	const char *says; /* in one line on stderr; NULL: nothing */
	const char *nodes;
} roles[] = {
	{ "capacity", role_capacity, 0, NULL, SMALL },
	{ "recall", role_recall, 0, NULL, SMALL },
	{ "death", role_death, 0, NULL, SMALL },
	{ "asleep", role_asleep, 0, NULL, LARGE },
	{ "asleep-recall", role_asleep_recall, 0, NULL, LARGE },
	{ "asleep-failed", role_asleep_failed, 0, "runs unmanaged: books: Too many open files",
	  LARGE },
	{ "join-by-path", role_join_by_path, 0, NULL, SMALL },
	{ "out-of-memory", role_out_of_memory, 128 + SIGKILL,
	  "(keeper) needs a page; node 0: 4 MiB, 0 B used; node 1: 4 MiB, 400 KiB used\n", SMALL },
	{ "nonsense", role_nonsense, 0, NULL, SMALL },
	{ "attach", role_attach, 0, NULL, SMALL },
	{ "rights", role_rights, 0, NULL, SMALL },
	{ "rescue", role_rescue, 0, "was killed: 62 pages brought home", SMALL },
	{ "leave", role_leave, 0, NULL, SMALL },
	{ "orphaned", role_orphaned, 125, "the keeper of this machine was killed", SMALL },
};

static void run_inside(const char *role, const char *nodes)
{
	char command[PATH_MAX], self[PATH_MAX - 32];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	/* We are BUILD/tests/live/keeper. */
	self[length > 0 ? length : 0] = '\0';
	snprintf(command, sizeof(command), "%.*s../../pageferry",
		 (int)(strrchr(self, '/') + 1 - self), self);
	setenv("PAGEFERRY_PRELOAD", HARMLESS, 1);
	execl(command, command, "run", "--nodes", nodes, "--", self, role, (char *)NULL);
	perror(command);
	_exit(99);
}

/* Runs one role; what it says on stderr is in text. => its exit status. */
static int run_role(const struct role *role, char *text, size_t size)
{
	int ends[2], status = 0;
	size_t used = 0;
	ssize_t length;
	pid_t child;

	assert_int_equal(pipe(ends), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		run_inside(role->name, role->nodes);
	}
	close(ends[1]);
	while (used + 1 < size && (length = read(ends[0], text + used, size - used - 1)) > 0)
		used += (size_t)length;
	text[used] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static bool kernel_moves(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)ferry_sys1(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	bool asked = fd >= 0 && ferry_sys3(SYS_ioctl, fd, UFFDIO_API, &api) == 0;

	if (fd >= 0)
		close(fd);
	return !asked || (api.features & UFFD_FEATURE_MOVE) != 0;
}

static void plays(void **state)
{
	const struct role *role = *state;
	char text[4096];
	const char *end;
	int status;

	if (role->play == role_rescue && !kernel_moves())
		skip();
	status = run_role(role, text, sizeof(text));
	end = strchr(text, '\n');
	if (status != role->status || (role->says == NULL && text[0] != '\0'))
		print_message("%s", text);
	assert_int_equal(status, role->status);
	if (role->says == NULL) {
		assert_string_equal(text, "");
		return;
	}
	assert_non_null(strstr(text, role->says));
	assert_true(end != NULL && end[1] == '\0');
}

int main(int argc, char **argv)
{
	struct CMUnitTest tests[FERRY_ARRAY_SIZE(roles)];

	test_host_init();
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(roles); i++) {
		if (argc > 1 && strcmp(argv[1], roles[i].name) == 0)
			return roles[i].play();
		tests[i] = (struct CMUnitTest){
			.name = roles[i].name,
			.test_func = plays,
			.initial_state = (void *)(uintptr_t)&roles[i],
		};
	}
	if (argc > 1)
		return 99;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
