#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pss.py MARK PAGEFERRY LASTING - the memory of a machine's processes, seen from outside.

Every 100 ms until no process is left whose environment holds MARK, the programs are stopped, and
the Pss of anonymous and shared memory (arenas and segments are there, too) of all of these
processes is summed up, each address space once. The sum may not exceed capacity + over + 32 MiB
for longer than LASTING seconds. Prints the number of samples and the highest sum; ends with 1 on
a breach.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time

SLACK_BYTES = 32 << 20
KCMP, KCMP_VM = 312, 1
libc = ctypes.CDLL(None, use_errno=True)


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def marked(mark):
    own = {os.getpid(), os.getppid()}
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in own and mark in read(f"/proc/{name}/environ"):
            found.append(int(name))
    return found


def is_ours(pid):
    """The keeper, an agent, a command: nothing that may be stopped."""
    return read(f"/proc/{pid}/comm").startswith((b"pageferry", b"timeout"))


def stop_programs(mark):
    stopped = []
    while True:
        new = [pid for pid in marked(mark) if not is_ours(pid) and pid not in stopped]
        if not new:
            return stopped
        for pid in new:
            try:
                os.kill(pid, signal.SIGSTOP)
            except ProcessLookupError:
                pass
        stopped += new


def same_space(one, other):
    return libc.syscall(KCMP, one, other, KCMP_VM, 0, 0) == 0


def pss_bytes(pid):
    total = 0
    for line in read(f"/proc/{pid}/smaps_rollup").decode().splitlines():
        words = line.split()
        if words[0] in ("Pss_Anon:", "Pss_Shmem:"):
            total += int(words[1]) * 1024
    return total


def sum_pss(pids):
    seen = []
    total = 0
    for pid in pids:
        if read(f"/proc/{pid}/comm").startswith(b"timeout"):
            continue
        if any(same_space(pid, other) for other in seen):
            continue
        seen.append(pid)
        total += pss_bytes(pid)
    return total


def find(value, key):
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from find(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from find(inner, key)


def allowed(pageferry, pids):
    """Capacity and over of the machine's nodes, as the first process that can be asked says."""
    for pid in pids:
        if is_ours(pid):
            continue
        result = subprocess.run([pageferry, "stat", str(pid), "--json"], capture_output=True)
        if result.returncode == 0:
            document = json.loads(result.stdout)
            return sum(find(document, "capacity_bytes")) + sum(find(document, "over_bytes"))
    return None


def sample(mark, pageferry):
    """=> (bytes in use, bytes allowed), (None, None) if nothing could be asked."""
    stopped = stop_programs(mark)
    try:
        before = allowed(pageferry, stopped)
        total = sum_pss(marked(mark))
        after = allowed(pageferry, stopped)
    finally:
        for pid in stopped:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
    if before is None or after is None:
        return None, None
    return total, max(before, after)


def main():
    mark, pageferry, lasting = sys.argv[1].encode(), sys.argv[2], float(sys.argv[3])
    samples = highest = 0
    breach_since = None
    while any(not is_ours(pid) for pid in marked(mark)):
        total, limit = sample(mark, pageferry)
        now = time.monotonic()
        if total is not None:
            samples += 1
            highest = max(highest, total)
            if total <= limit + SLACK_BYTES:
                breach_since = None
            else:
                breach_since = breach_since or now
                if now - breach_since >= lasting:
                    print(f"{total >> 20} MiB in use, {limit >> 20} MiB allowed")
                    return 1
        time.sleep(0.1)
    print(f"{samples} samples, at most {highest >> 20} MiB")
    return 0 if samples else 1


sys.exit(main())
