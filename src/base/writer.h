/* SPDX-License-Identifier: MIT */
/*
 * writer.h - results for people and for programs from one set of calls.
 *
 * In mode TABLE fields become lines "label  value" and rows become a table; in mode JSON the same
 * calls become one compact object on one line, so that a stream of documents is NDJSON. Nothing is
 * kept but the state of the nesting: no memory is needed however long the output is.
 *
 * A document: begin(NULL); fields, objects, rows, texts; end(). Within an object keys must be
 * unique; that is the caller's affair. Labels and keys that are NULL leave the field out of the
 * table or of the JSON.
 *
 * Strings may hold any bytes: control characters and what is not UTF-8 never reach the output as
 * such.
 */
#ifndef FERRY_BASE_WRITER_H
#define FERRY_BASE_WRITER_H

#include "base/types.h"

enum ferry_writer_mode { FERRY_WRITER_TABLE, FERRY_WRITER_JSON };

enum { FERRY_WRITER_DEPTH = 8 };

struct ferry_column {
	const char *key;   /* in JSON */
	const char *title; /* above the column */
	int width; /* right-aligned; negative: left-aligned; 0: as long as it is (last one) */
};

struct ferry_writer {
	enum ferry_writer_mode mode;
	void (*write)(void *context, const char *bytes, size_t length);
	void *context;
	uint32_t depth;
	bool begun[FERRY_WRITER_DEPTH]; /* something stands in the object or array of that depth */
	const struct ferry_column *columns;
	uint32_t column_count;
	uint32_t cell;
};

void ferry_writer_init(struct ferry_writer *writer, enum ferry_writer_mode mode,
		       void (*write)(void *context, const char *bytes, size_t length),
		       void *context);

/* An object; key NULL: the document itself. The end of the document ends the line. */
void ferry_writer_begin(struct ferry_writer *writer, const char *key);
void ferry_writer_end(struct ferry_writer *writer);
/* An array of objects, each by begin(NULL) and end(). */
void ferry_writer_array_begin(struct ferry_writer *writer, const char *key);
void ferry_writer_array_end(struct ferry_writer *writer);
/* A number in an array. */
void ferry_writer_element_u64(struct ferry_writer *writer, uint64_t value);

void ferry_writer_string(struct ferry_writer *writer, const char *key, const char *label,
			 const char *value);
void ferry_writer_u64(struct ferry_writer *writer, const char *key, const char *label,
		      uint64_t value);
void ferry_writer_s64(struct ferry_writer *writer, const char *key, const char *label,
		      int64_t value);
void ferry_writer_bool(struct ferry_writer *writer, const char *key, const char *label, bool value);
/* Bytes in JSON; "1.5 GiB" in a table. */
void ferry_writer_size(struct ferry_writer *writer, const char *key, const char *label,
		       uint64_t bytes);
/* value / 10^digits: 1234 with 3 digits is 1.234. */
void ferry_writer_fixed(struct ferry_writer *writer, const char *key, const char *label,
			uint64_t value, uint32_t digits);
/* A line for people only. */
void ferry_writer_line(struct ferry_writer *writer, const char *text);

/* Rows: an array of objects, or a table with a title line. columns must stay until rows_end(). */
void ferry_writer_rows_begin(struct ferry_writer *writer, const char *key,
			     const struct ferry_column *columns, uint32_t count);
void ferry_writer_rows_end(struct ferry_writer *writer);
void ferry_writer_row_begin(struct ferry_writer *writer);
void ferry_writer_row_end(struct ferry_writer *writer);
/* Cells in the order of the columns. */
void ferry_writer_cell_string(struct ferry_writer *writer, const char *value);
void ferry_writer_cell_u64(struct ferry_writer *writer, uint64_t value);
void ferry_writer_cell_s64(struct ferry_writer *writer, int64_t value);
void ferry_writer_cell_size(struct ferry_writer *writer, uint64_t bytes);
/* An address: a string in JSON, where numbers of that size lose digits. */
void ferry_writer_cell_hex(struct ferry_writer *writer, uint64_t value);
/* null; "-". */
void ferry_writer_cell_none(struct ferry_writer *writer);
/* count columns at once: an array under the key of the first of them. */
void ferry_writer_cells_u64(struct ferry_writer *writer, const uint64_t *values, uint32_t count);

#endif
