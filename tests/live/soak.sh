#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 240
# Random jobs, random moves, programs and agents killed at random, all books checked once a second.
# FERRY_SOAK_MINUTES says for how long, in `make soak` half an hour; else it is 20 seconds.
# FERRY_TEST_SEED repeats the choices, but for what the scheduler adds.
. "$(dirname "$0")/lib.sh" || exit 1

seconds=20
seed=1
if [ -n "${FERRY_SOAK:-}" ]; then
	seconds=$((${FERRY_SOAK_MINUTES:-30} * 60))
	seed=$RANDOM
fi
unset FERRY_SOAK FERRY_TEST_MANAGED
# A Python that is killed leaves semaphores behind: in a /dev/shm of our own, where we may have one.
own_shm=()
[ "$(id -u)" -ne 0 ] || own_shm=(unshare --mount --propagation private
	sh -c 'mount -t tmpfs shm /dev/shm && exec "$@"' sh)
"${own_shm[@]}" python3 "$live/soak.py" "$ferry" "$live/jobs.bash" "$work" "$seconds" \
	"${FERRY_TEST_SEED:-$seed}" ||
	fail "the soak found something"
assert_nothing_left
