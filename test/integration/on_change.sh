#!/usr/bin/env bash
# timeout: 240
# onChange: what is signalled when a volume has changed, and what is not; and that nothing is lost when processes of ours die in
# between. Containers are made of namespaces and cgroups here; test/e2e/on-change.sh has real ones.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

skip_all() { echo "$*" && exit 77; }
[ "$(id -u)" = 0 ] || skip_all "root is needed"
unshare -mpf true || skip_all "no namespaces can be made"

secretlet=$TEST_BUILD_DIR/secretlet
manifests=$TEST_DIR/manifests pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log config=$TEST_DIR/config.yaml
mkdir "$manifests"
canary="canary-0c8a6be1"

write_secret() { # write_secret NAME VALUE
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\nstringData: {a: "%s", c: "%s"}\n' "$1" "$2" "$canary" >"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/secret-$1.yaml"
}
write_pod() { # write_pod NAME SIGNAL SECRET
	cat >"$TEST_DIR/next" <<-Y
	apiVersion: v1
	kind: Pod
	metadata:
	  name: $1
	  uid: 0f5d7a10-0000-4000-8000-00000000000$(printf %s "$1" | wc -c)
	  annotations:
	    secretlet.dev/volumes: |
	      creds: {onChange: $2}
	spec:
	  volumes:
	  - {name: creds, secret: {secretName: $3}}
	  - {name: silent, secret: {secretName: $3}}
	  containers:
	  - name: main
	    image: busybox
	    volumeMounts: [{name: creds, mountPath: /creds}, {name: silent, mountPath: /silent}]
	Y
	mv "$TEST_DIR/next" "$manifests/pod-$1.yaml"
}
write_config() { # write_config LINE...
	printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' "manifestsDir: $manifests" \
		"podsDir: $pods" "runtimeDir: $run" "$@" >"$config"
}

manager='' keeper_file=$TEST_DIR/keeper
start() { # as under a service manager, which keeps what a keeper leaves
	rm -f "$keeper_file"*
	"$here/../lib/manager.py" "$keeper_file" "$secretlet" run --config "$config" 2>>"$log" &
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
state() { "$secretlet" status -o json --runtime-dir "$run" | jq -r ".signals$1"; }
logged() { grep -c "$1" "$log"; }
volume() { echo "$pods/by-name/default/$1/volumes/kubernetes.io~secret/$2"; }
published() { eventually 20 "[ \"\$(cat '$(volume box creds)/a')\" = $1 ] && [ \"\$(cat '$(volume box silent)/a')\" = $1 ]"; }

# ---- what shows the volume. Each writes what it reads when it is signalled

cgroups=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)
[ -n "$cgroups" ] && cgroups=$cgroups/on-change-$$ && mkdir "$cgroups" 2>/dev/null || cgroups=
boxes=()
end_boxes() {
	kill -KILL "${boxes[@]}"
	wait "${boxes[@]}"
	[ -z "$cgroups" ] || { eventually 10 "rmdir '$cgroups'/*.service '$cgroups'"; }
} 2>/dev/null
cat >"$TEST_DIR/program" <<'P'
#!/bin/bash
# program OUT HANDLER [CHILD]: writes what it reads to OUT when it is signalled
trap '' USR2
case $2 in
catches) trap 'echo "hup $(cat /mnt/a)" >>"$1"' HUP ;;
esac
if [ "${3:-}" = child ]; then "$0" "$1.child" catches & fi
echo "begins $$" >>"$1"
while :; do
	sleep 1000 &
	wait $!
done
P
chmod 755 "$TEST_DIR/program"
# box NAME POD/VOLUME CGROUP HANDLER [UNSHARE...]: CGROUP "": none of its own
box() {
	local name=$1 folder cgroup=$3 handler=$4
	folder=$(volume "${2%/*}" "${2#*/}")
	shift 4
	if [ -n "$cgroup" ]; then
		cgroup=$cgroups/$name.service/cgroup.procs
		mkdir -p "$cgroups/$name.service"
	fi
	: >"$TEST_DIR/$name"
	# in its cgroup is what is started there, and not who starts it
	# shellcheck disable=SC2086,SC2016
	unshare -m "$@" -- bash -c 'mount --bind "$0" /mnt && { [ -z "$1" ] || echo 0 >"$1"; } && shift && exec "$@"' \
		"$folder" "$cgroup" "$TEST_DIR/program" "$TEST_DIR/$name" $handler &
	boxes+=($!)
	eventually 10 "grep -q begins '$TEST_DIR/$name'"
}
settled() { eventually 20 "[ \"\$(state .pending)\" = 0 ]"; }
got() { grep -c '^hup' "$TEST_DIR/$1"; }
last() { grep '^hup' "$TEST_DIR/$1" | tail -n 1; }
gets() { # gets NAME N: within its time, and then no more
	eventually 20 "[ \$(got $1) -ge $2 ]" && [ "$(got "$1")" = "$2" ]
}

# ---- off: said, and nothing is there
write_secret db one
write_secret once one
write_pod box SIGHUP db
write_config
check "it starts without signalContainers" start
[ "$tap_failed" = 0 ] || { tap_done && cat "$log" && exit 1; }
check "there is no signaller" not child signaller
check_equal "status says that it is off" "$(state .enabled)" false
check_equal "and that a volume asks" "$(state .volumes)" 1
box off box/creds "" catches -pf --kill-child
write_secret db two
check "an update comes" published two
check_equal "that the pod asks in vain is said once" "$(logged 'asks for SIGHUP when it changes (onChange), but signalContainers is not set here: none is sent pod=default/box volume=creds')" 1
write_config "signalContainers: true"
kill -HUP "$(keeper)"
check "a reload does not switch it on, and says so" eventually 20 "grep -q 'kept as at the start, a restart changes it: signalContainers' '$log'"
check "and there is still no signaller" not child signaller
check_equal "nobody was signalled" "$(got off)" 0
stop

# ---- on: whom it reaches
check "it starts with signalContainers" start
check "the signaller is there, and the agent knows it" eventually 20 "child signaller && [ \"\$(state .running)\" = true ]"
[ "$tap_failed" = 0 ] || { tap_done && cat "$log" && exit 1; }
signaller=$(child signaller)
field() { grep "^$1:" "/proc/$signaller/status" | cut -f 2; }
check_equal "it has CAP_KILL and nothing else" "$(field CapInh) $(field CapPrm) $(field CapEff) $(field CapBnd) $(field CapAmb)" \
	"0000000000000000 0000000000000020 0000000000000020 0000000000000000 0000000000000000"
check_equal "it is filtered, no new privileges" "$(field Seccomp) $(field NoNewPrivs)" "2 1"
check_equal "its root folder is /proc" "$(stat -L -c %d "/proc/$signaller/root")" "$(stat -c %d /proc)"
box container box/creds "" catches -pf --kill-child
box second box/creds "" catches -pf --kill-child
box other box/silent "" catches -pf --kill-child
box shell box/creds "" catches
exec 9<"$(volume box creds)/a"
if [ -n "$cgroups" ]; then
	box unit box/creds own "catches child"
	box deaf box/creds own "is-deaf"
	deaf=${boxes[-1]}
	box shared box/creds own "catches child" -pf --kill-child
fi
write_secret db three
check "an update comes" published three
check "the first process of a pid namespace is signalled" gets container 1
check_equal "and reads what is new" "$(last container)" "hup three"
check "each container is" gets second 1
if [ -n "$cgroups" ]; then
	check "the oldest of a cgroup is" gets unit 1
	check_equal "others in it are not" "$(got unit.child)" 0
	check "nor in one with a pid namespace of its own" gets shared 1
	check_equal "so that there is one signal for each" "$(got shared.child)" 0
	check "who does not catch it lives" kill -0 "$deaf"
	# with what it has started, or that would be waited for
	xargs kill -KILL <"$cgroups/deaf.service/cgroup.procs"
	check_equal "and the log says of each who it was" "$(logged 'sent SIGHUP to process .* pod=default/box uid=0f5d7a10-0000-4000-8000-000000000003 volume=creds')" 4
else
	tap_skip "cgroups" "there is no cgroup2 hierarchy in which one can be made"
fi
check_equal "a process that has bound it somewhere is not" "$(got shell)" 0
check_equal "nor a container with another volume of the pod" "$(got other)" 0
check_equal "nor one that shows the file system of an earlier run" "$(got off)" 0
check_equal "status counts what was sent" "$(state .sent)" "$([ -n "$cgroups" ] && echo 4 || echo 2)"
recent() { state ".recent[] | select(.pid == $1) | [.pod, .volume, .signal, .outcome, .version] | join(\" \")"; }
pid_of() { pgrep -f "program $TEST_DIR/$1 catches" | tail -n 1; }
check_equal "and says who was" "$(recent "$(pid_of container)")" "default/box creds SIGHUP sent $(readlink "$(volume box creds)/..data")"

# ---- once for each version
n=1
rotate() { # rotate VALUE
	write_secret db "$1"
	published "$1"
}
for value in four five; do
	n=$((n + 1))
	check "another version ($value)" rotate "$value"
	check "is another signal" gets container $n
	check_equal "behind it" "$(last container)" "hup $value"
done
write_secret db five
write_secret once two
"$secretlet" refresh --runtime-dir "$run" default/db >/dev/null
check "what changes nothing" eventually 20 "[ \$(\"$secretlet\" secrets -o json --runtime-dir '$run' | jq '[.secrets[].answers] | min') -ge 1 ]"
before=$(got container)
begun=$SECONDS
for value in a b c d e f g h i j k l m n o p; do
	write_secret db "fast-$value"
	sleep 0.05
done
check "versions that come fast are published" published fast-p
check "the last one is not missed" eventually 20 "[ \"\$(last container)\" = 'hup fast-p' ]"
settled
n=$(got container)
check "signals keep their distance" test $((n - before)) -le $((SECONDS - begun + 2))

# ---- processes of ours that die
agent=$(child agent)
kill -KILL "$agent"
check "another agent takes over" eventually 20 "[ -n \"\$(child agent)\" ] && [ \"\$(child agent)\" != $agent ] && [ \"\$(state .running)\" = true ]"
kill -KILL "$signaller"
again() { eventually 20 "signaller=\$(child signaller) && [ -n \"\$signaller\" ] && [ \"\$signaller\" != $1 ] && [ \"\$(state .running)\" = true ]" && signaller=$(child signaller); }
check "another signaller, too" again "$signaller"
check_equal "without a change nobody is signalled for it" "$(got container)" "$n"
n=$((n + 1))
kill -STOP "$signaller"
rotate stopped
agent=$(child agent)
kill -KILL "$agent"
eventually 20 "[ -n \"\$(child agent)\" ] && [ \"\$(child agent)\" != $agent ]"
kill -CONT "$signaller"
check "what an agent had told when it died is done" gets container $n
n=$((n + 1))
kill -STOP "$signaller"
rotate killed
kill -KILL "$signaller"
check "what a signaller had not done when it died the next one does" gets container $n
check_equal "and is not told another time" "$(last container)" "hup killed"
again "$signaller" || true
kill_keeper() {
	local old
	old=$(keeper)
	kill -KILL "$old"
	eventually 20 "[ \"\$(keeper)\" != $old ] && [ \"\$(state .running)\" = true ]"
}
check "a keeper is killed" kill_keeper
check_equal "nobody is signalled for it" "$(got container)" $n
n=$((n + 1))
check "an update comes" rotate last
check "and a signal, by the next keeper's signaller" gets container $n

# ---- another signal
write_pod later SIGTERM once
check "a pod that asks to be ended is ready" "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s default/later
box ends later/creds "" is-deaf # for process 1 of a namespace SIGTERM is nothing, if it does not catch it
ends=${boxes[-1]}
if [ -n "$cgroups" ]; then
	box unit-ends later/creds own is-deaf
	ends=${boxes[-1]}
	write_secret once three
	check "it is ended, so that its runtime starts it again" eventually 20 "! kill -0 $ends"
	mkdir "$TEST_DIR/bound"
	mount --bind "$(volume later creds)" "$TEST_DIR/bound"
	box private-tmp box/silent own is-deaf
	bystander=${boxes[-1]}
	check "a unit with a mount namespace has what is bound on the host, too" grep -q "$TEST_DIR/bound" "/proc/$bystander/mountinfo"
	before=$(state .unmounted)
	write_secret once four
	check "which shows the volume to nobody" eventually 20 "[ \$(state .unmounted) -gt $before ]"
	check "and does not end it" kill -0 "$bystander"
	umount "$TEST_DIR/bound"
fi

# ---- the end
n=$((n + 1)) signaller=$(child signaller)
kill -STOP "$signaller"
rotate ended
# the files are there a moment before the agent hears of it, and looks what there is to order
check "a signaller has something to do" eventually 20 "[ \$(state .pending) -gt 0 ]"
{ sleep 0.2 && kill -CONT "$signaller"; } &
stop
check "when it is stopped it does that before" gets container $n
check_equal "nothing of a value is in the log" "$(logged "$canary")" 0
end_boxes
tap_done
