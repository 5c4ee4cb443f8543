#!/usr/bin/env bash
# timeout: 300
# The life of pods as the API server tells it (kubelet-parity, section 5): static pods, pods that end, pods that are replaced,
# moved, or not on their node yet.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kube_up
api=/api/v1/namespaces/default
secretlet_start --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
content() { cat "$(volume "$1" v)/key" 2>/dev/null; }
secrets() { status .source.secrets; }
uid() { api GET "$api/pods/$1" | jq -r .metadata.uid; }
gone() { eventually 20 "[ ! -e '$pods/$1' ]"; } # gone UID
put_secret db key=1
put_pod first '{"v": {"secretName": "db"}}'
require "$log" "a pod becomes ready" ready first

# --- static pods: the kubelet's own, of which the API server only has a picture
node=$(api POST /api/v1/nodes '{"metadata": {"name": "node-1"}}' | jq -r .metadata.uid)
mirror() { # mirror NAME VOLUMES: as a kubelet makes it
	pod_json "$1" "$2" | jq --arg uid "$node" '.metadata += {annotations: {"kubernetes.io/config.mirror": "hash"},
		ownerReferences: [{apiVersion: "v1", kind: "Node", name: "node-1", uid: $uid, controller: true}]}'
}
api_as=node-1 api POST $api/pods "$(mirror static '{"v": {"secretName": "db"}}')" >"$TEST_DIR/static"
check_contains "a node's static pod may not use a Secret" "$(jq -r .message "$TEST_DIR/static")" "can not create pods that reference secrets"
mirror static '{"v": {"secretName": "static-only"}}' | kapply
check "one that does all the same is refused" eventually 20 \
	"'$secretlet' volumes --runtime-dir '$run' default/static | grep -q 'static pods may not reference secrets'"
check_equal "its Secret is not asked for" "$(secrets)" 1
check "nothing of it is there" test ! -e "$pods/$(uid static)"
kdelete pod static

# --- a pod that is asked to end keeps its volumes until it has
put_pod ends '{"v": {"secretName": "db"}}'
check "another pod becomes ready" ready ends
ends=$(uid ends)
api DELETE "$api/pods/ends?gracePeriodSeconds=60" >/dev/null
check "it has a time to end in" test "$(api GET $api/pods/ends | jq -r '.metadata.deletionTimestamp != null')" = true
put_secret db key=2
check "and is served for that time, updates included" eventually 20 '[ "$(content ends)" = 2 ]'
kdelete pod ends
check "then its volumes go" gone "$ends"

# --- finished pods take no volumes
put_pod failed '{"v": {"secretName": "of-failed"}}'
check "a pod waits for its Secret" eventually 20 '[ "$(secrets)" = 2 ]'
api PATCH $api/pods/failed/status '{"status": {"phase": "Failed"}}' >/dev/null
check "when it has failed, nobody does" eventually 20 '[ "$(secrets)" = 1 ]'
put_secret of-failed key=1
check "and it gets nothing" not ready failed 1
kdelete pod failed

# --- replaced under its name
put_pod set-0 '{"v": {"secretName": "db"}}'
check "a pod of a set becomes ready" ready set-0
old=$(uid set-0)
kdelete pod set-0
put_secret db key=3
put_pod set-0 '{"v": {"secretName": "db"}}'
check "its successor becomes ready" ready set-0
check "as another pod" test "$(uid set-0)" != "$old"
check_equal "its name leads to the new one" "$(basename "$(realpath "$pods/by-name/default/set-0")")" "$(uid set-0)"
check_equal "which reads what is current" "$(content set-0)" 3
check "the old one's volumes go" gone "$old"
check_equal "the Secret is wanted once" "$(secrets)" 1

# --- not on a node yet, and then on ours; on another one
pod_json floating '{"v": {"secretName": "db"}}' | jq 'del(.spec.nodeName)' | kapply
check "a pod that has no node is nobody's" not ready floating 1
api POST $api/pods/floating/binding '{"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "floating"},
	"target": {"kind": "Node", "name": "node-1"}}' >/dev/null
check "bound to ours it becomes ready" ready floating
floating=$(uid floating)
kdelete pod floating
pod_json floating '{"v": {"secretName": "db"}}' '{"nodeName": "node-2"}' | kapply
check "when its successor is on another node, its volumes go" gone "$floating"
check "and the successor is not ours" not ready floating 1

# --- a volume that no container uses, until an init container would
pod_json unused '{"v": {"secretName": "db"}, "w": {"secretName": "nobody-asks"}}' '{"initContainers": [{"name": "init",
	"image": "none", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]}' |
	jq '.spec.containers[0].volumeMounts = []' | kapply
check "an init container's volume is made" ready unused
check_equal "and no other" "$(cd "$(volume unused v)/.." && echo *)" v
check_equal "nor is its Secret asked for" "$(secrets)" 1

# --- what goes while the daemon is away goes when it is back
stays=$(uid first) goes=$(uid set-0)
secretlet_stop
kdelete pod set-0
secretlet_start --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
check "the daemon is back" ready first
check "with the pods that there are" test -e "$pods/$stays" -a ! -e "$pods/$goes"
check "it is healthy" eventually 20 healthy
secretlet_stop
check_equal "it ends well" $? 0
tap_done
