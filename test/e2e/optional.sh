#!/usr/bin/env bash
# timeout: 300
# Objects and keys that come, go and come back while pods use them, against a real API server: optional ones leave their
# files out, all others keep the last good content and say what is wrong.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kube_up
secretlet_start --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
api=/api/v1/namespaces/default
file() { echo "$pods/by-name/default/$1/volumes/kubernetes.io~$2/$3"; } # file POD PLUGIN VOLUME/KEY
contains() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }
becomes() { eventually 20 "contains '$1' '$2'"; } # becomes FILE TEXT
gone() { eventually 20 "[ ! -e '$1' ] && [ ! -L '$1' ]"; }
said() { # said POD TEXT: by `volumes`
	eventually 20 "'$secretlet' volumes --runtime-dir '$run' default/$1 | grep -qF '$2'"
}
events() { api GET "$api/events?fieldSelector=involvedObject.name=$1" | jq -r '.items[] | "\(.reason) \(.message)"'; }
put_config() { # put_config NAME KEY=VALUE...
	secret_json "$@" | jq '.kind = "ConfigMap" | .data = .stringData | del(.stringData)' | kapply
}
pod() { # pod NAME VOLUMES: {"volume": {volume source}...}
	pod_json "$1" "$(jq 'map_values({})' <<<"$2")" | jq --argjson v "$2" '.spec.volumes |= map({name} + $v[.name])' | kapply
}
names() { find "$1/" -maxdepth 1 -mindepth 1 -printf '%f\n' | grep -v '^\.\.' | sort | xargs; }

# --- optional: nothing of it is there
pod may '{"secret": {"secret": {"secretName": "later", "optional": true}},
	"config": {"configMap": {"name": "later", "optional": true}},
	"keys": {"secret": {"secretName": "some", "optional": true, "items": [{"key": "a", "path": "dir/a"}, {"key": "b", "path": "b"}]}},
	"all": {"projected": {"sources": [{"secret": {"name": "later", "optional": true}},
		{"configMap": {"name": "later", "optional": true, "items": [{"key": "c", "path": "c.conf"}]}}]}}}'
require "$log" "a pod of optional volumes is ready with nothing there" ready may
secret=$(file may secret secret) config=$(file may configmap config) keys=$(file may secret keys) all=$(file may projected all)
check_equal "each volume is an empty folder" "$(names "$secret")$(names "$config")$(names "$keys")$(names "$all")" ""
check "as the kubelet has it: with ..data" test -d "$secret/..data" -a -d "$config/..data"

# --- they come
put_secret later k=1
check "the Secret's key appears" becomes "$secret/k" 1
check "in the projected volume, too" becomes "$all/k" 1
put_config later c=1 d=2
check "the ConfigMap's keys appear" becomes "$config/d" 2
check "its item in the projected volume" becomes "$all/c.conf" 1
check_equal "and nothing else of it" "$(names "$all")" "c.conf k"

# --- keys come and go
put_secret some other=1
check "a Secret without the keys is known" eventually 20 \
	"'$secretlet' secrets --runtime-dir '$run' -o json | jq -e '.secrets[] | select(.name == \"some\").keys == [\"other\"]'"
check_equal "has no file" "$(names "$keys")" ""
put_secret some a=1
check "one optional key appears" becomes "$keys/dir/a" 1
put_secret some a=2 b=2
check "the other one, too" becomes "$keys/b" 2
check_equal "with the first's new content" "$(cat "$keys/dir/a")" 2
put_secret some b=3
check "one goes" gone "$keys/dir"
check_equal "the other one stays, and is new" "$(cat "$keys/b")" 3

# --- they go
kdelete secret later
check "the Secret's key goes" gone "$secret/k"
check "in the projected volume, too" gone "$all/k"
check_equal "the ConfigMap's stays" "$(cat "$all/c.conf")" 1
kdelete configmap later
check "the ConfigMap's keys go" gone "$config/d"
check "all of them" gone "$all/c.conf"
check_equal "nothing of that is an error" "$("$secretlet" wait --runtime-dir "$run" default/may 2>&1)" "default/may is ready: 4 volumes"
check "the daemon is healthy" healthy
check "what came and went was told" eventually 30 \
	"events may | grep -q '^ConfigMapRotated Updated volume \"config\": configmap \"later\" does not exist any more\$'"
check_contains "each by its own reason" "$(events may)" 'SecretRotated Updated volume "secret": secret "later" is at resourceVersion'
check_equal "none as a failure" "$(events may | grep -c FailedMount)" 0

# --- not optional: the Secret is deleted while it is used
put_secret db key=1
put_config conf key=1
pod must '{"s": {"secret": {"secretName": "db"}}, "c": {"configMap": {"name": "conf"}}}'
check "a pod whose volumes are not optional is ready" ready must
s=$(file must secret s)/key c=$(file must configmap c)/key
kdelete secret db
kdelete configmap conf
check "'volumes' says what is missing" said must 'secret "db" not found'
check "of a ConfigMap, too" said must 'configmap "conf" not found'
check_equal "the content stays" "$(cat "$s" "$c")" 11
out=$("$secretlet" wait --runtime-dir "$run" default/must 2>&1)
check_equal "'wait' is content with what can be read" $? 0
check_contains "and says that it is old" "$out" 'default/must: volume s: ready, but: secret "db" not found'
check "status is not" not healthy
check "an event tells it" eventually 20 "events must | grep -qF 'FailedMount MountVolume.SetUp failed for volume \"s\" : secret \"db\" not found'"
pod late '{"s": {"secret": {"secretName": "db"}}}'
check "a pod that comes now has to wait" not ready late 1
put_secret db key=2
check "made again, its content is there at once" becomes "$s" 2
check "for the pod that waited, too" ready late
check_equal "without an error left" "$("$secretlet" wait --runtime-dir "$run" default/late 2>&1)" "default/late is ready: 1 volume"
put_config conf key=2
check "the ConfigMap as well" becomes "$c" 2
check "the daemon is healthy again" eventually 20 healthy

# --- a key that is not optional
put_secret db other=3
check "a key that goes is no error of a volume without items" gone "$s"
pod picks '{"s": {"secret": {"secretName": "db", "items": [{"key": "other", "path": "p"}]}}}'
check "a pod with an item is ready" ready picks
put_secret db key=4
check "its key is missed" said picks 'references non-existent secret key: other'
check_equal "and shown as it was" "$(cat "$(file picks secret s)/p")" 3
put_secret db other=5
check "until it is there again" becomes "$(file picks secret s)/p" 5

secretlet_stop
check_equal "it ends well" $? 0
tap_done
