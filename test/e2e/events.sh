#!/usr/bin/env bash
# timeout: 600
# Events at a real API server: as system:node:node-1 under the Node authorizer, and as a user of whom RBAC knows.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

canary="CANARY-$RANDOM$RANDOM$RANDOM"
events=/api/v1/namespaces/default/events
kube_up
# of POD: JQ of each of its events
of() { api GET "$events?fieldSelector=involvedObject.name=$1" | jq -r ".items[] | $2"; }
is() { [ "$(of "$1" "$2")" = "$3" ]; }
told() { eventually 30 "[ -n \"\$(of $1 .message)\" ]"; }
failed() { # failed POD ERROR: its one event
	check "$1 is told" told "$1"
	check_equal "$1: $2" "$(of "$1" '"\(.type) \(.reason) \(.message)"')" \
		"Warning FailedMount MountVolume.SetUp failed for volume \"v\" : $2"
}
content() { cat "$(volume "$1" v)/key" 2>/dev/null; }
becomes() { eventually 20 "[ \"\$(content $1)\" = '$2' ]"; }
pod_field() { api GET "/api/v1/namespaces/default/pods/$1" | jq -r "$2"; }

secretlet_start --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
put_secret db key="$canary-1"
put_pod well '{"v": {"secretName": "db"}}'
put_pod optional '{"v": {"secretName": "nothing", "optional": true}}'
require "$log" "a pod becomes ready" ready well
put_pod lacks '{"v": {"secretName": "nothing"}}'
put_pod no-key '{"v": {"secretName": "db", "items": [{"key": "other", "path": "other"}]}}'
put_pod clash '{"v": {"secretName": "db", "items": [{"key": "key", "path": "a"}, {"key": "key", "path": "a/b"}]}}'
failed lacks 'secret "nothing" not found'
failed no-key 'references non-existent secret key: other'
check "clash is told" told clash
check_contains "clash: what cannot be" "$(of clash .message)" 'MountVolume.SetUp failed for volume "v" : '
check_equal "of the pod, by uid" "$(of lacks '.involvedObject | "\(.apiVersion) \(.kind) \(.namespace) \(.name) \(.uid)"')" \
	"v1 Pod default lacks $(pod_field lacks .metadata.uid)"
check_equal "by this node" "$(of lacks '"\(.source.component) \(.source.host) \(.reportingComponent)"')" "secretlet node-1 secretlet"
check "it is counted while it lasts" eventually 30 "[ \"\$(of lacks .count)\" -ge 2 ]"
check_equal "and stays one" "$(of lacks .reason | wc -l)" 1
check "with the time of the last" test "$(of lacks '.lastTimestamp > .firstTimestamp')" = true
check_equal "pods that are well have none" "$(of well .message)$(of optional .message)" ""

check_contains "a node may not read them" "$(api_as=node-1 api GET "$events" | jq -r .message)" \
	'events is forbidden: User "system:node:node-1" cannot list resource "events" in API group "" in the namespace "default"'

# --- rotations
put_secret db key="$canary-2"
check "an update becomes visible" becomes well "$canary-2"
check "it is told" told well
rv=$(api GET /api/v1/namespaces/default/secrets/db | jq -r .metadata.resourceVersion)
check_equal "with its revision" "$(of well '"\(.type) \(.reason) \(.message) \(.count)"')" \
	"Normal SecretRotated Updated volume \"v\": secret \"db\" is at resourceVersion $rv 1"
put_secret nothing key=here
check "an optional Secret that appears is a rotation" told optional
check "the pod that lacked it is ready" ready lacks
check_equal "which is none" "$(of lacks .reason)" FailedMount
for i in $(seq 12); do
	put_secret db "key=$canary-more-$i"
	becomes well "$canary-more-$i" || break
done
check_equal "12 more updates become visible" "$(content well)" "$canary-more-12"
rv=$(api GET /api/v1/namespaces/default/secrets/db | jq -r .metadata.resourceVersion)
check "they are combined" eventually 60 "of well .message | grep -q 'combined from similar events.*resourceVersion $rv\$'"
check_equal "into one event beside the first nine" "$(of well .count | sort -n | xargs)" "1 1 1 1 1 1 1 1 1 4"

# --- an agent that dies
before=$(of lacks .count)
kill -9 "$(pgrep -P "$secretlet_pid" -f internal-agent)"
check "the next agent serves" eventually 20 "[ \"\$(status .events.sent)\" = 0 ]"
put_secret db "key=$canary-3"
check "it tells what is new" eventually 20 "[ \"\$(status .events.sent)\" = 1 ]"
check_equal "and nothing else" "$(of lacks .count) $(status .events.failed)" "$before 0"

# --- a namespace that ends
api POST /api/v1/namespaces '{"metadata": {"name": "ends"}}' >/dev/null
pod_json ending '{"v": {"secretName": "nowhere"}}' | jq '.metadata.namespace = "ends"' | kapply
api DELETE /api/v1/namespaces/ends >/dev/null
check "what a namespace that ends does not take is given up" eventually 20 "[ \"\$(status .events.failed)\" -ge 1 ]"
check_equal "without a word in the log" "$(grep -c 'refuses an event\|cannot be told' "$log")" 0

# --- the end
check_equal "no value is in any event" "$(api GET /api/v1/events | grep -c "$canary")" 0
secretlet_stop
check_equal "it ends well" $? 0

# --- another user: RBAC's word
(
	cd "$kube" || exit
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout plain.key -out plain.csr -subj /CN=plain
	openssl x509 -req -in plain.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out plain.crt -days 2
) >>"$TEST_DIR/openssl.out" 2>&1
kube_kubeconfig plain
role() { # role RULE...: what plain may do
	jq -n '{apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRole", metadata: {name: "plain"},
		rules: [$ARGS.positional[] | fromjson | .apiGroups = [""]]}' --args "$@"
}
rbac=/apis/rbac.authorization.k8s.io/v1
reads='{"resources": ["pods", "secrets"], "verbs": ["get", "list", "watch"]}'
tells='{"resources": ["events"], "verbs": ["create", "patch"]}'
api POST $rbac/clusterroles "$(role "$reads")" >/dev/null
api POST $rbac/clusterrolebindings '{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
	"metadata": {"name": "plain"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "plain"},
	"subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "plain"}]}' >/dev/null
secretlet_start --kubeconfig "$kube/plain.kubeconfig" --node-name node-1
require "$log" "a pod becomes ready as another user" ready well
put_pod lacks-2 '{"v": {"secretName": "nothing-2"}}'
check "what it may not tell is said in the log" eventually 20 "grep -q 'events cannot be told.*events is forbidden: User \"plain\" cannot create' '$log'"
check_equal "the daemon has no problem with it" "$(status '.problems | map(select(test("event"))) | length')" 0
api PUT $rbac/clusterroles/plain "$(role "$reads" "$tells")" >/dev/null
check "it tells when it may" eventually 60 told lacks-2
check "and counts" eventually 30 "[ \"\$(of lacks-2 .count)\" -ge 2 ]"
check_equal "the refusal was said once" "$(grep -c 'events cannot be told' "$log")" 1
secretlet_stop
check_equal "it ends well, too" $? 0
tap_done
