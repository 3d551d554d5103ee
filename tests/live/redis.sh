#!/bin/bash
# SPDX-License-Identifier: MIT
# redis-server under load, with BGSAVE, ferried all the time: nothing is lost, neither in memory
# nor in the dump that its forked children write.
. "$(dirname "$0")/lib.sh" || exit 1
. "$live/redis_lib.sh"
options+=(--databases 2)

# The same data every time: strings, lists, hashes.
fill_redis() {
	awk -v count="$((60000 / slow))" 'BEGIN {
		for (i = 0; i < count; i++) {
			printf "SET string:%d %0200d\n", i, i * 7919 % 1000003
			printf "RPUSH list:%d %0100d\n", i % 500, i
			printf "HSET hash:%d field:%d %0100d\n", i % 3000, i, i * 31
		}
	}' | ask --pipe >/dev/null || fail "filling redis"
}
save_in_background() {
	ask bgsave >/dev/null
	wait_until 60 is_saved || fail "BGSAVE does not end"
	ask info persistence | grep -q 'rdb_last_bgsave_status:ok' || fail "BGSAVE failed"
}
is_saved() {
	ask info persistence | grep -q 'rdb_bgsave_in_progress:0'
}

# Bare, for comparison.
start_bare
fill_redis
bare_digest=$(ask debug digest)
stop_bare

start --nodes 2x1G -- redis-server "${options[@]}"
wait_until 60 answers || fail "redis inside"
start_ferry 0 1
fill_redis
save_in_background
[ "$(ask debug digest)" = "$bare_digest" ] || fail "the digest differs from the bare server's"
redis-benchmark -s "$socket" -q -n $((50000 / slow)) -r 50000 -d 256 -P 16 \
	-t set,get,lpush,hset >"$work/benchmark" &
benchmark=$!
for _ in 1 2; do save_in_background; done
wait "$benchmark" || fail "redis-benchmark: $(cat "$work/benchmark")"
digest=$(ask debug digest)
save_in_background
[ "$(ask debug digest)" = "$digest" ] || fail "the digest changed with nobody writing"
stop_ferry
ask shutdown nosave 2>/dev/null
finish
assert_moved

# What the forked child wrote is what the parent held.
start_bare
[ "$(ask debug digest)" = "$digest" ] || fail "the dump differs from what was in memory"
stop_bare
