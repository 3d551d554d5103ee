#!/bin/bash
# SPDX-License-Identifier: MIT
# tests/run itself: failures, timeouts, skips, processes left behind, the plain line, the status.
. "${0%/*}/plant.sh"

run=$source_dir/tests/run

# script GROUP/NAME: an executable test from stdin.
script() {
	put "$1.sh"
	chmod +x "$tree/$1.sh"
}

# expect STATUS: runs the tests of the tree; the output is in $output.
expect() {
	local want=$1 status
	shift
	output=$("$run" --tests "$tree" --build "$tree/build" "$@" 2>&1)
	status=$?
	[ "$status" -eq "$want" ] || fail "status $status, not $want: $output"
}

shows() {
	grep -qE -- "$1" <<<"$output" || fail "'$1' is not in: $output"
}

ends_with() {
	[ "$(tail -n 1 <<<"$output")" = "$1" ] || fail "last line is not '$1': $output"
}

# Nothing to run is no success.
expect 1
ends_with '0 passed, 0 failed, 0 skipped'

script unit/good <<-'END'
	#!/bin/bash
	[ -n "$FERRY_BUILD" ] && [ -n "$FERRY_SOURCE" ] && ! read -r _
END
put unit/lib.sh <<<'exit 1 # sourced by others, no test'
expect 0
shows '^ok    unit/good  [0-9]+\.[0-9][0-9] s$'
ends_with '1 passed, 0 failed, 0 skipped'

script unit/skipped <<-'END'
	#!/bin/bash
	echo first; echo the moon is down; exit 77
END
expect 0
shows '^skip  unit/skipped  the moon is down$'
ends_with '1 passed, 0 failed, 1 skipped'

script unit/bad <<-'END'
	#!/bin/bash
	seq 1 40; exit 3
END
script unit/killed <<-'END'
	#!/bin/bash
	kill -SEGV $$
END
put unit/unbuilt.c <<<'int main(void) { return 0; }'
expect 1
shows '^FAIL  unit/bad .* status 3$'
shows '^      26$'
grep -q '^      25$' <<<"$output" && fail "more than the last 15 lines: $output"
shows '^FAIL  unit/killed '
shows '^FAIL  unit/unbuilt '
[ "$(wc -l <"$tree/build/test-logs/unit/bad.log")" = 40 ] || fail "the log is not whole"
ends_with '1 passed, 3 failed, 1 skipped'
expect 0 unit/good
ends_with '1 passed, 0 failed, 0 skipped'
expect 1 unit/nosuch
rm "$tree"/unit/{bad,killed,skipped}.sh "$tree/unit/unbuilt.c"

# A timeout ends the whole tree, daemons included, and nothing else.
sleep 300 &
bystander=$!
script unit/hangs <<-END
	#!/bin/bash
	# timeout: 1
	trap '' TERM
	(setsid bash -c 'trap "" TERM HUP; echo \$\$ >"$tree/daemon"; sleep 301' &)
	sleep 302 & echo \$! >"$tree/child"
	wait
END
expect 1 unit/hangs
shows '^FAIL  unit/hangs .* status 124$'
shows 'not done after 1 s'
for file in daemon child; do
	kill -0 "$(cat "$tree/$file")" 2>/dev/null && fail "the $file of a test that hung lives on"
done
kill "$bystander" || fail "a process that was no test's has been ended"

# A test that passes but leaves a process behind has failed.
script unit/hangs <<-END
	#!/bin/bash
	setsid sleep 303 >/dev/null 2>&1 & echo \$! >"$tree/daemon"
END
expect 1 unit/hangs
shows 'left behind: [0-9]+ sleep 303'
kill -0 "$(cat "$tree/daemon")" 2>/dev/null && fail "what a test left behind lives on"
exit 0
