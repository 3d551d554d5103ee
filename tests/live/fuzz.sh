#!/bin/bash
# SPDX-License-Identifier: MIT
# mmap, munmap, mremap, madvise and mprotect at random against a model, while pages move from
# inside and outside.
. "$(dirname "$0")/lib.sh" || exit 1

start --nodes 3x256M -- "$programs/fuzz"
wait_ready
start_ferry 0 1 2
finish
stop_ferry
grep -E 'seed|operations' "$work/err"
moved=$(awk '$1 == "moved" { n += $2 } END { print n + 0 }' "$work/out")
echo "moved $moved from inside, $(json 'sum(find("moved_pages"))' <"$work/moves") from outside"
[ "$moved" -ge $((100000 / fewer)) ] || fail "only $moved pages moved"
