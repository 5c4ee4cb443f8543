#!/usr/bin/env bash
# timeout: 300
# Environments, pull credentials and subPathExpr against a real API server, as system:node:node-1 under the Node authorizer.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

canary="CANARY-$RANDOM$RANDOM$RANDOM"
kube_up
api=/api/v1/namespaces/default
config() { # config LINE...
	printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' 'controlSocketGroup: daemon' "$@" \
		>"$TEST_DIR/config.yaml"
}
start() { secretlet_start --config "$TEST_DIR/config.yaml" --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1; }
ask() { "$secretlet" "$@" --runtime-dir "$run"; }
refused() { # refused NAME WORDS COMMAND...
	local name=$1 words=$2 out
	shift 2
	out=$("$@" 2>&1 >"$TEST_DIR/stdout")
	check_equal "$name: exit status" "$? $(wc -c <"$TEST_DIR/stdout")" "1 0"
	check_contains "$name: why" "$out" "$words"
}
event_of() { api GET "$api/events?fieldSelector=involvedObject.name=$1" | jq -r '.items[] | "\(.type) \(.reason) \(.message)"'; }

for account in default puller; do
	api POST $api/serviceaccounts "{\"metadata\": {\"name\": \"$account\"}, \"imagePullSecrets\": [{\"name\": \"pull\"}]}" >/dev/null
done
put_secret db password="$canary-1" 1st=one
put_secret rest HOST=db.example.com
jq -n '{apiVersion: "v1", kind: "ConfigMap", metadata: {name: "settings"}, data: {LEVEL: "3", DIR: "web"}, binaryData: {bytes: "AP8="}}' | kapply
pull() { # pull NAME SERVER USER
	jq -n --arg name "$1" --arg config "{\"auths\":{\"$2\":{\"username\":\"$3\",\"password\":\"$canary-pull\"}}}" '{apiVersion: "v1",
		kind: "Secret", type: "kubernetes.io/dockerconfigjson", metadata: {name: $name}, stringData: {".dockerconfigjson": $config}}' | kapply
}
pull pull one.example.com first
pull pull-2 one.example.com second
pod() { # pod NAME CONTAINERS [SPEC]
	pod_json "$1" '{}' "$(jq -n --argjson containers "$2" --argjson more "${3:-"{}"}" '{containers: ($containers | map({image: "i"} + .)),
		volumes: [{name: "v", configMap: {name: "settings"}}]} + $more')" | jq '.metadata.labels = {tier: "front"}' | kapply
}
pod app '[{"name": "main", "resources": {"limits": {"cpu": "1500m"}},
	"envFrom": [{"configMapRef": {"name": "settings"}}, {"prefix": "DB_", "secretRef": {"name": "db"}}, {"secretRef": {"name": "rest"}},
		{"secretRef": {"name": "none", "optional": true}}],
	"env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
		{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
		{"name": "ACCOUNT", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
		{"name": "TIER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['\''tier'\'']"}}},
		{"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
		{"name": "URL", "value": "$(POD):$(DB_password)@$(HOST)/$(NONE)$$(POD)"}],
	"volumeMounts": [{"name": "v", "mountPath": "/v", "subPathExpr": "$(DIR).d"}]},
	{"name": "paths", "envFrom": [{"configMapRef": {"name": "settings"}}, {"prefix": "DB_", "secretRef": {"name": "db"}}],
	"env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
	"volumeMounts": [{"name": "v", "mountPath": "/v", "subPathExpr": "$(DIR).d/$(POD)"}]},
	{"name": "digits", "envFrom": [{"secretRef": {"name": "db"}}]},
	{"name": "lacks", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]},
	{"name": "keyless", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k"}}}]},
	{"name": "binary", "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "bytes"}}}]},
	{"name": "address", "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}]' \
	'{"serviceAccountName": "puller", "imagePullSecrets": [{"name": "pull"}, {"name": "absent"}, {"name": "pull-2"}]}'
pod plain '[{"name": "main"}]' '{"serviceAccountName": "puller"}'
# the refusal of an object that is wrong is the API server's, in the words that secretlet check has
wrong=$(pod_json wrong '{}' '{"containers": [{"name": "main", "image": "i", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db"}}}]}]}')
field="spec.containers[0].env[0].valueFrom.secretKeyRef.key"
check_contains "the API server's refusal" "$(api POST $api/pods "$wrong" | jq -r .message)" "$field: Required value"
check_contains "is ours" "$("$secretlet" check - <<<"$wrong")" "$field: Required value"

# --- switched off
config "syncFrequency: 1m"
start
require "$log" "the pod is ready" ready app
refused "off by default" "serveEnvironment is false" ask env default/app main
refused "pull credentials, too" "serveEnvironment is false" ask pull-config default/app
secretlet_stop

# --- switched on
config "serveEnvironment: true"
start
require "$log" "the pod is ready again" ready app
check_equal "the environment" "$(ask env default/app main)" "DIR=web
LEVEL=3
DB_1st=one
DB_password=$canary-1
HOST=db.example.com
POD=app
NODE=node-1
ACCOUNT=puller
TIER=front
CPU=1500
URL=app:$canary-1@db.example.com/\$(NONE)\$(POD)"
before=$(status .source.requests)
check_equal "the same with NULs" "$(ask env -0 default/app main | tr '\0' '\n' | cksum)" "$(ask env default/app main | cksum)"
requests=$(($(status .source.requests) - before))
check "one request for each object and time, and the daemon's own" test "$requests" -ge 8 -a "$requests" -le 11
put_secret db password="$canary-2" 1st=one
check_equal "what is new is handed out at once" "$(ask env default/app main -o json | jq -r '.[] | select(startswith("DB_password="))')" \
	"DB_password=$canary-2"
check_equal "no Secret is followed for it" "$(status .source.secrets)" 0
check_equal "a key may begin with a digit" "$(ask env default/app digits 2>&1)" "1st=one
password=$canary-2"
refused "a Secret that is not there" 'secret "none" not found' ask env default/app lacks
refused "a key that is not there" "couldn't find key k in Secret default/db" ask env default/app keyless
refused "binaryData" "couldn't find key bytes in ConfigMap default/settings" ask env default/app binary
refused "no address yet" "variable IP: status.podIP of pod default/app is not known" ask env default/app address
api PATCH $api/pods/app/status '{"status": {"podIP": "10.1.2.3", "podIPs": [{"ip": "10.1.2.3"}]}}' >/dev/null
check "until there is one" eventually 20 "[ \"\$(ask env default/app address)\" = IP=10.1.2.3 ]"
check_equal "a path with expressions" "$(ask mounts default/app paths | jq -r '.[].source' | sed 's|.*/volumes/||')" \
	"kubernetes.io~configmap/v/web.d/app"
refused "but none that a Secret may have a part in" "subPathExpr: DIR may come from a Secret" ask mounts default/app main

# --- a pod that has just come: the authorizer has to notice it
put_secret fresh password="$canary-fresh"
pod fresh '[{"name": "main", "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "fresh", "key": "password"}}}]}]'
check "a fresh pod is known" eventually 20 "ask pods default/fresh"
check_equal "and has its environment at the first try" "$(ask env default/fresh main)" "P=$canary-fresh"

# --- pull credentials
auth=$(printf 'first:%s' "$canary-pull" | base64 -w 0)
out=$(ask pull-config default/app 2>&1 >"$TEST_DIR/stdout")
check_equal "the first pull secret wins" "$(jq -c . "$TEST_DIR/stdout")" "{\"auths\":{\"one.example.com\":{\"auth\":\"$auth\"}}}"
check_equal "a missing one is told" "$out" 'secretlet: secret "absent" not found: skipped'
missing="Unable to retrieve some image pull secrets (absent); attempting to pull the image may not succeed."
check "by an event, too" eventually 20 "event_of app | grep -qxF 'Warning FailedToRetrieveImagePullSecret $missing'"
out=$(ask pull-config default/plain 2>&1 >"$TEST_DIR/stdout")
check_equal "without any of its own" "$(jq -c . "$TEST_DIR/stdout")" '{"auths":{}}'
check_contains "a node may not read the ServiceAccount, which is said" "$out" \
	'serviceaccount default/puller: serviceaccounts "puller" is forbidden: '
rbac=/apis/rbac.authorization.k8s.io/v1
api POST $rbac/clusterroles '{"metadata": {"name": "accounts"}, "rules": [{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get"]}]}' >/dev/null
api POST $rbac/clusterrolebindings '{"metadata": {"name": "accounts"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
	"kind": "ClusterRole", "name": "accounts"}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User",
	"name": "system:node:node-1"}]}' >/dev/null
check "where it may, the account's are taken" eventually 20 "[ \"\$(ask pull-config default/plain 2>/dev/null | jq -r '.auths | keys[]')\" = one.example.com ]"

# --- who may ask
member() { setpriv --reuid 61000 --regid daemon --clear-groups curl -s --unix-socket "$run/control.sock" "http://x/v1/pods/default/app$1"; }
check_contains "a member of the group may ask for the pod" "$(member "")" '"name": "app"'
check_equal "but not for values" "$(member /containers/main/env | jq -r .error)" "only root is given values of Secrets"
check_equal "nor for credentials" "$(member /pull-config | jq -r .error)" "only root is given values of Secrets"
check_contains "who was given what is logged" "$(grep 'handed out' "$log")" "environment: handed out pod=default/app container=main pid="

# --- the API server is away
kube_stop_apiserver
refused "nothing stale is handed out" "the API server does not answer" ask env default/fresh main
check "no value is in the log" not grep -q "$canary" "$log"
secretlet_stop
check_equal "it ends well" $? 0
tap_done
