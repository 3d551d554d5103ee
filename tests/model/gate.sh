#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# The gate that fork() closes.
. "${0%/*}/model.sh"

model gate
verify
refute NO_CHECK NO_WAIT NO_BRING_HOME LAND_SILENT OPEN_SILENT NO_COMPARE LEASE_BLIND
complete gate
