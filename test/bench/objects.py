#!/usr/bin/env python3
"""Makes many Secrets and pods at an API server, over one connection, and removes them.

    objects.py make|remove --server URL --namespace NS --secrets N --pods N --volumes N [--ca FILE --cert FILE --key FILE]

Secrets are s0, s1, ..., each with the key "key" (--value TEXT); pods are p0, p1, ..., each with --volumes volumes v0, v1, ...,
which are mounted at /v0, /v1, ....  The volumes of all pods show the Secrets one after the other, from the first again when
they are at the end."""
import argparse
import base64
import http.client
import json
import ssl
import sys
import urllib.parse


class Server:
    def __init__(self, args):
        url = urllib.parse.urlsplit(args.server)
        self.path = f"/api/v1/namespaces/{args.namespace}"
        if url.scheme == "https":
            context = ssl.create_default_context(cafile=args.ca)
            context.load_cert_chain(args.cert, args.key)
            self.connection = http.client.HTTPSConnection(url.hostname, url.port, context=context)
        else:
            self.connection = http.client.HTTPConnection(url.hostname, url.port)

    def ask(self, method, path, body=None, fine=()):
        self.connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300 and answer.status not in fine:
            sys.exit(f"objects.py: {method} {path}: {answer.status} {text[:300].decode(errors='replace')}")


def secret(name, value):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "data": {"key": base64.b64encode(value.encode()).decode()}}


def pod(name, names):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {"nodeName": "node-1", "restartPolicy": "Never",
                     "volumes": [{"name": f"v{i}", "secret": {"secretName": n}} for i, n in enumerate(names)],
                     "containers": [{"name": "main", "image": "none", "volumeMounts": [
                         {"name": f"v{i}", "mountPath": f"/v{i}"} for i in range(len(names))]}]}}


def make(server, args):
    # 404: a test server has all namespaces
    server.ask("POST", "/api/v1/namespaces",
               {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": args.namespace}}, fine=(404, 409))
    for i in range(args.secrets):
        server.ask("POST", server.path + "/secrets", secret(f"s{i}", args.value))
    for p in range(args.pods):
        names = [f"s{(p * args.volumes + v) % args.secrets}" for v in range(args.volumes)]
        server.ask("POST", server.path + "/pods", pod(f"p{p}", names))


def remove(server, args):
    for p in range(args.pods):
        server.ask("DELETE", f"{server.path}/pods/p{p}?gracePeriodSeconds=0")
    for i in range(args.secrets):
        server.ask("DELETE", f"{server.path}/secrets/s{i}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("what", choices=("make", "remove"))
    parser.add_argument("--server", required=True)
    parser.add_argument("--namespace", required=True)
    for option in ("secrets", "pods", "volumes"):
        parser.add_argument(f"--{option}", type=int, required=True)
    parser.add_argument("--value", default="")
    for option in ("ca", "cert", "key"):
        parser.add_argument(f"--{option}")
    args = parser.parse_args()
    (make if args.what == "make" else remove)(Server(args), args)


if __name__ == "__main__":
    main()
