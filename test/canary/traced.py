"""Runs a command and looks at each of its processes just before that ends."""
import ctypes
import errno
import os
import signal
import threading
import time

LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_TRACEME, PTRACE_CONT, PTRACE_SETOPTIONS = 0, 7, 0x4200
PTRACE_O_TRACEFORK, PTRACE_O_TRACEVFORK, PTRACE_O_TRACECLONE = 0x2, 0x4, 0x8
PTRACE_O_TRACEEXIT, PTRACE_O_EXITKILL, PTRACE_EVENT_EXIT = 0x40, 0x100000, 6
OPTIONS = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL
WALL = 0x40000000
PATIENCE_SEC = 60
INTERRUPT_SEC = 30


def ptrace(request, pid, data=0):
    LIBC.ptrace.restype = ctypes.c_long
    if LIBC.ptrace(ctypes.c_long(request), ctypes.c_long(pid), ctypes.c_void_p(0), ctypes.c_void_p(data)) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def start(command, stdin, stdout, stderr):
    """In a group of its own, so that its processes can be waited for, and no other one of ours is."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        os.dup2(os.open(stdin, os.O_RDONLY), 0)
        for fd, path in ((1, stdout), (2, stderr)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600), fd)
        LIBC.ptrace(ctypes.c_long(PTRACE_TRACEME), 0, 0, 0)
        os.execv(command[0], list(map(str, command)))
    finally:
        os._exit(126)


class Interrupt(threading.Thread):
    """A SIGINT as soon as `when` is true."""

    def __init__(self, pid, when):
        super().__init__(daemon=True)
        self.process, self.when, self.sent, self.over = os.pidfd_open(pid), when, False, threading.Event()
        self.start()

    def run(self):
        end = time.monotonic() + INTERRUPT_SEC
        while not (happened := self.when()) and time.monotonic() < end and not self.over.wait(0.02):
            pass
        try:
            signal.pidfd_send_signal(self.process, signal.SIGINT)
            self.sent = happened
        except ProcessLookupError:
            pass

    def done(self):
        """Whether it was sent for that."""
        self.over.set()
        self.join()
        os.close(self.process)
        return self.sent


def go_on(pid, sig=0):
    try:
        ptrace(PTRACE_CONT, pid, sig)
    except OSError as e:
        if e.errno != errno.ESRCH:  # it was killed meanwhile
            raise


def next_event(group, patience_sec):
    """(process, status) as waitpid() has it; ChildProcessError: there is none any more; None: nothing happens."""
    end = time.monotonic() + patience_sec
    while True:
        process, status = os.waitpid(-group, WALL | os.WNOHANG)
        if process:
            return process, status
        if time.monotonic() > end:
            return None
        time.sleep(0.002)


def end_all(group, known):
    """Kills what is left of a group, and takes notice of it."""
    try:
        os.killpg(group, signal.SIGKILL)
        for process in known:  # that may have stopped
            go_on(process)
        while event := next_event(group, PATIENCE_SEC):
            if os.WIFSTOPPED(event[1]):
                go_on(event[0])
    except (ProcessLookupError, ChildProcessError):
        pass


def run_and_look(command, stdin, stdout, stderr, look, when=None, patience_sec=PATIENCE_SEC):
    """Runs it; look(pid) is called for it and for each process that it forks, when that has called exit() or is ended by a
    signal and its memory is still there. when: it is interrupted as soon as this is true. patience_sec: how long may pass
    without one of them starting, ending or being signalled. Returns the exit status. None of them is left if anything goes wrong."""
    pid = start(command, stdin, stdout, stderr)
    if not os.WIFSTOPPED(os.waitpid(pid, 0)[1]):
        raise RuntimeError(f"{' '.join(map(str, command))}: cannot be run")
    interrupt, known, result = None, {pid}, None
    try:
        ptrace(PTRACE_SETOPTIONS, pid, OPTIONS)
        interrupt = Interrupt(pid, when) if when else None
        go_on(pid)
        while True:
            try:
                event = next_event(pid, patience_sec)
            except ChildProcessError:
                break
            if not event:
                raise RuntimeError(f"{' '.join(map(str, command))}: hangs, and was killed")
            process, status = event
            if not os.WIFSTOPPED(status):
                if process == pid:
                    result = os.waitstatus_to_exitcode(status)
                continue
            sig = os.WSTOPSIG(status)
            if status >> 16 == PTRACE_EVENT_EXIT:
                look(process)
                sig = 0
            elif process not in known:  # a child's first stop
                known.add(process)
                sig = 0
            elif sig == signal.SIGTRAP:
                sig = 0
            go_on(process, sig)
    except BaseException:
        end_all(pid, known)
        if interrupt:
            interrupt.done()
        raise
    if interrupt and not interrupt.done():
        raise RuntimeError(f"{' '.join(map(str, command))}: ended, or never did what it was to be interrupted at")
    return result
