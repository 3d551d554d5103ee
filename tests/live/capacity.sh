#!/bin/bash
# SPDX-License-Identifier: MIT
# guest: what is sampled ends before emulation has taken a sample
# Node capacities are limits over all processes of a machine, as seen from outside.
. "$(dirname "$0")/lib.sh" || exit 1

mib=256 # pages in a MiB
# Node 0 is the nearest one from every CPU.
all_cpus=cpus=0-$(($(nproc --all) - 1))

nodes_of() {
	awk -v node="node$1" '$1 == node { n += $2 } END { print n + 0 }' "$work"/out*
}

# watch LASTING MODE MIB: three such loads on three nodes, sampled from outside.
watch() {
	start --nodes 3x96M -- sh -c \
		'for i in 1 2; do "$0" "$1" "$2" & done; "$0" "$1" "$2" && wait %1 && wait %2' \
		"$programs/capacity" "$2" "$3"
	python3 "$live/pss.py" "$work/stop" "$ferry" "$1" || fail "$2: more memory than there is"
	finish
}

# 1. Blocks come and go in three processes.
watch 0 churn 36
# 2. Children copy pages unseen; that is charged within a second, and shows as over until then.
watch 2.5 fork 24

# 3. The nearest node fills up, the next one is used.
start --node "ram:64M,$all_cpus" --node ram:256M -- "$programs/capacity" fill 128
wait_ready
touch "$work/stop"
finish
[ "$(nodes_of 0)" -le $((64 * mib)) ] || fail "node 0 holds $(nodes_of 0) pages of 64 MiB"
[ $(($(nodes_of 0) + $(nodes_of 1))) -eq $((128 * mib)) ] || fail "pages are missing"
[ "$(nodes_of 0)" -ge $((32 * mib)) ] || fail "node 0 holds only $(nodes_of 0) pages"

# 4. One capacity for two processes.
start --node "ram:64M,$all_cpus" --node ram:256M -- sh -c \
	'"$0" fill 48 >"$1/out1" & "$0" fill 48 >"$1/out2" && wait $!' "$programs/capacity" "$work"
wait_until 60 sh -c "[ \$(cat '$work'/out? | grep -c node1) -eq 2 ]" || fail "no end of filling"
touch "$work/stop"
finish
[ "$(nodes_of 0)" -le $((64 * mib)) ] || fail "node 0 holds $(nodes_of 0) pages of 64 MiB"
[ $(($(nodes_of 0) + $(nodes_of 1))) -eq $((96 * mib)) ] || fail "pages are missing"

# 5. Everything full: killed, after one line that shows the nodes. The machine lives on for others.
rm -f "$work"/out?
timeout -k 5 "$limit" "$ferry" run --nodes 2x48M -- "$programs/capacity" full \
	>"$work/out" 2>"$work/err" </dev/null
status=$?
[ "$status" -eq 137 ] || fail "full nodes: status $status, not 137"
[ "$(wc -l <"$work/err")" -eq 1 ] || fail "full nodes: not one line: $(cat "$work/err")"
grep -q '48' "$work/err" || fail "full nodes: no sizes in: $(cat "$work/err")"
cat "$work/err"
timeout -k 5 "$limit" "$ferry" run --nodes 2x48M -- \
	sh -c '"$0" full; echo "$?"; "$0" fill 16 >/dev/null; echo "$?"' "$programs/capacity" \
	>"$work/out" 2>/dev/null </dev/null 3<"$work/stop"
[ "$(tr '\n' ' ' <"$work/out")" = "137 0 " ] || fail "after a kill: $(cat "$work/out")"
