/* SPDX-License-Identifier: MIT */
/*
 * library.c - the public functions: include/pageferry/pageferry.h.
 *
 * The calling process itself is the preload library's affair, found by name in the process; every
 * other one is reached through its keeper. errno is left as it was.
 */
#define _GNU_SOURCE
#include "pageferry/pageferry.h"

#include "base/sys.h"
#include "runtime/client.h"
#include "runtime/interface.h"
#include "runtime/reason.h"
#include "runtime/remote.h"
#include "runtime/user.h"
#include "runtime/version.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <unistd.h>

#define PUBLIC      __attribute__((visibility("default")))
#define KNOWN_FLAGS (FERRY_MOVE | FERRY_MOVE_ALL | FERRY_CONTRACT_LINUX | FERRY_CONTRACT_SEED)

PUBLIC const char *ferry_version(void)
{
	return FERRY_VERSION;
}

PUBLIC unsigned ferry_reason_count(void)
{
	return FERRY_REASON_COUNT;
}

PUBLIC const char *ferry_reason_name(unsigned reason)
{
	return ferry_reason_short(reason);
}

/* --- what is common ---------------------------------------------------------------------- */

static bool may_move_all(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };

	if (ferry_sys2(SYS_capget, &header, data) != 0)
		return false;
	return (data[0].effective >> CAP_SYS_NICE & 1) != 0;
}

static int check_flags(unsigned flags)
{
	if ((flags & ~KNOWN_FLAGS) != 0)
		return -EINVAL;
	return (flags & FERRY_MOVE_ALL) != 0 && !may_move_all() ? -EPERM : 0;
}

static bool is_own(pid_t pid)
{
	return pid == 0 || pid == getpid();
}

/* => the preload library's functions, NULL: this process is not managed. */
static const struct ferry_runtime_interface *own_interface(void)
{
	const struct ferry_runtime_interface *found =
		dlsym(RTLD_DEFAULT, "ferry_runtime_interface");

	if (found == NULL || found->version != FERRY_RUNTIME_INTERFACE_VERSION)
		return NULL;
	return found;
}

__attribute__((constructor)) static void learn_own_machine(void)
{
	const struct ferry_runtime_interface *interface = own_interface();

	if (interface != NULL)
		ferry_client_dial = interface->dial;
}

/* As ferry_client_open(), with the errors of the public functions. */
static int open_other(struct ferry_client *client, pid_t pid, enum ferry_client_mode mode)
{
	int error = pid < 0 ? -ESRCH : ferry_client_open(client, pid, mode);

	return error == -ENOENT ? -ESRCH : error;
}

/* --- move_pages -------------------------------------------------------------------------- */

PUBLIC long ferry_move_pages_reasons(pid_t pid, size_t count, void *const *pages, const int *nodes,
				     int *status, uint8_t *reasons, unsigned flags)
{
	const struct ferry_remote_call call = {
		.count = count,
		.pages = pages,
		.nodes = nodes,
		.status = status,
		.reasons = reasons,
		.flags = flags,
	};
	const struct ferry_runtime_interface *interface;
	int saved_errno = errno;
	long result = check_flags(flags);

	if (result == 0 && !is_own(pid)) {
		result = (long)ferry_remote_move_pages(pid, &call);
	} else if (result == 0) {
		interface = own_interface();
		result = interface == NULL ? -ESRCH
					   : interface->move_pages(count, pages, nodes, status,
								   reasons, flags);
	}
	errno = saved_errno;
	return result;
}

PUBLIC long ferry_move_pages(pid_t pid, size_t count, void *const *pages, const int *nodes,
			     int *status, unsigned flags)
{
	return ferry_move_pages_reasons(pid, count, pages, nodes, status, NULL, flags);
}

/* --- move_range -------------------------------------------------------------------------- */

/*
 * A copy of the caller's options in the shape of this version: what an older caller does not know
 * is zero, what a newer one asks for and we do not know is refused.
 */
static int take_options(const struct ferry_move_options *from, struct ferry_move_options *to)
{
	const unsigned char *bytes = (const unsigned char *)from;

	memset(to, 0, sizeof(*to));
	to->size = sizeof(*to);
	if (from == NULL)
		return 0;
	if (from->size < sizeof(from->size))
		return -EINVAL;
	for (size_t i = sizeof(*to); i < from->size; i++) {
		if (bytes[i] != 0)
			return -EINVAL;
	}
	memcpy(to, from, from->size < sizeof(*to) ? from->size : sizeof(*to));
	to->size = sizeof(*to);
	return 0;
}

/* The message for a range. => 0, -EINVAL, -ENODEV. */
static int make_message(const struct ferry_machine *machine, int node,
			const struct ferry_move_options *options, struct ferry_msg *msg)
{
	if (!ferry_machine_has_memory(machine, node))
		return -ENODEV;
	msg->version = FERRY_PROTO_VERSION;
	msg->kind = FERRY_MSG_MOVE_RANGE;
	msg->node = node;
	msg->c = options->max_pause_ns;
	msg->d = options->bytes_per_second;
	msg->flags = (options->flags & FERRY_MOVE_ALL) != 0 ? FERRY_MSG_FLAG_MOVE_ALL : 0;
	ferry_nodeset_fill(&msg->nodes, machine->node_count);
	if (options->from != NULL &&
	    ferry_nodeset_parse(&msg->nodes, options->from, machine->node_count) != 0)
		return -EINVAL;
	return 0;
}

static int move_range_other(pid_t pid, struct ferry_msg *msg, int node,
			    const struct ferry_move_options *options,
			    struct ferry_move_report *report)
{
	struct ferry_client client;
	int result = ferry_remote_open(&client, pid, options->flags, FERRY_CLIENT_ASK);

	if (result != 0)
		return result;
	result = make_message(client.keeper.machine, node, options, msg);
	if (result == 0)
		result = ferry_remote_move_range(&client, msg, options, report);
	ferry_client_close(&client);
	return result;
}

PUBLIC int ferry_move_range(pid_t pid, const void *start, size_t len_bytes, int node,
			    const struct ferry_move_options *options,
			    struct ferry_move_report *report)
{
	const struct ferry_runtime_interface *interface;
	struct ferry_move_options taken;
	struct ferry_msg msg = { .a = ferry_page_down((uintptr_t)start) };
	int saved_errno = errno, result = take_options(options, &taken);

	if (result == 0)
		result = check_flags(taken.flags);
	if (len_bytes == 0 || (uintptr_t)start > (UINT64_C(1) << FERRY_VA_BITS) ||
	    len_bytes > (UINT64_C(1) << FERRY_VA_BITS) - (uintptr_t)start ||
	    (report != NULL && report->size < sizeof(report->size)))
		result = -EINVAL;
	msg.b = ferry_page_up((uintptr_t)start + len_bytes);
	if (result == 0 && !is_own(pid)) {
		result = move_range_other(pid, &msg, node, &taken, report);
	} else if (result == 0) {
		interface = own_interface();
		result = interface == NULL
				 ? -ESRCH
				 : interface->move_range(start, len_bytes, node, &taken, report);
	}
	errno = saved_errno;
	return result;
}

/* --- home -------------------------------------------------------------------------------- */

/* => 0 with a client whose process has every page home, and keeps them there if hold. */
static int bring_home(pid_t pid, bool hold, struct ferry_client *client)
{
	const struct ferry_msg msg = {
		.version = FERRY_PROTO_VERSION,
		.kind = FERRY_MSG_HOME,
		.flags = hold ? FERRY_MSG_FLAG_HOLD : 0,
	};
	struct ferry_msg done = { .status = 0 };
	int result = open_other(client, pid == 0 ? getpid() : pid, FERRY_CLIENT_ASK);

	if (result != 0)
		return result;
	result = ferry_client_ask(client, &msg, -1, NULL, &done);
	if (result == 0)
		result = done.status;
	if (result != 0)
		ferry_client_close(client);
	return result == -EPIPE ? -ESRCH : result;
}

PUBLIC int ferry_home(pid_t pid)
{
	struct ferry_client client;
	int saved_errno = errno, result = bring_home(pid, false, &client);

	if (result == 0)
		ferry_client_close(&client);
	errno = saved_errno;
	return result;
}

PUBLIC int ferry_hold(pid_t pid)
{
	struct ferry_client client;
	int saved_errno = errno, result = bring_home(pid, true, &client);

	if (result == 0) {
		/* The channel is the hold; it outlives the rest. */
		result = client.channel;
		client.channel = -1;
		ferry_client_close(&client);
	}
	errno = saved_errno;
	return result;
}

/* --- looking ----------------------------------------------------------------------------- */

static int query_other(pid_t pid, const void *start, size_t count, int *status)
{
	struct ferry_client client;
	int result = open_other(&client, pid, FERRY_CLIENT_LOOK);

	if (result != 0)
		return result;
	result =
		ferry_remote_query_range(&client, ferry_page_down((uintptr_t)start), count, status);
	ferry_client_close(&client);
	return result;
}

PUBLIC int ferry_query_range(pid_t pid, const void *start, size_t count, int *status)
{
	const struct ferry_runtime_interface *interface;
	int saved_errno = errno, result;

	if (!is_own(pid)) {
		result = query_other(pid, start, count, status);
	} else {
		interface = own_interface();
		result = interface == NULL ? -ESRCH : interface->query_range(start, count, status);
	}
	errno = saved_errno;
	return result;
}

static uint64_t load(const uint64_t *value)
{
	return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static int nodes_of(const struct ferry_machine *machine, struct ferry_node_info *info, size_t max)
{
	const struct ferry_node *nodes = ferry_machine_nodes(machine);

	for (uint32_t i = 0; i < machine->node_count && i < max; i++) {
		const struct ferry_node_info one = {
			.node = (int)i,
			.capacity_bytes = nodes[i].capacity_pages << FERRY_PAGE_SHIFT,
			.used_bytes = load(&nodes[i].leased_pages) << FERRY_PAGE_SHIFT,
			.over_bytes = load(&nodes[i].over_pages) << FERRY_PAGE_SHIFT,
		};

		if (ferry_user_write(&info[i], &one, sizeof(one)) != 0)
			return -EFAULT;
	}
	return (int)machine->node_count;
}

PUBLIC int ferry_nodes(pid_t pid, struct ferry_node_info *info, size_t max)
{
	const struct ferry_runtime_interface *interface;
	struct ferry_client client;
	int saved_errno = errno, result;

	if (is_own(pid)) {
		interface = own_interface();
		result = interface == NULL ? -ESRCH : interface->nodes(info, max);
	} else {
		result = open_other(&client, pid, FERRY_CLIENT_LOOK);
		if (result == 0) {
			result = nodes_of(client.keeper.machine, info, max);
			ferry_client_close(&client);
		}
	}
	errno = saved_errno;
	return result;
}
