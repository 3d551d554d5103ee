#!/bin/bash
# SPDX-License-Identifier: MIT
# guest: its programs are not taken along
# timeout: 240
# PostgreSQL as a user who is not root: initdb, a server whose processes are all ferried in turn,
# pgbench with four clients. The books of pgbench balance, and the server ends in good order.
. "$(dirname "$0")/lib.sh" || exit 1
. "$live/postgres_lib.sh" || exit 1

limit=200
seconds=${FERRY_SOAK:+120}
start_server 2x1G shared_buffers=32MB
start_ferry_all 0 1
bench_well -i -s 2 -q
bench_well -c 4 -j 2 -n -T "${seconds:-4}"
bench_well -c 4 -j 2 -n -S -C -t 20 # a new connection, and backend, for each
check_tables 200000
stop_ferry
stop_server
assert_moved
! grep -E 'PANIC|crash|terminated by signal' "$work/err" || fail "the server complained"
