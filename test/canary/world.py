"""What the canary test runs against: API servers, the test's own or a real one, and the daemon."""
import ctypes
import http.client
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import ssl
import string
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SECRETS = "volumes/kubernetes.io~secret"
SIZES = {"small": 48, "middle": 5 << 10, "large": 300 << 10}  # whole marks: a piece of one would be unexpected
LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
ANSWERING = threading.RLock()  # held while a lie is told
LETTERS = string.ascii_letters + string.digits


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def letters(n):
    return "".join(random.SystemRandom().choice(LETTERS) for _ in range(n))


def eventually(what, fn, seconds=30):
    end = time.monotonic() + seconds
    while not fn():
        if time.monotonic() > end:
            raise RuntimeError(f"did not happen: {what}")
        time.sleep(0.02)


# ---- the server: the test API server, behind something that can lie

class Liar(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "canary", ""

    def log_message(self, *args):
        pass

    def do_GET(self):
        front = self.server.front
        for name, answer in list(front.answers.items()):
            if f"metadata.name%3D{name}&" in self.path + "&" or f"metadata.name={name}&" in self.path + "&" or \
                    self.path.endswith(f"/secrets/{name}"):
                front.asked[name] = front.asked.get(name, 0) + 1
                answer(self)
                return
        try:
            self.pass_on()
        except OSError:
            self.close_connection = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            if self.path.endswith("/token"):
                self.say(201, json.dumps(self.server.front.token()).encode())
            else:
                self.pass_on(body)
        except OSError:
            self.close_connection = True

    do_PATCH = do_POST

    def pass_on(self, body=None):
        headers = {k: v for k, v in self.headers.items() if k.lower() in ("accept", "authorization", "user-agent",
                                                                          "content-type")}
        back = http.client.HTTPConnection("127.0.0.1", self.server.front.back, timeout=600)
        back.request(self.command, self.path, body, headers)
        with self.server.front.lock:
            self.server.front.open.add(back)
        answer = back.getresponse()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type", "application/json"))
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while data := answer.read1(65536):
                self.chunk(data)
            self.wfile.write(b"0\r\n\r\n")
        except (OSError, ValueError, http.client.HTTPException):
            self.close_connection = True
        back.close()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def say(self, status, body, kind="application/json", cut=None):
        with ANSWERING:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body) if cut is None else len(body) + cut))
            # in one piece, so that the end of a stream comes with its data
            self._headers_buffer += [b"\r\n", body]
            self.flush_headers()
            if cut:
                self.wfile.flush()
                self.close_connection = True


class Front:
    def __init__(self, back, tls=None):
        self.back, self.answers, self.asked = back, {}, {}
        self.token = None  # what a TokenRequest is answered with
        self.lock, self.open = threading.Lock(), set()
        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
        self.httpd.daemon_threads = True
        self.httpd.front = self
        self.httpd.handle_error = lambda *a: None
        self.port = self.httpd.server_port
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.httpd.socket = context.wrap_socket(self.httpd.socket, server_side=True)
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def openssl(*args):
    subprocess.run(("openssl",) + args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Api:
    """What the administrator does."""

    def connection(self):
        raise NotImplementedError

    def call(self, method, kind, name="", body=None):
        c = self.connection()
        query = "?gracePeriodSeconds=0" if method == "DELETE" else ""
        c.request(method, f"/api/v1/namespaces/default/{kind}" + (f"/{name}" if name else "") + query,
                  json.dumps(body) if body else None, {"Content-Type": "application/json", "User-Agent": "canary"})
        answer = c.getresponse()
        text = answer.read()
        c.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {kind}/{name}: {answer.status} {text[:100]}")
        return text

    def secret(self, name, mark, sizes=None, new=True, **more):
        data = {key: mark.b64(size) for key, size in (sizes or SIZES).items()}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
                "data": data, **more}
        self.call("POST" if new else "PUT", "secrets", "" if new else name, body)

    def config_map(self, name, data):
        self.call("POST", "configmaps", "", {"apiVersion": "v1", "kind": "ConfigMap", "data": data,
                                             "metadata": {"name": name, "namespace": "default"}})

    def pod(self, name, volumes, **meta):
        self.call("POST", "pods", "", pod_of(name, volumes, uid=f"uid-{name}", **meta))

    def events(self, pod):
        return [e for e in json.loads(self.call("GET", "events"))["items"] if e["involvedObject"]["name"] == pod]

    def end(self):
        pass


class Kube(Api):
    """A real API server that somebody else has started, and its folder of certificates (test/e2e/lib.sh)."""

    def __init__(self, folder, port):
        self.dir, self.port = folder, port
        self.client_key = folder / "node-1.key"
        self.kubeconfig = (folder / "node-1.kubeconfig").read_text().replace(": ca.crt", f": {folder}/ca.crt").replace(
            ": node-1.", f": {folder}/node-1.")
        self.context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        self.context.load_cert_chain(folder / "admin.crt", folder / "admin.key")

    def connection(self):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.context)

    def start(self):
        # the default one is made by a controller
        self.call("POST", "serviceaccounts", "", {"metadata": {"name": "default"}})


class World(Api):
    """Certificates, the API server, nghttpx in front of it for HTTP/2."""

    def __init__(self, build, folder):
        self.build, self.dir, self.client_key = build, folder, folder / "client.key"
        folder.mkdir()
        self.make_ca("ca")
        self.sign("server", "/CN=server")
        self.token_file = folder / "token"
        self.children = []

    def make_ca(self, name):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
                f"{self.dir}/{name}.key", "-out", f"{self.dir}/{name}.crt", "-subj", f"/CN={name}", "-days", "2")

    def sign(self, name, subject):
        d = self.dir
        (d / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{d}/{name}.key",
                "-out", f"{d}/{name}.csr", "-subj", subject)
        openssl("x509", "-req", "-in", f"{d}/{name}.csr", "-CA", f"{d}/ca.crt", "-CAkey", f"{d}/ca.key",
                "-CAcreateserial", "-out", f"{d}/{name}.crt", "-days", "2", "-extfile", f"{d}/ext")

    def start(self):
        server = subprocess.Popen([self.build / "apiserver"], stdout=subprocess.PIPE, preexec_fn=die_with_parent,
                                  stderr=open(self.dir / "apiserver.err", "wb"))
        self.children.append(server)
        self.back = int(server.stdout.readline().decode().rsplit(":", 1)[1])
        self.plain = Front(self.back)
        self.tls = Front(self.back, (self.dir / "server.crt", self.dir / "server.key"))
        self.h2_port = self.front_h2()

    def front_h2(self, port=None, streams=100):
        port = port or free_port()
        nghttpx = shutil.which("nghttpx") or "/usr/sbin/nghttpx"
        self.children.append(subprocess.Popen(
            [nghttpx, f"-f127.0.0.1,{port}", f"-b127.0.0.1,{self.plain.port}", "--no-ocsp", "--single-thread",
             "--backend-read-timeout=1h", f"--frontend-http2-max-concurrent-streams={streams}", "--errorlog-file=/dev/null",
             "--conf=/dev/null", "--verify-client", f"--verify-client-cacert={self.dir}/ca.crt", f"{self.dir}/server.key",
             f"{self.dir}/server.crt"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent))
        eventually("nghttpx listens", lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
        return port

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.back, timeout=10)

    def end(self):
        for child in self.children:
            child.kill()
            child.wait()


def pod_of(name, volumes, **meta):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", **meta},
            "spec": {"nodeName": "node-1", "volumes": volumes,
                     "serviceAccountName": "default", "restartPolicy": "Never",
                     "containers": [{"name": "c", "image": "x",
                                     "volumeMounts": [{"name": v["name"], "mountPath": "/" + v["name"]} for v in volumes]}]},
            "status": {"phase": "Running"}}


def secret_volume(secret, name="v", **more):
    return {"name": name, "secret": {"secretName": secret, **more}}


# ---- the daemon

class Daemon:
    def __init__(self, canary, name):
        self.canary, self.dir = canary, canary.dir / name
        self.dir.mkdir()
        # whoever wants to leave a core behind may
        os.chmod(self.dir, 0o777)
        self.pods, self.run, self.log, self.conf = (self.dir / n for n in ("pods", "run", "daemon.log", "config.yaml"))
        self.inputs = {str(self.pods)}
        self.roles = set()  # of the processes that must be there
        self.process = self.keeper_file = None

    def configure(self, **fields):
        """Lines of the configuration; paths among them are inputs unless the daemon writes there."""
        text = "apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\n"
        for key, value in {"podsDir": self.pods, "runtimeDir": self.run, "nodeName": "node-1", "logLevel": "debug",
                           **fields}.items():
            text += f"{key}: {value}\n"
        self.conf.write_text(text)
        self.conf.chmod(0o600)

    def start(self, managed=False):
        """managed: under a service manager, which keeps what a keeper leaves (test/lib/manager.py)."""
        for path in self.dir.glob("keeper*"):
            path.unlink()
        self.keeper_file = self.dir / "keeper" if managed else None
        manager = [sys.executable, ROOT / "test/lib/manager.py", self.keeper_file] if managed else []
        self.process = subprocess.Popen([*manager, self.canary.build / "secretlet", "run", "--config", self.conf], cwd=self.dir,
                                        stdin=subprocess.DEVNULL, stdout=open(self.log, "ab"), stderr=subprocess.STDOUT,
                                        preexec_fn=die_with_parent)
        if managed:
            eventually("there is a keeper", self.keeper_file.exists)

    def keeper(self):
        return int(self.keeper_file.read_text()) if self.keeper_file else self.process.pid

    def processes(self):
        """role -> pid"""
        keeper = self.keeper()
        found, below = {"keeper": keeper}, [keeper]
        for parent in below:
            try:
                children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
                for pid in map(int, children):
                    words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                    role = next((r for r in ("agent", "publisher", "audit", "signaller") if f"internal-{r}" in words), "?")
                    if parent != keeper:
                        role = "cache"  # the agent's child
                    found[role] = pid
                    below.append(pid)
            except OSError:
                continue
        return found

    def settle(self, seconds=5):
        """Waits until none of them has run for a tenth of a second."""
        def ran():
            times = []
            for pid in self.processes().values():
                try:
                    times.append((pid, pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]))
                except OSError:
                    continue
            return times
        end, last = time.monotonic() + seconds, None
        while (now := ran()) != last and time.monotonic() < end:
            last = now
            time.sleep(0.1)

    def cli(self, *words):
        done = subprocess.run([self.canary.build / "secretlet", *words, "--runtime-dir", self.run], cwd=self.dir, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        self.canary.texts.append((f"secretlet {' '.join(map(str, words))}", done.stdout))
        return done

    def wait(self, pod, seconds=30):
        done = self.cli("wait", "--timeout", f"{seconds}s", f"default/{pod}")
        if done.returncode != 0:
            raise RuntimeError(f"pod {pod} does not become ready: {done.stdout.decode(errors='replace')}")

    def volume(self, pod, name="v", kind="secret"):
        return self.pods / "by-name/default" / pod / f"volumes/kubernetes.io~{kind}" / name

    def shows(self, pod, key, value, name="v", kind="secret"):
        path = self.volume(pod, name, kind) / key

        def has():
            try:
                return path.read_bytes() == value
            except FileNotFoundError:  # not there yet, or the version that was looked up has just gone
                return False
        eventually(f"{path} has what it should", has)

    def kill(self, role, sig=signal.SIGKILL):
        eventually(f"{role} is there", lambda: role in self.processes())
        pid = self.processes()[role]
        os.kill(pid, sig)
        eventually(f"{role} has gone", lambda: not os.path.exists(f"/proc/{pid}"))
        eventually(f"another {role} is there", lambda: self.processes().get(role, pid) != pid)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)
        self.process = None

    def restart(self):
        self.stop()
        self.start()

