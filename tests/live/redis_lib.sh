# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# redis_lib.sh - what the tests of redis share; sourced after lib.sh.

command -v redis-server >/dev/null && command -v redis-benchmark >/dev/null ||
	skip "redis is not installed"
socket=$work/redis.sock
options=(--port 0 --unixsocket "$socket" --dir "$work" --save "" --enable-debug-command yes
	--daemonize no --logfile "$work/redis.log")
bare_pid=

ask() {
	redis-cli -s "$socket" "$@"
}
answers() {
	[ "$(ask ping 2>/dev/null)" = PONG ]
}
start_bare() {
	redis-server "${options[@]}" >/dev/null 2>&1 &
	bare_pid=$!
	wait_until 60 answers || fail "redis bare"
}
stop_bare() {
	ask shutdown nosave 2>/dev/null
	wait "$bare_pid"
	bare_pid=
}
# In place of lib.sh's: a bare server may be left.
end_bare() {
	local status=$?
	[ -z "$bare_pid" ] || kill "$bare_pid" 2>/dev/null
	(exit "$status")
	cleanup
}
trap end_bare EXIT
