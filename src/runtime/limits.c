/* SPDX-License-Identifier: MIT */
/* limits.c - see limits.h. */
#include "runtime/limits.h"

#include <errno.h>
#include <sys/resource.h>

#include "base/sys.h"
#include "runtime/zone.h"

struct limit {
	uint64_t now, most;
};

/* => RLIM_INFINITY also where it cannot be told. */
static struct limit read_limit(void)
{
	struct limit data;

	if (ferry_sys4(SYS_prlimit64, 0, RLIMIT_DATA, NULL, &data))
		return (struct limit){RLIM_INFINITY, RLIM_INFINITY};
	return data;
}

bool ferry_limits_have_room(const struct ferry_machine *machine)
{
	return read_limit().now >= ferry_zone_data_bytes(machine);
}

int ferry_limits_begin(struct ferry_agent *agent)
{
	const struct limit none = {RLIM_INFINITY, RLIM_INFINITY};
	struct limit data = read_limit();

	if (data.now == RLIM_INFINITY)
		return 0;
	data.now = data.most;
	if (ferry_sys4(SYS_prlimit64, 0, RLIMIT_DATA, &none, NULL))
		(void)ferry_sys4(SYS_prlimit64, 0, RLIMIT_DATA, &data, NULL);
	return ferry_limits_count(agent) ? 0 : -ENOMEM;
}

uint64_t ferry_limits_count(struct ferry_agent *agent)
{
	uint64_t bytes = ferry_zone_data_bytes(agent->machine);

	if (ferry_zone_count_heap() || ferry_uffd_ready_all(&agent->uffd))
		return 0;
	__atomic_store_n(&ferry_door.data_bytes, bytes, __ATOMIC_RELEASE);
	return bytes;
}
