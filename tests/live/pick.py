#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""pick.py EXPRESSION - evaluates a Python expression over the JSON documents on stdin.

documents is the list of them; find(key) lists every value of that key at any depth, walk(value,
key) those inside one value.
Prints the result; ends with 1 if it is None or False.
"""

import json
import sys


def read_documents(text):
    decoder = json.JSONDecoder()
    documents = []
    position = 0
    while True:
        while position < len(text) and text[position].isspace():
            position += 1
        if position == len(text):
            return documents
        document, position = decoder.raw_decode(text, position)
        documents.append(document)


def walk(value, key):
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == key:
                yield inner
            yield from walk(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner, key)


def main():
    documents = read_documents(sys.stdin.read())

    def find(key):
        return list(walk(documents, key))

    result = eval(sys.argv[1], {"documents": documents, "find": find, "walk": walk})
    print(result)
    return 1 if result is None or result is False else 0


sys.exit(main())
