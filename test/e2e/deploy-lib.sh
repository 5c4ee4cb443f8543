# deploy/kubernetes, for the scripts that try it; sourced after lib.sh.
# shellcheck shell=bash disable=SC2034,SC2154
deploy=$(realpath "$lib_here/../../deploy/kubernetes")
core=/api/v1 rbac=/apis/rbac.authorization.k8s.io/v1 review=/apis/authorization.k8s.io/v1
kube_flags=(--allow-privileged=true) # DaemonSets of privileged pods

deploy_objects() { # all objects of deploy/kubernetes, as a JSON array in $TEST_DIR/objects.json
	"$lib_here/../lib/pods.py" objects "$deploy"/{namespace,serviceaccount,rbac,access,configmap,daemonset}.yaml >"$TEST_DIR/objects.json" ||
		bail "the manifests are read"
}
object() { # object KIND NAME
	jq -c --arg kind "$1" --arg name "$2" '.[] | select(.kind == $kind and .metadata.name == $name)' "$TEST_DIR/objects.json"
}
each_object() { # with the bindings of access.yaml in namespace default
	jq -c '.[] | if .kind == "RoleBinding" then .metadata.namespace = "default" else . end' "$TEST_DIR/objects.json"
}
# collection OBJECT: where it is
collection() {
	jq -r '(if .apiVersion == "v1" then "/api/v1" else "/apis/" + .apiVersion end) +
		(if .metadata.namespace then "/namespaces/" + .metadata.namespace else "" end) +
		"/" + (.kind | ascii_downcase) + "s"' <<<"$1"
}
# apply OBJECT [PARAMETERS]: server-side apply, as the administrator; this refuses what is in no schema, also in v1.20, which does
# not know fieldValidation yet
apply() {
	curl -sS -A e2e --fail-with-body --cacert "$kube/ca.crt" --cert "$kube/admin.crt" --key "$kube/admin.key" -X PATCH \
		-H 'Content-Type: application/apply-patch+yaml' --data-binary "$1" \
		"https://127.0.0.1:$kube_port$(collection "$1")/$(jq -r '.metadata.name | @uri' <<<"$1")?fieldManager=deploy${2:-}" \
		2>>"$TEST_DIR/curl.out"
}
# The ServiceAccount, as the kubelet has it: a token for an hour
account_token() {
	api POST $core/namespaces/secretlet/serviceaccounts/secretlet/token '{"apiVersion": "authentication.k8s.io/v1",
		"kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}' | jq -r .status.token
}
# mount_account DIR TOKEN: what a pod gets of it
mount_account() {
	mkdir -p "$1"
	printf %s "$2" >"$1/token"
	cp "$kube/ca.crt" "$1/ca.crt"
	printf secretlet >"$1/namespace"
}
