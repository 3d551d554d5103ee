#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 600
# One page under everything that a program with two threads can do to it while it is moved.
. "${0%/*}/model.sh"

model page -DUNMAP -DFORK -DMOVES=1
verify
refute NO_RECHECK NO_BACK_OUT READ_UNLOCKED FORK_FORGETS NO_WAKE RETRY_LOCKED ENTER_EARLY KEEP_FRAME
model page -DREMAP -DBOTH -DACTIONS=1
verify
refute NO_FINAL_ERROR NO_REDIRECT OUT_UNREFUSED
model page -DDISCARD -DHOUSE -DMOVES=1
verify
refute NO_GRACE
model page -DPIN
verify
refute IGNORE_PINS
complete page

[ -n "${FERRY_SOAK:-}" ] || exit 0
model page -DUNMAP -DMOVES=2
verify
model page -DREMAP -DMOVES=2
verify
model page -DDISCARD -DHOUSE -DMOVES=2
verify
model page -DFORK -DREMAP -DMOVES=1
verify
