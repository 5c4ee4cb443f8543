#!/usr/bin/env python3
"""Hostile answers to what an agent asks for now and then: tokens, what it tells as Events, what `env` and `pull-config` fetch, and
pods of which it doubts that they are gone.

    test/hostile/asked.py --build DIR --dir DIR [--hold SECONDS] [--only REGEX] [-v]

Each row has a daemon of its own, with a pod whose volume is good and published before. All rows of a kind begin at once: the question
is provoked, and meets the row's answer as often as it is asked. Meanwhile another Secret's update has to arrive; what was published has
to be there; the error has to name the object and the reason; memory, CPU time, the bytes that are taken, questions and log lines have
to stay within bounds. When it ends, each gets well by itself. Prints TAP. Needs root and a private mount namespace.
"""
import json
import re
import sys
import threading
import time

import hostile
import server
from attacks import ESCAPES, MIB, body, cut, drip, endless, raw, silent
from hostile import CONTROL, CPU_SEC, HELPERS_MIB, SOCKETS, Control, Daemon, Tap, wait
from server import Server, status

CPU_SEC_A_MIB = 0.25
LINES = 6              # of warnings, while it goes on
HELD = re.compile("Retry-After: 1000000000")  # does as it is told, for as long as it lasts
SPACES = b" " * 65536


# ---- tokens

def answered(spec=None, tail=b"", **changes):
    """The good answer, with this in its status and spec."""
    def run(c):
        answer = json.loads(c.good())
        answer["status"].update(changes)
        answer["spec"].update(spec or {})
        c.body(json.dumps({k: v for k, v in answer.items() if v}).encode()[:-1] + tail + b"}", 201)
    return run


def expiry(text, seconds=1):
    return answered({"expirationSeconds": seconds}, expirationTimestamp=text)


def replaced(old, new):
    return lambda c: c.body(c.good().replace(old, new))


TOKEN_TIME = r"status\.expirationTimestamp: is no time"
LIFETIME = r"spec\.expirationSeconds: "

TOKENS = [
    ("spaces without an end", endless(SPACES, code=201), "answer is too long"),
    ("a token without an end", endless(b"x" * 65536, b'{"kind":"TokenRequest","status":{"token":"', code=201), "answer is too long"),
    ("a Content-Length of 10^18, and all of it", endless(SPACES, b"{", b"Content-Length: 1000000000000000000\r\n"), "answer is too long"),
    ("a byte each second", drip, None),
    ("nothing at all", silent(b""), None),
    ("401 without an end", endless(SPACES, code=401), "401 Unauthorized"),
    ("403 without an end", endless(SPACES, code=403), "403 Forbidden"),
    ("500 without an end", endless(SPACES, code=500), "500 Internal"),
    ("404 in HTML", body(b"<html>", 404), "404 Not Found"),
    ("404 of another kind", body(status(404, "NotFound", "no such node", kind="nodes", name="acc"), 404), "no such node"),
    ("a Status with control characters", body(status(500, ESCAPES, ESCAPES), 500), "FAKE"),
    ("429 with Retry-After: 1000000000", body(b"", 429, b"Retry-After: 1000000000\r\n"), "429"),
    ("302 to another host", body(b"", 302, b"Location: http://localhost:%PORT%/stolen\r\n"), "302"),
    ("204", raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "204"),
    ("nothing", body(b""), r"line \d+ column \d+"),
    ("HTML", body(b"<html>"), r"line \d+ column \d+"),
    ("an array", body(b"[]"), r"status\.token: is required"),
    ("a Secret", body(server.secret("s", "x")), r"status\.token"),
    ("two documents", lambda c: c.body(c.good() * 2), r"line \d+ column \d+"),
    ("half of it, as if it were all", lambda c: c.body(c.good()[:len(c.good()) // 2]), r"line \d+ column \d+"),
    ("60 % of the answer", cut(0.6), "."),
    ("100,000 arrays in each other", body(b"[" * 100_000), r"line \d+ column \d+"),
    ("300,000 empty arrays", body(b"[" + b"[]," * 300_000 + b"[]]"), r"status\.token: is required", 96),
    ("100,000 keys", body(b"{%s}" % b",".join(b'"k%d":{}' % i for i in range(80_000))), r"status\.token", 64),
    ("the same key twice", answered(tail=b',"status":{"token":"other"}'), "duplicate"),
    ("bytes that are no UTF-8", replaced(b"good", b"go\xff\xfed"), r"line \d+ column \d+"),
    ("NUL in the token", answered(token="go\0od"), r"status\.token: .*NUL"),
    ("no token", answered(token=None), r"status\.token"),
    ("an empty token", answered(token=""), r"status\.token: must not be empty"),
    ("a token that is a number", answered(token=7), r"status\.token: "),
    ("a token that is an object", answered(token={"a": "b"}), r"status\.token: "),
    ("a status that is a string", replaced(b'"status":', b'"status":"x","x":'), "status: "),
    ("a token of 1 MiB", answered(token="x" * MIB), "answer is too long"),
    ("no expiry", answered(expirationTimestamp=None), r"status\.expirationTimestamp"),
    ("an expiry that is a number", answered(expirationTimestamp=7), r"status\.expirationTimestamp: "),
    ("an expiry before 1970", expiry("1969-12-31T23:59:59Z"), TOKEN_TIME),
    ("an expiry in 1970", expiry("1970-01-01T00:00:00Z"), None),
    ("an expiry in 9999", expiry("9999-12-31T23:59:59Z"), None),
    ("an expiry with NUL", expiry("2999-01-01T00:00:00Z\0"), r"status\.expirationTimestamp: .*NUL"),
    ("an expiry with control characters", expiry(ESCAPES), TOKEN_TIME),
    ("an expiry of 64 KiB", expiry("2999-01-01T00:00:00." + "0" * 65536 + "Z"), TOKEN_TIME),
    ("a lifetime of 0 seconds", answered({"expirationSeconds": 0}), LIFETIME),
    ("a lifetime of 10^18 seconds", answered({"expirationSeconds": 10**18}), LIFETIME),
    ("a lifetime that is a string", answered({"expirationSeconds": "1h"}), LIFETIME),
]


# ---- Events: what an answer says counts for little

def event(n):
    """The answer to a PATCH."""
    return lambda c: c.body({"kind": "Event", "apiVersion": "v1", "count": n})


EVENTS = [
    ("spaces without an end", endless(SPACES, code=201), None),
    ("100,000 arrays in each other", body(b"[" * 100_000), None),
    ("nothing at all", silent(b""), None),
    ("a byte each second", drip, None),
    ("60 % of the answer", cut(0.6), "."),
    ("401 without an end", endless(SPACES, code=401), "401 Unauthorized"),
    ("403 without an end", endless(SPACES, code=403), "403 Forbidden"),
    ("404 in HTML", body(b"<html>", 404), "404 Not Found"),
    ("409 without an end", endless(SPACES, code=409), None),
    ("422 of 300,000 empty arrays", body(b"[" + b"[]," * 300_000 + b"[]]", 422), "422 Unprocessable"),
    ("a Status with control characters", body(status(500, ESCAPES, ESCAPES), 500), "FAKE"),
    ("a Status of wrong types", body({"kind": "Status", "code": "x", "reason": [], "message": 7, "details": 9}, 500), "500"),
    ("429 with Retry-After: 1000000000", body(b"", 429, b"Retry-After: 1000000000\r\n"), "429"),
    ("302 to another host", body(b"", 302, b"Location: http://localhost:%PORT%/stolen\r\n"), "302"),
    ("204", raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "204"),
]
# the object is there already: it is patched
PATCHES = [
    ("spaces without an end", endless(SPACES), None),
    ("100,000 arrays in each other", body(b"[" * 100_000), None),
    ("a count of 10^18", event(10**18), None),
    ("a count that is a string", event(ESCAPES), None),
    ("a count of -1", event(-1), None),
    ("404, and it is there", body(b"", 404), "409|404"),
]


# ---- what is fetched for `env` and `pull-config`

def account(**changes):
    return lambda c: c.body({**json.loads(c.good()), **changes})


def named(name):
    return account(metadata={"namespace": "default", "name": name, "uid": "u", "resourceVersion": "1"})


# What is wrong with an answer is not the fault of who asks: 500, not 400
def wrong(thing, why):
    return rf'^500 {{\s*"error": "{thing}: the server\'s answer: {why}'


ACCOUNT = "serviceaccount default/default"
ACCOUNTS = [
    ("spaces without an end", endless(SPACES), "serviceaccount default/default: the server's answer is too long"),
    ("403 without an end", endless(SPACES, code=403), "403 Forbidden"),
    ("100,000 arrays in each other", body(b"[" * 100_000), wrong(ACCOUNT, r"line \d+ column \d+")),
    ("no JSON", body(b"nonsense"), wrong(ACCOUNT, "line 1 column")),
    ("nothing at all", silent(b""), "timed out|no answer"),
    ("60 % of the answer", cut(0.6), "does not answer"),
    ("another name", named("other"), wrong(ACCOUNT, "it is another object")),
    ("another kind", account(kind="Secret"), wrong(ACCOUNT, "kind: is not ServiceAccount")),
    ("imagePullSecrets that are a number", account(imagePullSecrets=7), wrong(ACCOUNT, "imagePullSecrets: expected an array")),
    ("imagePullSecrets that are names", account(imagePullSecrets=["s"]), wrong(ACCOUNT, r"imagePullSecrets\[0\]: must be an object")),
    ("imagePullSecrets of 10,000", account(imagePullSecrets=[{"name": f"s{i}"} for i in range(10_000)]),
     wrong(ACCOUNT, "imagePullSecrets: .*1000")),
    ("imagePullSecrets with names that cannot be", account(imagePullSecrets=[{"name": ESCAPES}, {"name": "../../x"}]), "."),
    ("imagePullSecrets with a name that is a number", account(imagePullSecrets=[{"name": "s"}, {"name": 7}]),
     wrong(ACCOUNT, r"imagePullSecrets\[1\]\.name: expected a string")),
]
SECRETS = [
    ("spaces without an end", endless(SPACES), "secret default/x: the server's answer is too long"),
    ("no JSON", body(b"nonsense"), wrong("secret default/x", "line 1 column")),
    ("the same key twice", replaced(b'"data": {', b'"data": {"k": "",'), "duplicate"),
    ("NUL in a key", replaced(b'"data": {', b'"data": {"a\\u0000": "",'), "NUL"),
    ("the key ..", replaced(b'"data": {', b'"data": {"..": "",'), r"data\[\.\.\]"),
    ("another name", named("other"), "it is another object"),
    ("another kind", account(kind="ConfigMap"), "kind"),
]
CONFIG_MAPS = [
    ("spaces without an end", endless(SPACES), "configmap default/x: the server's answer is too long"),
    ("a key in data and in binaryData", account(binaryData={"k": "YQ=="}), r"binaryData\.k: is there twice"),
    ("binaryData that is no base64", account(binaryData={"l": "%%%"}), r"binaryData\.l: illegal base64"),
    ("another kind", account(kind="Secret"), "kind"),
]


# ---- pods of which it is doubted that they are gone

def pod_with(**meta):
    return lambda c: c.body({**json.loads(c.good()), "metadata": {**json.loads(c.good())["metadata"], **meta}})


DOUBT = "whether pod default/p is gone is not certain: "
DOUBTS = [
    ("spaces without an end", endless(SPACES), DOUBT + "the answer is too long"),
    ("404 without an end", endless(SPACES, code=404), DOUBT),
    ("404 in HTML", body(b"<html>", 404), DOUBT + ".*404 Not Found"),
    ("404 of a Secret", body(status(404, "NotFound", "no such Secret", kind="secrets", name="p"), 404), DOUBT),
    ("404 of another pod", body(status(404, "NotFound", "no such pod", kind="pods", name="other"), 404), DOUBT),
    ("403 without an end", endless(SPACES, code=403), DOUBT),
    ("a Status with control characters", body(status(500, ESCAPES, ESCAPES), 500), DOUBT),
    ("100,000 arrays in each other", body(b"[" * 100_000), DOUBT + r"line \d+"),
    ("nothing at all", silent(b""), None),
    ("60 % of the answer", cut(0.6), DOUBT),
    ("a list of pods", body(b'{"kind":"PodList","apiVersion":"v1","items":[]}'), DOUBT + "the answer is not that pod"),
    ("another name", pod_with(name="other"), DOUBT + "the answer is not that pod"),
    ("a uid that is a number", pod_with(uid=7), DOUBT + "the answer is not that pod"),
]
ANEW = "have vanished at once|has vanished at once"
RECALLS = [
    ("spaces without an end", endless(SPACES), ANEW, 80),
    ("403 without an end", endless(SPACES, code=403), ANEW, 80),
    ("100,000 arrays in each other", body(b"[" * 100_000), ANEW),
    ("items that are a number", body({"kind": "PodList", "apiVersion": "v1", "items": 7, "metadata": {"resourceVersion": "7"}}), ANEW),
    ("another version", body({"kind": "PodList", "apiVersion": "v1", "items": [], "metadata": {"resourceVersion": ESCAPES}}), ANEW),
    ("nothing at all", silent(b""), None),
]


# ---- what does it

class AskedServer(Server):
    """With service accounts and their tokens, Events, single pods, and a memory."""

    def __init__(self):
        self.token = "good"
        self.has_events = self.hides_pods = self.is_pod_gone = False  # is_pod_gone: it says so of each by its name
        self.n_told = 0
        super().__init__()

    def understand(self, target, method):
        parts = target.partition("?")[0].strip("/").split("/")[2:]
        if method == "POST" and len(parts) == 5 and parts[2] == "serviceaccounts" and parts[4] == "token":
            return ("token", parts[3]), "create", 0, False
        if len(parts) == 4 and parts[2] == "serviceaccounts" and method == "GET":
            return ("account", parts[3]), "get", 0, False
        if parts[2:3] == ["events"] and method in ("POST", "PATCH"):
            return ("events", ""), {"POST": "create", "PATCH": "patch"}[method], 0, False
        key, verb, version, streams = Server.understand(target, method)
        return key, "exact" if "resourceVersionMatch=Exact" in target else verb, version, streams

    def content(self, key, verb):
        if key[0] == "token":
            later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
            # it is refreshed after five seconds
            return {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {"expirationSeconds": 1},
                    "status": {"token": self.token, "expirationTimestamp": later}}
        if key[0] == "account":
            return {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"namespace": "default", "name": key[1], "uid": "u"}}
        if key[0] == "events":
            self.n_told += 1
            if self.has_events and verb == "create":
                return status(409, "AlreadyExists", "it is there", kind="events")
            return {"kind": "Event", "apiVersion": "v1", "count": 1}
        if key[0] == "pod":
            found = [p for k, pods in self.objects.items() if k[0] == "pods" for p in pods.values() if p["metadata"]["name"] == key[1]]
            return status(404, "NotFound", "gone", kind="pods", name=key[1]) if self.is_pod_gone else found[0]
        answer = super().content(key, "list" if verb == "exact" else verb)
        if key[0] == "pods" and (self.hides_pods or verb == "exact"):
            answer["items"] = []
        return answer


class Row:
    kind = key = None
    verb, limit_mib, config = "create", 1, ""

    def __init__(self, args, number, title, run, says, memory=24):
        self.title, self.run, self.says, self.memory = f"{self.kind}: {title}", run, says, memory
        self.server = AskedServer()
        name = f"{self.kind.replace(' ', '-')}-{number}"
        self.server.put_secret("s", "good")
        self.server.put_pod("p", name, "s")
        self.prepare(name)
        self.daemon = Daemon(args, self.server, name, more=self.config)
        self.n_pods = len(self.server.objects["pods", name])
        self.said = self.note = ""

    def prepare(self, node):
        """What else there is."""

    def begin(self):
        self.costs = self.daemon.costs()
        self.began, self.n_lines = time.monotonic(), len(self.daemon.lines())
        self.attack = self.server.attack(self.key, self.verb, self.run)
        self.provoke()

    def provoke(self):
        """That it is asked; else it is in some seconds."""

    def error(self):
        return self.daemon.last_error()

    def has_said(self):
        self.said = self.error()
        return re.search(self.says, self.said)

    def lost(self):
        return [] if self.daemon.value("p") == "good" else [f"what was published is {self.daemon.value('p')!r}"]

    def tries(self, seconds):
        """At least 0.8, 1.6, 3.2 ... seconds are between two."""
        return 2 + 3 * int(seconds / 0.8 + 1).bit_length()

    def problems(self):
        d, found = self.daemon, []
        if self.attack.n == 0:
            found.append("it was not asked")
        if self.says and not wait(self.has_said):
            found.append(f"says {self.said!r} and not {self.says!r}")
        found += self.lost()
        self.server.put_secret("s", "better")
        if not self.arrives("better"):
            found.append(f"the update of a Secret does not arrive: {d.value('p')!r}")
        if {name: c.pid for name, c in self.costs.items()} != d.processes():
            return found + ["a process was replaced"]
        sent, seconds = self.attack.sent, time.monotonic() - self.began
        for name, cost in self.costs.items():
            limit = self.memory if name == "agent" else HELPERS_MIB
            if cost.grown_alone() > limit:
                found.append(f"the {name} grew by {cost.grown_alone():.0f} MiB, more than {limit}")
            if cost.spent() > CPU_SEC + CPU_SEC_A_MIB * sent / MIB:
                found.append(f"the {name} took {cost.spent():.2f} s of CPU for {sent / MIB:.1f} MiB")
        if sent > (self.limit_mib * MIB + SOCKETS) * self.attack.n:
            found.append(f"{sent} bytes were taken of {self.attack.n} answers")
        if self.attack.n > self.tries(seconds):
            found.append(f"asked {self.attack.n} times in {seconds:.1f} s, more than {self.tries(seconds)}")
        loud = [line for line in d.lines()[self.n_lines:] if re.search(" (warning|error) ", line)]
        if len(loud) > LINES:
            found.append(f"{len(loud)} lines, the last is {loud[-1]!r}")
        if self.server.strange:
            found.append(f"was led to ask for {self.server.strange[0]}")
        self.note = (f"  [{sent / MIB:.1f} MiB in {self.attack.n}, +{self.costs['agent'].grown_alone():.0f} MiB, "
                     f"{self.costs['agent'].spent():.2f} s CPU: {self.said!r}]")
        return found

    def arrives(self, value):
        return wait(lambda: self.daemon.value("p") == value)

    def end(self):
        self.server.stop(self.attack)
        self.server.put_secret("s", "well")

    def is_well(self):
        return self.daemon.value("p") == "well"


class TokenRow(Row):
    kind, key = "token", ("token", "acc")

    def prepare(self, node):
        self.server.put_pod("t", node, "acc", "token")

    def error(self):
        return self.daemon.error("t")

    def lost(self):
        found = super().lost()
        if self.daemon.value("t") != "good":
            found.append(f"the token is {self.daemon.value('t')!r}")
        if self.says and "acc" not in self.said:
            found.append(f"{self.said!r} does not name the service account")
        said = [line for line in self.daemon.lines()[self.n_lines:] if " token=acc/" in line]
        if self.says and not 1 <= sum(1 for line in said if re.search(self.says, line)) <= 2:
            found.append(f"the log has {len(said)} lines of it, first {said[:1]}")
        return found

    def end(self):
        super().end()
        self.server.token = "well"

    def is_well(self):
        return super().is_well() and (self.daemon.value("t") == "well" or HELD.search(self.title))


class EventRow(Row):
    kind, key, config = "event", ("events", ""), "eventRecordQPS: 0\n"

    def provoke(self):
        """A mistake that is told."""
        wrong = server.pod("wrong", self.daemon.name, "s")
        wrong["metadata"]["annotations"] = {"secretlet.dev/volumes": f"v: {{number{self.server.version}: x}}"}
        self.server.put(("pods", self.daemon.name), wrong)

    def error(self):
        answer = self.daemon.ask("status")
        return (answer and answer["events"] or {}).get("error", "")

    def tries(self, seconds):
        return 12 * (2 + int(seconds / 5))  # of each event; the volume's trouble is another, which is told again after five seconds

    def end(self):
        super().end()
        self.n_told = self.server.n_told
        self.provoke()

    def is_well(self):
        return super().is_well() and (self.server.n_told > self.n_told or HELD.search(self.title))


class PatchRow(EventRow):
    kind, verb = "event that is there", "patch"

    def prepare(self, node):
        self.server.has_events = True


class FetchRow(Row):
    """path is below the pod's."""
    verb, limit_mib, config, path = "get", 8, "serveEnvironment: true\n", "containers/c/env"

    def provoke(self):
        self.answer = ""
        threading.Thread(target=self.ask, daemon=True).start()

    def ask(self):
        connection = Control(self.daemon.run / "control.sock")
        connection.request("GET", f"/v1/pods/default/p/{self.path}")
        answer = connection.getresponse()
        self.answer = f"{answer.status} {answer.read().decode()}"

    def error(self):
        return self.answer

    def tries(self, seconds):
        return 12

    def end(self):
        super().end()
        self.provoke()

    def is_well(self):
        return super().is_well() and self.answer.startswith("200 ")


class AccountRow(FetchRow):
    kind, key, path = "serviceaccount", ("account", "default"), "pull-config"


class FetchedRow(FetchRow):
    source = None

    def prepare(self, node):
        pod = server.pod("p", node, "s")
        pod["spec"]["containers"][0]["env"] = [{"name": "X", "valueFrom": {self.source: {"name": "x", "key": "k"}}}]
        self.server.put(("pods", node), pod)
        self.server.put_secret("x", "fine")
        self.server.put_config_map("x", "fine")


class SecretRow(FetchedRow):
    kind, key, source = "secret for env", ("secret", "x"), "secretKeyRef"


class ConfigMapRow(FetchedRow):
    kind, key, source = "configmap for env", ("configmap", "x"), "configMapKeyRef"


class DoubtRow(Row):
    kind, key, verb, limit_mib = "pod in doubt", ("pod", "p"), "get", 4

    def provoke(self):
        self.server.hides_pods = True
        self.server.expire(("pods", self.daemon.name))

    def end(self):
        self.server.hides_pods = self.server.is_pod_gone = False
        super().end()
        self.server.expire(("pods", self.daemon.name))

    def is_well(self):
        return super().is_well() and not self.daemon.last_error()


class RecallRow(DoubtRow):
    kind, verb, limit_mib = "pods that are remembered", "exact", 32

    def prepare(self, node):
        self.key = ("pods", node)

    def provoke(self):
        self.server.is_pod_gone = True
        super().provoke()


TABLES = [(TokenRow, TOKENS), (EventRow, EVENTS), (PatchRow, PATCHES), (AccountRow, ACCOUNTS), (SecretRow, SECRETS),
          (ConfigMapRow, CONFIG_MAPS), (DoubtRow, DOUBTS), (RecallRow, RECALLS)]


def run_rows(args, tap, rows):
    ill = [r.title for r in rows if not wait(lambda: r.daemon.ready(r.n_pods))]
    if ill:
        tap.result(f"{rows[0].kind}: all is well at first", ill)
        return
    time.sleep(1.1)  # a watch that ends earlier is another trouble
    for row in rows:
        row.begin()
    wait(lambda: all(r.attack.n for r in rows))
    time.sleep(args.hold)
    for row in rows:
        tap.result(row.title, row.problems(), row.note)
    for row in rows:
        row.end()
    wait(lambda: all(r.is_well() for r in rows), 2 * hostile.PATIENCE_SEC, 0.1)
    tap.result(f"{rows[0].kind}: each gets well by itself", [f"{r.title}: {r.error()!r}" for r in rows if not r.is_well()])
    found = [f"{r.title}: {code}" for r in rows if (code := r.daemon.stop())]
    for row in rows:
        text = row.daemon.log.read_bytes()
        found += [f"{row.title}: {m[0]!r} in the log" for m in CONTROL.finditer(text)] + ["a forged line"] * text.startswith(b"FAKE")
    tap.result(f"{rows[0].kind}: a clean log, and a good end", found[:10])


def main():
    args = hostile.arguments(__doc__, hold=3)
    tap = Tap(args.v)
    for kind, table in TABLES:
        rows = [kind(args, i, *row) for i, row in enumerate(table) if re.search(args.only, f"{kind.kind}: {row[0]}")]
        if rows:
            run_rows(args, tap, rows)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
