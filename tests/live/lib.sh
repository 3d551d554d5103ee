# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# lib.sh - what the live tests share; sourced by bash scripts.
#
# FERRY_BUILD and FERRY_SOURCE name the build and source folders. A test ends with status 0, with
# 77 and the reason as its last line, or with anything else: failed. Everything it starts it ends
# itself, by process id; everything it writes lies in $work.

set -u
build=${FERRY_BUILD:?FERRY_BUILD must name the build folder}
live=${FERRY_SOURCE:?FERRY_SOURCE must name the source folder}/tests/live
ferry=$build/pageferry
programs=$build/tests/live/programs
work=$(mktemp -d "${TMPDIR:-/tmp}/ferry-live.XXXXXX") || exit 1
limit=${FERRY_SOAK:+1200}
slow=${FERRY_SLOW:-1} # how many times longer everything may take here
limit=$((${limit:-120} * slow)) # seconds that one run of a program may take
run_pid=
pid=
mover_pid=
export FERRY_TEST_MANAGED=1
export FERRY_TEST_READY=$work/ready
export FERRY_TEST_STOP=$work/stop

# Kernels before 6.8 have no UFFDIO_MOVE: pages leave by eviction.
read -r -d . kernel_major </proc/sys/kernel/osrelease
IFS=. read -r _ kernel_minor _ </proc/sys/kernel/osrelease
if [ "$kernel_major" -lt 6 ] ||
	{ [ "$kernel_major" -eq 6 ] && [ "${kernel_minor%%-*}" -lt 8 ]; }; then
	export FERRY_TEST_EVICTS=1
fi
# How many times fewer pages have to move: where emulation is slow an eviction is slower still.
fewer=$slow
[ "$slow" -eq 1 ] || [ -z "${FERRY_TEST_EVICTS:-}" ] || fewer=$((4 * slow))

as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)

# build_for_others: where other users cannot read the build folder, as in a clone under a private
# folder, its products are copied to where they can.
build_for_others() {
	command -v setpriv >/dev/null || skip "needs setpriv"
	if "${as_nobody[@]}" cat "$build/libpageferry-preload.so" >/dev/null 2>&1; then
		return
	fi
	chmod 755 "$work"
	mkdir -p "$work/build/tests/live"
	cp -a "$build"/pageferry "$build"/libpageferry*.so* "$work/build/" 2>/dev/null
	cp -a "$programs" "$work/build/tests/live/"
	chmod -R go+rX "$work/build"
	build=$work/build
	ferry=$build/pageferry
	programs=$build/tests/live/programs
	"${as_nobody[@]}" cat "$build/libpageferry-preload.so" >/dev/null 2>&1 ||
		skip "other users cannot read $work"
}

# left_over: processes whose environment names our work folder, but for this script and its helpers.
# Only builtins: a program started here would find itself.
left_over() {
	local entry name word
	for entry in /proc/[0-9]*; do
		name=
		read -r name <"$entry/comm" || continue
		case $name in
		bash | sh | sleep | timeout) continue ;;
		esac
		while IFS= read -r -d '' word; do
			if [ "$word" = "FERRY_TEST_STOP=$work/stop" ]; then
				echo "${entry#/proc/} ($name)"
				break
			fi
		done <"$entry/environ"
	done 2>/dev/null
}

nothing_left() {
	[ -z "$(left_over)" ]
}

# The keeper and the agents follow their program within moments.
assert_nothing_left() {
	wait_until 10 nothing_left || fail "left behind: $(left_over | tr '\n' ' ')"
}

cleanup() {
	local status=$?
	trap - EXIT
	touch "$work/stop" "$work/mover.stop"
	if [ -n "$mover_pid" ]; then kill "$mover_pid" 2>/dev/null; fi
	if [ -n "$run_pid" ]; then
		kill "$run_pid" 2>/dev/null
		wait "$run_pid" 2>/dev/null
	fi
	if [ "$status" -ne 0 ] && [ "$status" -ne 77 ] && [ -s "$work/err" ]; then
		echo "--- stderr of the program" >&2
		tail -n 20 "$work/err" >&2
	fi
	rm -rf "$work"
	exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
	echo "${0##*/}: $*" >&2
	exit 1
}

skip() {
	echo "$*"
	exit 77
}

[ -e /dev/userfaultfd ] || [ -e /proc/sys/vm/unprivileged_userfaultfd ] ||
	skip "this kernel has no userfaultfd"

# wait_until SECONDS COMMAND...: polls COMMAND until it succeeds.
wait_until() {
	local end=$((SECONDS + $1 * slow))
	shift
	until "$@"; do
		[ "$SECONDS" -le "$end" ] || return 1
		sleep 0.02
	done
}

# in_guest SECONDS OPTIONS... -- CMD...: runs CMD in a guest (tools/guest) to its end; what it
# prints is in $work/guest. Fails unless it ends with 0.
in_guest() {
	local seconds=$1 options=() status
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	env -u FERRY_TEST_READY -u FERRY_TEST_STOP timeout -k 5 $((seconds + 50)) \
		"$FERRY_SOURCE/tools/guest" "${options[@]}" --build "$build" \
		--timeout "$seconds" -- "$@" >"$work/guest" 2>&1
	status=$?
	[ "$status" -eq 0 ] || fail "in a guest, status $status: $(tail -n 25 "$work/guest")"
}

# json EXPRESSION: evaluates over the JSON documents on stdin; see pick.py.
json() {
	python3 "$live/pick.py" "$1"
}

is_managed() {
	"$ferry" maps "$1" --json >/dev/null 2>&1
}

# Is the program past sh's exec and known to the machine? Or at an end, all the same.
is_started() {
	has_ended && return 0
	[ -s "$work/pid" ] || return 1
	pid=$(cat "$work/pid")
	! tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF "$start_script" && is_managed "$pid"
} 2>/dev/null

has_ended() {
	! kill -0 "$run_pid" 2>/dev/null
}

start_script='echo $$ >"$0"; exec "$@"'

# start_unseen OPTIONS... -- CMD...: runs CMD in a machine, in the background. Sets run_pid (to wait
# for); the program's pid will be in $work/pid. Output goes to $work/out, err.
start_unseen() {
	local options=()
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	pid=
	rm -f "$work/pid" "$work/ready" "$work/stop" "$work/mover.stop"
	timeout -k 5 "$limit" "$ferry" run "${options[@]}" -- \
		sh -c "$start_script" "$work/pid" "$@" \
		>"$work/out" 2>"$work/err" </dev/null &
	run_pid=$!
}

# start OPTIONS... -- CMD...: the same, and waits until it is known to the machine. Sets pid (the
# program).
start() {
	start_unseen "$@"
	wait_until 30 is_started || fail "the program was not seen by the machine: $*"
	! has_ended || fail "the program ended at once: $*"
}

# Waits until the program says that it is ready; what it said is in $work/ready.
wait_ready() {
	wait_until 60 test -s "$work/ready" || fail "the program did not become ready"
}

# finish [STATUS]: waits for the program's end and asserts its status (0).
finish() {
	local status
	wait "$run_pid"
	status=$?
	run_pid=
	[ "$status" -eq "${1:-0}" ] || fail "ended with status $status, not ${1:-0}"
	[ -n "$mover_pid" ] || assert_nothing_left
}

# run OPTIONS... -- CMD...: runs CMD in a machine to its end and asserts status 0.
run() {
	local options=() status
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	rm -f "$work/stop"
	timeout -k 5 "$limit" "$ferry" run "${options[@]}" -- "$@" \
		>"$work/out" 2>"$work/err" </dev/null &
	run_pid=$!
	wait "$run_pid"
	status=$?
	run_pid=
	[ "$status" -eq 0 ] || fail "$1 ended with status $status"
	assert_nothing_left
}

# One move, tried again for two seconds where the process cannot be reached: it may be between two
# images of an exec, or ending. => 0 moved, 1 the process has ended.
ferry_once() {
	local status end=$((SECONDS + 3 * slow))
	while :; do
		"$ferry" move "$1" "${mover_what[@]}" --to "$2" --json \
			>"$work/move" 2>"$work/move.err"
		status=$?
		if [ "$status" -le 1 ]; then
			cat "$work/move" >>"$work/moves"
			return 0
		fi
		if has_become_zombie "$1" || [ -e "$work/mover.stop" ]; then return 1; fi
		if [ "$SECONDS" -gt "$end" ] || [ "$status" -eq 2 ]; then
			echo "move ended with $status: $(cat "$work/move.err")" >>"$work/mover.bad"
			return 1
		fi
		sleep 0.05
	done
}

ferry_round() {
	local node
	for node in "${mover_nodes[@]}"; do
		ferry_once "$1" "$node" || return 1
		[ ! -e "$work/mover.stop" ] || return 1
	done
}

has_become_zombie() {
	grep -q '^State:.*[ZX]' "/proc/$1/status" 2>/dev/null || [ ! -e "/proc/$1/status" ]
}

# An agent of the image before the last exec may be leaving still: then it is not told yet.
agent_of() {
	"$ferry" ps --json | json "(lambda agents: agents[0] if len(agents) == 1 else None)(
		[process['agent_pid'] for machine in documents[0]['machines']
		for process in machine['processes'] if process['pid'] == $1])"
}

has_one_agent() {
	agent=$(agent_of "$1") && [ "$agent" -gt 0 ]
}

# wait_for_agent [PID]: of the program, or of another process. Sets agent.
wait_for_agent() {
	wait_until 20 has_one_agent "${1:-$pid}" || fail "no agent"
}

# moves_begin: start_ferry's first move has ended. is_gone PID: it has ended, whoever reaps it.
moves_begin() {
	[ -s "$work/moves" ] || [ -s "$work/mover.bad" ]
}

is_gone() {
	! kill -0 "$1" 2>/dev/null || has_become_zombie "$1"
}

# start_ferry NODE...: moves all pages of the program to one node after the other until
# stop_ferry or the program's end, in the background. mover_what replaces --all.
mover_what=(--all)
start_ferry() {
	mover_nodes=("$@")
	rm -f "$work/moves" "$work/mover.bad" "$work/mover.stop"
	touch "$work/moves"
	while ferry_round "$pid"; do :; done &
	mover_pid=$!
}

# start_ferry_all NODE...: the same for every process of the program's machine in turn.
start_ferry_all() {
	rm -f "$work/moves" "$work/mover.bad" "$work/mover.stop"
	touch "$work/moves"
	python3 "$live/ferry_all.py" "$ferry" "$work" "$pid" "$@" 2>>"$work/mover.bad" &
	mover_pid=$!
}

stop_ferry() {
	touch "$work/mover.stop"
	wait "$mover_pid" 2>/dev/null
	mover_pid=
	[ ! -s "$work/mover.bad" ] || fail "$(cat "$work/mover.bad")"
	[ -n "$run_pid" ] || assert_nothing_left
}

# count_moves: sets moved and resident. => the moves from outside moved 100,000 pages, or every
# resident page twice.
count_moves() {
	moved=$(json 'sum(find("moved_pages"))' <"$work/moves")
	resident=$(json 'max(find("asked_pages"), default=0)' <"$work/moves")
	echo "moved $moved pages, at most $resident resident at a time"
	[ "$moved" -ge $((100000 / fewer)) ] || [ "$moved" -ge $((2 * resident)) ]
}

assert_moved() {
	local moved resident
	count_moves || fail "only $moved of $resident pages moved"
	[ "$resident" -gt 0 ] || fail "no page was asked to move"
}

# until_moved JOB: a job that starts the program, ferries it and ends; up to $tries times (three),
# until enough has moved in all: on a slow machine it is over too early.
until_moved() {
	local moved resident try
	rm -f "$work/all-moves"
	for try in $(seq "${tries:-3}"); do
		"$@"
		cat "$work/moves" >>"$work/all-moves"
		cp "$work/all-moves" "$work/moves"
		if count_moves; then break; fi
		echo "once more, after try $try"
	done
	assert_moved
}

# assert_own_moves MINIMUM PERCENT: the same of a program that moved its own pages (live.h).
assert_own_moves() {
	local moved asked
	moved=$(awk '$1 == "moved" { n += $2 } END { print n + 0 }' "$work/out")
	asked=$(awk '$1 == "asked" { n += $2 } END { print n + 0 }' "$work/out")
	echo "moved $moved of $asked pages asked for"
	[ "$moved" -ge $(($1 / fewer)) ] || fail "only $moved pages moved"
	[ $((moved * 100)) -ge $((asked * $2)) ] || fail "only $moved of $asked pages moved"
}
