#!/bin/bash
# SPDX-License-Identifier: MIT
# .clang-tidy's choice of checks still finds bugs, and passes what is sound.
. "${0%/*}/plant.sh"

cp "$source_dir/.clang-tidy" "$tree/"
tidy() {
	clang-tidy --quiet "$tree/one.c" -- -std=c11
}

put one.c <<-'END'
	int deref(int on);
	int deref(int on)
	{
		int *p = 0;

		return on ? *p : 0;
	}
END
finds 'clang-analyzer-core.NullDereference' tidy
put one.c <<-'END'
	unsigned long size(int x);
	unsigned long size(int x)
	{
		return sizeof(sizeof(x));
	}
END
finds 'bugprone-sizeof-expression' tidy
put one.c <<-'END'
	int add(int a, int b);
	int add(int a, int b)
	{
		return a + b;
	}
END
accepts tidy
