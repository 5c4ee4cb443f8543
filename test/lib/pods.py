#!/usr/bin/env python3
"""What a kubelet and its runtime make of a manifest, for tests that start containers without them.

    pods.py objects FILE...           all objects of these YAML files, as a JSON array
    pods.py bundle OPTION... <OBJECTS the one container of the DaemonSet among them, as an OCI bundle's config.json

bundle's options: --init (its one init container instead), --spec FILE (the runtime's own `spec`), --rootfs DIR, --host DIR (where the node's hostPaths are; devices are this
machine's), --node NAME, --account DIR (what the kubelet mounts of the ServiceAccount), --work DIR (for what it makes), --env
NAME=VALUE (what it adds), --all-capabilities NAME,... (what privileged means here)."""
import argparse
import json
import os
import re
import stat
import sys

import yaml

ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
# core/v1, MountPropagationMode: what the kubelet has the runtime do
PROPAGATION = {"None": "rprivate", "HostToContainer": "rslave", "Bidirectional": "rshared"}
UNLIKE_A_KUBELET = "this script does not know %s: say there what the kubelet does with it"


def objects(paths):
    found = []
    for path in paths:
        with open(path, encoding="utf-8") as f:
            found += [o for o in yaml.safe_load_all(f) if o is not None]
    return found


def only(kind, among, name=None):
    found = [o for o in among if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    if len(found) != 1:
        sys.exit(f"pods.py: {len(found)} objects are {kind} {name or ''}")
    return found[0]


def known(what, obj, keys):
    """A field that is passed over would be one that is not tested."""
    for key in obj:
        if key not in keys:
            sys.exit("pods.py: " + UNLIKE_A_KUBELET % f"{what}.{key}")


def host_path(volume, args):
    source, kind = volume["path"], volume.get("type", "")
    if kind == "CharDevice":
        if not stat.S_ISCHR(os.stat(source).st_mode):
            sys.exit(f"pods.py: {source} is no character device")
        return source
    source = args.host + source
    if kind == "DirectoryOrCreate":
        os.makedirs(source, mode=0o755, exist_ok=True)
    elif kind != "Directory":
        sys.exit("pods.py: " + UNLIKE_A_KUBELET % f"hostPath.type {kind}")
    if not os.path.isdir(source):
        sys.exit(f"pods.py: hostPath {source} is no directory")
    return source


def config_map(name, among, args):
    """A folder as the kubelet makes it."""
    folder = os.path.join(args.work, "configmap-" + name)
    os.makedirs(os.path.join(folder, "..first"), exist_ok=True)
    if not os.path.islink(os.path.join(folder, "..data")):
        os.symlink("..first", os.path.join(folder, "..data"))
    for key, text in only("ConfigMap", among, name)["data"].items():
        with open(os.path.join(folder, "..data", key), "w", encoding="utf-8") as f:
            f.write(text)
        if not os.path.islink(os.path.join(folder, key)):
            os.symlink("..data/" + key, os.path.join(folder, key))
    return folder


def volume_source(volume, among, args):
    known("volume", volume, ("name", "hostPath", "configMap"))
    if "hostPath" in volume:
        return host_path(volume["hostPath"], args)
    known("volume.configMap", volume["configMap"], ("name",))
    return config_map(volume["configMap"]["name"], among, args)


def mounts(pod, container, among, args):
    volumes = {v["name"]: v for v in pod["volumes"]}
    for mount in container["volumeMounts"]:
        known("volumeMount", mount, ("name", "mountPath", "mountPropagation", "readOnly"))
        yield {"destination": mount["mountPath"], "type": "bind",
               "source": volume_source(volumes[mount["name"]], among, args),
               "options": ["rbind", PROPAGATION[mount.get("mountPropagation", "None")],
                           "ro" if mount.get("readOnly") else "rw"]}
    if pod["automountServiceAccountToken"]:
        yield {"destination": ACCOUNT_DIR, "type": "bind", "source": args.account, "options": ["rbind", "rprivate", "ro"]}


def environment(container, args):
    env = dict(e.split("=", 1) for e in ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] + args.env)
    for e in container.get("env", []):
        if e["valueFrom"] != {"fieldRef": {"fieldPath": "spec.nodeName"}}:
            sys.exit("pods.py: " + UNLIKE_A_KUBELET % f"env {e['name']}")
        env[e["name"]] = args.node
    return env


def make_privileged(spec, args):
    """As containerd and CRI-O do: all capabilities and devices, nothing masked, no filter, /sys is writable."""
    capabilities = args.all_capabilities.split(",")
    spec["process"]["capabilities"] = {k: capabilities for k in ("bounding", "effective", "permitted")}
    spec["process"].pop("noNewPrivileges", None)
    spec["linux"].update(maskedPaths=[], readonlyPaths=[], resources={"devices": [{"allow": True, "access": "rwm"}]})
    spec["linux"].pop("seccomp", None)
    for mount in spec["mounts"]:
        if mount["type"] in ("sysfs", "cgroup"):
            mount["options"] = [o for o in mount["options"] if o != "ro"]


def bundle(among, args):
    pod = only("DaemonSet", among)["spec"]["template"]["spec"]
    known("pod", pod, ("serviceAccountName", "automountServiceAccountToken", "priorityClassName", "nodeSelector", "tolerations",
                       "terminationGracePeriodSeconds", "initContainers", "containers", "volumes"))
    container, = pod["initContainers" if args.init else "containers"]
    known("container", container, ("name", "image", "command" if args.init else "args", "env", "securityContext", "resources",
                                   "readinessProbe", "volumeMounts"))
    security = container["securityContext"]
    known("securityContext", security, ("privileged", "runAsUser", "runAsGroup", "readOnlyRootFilesystem"))
    with open(args.spec, encoding="utf-8") as f:
        spec = json.load(f)
    env = environment(container, args)
    # else the image's entry point
    words = container.get("command", ["/usr/bin/secretlet"]) + container.get("args", [])
    words = [re.sub(r"\$\((\w+)\)", lambda m: env[m[1]], a) for a in words]
    spec["root"] = {"path": args.rootfs, "readonly": security["readOnlyRootFilesystem"]}
    # the network is this machine's, for the API server is there
    spec["process"].update(terminal=False, args=words, cwd="/", rlimits=[],
                           env=[f"{k}={v}" for k, v in env.items()],
                           user={"uid": security["runAsUser"], "gid": security["runAsGroup"]})
    spec["linux"]["namespaces"] = [{"type": t} for t in ("pid", "ipc", "uts", "mount")]
    if security["privileged"]:
        make_privileged(spec, args)
    spec["mounts"] += mounts(pod, container, among, args)
    propagations = {m.get("mountPropagation") for m in container["volumeMounts"]}
    spec["linux"]["rootfsPropagation"] = "rshared" if "Bidirectional" in propagations else "rslave"
    return spec


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("objects").add_argument("files", nargs="+")
    command = commands.add_parser("bundle")
    for option in ("spec", "rootfs", "host", "node", "account", "work", "all-capabilities"):
        command.add_argument("--" + option, required=True)
    command.add_argument("--init", action="store_true")
    command.add_argument("--env", action="append", default=[])
    args = parser.parse_args()
    made = objects(args.files) if args.command == "objects" else bundle(json.load(sys.stdin), args)
    json.dump(made, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
