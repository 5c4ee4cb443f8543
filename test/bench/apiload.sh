#!/usr/bin/env bash
# What the API server is asked by a node, counted there (requests.py), for each strategy: when the node begins, while nothing
# changes, and when the server was away and is back; beside it what a kubelet would ask by its documented rules (kubelet:
# computed, not measured):
#
#   Watch  a list and a watch for each Secret, lists at 50 a second after a burst of 100; each watch is begun anew when it ends,
#          after 5 to 10 minutes (1.20) or 30 to 60 (since 1.32); after a restart of the server it goes on from its version: a
#          watch for each Secret, each when its own backoff lets it. A server that has begun anew knows nothing of what was
#          before its own start: whose version is older than that is told 410, and makes a list and another watch. A kubelet's
#          versions are as old as ours: as many lists, then
#   Cache  a get for each Secret when a pod is synced, every 60 to 90 s, unless what it has is younger than 60 s
#   Get    a get for each Secret each time a pod is synced
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=server.sh
. "$bench_here/server.sh"

secrets=$(bench_pick 200 10) pods_n=$(bench_pick 20 2)
away=$(bench_pick 5 0.5) settle=$(bench_pick 3 0.5)

now() { date +%s.%N; }
all_watch() { [ "$(status '.source | .connected and .watches == '"$1")" = true ]; }

# tell STRATEGY PHASE FROM TO
tell() {
	"$bench_here/requests.py" "$requests" secretlet/ "$3" "$4" | jq -c --arg server "$server" --arg strategy "$1" --arg phase "$2" \
		--argjson secrets "$secrets" --argjson pods "$pods_n" --argjson sync "$sync" --argjson from "$3" --argjson to "$4" \
		'{bench: "apiload", server: $server, who: "secretlet", strategy: $strategy, phase: $phase, secrets: $secrets, pods: $pods,
			seconds: ($to - $from), sync_s: $sync} + . +
			if $phase == "steady" then {per_minute: ((.lists + .watches + .gets) / ($to - $from) * $sync)} else {} end' \
		>>"$OUT/apiload.jsonl"
}

# What comes after an outage of as long as the server was away with Watch, and how it is spread, is simulated (arrival.c: client-go).
kubelet() {
	local after relisted
	relisted=$(jq -s --argjson secrets "$secrets" '.[] | select(.strategy == "Watch" and .phase == "restart") | [.lists, $secrets] | min' \
		"$OUT/apiload.jsonl")
	after=$("$TEST_BUILD_DIR/test/bench/arrival" 1 "$secrets" "$(printf '%.0f' "$gone")" |
		jq -c 'select(.what == "spread" and .who == "client-go") | {most_in_1s: .busiest_1s, busy_ms: (.all_after_s * 1000)}')
	jq -nc --argjson secrets "$secrets" --argjson pods "$pods_n" --argjson after "$after" --argjson again "$relisted" '
		def row($strategy; $phase; $rule): {bench: "apiload", who: "kubelet", computed: true, strategy: $strategy, phase: $phase,
			secrets: $secrets, pods: $pods, lists: 0, watches: 0, gets: 0} + $rule;
		row("Watch"; "cold"; {lists: $secrets, watches: $secrets, most_in_1s: (2 * ([$secrets, 150] | min))}),
		row("Watch"; "steady"; {per_minute: ($secrets / 45), per_minute_1_20: ($secrets / 7.5)}),
		row("Watch"; "restart"; {lists: $again, watches: ($secrets + $again)} + $after),
		row("Cache"; "cold"; {gets: $secrets}), row("Cache"; "steady"; {per_minute: ($secrets * 60 / 75)}),
		row("Get"; "cold"; {gets: $secrets}), row("Get"; "steady"; {per_minute: ($secrets * 60 / 75)})' \
		>>"$OUT/apiload.jsonl"
}

# strategy NAME WATCHES SYNC REST: with it so many watches run; REST is how long it is left alone. How often it asks is measured
# with a shorter syncFrequency than the default's 60 s (not with Watch: at each sync, a watch is checked that has not even
# brought a bookmark, and these come once a minute)
strategy() {
	local began rested left back came sync=$3 steady=$4
	progress "$1: the node starts"
	began=$(now)
	node_start "configMapAndSecretChangeDetectionStrategy: $1" "syncFrequency: ${sync}s" "secretCacheTTL: ${sync}s"
	"$TEST_BUILD_DIR/test/bench/scale" ready "$run/control.sock" "$secrets" "$2" >"$TEST_DIR/ready" || die "$1: not ready" "$log"
	sleep "$settle"
	rested=$(now)
	tell "$1" cold "$began" "$rested"
	progress "$1: at rest for $steady s"
	sleep "$steady"
	left=$(now)
	tell "$1" steady "$rested" "$left"

	progress "$1: the server restarts"
	kube_stop_apiserver
	sleep "$away"
	server_start
	came=$(now)
	[ "$1" != Watch ] || gone=$(jq -n "$came - $left | [., 1] | max")
	eventually 120 "all_watch $2" || die "$1: it does not come back" "$log"
	sleep "$settle"
	back=$(now)
	tell "$1" restart "$left" "$back"
	node_stop
}

progress "an API server starts"
server_up
as_admin put "$url" 0 "$secrets"
as_admin pods "$url" node-1 "$secrets" "$pods_n"
if [ "$server" = test ]; then # it forgets when it ends
	for kind in secrets pods; do api GET "/api/v1/$kind" | jq --arg kind "$kind" '.items[] += {apiVersion: "v1", kind: {pods: "Pod",
		secrets: "Secret"}[$kind]}' >"$TEST_DIR/objects/$kind.json"; done
fi
strategy Watch $((secrets + 1)) 60 "$(bench_pick 30 2)"
strategy Cache 1 "$(bench_pick 10 1)" "$(bench_pick 20 2)"
strategy Get 1 "$(bench_pick 10 1)" "$(bench_pick 20 2)"
kubelet
