/* SPDX-License-Identifier: MIT */
/*
 * format.h - building short texts in a buffer of fixed size, without libc.
 *
 * A text is always terminated, never written beyond its buffer, and remembers how long it would
 * have become. A buffer of size 0 is allowed; nothing is written to it then.
 */
#ifndef FERRY_BASE_FORMAT_H
#define FERRY_BASE_FORMAT_H

#include "base/types.h"

struct ferry_text {
	char *buffer;
	size_t size;   /* of the buffer */
	size_t length; /* of the whole text, also of what did not fit; without the terminator */
};

void ferry_text_init(struct ferry_text *text, char *buffer, size_t size);
void ferry_text_char(struct ferry_text *text, char c);
void ferry_text_string(struct ferry_text *text, const char *string);
void ferry_text_decimal(struct ferry_text *text, uint64_t value);
void ferry_text_signed(struct ferry_text *text, int64_t value);
/* Hexadecimal with 0x in front. */
void ferry_text_hex(struct ferry_text *text, uint64_t value);
/* Fills with blanks up to a column (counted from 0). */
void ferry_text_column(struct ferry_text *text, size_t column);

#endif
