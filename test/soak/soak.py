#!/usr/bin/env python3
"""A soak of the whole daemon against a real kube-apiserver and etcd, with random faults.

    test/soak/soak.py --build DIR [--duration SECONDS] [--seed N] [--dir DIR]

Two daemons: one as system:node:node-1 with a client certificate, one as a service account with a role and a tokenFile,
each behind a relay that can cut, stall and delay its connections. While Secrets and pods change at random, the API server
is killed, stopped and restarted, etcd is restarted and compacted, rights are revoked and granted, certificates, CAs and
tokens rotate, connections are cut and fall silent, and the change detection strategy is switched. Readers look at the
published volumes all the time. At the end the faults stop and every volume has to equal what the API server has.

Needs KUBEBUILDER_ASSETS and root; runs in a private mount namespace of its own. Exit status 0 only if nothing was wrong,
77 when there is no API server to start. Files left in --dir: samples.csv, events.log, the logs, summary.txt. Below ten
minutes the faults and the pauses between them are shorter, and memory is shown, but not judged.

The seed decides what is done and in which order; how that meets the daemon's own work is a matter of time.
"""
import argparse
import base64
import ctypes
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import ssl
import stat
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback

N_SECRETS, N_PODS, WRITES_PER_SEC = 150, 40, 8
CANARY = "SOAK-CANARY"
VOLUMES = "volumes/kubernetes.io~secret"
SETTLE_SEC = 180
READERS = 2
READER_SILENT_SEC = 30        # a reader says that it is alive each second; a read that hangs is one that fails
LOG_LINES_PER_MINUTE = 1500   # a write is a line for each volume that shows it; retries must not add to that
CPU_SHARE = 0.25              # of one core, over the whole run
CPU_SHARE_MINUTE = 0.60       # in any minute: something that spins takes 1
# The last quarter's median against the second one's. What is held (150 Secrets, 40 pods) varies with the random sizes by
# some hundred KiB, and the allocator keeps what a relist needed; a leak of 1 KiB per write would be 28 MiB in an hour.
MEMORY_MARGIN = 1.10
MEMORY_MARGIN_KB = 2048
FDS_MARGIN = 8                # connections that are being replaced


class Failures:
    def __init__(self, log):
        self.list, self.log, self.lock = [], log, threading.Lock()

    def add(self, text):
        with self.lock:
            if text in self.list:  # a reader comes by again and again
                return
            self.list.append(text)
        self.log("FAILURE: " + text)


# ---- processes, certificates

def free_port():
    while True:
        port = random.SystemRandom().randrange(20000, 30000)
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) != 0:
                return port


LIBC = ctypes.CDLL(None)


def die_with_parent():
    LIBC.prctl(1, signal.SIGKILL, 0, 0, 0)


def run(*command, **kwargs):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs).stdout


def replace(path, content):
    """As people do it who know that somebody is reading: written beside it, then renamed."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    new.rename(path)


class Kube:
    """etcd, kube-apiserver and their certificates."""

    def __init__(self, assets, folder):
        self.assets, self.dir = pathlib.Path(assets), folder
        self.port, self.etcd_port, self.peer_port = free_port(), free_port(), free_port()
        self.etcd = self.apiserver = None
        self.n_ca = 0
        folder.mkdir()
        self.make_ca("client-ca")
        self.serving_ca = "serving-ca-0"
        self.make_ca(self.serving_ca)
        self.sign("apiserver", "/CN=kube-apiserver", self.serving_ca)
        self.sign("admin", "/O=system:masters/CN=admin", "client-ca")
        run("openssl", "genrsa", "-out", str(folder / "sa.key"), "2048")
        run("openssl", "rsa", "-in", str(folder / "sa.key"), "-pubout", "-out", str(folder / "sa.pub"))
        self.bundle(self.serving_ca)

    def make_ca(self, name):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            f"{self.dir}/{name}.key", "-out", f"{self.dir}/{name}.crt", "-subj", f"/CN={name}", "-days", "2")

    def sign(self, name, subject, ca):
        d = self.dir
        (d / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            f"{d}/{name}.key.new", "-out", f"{d}/{name}.csr", "-subj", subject)
        run("openssl", "x509", "-req", "-in", f"{d}/{name}.csr", "-CA", f"{d}/{ca}.crt", "-CAkey", f"{d}/{ca}.key",
            "-CAcreateserial", "-out", f"{d}/{name}.crt.new", "-days", "2", "-extfile", f"{d}/ext")
        os.rename(d / f"{name}.key.new", d / f"{name}.key")
        os.rename(d / f"{name}.crt.new", d / f"{name}.crt")

    def bundle(self, *cas):
        replace(self.dir / "bundle.crt", b"".join((self.dir / f"{ca}.crt").read_bytes() for ca in cas))

    def start_etcd(self):
        url = f"http://127.0.0.1:{self.etcd_port}"
        peer = f"http://127.0.0.1:{self.peer_port}"
        self.etcd = subprocess.Popen(
            [self.assets / "etcd", "--data-dir", self.dir / "etcd", "--listen-client-urls", url,
             "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
             "--initial-cluster", f"default={peer}", "--unsafe-no-fsync"],
            stdout=open(self.dir / "etcd.out", "ab"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent)

    def start_apiserver(self):
        d = self.dir
        self.apiserver = subprocess.Popen(
            [self.assets / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
             f"--secure-port={self.port}", "--bind-address=127.0.0.1", f"--tls-cert-file={d}/apiserver.crt",
             f"--tls-private-key-file={d}/apiserver.key", f"--client-ca-file={d}/client-ca.crt",
             f"--service-account-key-file={d}/sa.pub", f"--service-account-signing-key-file={d}/sa.key",
             "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/24",
             "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
             "--disable-admission-plugins=ServiceAccount", f"--cert-dir={d}"],
            stdout=open(d / "apiserver.out", "ab"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent)

    def stop(self, process, hard):
        process.send_signal(signal.SIGKILL if hard else signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def wait_ready(self, seconds=90):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if Client(self).call("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            except http.client.HTTPException:
                pass
            time.sleep(0.3)
        raise RuntimeError("kube-apiserver does not become ready")

    def down(self):
        for process in (self.apiserver, self.etcd):
            if process:
                process.kill()
                process.wait()


class Client:
    """The administrator. One connection, made anew when it fails."""

    def __init__(self, kube):
        self.kube, self.connection = kube, None

    def call(self, method, path, body=None, kind="application/json"):
        if not self.connection:
            context = ssl.create_default_context(cafile=str(self.kube.dir / "bundle.crt"))
            context.load_cert_chain(self.kube.dir / "admin.crt", self.kube.dir / "admin.key")
            self.connection = http.client.HTTPSConnection("127.0.0.1", self.kube.port, timeout=10, context=context)
        try:
            self.connection.request(method, path, json.dumps(body) if body is not None else None,
                                    {"Content-Type": kind, "User-Agent": "soak"})
            response = self.connection.getresponse()
            return response.status, json.loads(response.read() or b"null") if path != "/readyz" else response.read()
        except (OSError, http.client.HTTPException, ValueError):
            self.connection.close()
            self.connection = None
            raise

    def try_call(self, *args):
        """None while the server does not answer."""
        try:
            return self.call(*args)
        except (OSError, http.client.HTTPException, ValueError):
            return None


# ---- the relay

class Relay:
    """TCP between a daemon and the API server: can cut, fall silent, delay, and end after some bytes."""

    def __init__(self, target_port):
        self.target, self.silent, self.delay, self.limit = target_port, False, 0.0, None
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.pairs, self.lock = set(), threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            pair = (client, server)
            with self.lock:
                self.pairs.add(pair)
            for a, b in (pair, pair[::-1]):
                threading.Thread(target=self.pump, args=(a, b, pair), daemon=True).start()

    def pump(self, a, b, pair):
        try:
            while data := a.recv(65536):
                while self.silent:
                    time.sleep(0.2)
                if self.delay:
                    time.sleep(self.delay)
                if self.limit is not None and a is pair[1]:
                    data, self.limit = data[:self.limit], self.limit - len(data)
                    b.sendall(data)
                    if self.limit <= 0:
                        self.limit = None
                        break
                    continue
                b.sendall(data)
        except OSError:
            pass
        self.close(pair)

    def close(self, pair):
        with self.lock:
            self.pairs.discard(pair)
        for s in pair:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()

    def cut(self):
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            self.close(pair)


# ---- the daemons

class Daemon:
    def __init__(self, soak, name, node, user):
        self.soak, self.name, self.node = soak, name, node
        self.dir = soak.dir / f"daemon-{name}"
        self.dir.mkdir()
        self.pods, self.run, self.log = self.dir / "pods", self.dir / "run", self.dir / "daemon.log"
        self.relay = Relay(soak.kube.port)
        (self.dir / "kubeconfig").write_text(f"""apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:{self.relay.port}",
  certificate-authority: {soak.kube.dir}/bundle.crt}}}}]
users: [{{name: u, user: {user}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
current-context: c
""")
        self.process = None
        self.write_config("Watch")

    def write_config(self, strategy):
        replace(self.dir / "config.yaml", f"""apiVersion: secretlet.config/v1alpha1
kind: SecretletConfiguration
kubeconfig: {self.dir}/kubeconfig
nodeName: {self.node}
podsDir: {self.pods}
runtimeDir: {self.run}
configMapAndSecretChangeDetectionStrategy: {strategy}
syncFrequency: 10s
secretCacheTTL: 5s
""")

    def start(self):
        self.process = subprocess.Popen([self.soak.build / "secretlet", "run", "--config", self.dir / "config.yaml"],
                                        stderr=open(self.log, "ab"), stdin=subprocess.DEVNULL,
                                        preexec_fn=die_with_parent)
        self.known, self.lines, self.read_to = {}, 0, 0

    def count_lines(self):
        with open(self.log, "rb") as f:
            f.seek(self.read_to)
            self.lines += (new := f.read()).count(b"\n")
            self.read_to += len(new)
        return self.lines

    def children(self):
        found = {}
        for pid in pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            name = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
            found[name] = int(pid)
        return found

    def status(self):
        return subprocess.run([self.soak.build / "secretlet", "status", "--runtime-dir", self.run], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30)

    def volume(self, uid, name):
        return self.pods / uid / VOLUMES / name

    def switch(self, strategy):
        self.write_config(strategy)
        self.process.send_signal(signal.SIGHUP)


def proc_sample(pid):
    """RSS and PSS in KiB, open files, threads, CPU seconds."""
    def fields(name):
        words = (line.split() for line in pathlib.Path(f"/proc/{pid}/{name}").read_text().splitlines())
        return {w[0].rstrip(":"): w[1] for w in words if len(w) > 1}
    status, rollup = fields("status"), fields("smaps_rollup")
    times = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(status["VmRSS"]), int(rollup["Pss"]), len(os.listdir(f"/proc/{pid}/fd")), int(status["Threads"]),
            (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"))


# ---- values: each can be told right or wrong by itself, to the last byte

def make_value(name, generation, key, n_keys, size):
    head = f"{CANARY} {name} {generation} {key} {n_keys} {size} "
    return (head + f"{generation:08d}." * (size // 9 + 1))[:max(size, len(head))].encode()


def parse_value(content):
    """(name, generation, key, number of keys), or None if it is not what was written."""
    try:
        mark, name, generation, key, n_keys, size, _ = content.decode().split(" ", 6)
        if mark == CANARY and content == make_value(name, int(generation), key, int(n_keys), int(size)):
            return name, int(generation), key, int(n_keys)
    except ValueError:
        pass
    return None


# ---- the readers: processes of their own that know only the folder of the pods

class Reader:
    def __init__(self, folders, seed, out):
        self.folders, self.random, self.out = folders, random.Random(seed), out
        self.seen = {}  # volume -> (Secret's name, newest generation); there only if it was once published
        self.reads, self.slowest = 0, 0.0

    def say(self, **what):
        print(json.dumps(what), file=self.out, flush=True)

    @staticmethod
    def going(place):
        """The pod may be about to go: its volume has some time for that."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if not place.exists():
                return True
            time.sleep(0.1)
        return False

    @staticmethod
    def version(place):
        try:
            return os.readlink(place / "..data")
        except FileNotFoundError:
            return None

    def files(self, folder, prefix=""):
        """Reads through the open folder, which nothing can replace by a newer one."""
        found = {}
        for name in os.listdir(folder):
            fd = os.open(name, os.O_RDONLY, dir_fd=folder)
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                try:
                    found.update(self.files(fd, f"{prefix}{name}/"))
                finally:
                    os.close(fd)
                continue
            with os.fdopen(fd, "rb") as f:
                found[prefix + name] = f.read()
        return found

    def read(self, place):
        version = self.version(place)
        if version is None:
            if place in self.seen and not self.going(place) and self.version(place) is None:
                self.say(wrong=f"{place} was published and is not any more")
            return
        try:
            folder = os.open(place / version, os.O_RDONLY | os.O_DIRECTORY)
            try:
                found = self.files(folder)
            finally:
                os.close(folder)
        except FileNotFoundError as e:
            # the old version goes after the link points to the new one, or with the pod
            if self.version(place) == version and not self.going(place) and self.version(place) == version:
                self.say(wrong=f"{place}: {e}")
            return
        values = {path: parse_value(content) for path, content in found.items()}
        bad = [path for path, value in values.items() if value is None]
        if bad:
            self.say(wrong=f"{place}/{version}: not what was written: {bad}")
            return
        if len({(name, generation) for name, generation, _, _ in values.values()}) > 1:
            self.say(wrong=f"{place}/{version} mixes revisions: { {p: v[1] for p, v in values.items()} }")
            return
        name, newest, _, n_keys = next(iter(values.values()), (None, 0, None, 0))
        picked = any(path.startswith("deep/") for path in values)
        misnamed = [path for path, value in values.items() if not picked and path != value[2]]
        few = not picked and len(values) != n_keys and self.version(place) == version and not self.going(place)
        if misnamed or (few and self.version(place) == version):
            self.say(wrong=f"{place}/{version}: {sorted(values)} instead of {n_keys} keys")
        old_name, old = self.seen.get(place, (None, 0))
        if name and old_name and name != old_name:
            self.say(wrong=f"{place} shows {name} instead of {old_name}")
        if name and newest < old:
            self.say(back=str(place), old=old, new=newest)
        self.seen[place] = (name or old_name, newest or old)
        self.reads += 1

    def volumes(self):
        return [pathlib.Path(folder, uid, VOLUMES, volume) for folder in self.folders
                for uid in os.listdir(folder) if uid != "by-name"
                for volume in self.list(pathlib.Path(folder, uid, VOLUMES))]

    @staticmethod
    def list(folder):
        try:
            return os.listdir(folder)
        except FileNotFoundError:
            return []

    def main(self):
        said = 0.0
        while True:
            try:
                places = self.volumes()
            except OSError as e:
                self.say(wrong=f"the folder of the pods: {e}")
                places = []
                time.sleep(1)
            self.random.shuffle(places)
            for place in places + [None]:
                begin = time.monotonic()
                try:
                    if place:
                        self.read(place)
                except OSError as e:
                    self.say(wrong=f"{place}: {e}")
                now = time.monotonic()
                self.slowest = max(self.slowest, now - begin)
                if now - said > 1:
                    self.say(reads=self.reads, slowest=self.slowest)
                    said, self.reads, self.slowest = now, 0, 0.0
                time.sleep(0.01)


# ---- the soak

class Soak:
    def __init__(self, args):
        self.args, self.build = args, args.build
        self.dir = pathlib.Path(args.dir or tempfile.mkdtemp(prefix="secretlet-soak."))
        self.dir.mkdir(exist_ok=True, parents=True)
        os.chmod(self.dir, 0o755)
        self.events = open(self.dir / "events.log", "a")
        self.random = random.Random(args.seed)
        self.failures = Failures(self.log)
        self.stopping = threading.Event()
        self.load_lock = threading.Lock()  # held while objects change
        self.fault = None                  # what is broken now
        self.fault_end = 0.0
        self.generation = 0
        self.secrets = {}                  # name -> {"keys": [...], "immutable": bool}; absent: deleted
        self.live = {}                     # pod uid -> (daemon, pod spec, since)
        self.counts = {"writes": 0, "write errors": 0, "reads": 0, "probes": 0}
        self.fault_counts = {}
        self.daemons, self.readers, self.heard, self.slowest_read = [], [], {}, 0.0
        self.published, self.compared = set(), 0
        self.probes = []                   # seconds from write to volume
        self.samples = []
        self.uncertain = set()             # generations of writes whose fate nobody was told: may come late
        self.back = []                     # what readers saw go back
        self.tokens = []
        # a short run shortens the faults: it is there for the harness, not for the daemon
        self.scale = min(1.0, max(0.1, args.duration / 600))
        self.kube = Kube(os.environ["KUBEBUILDER_ASSETS"], self.dir / "kube")

    def log(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", file=self.events, flush=True)
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)

    # -- objects

    def secret(self, name):
        """A new revision: each value carries the Secret's name and one generation number."""
        self.generation += 1
        known = self.secrets.get(name) or {
            "keys": [f"key-{i}" for i in range(self.random.randrange(1, 6))],
            "size": 200_000 if self.random.random() < 0.05 else self.random.randrange(20, 2000),
            "immutable": self.random.random() < 0.1}
        if self.random.random() < 0.1 and not known["immutable"]:
            known["keys"] = [f"key-{i}" for i in range(self.random.randrange(1, 6))]
        self.secrets[name] = known
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {}}
        n = len(known["keys"])
        for key in known["keys"]:
            value = make_value(name, self.generation, key, n, known["size"] // n)
            body["data"][key] = base64.b64encode(value).decode()
        if known["immutable"]:
            body["immutable"] = True
        return body

    def pod(self, name, node):
        spec = {"nodeName": node, "restartPolicy": "Never", "volumes": [], "containers": [
            {"name": "main", "image": "none", "volumeMounts": []}]}
        for i, secret in enumerate(self.random.sample(range(N_SECRETS), 4)):
            source = {"secretName": f"s{secret}"}
            if self.random.random() < 0.2:
                source["optional"] = True
            if self.random.random() < 0.2:
                source["items"] = [{"key": "key-0", "path": "deep/er/zero"}]
                if source.get("optional"):  # which then goes for the key, too
                    source["items"].append({"key": "key-3", "path": "deep/three"})
            spec["volumes"].append({"name": f"v{i}", "secret": source})
            spec["containers"][0]["volumeMounts"].append({"name": f"v{i}", "mountPath": f"/v{i}"})
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}

    BASE = "/api/v1/namespaces/default"

    def write(self, client, method, path, body=None):
        answer = client.try_call(method, path, body)
        good = answer is not None and answer[0] < 300
        self.counts["writes" if good else "write errors"] += 1
        if body and body["kind"] == "Secret" and (answer is None or answer[0] >= 500):
            self.uncertain.add(self.generation_of(body))
        return answer if good else None

    def delete(self, client, path):
        return self.write(client, "DELETE", path + "?gracePeriodSeconds=0")

    def add_pod(self, client, name, node):
        answer = self.write(client, "POST", f"{self.BASE}/pods", self.pod(name, node))
        if answer:
            daemon = next(d for d in self.daemons if d.node == node)
            self.live[answer[1]["metadata"]["uid"]] = (daemon, answer[1], time.monotonic())

    def drop_pod(self, client, name):
        for uid, (_, pod, _) in list(self.live.items()):
            if pod["metadata"]["name"] == name:
                del self.live[uid]
        return self.delete(client, f"{self.BASE}/pods/{name}")

    def put_secret(self, client, name):
        known = self.secrets.get(name)
        if known and known["immutable"]:
            if not self.delete(client, f"{self.BASE}/secrets/{name}"):
                return
            known = None
        if known:
            self.write(client, "PUT", f"{self.BASE}/secrets/{name}", self.secret(name))
        elif not self.write(client, "POST", f"{self.BASE}/secrets", self.secret(name)):
            # it may be there all the same: the answer was lost
            self.delete(client, f"{self.BASE}/secrets/{name}")
            self.secrets.pop(name, None)

    def change_something(self, client):
        what, secret = self.random.random(), f"s{self.random.randrange(N_SECRETS)}"
        if what < 0.80:
            self.put_secret(client, secret)
        elif what < 0.86:
            if self.delete(client, f"{self.BASE}/secrets/{secret}"):
                self.secrets.pop(secret, None)
        else:
            i = self.random.randrange(N_PODS)
            self.drop_pod(client, f"p{i}")
            if self.random.random() < 0.9:
                self.add_pod(client, f"p{i}", f"node-{i % 2 + 1}")

    def load(self):
        client = Client(self.kube)
        while not self.stopping.wait(self.random.expovariate(WRITES_PER_SEC)):
            with self.load_lock:
                self.change_something(client)

    # -- readers

    def reader(self, n):
        process = subprocess.Popen([sys.executable, __file__, "--read", str(self.args.seed + n)] +
                                   [str(d.pods) for d in self.daemons], stdout=subprocess.PIPE, text=True,
                                   stdin=subprocess.DEVNULL)
        self.readers.append(process)
        self.heard[n] = time.monotonic()
        for line in process.stdout:
            self.heard[n] = time.monotonic()
            what = json.loads(line)
            if "wrong" in what:
                self.failures.add(what["wrong"])
            elif "back" in what:
                self.back.append(what)
            else:
                self.counts["reads"] += what["reads"]
                self.slowest_read = max(self.slowest_read, what["slowest"])
        if not self.stopping.is_set():
            self.failures.add(f"a reader has ended with {process.wait()}")

    def seen_generation(self, daemon, pod):
        """What the probe's volume shows, or 0. What is wrong with it is the readers' matter."""
        try:
            for path in (daemon.volume(pod["metadata"]["uid"], "v0") / "..data").iterdir():
                return (parse_value(path.read_bytes()) or (None, 0))[1]
        except OSError:
            pass
        return 0

    def prober(self):
        """How long a change takes to be seen when nothing is broken."""
        client = Client(self.kube)
        probes = [v for v in self.live.values() if v[1]["metadata"]["name"].startswith("probe")]
        while not all(self.seen_generation(daemon, pod) for daemon, pod, _ in probes):
            if self.stopping.wait(0.2):
                return
        while not self.stopping.wait(3):
            with self.load_lock:
                body = self.secret("probe")
                start = time.monotonic()
                calm = not self.fault and start > self.fault_end + 60
                if not self.write(client, "PUT", f"{self.BASE}/secrets/probe", body):
                    continue
            want, waiting = self.generation_of(body), list(probes)
            while waiting and not self.stopping.is_set():
                calm = calm and not self.fault
                for probe in list(waiting):
                    daemon, pod, _ = probe
                    if self.seen_generation(daemon, pod) >= want:
                        waiting.remove(probe)
                        if calm and daemon.strategy == "Watch":
                            self.probes.append(time.monotonic() - start)
                            self.counts["probes"] += 1
                if time.monotonic() > start + 60:
                    for daemon, _, _ in waiting if calm else []:
                        self.failures.add(f"{daemon.name}: a change is not seen after 60 s, and nothing is broken")
                    break
                time.sleep(0.005)

    @staticmethod
    def generation_of(body):
        return int(base64.b64decode(next(iter(body["data"].values()))).decode().split(" ")[2])

    # -- faults

    def lasts(self, least, most):
        self.stopping.wait(self.random.uniform(least, most) * self.scale)

    def apiserver_killed(self):
        self.kube.stop(self.kube.apiserver, hard=True)
        self.lasts(0, 20)
        self.kube.start_apiserver()
        self.kube.wait_ready()

    def apiserver_restarted(self):
        self.kube.stop(self.kube.apiserver, hard=False)
        self.kube.start_apiserver()
        self.kube.wait_ready()

    def apiserver_stalled(self):
        self.kube.apiserver.send_signal(signal.SIGSTOP)
        self.lasts(5, 40)
        self.kube.apiserver.send_signal(signal.SIGCONT)
        self.kube.wait_ready()

    def etcd_restarted(self):
        self.kube.stop(self.kube.etcd, hard=True)
        self.lasts(0, 10)
        self.kube.start_etcd()
        time.sleep(2)
        self.kube.wait_ready()

    def compacted(self):
        """Old resourceVersions are gone afterwards; with the restart the server's own window is, too."""
        def etcd(path, body):
            c = http.client.HTTPConnection("127.0.0.1", self.kube.etcd_port, timeout=10)
            c.request("POST", path, json.dumps(body))
            return json.loads(c.getresponse().read())
        revision = etcd("/v3/maintenance/status", {})["header"]["revision"]
        etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        self.apiserver_restarted()

    def rights_revoked(self):
        client = Client(self.kube)
        path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        client.call("DELETE", f"{path}/soak")
        self.lasts(5, 30)
        client.call("POST", path, self.binding())

    def certificate_rotated(self):
        self.kube.sign("node-1", "/O=system:nodes/CN=system:node:node-1", "client-ca")

    def ca_rotated(self):
        old = self.kube.serving_ca
        self.kube.n_ca += 1
        self.kube.serving_ca = f"serving-ca-{self.kube.n_ca}"
        self.kube.make_ca(self.kube.serving_ca)
        self.kube.bundle(old, self.kube.serving_ca)
        time.sleep(5)
        self.kube.sign("apiserver", "/CN=kube-apiserver", self.kube.serving_ca)
        self.apiserver_restarted()
        time.sleep(5)
        self.kube.bundle(self.kube.serving_ca)

    def token_rotated(self):
        replace(self.dir / "token", self.token())

    def connections_cut(self):
        self.random.choice(self.daemons).relay.cut()

    def connections_silent(self):
        relay = self.random.choice(self.daemons).relay
        relay.silent = True
        self.lasts(20, 60)
        if self.random.random() < 0.5:
            relay.cut()
        relay.silent = False

    def connections_slow(self):
        relay = self.random.choice(self.daemons).relay
        relay.delay = self.random.uniform(0.02, 0.2)
        self.lasts(5, 20)
        relay.delay = 0.0

    def connection_torn(self):
        self.random.choice(self.daemons).relay.limit = self.random.randrange(1, 20000)
        time.sleep(2)

    def strategy_switched(self):
        daemon = self.random.choice(self.daemons)
        daemon.strategy = self.random.choice([s for s in ("Watch", "Cache", "Get") if s != daemon.strategy])
        daemon.switch(daemon.strategy)
        if daemon.strategy != "Watch":
            self.lasts(10, 30)
            daemon.strategy = "Watch"
            daemon.switch("Watch")

    FAULTS = (apiserver_killed, apiserver_restarted, apiserver_stalled, etcd_restarted, compacted, rights_revoked,
              certificate_rotated, ca_rotated, token_rotated, connections_cut, connections_silent, connections_slow,
              connection_torn, strategy_switched)

    # One after each fault of a round; with them and its longest faults, a round takes less than ten minutes. After the long
    # ones, the daemon is back at rest before the next fault.
    PAUSES = (75, 75, 20, 20, 20, 10, 10, 10, 5, 5, 5, 2, 2, 2)

    def break_things(self, end):
        faults, pauses = [], []
        while time.monotonic() < end and not self.stopping.is_set():
            if not faults:
                faults, pauses = list(self.FAULTS), list(self.PAUSES)
                self.random.shuffle(faults)
                self.random.shuffle(pauses)
            fault = faults.pop()
            self.fault = fault.__name__
            self.fault_counts[self.fault] = self.fault_counts.get(self.fault, 0) + 1
            self.log(self.fault)
            try:
                fault(self)
            except (OSError, http.client.HTTPException, ValueError) as e:
                self.log(f"{self.fault}: {e}")
            self.log(f"{self.fault}: over")
            self.fault_end, self.fault = time.monotonic(), None
            self.stopping.wait(min(pauses.pop() * self.scale, max(0.0, end - time.monotonic())))

    # -- watching the daemons

    def sample(self):
        with open(self.dir / "samples.csv", "a") as out:
            print("time,daemon,process,rss_kb,pss_kb,fds,threads,cpu_sec,log_lines", file=out)
            begin = time.monotonic()
            while not self.stopping.wait(10 if self.scale == 1 else 3):
                for n, heard in list(self.heard.items()):
                    if time.monotonic() - heard > READER_SILENT_SEC:
                        self.failures.add(f"reader {n} says nothing: a read hangs")
                        self.heard[n] = float("inf")
                for d in self.daemons:
                    if d.process.poll() is not None:
                        self.failures.add(f"{d.name}: the daemon has ended with {d.process.returncode}")
                        self.stopping.set()
                        return
                    children = d.children()
                    for name, pid in d.known.items():
                        if children.get(name) != pid:
                            self.failures.add(f"{d.name}: {name} was restarted")
                    d.known = dict(d.known, **children)
                    lines = d.count_lines()
                    for name, pid in dict(children, keeper=d.process.pid).items():
                        try:
                            rss, pss, fds, threads, cpu = proc_sample(pid)
                        except OSError:
                            continue
                        at = time.monotonic() - begin
                        self.samples.append((at, d.name, name, rss, fds, cpu, lines, pss))
                        print(f"{at:.0f},{d.name},{name},{rss},{pss},{fds},{threads},{cpu:.2f},{lines}", file=out,
                              flush=True)

    # -- the end

    def expected(self, volume, secrets):
        """None: the Secret is missing, and whatever it last was stays."""
        source = volume["secret"]
        if source["secretName"] not in secrets:
            return {} if source.get("optional") else None
        data = {k: base64.b64decode(v) for k, v in (secrets[source["secretName"]].get("data") or {}).items()}
        if "items" in source:
            return {i["path"]: data[i["key"]] for i in source["items"] if i["key"] in data}
        return data

    def is_right(self, place, volume, secrets):
        want = self.expected(volume, secrets)
        if want is not None:
            return (place / "..data").is_dir() and self.found(place) == want
        if not (place / "..data").is_symlink():
            return place not in self.published
        values = [parse_value(content) for content in self.found(place).values()]
        # nothing after the last one that the administrator wrote, all of one revision, and not emptied
        return bool(values) and None not in values and len({(v[0], v[1]) for v in values}) == 1 and \
            values[0][0] == volume["secret"]["secretName"]

    @staticmethod
    def found(place):
        have = {}
        for folder, _, files in os.walk(place / "..data", followlinks=True):
            for f in files:
                path = pathlib.Path(folder) / f
                have[str(path.relative_to(place / "..data"))] = path.read_bytes()
        return have

    def list(self, client, what):
        while (answer := client.try_call("GET", f"{self.BASE}/{what}")) is None or answer[0] != 200:
            time.sleep(1)
        return answer[1]["items"]

    def differences(self, client):
        secrets = {s["metadata"]["name"]: s for s in self.list(client, "secrets")}
        wrong, uids = [], {d: set() for d in self.daemons}
        for pod in self.list(client, "pods"):
            daemon = next(d for d in self.daemons if d.node == pod["spec"]["nodeName"])
            uids[daemon].add(pod["metadata"]["uid"])
            for volume in pod["spec"]["volumes"]:
                place = daemon.volume(pod["metadata"]["uid"], volume["name"])
                try:
                    same = self.is_right(place, volume, secrets)
                except OSError as e:
                    same = f"{e}"
                if same is True:
                    if (place / "..data").is_symlink():
                        self.published.add(place)
                else:
                    wrong.append(f"{daemon.name} {pod['metadata']['name']}/{volume['name']} "
                                 f"({volume['secret']['secretName']}): {same or 'differs'}")
        for daemon, known in uids.items():
            extra = set(os.listdir(daemon.pods)) - known - {"by-name"}
            wrong += [f"{daemon.name}: pod {uid} is gone and still there" for uid in extra]
        self.compared = sum(len(pod["spec"]["volumes"]) for pod in self.list(client, "pods"))
        return wrong

    def until_equal(self, client, when):
        wrong, begin = ["?"], time.monotonic()
        while wrong and time.monotonic() < begin + SETTLE_SEC:
            time.sleep(1)
            wrong = self.differences(client)
        for text in wrong[:20]:
            self.failures.add(f"{when}: {text}")
        self.log(f"{when}: {self.compared} volumes, {len(wrong)} of them not as the API server has them, after "
                 f"{time.monotonic() - begin:.0f} s")

    def settle(self):
        client = Client(self.kube)
        self.kube.wait_ready()
        client.try_call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", self.binding())
        # First as the faults have left it: a new revision of a Secret would hide that the last one was missed.
        self.until_equal(client, "after the faults")
        have = {s["metadata"]["name"] for s in self.list(client, "secrets")}
        missing = [f"s{i}" for i in range(N_SECRETS) if f"s{i}" not in have]
        self.log(f"{len(missing)} Secrets are missing and made now")
        for name in missing:
            answer = client.try_call("POST", f"{self.BASE}/secrets", self.secret(name))
            if not answer or answer[0] >= 300:
                self.failures.add(f"the API server does not take {name}")
        self.until_equal(client, "with nothing missing")
        for d in self.daemons:
            end = time.monotonic() + SETTLE_SEC
            while (status := d.status()).returncode != 0 and time.monotonic() < end:
                time.sleep(1)
            if status.returncode != 0:
                self.failures.add(f"{d.name}: status says: {status.stdout.decode()}")

    def worst_minute(self, samples, field):
        """The largest rise of a counter in 60 s."""
        worst, first = 0.0, 0
        for i, s in enumerate(samples):
            while s[0] - samples[first + 1][0] >= 60 and first + 1 < i:
                first += 1
            if s[0] - samples[first][0] >= 60:
                worst = max(worst, (s[field] - samples[first][field]) * 60 / (s[0] - samples[first][0]))
        return worst

    def judge_memory(self, lines):
        judged = self.args.duration >= 600  # until caches, pools and the heap have seen everything once
        lines.append(f"{'daemon':12} {'process':20} {'rss KiB at 25/50/75/100 %':>30} {'pss':>26} {'fds':>16} {'cpu %':>6} "
                     f"{'worst min.':>10}")
        for d in self.daemons:
            for process in ("secretlet-agent", "keeper", "secretlet-publisher"):
                mine = [s for s in self.samples if s[1] == d.name and s[2] == process]
                if len(mine) < 8:
                    self.failures.add(f"{d.name} {process}: only {len(mine)} samples")
                    continue
                quarter = len(mine) // 4
                rss, pss, fds = ([statistics.median(s[field] for s in mine[i * quarter:(i + 1) * quarter])
                                  for i in range(4)] for field in (3, 7, 4))
                cpu = (mine[-1][5] - mine[0][5]) / max(1.0, mine[-1][0] - mine[0][0])
                minute = self.worst_minute(mine, 5) / 60
                row = [" ".join(f"{v:.0f}" for v in values) for values in (rss, pss, fds)]
                lines.append(f"{d.name:12} {process:20} {row[0]:>30} {row[1]:>26} {row[2]:>16} {cpu * 100:6.1f} "
                             f"{minute * 100:10.1f}")
                for name, kb in (("RSS", rss), ("PSS", pss)):
                    if judged and kb[3] > max(kb[1] * MEMORY_MARGIN, kb[1] + MEMORY_MARGIN_KB):
                        self.failures.add(f"{d.name} {process}: memory grows: {name} {kb} KiB")
                if judged and fds[3] > fds[1] + FDS_MARGIN:
                    self.failures.add(f"{d.name} {process}: open files grow: {fds}")
                if cpu > CPU_SHARE or minute > CPU_SHARE_MINUTE:
                    self.failures.add(f"{d.name} {process}: takes {cpu * 100:.0f} % of a core, "
                                      f"{minute * 100:.0f} % in a minute")
            mine = [s for s in self.samples if s[1] == d.name and s[2] == "keeper"]
            logged = self.worst_minute(mine, 6)
            lines.append(f"{d.name}: {d.count_lines()} lines of log, at most {logged:.0f} in a minute "
                         f"(limit {LOG_LINES_PER_MINUTE})")
            if logged > LOG_LINES_PER_MINUTE:
                self.failures.add(f"{d.name}: {logged:.0f} lines of log in a minute")

    def judge_logs(self):
        def forms(text):
            # base64 of what begins with it, at any of the three offsets
            return [text] + [base64.b64encode(b" " * n + text)[4 * ((n + 2) // 3):-4] for n in range(3)]
        secret = forms(CANARY.encode()) + [t.rpartition(".")[2].encode() for t in self.tokens]
        secret += [b"PRIVATE KEY"]
        for log in self.dir.glob("*/daemon.log"):
            content = log.read_bytes()
            if not content:
                self.failures.add(f"{log} is empty")
            if any(word in content for word in secret):
                self.failures.add(f"{log} shows something secret")

    def report(self, seconds):
        for what in self.back:
            if what["new"] not in self.uncertain:
                self.failures.add(f"{what['back']} went back from {what['old']} to {what['new']}")
        if self.args.duration >= 600:
            for fault in self.FAULTS:
                if fault.__name__ not in self.fault_counts:
                    self.failures.add(f"{fault.__name__} did not happen")
        for what in ("writes", "reads", "probes"):
            if not self.counts[what]:
                self.failures.add(f"no {what}: nothing was measured")
        probes = sorted(self.probes) or [0.0]
        lines = [f"seed {self.args.seed}, {seconds:.0f} s",
                 "; ".join(f"{k} {v}" for k, v in self.counts.items()),
                 "faults: " + ", ".join(f"{k} {v}" for k, v in sorted(self.fault_counts.items())),
                 f"from a write to the volume, when nothing was broken: median "
                 f"{statistics.median(probes) * 1000:.0f} ms, worst {probes[-1] * 1000:.0f} ms; slowest look at a volume {self.slowest_read * 1000:.0f} ms"]
        self.judge_memory(lines)
        self.judge_logs()
        lines.append(f"{len(self.failures.list)} failures")
        lines += self.failures.list[:50]
        (self.dir / "summary.txt").write_text("\n".join(lines) + "\n")
        print("\n".join(lines), flush=True)

    # -- the beginning

    def binding(self):
        return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "soak"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "soak"},
                "subjects": [{"kind": "ServiceAccount", "name": "soak", "namespace": "default"}]}

    def token(self):
        answer = Client(self.kube).call("POST", f"{self.BASE}/serviceaccounts/soak/token",
                                        {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                                         "spec": {"expirationSeconds": 3600}})
        self.tokens.append(answer[1]["status"]["token"])
        return self.tokens[-1]

    def set_up(self):
        self.kube.start_etcd()
        self.kube.start_apiserver()
        self.kube.wait_ready()
        client = Client(self.kube)
        while client.call("GET", self.BASE)[0] != 200:
            time.sleep(0.2)
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        for path, body in ((f"{self.BASE}/serviceaccounts", {"apiVersion": "v1", "kind": "ServiceAccount",
                                                             "metadata": {"name": "soak"}}),
                           (f"{rbac}/clusterroles",
                            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                             "metadata": {"name": "soak"}, "rules": [
                                 {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch", "get"]},
                                 {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]},
                                 {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
                                 {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]}),
                           (f"{rbac}/clusterrolebindings", self.binding())):
            status, answer = client.call("POST", path, body)
            if status >= 300:
                raise RuntimeError(f"{path}: {answer}")
        self.kube.sign("node-1", "/O=system:nodes/CN=system:node:node-1", "client-ca")
        replace(self.dir / "token", self.token())
        self.daemons = [
            Daemon(self, "certificate", "node-1",
                   f"{{client-certificate: {self.kube.dir}/node-1.crt, client-key: {self.kube.dir}/node-1.key}}"),
            Daemon(self, "token", "node-2", f"{{tokenFile: {self.dir}/token}}")]
        for d in self.daemons:
            d.strategy = "Watch"
            d.start()
        for name in ["probe"] + [f"s{i}" for i in range(N_SECRETS)]:
            self.write(client, "POST", f"{self.BASE}/secrets", dict(self.secret(name), immutable=None)
                       if name == "probe" else self.secret(name))
        self.secrets["probe"]["immutable"] = False
        for i in range(N_PODS):
            self.add_pod(client, f"p{i}", f"node-{i % 2 + 1}")
        for node in ("node-1", "node-2"):
            pod = self.pod(f"probe-{node}", node)
            pod["spec"]["volumes"] = [{"name": "v0", "secret": {"secretName": "probe"}}]
            pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "v0", "mountPath": "/v"}]
            answer = self.write(client, "POST", f"{self.BASE}/pods", pod)
            daemon = next(d for d in self.daemons if d.node == node)
            self.live[answer[1]["metadata"]["uid"]] = (daemon, answer[1], time.monotonic())

    def guarded(self, fn):
        def body():
            try:
                fn()
            except Exception:
                self.failures.add(f"the soak itself: {fn.__name__}: {traceback.format_exc()}")
                self.stopping.set()
        t = threading.Thread(target=body, daemon=True)
        t.start()
        return t

    def main(self):
        begin = time.monotonic()
        try:
            try:
                self.set_up()
                threads = [self.guarded(f) for f in (self.load, self.prober, self.sample)]
                for n in range(READERS):
                    threads.append(self.guarded(lambda n=n: self.reader(n)))
                # a calm beginning, in which the time to the volume is measured
                self.stopping.wait(3 + 27 * self.scale)
                self.break_things(begin + self.args.duration)
                aborted = self.stopping.is_set()
                self.log("the faults are over")
                for d in self.daemons:
                    d.relay.silent, d.relay.delay, d.relay.limit = False, 0.0, None
                self.stopping.set()
                for t in threads[:3]:
                    t.join(70)
                    if t.is_alive():
                        self.failures.add("the soak itself: a thread does not end")
                if not aborted:
                    self.settle()
            except Exception:
                self.failures.add(f"the soak itself: {traceback.format_exc()}")
            self.stopping.set()
            for reader in self.readers:
                reader.kill()
                reader.wait()
            for d in self.daemons:
                if d.process.poll() is None:
                    d.process.terminate()
                    try:
                        d.process.wait(20)
                    except subprocess.TimeoutExpired:
                        pass
                if d.process.returncode != 0:
                    self.failures.add(f"{d.name}: exit status {d.process.returncode}")
            self.report(time.monotonic() - begin)
        finally:
            for p in self.readers + [d.process for d in self.daemons if d.process]:
                if p.poll() is None:
                    p.kill()
            self.kube.down()
        return 1 if self.failures.list else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=lambda p: pathlib.Path(p).resolve(), default=pathlib.Path("build").resolve())
    parser.add_argument("--duration", type=float, default=7200)
    parser.add_argument("--seed", type=int, default=int(time.time()),
                        help="what happens when; default: the time of day")
    parser.add_argument("--dir")
    parser.add_argument("--read", nargs="+", metavar=("SEED", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        die_with_parent()
        Reader(args.read[1:], int(args.read[0]), sys.stdout).main()
    if not os.environ.get("KUBEBUILDER_ASSETS"):
        print("soak: KUBEBUILDER_ASSETS is not set (a folder with kube-apiserver and etcd)", file=sys.stderr)
        return 77
    if not os.environ.get("SOAK_NAMESPACE"):
        os.environ["SOAK_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable] + sys.argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    return Soak(args).main()


if __name__ == "__main__":
    sys.exit(main())
