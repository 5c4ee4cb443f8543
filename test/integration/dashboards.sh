#!/usr/bin/env bash
# timeout: 120
# deploy/grafana and deploy/prometheus: what they ask for is there, the rules are rules, and each alert fires when it should and
# not before. test/e2e/metrics.sh has a real Prometheus answer them.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

ask() { "$here/../lib/dashboards.py" "$1"; }
deploy=$here/../../deploy

check "there are queries" test "$(ask queries | wc -l)" -ge 40
check_equal "each metric that is asked for is one of the manual's" "$(comm -23 <(ask names) <(ask manual))" ""
check_equal "each metric of the manual is in the dashboard or in an alert" "$(comm -13 <(ask names) <(ask manual))" ""
out=$(promtool check rules "$deploy/prometheus/alerts.yaml" 2>&1)
check "promtool check rules" test $? = 0
check_contains "has found them" "$out" "rules found"
out=$(promtool check config "$deploy/prometheus/scrape.yaml" 2>&1)
check "promtool check config" test $? = 0
out=$(promtool test rules "$deploy/prometheus/alerts_test.yaml" 2>&1)
check_equal "promtool test rules" "$?:$(printf '%s\n' "$out" | grep -c SUCCESS)" "0:1"
check_equal "each alert has a test that it fires, and one that it does not" "$(ask untested)" ""
tap_done
