#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 400
# Ordinary programs - interpreters, compressors, pipelines, make, pictures - in one machine, one
# after the other, while every process is ferried: the same output as bare. jobs.bash has the jobs.
. "$(dirname "$0")/lib.sh" || exit 1

jobs=$live/jobs.bash
limit=${FERRY_SOAK:+1200}
limit=$((${limit:-120} * slow))
cat >"$work/all" <<'SH'
for name in $("$1" list); do
	mkdir -p "$2/$name"
	"$1" "$name" "$2/$name" >"$2/$name.out" 2>"$2/$name.err" || echo "$name $?"
	rm -rf "$2/$name"
done
SH
mkdir "$work/bare" "$work/inside"
bash "$work/all" "$jobs" "$work/bare" >"$work/failed"
awk '$2 != 77' "$work/failed" >"$work/broken"
[ ! -s "$work/broken" ] || fail "bare: $(cat "$work/broken")"
sed 's/^/not installed: /' "$work/failed"
start --nodes 2x512M -- bash "$work/all" "$jobs" "$work/inside"
start_ferry_all 0 1
finish
stop_ferry
cmp "$work/failed" "$work/out" || fail "inside: $(cat "$work/out" "$work"/inside/*.err)"
for bare in "$work"/bare/*.out; do
	name=${bare##*/}
	cmp "$bare" "$work/inside/$name" || fail "the output of ${name%.out} differs"
done
assert_moved
