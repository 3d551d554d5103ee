#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# guest: there is no gdb
# gdb as the one that starts things: a program inside a machine, and `pageferry run` itself, whose
# children it follows to the program. Breakpoints are hit, variables and memory that has moved are
# read and written, functions are called, and the program comes to its right end.
. "$(dirname "$0")/lib.sh" || exit 1

command -v gdb >/dev/null || skip "there is no gdb here"

# While all threads are stopped, the program's mover asks for nothing more: what it has asked for is
# done within the pause.
cat >"$work/common" <<'END'
set pagination off
set confirm off
set breakpoint pending on
set print thread-events off
END
cat >"$work/stops" <<'END'
break live_mover_start
run
delete
shell sleep 0.3
printf "pages %d\n", area_pages
tbreak live_mover_stop
continue
shell sleep 0.3
printf "word 9.5: %lx\n", *(unsigned long *)(area + 9 * 4096 + 40) >> 32
set var *(unsigned long *)(area + 100 * 4096) = *(unsigned long *)(area + 100 * 4096) + 5
set var *(unsigned long *)(area + 100 * 4096) = *(unsigned long *)(area + 100 * 4096) - 5
printf "called: %d\n", (int)getpid() > 1
print ((void *(*)(unsigned long))malloc)(3000000) != 0
next
next
delete
continue
END

# check_said WHAT: what gdb printed in $work/gdb.out is right. Word 5 of page 9 says where it
# belongs once it is written.
check_said() {
	local word
	for word in 'Breakpoint 1, .*live_mover_start' 'breakpoint 2, .*live_mover_stop' \
		'pages 2048' 'word 9.5: \(1205\|0\)$' 'called: 1' '^\$[0-9]* = 1' \
		'exited normally' '^moved [0-9]'; do
		grep -q "$word" "$work/gdb.out" ||
			fail "$1: no '$word': $(tail -n 30 "$work/gdb.out")"
	done
	moved=$(awk '$1 == "moved" { n = $2 } END { print n + 0 }' "$work/gdb.out")
	echo "$1: moved $moved pages"
	[ "$moved" -ge 20000 ] || fail "$1: only $moved pages moved"
	if grep -i 'cannot access\|cannot insert' "$work/gdb.out"; then
		fail "$1: gdb complains"
	fi
}

export FERRY_TEST_SECONDS=2 FERRY_TEST_MOVES=20000
cat "$work/common" "$work/stops" >"$work/inside"
run --nodes 3x256M -- timeout 90 gdb -nx -q -batch -x "$work/inside" \
	--args "$programs/pingpong" 2048
cp "$work/out" "$work/gdb.out"
check_said "gdb inside"

# From without: the keeper, a shell and two execs lie in between.
{
	cat "$work/common"
	echo 'set follow-fork-mode child'
	cat "$work/stops"
} >"$work/outside"
timeout -k 5 90 gdb -nx -q -batch -x "$work/outside" \
	--args "$ferry" run --nodes 3x256M -- sh -c 'exec "$0" 2048' "$programs/pingpong" \
	>"$work/gdb.out" 2>"$work/err" </dev/null || fail "gdb pageferry run: status $?"
check_said "gdb pageferry run"
assert_nothing_left
