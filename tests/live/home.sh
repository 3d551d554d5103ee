#!/bin/bash
# SPDX-License-Identifier: MIT
# home: under a hold no page is away, however many moves wait; and they go on when it ends.
. "$(dirname "$0")/lib.sh" || exit 1

[ "$("$ferry" doctor --json | json 'documents[0]["usable"]')" = True ] || skip "no userfaultfd"
start --nodes 3x256M -- "$programs/pingpong" outside 8192
wait_ready
range=$(cat "$work/ready")
mover_what=(--range "$range")
start_ferry 0 1 2

# Each page of the range through /proc/PID/mem, which does not wait for pages that are away: a read
# of an absent page is an error. => status 1 with the number of errors.
cat >"$work/read.py" <<'END'
import sys
pid, text = int(sys.argv[1]), sys.argv[2]
start, length = (int(part, 0) for part in text.split("+"))
end = start + length
bad = 0
with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
    for _ in range(int(sys.argv[3])):
        for address in range(start, end, 4096):
            try:
                memory.seek(address)
                memory.read(8)
            except OSError:
                bad += 1
print(bad)
sys.exit(1 if bad else 0)
END
moved() {
	sed 's/.*"moved_pages":\([0-9]*\).*/\1/' "$work/moves" |
		awk '{ n += $1 } END { print n + 0 }'
}
moves_pass() {
	[ "$(moved)" -gt "$1" ]
}
wait_until 30 moves_pass 8192 || fail "nothing moves"
# Without a hold the reader meets pages that are away: else what follows would prove nothing.
meets_one() {
	! python3 "$work/read.py" "$pid" "$range" 4 >"$work/bad"
}
wait_until 60 meets_one || fail "no reader ever met a page that was away"
"$ferry" home "$pid" --json >"$work/home" || fail "home: status $?"
json 'documents[0]["away_pages"] >= 0' <"$work/home" >/dev/null || fail "$(cat "$work/home")"
for _ in 1 2 3; do
	before=$(moved)
	"$ferry" home "$pid" -- python3 "$work/read.py" "$pid" "$range" 4 >"$work/bad" ||
		fail "under a hold, absent pages were met: $(cat "$work/bad")"
	wait_until 30 moves_pass "$before" || fail "moves do not go on after a hold"
done

# Two holds at once; the first one's end does not end the second. A killed holder's does.
until_over='while [ -d "$0" ] && [ ! -e "$0/over" ]; do sleep 0.1; done'
"$ferry" home "$pid" -- sh -c "$until_over" "$work" &
first=$!
"$ferry" home "$pid" -- python3 "$work/read.py" "$pid" "$range" 4 >"$work/bad" ||
	fail "under two holds: $(cat "$work/bad")"
held() {
	"$ferry" dump "$pid" | grep -q ' gate=1 '
}
wait_until 10 held || fail "the first hold ended: $("$ferry" dump "$pid" | grep gate)"
before=$(moved)
kill -9 "$first"
wait "$first" 2>/dev/null
wait_until 30 moves_pass "$before" || fail "moves do not go on after their holder was killed"

touch "$work/over"

# Its exit status is the command's.
"$ferry" home "$pid" -- sh -c 'exit 7'
[ $? -eq 7 ] || fail "not the command's status"
"$ferry" home "$pid" -- /nonexistent 2>/dev/null
[ $? -eq 127 ] || fail "a command that is not there"
"$ferry" check "$pid" || fail "check"
stop_ferry
touch "$work/stop"
finish
