#!/usr/bin/env bash
# timeout: 900
# What a container can get of another pod's files, with more capabilities than it should have. test/tools/attack.c tries; each
# of its attacks is also made where it must succeed, so that one which does nothing is noticed. Containers of crun and of runc:
# as root of the host with capabilities up to CAP_SYS_ADMIN, in a user namespace, and among the host's processes; and one that
# holds on to its files while both pods come and go. At the end the kernel is one that cannot switch handles off: there the
# attack has to succeed, and the daemon to have said so. A runtime that is installed and starts no container is a failure:
# RUNTIMES= leaves containers out where it is known that there can be none. RUNTIMES, ROUNDS: fewer of them; VERBOSE: all that
# was found.
# It takes long.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

skip_all() { echo "$*" && exit 77; }
[ "$(id -u)" = 0 ] || skip_all "root is needed"
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi

secretlet=$TEST_BUILD_DIR/secretlet attack=$TEST_BUILD_DIR/test/tools/attack oldfuse=$TEST_BUILD_DIR/test/preload/oldfuse.so
manifests=$TEST_DIR/manifests pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log
audit=$TEST_DIR/audit/log.jsonl rootfs=$TEST_DIR/rootfs control=$TEST_DIR/control
[ -x "$attack" ] || skip_all "test/tools/attack has not been built (make tools)"
rounds=${ROUNDS:-20} own_gid=61001 alien_gid=61002 creds=volumes/kubernetes.io~secret/creds
mkdir -p "$manifests" "$control" "$rootfs"/{bin,dev,proc,sys,etc,tmp,secret,control,controlbind}
chmod 755 "$TEST_DIR"
chown -R 100000:100000 "$rootfs" # a container in a user namespace needs its root folder to belong to somebody there
cp "$attack" "$rootfs/bin/attack"

secret() { # secret NAME KEY SCRATCH
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\nstringData: {key: "%s", scratch: "%s"}\n' "$1" "$2" "$3" \
		>"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/secret-$1.yaml"
}
pod() { # pod NAME FSGROUP
	cat >"$TEST_DIR/next" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: $1, uid: uid-of-$1}
	spec:
	  securityContext: {fsGroup: $2}
	  volumes: [{name: creds, secret: {secretName: $1, defaultMode: 0440}}]
	  containers: [{name: main, image: i, volumeMounts: [{name: creds, mountPath: /secret, readOnly: true}]}]
	Y
	mv "$TEST_DIR/next" "$manifests/pod-$1.yaml"
}
wait_for() { "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s "default/$1"; }
# what deploy/secretlet.service leaves to it
unit_caps=+sys_admin,+setuid,+setgid,+setpcap,+sys_chroot,+ipc_lock,+kill,+dac_read_search,+chown
start() { # start [NAME=VALUE...]: the daemon, with that in its environment
	printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' "manifestsDir: $manifests" \
		"podsDir: $pods" "runtimeDir: $run" "auditLog: $audit" >"$TEST_DIR/config.yaml"
	env "$@" setpriv --bounding-set "-all,$unit_caps" "$secretlet" run --config "$TEST_DIR/config.yaml" 2>>"$log" &
	keeper=$!
	wait_for own && wait_for alien
}
stop() {
	kill "$keeper"
	wait "$keeper"
}
child() { pgrep -P "$keeper" -f "^secretlet-$1" | head -n 1; }

# container RUNTIME MODE ATTACK: its output is in $TEST_DIR/out
container() {
	local runtime=$1 mode=$2 bundle=$TEST_DIR/bundle options=() caps
	local all='["CAP_DAC_READ_SEARCH","CAP_DAC_OVERRIDE","CAP_SYS_ADMIN","CAP_MKNOD","CAP_SYS_CHROOT","CAP_SYS_PTRACE",
		"CAP_CHOWN","CAP_FOWNER","CAP_FSETID","CAP_SETUID","CAP_SETGID","CAP_SETPCAP","CAP_KILL","CAP_SETFCAP","CAP_IPC_LOCK"]'
	rm -rf "$bundle"
	mkdir "$bundle"
	caps=$all
	# root among the host's processes, with all that they have, but without the capability that is there to look into them
	[ "$mode" != hostpid ] || caps=$(jq -c '. - ["CAP_SYS_PTRACE"]' <<<"$all")
	[ "$runtime" = runc ] || [ -z "$no_cgroup" ] || options=(--cgroup-manager=disabled)
	(cd "$bundle" && "$runtime" spec) || return 1
	jq --arg rootfs "$rootfs" --argjson caps "$caps" --arg mode "$mode" --arg attack "$3" --arg control "$control" \
		--arg map "$([ "$runtime" = crun ] && [ "$mode" = userns ] && echo idmap)" \
		--arg own "$control/uid-of-own/$creds" --argjson mounts "$mounts" --argjson gid "$alien_gid" --args '
		.root = {path: $rootfs, readonly: false} | .process.terminal = false | .process.cwd = "/" |
		.process.args = ["/bin/attack", $attack, $mode] | .process.env += $ARGS.positional |
		.process.noNewPrivileges = false | .process.user = {uid: 0, gid: 0, additionalGids: [$gid]} |
		.process.capabilities = {bounding: $caps, effective: $caps, permitted: $caps} | del(.linux.seccomp) |
		.linux.maskedPaths = [] | .linux.readonlyPaths = [] |
		.mounts += ($mounts | if $map == "" then . else map(.options += [$map]) end) +
			[{destination: "/control", type: "bind", source: $control, options: ["rbind", "rw"]},
			{destination: "/controlbind", type: "bind", source: $own, options: ["bind", "rw"]}] |
		if $mode == "hostpid" then .linux.namespaces -= [{type: "pid"}] else . end |
		if $mode == "userns" then .linux.namespaces += [{type: "user"}] | .process.user.additionalGids = [] |
			.linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] |
			.linux.gidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
		else . end' \
		OWN=uid-of-own ALIEN=uid-of-alien "PODS=$pods" "OWN_GID=$own_gid" "ALIEN_GID=$alien_gid" \
		"SOCKET=$run/control.sock" "AGENT_UID=$agent_uid" "PIDS=$pids" \
		<"$bundle/config.json" >"$bundle/new" && mv "$bundle/new" "$bundle/config.json" || return 1
	timeout 120 "$runtime" "${options[@]}" --root "$TEST_DIR/state-$runtime" run --bundle "$bundle" "isolated-$mode-$$" \
		</dev/null >"$TEST_DIR/out" 2>&1
}
# what an attack said: found NAME TARGET
found() { sed -n "s/^$1 $2 //p" "$TEST_DIR/out"; }
words() { # words OF MUST MUST-NOT: in what was found
	local w
	for w in $2; do [[ " $1 " = *" $w "* ]] || return 1; done
	for w in $3; do [[ " $1 " != *" $w "* ]] || return 1; done
}
# judge WHERE NAME SECRET-MUST SECRET-MUST-NOT CONTROL-MUST
judge() {
	local of control_of
	of=$(found "$2" secret)
	control_of=$(found "$2" control)
	if words "$of" "$3" "$4" && [ -n "$of" ] && words "$control_of" "$5" ""; then
		tap_result ok "$1: $2"
	else
		tap_result "not ok" "$1: $2" "at the secret: '$of' (must have '$3', must not have '$4'); at the control: '$control_of' (must have '$5')"
	fi
	[ -z "${VERBOSE:-}" ] || printf '# %s: %s at the secret: %s; at the control: %s\n' "$1" "$2" "$of" "$control_of"
}

# the same form as /var/lib/pods, on a file system that keeps nothing apart
mount -t tmpfs -o mode=755 control "$control" || skip_all "no tmpfs can be mounted"
mkdir -p "$control/uid-of-own/$creds" "$control/uid-of-alien/$creds" "$control/mnt"
echo control-marker | tee "$control/uid-of-alien/$creds/key" "$control/uid-of-own/$creds/beside" >"$control/key"
echo nothing >"$control/uid-of-own/$creds/scratch"
echo own-marker >"$control/uid-of-own/$creds/key"
chown -R 100000:100000 "$control"

secret own own-marker-0 own-scratch
secret alien alien-marker-0 alien-scratch
pod own "$own_gid"
pod alien "$alien_gid"
check "both pods are ready" start
mounts=$("$secretlet" mounts --runtime-dir "$run" default/own main)
publisher=$(child publisher) agent=$(child agent) auditor=$(child audit)
check "the audit process runs" [ -n "$auditor" ]
agent_uid=$(awk '/^Uid:/ { print $2 }' "/proc/$agent/status")
alien_key=$pods/uid-of-alien/$creds/key

# --- a user of the host
denied() { ! "$@" >/dev/null 2>&1; }
as() { setpriv --reuid 61000 --regid 61000 --clear-groups "$@"; }
as_group() { setpriv --reuid 61000 --regid "$alien_gid" --clear-groups "$@"; }
check "host: root reads it" grep -q alien-marker "$alien_key"
check "host: a user may not" denied as cat "$alien_key"
check "host: nor one with the pod's fsGroup, by path" denied as_group cat "$alien_key"
check "host: nor by the pod's name" denied as_group cat "$pods/by-name/default/alien/$creds/key"
check "host: nor list the pods" denied as ls "$pods"
mkdir "$TEST_DIR/seen"
mount --bind "$pods/uid-of-alien/$creds" "$TEST_DIR/seen"
check "host: with the fsGroup, through a mount of the volume, it reads" as_group grep -q alien-marker "$TEST_DIR/seen/key"
check "host: without, it does not even there" denied as cat "$TEST_DIR/seen/key"
umount "$TEST_DIR/seen"
check_equal "host: the mount is read-only" "$(findmnt -n -o VFS-OPTIONS "$pods" | tr ',' '\n' | grep -x r.)" ro
ask() { "$@" curl -sSf -o /dev/null --unix-socket "$run/control.sock" http://localhost/v1/secrets 2>/dev/null; }
check "host: root may ask at the control socket" ask env
check "host: a user may not" not ask as

# --- containers
started=()
no_cgroup=
for runtime in ${RUNTIMES-crun runc}; do
	command -v "$runtime" >/dev/null || { tap_skip "$runtime" "it is not installed"; continue; }
	for no_cgroup in "" 1; do
		pids= 
		container "$runtime" hostpid socket && grep -qx end "$TEST_DIR/out" && break
		[ "$runtime" = crun ] || break
	done
	# without a container nothing of what follows is tried
	if ! grep -qx end "$TEST_DIR/out"; then
		tap_result "not ok" "$runtime starts a container" "$(tail -n 3 "$TEST_DIR/out")"
		continue
	fi
	tap_result ok "$runtime starts a container"
	started+=("$runtime")
	# the events of fanotify need somebody who reads
	(while :; do cat "$alien_key" "$control/uid-of-alien/$creds/key" && sleep 0.1; done) >/dev/null &
	reader=$!

	pids=
	container "$runtime" host all
	check "$runtime, host's root: the attacks have ended" grep -qx end "$TEST_DIR/out"
	w="$runtime, host's root"
	judge "$w" path own "alien wrote" control
	judge "$w" handle "" "alien wrote" control
	judge "$w" mount own "alien wrote" control
	judge "$w" idmap own "alien wrote" control
	judge "$w" device "" "alien wrote" control
	judge "$w" process own "alien wrote" control
	judge "$w" socket "" "alien wrote" control
	judge "$w" group "" "alien own wrote" control
	judge "$w" stranger "" "alien own" own
	judge "$w" member own alien own
	judge "$w" rights own "wrote control" "wrote control"
	judge "$w" userns own "alien wrote" control
	judge "$w" write "" "alien wrote" wrote
	judge "$w" remount "" "alien wrote" wrote
	judge "$w" map wrote alien wrote
	check_equal "$w: a page that it changed is its own" "$(cat "$pods/uid-of-alien/$creds/scratch")" alien-scratch
	# SECURITY.md says so: whoever has CAP_SYS_ADMIN outside of a user namespace gets files of the whole file system
	judge "$w (not defended against)" fanotify alien "" control

	container "$runtime" userns all
	w="$runtime, user namespace"
	if grep -q "^path" "$TEST_DIR/out"; then
		check "$w: the attacks have ended" grep -qx end "$TEST_DIR/out"
		# runc 1.1 maps no owners in its mounts: the files belong to nobody there
		[ "$runtime" = crun ] && seen=own || seen=
		judge "$w" path "$seen" "alien wrote" control
		judge "$w" handle "" "alien wrote" ""
		judge "$w" mount "$seen" "alien wrote" control
		judge "$w" idmap "" "alien wrote" ""
		judge "$w" device "" "alien wrote" ""
		judge "$w" fanotify "" "alien wrote" ""
		judge "$w" process "" "alien wrote" control
		judge "$w" socket "" "alien wrote" control
		judge "$w" group "" "alien wrote" control
		judge "$w" rights "" "wrote control" "wrote control"
		judge "$w" userns "" "alien wrote" control
		judge "$w" superblock "" "alien wrote" control
		judge "$w" readonly "" wrote wrote
		judge "$w" write "" "alien wrote" wrote
		judge "$w" remount "" "alien wrote" wrote
	elif unshare -U true 2>/dev/null; then
		tap_result "not ok" "$w: it starts a container" "$(tail -n 3 "$TEST_DIR/out")"
	else
		tap_skip "$w" "the kernel makes none here"
	fi

	pids="$keeper $(pgrep -P "$keeper" | xargs)"
	check_equal "$runtime: the daemon's processes, the audit process too" "$(wc -w <<<"$pids") $(wc -w <<<"$(child audit)")" "4 1"
	container "$runtime" hostpid all
	w="$runtime, host's processes"
	check "$w: the attacks have ended" grep -qx end "$TEST_DIR/out"
	judge "$w" process "" "alien wrote" control
	judge "$w" agent "" "alien wrote" control
	judge "$w" socket "" "alien wrote" control
	judge "$w" write "" "alien wrote" wrote
	kill "$reader"
	wait "$reader" 2>/dev/null
done

[ -n "${RUNTIMES-crun}" ] || tap_skip "containers" "RUNTIMES= leaves them out"

# --- racing a publish: what is held of the own pod never shows the other's, whatever becomes of both
becomes() { eventually 20 "[ \"\$(cat '$1' 2>/dev/null)\" = '$2' ]"; } # becomes FILE TEXT
own_key=$pods/uid-of-own/$creds/key round=0 bad=0
all_come() {
	becomes "$own_key" "own-marker-$round" && becomes "$alien_key" "alien-marker-$round" || bad=$((bad + 1))
}
gone() { eventually 20 "[ ! -e '$pods/uid-of-$1' ]" || bad=$((bad + 1)); }
next_secrets() {
	round=$((round + 1))
	secret alien "alien-marker-$round" alien-scratch
	secret own "own-marker-$round" own-scratch
}
for runtime in "${started[@]}"; do
	rm -f "$control/end"
	pids=
	container "$runtime" host race &
	racer=$!
	check "$runtime, racing: it has begun" eventually 20 "grep -q '^race: .* own' '$TEST_DIR/out'"
	for _ in $(seq $((rounds * 2))); do # both are updated, the other one comes and goes
		next_secrets
		all_come
		rm "$manifests/pod-alien.yaml"
		gone alien
		pod alien "$alien_gid"
	done
	all_come
	for _ in $(seq "$rounds"); do # so does the own one: the container has what is left
		rm "$manifests/pod-own.yaml" "$manifests/pod-alien.yaml"
		gone own
		gone alien
		pod alien "$alien_gid" # takes the place
		becomes "$alien_key" "alien-marker-$round" || bad=$((bad + 1))
		pod own "$own_gid"
		next_secrets
		all_come
	done
	touch "$control/end"
	wait "$racer"
	check_equal "$runtime, racing: all that was published came" "$bad" 0
	check_equal "$runtime, racing: it saw" "$(grep '^race end' "$TEST_DIR/out")" "race end: alien never, wrote 0, odd 0:"
	check "$runtime, racing: its own, and that it went" grep -q '[1-9][0-9]* own, [1-9][0-9]* gone' \
		<(grep '^race:' "$TEST_DIR/out" | tail -n 1)
	[ -z "${VERBOSE:-}" ] || tail -n 2 "$TEST_DIR/out" | sed 's/^/# /'
done

# --- everything goes on as before
secret own own-marker-last own-scratch
check "an update of the own pod comes" becomes "$own_key" own-marker-last
check_equal "the same processes run" "$(child agent) $(child publisher) $(child audit)" "$agent $publisher $auditor"
[ "${#started[@]}" = 0 ] || check "the containers' opens are recorded" eventually 20 "jq -es 'map(select(.process.comm == \"attack\")) | length > 0' '$audit' >'$TEST_DIR/parsed'"
check_equal "no open was lost" "$("$secretlet" status -o json --runtime-dir "$run" | jq -c '.audit | [.lost, .unwritten, .gaps, .error]')" '[0,0,0,""]'
check "they said nothing of file handles" not grep -q "file handles" "$log"

# --- numbers: how much there is of others
numbers() { stat -f -c '%b %f %c %d' "$1"; }
before=$(numbers "$pods/uid-of-own/$creds/") all=$(numbers "$pods")
secret alien alien-marker-last "$(head -c 100000 /dev/zero | tr '\0' x)"
becomes "$alien_key" alien-marker-last
check_equal "df in a volume does not show what others have" "$(numbers "$pods/uid-of-own/$creds/")" "$before"
check "the host's does" [ "$(numbers "$pods")" != "$all" ]

# --- who makes the file system read-only for everybody, which CAP_SYS_ADMIN of the host may: not for long
if [ "${#started[@]}" != 0 ]; then
	runtime=${started[0]} pids=
	super_options() { findmnt -n -o FS-OPTIONS "$pods" | tr ',' '\n' | grep -x 'r[ow]'; }
	check_equal "the file system is writable, its mount is not" "$(super_options) $(findmnt -n -o VFS-OPTIONS "$pods" | tr ',' '\n' | grep -x 'r.')" "rw ro"
	container "$runtime" break readonly
	judge "$runtime (not defended against)" readonly wrote alien wrote
	# what is left of the update before, as its old version's end, may have met it already
	made_read_only() { [ "$(super_options)" = ro ] || grep -q "has made the file system read-only" "$log"; }
	check "the file system is read-only" made_read_only
	secret alien alien-marker-again alien-scratch
	check "an update comes nevertheless" becomes "$alien_key" alien-marker-again
	check_equal "it is writable again" "$(super_options)" rw
	check "the log says what it was" grep -q "has made the file system read-only: it is writable again" "$log"
	check_equal "the same processes run" "$(child agent) $(child publisher)" "$agent $publisher"
	container "$runtime" break readonly
	rm "$manifests/pod-alien.yaml"
	gone alien
	pod alien "$alien_gid"
	check "a pod goes and comes" becomes "$alien_key" alien-marker-again
	check_equal "it is healthy" "$("$secretlet" status --runtime-dir "$run" >/dev/null; echo $?)" 0
fi

# --- who ends the file system for everybody, which CAP_SYS_ADMIN of the host may: there is another one soon
if [ "${#started[@]}" != 0 ]; then
	runtime=${started[0]} pids=
	container "$runtime" break superblock
	judge "$runtime (not defended against)" superblock wrote alien control
	check "what was published comes back" becomes "$alien_key" alien-marker-again
	secret alien alien-marker-after alien-scratch
	check "and updates" becomes "$alien_key" alien-marker-after
	check "the log says what it was" grep -q "running containers must be restarted" "$log"
	check_equal "it is healthy" "$("$secretlet" status --runtime-dir "$run" >/dev/null; echo $?)" 0
fi
stop
umount -l "$pods" 2>/dev/null

# --- a kernel older than 6.9
if [ "${#started[@]}" != 0 ]; then
	runtime=${started[0]} pids=
	check "without FUSE_NO_EXPORT_SUPPORT: both pods are ready" start LD_PRELOAD="$oldfuse" OLDFUSE_WITHOUT=4000000000
	check "the daemon says what that means" grep -q "file handles cannot be switched off" "$log"
	cat "$alien_key" >/dev/null
	container "$runtime" host handle
	judge "$runtime, without FUSE_NO_EXPORT_SUPPORT" handle alien "" control
	stop
	umount -l "$pods" 2>/dev/null
fi
tap_done
