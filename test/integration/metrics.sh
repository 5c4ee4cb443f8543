#!/usr/bin/env bash
# timeout: 300
# /metrics, /healthz and /readyz of a daemon that has all there is: the test API server, auditLog, the offline cache, signals,
# and listeners beside the control socket. promtool finds nothing to say about the text, the manual has each metric and no other one, and the
# numbers follow what happens. Runs in a private mount namespace.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet manual=$here/../../man/secretlet.8
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log conf=$TEST_DIR/secretlet.yaml canary="CANARY-$RANDOM$RANDOM"
chmod 755 "$TEST_DIR"

"$TEST_BUILD_DIR/apiserver" --port 0 >"$TEST_DIR/server.out" 2>"$TEST_DIR/server.err" &
server=$!
eventually 10 "grep -q http '$TEST_DIR/server.out'"
url=$(head -n 1 "$TEST_DIR/server.out")
cat >"$TEST_DIR/kubeconfig" <<-Y
	apiVersion: v1
	kind: Config
	current-context: c
	contexts: [{name: c, context: {cluster: k, user: u}}]
	clusters: [{name: k, cluster: {server: "$url"}}]
	users: [{name: u, user: {}}]
Y
api() { # api METHOD PATH BODY
	curl -sS -o /dev/null -X "$1" -H 'Content-Type: application/json' --data-binary "$3" "$url/api/v1/namespaces/default/$2"
}
secret() { # secret VALUE
	printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"stringData":{"password":"%s"}}' "$1"
}
pod() { # pod NAME SECRET
	printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"%s"},"spec":{"nodeName":"node-1","containers":[{"name":"c","image":"i","volumeMounts":[{"name":"creds","mountPath":"/c"}]}],"volumes":[{"name":"creds","secret":{"secretName":"%s"}}]}}' \
		"$1" "$2"
}
ask() { "$secretlet" "$@" --runtime-dir "$run"; }
page() { curl -sS --unix-socket "$run/control.sock" "http://x/$1"; }
page_status() { curl -sS -o /dev/null -w '%{http_code}' --unix-socket "$run/control.sock" "http://x/$1"; }
# sample SERIES: its value, "none" if there is none
sample() {
	page metrics | awk -v series="$1" '$0 ~ /^#/ { next }
		{ n = length($0) - length($NF) - 1; if (substr($0, 1, n) == series) { print $NF; found = 1 } }
		END { if (!found) print "none" }'
}
value() { cat "$pods/by-name/default/app/volumes/kubernetes.io~secret/creds/password"; }
agent() { pgrep -P "$keeper" -f '^secretlet-agent' | head -n 1; }
published() { # as Prometheus' parsers take it: promtool's findings, and its exit status
	page metrics | promtool check metrics 2>&1
}
# the names of families
named_by_daemon() { page metrics | sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' | sort; }
named_by_manual() { sed -n 's/^\.It Li \(secretlet_[a-z_]*\).*/\1/p' "$manual" | sort; }

address=127.0.0.1:$(free_port) health_port=$(free_port)
"$secretlet" cache keygen "$TEST_DIR/cache.key" >/dev/null
printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "kubeconfig: kubeconfig" \
	"podsDir: $pods" "runtimeDir: $run" "nodeName: node-1" "auditLog: $TEST_DIR/audit/log" "signalContainers: true" \
	"offlineCacheDir: $TEST_DIR/cache" "offlineCacheKeyFile: cache.key" \
	"metricsBindAddress: $address" "healthzPort: $health_port" >"$conf"
chmod 600 "$conf"
api POST secrets "$(secret "$canary-1")"
api POST pods "$(pod app db)"
"$secretlet" run --config "$conf" 2>>"$log" &
keeper=$!
check "the pod is ready" ask wait --quiet --timeout 20s default/app

# --- the text
findings=$(published)
check_equal "promtool: exit status" $? 0
check_equal "promtool: has nothing to say" "$findings" ""
check_equal "the daemon has the metrics of the manual and no others" "$(named_by_daemon)" "$(named_by_manual)"
check_contains "the type of the text" \
	"$(curl -sS -o /dev/null -w '%{content_type}' --unix-socket "$run/control.sock" http://x/metrics)" "version=0.0.4"

# --- the numbers
check_equal "a volume is ready" "$(sample 'secretlet_volumes{state="ready"}')" 1
check_equal "a Secret is there" "$(sample 'secretlet_source_objects{kind="secret",state="synced"}')" 1
check_equal "no update was seen" "$(sample 'secretlet_event_visible_seconds_count{type="secret"}')" 0
check_equal "one volume was published" "$(sample 'secretlet_publishes_total{result="published"}')" 1
check_equal "what is served has its length" "$(sample secretlet_arena_content_bytes)" "$((${#canary} + 2))"
api PUT secrets/db "$(secret "$canary-2")"
check "an update" eventually 10 "[ \"\$(value)\" = '$canary-2' ]"
check "is measured" eventually 10 "[ \"\$(sample 'secretlet_event_visible_seconds_count{type=\"secret\"}')\" = 1 ]"
check_equal "and its publishing" "$(sample secretlet_publish_duration_seconds_count)" 2
api POST pods "$(pod waits nothing)"
check "a volume that waits" eventually 10 "[ \"\$(sample 'secretlet_volumes{state=\"waiting\"}')\" = 1 ]"
check "requests are counted by verb, resource and code" \
	test "$(sample 'secretlet_api_requests_total{verb="WATCH",resource="pods",code="200"}')" -ge 1
check "and those of the kernel" test "$(sample 'secretlet_fuse_requests_total{opcode="LOOKUP"}')" -ge 1
check "opens are counted" eventually 10 "[ \"\$(sample secretlet_audit_records_written_total)\" -ge 1 ]"
check_equal "no name of anybody's is in it" "$(page metrics | grep -cE 'default|"app"|"db"|creds|password|CANARY')" 0

# --- over TCP
check_equal "the listener has the metrics" "$(curl -sS "http://$address/metrics" | grep -c '^secretlet_build_info')" 1
check_equal "and health" "$(curl -sS "http://$address/healthz")" ok
check_equal "and nothing else" "$(curl -sS -o /dev/null -w '%{http_code}' "http://$address/v1/pods")" 404
check_equal "the other one has health alone" \
	"$(curl -sS "http://127.0.0.1:$health_port/readyz") $(curl -sS -o /dev/null -w '%{http_code}' "http://127.0.0.1:$health_port/metrics")" \
	"ok 404"
check_equal "who listens is the agent's user, without privileges" "$(stat -c %u "/proc/$(agent)" | grep -cv '^0$')" 1

# --- processes that are replaced
first=$(sample secretlet_agent_start_time_seconds)
exec 9<>"/dev/tcp/${address%:*}/${address#*:}" # stays open beyond its agent
publisher=$(pgrep -P "$keeper" -f '^secretlet-publisher')
kill -9 "$publisher"
check "another publisher is counted" eventually 10 \
	"[ \"\$(sample 'secretlet_process_restarts_total{process=\"publisher\"}')\" = 1 ]"
opens=$(sample secretlet_audit_opens_total)
check "opens were counted" test "$opens" -ge 1
kill -9 "$(agent)"
check "another agent has another start" eventually 10 "page metrics >'$TEST_DIR/page' &&
	sample secretlet_audit_opens_total >>'$TEST_DIR/opens' &&
	[ \"\$(sample secretlet_agent_start_time_seconds)\" != none ] &&
	[ \"\$(sample secretlet_agent_start_time_seconds)\" != '$first' ]"
check "it is told of its own restart" eventually 10 "sample secretlet_audit_opens_total >>'$TEST_DIR/opens' &&
	[ \"\$(sample 'secretlet_process_restarts_total{process=\"agent\"}')\" = 1 ]"
check "and of what the audit process has counted" eventually 10 "sample secretlet_audit_opens_total | tee -a '$TEST_DIR/opens' | grep -q '[0-9]'"
check_equal "which was never less than before" "$(awk -v n="$opens" '$1 != "none" && $1 < n' "$TEST_DIR/opens")" ""
check_equal "the publisher that went with its agent is not counted" "$(sample 'secretlet_process_restarts_total{process="publisher"}')" 1
check "the new agent has a publisher" eventually 10 "[ \$(page_status readyz) = 200 ]"
kill -9 "$(pgrep -P "$keeper" -f '^secretlet-publisher')"
check "one that dies later on is counted again" eventually 10 \
	"[ \"\$(sample 'secretlet_process_restarts_total{process=\"publisher\"}')\" = 2 ]"

check "which listens again" eventually 10 "[ \"\$(curl -sS 'http://$address/healthz')\" = ok ]"
exec 9>&-

# --- health
check "it is ready" eventually 10 "[ \$(page_status readyz) = 200 ]"
check_equal "readyz" "$(page readyz)" "ok"
check_equal "healthz?verbose" "$(page 'healthz?verbose')" $'[+]loop ok\n[+]mount ok\nhealthz check passed'
api POST pods "$(pod waits nothing)"
check "a volume waits" eventually 10 "page metrics | grep -qxF 'secretlet_volumes{state=\"waiting\"} 1'"
check_equal "it is ready all the same" "$(ask status --ready; echo $?)" $'[+]loop ok\n[+]mount ok\n[+]publisher ok\n[+]sync ok\nreadyz check passed\n0'
check_equal "though not healthy" "$(ask status >/dev/null; echo $?)" 1
kill -9 "$server"
check "the API server has gone" eventually 30 "page metrics | grep -qxF 'secretlet_source_connected{source=\"api-server\"} 0'"
check_equal "and it is still ready" "$(page readyz)" "ok"
kill -9 "$(agent)"
check "an agent that has not heard of its pods is not ready" eventually 10 "[ \$(page_status readyz) = 500 ]"
check_contains "and says why" "$(page readyz)" "[-]sync failed: the first list of pods has not arrived"
check_equal "nor is it for a probe" "$(ask status --ready >/dev/null; echo $?)" 1
check_equal "but it is alive" "$(page healthz)" "ok"
check_equal "and serves" "$(value)" "$canary-2"
check "requests without an answer are counted" eventually 10 \
	"page metrics | grep -q '^secretlet_api_requests_total{.*resource=\"pods\",code=\"<error>\"}'"

# --- a port that somebody else has
kill -STOP "$keeper" # no other agent meanwhile
kill -9 "$(agent)"
check "the port is free" eventually 10 "! curl -sS 'http://$address/healthz' 2>/dev/null"
python3 -c "import socket, time
s = socket.create_server(('127.0.0.1', ${address#*:}))
print('taken', flush=True)
time.sleep(600)" >"$TEST_DIR/taken" &
thief=$!
eventually 10 "grep -q taken '$TEST_DIR/taken'"
kill -CONT "$keeper"
check "an agent that cannot have it goes on without" eventually 10 "[ \"\$(page healthz)\" = ok ]"
check_equal "and serves, too" "$(value)" "$canary-2"
check_contains "status says why" "$(ask status 2>&1)" "metricsBindAddress ($address): bind: Address already in use"
kill -TERM "$keeper"
wait "$keeper"
check_equal "exit status" $? 0
timeout 20 "$secretlet" run --config "$conf" 2>"$TEST_DIR/refused"
check_equal "a daemon that cannot have it does not start" $? 1
check_contains "and says why" "$(cat "$TEST_DIR/refused")" "metricsBindAddress ($address): bind: Address already in use"
kill -9 "$thief"
tap_done
