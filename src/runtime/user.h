/* SPDX-License-Identifier: MIT */
/* user.h - arrays of a caller that may be anywhere, also nowhere: copied without ever crashing. */
#ifndef FERRY_RUNTIME_USER_H
#define FERRY_RUNTIME_USER_H

#include "base/types.h"

/* Copies from and to memory that the caller named. => 0, -EFAULT. errno is not touched. */
FERRY_MUST_CHECK int ferry_user_read(void *to, const void *from, size_t size_bytes);
FERRY_MUST_CHECK int ferry_user_write(void *to, const void *from, size_t size_bytes);
/* Finds out whether memory can be written, leaving its content as it is. => 0, -EFAULT. */
FERRY_MUST_CHECK int ferry_user_probe(void *memory, size_t size_bytes);

/* Memory for the arrays of a call, which reads as zeros: no scan takes it for the program's. NULL:
 * the host has none. To be unmapped. */
void *ferry_user_map(size_t size_bytes);

#endif
