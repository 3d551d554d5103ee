/* SPDX-License-Identifier: MIT */
/* sharers.c - see sharers.h. */
#include "runtime/sharers.h"

#include <errno.h>

#include "base/sys.h"
#include "move/migrate.h"
#include "runtime/arrays.h"
#include "runtime/proto.h"
#include "runtime/thread.h"

enum {
	CLOEXEC = 1,       /* of memfd_create() */
	WAKE_TRIES = 1000, /* until an agent that sleeps is awake */
	WAKE_NS = 1000000,
	DONE_MS = 5000, /* a batch's own limits are far below */
};

/* Its arrays (arrays.h) are in a memfd. */
struct call {
	int fd;
	uint32_t count;
};

static int write_all(int fd, const void *bytes, size_t length, size_t at)
{
	return ferry_sys4(SYS_pwrite64, fd, bytes, length, at) == (long)length ? 0 : -EIO;
}

static int make_call(struct call *call, const ferry_va *va, const int32_t *target, uint32_t count)
{
	int err;

	call->count = count;
	call->fd = (int)ferry_sys2(SYS_memfd_create, "pageferry-call", CLOEXEC);
	if (call->fd < 0)
		return call->fd;
	err = write_all(call->fd, va, count * sizeof(va[0]), 0);
	if (!err)
		err = write_all(call->fd, target, count * sizeof(target[0]),
				ferry_arrays_nodes_at(count));
	if (err)
		(void)ferry_sys1(SYS_close, call->fd);
	return err;
}

static void close_fds(const struct ferry_packet *packet)
{
	for (uint32_t i = 0; i < packet->fd_count; i++)
		(void)ferry_sys1(SYS_close, packet->fds[i]);
}

/* => a channel to the agent of the first process from *slot on, and *slot is its; -ENOENT: there is
 * none; -errno. */
static int find(struct ferry_agent *agent, uint64_t *slot)
{
	struct ferry_packet answer;
	uint32_t never = 0;

	for (uint32_t tries = 0; tries < WAKE_TRIES; tries++) {
		struct ferry_msg msg = {
			.version = FERRY_PROTO_VERSION,
			.kind = FERRY_MSG_SHARER,
			.a = *slot,
		};
		int err = ferry_agent_request(agent, &msg, NULL, 0, &answer);

		if (err)
			return err;
		*slot = answer.msg.a;
		if (!answer.msg.status && answer.fd_count == 1)
			return answer.fds[0];
		close_fds(&answer);
		if (answer.msg.status != -EAGAIN)
			return -ENOENT;
		ferry_futex_wait(&never, 0, WAKE_NS);
	}
	return -EAGAIN;
}

/* Has one process move the pages that it shares. */
static void ask(int channel, const struct call *call, int32_t *status)
{
	struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_SHARED,
		.a = call->count,
	};
	uint8_t reasons[FERRY_BATCH_MAX];
	struct ferry_packet answer;
	int err = ferry_proto_send(channel, &msg, &call->fd, 1);

	for (bool done = false; !err && !done; done = answer.msg.kind == FERRY_MSG_DONE) {
		err = ferry_proto_receive(channel, &answer, DONE_MS);
		if (!err)
			close_fds(&answer);
	}
	/* It has ended, or what it does takes too long to wait for. */
	if (err)
		return;
	if (ferry_sys4(SYS_pread64, call->fd, reasons, call->count,
		       ferry_arrays_reasons_at(call->count)) != (long)call->count)
		return;
	for (uint32_t i = 0; i < call->count; i++)
		if (reasons[i] == FERRY_REASON_FULL)
			status[i] = -ENOMEM;
}

void ferry_sharers_move(void *context, const ferry_va *va, const int32_t *target, int32_t *status,
			uint32_t count)
{
	struct ferry_agent *agent = context;
	struct call call;
	int channel;

	/* Nobody can be asked: our own copies are made all the same. */
	if (make_call(&call, va, target, count))
		return;
	for (uint64_t slot = 0; (channel = find(agent, &slot)) != -ENOENT; slot++) {
		if (channel == -EAGAIN)
			continue;
		if (channel < 0)
			break;
		ask(channel, &call, status);
		(void)ferry_sys1(SYS_close, channel);
	}
	(void)ferry_sys1(SYS_close, call.fd);
}
