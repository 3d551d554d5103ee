/* SPDX-License-Identifier: MIT */
/* writer.c - see writer.h. */
#include <string.h>

#include "base/format.h"
#include "base/size.h"
#include "base/writer.h"

enum { LABEL_WIDTH = 24, VALUE_TEXT = 64 };

static void put(struct ferry_writer *writer, const char *bytes, size_t length)
{
	writer->write(writer->context, bytes, length);
}

static void put_text(struct ferry_writer *writer, const char *text)
{
	put(writer, text, strlen(text));
}

static void put_blanks(struct ferry_writer *writer, size_t count)
{
	static const char blanks[] = "                                ";

	while (count > 0) {
		size_t part = count < sizeof(blanks) - 1 ? count : sizeof(blanks) - 1;

		put(writer, blanks, part);
		count -= part;
	}
}

/* --- strings ----------------------------------------------------------------------------- */

/* => length of the UTF-8 sequence at text, 0: it is none (overlong, surrogate, cut, too large). */
static uint32_t sequence_length(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	uint32_t length = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (length == 0 || p[0] > 0xf4)
		return 0;
	for (uint32_t i = 1; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return length;
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || (unsigned char)c == 0x7f;
}

static void put_escape(struct ferry_writer *writer, char c)
{
	static const char digits[] = "0123456789abcdef";
	char text[] = "\\u0000";

	if (c == '"' || c == '\\') {
		text[1] = c;
		put(writer, text, 2);
		return;
	}
	text[4] = digits[(unsigned char)c >> 4];
	text[5] = digits[(unsigned char)c & 15];
	put(writer, text, 6);
}

static void put_json_string(struct ferry_writer *writer, const char *text)
{
	put(writer, "\"", 1);
	while (*text != '\0') {
		uint32_t length = sequence_length(text);

		if (length == 0)
			put_text(writer, "\\ufffd");
		else if (*text == '"' || *text == '\\' || is_control(*text))
			put_escape(writer, *text);
		else
			put(writer, text, length);
		text += length != 0 ? length : 1;
	}
	put(writer, "\"", 1);
}

/* => columns that the text takes on a terminal, if every character takes one. */
static size_t plain_width(const char *text)
{
	size_t width = 0;

	for (; *text != '\0'; width++) {
		uint32_t length = sequence_length(text);

		text += length != 0 ? length : 1;
	}
	return width;
}

static void put_plain_string(struct ferry_writer *writer, const char *text)
{
	while (*text != '\0') {
		uint32_t length = sequence_length(text);
		/* U+0080 to U+009F are control characters too. */
		bool hidden = length == 0 || is_control(*text) ||
			      ((unsigned char)text[0] == 0xc2 && (unsigned char)text[1] < 0xa0);

		if (hidden)
			put(writer, "?", 1);
		else
			put(writer, text, length);
		text += length != 0 ? length : 1;
	}
}

/* --- nesting ----------------------------------------------------------------------------- */

void ferry_writer_init(struct ferry_writer *writer, enum ferry_writer_mode mode,
		       void (*write)(void *context, const char *bytes, size_t length),
		       void *context)
{
	memset(writer, 0, sizeof(*writer));
	writer->mode = mode;
	writer->write = write;
	writer->context = context;
}

/* JSON: the comma before, and the key. */
static void put_key(struct ferry_writer *writer, const char *key)
{
	if (writer->depth > 0) {
		if (writer->begun[writer->depth - 1])
			put(writer, ",", 1);
		writer->begun[writer->depth - 1] = true;
	}
	if (key == NULL)
		return;
	put_json_string(writer, key);
	put(writer, ":", 1);
}

static void open_level(struct ferry_writer *writer, const char *key, const char *bracket)
{
	put_key(writer, key);
	put_text(writer, bracket);
	if (writer->depth < FERRY_WRITER_DEPTH)
		writer->begun[writer->depth] = false;
	writer->depth++;
}

static void close_level(struct ferry_writer *writer, const char *bracket)
{
	writer->depth--;
	put_text(writer, bracket);
	if (writer->depth == 0)
		put(writer, "\n", 1);
}

void ferry_writer_begin(struct ferry_writer *writer, const char *key)
{
	if (writer->mode == FERRY_WRITER_JSON)
		open_level(writer, key, "{");
}

void ferry_writer_end(struct ferry_writer *writer)
{
	if (writer->mode == FERRY_WRITER_JSON)
		close_level(writer, "}");
}

void ferry_writer_array_begin(struct ferry_writer *writer, const char *key)
{
	if (writer->mode == FERRY_WRITER_JSON)
		open_level(writer, key, "[");
}

void ferry_writer_element_u64(struct ferry_writer *writer, uint64_t value)
{
	char buffer[VALUE_TEXT];
	struct ferry_text text;

	if (writer->mode != FERRY_WRITER_JSON)
		return;
	ferry_text_init(&text, buffer, sizeof(buffer));
	ferry_text_decimal(&text, value);
	put_key(writer, NULL);
	put_text(writer, buffer);
}

void ferry_writer_array_end(struct ferry_writer *writer)
{
	if (writer->mode == FERRY_WRITER_JSON)
		close_level(writer, "]");
}

/* --- fields ------------------------------------------------------------------------------ */

/* A value that looks the same in JSON and, if plain is NULL, for people. */
static void put_field(struct ferry_writer *writer, const char *key, const char *label,
		      const char *json, const char *plain)
{
	if (writer->mode == FERRY_WRITER_JSON) {
		if (key == NULL)
			return;
		put_key(writer, key);
		put_text(writer, json);
		return;
	}
	if (label == NULL)
		return;
	put_text(writer, label);
	put_blanks(writer, strlen(label) < LABEL_WIDTH ? LABEL_WIDTH - strlen(label) : 1);
	put_plain_string(writer, plain != NULL ? plain : json);
	put(writer, "\n", 1);
}

void ferry_writer_string(struct ferry_writer *writer, const char *key, const char *label,
			 const char *value)
{
	if (writer->mode == FERRY_WRITER_TABLE) {
		put_field(writer, key, label, "", value);
	} else if (key != NULL) {
		put_key(writer, key);
		put_json_string(writer, value);
	}
}

void ferry_writer_u64(struct ferry_writer *writer, const char *key, const char *label,
		      uint64_t value)
{
	ferry_writer_fixed(writer, key, label, value, 0);
}

void ferry_writer_s64(struct ferry_writer *writer, const char *key, const char *label,
		      int64_t value)
{
	char buffer[VALUE_TEXT];
	struct ferry_text text;

	ferry_text_init(&text, buffer, sizeof(buffer));
	ferry_text_signed(&text, value);
	put_field(writer, key, label, buffer, NULL);
}

void ferry_writer_bool(struct ferry_writer *writer, const char *key, const char *label, bool value)
{
	put_field(writer, key, label, value ? "true" : "false", value ? "yes" : "no");
}

void ferry_writer_size(struct ferry_writer *writer, const char *key, const char *label,
		       uint64_t bytes)
{
	char buffer[VALUE_TEXT], plain[FERRY_SIZE_TEXT];
	struct ferry_text text;

	ferry_text_init(&text, buffer, sizeof(buffer));
	ferry_text_decimal(&text, bytes);
	(void)ferry_size_print(bytes, plain, sizeof(plain));
	put_field(writer, key, label, buffer, plain);
}

void ferry_writer_fixed(struct ferry_writer *writer, const char *key, const char *label,
			uint64_t value, uint32_t digits)
{
	char buffer[VALUE_TEXT];
	struct ferry_text text;
	uint64_t unit = 1;

	for (uint32_t i = 0; i < digits; i++)
		unit *= 10;
	ferry_text_init(&text, buffer, sizeof(buffer));
	ferry_text_decimal(&text, value / unit);
	if (digits > 0)
		ferry_text_char(&text, '.');
	while (unit > 1) {
		unit /= 10;
		ferry_text_char(&text, (char)('0' + value / unit % 10));
	}
	put_field(writer, key, label, buffer, NULL);
}

void ferry_writer_line(struct ferry_writer *writer, const char *text)
{
	if (writer->mode == FERRY_WRITER_JSON)
		return;
	put_plain_string(writer, text);
	put(writer, "\n", 1);
}

/* --- rows -------------------------------------------------------------------------------- */

/* Table: one cell of the line, aligned, and the end of the line behind the last one. */
static void put_aligned(struct ferry_writer *writer, const char *text)
{
	int width = writer->columns[writer->cell].width;
	size_t room = (size_t)(width < 0 ? -width : width), length = plain_width(text);
	size_t blanks = room > length ? room - length : 0;
	bool last = writer->cell + 1 == writer->column_count;

	if (writer->cell > 0)
		put_blanks(writer, 2);
	if (width > 0)
		put_blanks(writer, blanks);
	put_plain_string(writer, text);
	if (width < 0 && !last)
		put_blanks(writer, blanks);
	writer->cell++;
}

void ferry_writer_rows_begin(struct ferry_writer *writer, const char *key,
			     const struct ferry_column *columns, uint32_t count)
{
	writer->columns = columns;
	writer->column_count = count;
	writer->cell = 0;
	if (writer->mode == FERRY_WRITER_JSON) {
		open_level(writer, key, "[");
		return;
	}
	for (uint32_t i = 0; i < count; i++)
		put_aligned(writer, columns[i].title);
	put(writer, "\n", 1);
}

void ferry_writer_rows_end(struct ferry_writer *writer)
{
	if (writer->mode == FERRY_WRITER_JSON)
		close_level(writer, "]");
}

void ferry_writer_row_begin(struct ferry_writer *writer)
{
	writer->cell = 0;
	if (writer->mode == FERRY_WRITER_JSON)
		open_level(writer, NULL, "{");
}

void ferry_writer_row_end(struct ferry_writer *writer)
{
	if (writer->mode == FERRY_WRITER_JSON)
		close_level(writer, "}");
	else
		put(writer, "\n", 1);
}

static void put_cell(struct ferry_writer *writer, const char *json, const char *plain)
{
	if (writer->mode == FERRY_WRITER_JSON) {
		put_key(writer, writer->columns[writer->cell++].key);
		put_text(writer, json);
	} else {
		put_aligned(writer, plain);
	}
}

void ferry_writer_cell_string(struct ferry_writer *writer, const char *value)
{
	if (writer->mode == FERRY_WRITER_JSON) {
		put_key(writer, writer->columns[writer->cell++].key);
		put_json_string(writer, value);
	} else {
		put_aligned(writer, value);
	}
}

void ferry_writer_cell_u64(struct ferry_writer *writer, uint64_t value)
{
	char buffer[VALUE_TEXT];
	struct ferry_text text;

	ferry_text_init(&text, buffer, sizeof(buffer));
	ferry_text_decimal(&text, value);
	put_cell(writer, buffer, buffer);
}

void ferry_writer_cell_s64(struct ferry_writer *writer, int64_t value)
{
	char buffer[VALUE_TEXT];
	struct ferry_text text;

	ferry_text_init(&text, buffer, sizeof(buffer));
	ferry_text_signed(&text, value);
	put_cell(writer, buffer, buffer);
}

void ferry_writer_cell_size(struct ferry_writer *writer, uint64_t bytes)
{
	char buffer[VALUE_TEXT], plain[FERRY_SIZE_TEXT];
	struct ferry_text text;

	ferry_text_init(&text, buffer, sizeof(buffer));
	ferry_text_decimal(&text, bytes);
	(void)ferry_size_print(bytes, plain, sizeof(plain));
	put_cell(writer, buffer, plain);
}

void ferry_writer_cell_hex(struct ferry_writer *writer, uint64_t value)
{
	char buffer[VALUE_TEXT];
	struct ferry_text text;

	ferry_text_init(&text, buffer, sizeof(buffer));
	ferry_text_hex(&text, value);
	ferry_writer_cell_string(writer, buffer);
}

void ferry_writer_cell_none(struct ferry_writer *writer)
{
	put_cell(writer, "null", "-");
}

void ferry_writer_cells_u64(struct ferry_writer *writer, const uint64_t *values, uint32_t count)
{
	if (writer->mode == FERRY_WRITER_TABLE) {
		for (uint32_t i = 0; i < count; i++)
			ferry_writer_cell_u64(writer, values[i]);
		return;
	}
	open_level(writer, writer->columns[writer->cell].key, "[");
	writer->cell += count;
	for (uint32_t i = 0; i < count; i++)
		ferry_writer_element_u64(writer, values[i]);
	close_level(writer, "]");
}
