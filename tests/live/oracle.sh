#!/bin/bash
# SPDX-License-Identifier: MIT
# timeout: 600
# guest: it starts one
# The rows of the contract of Linux with the kernel's own call, on nodes 0 and 1 with memory, 2
# without, 3 without a CPU, outside the cpuset, and 4 full. What it answers in another way is in the
# list of docs/vm/page-migration.md, and nothing else is.
. "$(dirname "$0")/lib.sh" || exit 1

kernel_rows='echo 64 >/sys/devices/system/node/node4/hugepages/hugepages-2048kB/nr_hugepages
	mkdir /sys/fs/cgroup/rows && cd /sys/fs/cgroup &&
	echo +cpuset >cgroup.subtree_control && echo 0-2,4 >rows/cpuset.mems &&
	echo $$ >rows/cgroup.procs && exec "$1" kernel'
for kernel in 6.1 6.12; do
	in_guest 250 --kernel "$kernel" --cpus 3 --memory 256M,256M,0,128M,96M -- \
		sh -c "$kernel_rows" sh "$programs/contract"
	grep -q 'rows as expected' "$work/guest" || fail "kernel $kernel: $(cat "$work/guest")"
	echo "kernel $kernel"
	cat "$work/guest"
	sed -n 's/^differs \(.*\) (kernel):.*/\1/p' "$work/guest" >>"$work/differ"
done
sed -n '/^## What the kernel answers in another way/,/^## Prot/p' \
	"$FERRY_SOURCE/docs/vm/page-migration.md" | grep -o '`1\.[0-9]/[^`]*`' | tr -d '`' |
	sort -u >"$work/listed"
sort -u "$work/differ" | diff "$work/listed" - >"$work/diff" ||
	fail "the list of differences (<) is not what differs (>): $(cat "$work/diff")"
