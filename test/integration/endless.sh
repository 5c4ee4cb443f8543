#!/usr/bin/env bash
# timeout: 400
# Watches that have ever new events, as many as can be sent, and each of them valid: of a pod, and of a Secret. Everybody else is
# served meanwhile: the control socket, another Secret's watch, readers, the watchdog.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log
volumes=volumes/kubernetes.io~secret
chmod 755 "$TEST_DIR"

# --- a server of one pod and its Secrets. Of what the file "endless" names there are events without end; the Secret "calm" has what is
# in its file, and is told when that has changed.
cat >"$TEST_DIR/server.py" <<'P'
import base64
import http.server
import itertools
import json
import sys
import time

folder = sys.argv[1]
numbers = itertools.count(1000)


def said(name):
    with open(folder + "/" + name) as f:
        return f.read().strip()


def meta(name):
    return {"name": name, "namespace": "default", "uid": "uid-" + name, "resourceVersion": str(next(numbers))}


def pod():
    names = ["calm", "wild"]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": dict(meta("app"), labels={"n": str(next(numbers))}),
            "spec": {"nodeName": "node-1", "volumes": [{"name": n, "secret": {"secretName": n}} for n in names],
                     "containers": [{"name": "c", "image": "i",
                                     "volumeMounts": [{"name": n, "mountPath": "/" + n} for n in names]}]}}


def secret(name, value):
    return {"kind": "Secret", "apiVersion": "v1", "metadata": meta(name),
            "data": {"password": base64.b64encode(value.encode()).decode()}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def event(self, obj):
        line = json.dumps({"type": "MODIFIED", "object": obj}).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))

    def watch(self, what):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        before = said("calm")
        while True:
            if what == "calm" and said("calm") != before:
                before = said("calm")
                self.event(secret("calm", before))
            elif what in said("endless").split():
                lines = b"".join(json.dumps({"type": "MODIFIED", "object": pod() if what == "pods" else
                                             secret("wild", str(next(numbers)))}).encode() + b"\n" for _ in range(1000))
                while what in said("endless").split():
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(lines), lines))
                continue
            time.sleep(0.02)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        what = "pods" if path.endswith("/pods") else query.partition("metadata.name%3D")[2].partition("&")[0]
        if "watch=" in query:
            self.watch(what)
            return
        if what == "pods":
            body = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "1000"}, "items": [pod()]}
        else:
            value = said("calm") if what == "calm" else "1"
            body = {"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": "1000"},
                    "items": [secret(what, value)]}
        body = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients go


server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
P
echo one >"$TEST_DIR/calm"
: >"$TEST_DIR/endless"
python3 "$TEST_DIR/server.py" "$TEST_DIR" >"$TEST_DIR/port" &
server=$!
eventually 20 "[ -s '$TEST_DIR/port' ]"
cat >"$TEST_DIR/kubeconfig" <<-Y
	apiVersion: v1
	kind: Config
	current-context: c
	contexts: [{name: c, context: {cluster: k, user: u}}]
	clusters: [{name: k, cluster: {server: "http://127.0.0.1:$(cat "$TEST_DIR/port")"}}]
	users: [{name: u, user: {}}]
Y
"$secretlet" run --kubeconfig "$TEST_DIR/kubeconfig" --node-name node-1 --pods-dir "$pods" --runtime-dir "$run" 2>>"$log" &
keeper=$!

value() { cat "$pods/by-name/default/app/$volumes/$1/password"; }
health() { "$secretlet" status --runtime-dir "$run" -o json | jq -r "$1"; }
agent() {
	local p
	for p in $(pgrep -P "$keeper"); do
		[ "$(tr '\0' '\n' <"/proc/$p/cmdline" | head -n 1)" = "secretlet-agent" ] && echo "$p" && return
	done
	return 1
}
memory() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$(agent)/status"; }
bytes_in() { awk '$1 == "rchar:" { print $2 }' "/proc/$(agent)/io"; }
answers() { # three times
	local i
	for ((i = 0; i < 3; i++)); do health .version >/dev/null || return 1; done
}

check "the pod becomes ready" "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s default/app
first=$(agent)
n=0
for endless in pods wild "pods wild"; do
	echo "$endless" >"$TEST_DIR/endless"
	before=$(value wild)
	export before
	[ "$endless" = pods ] || check "$endless: the endless one is followed" eventually 60 '[ "$(value wild)" != "$before" ]'
	sleep 5 # for what grows to grow
	full=$(memory)
	check "$endless: status answers" answers
	n=$((n + 1))
	echo "$n" >"$TEST_DIR/calm"
	check "$endless: another Secret is followed" eventually 60 '[ "$(value calm)" = "$n" ]'
	check "$endless: a listing that is not in the kernel's caches comes" eval 'ls "$pods/by-name" | grep -qx default'
	sleep 5
	echo "# $endless: $full KiB, then $(memory) KiB"
	check "$endless: memory stays as it is" test "$(memory)" -lt $((full + 32768))
done
: >"$TEST_DIR/endless"
check_equal "the agent is the same" "$(agent)" "$first"
check "what is calm again is well" eventually 60 '"$secretlet" status --runtime-dir "$run" >/dev/null'

kill "$keeper"
wait "$keeper"
check_equal "exit status" $? 0
kill "$server"
tap_done
