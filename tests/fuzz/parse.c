/* SPDX-License-Identifier: MIT */
/*
 * Every text that a person can type: sizes, node sets, times, rates, numbers, ranges, CPUs, nodes,
 * policies. A parser says no, or gives what its printer would write so that it reads the same; the
 * line about an error ends within its room. Input: a byte that chooses, then the text.
 */
#include "base/nodeset.h"
#include "base/size.h"
#include "base/writer.h"
#include "fuzz.h"
#include "runtime/spec.h"

enum { NODES = 6 };

static void parse_size(const char *text)
{
	char printed[FERRY_SIZE_TEXT];
	uint64_t bytes = 4711;

	if (ferry_size_parse(text, &bytes) != 0) {
		FUZZ_CHECK(bytes == 4711);
		return;
	}
	FUZZ_CHECK(text[0] >= '0' && text[0] <= '9');
	FUZZ_CHECK(ferry_size_print(bytes, printed, sizeof(printed)) < sizeof(printed));
}

static void parse_nodeset(const char *text)
{
	char printed[64];
	struct ferry_nodeset set, again;

	if (ferry_nodeset_parse(&set, text, NODES) != 0)
		return;
	FUZZ_CHECK(ferry_nodeset_next(&set, NODES) == FERRY_NODES_MAX);
	FUZZ_CHECK(ferry_nodeset_print(&set, printed, sizeof(printed)) < sizeof(printed));
	FUZZ_CHECK(ferry_nodeset_parse(&again, printed, NODES) == 0);
	FUZZ_CHECK(memcmp(&set, &again, sizeof(set)) == 0);
}

static void parse_range(const char *text)
{
	uint64_t start = 0, end = 0;

	if (ferry_spec_range(text, &start, &end) == 0)
		FUZZ_CHECK(start < end);
}

static void parse_numbers(const char *text)
{
	struct ferry_cpuset cpus;
	uint64_t value = 0;

	(void)!ferry_spec_time(text, &value);
	(void)!ferry_spec_rate(text, &value);
	if (ferry_spec_number(text, 1000, &value) == 0)
		FUZZ_CHECK(value <= 1000);
	(void)!ferry_spec_cpus(text, &cpus);
}

static void check_line(const char *error)
{
	FUZZ_CHECK(error[0] != '\0' && memchr(error, '\0', FERRY_SPEC_ERROR_MAX) != NULL);
	FUZZ_CHECK(strchr(error, '\n') == NULL);
}

static void parse_nodes(const char *text)
{
	char error[FERRY_SPEC_ERROR_MAX] = "";
	struct ferry_node_spec node;
	uint64_t size_bytes = 0;
	uint32_t count = 0;

	if (ferry_spec_node(text, &node, error) != 0)
		check_line(error);
	else
		FUZZ_CHECK(node.size_bytes % FERRY_HUGE_SIZE == 0);
	error[0] = '\0';
	if (ferry_spec_nodes(text, &count, &size_bytes, error) != 0)
		check_line(error);
	else
		FUZZ_CHECK(count >= 1 && count <= FERRY_NODES_MAX);
}

static void parse_policy(const char *text)
{
	static struct ferry_machine *machine;
	char error[FERRY_SPEC_ERROR_MAX] = "";
	struct ferry_policy policy;

	if (machine == NULL) {
		machine = calloc(1, ferry_machine_size_bytes(NODES));
		FUZZ_CHECK(machine != NULL);
		ferry_machine_layout(machine, NODES);
		for (uint32_t i = 0; i < NODES; i++)
			ferry_machine_nodes(machine)[i].capacity_pages = i % 3 * 512;
	}
	if (ferry_spec_policy(text, machine, &policy, error) != 0)
		check_line(error);
}

/* --- what is printed: a name may hold anything ------------------------------------------------ */

static char document[8192];
static size_t document_length;

static void keep(void *context, const char *bytes, size_t length)
{
	(void)context;
	FUZZ_CHECK(document_length + length < sizeof(document));
	memcpy(document + document_length, bytes, length);
	document_length += length;
	document[document_length] = '\0';
}

/* A JSON document of one string: no character in it ends the string or the line. */
static void write_string(const char *text)
{
	static const char front[] = "{\"name\":\"";
	struct ferry_writer writer;
	size_t i;

	document_length = 0;
	ferry_writer_init(&writer, FERRY_WRITER_JSON, keep, NULL);
	ferry_writer_begin(&writer, NULL);
	ferry_writer_string(&writer, "name", NULL, text);
	ferry_writer_end(&writer);
	for (i = 0; front[i] != '\0'; i++)
		if (document[i] != front[i])
			break;
	/* With or without blanks between. */
	i = (size_t)(strstr(document, "name\"") - document) + 5;
	i += strspn(document + i, ": ");
	FUZZ_CHECK(document[i] == '"');
	for (i++; document[i] != '"'; i++) {
		FUZZ_CHECK((unsigned char)document[i] >= ' ');
		if (document[i] == '\\')
			FUZZ_CHECK(strchr("\"\\/bfnrtu", document[++i]) != NULL);
	}
	FUZZ_CHECK(document[i + 1] == '}' || document[i + 1] == ' ');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parsers[])(const char *text) = {
		parse_size, parse_nodeset, parse_range,  parse_numbers,
		parse_nodes, parse_policy, write_string,
	};
	char text[512];
	size_t length;

	if (size == 0)
		return 0;
	length = size - 1 < sizeof(text) - 1 ? size - 1 : sizeof(text) - 1;
	memcpy(text, data + 1, length);
	text[length] = '\0';
	parsers[data[0] % (sizeof(parsers) / sizeof(parsers[0]))](text);
	return 0;
}
