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
		pods: 110, bare_listed_ms: 1000, bare_cpu_ms: 100, bare_heap_bytes: ($secrets * 1024), ready_ms: $ready, ready_ratio: ($ready / 1000),
		start_cpu_ms: {keeper: 10, agent: $secrets, publisher: 5}, connections: 5, streams: $secrets,
		secret_memory_bytes: ($secrets * 2048), pss: {keeper: 1000000, agent: $beyond, publisher: 500000}, pss_total: $beyond,
		beyond_bytes: $beyond, started_anew: false, pss_after_storm: $beyond, idle_s: 10, idle_cpu_ms: {keeper: 0, agent: 2, publisher: 0},
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
mapped() { # mapped PROCESS KIND AT_NONE DIRTY EACH
	jq -nc --arg process "$1" --arg kind "$2" --argjson bytes_at_none "$3" --argjson dirty_at_none "$4" --argjson bytes_each "$5" \
		'{bench: "memory", what: "mapped", $process, $kind, $bytes_at_none, $dirty_at_none, $bytes_each, few: 10, many: 20, pods: 2, server: "test"}'
}
heap() { # heap WHO FUNCTION EACH
	jq -nc --arg who "$1" --arg function "$2" --argjson bytes_each "$3" '{bench: "memory", what: "heap", $who, $function, $bytes_each}'
}
{
	mapped agent heap 1048576 1048576 3000
	mapped agent OpenSSL 2097152 102400 0
	mapped keeper stack 4096 4096 0
	heap libcurl "" 2000
	heap agent/a.c first 700
	heap agent/b.c second 300
} >"$in/memory.jsonl"
{ propagate kube-apiserver 1900000; propagate test 900000000; } >"$in/propagate.jsonl"
{ scale 500 $((12 * 1048576 - 1536000)) 1100; scale 1000 $((12 * 1048576)) 2100; scale 2000 $((12 * 1048576 + 3072000)) 4100; } >"$in/scale.jsonl"
build=$TEST_BUILD_DIR/test/bench/arrival
"$build" 5 2 20 >"$in/arrival.jsonl"
"$here/../bench/machine.py" >"$in/machine.jsonl"

check "a page is made" make_page
median="a plain watch has the event → the new bytes are readable: median"
check_equal "below the limit, and plain FUSE does not count" "$(goal open+read+close)" \
	"median 1.90 ×; worst 1.90 × (16 keys of 4,096 bytes, 1 thread, links), where a copy on the same tmpfs has no figure, reached"
check_equal "above it" "$(goal pread)" \
	"median 1.06 ×; worst 1.06 × (16 keys of 4,096 bytes, 1 thread, links), where a copy on the same tmpfs has no figure, **missed**"
check_equal "requests of another case do not count" "$(goal 'FUSE requests')" "0, reached"
check_equal "another API server's propagation does not count" "$(goal "$median")" "1.90 ms, reached"
check_equal "the start, above its limit" "$(goal 'start with')" "2.10 ×, **missed**"
check_equal "its processor time" "$(goal 'processor time of that start')" "10.2 × (1,015 ms, the bare requests 100 ms), "
check_equal "memory, exactly at its limit" "$(goal 'memory of all')" "12.0 MiB; libcurl alone has 1.0 for as many watches, reached"
check_equal "the slope is that of the line" "$(goal 'memory for each further')" "3.0 KiB; libcurl alone has 1.0 for as many watches, **missed**"
check_equal "idle" "$(goal 'idle, 1,000 watches: processor')" "0.020 %, reached"
check_equal "wake-ups are those of a minute" "$(goal 'idle, 1,000 watches: wake-ups')" "keeper 6, agent 60, publisher 0, in 10 s, "
check_equal "what was not measured is said to be so" "$(goal 'kill -9')" "not measured, "
check_contains "slopes" "$(cat "$page")" "| start, processor time | ms | 1 | 15 | 0 % | 1, 1 | a line |"
shape() { python3 -B -c 'import sys; sys.path.insert(0, sys.argv[1]); import figures; print(figures.shape_of(eval(sys.argv[2])))' "$here/../bench" "$1"; }
check_equal "what grows with the square is said to do so" "$(shape '[(1, 1), (2, 4), (10, 100)]')" "**faster than a line**"
check_equal "and what ever less is needed for" "$(shape '[(1, 10), (10, 50), (100, 60)]')" "slower than a line"
check_equal "a little noise is none of both" "$(shape '[(1, 1.1), (2, 2), (10, 10.3)]')" "a line"
check_equal "two points have no shape" "$(shape '[(1, 1), (10, 100)]')" ""
check_contains "the commit is on it" "$(cat "$page")" "| commit | $(git -C "$here" rev-parse --short=12 HEAD 2>/dev/null)"
check_equal "each figure's command" "$(grep -c '^`test/bench/run --only' "$page")" 5
check_contains "memory by process and kind" "$(cat "$page")" "| agent | OpenSSL | 2,048 | 100 | - |"
check_contains "all of it, what is too little for a row, too" "$(cat "$page")" "| all |  | 3,076 | 1,128 | 3,000 |"
check_contains "on the heap, by whose it is" "$(cat "$page")" "secretlet's own code 1,000 bytes; libcurl 2,000."

# --- what commands of their own have found

elsewhere() { # elsewhere NAME FIGURE [COMMIT]
	python3 -B -c 'import json, pathlib, sys; sys.path.insert(0, sys.argv[1]); import machine
machine.keep_figure(pathlib.Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4]))' "$here/../bench" "$in" "$1" "$2"
	[ -z "${3:-}" ] || sed -i "s/\"commit\": \"[^\"]*\"/\"commit\": \"$3\"/" "$in/$1.took.jsonl"
	make_page
}
chaos='{"seed": 7, "kills": 1001, "updates": 90, "looks": 5000, "failures": 0}'
canary='{"searches": 40, "bytes": 2147483648, "found": 0, "checks": 50, "failed": 0}'
check_equal "what was not done names its command" "$(goal 'failed reads'), $(goal plaintext)" "\`make chaos\`, , \`make canary\`, "
elsewhere chaos "$chaos"
check_equal "kills without a failed read" "$(goal 'failed reads')" "0 in 1,001 kills, with 5,000 reads and 90 updates (\`make chaos SEED=7\`), reached"
elsewhere chaos "${chaos/\"failures\": 0/\"failures\": 1}"
check_equal "and with one" "$(goal 'failed reads')" "1 in 1,001 kills, with 5,000 reads and 90 updates (\`make chaos SEED=7\`), **missed**"
elsewhere chaos "${chaos/1001/999}"
check_equal "too few kills say nothing" "$(goal 'failed reads')" "\`make chaos\`, "
elsewhere chaos "$chaos" 0123456789ab
check_equal "nor do those of another commit" "$(goal 'failed reads')" "\`make chaos\`, "
rm "$in"/chaos.*
elsewhere canary "$canary"
check_equal "nothing is found after deletion" "$(goal plaintext)" "0 found in 40 searches of 2.0 GiB in all (\`make canary\`), reached"
elsewhere canary "${canary/\"found\": 0/\"found\": 2}"
check_equal "or something" "$(goal plaintext)" "2 found in 40 searches of 2.0 GiB in all (\`make canary\`), **missed**"
elsewhere canary "${canary/\"failed\": 0/\"failed\": 1}"
check_contains "a search that has failed otherwise proves nothing" "$(goal plaintext)" "**missed**"
rm "$in"/canary.*
make_page

# --- what a copy on the same tmpfs says

with_copy() { # with_copy RATIO: the verdict on pread
	{ grep -v control "$in/readpath.jsonl"; read_path pread control "$1" 0; } >"$in/new" && mv "$in/new" "$in/readpath.jsonl"
	make_page
	goal pread | sed 's/.*tmpfs has //'
}
check_equal "above the limit by as much as a copy is off: nobody can tell" "$(with_copy 1.01)" "1.01 ×, reached"
check_equal "whichever way the copy is off" "$(with_copy 0.98)" "0.98 ×, reached"
check_equal "by more" "$(with_copy 1.005)" "1.00 ×, **missed**"

# --- why a goal is missed

reasons=$TEST_DIR/reasons.md
printf '%s\n' 'For people.' '' '## pread' 'The moon was full.' '' 'And the tide high.' '## idle' 'It was not.' >"$reasons"
"$report" --in "$in" --out "$out" --reasons "$reasons" >"$TEST_DIR/said" 2>&1
check_contains "what is missed has its reason" "$(cat "$page")" "has 1.00 ×): The moon was full."
check_contains "as long as it is" "$(cat "$page")" "And the tide high."
check_equal "what is reached needs none" "$(grep -c 'It was not' "$page")" 0
check_contains "what nobody has said is said to be so" "$(cat "$page")" "is missed (2.10 ×): Nobody has said why."
printf '%s\n' '## prean' 'A slip.' >"$reasons"
check_contains "a reason for what is no goal is an error" "$("$report" --in "$in" --out "$out" --reasons "$reasons" 2>&1)" "there is no goal prean"

# --- README

readme=$TEST_DIR/README.md
marks() { grep '^<!-- .*figures' "$here/../../README.md"; }
{ echo "# before"; marks; echo "after"; } >"$readme"
check_equal "README has the two marks" "$(marks | wc -l)" 2
in_readme() { "$report" --in "$in" --out "$out" --readme "$readme" >"$TEST_DIR/said" 2>&1; }
same() { "$report" --check --out "$out" --readme "$readme" >"$TEST_DIR/said" 2>&1; }
check "an empty part is not the page's" not same
check "the part is written" in_readme
check "and is the page's" same
check_equal "all around it stays" "$(sed -n '1p;$p' "$readme" | xargs)" "# before after"
check_contains "with the goals" "$(cat "$readme")" "| 12.0 MiB; libcurl alone has 1.0 for as many watches | reached |"
check_equal "none of which was not measured" "$(grep -c 'not measured' "$readme")" 0
check_contains "with the machine" "$(cat "$readme")" "$(jq -r .kernel "$in/machine.jsonl")"
check_contains "with plots" "$(cat "$readme")" "](out/readpath.svg)"
cp "$readme" "$TEST_DIR/once"
check "once more" in_readme
check "and nothing is there twice" cmp "$readme" "$TEST_DIR/once"
sed -i 's/12\.0 MiB/11.0 MiB/' "$readme"
check "a figure by hand is found" not same
check "and mended" in_readme
sed -i 's/12\.0 MiB/11.0 MiB/' "$page"
check "a page that is not of these figures is found" not same
check "that of this repository is made of its page" "$report" --check --out "$here/../../docs/bench" --readme "$here/../../README.md"

# --- a process that was started anew in a storm

jq -c 'if .secrets == 500 then .started_anew = true | .storm_cpu_us_per_update = null | .storm_wakeups = null | .storm_written_ms = null |
	.storm_shown_ms = null | .pss_after_storm = null else . end' "$in/scale.jsonl" >"$in/new" && mv "$in/new" "$in/scale.jsonl"
check "its storm is left out" make_page
check_contains "and that is said" "$(cat "$page")" "With 500 Secrets in 110 pods a process was started anew"

# --- parts of several runs

note() { # note PART COMMIT QUICK DATE: what test/bench/run says of it
	jq -nc --arg part "$1" --arg commit "$2" --argjson quick "$3" --arg date "$4" \
		'{bench: "part", $part, seconds: 3, budget_s: 4, $date, $commit, $quick}' >"$in/$1.took.jsonl"
}
commit=$(jq -r .commit "$in/machine.jsonl") date=$(jq -r .date "$in/machine.jsonl")
check_contains "what says nothing is of this run" "$(cat "$page")" "has measured, in one run on one machine"
note propagate "$commit" false "$date"
check "a part of this run" make_page
check_equal "is in it" "$(goal "$median")" "1.90 ms, reached"
check_contains "and the page says so" "$(cat "$page")" "has measured, in one run on one machine"
note propagate "$commit" false "2026-01-02 03:04 UTC"
check "one of an earlier run" make_page
check_equal "is in it, too" "$(goal "$median")" "1.90 ms, reached"
check_contains "which is said" "$(cat "$page")" "has measured, of one commit on one machine"
check_contains "with its date" "$(cat "$page")" "Measured before the others: propagate (2026-01-02 03:04 UTC)."
check "and README may have it" in_readme
note propagate 0123456789ab false "$date"
check "one of another commit" make_page
check_equal "is left out" "$(goal "$median")" "not measured, "
check_contains "which the page says" "$(cat "$page")" "**Left out, as of another commit or form than the last run: propagate (commit 0123456789ab).**"
check_contains "and the report" "$(cat "$TEST_DIR/said")" "report: Left out, as of another commit"
check_equal "nor is how long it took" "$(grep -c '^| propagate | 3 | 4 |' "$page")" 0
cp "$readme" "$TEST_DIR/once" && cp "$out/figures.json" "$TEST_DIR/figures.json"
check "README does not get what is left of them" not in_readme
check "and stays" cmp "$readme" "$TEST_DIR/once"
check "as the page does" cmp "$out/figures.json" "$TEST_DIR/figures.json"
note propagate "$commit" true "$date"
check "one that was measured in the short form" make_page
check_equal "is left out, too" "$(goal "$median")" "not measured, "
note propagate "$commit" false "$date"

mv "$in/machine.jsonl" "$TEST_DIR/machine.jsonl"
jq -c '.quick = true' "$TEST_DIR/machine.jsonl" >"$in/machine.jsonl"
rm "$in/propagate.took.jsonl"
check "a page of the short form" make_page
check "is none for README" not in_readme
check_contains "which is said" "$(cat "$TEST_DIR/said")" "report: these figures are --quick's, which are not for README"
mv "$TEST_DIR/machine.jsonl" "$in/machine.jsonl"
make_page

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
