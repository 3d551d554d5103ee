#!/bin/bash
# SPDX-License-Identifier: MIT
# guest: its programs are not taken along
# timeout: 400
# PostgreSQL with 512 MiB of shared buffers: they and the memory of all backends are ferried between
# three nodes with MOVE_ALL, under eight clients. In the middle a backend is killed, and the server
# recovers. The books of pgbench balance.
. "$(dirname "$0")/lib.sh" || exit 1
[ "$(id -u)" -eq 0 ] || skip "MOVE_ALL needs CAP_SYS_NICE"
. "$live/postgres_lib.sh" || exit 1

limit=350
seconds=${FERRY_SOAK:+120}
seconds=${seconds:-10}

# shared_on NODE: pages of the shared buffers that the postmaster has in its page table there.
shared_on() {
	"$ferry" maps "$(head -n 1 "$data/postmaster.pid")" --json |
		json "sum(mapping['pages'][$1] for mapping in documents[0]['mappings']
		if mapping['name'].startswith('/dev/zero'))"
}
backend() {
	ask "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND
		query LIKE 'UPDATE%' LIMIT 1"
}

start_server 3x1G shared_buffers=512MB
bench_well -i -s 20 -q
move_flags=--move-all start_ferry_all 0 1 2
bench_well -c 8 -j 2 -n -T "$seconds"
check_tables 2000000
bench -c 8 -j 2 -n -T "$seconds" & # ends when its server crashes
bench_pid=$!
sleep $((seconds / 4))
victim=$(backend)
[ -n "$victim" ] || fail "no backend"
kill -KILL "$victim"
wait "$bench_pid" && fail "pgbench survives a crash of its server"
wait_until 60 answers || fail "the server does not recover"
bench_well -c 8 -j 2 -n -T "$seconds"
check_tables 2000000
stop_ferry
for node in 2 0 1; do
	"$ferry" move "$(head -n 1 "$data/postmaster.pid")" --all --move-all --to "$node" --json \
		>>"$work/moves"
	[ "$(shared_on "$node")" -gt 1000 ] ||
		fail "node $node has $(shared_on "$node") pages of the shared buffers"
done
check_tables 2000000
stop_server
assert_moved
grep -q 'terminated by signal 9' "$work/err" || fail "no crash"
! grep 'PANIC' "$work/err" || fail "the server complained"
