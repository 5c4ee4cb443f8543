#!/usr/bin/env bash
# How long a read waits that needs an agent which was killed, and what a new agent spends on taking over.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

"$bench_here/resume.py" --build "$TEST_BUILD_DIR" --dir "$TEST_DIR" --kills "$(bench_pick 7 2)" \
	--volumes "$(bench_pick 1,10,100,1000,5000 1,100)" >"$OUT/resume.jsonl"
progress "what a new agent spends"
# shellcheck disable=SC2046
"$TEST_BUILD_DIR/test/bench/resume" "$secretlet" $(bench_pick '1 10 100 1000 5000 10000' '1 100') >>"$OUT/resume.jsonl"
