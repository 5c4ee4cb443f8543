#!/usr/bin/env bash
# timeout: 180
# Agents come and go, what is mounted stays: the whole daemon on the manifests source. Readers in the background read what
# is not in the kernel's caches while the agent dies, hangs, or cannot be started.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
manifests=$TEST_DIR/manifests pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log config=$TEST_DIR/config.yaml
mkdir -p "$manifests"
chmod 755 "$TEST_DIR"

write_secret() { # write_secret NAME VALUE: two keys that go together
	printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\nstringData:\n  a: "%s"\n  b: "%s"\n' "$1" "$2" "$2" >"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/$1.yaml"
}
write_pod() { # write_pod NAME SECRET
	cat >"$TEST_DIR/next" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
	spec:
	  volumes: [{name: creds, secret: {secretName: $2}}]
	  containers: [{name: main, image: none, volumeMounts: [{name: creds, mountPath: /creds}]}]
	Y
	mv "$TEST_DIR/next" "$manifests/pod-$1.yaml"
}
write_config() { # write_config [LINE...]
	printf '%s\n' "apiVersion: secretlet.config/v1alpha1" "kind: SecretletConfiguration" "manifestsDir: $manifests" \
		"podsDir: $pods" "runtimeDir: $run" "$@" >"$config"
}
start() {
	"$secretlet" run --config "$config" 2>>"$log" &
	keeper=$!
}
stop() {
	kill "$keeper"
	wait "$keeper"
}
child() { # child NAME: the pid of the keeper's child of that name
	local p
	for p in $(pgrep -P "$keeper"); do
		[ "$(tr '\0' '\n' <"/proc/$p/cmdline" | head -n 1)" = "secretlet-$1" ] && echo "$p" && return
	done
	return 1
}
another() { # another NAME PID: a child of that name that is not PID
	local now
	now=$(child "$1") && [ "$now" != "$2" ]
}
vol() { echo "$pods/by-name/default/$1/volumes/kubernetes.io~secret/creds"; }
ready() { "$secretlet" wait --quiet --runtime-dir "$run" --timeout "${2:-20}s" "default/$1"; }
uncached() { # uncached FILE: its content, not from the kernel's cache
	dd if="$1" iflag=nocache count=0 status=none
	cat "$1"
}
mount_id() { awk -v at="$pods" '$5 == at { print $1, $3 }' /proc/self/mountinfo; }
inodes() { find "$(vol "$1")/" -printf '%i %m %U:%G %P\n' | sort; }
kill_agent() { # kill_agent [SIGNAL]: and waits until it is gone
	local agent
	agent=$(child agent)
	kill -s "${1:-KILL}" "$agent"
	eventually 10 "[ ! -d /proc/$agent ]"
}

write_config "agentHangTimeout: 2s" "connectionAbortTimeout: 3s"
write_secret db one
write_pod app db
write_pod other db
start
check "a pod becomes ready" ready app
check "another one, too" ready other

# --- the agent dies
# whoever closes the last copy of an inotify instance waits for the kernel, and is not dead before that
keeper_watches() { grep -qs '^inotify wd' "/proc/$keeper"/fdinfo/*; }
check "the keeper has a copy of the instance with which the agent watches its folder" keeper_watches
before=$(mount_id) nodes=$(inodes app) agent=$(child agent) data=$(readlink "$(vol app)/..data")
exec 8<"$(vol app)/a"
inotifywait -q -m -e create -e moved_to -e delete -e attrib "$(vol app)/" >"$TEST_DIR/events" 2>/dev/null &
watcher=$!
for signal in KILL SEGV ABRT; do
	kill_agent "$signal"
	check_equal "SIG$signal: what is read meanwhile" "$(uncached "$(vol app)/a")" one
	check "SIG$signal: another agent serves" ready app
done
check_equal "the mount is the same" "$(mount_id)" "$before"
check_equal "each node is the same" "$(inodes app)" "$nodes"
check_equal "the version is the same" "$(readlink "$(vol app)/..data")" "$data"
check_equal "an open file goes on" "$(uncached "/proc/self/fd/8")" one
check "the log says how long readers had to wait" grep -q "the agent serves again; readers had to wait for" "$log"
check "it says that what is mounted stays" grep -q "killed by SEGV.*what is mounted stays" "$log"
check_equal "nobody was told that something has changed" "$(cat "$TEST_DIR/events")" ""
write_secret db two
check "an update is visible after that" eventually 10 "[ \"\$(cat $(vol app)/a)\" = two ]"
check "and seen by who waits for it" eventually 10 "grep -q 'MOVED_TO ..data$' '$TEST_DIR/events'"
kill "$watcher"
check_equal "the old version is readable through what is open" "$(uncached "/proc/self/fd/8")" one
kill_agent
check_equal "also for the next agent" "$(uncached "/proc/self/fd/8")" one
exec 8<&-

# --- many deaths, and readers all the time
reader() { # reader FILE: reads until the file is gone; says what went wrong
	local a errors=0 reads=0
	while [ -e "$1" ]; do
		a=$(cat "$(vol app)/..data/a" "$(vol app)/..data/b" 2>&1) || errors=$((errors + 1))
		# no agent of these need live long enough to show a change; but there is no way back to the first
		case $a in oneone | twotwo | threethree) ;; twothree | twoone | threeone | onethree) ;; *) errors=$((errors + 1)) && echo "# read: $a" ;; esac
		reads=$((reads + 1))
	done
	echo "$reads reads, $errors errors" >"$1.result"
}
touch "$TEST_DIR/reading"
reader "$TEST_DIR/reading" &
reading=$!
for i in $(seq 12); do
	kill_agent
	[ $((i % 3)) = 0 ] && write_secret db "$(case $i in 3 | 9) echo three ;; *) echo one ;; esac)"
	check "death $i: served again" eventually 20 "uncached '$(vol app)/a'"
done
rm "$TEST_DIR/reading"
wait "$reading"
check_contains "readers saw no error" "$(cat "$TEST_DIR/reading.result")" " 0 errors"
check "the last update is there" eventually 20 "[ \"\$(cat $(vol app)/b)\" = one ]"
check "and no other version" eventually 10 "[ \$(ls -A $(vol app)/ | grep -c '^\.\.2') = 1 ]"

# --- what happened while there was no agent
kill -STOP "$(child agent)"
write_secret db five
rm "$manifests/pod-other.yaml"
check "a hanging agent is killed" eventually 20 "grep -q 'hangs: no sign of it for' '$log'"
check "what has changed meanwhile is shown" eventually 20 "[ \"\$(cat $(vol app)/a)\" = five ]"
check "a pod that has gone meanwhile goes" eventually 20 "[ ! -e '$pods/by-name/default/other' ]"
kill -STOP "$(child agent)"
printf 'kind: Pod\n  - broken\n' >"$manifests/pod-app.yaml"
kill_agent
check "status says that something is refused" eventually 10 "! '$secretlet' status --runtime-dir '$run' >/dev/null"
check_equal "a pod whose manifest is broken meanwhile stays" "$(uncached "$(vol app)/a")" five
write_pod app db
check "and is known again with the manifest" ready app

# --- something has gone while something else is refused
write_pod third db
check "one pod more becomes ready" ready third
kill -STOP "$(child agent)"
rm "$manifests/pod-third.yaml"
echo 'kind: [' >"$manifests/bad.yaml"
kill_agent
check "status says that again" eventually 20 "'$secretlet' status -o json --runtime-dir '$run' | grep -q '1 object was rejected'"
check "what has gone meanwhile stays, for it may be what is refused" test -e "$(vol third)/a"
rm "$manifests/bad.yaml"
check "it goes when nothing is refused any more" eventually 20 "[ ! -e '$pods/by-name/default/third' ]"
check "and nothing else" ready app

# --- the publisher hangs
publisher=$(child publisher)
kill -STOP "$publisher"
write_secret db six
check "a publisher that hangs is replaced" eventually 20 "another publisher $publisher"
check "the update becomes visible" eventually 20 "[ \"\$(cat $(vol app)/a)\" = six ]"
check "it is said" grep -q "publisher (pid $publisher) does not answer" "$log"
publisher=$(child publisher)
kill -STOP "$publisher"
check "so is one that has nothing to do" eventually 20 "another publisher $publisher"

# --- the configuration is edited
printf 'nonsense: [\n' >"$config"
kill_agent
check_equal "an agent starts with the configuration that the keeper has read" "$(uncached "$(vol app)/a")" six
check "and serves" ready app

# --- the source cannot be loaded
tries() { grep -c 'what is published is served on' "$log"; }
before=$(mount_id)
mv "$manifests" "$manifests.away"
kill_agent
check_equal "without its folder the next agent serves what is published" "$(uncached "$(vol app)/a")" six
check "it says why it has nothing newer" eventually 20 "grep -q 'manifests folder .*No such file.*what is published is served on' '$log'"
check "status fails" eventually 20 "'$secretlet' status -o json --runtime-dir '$run' >'$TEST_DIR/status'; [ -s '$TEST_DIR/status' ]"
check_equal "and says the same" "$(jq -r '[.healthy, .source.kind, .source.reason, .source.podsSynced] | join(" ")' "$TEST_DIR/status")" \
	"false manifests SourceUnusable false"
check_contains "with the file that is missing" "$(jq -r '.problems[0]' "$TEST_DIR/status")" "$manifests: No such file"
printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {a: seven, b: seven}\n' >"$manifests.away/db.yaml"
# connectionAbortTimeout, 3 s, is over with the fifth
check "it is tried again, ever more slowly" eventually 40 "[ \"\$(tries)\" -ge 5 ]"
check_equal "what was published is served all the while" "$(uncached "$(vol app)/a")" six
check_equal "on the mount that was there" "$(mount_id)" "$before"
check_equal "one line for each try is all that is logged" \
	"$(awk '/what is published is served on/ { n++; next } n > 1' "$log")" ""
mv "$manifests.away" "$manifests"
kill -HUP "$keeper"
check "with the folder the rest is done, too" eventually 40 "[ \"\$(cat '$(vol app)/a')\" = seven ]"
check "and all is well" eventually 20 "'$secretlet' status --runtime-dir '$run' >/dev/null"
check "it is said" grep -q "the source can be loaded again" "$log"
check_equal "it is still the same mount" "$(mount_id)" "$before"

# --- no agent can be started: it may have too few files
agent=$(child agent)
prlimit --pid "$keeper" --nofile=60:
kill "-KILL" "$agent"
sleep 0.3
timeout -s KILL 60 ls "$pods/nothing" >"$TEST_DIR/out" 2>&1
check_equal "who waits gets an error after connectionAbortTimeout" $? 2
check "it is said" grep -q "no agent could be started for .* (connectionAbortTimeout)" "$log"
prlimit --pid "$keeper" --nofile=512:
check "an agent serves when it can be started again" eventually 30 "'$secretlet' wait --quiet --runtime-dir '$run' --timeout 1s default/app"
check_equal "on a new mount" "$(cat "$(vol app)/a")" seven
check_equal "there is one" "$(mount_id | wc -l)" 1

# --- an arena that cannot be used
fd=$(find "/proc/$keeper/fd" -lname "/memfd:secretlet-arena*" -print -quit)
printf '\377' | dd of="$fd" bs=1 seek=8 conv=notrunc status=none
kill_agent
check "an arena of another version: a new mount" eventually 20 "grep -q 'the agent cannot go on with the mount' '$log'"
check "it says why" grep -q "state arena: version 255" "$log"
check "and serves" eventually 30 "'$secretlet' wait --quiet --runtime-dir '$run' --timeout 1s default/app"
check_equal "the content" "$(cat "$(vol app)/a")" seven

stop
check_equal "the end: exit status" $? 0
check "the end: no mount" test -z "$(mount_id)"
tap_done
