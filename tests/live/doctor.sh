#!/bin/bash
# SPDX-License-Identifier: MIT
# doctor finds what a host refuses, and what it says is what then happens to `run`.
. "$(dirname "$0")/lib.sh" || exit 1

refuse=$programs/refuse

# examine COMMAND...: the doctor's findings under that command are in $work/doctor, each as
# "key level told" where told says whether cost and fix are; its status is in $code.
cat >"$work/list.py" <<'END'
import json, sys
document = json.load(sys.stdin)
for f in document["findings"]:
    print(f["key"], f["level"], "told" if f["cost"] and f["fix"] else "bare", f["found"], f["fix"])
status = 5 if not document["usable"] else 1 if document["limits"] else 0
sys.exit(status != int(sys.argv[1]))
END
examine() {
	timeout $((30 * slow)) "$@" "$ferry" doctor --json >"$work/json" 2>"$work/err"
	code=$?
	[ ! -s "$work/err" ] || fail "doctor talks: $(cat "$work/err")"
	python3 "$work/list.py" "$code" <"$work/json" >"$work/doctor" ||
		fail "status $code: $(cat "$work/doctor")"
}
expect() {
	local told=
	[[ $2 != limit && $2 != missing ]] || told=' told'
	grep -q "^$1 $2$told" "$work/doctor" || fail "$1 is not $2$told: $(cat "$work/doctor")"
}

# refused COMMAND...: run ends under that command with 125 and one line of advice.
refused() {
	timeout $((30 * slow)) "$@" "$ferry" run --nodes 2x64M -- true >"$work/out" 2>"$work/err"
	code=$?
	[ "$code" -eq 125 ] || fail "run under $*: status $code, not 125"
	[ "$(wc -l <"$work/err")" -eq 1 ] || fail "not one line: $(cat "$work/err")"
	grep -q "pageferry doctor" "$work/err" || fail "no advice: $(cat "$work/err")"
}

# This host as it is; people's form has a line for each finding at least.
examine env
[ "$code" -le 1 ] || skip "this host has no userfaultfd for us: $(cat "$work/doctor")"
here=$code
"$ferry" doctor >"$work/out"
[ $? -eq "$here" ] || fail "people's form ends differently"
[ "$(wc -l <"$work/out")" -ge "$(wc -l <"$work/doctor")" ] ||
	fail "$(cat "$work/out")"

# Filters: 323 userfaultfd, 16 ioctl, 434 pidfd_open, 310 process_vm_readv, 312 kcmp.
examine "$refuse" 323:1 16:1 --
expect userfaultfd missing
expect seccomp note
grep -q '^userfaultfd.*seccomp' "$work/doctor" || fail "no word of seccomp: $(cat "$work/doctor")"
refused "$refuse" 323:1 16:1 --
examine "$refuse" 434:1 --
expect system_calls missing
[ "$code" -eq 5 ] || fail "without pidfd_open: status $code"
examine "$refuse" 310:1 312:1 --
expect system_calls limit
[ "$code" -eq 1 ] || fail "without kcmp: status $code"

# Limits.
examine bash -c 'ulimit -v 200000000 && exec "$@"' bash
expect address_space limit
examine bash -c 'ulimit -Sd 8000000 && exec "$@"' bash
expect data ok
examine bash -c 'ulimit -d 8000000 && exec "$@"' bash
if ! (ulimit -d 8000000 && ulimit -d 8000001) 2>/dev/null; then
	expect data limit
fi
examine bash -c 'ulimit -Sn 256 && ulimit -Hn 256 && exec "$@"' bash
expect files limit
examine bash -c 'ulimit -l 64 && exec "$@"' bash
grep -q '64 KiB' "$work/doctor" || fail "RLIMIT_MEMLOCK is not told"

# As nobody, who has no way in: what is to be done is named.
[ "$(id -u)" -eq 0 ] || exit 0
build_for_others
refuse=$programs/refuse
if [ "$(cat /proc/sys/vm/unprivileged_userfaultfd)" = 0 ] &&
	! "${as_nobody[@]}" test -r /dev/userfaultfd; then
	examine "${as_nobody[@]}"
	expect userfaultfd missing
	grep -q 'setfacl -m u:65534:r /dev/userfaultfd\|mknod' "$work/doctor" ||
		fail "no command: $(cat "$work/doctor")"
	refused "${as_nobody[@]}"
fi
