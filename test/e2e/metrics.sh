#!/usr/bin/env bash
# timeout: 600
# A real Prometheus scrapes the daemon at a real API server: each query of the dashboard has an answer with data in it, and each
# alert's expression has one without an error.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

kube_up
command -v prometheus >/dev/null || skip_all "no prometheus"
metrics_port=$(free_port) prometheus_port=$(free_port)
"$secretlet" cache keygen "$TEST_DIR/cache.key" >/dev/null
printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "metricsBindAddress: 127.0.0.1:$metrics_port" \
	"auditLog: $TEST_DIR/audit/log" "offlineCacheDir: cache" "offlineCacheKeyFile: cache.key" >"$TEST_DIR/secretlet.yaml"
chmod 600 "$TEST_DIR/secretlet.yaml"
secretlet_start --config "$TEST_DIR/secretlet.yaml" --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
content() { cat "$(volume app creds)/key" 2>/dev/null; }
put_secret db key=0
put_pod app '{"creds": {"secretName": "db"}}'
require "$log" "a pod becomes ready" ready app

# the example, but for its port, its pace, and where its rules are
sed "s/127.0.0.1:10249/127.0.0.1:$metrics_port/; s/15s/1s/; s|- alerts.yaml|- $lib_here/../../deploy/prometheus/alerts.yaml|" \
	"$lib_here/../../deploy/prometheus/scrape.yaml" >"$TEST_DIR/prometheus.yml"
prometheus --config.file="$TEST_DIR/prometheus.yml" --storage.tsdb.path="$TEST_DIR/tsdb" \
	--web.listen-address="127.0.0.1:$prometheus_port" >"$TEST_DIR/prometheus.out" 2>&1 </dev/null &
prometheus=$!
ask() { # ask PATH [CURL-ARGUMENT...]
	local path=$1
	shift
	curl -sS "$@" "http://127.0.0.1:$prometheus_port/api/v1/$path"
}
query() { ask query --get --data-urlencode "query=$1"; }
scraped() { [ "$(query 'up{job="secretlet"} == 1' | jq '.data.result | length')" = 1 ]; }
require "$TEST_DIR/prometheus.out" "Prometheus scrapes the daemon" eventually 60 scraped

for i in 1 2 3 4 5; do
	put_secret db key=$i
	check "rotation $i is seen" eventually 20 "[ \"\$(content)\" = $i ]"
	sleep 1
done
counted() { [ "$(query 'secretlet_event_visible_seconds_count >= 5' | jq '.data.result | length')" = 1 ]; }
check "and counted by Prometheus" eventually 30 counted

check_equal "it knows each metric by its HELP" "$(ask "targets/metadata?match_target=%7Bjob%3D%22secretlet%22%7D" |
	jq -r '.data[] | select(.help != "") | .metric' | grep '^secretlet_' | sort | xargs)" \
	"$("$lib_here/../lib/dashboards.py" manual | xargs)"
n=0
while IFS=$'\t' read -r where expression; do
	n=$((n + 1))
	answer=$(query "$expression")
	case $where in
	panel*) check_equal "$where: $expression" \
		"$(jq -r '"\(.status) \([.data.result[]? | select(.value[1] != "NaN")] | length > 0)"' <<<"$answer")" "success true" ;;
	*) check_equal "$where" "$(jq -r .status <<<"$answer")" success ;;
	esac
done < <("$lib_here/../lib/dashboards.py" queries)
check "there were some" test "$n" -ge 40
check_equal "no alert is without its rule's health" \
	"$(ask rules | jq -r '[.data.groups[].rules[] | select(.health == "err")] | length')" 0

kill "$prometheus"
secretlet_stop
check_equal "SIGTERM: exit status" $? 0
tap_done
