#!/bin/bash
# SPDX-License-Identifier: MIT
# Shared memory on nodes: memfd, POSIX, System V, anonymous; what stays of it, and what it costs.
. "$(dirname "$0")/lib.sh" || exit 1

[ "$(id -u)" -eq 0 ] || skip "MOVE_ALL needs CAP_SYS_NICE"
[ "$(nproc)" -ge 2 ] || skip "needs two CPUs"
run --node ram:256M,cpus=0 --node ram:256M,cpus=1 --node ram:256M -- "$programs/objects"
grep -qx ok "$work/err" || fail "$(cat "$work/err")"
