/* SPDX-License-Identifier: MIT */
/*
 * bits.c - see bits.h.
 *
 * Invariant of an index: summary bit w is set exactly if words[w] is not 0.
 */
#include "base/bits.h"

/* The bits first .. first+count-1 of one word. */
static uint64_t mask_of(uint32_t first, uint32_t count)
{
	uint64_t ones = count == 64 ? ~UINT64_C(0) : (UINT64_C(1) << count) - 1;

	return ones << first;
}

static uint32_t part_of(uint32_t first, uint32_t count)
{
	uint32_t room = 64 - first % 64;

	return count < room ? count : room;
}

void ferry_bits_set(uint64_t *words, uint32_t first, uint32_t count)
{
	while (count > 0) {
		uint32_t part = part_of(first, count);

		words[first / 64] |= mask_of(first % 64, part);
		first += part;
		count -= part;
	}
}

void ferry_bits_clear(uint64_t *words, uint32_t first, uint32_t count)
{
	while (count > 0) {
		uint32_t part = part_of(first, count);

		words[first / 64] &= ~mask_of(first % 64, part);
		first += part;
		count -= part;
	}
}

uint32_t ferry_bits_count(const uint64_t *words, uint32_t first, uint32_t count)
{
	uint32_t sum = 0;

	while (count > 0) {
		uint32_t part = part_of(first, count);

		sum += (uint32_t)__builtin_popcountll(words[first / 64] &
						      mask_of(first % 64, part));
		first += part;
		count -= part;
	}
	return sum;
}

/* First bit >= from whose value differs from the one in flip (0 or all ones), or limit. */
static uint32_t next_bit(const uint64_t *words, uint32_t from, uint32_t limit, uint64_t flip)
{
	while (from < limit) {
		uint64_t word = (words[from / 64] ^ flip) >> (from % 64);

		if (word != 0) {
			uint32_t bit = from + (uint32_t)__builtin_ctzll(word);

			return bit < limit ? bit : limit;
		}
		from += 64 - from % 64;
	}
	return limit;
}

uint32_t ferry_bits_next_set(const uint64_t *words, uint32_t from, uint32_t limit)
{
	return next_bit(words, from, limit, 0);
}

uint32_t ferry_bits_next_clear(const uint64_t *words, uint32_t from, uint32_t limit)
{
	return next_bit(words, from, limit, ~UINT64_C(0));
}

struct ferry_bitrun ferry_bits_find_run(const uint64_t *words, uint32_t limit, uint32_t want)
{
	struct ferry_bitrun best = { 0, 0 };
	uint32_t first = ferry_bits_next_set(words, 0, limit);

	while (first < limit && best.count < want) {
		uint32_t end = ferry_bits_next_clear(words, first, limit);

		if (end - first > best.count) {
			best.first = first;
			best.count = end - first < want ? end - first : want;
		}
		first = ferry_bits_next_set(words, end, limit);
	}
	return best;
}

static uint32_t words_for(uint32_t bits)
{
	return bits / 64 + (bits % 64 != 0);
}

size_t ferry_bitindex_words(uint32_t limit)
{
	return (size_t)words_for(limit) + words_for(words_for(limit));
}

void ferry_bitindex_init(struct ferry_bitindex *index, uint64_t *memory, uint32_t limit)
{
	index->words = memory;
	index->summary = memory + words_for(limit);
	index->limit = limit;
}

void ferry_bitindex_put(struct ferry_bitindex *index, uint32_t bit, bool value)
{
	uint64_t *word = &index->words[bit / 64];

	if (value)
		*word |= UINT64_C(1) << (bit % 64);
	else
		*word &= ~(UINT64_C(1) << (bit % 64));
	if (*word != 0)
		index->summary[bit / 4096] |= UINT64_C(1) << (bit / 64 % 64);
	else
		index->summary[bit / 4096] &= ~(UINT64_C(1) << (bit / 64 % 64));
}

/* First set bit >= from, or limit. */
static uint32_t find_ahead(const struct ferry_bitindex *index, uint32_t from)
{
	uint32_t words = words_for(index->limit);
	uint32_t word_end = (from / 64 + 1) * 64;
	uint32_t bit, word;

	if (from >= index->limit)
		return index->limit;
	if (word_end > index->limit)
		word_end = index->limit;
	bit = ferry_bits_next_set(index->words, from, word_end);
	if (bit < word_end)
		return bit;
	word = ferry_bits_next_set(index->summary, from / 64 + 1, words);
	if (word >= words)
		return index->limit;
	return word * 64 + (uint32_t)__builtin_ctzll(index->words[word]);
}

uint32_t ferry_bitindex_find(const struct ferry_bitindex *index, uint32_t from)
{
	uint32_t bit = find_ahead(index, from);

	return bit < index->limit ? bit : find_ahead(index, 0);
}
