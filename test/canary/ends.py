"""The part of the canary test in which processes crash, are killed as a whole, and are told of containers to signal."""
import os
import pathlib
import re
import resource
import signal
import subprocess
import tempfile

import places
from world import SIZES, die_with_parent, eventually, letters, secret_volume


class Ends:
    """What Canary does with them."""

    def core_control(self):
        """What gives nothing up may leave a core, and it is found: else nobody sees that the daemon's processes may not"""
        name = "control: what gives nothing up may leave a core, which is found"
        if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
            self.tap.skip(name, "none may here, ulimit -Hc is 0: that the daemon allows none is not seen")
            return
        # in a folder where what crashes may write, and where processes are that have left theirs
        self.core_is_found(tempfile.mkdtemp(prefix="crash.", dir=self.api.dir), f"{name}, in its folder")
        name += ", in /"
        if there := sorted(pathlib.Path("/").glob("core*")):
            self.tap.skip(name, f"{there[0]} is there, which might be written over")
        elif not os.access("/", os.W_OK):
            self.tap.skip(name, "nothing can be written there")
        else:
            self.core_is_found("/", name)

    def core_is_found(self, folder, name):
        """Of what crashes in a folder. The pattern is the host's: what it names need not be here."""
        sign, pattern = f"canary-core-{letters(12)}", places.core_pattern()
        where = os.path.join(folder, os.path.dirname(pattern))
        done = subprocess.run(["sh", "-c", "kill -SEGV $$", sign], check=False, cwd=folder, env={})
        found = self.places.cores(sign.encode())
        for path in found:
            pathlib.Path(path).unlink(missing_ok=True)
        if not found and pattern[:1] in ("|", "@", ""):
            self.tap.skip(name, f"kernel.core_pattern is {pattern!r}: whether a core was handed to what it names is not seen")
        elif not found and not os.path.isdir(where):
            self.tap.skip(name, f"kernel.core_pattern is {pattern!r}, and {where} is no folder: that the daemon allows none is not seen")
        else:
            self.tap.result(found and done.returncode == -signal.SIGSEGV, name,
                            [f"exit status {done.returncode}, {len(found)} found, kernel.core_pattern: {pattern}"])

    def stage_crash(self):
        """Processes that crash leave no core, although they might"""
        d, w = self.api, self.world
        a = self.marks.new("crash")
        w.secret("crash", a)
        w.pod("crash", [secret_volume("crash")])
        d.wait("crash")
        for role, sig in (("agent", signal.SIGSEGV), ("agent", signal.SIGABRT), ("publisher", signal.SIGSEGV)):
            d.kill(role, sig)
        d.wait("crash")
        self.live(a)
        self.look("after SIGSEGV and SIGABRT: in the arena alone", d)
        self.core_control()
        problems = []
        for role, pid in d.processes().items():
            limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
            core = [line for line in limits.splitlines() if line.startswith("Max core")][0].split()[4:6]
            if core != ["0", "0"]:
                problems.append(f"core limit of {role}: {core}")
        # its own user, without capabilities, reads of a dumpable process what it likes
        for role, pid in d.processes().items():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            uid, gid = (re.search(rf"^{what}:\s+(\d+)", status, re.M)[1] for what in ("Uid", "Gid"))
            read = subprocess.run(["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups", "--bounding-set", "-all",
                                   "--inh-caps", "-all", "cat", f"/proc/{pid}/environ"], check=False,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            if b"Permission denied" not in read.stderr:
                problems.append(f"{role} is dumpable: {read.stderr.decode(errors='replace').strip()}")
        # on the command line, which is on the stack
        problems += [f"a core: {path}" for path in self.places.cores(os.fsencode(d.conf))]
        self.tap.result(not problems, "and no core is there, nor may be made", problems)
        w.call("DELETE", "pods", "crash")
        w.call("DELETE", "secrets", "crash")
        eventually("the pod's volumes go", lambda: not d.volume("crash").exists())
        self.live()
        self.look("deleted: nowhere", d)

    def stage_keeper(self):
        """The keeper is killed, and the next one gets its mount and its arena back from a service manager's store"""
        d, w = self.api, self.world
        a, b = (self.marks.new(f"keeper {i}") for i in "ab")
        goes_on = "goes on with the mount of an earlier run"
        went_on = d.log.read_text().count(goes_on)
        d.stop()
        d.start(managed=True)
        w.secret("kept", a)
        w.pod("kept", [secret_volume("kept")])
        w.pod("stays", [])  # a list without any pod would not be believed at once
        d.wait("kept")
        self.live(a)
        for sig in (signal.SIGKILL, signal.SIGSEGV):
            before = d.processes()
            d.kill("keeper", sig)
            eventually("the processes are others", lambda before=before: set(d.processes()) == d.roles and
                       not set(before.values()) & set(d.processes().values()))
            d.wait("kept")
            d.shows("kept", "large", a.value(SIZES["large"]))
            self.look(f"after {sig.name} of the keeper: in the arena alone", d)
        went_on = d.log.read_text().count(goes_on) - went_on
        self.tap.result(went_on == 2, "each one goes on with what it was given", [f"{went_on} have, expected 2"])
        cores = self.places.cores(os.fsencode(d.conf))
        self.tap.result(not cores, "and no core is there", cores)
        w.secret("kept", b, new=False)
        d.shows("kept", "large", b.value(SIZES["large"]))
        self.live(b)
        self.look("updated after it: the old value has gone", d)
        keeper = d.keeper()
        os.kill(d.process.pid, signal.SIGSTOP)
        try:
            os.kill(keeper, signal.SIGKILL)
            w.call("DELETE", "pods", "kept")
            w.call("DELETE", "secrets", "kept")
        finally:
            os.kill(d.process.pid, signal.SIGCONT)
        eventually("the pod's volumes go", lambda: not d.volume("kept").exists())
        self.live()
        self.look("deleted while there was none: nowhere", d)
        w.call("DELETE", "pods", "stays")
        d.restart()

    def box(self, volume, out):
        """As a container: a process in namespaces of its own that has the volume mounted, and says when it is signalled."""
        script = 'mount --bind "$0" /mnt && trap "echo hup >>$1" HUP && echo begins >>"$1" && while :; do sleep 1000 & wait $!; done'
        process = subprocess.Popen(["unshare", "-m", "-pf", "--kill-child", "bash", "-c", script, volume, out],
                                   preexec_fn=die_with_parent)
        eventually("there is a container", out.exists)
        return process

    def stage_signals(self):
        """The signaller, which is told of each change, and looks at containers' mounts"""
        if subprocess.run(["unshare", "-mpf", "true"], check=False).returncode != 0:
            self.tap.skip("a signaller", "no namespaces can be made")
            return
        d, w = self.api, self.world
        a, b = (self.marks.new(f"signals {i}") for i in "ab")
        d.configure(**d.common, signalContainers="true")
        d.roles |= {"signaller"}
        d.restart()
        w.secret("signals", a)
        w.pod("signals", [secret_volume("signals")], annotations={"secretlet.dev/volumes": "v: {onChange: SIGHUP}"})
        d.wait("signals")
        out = self.dir / "signalled"
        box = self.box(d.volume("signals"), out)
        self.live(a)
        self.look("with a signaller: in the arena alone", d)
        w.secret("signals", b, new=False)
        eventually("the container is signalled", lambda: "hup" in out.read_text())
        self.live(b)
        self.look("signalled: the old value has gone", d)
        d.kill("signaller")
        d.kill("agent")
        d.wait("signals")
        self.look("after kill -9 of agent and signaller: in the arena alone", d)
        box.kill()
        box.wait()
        w.call("DELETE", "pods", "signals")
        w.call("DELETE", "secrets", "signals")
        eventually("the pod's volumes go", lambda: not d.volume("signals").exists())
        self.live()
        self.look("deleted: nowhere", d)
        d.configure(**d.common)
        d.roles -= {"signaller"}
        d.restart()
