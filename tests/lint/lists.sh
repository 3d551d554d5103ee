#!/bin/bash
# SPDX-License-Identifier: MIT
# tools/lists finds sources that are built by nobody.
. "${0%/*}/plant.sh"

sound
put src/base/meson.build <<<"files('low.c')"
accepts "$tools/lists" "$tree"
put src/base/lost.c <<<'int x;'
finds 'src/base/lost.c: not in the meson.build' "$tools/lists" "$tree"
rm "$tree/src/base/lost.c"
put tests/unit/low.c <<<'int x;'
finds 'tests/unit/low.c: not in the meson.build' "$tools/lists" "$tree"
