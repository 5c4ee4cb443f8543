# An API server for scale.sh and apiload.sh, which write down what it was asked: kube-apiserver, or, without KUBEBUILDER_ASSETS,
# the test API server (HTTP/1.1, so a connection for each watch). Sourced after lib.sh.
# shellcheck shell=bash disable=SC2034,SC2154
requests=$TEST_DIR/requests.log # of nodes, a JSON object each, as kube-apiserver's audit log has them

server_start() { # starts it, or starts it again
	if [ "$server" = test ]; then
		"$TEST_BUILD_DIR/apiserver" --port "$kube_port" --cert "$kube/apiserver.crt" --key "$kube/apiserver.key" \
			--request-log "$requests" --bookmark-msec 1000 --load "$TEST_DIR/objects" >>"$TEST_DIR/apiserver.out" 2>&1 &
		kube_apiserver_pid=$!
		eventually 30 'api GET /readyz' || die "the test API server does not start" "$TEST_DIR/apiserver.out"
	else
		kube_apiserver_up || die "kube-apiserver does not start" "$TEST_DIR/apiserver.out"
	fi
}

# server_up: sets server (its name), url, and what test/bench/scale needs
server_up() {
	if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
		server=kube-apiserver
		cat >"$TEST_DIR/audit.yaml" <<-A
		apiVersion: audit.k8s.io/v1
		kind: Policy
		omitStages: [ResponseStarted, ResponseComplete, Panic]
		rules: [{level: Metadata, userGroups: ["system:nodes"]}, {level: None}]
		A
		kube_flags+=(--audit-policy-file="$TEST_DIR/audit.yaml" --audit-log-path="$requests")
		kube_up
		trap bench_end EXIT
	else
		server="test"
		mkdir "$TEST_DIR/objects"
		kube_certificates || die "certificates" "$TEST_DIR/openssl.out"
		kube_port=$(free_port)
		server_start
		kube_kubeconfig node-1
	fi
	url=https://127.0.0.1:$kube_port
	export SCALE_CACERT=$kube/ca.crt
}

# as_admin COMMAND...: test/bench/scale
as_admin() { SCALE_CERT=$kube/admin.crt SCALE_KEY=$kube/admin.key "$TEST_BUILD_DIR/test/bench/scale" "$@"; }
as_node() { SCALE_CERT=$kube/node-1.crt SCALE_KEY=$kube/node-1.key "$TEST_BUILD_DIR/test/bench/scale" "$@"; }

node_start() { # node_start [LINE...]: the daemon, with these lines in its configuration
	bench_config "$config" "$@"
	rm -rf "$run"
	secretlet_start --config "$config" --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
}

node_stop() {
	secretlet_stop || die "the daemon ends badly" "$log"
	secretlet_pid=''
}
