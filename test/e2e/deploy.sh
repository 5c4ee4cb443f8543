#!/usr/bin/env bash
# timeout: 600
# deploy/kubernetes at a real API server: it takes each manifest and knows each field, and the ServiceAccount may do what
# secretlet asks for and nothing else: the daemon runs as it, verbs are taken away and something says so. Then as a node, whose
# identity deploy/kubernetes/node-csr has got with a bootstrap token. daemonset.sh starts the container. /var/run is ours: the mount
# namespace is private.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# shellcheck source=deploy-lib.sh
. "$lib_here/deploy-lib.sh"

kube_flags+=(--enable-bootstrap-token-auth=true)
kube_up
deploy_objects

# ---- what the API server says of them

dry='&dryRun=All&fieldValidation=Strict'
# kept SENT ANSWER: the fields that were sent and are not in the answer, or are others
kept() {
	jq -rn --argjson sent "$1" --argjson answer "$2" '[$sent | paths(scalars)][] as $p |
		select(($sent | getpath($p)) != ($answer | getpath($p))) | $p | map(tostring) | join(".")'
}
while read -r sent; do
	name=$(jq -r '"\(.kind) \(.metadata.name)"' <<<"$sent")
	answer=$(apply "$sent" "$dry") || { tap_result "not ok" "$name: dry run" "$answer"; continue; }
	check_equal "$name: dry run, and every field is known" "$(kept "$sent" "$answer")" ""
	answer=$(apply "$sent") || tap_result "not ok" "$name: applied" "$answer"
done < <(each_object)
daemonset=$(object DaemonSet secretlet)
check_contains "a field that there is not is refused" \
	"$(apply "$(jq '.spec.template.spec.containers[0].mountPropagation = "None"' <<<"$daemonset")" "$dry" | jq -r .message)" \
	"mountPropagation: field not declared in schema"
check_contains "Bidirectional takes privileged" \
	"$(apply "$(jq '.spec.template.spec.containers[0].securityContext |= del(.privileged) |
		.metadata.name = "other"' <<<"$daemonset")" "$dry" | jq -r .message)" \
	"Bidirectional mount propagation is available only to privileged containers"
check_equal "a dry run leaves nothing" "$(api GET /apis/apps/v1/namespaces/secretlet/daemonsets | jq '.items | length')" 1
object ConfigMap secretlet | jq -r '.data["secretlet.yaml"]' >"$TEST_DIR/shipped.yaml"
check_equal "the configuration is right" "$("$secretlet" check "$TEST_DIR/shipped.yaml" | tail -n 1)" \
	"1 file with 0 pods and 0 secrets: 0 errors, 0 warnings"
if command -v kubectl >/dev/null; then
	export HOME=$TEST_DIR
	cp -r "$deploy" "$TEST_DIR/custom"
	check_equal "kustomization.yaml has all of these" \
		"$(kubectl kustomize "$deploy" >"$TEST_DIR/made.yaml" && "$lib_here/../lib/pods.py" objects "$TEST_DIR/made.yaml" | jq -cS 'sort_by(.kind, .metadata.name)')" \
		"$(jq -cS 'map(select(.kind != "RoleBinding")) | sort_by(.kind, .metadata.name)' "$TEST_DIR/objects.json")"
	sed -i 's/^#\(patches\|- node\|images\|- name\|  new\)/\1/' "$TEST_DIR/custom/kustomization.yaml"
	kubectl kustomize "$TEST_DIR/custom" >"$TEST_DIR/made.yaml" 2>>"$TEST_DIR/kubectl.out"
	patched=$("$lib_here/../lib/pods.py" objects "$TEST_DIR/made.yaml" | jq -c '.[] | select(.kind == "DaemonSet") | .metadata.name = "custom"')
	answer=$(apply "$patched" "$dry")
	check_equal "with what is commented out in it: all fields are known" "$(kept "$patched" "$answer")" ""
	check_equal "it is a node's" "$(jq -c '.spec.template.spec | [.automountServiceAccountToken, .containers[0].args[2],
		(.containers[0].volumeMounts | map(.mountPath) | sort)]' <<<"$answer")" \
		'[false,"--kubeconfig=/etc/secretlet-node/kubeconfig",["/dev/fuse","/etc/secretlet","/etc/secretlet-node","/run/secretlet","/var/lib/secretlet"]]'
	check_equal "of another registry" "$(jq -r '.spec.template.spec.containers[0].image' <<<"$answer")" registry.example.com/secretlet:0.1.0
else
	tap_skip "kustomization.yaml" "kubectl is not installed"
fi

# ---- who it is

token=$(account_token)
as_account() { # as_account METHOD PATH [JSON]
	curl -sS -A e2e --fail-with-body --cacert "$kube/ca.crt" -H "Authorization: Bearer $token" -X "$1" \
		-H 'Content-Type: application/json' ${3:+--data-binary "$3"} "https://127.0.0.1:$kube_port$2" 2>>"$TEST_DIR/curl.out"
}
# may NAMESPACE: all that it may there, a line for each group, resource and verb; but for what everybody may
may() {
	as_account POST $review/selfsubjectrulesreviews "{\"apiVersion\": \"authorization.k8s.io/v1\", \"kind\": \"SelfSubjectRulesReview\", \"spec\": {\"namespace\": \"$1\"}}" |
		jq -r '.status.resourceRules[] | select(.apiGroups != ["authorization.k8s.io"]) |
			"\(.apiGroups[])/\(.resources[]) \(.verbs[])" + (if .resourceNames then " named" else "" end)' | sort -u
}
can() { # can VERB RESOURCE [NAMESPACE [SUBRESOURCE]]
	local attributes
	attributes=$(jq -n --arg verb "$1" --arg resource "$2" --arg ns "${3:-}" --arg sub "${4:-}" '{namespace: $ns, verb: $verb,
		resource: $resource, subresource: $sub}')
	as_account POST $review/selfsubjectaccessreviews "{\"apiVersion\": \"authorization.k8s.io/v1\", \"kind\": \"SelfSubjectAccessReview\",
		\"spec\": {\"resourceAttributes\": $attributes}}" | jq -e .status.allowed
}
for ns in other narrow; do api POST $core/namespaces "{\"metadata\": {\"name\": \"$ns\"}}" >/dev/null; done
everywhere='/nodes get
/pods get
/pods list
/pods watch'
check "the bindings count" eventually 20 "can get secrets default"
check_equal "what it may in a namespace of its own" "$(may default)" "/configmaps get
/configmaps list
/configmaps watch
/events create
/events patch
/nodes get
/pods get
/pods list
/pods watch
/secrets get
/secrets list
/secrets watch
/serviceaccounts get
/serviceaccounts/token create"
for ns in other kube-system secretlet; do check_equal "what it may in $ns" "$(may $ns)" "$everywhere"; done
refused() { # refused METHOD PATH [JSON]
	check_contains "it may not $1 ${2%%\?*}" "$(as_account "$@" | jq -r '"\(.code) \(.message)"')" "403 "
}
other=$core/namespaces/other mine=$core/namespaces/default
refused GET $other/secrets/db
refused GET "$other/secrets?fieldSelector=metadata.name%3Ddb"
refused GET "$other/secrets?watch=true"
refused GET $core/secrets
refused GET $core/configmaps
refused GET $core/namespaces/kube-system/secrets
refused GET $core/nodes
refused GET $core/namespaces
refused GET $mine/events
refused GET $mine/serviceaccounts
refused GET $mine/pods/web/log
refused GET $rbac/clusterroles
refused POST $other/serviceaccounts/default/token '{"spec": {}}'
refused POST $other/events '{"metadata": {"name": "e"}}'
refused POST $mine/secrets '{"metadata": {"name": "s"}}'
refused POST $mine/pods '{"metadata": {"name": "p"}}'
refused POST "$mine/pods/web/exec?command=sh"
refused POST $mine/pods/web/binding '{"target": {"name": "node-2"}}'
refused PUT $mine/secrets/db '{"metadata": {"name": "db"}}'
refused PUT $rbac/clusterroles/secretlet:pods '{"metadata": {"name": "secretlet:pods"}, "rules": []}'
for resource in secrets/db configmaps/settings pods/web serviceaccounts/default secrets; do refused DELETE $mine/$resource; done
refused DELETE $core/nodes/node-1
if command -v kubectl >/dev/null; then
	account=(kubectl --server "https://127.0.0.1:$kube_port" --certificate-authority "$kube/ca.crt" --token "$token")
	check_equal "kubectl auth can-i: yes" "$("${account[@]}" auth can-i watch secrets --namespace default 2>>"$TEST_DIR/kubectl.out")" yes
	check_equal "kubectl auth can-i: no" "$("${account[@]}" auth can-i watch secrets --namespace kube-system 2>>"$TEST_DIR/kubectl.out")" no
else
	tap_skip "kubectl auth can-i" "kubectl is not installed"
fi

# ---- the daemon as this ServiceAccount

mount -t tmpfs none "$(realpath /var/run)" || bail "a /var/run of our own"
mount_account /var/run/secrets/kubernetes.io/serviceaccount "$token"
export KUBERNETES_SERVICE_HOST=127.0.0.1 KUBERNETES_SERVICE_PORT=$kube_port
{ cat "$TEST_DIR/shipped.yaml"; printf 'serveEnvironment: true\nsyncFrequency: 2s\n'; } >"$TEST_DIR/config.yaml"
start() { secretlet_start --config "$TEST_DIR/config.yaml" --node-name node-1; }
ask() { "$secretlet" "$@" --runtime-dir "$run"; }
volumes() { ask volumes "default/$1"; }
value() { cat "$pods/by-name/$1/$2/$secret_volumes/creds/password" 2>/dev/null; } # value NAMESPACE POD
event_of() { api GET "$mine/events?fieldSelector=involvedObject.name=$1" | jq -r '.items[].reason'; }
pod_of() { # pod_of NAMESPACE NAME SECRET
	pod_json "$2" "{\"creds\": {\"secretName\": \"$3\"}}" | jq --arg ns "$1" '.metadata.namespace = $ns' | kapply
}
secret_of() { secret_json "$2" "password=$3" | jq --arg ns "$1" '.metadata.namespace = $ns' | kapply; } # secret_of NAMESPACE NAME VALUE

api POST $core/nodes '{"metadata": {"name": "node-1"}}' >/dev/null
api PATCH $core/nodes/node-1/status '{"status": {"allocatable": {"cpu": "4", "memory": "8Gi"}}}' >/dev/null
api POST $mine/serviceaccounts '{"metadata": {"name": "default"}, "imagePullSecrets": [{"name": "pull"}]}' >/dev/null
put_secret db password=one
jq -n '{apiVersion: "v1", kind: "Secret", type: "kubernetes.io/dockerconfigjson", metadata: {name: "pull"},
	stringData: {".dockerconfigjson": "{\"auths\":{\"r.example.com\":{\"auth\":\"dTpw\"}}}"}}' | kapply
jq -n '{apiVersion: "v1", kind: "ConfigMap", metadata: {name: "settings"}, data: {level: "3"}}' | kapply
pod_of default web db
# a volume of each of the other sources
pod_json all '{}' '{"serviceAccountName": "default", "volumes": [{"name": "conf", "configMap": {"name": "settings"}},
	{"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]}},
	{"name": "node", "downwardAPI": {"items": [{"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu"}}]}}],
	"containers": [{"name": "main", "image": "none", "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
		"volumeMounts": [{"name": "conf", "mountPath": "/conf"}, {"name": "token", "mountPath": "/token"}, {"name": "node", "mountPath": "/node"}]}]}' | kapply
pod_of default lacks missing
secret_of other db two
pod_of other web db

start
require "$log" "a pod's Secret is there" ready web
check "and all other sources" ready all
check_equal "it is this account's doing" "$(status '[.source.kind, .source.location] | join(" ")')" "api-server https://127.0.0.1:$kube_port"
put_secret db password=three
check "a rotation is followed" eventually 20 '[ "$(value default web)" = three ]'
check "and told" eventually 20 'event_of web | grep -qx SecretRotated'
check "so is a failure" eventually 20 'event_of lacks | grep -qx FailedMount'
check_equal "a Secret is fetched" "$(ask refresh default/db >/dev/null; echo $?)" 0
check_equal "an environment" "$(ask env default/all main)" PASSWORD=three
check_equal "pull credentials" "$(ask pull-config default/all | jq -r '.auths | keys[]')" r.example.com
check "a namespace without a binding is refused" eval \
	'ask volumes other/web | grep -qE "cannot (list|get) resource .secrets. in API group .. in the namespace .other."'
check_equal "and shows nothing" "$(value other web)" ""
check "the reason is no Event there: that is refused, too" test -z "$(api GET $other/events | jq -r '.items[].reason')"
apply "$(object RoleBinding secretlet:objects | jq '.metadata.namespace = "other"')" >/dev/null
check "until access.yaml is applied to it" eventually 60 '[ "$(value other web)" = two ]'

# --- narrower: by name
api POST $rbac/namespaces/narrow/roles '{"metadata": {"name": "one"}, "rules": [{"apiGroups": [""], "resources": ["secrets"],
	"resourceNames": ["db"], "verbs": ["get", "list", "watch"]}]}' >/dev/null
api POST $rbac/namespaces/narrow/rolebindings '{"metadata": {"name": "one"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
	"kind": "Role", "name": "one"}, "subjects": [{"kind": "ServiceAccount", "name": "secretlet", "namespace": "secretlet"}]}' >/dev/null
secret_of narrow db four
secret_of narrow more five
pod_of narrow web db
pod_of narrow greedy more
check "a Role with resourceNames is enough" eventually 60 '[ "$(value narrow web)" = four ]'
secret_of narrow db six
check "also to follow it" eventually 20 '[ "$(value narrow web)" = six ]'
check "and for this name alone" eventually 20 'ask volumes narrow/greedy | grep -q "cannot list resource \"secrets\""'
secretlet_stop
check_equal "it ends well" $? 0
check "the token is not in the log" not grep -qF "$token" "$log"

# ---- without each verb

# without ROLE RESOURCE VERB CONDITION: the daemon starts while the role lacks this; the shell line CONDITION becomes true
without() {
	local role=$1 resource=$2 verb=$3 condition=$4 before last
	before=$(object ClusterRole "secretlet:$role")
	api PUT "$rbac/clusterroles/secretlet:$role" "$(jq --arg resource "$resource" --arg verb "$verb" '
		.rules |= [.[] | .resources[] as $r | {apiGroups, resources: [$r], verbs: (if $r == $resource then .verbs - [$verb] else .verbs end)}
			| select(.verbs != [])]' <<<"$before")" >/dev/null
	eventually 20 "! can '$verb' '${resource%%/*}' default '$(cut -s -d/ -f2 <<<"$resource")'"
	last=$log
	log=$TEST_DIR/without-$role-${resource//\//-}-$verb.log
	start
	check "without $verb of $resource: $condition" eventually 40 "$condition"
	secretlet_stop
	log=$last
	api PUT "$rbac/clusterroles/secretlet:$role" "$before" >/dev/null
	eventually 20 "can '$verb' '${resource%%/*}' default '$(cut -s -d/ -f2 <<<"$resource")'"
}
# not allowed VERB RESOURCE, in what is read
denied() { grep -qE "cannot $1 resource \\\\?\"$2\\\\?\""; }
# get of pods is for a list that has none (agent/source_api_doubt.c), which a server does not make when it is asked to: test_source_api
without pods pods list 'status .source.lastError | denied list pods'
without pods pods watch 'status ".problems[]" | denied watch pods'
without objects secrets list 'volumes web | denied list secrets'
without objects secrets watch 'denied watch secrets <"$log"'
without objects secrets get 'ask env default/all main 2>&1 | denied get secrets'
without objects configmaps list 'volumes all | denied list configmaps'
without objects configmaps watch 'denied watch configmaps <"$log"'
without tokens serviceaccounts/token create 'volumes all | denied create serviceaccounts/token'
without node nodes get 'volumes all | grep -q "what is allocatable on the node is not known"'
without accounts serviceaccounts get 'ask pull-config default/all 2>&1 | denied get serviceaccounts'
without events events create 'denied create events <"$log"'
without events events patch 'denied patch events <"$log"'

# ---- as a node: node-csr, with a bootstrap token

if command -v kubectl >/dev/null; then
	api POST $core/namespaces/kube-system/secrets '{"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token",
		"stringData": {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}}' >/dev/null
	api POST $rbac/clusterrolebindings '{"metadata": {"name": "bootstrap"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
		"name": "system:node-bootstrapper"}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:bootstrappers"}]}' >/dev/null
	jq -n --arg server "https://127.0.0.1:$kube_port" --arg ca "$(base64 -w 0 <"$kube/ca.crt")" '{apiVersion: "v1", kind: "Config",
		clusters: [{name: "c", cluster: {server: $server, "certificate-authority-data": $ca}}],
		users: [{name: "u", user: {token: "abcdef.0123456789abcdef"}}],
		contexts: [{name: "x", context: {cluster: "c", user: "u"}}], "current-context": "x"}' >"$TEST_DIR/bootstrap"
	certificates=/apis/certificates.k8s.io/v1/certificatesigningrequests
	# sign NAME: what an administrator, or the approver and the signer of kube-controller-manager, do
	sign() {
		local csr
		csr=$(api GET "$certificates/$1")
		csr=$(api PUT "$certificates/$1/approval" "$(jq '.status.conditions = [{type: "Approved", status: "True", reason: "test"}]' <<<"$csr")") || return 1
		jq -r .spec.request <<<"$csr" | base64 -d >"$TEST_DIR/$1.csr"
		openssl x509 -req -in "$TEST_DIR/$1.csr" -CA "$kube/ca.crt" -CAkey "$kube/ca.key" -CAcreateserial -days 1 \
			-extfile <(echo extendedKeyUsage=clientAuth) -out "$TEST_DIR/$1.crt" 2>>"$TEST_DIR/openssl.out"
		api PUT "$certificates/$1/status" "$(jq --arg certificate "$(base64 -w 0 <"$TEST_DIR/$1.crt")" '.status.certificate = $certificate' <<<"$csr")" >/dev/null
	}
	pending() { api GET "$certificates" | jq -er '.items[] | select(.status.conditions == null) | .metadata.name'; }
	identity() { # identity NODE KUBECONFIG: as the README says it
		local asks
		"$deploy/node-csr" "$1" "$2" "$TEST_DIR/identity" 2>>"$TEST_DIR/csr.out" &
		asks=$!
		eventually 20 pending && sign "$(pending)"
		wait "$asks"
	}
	require "$TEST_DIR/csr.out" "node-csr gets a certificate with a bootstrap token" identity node-1 "$TEST_DIR/bootstrap"
	check_equal "its user and group" "$(openssl x509 -noout -subject -nameopt RFC2253 -in "$TEST_DIR/identity/node.pem")" \
		"subject=CN=system:node:node-1,O=system:nodes"
	check_equal "the key is root's alone" "$(stat -c '%a %U' "$TEST_DIR/identity/node.pem")" "600 root"
	log=$TEST_DIR/node.log
	secretlet_start --kubeconfig "$TEST_DIR/identity/kubeconfig" --node-name node-1
	require "$log" "the daemon runs with it" ready web
	check_equal "it sees what the ServiceAccount saw" "$(value default web) $(value other web)" "three two"
	check "it renews its own" identity node-1 "$TEST_DIR/identity/kubeconfig"
	check "the new one is taken" eventually 60 'grep -q "new client certificate in use" "$log"'
	node=(kubectl --kubeconfig "$TEST_DIR/identity/kubeconfig")
	check_contains "a node cannot read all Secrets" "$("${node[@]}" auth can-i list secrets 2>>"$TEST_DIR/kubectl.out")" no
	check_contains "nor one that no pod of it names" "$("${node[@]}" get secret pull 2>&1)" "forbidden"
	api POST $core/nodes '{"metadata": {"name": "node-2"}}' >/dev/null
	check_contains "nor change another node (NodeRestriction)" "$("${node[@]}" label node node-2 a=b 2>&1)" "forbidden"
	secretlet_stop
	check_equal "it ends well, too" $? 0
else
	tap_skip "node-csr" "kubectl is not installed"
fi
tap_done
