# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# postgres_lib.sh - PostgreSQL as a user who is not root; sourced after lib.sh.

bin=$(echo /usr/lib/postgresql/*/bin | tr ' ' '\n' | tail -n 1)
[ -x "$bin/postgres" ] && [ -x "$bin/pgbench" ] || skip "PostgreSQL is not installed"
data=$work/data
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
	"${as_postgres[@]}" "$bin/pgbench" -h "$data" "$@" postgres >"$work/pgbench" 2>&1
}
bench_well() {
	bench "$@" || fail "pgbench: $(cat "$work/pgbench")"
}

# start_server NODES SETTING...: in a machine, from a new data folder.
start_server() {
	local nodes=$1 settings=()
	shift
	while [ $# -gt 0 ]; do
		settings+=(-c "$1")
		shift
	done
	run --nodes "$nodes" -- "${as_postgres[@]}" "$bin/initdb" -D "$data" -A trust \
		--locale=C --no-sync
	start --nodes "$nodes" -- "${as_postgres[@]}" "$bin/postgres" -D "$data" -k "$data" \
		-c listen_addresses= -c fsync=off "${settings[@]}"
	wait_until 60 answers || fail "the server does not answer"
}

# check_tables ACCOUNTS: the books of pgbench balance, nothing is lost, the index is sound.
check_tables() {
	local sums
	sums=$(ask "SELECT sum(abalance), (SELECT sum(bbalance) FROM pgbench_branches),
		(SELECT sum(tbalance) FROM pgbench_tellers),
		(SELECT sum(delta) FROM pgbench_history) FROM pgbench_accounts") || fail "psql"
	[ "$(tr '|' '\n' <<<"$sums" | sort -u | wc -l)" = 1 ] && [ "$sums" != "|||" ] ||
		fail "the sums differ: $sums"
	[ "$(ask 'SELECT count(*) FROM pgbench_accounts')" = "$1" ] || fail "accounts were lost"
	ask "CREATE EXTENSION IF NOT EXISTS amcheck;
		SELECT bt_index_check('pgbench_accounts_pkey', true)" ||
		fail "the index is damaged"
}

stop_server() {
	kill -INT "$(head -n 1 "$data/postmaster.pid")" # fast shutdown
	finish
	grep -q 'database system is shut down' "$work/err" || fail "no clean shutdown"
}
