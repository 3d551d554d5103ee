#!/bin/bash
# SPDX-License-Identifier: MIT
# A page of an object that two processes map, one of which dies.
. "${0%/*}/model.sh"

model objects
verify
refute TELL_LATE NO_SETTLE LAST_WINS NOT_GIVEN LEASE_STAYS MOVE_FREE MOVE_KEEPS CUT_CHARGED
complete objects
