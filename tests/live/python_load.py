#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""python_load.py SECONDS - threads and forked children over one set of data; prints a digest.

The digest depends on the number of rounds only, which is fixed by SECONDS, not by speed.
"""

import hashlib
import os
import sys
import threading
import zlib

ROUNDS = 6 * int(sys.argv[1])
table = {number: hashlib.sha256(str(number).encode()).hexdigest() for number in range(60000)}
blobs = [zlib.compress((table[number] * 400).encode(), 1) + bytes(20000) for number in range(800)]
results = [None] * 4


def digest(start, step):
    total = hashlib.sha256()
    for number in range(start, len(table), step):
        total.update(table[number].encode())
    for blob in blobs[start::step]:
        total.update(blob)
    return total.hexdigest()


def work(index, round_number):
    junk = [bytes([index]) * (1000 + n % 5000) for n in range(3000)]
    results[index] = digest(index + round_number % 3, 5) + str(sum(map(len, junk)))


def ask_child(round_number):
    """A forked child computes over the parent's memory, changes its copy, and answers by pipe."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        answer = digest(round_number % 7, 7)
        for number in range(0, len(table), 3):
            table[number] = table[number][::-1]
        answer += digest(0, 3)
        os.write(send, answer.encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as stream:
        answer = stream.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
    return answer


final = hashlib.sha256()
for current in range(ROUNDS):
    threads = [threading.Thread(target=work, args=(index, current)) for index in range(4)]
    for thread in threads:
        thread.start()
    final.update(ask_child(current).encode())
    for thread in threads:
        thread.join()
    final.update("".join(results).encode())
    table[current] = final.hexdigest()
print(final.hexdigest())
