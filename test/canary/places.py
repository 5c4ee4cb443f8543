"""Looks for marked bytes where a process might leave a file: not in the daemon's folder alone. Only what is newer than the search is
looked at, contents and names. Nothing is written but by control(), which sees that the search finds what is there."""
import contextlib
import itertools
import os
import pathlib
import stat
import tempfile
import time

import memory

FOLDERS = ("/run", "/var", "/tmp", "/dev/shm")
# packages, and what other programs write there; containers' images and layers are of those that run beside
NOT = {"/var/lib/apt", "/var/lib/dpkg", "/var/cache", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers"}
OTHERS = "secretlet-test."  # folders of tests, whose servers keep their Secrets
ON_DISK = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay"}
# bytes of what others write meanwhile: of one file, and at each search of all that have more than SMALL; what is left out is told
FILE_MAX, TOTAL_MAX, SMALL = 64 << 20, 512 << 20, 1 << 20
COARSE_NS = 20_000_000  # of the kernel's clock for files
CORES = ("/", "/var/crash", "/var/lib/systemd/coredump", "/var/lib/apport/coredump")


def mounts():
    """mount point -> type of what is on top there."""
    found = {}
    for line in pathlib.Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        words = line.split(" ")
        found[words[4].encode().decode("unicode_escape")] = words[words.index("-") + 1]
    return found


def core_pattern():
    return pathlib.Path("/proc/sys/kernel/core_pattern").read_text().strip()


def core_folders():
    """Where cores are put, those of processes whose folder is not theirs, and those of which a program takes care."""
    pattern = core_pattern()
    own = [os.path.dirname(pattern.split("%")[0])] if pattern.startswith("/") else []
    return [folder for folder in dict.fromkeys([*CORES, *own]) if os.path.isdir(folder)]


def begins_as_core(path):
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
            return file.read(4) == b"\x7fELF"
    except OSError:  # it has gone meanwhile
        return False


class Places:
    """own: the folder of this test, which is searched by itself."""

    def __init__(self, own):
        self.own, self.begin_ns = str(own), time.time_ns() - COARSE_NS
        self.clean, self.left_out = set(), []

    def is_of_others(self, path):
        return os.path.basename(path).startswith(OTHERS) and not self.own.startswith(path + "/")

    def entries(self, folder, skip, deep=True):
        """(path, what lstat() says) below a folder. deep: also in the folders there."""
        left = [folder]
        while left:
            try:
                with os.scandir(left.pop()) as found:
                    listed = list(found)
            except OSError:  # it has gone meanwhile
                continue
            for entry in listed:
                if entry.path in skip or entry.name.startswith(OTHERS) and self.is_of_others(entry.path):
                    continue
                try:
                    info = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
                if deep and entry.is_dir(follow_symlinks=False):
                    left.append(entry.path)
                yield entry.path, info

    def roots(self):
        """FOLDERS, and the file systems of a disk or in memory that are mounted there. Some are links to others."""
        mounted = mounts()
        wanted = {os.path.realpath(folder) for folder in FOLDERS if os.path.isdir(folder)}
        wanted |= {point for point, kind in mounted.items() if kind in ON_DISK and
                   any(point.startswith(folder + "/") for folder in wanted) and os.path.isdir(point) and
                   not point.startswith(self.own + "/") and not self.is_of_others("/".join(point.split("/")[:3]))}
        return sorted(wanted), set(mounted)

    def search(self, wanted, searched, skip=frozenset()):
        """skip: paths that are not looked at, nor what is in them. Neither is any mount: its server may hang."""
        roots, mounted = self.roots()
        hits, seen, left, self.left_out = [], set(), TOTAL_MAX, []
        files = ((path, info, info.st_size, FILE_MAX) for root in roots
                 for path, info in self.entries(root, {self.own} | NOT | mounted | skip) if info.st_ctime_ns >= self.begin_ns)
        # a core is mostly holes
        cores = ((path, info, min(info.st_size, info.st_blocks * 512), TOTAL_MAX) for path, info in self.core_files())
        for path, info, size, size_max in itertools.chain(cores, files):
            if path in seen:
                continue
            seen.add(path)
            named = memory.search_name(path, wanted)
            hits += named
            # a mark that is made later is not in it
            state = (info.st_dev, info.st_ino, info.st_ctime_ns, info.st_size, len(wanted))
            if not stat.S_ISREG(info.st_mode) or state in self.clean:
                continue
            if size > size_max or size > max(left, SMALL):
                self.left_out.append("a file with a mark in its name" if named else path)
                continue
            found = memory.search_file(path, wanted, searched, info.st_size)
            left -= size if size > SMALL else 0
            hits += found
            if not found:
                self.clean.add(state)
        return hits

    def core_files(self, *entries):
        """(path, what lstat() says) of what is new and may be a core: among these entries, and where cores are put. A pattern may
        give them any name."""
        put = (self.entries(folder, frozenset(), deep=False) for folder in core_folders())
        for path, info in itertools.chain(*entries, *put):
            if stat.S_ISREG(info.st_mode) and info.st_ctime_ns >= self.begin_ns and begins_as_core(path):
                yield path, info

    def cores(self, sign):
        """Cores that have `sign` in them, like the path of a configuration that is on a command line."""
        wanted = [memory.Needle("sign", "raw", sign)]
        # what the daemon mounts is not asked
        return [path for path, info in self.core_files(self.entries(self.own, set(mounts()))) if
                memory.search_file(path, wanted, memory.Searched(), info.st_size)]

    def control(self, data, wanted):
        """What is not found of files, and of names of files, folders and links' targets, that are put into each folder for it."""
        text, planted = data.decode(), {}
        with contextlib.ExitStack() as stack:
            for folder in (*FOLDERS, "/var/tmp", "/var/log"):
                if not os.access(folder, os.W_OK):
                    continue
                made = pathlib.Path(os.path.realpath(stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="canary-control.", dir=folder))))
                for kind in ("a file", "the name of a file", "the name of a folder", "the target of a link"):
                    (made / kind).mkdir()
                    planted[str(made / kind)] = f"{kind} in {folder}"
                (made / "a file/file").write_bytes(b"x" + data)
                (made / "the name of a file" / text).touch()
                (made / "the name of a folder" / text).mkdir()
                (made / "the target of a link/link").symlink_to(f"/none/{text}")
            found = {hit.where.removesuffix("/file") for hit in self.search(wanted, memory.Searched())}
        return [f"not found: {what}" for path, what in planted.items() if path not in found] or \
            ([] if planted else ["nothing can be written anywhere"])
