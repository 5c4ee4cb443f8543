#!/usr/bin/env python3
"""What is below the answers: garbage instead of TLS, HTTP/2 frames that no server sends, and the node's own object.

    test/hostile/wire.py --build DIR --dir DIR [--hold SECONDS] [--only REGEX] [-v]

Each row has a daemon of its own, whose pod is published before. Then all of the attacks begin at once, and each connection
that a daemon makes meets its row's. Meanwhile what was published has to be there, `status` has to say what is wrong, and
memory, CPU time, connections and log lines have to stay within bounds. When they end, each daemon gets well by itself.
Prints TAP. Needs root and a private mount namespace.
"""
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import time

import hostile
from hostile import CONTROL, CPU_SEC, HELPERS_MIB, MIB, Daemon, Tap, wait
from server import Attack, Connection, Over, Server

CPU_SEC_A_MIB = 0.25   # of what is sent: frames of nine bytes are the worst, a hundred thousand of them
OBJECTS = 5            # each has a backoff of its own: pods, the node, the Secret, ConfigMaps, events
LINES = 12             # of warnings, while it goes on

DATA, HEADERS, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 5, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
OK = b"\x88"  # :status 200, from HPACK's static table
REFUSED, INTERNAL = 7, 2


def frame(kind, payload=b"", stream=0, flags=0, length=None):
    return struct.pack(">I", len(payload) if length is None else length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(SETTINGS, b"".join(struct.pack(">HI", *p) for p in pairs))


def literal(name, value):
    """A header field that is in no table."""
    def text(s):
        n = len(s)
        if n < 127:
            return bytes([n]) + s
        coded, n = [127], n - 127
        while n >= 128:
            coded.append(n % 128 + 128)
            n //= 128
        return bytes(coded + [n]) + s
    return b"\x00" + text(name) + text(value)


class Wire(Connection):
    """It has been shown after some megabytes, and goes on more slowly: others have to be attacked, too."""
    shown = 8 * MIB

    def raw(self, data):
        super().raw(data)
        if self.attack.sent > self.shown:
            time.sleep(0.02)


class H2(Wire):
    """A connection on which the client speaks HTTP/2."""

    def exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def greet(self, *pairs):
        self.exactly(24)
        self.raw(settings(*pairs))

    def stream(self):
        """The next request's."""
        while True:
            head = self.exactly(9)
            self.exactly(int.from_bytes(head[:3], "big"))
            if head[3] == HEADERS:
                return int.from_bytes(head[5:], "big")


# ---- instead of TLS; what is done with a connection on which nobody has said anything

def noise(c):
    c.raw(os.urandom(MIB))


def endless(data):
    def run(c):
        while True:
            c.raw(data)
    return run


def once(data):
    def run(c):
        c.raw(data)
        c.hold()
    return run


def hello_without_end(c):
    """A server hello that says it has 16 MiB, in records of 16 KiB."""
    c.raw(b"\x16\x03\x03\x40\x00\x02\xff\xff\xff\x03\x03" + b"x" * (16384 - 6))
    while True:
        c.raw(b"\x16\x03\x03\x40\x00" + b"x" * 16384)


def slowly(c):
    for _ in range(1000):
        c.raw(b"\x16")
        c.hold(1)


TLS = [
    ("noise", noise, "SSL|TLS|connect|read|recv"),
    ("noise without an end", endless(os.urandom(65536)), "SSL|TLS|connect|read|recv"),
    ("HTTP", once(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), "SSL|TLS|connect|read|recv"),
    ("a hello without an end", hello_without_end, "SSL|TLS|connect|read|recv"),
    ("an alert", once(b"\x15\x03\x03\x00\x02\x02\x28"), "SSL|TLS|connect|read|recv"),
    ("alerts without an end", endless(b"\x15\x03\x03\x00\x02\x01\x5a" * 1024), "SSL|TLS|connect|read|recv"),
    ("a byte each second", slowly, None),
    ("the end", lambda c: None, "SSL|TLS|connect|read|recv"),
]


# ---- HTTP/2

def frames(data, *pairs):
    """Without an end, on a connection where nothing was asked yet. What the client says is not read."""
    def run(c):
        c.greet(*pairs)
        while True:
            c.raw(data)
    return run


def answer(begin, more=None):
    """To the first request: what begin(stream) gives, then more(stream) without an end."""
    def run(c):
        c.greet()
        stream = c.stream()
        c.raw(begin(stream))
        data = more(stream) if more else b""
        while data:
            c.raw(data)
        c.hold()
    return run


def each_stream(code):
    def run(c):
        c.greet()
        while True:
            c.raw(frame(RST_STREAM, struct.pack(">I", code), c.stream()))
    return run


def silence(*pairs):
    def run(c):
        c.greet(*pairs)
        c.hold()
    return run


def bomb(stream):
    """4 KiB in the table, and 16,000 references to it: 64 MiB in 20 KiB."""
    big = b"\x40" + literal(b"x", b"y" * 4000)[1:]
    return (frame(HEADERS, OK + big, stream) + frame(CONTINUATION, b"\xbe" * 16000, stream) +
            frame(CONTINUATION, b"", stream, END_HEADERS))


def long_head(n):
    """n header fields of 1 KiB."""
    def begin(stream):
        field = literal(b"x-header", b"y" * 1000)
        body = field * 16
        return (frame(HEADERS, OK, stream) + frame(CONTINUATION, body, stream) * (n // 16) +
                frame(CONTINUATION, b"", stream, END_HEADERS))
    return begin


def answered(payload=b""):
    return lambda stream: frame(HEADERS, OK, stream, END_HEADERS) + (frame(DATA, payload, stream) if payload else b"")


def spaces_of_data(c):
    c.shown = 80 * MIB  # a list of pods may be long
    answer(answered(), lambda s: frame(DATA, b" " * 16384, s) * 4)(c)


HTTP2 = [
    ("noise", lambda c: c.raw(os.urandom(MIB)), "."),
    ("a frame of 16 MiB", frames(b"\0" * 65536 + frame(DATA, b"", 1, 0, (1 << 24) - 1)), "."),
    ("frames of no type without an end", frames(frame(0xfa, b"x" * 16384) * 4), None),
    ("empty frames of no type without an end", frames(frame(0xfa) * 4096), None),
    ("CONTINUATION without an end", answer(lambda s: frame(HEADERS, OK, s),
                                           lambda s: frame(CONTINUATION, literal(b"x", b"y" * 16000), s) * 4), "."),
    ("empty CONTINUATION without an end", answer(lambda s: frame(HEADERS, OK, s), lambda s: frame(CONTINUATION, b"", s) * 4096), None),
    ("a CONTINUATION of nothing", frames(frame(CONTINUATION, b"", 1) * 64), "."),
    ("a header list of 16 MiB", answer(long_head(16384)), "."),
    ("64 MiB of headers in 20 KiB", answer(bomb), "."),
    ("a header that is in no table", answer(lambda s: frame(HEADERS, b"\xff\xff\xff\x7f", s, END_HEADERS)), "."),
    ("a status that is none", answer(lambda s: frame(HEADERS, b"\x08\x03abc", s, END_HEADERS)), "."),
    ("no status", answer(lambda s: frame(HEADERS, literal(b"x", b"y"), s, END_HEADERS)), "."),
    ("interim answers without an end", answer(lambda s: b"", lambda s: frame(HEADERS, b"\x08\x03103", s, END_HEADERS) * 512), "."),
    ("GOAWAY at once", lambda c: (c.greet(), c.raw(frame(GOAWAY, struct.pack(">II", 0, 0)))), "."),
    ("GOAWAY without an end", frames(frame(GOAWAY, struct.pack(">II", (1 << 31) - 1, 0)) * 512), None),
    ("each stream is refused", each_stream(REFUSED), "."),
    ("each stream is reset", each_stream(INTERNAL), "."),
    ("resets without an end", answer(answered(), lambda s: frame(RST_STREAM, struct.pack(">I", INTERNAL), s) * 512), "."),
    ("resets of what was not begun", frames(frame(RST_STREAM, struct.pack(">I", 0), 999) * 64), "."),
    ("PING without an end", frames(frame(PING, b"12345678") * 512), None),
    ("SETTINGS without an end", frames(settings((3, 100)) * 512), None),
    ("a window that is never opened", silence((4, 0)), None),
    ("a window that is too large", frames(frame(WINDOW_UPDATE, struct.pack(">I", (1 << 31) - 1)) * 2), "."),
    ("no streams are allowed", silence((3, 0)), None),
    ("a header table of 4 GiB", silence((1, (1 << 32) - 1)), None),
    ("spaces without an end, whatever the window is", spaces_of_data, "is too large|no answer in time", 80),
    ("empty data without an end", answer(answered(), lambda s: frame(DATA, b"", s) * 512), None),
    ("data of a stream that was not begun", frames(frame(DATA, b"x" * 16384, 77) * 4), "."),
    ("padding that is longer than its frame", answer(lambda s: frame(HEADERS, OK, s, END_HEADERS) +
                                                     frame(DATA, b"\xffx", s, 8)), "."),
    ("PUSH_PROMISE", answer(lambda s: frame(PUSH_PROMISE, struct.pack(">I", 2) + OK, s, END_HEADERS)), "."),
]


# ---- the node: HTTP/1.1, as hostile.py's rows

def spaces(code=200):
    def run(c):
        c.head(code)
        while True:
            c.chunk(b" " * 65536)
    return run


def node(change, raw=b""):
    """The good node, changed."""
    def run(c):
        obj = c.server.content(c.key, c.verb)
        change(obj)
        c.body(json.dumps(obj).encode() + raw)
    return run


def ttl(value):
    return node(lambda obj: obj["metadata"]["annotations"].update({"node.alpha.kubernetes.io/ttl": value}))


def body(data, code=200):
    return lambda c: c.body(data, code)


ESCAPES = '\x1b]0;owned\x07\nFAKE level=error\r\x9b31m'

NODE = [
    ("spaces without an end", spaces(), None),
    ("401 without an end", spaces(401), None),
    ("100,000 arrays in each other", body(b"[" * 100_000), None),
    ("nothing at all", lambda c: c.hold(), None),
    ("another kind, another name", node(lambda obj: obj.update(kind="Pod", metadata={"name": ESCAPES})), None),
    ("a TTL of 10^30 seconds", ttl("1" + "0" * 30), None),
    ("a TTL of -1 seconds", ttl("-1"), None),
    ("a TTL that is an object", ttl({}), None),
    ("a TTL with control characters", ttl(ESCAPES), None),
    ("allocatable that is a string", node(lambda obj: obj["status"].update(allocatable=ESCAPES)), None),
    ("allocatable of 100,000 resources", node(lambda obj: obj["status"].update(
        allocatable={f"example.com/r{i}": "1" for i in range(100_000)})), None),
    ("allocatable that cannot be", node(lambda obj: obj["status"].update(
        allocatable={ESCAPES: ESCAPES, "cpu": "1e999", "memory": -7})), None),
    ("the same key twice", lambda c: c.body(json.dumps(c.server.content(c.key, c.verb)).encode()[:-1] + b',"status":{}}'), None),
]


# ---- what does it

class WireServer(Server):
    """kind: tls, http2 or node. While there is an attack, each connection meets it (node: each question for the node)."""

    def __init__(self, kind, certificate):
        self.kind, self.wire = kind, None
        self.n_connections = 0
        self.good, self.bad = (self.make_context(certificate, alpn) for alpn in ("http/1.1", "h2"))
        super().__init__(None if kind == "node" else self.good)

    @staticmethod
    def make_context(certificate, alpn):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.set_alpn_protocols([alpn])
        return context

    def content(self, key, verb):
        if key[0] != "node":
            return super().content(key, verb)
        return {"kind": "Node", "apiVersion": "v1",
                "metadata": {"name": key[1], "uid": "u", "resourceVersion": str(self.version),
                             "annotations": {"node.alpha.kubernetes.io/ttl": "0"}},
                "status": {"allocatable": {"cpu": "2", "memory": "4Gi"}}}

    def serve(self, sock):
        self.n_connections += 1
        attack = self.wire if self.kind != "node" else None
        try:
            if self.kind != "node" and not (attack and self.kind == "tls"):
                sock = (self.bad if attack else self.good).wrap_socket(sock, server_side=True)
            with self.lock:
                self.open.add(sock)
            if attack:
                self.make(attack, (H2 if self.kind == "http2" else Wire)(self, sock))
            else:
                self.serve_requests(Connection(self, sock))
        except (OSError, ValueError, Over):
            pass
        finally:
            with self.lock:
                self.open.discard(sock)
            sock.close()

    def cut(self):
        """All connections, under TLS's feet: their threads may be in it."""
        with self.lock:
            for sock in self.open:
                try:
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
                except OSError:
                    pass

    def begin(self, key, run):
        if self.kind == "node":
            return self.attack(key, "get", run)
        self.wire = Attack(run)
        self.cut()
        return self.wire

    def end(self, attack):
        self.wire = None
        self.stop(attack)
        self.cut()


class Row:
    def __init__(self, args, certificate, kind, number, title, run, says, memory=16):
        self.kind, self.run, self.says = kind, run, says
        self.memory = 32 if kind == "node" else memory  # MiB above what the agent had
        self.title = f"{'the node' if kind == 'node' else 'TLS' if kind == 'tls' else 'HTTP/2'}: {title}"
        self.server = WireServer(kind, certificate)
        name = f"{kind}-{number}"
        self.server.put_secret("s", "good")
        self.server.put_pod("p", name, "s")
        cluster = "" if kind == "node" else f', certificate-authority: "{certificate}"'
        self.daemon = Daemon(args, self.server, name, "Cache" if kind == "node" else "Watch", "1s" if kind == "node" else "1h",
                             cluster)
        self.said = self.note = ""

    def begin(self):
        self.costs = self.daemon.costs()
        self.began, self.n_before, self.n_lines = time.monotonic(), self.server.n_connections, len(self.daemon.lines())
        self.attack = self.server.begin(("node", self.daemon.name), self.run)

    def has_said(self):
        self.said = self.daemon.last_error()
        return re.search(self.says, self.said)

    def problems(self):
        """While it goes on, or as it ends."""
        d, found = self.daemon, []
        seconds = time.monotonic() - self.began
        if self.attack.n == 0:
            found.append("it was not asked")
        if self.says and not wait(self.has_said):
            found.append(f"says {self.said!r} and not {self.says!r}")
        if d.value("p") != "good":
            found.append(f"what was published is {d.value('p')!r}")
        if {name: c.pid for name, c in self.costs.items()} != d.processes():
            return found + ["a process was replaced"]
        sent = self.attack.sent / MIB
        for name, cost in self.costs.items():
            limit = self.memory if name == "agent" else HELPERS_MIB
            if cost.grown() > limit:
                found.append(f"the {name} grew by {cost.grown():.0f} MiB, more than {limit}")
            if cost.spent() > CPU_SEC + CPU_SEC_A_MIB * sent:
                found.append(f"the {name} took {cost.spent():.2f} s of CPU for {sent:.1f} MiB")
        # at least 0.8, 1.6, 3.2 ... seconds between two tries; libcurl repeats some of them on another connection
        n, allowed = self.server.n_connections - self.n_before, OBJECTS * 3 * int(seconds / 0.8 + 1).bit_length()
        if n > allowed:
            found.append(f"{n} connections in {seconds:.1f} s, more than {allowed}")
        loud = [line for line in d.lines()[self.n_lines:] if re.search(" (warning|error) ", line)]
        if len(loud) > (1 if self.kind == "node" else LINES):  # it is asked each second, and says the same
            found.append(f"{len(loud)} lines, the last is {loud[-1]!r}")
        self.note = f"  [{sent:.1f} MiB, {n} connections, +{self.costs['agent'].grown():.0f} MiB, {self.costs['agent'].spent():.2f} s CPU: {self.said!r}]"
        return found

    def end(self):
        self.server.end(self.attack)
        self.server.put_secret("s", "well")


def certificate_in(folder):
    path = folder / "certificate.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", folder / "c"],
                   check=True, stderr=subprocess.DEVNULL)
    path.write_text((folder / "c").read_text() + path.read_text())
    return path


def main():
    args = hostile.arguments(__doc__, hold=10)
    certificate = certificate_in(args.dir)
    tap, rows = Tap(args.v), []
    for kind, table in (("tls", TLS), ("http2", HTTP2), ("node", NODE)):
        for i, row in enumerate(table):
            if re.search(args.only, f"{kind}: {row[0]}"):
                rows.append(Row(args, certificate, kind, i, *row))
    ill = [r.title for r in rows if not wait(lambda: r.daemon.ready(1))]
    tap.result("all is well at first", ill)
    if ill:
        return tap.done()
    time.sleep(1.1)  # a watch that ends earlier is another trouble
    for row in rows:
        row.begin()
    time.sleep(args.hold)
    for row in rows:
        found = row.problems()
        tap.result(row.title, found, row.note)
    for row in rows:
        row.end()
    ill = wait(lambda: all(r.daemon.value("p") == "well" for r in rows) or None, 2 * hostile.PATIENCE_SEC, 0.1)
    left = [] if ill else [f"{r.title}: {r.daemon.value('p')!r}, {r.daemon.last_error()!r}" for r in rows if r.daemon.value("p") != "well"]
    tap.result("each gets well by itself", left)
    logs = [(r.title, CONTROL.search(r.daemon.log.read_bytes())) for r in rows]
    tap.result("no control character reaches the log", [f"{t}: {m.string[max(0, m.start() - 60):m.end() + 20]!r}" for t, m in logs if m])
    tap.result("exit status", [f"{r.title}: {code}" for r in rows if (code := r.daemon.stop())])
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
