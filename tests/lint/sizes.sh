#!/bin/bash
# SPDX-License-Identifier: MIT
# tools/sizes finds each kind of breach and accepts a sound tree.
. "${0%/*}/plant.sh"

spdx='/* SPDX-License-Identifier: MIT */'

# body LINES: a function of that many lines in all.
body() {
	printf '%s\nint long_one(int a)\n{\n' "$spdx"
	for ((i = 0; i < $1 - 3; i++)); do printf '\ta++;\n'; done
	printf '}\n'
}

sound
accepts "$tools/sizes" "$tree"

body 70 | put src/map/long.c
accepts "$tools/sizes" "$tree"
body 71 | put src/map/long.c
finds 'src/map/long.c:2: long_one() has 71 lines' "$tools/sizes" "$tree"

sound
printf '%s\nint many(int a, int b, int c,\n\t int d, int e)\n{\n\treturn 0;\n}\n' "$spdx" |
	put src/map/many.c
accepts "$tools/sizes" "$tree"
printf '%s\nint many(int a, int b, int c,\n\t int d, int e, int f)\n{\n\treturn 0;\n}\n' "$spdx" |
	put src/map/many.c
finds 'many() has 6 parameters' "$tools/sizes" "$tree"

sound
put src/map/bare.c <<<'int x;'
finds 'no SPDX line' "$tools/sizes" "$tree"

sound
{ echo "$spdx"; yes 'int x;' | head -n 1000; } | put src/map/huge.c
finds '1001 lines in a file' "$tools/sizes" "$tree"

sound
{ echo "$spdx"; printf '\t/* %090d */\n' 0; } | put src/map/wide.c
finds '104 columns' "$tools/sizes" "$tree"

sound
{ echo "$spdx"; echo "/* TO""DO: later */"; } | put src/map/later.c
finds 'something is put off' "$tools/sizes" "$tree"

sound
{ echo "$spdx"; echo 'int x; '; } | put src/map/blank.c
finds 'blanks at the end' "$tools/sizes" "$tree"
