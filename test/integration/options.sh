#!/usr/bin/env bash
# timeout: 120
# What a pod asks of its volumes by annotation, under a daemon and the test API server: set, changed, wrong and mended; and
# what readers with an uid of their own get, through a bind as a container has it.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log bound=$TEST_DIR/bound
canary=CANARY-$RANDOM$RANDOM
chmod 755 "$TEST_DIR"
mkdir "$bound"

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
pod() { # pod METHOD NAME OPTIONS: with a volume creds and one that nothing is asked of, and an fsGroup
	local path=$base/pods
	[ "$1" = POST ] || path+=/$2
	jq -n --arg name "$2" --arg options "$3" '{apiVersion: "v1", kind: "Pod", metadata: {name: $name, uid: "uid-\($name)",
		annotations: {"secretlet.dev/volumes": $options}}, spec: {nodeName: "node-1", securityContext: {fsGroup: 2000},
		volumes: [{name: "creds", secret: {secretName: "db"}}, {name: "plain", secret: {secretName: "db"}}],
		containers: [{name: "c", image: "i", volumeMounts:
			[{name: "creds", mountPath: "/c"}, {name: "plain", mountPath: "/p"}]}]}}' |
		curl -sS -o /dev/null -X "$1" "$path" -d @-
}
secret() { # secret METHOD VALUE
	local path=$base/secrets
	[ "$1" = POST ] || path+=/db
	curl -sS -o /dev/null -X "$1" "$path" -d '{"metadata":{"name":"db"},"stringData":{"key":"'"$2"'","other":"x"}}'
}
folder() { echo "$pods/uid-$1/volumes/kubernetes.io~secret/$2"; } # folder POD VOLUME
facts() { stat -L -c %a:%u:%g "$(folder "$1" "$2")/$3" 2>&1; } # facts POD VOLUME FILE
are() { [ "$(facts "$1" "$2" "$3")" = "$4" ]; }
becomes() { eventually 20 "are $1 $2 $3 $4"; }
as() { setpriv --reuid "$1" --regid "$1" --clear-groups cat "$bound/key" 2>/dev/null; } # as UID
pods_json() { "$secretlet" pods --runtime-dir "$run" -o json | jq -r ".pods[] | select(.name == \"$1\") | $2"; }
error() { pods_json "$1" '.volumes[] | select(.name == "creds") | .error'; }
events() { # events POD REASON: the messages
	curl -sS "$base/events?fieldSelector=involvedObject.name%3D$1" | jq -r ".items[] | select(.reason == \"$2\") | .message"
}
ready() { "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s "default/$1"; }

printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' "kubeconfig: $TEST_DIR/kubeconfig" \
	"podsDir: $pods" "runtimeDir: $run" 'nodeName: node-1' >"$TEST_DIR/secretlet.yaml"
"$secretlet" run --config "$TEST_DIR/secretlet.yaml" 2>>"$log" &
keeper=$!
secret POST "$canary-1"

# --- set
pod POST web 'creds: {owner: 1000, mode: "0400", keys: {other: {mode: "0444", owner: 0, group: 7}}}'
check "a pod that asks becomes ready" ready web
check_equal "owner and mode are exact, with fsGroup" "$(facts web creds key)" 400:1000:2000
check_equal "a key has its own" "$(facts web creds other)" 444:0:7
check_equal "folders are the kubelet's" "$(facts web creds .),$(facts web creds ..data)" 3777:0:2000,2755:0:2000
check_equal "and so is a volume of which nothing is asked" "$(facts web plain key)" 644:0:2000
mount --bind "$(folder web creds)" "$bound"
check_equal "user 1000 can read the key" "$(as 1000)" "$canary-1"
check_equal "user 1001 cannot" "$(as 1001)" ""
check_equal "nor can the group" "$(setpriv --reuid 1001 --regid 2000 --clear-groups cat "$bound/key" 2>/dev/null)" ""
check_equal "the pod has no mistake" "$(pods_json web '.mistakes | length')" 0

# --- changed
pod PUT web 'creds: {owner: 1001, mode: "0400"}'
check "another owner is shown at once" becomes web creds key 400:1001:2000
check_equal "for the new user" "$(as 1001),$(as 1000)" "$canary-1,"
check_equal "what is not asked any more is as it was" "$(facts web creds other)" 400:1001:2000
pod PUT web '{"*": {"mode": "0440", "group": 5}, "plain": {"owner": 3}}'
check "JSON, and what is asked of all" becomes web creds key 440:0:5
check "and of one more than of all" becomes web plain key 440:3:5
secret PUT "$canary-2"
check "an update keeps them" eventually 20 "[ \"\$(cat '$bound/key')\" = '$canary-2' ] && are web creds key 440:0:5"
check "another mode is told as no rotation" eventually 20 "[ -n \"\$(events web SecretRotated)\" ]"
check_equal "the update is, of both volumes" "$(events web SecretRotated | wc -l)" 2

# --- wrong
version=$(readlink "$bound/..data")
wrong='annotation secretlet.dev/volumes: creds.mode: must be octal digits, the first one 0, up to 0777, such as "0400"'
pod PUT web $'plain: {owner: 9}\ncreds:\n  mode: 400\n  owner: 1000\n'
check "a mistake: the other volume is as asked" becomes web plain key 644:9:2000
check_equal "the one with the mistake says so" "$(error web)" "$wrong"
check_equal "it stays as it is" "$(facts web creds key),$(readlink "$bound/..data")" "440:0:5,$version"
secret PUT "$canary-3"
check "it stays when the Secret changes" eventually 20 "[ \"\$(cat '$(folder web plain)/key')\" = '$canary-3' ]"
check_equal "with its content" "$(cat "$bound/key")" "$canary-2"
check "the mistake is an event" eventually 20 "[ -n \"\$(events web InvalidVolumeOption)\" ]"
check_equal "with its place" "$(events web InvalidVolumeOption)" \
	'annotation secretlet.dev/volumes: 3:9: creds.mode: must be octal digits, the first one 0, up to 0777, such as "0400"'
check_equal "a place for programs" "$(pods_json web '.mistakes[] | "\(.annotation) \(.line) \(.column)"')" "secretlet.dev/volumes 3 9"
pod POST young 'creds: {mdoe: "0400"}'
check "a new pod: the other volume comes" becomes young plain key 644:0:2000
check_equal "the one with the mistake does not" "$(facts young creds key | grep -c 'No such file')" 1
check_contains "wait says why" "$("$secretlet" wait --runtime-dir "$run" --timeout 1s default/young 2>&1)" \
	'annotation secretlet.dev/volumes: creds.mdoe: there is no such option'
check "and so does FailedMount" eventually 20 "events young FailedMount | grep -q 'creds.mdoe: there is no such option'"
pod POST stranger 'cerds: {mode: "0400"}'
check "a volume that is not there holds nothing back" ready stranger
check "but is told" eventually 20 "events stranger InvalidVolumeOption | grep -q 'cerds: is no volume of this pod'"
pod POST unread 'creds: {'
check "what is no map holds back all" eventually 20 "[ \"\$(pods_json unread '[.volumes[].state] | join(\",\")')\" = failed,failed ]"

# --- the next agent finds the same
agent=$(pgrep -P "$keeper" -f internal-agent)
kill -9 "$agent"
check "the next agent is there" eventually 20 "[ \"\$('$secretlet' status --runtime-dir '$run' -o json | jq .events.sent)\" = 0 ]"
check "it knows the mistake" eventually 20 "[ \"\$(error web)\" = '$wrong' ]"
check_equal "nothing has changed" "$(facts web creds key),$(readlink "$bound/..data")" "440:0:5,$version"
sleep 2
check_equal "it is told no second time" "$(curl -sS "$base/events?fieldSelector=involvedObject.name%3Dweb" |
	jq -r '.items[] | select(.reason == "InvalidVolumeOption") | .count')" 1

# --- mended
pod PUT web 'creds: {mode: "0404", owner: 1000}'
check "mended: what is asked now" becomes web creds key 404:1000:2000
check_equal "with what the Secret has now" "$(as 1000)" "$canary-3"
check_equal "and no error" "$(error web)$(pods_json web '.mistakes | length')" 0
pod PUT young 'creds: {mode: "0400"}'
check "the one that was held back comes" ready young
check_equal "as it was asked for" "$(facts young creds key)" 400:0:2000
check_equal "each agent says a mistake once in the log" "$(grep -c '3:9: creds.mode' "$log"),$(grep -c '1:9: creds.mdoe' "$log")" 2,2

check_equal "no value is in the log or an event" "$(cat "$log" <(curl -sS "$base/events") | grep -c "$canary")" 0
umount "$bound"
kill -s TERM "$keeper"
wait "$keeper"
check_equal "it ends well" $? 0
kill "$server"
wait "$server"
tap_done
