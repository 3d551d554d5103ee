#!/bin/bash
# SPDX-License-Identifier: MIT
# .ci/run: counts of all stages are added up, skips listed, and no failure is lost.
. "${0%/*}/plant.sh"

mkdir -p "$tree/.ci" "$tree/bin"
cp "$source_dir/.ci/run" "$tree/.ci/run"

# make STAGE prints what the file of that name holds; its last line is the exit status.
put bin/make <<-END
	#!/bin/bash
	head -n -1 "$tree/\$1"
	exit "\$(tail -n 1 "$tree/\$1")"
END
chmod +x "$tree/bin/make"
stage() {
	printf '%s\n' "${@:2}" >"$tree/$1"
}
ci() {
	output=$(PATH=$tree/bin:$PATH bash "$tree/.ci/run" 2>&1)
	status=$?
	last=$(tail -n 1 <<<"$output")
}

for name in lint asan tsan; do
	stage $name "ok    $name/one  0.01 s" '1 passed, 0 failed, 0 skipped' 0
done
stage check 'skip  live/moon  it is down' '10 passed, 0 failed, 1 skipped' 0
ci
[ $status -eq 0 ] || fail "status $status: $output"
[ "$last" = '13 passed, 0 failed, 1 skipped' ] || fail "last line: $last"
sed '1,/^== result/d' <<<"$output" | grep -qx 'skip  live/moon  it is down' ||
	fail "the skip is not among the results: $output"

stage lint 'FAIL  lint/one' '4 passed, 2 failed, 0 skipped' 1
ci
[ $status -eq 1 ] || fail "status $status although tests failed"
[ "$last" = '16 passed, 2 failed, 1 skipped' ] || fail "last line: $last"

# A stage that breaks before it counts, or that counts no failure but fails, is a failure.
stage lint 'cc: error' 2
stage tsan '1 passed, 0 failed, 0 skipped' 1
ci
[ $status -eq 1 ] || fail "status $status although stages broke"
[ "$last" = '12 passed, 2 failed, 1 skipped' ] || fail "last line: $last"
exit 0
