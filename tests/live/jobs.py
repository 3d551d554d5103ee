# SPDX-License-Identifier: MIT
"""jobs.py FERRY - job control of `pageferry run` from a shell on a terminal of its own."""

import os
import pty
import select
import sys
import time

SLOW = int(os.environ.get("FERRY_SLOW", "1"))
seen = ""


def expect(text, what):
    """Reads until text comes; forgets what came up to it."""
    global seen
    end = time.monotonic() + 60 * SLOW
    while text not in seen:
        if time.monotonic() > end:
            sys.exit(f"{what}: no {text!r} in {seen!r}")
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")
    seen = seen.split(text, 1)[1]


def say(line):
    os.write(terminal, line.encode())


child, terminal = pty.fork()
if child == 0:
    os.environ["PS1"] = "> "
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
# Words are put together by the shell, so that the terminal's echo is not taken for an answer.
say("stty -echo; echo rea''dy\n")
expect("ready", "shell")
say(f"{sys.argv[1]} run --nodes 2x64M -- sh -c 'echo run''ning; while :; do sleep 0.1; done'\n")
expect("running", "start")
for _ in range(2):
    say("\x1a")
    expect("Stopped", "^Z")
    say("bg; echo back''ground\n")
    expect("background", "bg")
    say("jobs; echo lis''ted\n")
    expect("Running", "jobs")
    expect("listed", "jobs")
    say("fg\n")
    expect("pageferry run", "fg")
    time.sleep(0.3)
say("\x03")
say("\necho sta''tus $?\n")
expect("status 1", "^C")
say("exit\n")
os.waitpid(child, 0)
print("job control works")
