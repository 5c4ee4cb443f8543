"""Looks for marked bytes in the memory of processes and in files. What is found is told by place and encoding, never by
content. Needs root; nothing is stopped or traced for it."""
import base64
import dataclasses
import errno
import itertools
import os
import pathlib
import re
import stat
import struct
import sys

PAGE = os.sysconf("SC_PAGE_SIZE")
PRESENT, SWAPPED, OF_FILE = 1 << 63, 1 << 62, 1 << 61
READ_AT_ONCE = 8 << 20
OVERLAP = 4096  # longer than any needle
FOUND_MAX = 1000  # of one needle in one piece
HINTS_MAX = 50  # of one process: the heap is walked for each


def encodings(text, brief=False):
    """name -> bytes for each way in which `text` may lie somewhere, in the middle of something longer, too: of base64
    only what does not depend on what is around it. brief: what nobody escapes."""
    found = {"raw": text, "hex": text.hex().encode(), "HEX": text.hex().upper().encode()}
    if not brief:
        found |= {"utf-16le": text.decode("latin-1").encode("utf-16-le"),
                  "utf-16be": text.decode("latin-1").encode("utf-16-be"),
                  "json": "".join(f"\\u{c:04x}" for c in text).encode(),
                  "JSON": "".join(f"\\u{c:04X}" for c in text).encode(),
                  "url": "".join(f"%{c:02x}" for c in text).encode(), "URL": "".join(f"%{c:02X}" for c in text).encode()}
    for shift in range(3):
        # the first group has bytes of what is in front of it, the last one of what follows
        whole = base64.b64encode(bytes(shift) + text)
        whole = whole[4 if shift else 0:len(text + bytes(shift)) // 3 * 4]
        found[f"base64+{shift}"] = whole
        if not brief:
            found[f"base64url+{shift}"] = whole.replace(b"+", b"-").replace(b"/", b"_")
            found[f"base64+{shift} as json"] = "".join(f"\\u{c:04x}" for c in whole).encode()
    return {name: needle for name, needle in found.items() if needle}


@dataclasses.dataclass
class Needle:
    name: str       # what it is: "value", "token"
    encoding: str
    bytes: bytes


def needles(name, text, brief=False):
    seen, made = set(), []
    for encoding, data in encodings(text, brief).items():
        if data not in seen:
            made.append(Needle(name, encoding, data))
            seen.add(data)
    return made


@dataclasses.dataclass
class Region:
    start: int
    end: int
    flags: str
    name: str


@dataclasses.dataclass
class Hit:
    where: str      # process or file
    place: str      # mapping; "" in a file
    offset: int
    needle: Needle
    hint: str = ""
    window: bytes = b""  # what is around it, to tell the stage; never shown
    stage: str = ""
    count: int = 1

    def __str__(self):
        place = f" {self.place}" if self.place else ""
        stage = f" of {self.stage}" if self.stage else ""
        hint = f" ({self.hint})" if self.hint else ""
        count = f", {self.count} times near it" if self.count > 1 else ""
        return f"{self.where}{place}+{self.offset:#x}: {self.needle.name}{stage}, {self.needle.encoding}{hint}{count}"


def merged(hits):
    """One for each place: what lies within 64 KiB of the last one belongs to it."""
    groups, last, end = [], None, 0
    for hit in sorted(hits, key=lambda h: (h.where, h.place, h.needle.name, h.stage, h.offset)):
        key = (hit.where, hit.place, hit.needle.name, hit.stage)
        if last == key and hit.offset - end < 65536:
            groups[-1].count += 1
        else:
            groups.append(hit)
        last, end = key, hit.offset
    return groups


def window(data, at, needle):
    if needle.encoding == "raw":
        return data[at:at + len(needle.bytes) + 16]
    return data[max(0, at - 256):at + len(needle.bytes) + 256]


def regions(pid):
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
        m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+\s*(.*)", line)
        # [vvar] is the kernel's and cannot be read so
        if m[3].startswith("r") and m[4] not in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
            yield Region(int(m[1], 16), int(m[2], 16), m[3], m[4] or "anonymous")


def present(pagemap, region):
    """The runs of pages that are there, (start, end). Reading the others would make them. Pages of programs and libraries
    that are as they are on the disk are left out."""
    library = region.name.startswith("/") and not region.name.startswith("/memfd:")
    first, n = region.start // PAGE, (region.end - region.start) // PAGE
    start = None
    for at in range(0, n, 1 << 16):
        count = min(1 << 16, n - at)
        entries = os.pread(pagemap, count * 8, (first + at) * 8)
        if not any(entries):
            if start is not None:
                yield start, region.start + at * PAGE
                start = None
            continue
        for i, (entry,) in enumerate(struct.iter_unpack("=Q", entries)):
            there = entry & (PRESENT | SWAPPED) and not (library and entry & OF_FILE)
            here = region.start + (at + i) * PAGE
            if there and start is None:
                start = here
            elif not there and start is not None:
                yield start, here
                start = None
    if start is not None:
        yield start, region.end


def without(data, piece, searched):
    """With zeros for a piece that may be there, and for its beginning at the end: the next page may not be mapped yet."""
    if piece in data:
        searched.known.add(piece)
        data = data.replace(piece, bytes(len(piece)))
    for n in range(len(piece) - 1, 0, -1):
        if data.endswith(piece[:n]):
            return data[:-n] + bytes(n)
    return data


def find_all(data, needle):
    at = data.find(needle)
    while at >= 0:
        yield at
        at = data.find(needle, at + 1)


def heap_chunk(mem, region, address):
    """The block of glibc's main heap in which an address lies, found by walking from the heap's start."""
    try:
        return walk_heap(mem, region, address)
    except (OSError, struct.error):  # it has changed meanwhile
        return ""


def walk_heap(mem, region, address):
    at = region.start
    while at < region.end:
        size = struct.unpack("=Q", os.pread(mem, 8, at + 8))[0] & ~7
        if size < 16 or size % 16:
            return ""
        if at <= address < at + size:
            after = os.pread(mem, 8, at + size + 8)
            used = len(after) == 8 and struct.unpack("=Q", after)[0] & 1
            return f"byte {address - at - 16} of a block of {size - 16} bytes, {'used or cached' if used else 'free'}"
        at += size
    return ""


def stack_depth(pid, address):
    try:
        sp = int(pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[-2], 16)
    except (OSError, ValueError, IndexError):
        return ""
    return f"{sp - address} bytes below the stack pointer" if address < sp else f"{address - sp} bytes above the stack pointer"


class Searched:
    """How much was looked at: a search that could not read anything has found nothing, too."""

    def __init__(self):
        self.bytes = 0
        self.processes = 0
        self.known = set()


def search_process(pid, name, wanted, searched, known=()):
    """known: pieces that are where they may be if it is in shared memory."""
    hits, hinted = [], 0
    mem = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    before = searched.bytes
    try:
        for region in regions(pid):
            for start, end in present(pagemap, region):
                tail = b""
                while start < end:
                    try:
                        data = os.pread(mem, min(end - start, READ_AT_ONCE), start)
                    except OSError:
                        break  # unmapped in the meantime
                    if not data:
                        break
                    searched.bytes += len(data)
                    start += len(data)
                    base = start - len(data) - len(tail)
                    data = tail + data
                    for piece in known if region.name.startswith("/memfd:secretlet-arena") else ():
                        data = without(data, piece, searched)
                    for needle in wanted:
                        for at in itertools.islice(find_all(data, needle.bytes), FOUND_MAX):
                            if at + len(needle.bytes) <= len(tail):
                                continue  # found before
                            address = base + at
                            hint = ""
                            hinted += 1
                            if hinted > HINTS_MAX:
                                pass
                            elif region.name == "[heap]":
                                hint = heap_chunk(mem, region, address)
                            elif region.name == "[stack]":
                                hint = stack_depth(pid, address)
                            hits.append(Hit(f"{name}[{pid}]", region.name, address - region.start, needle, hint=hint,
                                            window=window(data, at, needle)))
                    tail = data[-OVERLAP:]
        for what in ("environ", "cmdline"):
            data = pathlib.Path(f"/proc/{pid}/{what}").read_bytes()
            for needle in wanted:
                for at in find_all(data, needle.bytes):
                    hits.append(Hit(f"{name}[{pid}]", what, at, needle, window=window(data, at, needle)))
    finally:
        os.close(mem)
        os.close(pagemap)
    if searched.bytes - before < 64 * 1024:
        raise RuntimeError(f"only {searched.bytes - before} bytes of {name}[{pid}] could be read")
    searched.processes += 1
    return hits


def search_data(data, where, wanted):
    hits = []
    for needle in wanted:
        for at in find_all(data, needle.bytes):
            hits.append(Hit(where, "", at, needle, window=window(data, at, needle)))
    return hits


def pieces(fd, limit):
    """(offset, bytes) of a file's first `limit` bytes. Long holes are passed over: a core is as large as its process's addresses."""
    at = 0
    while at < limit:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as e:
            if e.errno == errno.ENXIO:  # its end, or nothing more but a hole
                return
            raise
        piece = os.pread(fd, min(READ_AT_ONCE, max(0, limit - at)), at)
        if not piece:
            return
        yield at, piece
        at += len(piece)


def search_file(path, wanted, searched, limit=sys.maxsize):
    """limit: bytes; what others write may grow faster than it is searched."""
    hits, tail, end = [], b"", 0
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # it has gone meanwhile, or is a link by now
        return hits
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return hits
        for at, piece in pieces(fd, limit):
            searched.bytes += len(piece)
            tail = tail if at == end else b""
            data = tail + piece
            for hit in search_data(data, path, wanted):
                if hit.offset + len(hit.needle.bytes) > len(tail):  # else it was found before
                    hit.offset += at - len(tail)
                    hits.append(hit)
            end = at + len(piece)
            tail = data[-OVERLAP:]
    finally:
        os.close(fd)
    return hits


def search_name(path, wanted):
    """An entry's name, and a link's target. The path that is told has none of it."""
    folder, name = os.path.split(path)
    names = {"name": name}
    try:
        names["target of a link"] = os.readlink(path)
    except OSError:  # it is none
        pass
    hits = []
    for what, text in names.items():
        fitting = [needle for needle in wanted if len(needle.bytes) <= len(text)]  # most names are short
        for hit in search_data(os.fsencode(text), folder, fitting):
            hit.place = what
            hits.append(hit)
    return hits


def search_files(folder, wanted, skip, searched):
    """All files below `folder`, on its own file system alone, and all names; `skip`: paths that are not looked at, nor what is in
    them."""
    hits, device = [], os.lstat(folder).st_dev
    for at, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if os.path.join(at, f) not in skip and
                      os.lstat(os.path.join(at, f)).st_dev == device]
        for name in folders + files:
            path = os.path.join(at, name)
            try:
                info = os.lstat(path)
            except FileNotFoundError:  # it has gone meanwhile
                continue
            if path in skip or info.st_dev != device:
                continue
            hits += search_name(path, wanted)
            if stat.S_ISREG(info.st_mode):
                hits += search_file(path, wanted, searched)
    return hits
