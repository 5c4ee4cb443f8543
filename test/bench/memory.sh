#!/usr/bin/env bash
# Whose the memory is that scale.sh measures: what is there without any Secret, by process and kind, and for each further
# Secret, by who has it on the heap (memory.py). The processes that record their heap are others than those whose maps are
# looked at: the records are memory, too.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=server.sh
. "$bench_here/server.sh"

# node SECRETS FOLDER: starts one with so many, and keeps what is seen of it at rest
node() {
	node_start 'kubeAPIQPS: 100000' 'kubeAPIBurst: 100000' 'secretMemoryLimit: 512Mi'
	"$TEST_BUILD_DIR/test/bench/scale" ready "$run/control.sock" "$1" $(($1 + 1)) >"$TEST_DIR/ready" || die "not ready" "$log"
	eventually 60 '[ "$(status .publisher.queued)" = 0 ]' || die "the publisher has not done all" "$log"
	env -u LD_PRELOAD "$bench_here/memory.py" keep "$secretlet_pid" "$2"
	node_stop
}

progress "an API server starts"
server_up
few=$(bench_pick 200 100) many=$(bench_pick 1000 400) pods_n=$(bench_pick 110 10)
[ "$server" != test ] || few=20 many=60 # a connection for each watch, whose handshakes are recorded, too
as_admin put "$url" 0 "$many"
mkdir "$TEST_DIR/heapsites"
for secrets in "$few" "$many"; do
	as_admin pods "$url" node-1 "$secrets" "$pods_n"
	progress "Secrets: $secrets, in pods: $pods_n"
	node "$secrets" "$TEST_DIR/$secrets"
	progress "the same, and each block of the heap is recorded"
	HEAPSITES=$TEST_DIR/heapsites LD_PRELOAD=$TEST_BUILD_DIR/test/preload/heapsites.so node "$secrets" "$TEST_DIR/$secrets/heap"
done
"$bench_here/memory.py" show "$TEST_DIR/$few" "$few" "$TEST_DIR/$many" "$many" |
	jq -c --arg server "$server" --argjson few "$few" --argjson many "$many" --argjson pods "$pods_n" \
		'. + {server: $server, few: $few, many: $many, pods: $pods}' >"$OUT/memory.jsonl"
