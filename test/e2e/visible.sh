#!/usr/bin/env bash
# timeout: 300
# What a reader sees of a volume's origin and age, against a real API server and as system:node:node-1: the resourceVersion and
# uid that kubectl shows, through rotations, a revision without a new value and a recreated Secret; an error while RBAC
# does not let the daemon have it; all of it with agents that die while there is no API server.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kube_up
# of the daemon's own identity, which is no node's: what RBAC gives to it can be taken away
(cd "$kube" && openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout agent.key -out agent.csr \
	-subj /CN=agent && openssl x509 -req -in agent.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out agent.crt \
	-days 2) >>"$TEST_DIR/openssl.out" 2>&1 || bail "certificates" "$TEST_DIR/openssl.out"
kube_kubeconfig agent
rbac=/apis/rbac.authorization.k8s.io/v1
api POST $rbac/clusterroles '{"metadata": {"name": "agent"}, "rules": [
	{"apiGroups": [""], "resources": ["pods", "nodes", "configmaps"], "verbs": ["get", "list", "watch"]}]}' >/dev/null
api POST $rbac/clusterrolebindings '{"metadata": {"name": "agent"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
	"kind": "ClusterRole", "name": "agent"}, "subjects": [{"kind": "User", "name": "agent"}]}' >/dev/null
api POST $rbac/namespaces/default/roles '{"metadata": {"name": "secrets"}, "rules": [
	{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}]}' >/dev/null
let_read() {
	api POST $rbac/namespaces/default/rolebindings '{"metadata": {"name": "secrets"}, "roleRef": {"apiGroup":
		"rbac.authorization.k8s.io", "kind": "Role", "name": "secrets"}, "subjects": [{"kind": "User", "name": "agent"}]}' >/dev/null
}
let_read
secret=/api/v1/namespaces/default/secrets/db
theirs() { api GET $secret | jq -r ".metadata.$1"; } # what kubectl shows
attribute() { getfattr --only-values --absolute-names -n "user.secretlet.$2" "$1" 2>/dev/null; } # attribute PATH NAME
is() { [ "$(attribute "$1" "$2")" = "$3" ]; }
report() { "$secretlet" volumes --runtime-dir "$run" -o json default/app | jq -r ".volumes[0]$1"; }
# as a process of another user in a mount namespace of its own, with the volume at /v, would see it
inside() { # inside NAME: of the file and the folder
	unshare -m bash -c 'mkdir -p "$2/v" && mount --rbind -o ro "$1" "$2/v" && cd "$2/v" && setpriv --reuid 1000 --clear-groups \
		getfattr --only-values -n "user.secretlet.$3" key . | tr -d "\n"' - "$vol/." "$TEST_DIR" "$1" 2>>"$TEST_DIR/inside.err"
}
agrees() { # agrees WHEN: within a moment
	local version uid
	version=$(theirs resourceVersion) uid=$(theirs uid)
	check "$1: the folder has the resourceVersion that the API server shows" eventually 20 "is '$vol' resourceVersion $version"
	check_equal "$1: and its uid" "$(attribute "$vol" uid)" "$uid"
	check_equal "$1: the file has both" "$(attribute "$vol/key" resourceVersion) $(attribute "$vol/key" uid)" "$version $uid"
	check_equal "$1: as a container's user sees them" "$(inside resourceVersion) $(inside uid)" "$version$version $uid$uid"
	check_equal "$1: volumes -o json says the same" "$(report '|"\(.sources[0].resourceVersion) \(.sources[0].uid) \(.updated)"')" \
		"$version $uid $(attribute "$vol" updated)"
}

put_secret db key=one
put_pod app '{"v": {"secretName": "db"}}'
printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' 'syncFrequency: 2s' 'extendedAttributes: true' >"$TEST_DIR/config.yaml"
secretlet_start --config "$TEST_DIR/config.yaml" --kubeconfig "$kube/agent.kubeconfig" --node-name node-1
require "$log" "the pod becomes ready" ready app
vol=$(volume app v)
agrees "at first"
check "no error" is "$vol" error ''

# --- changes
exec 7<"$vol/key"
old="$(theirs resourceVersion)"
put_secret db key=two
check "a rotation is seen" eventually 20 "[ \"\$(cat '$vol/key')\" = two ]"
agrees "rotated"
check_equal "what was opened before is of the one before" "$(attribute /proc/self/fd/7 resourceVersion)" "$old"
exec 7<&-
updated=$(attribute "$vol" updated)
api PATCH $secret '{"metadata": {"labels": {"tensorstack.dev/resource": "s3-cfg"}}}' >/dev/null
agrees "another label"
check_equal "nothing was published for it" "$(attribute "$vol" updated)" "$updated"
kdelete secret db
check "a deleted Secret is said to be missing" eventually 20 "is '$vol' error 'secret \"db\" not found'"
put_secret db key=three
check "recreated" eventually 20 "[ \"\$(cat '$vol/key')\" = three ]"
agrees "recreated"
check "the error has gone" eventually 20 "is '$vol' error ''"

# --- RBAC
api DELETE $rbac/namespaces/default/rolebindings/secrets >/dev/null
"$secretlet" refresh --runtime-dir "$run" default/db >"$TEST_DIR/refresh.out" 2>&1
check "without the right to read it there is an error" eventually 30 "attribute '$vol' error | grep -q 'secrets \"db\" is forbidden: User \"agent\" cannot'"
check_equal "of the file, too, in the same words as volumes -o json" "$(attribute "$vol/key" error)" "$(report .error)"
check_equal "as a container's user sees it" "$(inside error)" "$(report .error)$(report .error)"
check_equal "what is shown stays, and what it is of" "$(cat "$vol/key") $(attribute "$vol" resourceVersion)" "three $(theirs resourceVersion)"
let_read
check "with the right the error goes" eventually 60 "is '$vol' error ''"
put_secret db key=four
check "and rotations are seen again" eventually 20 "[ \"\$(cat '$vol/key')\" = four ]"
agrees "after that"

# --- secrets
listed() { "$secretlet" secrets --runtime-dir "$run" "$@"; }
api PATCH $secret '{"metadata": {"labels": {"tensorstack.dev/resource": "s3-cfg", "app": "web", "empty": ""}}}' >/dev/null
check "labels are shown" eventually 20 "'$secretlet' secrets --runtime-dir '$run' | grep -q 'app=web,empty=,tensorstack.dev/resource=s3-cfg'"
# the same selectors select the same, and what one of them refuses the other refuses
ours() { listed -o json -l "$1" >"$TEST_DIR/ours" 2>/dev/null && jq -r '[.secrets[].name] | join(",")' "$TEST_DIR/ours" || echo refused; }
there() {
	api GET "/api/v1/namespaces/default/secrets?labelSelector=$(jq -rn --arg s "$1" '$s | @uri')" >"$TEST_DIR/there" &&
		jq -r '[.items[].metadata.name] | join(",")' "$TEST_DIR/there" || echo refused
}
for selector in 'tensorstack.dev/resource=s3-cfg' 'tensorstack.dev/resource==s3-cfg' 'tensorstack.dev/resource!=s3-cfg' \
	'tensorstack.dev/resource in (s3-cfg, other)' 'tensorstack.dev/resource notin (s3-cfg)' 'tensorstack.dev/resource' \
	'!tensorstack.dev/resource' 'app in (web),tensorstack.dev/resource' 'app=web,tensorstack.dev/resource!=s3-cfg' \
	'resource=s3-cfg' 'tensorstack.dev/resource in ()' 'empty in ()' 'empty in (,)' 'empty notin ()' 'empty=' 'app notin ()' 'tensorstack.dev/a/b=c' '=x' 'app=we b' 'app in (web' 'a b'; do
	check_equal "-l '$selector' selects what the API server selects" "$(ours "$selector")" "$(there "$selector")"
done

# --- nobody to ask
agrees "before the API server goes"
version=$(theirs resourceVersion) uid=$(theirs uid)
kube_stop_apiserver
agent=$(pgrep -f -P "$secretlet_pid" secretlet-agent)
kill -9 "$agent"
check_equal "an agent that has just begun says what is shown" "$(attribute "$vol" resourceVersion) $(attribute "$vol/key" uid)" "$version $uid"
check "and that it does not know whether it is the newest" [ -n "$(attribute "$vol" error)" ]
kube_apiserver_up
check "until it has asked" eventually 60 "is '$vol' error ''"
agrees "with an API server again"

check "the daemon is healthy" healthy
secretlet_stop
check "and stops" not mounted
tap_done
