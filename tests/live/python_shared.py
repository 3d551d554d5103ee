# SPDX-License-Identifier: MIT
"""python_shared.py SECONDS - processes that count in blocks of one multiprocessing.shared_memory.

Each writes its number and its count over and over to blocks that it gets in turn, and finds there
what the process wrote that had the block before.
"""

import multiprocessing
import sys
import time
from multiprocessing import shared_memory

WORKERS = 4
BLOCK = 1 << 20
BLOCKS = 16


def work(name, me, turns, end):
    memory = shared_memory.SharedMemory(name=name)
    count = 0
    while time.monotonic() < end:
        block = turns.get()
        if block is None:
            break
        at = block * BLOCK
        value = bytes(memory.buf[at:at + 1])
        if bytes(memory.buf[at:at + BLOCK]) != value * BLOCK:
            print(f"worker {me}: block {block} is torn", flush=True)
            sys.exit(1)
        count = (count + me + 1) % 251
        memory.buf[at:at + BLOCK] = bytes([count]) * BLOCK
        turns.put(block)
    memory.close()


def main():
    end = time.monotonic() + float(sys.argv[1])
    memory = shared_memory.SharedMemory(create=True, size=BLOCKS * BLOCK)
    memory.buf[:] = bytes(BLOCKS * BLOCK)
    turns = multiprocessing.Queue()
    for block in range(BLOCKS):
        turns.put(block)
    workers = [multiprocessing.Process(target=work, args=(memory.name, me, turns, end))
               for me in range(WORKERS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    memory.close()
    memory.unlink()
    turns.cancel_join_thread()
    print("ok" if all(worker.exitcode == 0 for worker in workers) else "failed", flush=True)


main()
