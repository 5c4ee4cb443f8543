#!/usr/bin/env python3
"""docs/openapi.yaml against the daemon, in both directions: started by openapi.sh.

    openapi.py SPEC CONTROL_C FULL PLAIN PHASE SEEN

FULL and PLAIN are control sockets: of a daemon that has all there is, and of one that has nothing. In phase "up" all is
well, in phase "away" there is no API server, and in phase "down" the agent is another, too. SEEN is a file that carries what was seen from one
phase to the next. The last phase, "end", asks nothing, and tells what was never seen. Prints a line "ok NAME" or
"not ok NAME" for each check."""
import http.client
import json
import pathlib
import re
import socket
import sys
import time

import jsonschema
import yaml

UID = "7f0c0d5e-0000-4000-8000-000000000001"
WAITS_MAX = 192  # agent/control.c
# What is not provoked here: the loop of an agent would have to hang, and answer (test_report.c has it), and a container
# would have to be signalled (on_change.sh does it)
UNPROVOKED = {("/healthz", "get", "500"), "Signal.pid", "Signal.container", "Signal.error"}

POD, BY_UID = "/v1/pods/default/app", f"/v1/pods/{UID}"
REFUSED_POD = "/v1/pods/default/refused"
NO_POD, NO_UID = "/v1/pods/default/none", "/v1/pods/00000000-0000-4000-8000-000000000000"
BAD_POD, BAD_UID = "/v1/pods/default/A_b", "/v1/pods/.x"


def pod_requests():
    """(path, method, status, phase, daemon, url) of what is there for each pod, by both of its names."""
    for path, good, none, bad, waits in (("/v1/pods/{namespace}/{name}", POD, NO_POD, BAD_POD, "/v1/pods/default/waits"),
                                         ("/v1/pods/{uid}", BY_UID, NO_UID, BAD_UID, None)):
        yield path, "get", "200", "up", "full", good
        yield path, "get", "404", "up", "full", none
        yield path, "get", "400", "up", "full", bad
        wait = path + "/wait"
        yield wait, "get", "200", "up", "full", good + "/wait"
        yield wait, "get", "400", "up", "full", good + "/wait?timeout=never"
        yield wait, "get", "503", "up", "full", none + "/wait"
        yield wait, "get", "504", "up", "full", none + "/wait?timeout=0"
        if waits:
            yield path, "get", "404", "up", "full", REFUSED_POD
            yield wait, "get", "504", "up", "full", waits + "/wait?timeout=10ms"
        for what in ("mounts", "env"):
            route = path + "/containers/{container}/" + what
            yield route, "get", "200", "up", "full", f"{good}/containers/main/{what}"
            yield route, "get", "400", "up", "full", f"{good}/containers/-/{what}"
            yield route, "get", "404", "up", "full", f"{good}/containers/none/{what}"
            yield route, "get", "404", "up", "full", f"{none}/containers/main/{what}"
            yield route, "get", "503", "away", "full", f"{good}/containers/cold/{what}"
        yield path + "/containers/{container}/env", "get", "403", "up", "plain", good + "/containers/main/env"
        route = path + "/pull-config"
        yield route, "get", "200", "up", "full", good + "/pull-config"
        yield route, "get", "400", "up", "full", bad + "/pull-config"
        yield route, "get", "403", "up", "plain", good + "/pull-config"
        yield route, "get", "404", "up", "full", none + "/pull-config"
        yield route, "get", "503", "away", "full", good + "/pull-config"


REQUESTS = [
    ("/v1/status", "get", "200", "up", "full", "/v1/status"),
    ("/v1/status", "get", "200", "up", "plain", "/v1/status"),
    ("/v1/status", "get", "200", "down", "full", "/v1/status"),
    ("/v1/pods", "get", "200", "up", "full", "/v1/pods"),
    ("/v1/pods", "get", "200", "up", "plain", "/v1/pods"),
    *pod_requests(),
    ("/v1/secrets", "get", "200", "up", "full", "/v1/secrets?kind=all"),
    ("/v1/secrets", "get", "200", "up", "full", "/v1/secrets?labelSelector=a%3Db"),
    ("/v1/secrets", "get", "400", "up", "full", "/v1/secrets?kind=pod"),
    ("/v1/secrets", "get", "400", "up", "full", "/v1/secrets?labelSelector=%2C"),
    ("/v1/secrets/{namespace}/{name}", "get", "200", "up", "full", "/v1/secrets/default/db"),
    ("/v1/secrets/{namespace}/{name}", "get", "400", "up", "full", "/v1/secrets/default/A_b"),
    ("/v1/secrets/{namespace}/{name}", "get", "404", "up", "full", "/v1/secrets/default/none"),
    ("/v1/secrets/{namespace}/{name}/refresh", "post", "200", "up", "full", "/v1/secrets/default/db/refresh"),
    ("/v1/secrets/{namespace}/{name}/refresh", "post", "400", "up", "full", "/v1/secrets/A_b/db/refresh"),
    ("/v1/secrets/{namespace}/{name}/refresh", "post", "404", "up", "full", "/v1/secrets/default/none/refresh"),
    ("/metrics", "get", "200", "up", "full", "/metrics"),
    ("/healthz", "get", "200", "up", "full", "/healthz"),
    ("/healthz", "get", "200", "up", "full", "/healthz?verbose"),
    ("/readyz", "get", "200", "up", "full", "/readyz"),
    ("/readyz", "get", "200", "up", "full", "/readyz?verbose"),
    ("/readyz", "get", "500", "down", "full", "/readyz"),
]
NO_PATHS = (("/", 404), ("/v1", 404), ("/v1/nothing", 404), ("/v2/status", 404), ("/v1/status/x", 404),
            ("/v1/secrets/default", 404), ("/v1/secrets/a/b/c", 404), ("/metrics/x", 404), ("/v1/%zz", 400))


def say(good, name, detail=""):
    print(("ok " if good else "not ok ") + name + (": " + " ".join(str(detail).split()) if detail and not good else ""), flush=True)


# ---- the file

class Spec:
    def __init__(self, path):
        self.doc = yaml.safe_load(pathlib.Path(path).read_text())
        self.names = set()

    def at(self, ref):
        node = self.doc
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
        return node

    def flat(self, node, name):
        """The schema without references; objects are closed, and know what they are called ("Pod.volumes")."""
        if isinstance(node, list):
            return [self.flat(n, name) for n in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            rest = {k: v for k, v in node.items() if k != "$ref"}
            return self.flat(self.at(node["$ref"]) | rest, node["$ref"].rpartition("/")[2])
        flat = {}
        for key, value in node.items():
            if key == "properties":
                flat[key] = {p: self.flat(v, f"{name}.{p}") for p, v in value.items()}
                self.names |= {f"{name}.{p}" for p in value}
            else:
                flat[key] = self.flat(value, name)
        if "properties" in flat:
            flat["additionalProperties"], flat["x-name"] = False, name
        return flat

    def operations(self):
        """(path, method) -> {status: {type: schema}}"""
        found = {}
        for path, item in self.doc["paths"].items():
            for method, operation in item.items():
                if method == "parameters":
                    continue
                found[path, method] = {}
                for status, response in operation["responses"].items():
                    response = self.at(response["$ref"]) if "$ref" in response else response
                    found[path, method][status] = {
                        kind: self.flat(c["schema"], f"{method} {path}") for kind, c in response["content"].items()}
        return found


def note_seen(schema, value, seen):
    """Which properties of the file are in an answer."""
    for part in schema.get("oneOf", []):
        if jsonschema.Draft202012Validator(part).is_valid(value):
            note_seen(part, value, seen)
    if isinstance(value, list):
        for v in value:
            note_seen(schema.get("items", {}), v, seen)
    elif isinstance(value, dict):
        for key, v in value.items():
            if key in schema.get("properties", {}):
                seen.add(f"{schema['x-name']}.{key}")
                note_seen(schema["properties"][key], v, seen)


# ---- the daemon

class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("x", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        # without a limit it waits for room in the queue, and with one it fails
        self.sock.connect(self.path)
        self.sock.settimeout(self.timeout)


def ask(path, method, url):
    """(status, content type, text, headers)"""
    connection = Connection(path)
    try:
        connection.request(method.upper(), url)
        r = connection.getresponse()
        return r.status, r.getheader("Content-Type", "").partition(";")[0], r.read().decode(), dict(r.getheaders())
    finally:
        connection.close()


def fits(contents, kind, text, seen):
    """"": the answer is as the file says; else why not."""
    if kind not in contents:
        return f"is {kind}"
    schema = contents[kind]
    try:
        value = json.loads(text) if kind == "application/json" else text
    except ValueError as e:
        return f"is no JSON: {e}"
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(schema).iter_errors(value))
    if error:
        return f"{error.json_path}: {error.message[:300]}"
    note_seen(schema, value, seen)
    return ""


def with_all_waits_taken(path, what):
    waits = []
    try:
        for _ in range(WAITS_MAX):
            s = socket.socket(socket.AF_UNIX)
            s.connect(path)
            s.sendall(b"GET /v1/pods/default/never/wait?timeout=5m HTTP/1.1\r\nHost: x\r\n\r\n")
            waits.append(s)
        end = time.monotonic() + 30
        while True:
            answer = what()
            if answer[0] == 503 or time.monotonic() > end:
                return answer
    finally:
        for s in waits:
            s.close()


def check_request(operations, sockets, request, seen):
    path, method, status, _, daemon, url = request
    if status == "503" and path.endswith("/wait"):
        answer = with_all_waits_taken(sockets[daemon], lambda: ask(sockets[daemon], method, url + "?timeout=1ms"))
    else:
        answer = ask(sockets[daemon], method, url)
    name = f"{method.upper()} {url} ({daemon}): {status}"
    if str(answer[0]) != status:
        say(False, name, f"it is {answer[0]}: {answer[2][:300]}")
        return
    why = fits(operations[path, method][status], answer[1], answer[2], seen)
    say(not why, name, why)
    seen.add(f"{path} {method} {status}")


def check_refusals(operations, path, seen):
    """Other methods than the file's, and paths that are not in it."""
    for (route, method) in operations:
        url = re.sub(r"\{container\}", "main", route).replace("{uid}", UID).replace("{namespace}", "default")
        url = url.replace("{name}", "db" if "secrets" in url else "app")
        for other in {"get", "post", "put", "delete", "patch"} - {method}:
            status, kind, text, headers = ask(path, other, url)
            why = fits(operations[route, method]["default"], kind, text, seen)
            allowed = "POST" if method == "post" else "GET, HEAD"
            if (status, headers.get("Allow")) != (405, allowed):
                why = f"{status}, Allow: {headers.get('Allow')}"
            if why:
                say(False, f"{other.upper()} {url}: 405", why)
                break
        else:
            say(True, f"{url}: no other methods")
    error = operations["/v1/status", "get"]["default"]
    for url, expected in NO_PATHS:
        status, kind, text, _ = ask(path, "get", url)
        why = fits(error, kind, text, seen) or ("" if status == expected else f"it is {status}")
        say(not why, f"GET {url}: {expected}", why)


def check_heads(operations, path):
    bad = []
    for route, method, status, phase, daemon, url in REQUESTS:
        if (method, status, phase, daemon) == ("get", "200", "up", "full"):
            answer = ask(path, "head", url)
            if (answer[0], answer[2]) != (200, ""):
                bad.append(url)
    say(not bad, "HEAD is as GET, without a body", bad)


# ---- both

def routes(control_c):
    """(path, method) of the table in the code."""
    words = {"PART_NAMESPACE": "{namespace}", "PART_POD": "{name}", "PART_SECRET": "{name}", "PART_UID": "{uid}",
             "PART_CONTAINER": "{container}"}
    table = pathlib.Path(control_c).read_text().partition("struct route routes[] = {\n")[2].partition("\n};")[0]
    found = set()
    for parts, post in re.findall(r"\{ \{ ([^}]*) \}, on_\w+(, \.post = true)? \}", table):
        path = "".join("/" + words.get(p, p.strip('"')) for p in parts.split(", "))
        found.add((path, "post" if post else "get"))
    return found, table.count("on_")


def main():
    spec_path, control_c, full, plain, phase, seen_file = sys.argv[1:]
    spec = Spec(spec_path)
    operations = spec.operations()
    seen_file = pathlib.Path(seen_file)
    seen = set(json.loads(seen_file.read_text())) if seen_file.exists() else set()
    sockets = {"full": full, "plain": plain}
    if phase == "end":
        table, n = routes(control_c)
        say(len(table) == n, "the code's table is read")
        say(set(operations) == table, "each route of the code is in the file, and no other one",
            sorted(set(operations) ^ table))
        told = {(p, m, s) for p, m, s, *_ in REQUESTS}
        there = {(p, m, s) for (p, m), responses in operations.items() for s in responses if s != "default"}
        say(told | {u for u in UNPROVOKED if isinstance(u, tuple)} == there, "each status of the file is asked for",
            sorted(told ^ there))
        missing = {f"{p} {m} {s}" for p, m, s in told} - seen
        say(not missing, "and answered", sorted(missing))
        never = spec.names - seen - UNPROVOKED
        say(not never, "each member in the file is in an answer", sorted(never))
        return
    for request in REQUESTS:
        if request[3] == phase:
            check_request(operations, sockets, request, seen)
    if phase == "up":
        check_refusals(operations, full, seen)
        check_heads(operations, full)
    seen_file.write_text(json.dumps(sorted(seen)))


main()
