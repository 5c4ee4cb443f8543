#!/usr/bin/env bash
# timeout: 60
# A service manager that does not read what it is told must not stop the keeper, and is told all that counts when it reads
# again. Runs in a private mount namespace (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

mkdir "$TEST_DIR/manifests"
chmod 755 "$TEST_DIR"
printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "manifestsDir: $TEST_DIR/manifests" \
	"podsDir: $TEST_DIR/pods" "runtimeDir: $TEST_DIR/run" >"$TEST_DIR/config.yaml"
chmod 600 "$TEST_DIR/config.yaml"

cat >"$TEST_DIR/manager.py" <<'P'
"""A service manager whose queue is full from the start, until it is told to read by its standard input."""
import os, socket, subprocess, sys

binary, folder = sys.argv[1:3]
name = f"@secretlet-test-{os.getpid()}"
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind("\0" + name[1:])
fillers = []
full = False
while not full:
    # each has a limit of its own: the queue is full when one that is new cannot send anything
    fillers.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    fillers[-1].setblocking(False)
    full = True
    try:
        while True:
            fillers[-1].sendto(b"X=1", "\0" + name[1:])
            full = False
    except BlockingIOError:
        pass
daemon = subprocess.Popen([binary, "run", "--config", folder + "/config.yaml"], env={**os.environ, "NOTIFY_SOCKET": name},
                          stderr=open(folder + "/daemon.log", "a"))
print(daemon.pid, flush=True)
sys.stdin.readline()
sock.settimeout(10)
told = []
try:
    while "STATUS" not in told or "READY" not in told:
        text, fds, _, _ = socket.recv_fds(sock, 4096, 4)
        words = text.decode().split()
        if words[0] in ("X=1", "WATCHDOG=1"):
            continue
        told.append("-".join([w.split("FDNAME=")[1] for w in words if "FDNAME" in w] + ["fd"] * len(fds)) or
                    words[0].split("=")[0])
except TimeoutError:
    told.append("nothing more")
print(*told, flush=True)
P
coproc MANAGER { exec timeout 50 python3 "$TEST_DIR/manager.py" "$TEST_BUILD_DIR/secretlet" "$TEST_DIR" 2>&1; }
manager=$MANAGER_PID log=$TEST_DIR/daemon.log
read -r keeper <&"${MANAGER[0]}"
agent() { pgrep -P "$keeper" -f internal-agent; }

check "it starts" eventually 10 grep -q 'keeper: ready' "$log"
check "no child has the manager's address" not grep -qz ^NOTIFY_SOCKET= "/proc/$(agent)/environ"
kill -s KILL "$(agent)"
check "an agent that dies is replaced" eventually 10 grep -q 'serves again' "$log"
sleep 0.5 # the keeper says that first, and then tells the manager: until it has, what it owes is of before
echo read >&"${MANAGER[1]}"
read -r told <&"${MANAGER[0]}"
check_equal "then the manager is told, in order" "$told" \
	"secretlet-arena-fd secretlet-fuse-fd secretlet-control-fd STATUS READY"
kill -s TERM "$keeper"
check "it ends" eventually 10 grep -q stopped "$log"
wait "$manager"
umount -l "$TEST_DIR/pods" 2>/dev/null
tap_done
