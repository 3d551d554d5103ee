/* SPDX-License-Identifier: MIT */
/*
 * hold.c - writes MIB mebibytes, says "ready", and waits for the end of its standard input, so
 * that it can be looked at from outside.
 *
 * usage: hold MIB
 */
#define _GNU_SOURCE 1
#include "bench.h"

int main(int argc, char **argv)
{
	size_t bytes = argc > 1 ? strtoull(argv[1], NULL, 10) << 20 : 0;
	char byte;

	if (bytes != 0)
		memset(bench_map(bytes), 1, bytes);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		continue;
	return 0;
}
