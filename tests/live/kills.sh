#!/bin/bash
# SPDX-License-Identifier: MIT
# Agents, programs and at last the keeper are killed at any instant, while the pages of several
# self-checking programs move: the others go on, agents come again, and the books balance.
. "$(dirname "$0")/lib.sh" || exit 1

count=3
kills=${FERRY_SOAK:+300}
kills=${kills:-$((slow > 1 ? 7 : 14))}

start --nodes 3x256M -- bash -c \
	'for name in $(seq "$3"); do "$1" "$2" "$name" & done; wait; true' \
	bash "$programs/survivor" "$work" "$count"
root=$pid
under_way() {
	for name in $(seq "$count"); do [ -s "$work/$name.pid" ] || return 1; done
}
wait_until 60 under_way || fail "the programs do not start"
python3 "$live/kills.py" "$ferry" "$work" "$count" "$kills" >"$work/alive" || fail "see above"
{ read -r -a alive && read -r keeper; } <"$work/alive"
pid_of() {
	cat "$work/$1.pid"
}

# What killed programs had is there again, and all books balance.
pids_in_machine() {
	"$ferry" ps --json | json "' '.join(str(process['pid']) for machine in
		documents[0]['machines'] if $root in walk(machine, 'pid')
		for process in machine['processes'])"
}
only_the_living() {
	local name process in_machine
	in_machine=" $(pids_in_machine) "
	for name in $(seq "$count"); do
		process=$(pid_of "$name")
		if [[ " ${alive[*]} " == *" $name "* ]]; then
			[[ "$in_machine" == *" $process "* ]] || return 1
		else
			[[ "$in_machine" != *" $process "* ]] || return 1
		fi
	done
}
wait_until 20 only_the_living || fail "$(pids_in_machine) are in the machine, not ${alive[*]}"
for name in "${alive[@]}"; do
	"$ferry" check "$(pid_of "$name")" >"$work/check" || fail "check: $(cat "$work/check")"
done
# A program takes some 10 MiB; leases run ahead of need.
leased=$("$ferry" stat "$root" --json | json 'sum(find("used_bytes"))')
[ "$leased" -lt $((${#alive[@]} * (100 << 20))) ] || fail "leases are lost: $leased bytes used"

# The keeper, in the middle of moves; and then an agent that nobody will replace.
wait_for_agent "$(pid_of "${alive[0]}")"
kill -KILL "$keeper" || fail "no keeper"
wait_until 20 is_gone "$keeper" || fail "the keeper does not end"
sleep 0.3
kill -KILL "$agent" || fail "the agent ended with its keeper"
sleep 0.3
touch "$work/stop"
all_ok() {
	for name in "${alive[@]}"; do [ -s "$work/$name.ok" ] || return 1; done
}
wait_until 60 all_ok || fail "not all went on without a keeper: $(ls "$work")"
wait "$run_pid"
run_pid=
assert_nothing_left
[ "$(grep -c 'keeper.*was killed' "$work/err")" -eq 1 ] ||
	fail "of the keeper's end was not told once: $(cat "$work/err")"
if grep -v -e 'was killed' -e ' Killed ' "$work/err"; then fail "more was said"; fi
homes=$(awk '{ for (i = 2; i <= NF; i++) if ($i == "pages") n += $(i - 1) } END { print n + 0 }' \
	"$work/err")
echo "$kills kills; $homes pages brought home"
[ "$homes" -gt 0 ] || fail "no kill met a page that was away"
