#!/bin/bash
# SPDX-License-Identifier: MIT
# tools/layers finds each kind of breach and accepts a sound tree.
. "${0%/*}/plant.sh"

sound
accepts "$tools/layers" "$tree"

sound
put src/base/low.c <<<'#include "map/high.h"'
finds 'src/base/low.c:1: base may not include map/high.h' "$tools/layers" "$tree"

sound
put src/map/high.c <<<'#include <stdio.h>'
finds 'the core may not include <stdio.h>' "$tools/layers" "$tree"

sound
put src/mmu/mmu.h <<<'#include "base/low.h"'
put src/phys/pool.h <<<'#include "mmu/mmu.h"'
accepts "$tools/layers" "$tree"
put src/mmu/soft.h <<<'#include "base/low.h"'
put src/phys/pool.h <<<'#include "mmu/soft.h"'
finds 'mmu is a later layer' "$tools/layers" "$tree"
put src/phys/pool.h <<<'#include "base/low.h"'
put src/mmu/soft.c <<<'#include "runtime/agent.h"'
put src/runtime/agent.h <<<'#include <stdio.h>'
finds 'runtime is a later layer' "$tools/layers" "$tree"

sound
put src/map/high.c <<<'#include "high.h"'
finds 'is not a header of ours, named from src' "$tools/layers" "$tree"

sound
put src/map/one.h <<<'#include "map/two.h"'
put src/map/two.h <<<'#include "map/one.h"'
finds 'includes itself in a circle' "$tools/layers" "$tree"

sound
put src/map/high.c <<<'#include "pageferry/pageferry.h"'
finds 'may not include the public header' "$tools/layers" "$tree"

sound
put src/base/sys.h <<<'#include <sys/mman.h>'
accepts "$tools/layers" "$tree"
put src/map/high.c <<<'#include "base/sys.h"'
finds 'it knows the host' "$tools/layers" "$tree"
