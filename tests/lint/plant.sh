# SPDX-License-Identifier: MIT
# plant.sh - what the tests of the lint tools share: a small tree, sound but for one breach.
# Sourced by bash scripts.

set -u
source_dir=${FERRY_SOURCE:?FERRY_SOURCE must name the source folder}
tools=$source_dir/tools
tree=$(mktemp -d) || exit 1
trap 'rm -rf "$tree"' EXIT

fail() {
	echo "${0##*/}: $*" >&2
	exit 1
}

# put FILE: writes stdin to a file of the tree.
put() {
	mkdir -p "$(dirname "$tree/$1")"
	cat >"$tree/$1"
}

# Begins with a sound tree: two layers, a function each.
sound() {
	rm -rf "${tree:?}"/*
	put src/base/low.h <<-'END'
		/* SPDX-License-Identifier: MIT */
		#ifndef LOW_H
		#define LOW_H
		#include <stdint.h>
		uint32_t low(uint32_t x);
		#endif
	END
	put src/base/low.c <<-'END'
		/* SPDX-License-Identifier: MIT */
		#include "base/low.h"

		uint32_t low(uint32_t x)
		{
			return x + 1;
		}
	END
	put src/map/high.h <<-'END'
		/* SPDX-License-Identifier: MIT */
		#ifndef HIGH_H
		#define HIGH_H
		#include "base/low.h"
		uint32_t high(uint32_t x);
		#endif
	END
}

# finds PATTERN COMMAND...: the command must fail and name the breach.
finds() {
	local pattern=$1 output
	shift
	output=$("$@" 2>&1) && fail "passed although there is a breach: $pattern"
	grep -q -- "$pattern" <<<"$output" || fail "'$pattern' is not in: $output"
}

# accepts COMMAND...
accepts() {
	local output
	output=$("$@" 2>&1) || fail "no breach, but: $output"
}
