#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ferry_all.py FERRY WORK PID NODE... - ferries every process of a machine in turn.

The machine is the one that PID belongs to. All pages of all its processes go to one node after the
other until WORK/mover.stop is there or the machine has ended. What each move says is appended to
WORK/moves; move_flags in the environment are options of it. A process that cannot be moved may be
between two images of an exec, or ending; one that lives and still cannot be moved after PATIENCE_S
is told in WORK/mover.bad.
"""

import json
import os
import subprocess
import sys
import time

PATIENCE_S = 20


def machine_of(ferry, is_it):
    result = subprocess.run([ferry, "ps", "--json"], capture_output=True, text=True)
    try:
        machines = json.loads(result.stdout)["machines"]
    except (ValueError, KeyError):
        return None
    return next((machine for machine in machines if is_it(machine)), None)


def has_ended(pid):
    """Gone, or a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] in (b"Z", b"X")
    except OSError:
        return True


class Ferry:
    def __init__(self, ferry, work, nodes):
        self.ferry = ferry
        self.work = work
        self.nodes = nodes
        self.turn = {}  # by pid: index of the next node
        self.failing = {}  # by pid: since when

    def path(self, name):
        return os.path.join(self.work, name)

    def is_stopped(self):
        return os.path.exists(self.path("mover.stop"))

    def move(self, pid):
        """=> False: the process can be reached no more, and should."""
        turn = self.turn.get(pid, 0)
        node = self.nodes[turn % len(self.nodes)]
        result = subprocess.run([self.ferry, "move", str(pid), "--all", "--to", node, "--json",
                                 *os.environ.get("move_flags", "").split()],
                                capture_output=True, text=True)
        if result.returncode <= 1:
            self.failing.pop(pid, None)
            self.turn[pid] = turn + 1
            with open(self.path("moves"), "a", encoding="utf-8") as file:
                file.write(result.stdout)
            return True
        since = self.failing.setdefault(pid, time.monotonic())
        if result.returncode != 2 and time.monotonic() - since < PATIENCE_S:
            return True
        if has_ended(pid):
            self.failing.pop(pid, None)
            return True
        with open(self.path("mover.bad"), "a", encoding="utf-8") as file:
            file.write(f"move of {pid} ended with {result.returncode}: {result.stderr}")
        return False

    def find_machine(self, first, name):
        """A keeper with much to do may answer too late to be listed: it is asked again."""
        end = time.monotonic() + PATIENCE_S
        while not self.is_stopped() and time.monotonic() < end:
            machine = machine_of(self.ferry, lambda m: m["name"] == name if name else
                                 any(p["pid"] == first for p in m["processes"]))
            if machine or has_ended(first):
                return machine
            time.sleep(0.05)
        return None

    def run(self, first):
        machine = self.find_machine(first, None)
        name = machine["name"] if machine else None
        while machine and not self.is_stopped():
            alive = [p["pid"] for p in machine["processes"] if p["state"] == "alive"]
            self.failing = {pid: since for pid, since in self.failing.items() if pid in alive}
            for pid in alive:
                if self.is_stopped():
                    return
                if not self.move(pid):
                    return
            if not alive:
                time.sleep(0.01)
            machine = self.find_machine(first, name)


Ferry(sys.argv[1], sys.argv[2], sys.argv[4:]).run(int(sys.argv[3]))
