#!/usr/bin/env python3
"""A name server on ADDRESS, port 53, that knows one name: NAME is 127.0.0.1. It says "ready" on stdout.

    dns.py ADDRESS NAME
"""
import socket
import struct
import sys

A, IN, NO_SUCH_NAME = 1, 1, 3


def answer(query, name):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[12:at + 5]
    kind, = struct.unpack_from("!H", query, at + 1)
    known = ".".join(labels).lower() == name
    record = struct.pack("!HHHIH4s", 0xc00c, A, IN, 1, 4, socket.inet_aton("127.0.0.1")) if known and kind == A else b""
    flags = 0x8580 | (0 if known else NO_SUCH_NAME)
    return struct.pack("!HHHHHH", struct.unpack_from("!H", query)[0], flags, 1, bool(record), 0, 0) + question + record


def main():
    address, name = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((address, 53))
        print("ready", flush=True)
        while True:
            query, client = server.recvfrom(4096)
            server.sendto(answer(query, name), client)


main()
