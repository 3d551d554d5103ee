#!/bin/bash
# SPDX-License-Identifier: MIT
# redis-server with an append-only file under load, rewritten by forked children meanwhile, every
# process ferried: a bare server that reads the file finds what the ferried one held.
. "$(dirname "$0")/lib.sh" || exit 1
. "$live/redis_lib.sh"
options+=(--appendonly yes --appendfsync no --auto-aof-rewrite-percentage 0)
requests=${FERRY_SOAK:+2000000}
requests=${requests:-$((25000 / slow))}
rewrites=0

is_rewritten() {
	! ask info persistence | grep -Eq 'aof_rewrite_(in_progress|scheduled):1'
}
rewrite() {
	ask bgrewriteaof >/dev/null
	wait_until 60 is_rewritten || fail "the rewrite does not end"
	ask info persistence | grep -q 'aof_last_bgrewrite_status:ok' || fail "the rewrite failed"
	rewrites=$((rewrites + 1))
}

start --nodes 2x1G -- redis-server "${options[@]}"
wait_until 60 answers || fail "redis inside"
start_ferry_all 0 1
redis-benchmark -s "$socket" -q -n "$requests" -r 40000 -d 200 -P 16 \
	-t set,incr,lpush,rpush,sadd,hset,spop,zadd >"$work/benchmark" &
benchmark=$!
while kill -0 "$benchmark" 2>/dev/null; do rewrite; done
wait "$benchmark" || fail "redis-benchmark: $(cat "$work/benchmark")"
rewrite
ask set last word >/dev/null # also what follows the last rewrite
digest=$(ask debug digest)
[ "$(ask dbsize)" -gt 1000 ] || fail "nothing was stored"
stop_ferry
ask shutdown nosave 2>/dev/null
finish
assert_moved
echo "$rewrites rewrites"

start_bare
[ "$(ask debug digest)" = "$digest" ] || fail "the file differs from what was in memory"
stop_bare
