#!/bin/bash
# SPDX-License-Identifier: MIT
# Queries without a lock, and events that are read and not in the books yet.
. "${0%/*}/model.sh"

model settle
verify
refute NO_SETTLING RAISED_LATE LOWERED_EARLY NO_WAITING
complete settle
