#!/usr/bin/env python3
"""Kills of agents and publishers at random moments, with readers and updates going on all the time.

    test/chaos/chaos.py --build DIR [--kills N] [--duration SECONDS] [--instances N] [--seed N] [--dir DIR]
    test/chaos/chaos.py --build DIR --volumes N[,N...] [--kills N]

Several daemons run side by side on the manifests source, each with 12 readers (test/tools/reader.c) and an updater; one
volume is flat. No
reader may see an error, a value that is torn, mixed or older than what was acknowledged before; each update has to give
its inotify event; and at the end nothing may be left: no process, mount or fd, and in the state arena what was in it at
the start. --volumes measures, with one daemon and no other load, how long a read that needs the agent takes when it was
killed just before.

The random choices follow from --seed alone; when which kill meets which step does not. Needs root; runs in a private mount
namespace of its own. Exit status 0 only if nothing was wrong. The logs are left in --dir if something was.
"""
import argparse
import base64
import collections
import ctypes
import json
import mmap
import os
import pathlib
import random
import re
import select
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
# pylint: disable=wrong-import-position
from machine import keep_figure  # noqa: E402

RECORD = 64
SIZES = {"small": 1, "page": 100, "big": 2200}  # in records: one page at most, a few, more than one READ
N_EXTRA = 4
PLUGIN = "volumes/kubernetes.io~secret"
SHARED_HEAD, SHARED_VOLUME = 64, 64  # test/tools/reader.c has the same layout
LATE_SEC = 90       # for what has to happen at some time; agents that die young are started ever later, by up to 10 s
STEADY_SEC = 1.1    # an agent that has lived for so long is replaced at once
GONE_SEC = 30
KILLS_IN_A_ROW = 6  # without an update that comes through: on a slow machine kills could follow each other for ever

# index -> (pod, volume, secret)
VOLUMES = [("web", "a", "s0"), ("web", "b", "s1"), ("api", "c", "s0"), ("api", "d", "s2"), ("api", "flat", "s2")]
LOCKSTEP = ("s0", "s1")     # the next update comes when the last one is seen; s2 is updated without looking
READERS = [("open", 0), ("direct", 2), ("stat", 1), ("held", 3), ("mapped", 0), ("version", 1), ("moved", 0), ("key", 2),
           ("open", 4), ("flat", 4), ("mapped", 4), ("key", 4)]
CHURNED = ("churn", "e", "s3")

KILLS = [  # (what, signal), weight
    (("agent", signal.SIGKILL), 40), (("publisher", signal.SIGKILL), 20), (("both", signal.SIGKILL), 14),
    (("agent", signal.SIGSEGV), 4), (("agent", signal.SIGABRT), 4), (("burst", signal.SIGKILL), 14),
    (("agent", signal.SIGSTOP), 2), (("publisher", signal.SIGSTOP), 2),
]


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


def replace(path, content):
    new = path.with_name("." + path.name + ".new")
    new.write_text(content)
    new.rename(path)


def value(secret, key, generation):
    n = SIZES.get(key, 3)
    return "".join(f"{secret:<23.23} {key:<14.14} {generation:010} {i:06}/{n:06}\n" for i in range(n)).encode()


def manifest(secret, keys, generation):
    data = "".join(f"  {k}: {base64.b64encode(value(secret, k, generation)).decode()}\n" for k in keys)
    return f"apiVersion: v1\nkind: Secret\nmetadata: {{name: {secret}}}\ndata:\n{data}"


def pod_manifest(pod, volumes):
    lines = "".join(f"  - {{name: {v}, secret: {{secretName: {s}}}}}\n" for v, s in volumes)
    mounts = "".join(f"    - {{name: {v}, mountPath: /{v}}}\n" for v, _ in volumes)
    asks = ', annotations: {secretlet.dev/volumes: "flat: {layout: flat}"}' if any(v == "flat" for v, _ in volumes) else ""
    return (f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}, uid: uid-{pod}{asks}}}\nspec:\n  volumes:\n{lines}"
            f"  containers:\n  - name: main\n    image: none\n    volumeMounts:\n{mounts}")


class Daemon:
    """One keeper and what it has started."""

    def __init__(self, build, folder, memory="256Mi"):
        self.secretlet, self.dir = build / "secretlet", folder
        folder.mkdir()
        folder.chmod(0o755)
        self.manifests, self.pods, self.run, self.log = (folder / n for n in ("manifests", "pods", "run", "daemon.log"))
        self.manifests.mkdir()
        (folder / "config.yaml").write_text(
            "apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\n"
            f"manifestsDir: {self.manifests}\npodsDir: {self.pods}\nruntimeDir: {self.run}\n"
            f"agentHangTimeout: 1s\nsecretMemoryLimit: {memory}\n")

    def start(self):
        self.process = subprocess.Popen([self.secretlet, "run", "--config", self.dir / "config.yaml"],
                                        stderr=open(self.log, "ab"), stdin=subprocess.DEVNULL,
                                        preexec_fn=die_with_parent)
        self.wait("the daemon to start", lambda: self.status() is not None)

    def wait(self, what, condition, seconds=LATE_SEC, pause=0.02):
        end = time.monotonic() + seconds
        while not (result := condition()):
            if time.monotonic() > end:
                raise RuntimeError(f"waited {seconds} s for {what}")
            if self.process.poll() is not None:
                raise RuntimeError(f"the daemon has ended with {self.process.returncode}")
            time.sleep(pause)
        return result

    def ask(self, *words):
        """None while there is no answer."""
        done = subprocess.run([self.secretlet, *words, "--runtime-dir", self.run, "-o", "json"], check=False, timeout=60,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return None

    def status(self):
        return self.ask("status")

    def volume(self, pod, name):
        return self.pods / f"uid-{pod}" / PLUGIN / name

    def children(self):
        return self.children_of(self.process.pid)

    @staticmethod
    def children_of(keeper):
        found = {}
        for pid in pathlib.Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split():
            try:
                name = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
            except OSError:
                continue
            found[name.removeprefix("secretlet-")] = int(pid)
        return found

    def child(self, name, seconds=LATE_SEC):
        return self.wait(f"an {name}", lambda: self.children().get(name), seconds, 0.001)

    def fds(self):
        """Of the keeper and its children."""
        pids = {"keeper": self.process.pid, **self.children()}
        return {name: len(os.listdir(f"/proc/{pid}/fd")) for name, pid in sorted(pids.items())}

    def footprint(self):
        status = self.status()
        if not status or not status["publisher"]["attached"] or status["publisher"]["queued"]:
            return None
        return {"bytes": status["secretMemory"]["usedBytes"], "blocks": status["secretMemory"]["blocks"],
                "nodes": status["tree"]["nodes"], "detached": status["tree"]["detached"], "fds": self.fds(),
                "mounts": self.mounts()}

    def mounts(self):
        return sum(f" {self.pods} " in line for line in open("/proc/self/mountinfo"))

    def stop(self):
        children = self.children().values()
        self.process.terminate()
        status = self.process.wait(60)
        if status != 0:
            raise RuntimeError(f"the daemon has ended with {status}")
        end = time.monotonic() + GONE_SEC
        while any(is_running(pid) for pid in children):
            if time.monotonic() > end:
                raise RuntimeError("a child has outlived the daemon")
            time.sleep(0.05)
        if self.mounts():
            raise RuntimeError("a mount has outlived the daemon")


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def send(pid, signo):
    """Returns when the process has received it, and, if that ends it, has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        signal.pidfd_send_signal(fd, signo)
        if signo != signal.SIGSTOP:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll(20000)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)


class Probe:
    """A read that is always a request."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        self.buffer = mmap.mmap(-1, 4096)

    def read(self):
        if os.preadv(self.fd, [self.buffer], 0) <= 0:
            raise RuntimeError("the probe has read nothing")


class Shared:
    def __init__(self, path, n):
        path.write_bytes(bytes(SHARED_HEAD + n * SHARED_VOLUME))
        self.map = mmap.mmap(os.open(path, os.O_RDWR), 0)

    def get(self, i, field):
        return struct.unpack_from("=Q", self.map, SHARED_HEAD + i * SHARED_VOLUME + 8 * field)[0]

    def acknowledge(self, i, generation):
        struct.pack_into("=Q", self.map, SHARED_HEAD + i * SHARED_VOLUME, generation)

    def seen(self, i):
        return max(self.get(i, 0), self.get(i, 1))

    def moved(self, i):
        return self.get(i, 2)

    def armed(self, i):
        return self.get(i, 3)

    def stop(self):
        struct.pack_into("=Q", self.map, 0, 1)


class Instance:
    def __init__(self, args, number):
        self.args, self.number = args, number
        self.daemon = Daemon(args.build, args.dir / f"daemon-{number}")
        self.dir = self.daemon.dir
        self.shared = Shared(self.dir / "shared", len(VOLUMES))
        self.failures, self.lock = [], threading.Lock()
        self.ending, self.updated = threading.Event(), threading.Event()
        self.generations, self.extras = collections.Counter(), {}
        self.n_updates, self.kills, self.waits = collections.Counter(), collections.Counter(), []
        self.readers = []
        self.n_through, self.kills_then = 0, (0, 0)  # updates that came through; when it was that many, and kills then

    def fail(self, text):
        with self.lock:
            self.failures.append(text)
        print(f"daemon {self.number}: {text}", file=sys.stderr, flush=True)

    # --- updates

    def write_secret(self, name, rng):
        self.generations[name] += 1
        self.extras[name] = sorted(f"extra-{i}" for i in range(N_EXTRA) if rng.random() < 0.5)
        replace(self.daemon.manifests / f"{name}.yaml",
                manifest(name, [*SIZES, *self.extras[name]], self.generations[name]))
        self.n_updates[name] += 1
        self.updated.set()

    def version(self, pod, volume):
        """What the daemon says of a volume: (state, version, error)."""
        for p in (self.daemon.ask("volumes") or {}).get("pods", []):
            for v in p["volumes"]:
                if p["name"] == pod and v["name"] == volume:
                    return v["state"], v["version"], v["error"]
        return None, None, None

    def shown_generation(self, path):
        """0 if it is not there; a value that is not whole is the readers' to find."""
        try:
            return int((path / "small").read_bytes()[39:49])
        except FileNotFoundError:
            return 0

    def check_all(self, pod, volume, secret):
        """Every key, and no other, in the generation that was acknowledged."""
        path, keys = self.daemon.volume(pod, volume), sorted([*SIZES, *self.extras[secret]])
        listed = sorted(n for n in os.listdir(path) if not n.startswith(".."))
        if listed != keys:
            self.fail(f"{path}: generation {self.generations[secret]} was acknowledged, its keys are {listed}, not {keys}")
            return
        for key in keys:
            if (path / key).read_bytes() != value(secret, key, self.generations[secret]):
                self.fail(f"{path}/{key}: not generation {self.generations[secret]}, which was acknowledged")

    def lockstep(self, secret, rng):
        shown = [(i, v) for i, v in enumerate(VOLUMES) if v[2] == secret]
        ask = rng.random() < 0.5
        before = {i: os.readlink(self.daemon.volume(*v[:2]) / "..data") for i, v in shown}
        self.write_secret(secret, rng)
        generation = self.generations[secret]

        def is_reported(i, v):
            # an update that is seen already, and not yet at its end, is reported in the version before it
            state, version, error = self.version(*v[:2])
            return (state == "ready" and version != before[i] and not error and
                    version == os.readlink(self.daemon.volume(*v[:2]) / "..data"))

        for i, v in shown:
            path = self.daemon.volume(*v[:2])
            if ask:
                self.daemon.wait(f"{path} to be reported in generation {generation}", lambda: is_reported(i, v))
                self.shared.acknowledge(i, generation)
                self.check_all(*v)
            else:
                self.daemon.wait(f"{path} to show generation {generation}",
                                 lambda: self.shown_generation(path) == generation, pause=0.002)
                self.shared.acknowledge(i, generation)

    def churn(self, rng):
        """A pod that comes and goes."""
        pod, volume, secret = CHURNED
        file, path = self.daemon.manifests / f"{pod}.yaml", self.daemon.volume(pod, volume)
        if file.exists():
            file.unlink()
            self.updated.set()
            self.daemon.wait(f"{path} to go", lambda: not path.exists(), pause=0.002)
            return
        self.write_secret(secret, rng)
        replace(file, pod_manifest(pod, [(volume, secret)]))
        self.updated.set()
        # the first that is seen of it is all of it: either generation, if it was set up before
        self.daemon.wait(f"{path} to come", path.exists, pause=0.002)
        for key in SIZES:
            try:
                (path / key).read_bytes()
            except OSError as e:
                self.fail(f"{path} is there, but {key}: {e}")
        self.daemon.wait(f"{path} to show the newest generation",
                         lambda: self.shown_generation(path) == self.generations[secret])

    def update(self):
        rng = random.Random(f"{self.args.seed}/{self.number}/updates")
        while not self.ending.is_set():
            action = rng.random()
            if action < 0.15:
                self.churn(rng)
            else:
                self.lockstep(rng.choice(LOCKSTEP), rng)
            self.n_through += 1
            self.ending.wait(rng.uniform(0, 0.1))

    def update_blindly(self):
        rng = random.Random(f"{self.args.seed}/{self.number}/blind")
        while not self.ending.is_set():
            self.write_secret("s2", rng)
            self.ending.wait(rng.uniform(0.02, 0.3))

    # --- kills

    def kill(self, what, signo, rng):
        self.kills[f"{what} {signo.name}"] += 1
        if what == "publisher":
            pid = self.daemon.child("publisher")
            sent = send(pid, signo)
            if sent and signo == signal.SIGSTOP:
                time.sleep(rng.uniform(0.1, 1))
                send(pid, signal.SIGKILL if rng.random() < 0.5 else signal.SIGCONT)
            return
        if what == "both":
            pids = [self.daemon.child("agent"), self.daemon.children().get("publisher")]
            rng.shuffle(pids)
            for pid in filter(None, pids):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            begun = time.monotonic()
            # killed, the publisher may have to wait for the next agent
            self.daemon.wait("an agent to go", lambda: not any(is_running(p) for p in pids[:1]) or True)
        else:
            pid, begun = self.daemon.child("agent"), time.monotonic()
            sent = send(pid, signo)
            if sent and signo == signal.SIGSTOP:
                self.daemon.wait("the watchdog", lambda: not is_running(pid))
        for _ in range(rng.randint(1, 3) if what == "burst" else 0):
            pid = self.daemon.child("agent")
            time.sleep(rng.uniform(0, 0.03))
            begun = time.monotonic()
            if send(pid, signo):
                self.kills["during a resume"] += 1
        self.probe.read()
        if what != "burst" and signo != signal.SIGSTOP:
            self.waits.append(1000 * (time.monotonic() - begun))

    def let_through(self):
        """Waits for an update to come through when too many kills have been in the way of it."""
        n, kills = self.kills_then
        if self.n_through == n and self.n_kills() - kills >= KILLS_IN_A_ROW:
            self.daemon.wait("an update to come through", lambda: self.n_through != n or self.failures)
        if self.n_through != n:
            self.kills_then = (self.n_through, self.n_kills())

    def kill_all(self):
        rng = random.Random(f"{self.args.seed}/{self.number}/kills")
        n = self.args.kills // self.args.instances
        whats, weights = zip(*KILLS)
        begun = time.monotonic()
        while (done := self.n_kills()) < n:
            pause = begun + (done + rng.uniform(0, 1)) * self.args.duration / n - time.monotonic()
            aimed, aim = rng.random() < 0.5, rng.uniform(0, 0.05)
            if pause > 0:
                time.sleep(pause)
            self.let_through()
            if aimed:
                self.updated.clear()
                self.updated.wait(1)
                time.sleep(aim)
            self.kill(*rng.choices(whats, weights)[0], rng)
            if rng.random() < 0.05:
                drop_caches()
            if self.failures:
                break

    def n_kills(self):
        return sum(self.kills.values())

    # --- all of it

    def start_readers(self):
        for n, (mode, i) in enumerate(READERS):
            pod, volume, secret = VOLUMES[i]
            out = open(self.dir / f"reader-{n}.out", "wb")
            err = open(self.dir / f"reader-{n}.err", "wb")
            self.readers.append(subprocess.Popen(
                [self.args.build / "test/tools/reader", self.dir / "shared", str(i), mode,
                 self.daemon.volume(pod, volume), secret, str(self.args.seed * 100 + self.number * 10 + n)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err))

    def stop_readers(self):
        self.shared.stop()
        looks, longest = collections.Counter(), 0.0
        for n, reader in enumerate(self.readers):
            mode = READERS[n][0]
            try:
                status = reader.wait(LATE_SEC)
            except subprocess.TimeoutExpired:
                self.fail(f"reader {mode} hangs")
                continue
            text = (self.dir / f"reader-{n}.err").read_text(errors="replace").strip()
            if status != 0 or text:
                self.fail(f"reader {mode}: exit status {status}\n{text}")
            for line in (self.dir / f"reader-{n}.out").read_text().splitlines():
                said = json.loads(line)
                looks[mode] += said["looks"]
                longest = max(longest, said["longestMs"])
        return looks, longest

    def check_events(self):
        for n, (mode, i) in enumerate(READERS):
            if mode != "moved":
                continue
            expected = self.n_updates[VOLUMES[i][2]] - self.before_readers[VOLUMES[i][2]]
            try:
                self.daemon.wait("the last event", lambda: self.shared.moved(i) >= expected, 5)
            except RuntimeError:
                self.fail(f"{self.shared.moved(i)} events for {expected} updates")
            return expected, self.shared.moved(i)

    def footprint_of_nothing(self, rng):
        """After a first pod has come and gone: its parent folders stay."""
        self.churn(rng)
        self.churn(rng)
        (self.daemon.manifests / f"{CHURNED[2]}.yaml").unlink()
        last = None

        def is_quiet():
            nonlocal last
            drop_caches()
            now = self.daemon.footprint()
            last, before = now, last
            return now and now == before

        self.daemon.wait("a quiet start", is_quiet, pause=0.5)
        return last

    def check_end(self, before):
        """Everything is as it was before the pods came."""
        for file in self.daemon.manifests.iterdir():
            file.unlink()
        left = None

        def is_clean():
            nonlocal left
            drop_caches()
            left = self.daemon.footprint()
            return left == before

        try:
            self.daemon.wait("everything to go", is_clean, GONE_SEC, 0.5)
        except RuntimeError as e:
            self.fail(f"{e}: {left}, at the start {before}")

    def check_log(self):
        text = self.daemon.log.read_text(errors="replace")
        for line in text.splitlines():
            if re.search(r"it is answered with an error|running containers must be restarted|state arena:|hangs in", line):
                self.fail(f"the log says: {line}")

    def run(self):
        self.daemon.start()
        rng = random.Random(f"{self.args.seed}/{self.number}/start")
        before = self.footprint_of_nothing(rng)
        for secret in ("s0", "s1", "s2"):
            self.write_secret(secret, rng)
        for pod in ("web", "api"):
            replace(self.daemon.manifests / f"{pod}.yaml", pod_manifest(pod, [v[1:] for v in VOLUMES if v[0] == pod]))
        for v in VOLUMES:
            self.daemon.wait(f"volume {v[1]}", (self.daemon.volume(*v[:2]) / "small").exists)
        self.start_readers()
        self.daemon.wait("the inotify reader", lambda: any(self.shared.armed(i) for i in range(len(VOLUMES))))
        self.before_readers = collections.Counter(self.n_updates)
        self.probe = Probe(self.daemon.volume(*VOLUMES[1][:2]) / "small")
        threads = [threading.Thread(target=self.guard, args=(f,), daemon=True)
                   for f in (self.update, self.update_blindly, self.kill_all)]
        begun = time.monotonic()
        for t in threads:
            t.start()
        threads[-1].join()
        seconds = time.monotonic() - begun
        self.ending.set()
        for t in threads[:-1]:
            t.join(LATE_SEC)
        if not self.failures:
            for v in VOLUMES:
                self.daemon.wait(f"the last generation in {v[1]}",
                                 lambda v=v: self.shown_generation(self.daemon.volume(*v[:2])) == self.generations[v[2]])
                self.daemon.wait(f"{v[1]} to be ready", lambda v=v: self.version(*v[:2])[0] == "ready")
                self.check_all(*v)
        events = self.check_events()
        looks, longest = self.stop_readers()
        os.close(self.probe.fd)
        if not self.failures:
            self.check_end(before)
            self.daemon.stop()
        self.check_log()
        return {"failures": self.failures, "kills": self.kills, "waits": self.waits, "looks": looks,
                "longestMs": longest, "updates": self.n_updates, "events": events, "seconds": seconds}

    def guard(self, function):
        try:
            function()
        except Exception as e:  # noqa: BLE001, whatever it is, the run has failed
            if not isinstance(e, RuntimeError):
                traceback.print_exc()
            self.fail(f"{function.__name__}: {e}")
            self.ending.set()


def drop_caches():
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        pass  # not in every container


def quantiles(ms):
    ms = sorted(ms)
    return (f"median {statistics.median(ms):.1f} ms, p99 {ms[min(len(ms) - 1, int(len(ms) * 0.99))]:.1f} ms, "
            f"max {ms[-1]:.1f} ms")


def instance_main(args, number):
    instance = Instance(args, number)
    try:
        result = instance.run()
    except Exception as e:  # noqa: BLE001
        traceback.print_exc()
        instance.fail(str(e))
        instance.shared.stop()
        result = {"failures": instance.failures}
    (instance.dir / "result.json").write_text(json.dumps(result))
    if hasattr(instance.daemon, "process") and instance.daemon.process.poll() is None:
        instance.daemon.process.kill()
    os._exit(0 if not result["failures"] else 1)


def chaos(args):
    pids = {}
    for number in range(args.instances):
        if (pid := os.fork()) == 0:
            die_with_parent()
            instance_main(args, number)
        pids[pid] = number
    end = time.monotonic() + args.duration * 3 + 6 * LATE_SEC
    while pids and time.monotonic() < end:
        pid, _ = os.waitpid(-1, os.WNOHANG)
        pids.pop(pid, None)
        time.sleep(0.2)
    results, failed = [], bool(pids)
    for pid, number in pids.items():
        print(f"daemon {number}: no end", file=sys.stderr)
        os.kill(pid, signal.SIGKILL)
    for number in range(args.instances):
        file = args.dir / f"daemon-{number}" / "result.json"
        results.append(json.loads(file.read_text()) if file.exists() else {"failures": ["no result"]})
        for text in results[-1]["failures"]:
            failed = True
            print(f"FAILED daemon {number}: {text}")
    total = {k: collections.Counter() for k in ("kills", "looks", "updates")}
    for r in results:
        for k, counter in total.items():
            counter.update(r.get(k, {}))
    waits = [w for r in results for w in r.get("waits", [])]
    n_events = [r["events"] for r in results if r.get("events")]
    print(f"seed {args.seed}: {sum(total['kills'].values())} kills in {max(r.get('seconds', 0) for r in results):.0f} s: "
          + ", ".join(f"{k} {n}" for k, n in sorted(total["kills"].items())))
    print(f"{sum(total['updates'].values())} updates, {sum(e[0] for e in n_events)} of them watched, "
          f"{sum(e[1] for e in n_events)} events")
    print("looks: " + ", ".join(f"{k} {n}" for k, n in sorted(total["looks"].items())))
    if waits:
        print(f"from a kill of the agent to the first answered read, under this load: {quantiles(waits)}; "
              f"the longest look of any reader: {max(r.get('longestMs', 0) for r in results):.0f} ms")
    if args.figures:
        keep_figure(args.figures, "chaos", {
            "seed": args.seed, "kills": sum(total["kills"].values()), "updates": sum(total["updates"].values()),
            "looks": sum(total["looks"].values()), "failures": sum(len(r["failures"]) for r in results) + len(pids)})
    return failed


# ---- how long a resume takes

def start_with(daemon, n_volumes):
    """Starts it; returns what says whether all its volumes are ready."""
    n_pods = (n_volumes + 9) // 10
    for i in range(n_volumes):
        data = "".join(f"  key-{k}: {base64.b64encode(os.urandom(300)).decode()}\n" for k in range(3))
        (daemon.manifests / f"s{i}.yaml").write_text(
            f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s{i}}}\ndata:\n{data}")
    for p in range(n_pods):
        names = [(f"v{i}", f"s{i}") for i in range(p * 10, min(n_volumes, p * 10 + 10))]
        (daemon.manifests / f"p{p}.yaml").write_text(pod_manifest(f"p{p}", names))
    daemon.start()

    def is_ready():
        status = daemon.status()
        return status and status["volumes"]["ready"] == n_volumes

    daemon.wait("the volumes", is_ready, pause=0.2)
    return is_ready


def measure(args, n_volumes):
    daemon = Daemon(args.build, args.dir / f"volumes-{n_volumes}")
    is_ready = start_with(daemon, n_volumes)
    probe, waits = Probe(daemon.volume("p0", "v0") / "key-0"), []
    for _ in range(args.kills):
        time.sleep(STEADY_SEC)
        daemon.wait("the volumes", is_ready, pause=0.2)
        pid, begun = daemon.child("agent"), time.monotonic()
        if not send(pid, signal.SIGKILL):
            raise RuntimeError("no agent to kill")
        probe.read()
        waits.append(1000 * (time.monotonic() - begun))
    os.close(probe.fd)
    daemon.stop()
    print(f"{n_volumes} volumes, {args.kills} kills: {quantiles(waits)}", flush=True)
    return statistics.median(waits)


def measure_all(args):
    medians = {n: measure(args, n) for n in args.volumes}
    few, many = min(medians), max(medians)
    if few != many:
        print(f"{(medians[many] - medians[few]) / (many - few) * 100:.2f} ms for each 100 volumes more")
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--kills", type=int)
    parser.add_argument("--duration", type=float, default=500, help="seconds that the kills are spread over")
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", type=pathlib.Path)
    parser.add_argument("--figures", type=pathlib.Path, help="folder of test/bench/report, for what was found")
    parser.add_argument("--volumes", type=lambda s: [int(n) for n in s.split(",")])
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("chaos: needs root")
    if os.environ.get("CHAOS_NAMESPACE") != str(os.getppid()) and "CHAOS_NAMESPACE" not in os.environ:
        os.environ["CHAOS_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable] + sys.argv)
    args.build = args.build.resolve()
    args.figures = args.figures and args.figures.resolve()
    args.kills = args.kills or (20 if args.volumes else 1000)
    folder = args.dir or pathlib.Path(tempfile.mkdtemp(prefix="secretlet-chaos."))
    folder.mkdir(exist_ok=True, parents=True)
    args.dir = folder.resolve()
    args.dir.chmod(0o755)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    failed = measure_all(args) if args.volumes else chaos(args)
    if failed:
        print(f"the logs are in {args.dir}")
    elif not os.environ.get("KEEP"):
        shutil.rmtree(args.dir)
    print("FAILED" if failed else "passed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
