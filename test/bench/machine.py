#!/usr/bin/env python3
"""What was measured, where and when, as one JSON object: for the report."""
import ctypes
import datetime
import json
import os
import pathlib
import platform
import re
import subprocess


def first(path, pattern):
    found = re.search(pattern, pathlib.Path(path).read_text(), re.MULTILINE)
    return found.group(1) if found else ""


def git(*words):
    here = pathlib.Path(__file__).parent
    return subprocess.run(["git", "-C", here, *words], capture_output=True, text=True, check=False).stdout.strip()


def curl_version():
    try:
        version = ctypes.CDLL("libcurl.so.4").curl_version
    except OSError:
        return ""
    version.restype = ctypes.c_char_p
    return version().decode()


def api_server():
    program = pathlib.Path(os.environ.get("KUBEBUILDER_ASSETS") or "/nonexistent", "kube-apiserver")
    if not program.exists():
        return "the test API server"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.split()
    return f"kube-apiserver {version[-1]}" if version else "kube-apiserver"


def main():
    print(json.dumps({
        "bench": "machine",
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": git("rev-parse", "--short=12", "HEAD") + (" and changes" if git("status", "--porcelain", "-uno") else ""),
        "processor": first("/proc/cpuinfo", r"^model name\s*: (.*)") or platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(int(first("/proc/meminfo", r"^MemTotal:\s*(\d+)")) / 2**20, 1),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "kernel": platform.release(),
        "curl": curl_version(),
        "server": api_server(),
        "load": os.getloadavg()[0],
        "quick": bool(os.environ.get("QUICK")),
    }))


if __name__ == "__main__":
    main()
