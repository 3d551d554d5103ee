#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# The Nth system call of an agent fails, once or with all later ones of its kind. At its start the
# program runs managed, or unmanaged and says so in one line; later nothing is lost and the books
# balance. A sample of all N; in a soak every one.
. "$(dirname "$0")/lib.sh" || exit 1

export PAGEFERRY_PRELOAD=$build/tests/live/inject/libpageferry-preload.so
export FERRY_INJECT_LOG=$work/injected
export FERRY_CHECK=$ferry
unset FERRY_TEST_MANAGED

start_calls=64 # about what an agent does before it serves

# inject PLAN: one run.
inject() {
	local status said
	rm -f "$work/injected"
	FERRY_INJECT=$1 timeout -k 5 $((60 * slow)) \
		"$ferry" run --nodes 2x64M -- "$programs/injected" \
		>"$work/out" 2>"$work/err" </dev/null
	status=$?
	what="call $1 ($(cat "$work/injected" 2>/dev/null))"
	[ "$status" -eq 0 ] || fail "$what: ended with status $status"
	said=$(grep -v '^pageferry: warning: the nodes have' "$work/err")
	case $said in
	'books 0') managed=$((managed + 1)) ;;
	*$'\n'*$'\n'*) fail "$what: more than one line: $said" ;;
	'pageferry: this process runs unmanaged: '* | 'pageferry: process '*' runs unmanaged: '*)
		unmanaged=$((unmanaged + 1))
		;;
	*) fail "$what: said '$said'" ;;
	esac
}

managed=0
unmanaged=0
inject 1000000
# An agent leaves a little later than its program.
wait_until 10 grep -qs '^calls' "$work/injected" || fail "no agent counted its calls"
read -r word calls <"$work/injected"
[ "$word" = calls ] && [ "$calls" -gt 500 ] || fail "the agent counted '$word $calls' calls"
step=${FERRY_SOAK:+1}
step=${step:-4}
for ((at = 1 + RANDOM % step; at <= start_calls; at += step)); do inject "$at"; done
for ((at = 1 + RANDOM % step; at <= start_calls; at += 2 * step)); do inject "$at+"; done
[ "$unmanaged" -gt 1 ] || fail "only $unmanaged runs were unmanaged"
[ "$managed" -gt 1 ] || fail "only $managed runs were managed"
for ((i = 0; i < 80 / step; i++)); do inject $((start_calls + RANDOM % (calls - start_calls))); done
echo "$managed runs managed, $unmanaged unmanaged, $calls calls of an agent"
assert_nothing_left
