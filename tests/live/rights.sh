#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 300
# Programs that give up their rights stay on the machine; who has none gets one clear line.
. "$(dirname "$0")/lib.sh" || exit 1

[ "$(id -u)" -eq 0 ] || skip "needs root, to give up its rights"
build_for_others

run --nodes 3x64M -- "$programs/rights"
[ "$(grep -c moved "$work/out")" -eq 4 ] || fail "$(cat "$work/out")"
run --nodes 3x64M -- "${as_nobody[@]}" sh -c 'grep -q pageferry-preload /proc/self/maps'

# Who may read the device has a machine of his own, where the kernel tells nobody of a fork. It is
# made readable where only these programs see it.
cat >"$work/readable" <<'END'
mknod -m 0444 "$1/userfaultfd" c 10 "$2" || exit 77
mount --bind "$1/userfaultfd" /dev/userfaultfd || exit 77
shift 2
exec setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs "$@"
END
chmod 755 "$work"
mkdir -m 1777 "$work/nobody"
minor=$(awk '$2 == "userfaultfd" { print $1 }' /proc/misc)
reader() {
	rm -f "$work/userfaultfd"
	env "TMPDIR=$work/nobody" "FERRY_TEST_READY=$work/nobody/ready" FERRY_TEST_NO_EVENTS=1 \
		timeout -k 5 "$limit" \
		unshare -m sh "$work/readable" "$work" "${minor:-none}" "$@"
}
# nobodys COMMAND...: on nobody's machine, to its end.
nobodys() {
	rm -f "$work/stop"
	reader "$ferry" run --nodes 3x256M -- "$@" >"$work/out" 2>"$work/err" </dev/null ||
		fail "nobody's $1: status $?"
	assert_nothing_left
}
if reader sh -c ': </dev/userfaultfd' 2>"$work/err"; then
	reader "$ferry" doctor >"$work/out" 2>"$work/err"
	[ $? -le 1 ] || fail "doctor: $(cat "$work/out")"
	grep -q '^ok .*/dev/userfaultfd, faults inside system calls included' "$work/out" ||
		fail "doctor does not say so: $(cat "$work/out")"
	FERRY_TEST_SECONDS=2 FERRY_TEST_MOVES=20000 nobodys "$programs/pingpong" 2048
	assert_own_moves 20000 50
	FERRY_TEST_SECONDS=2 nobodys "$programs/fork"
	assert_own_moves 4096 0
	nobodys "$programs/corners" storm
	nobodys "$programs/corners" clones
	nobodys sh -c 'sort -R /etc/passwd | sort'
	sort /etc/passwd | cmp -s - "$work/out" || fail "a pipeline of nobody's"
else
	echo "no device of userfaultfd can be made here: $(cat "$work/err")"
fi

# Without any way to a userfaultfd: 125, and what to do about it.
if [ "$(cat /proc/sys/vm/unprivileged_userfaultfd)" = 0 ] &&
	! "${as_nobody[@]}" test -r /dev/userfaultfd; then
	"${as_nobody[@]}" "$ferry" run --nodes 2x64M -- true >"$work/out" 2>"$work/err"
	status=$?
	[ "$status" -eq 125 ] || fail "no right to a userfaultfd: status $status, not 125"
	[ "$(wc -l <"$work/err")" -eq 1 ] || fail "not one line: $(cat "$work/err")"
fi
