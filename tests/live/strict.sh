#!/bin/bash
# SPDX-License-Identifier: MIT
# guest: its programs are not taken along
# Programs that cannot load our library: one clear line, then bare; under --strict they are refused,
# also when a managed program executes them, by whatever call.
. "$(dirname "$0")/lib.sh" || exit 1

cat >"$work/static.c" <<'END'
#include <unistd.h>
int main(void)
{
	return write(1, "static\n", 7) == 7 ? 0 : 1;
}
END
cat >"$work/other.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
	const char *preload = getenv("LD_PRELOAD");
	printf("other %s %s\n", preload ? preload : "none",
	       getenv("PAGEFERRY_JOIN") ? "join" : "bare");
	return 0;
}
END
cc -static -o "$work/static" "$work/static.c" || fail "no static program can be made"
# Another C library is known by its dynamic linker's name.
cp "$(readlink -f /lib64/ld-linux-x86-64.so.2)" "$work/ld-other.so.1"
cc -Wl,--dynamic-linker="$work/ld-other.so.1" -o "$work/other" "$work/other.c" ||
	fail "no program with another dynamic linker can be made"
# The fifth byte of an executable says for how many bits it is.
cp "$work/static" "$work/foreign"
printf '\001' | dd of="$work/foreign" bs=1 seek=4 conv=notrunc status=none
printf '#!%s\n' "$work/static" >"$work/script"
printf '#! /bin/sh\necho script\n' >"$work/plain"
chmod +x "$work/script" "$work/plain"

# bare PROGRAM WORDS: it runs, after one line that says so.
bare() {
	timeout $((60 * slow)) "$ferry" run --nodes 2x64M -- "$1" >"$work/out" 2>"$work/err" ||
		fail "$1: status $?: $(cat "$work/err")"
	[ "$(wc -l <"$work/err")" -eq 1 ] || fail "$1: not one line: $(cat "$work/err")"
	grep -q "$2: it runs unmanaged" "$work/err" || fail "$1: $(cat "$work/err")"
}
# strict PROGRAM WORDS: it does not, and the one line says why.
strict() {
	timeout $((60 * slow)) "$ferry" run --strict --nodes 2x64M -- "$1" \
		>"$work/out" 2>"$work/err"
	code=$?
	[ "$code" -eq 125 ] || fail "$1: status $code, not 125"
	[ ! -s "$work/out" ] || fail "$1 ran: $(cat "$work/out")"
	[ "$(wc -l <"$work/err")" -eq 1 ] || fail "$1: not one line: $(cat "$work/err")"
	grep -q "$2.*--strict" "$work/err" || fail "$1: $(cat "$work/err")"
}
bare "$work/static" "is linked statically"
bare "$work/script" "interpreter that is linked statically"
bare "$work/other" "uses another C library"
[ "$(cat "$work/out")" = "other none bare" ] || fail "it found our library: $(cat "$work/out")"
strict "$work/static" "is linked statically"
strict "$work/script" "interpreter that is linked statically"
strict "$work/other" "uses another C library"
strict "$work/foreign" "another kind of machine"
run --strict --nodes 2x64M -- "$work/plain"
[ "$(cat "$work/out")" = script ] || fail "a script of a dynamic shell: $(cat "$work/err")"
run --strict --nodes 2x64M -- /lib64/ld-linux-x86-64.so.2 /bin/true

# Children, by every call of libc's. People are told once, and the children's own stderr is theirs.
ways=(execve execvp execl fexecve execveat syscall spawn spawnp)
children='for way; do "$0" "$way" "$program" 2>"$log" || exit 1; done'
export program=$work/static log=$work/child.err
run --nodes 2x64M -- sh -c "$children" "$programs/execs" "${ways[@]}" nothing
[ "$(grep -c ' ran$' "$work/out")" -eq 8 ] || fail "children: $(cat "$work/out")"
grep -q '^nothing EFAULT$' "$work/out" || fail "a pointer to nothing: $(cat "$work/out")"
[ ! -s "$log" ] || fail "a child's stderr: $(cat "$log")"
[ "$(grep -c "'$program' is linked statically" "$work/err")" -eq 1 ] ||
	fail "children: people were not told once: $(cat "$work/err")"
run --strict --nodes 2x64M -- sh -c "$children" "$programs/execs" "${ways[@]}"
[ "$(grep -c ' EACCES$' "$work/out")" -eq 8 ] || fail "strict children: $(cat "$work/out")"
grep -q 'is not executed (--strict)' "$work/err" || fail "people were not told: $(cat "$work/err")"
export program=$work/other
run --nodes 2x64M -- sh -c "$children" "$programs/execs" execve spawn execvp
[ "$(grep -c 'other none bare' "$work/out")" -eq 3 ] || fail "other children: $(cat "$work/out")"

# Privileges: set-user-ID, and file capabilities where there are any. Not for root.
[ "$(id -u)" -eq 0 ] || exit 0
build_for_others
cp /bin/true "$work/setuid"
chmod 4755 "$work/setuid"
chmod 755 "$work"
cp /bin/true "$work/capable"
run --strict --nodes 2x64M -- "$work/setuid"
export program=$work/setuid
privileged=("$work/setuid")
setcap cap_net_raw+ep "$work/capable" 2>/dev/null && privileged+=("$work/capable")
for program in "${privileged[@]}"; do
	run --nodes 2x64M -- "${as_nobody[@]}" "$programs/execs" execve "$program"
	[ "$(cat "$work/out")" = "execve ran" ] || fail "$program: $(cat "$work/out")"
	grep -q 'gains privileges when it is executed: it runs unmanaged' "$work/err" ||
		fail "$program: people were not told: $(cat "$work/err")"
	run --strict --nodes 2x64M -- "${as_nobody[@]}" "$programs/execs" execve "$program"
	[ "$(cat "$work/out")" = "execve EACCES" ] || fail "$program, strict: $(cat "$work/out")"
done
