#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""soak.py FERRY JOBS WORK SECONDS SEED - random jobs, moves and kills in one machine.

Jobs of JOBS run side by side inside a machine. From outside, at random: pages of any process move
to any node, programs and agents are killed with SIGKILL. Once a second the books of every process
are checked. What a job writes must be what it writes bare, also after its agents were killed; a job
of which a program was killed is only counted. At the end nothing of the machine may be left.

soak.py --inside JOBS WORK SEED is the part inside: it starts the jobs, and judges them.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

AT_ONCE = 3
SLOW = int(os.environ.get("FERRY_SLOW", "1"))
JOB_LIMIT_S = 300 * SLOW
ENDED = (3, 6)  # exit codes of the command: no such process, ended meanwhile
PATIENCE_S = 30 * SLOW


def run_job(jobs, name, folder, out):
    os.makedirs(folder)
    with open(out, "wb") as file, open(out + ".err", "wb") as err:
        return subprocess.Popen([jobs, name, folder], stdin=subprocess.DEVNULL, stdout=file,
                                stderr=err, start_new_session=True)


def read(path):
    with open(path, "rb") as file:
        return file.read()


# --- inside -----------------------------------------------------------------------------------


class Inside:
    def __init__(self, jobs, work, seed):
        self.jobs = jobs
        self.work = work
        self.random = random.Random(seed)
        self.names = json.loads(read(os.path.join(work, "names")))
        self.running = []
        self.count = 0
        self.tally = {"verified": 0, "killed": 0, "failed": 0}

    def start(self):
        name = self.random.choice(self.names)
        folder = os.path.join(self.work, f"job{self.count}")
        self.count += 1
        process = run_job(self.jobs, name, folder, folder + ".out")
        self.running.append((process, name, folder, time.monotonic()))

    def killed_sessions(self):
        try:
            return {int(line) for line in read(os.path.join(self.work, "killed")).split()}
        except FileNotFoundError:
            return set()

    def judge(self, process, name, folder):
        expected = read(os.path.join(self.work, "bare-" + name))
        if process.pid in self.killed_sessions():
            self.tally["killed"] += 1
            try:
                os.killpg(process.pid, signal.SIGKILL)  # what the killed program left behind
            except ProcessLookupError:
                pass
        elif process.returncode == 0 and read(folder + ".out") == expected:
            self.tally["verified"] += 1
            with open(os.path.join(self.work, "verified"), "a", encoding="utf-8") as file:
                file.write(name + "\n")
        else:
            self.tally["failed"] += 1
            print(f"{name} ended with {process.returncode}:",
                  read(folder + ".out.err").decode(errors="replace")[-500:], flush=True)
        shutil.rmtree(folder, ignore_errors=True)

    def look(self):
        killed = self.killed_sessions()
        for job in list(self.running):
            process, name, folder, since = job
            if process.pid in killed and process.poll() is None:
                # Some programs wait for ever for a part of theirs that was killed.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if process.poll() is not None:
                self.running.remove(job)
                self.judge(process, name, folder)
            elif time.monotonic() - since > JOB_LIMIT_S:
                print(f"{name} hangs", flush=True)
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                self.running.remove(job)
                self.tally["failed"] += 1

    def run(self):
        stop = os.path.join(self.work, "stop")
        while not os.path.exists(stop) or self.running:
            while len(self.running) < AT_ONCE and not os.path.exists(stop):
                self.start()
            self.look()
            time.sleep(0.05)
        print(json.dumps(self.tally), flush=True)
        return 1 if self.tally["failed"] else 0


# --- outside ----------------------------------------------------------------------------------


class Outside:
    def __init__(self, ferry, jobs, work, seconds, seed):
        self.ferry = ferry
        self.jobs = jobs
        self.work = work
        self.seconds = seconds
        self.end = 0
        self.seed = seed
        self.random = random.Random(seed)
        self.main = 0
        self.bad_since = {}
        self.tally = {"moves": 0, "moved_pages": 0, "checks": 0, "programs_killed": 0,
                      "agents_killed": 0}

    def fail(self, text):
        sys.exit(f"soak: {text}; seed {self.seed}")

    def bare(self):
        """Runs each job bare: that is what it has to write. Names those that can run."""
        listed = subprocess.run([self.jobs, "list"], capture_output=True, text=True, check=True)
        names = []
        for name in listed.stdout.split():
            folder = os.path.join(self.work, "bare")
            out = os.path.join(self.work, "bare-" + name)
            status = run_job(self.jobs, name, folder, out).wait()
            shutil.rmtree(folder)
            if status == 0:
                names.append(name)
            elif status != 77:
                self.fail(f"{name} ended with {status} bare")
        with open(os.path.join(self.work, "names"), "w", encoding="utf-8") as file:
            json.dump(names, file)

    def command(self, *arguments):
        return subprocess.run([self.ferry, *arguments, "--json"], capture_output=True, text=True)

    def machine(self):
        result = self.command("ps")
        if result.returncode:
            return None
        for machine in json.loads(result.stdout)["machines"]:
            if any(process["pid"] == self.main for process in machine["processes"]):
                return machine
        return None

    def move(self, process, nodes):
        what = self.random.choice([["--all"], ["--all"], ["--mapping", "[heap]"],
                                   ["--mapping", "[stack]"],
                                   ["--all", "--from", str(self.random.randrange(nodes))]])
        result = self.command("move", str(process["pid"]), *what, "--to",
                              str(self.random.randrange(nodes)))
        if result.returncode <= 1 and result.stdout:
            self.tally["moves"] += 1
            self.tally["moved_pages"] += json.loads(result.stdout)["moved_pages"]

    def check(self, machine):
        for process in machine["processes"]:
            pid = process["pid"]
            if process["state"] != "alive":
                continue
            result = self.command("check", str(pid))
            if result.returncode == 0:
                self.tally["checks"] += 1
                self.bad_since.pop(pid, None)
            elif result.returncode == 1:
                self.fail(f"the books of {pid} do not balance: {result.stdout}{result.stderr}")
            elif os.path.exists(f"/proc/{pid}") and result.returncode not in ENDED:
                # Its agent may have been killed a moment ago.
                since = self.bad_since.setdefault((pid, process["agent_pid"]), time.monotonic())
                if time.monotonic() - since > PATIENCE_S:
                    self.fail(f"check of {pid} ended with {result.returncode}: {result.stderr}")

    def kill(self, process, agent):
        """Kills a process of ours, and no other that may have its number by now."""
        pid = process["agent_pid"] if agent else process["pid"]
        if pid <= 0 or process["pid"] == self.main:
            return
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            return
        try:
            if self.work.encode() not in read(f"/proc/{pid}/environ"):
                return
            if not agent:
                session = os.getsid(pid)
                if session == os.getsid(self.main):
                    return
                with open(os.path.join(self.work, "killed"), "a", encoding="utf-8") as file:
                    file.write(f"{session}\n")
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            self.tally["agents_killed" if agent else "programs_killed"] += 1
        except OSError:
            pass
        finally:
            os.close(fd)

    def act(self, machine):
        alive = [p for p in machine["processes"] if p["state"] == "alive"]
        if not alive:
            return
        process = self.random.choice(alive)
        dice = self.random.random()
        if dice < 0.015:
            self.kill(process, False)
        elif dice < 0.05:
            self.kill(process, True)
        else:
            self.move(process, len(machine["nodes"]))

    def run(self, machine_of):
        self.bare()
        self.end = time.monotonic() + self.seconds
        environment = dict(os.environ, FERRY_SOAK_WORK=self.work)
        with open(os.path.join(self.work, "inside"), "wb") as out:
            program = subprocess.Popen(
                [self.ferry, "run", "--nodes", machine_of, "--", sys.executable, "-c",
                 "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid()));"
                 "os.execv(sys.argv[2], sys.argv[2:])", os.path.join(self.work, "main"),
                 sys.executable, __file__, "--inside", self.jobs, self.work, str(self.seed)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=environment)
        self.watch(program)
        text = read(os.path.join(self.work, "inside")).decode(errors="replace")
        print(text, end="")
        print(json.dumps(self.tally), "seed", self.seed)
        if program.returncode:
            self.fail(f"the part inside ended with {program.returncode}")
        inside = json.loads(text.strip().splitlines()[-1])
        if not inside["verified"] or not self.tally["moved_pages"] or not self.tally["checks"]:
            self.fail("nothing was verified, moved or checked")

    def is_enough(self):
        """A slow machine needs longer than it was told to."""
        try:
            verified = len(read(os.path.join(self.work, "verified")).split())
        except FileNotFoundError:
            verified = 0
        return (time.monotonic() >= self.end and verified >= 3 and self.tally["moves"] >= 50 and
                self.tally["checks"] >= 10)

    def watch(self, program):
        checked = 0
        patience = self.end + JOB_LIMIT_S
        while program.poll() is None:
            if self.is_enough():
                open(os.path.join(self.work, "stop"), "w", encoding="utf-8").close()
            if time.monotonic() > patience:
                program.kill()
                self.fail("it does not end")
            if not self.main:
                try:
                    self.main = int(read(os.path.join(self.work, "main")) or b"0")
                except FileNotFoundError:
                    pass
            machine = self.machine() if self.main else None
            if machine is None:
                time.sleep(0.1)
                continue
            if time.monotonic() - checked >= 1:
                checked = time.monotonic()
                self.check(machine)
            self.act(machine)


if sys.argv[1] == "--inside":
    sys.exit(Inside(sys.argv[2], sys.argv[3], int(sys.argv[4])).run())
Outside(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4]), int(sys.argv[5])).run("3x256M")
