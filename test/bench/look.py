#!/usr/bin/env python3
"""What the daemon's processes are and have done so far, from outside, as one JSON object.

    look.py PID PORT

PID is the keeper's, PORT the API server's. For each process: resident memory and its own share of it (pss: what is shared is
divided among those who have it), both in bytes; processor time in milliseconds and how often it woke up (its voluntary context
switches), since it began; and its pid. connections: the agent's to the server."""
import json
import os
import pathlib
import sys


def lines_of(path):
    return pathlib.Path(path).read_text(errors="replace").splitlines()


def children(pid):
    return [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def name_of(pid):
    """"secretlet-agent" calls itself so; the parent is the program as it was started."""
    return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode().rpartition("secretlet-")[2]


def processes(keeper):
    """name -> pid"""
    return {"keeper": keeper} | {name_of(p): p for p in children(keeper)}


def memory(pid):
    sizes = {}
    for line in lines_of(f"/proc/{pid}/smaps_rollup")[1:]:
        name, value = line.split(":")
        sizes[name] = int(value.split()[0]) * 1024
    return sizes


def threads(pid):
    return [f"/proc/{pid}/task/{t}" for t in os.listdir(f"/proc/{pid}/task")]


def cpu_msec(pid):
    return sum(int(lines_of(f"{t}/schedstat")[0].split()[0]) for t in threads(pid)) / 1e6


def wakeups(pid):
    return sum(int(line.split()[1]) for t in threads(pid) for line in lines_of(f"{t}/status")
               if line.startswith("voluntary_ctxt_switches"))


def connections(pid, port):
    inodes = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    rows = [line.split() for line in lines_of(f"/proc/{pid}/net/tcp")[1:]]
    return sum(row[9] in inodes and row[3] == "01" and int(row[2].split(":")[1], 16) == port for row in rows)


def main():
    keeper, port = int(sys.argv[1]), int(sys.argv[2])
    pids = processes(keeper)
    seen = {what: {} for what in ("rss", "pss", "cpu_ms", "wakeups")}
    for name, pid in pids.items():
        sizes = memory(pid)
        seen["rss"][name], seen["pss"][name] = sizes["Rss"], sizes["Pss"]
        seen["cpu_ms"][name], seen["wakeups"][name] = round(cpu_msec(pid), 2), wakeups(pid)
    print(json.dumps(seen | {"pids": pids, "connections": connections(pids["agent"], port)}))


if __name__ == "__main__":
    main()
