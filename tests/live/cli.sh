#!/bin/bash
# SPDX-License-Identifier: MIT
# Every command: what it prints where, in both forms, and with which status it ends.
. "$(dirname "$0")/lib.sh" || exit 1

# refuse STATUS ARGUMENTS...: that status, one line on stderr, nothing on stdout.
refuse() {
	local want=$1 got
	shift
	timeout $((20 * slow)) "$ferry" "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
	got=$?
	[ "$got" -eq "$want" ] || fail "pageferry $*: status $got, not $want: $(cat "$work/stderr")"
	[ ! -s "$work/stdout" ] || fail "pageferry $*: talk on stdout: $(cat "$work/stdout")"
	[ "$(wc -l <"$work/stderr")" -eq 1 ] ||
		fail "pageferry $*: not one line: $(cat "$work/stderr")"
}

# answer ARGUMENTS...: status 0, something on stdout, nothing on stderr.
answer() {
	timeout $((60 * slow)) "$ferry" "$@" \
		>"$work/stdout" 2>"$work/stderr" </dev/null ||
		fail "pageferry $*: status $?: $(cat "$work/stderr")"
	[ -s "$work/stdout" ] || fail "pageferry $*: nothing on stdout"
	[ ! -s "$work/stderr" ] || fail "pageferry $*: talk on stderr: $(cat "$work/stderr")"
}

# answer_json ARGUMENTS...: the same with --json: documents with a schema version.
answer_json() {
	answer "$@" --json
	json 'all("schema_version" in document for document in documents) and len(documents)' \
		<"$work/stdout" >/dev/null || fail "pageferry $* --json: $(cat "$work/stdout")"
}

# Without any machine of ours.
answer help
for command in run ps maps move mems node stat check dump home doctor; do
	answer help "$command"
	answer "$command" --help
done
answer --version
grep -q '[0-9]\.[0-9]' "$work/stdout" || fail "--version: $(cat "$work/stdout")"
answer_json ps
refuse 2 no-such-command
refuse 2 help no-such-command

for size in -1 12X 1G1 1.5.2G 99999999999999999999 17000000000G '1G,' ''; do
	refuse 2 run --node "ram:$size" -- true
	refuse 2 run --nodes "2x$size" -- true
done
for nodes in 0 -1 1025 2y1G x1G 2x 99999999999 '' 0x1G; do
	refuse 2 run --nodes "$nodes" -- true
done
for node in ram disk:1G ram@x:1G ram:64M,color=red ram:64M,cpus=x ram:64M,cpus= :64M ram:64M:; do
	refuse 2 run --node "$node" -- true
done
refuse 2 run --nodes 2 --node ram:64M -- true
refuse 2 run --nodes 2x64M --policy sometimes -- true
refuse 3 run --nodes 2x64M --policy bind:7 -- true
refuse 2 run --nodes 2x64M --thp maybe -- true
refuse 2 run --nodes 2x64M --max-pause 3 -- true
refuse 2 run --nodes 2x64M --contract other -- true
refuse 2 run --nodes 2x64M --max-count 0 -- true
refuse 2 run --nodes 2x64M --mems 0- -- true
refuse 3 run --nodes 2x64M --mems 2 -- true
refuse 2 run --no-such-option -- true
refuse 2 run --nodes 2x64M
refuse 2 run --nodes

# The pid of this script is a process, but not ours; the largest pid is none.
for command in maps stat check dump home; do
	refuse 2 "$command"
	refuse 2 "$command" x
	refuse 2 "$command" 12x
	refuse 2 "$command" 1 2
	refuse 2 "$command" 1 --no-such-option
	refuse 3 "$command" 8388607
	refuse 5 "$command" $$
done
refuse 2 home $$ --
refuse 2 home $$ --json -- true
refuse 2 doctor $$
refuse 2 move
refuse 2 move $$ --to 0
refuse 2 move $$ --all
refuse 2 move $$ --all --to 0 --max-pause 0
refuse 2 move $$ --all --to 0 --rate fast
refuse 2 move $$ --range 5-3 --to 0
refuse 2 move $$ --range 1000-zz --to 0
refuse 3 move 8388607 --all --to 0
refuse 2 mems
refuse 2 mems x
refuse 3 mems 8388607
refuse 3 mems 8388607 0
refuse 5 mems $$ 0
refuse 2 node
refuse 2 node offline
refuse 2 node offline x
refuse 3 node offline 0 --machine none
refuse 5 move $$ --all --to 0

# With one: a machine of three nodes, of which the last has 2 MiB.
start --node ram:256M --node ram:256M --node ram:2M -- "$programs/pingpong" outside 8192
wait_ready
range=$(cat "$work/ready")
answer_json ps
json "$pid in find('pid')" <"$work/stdout" >/dev/null || fail "ps does not show the program"
answer ps
grep -q "$pid" "$work/stdout" || fail "ps does not show the program"
for command in maps stat check dump home; do
	answer "$command" "$pid"
	answer_json "$command" "$pid"
done
answer_json maps "$pid"
json 'sum(sum(pages) for pages in find("pages") if isinstance(pages, list)) >= 8192' \
	<"$work/stdout" >/dev/null || fail "maps shows too few pages"
answer maps "$pid" --pages "$range"
answer_json maps "$pid" --pages "$range"
json 'sum(pages for pages in find("pages") if isinstance(pages, int)) == 8192' \
	<"$work/stdout" >/dev/null || fail "maps --pages does not add up"
answer stat "$pid" -i 1 -c 2
answer_json stat "$pid" -i 1 -c 2
json 'len(documents) == 2 and sum(find("capacity_bytes")) == 2 * (514 << 20)' \
	<"$work/stdout" >/dev/null || fail "stat: $(cat "$work/stdout")"

answer move "$pid" --range "$range" --to 1
answer_json move "$pid" --range "$range" --to 0
json 'find("moved_pages") == [8192] == find("asked_pages")' <"$work/stdout" >/dev/null ||
	fail "move: $(cat "$work/stdout")"
answer_json move "$pid" --range "$range" --from 1 --to 0
json 'find("moved_pages") == [0]' <"$work/stdout" >/dev/null || fail "--from: $(cat "$work/stdout")"
answer_json move "$pid" --range "$range" --from '0,2' --to 1 --max-pause 200us
refuse 3 move "$pid" --range "$range" --to 3
refuse 3 move "$pid" --range "$range" --from 7 --to 1
refuse 2 move "$pid" --range "$range" --from x --to 1

# More than the target holds: status 1, and the reason.
"$ferry" move "$pid" --range "$range" --to 2 --json >"$work/stdout" 2>"$work/stderr"
[ $? -eq 1 ] || fail "a full node: $(cat "$work/stdout" "$work/stderr")"
json 'find("moved_pages")[0] <= 512 and sum(find("moved_pages") + find("full")) == 8192' \
	<"$work/stdout" >/dev/null || fail "a full node: $(cat "$work/stdout")"

# A slow move, ended by ^C: it says what was done, soon.
"$ferry" move "$pid" --range "$range" --to 0 --json >"$work/stdout" 2>"$work/stderr" || true
bash -c 'trap - INT; exec "$0" move "$1" --range "$2" --to 1 --rate 4M/s --json' \
	"$ferry" "$pid" "$range" >"$work/stdout" 2>"$work/stderr" &
slow=$!
some_have_moved() {
	"$ferry" maps "$pid" --pages "$range" --json |
		json 'any(run["node"] == 1 for runs in find("runs") for run in runs)' >/dev/null
}
wait_until 20 some_have_moved || fail "a move with a rate does not begin"
kill -INT "$slow"
wait "$slow"
[ $? -eq 1 ] || fail "^C: $(cat "$work/stdout" "$work/stderr")"
json 'find("stopped") == [True] and 0 < find("moved_pages")[0] < 8192' <"$work/stdout" >/dev/null ||
	fail "^C: $(cat "$work/stdout" "$work/stderr")"

# Another user may not look.
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	chmod 755 "$work"
	setpriv --reuid=65534 --regid=65534 --clear-groups "$ferry" stat "$pid" \
		>"$work/stdout" 2>"$work/stderr"
	status=$?
	# 4, or 5 where that user cannot even see the machine's folder; never an answer.
	[ "$status" -eq 4 ] || [ "$status" -eq 5 ] || fail "another user: status $status"
fi
answer check "$pid" --host
touch "$work/stop"
finish
