"""The part of the canary test that runs secretlet's commands, and asks over the control socket."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import memory
from traced import run_and_look
from world import ROOT, die_with_parent, eventually, pod_of, secret_volume

# run in other stages, by what --help calls them
ELSEWHERE = {"check": "manifests", "seal": "manifests", "keygen": "manifests", "cache": "offline"}
# a daemon's processes, which are searched as long as they run
PROCESSES = {"internal-agent", "internal-publisher", "internal-audit", "internal-cache", "internal-signaller"}
USAGE, UNREACHABLE = 2, 3
INTERRUPTED = -2
# (command, exit status), and where the status does not say that the daemon has answered, what is printed then; at a daemon with a
# pod "cmd", whose container "c" has the Secret "cmd" in its volume "v"
ROWS = [
    ("run --config /none", 78),
    ("status", 0), ("status -o json", 0), ("status -o yaml", 0), ("status -o wide", 0), ("status --ready", 0),
    ("status --watch", INTERRUPTED),
    ("pods", 0), ("pods -o json", 0), ("pods -o yaml", 0), ("pods -o wide", 0), ("pods default/cmd", 0), ("pods default/none", 1),
    ("pods --watch", INTERRUPTED), ("pods -o json --watch", INTERRUPTED),
    ("volumes", 0), ("volumes -o json", 0), ("volumes -o yaml", 0), ("volumes -o wide", 0), ("volumes default/cmd", 0),
    ("volumes default/none", 1), ("volumes --watch", INTERRUPTED),
    ("top", 0), ("top --batch", 0),
    ("explain default/cmd", 0), ("explain default/cmd v", 0), ("explain -o json default/cmd", 0), ("explain -o yaml default/cmd", 0),
    ("explain -o wide default/cmd", 0), ("explain default/none", 1),
    ("wait default/cmd", 0), ("wait -o json default/cmd", 0), ("wait --quiet default/cmd", 0),
    ("wait --timeout 1s default/none", 1),
    ("mounts default/cmd c", 0), ("mounts -o yaml default/cmd c", 0), ("mounts -o wide default/cmd c", 0),
    ("mounts default/cmd none", 1),
    ("env default/cmd c", 1), ("env -o json default/cmd c", 1), ("env --null default/cmd c", 1), ("pull-config default/cmd", 1),
    ("secrets", 0), ("secrets -o json", 0), ("secrets -o yaml", 0), ("secrets -o wide", 0), ("secrets --kind all", 0),
    ("secrets --kind configMap", 0), ("secrets --kind token", 0), ("secrets --selector a=b", 0), ("secrets --selector (((", USAGE),
    ("secrets --watch", INTERRUPTED),
    ("refresh default/cmd", 0), ("refresh -o json default/cmd", 0), ("refresh --timeout 5s default/none", 1), ("refresh x", USAGE),
    ("internal-complete -- pods --runtime-dir RUN ''", 0, b"default/cmd"),
    ("internal-complete -- mounts --runtime-dir RUN default/cmd ''", 0, b"c\t"),
    ("internal-complete -- refresh --runtime-dir RUN ''", 0, b"default/cmd"),
    ("version", 0), ("help", 0), ("help status", 0), ("--help", 0), ("nonsense", USAGE),
]
ALONE = {"version", "help", "--help", "nonsense", "internal-complete", "run"}  # have no --runtime-dir, or their own
# (as docs/openapi.yaml has it, what is asked for, status, and with serveEnvironment: true)
PATHS = [
    ("/v1/status", "/v1/status", 200, 200),
    ("/v1/pods", "/v1/pods", 200, 200),
    ("/v1/pods/{namespace}/{name}", "/v1/pods/default/POD", 200, 200), ("/v1/pods/{namespace}/{name}", "/v1/pods/default/none", 404, 404),
    ("/v1/pods/{uid}", "/v1/pods/UID", 200, 200),
    ("/v1/pods/{namespace}/{name}/wait", "/v1/pods/default/POD/wait", 200, 200),
    ("/v1/pods/{namespace}/{name}/wait", "/v1/pods/default/none/wait?timeout=0", 504, 504),
    ("/v1/pods/{uid}/wait", "/v1/pods/UID/wait", 200, 200),
    ("/v1/pods/{namespace}/{name}/containers/{container}/mounts", "/v1/pods/default/POD/containers/c/mounts", 200, 200),
    ("/v1/pods/{uid}/containers/{container}/mounts", "/v1/pods/UID/containers/c/mounts", 200, 200),
    ("/v1/pods/{namespace}/{name}/containers/{container}/env", "/v1/pods/default/POD/containers/c/env", 403, 200),
    ("/v1/pods/{uid}/containers/{container}/env", "/v1/pods/UID/containers/c/env", 403, 200),
    ("/v1/pods/{namespace}/{name}/pull-config", "/v1/pods/default/POD/pull-config", 403, 200),
    ("/v1/pods/{uid}/pull-config", "/v1/pods/UID/pull-config", 403, 200),
    ("/v1/secrets", "/v1/secrets", 200, 200), ("/v1/secrets", "/v1/secrets?kind=all", 200, 200),
    ("/v1/secrets/{namespace}/{name}", "/v1/secrets/default/POD", 200, 200),
    ("/v1/secrets/{namespace}/{name}/refresh", "POST /v1/secrets/default/POD/refresh", 200, 200),
    ("/v1/secrets/{namespace}/{name}/refresh", "POST /v1/secrets/default/none/refresh", 404, 404),
    ("/metrics", "/metrics", 200, 200), ("/healthz", "/healthz", 200, 200), ("/readyz", "/readyz", 200, 200),
    ("/readyz", "/readyz?verbose", 200, 200), (None, "/v1/none", 404, 404),
]


class Commands:
    """What Canary does with commands."""
    commanded = set()  # their first words

    def command(self, words, name, stdin="/dev/null", status=0, forbidden=lambda: [], shows=None, prints=(), when=None,
                processes=1):
        """Nothing is left of what a command, and each process that it forks, has read when it ends. forbidden: what it has made
        itself. prints: what has to be on stdout. shows: the mark that has to, which is not searched then. when: true when it is to be
        interrupted."""
        stdout, stderr = self.dir / "stdout", self.dir / "stderr"
        searched, hits = memory.Searched(), []

        def look(pid):
            hits.extend(memory.search_process(pid, words[0].name, self.marks.needles + forbidden(), searched))
        if len(words) > 1:
            self.commanded.add(words[1])
        try:
            got = run_and_look([str(w) for w in words], stdin, stdout, stderr, look, when)
        except BaseException:
            for path in (stdout, stderr):  # what it may print is not to be found there later
                path.unlink(missing_ok=True)
            raise
        details = []
        if shows is None:
            hits += memory.search_data(stdout.read_bytes(), "stdout", self.marks.needles)
        elif not shows.is_in(stdout.read_bytes()):
            details.append("the mark is not on stdout")
        details += [f"{text} is not on stdout" for text in prints if text not in stdout.read_bytes()]
        hits += memory.search_data(stderr.read_bytes(), "stderr", self.marks.needles)
        for hit in hits:
            hit.stage = self.marks.stage_of(hit)
        if got != status:
            details += [f"exit status {got}, expected {status}"] + ([] if hits else stderr.read_text(errors="replace").splitlines()[:3])
        stdout.unlink()
        stderr.unlink()
        details = [str(h) for h in memory.merged(hits)] + details
        if searched.processes != processes:
            details.append(f"{searched.processes} processes were looked at, expected {processes}")
        self.tap.result(not details, f"{name}: nothing is left at its end", details)

    def command_control(self):
        """What a command has at its end is found, and what a process has that it forks."""
        mark = self.marks.new("control of commands")
        path = self.dir / "control"
        path.write_bytes(mark.value(100))
        problems = []
        for who, where in (("parent", "the command"), ("child", "its child")):
            hits, searched = [], memory.Searched()
            script = f"""
import os
pid = os.fork()
if pid:
    os.waitpid(pid, 0)
if ("parent" if pid else "child") == "{who}":
    data = os.read(os.open("{path}", os.O_RDONLY), 1000)
os._exit(0)
"""
            run_and_look([sys.executable, "-c", script], "/dev/null", "/dev/null", "/dev/null",
                         lambda pid, hits=hits, searched=searched: hits.append(
                             (pid, memory.search_process(pid, "control", self.marks.needles, searched))))
            # a child ends before its parent
            found = [bool(of) for _, of in hits]
            if found != ([False, True] if who == "parent" else [True, False]):
                problems.append(f"a mark in {where}: found in the child, the parent: {found}")
        path.unlink()
        self.tap.result(not problems, "what a command, or its child, has at its end is found", problems)

        def fails(pid):
            raise OSError(f"process {pid} cannot be looked at")
        problems = self.left_of("hangs, and was killed", lambda pid: None, "; wait") + self.left_of("cannot be looked at", fails)
        self.tap.result(not problems, "and of one that hangs, or cannot be looked at, nothing goes on", problems)

    def left_of(self, error, look, more=""):
        """What goes on of a shell and its child when the shell hangs, or look() raises an error."""
        path = self.dir / "pids"
        problems = []
        try:
            run_and_look(["/bin/sh", "-c", f"sleep 600 & echo $$ $!{more}"], "/dev/null", path, "/dev/null", look, patience_sec=3)
            problems.append("no error")
        except (RuntimeError, OSError) as e:
            if error not in str(e):
                problems.append(str(e))
        pids = path.read_text().split()
        path.unlink()
        for pid in pids:
            try:
                if pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX":
                    problems.append(f"process {pid} goes on")
            except OSError:
                continue
        return problems if len(pids) == 2 else [*problems, "a shell has not started its child"]

    def has_said(self):
        path = self.dir / "stdout"
        return path.exists() and path.stat().st_size > 0

    def named(self):
        """Each command that there is has a row."""
        usage = subprocess.run([self.build / "secretlet", "--help"], check=True, stdout=subprocess.PIPE).stdout.decode()
        commands = set(re.findall(r"^  ([a-z][a-z-]*) +\S", usage.split("Commands:\n")[1].split("\n\n")[0], re.M))
        rows = {words.split()[0] for words, *_ in ROWS} | {"hook"}
        details = [f"no row has command {c}" for c in sorted(commands - rows - set(ELSEWHERE))]
        details += [f"there is no command {c}" for c in sorted(set(ELSEWHERE) - commands)]
        if len(commands) < 15:
            details.append(f"--help names {len(commands)} commands")
        hidden = {word.decode() for word in re.findall(rb"\0(internal-[a-z-]+)(?=\0)", (self.build / "secretlet").read_bytes())}
        details += [f"no row has command {c}" for c in sorted(hidden - rows - PROCESSES)]
        details += [f"there is no command {c}" for c in sorted(PROCESSES - hidden)]
        for command in sorted(commands - set(ELSEWHERE) - {"run", "version", "help"}):
            usage = subprocess.run([self.build / "secretlet", command, "--help"], check=True, stdout=subprocess.PIPE).stdout.decode()
            used = {word for words, *_ in ROWS for word in words.split() if words.split()[0] == command}
            for option in re.findall(r"^  (-\w, --[a-z-]+)", usage, re.M):
                if not used & set(option.split(", ")) and option.split("--")[1] not in ("help", "runtime-dir", "color", "timeout"):
                    details.append(f"no row has {command} {option}")
        self.tap.result(not details, "each command, and each of its options, is in a row", details)

    def ask(self, pod, column, handed=()):
        """All paths of the control API. handed: marks that are asked for, one of which an answer of env or pull-config has to have."""
        spec = set(re.findall(r"^  (/\S*):$", (ROOT / "docs/openapi.yaml").read_text(), re.M))
        details = [f"no row has path {path}" for path in sorted(spec ^ {row[0] for row in PATHS if row[0]})]
        uid = json.loads(self.api.cli("pods", f"default/{pod}", "-o", "json").stdout)["uid"]
        for template, path, *statuses in PATHS:
            method, path = path.split() if " " in path else ("GET", path)
            path = path.replace("POD", pod).replace("UID", uid)
            done = subprocess.run(["curl", "-s", "--max-time", "60", "-X", method, "-w", "%{http_code}", "--unix-socket",
                                   self.api.run / "control.sock", f"http://x{path}"], check=False, stdout=subprocess.PIPE)
            text, status = done.stdout[:-3], done.stdout[-3:].decode()
            if status != str(statuses[column]):
                details.append(f"{method} {path}: {status}, expected {statuses[column]}")
            if handed and template and template.endswith(("/env", "/pull-config")):
                if not any(mark.is_in(text) for mark in handed):
                    details.append(f"{path}: not what was asked for")
            else:
                self.texts.append((f"{method} {path}", text))
        self.tap.result(not details, "each path of the control API answers as it should", details)

    # --- hook

    def container(self, mark):
        """A bundle, and a process in a mount namespace of its own, as a runtime has them when it starts its hooks. Values of
        Secrets may be in its environment. Returns (process, state, configuration)."""
        bundle = self.api.dir / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        (bundle / "rootfs").mkdir(parents=True)
        self.api.inputs.add(str(bundle))
        about = {"secretlet.dev/pod": "default/cmd", "secretlet.dev/container": "c"}
        config, state = bundle / "config.json", bundle / "state.json"
        config.write_text(json.dumps({"ociVersion": "1.0.2", "root": {"path": str(bundle / "rootfs")}, "annotations": about, "mounts": [],
                                      "process": {"args": ["x"], "env": [f"SMALL={mark.text(48)}", f"MIDDLE={mark.text(5 << 10)}"]}}))
        process = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "600"], preexec_fn=die_with_parent)
        ours = os.readlink("/proc/self/ns/mnt")
        eventually("there is a container", lambda: os.readlink(f"/proc/{process.pid}/ns/mnt") != ours)
        state.write_text(json.dumps({"ociVersion": "1.0.2", "id": "canary", "status": "creating", "pid": process.pid,
                                     "bundle": str(bundle), "annotations": about}))
        return process, state, config

    def hooks(self, mark):
        hook = [self.build / "secretlet", "hook", "--timeout", "5s", "--runtime-dir", self.api.run]
        process, state, config = self.container(mark)
        self.command([*hook, "createRuntime"], "hook createRuntime", state, processes=2)
        mounted = pathlib.Path(f"/proc/{process.pid}/mountinfo").read_text()
        self.tap.result(str(config.parent / "rootfs/v") in mounted, "and it has mounted the volume")
        self.command([*hook, "precreate"], "hook precreate", config, shows=mark, processes=2)
        text = config.read_text()
        config.write_text(text.replace('"default/cmd"', '"default/none"'))
        self.command([*hook[:2], "--timeout", "1s", *hook[4:], "precreate"], "hook precreate, of a pod that is not there", config,
                     status=1, processes=2)
        config.write_text(text[:-1])
        self.command([*hook, "precreate"], "hook precreate, of half a configuration", config, status=1, processes=2)
        self.command([*hook, "createRuntime"], "hook createRuntime, of half a configuration", state, status=1, processes=2)
        self.command([*hook, "nonsense"], "hook nonsense", status=USAGE)
        process.kill()
        process.wait()

    # --- stages

    def stage_commands(self):
        """Every command of a running daemon, good and bad"""
        d, w = self.api, self.world
        a, h = self.marks.new("commands"), self.marks.new("commands, a container's environment")
        self.command_control()
        self.named()
        w.secret("cmd", a)
        w.pod("cmd", [secret_volume("cmd")])
        d.wait("cmd")
        for words, status, *prints in ROWS:
            split = [{"RUN": str(d.run), "''": ""}.get(word, word) for word in words.split()]
            run = [] if split[0] in ALONE else ["--runtime-dir", d.run]
            self.command([self.build / "secretlet", *split, *run], words, status=status, prints=prints,
                         when=self.has_said if status == INTERRUPTED else None)
        self.command([self.build / "secretlet", "status", "--runtime-dir", d.dir / "none"], "status, without a daemon",
                     status=UNREACHABLE)
        self.hooks(h)
        self.ask("cmd", 0)
        self.live(a)
        self.look("commands: in the arena alone, and no value is said", d)
        w.call("DELETE", "pods", "cmd")
        w.call("DELETE", "secrets", "cmd")
        eventually("the pod's volumes go", lambda: not d.volume("cmd").exists())
        self.live()
        self.look("deleted: nowhere", d)

    def handed_pod(self):
        """Environment and pull credentials are of Secrets that are in no volume."""
        def env(secret):
            return {"env": [{"name": "K", "valueFrom": {"secretKeyRef": {"name": secret, "key": "small"}}},
                            {"name": "Q", "value": "<$(K)>"}]}
        pod = pod_of("handed", [secret_volume("handed")])
        first = pod["spec"]["containers"][0]
        first |= {"env": env("env")["env"], "envFrom": [{"secretRef": {"name": "env"}}]}
        pod["spec"]["imagePullSecrets"] = [{"name": "pull"}]
        pod["spec"]["containers"] += [{"name": name, "image": "x", **env(f"env-{name}")} for name in ("late", "bad")]
        return pod

    def pull_secret(self, mark, new=True):
        auths = {"auths": {"r.example.com": {"username": "u", "password": mark.text(480), "auth": self.b64(b"u:" + mark.value(480))}}}
        self.world.call("POST" if new else "PUT", "secrets", "" if new else "pull", {
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": "pull", "namespace": "default"}, "data": {".dockerconfigjson": self.b64(json.dumps(auths).encode())}})

    def hand_out(self, value, pull):
        """Each form of each, from a client that is looked at when it ends, and then from curl."""
        run = ["--runtime-dir", self.api.run]
        for form in ("line", "null", "json", "yaml", "table", "wide"):
            self.command([self.build / "secretlet", "env", *run, "-o", form, "default/handed", "c"], f"env -o {form}", shows=value)
        self.command([self.build / "secretlet", "pull-config", *run, "default/handed"], "pull-config", shows=pull)
        self.ask("handed", 1, (value, pull))

    def not_handed_out(self, mark):
        """To who gives up before the answer is there; and values that are none"""
        w, run = self.world, ["--runtime-dir", self.api.run]

        def secret(name, value):
            return json.dumps({"kind": "Secret", "apiVersion": "v1", "type": "Opaque", "data": {"small": value}, "metadata": {
                "name": name, "namespace": "default", "uid": "u", "resourceVersion": "7"}}).encode()
        w.plain.answers |= {"env-late": lambda h: (time.sleep(1), h.say(200, secret("env-late", mark.b64(4800)))),
                            "env-bad": lambda h: h.say(200, secret("env-bad", mark.b64(4800) + "!!!!"))}
        self.command([self.build / "secretlet", "env", *run, "default/handed", "late"], "env, given up", status=INTERRUPTED,
                     when=lambda: w.plain.asked.get("env-late", 0))
        self.command([self.build / "secretlet", "env", *run, "default/handed", "bad"], "env, of a value that is none", status=1)
        time.sleep(1)
        self.look("who gives up and what is refused: nothing is left", self.api)
        w.plain.answers.clear()

    def stage_handed(self):
        """What env and pull-config hand out: the client has printed it, and then nobody has it"""
        d, w = self.api, self.world
        held, value, value2, pull, pull2, none = (self.marks.new(f"handed out, {what}") for what in (
            "held", "environment", "environment 2", "pull", "pull 2", "not"))
        d.configure(**d.common, serveEnvironment="true")
        d.restart()
        w.secret("handed", held)
        w.secret("env", value)
        self.pull_secret(pull)
        w.call("POST", "pods", body=self.handed_pod())
        d.wait("handed")
        self.live(held)
        self.hand_out(value, pull)
        self.look("handed out: nowhere", d)
        w.secret("env", value2, new=False)
        self.pull_secret(pull2, new=False)
        self.hand_out(value2, pull2)
        self.look("handed out anew: nowhere", d)
        if not self.kube:
            self.not_handed_out(none)
        d.kill("agent")
        d.wait("handed")
        self.look("after kill -9 of the agent: nowhere", d)
        w.call("DELETE", "pods", "handed")
        for name in ("handed", "env", "pull"):
            w.call("DELETE", "secrets", name)
        eventually("the pod's volumes go", lambda: not d.volume("handed").exists())
        self.live()
        self.look("deleted: nowhere", d)
        log = d.log.read_text()
        self.tap.result(log.count("handed out pod=default/handed") >= 2, "and the log says who was given it")
        d.configure(**d.common)
        d.restart()
