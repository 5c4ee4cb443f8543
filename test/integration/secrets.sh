#!/usr/bin/env bash
# timeout: 120
# `secretlet secrets` and `secretlet refresh` against the test API server, in each strategy: what is shown, that no value
# is, and that a refresh brings what changed without waiting for a sync. Runs in a private mount namespace.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log conf=$TEST_DIR/secretlet.yaml
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
	printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","labels":{"app":"web"}},"immutable":%s,"stringData":{"password":"%s"}}' "$2" "$1"
}
ask() { "$secretlet" "$@" --runtime-dir "$run"; }
value() { cat "$pods/by-name/default/app/volumes/kubernetes.io~secret/creds/password"; }
member() { ask secrets -o json | jq -c ".secrets[0].$1"; }

selected() { ask secrets -o json -l "$1" | jq '.secrets | length'; }

api POST secrets "$(secret CANARY-1 false)"
api POST pods '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"app"},"spec":{"nodeName":"node-1","containers":[{"name":"c","image":"i","volumeMounts":[{"name":"creds","mountPath":"/c"}]}],"volumes":[{"name":"creds","secret":{"secretName":"db"}}]}}'

n=1
for strategy in Watch Cache Get; do
	printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "kubeconfig: kubeconfig" \
		"podsDir: $pods" "runtimeDir: $run" "nodeName: node-1" "syncFrequency: 24h" "secretCacheTTL: 24h" \
		"configMapAndSecretChangeDetectionStrategy: $strategy" >"$conf"
	chmod 600 "$conf"
	"$secretlet" run --config "$conf" 2>>"$log" &
	keeper=$!
	check "$strategy: the pod is ready" ask wait --quiet --timeout 20s default/app
	check_equal "$strategy: the value" "$(value)" "CANARY-$n"
	check_equal "$strategy: what is shown of the Secret" \
		"$(member name) $(member state) $(member keys) $(member bytes) $(member labels) $(member references)" \
		'"db" "present" ["password"] 8 {"app":"web"} 1'
	n=$((n + 1))
	api PUT secrets/db "$(secret "CANARY-$n" false)"
	check "$strategy: refresh is answered" ask refresh default/db
	check "$strategy: and the volume has what it brought" eventually 10 "[ \"\$(value)\" = CANARY-$n ]"
	check_equal "$strategy: no value is shown" "$({ ask secrets; ask secrets -o json; ask refresh default/db; } | grep -c CANARY)" 0
	out=$(ask refresh default/other 2>&1)
	check_equal "$strategy: a Secret that nobody needs: exit status" $? 1
	check_contains "$strategy: a Secret that nobody needs: why" "$out" "no pod on node node-1 refers to a Secret default/other"
	check_equal "$strategy: those with a label" \
		"$(selected app=web) $(selected 'app in (web), !x') $(selected 'app!=web') $(selected x)" "1 1 0 0"
	check_equal "$strategy: a selector that is wrong, without our client" "$(curl -s -f -o /dev/null -w '%{http_code}' \
		--unix-socket "$run/control.sock" 'http://x/v1/secrets?labelSelector=app%3D%3D%3Dweb')" \
		400
	check_equal "$strategy: and why" "$(curl -s --unix-socket "$run/control.sock" \
		'http://x/v1/secrets?labelSelector=app+%3D%3D%3Dweb' | jq -r .error)" \
		"labelSelector: column 7: a value is expected, not '='"
	check_equal "$strategy: GET is not how to refresh" "$(curl -s -o /dev/null -w '%{http_code}' \
		--unix-socket "$run/control.sock" http://x/v1/secrets/default/db/refresh)" 405
	api DELETE secrets/db ''
	check "$strategy: refresh of one that has gone" ask refresh default/db
	check_equal "$strategy: it is absent" "$(member state)" '"absent"'
	check_equal "$strategy: and has no labels" "$(selected app) $(selected '!app')" "0 1"
	check_equal "$strategy: the volume keeps its last content" "$(value)" "CANARY-$n"
	api POST secrets "$(secret "CANARY-$n" false)"
	kill -s TERM "$keeper"
	wait "$keeper"
done

out=$(ask refresh db 2>&1)
check_equal "a name without namespace is refused" $? 2
check_contains "and told why" "$out" "NAMESPACE/NAME is expected"
out=$(ask secrets -l 'app in web' 2>&1)
check_equal "a selector that is wrong is refused, also without a daemon" $? 2
check_contains "with the column" "$out" "--selector: column 8: '(' is expected, not 'web'"
ask refresh default/db >/dev/null 2>&1
check_equal "without a daemon: exit status" $? 3
check_equal "no value is in the log" "$(grep -c CANARY "$log")" 0
kill "$server"
wait "$server"
tap_done
