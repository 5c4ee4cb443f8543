"""An API server that is good until it is told, for one object and one kind of question, to be hostile.

It speaks HTTP/1.1 over plain sockets, a thread for each connection, and hands the connection to the attack as it is, so
that an attack can send whatever bytes it likes. It counts what it sends and what it is asked.
"""
import base64
import collections
import json
import os
import re
import select
import socket
import threading
import time
import urllib.parse

def ready(timeout, reads, writes=()):
    """Those of these files that can be read from or written to now. (select() knows no fd above 1023.)"""
    poll, by_fd = select.poll(), {}
    for f in (*reads, *writes):
        fd = f if isinstance(f, int) else f.fileno()
        by_fd[fd] = f
        poll.register(fd, select.POLLIN if f in reads else select.POLLOUT)
    return [by_fd[fd] for fd, _ in poll.poll(None if timeout is None else timeout * 1000)]


REASONS = {200: "OK", 404: "Not Found", 422: "Unprocessable Entity"}


def status(code, reason, message, **details):
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
            "message": message, "metadata": {}, "details": details}


def secret(name, value, **more):
    return {"apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": "default", "name": name, "uid": f"uid-of-{name}"}, "type": "Opaque",
            "data": {"k": base64.b64encode(value.encode()).decode()}, **more}


def config_map(name, value):
    return {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "default", "name": name, "uid": f"uid-of-{name}"}, "data": {"k": value}}


def pod(name, node, object_name, kind="secret"):
    """Its volume has the file k: of a Secret or a ConfigMap (configmap), or a token of this service account."""
    source = {"secret": {"secret": {"secretName": object_name}}, "configmap": {"configMap": {"name": object_name}},
              "token": {"projected": {"sources": [{"serviceAccountToken": {"path": "k"}}]}}}[kind]
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "default", "name": name, "uid": f"uid-{name}"},
            "spec": {"nodeName": node, "volumes": [{"name": "v", **source}],
                     "serviceAccountName": object_name if kind == "token" else "default",
                     "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]},
            "status": {"phase": "Running"}}


class Over(Exception):
    """The attack has been called off."""


EXPIRED = b'{"type":"ERROR","object":%s}\n' % json.dumps(status(410, "Expired", "too old")).encode()


class Attack:
    """One row's, while it lasts."""

    def __init__(self, run):
        self.run, self.over = run, threading.Event()
        self.sent = self.n = 0  # bytes; how often it was made
        self.is_made = False    # there is nothing more to send
        self.over_read, self.over_write = os.pipe()

    def stop(self):
        self.over.set()
        os.write(self.over_write, b"x")


class Connection:
    """What an attack has of a client."""

    def __init__(self, server, sock):
        self.server, self.sock, self.attack = server, sock, None
        self.key = self.verb = None
        self.method, self.received = "GET", b""  # and the body that came with it
        self.closes = False

    def raw(self, data):
        view = memoryview(data)
        while view:
            if self.attack and self.attack.over.is_set():
                raise Over
            if not ready(0.2, (), (self.sock,)):
                continue
            n = self.sock.send(view)
            view = view[n:]
            if self.attack:
                self.attack.sent += n
                if self.attack.sent > 64 << 20:
                    time.sleep(0.01)  # it has been shown

    def head(self, code=200, headers=b"Transfer-Encoding: chunked\r\n"):
        self.raw(b"HTTP/1.1 %d %s\r\nContent-Type: application/json\r\n%s\r\n" %
                 (code, REASONS.get(code, "Whatever").encode(), headers))

    def now(self, data):
        """With the present version in it."""
        end = len(data) if len(data) < 1 << 20 else 4096  # in what is large it is at the beginning
        return data[:end].replace(b"%RV%", b"%d" % self.server.version) + data[end:]

    def chunk(self, data):
        data = self.now(data)
        self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    def body(self, data, code=200, headers=b""):
        if not isinstance(data, bytes):
            data = json.dumps(data).encode()
        data = self.now(data)
        self.head(code, headers + b"Content-Length: %d\r\n" % len(data))
        self.raw(data)

    def good(self):
        """The body that an honest server would answer with."""
        return json.dumps(self.server.content(self.key, self.verb)).encode()

    def hold(self, seconds=None):
        """Says nothing more until the attack is over or the client has gone."""
        self.attack.is_made = True
        found = ready(seconds, (self.sock, self.attack.over_read))
        if self.attack.over.is_set():
            raise Over
        if found:
            raise ConnectionError


class Watch:
    def __init__(self, connection):
        self.connection, self.todo = connection, collections.deque()
        self.read, self.write = os.pipe()
        self.began = time.monotonic()

    def push(self, item):
        self.todo.append(item)
        os.write(self.write, b"x")

    def close(self):
        os.close(self.read)
        os.close(self.write)


class Server:
    def __init__(self, context=None):
        """context: an SSLContext; `garbage` then says whether what comes next gets noise for a handshake."""
        self.lock = threading.RLock()
        self.objects, self.version = {}, 1000  # key -> name -> object
        self.watches = collections.defaultdict(set)
        self.attacks = {}                      # (key, verb) -> Attack
        self.requests = []                     # (time, key, verb)
        self.strange = []                      # targets that nobody should ask for
        self.context, self.garbage = context, None
        self.open = set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    # ---- what there is

    def put(self, key, obj):
        with self.lock:
            self.version += 1
            obj["metadata"]["resourceVersion"] = str(self.version)
            objects = self.objects.setdefault(key, {})
            kind = "MODIFIED" if obj["metadata"]["name"] in objects else "ADDED"
            objects[obj["metadata"]["name"]] = obj
            event = json.dumps({"type": kind, "object": obj}).encode() + b"\n"
            for watch in list(self.watches[key]):
                watch.push(event)

    def put_secret(self, name, value, **more):
        self.put(("secret", name), secret(name, value, **more))

    def put_config_map(self, name, value):
        self.put(("configmap", name), config_map(name, value))

    def put_pod(self, name, node, object_name, kind="secret"):
        self.put(("pods", node), pod(name, node, object_name, kind))

    def content(self, key, verb):
        with self.lock:
            objects = list(self.objects.get(key, {}).values())
            if verb == "get":
                return objects[0] if objects else status(404, "NotFound", f"{key[0]} {key[1]} not found", name=key[1],
                                                         kind={"secret": "secrets", "configmap": "configmaps"}.get(key[0], key[0]))
            kind = {"secret": "SecretList", "configmap": "ConfigMapList", "pods": "PodList"}[key[0]]
            return {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": str(self.version)},
                    "items": objects}

    # ---- what is done to it

    def attack(self, key, verb, run):
        """verb: list, watch and get answer the question with run(connection); frame goes into the watch that has begun.
        A watch that runs is ended, so that it is asked anew, or is given the frame."""
        attack = Attack(run)
        with self.lock:
            self.attacks[key, verb] = attack
            running = list(self.watches[key])
        for watch in running:
            if verb == "frame":
                watch.push(lambda c: self.make(attack, c))
            elif verb == "list":
                watch.push(EXPIRED)
            elif verb == "watch":
                watch.push(None)
        return attack

    def stop(self, attack):
        with self.lock:
            for at in [at for at, a in self.attacks.items() if a is attack]:
                del self.attacks[at]
        attack.stop()

    def expire(self, key):
        """Whoever watches lists anew."""
        with self.lock:
            for watch in list(self.watches[key]):
                watch.push(EXPIRED)

    def cut(self):
        """All connections."""
        with self.lock:
            for sock in self.open:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def count(self, key, since=0.0):
        return sum(1 for at, k, _ in self.requests if k == key and at >= since)

    # ---- connections

    def accept(self):
        while True:
            sock, _ = self.listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with self.lock:
            self.open.add(sock)
        plain = sock
        try:
            if self.garbage is not None:
                sock.sendall(self.garbage)
                return
            if self.context:
                sock = self.context.wrap_socket(sock, server_side=True)
            self.serve_requests(Connection(self, sock))
        except (OSError, ValueError, Over):
            pass
        finally:
            with self.lock:
                self.open.discard(plain)
            sock.close()

    def serve_requests(self, c):
        received = b""
        while not c.closes:
            while b"\r\n\r\n" not in received:
                data = c.sock.recv(65536)
                if not data:
                    return
                received += data
            head, _, received = received.partition(b"\r\n\r\n")
            length = re.search(rb"\r\ncontent-length: (\d+)", head, re.I)
            while length and len(received) < int(length[1]):
                received += c.sock.recv(65536) or b" " * int(length[1])
            n = int(length[1]) if length else 0
            c.method, c.received, received = head.split(b" ")[0].decode(), received[:n], received[n:]
            self.answer(c, head.split(b" ")[1].decode())

    def answer(self, c, target):
        c.key, c.verb, version, streams = self.understand(target, c.method)
        c.attack = None
        with self.lock:
            self.requests.append((time.monotonic(), c.key, c.verb))
            attack = self.attacks.get((c.key, c.verb))
        if c.key is None:
            self.strange.append(target)
            c.body(status(404, "NotFound", "no such path"), 404)
        elif attack:
            self.make(attack, c)
        elif streams:
            c.body(status(422, "Invalid", "sendInitialEvents is forbidden for watch unless the WatchList feature gate "
                          "is enabled"), 422)
        elif c.verb == "watch":
            self.watch(c, version)
        else:
            content = self.content(c.key, c.verb)
            c.body(content, content.get("code", 200))

    @staticmethod
    def understand(target, method):
        url = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(url.query))
        parts = url.path.strip("/").split("/")[2:]
        verb = "watch" if query.get("watch") == "true" else "list"
        field, _, value = query.get("fieldSelector", "").partition("=")
        key = None
        if parts == ["pods"] and field == "spec.nodeName":
            key = ("pods", value)
        elif parts[:2] == ["namespaces", "default"] and parts[2:] in (["secrets"], ["configmaps"]) and field == "metadata.name":
            key = (parts[2][:-1], value)
        elif len(parts) == 4 and parts[:2] == ["namespaces", "default"] and parts[2] in ("secrets", "configmaps"):
            key, verb = (parts[2][:-1], parts[3]), "get"
        elif len(parts) == 4 and parts[:3] == ["namespaces", "default", "pods"]:
            key, verb = ("pod", parts[3]), "get"
        elif len(parts) == 2 and parts[0] == "nodes":
            key, verb = ("node", parts[1]), "get"
        if method != "GET":
            key = None
        version = query.get("resourceVersion", "0")
        return key, verb, int(version) if version.isdigit() else 0, "sendInitialEvents" in query

    def make(self, attack, c):
        c.attack, c.closes = attack, True
        attack.n += 1
        try:
            attack.run(c)
        except OSError:  # the client has had enough
            pass
        finally:
            attack.is_made = True

    def watch(self, c, version):
        c.head()
        with self.lock:
            attack = self.attacks.get((c.key, "frame"))
            watch = Watch(c)
            if not attack:
                self.watches[c.key].add(watch)
                waiting = self.attacks.get((c.key, "list"))
                if waiting and waiting.n == 0:  # it came between this one's list and its watch
                    watch.push(EXPIRED)
                for obj in self.objects.get(c.key, {}).values():
                    if int(obj["metadata"]["resourceVersion"]) > version:
                        watch.push(json.dumps({"type": "MODIFIED", "object": obj}).encode() + b"\n")
        try:
            if attack:
                self.make(attack, c)
            else:
                self.feed(c, watch)
        finally:
            with self.lock:
                self.watches[c.key].discard(watch)
                watch.close()

    @staticmethod
    def feed(c, watch):
        while True:
            if watch.read not in ready(None, (c.sock, watch.read)):
                c.closes = True
                return
            os.read(watch.read, 1)
            item = watch.todo.popleft()
            if item is None:
                c.raw(b"0\r\n\r\n")
                return
            if callable(item):
                item(c)
                return
            c.chunk(item)
