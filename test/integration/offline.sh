#!/usr/bin/env bash
# timeout: 180
# The offline cache: a node that comes up while its API server is away gets its volumes back, and the API server's word
# counts as soon as it answers. A "reboot" is a daemon that is killed with all its processes, mount and memory.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log config=$TEST_DIR/secretlet.yaml
cache=$TEST_DIR/cache key=$TEST_DIR/cache.key objects=$TEST_DIR/objects
mkdir -p "$objects"
chmod 755 "$TEST_DIR"
canary=CANARY-$RANDOM$RANDOM-CANARY

write_config() { # write_config [LINE...]
	printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "kubeconfig: kubeconfig" \
		"podsDir: $pods" "runtimeDir: $run" "nodeName: node-1" "$@" >"$config"
	chmod 600 "$config"
}
write_secret() { # write_secret NAME VALUE
	jq -n --arg n "$1" --arg v "$(printf %s "$2" | base64 -w0)" '{apiVersion: "v1", kind: "Secret", metadata: {name: $n,
		namespace: "default", labels: {app: "x"}}, type: "Opaque", data: {password: $v, empty: ""}}' >"$objects/s-$1.json"
}
write_pod() { # write_pod NAME VOLUMES-JSON
	jq -n --arg n "$1" --argjson v "$2" '{apiVersion: "v1", kind: "Pod", metadata: {name: $n, namespace: "default",
		uid: ("uid-" + $n)}, spec: {nodeName: "node-1", securityContext: {fsGroup: 1234}, volumes: $v,
		containers: [{name: "main", image: "x", volumeMounts: [$v[] | {name, mountPath: ("/" + .name)}]}]},
		status: {phase: "Running"}}' >"$objects/p-$1.json"
}
port=$(free_port)
server_start() {
	"$TEST_BUILD_DIR/apiserver" --port "$port" --load "$objects" >"$TEST_DIR/server.out" 2>"$TEST_DIR/server.err" &
	server=$!
	eventually 30 grep -q http "$TEST_DIR/server.out"
	printf 'apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nclusters: [{name: k, cluster: {server: "http://127.0.0.1:%s"}}]\nusers: [{name: u, user: {}}]\n' \
		"$port" >"$TEST_DIR/kubeconfig"
	chmod 600 "$TEST_DIR/kubeconfig"
}
server_stop() {
	kill "$server"
	wait "$server" 2>/dev/null
}
start() {
	: >"$log"
	"$secretlet" run --config "$config" 2>>"$log" &
	keeper=$!
}
reboot() { # all at once, as when the power goes; then nothing of it is left but the disk
	local all
	all="$keeper $(pgrep -P "$keeper") $(for p in $(pgrep -P "$keeper"); do pgrep -P "$p"; done)"
	# shellcheck disable=SC2086
	kill -KILL $all
	wait "$keeper" 2>/dev/null
	umount -l "$pods" 2>/dev/null
	rm -rf "$run"
}
vol() { echo "$pods/by-name/default/$1/volumes/kubernetes.io~secret/$2"; }
ready() { "$secretlet" wait --quiet --runtime-dir "$run" --timeout "${2:-15}s" "default/$1"; }
status() { "$secretlet" status -o json --runtime-dir "$run" | jq -r "$1"; }
is() { [ "$(status "$1")" = "$2" ]; }
reads() { [ "$(cat "$1" 2>/dev/null)" = "$2" ]; }
modes() { find "$(vol app creds)/" -printf '%m %U:%G %y %P\n' | sed 's/\.\.20[^/ ]*/VERSION/' | sort; }
written() { eventually 10 "is .offlineCache.pending false"; }
verify() { "$secretlet" cache verify --config "$config"; }

write_secret db "$canary"
write_secret other two
write_pod app '[{"name":"creds","secret":{"secretName":"db","defaultMode":256,"items":[{"key":"password","path":"sub/pw","mode":288},{"key":"empty","path":"empty"}]}},{"name":"opt","secret":{"secretName":"none","optional":true}}]'
write_pod gone '[{"name":"creds","secret":{"secretName":"other"}}]'
server_start

# --- without the option nothing is written
write_config
start
check "without the option a pod becomes ready" ready app
sleep 2
check_equal "and nothing is written" "$(ls "$TEST_DIR" | grep -c cache)" 0
check_equal "nor shown" "$(status .offlineCache)" null
check "cache list says that there is none" not "$secretlet" cache list --config "$config" 2>/dev/null
reboot

# --- keys
write_config "offlineCacheDir: cache" "offlineCacheKeyFile: cache.key"
fails() { # fails WORDS: the daemon does not start, and says so
	: >"$log"
	timeout 10 "$secretlet" run --config "$config" 2>>"$log"
	[ $? = 1 ] && grep -q "$1" "$log"
}
check "a missing key is refused" fails "offline cache key $key: No such file"
check "keygen makes one" "$secretlet" cache keygen "$key"
check_equal "for root alone" "$(stat -c %a "$key")" 600
check "keygen replaces none" not "$secretlet" cache keygen "$key" 2>/dev/null
chmod 644 "$key"
check "a key that others can read is refused" fails "offline cache key $key: others may use it (mode 0644)"
chmod 600 "$key"
printf 'too short\n' >"$TEST_DIR/short.key"
chmod 600 "$TEST_DIR/short.key"
write_config "offlineCacheDir: cache" "offlineCacheKeyFile: short.key"
check "one of another length, too" fails "offline cache key $TEST_DIR/short.key: must have 32 bytes"
mkdir -p "$TEST_DIR/full"
touch "$TEST_DIR/full/somebody's"
write_config "offlineCacheDir: full" "offlineCacheKeyFile: cache.key"
start
check "a folder with other things in it is left alone, and all else goes on" ready app
check "and named" is .offlineCache.error "$TEST_DIR/full: is no folder of an offline cache: \`somebody's\` is in it"
check_equal "it stays as it was" "$(stat -c %u:%a "$TEST_DIR/full")" "0:$(printf %o $((0777 & ~$(umask))))"
reboot

# --- it is written
write_config "offlineCacheDir: cache" "offlineCacheKeyFile: cache.key"
start
check "with the option a pod becomes ready" ready app
check "the cache is written" written
check "all is well" is .healthy true
check_equal "two pods" "$(status .offlineCache.pods)" 2
check_equal "two Secrets" "$(status .offlineCache.secrets)" 2
check "it can be verified" verify
check_equal "its names can be listed" "$("$secretlet" cache list --config "$config" -o json | jq -r '[.records[] | .kind + " " + .id] | sort | join(",")')" \
	"Pod default/app/uid-app,Pod default/gone/uid-gone,Secret default/db,Secret default/none,Secret default/other"
check_equal "the folder is the agent's alone" "$(stat -c %a "$cache")" 700
check_equal "each file is a multiple of 4 KiB" "$(find "$cache" -type f -size +0 -printf '%s\n' | awk '$1 % 4096' | wc -l)" 0
check "no value is in it" not grep -rqF "$canary" "$cache"
check "nor in base64" not grep -rqF "$(printf %s "$canary" | base64 -w0)" "$cache"
check "nor a name" not grep -rqE 'default|uid-app|password' "$cache"
check "no file name says anything" not bash -c "ls '$cache' | grep -vE '^(index|[0-9a-f]{32})\$'"
check "wipe is refused while it runs" not "$secretlet" cache wipe --config "$config" 2>/dev/null
before=$(ls -i "$cache" | sort)
sleep 2
check_equal "nothing changes, nothing is written" "$(ls -i "$cache" | sort)" "$before"
before=$(modes)
mounts=$("$secretlet" mounts --runtime-dir "$run" default/app main)

# --- reboot without the API server
server_stop
reboot
start
check "without an API server it starts" eventually 10 grep -q ready "$log"
check "the pod is ready" ready app
check_equal "with its content" "$(cat "$(vol app creds)/sub/pw")" "$canary"
check_equal "and an empty file" "$(stat -Lc %s "$(vol app creds)/empty")" 0
check_equal "and its modes and owners" "$(modes)" "$before"
check "the optional one, too" test -d "$(vol app opt)/..data/"
check_equal "its mounts are the same" "$("$secretlet" mounts --runtime-dir "$run" default/app main)" "$mounts"
check "it says where they are from" is .offlineCache.shownPods 2
check "and is not healthy" is .healthy false
check "volumes says it, too" bash -c "'$secretlet' volumes --runtime-dir '$run' | grep -q 'from the offline cache, .* old'"
check "the log says it once" test "$(grep -c 'shown from the offline cache' "$log")" = 1

# --- an agent that dies then
agent=$(pgrep -P "$keeper" -f internal-agent)
kill -KILL "$agent"
eventually 10 "[ ! -d /proc/$agent ]"
check_equal "an agent that dies takes nothing along" "$(cat "$(vol app creds)/sub/pw")" "$canary"
check "the next one shows it, too, and says so" eventually 10 "is .offlineCache.shownPods 2"
check_equal "with the same content" "$(cat "$(vol app creds)/sub/pw")" "$canary"
check_equal "and modes" "$(modes)" "$before"

# --- the API server comes back, and things have changed
write_secret db three
rm "$objects/p-gone.json"
write_pod new '[{"name":"creds","secret":{"secretName":"other"}}]'
server_start
check "what has changed changes" eventually 30 "reads '$(vol app creds)/sub/pw' three"
check "what has gone goes" eventually 10 "[ ! -e '$pods/uid-gone' ]"
check "what is new comes" ready new
check "nothing is from the cache any more" eventually 10 "is .offlineCache.shownPods 0"
check "all is well again" eventually 10 "is .healthy true"
check "the cache is written" written
sleep 1.5
written
check "and good" verify
check_equal "one pod has gone" "$("$secretlet" cache list --config "$config" -o json | jq -r '[.records[] | select(.kind == "Pod").id] | sort | join(",")')" \
	"default/app/uid-app,default/new/uid-new"
check_equal "no file is left over" "$(find "$cache" -type f | wc -l)" 5

# --- the same with an agent that has shown from the cache and lived on
server_stop
reboot
start
check "again from the cache" ready new
write_secret db four
rm "$objects/p-new.json"
server_start
check "what has changed changes, in the same agent" eventually 30 "reads '$(vol app creds)/sub/pw' four"
check "what has gone goes" eventually 10 "[ ! -e '$pods/uid-new' ]"
check "nothing is from the cache any more" eventually 10 "is .offlineCache.shownPods 0"
sleep 1.5
written

# --- an API server that answers: nothing of the cache is shown
write_secret db five
server_stop
reboot
server_start
start
check "with an API server that answers" ready app
check_equal "its word counts at once" "$(cat "$(vol app creds)/sub/pw")" five
check "and the cache is not spoken of" not grep -q "shown from the offline cache" "$log"
write_pod second '[{"name":"creds","secret":{"secretName":"other"}}]'
curl -s -o "$TEST_DIR/reply" -X POST -H 'Content-Type: application/json' --data-binary "@$objects/p-second.json" "http://127.0.0.1:$port/api/v1/namespaces/default/pods"
check "another pod" ready second
sleep 1.5
written

# --- a record that is not good: its pod alone is not restored
server_stop
reboot
record=$("$secretlet" cache list --config "$config" -o json | jq -r '.records[] | select(.id == "default/other").file')
cp -a "$cache" "$TEST_DIR/good"
spoil() { # spoil FILE PLACE: the byte there is another one
	local byte
	byte=$(od -An -tu1 -j"$2" -N1 "$1")
	printf '%b' "\\x$(printf %x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
spoil "$cache/$record" 2000
check_equal "verify names it" "$("$secretlet" cache verify --config "$config" 2>&1 >/dev/null)" \
	"secretlet: $record (Secret default/other): is not the file that the index speaks of"
check "and fails" not verify 2>/dev/null
start
check "the other pod is restored" ready app
check "its own is not" eventually 5 "grep -q 'the pod is not restored: its Secret default/other cannot be' '$log'"
check "nor is there half of it" not test -e "$pods/uid-second"
check "the log names file and object" grep -q "$record (Secret default/other): is not the file that the index speaks of" "$log"
check "status says it" is .offlineCache.refused 1
reboot

# --- the index is not good: nothing is restored
refused() { # refused WORDS: all of it
	start
	eventually 10 "grep -q 'offline cache: nothing in it is used: $1' '$log'" && sleep 1 && [ ! -e "$pods/uid-app" ]
	local r=$?
	reboot
	return $r
}
restore_good() {
	rm -rf "$cache"
	cp -a "$TEST_DIR/good" "$cache"
}
restore_good
check "what was good is good again" verify
spoil "$cache/index" 100
check "a changed index" refused "index: was changed"
restore_good
truncate -s 100 "$cache/index"
check "a truncated index" refused "index: is truncated"
restore_good
rm "$cache/index"
check "no index" refused "index: has gone, and records are there"
restore_good
"$secretlet" cache keygen "$TEST_DIR/another.key"
write_config "offlineCacheDir: cache" "offlineCacheKeyFile: another.key"
check "another key" refused "index: was changed, is another.s, or was written with another key"
write_config "offlineCacheDir: cache" "offlineCacheKeyFile: cache.key"
sed -i 's/node-1/node-2/' "$config"
check "another node" refused "index: was changed, is another.s"
sed -i 's/node-2/node-1/' "$config"

# --- the disk
server_start
mount -t tmpfs -o size=12k none "$cache"
start
check "a full disk is no end" ready app
check "it is named" eventually 15 "status .offlineCache.error | grep -q 'No space left'"
reboot
eventually 5 umount "$cache"
restore_good
mount --bind "$cache" "$cache"
mount -o remount,ro,bind "$cache"
start
check "nor a read-only one" ready app
check "which is named, once" eventually 15 "status .offlineCache.error | grep -q 'Read-only file system'"
curl -s -o "$TEST_DIR/reply" -X DELETE "http://127.0.0.1:$port/api/v1/namespaces/default/pods/second"
check "what happens, happens" eventually 10 "[ ! -e '$pods/uid-second' ]"
check_equal "the log says it once" "$(grep -c 'offline cache: .*Read-only' "$log")" 1
umount -l "$cache"
check "the last good cache is as it was" verify
reboot

# --- a disk that does not answer at all, from the start on: a mount whose server never says a word
exec 9<>/dev/fuse
mount -i -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0 none "$cache"
start 9<&-
check "a disk that hangs is no end" ready app
agent=$(pgrep -P "$keeper" -f internal-agent)
kill -KILL "$agent"
eventually 10 "[ ! -d /proc/$agent ]"
check "nor for the next agent" ready app
check "it is named" eventually 30 "'$secretlet' status --runtime-dir '$run' | grep -q 'the disk has not answered for'"
exec 9<&-
umount -l "$cache"
reboot

# --- the process that reads and writes dies
start
ready app
written
agent=$(pgrep -P "$keeper" -f internal-agent)
child=$(pgrep -P "$agent")
kill -KILL "$child"
check "a dead one is reaped" eventually 10 "[ ! -e /proc/$child ]"
check "and said" eventually 10 "grep -q 'offline cache: its process (pid $child) has ended (signal 9)' '$log'"
for i in 1 2 3; do
	check "another takes its place ($i)" eventually 15 "pgrep -P '$keeper' -x secretlet-cache >'$TEST_DIR/other'"
	check "and all is well" eventually 15 "is .healthy true"
	generation=$(status .offlineCache.generation)
	write_secret db "$canary-$i"
	curl -s -o "$TEST_DIR/reply" -X PUT -H 'Content-Type: application/json' --data-binary "@$objects/s-db.json" \
		"http://127.0.0.1:$port/api/v1/namespaces/default/secrets/db"
	check "it writes" eventually 15 "[ \"\$(status .offlineCache.generation)\" -gt $generation ]"
	written
	kill -KILL "$(cat "$TEST_DIR/other")"
	eventually 10 "[ ! -e /proc/$(cat "$TEST_DIR/other") ]"
done
check_equal "the agent is the same" "$(pgrep -P "$keeper" -f internal-agent)" "$agent"
eventually 15 "pgrep -P '$keeper' -x secretlet-cache >/dev/null"
check "it can be verified" verify
kill -KILL "$agent"
check "the next agent has its own" eventually 15 "[ -n \"\$(pgrep -P \"\$(pgrep -P '$keeper' -f internal-agent)\" -x secretlet-cache)\" ]"
check "and the one that it does not need has ended" eventually 15 "not pgrep -P '$keeper' -x secretlet-cache >/dev/null"
check "all is well" eventually 15 "is .healthy true"
write_secret db "$canary"
curl -s -o "$TEST_DIR/reply" -X PUT -H 'Content-Type: application/json' --data-binary "@$objects/s-db.json" \
	"http://127.0.0.1:$port/api/v1/namespaces/default/secrets/db"
check "it has what it had" eventually 10 "reads '$(vol app creds)/sub/pw' '$canary'"
written
reboot

# --- an API server that has no pods is not believed at once
server_stop
write_config "offlineCacheDir: cache" "offlineCacheKeyFile: cache.key" "syncFrequency: 2s"
start
check "once more from the cache" ready app
mkdir "$TEST_DIR/nothing"
objects=$TEST_DIR/nothing server_start
check "a list without any pod is not believed" eventually 30 \
	"grep -q 'the list of pods is empty; each of the 1 known ones is asked for' '$log'"
check "nor when each is said to be gone, at first" eventually 10 "grep -q 'the one pod of the node has vanished at once' '$log'"
check "what is shown stays" reads "$(vol app creds)/sub/pw" "$canary"
check_equal "and what is in the cache" "$(status .offlineCache.pods)" 1
check "a Secret that is not there either is not believed" eventually 10 \
	"'$secretlet' volumes --runtime-dir '$run' -o json | grep -q 'which is not believed while the list of pods is not'"
check "said again, and it has gone" eventually 30 "[ ! -e '$pods/uid-app' ]"
check "from the cache, too" eventually 10 "is .offlineCache.pods 0"

# --- the end
kill "$keeper"
wait "$keeper"
check_equal "it stops" $? 0
check "no process is left that has the folder" eventually 5 "flock -n '$cache' true"
check "wipe" "$secretlet" cache wipe --config "$config"
check_equal "removes all" "$(ls -A "$cache")" ""
check "an empty cache is a good one" verify
check "no value in the log" not grep -qF "$canary" "$log"
server_stop
tap_done
