#!/usr/bin/env bash
# What a node takes as it has more Secrets, of 1 KiB each, and more pods: the start beside the bare requests of one with the
# same client library (scale.c), memory, connections, processor time when nothing happens, and a storm in which all
# Secrets rotate as fast as the server takes them.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=server.sh
. "$bench_here/server.sh"

read -ra points <<<"$(bench_pick '100x10 1000x10 1000x110 1000x250 10000x250' '12x2 24x4')" # SECRETSxPODS
storms_of() { case $1 in 10000x*) echo 1 ;; *) bench_pick 3 1 ;; esac; } # of many Secrets, one is as good as many of few
# Seconds of rest: in a minute each watch has its bookmark, and timers have had their turn. With 10,000 Secrets the start is so
# long that bookmarks of its beginning come in any half minute.
idle_of() { case $1 in 1000x110) echo 60 ;; 10000x*) echo 30 ;; *) bench_pick 10 2 ;; esac; }
# the daemon's own limit of requests would be all that is measured
unlimited=('kubeAPIQPS: 100000' 'kubeAPIBurst: 100000' 'secretMemoryLimit: 512Mi')

look() { "$bench_here/look.py" "$secretlet_pid" "$kube_port"; }
# spent BEFORE AFTER: what the processes did in between
spent() {
	jq -n --argjson a "$1" --argjson b "$2" '{cpu_ms: ($b.cpu_ms | with_entries(.value -= $a.cpu_ms[.key])),
		wakeups: ($b.wakeups | with_entries(.value -= $a.wakeups[.key]))}'
}
# the watches of Secrets that the server itself counts; null: it does not
streams() {
	[ "$server" != test ] || { echo null; return; }
	api GET /metrics | awk '/^apiserver_longrunning_gauge\{/ && /resource="secrets"/ && /scope="namespace"/ && /verb="WATCH"/ { n += $2 } END { print n + 0 }'
}

# What is put off until the last volume shows its bytes, and what is kept for a grace then, is the storm's work, too. To ask costs
# processor time, so that comes after the look; only if it was too early it is in the next one.
look_at_rest() {
	local seen
	for _ in {1..30}; do
		sleep 1
		seen=$(look)
		[ "$(status .publisher.queued)" != 0 ] || { echo "$seen"; return; }
	done
	return 1
}

msec() { echo $(($(date +%s%N) / 1000000)); }

# point SECRETS PODS
point() {
	local secrets=$1 pods_n=$2 bare started first rested begun last storm='[]' round=0 sum idle storms shown began pods_ms anew
	idle=$(idle_of "$1x$2") storms=$(storms_of "$1x$2")
	progress "Secrets: $secrets, in pods: $pods_n; the pods are made"
	began=$(msec)
	as_admin pods "$url" node-1 "$secrets" "$pods_n"
	pods_ms=$(($(msec) - began))
	progress "the bare requests"
	bare=$(as_node bare "$url" node-1 "$secrets" </dev/null)
	eventually 60 '[ "$(streams)" = null ] || [ "$(streams)" = 0 ]' || die "the watches of the bare requests do not end"

	progress "the node starts"
	node_start "${unlimited[@]}"
	started=$("$TEST_BUILD_DIR/test/bench/scale" ready "$run/control.sock" "$secrets" $((secrets + 1))) ||
		die "$secrets Secrets in $pods_n pods do not become ready" "$log"
	first=$(look)
	progress "at rest for $idle s"
	sleep "$idle"
	rested=$(look)
	progress "storms: $storms"
	shown=$(status .publisher.published)
	begun=$(look)
	while [ $((round += 1)) -le "$storms" ]; do
		rounds=$((rounds + 1)) # not within the substitution, a process of its own: with the bytes of before nothing would change
		sum=$(as_admin storm "$url" "$secrets" "$pods_n" "$rounds" "$pods/by-name/default")
		storm=$(jq -c --argjson one "$sum" '. + [$one]' <<<"$storm")
	done
	last=$(look_at_rest) || die "what has changed in the storm is not tidied up" "$log"
	shown=$(($(status .publisher.published) - shown))
	anew=$(jq -n --argjson a "$rested" --argjson b "$last" '$a.pids != $b.pids')
	if [ "$anew" = true ]; then
		progress "a process was started anew in a storm, whose figures are left out: $OUT/scale-$1x$2.log"
		grep -v 'volume is updated' "$log" >"$OUT/scale-$1x$2.log"
	fi
	jq -cn --arg server "$server" --argjson secrets "$secrets" --argjson pods "$pods_n" --argjson bare "$bare" \
		--argjson started "$started" --argjson rested "$rested" --argjson first "$first" --argjson last "$last" \
		--argjson idle "$(spent "$first" "$rested")" --argjson rotated "$(spent "$begun" "$last")" --argjson storm "$storm" \
		--argjson streams "$(streams)" --argjson idle_s "$idle" --argjson used "$(status .secretMemory.usedBytes)" \
		--argjson shown "$shown" --argjson made "$made" --argjson made_ms "$made_ms" --argjson pods_ms "$pods_ms" --argjson anew "$anew" '
		def median: sort | .[length / 2 | floor];
		{bench: "scale", server: $server, secrets: $secrets, pods: $pods, value_bytes: 1024} + $bare + $started +
		{ready_ratio: ($started.ready_ms / $bare.bare_listed_ms), start_cpu_ms: $first.cpu_ms,
			connections: $first.connections, streams: $streams, secret_memory_bytes: $used,
			rss: $rested.rss, pss: $rested.pss, pss_total: ($rested.pss | add),
			beyond_bytes: (($rested.pss | add) - $secrets * 1024), pss_after_storm: ($last.pss | add),
			idle_s: $idle_s, idle_cpu_ms: $idle.cpu_ms, idle_wakeups: $idle.wakeups,
			storms: ($storm | length), storm_written_ms: ($storm | map(.storm_written_ms) | median),
			storm_shown_ms: ($storm | map(.storm_shown_ms) | median),
			storm_cpu_us_per_update: ($rotated.cpu_ms | map_values(. * 1000 / ($storm | length) / $secrets)),
			storm_published: $shown, storm_wakeups: $rotated.wakeups,
			made_secrets: $made, made_ms: $made_ms, pods_ms: $pods_ms, started_anew: $anew} |
		if $anew then with_entries(if .key | test("storm_|_storm") then .value = null else . end) else . end' >>"$OUT/scale.jsonl"
	node_stop
}

progress "an API server starts"
server_up
have=0 rounds=0
for p in "${points[@]}"; do
	secrets=${p%x*} made=0 made_ms=0
	if [ "$secrets" -gt "$have" ]; then
		progress "Secrets $((have + 1)) to $secrets are made"
		began=$(msec)
		as_admin put "$url" "$have" "$secrets"
		made=$((secrets - have)) made_ms=$(($(msec) - began)) have=$secrets
	fi
	point "$secrets" "${p#*x}"
done
