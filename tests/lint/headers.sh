#!/bin/bash
# SPDX-License-Identifier: MIT
# tools/headers finds a header that leans on another.
. "${0%/*}/plant.sh"

sound
accepts "$tools/headers" "$tree"
put src/map/needy.h <<<'uint32_t needs_stdint(void);'
finds 'map/needy.h does not compile alone' "$tools/headers" "$tree"

sound
put include/pageferry/pageferry.h <<<'int ferry_one(int class);'
finds 'pageferry.h does not compile alone: g++' "$tools/headers" "$tree"
