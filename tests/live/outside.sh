#!/bin/bash
# SPDX-License-Identifier: MIT
# Seen from outside: gdb attaches, reads and breaks; strace, process_vm_readv and numastat look;
# migratepages moves pages in its own way; all while pages are ferried.
. "$(dirname "$0")/lib.sh" || exit 1

start --nodes 3x256M -- "$programs/pingpong" outside 4096
wait_ready
range=$(cat "$work/ready")
mover_what=(--range "$range")
start_ferry 0 1 2

# process_vm_readv waits for pages that are away: each read is whole, and the page's own.
cat >"$work/read.py" <<'END'
import ctypes, sys
class Vec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]
pid, (start, length) = int(sys.argv[1]), (int(part, 0) for part in sys.argv[2].split("+"))
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(4096)
for _ in range(5):
    for page in range(length // 4096):
        local, remote = Vec(ctypes.addressof(buffer), 4096), Vec(start + page * 4096, 4096)
        got = libc.process_vm_readv(pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        words = memoryview(buffer).cast("B").cast("Q")
        if got != 4096 or words[2] >> 32 not in (0, page << 9 | 2):
            sys.exit(f"page {page}: {got} bytes, word {words[2]:x}")
END
python3 "$work/read.py" "$pid" "$range" || fail "process_vm_readv"

if command -v gdb >/dev/null; then
	address=${range%+*}
	cat >"$work/gdb" <<END
set pagination off
set confirm off
break clock_nanosleep
continue
bt 1
x/2gx $address+4096*7+8
delete
detach
quit
END
	for _ in 1 2; do
		"$ferry" home "$pid" -- timeout 60 gdb -nx -q -batch -p "$pid" -x "$work/gdb" \
			>"$work/gdb.out" 2>&1
		grep -q 'Breakpoint 1, .*clock_nanosleep' "$work/gdb.out" ||
			fail "no breakpoint: $(tail -n 20 "$work/gdb.out")"
		grep -q 'Cannot access memory' "$work/gdb.out" &&
			fail "gdb cannot read: $(tail -n 20 "$work/gdb.out")"
		grep -q "^$address\|^0x.*:.*0x.*0x" "$work/gdb.out" || fail "$(cat "$work/gdb.out")"
	done
fi
if command -v strace >/dev/null; then
	timeout 2 strace -f -p "$pid" -o "$work/strace" 2>/dev/null
	grep -q 'State:.*[RS]' "/proc/$pid/status" || fail "stands still after strace"
fi
if command -v migratepages >/dev/null; then # the kernel's nodes, which are not ours
	for _ in 1 2 3 4 5; do
		numastat -p "$pid" >"$work/numastat" || fail "numastat: $(cat "$work/numastat")"
		migratepages "$pid" all 0 || fail "migratepages"
	done
fi
"$ferry" check "$pid" || fail "check"
stop_ferry
touch "$work/stop"
finish

# strace and gdb as the program's parents; job control by the helpers that shells use.
if command -v strace >/dev/null; then
	run --nodes 2x64M -- strace -f -o "$work/strace" sh -c 'sort </etc/passwd | tail -n 1'
	grep -q execve "$work/strace" || fail "strace -f saw nothing"
fi
for wrapper in "timeout 60" "nice" "setsid -w" "nohup" "env"; do
	# shellcheck disable=SC2086
	[ "$($wrapper "$ferry" run --nodes 2x64M -- sh -c 'echo a | cat' 2>/dev/null)" = a ] ||
		fail "under $wrapper"
	# shellcheck disable=SC2086
	run --nodes 2x64M -- $wrapper sh -c 'echo a | cat'
	[ "$(cat "$work/out")" = a ] || fail "$wrapper inside"
done
seq 8 | xargs -P 4 -n 1 "$ferry" run --nodes 2x64M -- echo | sort | cmp -s - <(seq 8) ||
	fail "xargs -P"
