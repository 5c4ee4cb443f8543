#!/usr/bin/env bash
# timeout: 60
# What a new pod reads first is never older than the pod (kubernetes #129645), where the watch is late: the test API server
# holds it back. Runs in a private mount namespace (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log
chmod 755 "$TEST_DIR"
"$TEST_BUILD_DIR/apiserver" >"$TEST_DIR/server.out" 2>"$TEST_DIR/server.err" &
server=$!
eventually 10 grep -q http "$TEST_DIR/server.out"
url=$(grep -o 'http://[0-9.:]*' "$TEST_DIR/server.out" | head -n 1)
base=$url/api/v1/namespaces/default
printf '%s\n' 'apiVersion: v1' 'kind: Config' 'current-context: c' 'contexts: [{name: c, context: {cluster: k, user: u}}]' \
	"clusters: [{name: k, cluster: {server: \"$url\"}}]" 'users: [{name: u, user: {}}]' >"$TEST_DIR/kubeconfig"
printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' "kubeconfig: kubeconfig" 'syncFrequency: 1h' \
	"podsDir: $pods" "runtimeDir: $run" 'nodeName: node-1' >"$TEST_DIR/config.yaml"
secret() { # secret METHOD VALUE
	local path=$base/secrets
	[ "$1" = POST ] || path+=/db
	curl -sS -o /dev/null -X "$1" "$path" -d '{"metadata": {"name": "db"}, "stringData": {"key": "'"$2"'"}}'
}
pod() { # pod NAME
	curl -sS -o /dev/null "$base/pods" -d '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "'"$1"'"}, "spec": {
		"nodeName": "node-1", "volumes": [{"name": "v", "secret": {"secretName": "db"}}],
		"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}}'
}
value() { cat "$pods/by-name/default/$1/volumes/kubernetes.io~secret/v/key"; }
first_read() { "$secretlet" wait --quiet --runtime-dir "$run" "default/$1" && value "$1"; }
watches() { "$secretlet" status --runtime-dir "$run" -o json | jq .source.watches; }

"$secretlet" run --config "$TEST_DIR/config.yaml" 2>"$log" &
keeper=$!
secret POST 1
pod first
check_equal "a pod reads its Secret" "$(first_read first)" 1
check "which is watched" eventually 10 '[ "$(watches)" = 2 ]'
kill -USR1 "$server"
check "the watch is held back" eventually 10 grep -q '1 watches held' "$TEST_DIR/server.err"
secret PUT 2
pod second
check_equal "a pod that comes now reads what there is" "$(first_read second)" 2
check "and so does the first one" eventually 10 '[ "$(value first)" = 2 ]'
check "the Secret is watched on" eventually 10 '[ "$(watches)" = 2 ]'
kill -USR2 "$server"
secret PUT 3
check "what is changed later comes by the watch" eventually 10 '[ "$(value first)$(value second)" = 33 ]'
pod third
check_equal "where nothing has changed, a pod costs nobody anything" "$(first_read third)" 3
check_equal "no revision was published twice" "$(grep -c 'volume is updated' "$log")" 3
kill -s TERM "$keeper"
wait "$keeper"
check_equal "it ends well" $? 0
kill "$server"
wait "$server"
tap_done
