#!/bin/bash
# SPDX-License-Identifier: MIT
# The nodes that a process may use: at first touch, in moves, over fork and exec; and the limit of
# entries of a call.
. "$(dirname "$0")/lib.sh" || exit 1

machine=(--node ram:64M --node ram:64M --node ram:64M --node ram:0)
FERRY=$ferry run "${machine[@]}" --mems 0-1 --max-count 100 -- "$programs/mems"
grep -q 'after exec' "$work/out" || fail "$(cat "$work/out" "$work/err")"

# refuse STATUS ARGUMENTS...: that status, one line on stderr.
refuse() {
	local want=$1 got
	shift
	"$ferry" "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
	got=$?
	[ "$got" -eq "$want" ] || fail "pageferry $*: status $got, not $want: $(cat "$work/stderr")"
	[ "$(wc -l <"$work/stderr")" -eq 1 ] || fail "pageferry $*: not one line"
}

for mems in x 0- 0,,1 ""; do
	refuse 2 run "${machine[@]}" --mems "$mems" -- true
done
refuse 3 run "${machine[@]}" --mems none -- true
refuse 3 run "${machine[@]}" --mems 3 -- true
refuse 3 run "${machine[@]}" --mems 4 -- true
for count in 0 -1 x 2147483648 99999999999999999999; do
	refuse 2 run "${machine[@]}" --max-count "$count" -- true
done

# From outside; an ancestor that is no program of the machine any more still hands its nodes down.
start "${machine[@]}" --mems '!0' -- bash -c '
	echo ready >"$FERRY_TEST_READY"
	while [ ! -e "$FERRY_TEST_STOP" ]; do sleep 0.05; done'
wait_ready
[ "$("$ferry" mems "$pid")" = 1-3 ] || fail "mems: $("$ferry" mems "$pid")"
"$ferry" mems "$pid" --json | json 'find("mems") == ["1-3"]' >/dev/null || fail "mems --json"
refuse 4 move "$pid" --all --to 0
grep -q "may not use node 0" "$work/stderr" || fail "$(cat "$work/stderr")"
refuse 3 move "$pid" --all --to 3
refuse 2 mems "$pid" 0-
refuse 3 mems "$pid" 3
refuse 3 mems "$pid" 7
refuse 2 mems "$pid" 0 1
refuse 5 mems $$ 0
refuse 5 mems $$
[ "$("$ferry" mems "$pid")" = 1-3 ] || fail "a refused set was taken"
"$ferry" mems "$pid" 0,2 || fail "mems $pid 0,2"
"$ferry" move "$pid" --all --to 2 >/dev/null
[ $? -le 1 ] || fail "move to 2"
refuse 4 move "$pid" --all --to 1
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	build_for_others
	"${as_nobody[@]}" "$ferry" mems "$pid" 0 2>/dev/null && fail "anybody may set the nodes"
fi
[ "$("$ferry" mems "$pid")" = 0,2 ] || fail "mems: $("$ferry" mems "$pid")"
touch "$work/stop"
finish
