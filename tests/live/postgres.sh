#!/bin/bash
# SPDX-License-Identifier: MIT
# guest: its programs are not taken along
# timeout: 240
# PostgreSQL as a user who is not root: initdb, a server whose processes are all ferried in turn,
# pgbench with four clients. The books of pgbench balance, and the server ends in good order.
. "$(dirname "$0")/lib.sh" || exit 1

limit=200
bin=$(echo /usr/lib/postgresql/*/bin | tr ' ' '\n' | tail -n 1)
[ -x "$bin/postgres" ] && [ -x "$bin/pgbench" ] || skip "PostgreSQL is not installed"
data=$work/data
seconds=${FERRY_SOAK:+120}
as_postgres=()
mkdir "$data"
if [ "$(id -u)" = 0 ]; then # whom the server refuses
	build_for_others
	chmod 755 "$work"
	chown postgres "$data"
	as_postgres=(runuser -u postgres --)
	cd / || exit 1
fi

ask() {
	"${as_postgres[@]}" "$bin/psql" -h "$data" -d postgres -XAtqc "$1"
}
answers() {
	has_ended || [ "$(ask 'SELECT 1' 2>/dev/null)" = 1 ]
}
bench() {
	"${as_postgres[@]}" "$bin/pgbench" -h "$data" "$@" postgres >"$work/pgbench" 2>&1 ||
		fail "pgbench: $(cat "$work/pgbench")"
}

run --nodes 2x1G -- "${as_postgres[@]}" "$bin/initdb" -D "$data" -A trust --locale=C --no-sync
start --nodes 2x1G -- "${as_postgres[@]}" "$bin/postgres" -D "$data" -k "$data" \
	-c listen_addresses= -c fsync=off -c shared_buffers=32MB
wait_until 60 answers || fail "the server does not answer"
start_ferry_all 0 1
bench -i -s 2 -q
bench -c 4 -j 2 -n -T "${seconds:-4}"
bench -c 4 -j 2 -n -S -C -t 20 # a new connection, and backend, for each
sums=$(ask "SELECT sum(abalance), (SELECT sum(bbalance) FROM pgbench_branches),
	(SELECT sum(tbalance) FROM pgbench_tellers), (SELECT sum(delta) FROM pgbench_history)
	FROM pgbench_accounts") || fail "psql"
[ "$(tr '|' '\n' <<<"$sums" | sort -u | wc -l)" = 1 ] && [ "$sums" != "|||" ] ||
	fail "the sums differ: $sums"
[ "$(ask 'SELECT count(*) FROM pgbench_accounts')" = 200000 ] || fail "accounts were lost"
ask "CREATE EXTENSION IF NOT EXISTS amcheck;
	SELECT bt_index_check('pgbench_accounts_pkey', true)" ||
	fail "the index is damaged"
stop_ferry
kill -INT "$(head -n 1 "$data/postmaster.pid")" # fast shutdown
finish
assert_moved
grep -q 'database system is shut down' "$work/err" || fail "no clean shutdown"
! grep -E 'PANIC|crash|terminated by signal' "$work/err" || fail "the server complained"
