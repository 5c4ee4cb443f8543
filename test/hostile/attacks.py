"""The attacks: rows of (name, what is done, what must be said[, memory[, is_wire]]); of pods it is said where it is done, too,
and they end with (memory[, CPU]).

What must be said is a regular expression over the error that `volumes` shows (for pods: `status`), or None: nothing is
wrong, or nothing is known yet. memory is in MiB above what the agent had; is_wire: it takes all that comes until its time
is up, which is what a busy server looks like, too; CPU is in seconds, where it may be more than of other rows. Bodies are made
when they are needed, and piece by piece."""
import base64
import gzip
import json

import server

MIB = 1 << 20
OTHER_NAME = "list of secrets: an object with another name"
TOO_LARGE = "is too large"
NO_JSON = r"the server's list of secrets: line \d+ column \d+"
FRAME_LARGE = "more than 4 MiB"
FRAME_NO_JSON = r"a message in the watch of secrets: line \d+ column \d+"


# ---- how

def endless(filler, begin=b"", headers=b"Transfer-Encoding: chunked\r\n", code=200):
    def run(c):
        c.head(code, headers)
        send = c.chunk if b"chunked" in headers else c.raw
        if begin:
            send(begin)
        while True:
            send(filler)
    return run


def frames(filler, begin=b""):
    """Into a watch that has begun."""
    def run(c):
        if begin:
            c.chunk(begin)
        while True:
            c.chunk(filler)
    return run


def frame(data):
    def run(c):
        c.chunk(data if isinstance(data, bytes) else json.dumps(data).encode() + b"\n")
        c.hold()
    return run


def body(data, code=200, headers=b""):
    return lambda c: c.body(data(c) if callable(data) else data, code,
                            headers.replace(b"%PORT%", b"%d" % c.server.port))


def raw(data):
    def run(c):
        c.raw(data)
        c.hold()
    return run


def raw_endless(filler, begin=b"HTTP/1.1 200 OK\r\n"):
    def run(c):
        c.raw(begin)
        while True:
            c.raw(filler)
    return run


def silent(begin):
    """The beginning, then nothing."""
    return raw(begin)


def drip(c):
    """The good answer, a byte each second."""
    data = c.good()
    c.head(200, b"Content-Length: %d\r\n" % len(data))
    for i in range(len(data)):
        c.raw(data[i:i + 1])
        c.hold(1)


def cut(share):
    """The good answer, and the connection is closed after a part of it."""
    def run(c):
        data = c.good()
        whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + data
        c.raw(whole[:int(len(whole) * share)])
    return run


BOMB = gzip.compress(b" " * (64 * MIB))


# ---- what

def items(*texts):
    """A SecretList of these texts."""
    return (b'{"kind":"SecretList","apiVersion":"v1","metadata":{"resourceVersion":"%RV%"},"items":[' +
            b",".join(t if isinstance(t, bytes) else json.dumps(t).encode() for t in texts) + b"]}")


def meta(c, rest=b""):
    return b'"metadata":{"namespace":"default","name":"%s","uid":"u","resourceVersion":"%%RV%%"%s}' % (c.key[1].encode(), rest)


def obj(c, rest=b"", more_meta=b""):
    return b'{"apiVersion":"v1","kind":"Secret",%s%s}' % (meta(c, more_meta), rest)


def listed(rest, more_meta=b""):
    """A list of the Secret that was asked for, with this in it."""
    return body(lambda c: items(obj(c, rest, more_meta)))


def data(text):
    return listed(b',"data":' + text)


def changed(c, **change):
    """The good list, with this in its only object's metadata or in itself."""
    answer = json.loads(c.good())
    for key, value in change.items():
        (answer["items"][0]["metadata"] if key in ("name", "namespace", "uid") else answer["metadata"]
         if key in ("resourceVersion", "continue") else answer)[key] = value
    return answer


def altered(**change):
    return body(lambda c: changed(c, **change))


def many(n, one):
    """n texts, joined: made in pieces."""
    def pieces():
        for i in range(0, n, 4096):
            yield b"".join(one(k) for k in range(i, min(n, i + 4096)))
    return pieces


def pieces_of(begin, pieces, end, send=None):
    def run(c):
        c.head()
        c.chunk(begin(c) if callable(begin) else begin)
        for piece in pieces():
            c.chunk(piece)
        c.chunk(end)
        c.raw(b"0\r\n\r\n")
    return run


def frame_of(begin, pieces, end):
    def run(c):
        c.chunk(begin(c) if callable(begin) else begin)
        for piece in pieces():
            c.chunk(piece)
        c.chunk(end + b"\n")
        c.hold()
    return run


def event(kind, rest=b"", more_meta=b""):
    return lambda c: frame(b'{"type":"%s","object":%s}\n' % (kind, obj(c, rest, more_meta)))(c)


def strangers(c):
    """Events of somebody else, without an end."""
    frames(b"".join(b'{"type":"MODIFIED","object":%s}\n' % json.dumps(server.secret(f"n{i}", "x")).encode() for i in range(500)))(c)


KEYS = many(10_000_000, lambda i: b'"k%07d":"",' % i)
KEYS_FEW = many(300_000, lambda i: b'"k%06d":"",' % i)
ESCAPES = '\x1b]0;owned\x07\nFAKE level=error\r\x9b31m'
TEXT = json.dumps(ESCAPES).encode()
BIG = base64.b64encode(b"x" * (MIB + 1))

LISTS = [
    # size
    ("spaces without an end", endless(b" " * 65536), TOO_LARGE),
    ("a good beginning and no end", endless(b'{"metadata":{}},' * 4096, items()[:-2]), TOO_LARGE),
    ("a string without an end", endless(b"x" * 65536, items()[:-2] + b'"'), TOO_LARGE),
    ("a Content-Length of 10^18, and all of it", endless(b" " * 65536, b"{", b"Content-Length: 1000000000000000000\r\n"),
     TOO_LARGE),
    ("a Content-Length of 10^18, and nothing of it", silent(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % 10**18), None),
    ("a Content-Length of 10^30", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1%s\r\n\r\n{}" % (b"0" * 30)), None),
    ("a Content-Length of -1", raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n{}"), "."),
    ("a byte each second", drip, None),
    ("nothing at all", silent(b""), None),
    ("half a head", silent(b"HTTP/1.1 200 OK\r\nContent-"), None),
    ("a value of 1 MiB and 1 byte", data(b'{"k":"%s"}' % BIG), "data: Too long: may not be more than 1048576 bytes"),
    ("a Secret of 300 MB", pieces_of(lambda c: items(obj(c, b',"data":{"k":"'))[:-3], many(300 * MIB // 64, lambda i: b"eHh4" * 16),
                                    b'"}}]}'), TOO_LARGE),
    ("10 million keys", pieces_of(lambda c: items(obj(c, b',"data":{'))[:-3], KEYS, b'"z":""}}]}'), TOO_LARGE),
    ("300,000 keys", pieces_of(lambda c: items(obj(c, b',"data":{'))[:-3], KEYS_FEW, b'"z":""}}]}'),
     "data: more than 65536 keys", 192),
    ("100,000 Secrets where one was asked for", pieces_of(items()[:-2], many(100_000, lambda i: b'{"metadata":{"namespace":"default","name":"n%d"}},' % i),
                                                          b"{}]}"), TOO_LARGE),
    ("30,000 other Secrets", pieces_of(items()[:-2], many(30_000, lambda i: b'{"metadata":{"namespace":"default","name":"n%d"}},' % i),
                                       b"{}]}"), OTHER_NAME, 192),
    # JSON
    ("100,000 arrays in each other", body(b"[" * 100_000), NO_JSON),
    ("100,000 objects in each other", body(b'{"a":' * 100_000), NO_JSON),
    ("1.3 million empty arrays", body(b"[" + b"[]," * (4 * MIB // 3 - 10) + b"[]]"), "list of secrets: ", 304),
    ("the same key twice in data", data(b'{"k":"YQ==","k":"Yg=="}'), "duplicate"),
    ("the same key twice in metadata", listed(b"", b',"name":"x"'), "duplicate"),
    ("data twice", listed(b',"data":{"k":"YQ=="},"data":{"k":"Yg=="}'), "duplicate"),
    ("bytes that are no UTF-8", data(b'{"k":"\xff\xfe"}'), NO_JSON),
    ("an overlong UTF-8 sequence", data(b'{"k\xc0\xaf":""}'), NO_JSON),
    ("a surrogate in UTF-8", data(b'{"k\xed\xa0\x80":""}'), NO_JSON),
    ("a lone surrogate", data(rb'{"k\ud800":""}'), NO_JSON),
    ("a number that is too large", listed(b',"x":1e999'), NO_JSON),
    ("an integer of 100 digits", listed(b',"x":1' + b"0" * 100), NO_JSON),
    ("a string", body(b'"SecretList"'), "document|line"),
    ("a number", body(b"7"), "document|line"),
    ("null", body(b"null"), "document|line"),
    ("an array", body(b"[]"), "document"),
    ("nothing", body(b""), NO_JSON),
    ("two documents", body(lambda c: c.good() + c.good()), NO_JSON),
    ("HTML", body(b"<html><body>Please log in</body></html>"), NO_JSON),
    ("a NUL behind it", body(lambda c: c.good() + b"\0"), NO_JSON),
    # names
    ("NUL in a key", data(rb'{"k\u0000":""}'), "NUL"),
    ("NUL in a value", data(rb'{"k":"YQ==\u0000"}'), r"data\.k: illegal base64"),
    ("NUL in the name", body(lambda c: json.dumps(changed(c, name=c.key[1] + "\0x")).encode()), "NUL"),
    ("NUL in the uid", altered(uid="a\0b"), "NUL"),
    ("the key ..", data(b'{"..":""}'), r"data\[\.\.\]"),
    ("the key .", data(b'{".":""}'), r"data\[\.\]"),
    ("the key a/b", data(b'{"a/b":""}'), r"data\[a/b\]"),
    ("the key ../../../etc/passwd", data(b'{"../../../etc/passwd":""}'), r"data\[\.\./"),
    ("the empty key", data(b'{"":""}'), r"data\[\]"),
    ("a key of 64 KiB", data(b'{"%s":""}' % (b"k" * 65536)), r"data\[k+\.\.\.\]: must be no more than 253 characters"),
    ("a key with control characters", data(b"{%s:\"\"}" % TEXT), r"data\["),
    ("another name", altered(name="other"), OTHER_NAME),
    ("another namespace", altered(namespace="kube-system"), "list of secrets: an object of another namespace"),
    ("a name with ..", altered(name="../other"), OTHER_NAME),
    ("no name", altered(name=None), OTHER_NAME),
    ("a name of 64 KiB", altered(name="n" * 65536), OTHER_NAME),
    # types
    ("data that is a number", data(b"7"), "data: expected an object"),
    ("data that is a string", data(b'"YQ=="'), "data: expected an object"),
    ("data that is an array", data(b'["YQ=="]'), "data: expected an object"),
    ("a value that is a number", data(b'{"k":7}'), r"data\.k: must be a string"),
    ("a value that is an object", data(b'{"k":{"a":"YQ=="}}'), r"data\.k: must be a string"),
    ("a value that is an array", data(b'{"k":["YQ=="]}'), r"data\.k: must be a string"),
    ("a value that is no base64", data(b'{"k":"%%%"}'), r"data\.k: illegal base64"),
    ("a value that is URL base64", data(b'{"k":"-_-_"}'), r"data\.k: illegal base64"),
    ("labels that are numbers", listed(b"", b',"labels":{"a":7}'), r"metadata\.labels"),
    ("immutable that is a string", listed(b',"immutable":"yes"'), "immutable: expected a boolean"),
    ("a type that is an object", listed(b',"type":{}'), "type: expected a string"),
    ("metadata that is an array", body(items(b'{"metadata":[]}')), "list of secrets: an object of another namespace"),
    ("items that are an object", altered(items={}), "items must be an array"),
    ("items that are a string", altered(items="x"), "items must be an array"),
    ("items of numbers", altered(items=[1, None, "x", [], True]), "list of secrets: something that is no object"),
    ("another kind", altered(kind="PodList"), "kind is not SecretList"),
    ("another apiVersion", altered(apiVersion="v2"), "apiVersion is not v1"),
    ("a kind that is a number", altered(kind=7), "kind"),
    # versions
    ("no resourceVersion", altered(resourceVersion=None), "resourceVersion"),
    ("an empty resourceVersion", altered(resourceVersion=""), "resourceVersion"),
    ("a resourceVersion that is a number", altered(resourceVersion=7), "resourceVersion"),
    ("a resourceVersion of 64 KiB", altered(resourceVersion="9" * 65536), "resourceVersion"),
    ("a continue token of 64 KiB", altered(**{"continue": "c" * 65536}), "continue token"),
    # failures
    ("403 without an end", endless(b" " * 65536, code=403), "403 Forbidden"),
    ("401 without an end", endless(b" " * 65536, code=401), "401 Unauthorized"),
    ("500 with 1 MiB of nothing", body(b" " * MIB, 500), "500 Internal"),
    ("a Status with control characters", body(server.status(500, ESCAPES, ESCAPES), 500), "FAKE"),
    ("a Status of wrong types", body({"kind": "Status", "code": "x", "reason": [], "message": 7, "details": 9}, 500), "500"),
    ("a Status of 60 KiB", body(server.status(500, "x" * 10000, "y" * 50000), 500), "yyyy"),
    ("429 with Retry-After: 1000000000", body(b"", 429, b"Retry-After: 1000000000\r\n"), "429"),
    ("429 with Retry-After: -5", body(b"", 429, b"Retry-After: -5\r\n"), "429"),
    ("429 with Retry-After: soon", body(b"", 429, b"Retry-After: soon \xff\r\n"), "429"),
    ("503 with retryAfterSeconds: 10^18", body({"kind": "Status", "code": 503, "message": "away",
                                                "details": {"retryAfterSeconds": 10**18}}, 503), "away"),
    ("302 to another host", body(b"", 302, b"Location: http://localhost:%PORT%/stolen\r\n"), "302"),
    ("302 to a file", body(b"", 302, b"Location: file:///etc/shadow\r\n"), "302"),
    ("302 to itself", lambda c: c.body(b"", 302, b"Location: /api/v1/namespaces/default/secrets\r\n"), "302"),
    ("204", raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "204"),
    ("status 999", raw(b"HTTP/1.1 999 Never\r\nContent-Length: 0\r\n\r\n"), "."),
    # HTTP
    ("a header of 2 MB", raw(b"HTTP/1.1 200 OK\r\nX: %s\r\nContent-Length: 0\r\n\r\n" % (b"x" * 2_000_000)), "."),
    ("a header without an end", raw_endless(b"x" * 65536, b"HTTP/1.1 200 OK\r\nX: "), "."),
    ("headers without an end", raw_endless(b"X: y\r\n" * 8192), "."),
    ("10,000 headers", raw(b"HTTP/1.1 200 OK\r\n" + b"X-Header: something\r\n" * 10000 + b"\r\n"), "."),
    ("interim answers without an end", raw_endless(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1024, b""), "."),
    ("a status line without an end", raw_endless(b"2" * 65536, b"HTTP/1.1 2"), "."),
    ("trailers without an end", lambda c: raw_endless(b"X: y\r\n" * 8192, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                                                     b"\r\n2\r\n{}\r\n0\r\n")(c), "."),
    ("HTTP/0.9", raw(b'{"kind":"SecretList"}\r\n\r\n'), "."),
    ("HTTP/7.3", raw(b"HTTP/7.3 200 OK\r\nContent-Length: 2\r\n\r\n{}"), "."),
    ("a chunk of 2^64 - 1 bytes", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}"), "."),
    ("a chunk of a length that is none", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n{}\r\n"), "."),
    ("a chunk's extension without an end", raw_endless(b"x" * 65536, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;"), None, 16, True),
    ("64 MiB in 64 KiB of gzip, as content", body(BOMB, 200, b"Content-Encoding: gzip\r\n"), NO_JSON),
    ("64 MiB in 64 KiB of gzip, as transfer", lambda c: (c.head(200, b"Transfer-Encoding: gzip, chunked\r\n"), c.chunk(BOMB),
                                                         c.raw(b"0\r\n\r\n")), "."),
    ("a Content-Encoding of fifty layers", body(b"{}", 200, b"Content-Encoding: " + b"gzip, " * 50 + b"br\r\n"), "."),
    *((f"{int(share * 100)} % of the answer", cut(share), ".") for share in (0, 0.1, 0.3, 0.6, 0.9)),
]

FRAMES = [
    ("a message without an end", frames(b"x" * 65536), FRAME_LARGE),
    ("a good message without an end", frames(b'{"a":0},' * 8192, b'{"type":"MODIFIED","object":{"x":['), FRAME_LARGE),
    ("spaces without an end", frames(b" " * 65536), FRAME_LARGE),
    ("empty lines without an end", frames(b"\n" * 65536), "."),
    ("a message of 10 million keys", frame_of(lambda c: b'{"type":"MODIFIED","object":' + obj(c, b',"data":{')[:-1], KEYS, b'"z":""}}}'),
     FRAME_LARGE),
    ("a message of 300,000 keys", frame_of(lambda c: b'{"type":"MODIFIED","object":' + obj(c, b',"data":{')[:-1], KEYS_FEW, b'"z":""}}}'),
     "more than 65536 keys", 192),
    ("a message of 1 MiB and 1 byte", event(b"MODIFIED", b',"data":{"k":"%s"}' % BIG), "Too long"),
    ("100,000 arrays in each other", frame(b"[" * 100_000 + b"\n"), FRAME_NO_JSON),
    ("the same key twice", event(b"MODIFIED", b',"data":{"k":"YQ==","k":"Yg=="}'), "duplicate"),
    ("bytes that are no UTF-8", event(b"MODIFIED", b',"data":{"k":"\xff"}'), FRAME_NO_JSON),
    ("two messages in one line", frame(b'{"type":"MODIFIED","object":{}}{"type":"MODIFIED","object":{}}\n'), FRAME_NO_JSON),
    ("an array", frame([]), "neither event nor object"),
    ("a number", frame(7), "."),
    ("an object that is none", frame({"type": "MODIFIED", "object": 7}), "neither event nor object"),
    ("an ERROR that is empty", frame({"type": "ERROR", "object": {}}), "."),
    ("an ERROR of wrong types", frame({"type": "ERROR", "object": {"code": [], "reason": 7, "message": {}}}), "."),
    ("an ERROR with control characters", frame({"type": "ERROR", "object": server.status(500, "x", ESCAPES)}), "FAKE"),
    ("an unknown type", event(b"RENAMED"), None),
    ("another kind", frame({"type": "DELETED", "object": {"apiVersion": "v1", "kind": "Pod", "metadata": {}}}), None),
    ("another name", frame({"type": "DELETED", "object": server.secret("other", "x")}), None),
    ("a BOOKMARK without version", frame({"type": "BOOKMARK", "object": {"apiVersion": "v1", "kind": "Secret"}}), None),
    ("a key with control characters", event(b"MODIFIED", b",\"data\":{%s:\"\"}" % TEXT), r"data\["),
    ("the key ..", event(b"MODIFIED", b',"data":{"..":""}'), r"data\[\.\.\]"),
    ("NUL in a key", event(b"MODIFIED", rb',"data":{"k\u0000":""}'), "NUL"),
    ("data that is a number", event(b"MODIFIED", b',"data":7'), "data: expected an object"),
    ("a resourceVersion of 64 KiB", lambda c: frame({"type": "MODIFIED", "object": {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "default", "name": c.key[1],
                                                            "resourceVersion": "9" * 65536}}})(c), None),
    ("half a message, and the end", lambda c: (c.chunk(b'{"type":"MODI'), c.raw(b"0\r\n\r\n")), "in the middle of a message"),
    ("half a message, and no more", lambda c: (c.chunk(b'{"type":"MODI'), c.hold()), None),
]

WATCHES = [
    ("headers without an end", raw_endless(b"X: y\r\n" * 8192), "."),
    ("interim answers without an end", raw_endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 1024, b""), "."),
    ("401 without an end", endless(b" " * 65536, code=401), "401 Unauthorized"),
    ("500 without an end", endless(b" " * 65536, code=500), "500 Internal"),
    ("302 to another host", body(b"", 302, b"Location: http://localhost:%PORT%/stolen\r\n"), "302"),
    ("HTTP/0.9", raw(b"{}\r\n\r\n"), "."),
    ("64 MiB in 64 KiB of gzip, as transfer", lambda c: (c.head(200, b"Transfer-Encoding: gzip, chunked\r\n"), c.chunk(BOMB),
                                                         c.hold()), "."),
    ("429 with Retry-After: -1", body(b"", 429, b"Retry-After: -1\r\n"), "429"),
    ("nothing at all", silent(b""), None),
]

GETS = [
    ("spaces without an end", endless(b" " * 65536), TOO_LARGE),
    ("a good beginning and no end", endless(b'"a",' * 16384, b'{"x":['), TOO_LARGE),
    ("401 without an end", endless(b" " * 65536, code=401), "401 Unauthorized"),
    ("404 without an end", endless(b" " * 65536, code=404), "404 Not Found"),
    ("404 in HTML", body(b"<html>", 404), "404 Not Found"),
    ("100,000 arrays in each other", body(b"[" * 100_000), r"line \d+"),
    ("the same key twice", body(lambda c: obj(c, b',"data":{"k":"YQ==","k":"Yg=="}')), "duplicate"),
    ("NUL in the name", body(lambda c: b'{"apiVersion":"v1","kind":"Secret","metadata":{"namespace":"default","resourceVersion":'
                             b'"%%RV%%","name":"%s\\u0000x"}}' % c.key[1].encode()), "NUL"),
    ("another name", body(server.secret("other", "x")), "has another name"),
    ("another namespace", body(lambda c: obj(c).replace(b'"default"', b'"kube-system"')), "another namespace"),
    ("another kind", body(lambda c: obj(c).replace(b'"Secret"', b'"ConfigMap"')), "kind is not Secret"),
    ("a list", body(items()), "kind is not Secret"),
    ("no resourceVersion", body(lambda c: obj(c).replace(b'"resourceVersion"', b'"x"')), "resourceVersion"),
    ("a key with control characters", body(lambda c: obj(c, b",\"data\":{%s:\"\"}" % TEXT)), r"data\["),
    ("10 million keys", pieces_of(lambda c: obj(c, b',"data":{')[:-1], KEYS, b'"z":""}}'), TOO_LARGE),
    ("429 with Retry-After: -5", body(b"", 429, b"Retry-After: -5\r\n"), "429"),
    ("nothing at all", silent(b""), None),
]


# ---- ConfigMaps: what they have and Secrets do not, and the fields by which they come

def config_map(c, rest=b""):
    return b'{"apiVersion":"v1","kind":"ConfigMap",%s%s}' % (meta(c), rest)


def config_maps(*texts):
    return items(*texts).replace(b"SecretList", b"ConfigMapList")


def mapped(rest):
    """A list of the ConfigMap that was asked for, with this in it."""
    return body(lambda c: config_maps(config_map(c, rest)))


def map_event(rest):
    return lambda c: frame(b'{"type":"MODIFIED","object":%s}\n' % config_map(c, rest))(c)


MAP_KEYS_FEW = many(40_000, lambda i: b'"k%06d":"",' % i)
HALF = b"x" * (MIB // 2)
IN_BOTH = b',"data":{"k":"a"},"binaryData":{"k":"YQ=="}'
MAP_NO_JSON = r"the server's list of configmaps: line \d+ column \d+"

MAP_LISTS = [
    ("spaces without an end", endless(b" " * 65536), TOO_LARGE),
    ("a key in data and in binaryData", mapped(IN_BOTH), r"binaryData\.k: is there twice"),
    ("the same key twice in binaryData", mapped(b',"binaryData":{"k":"YQ==","k":"Yg=="}'), "duplicate"),
    ("binaryData that is no base64", mapped(b',"binaryData":{"k":"%%%"}'), r"binaryData\.k: illegal base64"),
    ("binaryData that is text", mapped(b',"binaryData":{"k":"a b"}'), r"binaryData\.k: illegal base64"),
    ("NUL in a key of data", mapped(rb',"data":{"k\u0000":""}'), "NUL"),
    ("NUL in a key of binaryData", mapped(rb',"binaryData":{"k\u0000":""}'), "NUL"),
    ("NUL in the name", body(lambda c: config_maps(config_map(c)).replace(b'","uid"', rb'\u0000x","uid"')), "NUL"),
    ("the key .. in data", mapped(b',"data":{"..":""}'), r"data\[\.\.\]"),
    ("the key .. in binaryData", mapped(b',"binaryData":{"..":""}'), r"binaryData\[\.\.\]"),
    ("the key ../../../etc/passwd in binaryData", mapped(b',"binaryData":{"../../../etc/passwd":""}'), r"binaryData\[\.\./"),
    ("a key with control characters in binaryData", mapped(b",\"binaryData\":{%s:\"\"}" % TEXT), r"binaryData\["),
    ("data that is an array", mapped(b',"data":["a"]'), "data: expected an object"),
    ("binaryData that is a string", mapped(b',"binaryData":"YQ=="'), "binaryData: expected an object"),
    ("a value that is a number", mapped(b',"data":{"k":7}'), r"data\.k: must be a string"),
    ("a value of binaryData that is an object", mapped(b',"binaryData":{"k":{}}'), r"binaryData\.k: must be a string"),
    ("bytes that are no UTF-8", mapped(b',"data":{"k":"\xff\xfe"}'), MAP_NO_JSON),
    ("immutable that is a string", mapped(b',"immutable":"yes"'), "immutable: expected a boolean"),
    ("immutable that is a number", mapped(b',"immutable":1'), "immutable: expected a boolean"),
    ("1 MiB and 1 byte, a half in each field", mapped(b',"data":{"k":"%s"},"binaryData":{"l":"%s"}' %
                                                     (HALF, base64.b64encode(HALF + b"x"))), "Too long: may not be more than 1048576 bytes"),
    ("10 million keys", pieces_of(lambda c: config_maps(config_map(c, b',"data":{'))[:-3], KEYS, b'"z":""}}]}'), TOO_LARGE),
    ("80,000 keys, a half in each field", body(lambda c: config_maps(config_map(c, b',"data":{%s"z":""},"binaryData":{%s"y":""}' % (
        b"".join(MAP_KEYS_FEW()), b"".join(MAP_KEYS_FEW()).replace(b"k", b"l"))))), "more than 65536 keys", 96),
    ("a list of Secrets", body(items()), "kind is not ConfigMapList"),
    ("another name", body(config_maps(json.dumps(server.config_map("other", "x")).encode())), "list of configmaps: an object with another name"),
    ("401 without an end", endless(b" " * 65536, code=401), "401 Unauthorized"),
]
MAP_FRAMES = [
    ("a message without an end", frames(b"x" * 65536), FRAME_LARGE),
    ("a key in data and in binaryData", map_event(IN_BOTH), r"binaryData\.k: is there twice"),
    ("binaryData that is no base64", map_event(b',"binaryData":{"k":"%%%"}'), r"binaryData\.k: illegal base64"),
    ("the key .. in binaryData", map_event(b',"binaryData":{"..":""}'), r"binaryData\[\.\.\]"),
    ("a Secret of its name", lambda c: frame(b'{"type":"DELETED","object":%s}\n' % obj(c))(c), None),
]
MAP_GETS = [
    ("spaces without an end", endless(b" " * 65536), TOO_LARGE),
    ("a key in data and in binaryData", body(lambda c: config_map(c, IN_BOTH)), r"binaryData\.k: is there twice"),
    ("binaryData that is no base64", body(lambda c: config_map(c, b',"binaryData":{"k":"%%%"}')), r"binaryData\.k: illegal base64"),
    ("immutable that is a string", body(lambda c: config_map(c, b',"immutable":"yes"')), "immutable: expected a boolean"),
    ("a Secret of its name", body(lambda c: obj(c)), "kind is not ConfigMap"),
    ("404 of a Secret", body(server.status(404, "NotFound", "no such Secret", kind="secrets", name="x"), 404), "no such Secret"),
]


# ---- pods: a daemon each, for it has one list of them

def pod_list(*pods):
    return (b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"%RV%"},"items":[' +
            b",".join(p if isinstance(p, bytes) else json.dumps(p).encode() for p in pods))


def and_pods(pieces):
    """The good pods, and these behind them."""
    return pieces_of(lambda c: c.good()[:-2] + b",", pieces, b"{}]}")


def pod_text(c, name, volumes=b"", mounts=b"", more_meta=b""):
    return (b'{"apiVersion":"v1","kind":"Pod","metadata":{"namespace":"default","name":"%s","uid":"u-%s","resourceVersion":"%%RV%%"%s},'
            b'"spec":{"nodeName":"%s","volumes":[%s],"containers":[{"name":"c","volumeMounts":[%s]}]}}' %
            (name, name, more_meta, c.key[1].encode(), volumes, mounts))


def strange_pods(c):
    """The good list, and what cannot be."""
    answer = json.loads(c.good())
    for i, change in enumerate(STRANGE):
        odd = server.pod(f"odd{i}", c.key[1], "other")
        change(odd, odd["spec"]["volumes"][0])
        answer["items"].append(odd)
    c.body(answer)


STRANGE = [
    lambda pod, volume: pod["metadata"].update(name=".."),
    lambda pod, volume: pod["metadata"].update(name="a/b"),
    lambda pod, volume: pod["metadata"].update(name=ESCAPES, namespace=ESCAPES),
    lambda pod, volume: pod["metadata"].update(uid="../../etc"),
    lambda pod, volume: pod["metadata"].update(uid=ESCAPES),
    lambda pod, volume: pod["metadata"].update(uid=7),
    lambda pod, volume: volume.update(name=".."),
    lambda pod, volume: volume.update(name=ESCAPES),
    lambda pod, volume: volume["secret"].update(secretName="../../other"),
    lambda pod, volume: volume["secret"].update(items=[{"key": "k", "path": "../../etc/passwd"}]),
    lambda pod, volume: volume["secret"].update(items=7),
    lambda pod, volume: pod.update(spec=7),
]


def taken_by_nonsense(c):
    """The pod itself, said to be gone or another by objects that cannot be."""
    name = next(iter(c.server.objects[c.key].values()))["metadata"]["name"]
    for event, changes in (("MODIFIED", {"uid": "../.."}), ("MODIFIED", {"uid": ""}), ("MODIFIED", {"uid": "a\0b"}),
                           ("DELETED", {"namespace": "default\0x"}), ("DELETED", {"name": name + "\0x"})):
        for pod in list(c.server.objects[c.key].values()):
            odd = {**pod, "metadata": {**pod["metadata"], **changes}}
            c.chunk(json.dumps({"type": event, "object": odd}).encode() + b"\n")
    c.hold()


def huge_pod(n_volumes, n_mounts, n_containers=1):
    """One more pod, of so many volumes, all of one Secret that is there, and mounts."""
    def run(c):
        volumes = b",".join(b'{"name":"v%d","secret":{"secretName":"other-%s"}}' % (i, c.key[1].encode()) for i in range(n_volumes))
        mounts = b",".join(b'{"name":"v%d","mountPath":"/m/%d"}' % (i % n_volumes, i) for i in range(n_mounts))
        text = pod_text(c, b"huge", volumes, mounts)
        for i in range(1, n_containers):
            text = text[:-3] + b',{"name":"c%d","volumeMounts":[%s]}]}}' % (i, mounts)
        c.body(c.good()[:-2] + b"," + text + b"]}")
    return run


def pod_of_large_volumes(n_volumes, n_keys):
    """One more pod, all of whose volumes are of one Secret of so many keys."""
    def run(c):
        name = f"large-{c.key[1]}"
        if ("secret", name) not in c.server.objects:
            c.server.put_secret(name, "", data={f"k{i}": "" for i in range(n_keys)})
        volumes = b",".join(b'{"name":"v%d","secret":{"secretName":"%s"}}' % (i, name.encode()) for i in range(n_volumes))
        mounts = b",".join(b'{"name":"v%d","mountPath":"/m/%d"}' % (i, i) for i in range(n_volumes))
        c.body(c.good()[:-2] + b"," + pod_text(c, b"huge", volumes, mounts) + b"]}")
    return run


def deep_pod(n_items, n_levels):
    """One more pod, whose volume has items that are in so many folders each, none of which two have in common."""
    def run(c):
        items = b",".join(b'{"key":"k","path":"%d%s"}' % (i, b"/a" * n_levels) for i in range(n_items))
        volume = b'{"name":"v","secret":{"secretName":"other-%s","items":[%s]}}' % (c.key[1].encode(), items)
        c.body(c.good()[:-2] + b"," + pod_text(c, b"deep", volume, b'{"name":"v","mountPath":"/v"}') + b"]}")
    return run


def telling_pod(n_volumes, fields, more_meta):
    """One more pod, each of whose volumes shows these fields of it."""
    def run(c):
        items = b",".join(b'{"path":"f%d","fieldRef":{"fieldPath":"%s"}}' % (i, field) for i, field in enumerate(fields))
        volumes = b",".join(b'{"name":"v%d","downwardAPI":{"items":[%s]}}' % (i, items) for i in range(n_volumes))
        mounts = b",".join(b'{"name":"v%d","mountPath":"/m/%d"}' % (i, i) for i in range(n_volumes))
        c.body(c.good()[:-2] + b"," + pod_text(c, b"telling", volumes, mounts, more_meta) + b"]}")
    return run


def pod_of(n_sources, source):
    """One more pod, of projected volumes with so many sources together, each of an object of its own."""
    def run(c):
        parts = [b",".join(source % i for i in range(at, min(at + 1000, n_sources))) for at in range(0, n_sources, 1000)]
        volumes = b",".join(b'{"name":"v%d","projected":{"sources":[%s]}}' % (i, part) for i, part in enumerate(parts))
        mounts = b",".join(b'{"name":"v%d","mountPath":"/m/%d"}' % (i, i) for i in range(len(parts)))
        c.body(c.good()[:-2] + b"," + pod_text(c, b"names", volumes, mounts) + b"]}")
    return run


PODS = [
    ("spaces without an end", "list", endless(b" " * 65536), TOO_LARGE, 80),
    ("401 without an end", "list", endless(b" " * 65536, code=401), "401 Unauthorized", 16),
    ("100,000 pods of other nodes", "list", and_pods(many(100_000, lambda i: b'{"metadata":{"namespace":"n","name":"p%d"},"spec":{"nodeName":"x"}},' % i)),
     None, 304),
    ("30,000 pods that make no sense", "list", lambda c: and_pods(many(30_000, lambda i: b'{"metadata":{"namespace":"n","name":"p%d"},"spec":{"nodeName":"%s"}},' %
                                                                 (i, c.key[1].encode())))(c), None, 304),
    ("100,000 arrays in each other", "list", body(b"[" * 100_000), r"line \d+", 16),
    ("10 million empty arrays", "list", body(b"[" + b"[]," * 10_000_000 + b"[]]"), "takes more than 256 MiB", 336),
    ("10 million empty arrays behind what nobody reads", "list", body(b'{"managedFields":[],"a":[' + b"[]," * 10_000_000 + b"[]]}"),
     "takes more than 256 MiB", 336),
    ("a continue token for ever", "list", lambda c: c.body({**json.loads(c.good()), "metadata": {"resourceVersion": "%RV%", "continue": "x"}}),
     "it does not end", 16),
    ("nothing at all", "list", silent(b""), None, 16),
    ("a list of Secrets", "list", body(items()), "kind is not PodList", 16),
    ("a pod of 10,000 volumes and 10,000 mounts", "list", huge_pod(10_000, 10_000), None, 64),
    ("a pod of 200 volumes and 100,000 mounts", "list", huge_pod(200, 1000, 100), None, 96),
    ("a pod of 1000 volumes of a Secret of 1000 keys", "list", pod_of_large_volumes(1000, 1000), None, 160, 8),
    ("a pod of 390 files in 2000 folders each", "list", deep_pod(390, 2000), None, 16),
    ("a pod of 10,000 files in 60 folders each", "list", deep_pod(10_000, 60), None, 16),
    ("a pod whose 1000 volumes show its 256 KiB of annotations", "list",
     telling_pod(1000, [b"metadata.annotations"], b',"annotations":{"k":"%s"}' % (b"\x7f" * (256 << 10))), None, 32),
    ("a pod of 57,000 Secrets that are not there", "list", pod_of(57_000, b'{"secret":{"name":"ab%d","optional":true}}'), None, 64),
    ("a pod of 19,000 tokens", "list", pod_of(19_000, b'{"serviceAccountToken":{"path":"t","audience":"a%d"}}'), None, 64),
    ("pods with names, uids, volumes and paths that cannot be", "list", strange_pods, None, 16),
    ("a message without an end", "frame", frames(b"x" * 65536), FRAME_LARGE, 16),
    ("the pod is gone, says what cannot be", "frame", taken_by_nonsense, None, 16),
    ("headers without an end", "watch", raw_endless(b"X: y\r\n" * 8192), ".", 16),
]
