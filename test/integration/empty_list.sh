#!/usr/bin/env bash
# timeout: 180
# A list of pods that is empty, told to a new agent and to a new keeper, by a server that does not say of each pod that it
# is gone: what was published stays, as of old ones.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log
volumes=volumes/kubernetes.io~secret
chmod 755 "$TEST_DIR"

# --- a server of two pods and their Secret: in the file "list" stands which pods a list has, in "get" what is said of one by its name
cat >"$TEST_DIR/server.py" <<'P'
import http.server
import json
import sys
import time

folder = sys.argv[1]
version = "1000"


def said(name):
    with open(folder + "/" + name) as f:
        return f.read().strip()


def pod(name):
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "uid": "uid-" + name, "resourceVersion": version},
            "spec": {"nodeName": "node-1", "volumes": [{"name": "creds", "secret": {"secretName": "db"}}],
                     "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "creds", "mountPath": "/c"}]}]}}


def status(code, reason):
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": reason}


def gone(name):
    code, body = status(404, "NotFound")
    return code, dict(body, details={"kind": "pods", "name": name})


def answer(path, query):
    if path.endswith("/secrets"):
        secret = {"metadata": {"name": "db", "namespace": "default", "uid": "uid-db", "resourceVersion": version},
                  "data": {"password": "b25l"}}
        return 200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": [secret]}
    if path.endswith("/pods"):
        return 200, {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": version},
                     "items": [pod(name) for name in said("list").split()]}
    if "/pods/" in path:
        return {"forbidden": status(403, "Forbidden"), "page": (200, {}), "gone": gone(path.split("/")[-1])}[said("get")]
    return status(404, "NotFound")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if "watch=" in query:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.flush()
            time.sleep(600)
        code, body = answer(path, query)
        body = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # clients die


server = Server(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(server.server_port, flush=True)
server.serve_forever()
P
echo "app other" >"$TEST_DIR/list"
echo forbidden >"$TEST_DIR/get"
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
printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "syncFrequency: 1s" >"$TEST_DIR/secretlet.yaml"
"$here/../lib/manager.py" "$TEST_DIR/pid" "$secretlet" run --config "$TEST_DIR/secretlet.yaml" --kubeconfig "$TEST_DIR/kubeconfig" --node-name node-1 --pods-dir "$pods" \
	--runtime-dir "$run" 2>>"$log" &
manager=$!

value() { cat "$pods/by-name/default/$1/$volumes/creds/password"; }
values() { echo "$(value app) $(value other)"; }
health() { "$secretlet" status --runtime-dir "$run" -o json | jq -r "$1"; }
ready() { "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s "default/$1"; }
child() {
	local p
	for p in $(pgrep -P "$(cat "$TEST_DIR/pid")"); do
		[ "$(tr '\0' '\n' <"/proc/$p/cmdline" | head -n 1)" = "secretlet-$1" ] && echo "$p" && return
	done
	return 1
}
die() { # die PID: it does, and another agent answers
	kill -9 "$1"
	eventually 10 "[ ! -d /proc/$1 ]" && eventually 30 "health .version >/dev/null"
}
doubts() { eventually 30 "health .source.lastError | grep -q 'whether pod default/.* is gone is not certain'"; }

check "a pod becomes ready" ready app
check "another one, too" ready other
echo >"$TEST_DIR/list"
for answer in forbidden page; do
	echo $answer >"$TEST_DIR/get"
	check "$answer: the agent dies" die "$(child agent)"
	check "$answer: the empty list is doubted" doubts
	check_equal "$answer: nothing goes" "$(values)" "one one"
	check "$answer: the keeper dies" die "$(cat "$TEST_DIR/pid")"
	check "$answer: the empty list is doubted" doubts
	check_equal "$answer: nothing goes" "$(values)" "one one"
done
check_equal "no volume was taken away" "$(grep -c "volumes go with it" "$log")" 0

# --- another pod comes while the right to ask is missing: a list has it, and not the others
echo forbidden >"$TEST_DIR/get"
check "the agent dies" die "$(child agent)"
check "the empty list is doubted" doubts
echo other >"$TEST_DIR/list"
check "the keeper dies" die "$(cat "$TEST_DIR/pid")"
check "a list that has pods is believed" eventually 30 "[ ! -e '$pods/uid-app' ]"
check_equal "of those that it has, too" "$(value other)" one

# --- the server says so itself, and then it is another one again
: >"$TEST_DIR/list"
echo gone >"$TEST_DIR/get"
check "the agent dies" die "$(child agent)"
check "that is not enough" eventually 30 "health .source.lastError | grep -q 'the one pod of the node has vanished at once'"
check_equal "for the moment" "$(value other)" one
check_equal "it has a word of its own" "$(health .source.reason)" PodListDoubted
echo other >"$TEST_DIR/list"
check "a list that has it again ends that" eventually 30 "[ \"\$(health .source.lastError)\" = '' ]"
check_equal "nothing went" "$(value other)" one
: >"$TEST_DIR/list"
check "the agent dies" die "$(child agent)"
check "a pod that is not found twice is gone" eventually 30 "[ ! -e '$pods/uid-other' ]"

kill "$manager"
wait "$manager"
check_equal "exit status" $? 0
kill "$server"
tap_done
