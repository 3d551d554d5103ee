/* SPDX-License-Identifier: MIT */
/*
 * bits.h - bit strings in 64-bit words, and a two-level index that finds a set bit fast.
 *
 * A run is a stretch of consecutive set bits.
 */
#ifndef FERRY_BASE_BITS_H
#define FERRY_BASE_BITS_H

#include "base/types.h"

struct ferry_bitrun {
	uint32_t first;
	uint32_t count; /* 0: none */
};

static inline bool ferry_bit_test(const uint64_t *words, uint32_t bit)
{
	return (words[bit / 64] >> (bit % 64) & 1) != 0;
}

/* Sets or clears count bits from first on. */
void ferry_bits_set(uint64_t *words, uint32_t first, uint32_t count);
void ferry_bits_clear(uint64_t *words, uint32_t first, uint32_t count);
/* Number of set bits among count bits from first on. */
uint32_t ferry_bits_count(const uint64_t *words, uint32_t first, uint32_t count);
/* First bit >= from that is set (or clear), or limit. */
uint32_t ferry_bits_next_set(const uint64_t *words, uint32_t from, uint32_t limit);
uint32_t ferry_bits_next_clear(const uint64_t *words, uint32_t from, uint32_t limit);
/* The first run of at least want bits cut to want, else the longest run there is. */
struct ferry_bitrun ferry_bits_find_run(const uint64_t *words, uint32_t limit, uint32_t want);

/* A bit string with one summary bit for each word that is not 0. */
struct ferry_bitindex {
	uint64_t *words;   /* (c) the array; its bits as the owner's lock says */
	uint64_t *summary; /* (c) likewise */
	uint32_t limit;    /* (c) number of bits */
};

/* Words that an index of limit bits needs. */
size_t ferry_bitindex_words(uint32_t limit);
/* memory: ferry_bitindex_words(limit) words of zeros. */
void ferry_bitindex_init(struct ferry_bitindex *index, uint64_t *memory, uint32_t limit);
void ferry_bitindex_put(struct ferry_bitindex *index, uint32_t bit, bool value);
/* First set bit >= from, else the first of all, or limit if none is set. */
uint32_t ferry_bitindex_find(const struct ferry_bitindex *index, uint32_t from);

#endif
