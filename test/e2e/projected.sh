#!/usr/bin/env bash
# timeout: 300
# Volumes of all sources against a real API server, as system:node:node-1 under the Node authorizer: ConfigMaps, the
# downward API, and service account tokens, so also the volume that every pod of a cluster has.
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
review() { # review TOKEN JQ
	api POST /apis/authentication.k8s.io/v1/tokenreviews \
		"$(jq -n --arg token "$1" '{apiVersion: "authentication.k8s.io/v1", kind: "TokenReview", spec: {token: $token}}')" |
		jq -r "$2"
}
for account in default reader; do
	api POST $api/serviceaccounts "{\"metadata\": {\"name\": \"$account\"}}" >/dev/null
done

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

# --- the volume that every pod has
config_map kube-root-ca.crt "$(jq -n --rawfile ca "$kube/ca.crt" '{"ca.crt": $ca}')"
access='{"kube-api-access-x1": {"projected": {"defaultMode": 420, "sources": [
	{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
	{"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
	{"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}}}'
pod client "$access" '{"serviceAccountName": "reader"}'
require "$log" "a pod with kube-api-access becomes ready" ready client
dir=$(folder client projected kube-api-access-x1)
check_equal "it has these files" "$(cd "$dir" && echo *)" "ca.crt namespace token"
check_equal "ca.crt" "$(cat "$dir/ca.crt")" "$(cat "$kube/ca.crt")"
check_equal "namespace" "$(cat "$dir/namespace")" default
token=$(cat "$dir/token")
check_equal "the API server knows the token" "$(review "$token" .status.user.username)" system:serviceaccount:default:reader
check_equal "it is bound to the pod" "$(review "$token" '.status.user.extra["authentication.kubernetes.io/pod-name"][0]')" client
check_equal "it is what a client needs" \
	"$(curl -sS -A e2e --cacert "$dir/ca.crt" -H "Authorization: Bearer $token" "https://127.0.0.1:$kube_port/api" | jq -r .kind)" APIVersions
check_equal "its mode" "$(owner "$dir/token")" 644:0:0
check_equal "one valid token" "$(status .source.tokens),$(status .source.tokensSynced)" 1,1
check "no token is in the log" not grep -qF "$token" "$log"
check "nor in what the commands print" not grep -qF "$token" <("$secretlet" status --runtime-dir "$run" -o json
	"$secretlet" volumes --runtime-dir "$run" -o json)

# --- owner, group, audience
pod owned "$access" '{"serviceAccountName": "default", "securityContext": {"runAsUser": 1000}}'
require "$log" "a pod with a user becomes ready" ready owned
check_equal "the token is the user's" "$(owner "$(folder owned projected kube-api-access-x1)/token")" 600:1000:0
check_equal "the other files are root's" "$(owner "$(folder owned projected kube-api-access-x1)/namespace")" 644:0:0
pod group "$access" '{"serviceAccountName": "default", "securityContext": {"fsGroup": 2000}}'
check "a pod with fsGroup becomes ready" ready group
check_equal "the group may read the token" "$(owner "$(folder group projected kube-api-access-x1)/token")" 640:0:2000
pod vault '{"v": {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault", "expirationSeconds": 600}}]}}}' \
	'{"serviceAccountName": "default"}'
check "a pod with an audience becomes ready" ready vault
claims=$(cut -d. -f2 "$(folder vault projected v)/t" | tr '_-' '/+')
while [ $((${#claims} % 4)) != 0 ]; do claims+='='; done
check_equal "audience and lifetime are what was asked for" \
	"$(base64 -d <<<"$claims" | jq -r '"\(.aud[0]),\(.exp - .iat)"')" vault,600

# --- refusals
pod nobody "$access" '{"serviceAccountName": "none"}'
check "a service account that is not there is said" eventually 20 \
	"'$secretlet' volumes --runtime-dir '$run' default/nobody | grep -q 'serviceaccounts \"none\" not found'"
check "nothing of the volume is there" test ! -e "$(folder nobody projected kube-api-access-x1)"
api POST $api/serviceaccounts '{"metadata": {"name": "none"}}' >/dev/null
check "until there is one" ready nobody 60

# --- a token ends with its pod
kdelete pod client
check "a pod's token is worth nothing when it has gone" eventually 20 "[ \"\$(review '$token' .status.authenticated)\" != true ]"
check "its volume goes" eventually 20 "[ ! -e '$dir' ]"

check "the daemon is healthy" healthy
secretlet_stop
check "and stops" not mounted
tap_done
