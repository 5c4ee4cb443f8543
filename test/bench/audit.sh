#!/usr/bin/env bash
# What the audit of reads costs a reader: the same Secret in two daemons, of which one records.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

seconds=$(bench_pick 3 0.1)
manifests=$TEST_DIR/manifests
mkdir "$manifests" "$TEST_DIR/off" "$TEST_DIR/on"
secret_json bench key=thirty-two-bytes-of-secret-bytes >"$manifests/secret.json"
pod_json app '{"vol": {"secretName": "bench"}}' | jq 'del(.spec.nodeName)' >"$manifests/pod.json"

start() { # start NAME LINE...: a daemon with folders of its own; its volume is bound to NAME
	pods=$TEST_DIR/pods-$1 run=$TEST_DIR/run-$1
	bench_config "$TEST_DIR/$1.yaml" "manifestsDir: $manifests" "${@:2}"
	secretlet_start --config "$TEST_DIR/$1.yaml"
	wait_ready app
	mount --bind "$(volume app vol)" "$TEST_DIR/$1"
}
start off
bench_pids+=("$secretlet_pid")
start on "auditLog: $TEST_DIR/audit.jsonl"
eventually 10 '[ "$(status .audit.running)" = true ]'

progress "reads with and without a record"
"$TEST_BUILD_DIR/test/bench/readpath" 1 32 1 "$seconds" "off=$TEST_DIR/off,$TEST_DIR/run-off/control.sock" \
	"on=$TEST_DIR/on,$TEST_DIR/run-on/control.sock" | jq -c '.bench = "audit"' >"$OUT/audit.jsonl"
umount "$TEST_DIR/off" "$TEST_DIR/on"
sleep 1.5 # the counts are told once a second
status .audit | jq -c '{bench: "audit", case: "records", written, queueFull}' >>"$OUT/audit.jsonl"
