#!/usr/bin/env bash
# timeout: 600
# The main job against a real API server, as system:node:node-1 under the Node authorizer.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

canary="CANARY-$RANDOM$RANDOM$RANDOM"
kube_up
secretlet_start --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
content() { cat "$(volume "$1" "$2")/$3" 2>/dev/null; }
becomes() { # becomes POD VOLUME KEY TEXT
	eventually 20 "[ \"\$(content $1 $2 $3)\" = '$4' ]"
}
owner() { stat -c %a:%u:%g "$1"; }

# --- create
put_secret db "password=$canary" user=app
put_pod app '{"creds": {"secretName": "db"}}'
require "$log" "a pod becomes ready" ready app
creds=$(volume app creds)
check_equal "its keys are files" "$(content app creds password):$(content app creds user)" "$canary:app"
check_equal "in the kubelet's layout" "$(readlink "$creds/password"),$(readlink "$creds/..data" | cut -c 1-4)" "..data/password,..20"
check_equal "mode of a file" "$(owner "$creds/..data/password")" 644:0:0
check_equal "mode of the volume" "$(owner "$creds/")" 1777:0:0
check "nobody can write" not sh -c "echo x >'$creds/password'" 2>/dev/null
check_equal "one Secret is watched" "$(status .source.secrets)" 1
check "the daemon is healthy" healthy

# --- update
version=$(readlink "$creds/..data")
put_secret db password=second token=new
check "an update becomes visible" becomes app creds password second
check_equal "a new key comes with it" "$(content app creds token)" new
check "a removed key goes" eventually 20 "[ ! -L '$creds/user' ]"
check "the version is another" test "$(readlink "$creds/..data")" != "$version"
check "the old version goes" eventually 20 "[ ! -e '$creds/$version' ]"
check_equal "the volume holds what it should" "$(find "$creds/" -maxdepth 1 -printf '%P\n' | grep -v '^\.\.2' | sort | xargs)" \
	"..data password token"

# --- delete: the content stays, and the fault can be seen
kdelete secret db
check "a deleted Secret is reported" eventually 20 "status '.problems[]' | grep -q ."
check_equal "its content stays" "$(content app creds password)" second
put_secret db password=third
check "it comes back with new content" becomes app creds password third

# --- optional
put_pod optional '{"may": {"secretName": "later", "optional": true}}'
check "a pod with an optional, missing Secret is ready" ready optional
check_equal "its volume is empty" "$(find "$(volume optional may)/" -maxdepth 1 -mindepth 1 -printf '%f\n' | grep -vc '^\.\.')" 0
put_secret later key=now
check "the Secret fills it when it appears" becomes optional may key now
kdelete secret later
check "and empties it when it goes" eventually 20 "[ ! -e '$(volume optional may)/key' ]"

# --- items, modes
put_secret files a=1 b=2 c=3
put_pod items '{"picked": {"secretName": "files", "defaultMode": 256, "items": [{"key": "a", "path": "deep/er/a"},
	{"key": "b", "path": "b.txt", "mode": 292}]}}'
check "a pod with items is ready" ready items
picked=$(volume items picked)
check_equal "an item is where it is wanted" "$(cat "$picked/deep/er/a"):$(cat "$picked/b.txt")" 1:2
check "a key that is no item is not there" test ! -e "$picked/c"
check_equal "only the first element gets a link" "$(readlink "$picked/deep")" ..data/deep
check_equal "defaultMode and item mode" "$(owner "$picked/deep/er/a"),$(owner "$picked/..data/b.txt")" 400:0:0,444:0:0

# --- fsGroup
put_pod group '{"mine": {"secretName": "files", "defaultMode": 256}}' '{"securityContext": {"fsGroup": 2000}}'
check "a pod with fsGroup is ready" ready group
check_equal "a file's mode and group" "$(owner "$(volume group mine)/..data/a")" 440:0:2000
check_equal "the volume's mode and group" "$(owner "$(volume group mine)/")" 3777:0:2000
check_equal "the version folder's mode and group" "$(owner "$(volume group mine)/..data/")" 2755:0:2000

# --- a volume that no container mounts
pod_json unmounted '{"used": {"secretName": "files"}, "unused": {"secretName": "nobody-mounts-this"}}' |
	jq '.spec.containers[0].volumeMounts |= map(select(.name == "used"))' | kapply
check "a pod is ready without the volume that nobody mounts" ready unmounted
check "it is not there" test ! -e "$(volume unmounted unused)"
kdelete pod unmounted

# --- two pods share a Secret
put_secret shared key=1
before=$(status .source.secrets)
put_pod twin-1 '{"v": {"secretName": "shared"}}'
put_pod twin-2 '{"v": {"secretName": "shared"}}'
check "the first of two pods is ready" ready twin-1
check "the second of two pods is ready" ready twin-2
check_equal "they share one watch" "$(status .source.secrets)" "$((before + 1))"
put_secret shared key=2
check "the first sees an update" becomes twin-1 v key 2
check "the second sees an update" becomes twin-2 v key 2
kdelete pod twin-1
check "one of them goes" eventually 20 "[ ! -e '$pods/by-name/default/twin-1' ]"
check_equal "the Secret is still watched" "$(status .source.secrets)" "$((before + 1))"
check_equal "and still served" "$(content twin-2 v key)" 2
uid=$(basename "$(realpath "$pods/by-name/default/twin-2")")
kdelete pod twin-2
check "a deleted pod takes its volumes with it" eventually 20 "[ ! -e '$pods/$uid' ]"
check "and its Secret" eventually 20 "[ \$(status .source.secrets) = $before ]"

# --- a Secret that is late
put_pod patient '{"v": {"secretName": "late"}}'
check "a pod without its Secret is not ready" not ready patient 1
check "it has no volume" test ! -e "$(volume patient v)"
check_contains "wait says why" "$("$secretlet" wait --runtime-dir "$run" --timeout 100ms default/patient 2>&1)" late
put_secret late key=here
check "a late Secret completes its pod" ready patient
check_equal "with its content" "$(content patient v key)" here

# --- a pod that has finished
before=$(status .source.secrets)
uid=$(basename "$(realpath "$pods/by-name/default/patient")")
api PATCH /api/v1/namespaces/default/pods/patient/status '{"status": {"phase": "Succeeded"}}' >/dev/null
check "a finished pod takes its volumes with it" eventually 20 "[ ! -e '$pods/$uid' ]"
check "and its Secret" eventually 20 "[ \$(status .source.secrets) = $((before - 1)) ]"

# --- a pod of another node
pod_json foreign '{"v": {"secretName": "shared"}}' '{"nodeName": "node-2"}' | kapply
check "a pod of another node is not ours" not ready foreign 1

# --- many
many() { # many PREFIX: 300 Secrets
	jq -nc --arg prefix "$1" 'range(300) | {apiVersion: "v1", kind: "Secret", metadata: {name: "many-\(.)"},
		stringData: {key: "\($prefix)-\(.)"}}'
}
many_pods() { # ten of them in each of 30 pods
	local p
	for p in $(seq 0 29); do
		pod_json "many-$p" "$(jq -n --argjson p "$p" '[range(10) | {key: "v\(.)",
			value: {secretName: "many-\($p * 10 + .)"}}] | from_entries')" | jq -c .
	done
}
curl_many() { # curl_many METHOD: the objects on stdin, one a line, eight at a time
	jq -r --arg method "$1" --arg base "https://127.0.0.1:$kube_port/api/v1/namespaces/default" --arg kube "$kube" '
		(if $method == "PUT" then "/" + .metadata.name else "" end) as $name |
		"url = \($base)/\(.kind | ascii_downcase)s\($name)", "request = \($method)", "data = \(tojson | tojson)",
		"header = \"Content-Type: application/json\"", "user-agent = e2e", "fail", "silent", "output = /dev/null",
		"cacert = \($kube)/ca.crt", "cert = \($kube)/admin.crt", "key = \($kube)/admin.key", "next"
	' | sed '$d' >"$TEST_DIR/curl.config"
	curl --no-progress-meter --parallel --parallel-max 8 --config "$TEST_DIR/curl.config"
}
many first | curl_many POST
many_pods | curl_many POST
all_ready() {
	for p in $(seq 0 29); do
		ready "many-$p" 60 || return 1
	done
}
all_content() { # all_content PREFIX
	for i in $(seq 0 299); do
		[ "$(content "many-$((i / 10))" "v$((i % 10))" key)" = "$1-$i" ] || return 1
	done
}
check "30 pods with 300 Secrets become ready" all_ready
check "each file has its own content" all_content first
check_equal "300 more are watched" "$(status .source.secrets)" "$((before - 1 + 300))"
check_equal "over few connections" "$([ "$(status .source.connections)" -le 4 ] && echo few)" few
many second | curl_many PUT
check "all 300 updates become visible" eventually 60 all_content second

# --- the API server goes away
kube_stop_apiserver
check "the daemon notices" eventually 20 "[ \$(status .source.connected) = false ]"
check "content stays without an API server" all_content second
require "$TEST_DIR/apiserver.out" "the API server is back" kube_apiserver_up
check "content stays when it comes back" all_content second
put_secret db password=fourth
check "updates arrive again" eventually 60 "[ \"\$(content app creds password)\" = fourth ]"
check "the daemon has caught up" eventually 60 "[ \$(status .source.connected) = true ]"
put_secret many-7 key=third-7
check "updates of all Secrets arrive again" eventually 60 "[ \"\$(content many-0 v7 key)\" = third-7 ]"
put_secret fresh key=1
put_pod fresh '{"v": {"secretName": "fresh"}}'
check "new pods arrive again" ready fresh 60

# --- the end
children=$(pgrep -P "$secretlet_pid" | xargs)
secretlet_stop
check_equal "SIGTERM: exit status" $? 0
check "SIGTERM: no mount" not mounted
are_gone() { # are_gone PID...
	local p
	for p; do [ ! -d "/proc/$p" ] || return 1; done
}
check "SIGTERM: no process" eventually 5 "are_gone $children"
check "SIGTERM: no file" test ! -e "$run" -a ! -e "$pods"
check_equal "no value is in the log" "$(grep -c "$canary" "$log")" 0
tap_done
