#!/usr/bin/env bash
# A fleet of nodes finds out that the API server is there again: a simulation with the daemon's own code (arrival.c), after a
# restart of the server and after longer outages, where it ends all streams and is well, and where all nodes start at once.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

arrival=$TEST_BUILD_DIR/test/bench/arrival
read -ra fleets <<<"$(bench_pick '1000 100' 40)"
read -ra sizes <<<"$(bench_pick '30 1 110' 5)" # Secrets of each node
read -ra outages <<<"$(bench_pick '10 60 600' '10 600')" # in seconds

# The histograms of the first fleet are what is drawn.
run() { # run ARGUMENT...
	if [ "$wanted" = "${fleets[0]} ${sizes[0]}" ]; then
		"$arrival" "$@"
	else
		"$arrival" "$@" | grep -v '"what":"histogram"'
	fi >>"$OUT/arrival.jsonl"
}
for nodes in "${fleets[@]}"; do
	for secrets in "${sizes[@]}"; do
		wanted="$nodes $secrets"
		for outage in "${outages[@]}"; do run "$nodes" "$secrets" "$outage"; done
		run graceful "$nodes" "$secrets"
		run cold "$nodes" "$secrets"
	done
done
