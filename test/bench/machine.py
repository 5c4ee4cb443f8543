#!/usr/bin/env python3
"""What was measured, where and when, as one JSON object: for the report. And the same of what is no part of test/bench/run, for
its own commands (keep_figure())."""
import ctypes
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess
import time


def first(path, pattern):
    found = re.search(pattern, pathlib.Path(path).read_text(), re.MULTILINE)
    return found.group(1) if found else ""


def git(*words):
    here = pathlib.Path(__file__).parent
    return subprocess.run(["git", "-C", here, *words], capture_output=True, text=True, check=False).stdout.strip()


def library_version(library, function):
    try:
        version = getattr(ctypes.CDLL(library), function)
    except (OSError, AttributeError):
        return ""
    version.restype = ctypes.c_char_p
    return version().decode()


def first_line(*command):
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    except OSError:
        return ""
    return lines[0] if lines else ""


def api_server():
    folder = pathlib.Path(os.environ.get("KUBEBUILDER_ASSETS") or "/nonexistent")
    if not (folder / "kube-apiserver").exists():
        return "the test API server"
    kube, etcd = first_line(folder / "kube-apiserver", "--version"), first_line(folder / "etcd", "--version")
    return f"kube-apiserver {kube.rpartition(' ')[2]}, etcd {etcd.rpartition(' ')[2]}".rstrip()


def busy_processors(seconds=2):
    """How many processors others keep busy just now. (The load average still has what has ended a minute ago.)"""
    def now():
        fields = [int(f) for f in first("/proc/stat", r"^cpu +(.*)").split()]
        return sum(fields[:8]), fields[3] + fields[4]
    all_before, idle_before = now()
    time.sleep(seconds)
    everything, idle = now()
    return round((1 - (idle - idle_before) / (everything - all_before)) * os.cpu_count(), 2)


def of_now():
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": git("rev-parse", "--short=12", "HEAD") + (" and changes" if git("status", "--porcelain", "-uno") else ""),
    }


def keep_figure(folder, name, figure):
    """NAME.jsonl and NAME.took.jsonl, as test/bench/run makes them of a part."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, line in ((f"{name}.jsonl", {"bench": name} | figure),
                       (f"{name}.took.jsonl", {"bench": "elsewhere", "part": name, "quick": False} | of_now())):
        (folder / file).write_text(json.dumps(line) + "\n", encoding="utf-8")


def main():
    print(json.dumps({
        "bench": "machine",
        **of_now(),
        "processor": first("/proc/cpuinfo", r"^model name\s*: (.*)") or platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(first("/proc/meminfo", r"^MemTotal:\s*(\d+)")) / 2**20, 1),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "kernel": platform.release(),
        "secretlet": (pathlib.Path(__file__).resolve().parents[2] / "VERSION").read_text(encoding="utf-8").strip(),
        "libfuse": library_version("libfuse3.so.3", "fuse_pkgversion"),
        "curl": library_version("libcurl.so.4", "curl_version"),
        "server": api_server(),
        "busy": busy_processors(),
        "quick": bool(os.environ.get("QUICK")),
    }))


if __name__ == "__main__":
    main()
