#!/usr/bin/env bash
# timeout: 300
# Immutable Secrets and ConfigMaps against a real API server: no watch is kept for one, and one that is made again under its
# name is seen (kubernetes #131589): by a new pod at once, and by those that have the old one, too.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kube_up
write_config() { # write_config SYNC
	printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' "syncFrequency: $1" >"$TEST_DIR/config.yaml"
}
write_config 1h
secretlet_start --config "$TEST_DIR/config.yaml" --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
immutable() { # immutable secret|configmap NAME VALUE
	secret_json "$2" "key=$3" | jq --arg kind "$1" '.immutable = true | if $kind == "configmap" then
		.kind = "ConfigMap" | .data = .stringData | del(.stringData) else . end' | kapply
}
again() { kdelete "$1" "$2" && immutable "$@"; } # again secret|configmap NAME VALUE: another object of that name
pod() { # pod NAME: it shows both
	pod_json "$1" '{"s": {}, "c": {}}' | jq '.spec.volumes = [{name: "s", secret: {secretName: "fixed"}},
		{name: "c", configMap: {name: "fixed"}}]' | kapply
}
value() { cat "$pods/by-name/default/$1/volumes/kubernetes.io~$2/key"; } # value POD PLUGIN/VOLUME
first_read() { ready "$1" && echo "$(value "$1" secret/s) $(value "$1" configmap/c)"; }
becomes() { eventually 20 "[ \"\$(first_read $1)\" = '$2' ]"; } # becomes POD VALUES
watches() { status .source.watches; }

put_secret other key=1
put_pod other '{"v": {"secretName": "other"}}'
require "$log" "a pod becomes ready" ready other
check "its Secret is watched" eventually 20 "[ \$(watches) = 2 ]" # and the pods
immutable secret fixed 1
immutable configmap fixed 1
pod old
check_equal "a pod shows what is immutable" "$(first_read old)" "1 1"
check "no watch is kept for it" eventually 20 "[ \$(watches) = 2 ]"
check_equal "they are known" "$(status '"\(.source.secretsSynced) \(.source.configMapsSynced)"')" "2 1"

# --- a new pod is the reason to look
again secret fixed 2
again configmap fixed 2
check_equal "nobody has looked yet" "$(first_read old)" "1 1"
pod new
check_equal "a new pod's first read is of the new objects" "$(first_read new)" "2 2"
check "the old pod gets them, too" becomes old "2 2"
check "and no watch is kept again" eventually 20 "[ \$(watches) = 2 ]"

# --- gone, and then another
kdelete secret fixed
kdelete configmap fixed
pod waits
check "a pod that needs one that is gone waits" not ready waits 1
check_equal "the others keep it" "$(first_read old) $(first_read new)" "2 2 2 2"
check "now it is watched for" eventually 20 "[ \$(watches) = 4 ]"
immutable secret fixed 3
immutable configmap fixed 3
check "all see the new ones" eventually 20 "[ \"\$(first_read old) \$(first_read new) \$(first_read waits)\" = '3 3 3 3 3 3' ]"
check "which are watched no longer" eventually 20 "[ \$(watches) = 2 ]"

# --- no pod comes: the check at each syncFrequency, which is one request
write_config 1s
kill -HUP "$secretlet_pid"
again secret fixed 4
again configmap fixed 4
check "other objects are found by their uid" becomes old "4 4"
check "and no watch is kept for that" eventually 20 "[ \$(watches) = 2 ]"

# --- one that becomes immutable
put_secret other key=2
check "an update becomes visible" eventually 20 "[ \"\$(value other secret/v)\" = 2 ]"
api PATCH /api/v1/namespaces/default/secrets/other '{"immutable": true}' >/dev/null
check "one that becomes immutable is watched no longer" eventually 20 "[ \$(watches) = 1 ]"
check "the daemon is healthy" healthy
secretlet_stop
check_equal "it ends well" $? 0
tap_done
