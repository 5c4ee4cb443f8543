#!/usr/bin/env bash
# timeout: 180
# An API server that is away or talks nonsense, and agents that die meanwhile: nothing that was published goes. Only a server
# that says so of each pod, twice, takes volumes away.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log objects=$TEST_DIR/objects
chmod 755 "$TEST_DIR"
mkdir "$objects" "$TEST_DIR/nothing"

pod() { # pod NAME
	printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s","namespace":"default","uid":"uid-%s"},"spec":{"nodeName":"node-1","containers":[{"name":"c","image":"i","volumeMounts":[{"name":"creds","mountPath":"/c"}]}],"volumes":[{"name":"creds","secret":{"secretName":"db"}}]}}' "$1" "$1" >"$objects/pod-$1.json"
}
secret() { # secret VALUE
	printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"default"},"data":{"password":"%s"}}' \
		"$(printf %s "$1" | base64)" >"$objects/a-secret.json"
}
port=$(free_port)
server_start() { # server_start FOLDER
	: >"$TEST_DIR/server.out"
	"$TEST_BUILD_DIR/apiserver" --port "$port" --load "$1" >"$TEST_DIR/server.out" 2>>"$TEST_DIR/server.err" &
	server=$!
	eventually 10 "grep -q http '$TEST_DIR/server.out'"
}
server_stop() {
	kill -9 "$server"
	wait "$server" 2>/dev/null
}
nonsense_start() { # a proxy's HTML, whatever is asked
	python3 -c '
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
	def do_GET(self):
		text = b"<html><body>Please log in</body></html>"
		self.send_response(200)
		self.send_header("Content-Type", "text/html")
		self.send_header("Content-Length", str(len(text)))
		self.end_headers()
		self.wfile.write(text)
	def log_message(self, *args):
		pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()' "$port" &
	server=$!
	eventually 10 "curl -s -o /dev/null http://127.0.0.1:$port/"
}
cat >"$TEST_DIR/kubeconfig" <<-Y
	apiVersion: v1
	kind: Config
	current-context: c
	contexts: [{name: c, context: {cluster: k, user: u}}]
	clusters: [{name: k, cluster: {server: "http://127.0.0.1:$port"}}]
	users: [{name: u, user: {}}]
Y
value() { cat "$pods/by-name/default/$1/volumes/kubernetes.io~secret/creds/password"; }
health() { "$secretlet" status --runtime-dir "$run" -o json | jq -r "$1"; }
ready() { "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s "default/$1"; }
child() {
	local p
	for p in $(pgrep -P "$keeper"); do
		[ "$(tr '\0' '\n' <"/proc/$p/cmdline" | head -n 1)" = "secretlet-$1" ] && echo "$p" && return
	done
	return 1
}
kill_agent() {
	local agent
	agent=$(child agent)
	kill -9 "$agent"
	eventually 10 "[ ! -d /proc/$agent ]" && eventually 20 "health .version >/dev/null"
}

pod app
pod other
secret one
server_start "$objects"
printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "syncFrequency: 1s" >"$TEST_DIR/secretlet.yaml"
"$secretlet" run --config "$TEST_DIR/secretlet.yaml" --kubeconfig "$TEST_DIR/kubeconfig" --node-name node-1 --pods-dir "$pods" --runtime-dir "$run" 2>>"$log" &
keeper=$!
check "a pod becomes ready" ready app
check "another one, too" ready other
version=$(readlink "$pods/by-name/default/app/volumes/kubernetes.io~secret/creds/..data")

# --- away
server_stop
check "an outage is seen" eventually 20 "health .source.lastError | grep -q 'Connection refused'"
check_equal "what is published stays" "$(value app)" one
kill_agent
check_equal "also when the agent dies meanwhile" "$(value app)" one
check "status says so" eval '! "$secretlet" status --runtime-dir "$run" >/dev/null'
check "and when it is asked again" eventually 10 "'$secretlet' status --runtime-dir '$run' | grep -q 'next try  *in [0-9]'"
check_contains "as a time, too" "$(health .source.nextTry)" T
lines=$(wc -l <"$log")
sleep 3
check "it is said once, not for each try" test "$(($(wc -l <"$log") - lines))" -lt 5

# --- nonsense
nonsense_start
check "nonsense is refused" eventually 60 "health .source.lastError | grep -qi 'json\|invalid\|list of pods'"
check_equal "what is published stays" "$(value app)" one
kill_agent
check "nonsense to a new agent" eventually 60 "health .source.lastError | grep -qi 'json\|invalid\|list of pods'"
check_equal "takes nothing away" "$(value other)" one
server_stop

# --- back
server_start "$objects"
check "the server is back" eventually 60 "'$secretlet' status --runtime-dir '$run' >/dev/null"
check "the pods are known again" ready app
check_equal "and nothing is to be tried" "$(health .source.nextTry)" null
check_equal "nothing was published anew" "$(readlink "$pods/by-name/default/app/volumes/kubernetes.io~secret/creds/..data")" "$version"
server_stop
secret two
server_start "$objects"
check "an update is seen" eventually 60 "[ \"\$(value app)\" = two ]"

# --- an agent cannot read its kubeconfig, as while it is being replaced
mv "$TEST_DIR/kubeconfig" "$TEST_DIR/kubeconfig.away"
kill_agent
check_equal "without its kubeconfig an agent serves what is published" "$(value app)" two
check "it says what is missing" eventually 20 "health .source.lastError | grep -q 'kubeconfig: No such file'"
check_equal "as a word, too" "$(health .source.kind,.source.reason | xargs)" "api-server SourceUnusable"
check "and in the metrics" eventually 20 "curl -s --unix-socket '$run/control.sock' http://localhost/metrics |
	grep -q '^secretlet_source_connected{source=\"api-server\"} 0'"
server_stop
secret three
server_start "$objects"
mv "$TEST_DIR/kubeconfig.away" "$TEST_DIR/kubeconfig"
check "with it an agent asks the API server again" eventually 60 "[ \"\$(value app)\" = three ]"
check "and all is well" eventually 60 "'$secretlet' status --runtime-dir '$run' >/dev/null"

# --- a pod that went while there was neither server nor agent
server_stop
kill_agent
rm "$objects/pod-other.json"
server_start "$objects"
check "a pod that went meanwhile goes" eventually 60 "[ ! -e '$pods/uid-other' ]"
check_equal "the other one stays" "$(value app)" three

# --- a server that has nothing: each pod is asked for by its name, and all again later
server_stop
kill_agent
server_start "$TEST_DIR/nothing"
check "a server that says of each pod that it is gone is believed" eventually 60 "[ ! -e '$pods/uid-app' ]"
check "after it was asked" grep -q "the list of pods is empty; each of the 1 known ones is asked for" "$log"
check "and had to say it again" grep -q "the one pod of the node has vanished at once, .*says so again, in 5 s" "$log"

kill "$keeper"
wait "$keeper"
check_equal "exit status" $? 0
server_stop
tap_done
