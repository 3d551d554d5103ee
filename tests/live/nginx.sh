#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 240
# nginx with two workers, under load from wrk, while the master and the workers are ferried; started
# by root its workers are another user's. Every answer is whole.
. "$(dirname "$0")/lib.sh" || exit 1

nginx=$(command -v nginx || echo /usr/sbin/nginx)
[ -x "$nginx" ] && command -v wrk >/dev/null || skip "nginx or wrk is not installed"
seconds=${FERRY_SOAK:+120}
user=
if [ "$(id -u)" = 0 ]; then
	build_for_others
	user="user nobody nogroup;"
fi
chmod 755 "$work"
mkdir -m 755 "$work/files" "$work/body"
chmod 777 "$work/body"
seq 1 60000 >"$work/files/numbers.txt"
seq 1 300 >"$work/files/small.txt"
chmod 644 "$work"/files/*

port=$(python3 -c 'import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
cat >"$work/nginx.conf" <<CONF
$user
daemon off;
worker_processes 2;
pid $work/nginx.pid;
error_log stderr warn;
events { worker_connections 256; }
http {
	access_log off;
	gzip on;
	gzip_types *;
	gzip_min_length 0;
	sendfile off;
	client_body_temp_path $work/body;
	proxy_temp_path $work/body;
	fastcgi_temp_path $work/body;
	uwsgi_temp_path $work/body;
	scgi_temp_path $work/body;
	server { listen 127.0.0.1:$port; root $work/files; }
}
CONF

# fetch FILE: compressed on the way, as often as asked; the content must be the file's.
fetch() {
	python3 - "http://127.0.0.1:$port/$1" "$work/files/$1" "$2" <<'PYTHON'
import gzip
import sys
import urllib.request

expected = open(sys.argv[2], "rb").read()
for _ in range(int(sys.argv[3])):
    request = urllib.request.Request(sys.argv[1], headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        if gzip.decompress(answer.read()) != expected:
            sys.exit("the answer differs from the file")
PYTHON
}
answers() {
	has_ended || fetch small.txt 1 2>/dev/null
}
count_workers() {
	pgrep -c -P "$pid" -x nginx
}

start --nodes 2x256M -- "$nginx" -p "$work" -c "$work/nginx.conf"
wait_until 60 answers || fail "no answer"
[ "$(count_workers)" = 2 ] || fail "there are not two workers"
start_ferry_all 0 1
wrk -t 2 -c 16 -d "${seconds:-4}" -H 'Accept-Encoding: gzip' --timeout 60 \
	"http://127.0.0.1:$port/small.txt" >"$work/wrk" || fail "wrk: $(cat "$work/wrk")"
fetch numbers.txt 10 || fail "numbers.txt"
kill -HUP "$pid" # new workers take over
fetch small.txt 50 || fail "small.txt"
wrk -t 2 -c 8 -d 1 --timeout 60 "http://127.0.0.1:$port/numbers.txt" >>"$work/wrk" || fail "wrk"
stop_ferry
kill -QUIT "$pid"
finish
cat "$work/wrk"
! grep -E 'Non-2xx|Socket errors' "$work/wrk" || fail "answers were missing"
[ "$(awk '/requests in/ { n += $1 } END { print n + 0 }' "$work/wrk")" -gt 100 ] ||
	fail "few answers"
! grep -E 'alert|emerg|crit|exited on signal' "$work/err" || fail "the server complained"
assert_moved
