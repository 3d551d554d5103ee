/* SPDX-License-Identifier: MIT */
/*
 * size.h - the text form of sizes: "4096", "4k", "256M", "1G", "1GiB", "2T".
 *
 * A size is a decimal number and, if wanted, one of the letters k M G T (either case), which may be
 * followed by "iB" or "B"; all are powers of 1024, as in numactl. A plain "B" means bytes. Nothing
 * else is a size: no sign, no blank, no fraction, nothing behind it.
 */
#ifndef FERRY_BASE_SIZE_H
#define FERRY_BASE_SIZE_H

#include "base/types.h"

enum { FERRY_SIZE_TEXT = 24 }; /* room for any printed size */

/* => 0, -EINVAL (not a size), -ERANGE (does not fit into 64 bits); *bytes is set on 0 only. */
FERRY_MUST_CHECK int ferry_size_parse(const char *text, uint64_t *bytes);
/*
 * Writes a size in the largest unit in which it is at least 1: "512 B", "4 KiB", "1.5 GiB"; one
 * digit behind the point, rounded down, left out where it is 0. Always terminated; returns the
 * length that would have been needed.
 */
size_t ferry_size_print(uint64_t bytes, char *text, size_t size);

#endif
