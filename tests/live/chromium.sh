#!/bin/bash
# SPDX-License-Identifier: MIT
# guest: its programs are not taken along
# timeout: 240
# Chromium without a screen renders a file of ours, all its processes ferried in turn: the same
# picture as bare.
. "$(dirname "$0")/lib.sh" || exit 1

command -v chromium >/dev/null || skip "chromium is not installed"
limit=200
rounds=${FERRY_SOAK:+60}
flags=(--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
	--disable-background-networking --disable-component-update --disable-sync
	--disable-dev-shm-usage --hide-scrollbars --window-size=800,600)
page=file://$live/chromium.html#${rounds:-2}
unset DISPLAY WAYLAND_DISPLAY
export DBUS_SESSION_BUS_ADDRESS=disabled: HOME=$work

chromium "${flags[@]}" --user-data-dir="$work/bare-data" --screenshot="$work/bare.png" "$page" \
	>"$work/bare.log" 2>&1 || fail "chromium bare: $(tail -n 5 "$work/bare.log")"
[ -s "$work/bare.png" ] || fail "chromium bare made no picture: $(tail -n 5 "$work/bare.log")"
# Two pictures without what the script draws would be the same, too.
chromium "${flags[@]}" --user-data-dir="$work/dom-data" --dump-dom "$page" \
	>"$work/dom" 2>"$work/dom.log" || fail "chromium bare: $(tail -n 5 "$work/dom.log")"
grep -qE '>digest -?[1-9]' "$work/dom" || fail "the script of the page does not run"
ferry_chromium() {
	rm -rf "$work/inside.png" "$work/data"
	start --nodes 2x2G -- chromium "${flags[@]}" --user-data-dir="$work/data" \
		--screenshot="$work/inside.png" "$page"
	start_ferry_all 0 1
	finish
	stop_ferry
	cmp "$work/bare.png" "$work/inside.png" || fail "the picture differs"
}
until_moved ferry_chromium
