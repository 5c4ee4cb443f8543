#!/usr/bin/env python3
"""As much of crictl, which Debian does not have, as the recipes of secretlet-runtimes(7) take: CRI v1 by curl's HTTP/2.

    crictl runp POD.json | create POD-ID CONTAINER.json POD.json | start ID | exec ID COMMAND... | rmp POD-ID

CONTAINERD_SOCKET is the socket (/run/containerd/containerd.sock)."""
import json
import os
import subprocess
import sys
import tempfile

SOCKET = os.environ.get("CONTAINERD_SOCKET", "/run/containerd/containerd.sock")
# message: member -> (number, kind); kinds are other messages, str, int, map; a list of one for what is repeated
MESSAGES = {
    "sandbox": {"metadata": (1, "pod"), "log_directory": (3, "str"), "labels": (6, "map"), "annotations": (7, "map"),
                "linux": (8, "sandbox_linux")},
    "pod": {"name": (1, "str"), "uid": (2, "str"), "namespace": (3, "str")},
    "sandbox_linux": {"security_context": (2, "sandbox_security")},
    "sandbox_security": {"namespace_options": (1, "namespaces")},
    "namespaces": {"network": (1, "int")},
    "container": {"metadata": (1, "named"), "image": (2, "image"), "command": (3, ["str"]), "mounts": (7, ["mount"]),
                  "annotations": (10, "map"), "log_path": (11, "str")},
    "named": {"name": (1, "str")},
    "image": {"image": (1, "str")},
    "mount": {"container_path": (1, "str"), "host_path": (2, "str"), "readonly": (3, "int")},
    "entry": {"key": (1, "str"), "value": (2, "str")},
    "RunPodSandbox": {"config": (1, "sandbox")},
    "CreateContainer": {"pod": (1, "str"), "config": (2, "container"), "sandbox": (3, "sandbox")},
    "StartContainer": {"id": (1, "str")},
    "ExecSync": {"id": (1, "str"), "cmd": (2, ["str"]), "timeout": (3, "int")},
    "StopPodSandbox": {"id": (1, "str")},
    "RemovePodSandbox": {"id": (1, "str")},
}


def varint(n):
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def piece(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def encode(kind, value):
    out = b""
    for name, what in value.items():
        number, member = MESSAGES[kind][name]
        if member == "map":
            what, member = [{"key": key, "value": text} for key, text in what.items()], ["entry"]
        for one in what if isinstance(member, list) else [what]:
            of = member[0] if isinstance(member, list) else member
            if of == "int":
                out += varint(number << 3) + varint(int(one))
            else:
                out += piece(number, one.encode() if of == "str" else encode(of, one))
    return out


def decode(data):
    """number -> value, of the last one; bytes or int."""
    found, at = {}, 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return n

    while at < len(data):
        tag = number()
        n = number()
        if tag & 7 == 2:
            found[tag >> 3] = data[at:at + n]
            at += n
        else:
            found[tag >> 3] = n
    return found


def call(method, value):
    body = encode(method, value)
    with tempfile.NamedTemporaryFile() as headers:
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "120", "--http2-prior-knowledge", "--unix-socket", SOCKET, "-D", headers.name,
             "-H", "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-",
             f"http://localhost/runtime.v1.RuntimeService/{method}"],
            input=b"\0" + len(body).to_bytes(4, "big") + body, stdout=subprocess.PIPE, check=False)
        said = dict(line.decode(errors="replace").strip().split(": ", 1) for line in headers if b": " in line)
    if done.returncode != 0 or said.get("grpc-status") != "0":
        sys.exit(f"{method}: {said.get('grpc-message', f'curl: {done.returncode}')}")
    return decode(done.stdout[5:])


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def main(command, *words):
    if command == "runp":
        print(call("RunPodSandbox", {"config": load(words[0])})[1].decode())
    elif command == "create":
        print(call("CreateContainer", {"pod": words[0], "config": load(words[1]), "sandbox": load(words[2])})[1].decode())
    elif command == "start":
        call("StartContainer", {"id": words[0]})
        print(words[0])
    elif command == "exec":
        done = call("ExecSync", {"id": words[0], "cmd": words[1:], "timeout": 20})
        sys.stdout.write(done.get(1, b"").decode())
        sys.stderr.write(done.get(2, b"").decode())
        sys.exit(done.get(3, 0))
    elif command == "rmp":
        call("StopPodSandbox", {"id": words[0]})
        call("RemovePodSandbox", {"id": words[0]})
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
