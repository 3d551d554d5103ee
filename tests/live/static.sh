#!/bin/bash
# SPDX-License-Identifier: MIT
# guest: its programs are not taken along
# Static programs, of C and of Go, run as if bare after one line that says so; what they exec is
# managed again.
. "$(dirname "$0")/lib.sh" || exit 1

command -v gosu >/dev/null || skip "gosu, a static Go program, is not installed"
cat >"$work/static.c" <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Sorts numbers here and in a child; ends with 7. */
static int compare(const void *a, const void *b)
{
	unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

	return x < y ? -1 : x > y;
}

int main(void)
{
	enum { COUNT = 1000000 };
	unsigned *numbers = malloc(COUNT * sizeof(*numbers));
	unsigned state = fork() == 0 ? 1 : 2, sum = 0;
	unsigned self = state;

	if (!numbers)
		return 1;
	for (int i = 0; i < COUNT; i++)
		numbers[i] = state = state * 1103515245u + 12345u;
	qsort(numbers, COUNT, sizeof(*numbers), compare);
	for (int i = 0; i < COUNT; i++)
		sum = sum * 31u + numbers[i];
	if (self == 2)
		wait(NULL);
	printf("%u %u\n", self, sum);
	return 7;
}
C
gcc -O1 -static -o "$work/static" "$work/static.c" || fail "gcc -static"
"$work/static" >"$work/bare"
[ $? -eq 7 ] || fail "the static program bare"

# try STATUS CMD...: runs CMD inside to that status; then $work/out, err.
try() {
	local wanted=$1 status
	shift
	timeout -k 5 "$limit" "$ferry" run --nodes 2x256M -- "$@" >"$work/out" 2>"$work/err"
	status=$?
	[ "$status" -eq "$wanted" ] || fail "$1 ended with status $status, not $wanted"
	assert_nothing_left
}
try 7 "$work/static"
cmp "$work/bare" "$work/out" || fail "the static program's output differs"
[ "$(wc -l <"$work/err")" = 1 ] && grep -q "linked statically: it runs unmanaged" "$work/err" ||
	fail "there is not one line that says what is not managed"
try 0 sh -c '"$1"; [ $? -eq 7 ]' sh "$work/static"
cmp "$work/bare" "$work/out" || fail "the output of a static child differs"

# A Go program that execs another.
try 0 gosu --version
grep -q "linked statically: it runs unmanaged" "$work/err" || fail "Go: no line"
seq 2000000 >"$work/in"
gzip -9c "$work/in" >"$work/bare.gz"
start --nodes 2x256M -- gosu "$(id -u):$(id -g)" sh -c 'exec gzip -9c "$1" >"$2"' sh "$work/in" \
	"$work/inside.gz"
start_ferry 0 1
finish
stop_ferry
cmp "$work/bare.gz" "$work/inside.gz" || fail "the output of gzip differs"
assert_moved
