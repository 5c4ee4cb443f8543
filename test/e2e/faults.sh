#!/usr/bin/env bash
# timeout: 900
# What happens to a real cluster and must not be noticed by pods: certificates, CAs and tokens that rotate, rights that come
# and go, history that is compacted, and an etcd that is restored from an older state. The daemon is never restarted.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kube_up
content() { cat "$(volume "$1" "$2")/$3" 2>/dev/null; }
shows() { # shows POD TEXT
	[ "$(content "$1" v key)" = "$2" ]
}
# A reflector that has found nobody several times waits for up to a minute before it tries again.
becomes() { eventually 120 "shows $1 $2"; } # becomes POD TEXT
update() { # update WHAT SECRET POD TEXT: a change at the server reaches the pod
	put_secret "$2" "key=$4"
	check "$1" becomes "$3" "$4"
}
put_file() { # put_file NAME: stdin, into place by a rename
	cat >"$kube/$1.new"
	mv "$kube/$1.new" "$kube/$1"
}
connected() { [ "$(status .source.connected)" = true ]; }
restart_apiserver() {
	kube_stop_apiserver
	require "$TEST_DIR/apiserver.out" "the API server is back" kube_apiserver_up
}
same_daemon() { [ "$(pgrep -P "$secretlet_pid" | xargs)" = "$children" ]; }
openssl_ca() { # openssl_ca NAME
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$kube/$1.key" -out "$kube/$1.crt" \
		-subj "/CN=$1" -days 2 2>>"$TEST_DIR/openssl.out"
}
openssl_sign() { # openssl_sign NAME SUBJECT CA: NAME.crt and NAME.key, both into place by renames
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$kube/$1.key.new" -out "$kube/$1.csr" \
		-subj "$2" 2>>"$TEST_DIR/openssl.out"
	openssl x509 -req -in "$kube/$1.csr" -CA "$kube/$3.crt" -CAkey "$kube/$3.key" -CAcreateserial -out "$kube/$1.crt.new" \
		-days 2 -extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1) 2>>"$TEST_DIR/openssl.out"
	mv "$kube/$1.key.new" "$kube/$1.key"
	mv "$kube/$1.crt.new" "$kube/$1.crt"
}

# ---- a node, with a client certificate

# what the daemon trusts is a file of its own: `ca.crt` stays what the administrator's curl trusts
cp "$kube/ca.crt" "$kube/bundle.crt"
sed 's#certificate-authority: ca.crt#certificate-authority: bundle.crt#' "$kube/node-1.kubeconfig" >"$kube/daemon.kubeconfig"
# what is doubted is said again after five times syncFrequency; and an agent is stopped below for longer than one may hang
printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "syncFrequency: 4s" "agentHangTimeout: 5m" >"$TEST_DIR/secretlet.yaml"
secretlet_start --config "$TEST_DIR/secretlet.yaml" --kubeconfig "$kube/daemon.kubeconfig" --node-name node-1
put_secret db key=1
put_pod app '{"v": {"secretName": "db"}}'
require "$log" "a pod becomes ready" ready app
children=$(pgrep -P "$secretlet_pid" | xargs)

# --- the client certificate: after this the old one is worth nothing
openssl_ca client-ca-2
openssl_sign node-1 "/O=system:nodes/CN=system:node:node-1" client-ca-2
openssl_sign admin-2 "/O=system:masters/CN=admin" client-ca-2
cp "$kube/ca.crt" "$kube/old-ca.crt"
kube_start_apiserver_with() { # kube_start_apiserver_with CLIENT_CA: lib.sh starts it with ca.crt
	cp "$kube/ca.crt" "$kube/serving-ca.crt"
	cp "$kube/$1.crt" "$kube/ca.crt"
}
kube_stop_apiserver
kube_start_apiserver_with client-ca-2
# the administrator still trusts the old serving CA and has a certificate of the new client CA
api() {
	local method=$1 path=$2 type=application/json
	[ "$method" != PATCH ] || type=application/merge-patch+json
	curl -sS -A e2e --fail-with-body --cacert "$kube/bundle.crt" --cert "$kube/admin-2.crt" --key "$kube/admin-2.key" \
		-X "$method" -H "Content-Type: $type" ${3:+--data-binary "$3"} "https://127.0.0.1:$kube_port$path" \
		2>>"$TEST_DIR/curl.out"
}
require "$TEST_DIR/apiserver.out" "the API server takes another client CA" kube_apiserver_up
update "a rotated client certificate is used" db app 2

# --- the CA of the server: old and new, a new certificate, then the new one alone
openssl_ca serving-ca-2
cat "$kube/serving-ca.crt" "$kube/serving-ca-2.crt" | put_file bundle.crt
openssl_sign apiserver "/CN=kube-apiserver" serving-ca-2
restart_apiserver
update "a server with a certificate of the new CA is trusted" db app 3
put_file bundle.crt <"$kube/serving-ca-2.crt"
update "with the new CA alone, too" db app 4
# a server that cannot be trusted: nothing is believed, nothing is lost
openssl_ca foreign-ca
openssl_sign apiserver "/CN=kube-apiserver" foreign-ca
kube_stop_apiserver
kube_start_apiserver
check "a server of another CA is refused" eventually 120 "! connected && status .source.lastError | grep -qi certificate"
check "what is published stays" shows app 4
openssl_sign apiserver "/CN=kube-apiserver" serving-ca-2
restart_apiserver
update "the right one is trusted again" db app 5

# --- history that is gone: watches get 410 after the restart
revision=$(curl -s -X POST -d '{}' "http://127.0.0.1:$kube_etcd_port/v3/maintenance/status" | jq -r .header.revision)
check_equal "etcd compacts its history" "$(curl -s -o /dev/null -w '%{http_code}' -X POST \
	-d "{\"revision\": \"$revision\", \"physical\": true}" "http://127.0.0.1:$kube_etcd_port/v3/kv/compaction")" 200
restart_apiserver
update "a compacted history does no harm" db app 6

# --- an older state of etcd comes back: resourceVersions go backwards
put_secret old key=before
put_pod keeps '{"v": {"secretName": "old"}}'
check "a pod that will be in the restored state" ready keeps 120
kube_stop_apiserver
kill "$kube_etcd_pid"
wait "$kube_etcd_pid" 2>/dev/null
cp -a "$kube/etcd" "$kube/etcd.saved"
kube_start_etcd
require "$TEST_DIR/apiserver.out" "etcd and the API server are back" kube_apiserver_up
for i in $(seq 20); do put_secret old "key=after-$i"; done
put_secret late key=1
put_pod late '{"v": {"secretName": "late"}}'
check "a pod that will not" ready late 120 # the node asks a server that has been away often as rarely as one that was away for long
check "an update that will not" becomes keeps after-20
late_uid=$(basename "$(realpath "$pods/by-name/default/late")")
kube_stop_apiserver
kill "$kube_etcd_pid"
wait "$kube_etcd_pid" 2>/dev/null
rm -rf "$kube/etcd"
mv "$kube/etcd.saved" "$kube/etcd"
kube_start_etcd
require "$TEST_DIR/apiserver.out" "the restored API server is back" kube_apiserver_up
check "the restored content is shown" becomes keeps before
check "a pod that is not in the restored state is doubted" eventually 120 \
	"grep -q 'gone back to an older state; 1 pod has vanished at once, .* until it says so again' '$log'"
check "and stays, for now" test -e "$pods/$late_uid"
check "it goes when that is said again" eventually 120 "[ ! -e '$pods/$late_uid' ]"
check "the others stay" shows app 6
update "updates arrive" old keeps again
check "the daemon is healthy" eventually 120 healthy

# --- all pods are deleted while the node is cut off: the API server, though another process by then, has them in its storage's memory
agent=$(pgrep -P "$secretlet_pid" -f internal-agent)
kube_stop_apiserver
check "the outage is seen" eventually 120 not connected
kill -STOP "$agent"
require "$TEST_DIR/apiserver.out" "the API server is back" kube_apiserver_up
for pod in app keeps; do api DELETE "/api/v1/namespaces/default/pods/$pod?gracePeriodSeconds=0" >/dev/null; done
kill -CONT "$agent"
check "the node's last pods go" eventually 120 "[ -z \"\$(find '$pods/by-name' -type l)\" ]"
check_equal "without having to be said again" "$(grep -c 'pods of the node have vanished at once' "$log")" 0
check "after they were asked for" grep -q "the list of pods is empty; each of the 2 known ones is asked for" "$log"
put_pod app '{"v": {"secretName": "db"}}'
check "another pod comes" ready app 120
check "it is the same daemon all along" same_daemon
secretlet_stop
check_equal "its exit status" $? 0

# ---- a service account with a role, and a token in a file

rbac=/apis/rbac.authorization.k8s.io/v1
# shellcheck disable=SC2034 # used by the eval below
role='{"metadata": {"name": "secretlet"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
	{"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get", "list", "watch"]},
	{"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
	{"apiGroups": [""], "resources": ["serviceaccounts", "nodes"], "verbs": ["get"]},
	{"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]}]}'
binding='{"metadata": {"name": "secretlet"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
	"name": "secretlet"}, "subjects": [{"kind": "ServiceAccount", "name": "secretlet", "namespace": "default"}]}'
account() { api POST /api/v1/namespaces/default/serviceaccounts '{"metadata": {"name": "secretlet"}}' >/dev/null; }
token() {
	api POST /api/v1/namespaces/default/serviceaccounts/secretlet/token '{"spec": {"expirationSeconds": 600}}' |
		jq -r .status.token | put_file token
}
grant() { api POST "$rbac/clusterrolebindings" "$binding" >/dev/null; }
revoke() { api DELETE "$rbac/clusterrolebindings/secretlet" >/dev/null; }
check "a role like the README's" eval 'api POST "$rbac/clusterroles" "$role" >/dev/null'
account
grant
token
sed 's#user: {client-certificate.*#user: {tokenFile: token}}]#' "$kube/daemon.kubeconfig" >"$kube/token.kubeconfig"
secretlet_start --kubeconfig "$kube/token.kubeconfig" --node-name node-1
check "a pod becomes ready with a token" ready app
children=$(pgrep -P "$secretlet_pid" | xargs)

# --- rights
revoke
# running watches go on; what is asked for anew is refused
restart_apiserver
check "without rights the server's words are shown" eventually 120 "status .source.lastError | grep -q 'forbidden: User \"system:serviceaccount:default:secretlet\"'"
put_secret db key=unseen
check "what is published stays" shows app 6
check "status is not healthy" not healthy
grant
check "with rights it goes on" becomes app unseen
check "and is healthy" eventually 90 healthy

# --- the token: its account goes, and so does what it is worth; another comes with a new token
api DELETE /api/v1/namespaces/default/serviceaccounts/secretlet >/dev/null
restart_apiserver
check "a token of an account that is gone is refused" eventually 120 "status .source.lastError | grep -qi -e 401 -e unauthorized"
check "what is published stays" shows app unseen
account
token
update "a new token is used" db app 7
check "it is healthy" eventually 90 healthy
check "it is the same daemon all along" same_daemon
check_equal "no token is in the log" "$(grep -cF "$(cut -c 1-40 "$kube/token")" "$log")" 0
secretlet_stop
check_equal "its exit status" $? 0
tap_done
