#!/usr/bin/env bash
# timeout: 300
# `layout: flat` by a pod's annotation, at a real API server: files instead of links, a rotation, and keys that come and go.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

canary="CANARY-$RANDOM$RANDOM$RANDOM"
kube_up
flat_pod() { # flat_pod NAME VOLUMES OPTIONS
	pod_json "$1" "$2" | jq --arg options "$3" '.metadata.annotations = {"secretlet.dev/volumes": $options,
		"secretlet.dev/live": "v"}' | kapply
}
tree() { find "$(volume "$1" v)/" -mindepth 1 -printf '%P %y %m\n' | sort | tr '\n' ';'; }
content() { cat "$(volume "$1" v)/$2" 2>/dev/null; }
becomes() { eventually 20 "[ \"\$(content $1 $2)\" = '$3' ]"; }

secretlet_start --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
put_secret db user="$canary-u" password="$canary-1" old=1
flat_pod flat '{"v": {"secretName": "db"}}' 'v: {layout: flat}'
flat_pod items '{"v": {"secretName": "db", "items": [{"key": "password", "path": "etc/db/password"},
	{"key": "user", "path": "etc/db/user"}]}}' 'v: {layout: flat, mode: "0400"}'
put_pod links '{"v": {"secretName": "db"}}'
for pod in flat items links; do require "$log" "$pod becomes ready" ready "$pod"; done
check_equal "its keys are files, and nothing else is there" "$(tree flat)" "old f 644;password f 644;user f 644;"
check_equal "paths of items have folders" "$(tree items)" "etc d 755;etc/db d 755;etc/db/password f 400;etc/db/user f 400;"
check_equal "the others have links" "$(stat -c %F "$(volume links v)/password")" "symbolic link"

inode=$(stat -c '%i %y' "$(volume flat v)/user")
exec 7<"$(volume flat v)/password"
put_secret db user="$canary-u" password="$canary-2" new=1
check "a rotation is in the flat volume" becomes flat password "$canary-2"
check "and where the key has a path" becomes items etc/db/password "$canary-2"
check "a key that has gone goes" eventually 20 "[ ! -e '$(volume flat v)/old' ]"
check_equal "and that is all" "$(tree flat)" "new f 644;password f 644;user f 644;"
check_equal "who had it open reads the old one" "$(cat <&7)" "$canary-1"
exec 7<&-
check_equal "what has not changed is the same file" "$(stat -c '%i %y' "$(volume flat v)/user")" "$inode"
check_equal "its live file has followed" "$(cat "$pods/by-name/default/flat/live/v/password")" "$canary-2"

kill -9 "$(pgrep -P "$secretlet_pid" -f internal-agent)"
put_secret db user="$canary-u" password="$canary-3"
check "the next agent goes on" becomes flat password "$canary-3"
check "with what the last one has left" eventually 20 "[ \"\$(tree flat)\" = 'password f 644;user f 644;' ]"
state() { "$secretlet" volumes --runtime-dir "$run" -o json default/flat | jq -r '.volumes[0] | "\(.state) \(.error)"'; }
eventually 20 '[ "$(state)" = "ready " ]'
check_equal "volumes says no more than that it is ready" "$(state)" "ready "

api PATCH /api/v1/namespaces/default/pods/flat '{"metadata": {"annotations": {"secretlet.dev/volumes": null}}}' >/dev/null
check "another layout is for another pod" eventually 20 \
	"'$secretlet' volumes --runtime-dir '$run' default/flat | grep -q 'keeps the layout'"
check "which an event says" eventually 30 \
	"api GET '/api/v1/namespaces/default/events?fieldSelector=involvedObject.name=flat' | jq -r '.items[] | .reason + .message' | grep -q '^InvalidVolumeOption.*v.layout'"
put_secret db user="$canary-u" password="$canary-4"
check "and it is updated as before" becomes flat password "$canary-4"
check_equal "in its layout" "$(tree flat)" "password f 644;user f 644;"
kdelete pod flat
check "it goes with its pod" eventually 20 "[ ! -e '$pods/by-name/default/flat' ]"
secretlet_stop
check_equal "the daemon ends well" $? 0
check_equal "no value is in the log" "$(grep -c "$canary" "$log")" 0
tap_done
