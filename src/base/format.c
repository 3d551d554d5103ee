/* SPDX-License-Identifier: MIT */
/*
 * format.c - see format.h.
 *
 * Invariant: if size > 0, buffer[min(length, size - 1)] is the terminator.
 */
#include "base/format.h"

void ferry_text_init(struct ferry_text *text, char *buffer, size_t size)
{
	text->buffer = buffer;
	text->size = size;
	text->length = 0;
	if (size > 0)
		buffer[0] = '\0';
}

void ferry_text_char(struct ferry_text *text, char c)
{
	if (text->length + 1 < text->size) {
		text->buffer[text->length] = c;
		text->buffer[text->length + 1] = '\0';
	}
	text->length++;
}

void ferry_text_string(struct ferry_text *text, const char *string)
{
	while (*string != '\0')
		ferry_text_char(text, *string++);
}

static void number(struct ferry_text *text, uint64_t value, uint32_t base)
{
	char digits[20];
	size_t count = 0;

	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);
	while (count > 0)
		ferry_text_char(text, digits[--count]);
}

void ferry_text_decimal(struct ferry_text *text, uint64_t value)
{
	number(text, value, 10);
}

void ferry_text_signed(struct ferry_text *text, int64_t value)
{
	if (value < 0)
		ferry_text_char(text, '-');
	number(text, value < 0 ? -(uint64_t)value : (uint64_t)value, 10);
}

void ferry_text_hex(struct ferry_text *text, uint64_t value)
{
	ferry_text_string(text, "0x");
	number(text, value, 16);
}

void ferry_text_column(struct ferry_text *text, size_t column)
{
	while (text->length < column)
		ferry_text_char(text, ' ');
}
