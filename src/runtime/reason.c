/* SPDX-License-Identifier: MIT */
/* reason.c - see reason.h. */
#include "runtime/reason.h"

const char *ferry_reason_short(uint32_t reason)
{
	static const char *const names[FERRY_REASON_COUNT] = {
		[FERRY_REASON_MOVED] = "moved",
		[FERRY_REASON_THERE] = "there",
		[FERRY_REASON_ABSENT] = "absent",
		[FERRY_REASON_ZERO] = "zero",
		[FERRY_REASON_UNMAPPED] = "unmapped",
		[FERRY_REASON_PINNED] = "pinned",
		[FERRY_REASON_BUSY] = "busy",
		[FERRY_REASON_THREAD] = "thread",
		[FERRY_REASON_PROTECTION] = "protection",
		[FERRY_REASON_LOCKED] = "locked",
		[FERRY_REASON_SHARED] = "shared",
		[FERRY_REASON_FULL] = "full",
		[FERRY_REASON_VANISHED] = "vanished",
		[FERRY_REASON_UNMANAGED] = "unmanaged",
		[FERRY_REASON_UNSEEN] = "unseen",
	};

	return reason < FERRY_REASON_COUNT && names[reason] != NULL ? names[reason] : "unknown";
}

uint64_t ferry_reason_left_behind(const uint64_t reasons[FERRY_REASON_COUNT])
{
	static const enum ferry_reason left[] = {
		FERRY_REASON_PINNED,	 FERRY_REASON_BUSY,   FERRY_REASON_THREAD,
		FERRY_REASON_PROTECTION, FERRY_REASON_LOCKED, FERRY_REASON_SHARED,
		FERRY_REASON_FULL,	 FERRY_REASON_UNMANAGED, FERRY_REASON_UNSEEN,
	};
	uint64_t pages = 0;

	for (size_t i = 0; i < FERRY_ARRAY_SIZE(left); i++)
		pages += reasons[left[i]];
	return pages;
}
