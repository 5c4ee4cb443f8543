#!/usr/bin/env bash
# timeout: 300
# Volumes that a real API server takes and that cannot be shown: of each pod the volume that is in order is served, and of
# the other one `wait`, `volumes`, an Event and the log have the reason. And what is only large is no mistake.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kube_up
api=/api/v1/namespaces/default
printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' 'secretMemoryLimit: 4Mi' >"$TEST_DIR/config.yaml"
secretlet_start --config "$TEST_DIR/config.yaml" --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
mebibyte=$(head -c 1048576 /dev/zero | tr '\0' x | base64 -w 0)
big() { # big NAME: a Secret as large as it may be
	printf '{"kind": "Secret", "metadata": {"name": "%s"}, "data": {"%s": "%s"}}' "$1" "$1" "$mebibyte" >"$TEST_DIR/big.json"
	api POST $api/secrets "@$TEST_DIR/big.json" >/dev/null
}
pod() { # pod NAME VOLUME: beside one that is in order
	pod_json "$1" '{"good": {"secretName": "s"}, "bad": {}}' |
		jq --argjson bad "$2" '.spec.volumes |= map(if .name == "bad" then {name} + $bad else . end)' | kapply
}
events() { api GET "$api/events?fieldSelector=involvedObject.name=$1" | jq -r '.items[].message'; }
refused() { # refused NAME VOLUME REASON
	local out
	pod "$1" "$2"
	check "$1: the other volume is served" eventually 20 "[ \"\$(cat '$(volume "$1" good)/k')\" = 1 ]"
	check "$1: an event" eventually 20 "events $1 | grep -qF 'MountVolume.SetUp failed for volume \"bad\" : $3'"
	check_contains "$1: volumes" "$("$secretlet" volumes --runtime-dir "$run" -o json "default/$1" | jq -r '(.pods // [.])[].volumes[].error')" "$3"
	out=$("$secretlet" wait --runtime-dir "$run" --timeout 10ms "default/$1" 2>&1)
	check_equal "$1: wait" $? 1
	check_contains "$1: and why" "$out" "$3"
	check "$1: log" grep -qF "$3" "$log"
	check "$1: nothing of it is there" test ! -e "$pods/by-name/default/$1/volumes/kubernetes.io~secret/bad" -a \
		! -e "$pods/by-name/default/$1/volumes/kubernetes.io~projected/bad"
}
put_secret s k=1

refused dot '{"secret": {"secretName": "s", "items": [{"key": "k", "path": "."}]}}' 'invalid path: is a directory: .'
refused hidden '{"secret": {"secretName": "s", "items": [{"key": "k", "path": "./..data"}]}}' 'invalid path: must not start with'
refused clash '{"secret": {"secretName": "s", "items": [{"key": "k", "path": "a"}, {"key": "k", "path": "a/b"}]}}' \
	'invalid path: a is a file and a directory (a/b)'
refused folded '{"projected": {"sources": [{"secret": {"name": "s", "items": [{"key": "k", "path": "k/x"}]}}, {"secret": {"name": "s"}}]}}' \
	'invalid path: k is a file and a directory (k/x)'
refused long "$(jq -nc --arg path "$(head -c 300 /dev/zero | tr '\0' n)" '{secret: {secretName: "s", items: [{key: "k", path: $path}]}}')" \
	'invalid path: filenames must be less than or equal to 255 characters'
refused key '{"secret": {"secretName": "s", "items": [{"key": "other", "path": "p"}]}}' 'references non-existent secret key: other'
for i in 1 2 3 4 5; do big "big-$i"; done
refused total '{"projected": {"sources": [{"secret": {"name": "big-1"}}, {"secret": {"name": "big-2"}}, {"secret": {"name": "big-3"}},
	{"secret": {"name": "big-4"}}, {"secret": {"name": "big-5"}}]}}' 'secret default/big-'
check "it is for want of memory" grep -q 'secret default/big-.: data: no memory for a secret of 1048576 bytes' "$log"
kdelete pod total
if api POST $api/pods "$(pod_json twice '{"v": {}}' | jq '.spec.volumes[0] = {name: "v", projected: {sources: [
	{secret: {name: "s", items: [{key: "k", path: "p"}]}}, {secret: {name: "s", items: [{key: "k", path: "p"}]}}]}}')" >"$TEST_DIR/twice"; then
	tap_result "not ok" "the API server refuses a projection that overlaps itself"
else
	check_contains "a projection that overlaps itself is refused by the API server" "$(cat "$TEST_DIR/twice")" "conflicting duplicate paths"
fi

# --- large, and in order
pod whole '{"projected": {"sources": [{"secret": {"name": "big-1"}}, {"secret": {"name": "big-2"}}]}}'
check "a volume of two mebibytes is ready" ready whole 60
kdelete pod whole
pod_json many '{"bad": {"secretName": "s"}}' | jq '.spec.volumes[0].secret.items = [range(1; 10001) |
	{key: "k", path: "d\(. % 100)/\(.)"}]' >"$TEST_DIR/many.json"
api POST $api/pods "@$TEST_DIR/many.json" >/dev/null
check "a volume of 10,000 items is ready" ready many 60
check_equal "with each of them" "$(find -L "$(volume many bad)/" -path '*/..*' -prune -o -type f -size 1c -print | wc -l)" 10000
put_secret s k=22
check "and is updated" eventually 20 "[ \"\$(cat '$(volume many bad)/d0/10000')\" = 22 ]"

# --- an option of ours that is misspelt
pod_json typo '{"good": {"secretName": "s"}}' | jq '.metadata.annotations = {"secretlet.dev/lvie": "good"}' | kapply
check "a pod with a misspelt option is ready" ready typo
check "the log says so" eventually 20 "grep -q 'annotation secretlet.dev/lvie: there is no such option' '$log'"
secretlet_stop
check_equal "it ends well" $? 0
tap_done
