/* SPDX-License-Identifier: MIT */
/*
 * control.c - an agent's talk with the keeper, and with clients that the keeper introduces.
 *
 * `up` carries requests and answers, one at a time under up_lock, and messages that are not
 * answered. `down` is read by the control thread, which answers a RECALL at once and gives every
 * client a thread of its own, so that a long move keeps nobody waiting.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "base/os.h"
#include "base/sys.h"
#include "engine/check.h"
#include "map/region.h"
#include "move/move_pages.h"
#include "runtime/agent.h"
#include "runtime/arrays.h"
#include "runtime/mailbox.h"
#include "runtime/thread.h"
#include "runtime/zone.h"

enum {
	ANSWER_MS = 10000,
	PROGRESS_NS = 50000000,
	KNOWN_PAGES = 64, /* of a call: so many are looked up one by one */
};

/* Says something to which no answer is due; the other side may be gone, and then it does not
 * matter. */
static void tell(int socket, const struct ferry_msg *msg)
{
	if (ferry_proto_send(socket, msg, NULL, 0))
		return;
}

/* --- keeper --------------------------------------------------------------------------- */

int ferry_agent_request(struct ferry_agent *agent, const struct ferry_msg *msg, const int *fds,
			uint32_t fd_count, struct ferry_packet *answer)
{
	int err;

	if (__atomic_load_n(&agent->keeper_gone, __ATOMIC_ACQUIRE))
		return -EPIPE;
	ferry_lock_acquire(&agent->up_lock);
	err = ferry_proto_send(agent->up, msg, fds, fd_count);
	if (!err)
		err = ferry_proto_receive(agent->up, answer, ANSWER_MS);
	/* An answer that comes too late would be taken for the next one: talk no more. */
	if (err)
		__atomic_store_n(&agent->keeper_gone, true, __ATOMIC_RELEASE);
	ferry_lock_release(&agent->up_lock);
	return err;
}

static void answer_recall(struct ferry_agent *agent, const struct ferry_msg *recall)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_RETURN,
		.node = recall->node,
		.b = 1,
	};

	if (recall->node < 0 || (uint32_t)recall->node >= agent->machine->node_count)
		return;
	ferry_lock_acquire(&agent->space.lock);
	msg.a = ferry_space_shrink(&agent->space, (uint32_t)recall->node, recall->a);
	ferry_lock_release(&agent->space.lock);
	tell(agent->up, &msg);
}

/* --- clients -------------------------------------------------------------------------- */

struct client {
	struct ferry_agent *agent;
	int channel;
	enum ferry_client_rights rights;
	bool holds; /* the gate is closed for it */
	uint64_t started_ns;
	uint64_t told_ns;
	uint64_t asked_pages;
	uint64_t rate; /* bytes a second, 0: no limit */
};

/* The client closed the channel, or sent something while a request runs: both cancel. */
static bool client_cancelled(const struct client *client)
{
	struct pollfd poll = {.fd = client->channel, .events = POLLIN};

	return ferry_sys3(SYS_poll, &poll, 1, 0) > 0;
}

static bool between_batches(void *context, size_t done)
{
	struct client *client = context;
	uint64_t now = ferry_clock_ns();

	if (client->rate) {
		uint64_t due = client->started_ns + (uint64_t)((double)done * FERRY_PAGE_SIZE /
							       (double)client->rate * 1e9);

		while (now < due && !client_cancelled(client)) {
			uint32_t never = 0;
			uint64_t left = due - now;

			ferry_futex_wait(&never, 0, left < PROGRESS_NS ? left : PROGRESS_NS);
			now = ferry_clock_ns();
		}
	}
	if (now - client->told_ns >= PROGRESS_NS) {
		struct ferry_msg msg = {
			.version = FERRY_PROTO_VERSION,
			.kind = FERRY_MSG_PROGRESS,
			.a = done,
			.b = client->asked_pages,
			.c = now - client->started_ns,
		};

		client->told_ns = now;
		if (ferry_proto_send(client->channel, &msg, NULL, 0))
			return true;
	}
	return client_cancelled(client);
}

static void finish(struct client *client, struct ferry_msg *done)
{
	done->version = FERRY_PROTO_VERSION;
	done->kind = FERRY_MSG_DONE;
	done->c = ferry_clock_ns() - client->started_ns;
	tell(client->channel, done);
}

static bool may_move(const struct client *client, uint32_t flags)
{
	return !(flags & FERRY_MSG_FLAG_MOVE_ALL) || client->rights != FERRY_CLIENT_MOVES;
}

static void serve_range(struct client *client, const struct ferry_msg *msg)
{
	const struct ferry_query query = {client->agent->books, client->agent->labels};
	struct ferry_range_result result;
	struct ferry_range_call call = {
		.start = msg->a,
		.end = msg->b,
		.target = msg->node,
		.from = msg->nodes,
		.move_all = (msg->flags & FERRY_MSG_FLAG_MOVE_ALL) != 0,
		.seed = (msg->flags & FERRY_MSG_FLAG_SEED) != 0,
		.stall_budget_ns = msg->c,
		.between = between_batches,
		.context = client,
	};
	struct ferry_msg done = {.status = -EPERM};

	memset(&result, 0, sizeof(result));
	client->rate = msg->d;
	if (may_move(client, msg->flags)) {
		ferry_house_scan(client->agent);
		client->asked_pages = ferry_range_count(&query, &call);
		done.status = ferry_move_range_in(&client->agent->space, &call, &result);
	}
	done.d = result.asked_pages;
	done.flags = result.stopped ? FERRY_MSG_FLAG_STOPPED : 0;
	for (uint32_t i = 0; i < FERRY_ARRAY_SIZE(done.reasons) && i < FERRY_REASON_COUNT; i++)
		done.reasons[i] = result.reasons[i];
	finish(client, &done);
}

/* One move_pages() call of a client's. Its arrays lie at an offset in a memfd: the client may write
 * there while we work, so inputs are copied first. */
struct call {
	int fd;
	size_t arrays_at;
	size_t count;
	bool seed;
	bool move_all;
	bool shared_only;
};

/* All of it. nr: pread64 or pwrite64. */
static int transfer(long nr, int fd, void *bytes, size_t len, size_t at)
{
	char *p = bytes;

	while (len) {
		long n = ferry_sys4(nr, fd, p, len, at);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return -EFAULT;
		p += n;
		len -= (size_t)n;
		at += (size_t)n;
	}
	return 0;
}

/* Memory that was mapped without our knowledge is found first, if the call may mean such. */
static void look_for_pages(struct ferry_agent *agent, const uint64_t *pages, size_t count)
{
	bool known = count <= KNOWN_PAGES;

	ferry_lock_acquire(&agent->space.lock);
	for (size_t i = 0; i < count && known; i++)
		known = ferry_region_find(agent->books, pages[i]) != NULL;
	ferry_lock_release(&agent->space.lock);
	if (known)
		ferry_house_look_for_rings(agent);
	else
		ferry_house_scan(agent);
}

static int64_t serve_call(struct ferry_agent *agent, const struct call *c)
{
	size_t in_bytes = ferry_arrays_status_at(c->count);
	size_t out_bytes = ferry_arrays_size(c->count) - in_bytes;
	char *own = ferry_zone_alloc(in_bytes + out_bytes);
	int64_t result;

	if (!own)
		return -ENOMEM;
	result = transfer(SYS_pread64, c->fd, own, in_bytes, c->arrays_at);
	if (!result) {
		struct ferry_arrays a = ferry_arrays_lay(own, c->count);
		struct ferry_move_call call = {
			.count = c->count,
			.pages = a.pages,
			.nodes = a.nodes,
			.status = a.status,
			.reasons = a.reasons,
			.seed = c->seed,
			.move_all = c->move_all,
			.shared_only = c->shared_only,
		};

		look_for_pages(agent, call.pages, call.count);
		result = ferry_move_pages_in(&agent->space, &call);
		if (transfer(SYS_pwrite64, c->fd, own + in_bytes, out_bytes,
			     c->arrays_at + in_bytes))
			result = -EFAULT;
	}
	ferry_zone_free(own, in_bytes + out_bytes);
	return result;
}

static void serve_shared(struct client *client, const struct ferry_packet *packet)
{
	struct ferry_msg done = {.status = -EINVAL};

	if (packet->fd_count && packet->msg.a <= FERRY_BATCH_MAX) {
		const struct call call = {
			.fd = packet->fds[0],
			.count = packet->msg.a,
			.move_all = true,
			.shared_only = true,
		};
		int64_t result = serve_call(client->agent, &call);

		done.status = result < 0 ? (int32_t)result : 0;
	}
	finish(client, &done);
}

/* --- mailboxes -------------------------------------------------------------------------- */

/* => whether it is a memfd of small pages: of a file of huge pages a whole one would be mapped. */
static bool is_small_memfd(int fd)
{
	struct statfs status;
	long seals = ferry_sys2(SYS_fcntl, fd, F_GET_SEALS);

	return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 &&
	       ferry_sys2(SYS_fstatfs, fd, &status) == 0 && status.f_type == TMPFS_MAGIC;
}

static void close_mailbox(struct ferry_mailbox *mailbox)
{
	/* A hole is left out of the heap for good. */
	if (ferry_zone_hide(mailbox) == 0)
		ferry_zone_free(mailbox, FERRY_PAGE_SIZE);
}

/* A page of the zone shows the head of the client's memfd. */
static struct ferry_mailbox *open_mailbox(int fd, uint64_t *size_bytes)
{
	long end = ferry_sys3(SYS_lseek, fd, 0, SEEK_END);
	void *page;

	if (!is_small_memfd(fd) || end < (long)FERRY_MAILBOX_ARRAYS)
		return NULL;
	page = ferry_zone_alloc(FERRY_PAGE_SIZE);
	if (page && ferry_zone_show(page, fd)) {
		close_mailbox(page);
		page = NULL;
	}
	*size_bytes = (uint64_t)end;
	return page;
}

static int64_t serve_posted(struct client *client, const struct ferry_mailbox *mailbox, int fd,
			    uint64_t size_bytes)
{
	uint32_t flags = __atomic_load_n(&mailbox->flags, __ATOMIC_RELAXED);
	const struct call call = {
		.fd = fd,
		.arrays_at = FERRY_MAILBOX_ARRAYS,
		.count = __atomic_load_n(&mailbox->count, __ATOMIC_RELAXED),
		.seed = (flags & FERRY_MSG_FLAG_SEED) != 0,
		.move_all = (flags & FERRY_MSG_FLAG_MOVE_ALL) != 0,
	};

	if (call.count > client->agent->machine->max_count)
		return -E2BIG;
	if (call.count > size_bytes ||
	    ferry_arrays_size(call.count) > size_bytes - FERRY_MAILBOX_ARRAYS)
		return -EINVAL;
	return may_move(client, flags) ? serve_call(client->agent, &call) : -EPERM;
}

/* Until the client closes it or does not use it any more. */
static void serve_mailbox(struct client *client, struct ferry_mailbox *mailbox, int fd,
			  uint64_t size_bytes)
{
	uint64_t used_ns = ferry_clock_ns();

	for (;;) {
		enum ferry_mailbox_state state = ferry_mailbox_state(mailbox);
		uint64_t idle_ns = ferry_clock_ns() - used_ns;

		if (state == FERRY_MAILBOX_POSTED) {
			mailbox->result = serve_posted(client, mailbox, fd, size_bytes);
			(void)ferry_mailbox_change(mailbox, FERRY_MAILBOX_POSTED,
						   FERRY_MAILBOX_IDLE);
			ferry_house_ring(client->agent);
			used_ns = ferry_clock_ns();
		} else if (state != FERRY_MAILBOX_IDLE) {
			return;
		} else if (idle_ns < FERRY_MAILBOX_IDLE_NS) {
			ferry_mailbox_wait(mailbox, state, FERRY_MAILBOX_IDLE_NS - idle_ns);
		} else if (ferry_mailbox_change(mailbox, FERRY_MAILBOX_IDLE,
						FERRY_MAILBOX_CLOSED)) {
			return;
		}
	}
}

static void take_mailbox(struct client *client, const struct ferry_packet *packet)
{
	struct ferry_msg done = {.status = -EINVAL};
	struct ferry_mailbox *mailbox = NULL;
	uint64_t size_bytes = 0;

	if (packet->fd_count) {
		mailbox = open_mailbox(packet->fds[0], &size_bytes);
		done.status = mailbox ? 0 : -ENOMEM;
	}
	finish(client, &done);
	if (!mailbox)
		return;
	serve_mailbox(client, mailbox, packet->fds[0], size_bytes);
	close_mailbox(mailbox);
}

static void send_line(void *context, const char *text)
{
	struct client *client = context;
	struct ferry_msg msg = {.version = FERRY_PROTO_VERSION, .kind = FERRY_MSG_LINE};
	size_t len = strlen(text);

	if (len >= sizeof(msg.text))
		len = sizeof(msg.text) - 1;
	memcpy(msg.text, text, len);
	msg.text[len] = '\0';
	tell(client->channel, &msg);
}

/* Lines are kept while the lock is held: a client that does not read must not stop the program. */
struct lines {
	char *text;
	size_t used, size;
};

static void keep_line(void *context, const char *text)
{
	struct lines *lines = context;
	size_t len = strlen(text) + 1;

	if (lines->used + len > lines->size)
		return;
	memcpy(lines->text + lines->used, text, len);
	lines->used += len;
}

static void serve_report(struct client *client, const struct ferry_msg *msg)
{
	struct ferry_space *space = &client->agent->space;
	struct lines lines = {.size = 256 * 1024};
	struct ferry_sink sink = {.line = keep_line, .context = &lines};
	bool host = msg->kind == FERRY_MSG_CHECK && (msg->flags & FERRY_MSG_FLAG_HOST);
	struct ferry_msg done = {.status = -ENOMEM};

	lines.text = ferry_zone_alloc(lines.size);
	if (lines.text) {
		done.status = host ? ferry_space_close_gate(space) : 0;
		ferry_lock_acquire(&space->lock);
		if (msg->kind == FERRY_MSG_CHECK)
			done.a = ferry_check_space(space, host && !done.status, &sink);
		else
			ferry_dump_space(space, &sink);
		ferry_lock_release(&space->lock);
		if (host && !done.status)
			ferry_space_open_gate(space);
		for (size_t at = 0; at < lines.used; at += strlen(lines.text + at) + 1)
			send_line(client, lines.text + at);
		ferry_zone_free(lines.text, lines.size);
	}
	finish(client, &done);
}

static uint64_t count_away(struct ferry_space *space)
{
	uint64_t pages;

	ferry_lock_acquire(&space->lock);
	pages = space->idle_held;
	for (const struct ferry_flight *flight = space->flights; flight; flight = flight->next)
		pages += flight->count;
	ferry_lock_release(&space->lock);
	return pages;
}

/* A gate once closed for a client is not closed for it again. */
static void serve_home(struct client *client, const struct ferry_msg *msg)
{
	struct ferry_space *space = &client->agent->space;
	struct ferry_msg done = {.a = count_away(space)};

	if (!client->holds)
		done.status = ferry_space_close_gate(space);
	client->holds = client->holds || (msg->flags & FERRY_MSG_FLAG_HOLD);
	if (!client->holds)
		ferry_space_open_gate(space);
	finish(client, &done);
}

/* The agent of a relative has its one request, and nobody else has that. */
static bool may_ask(const struct client *client, const struct ferry_msg *msg)
{
	return (msg->kind == FERRY_MSG_SHARED) == (client->rights == FERRY_CLIENT_SHARES);
}

static void serve_request(struct client *client, const struct ferry_packet *packet)
{
	struct ferry_msg done = {.status = -ENOSYS};

	client->started_ns = ferry_clock_ns();
	client->told_ns = client->started_ns;
	if (!may_ask(client, &packet->msg)) {
		done.status = -EPERM;
		finish(client, &done);
		return;
	}
	switch (packet->msg.kind) {
	case FERRY_MSG_MOVE_RANGE:
		serve_range(client, &packet->msg);
		break;
	case FERRY_MSG_MAILBOX:
		take_mailbox(client, packet);
		break;
	case FERRY_MSG_SHARED:
		serve_shared(client, packet);
		break;
	case FERRY_MSG_CHECK:
	case FERRY_MSG_DUMP:
		serve_report(client, &packet->msg);
		break;
	case FERRY_MSG_HOME:
		serve_home(client, &packet->msg);
		break;
	default:
		finish(client, &done);
	}
}

static void client_run(void *arg)
{
	struct client *client = arg;
	struct ferry_packet packet;

	while (ferry_proto_receive(client->channel, &packet, -1) == 0) {
		serve_request(client, &packet);
		ferry_house_ring(client->agent);
		for (uint32_t i = 0; i < packet.fd_count; i++)
			ferry_sys1(SYS_close, packet.fds[i]);
	}
	if (client->holds)
		ferry_space_open_gate(&client->agent->space);
	ferry_sys1(SYS_close, client->channel);
	ferry_zone_free(client, sizeof(*client));
	ferry_thread_end();
}

static void meet_client(struct ferry_agent *agent, struct ferry_packet *packet)
{
	struct client *client = packet->fd_count ? ferry_zone_alloc(sizeof(*client)) : NULL;

	if (!client)
		goto refuse;
	client->agent = agent;
	client->channel = packet->fds[0];
	client->rights = (enum ferry_client_rights)packet->msg.a;
	if (ferry_thread_start(FERRY_THREAD, client_run, client) < 0) {
		ferry_zone_free(client, sizeof(*client));
		goto refuse;
	}
	packet->fd_count = 0;
	return;
refuse:
	for (uint32_t i = 0; i < packet->fd_count; i++)
		ferry_sys1(SYS_close, packet->fds[i]);
}

/* Waits until there is something to read from other, -1: nobody. Does not return once the program
 * has ended. */
static void wait_for_program(const struct ferry_agent *agent, int other)
{
	struct pollfd polled[] = {{.fd = agent->pidfd, .events = POLLIN},
				  {.fd = other, .events = POLLIN}};

	(void)ferry_sys3(SYS_poll, polled, 2, -1);
	if (polled[0].revents)
		ferry_sys1(SYS_exit_group, 0);
}

static int receive(struct ferry_agent *agent, struct ferry_packet *packet)
{
	wait_for_program(agent, agent->down);
	return ferry_proto_receive(agent->down, packet, 0);
}

void ferry_control_run(void *arg)
{
	struct ferry_agent *agent = arg;
	struct ferry_packet packet;
	int err;

	while ((err = receive(agent, &packet)) != -EPIPE) {
		if (err)
			continue;
		if (packet.msg.kind == FERRY_MSG_CLIENT)
			meet_client(agent, &packet);
		else if (packet.msg.kind == FERRY_MSG_RECALL)
			answer_recall(agent, &packet.msg);
	}
	__atomic_store_n(&agent->keeper_gone, true, __ATOMIC_RELEASE);
	/* If this agent is killed too, nobody is left who could bring a page home. */
	ferry_space_freeze(&agent->space);
	for (;;)
		wait_for_program(agent, -1);
}
