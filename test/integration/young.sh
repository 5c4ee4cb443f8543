#!/usr/bin/env bash
# timeout: 60
# Agents that die as soon as they serve are replaced soon, however many: readers wait for each of them. Runs in a private
# mount namespace (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet log=$TEST_DIR/daemon.log
mkdir "$TEST_DIR/manifests"
chmod 755 "$TEST_DIR"
printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "manifestsDir: $TEST_DIR/manifests" \
	"podsDir: $TEST_DIR/pods" "runtimeDir: $TEST_DIR/run" >"$TEST_DIR/config.yaml"
chmod 600 "$TEST_DIR/config.yaml"

"$secretlet" run --config "$TEST_DIR/config.yaml" 2>"$log" &
keeper=$!
check "it starts" eventually 10 grep -q 'keeper: ready' "$log"
for n in 1 2 3 4; do
	kill -s KILL "$(pgrep -P "$keeper" -f internal-agent)"
	eventually 20 "[ \$(grep -c 'serves again' '$log') = $n ]"
done
check_equal "each is replaced" "$(grep -c 'serves again' "$log")" 4
delays=$(grep -o 'starting another in [0-9]* ms' "$log" | grep -o '[0-9]*' | sort -n | tr '\n' ' ')
check_equal "no delay is above half a second ($delays)" "$(for d in $delays; do [ "$d" -le 500 ] || echo "$d"; done)" ""

# one that has answered who waits and dies before it has begun everything else has served, too: strace kills each where it
# opens the control socket (its second epoll_create1)
n=$(grep -c 'serves again' "$log")
exec 9< <(exec strace -f -e trace=epoll_create1 -e inject=epoll_create1:signal=KILL:when=2 -o /dev/null -p "$keeper" 2>&1)
tracer=$!
read -r -t 20 <&9 # it has attached
kill -s KILL "$(pgrep -P "$keeper" -f internal-agent)"
check "agents die between" eventually 40 "[ \$(grep -c 'serves again' '$log') -ge \$((n + 5)) ]"
kill "$tracer"
wait "$tracer" 2>/dev/null
exec 9<&-
check "the next one lives" eventually 20 "'$secretlet' status --runtime-dir '$TEST_DIR/run' >'$TEST_DIR/status'"
delays=$(grep -o 'starting another in [0-9]* ms' "$log" | grep -o '[0-9]*' | sort -n | tr '\n' ' ')
check_equal "no delay is above half a second then ($delays)" "$(for d in $delays; do [ "$d" -le 500 ] || echo "$d"; done)" ""

# the pid of a publisher that has died may be anybody's
arena=$(for fd in /proc/"$keeper"/fd/*; do case $(readlink "$fd") in *secretlet-arena*) echo "$fd" && break ;; esac; done)
noted() { od -A n -t d4 -j 92 -N 4 "$arena" | tr -d ' '; }
publisher() { pgrep -P "$keeper" -f internal-publisher; }
check "the arena names the publisher" eventually 5 '[ "$(noted)" = "$(publisher)" ]'
agent=$(pgrep -P "$keeper" -f internal-agent)
kill -s STOP "$agent" # so that it does not name the next one
kill -s KILL "$(publisher)"
check "and no longer when it has died" eventually 5 '[ "$(noted)" = 0 ]'
kill -s CONT "$agent"
check "but the next one" eventually 5 '[ "$(noted)" -gt 0 ] && [ "$(noted)" = "$(publisher)" ]'
kill -s TERM "$keeper"
wait "$keeper"
tap_done
