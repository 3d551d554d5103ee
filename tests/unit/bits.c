/* SPDX-License-Identifier: MIT */
/* Bit strings and the two-level index against the plainest model: an array of booleans. */
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "cases.h"
#include "host.h"

enum { BITS = 512 };

static uint32_t model_run(const bool *model, uint32_t want, uint32_t *first)
{
	uint32_t best = 0;

	for (uint32_t i = 0; i < BITS && best < want;) {
		uint32_t length = 0;

		while (i + length < BITS && model[i + length])
			length++;
		if (length > best) {
			best = length < want ? length : want;
			*first = i;
		}
		i += length + 1;
	}
	return best;
}

static void agrees_with_model(void **state)
{
	uint64_t seed = test_seed("bits"), words[BITS / 64] = { 0 };
	bool model[BITS] = { false };

	(void)state;
	for (uint32_t step = 0; step < 20000; step++) {
		uint32_t first = test_pick(&seed, BITS), first_model = 0, sum = 0;
		uint32_t count = test_pick(&seed, 1 + test_pick(&seed, BITS - first));
		uint32_t want = 1 + test_pick(&seed, BITS), next = first;
		bool value = test_pick(&seed, 2) != 0;
		struct ferry_bitrun run;

		memset(model + first, value, count);
		(value ? ferry_bits_set : ferry_bits_clear)(words, first, count);
		run = ferry_bits_find_run(words, BITS, want);
		assert_int_equal(run.count, model_run(model, want, &first_model));
		if (run.count > 0)
			assert_int_equal(run.first, first_model);
		for (uint32_t i = 0; i < count; i++)
			sum += model[first + i];
		assert_int_equal(ferry_bits_count(words, first, count), sum);
		while (next < BITS && !model[next])
			next++;
		assert_int_equal(ferry_bits_next_set(words, first, BITS), next);
		next = first;
		while (next < BITS && model[next])
			next++;
		assert_int_equal(ferry_bits_next_clear(words, first, BITS), next);
	}
}

static void index_agrees_with_model(void **state)
{
	static const uint32_t limits[] = { 1, 63, 64, 65, 4095, 4096, 4097, 12288, 70000 };
	uint64_t seed = test_seed("bitindex");

	(void)state;
	for (size_t n = 0; n < FERRY_ARRAY_SIZE(limits); n++) {
		uint32_t limit = limits[n];
		uint64_t *memory = calloc(ferry_bitindex_words(limit), sizeof(uint64_t));
		bool *model = calloc(limit, sizeof(bool));
		struct ferry_bitindex index;

		ferry_bitindex_init(&index, memory, limit);
		for (uint32_t step = 0; step < 2000; step++) {
			uint32_t bit = test_pick(&seed, limit), from = test_pick(&seed, limit + 1);
			uint32_t expected = from;

			model[bit] = test_pick(&seed, 3) == 0;
			ferry_bitindex_put(&index, bit, model[bit]);
			while (expected < limit && !model[expected])
				expected++;
			for (uint32_t i = 0; expected == limit && i < limit; i++)
				expected = model[i] ? i : expected;
			assert_int_equal(ferry_bitindex_find(&index, from), expected);
		}
		free(memory);
		free(model);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_model),
		cmocka_unit_test(index_agrees_with_model),
	};

	test_host_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
