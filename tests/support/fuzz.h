/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what the fuzz targets share. A target is one function; libFuzzer's main() feeds it, or,
 * in an ordinary build, the one of fuzz.c, which replays the corpus of its name.
 */
#ifndef TESTS_SUPPORT_FUZZ_H
#define TESTS_SUPPORT_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(cond)                                                            \
	do {                                                                        \
		if (!(cond)) {                                                      \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                    \
		}                                                                   \
	} while (0)

/* An input is taken from the front; what is missing is zeros. */
struct fuzz {
	const uint8_t *data;
	size_t size;
};

static inline void fuzz_take(struct fuzz *fuzz, void *bytes, size_t size)
{
	size_t have = size < fuzz->size ? size : fuzz->size;

	memset(bytes, 0, size);
	if (have > 0)
		memcpy(bytes, fuzz->data, have);
	fuzz->data += have;
	fuzz->size -= have;
}

static inline uint8_t fuzz_byte(struct fuzz *fuzz)
{
	uint8_t byte;

	fuzz_take(fuzz, &byte, 1);
	return byte;
}

/* A number: small as a rule, sometimes near a power of two, sometimes any. */
static inline uint64_t fuzz_number(struct fuzz *fuzz)
{
	uint8_t kind = fuzz_byte(fuzz);
	uint64_t number = 0;

	if (kind < 192)
		return kind % 64;
	if (kind < 240)
		return (UINT64_C(1) << kind % 64) - 1 + fuzz_byte(fuzz) % 3;
	fuzz_take(fuzz, &number, sizeof(number));
	return number;
}

#endif
