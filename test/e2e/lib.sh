# A real API server, and the daemon against it; sourced by test/e2e/*.sh, which test/run starts (TEST_DIR and
# TEST_BUILD_DIR are set, the mount namespace is private, and what is left running is killed).
# shellcheck shell=bash disable=SC2034
lib_here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=../lib/tap.sh
. "$lib_here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/secretlet.log
kube=$TEST_DIR/kube kube_apiserver_pid='' kube_etcd_pid=''
kube_flags=() # of a script, for kube-apiserver
secret_volumes="volumes/kubernetes.io~secret"

skip_all() { # skip_all REASON
	echo "$*"
	exit 77
}

# bail REASON [FILE]: nothing that follows would make sense; shows the end of FILE
bail() {
	tap_result "not ok" "$1" "$([ -z "${2:-}" ] || tail -n 30 "$2")"
	tap_done
	exit 1
}

# require LOG NAME COMMAND...: a check without which the rest makes no sense
require() {
	local file=$1 failed=$tap_failed
	shift
	check "$@"
	[ "$tap_failed" = "$failed" ] || bail "the rest of the script" "$file"
}

# ---- etcd and kube-apiserver: TLS, Node authorizer, RBAC, NodeRestriction

kube_certificates() (
	set -e
	mkdir -p "$kube"
	cd "$kube"
	new=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
	sign() { # sign NAME SUBJECT
		openssl req "${new[@]}" -keyout "$1.key" -out "$1.csr" -subj "$2"
		openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -out "$1.crt" -days 2 \
			-extfile <(echo subjectAltName=DNS:localhost,IP:127.0.0.1)
	}
	openssl req -x509 "${new[@]}" -keyout ca.key -out ca.crt -subj /CN=test-ca -days 2
	openssl genrsa -out sa.key 2048
	openssl rsa -in sa.key -pubout -out sa.pub
	sign apiserver /CN=kube-apiserver
	sign admin /O=system:masters/CN=admin
	sign node-1 /O=system:nodes/CN=system:node:node-1
	sign node-2 /O=system:nodes/CN=system:node:node-2
) >"$TEST_DIR/openssl.out" 2>&1

kube_kubeconfig() { # kube_kubeconfig USER
	cat >"$kube/$1.kubeconfig" <<-K
	apiVersion: v1
	kind: Config
	clusters: [{name: test, cluster: {server: "https://127.0.0.1:$kube_port", certificate-authority: ca.crt}}]
	users: [{name: $1, user: {client-certificate: $1.crt, client-key: $1.key}}]
	contexts: [{name: $1, context: {cluster: test, user: $1}}]
	current-context: $1
	K
}

kube_start_etcd() {
	local client peer
	client=http://127.0.0.1:$kube_etcd_port peer=http://127.0.0.1:$(free_port)
	"$KUBEBUILDER_ASSETS/etcd" --data-dir "$kube/etcd" --listen-client-urls "$client" --advertise-client-urls "$client" \
		--listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "default=$peer" \
		--unsafe-no-fsync >>"$TEST_DIR/etcd.out" 2>&1 </dev/null &
	kube_etcd_pid=$!
}

kube_start_apiserver() {
	"$KUBEBUILDER_ASSETS/kube-apiserver" --etcd-servers="http://127.0.0.1:$kube_etcd_port" --secure-port="$kube_port" \
		--bind-address=127.0.0.1 --tls-cert-file="$kube/apiserver.crt" --tls-private-key-file="$kube/apiserver.key" \
		--client-ca-file="$kube/ca.crt" --service-account-key-file="$kube/sa.pub" \
		--service-account-signing-key-file="$kube/sa.key" --service-account-issuer=https://kubernetes.default.svc \
		--service-cluster-ip-range=10.0.0.0/24 --authorization-mode=Node,RBAC \
		--enable-admission-plugins=NodeRestriction --disable-admission-plugins=ServiceAccount \
		--cert-dir="$kube" "${kube_flags[@]}" >>"$TEST_DIR/apiserver.out" 2>&1 </dev/null &
	kube_apiserver_pid=$!
}

kube_alive() { kill -0 "$kube_apiserver_pid" 2>/dev/null; }
kube_answers() { kube_alive && api GET /readyz >/dev/null && api GET /api/v1/namespaces/default >/dev/null; }
kube_apiserver_up() {
	kube_start_apiserver
	eventually 180 "kube_answers || ! kube_alive" # some seconds, but for a machine that has much else to do
	kube_answers
}

# With watches open it would take its time: what it has not done in 3 s it does not get to do.
kube_stop_apiserver() {
	kill "$kube_apiserver_pid"
	eventually 3 "! kube_alive" || kill -9 "$kube_apiserver_pid" || true
	wait "$kube_apiserver_pid" 2>/dev/null || true # with the signal's status: no reason for a script with errexit to end
}

kube_down() {
	kill -9 "$kube_apiserver_pid" "$kube_etcd_pid" 2>/dev/null || true
	wait "$kube_apiserver_pid" "$kube_etcd_pid" 2>/dev/null || true
}

# Starts both; skips the script when there are none to start. Another process may take a port in between: tried again.
kube_up() {
	local try program user
	[ -n "${KUBEBUILDER_ASSETS:-}" ] || skip_all "KUBEBUILDER_ASSETS is not set (a folder with kube-apiserver and etcd)"
	for program in kube-apiserver etcd; do
		[ -x "$KUBEBUILDER_ASSETS/$program" ] || skip_all "no $program in KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS"
	done
	trap kube_down EXIT
	kube_certificates || bail "certificates" "$TEST_DIR/openssl.out"
	for try in 1 2 3; do
		kube_port=$(free_port) kube_etcd_port=$(free_port)
		kube_start_etcd
		if kube_apiserver_up; then
			for user in admin node-1 node-2; do kube_kubeconfig "$user"; done
			return 0
		fi
		if kube_alive && kill -0 "$kube_etcd_pid" 2>/dev/null; then bail "kube-apiserver answers" "$TEST_DIR/apiserver.out"; fi
		kube_down
		rm -rf "$kube/etcd"
	done
	bail "kube-apiserver starts" "$TEST_DIR/apiserver.out"
}

# ---- the administrator, with curl

# api METHOD PATH [JSON]: prints the body; fails when the server refuses. Not as "curl": for that name the server indents
# its JSON, after which a v1.20 that was built with Go 1.19 panics on every object that it is sent.
api() {
	local method=$1 path=$2 type=application/json
	[ "$method" != PATCH ] || type=application/merge-patch+json
	curl -sS -A e2e --fail-with-body --cacert "$kube/ca.crt" --cert "$kube/${api_as:-admin}.crt" --key "$kube/${api_as:-admin}.key" \
		-X "$method" -H "Content-Type: $type" ${3:+--data-binary "$3"} "https://127.0.0.1:$kube_port$path" \
		2>>"$TEST_DIR/curl.out"
}

# kapply: the Secret or Pod on stdin, created or replaced
kapply() {
	local object path name
	object=$(cat)
	path=$(jq -r '"/api/v1/namespaces/\(.metadata.namespace // "default")/\(.kind | ascii_downcase)s"' <<<"$object")
	name=$(jq -r .metadata.name <<<"$object")
	if api GET "$path/$name" >/dev/null; then
		api PUT "$path/$name" "$object" >/dev/null
	else
		api POST "$path" "$object" >/dev/null
	fi
}

kdelete() { # kdelete secret|pod NAME [NS]: at once, as when the node has confirmed a pod's end
	api DELETE "/api/v1/namespaces/${3:-default}/$1s/$2?gracePeriodSeconds=0" >/dev/null
}

# secret_json NAME KEY=VALUE...
secret_json() {
	local name=$1
	shift
	jq -n --arg name "$name" '{apiVersion: "v1", kind: "Secret", metadata: {name: $name}, stringData: ($ARGS.positional
		| map(capture("^(?<key>[^=]*)=(?<value>.*)$"; "s")) | from_entries)}' --args -- "$@"
}

# pod_json NAME VOLUMES [SPEC]: volumes is {"volume": {secret source}...}, each mounted below /v; spec is merged in
pod_json() {
	jq -n --arg name "$1" --argjson volumes "$2" --argjson more "${3:-"{}"}" '{apiVersion: "v1", kind: "Pod",
		metadata: {name: $name}, spec: ({nodeName: "node-1", restartPolicy: "Never",
			volumes: [$volumes | to_entries[] | {name: .key, secret: .value}],
			containers: [{name: "main", image: "none",
				volumeMounts: [$volumes | keys[] | {name: ., mountPath: "/v/\(.)"}]}]} * $more)}'
}

put_secret() { secret_json "$@" | kapply; }
put_pod() { pod_json "$@" | kapply; }

# ---- the daemon

secretlet_start() { # secretlet_start [OPTION...]
	"$secretlet" run --pods-dir "$pods" --runtime-dir "$run" "$@" 2>>"$log" &
	secretlet_pid=$!
}
secretlet_stop() { # returns its exit status
	kill -TERM "$secretlet_pid"
	wait "$secretlet_pid"
}
ready() { # ready POD [SECONDS]
	"$secretlet" wait --quiet --runtime-dir "$run" --timeout "${2:-30}s" "default/$1" 2>>"$TEST_DIR/wait.out"
}
status() { # status JQ: a value of the daemon's status
	"$secretlet" status --runtime-dir "$run" -o json | jq -r "$1"
}
healthy() { "$secretlet" status --runtime-dir "$run" >"$TEST_DIR/status.out" 2>&1; }
volume() { # volume POD VOLUME: its folder
	echo "$pods/by-name/default/$1/$secret_volumes/$2"
}
mounted() { grep -q " $pods " /proc/self/mountinfo; }
