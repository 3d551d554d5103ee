/* SPDX-License-Identifier: MIT */
/*
 * nodeset.c - see nodeset.h.
 *
 * Grammar:  set = "none" | ["!"] ("all" | range {"," range})    range = number ["-" number]
 */
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/format.h"
#include "base/nodeset.h"

void ferry_nodeset_clear(struct ferry_nodeset *set)
{
	memset(set, 0, sizeof(*set));
}

void ferry_nodeset_fill(struct ferry_nodeset *set, uint32_t count)
{
	ferry_nodeset_clear(set);
	ferry_bits_set(set->word, 0, count);
}

uint32_t ferry_nodeset_count(const struct ferry_nodeset *set)
{
	return ferry_bits_count(set->word, 0, FERRY_NODES_MAX);
}

uint32_t ferry_nodeset_next(const struct ferry_nodeset *set, uint32_t from)
{
	return ferry_bits_next_set(set->word, from, FERRY_NODES_MAX);
}

static bool text_is(const char *text, const char *word)
{
	size_t length = strlen(word);

	return strlen(text) == length && memcmp(text, word, length) == 0;
}

/* Reads a number; saturates, so that too large a number is out of range and no syntax error. */
static int parse_number(const char **text, uint32_t *value)
{
	const char *at = *text;

	*value = 0;
	if (*at < '0' || *at > '9')
		return -EINVAL;
	for (; *at >= '0' && *at <= '9'; at++) {
		if (*value <= FERRY_NODES_MAX)
			*value = *value * 10 + (uint32_t)(*at - '0');
	}
	*text = at;
	return 0;
}

/* Adds one range; *out_of_range is left to be reported after the syntax has been seen whole. */
static int parse_range(struct ferry_nodeset *set, const char **text, uint32_t node_count,
		       bool *out_of_range)
{
	uint32_t first, last;
	int err = parse_number(text, &first);

	last = first;
	if (err == 0 && **text == '-') {
		(*text)++;
		err = parse_number(text, &last);
	}
	if (err != 0 || last < first)
		return -EINVAL;
	if (last >= node_count)
		*out_of_range = true;
	else
		ferry_bits_set(set->word, first, last - first + 1);
	return 0;
}

static int parse_list(struct ferry_nodeset *set, const char *text, uint32_t node_count)
{
	bool out_of_range = false;

	for (;;) {
		int err = parse_range(set, &text, node_count, &out_of_range);

		if (err != 0)
			return err;
		if (*text == '\0')
			return out_of_range ? -ERANGE : 0;
		if (*text++ != ',')
			return -EINVAL;
	}
}

static void complement(struct ferry_nodeset *set, uint32_t node_count)
{
	struct ferry_nodeset all;

	ferry_nodeset_fill(&all, node_count);
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(set->word); i++)
		set->word[i] = all.word[i] & ~set->word[i];
}

int ferry_nodeset_parse(struct ferry_nodeset *set, const char *text, uint32_t node_count)
{
	struct ferry_nodeset result;
	bool negated = *text == '!';
	int err = 0;

	ferry_nodeset_clear(&result);
	if (text_is(text, "none")) {
		*set = result;
		return 0;
	}
	if (negated)
		text++;
	if (text_is(text, "all"))
		ferry_nodeset_fill(&result, node_count);
	else
		err = parse_list(&result, text, node_count);
	if (err != 0)
		return err;
	if (negated)
		complement(&result, node_count);
	*set = result;
	return 0;
}

size_t ferry_nodeset_print(const struct ferry_nodeset *set, char *buffer, size_t size)
{
	struct ferry_text text;
	uint32_t first = ferry_nodeset_next(set, 0);

	ferry_text_init(&text, buffer, size);
	if (first == FERRY_NODES_MAX)
		ferry_text_string(&text, "none");
	while (first < FERRY_NODES_MAX) {
		uint32_t end = ferry_bits_next_clear(set->word, first, FERRY_NODES_MAX);

		if (text.length > 0)
			ferry_text_char(&text, ',');
		ferry_text_decimal(&text, first);
		if (end - first > 1) {
			ferry_text_char(&text, '-');
			ferry_text_decimal(&text, end - 1);
		}
		first = ferry_nodeset_next(set, end);
	}
	return text.length;
}
