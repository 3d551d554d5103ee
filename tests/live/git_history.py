#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""git_history.py FOLDER COMMITS - a history for git fast-import on stdout.

Every commit changes some of the files of FOLDER; every tenth is on a branch of its own.
"""

import os
import random
import sys


def read_sources(folder):
    sources = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            with open(path, "rb") as file:
                sources[os.path.relpath(path, folder)] = file.read().splitlines(keepends=True)
    return sources


def main():
    out = sys.stdout.buffer
    chance = random.Random(1)
    sources = read_sources(sys.argv[1])
    names = sorted(sources)
    for number in range(1, int(sys.argv[2]) + 1):
        branch = f"side{number}" if number % 10 == 0 else "main"
        message = b"Change %d" % number
        out.write(b"commit refs/heads/%s\nmark :%d\n" % (branch.encode(), number))
        out.write(b"committer Test <test@example.org> %d +0000\n" % (1000000000 + number * 60))
        out.write(b"data %d\n%s\n" % (len(message), message))
        if branch != "main":
            out.write(b"from :%d\n" % (number - 1))
        elif number % 10 == 1 and number > 1:
            out.write(b"from :%d\nmerge :%d\n" % (number - 2, number - 1))
        for name in chance.sample(names, min(5, len(names))):
            lines = list(sources[name])
            at = chance.randrange(len(lines) + 1)
            lines[at:at + chance.randrange(4)] = [b"/* change %d */\n" % number]
            sources[name] = lines
            text = b"".join(lines)
            out.write(b"M 100644 inline %s\ndata %d\n%s\n" % (name.encode(), len(text), text))
    out.write(b"done\n")


main()
