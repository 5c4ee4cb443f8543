#!/usr/bin/env bash
# timeout: 300
# Pods that an API server would have refused, from one that does not: of each the volume that is in order is served, and of
# the other one `wait`, `volumes`, an Event and the log have the reason. Against the test API server. Runs in a private mount
# namespace (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log
chmod 755 "$TEST_DIR"
mkdir "$TEST_DIR/objects"

# pod|its second volume|what must be said of it|its name there, if it is not "bad"
rows() {
	cat <<-'R'
	dot|{"secret": {"secretName": "s", "items": [{"key": "k", "path": "."}]}}|invalid path: is a directory: .
	hidden|{"secret": {"secretName": "s", "items": [{"key": "k", "path": "./..data"}]}}|invalid path: must not start with '..': ./..data
	parent|{"secret": {"secretName": "s", "items": [{"key": "k", "path": "a/../b"}]}}|invalid path: must not contain '..': a/../b
	absolute|{"configMap": {"name": "c", "items": [{"key": "k", "path": "/etc/passwd"}]}}|invalid path: must be relative path: /etc/passwd
	clash|{"secret": {"secretName": "s", "items": [{"key": "k", "path": "a"}, {"key": "k", "path": "a/b"}]}}|invalid path: a is a file and a directory (a/b)
	overlap|{"projected": {"sources": [{"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]}}, {"configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}}]}}|spec.volumes[1].projected.sources[1]: conflicting duplicate paths: p
	folded|{"projected": {"sources": [{"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]}}, {"configMap": {"name": "c", "items": [{"key": "k", "path": "p/q"}]}}]}}|invalid path: p is a file and a directory (p/q)
	mode|{"secret": {"secretName": "s", "defaultMode": 4096}}|spec.volumes[1].secret.defaultMode: must be a number between 0 and 0777 (octal), both inclusive
	words|{"secret": {"secretName": "s", "items": [{"key": "k", "path": "p", "mode": "0400"}]}}|spec.volumes[1].secret.items[0].mode: expected an integer, found a string
	no-path|{"secret": {"secretName": "s", "items": [{"key": "k"}]}}|spec.volumes[1].secret.items[0].path: is required
	no-name|{"secret": {}}|spec.volumes[1].secret.secretName: is required
	name|{"secret": {"secretName": "../s"}}|spec.volumes[1].secret.secretName: is not a DNS-1123 subdomain
	list|{"projected": {"sources": {}}}|spec.volumes[1].projected.sources: expected an array, found an object
	field|{"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "spec.nodeName"}}]}}|spec.volumes[1].downwardAPI.items[0].fieldRef.fieldPath: unsupported fieldPath
	bundle|{"projected": {"sources": [{"secret": {"name": "s"}}, {"clusterTrustBundle": {"name": "ca", "path": "ca.pem"}}]}}|spec.volumes[1].projected.sources[1].clusterTrustBundle: secretlet does not serve such sources
	certificate|{"projected": {"sources": [{"podCertificate": {"keyType": "ED25519"}}]}}|spec.volumes[1].projected.sources[0].podCertificate: secretlet does not serve such sources
	unknown|{"projected": {"sources": [{"someDay": {}}]}}|spec.volumes[1].projected.sources[0]: it is no source that secretlet serves
	twice|{"name": "good", "secret": {"secretName": "s"}}|spec.volumes[1].name: Duplicate value: "good"|volumes[1]
	label|{"name": "../../x", "secret": {"secretName": "s"}}|spec.volumes[1].name: is not a DNS-1123 label|volumes[1]
	items|{"secret": {"secretName": "s", "items": 10001}}|spec.volumes[1].secret.items: more than 10000 elements
	R
}
objects() { # as JSON, one a line
	local name volume rest
	jq -nc '{kind: "Secret", metadata: {namespace: "default", name: "s"}, data: {k: "b25l"}},
		{kind: "ConfigMap", metadata: {namespace: "default", name: "c"}, data: {k: "two"}}'
	rows | while IFS='|' read -r name volume rest; do
		# so many items would be a long line
		jq -c --arg name "$name" '(.secret.items | numbers) |= [range(.) | {key: "k", path: "p\(.)"}] | . as $bad | {kind: "Pod", metadata: {namespace: "default", name: $name},
			spec: {nodeName: "node-1", volumes: [{name: "good", secret: {secretName: "s"}}, {name: "bad"} + $bad],
				containers: [{name: "main", image: "i", volumeMounts: [{name: "good", mountPath: "/good"},
					{name: "bad", mountPath: "/bad"}]}]}}' <<<"$volume"
	done
	jq -nc '{kind: "Pod", metadata: {namespace: "default", name: "typo",
			annotations: {"secretlet.dev/lvie": "good", "secretlet.dev/live": "god"}},
		spec: {nodeName: "node-1", volumes: [{name: "good", secret: {secretName: "s"}}],
			containers: [{name: "main", image: "i", volumeMounts: [{name: "good", mountPath: "/good"}]}]}}'
}
objects | jq -s '{items: .}' >"$TEST_DIR/objects/all.json"

"$TEST_BUILD_DIR/apiserver" --load "$TEST_DIR/objects" >"$TEST_DIR/server.out" 2>"$TEST_DIR/server.err" &
server=$!
check "the server takes them all" eventually 20 grep -q http "$TEST_DIR/server.out"
url=$(grep -o 'http://[0-9.:]*' "$TEST_DIR/server.out" | head -n 1)
printf '%s\n' 'apiVersion: v1' 'kind: Config' 'current-context: c' 'contexts: [{name: c, context: {cluster: k, user: u}}]' \
	"clusters: [{name: k, cluster: {server: \"$url\"}}]" 'users: [{name: u, user: {}}]' >"$TEST_DIR/kubeconfig"
printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' "kubeconfig: kubeconfig" \
	"podsDir: $pods" "runtimeDir: $run" 'nodeName: node-1' >"$TEST_DIR/config.yaml"
"$secretlet" run --config "$TEST_DIR/config.yaml" 2>"$log" &
keeper=$!
n=$(rows | wc -l)
check "the daemon knows them all" eventually 30 \
	"[ \"\$('$secretlet' status --runtime-dir '$run' -o json | jq .volumes.failed)\" = $n ]"
check "the other volumes are served" eventually 30 \
	"[ \"\$('$secretlet' status --runtime-dir '$run' -o json | jq -r '\"\\(.volumes.ready) of \\(.volumes.total)\"')\" = '$((n + 1)) of $((2 * n + 1))' ]"
status=$("$secretlet" status --runtime-dir "$run" -o json)
check_equal "no pod was refused" "$(jq .source.rejected <<<"$status")" 0
check "each volume is told" eventually 30 \
	"[ \"\$(curl -sS $url/api/v1/events | jq '[.items[] | select(.reason == \"FailedMount\")] | length')\" = $n ]"
curl -sS "$url/api/v1/events" | jq -r '.items[] | "\(.involvedObject.name)|\(.message)"' >"$TEST_DIR/events"
"$secretlet" volumes --runtime-dir "$run" -o json | jq -r '.pods[] | .name as $pod | .volumes[] | select(.state == "failed") |
	"\($pod)|\(.name) \(.error)"' >"$TEST_DIR/volumes"
of() { grep "^$1|" "$TEST_DIR/$2" | cut -d '|' -f 2; } # of POD events|volumes
while IFS='|' read -r name _ reason volume; do
	volume=${volume:-bad}
	folder=$pods/by-name/default/$name/volumes
	check_equal "$name: the other volume is served" "$(cat "$folder/kubernetes.io~secret/good/k")" one
	check_equal "$name: this one is not" "$(cd "$folder" && echo */*)" kubernetes.io~secret/good
	check_equal "$name: volumes" "$(of "$name" volumes)" "$volume $reason"
	out=$("$secretlet" wait --runtime-dir "$run" --timeout 10ms "default/$name" 2>&1)
	check_equal "$name: wait" "$? $(tail -n +2 <<<"$out")" "1 default/$name: volume $volume: failed: $reason"
	check_equal "$name: event" "$(of "$name" events)" "MountVolume.SetUp failed for volume \"$volume\" : $reason"
	check "$name: log" grep -qF "volume cannot be set up: $reason" "$log"
done < <(rows)

# an option that nobody knows is no reason to hold a volume back
check_equal "typo: the volume is served" "$(cat "$pods/by-name/default/typo/volumes/kubernetes.io~secret/good/k")" one
check "typo: the log says what is wrong" grep -q 'annotation secretlet.dev/l[a-z]*: ' "$log"
kill -s TERM "$keeper"
wait "$keeper"
check_equal "it ends well" $? 0
kill "$server"
wait "$server"
tap_done
