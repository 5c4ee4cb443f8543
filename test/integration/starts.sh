#!/usr/bin/env bash
# timeout: 200
# On a slow machine: an agent that hangs before it is ready, while readers wait, is replaced after twice agentHangTimeout (3 s at least), and not
# after the minute that the first one may take; the next may take twice as long. Runs in a private mount namespace
# (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet log=$TEST_DIR/daemon.log
mkdir "$TEST_DIR/manifests"
chmod 755 "$TEST_DIR"
printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "manifestsDir: $TEST_DIR/manifests" \
	"podsDir: $TEST_DIR/pods" "runtimeDir: $TEST_DIR/run" "agentHangTimeout: 1s" >"$TEST_DIR/config.yaml"
chmod 600 "$TEST_DIR/config.yaml"

"$secretlet" run --config "$TEST_DIR/config.yaml" 2>"$log" &
keeper=$!
check "it starts" eventually 10 grep -q 'keeper: ready' "$log"
# strace stops each new agent where it makes its loop
exec 9< <(exec strace -f -e trace=epoll_create1 -e inject=epoll_create1:signal=STOP:when=1 -o /dev/null -p "$keeper" 2>&1)
tracer=$!
read -r -t 20 <&9 # it has attached
began=$SECONDS
kill -s KILL "$(pgrep -P "$keeper" -f internal-agent)"
check "two agents hang and are killed" eventually 50 "[ \$(grep -c 'hangs at its start' '$log') -ge 2 ]"
took=$((SECONDS - began))
kill "$tracer"
wait "$tracer" 2>/dev/null
exec 9<&-
check "long before a minute has gone by for each ($took s)" test "$took" -lt 50
check "another one serves" eventually 50 "'$secretlet' status --runtime-dir '$TEST_DIR/run' >'$TEST_DIR/status'"
# publishers that are slow to start are not killed for ever
write_secret() { printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {a: "%s"}\n' "$1" >"$TEST_DIR/next" &&
	mv "$TEST_DIR/next" "$TEST_DIR/manifests/db.yaml"; }
write_secret one
cat >"$TEST_DIR/manifests/app.yaml" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: app}
	spec:
	  volumes: [{name: creds, secret: {secretName: db}}]
	  containers: [{name: main, image: none, volumeMounts: [{name: creds, mountPath: /creds}]}]
Y
file=$TEST_DIR/pods/by-name/default/app/volumes/kubernetes.io~secret/creds/a
check "a volume is there" eventually 50 "[ \"\$(cat '$file')\" = one ]"
exec 9< <(exec strace -f -e trace=chroot -e inject=chroot:delay_exit=2500000 -o /dev/null -p "$keeper" 2>&1)
tracer=$!
read -r -t 20 <&9
kill -s KILL "$(pgrep -P "$keeper" -f internal-publisher)"
write_secret two
check "an update comes through" eventually 100 "grep -q 'volume is updated' '$log' && [ \"\$(cat '$file')\" = two ]"
check "though publishers were killed" grep -q 'the publisher (pid [0-9]*) does not answer' "$log"
kill "$tracer"
wait "$tracer" 2>/dev/null
exec 9<&-
seconds() { sed -n 's/.*hangs at its start: no sign of it for \([0-9]*\) s.*/\1/p' "$log" | sed -n "$1p"; }
check "the second might take longer ($(seconds 1) s, $(seconds 2) s)" test "$(seconds 2)" -gt "$(seconds 1)"
kill -s TERM "$keeper"
wait "$keeper"
check_equal "it ends well" $? 0
tap_done
