#!/usr/bin/env bash
# timeout: 180
# An API server that is given by name: the agent finds the name servers wherever resolv.conf leads. /etc, /run and the name servers
# are the test's own. Runs in a private mount namespace (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet apiserver=$TEST_BUILD_DIR/apiserver
pods=$TEST_DIR/pods state=$TEST_DIR/state log=$TEST_DIR/daemon.log objects=$TEST_DIR/objects
mkdir "$objects"
chmod 755 "$TEST_DIR"
cp -a /etc "$TEST_DIR/etc"
mount --bind "$TEST_DIR/etc" /etc && mount -t tmpfs -o mode=755 none /run || exit 1
echo "hosts: files dns" >/etc/nsswitch.conf

name_server() { # name_server ADDRESS
	local out=$TEST_DIR/dns.out
	[ -z "${dns:-}" ] || { kill "$dns" && wait "$dns"; }
	python3 "$here/../lib/dns.py" "$1" api.secretlet.test >"$out" 2>&1 &
	dns=$!
	eventually 10 "grep -q ready '$out'"
}
ask() { # ask ADDRESS FILE: FILE says that the name server is there
	mkdir -p "$(dirname "$2")"
	printf 'nameserver %s\noptions timeout:1 attempts:1\n' "$1" >"$2.new"
	mv "$2.new" "$2"
}
link() { # link FILE: resolv.conf leads to it
	ln -sfn "$1" /etc/resolv.conf.new
	mv -T /etc/resolv.conf.new /etc/resolv.conf
}
secret() { # secret VALUE
	printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"default"},"data":{"a":"%s"}}' "$(printf %s "$1" | base64)"
}
serve() { # serve VALUE: an API server whose Secret has it, on the same port each time
	[ -z "${server:-}" ] || { kill "$server" && wait "$server"; }
	secret "$1" >"$objects/secret.json"
	"$apiserver" --port "$port" --load "$objects" >"$TEST_DIR/server.out" 2>"$TEST_DIR/server.err" &
	server=$!
	eventually 10 grep -q http "$TEST_DIR/server.out"
}
printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"app","namespace":"default","uid":"uid-app"},"spec":{"nodeName":"node-1","containers":[{"name":"c","image":"i","volumeMounts":[{"name":"creds","mountPath":"/c"}]}],"volumes":[{"name":"creds","secret":{"secretName":"db"}}]}}' >"$objects/pod.json"
port=$(free_port)
cat >"$TEST_DIR/kubeconfig" <<-Y
	apiVersion: v1
	kind: Config
	current-context: c
	contexts: [{name: c, context: {cluster: k, user: u}}]
	clusters: [{name: k, cluster: {server: "http://api.secretlet.test:$port"}}]
	users: [{name: u, user: {}}]
Y
printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "kubeconfig: kubeconfig" "nodeName: node-1" \
	"podsDir: $pods" "runtimeDir: $state" "agentHangTimeout: 4s" >"$TEST_DIR/config.yaml"
chmod 600 "$TEST_DIR/config.yaml" "$TEST_DIR/kubeconfig"
start() {
	"$secretlet" run --config "$TEST_DIR/config.yaml" 2>>"$log" &
	keeper=$!
}
stop() {
	kill "$keeper"
	wait "$keeper"
}
becomes() { eventually 60 "[ \"\$(timeout 20 cat '$pods/by-name/default/app/volumes/kubernetes.io~secret/creds/a')\" = $1 ]"; }

# --- as systemd-resolved's files are there, and others'
serve one
name_server 127.53.0.1
for file in /run/systemd/resolve/stub-resolv.conf /run/NetworkManager/resolv.conf /run/elsewhere/resolv.conf; do
	ask 127.53.0.1 "$file"
	link "$file"
	start
	check "$file is read" becomes one
	stop
done
kill "$server" "$dns"
tap_done
