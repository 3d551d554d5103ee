/* SPDX-License-Identifier: MIT */
/*
 * identity.h - an agent is never more than its program: user, groups and capabilities.
 *
 * The program can write all of the agent's memory. An agent that stayed root when its program gave
 * root up would hand it back to whoever takes the program over.
 */
#ifndef FERRY_RUNTIME_IDENTITY_H
#define FERRY_RUNTIME_IDENTITY_H

#include "base/types.h"

/* Called by an agent's first thread before it starts others: they inherit what it needs. */
void ferry_identity_prepare(void);
/*
 * Makes every thread of the calling agent what thread tid of the program is by now (both as /proc
 * has them). one_thread: the
 * call changed that thread alone; while others of the program differ nothing is done, since it is
 * them whom the agent is like. new_namespace: the program has entered another user namespace, where
 * it may be anything, and is nothing in ours: from now on no capability counts. One caller at a
 * time, with no lock held.
 * => 0; -errno: the agent may be more than its program, and must end.
 */
FERRY_MUST_CHECK int ferry_identity_follow(int32_t pid, int32_t tid, bool one_thread,
					   bool new_namespace);

#endif
