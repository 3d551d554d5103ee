#!/bin/bash
# SPDX-License-Identifier: MIT
# guest: its programs are not taken along
# timeout: 240
# git gc and git clone, every process ferried in turn: the same objects and refs as before, and fsck
# finds nothing.
. "$(dirname "$0")/lib.sh" || exit 1

command -v git >/dev/null || skip "git is not installed"
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0
commits=${FERRY_SOAK:+3000}
origin=$work/origin
limit=100

# History enough for deltas to be sought: this project's sources, cut off at another line each time.
make_history() {
	git -c init.defaultBranch=main init -q "$origin" || return 1
	python3 "$live/git_history.py" "$FERRY_SOURCE/src" "${commits:-300}" |
		git -C "$origin" fast-import --quiet
}
# describe FOLDER: every ref, and every object with its type and size.
describe() {
	git -C "$1" for-each-ref --format='%(refname:lstrip=-1) %(objectname)' | sort
	git -C "$1" cat-file --batch-all-objects --batch-check | sort
}
# inside CMD...: runs it with all its processes ferried.
inside() {
	start --nodes 2x1G -- "$@"
	start_ferry_all 0 1
	finish
	stop_ferry
	cat "$work/moves" >>"$work/job-moves"
}

make_history || fail "git fast-import"
describe "$origin" >"$work/before"
job() {
	rm -rf "$work/clone" "$work/job-moves"
	inside git -C "$origin" gc --quiet --aggressive --prune=now
	describe "$origin" >"$work/after"
	cmp "$work/before" "$work/after" || fail "gc changed the repository"
	inside git clone --quiet --no-local --mirror "$origin" "$work/clone"
	describe "$work/clone" >"$work/cloned"
	cmp "$work/before" "$work/cloned" || fail "the clone differs"
	inside git -C "$work/clone" fsck --full --strict --no-progress
	for repository in "$origin" "$work/clone"; do
		git -C "$repository" fsck --full --strict --no-progress ||
			fail "fsck of $repository"
	done
	mv "$work/job-moves" "$work/moves"
}
until_moved job
