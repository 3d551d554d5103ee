/* SPDX-License-Identifier: MIT */
/* reason.h - the short names of enum ferry_reason, as programs see them: JSON keys, the library. */
#ifndef FERRY_RUNTIME_REASON_H
#define FERRY_RUNTIME_REASON_H

#include "move/migrate.h"

/* => a name such as "moved"; "unknown" for a number that no reason has. Static storage. */
const char *ferry_reason_short(uint32_t reason);
/*
 * Of pages counted by reason: those that should be on the target and are not. Pages that were
 * discarded meanwhile, were never there, or have no memory of their own are none of them.
 */
uint64_t ferry_reason_left_behind(const uint64_t reasons[FERRY_REASON_COUNT]);

#endif
