#!/bin/bash
# SPDX-License-Identifier: MIT
# tools/symbols finds a system call in the core, and exports that disagree.
. "${0%/*}/plant.sh"

archive() {
	gcc -c -O2 -x c -o "$tree/one.o" - || fail "gcc"
	rm -f "$tree/core.a"
	ar rcs "$tree/core.a" "$tree/one.o"
}

archive <<<'void *memcpy(void *, const void *, unsigned long);
void ferry_copy(void *a, void *b, unsigned long n) { memcpy(a, b, n); }'
accepts "$tools/symbols" core "$tree/core.a"
archive <<<'int getpid(void); int ferry_pid(void) { return getpid(); }'
finds 'the core needs getpid' "$tools/symbols" core "$tree/core.a"
archive <<<'int ferry_elsewhere(void); int ferry_here(void) { return ferry_elsewhere(); }'
finds 'the core needs ferry_elsewhere' "$tools/symbols" core "$tree/core.a"

# A library, its version script, header and manual page: names agree, or each disagreement is named.
public() {
	put src/runtime/libpageferry.map <<<"PAGEFERRY_0 { global: $1; local: *; };"
	put include/pageferry/pageferry.h <<<"int $2(void);"
	put man/ferry.3 <<<".Fn $3 void"
	gcc -shared -fPIC -x c -o "$tree/lib.so" \
		-Wl,--version-script="$tree/src/runtime/libpageferry.map" - <<-'END'
			int ferry_one(void) { return 1; }
			int ferry_two(void) { return 2; }
		END
}
public ferry_one ferry_one ferry_one
accepts "$tools/symbols" public "$tree/lib.so" "$tree"
public ferry_one ferry_two ferry_one
finds "ferry_two: in pageferry.h, not in the library's exports" \
	"$tools/symbols" public "$tree/lib.so" "$tree"
public ferry_one ferry_one ferry_two
finds "ferry_one: in the library's exports, not in man" \
	"$tools/symbols" public "$tree/lib.so" "$tree"
public 'ferry_one; ferry_gone' ferry_one ferry_one
finds "ferry_gone: in libpageferry.map, not in the library's exports" \
	"$tools/symbols" public "$tree/lib.so" "$tree"

# The preload library.
preload() {
	put src/runtime/preload.map <<<"{ global: $1; local: *; };"
	put src/runtime/preload.c <<<"FERRY_EXPORT int ${3:-munmap}(void *a, unsigned long n)"
	gcc -shared -fPIC -x c -o "$tree/pre.so" $2 \
		-Wl,--version-script="$tree/src/runtime/preload.map" - <<-'END'
			int munmap(void *a, unsigned long n) { return !a + (int)n; }
			int own_name(void) { return 1; }
		END
}
preload munmap -Wl,-z,now
accepts "$tools/symbols" preload "$tree/pre.so" "$tree"
preload munmap -Wl,-z,now mprotect
finds "mprotect: in what sources mark FERRY_EXPORT, not in the preload library's exports" \
	"$tools/symbols" preload "$tree/pre.so" "$tree"
preload munmap -Wl,-z,lazy
finds 'not bound at load time' "$tools/symbols" preload "$tree/pre.so" "$tree"
preload 'munmap; own_name' -Wl,-z,now
finds 'own_name: exported, but no function of libc' "$tools/symbols" preload "$tree/pre.so" "$tree"
preload munmap '-Wl,-z,now -Wl,--no-as-needed -lm'
finds 'needs libm.so.6' "$tools/symbols" preload "$tree/pre.so" "$tree"
