#!/usr/bin/env bash
# timeout: 120
# What an API server is told by the daemon: of volumes that cannot be set up, and of rotations; once, and not again by the
# next agent. Against the test API server. Runs in a private mount namespace (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log conf=$TEST_DIR/secretlet.yaml
canary=CANARY-$RANDOM$RANDOM
chmod 755 "$TEST_DIR"

"$TEST_BUILD_DIR/apiserver" --port 0 >"$TEST_DIR/server.out" 2>"$TEST_DIR/server.err" &
server=$!
eventually 10 grep -q http "$TEST_DIR/server.out"
url=$(grep -o 'http://[0-9.:]*' "$TEST_DIR/server.out" | head -n 1)
base=$url/api/v1/namespaces/default
cat >"$TEST_DIR/kubeconfig" <<-Y
	apiVersion: v1
	kind: Config
	current-context: c
	contexts: [{name: c, context: {cluster: k, user: u}}]
	clusters: [{name: k, cluster: {server: "$url"}}]
	users: [{name: u, user: {}}]
Y
write_config() { # write_config LINE...
	{
		printf 'apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\nkubeconfig: kubeconfig\n'
		printf 'podsDir: %s\nruntimeDir: %s\nnodeName: node-1\n' "$pods" "$run"
		[ $# -eq 0 ] || printf '%s\n' "$@"
	} >"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$conf"
}
pod() { # pod NAME SECRET
	curl -sS -o /dev/null "$base/pods" -d '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"'"$1"'"},"spec":{"nodeName":"node-1","containers":[{"name":"c","image":"i","volumeMounts":[{"name":"creds","mountPath":"/c"}]}],"volumes":[{"name":"creds","secret":{"secretName":"'"$2"'"}}]}}'
}
secret() { # secret METHOD NAME VALUE: prints the new resourceVersion
	local path=$base/secrets
	[ "$1" = POST ] || path+=/$2
	curl -sS -X "$1" "$path" -d '{"metadata":{"name":"'"$2"'"},"stringData":{"password":"'"$3"'"}}' |
		jq -r .metadata.resourceVersion
}
events() { # events POD JQ: of each of its events
	curl -sS "$base/events?fieldSelector=involvedObject.name%3D$1" | jq -r ".items[] | $2"
}
is() { [ "$(events "$1" "$2")" = "$3" ]; } # is POD JQ VALUE
value() { cat "$pods/by-name/default/$1/volumes/kubernetes.io~secret/creds/password"; }
shows() { [ "$(value "$1")" = "$2" ]; }
status() { "$secretlet" status --runtime-dir "$run" -o json | jq -r "$1"; }
sent() { status .events.sent; }
reload() {
	local before
	before=$(grep -c 'configuration read again' "$log")
	kill -s HUP "$keeper"
	eventually 10 "[ \$(grep -c 'configuration read again' '$log') -gt $before ]"
}

write_config
"$secretlet" run --config "$conf" 2>>"$log" &
keeper=$!
secret POST db "$canary-1" >/dev/null
pod web db
check "a pod is ready" eventually 20 shows web "$canary-1"
pod lacks nothing
pod late slow
check "a volume without its Secret is told" eventually 20 "[ -n \"\$(events lacks .message)\" ]"
check_equal "in the kubelet's words" "$(events lacks '"\(.type) \(.reason) \(.message)"')" \
	'Warning FailedMount MountVolume.SetUp failed for volume "creds" : secret "nothing" not found'
check_equal "of the pod" "$(events lacks '.involvedObject | "\(.kind) \(.namespace)/\(.name) \(.uid)"')" \
	"Pod default/lacks $(curl -sS "$base/pods/lacks" | jq -r .metadata.uid)"
check_equal "by this node" "$(events lacks '.source | "\(.component) \(.host)"')" "secretlet node-1"
check "the event is counted while it lasts" eventually 20 is lacks .count 2
check_equal "a pod that is well has none" "$(events web .message)" ""
check "the daemon says that volumes wait, and nothing of events" \
	test "$(status '.problems | join(", ")')" = "2 volumes wait"

rv=$(secret PUT db "$canary-2")
check "a rotation is told" eventually 20 "[ -n \"\$(events web .message)\" ]"
check_equal "with its revision" "$(events web '"\(.type) \(.reason) \(.message)"')" \
	"Normal SecretRotated Updated volume \"creds\": secret \"db\" is at resourceVersion $rv"
check "it can be read by then" shows web "$canary-2"
secret POST slow "$canary-3" >/dev/null
check "a Secret that was late is no rotation" eventually 20 shows late "$canary-3"
check_equal "and its pod had one event" "$(events late .reason)" FailedMount

agent=$(pgrep -P "$keeper" -f internal-agent)
kill -9 "$agent"
check "the next agent is there" eventually 20 "[ \"\$(sent)\" = 0 ]"
check "and knows its pods" eventually 20 "[ \$(status .volumes.waiting) = 1 ]"
sleep 3
check_equal "it tells nothing anew" "$(sent)" 0
rv=$(secret PUT db "$canary-4")
check "it tells what is new" eventually 20 "events web .message | grep -q 'resourceVersion $rv'"

write_config "rotationEvents: false"
check "a reload is taken" reload
secret PUT db "$canary-5" >/dev/null
check "a rotation is published" eventually 20 shows web "$canary-5"
agent=$(pgrep -P "$keeper" -f internal-agent)
kill -9 "$agent"
check "the agent after that is there" eventually 20 "[ \"\$(sent)\" = 0 ]"
rv=$(secret PUT db "$canary-6")
check "another rotation is published" eventually 20 shows web "$canary-6"
sleep 1
check_equal "neither was told: it is switched off" "$(events web .reason | wc -l)" 2
write_config
check "a reload is taken again" reload
rv=$(secret PUT db "$canary-7")
check "and rotations are told again" eventually 20 "events web .message | grep -q 'resourceVersion $rv'"

check_equal "no value is in any event" "$(curl -sS "$base/events" | grep -c "$canary")" 0
kill -s TERM "$keeper"
wait "$keeper"
check_equal "it ends well" $? 0
kill "$server"
wait "$server"
tap_done
