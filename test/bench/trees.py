#!/usr/bin/env python3
"""One volume's files, for test/bench/readpath.sh: as the kubelet writes them, and as manifests.

    trees.py KEYS SIZE FOLDER MANIFESTS

FOLDER is made as the kubelet's AtomicWriter does it, with its order of calls. In MANIFESTS there will be the Secrets and the
pod "app-KEYS-SIZE" with the volumes "links" and "flat", which show them in secretlet's two layouts. What one Secret cannot
hold (1 MiB) is in several, and the volumes are projected ones."""
import base64
import json
import os
import pathlib
import random
import sys

SECRET_MAX = 1 << 20
VERSION = "..2026_01_02_03_04_05.123456789"


def write_as_kubelet(folder, files):
    folder.mkdir(parents=True)
    (folder / VERSION).mkdir()
    for name, content in files.items():
        with open(folder / VERSION / name, "wb") as f:
            f.write(content)
        (folder / VERSION / name).chmod(0o644)
    (folder / "..data_tmp").symlink_to(VERSION)
    (folder / "..data_tmp").rename(folder / "..data")
    for name in files:
        (folder / name).symlink_to("..data/" + name)


def secrets(pod, files):
    """name -> files, as many in each as it can hold."""
    found, room = {}, 0
    for name, content in files.items():
        if len(content) > room:
            found[f"{pod}-{len(found)}"] = {}
            room = SECRET_MAX
        found[list(found)[-1]][name] = content
        room -= len(content)
    return found


def source(names):
    if len(names) == 1:
        return {"secret": {"secretName": names[0]}}
    return {"projected": {"sources": [{"secret": {"name": n}} for n in names]}}


def write_manifests(folder, pod, files):
    objects = secrets(pod, files)
    for name, content in objects.items():
        (folder / f"{name}.yaml").write_text(json.dumps({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "data": {k: base64.b64encode(v).decode() for k, v in content.items()}}))
    (folder / f"{pod}.yaml").write_text(json.dumps({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": pod, "annotations": {"secretlet.dev/volumes": "flat: {layout: flat}"}},
        "spec": {"volumes": [{"name": v, **source(list(objects))} for v in ("links", "flat")],
                 "containers": [{"name": "main", "image": "none",
                                 "volumeMounts": [{"name": v, "mountPath": "/" + v} for v in ("links", "flat")]}]}}))


def main():
    keys, size = int(sys.argv[1]), int(sys.argv[2])
    folder, manifests = pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4])
    generator = random.Random(f"{keys}/{size}")
    files = {f"key-{i:04}": generator.randbytes(size) for i in range(keys)}
    os.umask(0o022)
    write_as_kubelet(folder, files)
    write_manifests(manifests, f"app-{keys}-{size}", files)


if __name__ == "__main__":
    main()
