#!/usr/bin/env bash
# timeout: 300
# What a new pod reads first is never older than the pod (kubernetes #129645), against a real API server: a Secret is changed,
# and in the next moment a pod comes that uses it, as others did before.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kube_up
first_reads() { # first_reads STRATEGY: of some pods; prints what was wrong
	local i read
	put_secret db key=0
	put_pod "$1-0" '{"v": {"secretName": "db"}}'
	ready "$1-0" || echo "the first pod is not ready"
	for i in 1 2 3 4 5 6; do
		put_secret db "key=$i"
		put_pod "$1-$i" '{"v": {"secretName": "db"}}'
		ready "$1-$i" || echo "pod $i is not ready"
		read=$(cat "$(volume "$1-$i" v)/key")
		[ "$read" = "$i" ] || echo "pod $i reads $read"
	done
}
for strategy in Watch Cache Get; do
	printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' 'syncFrequency: 1h' \
		"configMapAndSecretChangeDetectionStrategy: $strategy" >"$TEST_DIR/config.yaml"
	secretlet_start --config "$TEST_DIR/config.yaml" --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
	check_equal "$strategy: each pod reads what was there when it came" "$(first_reads "${strategy,,}")" ""
	check "$strategy: the daemon is healthy" eventually 20 healthy
	secretlet_stop
	check_equal "$strategy: it ends well" $? 0
done
tap_done
