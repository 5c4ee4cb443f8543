#!/usr/bin/env bash
# timeout: 120
# SIGHUP: the configuration is read again; what can change does, what cannot is named and kept, and a file that is wrong
# changes nothing. Against the test API server. Runs in a private mount namespace (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log conf=$TEST_DIR/secretlet.yaml
chmod 755 "$TEST_DIR"

write_config() { # write_config LINE...
	{
		printf 'apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\n'
		printf 'podsDir: %s\nruntimeDir: %s\nnodeName: node-1\n' "$pods" "$run"
		printf '%s\n' "$@"
	} >"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$conf"
}
strategy() { "$secretlet" status -o json --runtime-dir "$run" | jq -r .source.strategy; }
has_strategy() { [ "$(strategy)" = "$1" ]; }
reload() { # reload N WORDS: SIGHUP, until N lines of the log have the words
	kill -s HUP "$keeper"
	eventually 10 "[ \$(grep -c '$2' '$log') -ge $1 ]"
}

"$TEST_BUILD_DIR/apiserver" --port 0 >"$TEST_DIR/server.out" 2>"$TEST_DIR/server.err" &
server=$!
eventually 10 grep -q http "$TEST_DIR/server.out"
url=$(grep -o 'http://[0-9.:]*' "$TEST_DIR/server.out" | head -n 1)
cat >"$TEST_DIR/kubeconfig" <<-Y
	apiVersion: v1
	kind: Config
	current-context: c
	contexts: [{name: c, context: {cluster: k, user: u}}]
	clusters: [{name: k, cluster: {server: "$url"}}]
	users: [{name: u, user: {}}]
Y

write_config "kubeconfig: kubeconfig"
chmod 600 "$conf"
"$secretlet" run --config "$conf" 2>>"$log" &
keeper=$!
check "it starts" eventually 10 has_strategy Watch
agent=$(pgrep -P "$keeper" -f internal-agent)

write_config "kubeconfig: kubeconfig" "configMapAndSecretChangeDetectionStrategy: Cache"
chmod 600 "$conf"
check "a reload is taken" reload 1 'configuration read again'
check "the strategy is another" has_strategy Cache
check "nothing was named as kept" not grep -q "kept as at the start" "$log"
check_equal "the agent is the same process" "$(pgrep -P "$keeper" -f internal-agent)" "$agent"

write_config "kubeconfig: kubeconfig" "configMapAndSecretChangeDetectionStrategy: Sometimes"
check "a wrong file is refused" reload 1 'reload refused'
check "with file, line and column" grep -q "reload refused.*$conf:7:44: configMapAndSecretChangeDetectionStrategy: must be one of" "$log"
check "everything stays" has_strategy Cache

rm "$conf"
check "a missing file is refused" reload 2 'reload refused'
check "everything stays then, too" has_strategy Cache

write_config "kubeconfig: kubeconfig" "configMapAndSecretChangeDetectionStrategy: Get" "user: nobody" "secretMemoryLimit: 8Mi" "logLevel: warning"
check "a reload with fields that cannot change is taken" reload 2 'configuration read again'
check "for the rest" has_strategy Get
check "and those fields are named" eventually 10 "grep -q 'kept as at the start, a restart changes it: user\( \|\$\)' '$log'"
check "those of the mount, too" eventually 10 "grep -q 'kept as the mount has it; to change it, stop the daemon, .*: secretMemoryLimit' '$log'"

write_config "kubeconfig: kubeconfig" "logLevel: warning"
chmod 600 "$conf"
kill -s HUP "$keeper"
check "a reload at another log level is taken" eventually 10 has_strategy Watch
check_equal "and the agent is silent about it" "$(grep -c 'configuration read again' "$log")" 2

# an agent that dies before it has read it
write_config "kubeconfig: kubeconfig" "configMapAndSecretChangeDetectionStrategy: Cache"
chmod 600 "$conf"
agent=$(pgrep -P "$keeper" -f internal-agent)
kill -s STOP "$agent"
kill -s HUP "$keeper"
eventually 10 "grep -q 'ShdPnd:.*[02468ace]\$' /proc/$keeper/status" # SIGHUP, 1, is not pending any more
kill -s KILL "$agent"
check "a reload outlives the agent that was to do it" eventually 10 has_strategy Cache

write_config "kubeconfig: kubeconfig" "logLevel: warning"
chmod 600 "$conf"
kill -s HUP "$keeper"
check "the next reload is another" eventually 10 has_strategy Watch

kill -s TERM "$keeper"
wait "$keeper"
check_equal "it ends well" $? 0
check "the log level was another, the keeper's, too" not grep -q 'stopping' "$log"
kill "$server"
wait "$server"
tap_done
