#!/bin/bash
# SPDX-License-Identifier: MIT
# Private anonymous memory of every kind is managed: bss, heaps, stacks, what libc maps by itself.
. "$(dirname "$0")/lib.sh" || exit 1

# Names of what lies in no managed mapping.
strays() {
	"$ferry" maps "$pid" --json >"$work/maps" || fail "pageferry maps"
	python3 - "$work/maps" "$work/ready" <<-'END'
	import json, sys
	maps = [(int(m["start"], 16), int(m["end"], 16), m["managed"])
	        for m in json.load(open(sys.argv[1]))["mappings"]]
	for line in open(sys.argv[2]):
	    name, address = line.split()
	    address = int(address, 16)
	    if not any(a <= address < b and managed == "yes" for a, b, managed in maps):
	        print(name)
	END
}

all_managed() {
	[ -z "$(strays)" ]
}

start --nodes 2x128M -- "$programs/managed"
wait_ready
# Only what is mapped by a raw system call has to be found first: at most a second later.
late=$(strays)
[ -z "$late" ] || [ "$late" = raw-mmap ] || fail "not managed: $late"
wait_until 10 all_managed || fail "not managed: $(strays | tr '\n' ' ')"
[ "$(wc -l <"$work/ready")" -eq 14 ] || fail "$(wc -l <"$work/ready") kinds"
touch "$work/stop"
finish
