#!/usr/bin/env bash
# timeout: 240
# The daemon as a pod of the cluster: nothing on its command line says where the API server is. Its service account is a
# folder as the kubelet makes it, whose token and CA are exchanged while it runs. Runs in a private mount namespace
# (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log objects=$TEST_DIR/objects pki=$TEST_DIR/pki
account=/var/run/secrets/kubernetes.io/serviceaccount
chmod 755 "$TEST_DIR"
mkdir "$objects" "$pki"
mount -t tmpfs none "$(realpath /var/run)" || exit 1
mkdir -p "$account"

make_ca() { # make_ca NAME: a CA, and a certificate of it for the server
	local new=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
	openssl req -x509 "${new[@]}" -keyout "$pki/$1.key" -out "$pki/$1.crt" -subj "/CN=$1" -days 2
	openssl req "${new[@]}" -keyout "$pki/$1-server.key" -out "$pki/$1.csr" -subj /CN=kube-apiserver
	openssl x509 -req -in "$pki/$1.csr" -CA "$pki/$1.crt" -CAkey "$pki/$1.key" -CAcreateserial -out "$pki/$1-server.crt" \
		-days 2 -extfile <(echo subjectAltName=IP:127.0.0.1)
} 2>>"$TEST_DIR/openssl.out"
n_versions=0
mount_account() { # mount_account TOKEN CA...: all files change at once
	n_versions=$((n_versions + 1))
	mkdir "$account/..$n_versions"
	printf %s "$1" >"$account/..$n_versions/token"
	printf default >"$account/..$n_versions/namespace"
	shift
	(cd "$pki" && cat "${@/%/.crt}") >"$account/..$n_versions/ca.crt"
	ln -s "..$n_versions" "$account/..data_tmp"
	mv -T "$account/..data_tmp" "$account/..data"
	for name in token namespace ca.crt; do
		[ -L "$account/$name" ] || ln -s "..data/$name" "$account/$name"
	done
	rm -rf "$account/..$((n_versions - 1))"
}
n_values=0
objects() { # objects VALUE: the last of the Secret's values; the server counts all, so its resourceVersions go on
	n_values=$((n_values + 1))
	printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"default"},"data":{"password":"%s"}}' \
		"$(printf %s "$1" | base64)" >"$objects/secret-$n_values.json"
	cat >"$objects/a-pod.json" <<-'J'
	{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "app", "namespace": "default", "uid": "uid-app"}, "spec": {
		"nodeName": "node-1", "volumes": [{"name": "creds", "secret": {"secretName": "db"}}],
		"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "creds", "mountPath": "/c"}]}]}}
	J
}
port=$(free_port)
server_start() { # server_start TOKEN CA VALUE
	objects "$3"
	printf %s "$1" >"$TEST_DIR/expected-token"
	: >"$TEST_DIR/server.out"
	"$TEST_BUILD_DIR/apiserver" --port "$port" --cert "$pki/$2-server.crt" --key "$pki/$2-server.key" \
		--token-file "$TEST_DIR/expected-token" --load "$objects" >"$TEST_DIR/server.out" 2>>"$TEST_DIR/server.err" &
	server=$!
	eventually 10 "grep -q https '$TEST_DIR/server.out'"
}
server_stop() {
	kill "$server"
	wait "$server" 2>/dev/null
}
export KUBERNETES_SERVICE_HOST=127.0.0.1 KUBERNETES_SERVICE_PORT=$port
daemon=("$secretlet" run --node-name node-1 --pods-dir "$pods" --runtime-dir "$run")
refuses() { # refuses NAME WORDS [NAME=VALUE...]
	local name=$1 words=$2 out rc
	shift 2
	out=$(timeout 20 env "$@" "${daemon[@]}" 2>&1)
	rc=$?
	check "$name: exit status $rc" test "$rc" = 1 -o "$rc" = 2 -o "$rc" = 78
	check_contains "$name: says why" "$out" "$words"
}
health() { "$secretlet" status --runtime-dir "$run" -o json | jq -r "$1"; }
value() { cat "$pods/by-name/default/app/volumes/kubernetes.io~secret/creds/password" 2>/dev/null; }
becomes() { eventually 90 "[ \"\$(value)\" = $1 ]"; }
children() { pgrep -P "$keeper" | sort -n | xargs; }

make_ca first
make_ca second

# --- what is no pod
refuses "without the folder" "nothing says where Secrets come from"
mount_account token-one first
refuses "without the address" "nothing says where Secrets come from" KUBERNETES_SERVICE_HOST=
refuses "without the port" "nothing says where Secrets come from" KUBERNETES_SERVICE_PORT=
mount_account "" first
refuses "with an empty token" "the token is empty"
mount_account token-one first

# --- a pod
server_start token-one first one
"${daemon[@]}" 2>>"$log" &
keeper=$!
check "its Secrets come" becomes one
check_equal "from where its environment says" "$(health .source.location)" "https://127.0.0.1:$port"
check_equal "it is healthy" "$(health .healthy)" true
before=$(children)

# --- the token is exchanged, and the old one is worth nothing
mount_account token-two first
server_stop
server_start token-two first two
check "a new token is used" becomes two
check_equal "no refusal was told" "$(grep -c Unauthorized "$log")" 0
check_equal "once" "$(grep -c 'tokenFile: new token in use' "$log")" 1

# --- a token that is not the server's yet: what is published stays
server_stop
server_start token-three first three
check "a refused token is said" eventually 60 "health .source.lastError | grep -q Unauthorized"
check_equal "and takes nothing away" "$(value)" two
mount_account token-three first
check "the next one is found" becomes three

# --- the CA is exchanged: both first, then the new one alone
mount_account token-three first second
check "a bundle of both is taken" eventually 60 "grep -q 'new certificate authority in use' '$log'"
server_stop
server_start token-three second four
check "a server of the new CA is trusted" becomes four
check "it is healthy" eventually 60 "[ \"\$(health .healthy)\" = true ]"
check_equal "by the same processes" "$(children)" "$before"
check_equal "no token is in the log" "$(grep -c 'token-one\|token-two\|token-three' "$log")" 0
check_equal "nor in an environment or a command line" \
	"$(for p in "$keeper" $(children); do cat "/proc/$p/environ" "/proc/$p/cmdline"; done | grep -c 'token-one\|token-two\|token-three')" 0

kill "$keeper"
wait "$keeper"
check_equal "exit status" $? 0
server_stop
tap_done
