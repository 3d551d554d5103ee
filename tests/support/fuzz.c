/* SPDX-License-Identifier: MIT */
/*
 * fuzz.c - main() of a fuzz target in an ordinary build: replays tests/fuzz/corpus/NAME, or the
 * files that are named.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <limits.h>

#include "fuzz.h"
#include "host.h"

enum { INPUT_MAX = 1 << 20 };

static void replay(const char *path)
{
	uint8_t *data = malloc(INPUT_MAX);
	FILE *file = fopen(path, "rb");
	size_t size;

	FUZZ_CHECK(data != NULL && file != NULL);
	size = fread(data, 1, INPUT_MAX, file);
	fclose(file);
	FUZZ_CHECK(LLVMFuzzerTestOneInput(data, size) == 0);
	free(data);
}

static int replay_corpus(const char *name)
{
	const char *source = getenv("FERRY_SOURCE");
	char folder[PATH_MAX], path[2 * PATH_MAX];
	const struct dirent *entry;
	unsigned count = 0;
	DIR *dir;

	snprintf(folder, sizeof(folder), "%s/tests/fuzz/corpus/%s", source != NULL ? source : ".",
		 name);
	dir = opendir(folder);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		replay(path);
		count++;
	}
	if (dir != NULL)
		closedir(dir);
	printf("%u inputs\n", count);
	return count == 0;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');

	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	return argc > 1 ? 0 : replay_corpus(name != NULL ? name + 1 : argv[0]);
}
