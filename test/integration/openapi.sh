#!/usr/bin/env bash
# timeout: 600
# The control API is what docs/openapi.yaml says, and all that it says: openapi.py asks two daemons, one with all there is (the
# test API server, auditLog, the offline cache, signals) and one with nothing. Runs in a private mount namespace.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
chmod 755 "$TEST_DIR"
mkdir "$TEST_DIR/manifests"
"$TEST_BUILD_DIR/apiserver" --port 0 >"$TEST_DIR/server.out" 2>"$TEST_DIR/server.err" &
server=$!
eventually 10 "grep -q http '$TEST_DIR/server.out'"
url=$(head -n 1 "$TEST_DIR/server.out")
cat >"$TEST_DIR/kubeconfig" <<-Y
	apiVersion: v1
	kind: Config
	current-context: c
	contexts: [{name: c, context: {cluster: k, user: u}}]
	clusters: [{name: k, cluster: {server: "$url"}}]
	users: [{name: u, user: {}}]
Y
post() { # post RESOURCE: the object on stdin
	curl -sS -o "$TEST_DIR/posted" -X POST -H 'Content-Type: application/json' --data-binary @- "$url/api/v1/namespaces/default/$1"
}
pod() { # pod NAME: of a pod that has everything, and a container whose ConfigMap no volume shows
	cat <<-J
	{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "$1", "uid": "7f0c0d5e-0000-4000-8000-000000000001",
		"annotations": {"secretlet.dev/volumes": "creds: {onChange: SIGHUP}", "secretlet.dev/live": "creds"}},
	 "spec": {"nodeName": "node-1", "serviceAccountName": "default", "imagePullSecrets": [{"name": "pull"}],
		"volumes": [{"name": "creds", "secret": {"secretName": "db"}},
			{"name": "all", "projected": {"sources": [{"secret": {"name": "db"}}, {"configMap": {"name": "settings"}},
				{"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}],
		"containers": [{"name": "main", "image": "none",
			"env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
				{"name": "DIR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "DIR"}}}],
			"volumeMounts": [{"name": "creds", "mountPath": "/c", "subPathExpr": "\$(DIR)"},
				{"name": "all", "mountPath": "/a"}]},
			{"name": "cold", "image": "none",
			"env": [{"name": "OTHER", "valueFrom": {"configMapKeyRef": {"name": "other", "key": "DIR"}}}],
			"volumeMounts": [{"name": "creds", "mountPath": "/c", "subPathExpr": "\$(OTHER)"}]}]}}
	J
}
simple() { # simple NAME ANNOTATIONS VOLUME
	printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s","annotations":%s},"spec":{"nodeName":"node-1","containers":[{"name":"c","image":"i","volumeMounts":[{"name":"v","mountPath":"/v"}]}],"volumes":[{"name":"v",%s}]}}' \
		"$1" "$2" "$3"
}
secret() { # secret NAME TYPE KEY VALUE
	printf '{"apiVersion":"v1","kind":"Secret","type":"%s","metadata":{"name":"%s","labels":{"a":"b"}},"stringData":{"%s":"%s"}}' \
		"$2" "$1" "$3" "$4"
}
configure() { # configure NAME LINE...
	local name=$1
	shift
	printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "podsDir: $TEST_DIR/$name.pods" \
		"runtimeDir: $TEST_DIR/$name.run" "nodeName: node-1" "$@" >"$TEST_DIR/$name.yaml"
	chmod 600 "$TEST_DIR/$name.yaml"
}
keeper=()
start() { # start NAME
	"$secretlet" run --config "$TEST_DIR/$1.yaml" 2>>"$TEST_DIR/$1.log" &
	keeper+=($!)
}
ready() { "$secretlet" wait --quiet --runtime-dir "$TEST_DIR/$1.run" --timeout 30s default/app; }
status() { "$secretlet" status --runtime-dir "$TEST_DIR/full.run" -o json | jq -r "$1"; }
seen=$TEST_DIR/seen
# phase NAME: each line of openapi.py's is a check
phase() {
	local line n=0
	while read -r line; do
		n=$((n + 1))
		case $line in
		"ok "*) tap_result ok "$1: ${line#ok }" ;;
		*) tap_result "not ok" "$1: ${line#not ok }" ;;
		esac
	done < <("$here/openapi.py" "$here/../../docs/openapi.yaml" "$here/../../agent/control.c" \
		"$TEST_DIR/full.run/control.sock" "$TEST_DIR/plain.run/control.sock" "$1" "$seen" 2>&1)
	check "$1: there were some" test "$n" -gt 1
}

secret db Opaque password one | post secrets
secret pull kubernetes.io/dockerconfigjson .dockerconfigjson '{\"auths\":{\"r.example\":{\"auth\":\"YTpi\"}}}' | post secrets
printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"DIR":"web"}}' | post configmaps
pod app | post pods
simple absent '{}' '"secret":{"secretName":"nothing"}' | post pods
simple waits '{}' '"secret":{"secretName":"db","items":[{"key":"other","path":"o"}]}' | post pods
simple bad '{"secretlet.dev/volumes":"v: {mode: 9}"}' '"secret":{"secretName":"db"}' | post pods
simple token '{}' '"projected":{"sources":[{"serviceAccountToken":{"path":"t","audience":"vault"}}]}' | post pods
refused='{"apiVersion":"v1","kind":"Pod","metadata":{"name":"refused"},"spec":{"nodeName":"node-1","volumes":"none"}}'
post pods <<<"$refused"
printf '%s' "$refused" >"$TEST_DIR/manifests/refused.json"
pod app >"$TEST_DIR/manifests/app.json"
secret db Opaque password one >"$TEST_DIR/manifests/db.json"
printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"DIR":"web"}}' >"$TEST_DIR/manifests/settings.json"

"$secretlet" cache keygen "$TEST_DIR/cache.key" >/dev/null
configure full "kubeconfig: kubeconfig" "auditLog: $TEST_DIR/audit/log" "signalContainers: true" "serveEnvironment: true" \
	"offlineCacheDir: $TEST_DIR/cache" "offlineCacheKeyFile: cache.key"
configure plain "manifestsDir: manifests"
start full
start plain
check "the pod is ready" ready full
check "and on the other daemon" ready plain
secret db Opaque password two | curl -sS -o /dev/null -X PUT -H 'Content-Type: application/json' --data-binary @- \
	"$url/api/v1/namespaces/default/secrets/db"
check "a change is signalled, or would be" eventually 20 "[ \"\$(status '.signals.recent | length')\" -ge 1 ]"
phase up
kill -9 "$server"
phase away
kill -9 "$(pgrep -P "${keeper[0]}" -f '^secretlet-agent')"
check "another agent, and no API server" eventually 20 "[ \"\$(status .source.podsSynced)\" = false ]"
phase down
phase end

for p in "${keeper[@]}"; do
	kill -TERM "$p"
	wait "$p"
done
tap_done
