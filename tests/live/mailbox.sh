#!/bin/bash
# SPDX-License-Identifier: MIT
# Moves of another process call after call, by the mailbox that the first one leaves at its agent:
# whoever calls, with whatever rights, however many pages, and whoever is killed over it.
. "$(dirname "$0")/lib.sh" || exit 1

run --nodes 2x256M -- "$programs/mailbox" calls
grep seed "$work/err"

threads_of() {
	local tasks=("/proc/$1/task/"*)
	echo "${#tasks[@]}"
}
# The agent of the process that is called, once both are known.
start_callers() {
	start --nodes 2x256M -- "$programs/mailbox" outlive
	wait_ready
	read -r caller called <"$work/ready"
	wait_for_agent "$called"
}

# A caller that is stopped does not keep the mailbox's thread.
start_callers
kill -STOP "$caller"
before=$(threads_of "$agent")
has_fewer() { [ "$(threads_of "$agent")" -lt "$before" ]; }
wait_until 10 has_fewer || fail "the agent has $before threads for good"
kill -CONT "$caller"
sleep 0.2
touch "$work/stop"
finish
grep 'ok$' "$work/out" || fail "the caller said: $(cat "$work/out")"

# An agent that is killed is not waited for; the process runs on, and nothing of it is lost.
start_callers
kill -KILL "$agent"
sleep 0.5
touch "$work/stop"
finish
cat "$work/out"

# Nobody tells of an agent's end once the keeper is gone.
start_callers
keeper=$("$ferry" ps --json | json 'find("keeper_pid")[0]')
kill -KILL "$keeper"
sleep 0.2
kill -KILL "$agent"
wait_until 20 test -s "$work/out" || fail "the caller waits for ever"
touch "$work/stop"
wait "$run_pid"
run_pid=
grep 'No such process$' "$work/out" || fail "the caller said: $(cat "$work/out")"
assert_nothing_left
