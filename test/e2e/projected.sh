#!/usr/bin/env bash
# timeout: 300
# Volumes of other sources than Secrets against a real API server, as system:node:node-1 under the Node authorizer.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kube_up
printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' 'syncFrequency: 2s' >"$TEST_DIR/config.yaml"
secretlet_start --config "$TEST_DIR/config.yaml" --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
api=/api/v1/namespaces/default
folder() { echo "$pods/by-name/default/$1/volumes/kubernetes.io~$2/$3"; } # folder POD PLUGIN VOLUME
owner() { stat -L -c %a:%u:%g "$1"; }
config_map() { # config_map NAME DATA [BINARY]
	jq -n --arg name "$1" --argjson data "$2" --argjson binary "${3:-null}" \
		'{apiVersion: "v1", kind: "ConfigMap", metadata: {name: $name}, data: $data, binaryData: $binary}' | kapply
}
# pod NAME VOLUMES [SPEC] [METADATA]: volumes is {"volume": {volume source}...}
pod() {
	pod_json "$1" "$(jq 'map_values({})' <<<"$2")" "${3:-"{}"}" |
		jq --argjson volumes "$2" --argjson meta "${4:-"{}"}" \
			'.spec.volumes |= map({name} + $volumes[.name]) | .metadata += $meta' | kapply
}
contains() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }
becomes() { eventually 20 "contains '$1' '$2'"; } # becomes FILE TEXT

# --- ConfigMaps
config_map settings '{"a.conf": "level=1\n", "b": "2"}' '{"bytes": "AP8="}'
pod configured '{"conf": {"configMap": {"name": "settings"}},
	"some": {"configMap": {"name": "settings", "defaultMode": 256, "items": [{"key": "b", "path": "dir/b", "mode": 292}]}}}'
require "$log" "a pod with ConfigMaps becomes ready" ready configured
conf=$(folder configured configmap conf)
check_equal "text" "$(cat "$conf/a.conf")" "level=1"
check_equal "binaryData" "$(od -An -tx1 "$conf/bytes" | tr -d ' ')" 00ff
check_equal "items and modes" "$(owner "$(folder configured configmap some)/dir/b")" 444:0:0
config_map settings '{"a.conf": "level=2\n", "b": "2"}'
check "an update becomes visible" becomes "$conf/a.conf" "level=2"
check "a key that has gone goes" eventually 20 "[ ! -e '$conf/bytes' ]"
check_equal "one ConfigMap is watched" "$(status .source.configMaps),$(status .source.secrets)" 1,0

# --- the downward API
pod downward '{"info": {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
	{"path": "note", "fieldRef": {"fieldPath": "metadata.annotations['\''note'\'']"}},
	{"path": "ids/name", "fieldRef": {"fieldPath": "metadata.name"}},
	{"path": "ids/uid", "fieldRef": {"fieldPath": "metadata.uid"}, "mode": 256},
	{"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}},
	{"path": "node", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory", "divisor": "1Gi"}},
	{"path": "memory", "resourceFieldRef": {"containerName": "main", "resource": "requests.memory", "divisor": "1Mi"}}]}}}' \
	'{"containers": [{"name": "main", "image": "none", "resources": {"limits": {"cpu": "1500m"}},
		"volumeMounts": [{"name": "info", "mountPath": "/v"}]}]}' '{"labels": {"b": "2", "a": "1"}, "annotations": {"note": "first"}}'
check "a limit that only the node has is waited for" eventually 20 \
	"'$secretlet' volumes --runtime-dir '$run' default/downward | grep -q 'what is allocatable on the node is not known'"
api POST /api/v1/nodes '{"metadata": {"name": "node-1"}}' >/dev/null
api PATCH /api/v1/nodes/node-1/status '{"status": {"allocatable": {"cpu": "4", "memory": "8Gi"}}}' >/dev/null
require "$log" "a pod with a downward API volume becomes ready" ready downward 60
info=$(folder downward downward-api info)
check_equal "labels" "$(cat "$info/labels")" $'a="1"\nb="2"'
check_equal "an annotation" "$(cat "$info/note")" first
check_equal "name and uid" "$(cat "$info/ids/name"),$(cat "$info/ids/uid")" \
	"downward,$(api GET $api/pods/downward | jq -r .metadata.uid)"
check_equal "an item's mode" "$(owner "$info/ids/uid")" 400:0:0
check_equal "limits, and the node's where there is none" "$(cat "$info/cpu"),$(cat "$info/node")" 1500,8
check_equal "what is not asked for is 0" "$(cat "$info/memory")" 0
api PATCH $api/pods/downward '{"metadata": {"labels": {"c": "3"}, "annotations": {"note": "second"}}}' >/dev/null
check "labels that change become visible" becomes "$info/labels" $'a="1"\nb="2"\nc="3"'
check_equal "and annotations with them" "$(cat "$info/note")" second

check "the daemon is healthy" healthy
secretlet_stop
check "and stops" not mounted
tap_done
