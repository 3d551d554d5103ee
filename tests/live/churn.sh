#!/bin/bash
# SPDX-License-Identifier: MIT
# Processes join and leave by the hundred, some of them killed: neither keeper nor machine keeps
# anything of them.
. "$(dirname "$0")/lib.sh" || exit 1

rounds=${FERRY_SOAK:+60}
rounds=${rounds:-3}
times=$((slow > 1 ? 8 : 30))
mkfifo "$work/go" "$work/done"
start --nodes 3x256M -- bash -c '
	while read -r line <"$0/go"; do
		for i in $(seq "$1"); do
			/bin/true
			(:)
			(kill -KILL "$BASHPID")
			dd if=/dev/zero of=/dev/null bs=1M count=4 2>/dev/null
		done
		echo done >"$0/done"
	done' "$work" "$times"
keeper=$("$ferry" ps --json | json "next(machine['keeper_pid'] for machine in
	documents[0]['machines'] if $pid in walk(machine, 'pid'))")
count_processes() {
	"$ferry" ps --json | json "next(len(machine['processes']) for machine in
		documents[0]['machines'] if machine['keeper_pid'] == $keeper)"
}
is_alone() {
	[ "$(count_processes)" -eq 1 ]
}
descriptors() {
	local all=(/proc/"$keeper"/fd/*)
	echo "${#all[@]}"
}
resident() {
	awk '/^VmRSS/ { print $2 }' "/proc/$keeper/status"
}
mappings() {
	wc -l <"/proc/$keeper/maps"
}
used() {
	"$ferry" stat "$pid" --json | json 'sum(find("used_bytes"))'
}
one_round() {
	echo go >"$work/go"
	read -r _ <"$work/done" || fail "no answer"
	wait_until 30 is_alone || fail "$(count_processes) processes are left"
}
one_round
before_fds=$(descriptors)
before_rss=$(resident)
before_mappings=$(mappings)
before_used=$(used)
for _ in $(seq "$rounds"); do one_round; done
fds_are_back() {
	[ "$(descriptors)" -le "$before_fds" ]
}
wait_until 10 fds_are_back || fail "the keeper has $(descriptors) descriptors, before $before_fds"
leases_are_back() {
	[ "$(used)" -le $((before_used + (8 << 20))) ]
}
wait_until 10 leases_are_back || fail "leases are lost: $(used) bytes in use, before $before_used"
[ "$(resident)" -le $((before_rss + 512)) ] ||
	fail "the keeper grew from $before_rss to $(resident) KiB"
[ "$(mappings)" -le "$before_mappings" ] ||
	fail "the keeper has $(mappings) mappings, before $before_mappings"
echo "$((4 * times * (rounds + 1))) processes; keeper: $(descriptors) descriptors, $(resident) KiB"
: >"$work/stop"
kill -TERM "$pid"
finish 143
