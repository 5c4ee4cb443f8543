#!/usr/bin/env python3
"""What memory the daemon's processes have, and who keeps what on their heaps, for memory.sh.

    memory.py keep PID DIR                  what is seen of them now, into DIR (which is made); PID is the keeper's
    memory.py show FEW N MANY N             JSON lines of four such folders: FEW and MANY as they are, FEW/heap and MANY/heap of
                                            processes that run with test/preload/heapsites.so. N: Secrets

`mapped`: by process and kind, each one's own share (PSS) in bytes: at none, which is the line through both points at no Secret,
and for each Secret. `dirty` is what the kernel cannot drop as it drops clean pages of files.
`heap`: of all processes, who has more of it with more Secrets, in bytes as they are on the heap, with malloc's own, for each
Secret. `who` is the library that has allocated it or, of the program itself, the file and the function, without those that
allocate for whoever calls them (a string, a buffer, a map)."""
import collections
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys

import look

# test/preload/heapsites.c
FRAMES = 14
SLOT = struct.Struct(f"<{2 + FRAMES}Q")
PROGRAM = "secretlet"
# these allocate for whoever calls them
LIBC = re.compile(r"^(libc|ld-linux[^/]*|heapsites)(\.so|-|$)")
HELPERS = re.compile(r"^(common/(wipe_malloc|wipe_http2|str|buf|map|idmap|list|heap|base|json|json_thin|b64|err)\.[ch]|bits/.*)$")
NAMES = {"libcrypto": "OpenSSL", "libssl": "OpenSSL"}


def keep(keeper, folder):
    folder.mkdir(parents=True)
    for name, pid in look.processes(keeper).items():
        for what in ("maps", "smaps"):
            (folder / f"{name}.{what}").write_bytes(pathlib.Path(f"/proc/{pid}/{what}").read_bytes())
        table = pathlib.Path(os.environ.get("HEAPSITES", "/nonexistent")) / str(pid)
        if table.exists():
            shutil.copyfile(table, folder / f"{name}.table")


def library(path):
    name = pathlib.Path(path).name
    return NAMES.get(name.split(".")[0], name.split(".so")[0])


# ---- what is mapped

def kind_of(path):
    name = pathlib.Path(path.removesuffix(" (deleted)")).name
    if path in ("[heap]", "[stack]"):
        return path.strip("[]")
    if path.startswith("/memfd:"):
        return "memory for Secrets and volumes (memfd)"
    if name.startswith(PROGRAM):
        return "the program"
    if ".so" in name:
        return "OpenSSL" if library(path) == "OpenSSL" else "libraries"
    return "other"


def mapped(folder):
    """(process, kind) -> its share, and how much of that is dirty, in bytes."""
    sizes = collections.defaultdict(lambda: [0, 0])
    for file in folder.glob("*.smaps"):
        entry, share = None, 0
        for line in file.read_text().splitlines():
            head = re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)", line)
            if head:
                entry = sizes[(file.stem, kind_of(head[1]))]
                continue
            name, _, value = line.partition(":")
            if name == "Pss":
                share = int(value.split()[0]) * 1024
                entry[0] += share
            elif name == "Pss_Dirty":
                entry[1] += int(value.split()[0]) * 1024
    return sizes


def show_mapped(few, n_few, many, n_many):
    at_few, at_many = mapped(few), mapped(many)
    for process, kind in sorted({*at_few, *at_many}):
        (a, a_dirty), (b, b_dirty) = at_few[(process, kind)], at_many[(process, kind)]
        each, each_dirty = (b - a) / (n_many - n_few), (b_dirty - a_dirty) / (n_many - n_few)
        yield {"what": "mapped", "process": process, "kind": kind, "bytes_at_none": round(a - each * n_few),
               "dirty_at_none": round(a_dirty - each_dirty * n_few), "bytes_each": round(each, 1)}


# ---- who keeps what on the heap

class Heap:
    def __init__(self, maps, table):
        self.areas = []  # from, to, what to take off, path
        for line in maps.read_text().splitlines():
            fields = line.split()
            if len(fields) > 5 and "x" in fields[1]:
                begin, end = (int(x, 16) for x in fields[0].split("-"))
                self.areas.append((begin, end, begin - int(fields[2], 16), fields[5]))
        self.stacks = collections.Counter()
        for block, size, *frames in SLOT.iter_unpack(table.read_bytes()):
            if block:
                self.stacks[tuple(self.place(f) for f in frames if f)] += size

    def place(self, address):
        """The file, and the offset within it, of the call that returns there."""
        for begin, end, base, path in self.areas:
            if begin <= address < end:
                return path, address - 1 - base
        return "", address


def functions(program, offsets):
    """offset -> the functions there, the innermost inlined one first, as (file, function)."""
    text = subprocess.run(["addr2line", "-aife", program], input="".join(f"{o:#x}\n" for o in offsets), capture_output=True, text=True,
                          check=True).stdout
    found = {}
    for part in re.split(r"^0x", text, flags=re.MULTILINE)[1:]:
        offset, *lines = part.splitlines()
        found[int(offset, 16)] = [("/".join(place.rsplit(":", 1)[0].split("/")[-2:]), name.split(".")[0])
                                  for name, place in zip(lines[::2], lines[1::2])]
    return found


def who(stack, known):
    for path, offset in stack:
        if pathlib.Path(path).name == PROGRAM:
            for file, function in known[offset]:
                if not HELPERS.match(file):
                    return file, function
        elif path and not LIBC.match(pathlib.Path(path).name):
            return library(path), ""
    return "other", ""


def show_heap(few, n_few, many, n_many):
    sites = collections.Counter()
    for table in many.glob("*.table"):
        name = table.stem
        heaps = [(Heap(folder / f"{name}.maps", folder / f"{name}.table"), sign) for folder, sign in ((few, -1), (many, 1))]
        places = {place for heap, _ in heaps for stack in heap.stacks for place in stack if pathlib.Path(place[0]).name == PROGRAM}
        known = functions(next(iter(places))[0], sorted({offset for _, offset in places})) if places else {}
        for heap, sign in heaps:
            for stack, size in heap.stacks.items():
                sites[who(stack, known)] += sign * size
    for (file, function), size in sites.most_common():
        each = round(size / (n_many - n_few), 1)
        if each >= 1:
            yield {"what": "heap", "who": file, "function": function, "bytes_each": each}


def main():
    if sys.argv[1:2] == ["keep"] and len(sys.argv) == 4:
        keep(int(sys.argv[2]), pathlib.Path(sys.argv[3]))
    elif sys.argv[1:2] == ["show"] and len(sys.argv) == 6:
        few, n_few, many, n_many = pathlib.Path(sys.argv[2]), int(sys.argv[3]), pathlib.Path(sys.argv[4]), int(sys.argv[5])
        for line in (*show_mapped(few, n_few, many, n_many), *show_heap(few / "heap", n_few, many / "heap", n_many)):
            print(json.dumps({"bench": "memory"} | line))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
