#!/bin/bash
# SPDX-License-Identifier: MIT
# Pages that processes share since a fork move for all of them, or for nobody.
. "$(dirname "$0")/lib.sh" || exit 1

[ "$(id -u)" -eq 0 ] || skip "MOVE_ALL needs CAP_SYS_NICE"
run --nodes 3x64M -- "$programs/shared"
grep -qx ok "$work/err" || fail "$(cat "$work/err")"
run --node ram:8M --node ram:64M -- "$programs/shared" full
grep -qx ok "$work/err" || fail "$(cat "$work/err")"
run --nodes 3x64M -- "$programs/shared" storm
grep -qx ok "$work/err" || fail "$(cat "$work/err")"
grep moves "$work/err"
