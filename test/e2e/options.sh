#!/usr/bin/env bash
# timeout: 300
# Options of a volume at a real API server, as system:node:node-1: exact modes and owners with an fsGroup, changes of the
# annotation of a running pod, and what a mistake causes.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kube_up
secretlet_start --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
api=/api/v1/namespaces/default
asking() { # asking NAME OPTIONS [SPEC]: with the volumes tls and plain
	pod_json "$1" '{"tls": {"secretName": "web-tls", "defaultMode": 256}, "plain": {"secretName": "web-tls"}}' "${3:-"{}"}" |
		jq --arg options "$2" '.metadata.annotations = {"secretlet.dev/volumes": $options}' | kapply
}
ask() { # ask NAME OPTIONS: of a pod that is there
	api PATCH "$api/pods/$1" "$(jq -n --arg options "$2" '{metadata: {annotations: {"secretlet.dev/volumes": $options}}}')" >/dev/null
}
facts() { stat -L -c %a:%u:%g "$(volume "$1" "$2")/$3" 2>&1; }
are() { [ "$(facts "$1" "$2" "$3")" = "$4" ]; }
becomes() { eventually 20 "are $1 $2 $3 $4"; }
events() { # events POD JQ
	api GET "$api/events?fieldSelector=involvedObject.name=$1" | jq -r ".items[] | $2"
}
bound=$TEST_DIR/bound
chmod 755 "$TEST_DIR"
mkdir "$bound"

put_secret web-tls tls.crt=certificate tls.key=private
asking web $'tls:\n  owner: 1000\n  group: 1000\n  mode: "0440"\n  keys:\n    tls.key: {mode: "0400"}\n' \
	'{"securityContext": {"runAsUser": 1000, "fsGroup": 2000}}'
require "$log" "a pod that asks becomes ready" ready web
check_equal "the key: no bit of fsGroup's" "$(facts web tls tls.key)" 400:1000:1000
check_equal "the other file" "$(facts web tls tls.crt)" 440:1000:1000
check_equal "the other volume is the kubelet's" "$(facts web plain tls.key)" 644:0:2000
check_equal "and so are folders" "$(facts web tls .)" 3777:0:2000
mount --bind "$(volume web tls)" "$bound"
check_equal "user 1000 reads it" "$(setpriv --reuid 1000 --regid 1000 --clear-groups cat "$bound/tls.key")" private
check_equal "a member of fsGroup does not" "$(setpriv --reuid 1001 --regid 2000 --clear-groups cat "$bound/tls.key" 2>/dev/null)" ""

ask web 'tls: {owner: 1001, mode: "0400"}'
check "a running pod gets another owner" becomes web tls tls.key 400:1001:2000
put_secret web-tls tls.crt=certificate-2 tls.key=private-2
check "an update keeps it" eventually 20 "[ \"\$(cat '$bound/tls.crt')\" = certificate-2 ] && are web tls tls.key 400:1001:2000"

ask web 'tls: {owner: 1001, mode: "0400", keys: {tls.key: {owner: root}}}'
check "a mistake is told" eventually 30 "[ -n \"\$(events web 'select(.reason == \"InvalidVolumeOption\") | .message')\" ]"
check_equal "as a warning, with its place" \
	"$(events web 'select(.reason == "InvalidVolumeOption") | "\(.type) \(.message) \(.count)"')" \
	'Warning annotation secretlet.dev/volumes: 1:58: tls.keys[tls.key].owner: must be a number from 0 to 4294967294, in decimal and without quotes 1'
put_secret web-tls tls.crt=certificate-3 tls.key=private-3
check "the other volume is updated" eventually 20 "[ \"\$(cat '$(volume web plain)/tls.crt')\" = certificate-3 ]"
check_equal "the one with the mistake stays" "$(cat "$bound/tls.crt") $(facts web tls tls.key)" "certificate-2 400:1001:2000"
asking young 'tls: {owner: 1000, mode: 400}'
check "a new one is held back" eventually 30 "events young 'select(.reason == \"FailedMount\") | .message' | grep -q 'volume \"tls\" : annotation secretlet.dev/volumes: tls.mode'"
check_equal "without a file" "$(facts young tls tls.key | grep -c 'No such file')" 1
check "its other volume is there" becomes young plain tls.key 644:0:0
ask young 'tls: {owner: 1000, mode: "0400"}'
check "mended, it comes" ready young
check_equal "as it was asked for" "$(facts young tls tls.key)" 400:1000:0
ask web 'tls: {owner: 1001, mode: "0400"}'
check "and the one that stayed goes on" eventually 20 "[ \"\$(cat '$bound/tls.crt')\" = certificate-3 ]"
api PATCH "$api/pods/web" '{"metadata": {"annotations": {"secretlet.dev/volumes": null}}}' >/dev/null
check "without the annotation it is the kubelet's again" becomes web tls tls.key 440:0:2000

umount "$bound"
secretlet_stop
check_equal "it ends well" $? 0
tap_done
