#!/bin/bash
# SPDX-License-Identifier: MIT
# python3 with threads and forked children, ferried all the time: the same result as bare.
. "$(dirname "$0")/lib.sh" || exit 1

# The interpreter itself: a wrapper script would exec once more behind our back.
python=$(python3 -c 'import sys; print(sys.executable)')
seconds=${FERRY_SOAK:+40}
seconds=${seconds:-$(((3 + slow) / slow))}
"$python" "$live/python_load.py" "$seconds" >"$work/bare" || fail "python3 bare"
start --nodes 2x512M -- "$python" "$live/python_load.py" "$seconds"
start_ferry 0 1
finish
stop_ferry
cmp "$work/bare" "$work/out" || fail "the result differs"
assert_moved
