#!/usr/bin/env bash
# timeout: 400
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
net=127.$((RANDOM % 200 + 20)).$((RANDOM % 250)) # of the name servers

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
becomes() { eventually 120 "[ \"\$(timeout 20 cat '$pods/by-name/default/app/volumes/kubernetes.io~secret/creds/a')\" = $1 ]"; }

# --- as systemd-resolved's files are there, and others'
serve one
name_server $net.1
for file in /run/systemd/resolve/stub-resolv.conf /run/NetworkManager/resolv.conf /run/elsewhere/resolv.conf; do
	ask $net.1 "$file"
	link "$file"
	start
	check "$file is read" becomes one
	stop
done

# --- as they come and change while the agent runs
agent() { pgrep -P "$keeper" -f '^secretlet-agent '; }
is_another() { [ "$(agent)" != "$1" ] && [ -n "$(agent)" ]; }
n_ended() { grep -c "^.*resolv.conf leads to where this process may not read" "$log"; }
moved() { # moved WHAT VALUE: who asks the name servers of now gets it, and the agent ends once for that
	check "$1: another agent begins" eventually 30 "is_another $before"
	before=$(agent)
	serve "$2"
	check "$1: it finds the API server" becomes "$2"
	check_equal "$1: that is said" "$(n_ended)" $((ended += 1))
	check_equal "$1: and nothing else is wrong" "$(grep ' error ' "$log" | tail -1)" ""
}
rm -r /run/*
rm /etc/resolv.conf
ask $net.1 /etc/resolv.conf
start
check "resolv.conf in /etc" becomes one
before=$(agent) ended=0

name_server $net.2
ask $net.2 /run/systemd/resolve/stub-resolv.conf
link /run/systemd/resolve/stub-resolv.conf
moved "systemd-resolved is installed" two
name_server $net.3
ask $net.3 /run/new/resolve/stub-resolv.conf
rm -r /run/systemd/resolve
mv /run/new/resolve /run/systemd/resolve
moved "its folder is made anew" three
name_server $net.4
ask $net.4 /run/elsewhere/resolv.conf
link ../run/elsewhere/resolv.conf
moved "somebody else's takes its place" four

# what needs no other agent
name_server $net.5
ask $net.5 /run/elsewhere/resolv.conf
stays() { # stays WHAT
	sleep 9 # two looks
	check_equal "$1: the same agent" "$(agent)" "$before"
}
stays "the file is replaced"
link /run/nowhere/resolv.conf
stays "the file is not there"
ask $net.5 /run/nowhere/resolv.conf
moved "and then is" five
chmod 0600 /run/nowhere/resolv.conf
stays "the file is not for everybody"
stop

# --- nothing at the start
rm -r /run/*
n_unresolved() { grep -c "Could not resolve host" "$log"; }
unresolved=$(n_unresolved)
start
# then it is sealed, and has asked
check "it starts without a name server" eventually 60 "[ \$(n_unresolved) -gt $unresolved ]"
before=$(agent)
ask $net.5 /run/nowhere/resolv.conf
moved "resolv.conf leads somewhere only after the start" six
stays "once"
stop
kill "$server" "$dns"
tap_done
