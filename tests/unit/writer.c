/* SPDX-License-Identifier: MIT */
/* One set of calls, two forms: tables for people, JSON for programs. */
#include <stdio.h>
#include <string.h>

#include "base/writer.h"
#include "cases.h"
#include "host.h"

struct output {
	char text[4096];
	size_t length;
};

static void keep(void *context, const char *bytes, size_t length)
{
	struct output *output = context;

	assert_true(output->length + length < sizeof(output->text));
	memcpy(output->text + output->length, bytes, length);
	output->length += length;
	output->text[output->length] = '\0';
}

static const struct ferry_column columns[] = {
	{ "node", "NODE", 4 }, { "name", "NAME", -6 }, { "pages", "P0", 5 },
	{ "pages", "P1", 5 },  { "text", "TEXT", 0 },
};

static void write_document(struct ferry_writer *writer)
{
	const uint64_t pages[] = { 7, UINT64_MAX };

	ferry_writer_begin(writer, NULL);
	ferry_writer_u64(writer, "schema_version", NULL, 1);
	ferry_writer_string(writer, "what", "what it is", "a \"test\"");
	ferry_writer_size(writer, "bytes", "size", 1536);
	ferry_writer_fixed(writer, "ratio", "ratio", 1050, 3);
	ferry_writer_s64(writer, "low", "low", -3);
	ferry_writer_bool(writer, "good", "good", true);
	ferry_writer_line(writer, "only for people");
	ferry_writer_begin(writer, "inner");
	ferry_writer_array_begin(writer, "list");
	ferry_writer_element_u64(writer, 1);
	ferry_writer_element_u64(writer, 2);
	ferry_writer_array_end(writer);
	ferry_writer_end(writer);
	ferry_writer_rows_begin(writer, "rows", columns, 5);
	for (unsigned i = 0; i < 2; i++) {
		ferry_writer_row_begin(writer);
		ferry_writer_cell_u64(writer, i);
		if (i == 0)
			ferry_writer_cell_string(writer, "ram");
		else
			ferry_writer_cell_none(writer);
		ferry_writer_cells_u64(writer, pages, 2);
		ferry_writer_cell_hex(writer, 0x7f00);
		ferry_writer_row_end(writer);
	}
	ferry_writer_rows_end(writer);
	ferry_writer_end(writer);
}

static void writes_json(void **state)
{
	struct output output = { .length = 0 };
	struct ferry_writer writer;

	(void)state;
	ferry_writer_init(&writer, FERRY_WRITER_JSON, keep, &output);
	write_document(&writer);
	assert_string_equal(
		output.text,
		"{\"schema_version\":1,\"what\":\"a \\\"test\\\"\",\"bytes\":1536,\"ratio\":1.050,"
		"\"low\":-3,\"good\":true,\"inner\":{\"list\":[1,2]},\"rows\":["
		"{\"node\":0,\"name\":\"ram\",\"pages\":[7,18446744073709551615],\"text\":"
		"\"0x7f00\"},"
		"{\"node\":1,\"name\":null,\"pages\":[7,18446744073709551615],\"text\":\"0x7f00\"}"
		"]}\n");
	/* A stream: each document is one line. */
	output.length = 0;
	ferry_writer_begin(&writer, NULL);
	ferry_writer_end(&writer);
	ferry_writer_begin(&writer, NULL);
	ferry_writer_u64(&writer, "a", NULL, 0);
	ferry_writer_end(&writer);
	assert_string_equal(output.text, "{}\n{\"a\":0}\n");
}

static void writes_tables(void **state)
{
	struct output output = { .length = 0 };
	struct ferry_writer writer;

	(void)state;
	ferry_writer_init(&writer, FERRY_WRITER_TABLE, keep, &output);
	write_document(&writer);
	assert_string_equal(output.text, "what it is              a \"test\"\n"
					 "size                    1.5 KiB\n"
					 "ratio                   1.050\n"
					 "low                     -3\n"
					 "good                    yes\n"
					 "only for people\n"
					 "NODE  NAME       P0     P1  TEXT\n"
					 "   0  ram         7  18446744073709551615  0x7f00\n"
					 "   1  -           7  18446744073709551615  0x7f00\n");
}

/* => what a JSON string of text looks like. */
static const char *json_of(struct output *output, const char *text)
{
	struct ferry_writer writer;

	output->length = 0;
	ferry_writer_init(&writer, FERRY_WRITER_JSON, keep, output);
	ferry_writer_begin(&writer, NULL);
	ferry_writer_string(&writer, "s", NULL, text);
	ferry_writer_end(&writer);
	return output->text;
}

static const char *plain_of(struct output *output, const char *text)
{
	struct ferry_writer writer;

	output->length = 0;
	ferry_writer_init(&writer, FERRY_WRITER_TABLE, keep, output);
	ferry_writer_line(&writer, text);
	return output->text;
}

/* Names of files and processes may hold anything. */
static void escapes(void **state)
{
	static const struct {
		const char *text, *json, *plain;
	} rows[] = {
		{ "a\tb\n", "a\\u0009b\\u000a", "a?b?" },
		{ "\x1b[31m", "\\u001b[31m", "?[31m" },
		{ "\x7f\\", "\\u007f\\\\", "?\\" },
		{ "h\xc3\xa9", "h\xc3\xa9", "h\xc3\xa9" },
		{ "\xf0\x9f\x9a\xa2", "\xf0\x9f\x9a\xa2", "\xf0\x9f\x9a\xa2" },
		{ "\xc3", "\\ufffd", "?" },             /* cut */
		{ "\xc0\xaf", "\\ufffd\\ufffd", "??" }, /* overlong */
		{ "\xe0\x80\xaf", "\\ufffd\\ufffd\\ufffd", "???" },
		{ "\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd", "???" }, /* surrogate */
		{ "\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd", "????" },
		{ "\xff", "\\ufffd", "?" },
		{ "\xc2\x9b", "\xc2\x9b", "?" }, /* a control character of eight bits */
	};
	struct output output;
	char want[128];

	(void)state;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(rows); i++) {
		(void)snprintf(want, sizeof(want), "{\"s\":\"%s\"}\n", rows[i].json);
		assert_string_equal(json_of(&output, rows[i].text), want);
		(void)snprintf(want, sizeof(want), "%s\n", rows[i].plain);
		assert_string_equal(plain_of(&output, rows[i].text), want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_json),
		cmocka_unit_test(writes_tables),
		cmocka_unit_test(escapes),
	};

	test_host_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
