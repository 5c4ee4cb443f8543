#!/usr/bin/python3
"""A kubelet's part towards a container runtime, as far as tests need it: CRI v1 by curl, which speaks HTTP/2.

cri.py SOCKET run POD.yaml UID [KEY=VALUE...]   a pod's sandbox and containers, with these annotations beside its own:
                                                "sandbox ID", then "container NAME ID" or "container NAME failed: WHY"
cri.py SOCKET exec CONTAINER WORD...            a command in a container: what it prints
cri.py SOCKET remove SANDBOX

Field numbers are those of k8s.io/cri-api, pkg/apis/runtime/v1/api.proto. The pod is on the host's network, so no CNI is
needed, and each volumeMount is an empty folder of the host's, as the kubelet's own volume would be a folder of its."""
import os
import struct
import subprocess
import sys
import tempfile
import urllib.parse

import yaml

HOST = 2  # NamespaceMode NODE


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def message(*fields):
    """(number, value) with value: int, text, an encoded message, or a map of texts"""
    out = b""
    for number, value in fields:
        if isinstance(value, dict):
            out += message(*((number, message((1, k), (2, v))) for k, v in value.items()))
        elif isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def parse(data):
    """The fields with a length, by number; the last one counts."""
    fields, at = {}, 0

    def number():
        nonlocal at
        n = shift = 0
        while True:
            byte = data[at]
            at += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n

    while at < len(data):
        key = number()
        value = number()
        if key & 7 == 2:
            value, at = data[at:at + value], at + value
        fields[key >> 3] = value
    return fields


class Failed(Exception):
    pass


def call(socket, method, *fields):
    request = message(*fields)
    with tempfile.NamedTemporaryFile() as trailers:
        reply = subprocess.run(
            ["curl", "-sS", "--http2-prior-knowledge", "--unix-socket", socket, "-D", trailers.name, "--data-binary", "@-",
             "-H", "content-type: application/grpc", "-H", "te: trailers", f"http://cri/runtime.v1.RuntimeService/{method}"],
            input=struct.pack(">BI", 0, len(request)) + request, stdout=subprocess.PIPE, check=True).stdout
        headers = dict(line.split(": ", 1) for line in trailers.read().decode().splitlines() if ": " in line)
    if headers.get("grpc-status") != "0":
        raise Failed(urllib.parse.unquote(headers.get("grpc-message", str(headers))))
    return parse(reply[5:])


def labels(pod, uid, container=None):
    meta = pod["metadata"]
    own = {"io.kubernetes.pod.name": meta["name"], "io.kubernetes.pod.namespace": meta.get("namespace", "default"),
           "io.kubernetes.pod.uid": uid}
    return own | ({"io.kubernetes.container.name": container} if container else {})


def run(socket, path, uid, *more):
    with open(path, encoding="utf-8") as f:
        pod = yaml.safe_load(f)
    meta, folders = pod["metadata"], tempfile.mkdtemp()
    annotations = meta.get("annotations", {}) | dict(pair.split("=", 1) for pair in more)
    host = message((1, HOST), (2, 1), (3, HOST))
    sandbox = message((1, message((1, meta["name"]), (2, uid), (3, meta.get("namespace", "default")), (4, 0))),
                      (3, folders), (6, labels(pod, uid)), (7, annotations), (8, message((2, message((1, host))))))
    sandbox_id = call(socket, "RunPodSandbox", (1, sandbox), (2, pod["spec"].get("runtimeClassName", "")))[1].decode()
    print("sandbox", sandbox_id)
    for c in pod["spec"]["containers"]:
        mounts = []
        for i, m in enumerate(c.get("volumeMounts", [])):
            folder = os.path.join(folders, f"{c['name']}-{i}")
            os.mkdir(folder)
            mounts.append((7, message((1, m["mountPath"]), (2, folder), (3, 1))))
        config = message((1, message((1, c["name"]), (2, 0))), (2, message((1, c["image"]))), *mounts,
                         (9, labels(pod, uid, c["name"])), (10, {"io.kubernetes.container.restartCount": "0"}),
                         (11, c["name"] + ".log"), (15, message((2, message((3, host))))))
        try:
            container = call(socket, "CreateContainer", (1, sandbox_id), (2, config), (3, sandbox))[1].decode()
            call(socket, "StartContainer", (1, container))
            print("container", c["name"], container)
        except Failed as e:
            print("container", c["name"], "failed:", str(e).replace("\n", " "))


def execute(socket, container, *words):
    reply = call(socket, "ExecSync", (1, container), *((2, word) for word in words), (3, 60))
    sys.stdout.buffer.write(reply.get(1, b"") + reply.get(2, b""))
    sys.exit(reply.get(3, 0))


def remove(socket, sandbox):
    call(socket, "StopPodSandbox", (1, sandbox))
    call(socket, "RemovePodSandbox", (1, sandbox))


if __name__ == "__main__":
    {"run": run, "exec": execute, "remove": remove}[sys.argv[2]](sys.argv[1], *sys.argv[3:])
