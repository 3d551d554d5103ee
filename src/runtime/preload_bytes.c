/* SPDX-License-Identifier: MIT */
/*
 * preload_bytes.c - memcpy and its kin, hidden: for everything in the preload library.
 *
 * libc's own read their tuning from libc's data. That is memory of the program like any other: its
 * page may be away, in the very batch that the copying agent holds, and the agent would wait for
 * itself for ever. String instructions of the processor need no memory but their operands.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

void *memcpy(void *restrict target, const void *restrict source, size_t size)
{
	void *at = target;

	__asm__ volatile("rep movsb" : "+D"(at), "+S"(source), "+c"(size) : : "memory");
	return target;
}

void *memmove(void *target, const void *source, size_t size)
{
	const char *last = (const char *)source + size - 1;
	char *at = (char *)target + size - 1;

	if ((uintptr_t)target - (uintptr_t)source >= size)
		return memcpy(target, source, size);
	__asm__ volatile("std\n\trep movsb\n\tcld" : "+D"(at), "+S"(last), "+c"(size) : : "memory");
	return target;
}

void *memset(void *target, int value, size_t size)
{
	void *at = target;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(size) : "a"(value) : "memory");
	return target;
}

/* The barriers keep the compiler from finding in these loops the functions that they are. */
int memcmp(const void *left, const void *right, size_t size)
{
	const unsigned char *a = left, *b = right;

	for (size_t i = 0; i < size; i++) {
		if (a[i] != b[i])
			return a[i] - b[i];
		__asm__ volatile("");
	}
	return 0;
}

size_t strlen(const char *text)
{
	size_t length = 0;

	while (text[length] != '\0') {
		length++;
		__asm__ volatile("");
	}
	return length;
}
