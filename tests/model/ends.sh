#!/bin/bash
# SPDX-License-Identifier: MIT
# Two movers with opposite targets, whose program and callers end at any instant.
. "${0%/*}/model.sh"

model ends
verify
refute TAKE_BUSY CANCEL_AWAY KEEP_TARGET NO_CLOSE NO_RELEASE RELEASE_TWICE ANSWER_TARGET
complete ends
