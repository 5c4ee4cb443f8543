#!/usr/bin/env bash
# Where the processor's time goes, in the kernel as well as in the daemon, while Secrets are rotated and while a reader asks for
# what is not cached: samples by perf, of all the daemon's processes. Instructions, which are the same in each run, are profile.sh's.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=server.sh
. "$bench_here/server.sh"

perf record -q -e cpu-clock -o "$TEST_DIR/try.data" true >"$TEST_DIR/perf.out" 2>&1 || { echo "perf takes no samples here" && exit 77; }
secrets=$(bench_pick 500 20) pods_n=$(bench_pick 50 2) seconds=$(bench_pick 4 0.5)

# samples CASE COMMAND...: while it runs; it prints how many things it has done
samples() {
	local n pids
	progress "$1"
	pids=$secretlet_pid,$(pgrep -d, -P "$secretlet_pid")
	n=$(perf record -q -e cpu-clock -F 5000 -p "$pids" -o "$TEST_DIR/perf.data" -- "${@:2}" 2>>"$TEST_DIR/perf.out" | tail -n 1)
	perf report --stdio -q --no-children --sort pid,dso,sym -F sample,pid,dso,sym -t '|' -i "$TEST_DIR/perf.data" \
		2>>"$TEST_DIR/perf.out" | "$bench_here/samples.py" "$1" "$n" 5000 "$secretlet_pid" >>"$OUT/samples.jsonl"
}

progress "an API server starts"
server_up
as_admin put "$url" 0 "$secrets"
as_admin pods "$url" node-1 "$secrets" "$pods_n"
node_start 'kubeAPIQPS: 100000' 'kubeAPIBurst: 100000'
"$TEST_BUILD_DIR/test/bench/scale" ready "$run/control.sock" "$secrets" $((secrets + 1)) >"$TEST_DIR/ready" || die "not ready" "$log"

# The first storm, with what is done only once, is no part of it.
storms() { # storms FROM TO: prints how many Secrets were rotated
	local round
	for ((round = $1; round <= $2; round++)); do as_admin storm "$url" "$secrets" "$pods_n" "$round" "$pods/by-name/default" >/dev/null; done
	echo $((($2 - $1 + 1) * secrets))
}
storms 1 1 >/dev/null
export -f as_admin storms
export TEST_BUILD_DIR kube url secrets pods_n pods
samples "a Secret is rotated" bash -c 'set -e; storms "$@"' storms 2 "$(bench_pick 5 2)"
samples "a read is not cached" "$bench_here/directreads.py" "$pods/by-name/default/p$pods_n-0/$secret_volumes/v0/key" "$seconds"
node_stop
