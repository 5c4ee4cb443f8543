#!/usr/bin/env python3
"""A service manager's part, as small as it can be: starts a service, keeps the fds that it is given (sd_notify(3), FDSTORE),
and starts it again with them when it dies of a signal.

    manager.py PIDFILE COMMAND...

SIGTERM is handed on; the exit status is the service's."""
import array
import os
import select
import signal
import socket
import sys

def store_message(notify, store):
    text, control, _, _ = notify.recvmsg(4096, socket.CMSG_SPACE(64 * 4))
    fds = array.array("i")
    for level, kind, data in control:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
    fields = dict(line.partition("=")[::2] for line in text.decode().splitlines())
    name = fields.get("FDNAME", "stored")
    if "FDSTORE" in fields:
        store += [(name, fd) for fd in fds]
        return
    for fd in fds:
        os.close(fd)
    if "FDSTOREREMOVE" in fields:
        for entry in [entry for entry in store if entry[0] == name]:
            os.close(entry[1])
            store.remove(entry)


def start(command, address, store):
    pid = os.fork()
    if pid:
        return pid
    # out of the way of the numbers that the service is to find
    high = [os.dup2(fd, 200 + i) for i, (_, fd) in enumerate(store)]
    for i, fd in enumerate(high):
        os.dup2(fd, 3 + i)
        os.close(fd)
    os.closerange(3 + len(store), 200)
    env = dict(os.environ, NOTIFY_SOCKET=address)
    if store:
        env |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(store)),
                "LISTEN_FDNAMES": ":".join(name for name, _ in store)}
    os.execvpe(command[0], command, env)


def main():
    pidfile, *command = sys.argv[1:]
    address = pidfile + ".notify"
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(address)
    store = []
    stopping = False
    pid = 0

    def stop(signum, frame):
        nonlocal stopping
        stopping = True
        os.kill(pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, stop)
    while True:
        pid = start(command, address, store)
        with open(pidfile + ".new", "w", encoding="ascii") as f:
            f.write(str(pid))
        os.rename(pidfile + ".new", pidfile)
        end = os.pidfd_open(pid)
        while end not in select.select([notify, end], [], [])[0]:
            store_message(notify, store)
        while select.select([notify], [], [], 0)[0]:
            store_message(notify, store)
        os.close(end)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if stopping or status >= 0:
            sys.exit(status if status >= 0 else 1)


if __name__ == "__main__":
    main()
