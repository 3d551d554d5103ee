#!/bin/bash
# SPDX-License-Identifier: MIT
# guest: its programs are not taken along
# timeout: 240
# OpenJDK sorts under two of its collectors, ferried all the time: the same results as bare.
. "$(dirname "$0")/lib.sh" || exit 1

command -v java >/dev/null || skip "OpenJDK is not installed"
limit=200
rounds=${FERRY_SOAK:+60}
size=200000
java -m jdk.compiler/com.sun.tools.javac.Main -d "$work" "$live/java_sort.java" ||
	fail "the compiler"
ferry_sort() {
	rm -f "$work/gc.log"
	start --nodes 2x1G -- "${command[@]}"
	start_ferry 0 1
	finish
	stop_ferry
	cmp "$work/bare" "$work/out" || fail "$collector: the result differs"
	grep -q Pause "$work/gc.log" || fail "$collector: nothing was collected"
}
for collector in G1 Parallel; do
	command=(java "-XX:+Use${collector}GC" -Xmx192m -Xlog:gc:"$work/gc.log"
		-cp "$work" Sort "${rounds:-6}" "$size")
	[ "$collector" != G1 ] || "${command[@]}" >"$work/bare" || fail "java bare"
	until_moved ferry_sort
done
