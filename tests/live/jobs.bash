#!/bin/bash
# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2016 # programs in other languages
# jobs.bash list; jobs.bash NAME DIRECTORY - jobs of ordinary programs, each a second or some.
#
# What a job writes to stdout is always the same. DIRECTORY is its own, and empty. A job whose
# program is not installed ends with status 77.
set -eu -o pipefail

need() {
	local program
	for program in "$@"; do
		command -v "$program" >/dev/null || exit 77
	done
}

# numbers COUNT: lines that are the same everywhere; fewer where all is slow.
numbers() {
	awk -v count="$(($1 / ${FERRY_SLOW:-1}))" 'BEGIN {
		x = 12345
		for (i = 0; i < count; i++) {
			x = (x * 16807) % 2147483647
			printf "%010d %08x line %d\n", x, x, i
		}
	}'
}

job_awk() {
	numbers 60000 | awk '{ sum[substr($2, 7)] += $1; words[$2] = words[$2] $1 }
		END {
			for (k in sum) print k, sum[k]
			n = 0
			for (k in words) n += length(words[k])
			print n
		}' |
		LC_ALL=C sort | sha256sum
}

job_bash() {
	local -A seen=()
	local -a table=()
	local i x=1 text=
	for ((i = 0; i < 12000; i++)); do
		x=$((x * 16807 % 2147483647))
		table[x % 9973]=$x
		seen[$((x % 4099))]=$i
		((i % 200)) || text+=$(printf '%x.' "$x")
	done
	printf '%s\n' "${#table[@]}" "${#seen[@]}" "${#text}"
	(printf '%s\n' "${table[@]}") | sha256sum
	sha256sum <<<"$text"
}

job_graphics() {
	need gm
	awk 'BEGIN { print "P3 320 240 255"; for (i = 0; i < 76800; i++)
		print i % 256, int(i / 320) % 256, (i * 7) % 256 }' >in.ppm
	gm convert in.ppm -rotate 30 -blur 4x2 -resize 800x600 -swirl 90 -emboss 1 out.ppm
	sha256sum <out.ppm
}

job_lua() {
	need lua5.4
	lua5.4 -e '
	local x, t, parts = 42, {}, {}
	local function random() x = x * 16807 % 2147483647; return x end
	for i = 1, 200000 do t[i] = { key = random(), text = tostring(random()) } end
	for i = 1, 200000, 3 do t[i] = { key = random(), text = t[i].text:rep(3) } end
	table.sort(t, function(a, b) return a.key < b.key end)
	for i = 1, #t, 50 do parts[#parts + 1] = t[i].key .. t[i].text end
	print(#table.concat(parts), collectgarbage("count") > 0)
	io.write(table.concat(parts, "\n"), "\n")' | sha256sum
}

job_make() {
	need make gzip
	numbers 20000 >input
	# shellcheck disable=SC2046 # words
	{
		printf 'all: %s\n\tcat $^ | sha256sum\n' "$(printf '%s.out ' $(seq 1 12))"
		printf '%%.out:\n\ttail -n +$* input | gzip -9n | gzip -d | sort -r >$@\n'
	} >Makefile
	make -s -j 4
}

job_perl() {
	need perl
	perl -e '
	my ($x, %h, @a) = (7);
	for my $i (1 .. 150000) {
		$x = $x * 16807 % 2147483647;
		$h{$x % 50021} .= chr(65 + $x % 26);
		push @a, $x . "-" . ($x % 97);
	}
	my $pid = fork // die;
	if (!$pid) { delete @h{grep { $_ % 2 } keys %h}; exit(scalar(keys %h) % 200) }
	waitpid $pid, 0;
	print "child $?\n";
	@a = sort { $a cmp $b } @a;
	print join(",", map { "$_$h{$_}" } sort { $a <=> $b } keys %h), "\n";
	print join("\n", @a), "\n"' |
		sha256sum
}

job_python() {
	need python3
	cat >job.py <<'PYTHON'
import hashlib
import multiprocessing


def work(number):
    table = {i: (i * number) % 10007 for i in range(15000)}
    text = ",".join(str(v) for v in sorted(table.values()))
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(3) as pool:
            print(method, pool.map(work, range(1, 13)))
PYTHON
	python3 job.py
}

job_sort() {
	numbers 120000 | sort -r --parallel=2 -S 8M -T . | sha256sum
}

job_sqlite() {
	need sqlite3
	sqlite3 :memory: 'CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b TEXT);
	WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
	INSERT INTO t SELECT i, (i * 7919) % 100003, hex(i * 31) FROM n;
	CREATE INDEX ta ON t (a); CREATE INDEX tb ON t (b); DELETE FROM t WHERE id % 17 = 0;
	SELECT count(*), sum(a), min(b), max(b), sum(length(b)) FROM t; PRAGMA integrity_check;'
}

job_stress() {
	need stress-ng
	stress-ng --temp-path . --verify --oomable --seed 1 --timeout 20 \
		--mremap 1 --mremap-bytes 8M --mremap-ops 4 \
		--malloc 1 --malloc-bytes 8M --malloc-ops 4000 --fork 1 --fork-ops 40 \
		--brk 1 --brk-ops 2000 --mmap 1 --mmap-bytes 4M --mmap-ops 1 >log 2>&1 || {
		cat log >&2
		exit 1
	}
	echo passed
}

job_tar() {
	need tar zstd
	local i
	for i in 1 2 3 4 5 6; do numbers $((i * 4000)) >"file$i"; done
	tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - file? |
		zstd -q -6 -T2 | zstd -q -d | tar -xOf - | sha256sum
}

job_xz() {
	need xz
	numbers 80000 >input
	xz -k -1 -T2 --block-size=1MiB input
	xz -dc -T2 input.xz | cmp - input
	sha256sum <input.xz
}

if [ "$1" = list ]; then
	declare -F | sed -n 's/^declare -f job_//p'
	exit
fi
cd "$2"
"job_$1"
