/* SPDX-License-Identifier: MIT */
/* spec.c - parsing what people write on the command line about machines. */
#define _GNU_SOURCE
#include "runtime/spec.h"

#include "base/size.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Decimal digits at *text, which moves behind them. => 0, -EINVAL (none), -ERANGE. */
static int take_number(const char **text, uint64_t *number)
{
	const char *p = *text;

	if (*p < '0' || *p > '9')
		return -EINVAL;
	for (*number = 0; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(*number, UINT64_C(10), number) ||
		    __builtin_add_overflow(*number, (uint64_t)(*p - '0'), number))
			return -ERANGE;
	}
	*text = p;
	return 0;
}

int ferry_spec_number(const char *text, uint64_t max, uint64_t *number)
{
	int error = take_number(&text, number);

	if (error != 0)
		return error;
	if (*text != '\0')
		return -EINVAL;
	return *number > max ? -ERANGE : 0;
}

int ferry_spec_time(const char *text, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = { { "ns", 1 }, { "us", 1000 }, { "ms", 1000000 }, { "s", 1000000000 } };
	int error = take_number(&text, ns);

	if (error != 0)
		return error;
	for (size_t i = 0; i < FERRY_ARRAY_SIZE(units); i++) {
		if (strcmp(text, units[i].name) == 0)
			return __builtin_mul_overflow(*ns, units[i].ns, ns) ? -ERANGE : 0;
	}
	return -EINVAL;
}

int ferry_spec_rate(const char *text, uint64_t *bytes_per_second)
{
	size_t length = strlen(text);
	char size[32];

	if (length > 2 && strcmp(text + length - 2, "/s") == 0)
		length -= 2;
	if (length >= sizeof(size))
		return -EINVAL;
	memcpy(size, text, length);
	size[length] = '\0';
	return ferry_size_parse(size, bytes_per_second);
}

/* Hexadecimal digits with or without 0x. => 0, -EINVAL, -ERANGE. */
static int take_address(const char **text, uint64_t *address)
{
	const char *p = *text;
	unsigned digits = 0;

	if (p[0] == '0' && (p[1] == 'x' || p[1] == 'X'))
		p += 2;
	for (*address = 0;; p++, digits++) {
		char c = (char)(*p | 0x20);
		uint64_t digit;

		if (*p >= '0' && *p <= '9')
			digit = (uint64_t)(*p - '0');
		else if (c >= 'a' && c <= 'f')
			digit = (uint64_t)(c - 'a') + 10;
		else
			break;
		if (*address >> 60 != 0)
			return -ERANGE;
		*address = *address << 4 | digit;
	}
	*text = p;
	return digits == 0 ? -EINVAL : 0;
}

int ferry_spec_range(const char *text, uint64_t *start, uint64_t *end)
{
	uint64_t size_bytes;
	char separator;

	if (take_address(&text, start) != 0)
		return -EINVAL;
	separator = *text++;
	if (separator == '-') {
		if (take_address(&text, end) != 0 || *text != '\0')
			return -EINVAL;
	} else if (separator == '+') {
		if (ferry_size_parse(text, &size_bytes) != 0 ||
		    __builtin_add_overflow(*start, size_bytes, end))
			return -EINVAL;
	} else {
		return -EINVAL;
	}
	return *start < *end && *end <= UINT64_C(1) << FERRY_VA_BITS ? 0 : -EINVAL;
}

int ferry_spec_cpus(const char *text, struct ferry_cpuset *cpus)
{
	memset(cpus, 0, sizeof(*cpus));
	for (;;) {
		uint64_t first, last;
		int error = take_number(&text, &first);

		last = first;
		if (error == 0 && *text == '-') {
			text++;
			error = take_number(&text, &last);
		}
		if (error != 0)
			return error;
		if (last < first)
			return -EINVAL;
		if (last >= FERRY_CPUS_MAX)
			return -ERANGE;
		for (; first <= last; first++)
			cpus->word[first / 64] |= UINT64_C(1) << (first % 64);
		if (*text == '\0')
			return 0;
		if (*text++ != ',')
			return -EINVAL;
	}
}

/* --- nodes ------------------------------------------------------------------------------- */

/* One line: what came from a person may hold line ends, and what terminals obey. */
static void __attribute__((format(printf, 2, 3))) say(char *error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(error, FERRY_SPEC_ERROR_MAX, format, args);
	va_end(args);
	for (; *error != '\0'; error++) {
		if ((unsigned char)*error < ' ' || *error == 0x7f)
			*error = '?';
	}
}

static int bad(char *error, const char *text, const char *what)
{
	say(error, "node '%.100s': %s", text, what);
	return -EINVAL;
}

/* Copies the characters before any of stop; => what follows, NULL if they do not fit. */
static const char *cut(const char *text, const char *stop, char *part, size_t size)
{
	size_t length = strcspn(text, stop);

	if (length >= size)
		return NULL;
	memcpy(part, text, length);
	part[length] = '\0';
	return text + length;
}

static int parse_kind(const char *text, char *kind, struct ferry_node_spec *node, char *error)
{
	char *real = strchr(kind, '@');
	uint64_t number;

	if (real != NULL) {
		*real++ = '\0';
		if (ferry_spec_number(real, FERRY_NODES_MAX - 1, &number) != 0)
			return bad(error, text,
				   "the real node behind @ is a number from 0 to 1023");
		node->real_node = (int32_t)number;
	}
	if (strcmp(kind, "ram") != 0)
		return bad(error, text, "unknown kind; this version knows ram:SIZE");
	node->kind = FERRY_NODE_RAM;
	return 0;
}

static int parse_size(const char *text, const char *size, struct ferry_node_spec *node, char *error)
{
	int result = ferry_size_parse(size, &node->size_bytes);

	if (result == -ERANGE || (result == 0 && node->size_bytes > UINT64_C(1) << 56))
		return bad(error, text, "the size is too large");
	if (result != 0)
		return bad(error, text, "a size is a number with K, M, G or T, such as 512M");
	if (node->size_bytes != 0 && node->size_bytes < FERRY_HUGE_SIZE)
		return bad(error, text, "a node has at least 2M, or 0 to have no memory");
	node->size_bytes = ferry_huge_down(node->size_bytes);
	return 0;
}

/*
 * A value may hold commas (cpus=0-3,5): what follows a comma belongs to it unless it looks like
 * another key.
 */
static size_t value_length(const char *value)
{
	const char *p = value;

	for (;;) {
		const char *next = strchr(p, ',');

		if (next == NULL)
			return strlen(value);
		if (next[1] < '0' || next[1] > '9')
			return (size_t)(next - value);
		p = next + 1;
	}
}

static int parse_options(const char *text, const char *rest, struct ferry_node_spec *node,
			 char *error)
{
	while (*rest == ',') {
		char key[32], value[1024];
		size_t length;

		rest = cut(rest + 1, "=,", key, sizeof(key));
		if (rest == NULL || *rest != '=')
			return bad(error, text, "options are key=value");
		length = value_length(++rest);
		if (length >= sizeof(value))
			return bad(error, text, "a value is too long");
		memcpy(value, rest, length);
		value[length] = '\0';
		rest += length;
		if (strcmp(key, "cpus") != 0)
			return bad(error, text, "unknown key; this version knows cpus=LIST");
		if (ferry_spec_cpus(value, &node->cpus) != 0)
			return bad(error, text,
				   "cpus= takes CPU numbers below 1024, such as 0-3,8");
		node->has_cpus = true;
	}
	return *rest == '\0' ? 0 : bad(error, text, "something unexpected after the size");
}

int ferry_spec_node(const char *text, struct ferry_node_spec *node, char *error)
{
	char kind[32], size[40];
	const char *rest;
	int result;

	memset(node, 0, sizeof(*node));
	node->real_node = -1;
	rest = cut(text, ":,", kind, sizeof(kind));
	if (rest == NULL)
		return bad(error, text, "unknown kind; this version knows ram:SIZE");
	result = parse_kind(text, kind, node, error);
	if (result != 0)
		return result;
	if (*rest != ':')
		return bad(error, text, "a node is written KIND:SIZE, such as ram:512M");
	rest = cut(rest + 1, ":,", size, sizeof(size));
	if (rest == NULL)
		return bad(error, text, "the size is too large");
	result = parse_size(text, size, node, error);
	if (result != 0)
		return result;
	if (*rest == ':')
		return bad(error, text, "a ram node has no path");
	return parse_options(text, rest, node, error);
}

int ferry_spec_nodes(const char *text, uint32_t *count, uint64_t *size_bytes, char *error)
{
	struct ferry_node_spec node;
	char number[24];
	uint64_t n;
	const char *rest = cut(text, "x", number, sizeof(number));
	int result = rest == NULL ? -ERANGE : ferry_spec_number(number, FERRY_NODES_MAX, &n);

	if (result == -ERANGE || (result == 0 && n == 0)) {
		say(error,
		    "--nodes '%.100s': a machine has 1 to %d nodes", text,
			       FERRY_NODES_MAX);
		return -EINVAL;
	}
	if (result != 0) {
		say(error,
		    "--nodes '%.100s': write N or NxSIZE, such as 2 or 4x256M", text);
		return -EINVAL;
	}
	*count = (uint32_t)n;
	*size_bytes = 0;
	if (*rest == '\0')
		return 0;
	memset(&node, 0, sizeof(node));
	result = parse_size(text, rest + 1, &node, error);
	*size_bytes = node.size_bytes;
	if (result == 0 && node.size_bytes == 0)
		return bad(error, text, "at least one node needs memory");
	return result;
}

/* --- policy ------------------------------------------------------------------------------ */

static int check_memory(const struct ferry_machine *machine, const struct ferry_nodeset *set)
{
	bool any = false;

	for (uint32_t i = 0; i < machine->node_count; i++)
		any |= ferry_nodeset_has(set, i) && ferry_machine_has_memory(machine, i);
	return any ? 0 : -ENODEV;
}

int ferry_spec_mems(const char *text, const struct ferry_machine *machine,
		    struct ferry_nodeset *mems, char *error)
{
	int result = ferry_nodeset_parse(mems, text, machine->node_count);

	if (result == 0)
		result = check_memory(machine, mems);
	if (result == 0)
		return 0;
	say(error, "nodes '%.100s': %s", text,
	    result == -EINVAL ? "they are written like 0-1,3"
			      : "no such node with memory in this machine");
	return result == -EINVAL ? -EINVAL : -ENODEV;
}

int ferry_spec_policy(const char *text, const struct ferry_machine *machine,
		      struct ferry_policy *policy, char *error)
{
	const char *set = strchr(text, ':');
	size_t length = set == NULL ? strlen(text) : (size_t)(set - text);
	int result;

	memset(policy, 0, sizeof(*policy));
	ferry_nodeset_fill(&policy->nodes, machine->node_count);
	if (length == 5 && strncmp(text, "local", 5) == 0 && set == NULL) {
		policy->mode = FERRY_POLICY_LOCAL;
		return 0;
	}
	if (length == 4 && strncmp(text, "bind", 4) == 0 && set != NULL) {
		policy->mode = FERRY_POLICY_BIND;
	} else if (length == 10 && strncmp(text, "interleave", 10) == 0) {
		policy->mode = FERRY_POLICY_INTERLEAVE;
	} else {
		say(error,
		    "--policy '%.100s': write local, bind:NODES or interleave[:NODES]",
			       text);
		return -EINVAL;
	}
	result =
		set == NULL ? 0 : ferry_nodeset_parse(&policy->nodes, set + 1, machine->node_count);
	if (result == 0)
		result = check_memory(machine, &policy->nodes);
	if (result == 0)
		return 0;
	say(error, "--policy '%.100s': %s", text,
		       result == -EINVAL ? "the nodes are written like 0-1,3"
					 : "no such node with memory in this machine");
	return result == -EINVAL ? -EINVAL : -ENODEV;
}
