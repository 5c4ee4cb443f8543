#!/usr/bin/env bash
# What the API server is asked by a node, counted there (requests.py), for each strategy: when the node begins, while nothing
# changes, and when the server was away and is back; beside it what a kubelet would ask by its documented rules (kubelet:
# computed, not measured):
#
#   Watch  a list and a watch for each Secret; each watch is begun anew when it ends, after 5 to 10 minutes (1.20) or 30 to 60
#          (since 1.32); after a restart of the server it goes on from its version: a watch for each Secret
#   Cache  a get for each Secret when a pod is synced, every 60 to 90 s, unless what it has is younger than 60 s
#   Get    a get for each Secret each time a pod is synced
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=server.sh
. "$bench_here/server.sh"

secrets=$(bench_pick 200 10) pods_n=$(bench_pick 20 2)
steady=$(bench_pick 30 2) away=$(bench_pick 5 0.5) settle=$(bench_pick 3 0.5)

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

kubelet() {
	jq -nc --argjson secrets "$secrets" --argjson pods "$pods_n" '
		def row($strategy; $phase; $rule): {bench: "apiload", who: "kubelet", computed: true, strategy: $strategy, phase: $phase,
			secrets: $secrets, pods: $pods, lists: 0, watches: 0, gets: 0} + $rule;
		row("Watch"; "cold"; {lists: $secrets, watches: $secrets}),
		row("Watch"; "steady"; {per_minute: ($secrets / 45), per_minute_1_20: ($secrets / 7.5)}),
		row("Watch"; "restart"; {watches: $secrets}),
		row("Cache"; "cold"; {gets: $secrets}), row("Cache"; "steady"; {per_minute: ($secrets * 60 / 75)}), row("Cache"; "restart"; {}),
		row("Get"; "cold"; {gets: $secrets}), row("Get"; "steady"; {per_minute: ($secrets * 60 / 75)}), row("Get"; "restart"; {})' \
		>>"$OUT/apiload.jsonl"
}

# strategy NAME WATCHES SYNC: with it so many watches run; how often it asks is measured with a shorter syncFrequency than the
# default's 60 s (not with Watch: at each sync, a watch is checked that has not even brought a bookmark, and these come once a
# minute)
strategy() {
	local began rested left back sync=$3
	began=$(now)
	node_start "configMapAndSecretChangeDetectionStrategy: $1" "syncFrequency: ${sync}s" "secretCacheTTL: ${sync}s"
	"$TEST_BUILD_DIR/test/bench/scale" ready "$run/control.sock" "$secrets" "$2" >"$TEST_DIR/ready" || die "$1: not ready" "$log"
	sleep "$settle"
	rested=$(now)
	tell "$1" cold "$began" "$rested"
	sleep "$steady"
	left=$(now)
	tell "$1" steady "$rested" "$left"

	kube_stop_apiserver
	sleep "$away"
	server_start
	eventually 120 "all_watch $2" || die "$1: it does not come back" "$log"
	sleep "$settle"
	back=$(now)
	tell "$1" restart "$left" "$back"
	node_stop
}

server_up
as_admin put "$url" 0 "$secrets"
as_admin pods "$url" node-1 "$secrets" "$pods_n"
if [ "$server" = test ]; then # it forgets when it ends
	for kind in secrets pods; do api GET "/api/v1/$kind" | jq --arg kind "$kind" '.items[] += {apiVersion: "v1", kind: {pods: "Pod",
		secrets: "Secret"}[$kind]}' >"$TEST_DIR/objects/$kind.json"; done
fi
strategy Watch $((secrets + 1)) 60
strategy Cache 1 "$(bench_pick 10 1)"
strategy Get 1 "$(bench_pick 10 1)"
kubelet
