#!/usr/bin/env python3
"""The canary test: marked Secrets go through all that can happen to one, and then every byte of memory of the daemon's
processes, their logs, and the files that they have written, in the daemon's folder, in places.FOLDERS (/run, /var, /tmp, /dev/shm)
and where cores are put, is searched for the marks.

    test/canary/canary.py --build DIR [--dir DIR] [--only STAGE,... | --part PART] [--stop] [--kube DIR --port N]

While a Secret is published its bytes may be in the state arena and nowhere else; once it has gone, nowhere at all. Bearer
token and client key may be in the agent, which uses them, and nowhere once they were replaced; of the offline cache's key
only what is derived from it may be, in the arena. A command (commands.py) is looked at when it ends, as is what it forks; only what
env and pull-config have printed may have a mark. A ConfigMap is no Secret: it is shown, and not looked for.

With --kube all that does not need a server that lies is done at a real API server (test/e2e/canary.sh).

Each stage has a mark of its own. A hit is printed as process, mapping, offset and encoding, never as content. Needs root
and a private mount namespace (`unshare -m`). Exit status 0 only if nothing was found where it must not be.

mutants.py takes the protections away, one at a time, and has this test notice.
"""
import argparse
import base64
import hashlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
# pylint: disable=wrong-import-position
import memory  # noqa: E402
from machine import keep_figure  # noqa: E402
from commands import ELSEWHERE, Commands  # noqa: E402
from ends import Ends  # noqa: E402
from places import FOLDERS, Places  # noqa: E402
from world import (ANSWERING, SIZES, Daemon, Kube, World, die_with_parent, eventually, free_port, letters, pod_of,  # noqa: E402
                   secret_volume)

# bytes: libcurl has room for 16 KiB of an answer that it reads for another; what is too much comes in one TLS record, or more
BURSTS = (16400, 16600, 16800, 17000, 17200, 20000, 40000)
# what each of the two scripts of test/integration runs; a new stage is in one of them
PARTS = {"quick": ["life", "small", "escaped", "errors", "manifests"],
         "rest": ["burst", "unmade", "strategies", "events", "projected", "live", "commands", "handed", "crash", "keeper", "signals",
                  "credentials", "http1", "idle", "offline"]}
OWN_DAEMON = ["manifests"]
AT_KUBE = ["life", "small", "unmade", "strategies", "events", "projected", "live", "commands", "handed", "crash", "keeper",
           "signals"]


# ---- marks

class Marks:
    """All marks of a run begin alike, so that one search finds them all; what follows says of which stage they are."""

    def __init__(self):
        self.run = letters(12).encode()
        self.stages, self.words, self.live = {}, {}, set()
        self.doubtful = set()  # a stage has failed half-way: they may be there, or not
        self.needles = memory.needles("value", self.run)
        self.credentials = {}  # name -> processes that may have it

    def new(self, stage):
        word = letters(4).encode()
        self.stages[stage] = {e.encoding: e.bytes for e in memory.needles("", word + self.run[:8])}
        self.words[word] = stage
        return Mark(stage, self.run + word)

    def stage_of(self, hit):
        if hit.needle.encoding == "raw":
            return self.words.get(hit.window[12:16], "unknown stage")
        for stage, known in self.stages.items():
            if any(data in hit.window for data in known.values()):
                return stage
        return "unknown stage"

    def credential(self, name, *pieces, owners=("agent", "arena")):
        """Something else that must not lie about. Before it is called gone it may be with its owners, in all of their
        memory or ("arena") in shared memory alone."""
        self.credentials[name] = owners
        for piece in pieces:
            self.needles += memory.needles(name, piece, brief=True)

    def gone(self, name):
        self.credentials[name] = ()


class Mark:
    def __init__(self, stage, unit):
        self.stage, self.unit = stage, unit

    def value(self, size=48):
        return (self.unit * (size // len(self.unit) + 1))[:size]

    def b64(self, size=48):
        return base64.b64encode(self.value(size)).decode()

    def text(self, size=48):
        return self.value(size).decode()

    def is_in(self, data):
        return any(encoded in data for encoded in memory.encodings(self.unit).values())


# ---- TAP

class Enough(Exception):
    """Something has failed, and no more is wanted."""


class Tap:
    n = failed = 0
    stop = False

    def result(self, ok, name, details=()):
        self.n += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.n} - {name}")
        for line in details:
            print(f"# {line}")
        sys.stdout.flush()
        if self.stop and not ok:
            raise Enough()

    def skip(self, name, why):
        self.n += 1
        print(f"ok {self.n} - {name} # SKIP {why}", flush=True)

    def done(self):
        print(f"1..{self.n}")
        return 1 if self.failed else 0


# ---- the test

class Canary(Commands, Ends):
    def __init__(self, build, folder, kube):
        self.build, self.dir, self.kube = build, folder, kube
        self.marks, self.tap = Marks(), Tap()
        self.texts = []  # what commands have said
        self.inputs = set()
        self.daemons = []
        self.places = Places(folder)
        self.n_searches = self.n_bytes = self.n_found = 0

    @staticmethod
    def b64(data):
        return base64.b64encode(data).decode()

    # --- looking

    def judge(self, hits):
        """Those that must not be."""
        bad = []
        for hit in hits:
            role = hit.where.split("[")[0]
            if hit.needle.name in self.marks.credentials:
                owners = self.marks.credentials[hit.needle.name]
                shared = "memfd:secretlet-arena" in hit.place
                if hit.place in ("environ", "cmdline") or ("arena" if shared else role) not in owners:
                    bad.append(hit)
                continue
            hit.stage = self.marks.stage_of(hit)
            bad.append(hit)
        return bad

    def search(self, processes):
        searched, hits = memory.Searched(), []
        known = {self.marks.run + word: stage for word, stage in self.marks.words.items()
                 if stage in self.marks.live | self.marks.doubtful}
        for role, pid in processes.items():
            hits += memory.search_process(pid, role, self.marks.needles, searched, known)
        hits += memory.search_files(self.dir, self.marks.needles, self.skipped(), searched)
        for what, text in self.texts:
            hits += memory.search_data(text, what, self.marks.needles)
        return self.judge(hits), {known[piece] for piece in searched.known}, searched

    def skipped(self):
        return self.inputs | {p for d in self.daemons for p in d.inputs}

    def look(self, name, daemon, expected=None):
        """Searches, while nothing is answered and nothing is being done. What was on its way to the daemon is seen to, and the search
        repeated, on a busy machine a second time. When nothing should be anywhere, new files in places.FOLDERS are searched, too."""
        with ANSWERING:
            for seconds in (0.15, 0.4, 3):
                time.sleep(seconds)
                if daemon:
                    daemon.settle()
                processes = daemon.processes() if daemon else {}
                bad, found, searched = self.search(processes)
                if not bad:
                    break
        # what is answered meanwhile may not come into a file either
        left_out = []
        if not self.marks.live:
            bad += self.judge(self.places.search(self.marks.needles, searched, self.skipped()))
            left_out = self.places.left_out
        self.n_searches += 1
        self.n_bytes += searched.bytes
        self.n_found += len(bad)
        missing = set(expected if expected is not None else self.marks.live) - found
        details = [str(h) for h in memory.merged(bad)]
        details += [f"not found at all: {m}" for m in sorted(missing)]
        if daemon and set(processes) != daemon.roles:
            details.append(f"processes: {', '.join(sorted(processes))}; expected {', '.join(sorted(daemon.roles))}")
        self.tap.result(not details, name, details + [f"{searched.processes} processes, {searched.bytes >> 20} MiB"])
        if left_out:
            self.tap.skip(f"{name}, in all new files elsewhere", f"too large, alone or together: {len(left_out)}, as {left_out[0]!r}")

    # --- stages

    def stage_control(self):
        """What is there must be found: each encoding in each kind of memory, and in a file."""
        mark = self.marks.new("positive control")
        script = r"""
import ctypes, mmap, os, sys
data = sys.stdin.buffer.read()
heap = ctypes.create_string_buffer(data, len(data))
anon = mmap.mmap(-1, len(data), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
anon.write(data)
fd = os.memfd_create("canary")
os.write(fd, data)
shared = mmap.mmap(fd, len(data))
shared[:1]
print("ready", flush=True)
sys.stdin.close()
import time
time.sleep(600)
"""
        child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 preexec_fn=die_with_parent)
        value = b"x" + mark.value(100)
        child.stdin.write(b"\0".join(memory.encodings(value).values()))
        child.stdin.close()
        child.stdout.readline()
        searched = memory.Searched()
        hits = memory.search_process(child.pid, "control", self.marks.needles, searched)
        child.kill()
        child.wait()
        for hit in hits:
            hit.stage = self.marks.stage_of(hit)
        wanted = {n.encoding for n in self.marks.needles}
        places = {"anonymous": lambda p: p in ("anonymous", "[heap]"), "memfd": lambda p: "memfd:canary" in p}
        problems = [f"in {place} not found: {', '.join(sorted(missing))}" for place, fits in places.items()
                    if (missing := wanted - {h.needle.encoding for h in hits if fits(h.place)})]
        if unknown := {h.needle.encoding for h in hits if h.stage == "unknown stage" and "memfd" in h.place}:
            known = {h.needle.encoding for h in hits if h.stage != "unknown stage"}
            if unknown - known:
                problems.append(f"without their stage: {', '.join(sorted(unknown - known))}")
        path = self.dir / "control"
        path.write_bytes(value)
        if not memory.search_files(self.dir, self.marks.needles, self.inputs, searched):
            problems.append("not found in a file")
        path.unlink()
        self.tap.result(not problems, "what is there is found, in every encoding", problems)
        away = self.places.control(mark.value(100), self.marks.needles)
        self.tap.result(not away, f"and in files and names in {', '.join(FOLDERS)}", away)
        problems += away
        return not problems

    def cache_key(self):
        """Nowhere once it was read; what is derived from it, in the arena (cache_box.c)."""
        path = self.dir / "cache.key"
        self.inputs.add(str(path))
        subprocess.run([self.build / "secretlet", "cache", "keygen", path], check=True, stdout=subprocess.DEVNULL)
        text = path.read_bytes().strip()
        key = base64.b64decode(text)
        self.marks.credential("cache key", key, text, owners=())
        derived = [hashlib.blake2b(key=key, digest_size=32, salt=n.to_bytes(16, "little"), person=b"slcache1").digest()
                   for n in (1, 2)]
        self.marks.credential("cache key, derived", *derived, owners=("arena",))
        return path

    def api_daemon(self):
        d = Daemon(self, "api")
        self.daemons.append(d)
        w = self.world
        self.kubeconfig = d.dir / "kubeconfig"
        if self.kube:
            self.kubeconfig.write_text(w.kubeconfig)
            self.kubeconfig.chmod(0o600)
        else:
            self.new_token("token 1")
            w.sign("client", "/O=system:nodes/CN=system:node:node-1")
            self.write_kubeconfig(w.h2_port)
        self.key_credential("client key 1")
        d.inputs |= {str(self.kubeconfig), str(d.conf)}
        d.common = {"kubeconfig": "kubeconfig", "offlineCacheDir": "cache", "offlineCacheKeyFile": self.cache_key(),
                    "auditLog": "audit/audit.jsonl"}
        d.configure(**d.common)
        d.roles = {"keeper", "agent", "publisher", "cache", "audit"}
        return d

    def new_token(self, name):
        token = letters(64)
        path = self.world.token_file
        path.with_suffix(".new").write_text(token)
        path.with_suffix(".new").chmod(0o600)
        path.with_suffix(".new").rename(path)
        self.marks.credential(name, token[:20].encode(), token[20:40].encode(), token[40:].encode())

    def key_credential(self, name):
        """The PEM's lines, and the number itself as it is written and as OpenSSL computes with it."""
        pem = self.world.client_key.read_text().splitlines()
        der = base64.b64decode("".join(pem[1:-1]))
        # RFC 5915 inside of PKCS #8: OCTET STRING of 32 bytes
        at = der.index(b"\x02\x01\x01\x04\x20") + 5
        number = der[at:at + 32]
        self.marks.credential(name, *[line.encode() for line in pem[1:3]])
        for data, encoding in ((number, "bytes"), (number[::-1], "words"), (pem[2][20:44].encode(), "PEM")):
            self.marks.needles.append(memory.Needle(name, encoding, data))

    def write_kubeconfig(self, port):
        d = self.world.dir
        self.kubeconfig.write_text(f"""apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: k, user: u}}}}]
clusters: [{{name: k, cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: {d}/ca.crt}}}}]
users: [{{name: u, user: {{tokenFile: {d}/token, client-certificate: {d}/client.crt, client-key: {d}/client.key}}}}]
""")
        self.kubeconfig.chmod(0o600)

    def live(self, *marks):
        self.marks.live = {m.stage for m in marks}

    def stage_life(self):
        """create, update, delete, and all again with what dies in between"""
        d, w = self.api, self.world
        a, b, c = (self.marks.new(f"life {i}") for i in "abc")
        w.secret("life", a)
        w.pod("life", [secret_volume("life"), secret_volume("life", "i", items=[{"key": "small", "path": "a/b"}])])
        d.wait("life")
        d.shows("life", "large", a.value(SIZES["large"]))
        self.live(a)
        self.look("created: in the arena alone", d)
        w.secret("life", b, new=False)
        d.shows("life", "large", b.value(SIZES["large"]))
        d.shows("life", "a/b", b.value(), "i")
        self.live(b)
        self.look("updated: the old value has gone", d)
        for role in ("agent", "publisher", "agent"):
            d.kill(role)
            d.shows("life", "large", b.value(SIZES["large"]))
        d.wait("life")
        self.look("after kill -9 of agent and publisher: in the arena alone", d)
        w.secret("life", c, new=False)
        d.shows("life", "large", c.value(SIZES["large"]))
        self.live(c)
        self.look("updated after it: the old value has gone", d)
        w.call("DELETE", "secrets", "life")
        time.sleep(0.3)
        w.call("DELETE", "pods", "life")
        eventually("the pod's volumes go", lambda: not d.volume("life").exists())
        self.live()
        self.look("deleted, Secret and pod: nowhere", d)
        audit = (d.dir / "audit/audit.jsonl").read_text()
        self.tap.result(all(word in audit for word in ('"life"', '"large"', '"python3"')), "and the audit log has something in it")

    def stage_small(self):
        """One small Secret: nothing much comes after it that would be written over what it leaves"""
        d, w = self.api, self.world
        mark = self.marks.new("small")
        w.secret("little", mark, {"k": 48})
        w.pod("little", [secret_volume("little")])
        d.shows("little", "k", mark.value())
        self.live(mark)
        self.look("a small one: in the arena alone", d)
        w.call("DELETE", "secrets", "little")
        time.sleep(0.3)
        w.call("DELETE", "pods", "little")
        eventually("the pod's volumes go", lambda: not d.volume("little").exists())
        self.live()
        self.look("deleted: nowhere", d)

    def stage_errors(self):
        """Answers of all kinds that are refused"""
        d, w = self.api, self.world
        mark = self.marks.new("errors")
        value, b64 = mark.text(5000), mark.b64(5000)

        def obj(name, data):
            return {"kind": "Secret", "apiVersion": "v1", "type": "Opaque", "data": data,
                    "metadata": {"name": name, "namespace": "default", "uid": "u", "resourceVersion": "7"}}

        def listed(name, data):
            return json.dumps({"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
                               "items": [obj(name, data)]}).encode()

        def status(code):
            return json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": "x",
                               "message": "no", "details": {"name": value, "causes": [{"message": value}]}}).encode()

        def event(kind, body):
            return lambda h: h.say(200, json.dumps({"type": kind, "object": body}).encode() + b"\n") if "watch=" in h.path \
                else h.say(200, json.dumps({"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"},
                                            "items": []}).encode())

        huge = mark.b64(1 << 21)
        answers = {
            "e401": lambda h: h.say(401, status(401)),
            "e403": lambda h: h.say(403, status(403)),
            "e500": lambda h: h.say(500, b"<html>" + value.encode(), "text/html"),
            "e410": lambda h: h.say(410, status(410)),
            "garbage": lambda h: h.say(200, value.encode() + b"{{{" + b64.encode()),
            "cut": lambda h: h.say(200, listed("cut", {"k": b64})[:3000], cut=2000),
            "base64": lambda h: h.say(200, listed("base64", {"good": b64, "bad": b64[:-4] + "!!!!"})),
            "json": lambda h: h.say(200, listed("json", {"good": b64})[:-3]),
            "huge": lambda h: h.say(200, listed("huge", {"k": huge})),
            "utf8": lambda h: h.say(200, listed("utf8", {"k": b64, "l": "@@@@"}).replace(b"@@@@", b"\xff\xfe" + b64.encode())),
            "twice": lambda h: h.say(200, listed("twice", {"k": b64}).replace(b'"k":', b'"k":"' + b64.encode() + b'","k":')),
            "type": lambda h: h.say(200, listed("type", {"k": {"v": b64}, "l": [value]})),
            "key": lambda h: h.say(200, listed("key", {"k": b64, "../..": b64})),
            "wrong": lambda h: h.say(200, listed("another", {"k": b64})),
            "error": event("ERROR", json.loads(status(500))),
            "gone": event("ERROR", {**json.loads(status(410)), "code": 410}),
            "event": event("MODIFIED", obj("event", {"k": b64[:-4] + "!!!!"})),
            "what": event(value[:60], obj("what", {"k": b64})),
            # the rest of them is in the connection's buffer when they are given up
            **{f"long-{n}": self.at_once(lambda h, n=n: h.say(200, mark.value(n))) for n in BURSTS},
        }
        w.plain.answers.update(answers)
        w.plain.asked.clear()
        for name in answers:
            w.pod(f"p-{name}", [secret_volume(name)])
        eventually("each lie was told", lambda: all(w.plain.asked.get(n, 0) for n in answers), 60)
        time.sleep(0.5)
        self.live()
        self.look("answers that are refused leave nothing", d)
        for name in answers:
            w.call("DELETE", "pods", f"p-{name}")
        eventually("nobody asks any more", lambda: b"p-" not in d.cli("pods").stdout)
        self.look("nor when their pods have gone", d)
        w.plain.answers.clear()

    def at_once(self, answer):
        """The agent finds all of the answer waiting when it looks."""
        def slow(h):
            with ANSWERING:
                agent = self.api.processes()["agent"]
                os.kill(agent, signal.SIGSTOP)
                try:
                    answer(h)
                    h.wfile.flush()
                    time.sleep(0.2)  # the proxy hands it on
                finally:
                    os.kill(agent, signal.SIGCONT)
                time.sleep(0.05)
        return slow

    def stage_burst(self):
        """Answers that have come as a whole before the agent looks, of more than there is room for at once"""
        d, w = self.api, self.world
        marks = {n: self.marks.new(f"burst of {n} bytes") for n in BURSTS}

        def listed(name, mark, length):
            text = json.dumps({"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [
                {"kind": "Secret", "apiVersion": "v1", "type": "Opaque", "data": {"k": mark.b64(9600)}, "metadata": {
                    "name": name, "namespace": "default", "uid": "u", "resourceVersion": "7"}}]}).encode()
            burst = self.at_once(lambda h: h.say(200, text + b" " * (length - len(text))))
            return lambda h: h.pass_on() if "watch=" in h.path else burst(h)
        for n, mark in marks.items():
            name = f"burst-{n}"
            w.plain.answers[name] = listed(name, mark, n)
            w.pod(name, [secret_volume(name)])
            d.wait(name, 8)  # nothing else need come for it
            d.shows(name, "k", mark.value(9600))
            self.live(mark)
            self.look(f"{n} bytes at once: in the arena alone", d)
            w.call("DELETE", "pods", name)
            eventually("the pod's volumes go", lambda name=name: not d.volume(name).exists())
        w.plain.answers.clear()
        self.live()
        self.look("deleted: nowhere", d)

    def stage_escaped(self):
        """A good Secret whose base64 is written as JSON escapes, and one with its values in an annotation"""
        d, w = self.api, self.world
        mark = self.marks.new("escaped")
        b64 = mark.b64(3008)
        escaped = "".join(f"\\u{ord(c):04x}" for c in b64)
        body = {"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": [
            {"kind": "Secret", "apiVersion": "v1", "type": "Opaque", "data": {"k": "@"}, "metadata": {
                "name": "escaped", "namespace": "default", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": json.dumps({"data": {"k": b64}})}}}]}

        def answer(h):
            if "watch=" in h.path:
                h.pass_on()
            else:
                h.say(200, json.dumps(body).replace('"@"', f'"{escaped}"').encode())
        w.plain.answers["escaped"] = answer
        w.pod("escaped", [secret_volume("escaped")])
        d.shows("escaped", "k", mark.value(3008))
        self.live(mark)
        self.look("a value in JSON escapes: in the arena alone", d)
        w.call("DELETE", "pods", "escaped")
        eventually("the pod's volumes go", lambda: not d.volume("escaped").exists())
        w.plain.answers.clear()
        self.live()
        self.look("deleted: nowhere", d)

    def stage_unmade(self):
        """Volumes that cannot be made: a key that is missing, two keys for one path"""
        d, w = self.api, self.world
        mark = self.marks.new("unmade")
        w.secret("pr1", mark, {"k": 4000, "l": 4000})
        w.pod("pr", [secret_volume("pr1", "missing", items=[{"key": "k", "path": "x"}, {"key": "none", "path": "y"}]),
                     secret_volume("pr1", "twice", items=[{"key": "k", "path": "x"}, {"key": "l", "path": "x/y"}])])
        eventually("it is known", lambda: b"missing" in d.cli("volumes", "default/pr").stdout)
        time.sleep(0.3)
        self.live(mark)
        self.look("volumes that cannot be made: in the arena alone", d)
        w.call("DELETE", "pods", "pr")
        eventually("nobody refers to them", lambda: b"pr1" not in d.cli("secrets").stdout)
        self.live()
        self.look("deleted: nowhere", d)

    def stage_strategies(self):
        """Get and Cache, by a reload; then other credentials, and the API server over HTTP/1.1"""
        d, w = self.api, self.world
        for strategy in ("Cache", "Get"):
            a, b = (self.marks.new(f"{strategy} {i}") for i in "ab")
            d.configure(**d.common, configMapAndSecretChangeDetectionStrategy=strategy, syncFrequency="1s",
                        secretCacheTTL="1s")
            d.process.send_signal(signal.SIGHUP)
            w.secret("st", a)
            w.pod("st", [secret_volume("st")])
            d.shows("st", "large", a.value(SIZES["large"]))
            self.live(a)
            self.look(f"{strategy}: in the arena alone", d)
            w.secret("st", b, new=False)
            d.shows("st", "large", b.value(SIZES["large"]))
            self.live(b)
            self.look(f"{strategy}, updated: the old value has gone", d)
            w.call("DELETE", "pods", "st")
            w.call("DELETE", "secrets", "st")
            eventually("the pod's volumes go", lambda: not d.volume("st").exists())
            self.live()
            self.look(f"{strategy}, deleted: nowhere", d)
        d.configure(**d.common)
        d.process.send_signal(signal.SIGHUP)

    def stage_events(self):
        """What the API server is told: that volumes cannot be made, and rotations"""
        d, w = self.api, self.world
        a, b = (self.marks.new(f"events {i}") for i in "ab")
        w.secret("ev", a)
        w.pod("ev", [secret_volume("ev")])
        w.pod("ev-key", [secret_volume("ev", items=[{"key": "none", "path": "x"}])])
        w.pod("ev-path", [secret_volume("ev", items=[{"key": "small", "path": "x"}, {"key": "small", "path": "x/y"}])])
        w.pod("ev-none", [secret_volume("ev-none")])
        d.wait("ev")
        for pod in ("ev-key", "ev-path", "ev-none"):
            eventually(f"{pod} is told", lambda pod=pod: any(e["reason"] == "FailedMount" for e in w.events(pod)), 60)
        w.secret("ev", b, new=False)
        d.shows("ev", "large", b.value(SIZES["large"]))
        eventually("the rotation is told", lambda: any(e["reason"] == "SecretRotated" for e in w.events("ev")), 60)
        self.texts.append(("events", w.call("GET", "events")))
        self.live(b)
        self.look("events: in the arena alone, and no value is told", d)
        for pod in ("ev", "ev-key", "ev-path", "ev-none"):
            w.call("DELETE", "pods", pod)
        w.call("DELETE", "secrets", "ev")
        eventually("the pod's volumes go", lambda: not d.volume("ev").exists())
        self.live()
        self.look("deleted: nowhere", d)

    def tokens(self):
        """Each TokenRequest gets a token with a mark of its own; the first one is renewed soon."""
        made, marks = [], [self.marks.new(f"token {i}") for i in range(4)]

        def answer():
            made.append(marks[len(made)])
            left = 5 if len(made) == 1 else 600
            return {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
                    "spec": {"expirationSeconds": left}, "status": {
                        "token": f"head.{made[-1].text(512)}.sig",
                        "expirationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + left))}}
        self.world.plain.token = answer
        return made

    def stage_projected(self):
        """The volume that every pod has, with its token, and a Secret beside it"""
        d, w = self.api, self.world
        a, b = (self.marks.new(f"projected {i}") for i in "ab")
        made = [] if self.kube else self.tokens()
        w.secret("pr", a)
        w.config_map("pr", {"text": "no secret"})
        w.pod("pr", [{"name": "v", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}, {"configMap": {"name": "pr"}},
            {"secret": {"name": "pr"}},
            {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}])
        d.wait("pr")
        d.shows("pr", "large", a.value(SIZES["large"]), kind="projected")
        d.shows("pr", "text", b"no secret", kind="projected")
        if self.kube:
            _, claims, signature = (d.volume("pr", kind="projected") / "token").read_bytes().split(b".")
            self.marks.credential("pod's token", claims, signature, owners=("arena",))
            self.live(a)
        else:
            eventually("the token is renewed", lambda: len(made) > 1)
            d.shows("pr", "token", f"head.{made[1].text(512)}.sig".encode(), kind="projected")
            self.live(a, made[1])
        self.look("token and Secret: in the arena alone", d)
        w.secret("pr", b, new=False)
        d.shows("pr", "large", b.value(SIZES["large"]), kind="projected")
        self.live(b, *made[1:])
        self.look("updated: the old value has gone", d)
        for what in ("pods", "secrets", "configmaps"):
            w.call("DELETE", what, "pr")
        eventually("the pod's volume goes", lambda: not d.volume("pr", kind="projected").exists())
        if self.kube:
            self.marks.gone("pod's token")
        self.live()
        self.look("deleted: nowhere, nor the token", d)

    def stage_live(self):
        """Live files: what an open file shows changes"""
        d, w = self.api, self.world
        a, b = (self.marks.new(f"live {i}") for i in "ab")
        w.secret("live", a)
        w.pod("live", [secret_volume("live")], annotations={"secretlet.dev/live": "v"})
        d.wait("live")
        with open(d.pods / "by-name/default/live/live/v/large", "rb") as file:
            for mark in (a, b):
                if mark is b:
                    w.secret("live", b, new=False)

                def shows(mark=mark):
                    file.seek(0)
                    return file.read() == mark.value(SIZES["large"])
                eventually("the live file has what it should", shows)
                self.live(mark)
                self.look("a live file: in the arena alone" if mark is a else "updated: the old value has gone", d)
        w.call("DELETE", "pods", "live")
        w.call("DELETE", "secrets", "live")
        eventually("the pod's volumes go", lambda: not d.volume("live").exists())
        self.live()
        self.look("deleted: nowhere", d)

    def forgets(self, *names):
        for name in names:
            self.marks.gone(name)
        d = self.api
        end = time.monotonic() + 20
        while self.search(d.processes())[0] and time.monotonic() < end:
            time.sleep(0.3)

    def stage_credentials(self):
        """Another token, another client key"""
        d, w = self.api, self.world
        a, b = (self.marks.new(f"credentials {i}") for i in "ab")
        w.secret("cr", a)
        w.pod("cr", [secret_volume("cr")])
        d.wait("cr")
        self.new_token("token 2")
        w.sign("client", "/O=system:nodes/CN=system:node:node-1")
        self.key_credential("client key 2")
        d.process.send_signal(signal.SIGHUP)
        # the files are read each half minute
        eventually("they are taken", lambda: all(f"new {what} in use" in d.log.read_text()
                                                 for what in ("token", "client certificate")), 120)
        w.secret("cr", b, new=False)
        d.shows("cr", "large", b.value(SIZES["large"]))
        self.live(b)
        # old connections go one by one
        self.forgets("token 1", "client key 1")
        self.look("other credentials: the old ones have gone", d)
        w.call("DELETE", "pods", "cr")
        w.call("DELETE", "secrets", "cr")
        eventually("the pod's volumes go", lambda: not d.volume("cr").exists())
        self.live()
        self.look("deleted: nowhere", d)

    def stage_http1(self):
        """A server that speaks HTTP/1.1 alone: a connection for each watch"""
        d, w = self.api, self.world
        a, b = (self.marks.new(f"http/1.1 {i}") for i in "ab")
        self.write_kubeconfig(w.tls.port)
        d.restart()
        w.secret("h1", a)
        w.pod("h1", [secret_volume("h1")])
        d.wait("h1")
        self.live(a)
        self.look("HTTP/1.1: in the arena alone", d)
        w.secret("h1", b, new=False)
        d.shows("h1", "large", b.value(SIZES["large"]))
        self.live(b)
        self.look("HTTP/1.1, updated: the old value has gone", d)
        w.call("DELETE", "pods", "h1")
        w.call("DELETE", "secrets", "h1")
        eventually("the pod's volumes go", lambda: not d.volume("h1").exists())
        self.live()
        self.look("HTTP/1.1, deleted: nowhere", d)
        self.write_kubeconfig(w.h2_port)
        d.restart()

    def stage_idle(self):
        """An answer after which nothing comes for a long time: over the connection of the watches; where the server takes one stream
        on each, over one that has nothing to do afterwards; and over one on which others wait for theirs"""
        d, w = self.api, self.world
        go_on = threading.Event()
        d.configure(**d.common, configMapAndSecretChangeDetectionStrategy="Get")
        for streams, what in ((100, "shared"), (1, "idle"), (3, "waiting")):
            mark = self.marks.new(f"{what} connection")
            body = {"kind": "Secret", "apiVersion": "v1", "type": "Opaque", "data": {"k": mark.b64(480)}, "metadata": {
                "name": what, "namespace": "default", "uid": "u", "resourceVersion": "7"}}
            w.plain.answers[what] = lambda h, text=json.dumps(body).encode(): h.say(200, text)
            self.write_kubeconfig(w.front_h2(streams=streams))
            d.restart()
            held = [f"held-{i}" for i in range(3)] if what == "waiting" else []
            w.plain.answers |= {name: lambda h: go_on.wait(60) and h.say(404, b"{}") for name in held}
            for name in held:
                w.pod(name, [secret_volume(name)])
            eventually("they wait", lambda names=held: all(w.plain.asked.get(n, 0) for n in names))
            w.pod(what, [secret_volume(what)])
            d.wait(what)
            self.live(mark)
            self.look(f"{what} connection: in the arena alone", d)
            go_on.set()
            for name in (what, *held):
                w.call("DELETE", "pods", name)
            eventually("the pod's volumes go", lambda: not d.volume(what).exists())
            self.live()
            self.look("deleted: nowhere", d)
        w.plain.answers.clear()
        self.write_kubeconfig(w.h2_port)
        d.configure(**d.common)
        d.restart()

    def stage_offline(self):
        """A node that comes up without its API server: what it shows is from the disk"""
        d, w = self.api, self.world
        a = self.marks.new("offline")
        w.secret("off", a)
        w.pod("off", [secret_volume("off")])
        w.pod("stays", [])  # a list without any pod would not be believed at once
        d.wait("off")
        eventually("the cache is written", lambda: (c := json.loads(d.cli("status", "-o", "json").stdout)["offlineCache"])
                   ["secrets"] > 0 and not c["pending"])
        self.live(a)
        self.look("written to the offline cache: in the arena alone", d)
        # as when the power fails
        for pid in d.processes().values():
            os.kill(pid, signal.SIGKILL)
        d.process.wait()
        subprocess.run(["umount", "-l", d.pods], check=False, stderr=subprocess.DEVNULL)
        port = free_port()
        self.write_kubeconfig(port)
        d.start()
        d.wait("off", 40)
        d.shows("off", "large", a.value(SIZES["large"]))
        self.look("shown from the offline cache: in the arena alone", d)
        for words in ("list", "list -o json", "verify"):
            self.command([self.build / "secretlet", "cache", *words.split(), "--config", d.conf], f"cache {words}")
        w.call("DELETE", "pods", "off")
        w.call("DELETE", "secrets", "off")
        w.front_h2(port)
        eventually("the pod's volumes go", lambda: not d.volume("off").exists(), 60)
        self.live()
        self.look("deleted: nowhere, nor on the disk", d)
        eventually("the cache is empty", lambda: (c := json.loads(d.cli("status", "-o", "json").stdout)["offlineCache"])
                   ["secrets"] == 0 and not c["pending"])
        # what is in them cannot be looked for
        left = sorted(p.name for p in (d.dir / "cache").iterdir() if p.name not in ("index", "lock"))
        self.tap.result(not left, "no record of it is on the disk", left)
        w.call("DELETE", "pods", "stays")
        self.write_kubeconfig(w.h2_port)
        d.stop()
        self.command([self.build / "secretlet", "cache", "wipe", "--config", d.conf], "cache wipe")
        d.start()

    # --- without an API server

    def broken(self, mark):
        """Manifests with the mark in them that are refused, each for another reason."""
        value, b64 = mark.text(200), mark.b64(200)
        head = "apiVersion: v1\nkind: Secret\nmetadata: {name: NAME}\n"
        return {
            "quote": head + f'stringData:\n  k: "{value}\n',
            "tab": head + f"stringData:\n\tk: {value}\n",
            "base64": head + f"data:\n  k: {b64[:-4]}!!!!\n",
            "type": head + f"stringData:\n  k: [{value}]\n",
            "flat": head + f"data: {value}\n",
            "anchor": head + f"stringData:\n  k: &a {value}\n  l: *none\n",
            "twice": head + f"stringData:\n  k: {value}\n  k: {value}\n",
            "colon": head + f"stringData:\n  k: {value}: {value}\n",
            "block": head + f"stringData:\n  k: |\n    {value}\n   {value}\n  : {{\n",
            "escape": head + f'stringData:\n  k: "{value}\\q{value}"\n',
            "huge": head + f"stringData:\n  k: {mark.text(1 << 21)}\n",
            "utf8": head + f"stringData:\n  k: {value}\udcff\udcfe{value}\n",
            "sealed": head + f"sealedData:\n  k: {b64}\n",
            "unknown": head + f"strangeData:\n  k: {value}\n",
            "text": value + "\n",
            "ssl": head + f"type: kubernetes.io/tls\nstringData:\n  tls.crt: {value}\n",
        }

    def stage_manifests(self):
        d = Daemon(self, "manifests")
        self.daemons.append(d)
        keys, folder = d.dir / "keys", d.dir / "in"
        keys.mkdir(mode=0o700)
        folder.mkdir()
        d.inputs |= {str(keys), str(folder), str(d.conf)}
        subprocess.run([self.build / "secretlet", "keygen", "--out", keys], check=True, stdout=subprocess.DEVNULL)
        private = (keys / "sealing.key").read_text().split()[2]
        self.marks.credential("sealing key", private[:40].encode(), base64.b64decode(private)[:32], owners=("arena",))
        d.configure(manifestsDir="in", sealedSecretsKeyFile="keys/sealing.key")
        d.roles = {"keeper", "agent", "publisher"}
        plain, plain2, sealed, bad = (self.marks.new(f"manifests {n}") for n in ("plain", "plain 2", "sealed", "broken"))

        def put(name, text):
            (folder / f".{name}").write_bytes(text.encode("utf-8", "surrogateescape"))
            (folder / f".{name}").rename(folder / f"{name}.yaml")

        def secret(name, mark):
            return ("apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\ndata:\n" % name +
                    "".join(f"  {k}: {mark.b64(n)}\n" for k, n in SIZES.items()) +
                    f"stringData:\n  text: {mark.text(96)}\n  folded: >\n    {mark.text(96)}\n" +
                    f"  quoted: \"{mark.text(96)}\\n\"\n")
        put("plain", secret("plain", plain))
        text = self.dir / "input.yaml"
        self.inputs.add(str(text))
        text.write_text(secret("sealed", sealed))
        done = subprocess.run([self.build / "secretlet", "seal", "--public-key", keys / "sealing.pub", text], check=True,
                              stdout=subprocess.PIPE)
        put("sealed", done.stdout.decode())
        put("pod", json.dumps(pod_of("m", [secret_volume("plain"), secret_volume("sealed", "s")])))
        d.start()
        d.wait("m")
        d.shows("m", "large", sealed.value(SIZES["large"]), "s")
        self.live(plain, sealed)
        self.look("manifests, plain and sealed: in the arena alone", d)
        d.kill("agent")
        d.wait("m")
        self.look("after kill -9 of the agent: in the arena alone", d)
        put("plain", secret("plain", plain2))
        d.shows("m", "large", plain2.value(SIZES["large"]))
        self.live(plain2, sealed)
        self.look("updated: the old value has gone", d)
        for name, content in self.broken(bad).items():
            put(name, content.replace("NAME", name))
        put("pods", "\n---\n".join(json.dumps(pod_of(f"b-{name}", [secret_volume(name)])) for name in self.broken(bad)))
        eventually("the pods are known", lambda: b"b-sealed" in d.cli("volumes").stdout)
        time.sleep(0.5)
        self.look("broken ones leave nothing", d)
        for path in folder.glob("*.yaml"):
            path.unlink()
        eventually("the pod's volumes go", lambda: not d.volume("m").exists())
        self.live()
        self.look("removed: nowhere", d)
        for name, content in self.broken(bad).items():
            text.write_bytes(content.replace("NAME", name).encode("utf-8", "surrogateescape"))
            self.command([self.build / "secretlet", "check", text], f"check, {name}", status=0 if name == "unknown" else 1)
        text.write_text(secret("sealed", sealed))
        self.command([self.build / "secretlet", "check", text], "check")
        self.command([self.build / "secretlet", "seal", "--public-key", keys / "sealing.pub", text], "seal")
        self.command([self.build / "secretlet", "seal", "--public-key", keys / "sealing.pub"], "seal from a pipe", text)
        text.write_text(self.broken(bad)["base64"])
        self.command([self.build / "secretlet", "seal", "--public-key", keys / "sealing.pub", text], "seal, refused", status=1)
        made = d.dir / "made"
        made.mkdir(mode=0o700)
        d.inputs.add(str(made))
        self.command([self.build / "secretlet", "keygen", "--out", made], "keygen",
                     forbidden=lambda: memory.needles("new key", (made / "sealing.key").read_text().split()[2][:40].encode()))
        self.command([self.build / "secretlet", "cache", "keygen", made / "cache.key"], "cache keygen",
                     forbidden=lambda: memory.needles("new key", (made / "cache.key").read_bytes().strip(), brief=True) +
                     memory.needles("new key", base64.b64decode((made / "cache.key").read_bytes()), brief=True))
        d.stop()

    def run(self, only):
        try:
            # also where the container or the unit that this runs in allows none
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
        except ValueError:
            resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
        if not self.stage_control():
            return
        self.world = Kube(*self.kube) if self.kube else World(self.build, self.dir / "world")
        self.inputs.add(str(self.world.dir))
        stages = AT_KUBE if self.kube else PARTS["quick"] + PARTS["rest"]
        if unknown := set(only) - set(stages):
            raise SystemExit(f"no such stage: {', '.join(sorted(unknown))}; there are: {', '.join(stages)}")
        chosen = [stage for stage in stages if not only or stage in only]
        own = [stage for stage in chosen if stage in OWN_DAEMON]
        try:
            if chosen != own:
                self.world.start()
                self.api = self.api_daemon()
                self.api.start()
                for stage in chosen:
                    if stage not in own:
                        self.stage(stage)
                self.api.stop()
            for stage in own:
                self.stage(stage)
        finally:
            for d in self.daemons:
                d.stop()
            self.world.end()
        self.live()
        self.look("at the end: nothing in any file", None)

    def stage(self, name):
        begin = time.monotonic()
        print(f"# {name}")
        try:
            getattr(self, f"stage_{name}")()
        except Enough:
            raise
        except Exception as e:  # pylint: disable=broad-except
            log = [line for d in self.daemons[-1:] if d.log.exists() for line in d.log.read_text(errors="replace").splitlines()[-15:]]
            self.tap.result(False, f"stage {name}", [f"{type(e).__name__}: {e}", *log])
            # the other stages still have something to say
            self.marks.doubtful |= set(self.marks.stages)
            self.live()
        else:
            missing = {c for c, stage in ELSEWHERE.items() if stage == name} - self.commanded
            if missing:
                self.tap.result(False, f"stage {name} runs {', '.join(sorted(missing))}")
        print(f"# {name}: {time.monotonic() - begin:.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--dir", type=pathlib.Path)
    parser.add_argument("--only", metavar="STAGE,...")
    parser.add_argument("--part", choices=sorted(PARTS), help="of all stages, as `make test` (quick) and `make long` (rest) run them")
    parser.add_argument("--stop", action="store_true", help="at the first failure")
    parser.add_argument("--kube", type=pathlib.Path, help="certificates of a real API server")
    parser.add_argument("--port", type=int, help="where it listens")
    parser.add_argument("--figures", type=pathlib.Path, help="folder of test/bench/report, for what was found")
    args = parser.parse_args()
    folder = args.dir or pathlib.Path(tempfile.mkdtemp(prefix="canary."))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    canary = Canary(args.build.resolve(), folder.resolve(), (args.kube.resolve(), args.port) if args.kube else None)
    canary.tap.stop = args.stop
    try:
        canary.run(args.only.split(",") if args.only else PARTS.get(args.part, []))
    except Enough:
        pass
    if args.figures and not args.only and not args.part:
        keep_figure(args.figures, "canary", {"searches": canary.n_searches, "bytes": canary.n_bytes, "found": canary.n_found,
                                             "checks": canary.tap.n, "failed": canary.tap.failed})
    return canary.tap.done()


if __name__ == "__main__":
    sys.exit(main())
