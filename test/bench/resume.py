#!/usr/bin/env python3
"""From kill -9 to the first answered read of what is not cached, by the number of volumes.

    resume.py --build DIR --dir DIR --volumes N[,N...] --kills N

Kills the agent, and then the keeper (which takes the agent with it), below a service manager that keeps its fds and starts
it at once (test/lib/manager.py; systemd waits for RestartSec before that). The clock runs from before the kill; the read
begins when all that was to die is dead, so that no dying process answers it. Prints a JSON object for each number of volumes
and what was killed."""
import argparse
import json
import os
import pathlib
import re
import select
import signal
import statistics
import subprocess
import sys
import time

BEGAN = time.monotonic()
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "chaos"))
import chaos  # noqa: E402


class Daemon(chaos.Daemon):
    def start(self):
        # the default: with thousands of manifests an agent on a busy machine reads for longer than those of the chaos
        # tests may
        config = self.dir / "config.yaml"
        config.write_text(re.sub("^agentHangTimeout:.*\n", "", config.read_text(), flags=re.MULTILINE))
        self.pid_file = self.dir / "keeper.pid"
        self.process = subprocess.Popen(
            [sys.executable, HERE.parent / "lib" / "manager.py", self.pid_file, self.secretlet, "run", "--config",
             self.dir / "config.yaml"],
            stderr=open(self.log, "ab"), stdin=subprocess.DEVNULL, preexec_fn=chaos.die_with_parent)
        self.wait("the daemon to start", lambda: self.status() is not None)

    def keeper(self):
        return int(self.pid_file.read_text())

    def children(self):
        return self.children_of(self.keeper())

    def stop(self):
        """The mount stays, as for a restart by the service manager; no store is left that would keep it."""
        self.process.terminate()
        if self.process.wait(60) != 0:
            raise RuntimeError(f"the daemon has ended with {self.process.returncode}")
        subprocess.run(["umount", "-l", self.pods], check=True)

    def kill(self):
        """All of it, when something has gone wrong."""
        os.kill(self.keeper(), signal.SIGKILL)
        self.process.kill()
        subprocess.run(["umount", "-l", self.pods], check=False)


def kill(victim, others):
    """Returns when it and the others, which die with it, have ended."""
    fds = [os.pidfd_open(pid) for pid in (victim, *others)]
    begun = time.monotonic_ns()
    os.kill(victim, signal.SIGKILL)
    for fd in fds:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        if not poll.poll(20000):
            sys.exit("resume: what was to die lives on")
    for fd in fds:
        os.close(fd)
    return begun


def measure(args, n_volumes):
    print(f"  {time.monotonic() - BEGAN:4.0f} s  volumes: {n_volumes:,}; kills of the agent and of the keeper: {args.kills} each",
          file=sys.stderr, flush=True)
    daemon = Daemon(args.build, args.dir / f"volumes-{n_volumes}")
    try:
        measure_kills(args, n_volumes, daemon)
    except BaseException:
        daemon.kill()
        raise


def measure_kills(args, n_volumes, daemon):
    is_ready = chaos.start_with(daemon, n_volumes)
    probe = chaos.Probe(daemon.volume("p0", "v0") / "key-0")
    for what in ("agent", "keeper"):
        nsec = []
        for _ in range(args.kills):
            # no sooner, or what has just been started would be taken for one that dies at its start
            time.sleep(chaos.STEADY_SEC)
            daemon.wait("the volumes", is_ready, pause=0.1)
            agent = daemon.child("agent")
            begun = kill(agent, []) if what == "agent" else kill(daemon.keeper(), [agent])
            probe.read()
            nsec.append(time.monotonic_ns() - begun)
        nsec.sort()
        print(json.dumps({"bench": "resume", "case": what, "volumes": n_volumes, "median_ns": int(statistics.median(nsec)),
                          "max_ns": nsec[-1], "n": len(nsec), "samples_ns": nsec}), flush=True)
    os.close(probe.fd)
    daemon.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--dir", type=pathlib.Path, required=True)
    parser.add_argument("--volumes", type=lambda s: [int(n) for n in s.split(",")], required=True)
    parser.add_argument("--kills", type=int, required=True)
    args = parser.parse_args()
    for n in args.volumes:
        measure(args, n)


if __name__ == "__main__":
    main()
