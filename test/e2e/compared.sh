#!/usr/bin/env bash
# timeout: 300
# What README's table of features says of secretlet, and no other script shows against a real API server: deaths, inotify,
# a subPath mount that follows, switched as one, the strategies, the offline cache, the audit log, what the agent may.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

command -v inotifywait >/dev/null || skip_all "inotifywait is not installed (inotify-tools)"
kube_up
config=$TEST_DIR/config.yaml audit=$TEST_DIR/audit/audit.jsonl
mkdir -p "$TEST_DIR/audit"
"$secretlet" cache keygen "$TEST_DIR/cache.key"
printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' "kubeconfig: $kube/node-1.kubeconfig" \
	'nodeName: node-1' "podsDir: $pods" "runtimeDir: $run" 'offlineCacheDir: cache' 'offlineCacheKeyFile: cache.key' \
	"auditLog: $audit" >"$config"
chmod 600 "$config"
start() { # start [LINE]: of the configuration
	sed -i '/^configMapAndSecret/d' "$config"
	[ -z "${1:-}" ] || echo "$1" >>"$config"
	"$secretlet" run --config "$config" 2>>"$log" &
	secretlet_pid=$!
}
child() { # child NAME: the pid of the keeper's child of that name
	local p
	for p in $(pgrep -P "$secretlet_pid"); do
		[ "$(tr '\0' '\n' <"/proc/$p/cmdline" 2>/dev/null | head -n 1)" = "secretlet-$1" ] && echo "$p" && return
	done
	return 1
}
contains() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }
becomes() { eventually 30 "contains '$1' '$2'"; } # becomes FILE TEXT

put_secret db password=one user=one
put_pod web '{"creds": {"secretName": "db"}}' '{"containers": [{"name": "main", "image": "none", "volumeMounts": [
	{"name": "creds", "mountPath": "/creds"}, {"name": "creds", "mountPath": "/password", "subPath": "password"}]}]}'
api PATCH /api/v1/namespaces/default/pods/web '{"metadata": {"annotations": {"secretlet.dev/live": "creds"}}}' >/dev/null
start
require "$log" "a pod becomes ready" ready web
creds=$(volume web creds)

# --- who talks to the network may nothing
field() { awk -v f="$1:" '$1 == f { print $2 }' "/proc/$(child agent)/status"; }
check "the agent is not root" test "$(field Uid)" != 0
check_equal "has no capability, and none to come" "$(field CapEff) $(field CapPrm) $(field CapBnd)" "0000000000000000 0000000000000000 0000000000000000"
check_equal "no new privileges, a system call filter" "$(field NoNewPrivs) $(field Seccomp)" "1 2"

# --- a subPath mount follows
source=$("$secretlet" mounts --runtime-dir "$run" default/web main | jq -r '.[] | select(.destination == "/password").source')
: >"$TEST_DIR/bound"
require "$log" "its subPath can be bound" mount --bind "$source" "$TEST_DIR/bound"
exec 5<"$TEST_DIR/bound"
check_equal "it shows the key" "$(cat "$TEST_DIR/bound")" one

# --- inotify: the kubelet's events, in its order
inotifywait -q -m -e create,move,delete,attrib --format '%e %f' "$creds" >"$TEST_DIR/events" 2>"$TEST_DIR/inotify.err" &
watcher=$!
inotifywait -q -e modify,delete_self "$TEST_DIR/bound" >"$TEST_DIR/modified" 2>>"$TEST_DIR/inotify.err" &
modified=$!
sleep 0.5
put_secret db password=two user=two
check "the update becomes visible" becomes "$creds/password" two
check "also through the subPath mount" becomes "$TEST_DIR/bound" two
check_equal "and in the file that was open" "$(cat <&5)" two
exec 5<&-
# "..<time> created, chmod, ..data_tmp, moved to ..data, the old one removed": kubelet-parity 1.5, watch (a)
sequence() { sed -E 's/\.\.20[0-9_.]+/VERSION/' "$TEST_DIR/events" | xargs; }
kubelets="CREATE,ISDIR VERSION ATTRIB,ISDIR VERSION CREATE ..data_tmp MOVED_FROM ..data_tmp MOVED_TO ..data DELETE,ISDIR VERSION"
check "who watches the volume gets the kubelet's events" eventually 10 "[ \"\$(sequence)\" = '$kubelets' ]" ||
	echo "# $(sequence)"
kill "$watcher"
check "who watches the subPath mount is told" wait "$modified"
check_contains "of a change, not of an end" "$(cat "$TEST_DIR/modified")" MODIFY

# --- several keys switch as one: who opens ..data once never finds two versions
stop=$TEST_DIR/stop
(
	until [ -e "$stop" ]; do
		both=$(cd "$creds/..data" 2>/dev/null && cat password user 2>/dev/null) || continue
		half=$((${#both} / 2))
		[ "${both:0:half}" = "${both:half}" ] || echo "$both"
		sleep 0.01
	done
) >"$TEST_DIR/mixed" &
looker=$!
for i in $(seq 20); do
	put_secret db "password=value-$i" "user=value-$i"
	becomes "$creds/user" "value-$i" || break
done
touch "$stop"
wait "$looker"
check_equal "20 updates become visible" "$(cat "$creds/user")" value-20
check_equal "two keys are never of two versions" "$(sort -u "$TEST_DIR/mixed")" ""

# --- and keys that come and go are there with their bytes, or not at all
rm "$stop"
(
	n=0
	until [ -e "$stop" ]; do
		for path in "$creds"/*; do
			# listed, leads nowhere, and has not gone meanwhile: no name comes a second time
			[ -L "$path" ] && ! [ -e "$path" ] && [ -L "$path" ] && echo "${path##*/} dangles"
			n=$((n + 1))
		done
	done
	echo "looks $((n > 100))"
) >"$TEST_DIR/dangling" &
looker=$!
for i in $(seq 20); do
	put_secret db "password=value-$i" "user=value-$i" "key-$i=value-$i"
	becomes "$creds/key-$i" "value-$i" || break
done
touch "$stop"
wait "$looker"
check_equal "20 keys have come and gone" "$(cd "$creds" && echo *)" "key-20 password user"
check_equal "no link led nowhere" "$(sort -u "$TEST_DIR/dangling")" "looks 1"

# --- deaths: no reader sees an error, and updates go on
rm "$stop"
(
	n=0
	until [ -e "$stop" ]; do
		[ -n "$(cat "$creds/password" "$TEST_DIR/bound" 2>&1 >/dev/null)" ] && echo "failed"
		n=$((n + 1))
		sleep 0.01
	done
	echo "reads $((n > 0))"
) >"$TEST_DIR/reads" 2>&1 &
looker=$!
for who in agent publisher audit agent publisher; do
	old=$(child "$who")
	kill -9 "$old"
	check "the $who is killed: another one comes" eventually 30 "[ \"\$(child $who)\" != $old ] && child $who"
	put_secret db "password=after-$old"
	check "the $who is killed: the next update comes, too" becomes "$creds/password" "after-$old"
done
touch "$stop"
wait "$looker"
check_equal "no read has failed" "$(sort -u "$TEST_DIR/reads")" "reads 1"

# --- audit: who opened which key
sh -c 'read -r value <"$1"; sleep 5; :' sh "$creds/password" &
reader=$!
check "who opened a key is in the audit log" eventually 20 "grep -q '\"pid\":${reader}[,}]' '$audit'"
check_equal "with pod, volume, key and program" "$(jq -r "select(.type == \"open\" and .process.pid == $reader)
	| [.pod.name, .volume, .key, .process.comm] | join(\" \")" "$audit" | head -n 1)" "web creds password sh"

# --- the kubelet's strategies
umount "$TEST_DIR/bound"
for strategy in Cache Get Watch; do
	secretlet_stop
	check_equal "it ends well" $? 0
	start "configMapAndSecretChangeDetectionStrategy: $strategy"
	check "$strategy: the pod is ready" ready web
	put_secret db "password=by-$strategy"
	if [ "$strategy" != Watch ]; then "$secretlet" refresh --runtime-dir "$run" default/db >/dev/null; fi
	check "$strategy: an update becomes visible" becomes "$creds/password" "by-$strategy"
	check_equal "$strategy: is what status says" "$(status .source.strategy)" "$strategy"
done

# --- the offline cache: a node that reboots without its API server
value=$(cat "$creds/password")
check "the offline cache is written" eventually 30 '[ "$(status .offlineCache.pending)" = false ]'
kube_stop_apiserver
# shellcheck disable=SC2046
kill -KILL "$secretlet_pid" $(pgrep -P "$secretlet_pid") $(for p in $(pgrep -P "$secretlet_pid"); do pgrep -P "$p"; done)
wait "$secretlet_pid" 2>/dev/null
umount -l "$pods" 2>/dev/null
rm -rf "$run"
check "nothing is there any more" not test -e "$creds/password"
start
check "without the API server the pod becomes ready" ready web
check_equal "with what it had" "$(cat "$creds/password")" "$value"
check "status says where that is from" test "$(status .healthy)" = false
check_equal "no value is on the disk" "$(grep -rlF "$value" "$TEST_DIR/cache" "$audit" "$log")" ""
kube_apiserver_up
put_secret db password=at-last
check "and with it again the next update comes" eventually 90 "contains '$creds/password' at-last"
secretlet_stop
check_equal "it ends well" $? 0
tap_done
