# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# model.sh - for the scripts of this folder: builds a spin model, verifies it, and tests the test:
# the same model with one rule broken (MUTANT=N) must fail.

command -v spin >/dev/null || { echo "spin is not installed"; exit 77; }
here=$(cd "${0%/*}" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1

# model NAME [DEFINE...]: builds NAME.pml with these choices. -O0: these programs are large and
# short-lived.
model() {
	local pml=$here/$1.pml
	what="$*"
	shift
	spin -a "$@" "$pml" >spin.log 2>&1 || { cat spin.log; exit 1; }
	gcc -O0 -w -DSAFETY -DHC4 -DVECTORSZ=256 -o pan pan.c || exit 1
}

# pan MUTANT: explores every state. => the line that counts errors, and the first error.
explore() {
	MUTANT=$1 ./pan -m100000 >pan.log 2>&1
	if grep -q 'max search depth too small' pan.log || ! grep -q 'errors: ' pan.log; then
		cat pan.log
		echo "$what, mutant $1: not explored to the end"
		exit 1
	fi
	grep -q 'errors: 0' pan.log
}

# The model as it is has no error.
verify() {
	explore 0 || { cat pan.log; echo "$what: has an error"; exit 1; }
	echo "$what: $(sed -n 's/ *\([0-9]*\) states, stored.*/\1/p' pan.log) states"
}

# refute MUTANT...: with the rule of this name broken there is one.
refute() {
	local name number
	for name in "$@"; do
		number=$(sed -n "s/^#define $name *\([0-9][0-9]*\).*/\1/p" "$here/${what%% *}.pml")
		[ -n "$number" ] || { echo "$what: there is no mutant $name"; exit 1; }
		! explore "$number" || { echo "$what: $name goes unnoticed"; exit 1; }
		refuted+=" $name"
		echo "  $name: $(sed -n 's/^pan:1: \([^(]*\).*/\1/p' pan.log | head -n 1)"
	done
}

# Every rule that can be broken was broken; every function that a comment names is there.
complete() {
	local pml=$here/$1.pml name
	for name in $(sed -n 's/^#define \([A-Z_]*\) *[0-9][0-9]* *\/\*.*/\1/p' "$pml"); do
		case $name in
		ROUNDS | EVENTS) continue ;;
		esac
		[[ " $refuted " == *" $name "* ]] || { echo "$1: $name was not tried"; exit 1; }
	done
	for name in $(grep -o '/\*.*\*/\|^ \*.*' "$pml" | grep -oE '[a-z_]+\(\)' | sort -u); do
		case $name in
		'mmap()' | 'munmap()' | 'fork()' | 'read()') continue ;;
		esac
		grep -rqE "\b${name%??}\(" "$root/src" || { echo "$1: no function $name"; exit 1; }
	done
}
refuted=
