#!/usr/bin/env bash
# A thousand nodes find out that the API server is there again: a simulation with the daemon's own code (arrival.c), after ten
# minutes, and after the 20 seconds that a restart of the server takes.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

read -ra nodes <<<"$(bench_pick '1000 30' '40 5')" # and Secrets of each
for outage in 20 600; do
	"$TEST_BUILD_DIR/test/bench/arrival" "${nodes[@]}" "$outage" >>"$OUT/arrival.jsonl"
done
