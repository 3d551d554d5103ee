#!/bin/bash
# SPDX-License-Identifier: MIT
# tools/setup: what it says without rights, and that it installs what is missing and nothing else.
. "${0%/*}/plant.sh"

# fake NAME: a command of the tree's bin folder from stdin.
fake() {
	put "bin/$1"
	chmod +x "$tree/bin/$1"
}

# A host with everything but meson and sqlite3, where apt-get notes what it is asked for.
fake dpkg-query <<-END
	#!/bin/bash
	case "\${!#}" in
	meson | sqlite3) [ ! -e "$tree/done" ] && exit 1 ;;
	esac
	echo installed
END
fake apt-get <<-END
	#!/bin/bash
	echo "\$*" >>"$tree/asked"
	if [[ " \$* " == *" install "* ]]; then
		: >"$tree/done"
		"$tree/policy" redis-server start
		echo \$? >"$tree/policy-said"
	fi
	exit 0
END
fake id <<<'#!/bin/bash
echo "${FAKE_UID:?}"'
fake sudo <<<'#!/bin/bash
exit 1'
setup() {
	POLICY_RC_D=$tree/policy PATH=$tree/bin:$PATH FAKE_UID=$uid "$tools/setup" "$1" 2>&1
}

uid=1000
output=$(setup check) && fail "no rights, and yet it passed"
[ "$(wc -l <<<"$output")" = 1 ] || fail "more than one line: $output"
grep -q 'missing.*: meson sqlite3$' <<<"$output" || fail "does not name what is missing: $output"
[ ! -e "$tree/asked" ] || fail "called apt-get without rights"
setup nosuch >/dev/null && fail "accepts an unknown job"

uid=0
output=$(setup build) || fail "as root: $output"
grep -q 'install --no-install-recommends meson$' "$tree/asked" ||
	fail "asked apt-get for: $(cat "$tree/asked")"
[ "$(cat "$tree/policy-said")" = 101 ] || fail "services may start while packages are installed"
[ ! -e "$tree/policy" ] || fail "the ban on services outlives the installation"
rm "$tree/asked"
output=$(setup build) || fail "with all there: $output"
[ -z "$output" ] || fail "not silent when nothing is missing: $output"
[ ! -e "$tree/asked" ] || fail "called apt-get although nothing is missing"
exit 0
