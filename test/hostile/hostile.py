#!/usr/bin/env python3
"""A hostile API server against whole daemons: what each attack costs, that it is said, and that nothing is lost by it.

    test/hostile/hostile.py --build DIR --dir DIR [--hold SECONDS] [--only REGEX] [-v]

Each row of attacks.py has a Secret or a ConfigMap and a pod of its own, which are good and published before (pods' and nodes' rows have a
daemon of their own). Then:

  1. one after the other, each attack begins, and goes on. Meanwhile another Secret's update has to arrive; what was
     published has to be there; `volumes` or `status` has to name the object and the reason; and memory, CPU time and the
     bytes that were taken have to stay within bounds.
  2. all of them at once, for --hold seconds: nobody is asked too often, nobody says the same thing again and again, and
     the other Secret's updates still arrive.
  3. they end. Each object gets well by itself, and the memory comes back.

CPU time has a bound in relation to the bytes that were sent and to what an honest answer costs, which is measured
first; nothing depends on how long anything takes. Needs root and a private mount namespace. Prints TAP.
"""
import argparse
import ctypes
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import attacks
from attacks import MIB
from server import Server

PATIENCE_SEC = 60
SOCKETS = 16 * MIB        # what the kernel took so far of what nobody reads; it may take tcp_rmem[2] and tcp_wmem[2]
CPU_SEC = 1.5             # for anything
CPU_FACTOR = 60           # times what an honest answer costs for a byte: JSON of many small things costs more than one string
HEAVY_MIB = 100           # not once more: it would be the only thing that happens
HELPERS_MIB = 4           # keeper and publisher have nothing to do with it
LEFT_MIB = 64             # of all that an agent took meanwhile
OWN_PATHS = re.compile(r"/livez.*|/api/v1/namespaces/default/events(/[a-z0-9.-]+)?(\?.*)?")  # asked for unprompted
CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")


class Tap:
    def __init__(self, verbose):
        self.n = self.failed = 0
        self.verbose = verbose

    def result(self, name, problems, note=""):
        self.n += 1
        self.failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} {self.n} - {name.replace('#', '')}{note if self.verbose else ''}")
        for problem in problems:
            print("# " + problem.replace("\n", " "))
        sys.stdout.flush()

    def done(self):
        print(f"1..{self.n}")
        return 1 if self.failed else 0


def wait(condition, seconds=PATIENCE_SEC, pause=0.01):
    """What it says at last; something false if that stays so."""
    end = time.monotonic() + seconds
    while not (result := condition()) and time.monotonic() < end:
        time.sleep(pause)
    return result


class Control(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("x", timeout=PATIENCE_SEC)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE_SEC)
        self.sock.connect(str(self.path))


class Cost:
    """Of a process, since it was made."""

    def __init__(self, pid):
        self.pid = pid
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM begins anew
        self.rss, self.shared, self.cpu = self.memory("VmRSS"), self.memory("RssShmem"), self.cpu_sec()

    def memory(self, field):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.M)[1]) / 1024

    def cpu_sec(self):
        return int(pathlib.Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    def grown(self):
        return self.memory("VmHWM") - self.rss

    def grown_alone(self):
        """Without the state that the agent shares with it."""
        return self.grown() - (self.memory("RssShmem") - self.shared)

    def spent(self):
        return self.cpu_sec() - self.cpu


class Daemon:
    def __init__(self, args, server, name, strategy="Watch", sync="1h", cluster="", more=""):
        self.server, self.name = server, name
        self.secretlet = args.build / "secretlet"
        self.n_asked = 0
        self.dir = args.dir / name
        self.dir.mkdir()
        self.dir.chmod(0o755)
        self.pods, self.run, self.log = self.dir / "pods", self.dir / "run", args.dir / f"{name}.log"
        scheme = "https" if server.context else "http"
        (self.dir / "kubeconfig").write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n"
            f'clusters: [{{name: k, cluster: {{server: "{scheme}://127.0.0.1:{server.port}"{cluster}}}}}]\n'
            "users: [{name: u, user: {}}]\n")
        (self.dir / "secretlet.yaml").write_text(
            "apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\nkubeconfig: kubeconfig\n"
            f"podsDir: {self.pods}\nruntimeDir: {self.run}\nnodeName: {name}\nsyncFrequency: {sync}\nsecretCacheTTL: {sync}\n"
            "kubeAPIQPS: 1000\nkubeAPIBurst: 1000\nagentHangTimeout: 2m\n"
            f"configMapAndSecretChangeDetectionStrategy: {strategy}\n{more}")
        self.process = subprocess.Popen([self.secretlet, "run", "--config", self.dir / "secretlet.yaml"],
                                        stderr=open(self.log, "ab"), stdin=subprocess.DEVNULL,
                                        preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0))

    def ask(self, what):
        """None while nobody answers."""
        try:
            connection = Control(self.run / "control.sock")
            connection.request("GET", "/v1/" + what)
            return json.loads(connection.getresponse().read())
        except (OSError, ValueError, http.client.HTTPException):
            return None

    def volumes(self):
        """pod -> its only volume"""
        answer = self.ask("pods") or {"pods": []}
        return {p["name"]: p["volumes"][0] for p in answer["pods"] if p["volumes"]}

    def error(self, pod):
        self.n_asked += 1
        answer = self.ask(f"pods/default/{pod}")
        return answer["volumes"][0]["error"] if answer and answer.get("volumes") else "there is no such pod"

    def last_error(self):
        self.n_asked += 1
        answer = self.ask("status")
        return answer["source"]["lastError"] if answer else ""

    def value(self, pod):
        """Of its key, from the agent and not from the page cache."""
        found = list((self.pods / f"uid-{pod}" / "volumes").glob("*/v/k"))  # kubernetes.io~secret and others
        if not found:
            return "<there is none>"
        try:
            with open(found[0], "rb") as f:
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                return f.read().decode()
        except OSError as e:
            return f"<{e.strerror}>"

    def ready(self, n):
        volumes = self.volumes()
        return len(volumes) >= n and all(v["state"] == "ready" and not v["error"] for v in volumes.values())

    def processes(self):
        found = {"keeper": self.process.pid}
        for pid in pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            name = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode()
            found[name.removeprefix("secretlet-")] = int(pid)
        return found

    def costs(self):
        return {name: Cost(pid) for name, pid in self.processes().items()}

    def lines(self):
        return self.log.read_text(errors="surrogateescape").splitlines()

    def stop(self):
        self.process.terminate()
        return self.process.wait(PATIENCE_SEC)


class Case:
    """A row and whom it is done to."""

    def __init__(self, daemon, key, pod, title, verb, run, says, memory, is_wire=False, of_source=False):
        self.daemon, self.key, self.pod, self.title, self.verb = daemon, key, pod, title, verb
        self.run, self.says, self.memory, self.is_wire, self.of_source = run, says, memory, is_wire, of_source
        self.good = f"good {pod}"
        self.attack = self.again = None
        self.failed = False
        self.cpu = CPU_SEC

    def error(self):
        return self.daemon.last_error() if self.of_source else self.daemon.error(self.pod)


class Test:
    def __init__(self, args):
        self.args, self.tap = args, Tap(args.v)
        self.server = Server()
        self.cases, self.daemons = [], []
        self.honest = 0.0  # CPU seconds for a byte
        self.n_updates = 0

    def daemon(self, *words, **more):
        d = Daemon(self.args, *words, **more)
        self.daemons.append(d)
        d.other = f"other-{d.name}"
        d.server.put_secret(d.other, "0")
        d.server.put_pod(d.other, d.name, d.other)
        return d

    def is_wanted(self, title):
        return re.search(self.args.only, title)

    def add(self, daemon, prefix, rows):
        kind, what, words = {
            "l": ("secret", "list", "list of a Secret"), "f": ("secret", "frame", "watch of a Secret, running"),
            "w": ("secret", "watch", "watch of a Secret"), "g": ("secret", "get", "GET of a Secret"),
            "c": ("secret", "get", "GET of a Secret, by TTL"), "m": ("configmap", "list", "list of a ConfigMap"),
            "n": ("configmap", "frame", "watch of a ConfigMap, running"), "o": ("configmap", "get", "GET of a ConfigMap")}[prefix]
        for i, row in enumerate(rows):
            title = f"{words}: {row[0]}"
            if not self.is_wanted(title):
                continue
            pod = f"{prefix}{i}"
            self.put_object(kind, pod, f"good {pod}")
            self.server.put_pod(pod, daemon.name, pod, kind)
            more = row[3:] or (32 if what == "get" else 16,)  # MiB: twice what may come, and what it is parsed into
            self.cases.append(Case(daemon, (kind, pod), pod, title, what, *row[1:3], *more))

    def put_object(self, kind, name, value):
        (self.server.put_secret if kind == "secret" else self.server.put_config_map)(name, value)

    def add_pods(self):
        for i, (name, verb, run, says, memory, *cpu) in enumerate(attacks.PODS):
            title = f"pods, {verb}: {name}"
            if not self.is_wanted(title):
                continue
            d = self.daemon(self.server, f"node-p{i}")
            pod = f"p{i}"
            self.server.put_secret(pod, f"good {pod}")
            self.server.put_pod(pod, d.name, pod)
            self.cases.append(Case(d, ("pods", d.name), pod, title, verb, run, says, memory, False, True))
            self.cases[-1].cpu = cpu[0] if cpu else CPU_SEC

    # ---- the three parts

    def update_arrives(self, daemon):
        self.n_updates += 1
        value = str(self.n_updates)
        daemon.server.put_secret(daemon.other, value)
        return wait(lambda: daemon.value(daemon.other) == value)

    def calibrate(self, daemon):
        """What honest answers cost: a Secret of 700 KB, again and again."""
        cost = Cost(daemon.processes()["agent"])
        n_bytes = 0
        for i in range(5):
            text = f"{i}" * 700_000
            daemon.server.put_secret(daemon.other, text)
            n_bytes += len(text) * 4 // 3
            if not wait(lambda: daemon.value(daemon.other) == text):
                raise RuntimeError("an honest update does not arrive")
        self.honest = cost.spent() / n_bytes

    @staticmethod
    def was_made(case):
        """There is nothing more to send, or it was so much that more does not matter."""
        wait(lambda: case.attack.is_made or case.attack.sent > 64 * MIB)
        time.sleep(0.25)

    def begin(self, case):
        d, problems, began = case.daemon, [], time.monotonic()
        costs = d.costs()
        d.n_asked = 0
        case.lines = len(d.lines())
        case.attack = d.server.attack(case.key, case.verb, case.run)
        # how soon it asks depends on what went wrong before; from then on there is something to be patient with
        if not wait(lambda: case.attack.n, 5 * PATIENCE_SEC):
            problems.append("was not asked for what is wrong")
        if case.says:
            if not wait(lambda: re.search(case.says, case.error()), pause=0.03):
                problems.append(f"says {case.error()!r} and not {case.says!r}")
            case.said = case.error()
        else:
            self.was_made(case)
            if case.error():
                problems.append(f"says {case.error()!r} where nothing is wrong")
        if not self.update_arrives(d):
            problems.append(f"the update of another Secret does not arrive: {d.value(d.other)[:80]!r}")
        if d.value(case.pod) != case.good:
            problems.append(f"what was published is {d.value(case.pod)!r}")
        d.server.stop(case.attack)
        if case.verb == "list" and case.memory > HEAVY_MIB:
            d.server.expire(case.key)  # its pods go
        note = ""
        if {name: c.pid for name, c in costs.items()} == d.processes():
            problems += self.cost_problems(case, dict(costs))
            agent = costs["agent"]
            note = f"  [{case.attack.sent / MIB:.1f} MiB, +{agent.grown():.0f} MiB, {agent.spent():.2f} s CPU, {time.monotonic() - began:.2f} s]"
        else:
            problems.append("a process was replaced")
        case.failed = bool(problems)
        self.tap.result(case.title, problems, note)

    def cost_problems(self, case, costs):
        problems = []
        agent = costs.pop("agent")
        sent = case.attack.sent
        if agent.grown() > case.memory:
            problems.append(f"the agent grew by {agent.grown():.0f} MiB, more than {case.memory}")
        if agent.spent() > case.cpu + 0.002 * case.daemon.n_asked + CPU_FACTOR * self.honest * sent:
            problems.append(f"the agent took {agent.spent():.2f} s of CPU for {sent} bytes; honest ones would have been "
                            f"{self.honest * sent:.3f} s")
        limit = (8 if case.verb == "get" else 32 if case.key[0] == "pods" and case.verb == "list" else 4) * MIB + SOCKETS
        if sent > limit * case.attack.n and not case.is_wire:
            problems.append(f"{sent} bytes were taken of {case.attack.n} answers, more than {limit} each")
        for name, cost in costs.items():
            if cost.grown_alone() > HELPERS_MIB:
                problems.append(f"the {name} grew by {cost.grown_alone():.0f} MiB")
        return problems

    def hold(self):
        """All at once."""
        for case in self.cases:
            case.again = time.monotonic()
            if case.memory > HEAVY_MIB:
                continue
            case.attack = case.daemon.server.attack(case.key, case.verb, case.run)
        end = time.monotonic() + self.args.hold
        late, lost = [], []
        while time.monotonic() < end:
            late += [d.name for d in self.daemons if not self.update_arrives(d)]
            time.sleep(0.2)
        for case in self.cases:
            if case.daemon.value(case.pod) != case.good and not case.failed:
                lost.append(f"{case.title}: {case.daemon.value(case.pod)!r}")
        self.tap.result("all at once: other Secrets' updates arrive", late)
        self.tap.result("all at once: nothing that was published is lost", lost)
        self.asked_within_bounds()
        self.said_once()
        self.shown_clean()

    def asked_within_bounds(self):
        problems = []
        for case in self.cases:
            seconds = time.monotonic() - case.again
            n = case.daemon.server.count(case.key, case.again)
            # at least 0.8, 1.6, 3.2 ... seconds between two tries; each is one request that fails, and before it maybe
            # one that succeeds, and one that asks for WatchList or that libcurl repeats on another connection
            tries = int(seconds / 0.8 + 1).bit_length()
            if "% of the answer" in case.title:
                tries *= 2  # where the connection is lost without an answer, every second wait may be cut short
            allowed = 2 + 3 * tries
            if case.verb == "get":
                allowed = max(allowed, 2 + int(seconds))  # what has been understood is asked for each second
            if "a continue token" in case.title and case.key[0] == "pods":
                allowed *= 200  # pages
            if n > allowed:
                problems.append(f"{case.title}: asked {n} times in {seconds:.1f} s, more than {allowed}")
        self.tap.result("all at once: nobody is asked too often", problems)
        stolen = [t for s in {d.server for d in self.daemons} for t in s.strange if not OWN_PATHS.fullmatch(t)]
        self.tap.result("nobody was led to ask for something else", stolen[:5])

    def said_once(self):
        problems = []
        for case in self.cases:
            # who cannot be reached is the pods' reflector's to say
            if not case.says or case.failed or re.match("read from|connect to", case.said):
                continue
            mark = " pods: " if case.of_source else rf"(secret|configmap|pod)=default/{case.pod}(\s|$)"
            level = "info" if case.says.startswith("403") else "warning"  # the authorizer may not know a fresh pod yet
            said = [line for line in case.daemon.lines()[case.lines:] if f" {level} agent: " in line
                    and re.search(mark, line) and re.search(case.says, line)]
            if not 1 <= len(said) <= 2:
                problems.append(f"{case.title}: {len(said)} times, first {said[:1]}")
        self.tap.result("the log says what is wrong, and not again and again", problems)

    def shown_clean(self):
        problems = []
        for d in self.daemons:
            texts = [d.log.read_bytes()]
            for word in ("status", "volumes", "pods", "secrets"):
                for form in ("table", "json"):
                    texts.append(subprocess.run([d.secretlet, word, "--runtime-dir", d.run, "-o", form], check=False,
                                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout)
            found = [CONTROL.search(t) for t in texts]
            problems += [f"{d.name}: {m.string[max(0, m.start() - 60):m.end() + 20]!r}" for m in found if m]
            problems += [f"{d.name}: a forged line" for t in texts if re.search(rb"^FAKE", t, re.M)]
        self.tap.result("no control character reaches the log or a terminal", problems)

    def end(self):
        for case in self.cases:
            case.daemon.server.stop(case.attack)
        for case in self.cases:
            if case.key[0] in ("secret", "configmap"):
                self.put_object(case.key[0], case.pod, f"well {case.pod}")
                case.good = f"well {case.pod}"
            elif case.key[0] == "pods":
                case.daemon.server.put_pod(f"late-{case.pod}", case.daemon.name, case.daemon.other)
        for case in self.cases:
            if re.search(r"Retry-After: 1000000000|retryAfterSeconds: 10\^18", case.title):
                subprocess.run([case.daemon.secretlet, "refresh", "--runtime-dir", case.daemon.run, f"default/{case.pod}"],
                               check=False, stdout=subprocess.DEVNULL)
        ill = wait(lambda: all(self.is_well(c) for c in self.cases) or None, 2 * PATIENCE_SEC, 0.1)
        left = [] if ill else [f"{c.title}: {c.daemon.value(c.pod)!r}, {c.error()!r}" for c in self.cases if not self.is_well(c)]
        self.tap.result("each gets well by itself", left)

    @staticmethod
    def is_well(case):
        d = case.daemon
        if d.value(case.pod) != case.good:
            return False
        if case.key[0] == "pods":
            return d.value(f"late-{case.pod}") == d.value(d.other)
        return True

    def run(self):
        watch = self.daemon(self.server, "node-watch")
        get = self.daemon(self.server, "node-get", strategy="Get", sync="1s")
        cache = self.daemon(self.server, "node-cache", strategy="Cache", sync="1s")
        self.add(watch, "l", attacks.LISTS)
        self.add(watch, "f", attacks.FRAMES)
        self.add(watch, "w", attacks.WATCHES)
        self.add(watch, "m", attacks.MAP_LISTS)
        self.add(watch, "n", attacks.MAP_FRAMES)
        self.add(get, "g", attacks.GETS)
        self.add(get, "o", attacks.MAP_GETS)
        self.add(cache, "c", attacks.GETS)
        self.add_pods()
        begun = {d: d.ready for d in self.daemons}
        for d in self.daemons:
            n = 1 + sum(1 for c in self.cases if c.daemon is d)
            if not wait(lambda: begun[d](n)):
                self.tap.result(f"{d.name}: all is well at first", [str(d.ask("status"))])
                return
        self.calibrate(watch)
        before = {d: d.costs() for d in self.daemons}
        time.sleep(1.1)  # a watch that ends earlier is another trouble
        for case in self.cases:
            self.begin(case)
        self.hold()
        self.end()
        grown = []
        for d in self.daemons:
            if {n: c.pid for n, c in before[d].items()} != d.processes():
                grown.append(f"{d.name}: a process was replaced")
                continue
            cost = before[d]["agent"]
            if not wait(lambda: cost.memory("VmRSS") - cost.rss < LEFT_MIB, 5):
                grown.append(f"{d.name}: {cost.memory('VmRSS') - cost.rss:.0f} MiB more than before")
        self.tap.result("the memory comes back, and the processes are the same", grown)
        codes = [f"{d.name}: {code}" for d in self.daemons if (code := d.stop())]
        self.tap.result("exit status", codes)


def arguments(text, hold):
    """Of all that are begun by hand; the folder is there, and the agent's user can get to it."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--dir", type=pathlib.Path, required=True)
    parser.add_argument("--hold", type=float, default=hold)
    parser.add_argument("--only", default="")
    parser.add_argument("-v", action="store_true")
    args = parser.parse_args()
    args.build, args.dir = args.build.resolve(), args.dir.resolve()
    args.dir.mkdir(exist_ok=True)
    args.dir.chmod(0o755)
    return args


def main():
    args = arguments(__doc__, hold=15)
    test = Test(args)
    test.run()
    sys.exit(test.tap.done())


if __name__ == "__main__":
    main()
