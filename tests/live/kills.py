#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""kills.py FERRY DIRECTORY NAMES KILLS - kills agents and programs of a machine at any instant.

DIRECTORY/NAME.pid, for each of the NAMES (1 .. NAMES), holds the pid of a program that moves its
own pages all the time. Every seventh kill is of a program, as long as more than two live. After
each kill of an agent its program must get another one. Goes on until a kill has met pages that were
away: the keeper says so in DIRECTORY/err. Prints the names that live in the end, and the pid of the
keeper.
"""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

LIMIT_S = 60 * int(os.environ.get("FERRY_SLOW", "1"))
KILLS_MAX = 1000


def fail(text):
    print(text, file=sys.stderr)
    sys.exit(1)


def machine_of(ferry, pid):
    text = subprocess.run([ferry, "ps", "--json"], stdout=subprocess.PIPE, check=True).stdout
    for machine in json.loads(text)["machines"]:
        if any(process["pid"] == pid for process in machine["processes"]):
            return machine
    return {"processes": [], "keeper_pid": 0}


def agent_of(ferry, root, pid):
    """0 if there is none, or that of the image before the last exec has not left."""
    agents = [process["agent_pid"] for process in machine_of(ferry, root)["processes"]
              if process["pid"] == pid]
    return agents[0] if len(agents) == 1 else 0


def await_agent(ferry, root, pid, former):
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        agent = agent_of(ferry, root, pid)
        if agent not in (0, former):
            return agent
        if not os.path.exists(f"/proc/{pid}"):
            fail(f"process {pid} ended by itself")
        time.sleep(0.005)
    fail(f"process {pid} has no agent; its last one was {former}")


def homes_of(directory):
    return sum(int(pages) for pages in re.findall(r"(\d+) pages brought home",
                                                  open(f"{directory}/err").read()))


def main():
    ferry, directory, count, kills = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    alive = {name: int(open(f"{directory}/{name}.pid").read()) for name in range(1, count + 1)}
    seed = int(os.environ.get("FERRY_TEST_SEED", time.time_ns()))
    random.seed(seed)
    print(f"seed {seed}", file=sys.stderr)
    root = alive[1]
    for kill in range(1, KILLS_MAX):
        if kill > kills and homes_of(directory) > 0:
            break
        name = random.choice(list(alive)[1:] or list(alive)) if kill % 7 == 0 else \
            random.choice(list(alive))
        pid = alive[name]
        agent = await_agent(ferry, root, pid, 0)
        time.sleep(random.random() * 0.1)
        if kill % 7 == 0 and len(alive) > 2:
            os.kill(pid, signal.SIGKILL)
            del alive[name]
            continue
        try:
            os.kill(agent, signal.SIGKILL)
        except ProcessLookupError:
            fail(f"agent {agent} of {pid} ended by itself")
        await_agent(ferry, root, pid, agent)
    print(*alive)
    print(machine_of(ferry, root)["keeper_pid"])


main()
