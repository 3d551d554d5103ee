/* SPDX-License-Identifier: MIT */
/* size.c - see size.h. */
#include <errno.h>

#include "base/format.h"
#include "base/size.h"

static const char unit_letters[] = "KMGT";

/* Takes "", "B", or a letter with "", "B" or "iB" off text; *shift: the unit as a power of two. */
static const char *parse_unit(const char *text, uint32_t *shift)
{
	char upper = (char)(*text & ~0x20);

	*shift = 0;
	for (uint32_t i = 0; i < 4; i++) {
		if (upper != unit_letters[i])
			continue;
		*shift = 10 * (i + 1);
		text++;
		if (text[0] == 'i' && text[1] == 'B')
			return text + 2;
		break;
	}
	return *text == 'B' ? text + 1 : text;
}

int ferry_size_parse(const char *text, uint64_t *bytes)
{
	uint64_t value = 0;
	bool overflow = false;
	uint32_t shift;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++) {
		uint64_t digit = (uint64_t)(*text - '0');

		overflow |= __builtin_mul_overflow(value, (uint64_t)10, &value);
		overflow |= __builtin_add_overflow(value, digit, &value);
	}
	text = parse_unit(text, &shift);
	/* Junk is reported before overflow: it is the error that has to be mended first. */
	if (*text != '\0')
		return -EINVAL;
	if (overflow || value > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes = value << shift;
	return 0;
}

size_t ferry_size_print(uint64_t bytes, char *buffer, size_t size)
{
	static const char *const names[] = { " B", " KiB", " MiB", " GiB", " TiB" };
	struct ferry_text text;
	uint32_t unit = 0;
	uint64_t tenths;

	while (unit < 4 && bytes >> (10 * (unit + 1)) != 0)
		unit++;
	ferry_text_init(&text, buffer, size);
	ferry_text_decimal(&text, bytes >> (10 * unit));
	if (unit > 0) {
		tenths = (bytes >> (10 * (unit - 1)) & 1023) * 10 / 1024;
		if (tenths > 0) {
			ferry_text_char(&text, '.');
			ferry_text_decimal(&text, tenths);
		}
	}
	ferry_text_string(&text, names[unit]);
	return text.length;
}
