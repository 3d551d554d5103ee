/* SPDX-License-Identifier: MIT */
/*
 * rundir.h - the directories that hold the control sockets of machines.
 *
 * A machine NAME of a user listens on DIR/NAME.sock, where DIR is $XDG_RUNTIME_DIR/pageferry, else
 * /run/user/UID/pageferry, else /tmp/pageferry-UID: mode 0700, owned by the user, no symbolic link.
 * Whoever connects to a socket in such a directory knows thereby whose machine it is.
 */
#ifndef FERRY_RUNTIME_RUNDIR_H
#define FERRY_RUNTIME_RUNDIR_H

#include "base/types.h"

enum { FERRY_RUNDIR_PATH_MAX = 92 }; /* "/" NAME ".sock" must fit into sun_path behind it */

/*
 * The directory for new machines of this user, made if it is missing.
 * => 0; -EPERM (it belongs to somebody else or others may enter it); -ENAMETOOLONG; -errno.
 */
FERRY_MUST_CHECK int ferry_rundir_make(char *path, size_t size);

/* Called per socket: its path, the user it belongs to, and the machine's name. */
typedef int ferry_rundir_visit(void *context, const char *path, uint32_t uid, const char *name);

/*
 * Visits the sockets in all directories that this user may have machines in; root visits those of
 * every user. Stops when visit returns other than 0. => that value, or 0.
 */
int ferry_rundir_each(ferry_rundir_visit *visit, void *context);

/*
 * Removes a socket that nobody listens on. Only in the caller's own directories (root leaves those
 * of others alone: a path in them may be turned into something else at any time).
 */
void ferry_rundir_remove_stale(const char *path, uint32_t uid);

#endif
