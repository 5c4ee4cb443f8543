#!/usr/bin/env bash
# timeout: 180
# The daemon as a whole, on the manifests source: what it refuses to start on, what its processes may do, that children
# which die come back, and that nothing is left behind. Runs in a private mount namespace (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
manifests=$TEST_DIR/manifests pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log
canary="CANARY-$RANDOM$RANDOM$RANDOM"
vol=$pods/by-name/default/app/volumes/kubernetes.io~secret
mkdir -p "$manifests"
chmod 755 "$TEST_DIR"

write_secret() { # write_secret NAME KEY VALUE
	printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\nstringData:\n  %s: "%s"\n' "$1" "$2" "$3" >"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/$1.yaml"
}
write_pod() {
	cat >"$manifests/app.yaml" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: app}
	spec:
	  volumes:
	  - name: creds
	    secret: {secretName: db}
	  - name: unused
	    secret: {secretName: nobody-mounts-this}
	  containers:
	  - name: main
	    image: none
	    volumeMounts:
	    - {name: creds, mountPath: /creds}
	Y
}
start() { # start [OPTION...]
	"$secretlet" run --manifests "$manifests" --pods-dir "$pods" --runtime-dir "$run" "$@" 2>>"$log" &
	keeper=$!
}
started() { "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s default/app; }
child() { # child NAME: the pid of the keeper's child of that name
	local p
	for p in $(pgrep -P "$keeper"); do
		[ "$(tr '\0' '\n' <"/proc/$p/cmdline" | head -n 1)" = "secretlet-$1" ] && echo "$p" && return
	done
	return 1
}
stop() { # stop SIGNAL
	kill -s "$1" "$keeper"
	wait "$keeper"
}
mounted() { grep -q " $pods " /proc/self/mountinfo; }
field() { grep "^$2:" "/proc/$1/status" | cut -f 2; }
gone() { # gone PID: ended, reaped or not (nobody may be there to reap an orphan)
	[ ! -d "/proc/$1" ] || [ "$(field "$1" State | cut -c 1)" = Z ]
}
refuses() { # refuses NAME WORDS COMMAND...: the exit status $status (1), the words on stderr, no mount
	local name=$1 words=$2 out rc
	shift 2
	out=$(timeout 20 "$@" 2>&1)
	rc=$?
	check_equal "$name: exit status" "$rc" "${status:-1}"
	check_contains "$name: says why" "$out" "$words"
	check "$name: one line" test "$(printf '%s\n' "$out" | grep -c .)" -le 2
}
base=(run --manifests "$manifests" --pods-dir "$pods" --runtime-dir "$run")

write_secret db password "$canary"
write_pod

# --- what it refuses to start on
# another user may not get to where it was built
for_all=$TEST_DIR/secretlet
install -m 0755 "$secretlet" "$for_all"
refuses "not root" "must be started by root" setpriv --reuid 65534 --clear-groups "$for_all" "${base[@]}"
status=78 refuses "no source" "--manifests" "$secretlet" run --pods-dir "$pods" --runtime-dir "$run"
status=78 refuses "two sources" "kubeconfig" "$secretlet" "${base[@]}" --kubeconfig /dev/null
status=2 refuses "unknown option" "--frobnicate" "$secretlet" "${base[@]}" --frobnicate
touch "$TEST_DIR/file"
refuses "pods dir is a file" "not a folder" "$secretlet" run --manifests "$manifests" --pods-dir "$TEST_DIR/file" --runtime-dir "$run"
mkdir "$TEST_DIR/other" && mount -t tmpfs none "$TEST_DIR/other"
refuses "pods dir is mounted by something else" "already mounted by something else (tmpfs)" \
	"$secretlet" run --manifests "$manifests" --pods-dir "$TEST_DIR/other" --runtime-dir "$run"
umount "$TEST_DIR/other"
refuses "manifests folder missing" "$TEST_DIR/nowhere" "$secretlet" run --manifests "$TEST_DIR/nowhere" --pods-dir "$pods" --runtime-dir "$run"
status=78 refuses "configuration missing" "$TEST_DIR/nowhere.yaml" "$secretlet" "${base[@]}" --config "$TEST_DIR/nowhere.yaml"
printf 'apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\nnodeNmae: x\n' >"$TEST_DIR/bad.yaml"
status=78 refuses "configuration invalid" "bad.yaml:3:" "$secretlet" "${base[@]}" --config "$TEST_DIR/bad.yaml"
refuses "no such user" "nobody-of-that-name" "$secretlet" "${base[@]}" --user nobody-of-that-name
status=78 refuses "agent as root" "root" "$secretlet" "${base[@]}" --user root
refuses "too few open files" "the limit of open files is too low: 40" bash -c "ulimit -n 40 && exec '$secretlet' ${base[*]}"
# without CAP_IPC_LOCK and with a limit that is smaller than secretMemoryLimit
unlocked() { bash -c 'ulimit -l 64 && exec setpriv --bounding-set -ipc_lock,-sys_resource "$@"' bash "$@"; }
export -f unlocked
refuses "memory that cannot be locked" "the keeper cannot lock the memory for Secrets" bash -c 'unlocked "$@"' bash "$secretlet" "${base[@]}"
printf 'apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\nmemoryLock: requireAll\n' >"$TEST_DIR/all.yaml"
refuses "a heap that cannot be locked, if that is asked for" "the agent's heap cannot be locked" \
	bash -c 'ulimit -l 8192 && exec setpriv --bounding-set -sys_resource "$@"' bash "$secretlet" "${base[@]}" --config "$TEST_DIR/all.yaml"
status=2 refuses "internal commands are not for people" "secretlet run" "$secretlet" internal-agent
# --user fails in the agent, when everything is mounted already
check "nothing is mounted after a refusal" not mounted
check "no runtime folder after a refusal" test ! -e "$run"
check "no pods folder after a refusal" test ! -e "$pods"
unshare -m bash -c "mount -t tmpfs none /dev && exec '$secretlet' ${base[*]}" >"$TEST_DIR/out" 2>&1
check_contains "no /dev/fuse" "$(cat "$TEST_DIR/out")" "/dev/fuse"

# --- the main job
exec 9<"$manifests/db.yaml" # left open by whoever starts it
soft=$(ulimit -Sn)
ulimit -Sn 100
start
ulimit -Sn "$soft"
exec 9<&-
check "the pod becomes ready" started
check_equal "the key is a file" "$(cat "$vol/creds/password")" "$canary"
check_equal "..data is a link to a version" "$(readlink "$vol/creds/..data" | cut -c 1-4)" "..20"
check_equal "the key is a link through ..data" "$(readlink "$vol/creds/password")" "..data/password"
check_equal "the volume's mode" "$(stat -c %a:%u:%g "$vol/creds/")" "1777:0:0"
check "a volume that no container mounts is not set up" test ! -e "$vol/unused"
check_equal "status exits 0" "$("$secretlet" status --runtime-dir "$run" >"$TEST_DIR/status"; echo $?)" 0
check_equal "status -o json" "$("$secretlet" status --runtime-dir "$run" -o json | jq -r '"\(.healthy) \(.volumes.ready) \(.source.kind)"')" \
	"true 1 manifests"
check_equal "pods -o json" "$("$secretlet" pods --runtime-dir "$run" -o json | jq -r '.pods[0] | "\(.namespace)/\(.name) \(.ready)"')" "default/app true"
check_equal "mounts" "$("$secretlet" mounts --runtime-dir "$run" default/app main | jq -r '.[0] | "\(.destination) \(.options | index("ro") != null)"')" "/creds true"
check "mounts gives a folder that is there" test -e "$("$secretlet" mounts --runtime-dir "$run" default/app main | jq -r '.[0].source')/password"
check_equal "mounts of an unknown container fails" "$("$secretlet" mounts --runtime-dir "$run" default/app nobody 2>/dev/null; echo $?)" 1
check_equal "wait for an unknown pod fails in time" "$("$secretlet" wait --quiet --timeout 200ms --runtime-dir "$run" default/nobody 2>/dev/null; echo $?)" 1
check_equal "version" "$("$secretlet" version | head -n 1 | cut -d ' ' -f 2)" "$(cat "$here/../../VERSION")"

# --- nobody else may change anything
erofs() { check_contains "$1 is refused" "$("${@:2}" 2>&1)" "Read-only file system"; }
erofs mkdir mkdir "$vol/x"
erofs touch touch "$vol/creds/x"
erofs rm rm -f "$vol/creds/password"
erofs mv mv "$vol/creds/..data" "$vol/creds/x"
erofs chmod chmod 777 "$vol/creds/"
erofs chown chown 1:1 "$vol/creds/..data/password"
erofs ln ln -s x "$vol/creds/y"
erofs write bash -c "echo x > '$vol/creds/password'"
erofs truncate truncate -s 0 "$vol/creds/..data/password"

# --- what the processes may do
agent=$(child agent) publisher=$(child publisher)
check "the agent is not root" test "$(field "$agent" Uid | cut -f 1)" != 0
check_equal "the agent has no capability" "$(field "$agent" CapEff) $(field "$agent" CapPrm) $(field "$agent" CapBnd)" \
	"0000000000000000 0000000000000000 0000000000000000"
check_equal "the agent gains no privileges" "$(field "$agent" NoNewPrivs)" 1
check_equal "the agent is one thread" "$(field "$agent" Threads)" 1
check_equal "the agent has no groups" "$(field "$agent" Groups | tr -d ' ')" ""
check_equal "the publisher has no capability" "$(field "$publisher" CapEff)" 0000000000000000
check_equal "the publisher is filtered" "$(field "$publisher" Seccomp)" 2
open_files() { # open_files PID: what it has open beside the standard three and /dev/null
	find "/proc/$1/fd" -type l ! -name '[012]' -printf '%l\n' | grep -vx /dev/null | sed 's/:.*//' | sort | xargs
}
check_equal "the publisher has its socket, the mount and nothing else" "$(open_files "$publisher")" "/ socket"
check "the agent cannot reach the private mount" not grep -qx / <(open_files "$agent" | tr ' ' '\n')
check_equal "a low soft limit of open files is raised" "$(grep '^Max open files' "/proc/$agent/limits" | tr -s ' ' | cut -d ' ' -f 4)" 512
check_equal "neither has a file that the keeper's parent left open" \
	"$(readlink /proc/{"$agent","$publisher"}/fd/* | grep -c db.yaml)" 0
check_equal "the secret memory is locked" "$("$secretlet" status --runtime-dir "$run" -o json | jq -r .secretMemory.locked)" true
check_equal "another user is not answered" \
	"$(setpriv --reuid 65534 --clear-groups curl -s -o /dev/null --unix-socket "$run/control.sock" http://x/v1/status; echo $?)" 7
check_equal "nor waits for anything" \
	"$(setpriv --reuid 65534 --clear-groups timeout 10 "$for_all" wait --quiet --timeout 60s --runtime-dir "$run" default/app; echo $?)" 3
check_equal "the runtime dir can be looked into" "$(stat -c %a "$run")" 755
check_equal "the values are in no argument or environment" \
	"$(cat /proc/{"$keeper","$agent","$publisher"}/{cmdline,environ} 2>/dev/null | grep -ac "$canary")" 0

# --- a second instance
refuses "a second instance" "another secretlet (pid $keeper) already runs" "$secretlet" "${base[@]}"
refuses "a second instance on the same pods dir" "served by another secretlet" \
	"$secretlet" run --manifests "$manifests" --pods-dir "$pods" --runtime-dir "$TEST_DIR/run2"
check "the first one serves on" test "$(cat "$vol/creds/password")" = "$canary"

# --- updates and refusals
version=$(readlink "$vol/creds/..data")
write_secret db password "second"
check "an update becomes visible" eventually 10 test "\$(cat $vol/creds/password)" = second
check "the version is another" test "$(readlink "$vol/creds/..data")" != "$version"
printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\ndata:\n  password: "*not base64*"\n' >"$manifests/db.yaml"
check "a rejected object is named with file and line" eventually 10 grep -q "db.yaml:6" "$log"
check_equal "the last good content stays" "$(cat "$vol/creds/password")" second
check_equal "status is not healthy then" "$("$secretlet" status --runtime-dir "$run" >/dev/null; echo $?)" 1
write_secret db password "third"
check "a corrected object is taken" eventually 10 test "\$(cat $vol/creds/password)" = third
check_equal "status is healthy again" "$("$secretlet" status --runtime-dir "$run" >/dev/null; echo $?)" 0

# --- a file full of refusals
for _ in $(seq 500); do printf -- '---\nkind: Secret\n'; done >"$TEST_DIR/next" && mv "$TEST_DIR/next" "$manifests/many.yaml"
check "refusals are cut short" eventually 10 grep -q "many.yaml: 480 more refusals and warnings" "$log"
check_equal "and the first ones are said" "$(grep -c "many.yaml:[0-9]*:1: " "$log")" 20
rm "$manifests/many.yaml"
check "the file is forgotten" eventually 10 "$secretlet" status --runtime-dir "$run"

# --- children that die
kill -9 "$publisher"
write_secret db password "fourth"
check "an update is visible after the publisher was killed" eventually 10 test "\$(cat $vol/creds/password)" = fourth
kill -9 "$agent"
check "the agent is started again" eventually 10 child agent
check "the pod is ready again after the agent was killed" started
check_equal "the content is there again" "$(cat "$vol/creds/password")" fourth
check_equal "there is one mount" "$(grep -c " $pods " /proc/self/mountinfo)" 1

# --- a pod that goes
rm "$manifests/app.yaml"
check "a removed pod takes its folder with it" eventually 10 test "-z \"\$(ls $pods | grep -v by-name)\""
check "and its name" test ! -e "$pods/by-name/default/app"
write_pod
check "it comes back" started

# --- the end
agent=$(child agent) publisher=$(child publisher)
stop TERM
check_equal "SIGTERM: exit status" $? 0
check "SIGTERM: unmounted" not mounted
check "SIGTERM: no agent" gone "$agent"
check "SIGTERM: no publisher" gone "$publisher"
check "SIGTERM: no runtime folder" test ! -e "$run"
check "SIGTERM: no pods folder" test ! -e "$pods"
start
check "starts again" started
stop INT
check_equal "SIGINT: exit status" $? 0
check "SIGINT: unmounted" not mounted

mkdir "$TEST_DIR/mine"
start --pods-dir "$TEST_DIR/new/deep/pods" --runtime-dir "$TEST_DIR/mine/new/run"
check "starts in folders that are not there" "$secretlet" wait --quiet --runtime-dir "$TEST_DIR/mine/new/run" --timeout 20s default/app
check_equal "their mode is not the umask's" "$(stat -c %a "$TEST_DIR/new/deep")" 711
stop TERM
check "the folders that it made are gone" test ! -e "$TEST_DIR/new" -a ! -e "$TEST_DIR/mine/new"
check "the folder that was there is not" test -d "$TEST_DIR/mine"

# --- an agent that hangs
start
check "starts with an agent that will hang" started
kill -STOP "$(child agent)"
write_secret db password "nobody will see this"
# whoever asks for what is not cached waits in the kernel meanwhile
timeout -s KILL 30 ls "$pods/not-there" >"$TEST_DIR/out" 2>&1 &
kill "$keeper"
check "the keeper ends all the same" eventually 15 gone "$keeper"
wait "$keeper"
check_equal "an agent that hangs: exit status" $? 0
check "an agent that hangs: unmounted" not mounted
check_contains "it is said" "$(cat "$log")" "the agent did not stop in time"

# --- a dead mount of an earlier run
start
check "starts a third time" started
agent=$(child agent)
kill -9 "$keeper"
wait "$keeper" 2>/dev/null
check "the agent goes with the keeper" eventually 10 gone "$agent"
check "the dead mount is there" mounted
start
check "the dead mount is cleared and the pod is ready" started
check_equal "one mount" "$(grep -c " $pods " /proc/self/mountinfo)" 1
stop TERM

# --- sealed values
sealing=$TEST_DIR/sealing
mkdir "$sealing"
printf 'apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\nsealedSecretsKeyFile: sealing/sealing.key\n' \
	>"$TEST_DIR/sealed.yaml"
refuses "private key missing" "sealing/sealing.key" "$secretlet" "${base[@]}" --config "$TEST_DIR/sealed.yaml"
"$secretlet" keygen --out "$sealing" >"$TEST_DIR/out" || echo "# keygen failed"
write_secret db password "$canary"
"$secretlet" seal --public-key "$sealing/sealing.pub" "$manifests/db.yaml" >"$TEST_DIR/next"
mv "$TEST_DIR/next" "$manifests/db.yaml"
check_equal "the sealed manifest has no value in it" "$(grep -c "$canary" "$manifests/db.yaml")" 0
check_equal "check agrees with the sealed folder" "$("$secretlet" check "$manifests" >/dev/null; echo $?)" 0
start --config "$TEST_DIR/sealed.yaml"
check "a pod with a sealed Secret becomes ready" started
check_equal "the sealed value is a file" "$(cat "$vol/creds/password")" "$canary"
sed -i 's/name: "db"/name: "other"/' "$manifests/db.yaml"
check "sealed for another name, it is refused" eventually 10 grep -q "sealedData.password: was sealed for a Secret of another name" "$log"
kill -9 "$(child agent)"
sed -i 's/name: "other"/name: "db"/' "$manifests/db.yaml"
check "a new agent has the key as well" started
check_equal "and opens the value" "$(cat "$vol/creds/password")" "$canary"
check_equal "the private key is in no argument or environment" \
	"$(cat /proc/{"$keeper","$(child agent)"}/{cmdline,environ} | grep -acF "$(cut -d ' ' -f 3 "$sealing/sealing.key")")" 0
stop TERM

# --- memory that cannot be locked, and must not be
printf 'apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\nmemoryLock: warn\n' >"$TEST_DIR/warn.yaml"
write_secret db password "$canary"
bash -c 'ulimit -l 64 && exec setpriv --bounding-set -ipc_lock,-sys_resource "$@"' bash \
	"$secretlet" "${base[@]}" --config "$TEST_DIR/warn.yaml" 2>>"$log" &
keeper=$!
check "with memoryLock: warn it starts" started
check "says that the memory for Secrets is not locked" grep -q "memory for Secrets cannot be locked" "$log"
check "nor by the keeper" grep -q "the keeper cannot lock the memory for Secrets" "$log"
check "and that the heap is not" grep -q "heap cannot be locked" "$log"
check_equal "and is not healthy" "$("$secretlet" status -o json --runtime-dir "$run" | jq -c '[.healthy, .secretMemory.locked, .secretMemory.heapLocked]')" "[false,false,false]"
stop TERM

# --- and what is locked when it can be
start
check "a pod is ready" started
locked() { grep -A30 "$2" "/proc/$1/smaps" | grep -m1 VmFlags; }
check_contains "the arena is locked" "$(locked "$(child agent)" memfd:secretlet-arena)" " lo"
# it has the head, in which there is no value, a second time
check_equal "by the keeper, too, which leaves it out of cores" \
	"$(grep -A30 memfd:secretlet-arena "/proc/$keeper/smaps" | grep '^VmFlags' | grep ' lo' | grep -c ' dd')" 1
if [ "$(ulimit -H -l)" = unlimited ] || setpriv -d | grep -q 'Capability bounding set:.*sys_resource'; then
	check_contains "the heap as well" "$(locked "$(child agent)" '\[heap\]')" " lo"
	check_contains "and the stack" "$(locked "$(child agent)" '\[stack\]')" " lo"
	stop TERM
	start --config "$TEST_DIR/all.yaml"
	check "which memoryLock: requireAll asks for" started
	heap=true
else
	tap_skip "the heap as well" "the limit of locked memory cannot be lifted here (CAP_SYS_RESOURCE)"
	check "and it is said that the heap is not" grep -q "heap cannot be locked" "$log"
	heap=false
fi
check_equal "and status shows which it is" "$("$secretlet" status -o json --runtime-dir "$run" | jq -c .secretMemory.heapLocked)" "$heap"
stop TERM

check_equal "no value is in the log" "$(grep -c "$canary" "$log")" 0
tap_done
