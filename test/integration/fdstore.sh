#!/usr/bin/env bash
# timeout: 60
# What the keeper gives to the service manager, and what it does when it gets only half of it back: a death between two
# messages must not leave a mount that no later keeper gets rid of. Runs in a private mount namespace (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

mkdir "$TEST_DIR/manifests"
chmod 755 "$TEST_DIR"
cat >"$TEST_DIR/config.yaml" <<-Y
	apiVersion: secretlet.config/v1alpha1
	kind: SecretletConfiguration
	manifestsDir: $TEST_DIR/manifests
	podsDir: $TEST_DIR/pods
	runtimeDir: $TEST_DIR/run
Y
chmod 600 "$TEST_DIR/config.yaml"

cat >"$TEST_DIR/manager.py" <<'P'
"""A service manager that keeps fds: says what it was told, and gives back to a second keeper what it has (how: "half" of the
connection, an arena of a later "version", or all of it to a keeper that has another "limit", or while the folder of manifests is
"away"), keeping its own copies all the time."""
import fcntl, os, signal, socket, struct, subprocess, sys

binary, folder, how = sys.argv[1:4]
path = folder + "/notify"
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(path)
sock.settimeout(10)
argv = [binary, "run", "--config", folder + "/config.yaml"]
log = open(folder + "/daemon.log", "a")


def told(until):
    """(text, fd) of each message, the one with `until` included."""
    while True:
        text, fds, _, _ = socket.recv_fds(sock, 4096, 4)
        yield text.decode(), fds[0] if fds else None
        if until in text.decode():
            return


first = subprocess.Popen(argv, env={**os.environ, "NOTIFY_SOCKET": path}, stderr=log)
order, store = [], {}
for text, fd in told("READY=1"):
    if "FDSTORE=1" in text:
        name = text.split("FDNAME=")[1].strip()
        order.append(name)
        store[name] = fd
print("order", *order)
first.kill()
first.wait()
sock.close()
os.unlink(path)
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.bind(path)
sock.settimeout(10)


NAMES = ["secretlet-fuse"] if how == "half" else ["secretlet-fuse", "secretlet-arena"]
if how == "limit":
    with open(folder + "/config.yaml", "a") as config:
        config.write("secretMemoryLimit: 300Mi\n")
if how == "away":
    os.rename(folder + "/manifests", folder + "/manifests.away")
if how == "version":
    os.pwrite(store["secretlet-arena"], struct.pack("=I", 1000), 8)


def give():
    high = [fcntl.fcntl(store[name], fcntl.F_DUPFD, 100) for name in NAMES]
    for i, fd in enumerate(high):
        os.dup2(fd, 3 + i)
    os.environ.update(NOTIFY_SOCKET=path, LISTEN_FDS=str(len(NAMES)), LISTEN_FDNAMES=":".join(NAMES),
                      LISTEN_PID=str(os.getpid()))
    os.execv(binary, argv)


pid = os.fork()
if pid == 0:
    os.dup2(log.fileno(), 2)
    give()
try:
    for text, fd in told("FDSTOREREMOVE=1" if how == "half" else "READY=1"):
        if text.startswith("STATUS="):
            print(text.strip())
        if "FDSTOREREMOVE=1" in text:
            print("removed", text.split("FDNAME=")[1].strip())
    print("goes on")
    if how == "away":
        os.rename(folder + "/manifests.away", folder + "/manifests")
        while text.strip() != "STATUS=serving":
            text = next(told(""))[0]
        print("and is well")
except TimeoutError:
    print("removed nothing")
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
P
manager() { # manager HOW
	timeout 40 python3 "$TEST_DIR/manager.py" "$TEST_BUILD_DIR/secretlet" "$TEST_DIR" "$1" >"$TEST_DIR/told" 2>&1
	sed 's/^/# /' "$TEST_DIR/told"
	rm -f "$TEST_DIR/notify"
}
manager half
# alone the arena is nothing, while the connection without it is a mount that hangs
check "the arena is stored before the connection" grep -q 'order.*secretlet-arena.*secretlet-fuse' "$TEST_DIR/told"
check "a connection without its arena is given up" grep -qx 'removed secretlet-fuse' "$TEST_DIR/told"
umount -l "$TEST_DIR/pods" 2>/dev/null

# --- no source, but what an earlier keeper has served
: >"$TEST_DIR/daemon.log"
manager away
check "a keeper that finds a mount serves it without a source" grep -qx 'goes on' "$TEST_DIR/told"
check_contains "the service manager is told" "$(grep '^STATUS' "$TEST_DIR/told")" \
	"STATUS=serving what was published: the source cannot be loaded, see the log"
check "and when there is one again" grep -qx 'and is well' "$TEST_DIR/told"
check_equal "nothing is given up" "$(grep -c '^removed\|restarted' "$TEST_DIR/told" "$TEST_DIR/daemon.log" | grep -cv ':0$')" 0
umount -l "$TEST_DIR/pods" 2>/dev/null

# --- an arena that this version does not read
: >"$TEST_DIR/daemon.log"
manager version
check "with an arena of another version the next start works" grep -qx 'goes on' "$TEST_DIR/told"
check_equal "what was kept is given up" "$(grep -c '^removed' "$TEST_DIR/told")" 2
check_equal "one line says what containers see" "$(grep -c 'version 1000.*running containers .* must be restarted' \
	"$TEST_DIR/daemon.log")" 1
check_equal "there is one mount" "$(awk -v at="$TEST_DIR/pods" '$5 == at' /proc/self/mountinfo | wc -l)" 1
umount -l "$TEST_DIR/pods" 2>/dev/null

# --- another limit: the arena is as large as it was made
: >"$TEST_DIR/daemon.log"
manager limit
check "with another limit the next start goes on with the mount" grep -q 'goes on with the mount of an earlier run' "$TEST_DIR/daemon.log"
check "and says that the limit is the old one" grep -q 'secretMemoryLimit stays 268435456 bytes.*stop the daemon' "$TEST_DIR/daemon.log"
check "nothing is given up" not grep -q 'removed' "$TEST_DIR/told"
umount -l "$TEST_DIR/pods" 2>/dev/null
tap_done
