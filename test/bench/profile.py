#!/usr/bin/env python3
"""What of the instructions that callgrind has counted grows with the number of things that were done, as JSON lines.

    profile.py CASE FEW N MANY N

FEW and MANY are callgrind's files. One line for the whole, and one for each of the functions with the most in them, in
percent of it: by themselves (self), and with what they call (inclusive). What a library does not name is counted under its own
name."""
import collections
import json
import pathlib
import re
import sys

SHOWN = 20


def read(path):
    """function -> instructions by itself and with what it calls. What calls itself, even around several corners, is counted
    more than once in the latter."""
    names, objects, own, whole = {}, {}, collections.Counter(), collections.Counter()
    here, its_object, after_calls = None, "", False
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            of = re.match(r"(c?ob)=\((\d+)\)(?: (.*))?", line)
            called = re.match(r"(c?fn)=\((\d+)\)(?: (.*))?", line)
            if of:
                kind, number, name = of.groups()
                if name:
                    objects[number] = name
                if kind == "ob":
                    its_object = objects[number]
            elif called:
                kind, number, name = called.groups()
                if name:
                    names[number] = name
                if kind == "fn":
                    here = shown(names[number], its_object)
            elif line.startswith("calls="):
                after_calls = True
            elif re.match(r"[0-9+*-]", line) and here:
                cost = int(line.split()[1])
                whole[here] += cost
                if not after_calls:
                    own[here] += cost
                after_calls = False
    return own, whole


def shown(name, its_object):
    if name.startswith("0x"):
        return f"in {pathlib.Path(its_object).name}"
    return re.sub(r"'\d+$", "", name)


def grown(few, many):
    return {name: cost - few.get(name, 0) for name, cost in many.items() if cost > few.get(name, 0)}


def main():
    case, few, n_few, many, n_many = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
    own, whole = (grown(a, b) for a, b in zip(read(few), read(many)))
    n, total = n_many - n_few, sum(own.values())
    print(json.dumps({"bench": "profile", "what": "total", "case": case, "n": n, "each": total / n}))
    by_own = sorted(own, key=own.get, reverse=True)[:SHOWN]
    by_whole = [f for f in sorted(whole, key=whole.get, reverse=True)[:2 * SHOWN] if f not in by_own][:SHOWN]
    for function in by_own + by_whole:
        print(json.dumps({"bench": "profile", "what": "function", "case": case, "function": function,
                          "self": 100 * own.get(function, 0) / total,
                          "inclusive": 100 * min(whole.get(function, 0), total) / total}))


if __name__ == "__main__":
    main()
