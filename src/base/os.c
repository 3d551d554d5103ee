/* SPDX-License-Identifier: MIT */
/* os.c - the one place where the host's table of services is kept; see os.h. */
#include "base/os.h"

const struct ferry_os *ferry_os;
