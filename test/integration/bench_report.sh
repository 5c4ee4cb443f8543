#!/usr/bin/env bash
# The page of figures (test/bench/report): what it says is reached and missed, and its plots, from figures of which the
# answers are known.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
report=$here/../bench/report
in=$TEST_DIR/in out=$TEST_DIR/out page=$TEST_DIR/out/README.md
mkdir "$in"

read_path() { # read_path CASE VARIANT RATIO REQUESTS
	jq -nc --arg case "$1" --arg variant "$2" --argjson ratio "$3" --argjson requests "$4" '{bench: "readpath", $case, $variant,
		keys: 16, size: 4096, threads: 1, median_ns: (1000 * $ratio), ratio: $ratio, fuse_requests: $requests}'
}
# scale SECRETS BEYOND READY: a figure in which all else grows as a line does
scale() {
	jq -nc --argjson secrets "$1" --argjson beyond "$2" --argjson ready "$3" '{bench: "scale", server: "kube-apiserver", $secrets,
		pods: 110, bare_listed_ms: 1000, bare_cpu_ms: 100, ready_ms: $ready, ready_ratio: ($ready / 1000),
		start_cpu_ms: {keeper: 10, agent: $secrets, publisher: 5}, connections: 5, streams: $secrets,
		secret_memory_bytes: ($secrets * 2048), pss: {keeper: 1000000, agent: $beyond, publisher: 500000}, pss_total: $beyond,
		beyond_bytes: $beyond, pss_after_storm: $beyond, idle_s: 10, idle_cpu_ms: {keeper: 0, agent: 2, publisher: 0},
		idle_wakeups: {keeper: 1, agent: 10, publisher: 0}, storms: 1, storm_written_ms: 10, storm_shown_ms: 12,
		storm_cpu_us_per_update: {keeper: 1, agent: 300, publisher: 100}, storm_wakeups: {keeper: 0, agent: 50, publisher: 50}}'
}
propagate() { # propagate SERVER MEDIAN
	jq -nc --arg server "$1" --argjson median "$2" '{bench: "propagate", $server, case: ("event to readable", "write to readable"),
		secrets: 1, volumes: 1, median_ns: $median, p90_ns: $median, p99_ns: 9000000, max_ns: 12000000, n: 3,
		histogram: [[1000000, 1], [2000000, 2]]}'
}
make_page() { rm -rf "$out" && "$report" --in "$in" --out "$out" >"$TEST_DIR/said" 2>&1; }
# goal WORDS: what the table of goals says of it: measured, and the verdict
goal() { sed -n '/^## Goals/,/^## Reads/p' "$page" | awk -F ' *[|] *' -v words="$1" 'index($2, words) == 1 { print $4 ", " $5 }'; }

check_equal "without figures there is no page" "$(make_page; echo $?) $([ -e "$page" ]; echo $?)" "1 1"

{
	read_path open+read+close tmpfs 1 0
	read_path open+read+close links 1.9 0
	read_path open+read+close flat 1.2 0
	read_path open+read+close fuse 40 200
	read_path pread tmpfs 1 0
	read_path pread links 1.06 3
} >"$in/readpath.jsonl"
{ propagate kube-apiserver 1900000; propagate test 900000000; } >"$in/propagate.jsonl"
{ scale 1000 $((12 * 1048576)) 2100; scale 2000 $((12 * 1048576 + 3072000)) 4100; } >"$in/scale.jsonl"
build=$TEST_BUILD_DIR/test/bench/arrival
"$build" 5 2 20 >"$in/arrival.jsonl"
"$here/../bench/machine.py" >"$in/machine.jsonl"

check "a page is made" make_page
check_equal "below the limit, and plain FUSE does not count" "$(goal open+read+close)" "1.90 ×, reached"
check_equal "above it" "$(goal pread)" "1.06 ×, **missed**"
check_equal "requests of another case do not count" "$(goal 'FUSE requests')" "0, reached"
check_equal "another API server's propagation does not count" \
	"$(goal 'written at the API server, to readable in the volume, after a plain watch got the event: median')" "1.90 ms, reached"
check_equal "the start, above its limit" "$(goal start)" "2.10 ×, **missed**"
check_equal "memory, exactly at its limit" "$(goal 'memory of all')" "12.0 MiB, reached"
check_equal "the slope is that of the line" "$(goal 'the same for each')" "3.0 KiB, **missed**"
check_equal "idle" "$(goal idle)" "0.020 %, reached"
check_equal "what was not measured is said to be so" "$(goal 'kill -9')" "not measured, "
check_contains "slopes" "$(cat "$page")" "| start, processor time | ms | 1 | 15 | 0 % | 1 |"
check_contains "the commit is on it" "$(cat "$page")" "| commit | $(git -C "$here" rev-parse --short=12 HEAD 2>/dev/null)"
check_equal "each figure's command" "$(grep -c '^`test/bench/run --only' "$page")" 4

pictures=$(grep -o '([a-z0-9-]*\.svg)' "$page" | tr -d '()' | sort)
check_equal "each plot is on the page" "$pictures" "$(cd "$out" && printf '%s\n' *.svg | sort)"
well_formed() { (cd "$out" && python3 -c 'import sys, xml.etree.ElementTree as e; [e.parse(f) for f in sys.argv[1:]]' ./*.svg); }
check "plots are XML" well_formed
check_equal "plots have no background and nothing black: they are read on dark pages, too" \
	"$(cd "$out" && grep -liE "fill=['\"]?(white|#fff|#ffffff)|rgb\( *0, *0, *0 *\)|fill *= *.(black|#000)" ./*.svg)" ""

rm "$in/scale.jsonl"
make_page
check_equal "a plot of before does not stay" "$(cd "$out" && ls scale*.svg 2>/dev/null)" ""
echo '{"bench":' >"$in/scale.jsonl"
make_page
check_contains "a figure that is cut off is named" "$(cat "$TEST_DIR/said")" "$in/scale.jsonl:1"
tap_done
