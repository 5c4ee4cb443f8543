#!/usr/bin/env bash
# timeout: 600
# takes long
# The short form of what `make bench` measures of a node's size and of the load on the API server: what must be the same
# however fast it is, and ratios with generous limits. With the test API server.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
# shellcheck source=../lib/bench.sh
. "$here/../lib/bench.sh"

check "the arrival after an outage is simulated" bench arrival
check "each node has all its watches again" every arrival '.what == "spread" and .who == "secretlet"' '.nodes_not_back == 0'
check "for which each is begun once, or little more" every arrival '.what == "spread" and .who == "secretlet"' \
	'.nodes * (.secrets + 1) <= .watches and .watches < 1.5 * .nodes * (.secrets + 1)'
check "and one list is made of each node" every arrival '.what == "spread" and .who == "secretlet"' '.lists <= 2 * .nodes and .gets == 0'
pairs() { # pairs TEST: of each outage, as $ours and $theirs
	jq -se '[.[] | select(.what == "spread")] | group_by(.outage_s) | length > 0 and all(
		(.[] | select(.who == "secretlet")) as $ours | (.[] | select(.who == "client-go")) as $theirs | '"$1"')' "$out/arrival.jsonl" >/dev/null
}
# the numbers are those of a seed, and so the same each time
check "while it is away a node asks about as often as one reflector" pairs \
	'$ours.tries_per_s_while_away < 1.5 * $theirs.tries_per_s_while_away / ($ours.secrets + 1)'
check "the busiest second is about that of client-go" pairs '$ours.busiest_1s < 2 * $theirs.busiest_1s'
check "a node has all its watches again no later" pairs \
	'$ours.node_back_median_s < $theirs.node_back_median_s and $ours.node_back_p99_s < $theirs.node_back_p99_s'
graceful() { every arrival '.what == "graceful" and .who == "secretlet"' "$1"; }
check "streams that all end are begun anew at once, each once" graceful \
	'.node_back_last_s < 3 and .requests == .nodes * (.secrets + 2) and .nodes_not_back == 0'
check "the histogram has all requests" every arrival '.what == "histogram"' '(.requests | add) > .nodes * .secrets'

check "a node's size is measured" bench scale
check "the bare requests are one for the pods, and two for each Secret" every scale true '.bare_requests == 2 * .secrets + 1'
check "a connection for each watch, with HTTP/1.1, and few more" every scale true '.connections > .secrets and .connections < .secrets + 8'
check "memory for Secrets is less than eight times their bytes" every scale true '.secret_memory_bytes < 8 * .secrets * .value_bytes'
check "all processes together stay below 64 MiB" every scale true '.pss_total < 64 * 1048576'
check "in a storm each Secret's volume is published anew, in each" every scale true '.storm_published == .storms * .secrets'
check "at rest they wake up less than fifty times a second" every scale true '(.idle_wakeups | add) < 50 * .idle_s'

check "whose the memory is, is measured" bench memory
check "of each process" figures memory 'map(select(.what == "mapped") | .process) | unique == ["agent", "keeper", "publisher"]'
check "some of it is clean pages of libraries" figures memory 'map(select(.kind == "libraries")) | all(.dirty_at_none < .bytes_at_none)'
# with a connection for each watch it is more: of their buffers much was never touched
check "and all that grows on the heap is somebody's" figures memory '(map(select(.kind == "heap").bytes_each) | add) as $grown |
	(map(select(.what == "heap").bytes_each) | add) > 0.8 * $grown'
check "most of it the HTTP client library's" figures memory 'map(select(.what == "heap")) | max_by(.bytes_each).who == "libcurl"'
check "and little that nobody is known of" figures memory '(map(select(.what == "heap"))) as $all |
	($all | map(select(.who == "other").bytes_each) | add // 0) < 0.05 * ($all | map(.bytes_each) | add)'

check "the API server's load is counted" bench apiload
ours='.who == "secretlet"'
check "with Watch, a start is a list and a watch for each Secret" every apiload "$ours and .strategy == \"Watch\" and .phase == \"cold\"" \
	'.lists == .secrets and .watches == .secrets and .gets == 0'
check "and nothing at rest" every apiload "$ours and .strategy == \"Watch\" and .phase == \"steady\"" \
	'.lists + .watches + .gets == 0'
check "with Cache and Get there is neither list nor watch" every apiload "$ours and .strategy != \"Watch\"" '.lists + .watches == 0'
check "but a get for each at the start" every apiload "$ours and .strategy != \"Watch\" and .phase == \"cold\"" '.gets >= .secrets'
check "after a restart of the server all are watched again" every apiload "$ours and .strategy == \"Watch\" and .phase == \"restart\"" \
	'.watches >= .secrets'

if command -v valgrind >/dev/null; then
	check "instructions are counted" bench profile
	check "of an event and of a publication" every profile '.what == "total" and .case != "cold read"' '.each > 10000 and .each < 1500000'
	check "an event's long strings are not parsed byte by byte" every profile '.what == "total" and .case == "event"' '.each < 250000'
	check "and of a read that the kernel has to ask for" every profile '.what == "total" and .case == "cold read"' \
		'.each > 2000 and .each < 200000'
	check "and of each Secret of a start" bench start
	check "which are less than twice those of the bare requests" jq -se 'map(select(.what == "total")) |
		(map(select(.case | startswith("start,")).each) | max) < 2 * (map(select(.case | startswith("bare")).each) | max)' "$out/start.jsonl"
else
	tap_skip "instructions are counted" "valgrind is not installed"
fi
if perf record -q -e cpu-clock -o "$TEST_DIR/try.data" true >"$TEST_DIR/perf.out" 2>&1; then
	check "samples are taken" bench samples
	check "of both that are done, in the agent and in the kernel" figures samples 'map(select(.what == "total")) | length == 2 and
		all(.us_each_of["agent, program"] > 0 and .us_each_of["agent, kernel"] > 0)'
else
	tap_skip "samples are taken" "perf takes none here"
fi
check "a page can be made of it all" "$here/../bench/report" --in "$out" --out "$TEST_DIR/page"
tap_done
