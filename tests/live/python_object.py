# SPDX-License-Identifier: MIT
"""python_object.py STOP - holds shared memory that it has filled until the file STOP is there."""

import mmap
import os
import sys
import time

PAGES = 2048
memory = mmap.mmap(-1, PAGES * mmap.PAGESIZE)
for page in range(PAGES):
    memory[page * mmap.PAGESIZE] = page % 251
print("ready", flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.05)
    _ = bytearray(1 << 20)  # memory of its own: an agent is needed for it
assert all(memory[page * mmap.PAGESIZE] == page % 251 for page in range(PAGES))
print("fine", flush=True)
