#!/usr/bin/env bash
# timeout: 600
# auditLog: who opened what, through which mount and from which container; what is missing is counted and said; and readers
# never wait for any of it.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

skip_all() { echo "$*" && exit 77; }
[ "$(id -u)" = 0 ] || skip_all "root is needed"
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi # crun 1.8

secretlet=$TEST_BUILD_DIR/secretlet
manifests=$TEST_DIR/manifests pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log config=$TEST_DIR/config.yaml
audit=$TEST_DIR/log/audit.jsonl
mkdir -p "$manifests"
chmod 755 "$TEST_DIR"
canary="canary-5a1fe0c2"

write_secret() { # write_secret SUFFIX
	{
		printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData:\n  a: "%s-%s"\n  b: "%s"\n' \
			"$canary" "$1" "$canary"
		printf '  key-%d: "x"\n' {1..638}
	} >"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/db.yaml"
}
cat >"$manifests/pod.yaml" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: box}
	spec:
	  volumes: [{name: creds, secret: {secretName: db}}]
	  containers: [{name: main, image: busybox, volumeMounts: [{name: creds, mountPath: /creds, readOnly: true}]}]
	Y
write_config() { # write_config [LINE]
	printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' "manifestsDir: $manifests" \
		"podsDir: $pods" "runtimeDir: $run" "${1:-}" >"$config"
}

manager='' keeper_file=$TEST_DIR/keeper
start() { # start [COMMAND...]: as under a service manager, which keeps what a keeper leaves
	rm -f "$keeper_file"*
	"$here/../lib/manager.py" "$keeper_file" "$@" "$secretlet" run --config "$config" 2>>"$log" &
	manager=$!
	"$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s default/box
}
stop() {
	kill "$manager"
	wait "$manager"
	umount -l "$pods" 2>/dev/null
}
keeper() { cat "$keeper_file"; }
child() { # child NAME: the pid of the keeper's child of that name
	local p
	for p in $(pgrep -P "$(keeper)"); do
		[ "$(tr '\0' '\n' <"/proc/$p/cmdline" | head -n 1)" = "secretlet-$1" ] && echo "$p" && return
	done
	return 1
}
# kill_audit: until another one is there and the agent knows it
kill_audit() {
	local old
	old=$(child audit) && kill -KILL "$old"
	eventually 20 "[ ! -e /proc/$old ] && child audit && [ \$(status .gaps) -gt $gaps ] && listens"
	gaps=$((gaps + 1))
}
gaps=0
status() { "$secretlet" status -o json --runtime-dir "$run" | jq -r ".audit$1"; }
listens() { [ "$(status .running)" = true ]; }
# written FILTER: the records for which it is true, one a line
written() { jq -c "select($1)" "$audit" 2>/dev/null; }
count() { written "$1" | wc -l; }
opens_of() { count ".type == \"open\" and .process.pid == $1"; }
volume() { echo "$pods"/*/volumes/kubernetes.io~secret/creds; }
fuse_requests() {
	"$secretlet" status -o json --runtime-dir "$run" |
		jq '[.fuse.requests | to_entries[] | select(.key | test("FORGET|STATFS") | not) | .value] | add'
}
# A process that opens, and stays until it is told, so that nothing of it is gone when it is looked at.
# open_as FILE [COMMAND...]
mkfifo "$TEST_DIR/never"
open_as() {
	local file=$1
	shift
	: >"$TEST_DIR/has"
	# shellcheck disable=SC2016
	"$@" bash -c 'exec 3<"$0" && echo has && read -r _ <&4' "$file" >"$TEST_DIR/has" 4<>"$TEST_DIR/never" &
	reader=$!
	eventually 10 "grep -q has '$TEST_DIR/has'"
}
let_go() { kill "$reader" && wait "$reader"; } 2>/dev/null

# ---- off
write_secret 1
write_config
check "it starts without auditLog" start
check "there is no audit process" not child audit
for p in $(keeper) $(pgrep -P "$(keeper)"); do
	check "process $(tr '\0' ' ' <"/proc/$p/cmdline" | cut -d ' ' -f 1 | xargs basename) has no fanotify group" \
		not grep -q fanotify <(readlink "/proc/$p/fd"/* 2>/dev/null)
done
check_equal "status has nothing of it" "$(status '')" null
stop

# ---- kernels that cannot do it: who asks for records does not go without
write_config "auditLog: log/audit.jsonl"
refusal() { timeout 20 "$TEST_BUILD_DIR/test/tools/oldkernel" "$1" "$secretlet" run --config "$config" 2>&1; echo "exit $?"; }
if [ -x "$TEST_BUILD_DIR/test/tools/oldkernel" ]; then
	check_contains "without fanotify it does not start" "$(refusal --no-fanotify | tail -n 1)" "exit 1"
	check_contains "and says why" "$(refusal --no-fanotify)" "auditLog: fanotify_init: Function not implemented (the kernel has no FANOTIFY)"
	check_contains "nor with that of an older kernel" "$(refusal --no-pidfd-events)" "(Linux 5.15 or newer is needed)"
else
	tap_skip "other kernels" "test/tools/oldkernel has not been built (make tools)"
fi

sees_no_overlays() { "$secretlet" status -o json --runtime-dir "$run" | jq -e '.fuse.missing[] | select(test("opens through overlayfs"))'; }
if setarch --uname-2.6 true; then
	: >"$log"
	check "on a kernel before 6.5 it starts" start setarch --uname-2.6
	check "and says that it sees no opens through overlayfs" grep -q "warning keeper: this kernel lacks a feature: opens through overlayfs" "$log"
	check "so does status" sees_no_overlays
	kill -KILL "$(child agent)"
	check "also that of the next agent" eventually 10 sees_no_overlays
	check_equal "the log says it once" "$(grep -c "opens through overlayfs" "$log")" 1
	stop
	rm -r "$TEST_DIR/log"
	: >"$log"
else
	tap_skip "before 6.5" "the C library does not start with such a kernel"
fi

# ---- on: what a record says
check "it starts with auditLog" start
[ "$tap_failed" = 0 ] || { tap_done && cat "$log" && exit 1; }
check "the audit process listens" eventually 10 listens
check_equal "it has no capability" "$(grep -E '^Cap(Eff|Prm|Bnd)' "/proc/$(child audit)/status" | awk '{ print $2 }' | sort -u)" 0000000000000000
check_equal "its root folder is /proc" "$(stat -L -c %d "/proc/$(child audit)/root")" "$(stat -c %d /proc)"
check_equal "nor can get one" "$(awk '/NoNewPrivs/ { print $2 }' "/proc/$(child audit)/status")" 1
check_equal "the file is root's alone" "$(stat -c '%a %u' "$audit")" "600 0"
check_equal "it begins with a start" "$(jq -r '.type + " " + .reason' "$audit" | head -n 1)" "start start"
volume=$(volume) # a look at the folder itself asks the agent, what follows from here on does not
# hold: what is on the way to the present version of a is in the kernel's caches, and stays there whoever drops them
hold() { real=$(realpath "$volume/a") && exec 8<"$real"; }
hold
before=$(fuse_requests)
open_as "$real"
check "a cached open is seen" eventually 10 "[ \$(opens_of $reader) = 1 ]"
check_equal "and has cost no request" "$(fuse_requests)" "$before"
record=$(written ".process.pid == $reader")
field() { jq -r "$1" <<<"$record"; }
check_equal "the pod" "$(field '.pod | .namespace + "/" + .name')" default/box
check_equal "its uid" "$(field .pod.uid)" "$(basename "$(dirname "$(dirname "$(dirname "$volume")")")")"
check_equal "volume, Secret and key" "$(field '.volume + " " + .secret + " " + .key')" "creds db a"
check_equal "the version" "$(field .version)" "$(readlink "$volume/..data")"
check_equal "the path" "$(field .path)" "$(realpath "$volume/a")"
check_equal "the process's name" "$(field .process.comm)" bash
check_equal "its start" "$(field .process.startTicks)" "$(sed 's/.*) //' "/proc/$reader/stat" | cut -d ' ' -f 20)"
check_equal "its ids" "$(field '.process | [.uid, .euid, .gid] | @csv')" 0,0,0
check "its cgroup" grep -qF ":$(field .process.cgroup)" "/proc/$reader/cgroup"
check "the time" test "$(field '.time[:19] + "Z" | fromdate')" -ge "$(($(date +%s) - 60))"
let_go

mkdir "$TEST_DIR/bound"
mount --bind "$volume" "$TEST_DIR/bound" # as a container has it
open_as "$TEST_DIR/bound/b" setpriv --reuid 12345 --regid 23456 --clear-groups
check "another user's open is seen" eventually 10 "[ \$(opens_of $reader) = 1 ]"
check_equal "with its ids" "$(written ".process.pid == $reader" | jq -c '.process | [.uid, .euid, .gid]')" "[12345,12345,23456]"
let_go
umount "$TEST_DIR/bound"

# ---- through overlayfs, by root of a user namespace
mkdir "$TEST_DIR/empty"
# shellcheck disable=SC2016 # that shell's
open_as "$TEST_DIR/bound/a" unshare --user --map-root-user --mount sh -c \
	'mount -t overlay overlay -o "lowerdir=$0:$1" "$2" && shift 2 && exec "$@"' "$volume" "$TEST_DIR/empty" "$TEST_DIR/bound"
if ! [ -s "$TEST_DIR/has" ]; then
	tap_skip "opens through overlayfs" "no user namespace, or no overlayfs in it"
elif printf '%s\n' 6.5 "$(uname -r)" | sort -CV; then
	check "an open through overlayfs is seen" eventually 10 "[ \$(opens_of $reader) = 1 ]"
	record=$(written ".process.pid == $reader")
	check_equal "and named" "$(field '.pod.name + " " + .key')" "box a"
	check_equal "the path is that below the volume" "$(field .path)" "/$(readlink "$volume/..data")/a"
	check "nothing is said to be missing" not sees_no_overlays
else
	unseen=$reader
	open_as "$volume/b"
	check "an open after it is seen" eventually 10 "[ \$(opens_of $reader) = 1 ]"
	check_equal "before Linux 6.5 one through overlayfs is not, as the manual has it" "$(opens_of "$unseen")" 0
	check "and the daemon has said so" grep -q "this kernel lacks a feature: opens through overlayfs" "$log"
	kill "$unseen"
fi
let_go

# ---- from another mount namespace, through a bind mount of the folder, and of the file
open_as "$TEST_DIR/bound/key-7" unshare -m --propagation private sh -c \
	'mount --bind "$0" "$1" && umount -l "$2" && shift 2 && exec "$@"' "$volume" "$TEST_DIR/bound" "$pods"
check "an open in another mount namespace is seen" eventually 10 "[ \$(opens_of $reader) = 1 ]"
record=$(written ".process.pid == $reader")
check_equal "and named, though its path says nothing" "$(field '.pod.name + " " + .key')" "box key-7"
check_equal "the path is the opener's" "$(field '.path | split("/") | .[-1]')" key-7
let_go
: >"$TEST_DIR/file"
mount --bind "$volume/a" "$TEST_DIR/file"
open_as "$TEST_DIR/file"
check "an open of a bind mount of a file is seen" eventually 10 "[ \$(opens_of $reader) = 1 ]"
check_equal "and named" "$(written ".process.pid == $reader" | jq -r '.pod.name + " " + .key + " " + .path')" "box a $TEST_DIR/file"
let_go
version=$(readlink "$volume/..data")
write_secret 2
check "the volume is updated" eventually 10 "[ \"\$(cat $volume/a)\" = $canary-2 ]"
sleep 0.5 # the old version's folder goes
check "its folder has gone" not test -e "$volume/$version"
check "another audit process is there" kill_audit # what it remembers goes with it
open_as "$TEST_DIR/file"
check "an open of a version that has gone is seen" eventually 10 "[ \$(opens_of $reader) = 1 ]"
check_equal "and named" "$(written ".process.pid == $reader" | jq -r '.pod.name + " " + .key + " " + .version')" "box a $version"
let_go
umount "$TEST_DIR/file"

# ---- names that somebody chooses: of the process, of its mount point
cat >"$TEST_DIR/named.py" <<-'P'
	import ctypes, sys
	ctypes.CDLL(None).prctl(15, sys.argv[2].encode(), 0, 0, 0) # PR_SET_NAME
	held = open(sys.argv[1])
	print("has", flush=True)
	sys.stdin.readline()
	P
n_lines=$(wc -l <"$audit")
odd=$TEST_DIR/$'odd\n{"type":"open"}\e[2J\xc2\x9b2J\x7f'
: >"$odd"
mount --bind "$volume/a" "$odd"
: >"$TEST_DIR/has"
# shellcheck disable=SC2094 # a pipe with a name that nothing is written to
python3 "$TEST_DIR/named.py" "$odd" $'}\n{"a":\e]0;\xc2\x9b1' 7<>"$TEST_DIR/never" >"$TEST_DIR/has" <"$TEST_DIR/never" &
reader=$!
eventually 10 "grep -q has '$TEST_DIR/has'"
check "an open under odd names is seen" eventually 10 "[ \$(opens_of $reader) = 1 ]"
record=$(written ".process.pid == $reader")
check_equal "the process's name is what it is" "$(field '.process.comm | @json')" "$(jq -n --arg s $'}\n{"a":\e]0;\xc2\x9b1' '$s | @json' -r)"
check_equal "and the path" "$(field '.path | @json')" "$(jq -n --arg s "$odd" '$s | @json' -r)"
check_equal "each line is a record" "$(wc -l <"$audit")" "$(jq -c . "$audit" | wc -l)"
check "one came" test "$(wc -l <"$audit")" = $((n_lines + 1))
check "nothing in it does anything to a terminal" not grep -qP '[^\x20-\x7e\n]' "$audit"
let_go
umount "$odd"

check_equal "what the publisher reads is not recorded" "$(count '.process.comm == "secretlet-publi" or .process.comm == "secretlet"')" 0
check_equal "a killed process leaves a gap" "$(written '.type == "gap"' | jq -c '[.reason, .lost]')" '["process",0]'
check_equal "which is counted" "$(status .gaps)" 1

# ---- a container
rootfs=$TEST_DIR/rootfs
runtime=$(command -v crun || command -v runc)
if [ -z "$runtime" ] || ! command -v busybox >/dev/null; then
	tap_skip "a container" "crun or runc, and busybox are not installed"
else
	mkdir -p "$rootfs"/{bin,dev,proc,sys,etc,tmp,creds} "$TEST_DIR/bundle"
	cp "$(command -v busybox)" "$rootfs/bin/busybox"
	for applet in sh cat sleep; do ln -s busybox "$rootfs/bin/$applet"; done
	id=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
	mounts=$("$secretlet" mounts --runtime-dir "$run" default/box main)
	# as the kubelet has it with the cgroupfs driver
	pod_uid=$(basename "$(dirname "$(dirname "$(dirname "$volume")")")")
	(cd "$TEST_DIR/bundle" && "$runtime" spec &&
		jq --arg rootfs "$rootfs" --argjson mounts "$mounts" --arg cgroup "/secretlet-test/pod$pod_uid/$id" \
			'.root = {path: $rootfs, readonly: true} | .process.terminal = false | .process.cwd = "/" |
			.process.args = ["/bin/sh", "-c", "exec 3</creds/b; echo has; exec sleep 60"] |
			.process.user = {uid: 4321, gid: 5432} | .mounts += $mounts | .linux.cgroupsPath = $cgroup |
			del(.linux.resources)' \
			config.json >new && mv new config.json)
	"$runtime" --root "$TEST_DIR/state" run --bundle "$TEST_DIR/bundle" "$id" </dev/null >"$TEST_DIR/container.out" 2>&1 &
	container=$!
	if eventually 10 "grep -q has '$TEST_DIR/container.out' || ! kill -0 $container" && grep -q has "$TEST_DIR/container.out"; then
		filter='.process.uid == 4321'
		check "an open in a container is seen" eventually 10 "[ \$(count '$filter') = 1 ]"
		record=$(written "$filter")
		check_equal "with its id" "$(field .process.container)" "$id"
		check_equal "and its pod's" "$(field .process.podUID)" "$pod_uid"
		check_equal "what it opened" "$(field '.pod.uid + " " + .volume + " " + .key')" "$pod_uid creds b"
		check_contains "under which name" "$(field .path)" "/creds/..2"
	else
		tap_skip "a container" "none can be started here: $(tail -n 1 "$TEST_DIR/container.out")"
	fi
	"$runtime" --root "$TEST_DIR/state" delete --force "$id"
	wait "$container"
	rmdir /sys/fs/cgroup/*/secretlet-test/pod"$pod_uid" /sys/fs/cgroup/*/secretlet-test 2>/dev/null
fi

# ---- the file is rotated
mv "$audit" "$audit.1"
kill -HUP "$(keeper)"
check "after a rotation and SIGHUP there is a new file" eventually 10 "[ -s $audit ] || { cat $volume/a; false; }"
open_as "$volume/a"
check "in which records are" eventually 10 "[ \$(opens_of $reader) = 1 ]"
let_go
mv "$audit" "$audit.2"
check "a rotation is noticed without it, too" eventually 10 "cat $volume/a; [ -s $audit ]"

# ---- the agent is killed in between
hold
kill -STOP "$(child agent)"
open_as "$real"
check "while the agent is away a cached key can be opened" test -d "/proc/$reader"
kill -KILL "$(child agent)"
check "the open is recorded" eventually 10 "[ \$(opens_of $reader) = 1 ]"
check_equal "and named by the next agent, or by what was known" "$(written ".process.pid == $reader" | jq -r .pod.name)" box
let_go
check "the next agent is told the counts" eventually 10 listens

# ---- the audit process is stopped: readers never wait, what does not fit is counted
queue=$(cat /proc/sys/fs/fanotify/max_queued_events)
kill -STOP "$(child audit)"
overflows=$(status .queueFull)
# other processes each time, and other keys: equal events would be merged
cat >"$TEST_DIR/many.py" <<-'P'
	import os, sys
	volume, n = sys.argv[1], int(sys.argv[2])
	files = [os.path.realpath(os.path.join(volume, k)) for k in os.listdir(volume) if not k.startswith(".")]
	done = 0
	while done < n:
	    pid = os.fork()
	    if pid == 0:
	        for f in files:
	            os.close(os.open(f, os.O_RDONLY))
	        os._exit(0)
	    if os.waitpid(pid, 0)[1]:
	        sys.exit(1)
	    done += len(files)
	P
check "all of $((queue + 3000)) opens come back while nobody listens" timeout 120 python3 "$TEST_DIR/many.py" "$volume" $((queue + 3000))
check_equal "the audit process is still stopped" "$(awk '/^State/ { print $2 }' "/proc/$(child audit)/status")" T
kill -CONT "$(child audit)"
check "that the queue was full is counted" eventually 60 "[ \$(status .queueFull) -gt $overflows ]"
# jq takes its time with so many, and they are looked at again and again
n_opens() { grep -c '^{"type":"open"' "$audit"; }
check "and said" eventually 10 "grep -q '\"type\":\"dropped\".*\"queueFull\":[1-9]' '$audit'"
check "what was in it is recorded" eventually 60 "[ \$(n_opens) -ge $queue ]"
check_equal "processes that have gone are said to be" "$(count '.type == "open" and .process.gone and .process.comm')" 0

# ---- the log's folder is removed
mkdir "$TEST_DIR/log.old" && mv "$TEST_DIR/log"/* "$TEST_DIR/log.old/" && rmdir "$TEST_DIR/log"
check "another audit process makes it anew" eventually 30 "cat $volume/a; [ -s $audit ]"
gaps=$((gaps + 1))
check_equal "after a gap" "$(written '.type == "gap"' | jq -r .reason)" process
check "what was not written is said" eventually 10 "[ \$(count '.type == \"dropped\" and .unwritten > 0') = 1 ]"
check "the audit process listens" eventually 10 listens

# ---- the audit process is killed with a record in its hands
hold
eventually 10 "[ \$(opens_of $$) -ge 1 ]"
check "another audit process is there" kill_audit # what it remembers goes with it
kill -STOP "$(child agent)" # nobody names the next one
open_as "$real"
sleep 0.5
check_equal "a record waits for its name" "$(opens_of "$reader")" 0
kill -KILL "$(child audit)"
let_go
kill -CONT "$(child agent)"
check "it is told as lost" eventually 20 "[ \"\$(written '.type == \"gap\"' | jq -c '[.reason, .lost]' | tail -n 1)\" = '[\"process\",1]' ]"
check "and counted" eventually 10 "[ \$(status .lost) = 1 ]"

# ---- keepers come and go
kill -KILL "$(keeper)"
check "after the keeper's death another goes on" eventually 20 "[ -d /proc/\$(keeper) ] && listens"
check_equal "and says that there was a gap" "$(written '.type == "gap"' | jq -c '[.reason, .lost]' | tail -n 1)" '["keeper",null]'
open_as "$volume/a"
check "opens are recorded as before" eventually 10 "[ \$(opens_of $reader) = 1 ]"
let_go
all_kinds() { # of the big one a part
	cat "$audit" "$TEST_DIR/log.old/audit.jsonl".[12]
	sed -n '1,300p; $p; /"dropped"/p; 3000,3300p' "$TEST_DIR/log.old/audit.jsonl"
}
members() { all_kinds | jq -r '[paths(type != "object") | map(strings)[]] | unique[]' | sort -u; }
for member in $(members); do
	check "the manual has $member" grep -qE "^\.(It )?Li (.* )?$member( |\$)" "$here/../../man/secretlet-audit.5"
done
exec 8<&-
stop

# ---- a full disk
mkdir "$TEST_DIR/small"
mount -t tmpfs -o size=64k none "$TEST_DIR/small"
write_config "auditLog: small/audit.jsonl"
audit=$TEST_DIR/small/audit.jsonl
: >"$log"
check "it starts with a small disk" start
check "the audit process listens" eventually 10 listens
check "as many opens as it cannot hold come back" timeout 60 python3 "$TEST_DIR/many.py" "$volume" 640
check "what could not be written is counted" eventually 20 "[ \$(status .unwritten) -gt 0 ]"
check "and shown" eventually 10 "'$secretlet' status --runtime-dir '$run' | grep -q 'No space left'"
timeout 60 python3 "$TEST_DIR/many.py" "$volume" 640
sleep 1.5
check_equal "the log says it once" "$(grep -c 'records cannot be written' "$log")" 1
is_json() { jq -e . "$1" >"$TEST_DIR/parsed"; }
check "each line is whole" is_json "$audit"
mv "$audit" "$TEST_DIR/full.jsonl" # a short record may have found room in between
check "with room again, what is missing is said" eventually 10 "[ \$(count '.type == \"dropped\" and .unwritten > 0') = 1 ]"
told=$(cat "$TEST_DIR/full.jsonl" "$audit" | jq -s 'map(select(.type == "dropped") | .unwritten) | add')
check_equal "how many" "$told" "$(status .unwritten)"
check_contains "and why" "$(written '.type == "dropped"' | jq -r .error)" "No space left"
open_as "$volume/a"
check "and records are written" eventually 10 "[ \$(opens_of $reader) = 1 ]"
let_go
check "nothing is wrong any more" eventually 10 "[ \"\$(status .error)\" = '' ]"
check "every open is accounted for" eventually 10 "status '' | jq -e '.opens == .written + .unwritten + .lost'"
stop
umount "$TEST_DIR/small"

# ---- to the journal
mount -t tmpfs none /run # the namespace is private
mkdir -p /run/systemd/journal
cat >"$TEST_DIR/journal.py" <<-'P'
	# a journal's part: each record as a JSON object of its fields
	import json, socket, sys
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	s.bind("/run/systemd/journal/socket")
	while True:
	    data, fields = s.recv(1 << 18), {}
	    while data:
	        line, _, data = data.partition(b"\n")
	        name, equals, value = line.partition(b"=")
	        if not equals:
	            n = int.from_bytes(data[:8], "little")
	            value, data = data[8:8 + n], data[8 + n + 1:]
	        fields[name.decode()] = value.decode()
	    print(json.dumps(fields), flush=True)
	P
write_config "auditLog: journal"
check "it starts with the journal, though there is none" start
check "the audit process listens" eventually 10 listens
check "what nobody takes is counted" eventually 10 "cat $volume/a && [ \$(status .unwritten) -gt 0 ]"
check "and is no health" eventually 10 "[ -n \"\$(status .error)\" ]"
python3 "$TEST_DIR/journal.py" >"$TEST_DIR/journal.jsonl" &
journal=$!
check "a journal comes" eventually 30 "[ -S /run/systemd/journal/socket ]"
check "and is told" eventually 10 "grep -q '\"SECRETLET_TYPE\": \"dropped\"' $TEST_DIR/journal.jsonl"
odd=$TEST_DIR/$'odd\nMESSAGE=x\e[2J\xc2\x9b2J\x7f'
: >"$odd"
mount --bind "$volume/a" "$odd"
# shellcheck disable=SC2094 # a pipe with a name that nothing is written to
python3 "$TEST_DIR/named.py" "$odd" $'two\nli\e\xc2\x9b2J\a\x7f' 7<>"$TEST_DIR/never" >"$TEST_DIR/has" <"$TEST_DIR/never" &
reader=$!
check "an open is there" eventually 10 "jq -e 'select(.SECRETLET_PROCESS_PID == \"$reader\")' $TEST_DIR/journal.jsonl"
record=$(jq -c "select(.SECRETLET_PROCESS_PID == \"$reader\")" "$TEST_DIR/journal.jsonl")
check_equal "its fields" "$(field '.SYSLOG_IDENTIFIER + " " + .SECRETLET_POD_NAME + " " + .SECRETLET_KEY + " " + .SECRETLET_PROCESS_UID')" \
	"secretlet-audit box a 0"
check_equal "a name that somebody chooses is escaped" "$(field .SECRETLET_PROCESS_COMM)" 'two\nli\u001B\u009B2J\u0007\u007F'
check_equal "so is a path" "$(field '.SECRETLET_PATH | split("/") | .[-1]')" 'odd\nMESSAGE=x\u001B[2J\u009B2J\u007F'
check_contains "and what a person reads" "$(field .MESSAGE)" 'two\nli\u001B\u009B2J\u0007\u007F (pid '
check_equal "nothing in any field does anything to a terminal" "$(field '[to_entries[] | select(.value | test("[^ -~]")) | .key] | join(" ")')" ""
check_equal "the record itself is there" "$(field '.SECRETLET_RECORD | fromjson | .process | [.pid, .comm] | @json')" \
	"$(jq -nc --argjson pid $reader --arg comm $'two\nli\e\xc2\x9b2J\a\x7f' '[$pid, $comm] | @json' -r)"
check_contains "and what a person reads" "$(field .MESSAGE)" "opened a of default/box, volume creds"
check "its message's id is the manual's" grep -q "$(field .MESSAGE_ID)" "$here/../../man/secretlet-audit.5"
let_go
umount "$odd"
stop
kill "$journal"

# ---- nowhere is a value
check "no record has a value" not grep -rqF "$canary" "$TEST_DIR/log" "$TEST_DIR/log.old" "$log" "$TEST_DIR/full.jsonl" "$TEST_DIR/journal.jsonl"
tap_done
