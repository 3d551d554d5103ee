#!/bin/bash
# SPDX-License-Identifier: MIT
# sqlite3 in memory, ferried all the time: the same answers as bare.
. "$(dirname "$0")/lib.sh" || exit 1

command -v sqlite3 >/dev/null || skip "sqlite3 is not installed"
rows=${FERRY_SOAK:+4000000}
rows=${rows:-$((300000 / slow))}
cat >"$work/sql" <<SQL
PRAGMA cache_size = -200000;
PRAGMA temp_store = MEMORY;
CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $rows)
INSERT INTO t
SELECT i, (i * 7919) % 1000003, printf('%08x-%d', (i * 2654435761) % 4294967296, i) FROM n;
CREATE INDEX ta ON t (a);
CREATE INDEX tb ON t (b);
UPDATE t SET a = a + 1 WHERE id % 3 = 0;
DELETE FROM t WHERE id % 17 = 0;
SELECT count(*), sum(a), min(b), max(b) FROM t;
SELECT sum(x.a * y.id) FROM t AS x JOIN t AS y ON y.id = x.a WHERE x.id % 11 = 0;
SELECT a % 100, count(*), group_concat(substr(b, 1, 1), '') FROM t WHERE id < 20000 GROUP BY 1;
PRAGMA integrity_check;
SQL
sqlite3 :memory: <"$work/sql" >"$work/bare" || fail "sqlite3 bare"
job() {
	start --nodes 2x512M -- sh -c 'exec sqlite3 :memory: <"$0/sql" >"$0/inside"' "$work"
	start_ferry 0 1
	finish
	stop_ferry
	cmp "$work/bare" "$work/inside" || fail "the answers differ"
}
tries=6
until_moved job
