#!/usr/bin/env bash
# timeout: 900
# The DaemonSet's container, under crun and runc, as its manifest says it (test/lib/pods.py translates), out of the image that the
# Containerfile describes, against a real API server: other containers see the files and their updates, whatever dies in it, and
# what the end of the container means for them. Its network is this machine's, for the API server is there; all else is the
# manifest's. The mount namespace is private, which crun 1.8 needs on a hybrid cgroup hierarchy.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"
# shellcheck source=deploy-lib.sh
. "$lib_here/deploy-lib.sh"

command -v busybox >/dev/null || skip_all "busybox is not installed"
command -v crun >/dev/null || command -v runc >/dev/null || skip_all "neither crun nor runc is installed"
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
# the node's file system, in which a mount of one namespace is seen in the others
host=$TEST_DIR/host image=$TEST_DIR/image box=$TEST_DIR/box
mkdir -p "$host" "$image" "$box"/{bin,dev,proc,sys,tmp,creds,state}
# what is immutable in it is gone with it
{ mount -t tmpfs none "$host" && mount --make-rshared "$host"; } || bail "a shared mount"
state=$host/var/lib/secretlet
cp "$(command -v busybox)" "$box/bin/busybox"
for applet in sh cat sleep usleep; do ln -s busybox "$box/bin/$applet"; done
chroot "$box" /bin/sh -c true || skip_all "busybox does not run without libraries (install busybox-static)"

# ---- the image

containerfile=$deploy/Containerfile
make_variable() { sed -n "/^$1 :=/,/[^\\\\]\$/p" "$lib_here/../../Makefile" | sed 's/.*:=//; s/\\$//' | xargs -n 1 | sort; }
check_equal "the build stage has what the Makefile asks for" "$("$lib_here/../lib/image.py" packages build "$containerfile")" "$(make_variable DEPS_BUILD)"
check_equal "the last stage has what the binary needs" "$("$lib_here/../lib/image.py" packages last "$containerfile" | grep -vxE 'ca-certificates|e2fsprogs')" \
	"$("$lib_here/../lib/image.py" needed "$secretlet" "$lib_here"/../../agent/lib_*.c | grep -v '^libc6$')"
require "$TEST_DIR/image.out" "it can be made of these" eval '"$lib_here/../lib/image.py" rootfs "$containerfile" "$secretlet" "$image" >"$TEST_DIR/image.out" 2>&1'
check_equal "nothing that builds is in it" "$(find "$image" -name 'gcc*' -o -name make -o -name 'cc1*' -o -name '*.h' | head -n 3)" ""
check_equal "it has the version of its label" "$(chroot "$image" /usr/bin/secretlet version)" \
	"secretlet $(sed -n 's/^ARG VERSION=//p' "$containerfile")"
check_equal "so has the manifest" "$(deploy_objects; object DaemonSet secretlet | jq -r '.spec.template.spec.containers[0].image')" "secretlet:$(cat "$lib_here/../../VERSION")"

# ---- the node

kube_up
while read -r one; do apply "$one" >/dev/null; done < <(each_object)
mount_account "$TEST_DIR/account" "$(account_token)"
pod=$(object DaemonSet secretlet | jq '.spec.template.spec')
grace=$(jq -r .terminationGracePeriodSeconds <<<"$pod")
mapfile -t probe < <(jq -r '.containers[0].readinessProbe.exec.command[]' <<<"$pod")
value=100
rotate() { # the next value
	value=$((value + 1))
	put_secret db "password=$value"
}
rotate
put_pod web '{"creds": {"secretName": "db"}}'
pod_uid=$(api GET $core/namespaces/default/pods/web | jq -r .metadata.uid)

oci() {
	# shellcheck disable=SC2086
	"$runtime" $options --root "$TEST_DIR/state-$runtime" "$@"
}
usable() { # does this runtime start anything here? Then its options are in $options
	local try
	mkdir -p "$TEST_DIR/probe"
	(cd "$TEST_DIR/probe" && rm -f config.json && "$runtime" spec) || return 1
	jq --arg box "$box" '.root = {path: $box} | .process.terminal = false | .process.args = ["/bin/sh", "-c", "echo it runs"]' \
		"$TEST_DIR/probe/config.json" >"$TEST_DIR/probe/new" && mv "$TEST_DIR/probe/new" "$TEST_DIR/probe/config.json"
	for try in "" "--cgroup-manager=disabled"; do
		[ -z "$try" ] || [ "$runtime" = crun ] || continue
		options=$try
		reason=$(oci run --bundle "$TEST_DIR/probe" "probe-$$" 2>&1 </dev/null)
		[ "$reason" != "it runs" ] || return 0
	done
	return 1
}

# guard: the DaemonSet's init container; says what is in its log
guard() {
	local bundle=$TEST_DIR/guard
	rm -rf "$bundle"
	mkdir -p "$bundle"
	(cd "$bundle" && "$runtime" spec && mv config.json spec.json) || return 1
	"$lib_here/../lib/pods.py" bundle --init --spec "$bundle/spec.json" --rootfs "$image" --host "$host" --node node-1 \
		--account "$TEST_DIR/account" --work "$TEST_DIR" --all-capabilities "$(all_capabilities)" \
		<"$TEST_DIR/objects.json" >"$bundle/config.json" || return 1
	oci run --bundle "$bundle" "guard-$runtime-$$-$((n_guards += 1))" 2>&1 </dev/null
}
n_guards=0
all_capabilities() {
	setpriv --dump | sed -n 's/^Capability bounding set: //p' | tr '[:lower:]' '[:upper:]' | sed 's/\([^,]*\)/CAP_\1/g'
}
# too_early NAME: a container of a pod that is started while nothing is mounted. The kubelet makes what subPathExpr says, and the runtime
# mounts it; both refuse.
too_early() {
	local path=$state/pods/$pod_uid/$secret_volumes/creds
	check "$runtime: $1: the kubelet cannot make a folder in its place" not mkdir -p "$path"
	reader "early" "$path" /creds /creds/password
	wait $!
	check "$runtime: $1: the container is not started" test $? != 0
	check_contains "$runtime: $1: because of the volume" "$(cat "$TEST_DIR/$runtime-early.out")" "$path"
	check "$runtime: $1: and nothing of it ran" not grep -q '^error: cat\|^[0-9][0-9]*$' "$TEST_DIR/$runtime-early.out"
	oci delete --force "reader-early-$runtime-$$" >>"$TEST_DIR/delete.out" 2>&1
}
n_started=0
# daemon_start_once [CAPABILITIES]: the DaemonSet's container, which is what is in $daemon; with what privileged is here, or with these
daemon_start_once() {
	local bundle=$TEST_DIR/bundle
	n_started=$((n_started + 1))
	daemon=secretlet-$runtime-$n_started-$$
	rm -rf "$bundle"
	mkdir -p "$bundle"
	(cd "$bundle" && "$runtime" spec && mv config.json spec.json) || return 1
	"$lib_here/../lib/pods.py" bundle --spec "$bundle/spec.json" --rootfs "$image" --host "$host" --node node-1 \
		--account "$TEST_DIR/account" --work "$TEST_DIR" --all-capabilities "${1:-$(all_capabilities)}" --env KUBERNETES_SERVICE_HOST=127.0.0.1 \
		--env KUBERNETES_SERVICE_PORT="$kube_port" <"$TEST_DIR/objects.json" >"$bundle/config.json" || return 1
	oci run --bundle "$bundle" "$daemon" </dev/null >>"$log" 2>&1 &
	daemon_job=$!
	eventually 90 'probe || ! kill -0 "$daemon_job"' && kill -0 "$daemon_job"
}
# One that ends by itself is started again, as the kubelet does: on a machine that is very busy a keeper may take a dead mount for one
# that hangs.
daemon_start() {
	local try
	for try in 1 2 3 4; do
		daemon_start_once "$@" && return 0
		oci delete --force "$daemon" >>"$TEST_DIR/delete.out" 2>&1
	done
	return 1
}
probe() { oci exec "$daemon" "${probe[@]}" >>"$TEST_DIR/probe.out" 2>&1; } # as the kubelet does it
daemon_pid() { oci state "$daemon" | jq .pid; }
daemon_end() { # daemon_end SIGNAL: it ends in time, and is removed
	oci kill "$daemon" "$1"
	eventually "$grace" '! kill -0 "$daemon_job"' || return 1
	wait "$daemon_job" 2>/dev/null
	oci delete --force "$daemon" >>"$TEST_DIR/delete.out" 2>&1
	return 0
}
on_node() { "$secretlet" "$@" --runtime-dir "$host/run/secretlet"; }

# reader NAME SOURCE DESTINATION FILE: a container that says each value of the file that is new, and each error, once
reader() {
	local bundle=$TEST_DIR/$runtime-$1
	mkdir -p "$bundle"
	(cd "$bundle" && rm -f config.json && "$runtime" spec) || return 1
	jq --arg box "$box" --arg source "$2" --arg destination "$3" --arg file "$4" '.root = {path: $box, readonly: true} |
		.process.terminal = false | .process.args = ["/bin/sh", "-c", "last=; while :; do
			now=$(cat \($file) 2>&1) || now=\"error: $now\"
			[ \"$now\" = \"$last\" ] || echo \"$now\"
			last=$now; usleep 20000; done"] | .linux.rootfsPropagation = "rslave" |
		.mounts += [{destination: $destination, type: "bind", source: $source, options: ["rbind", "rslave", "ro"]}]' \
		"$bundle/config.json" >"$bundle/new" && mv "$bundle/new" "$bundle/config.json" || return 1
	oci run --bundle "$bundle" "reader-$1-$runtime-$$" </dev/null >"$bundle.out" 2>&1 &
}
sees() { # sees NAME: the value of now
	eventually 20 "[ \"\$(tail -n 1 '$TEST_DIR/$runtime-$1.out')\" = $value ]"
}
errors() { grep -c '^error' "$TEST_DIR/$runtime-$1.out"; }
end_readers() {
	local name
	for name in folder state again; do oci delete --force "reader-$name-$runtime-$$" >>"$TEST_DIR/delete.out" 2>&1; done
}
child() { # child NAME: the pid of the keeper's child of that name
	local p
	for p in $(pgrep -P "$(daemon_pid)"); do
		[ "$(tr '\0' '\n' <"/proc/$p/cmdline" | head -n 1)" = "secretlet-$1" ] && echo "$p" && return
	done
	return 1
}
field() { awk -v f="$1:" '$1 == f { print $2 }' "/proc/$2/status"; }
fuse_on_node() { grep -c " $state/pods .* - fuse.secretlet " /proc/self/mountinfo; }

test_runtime() {
	local path name
	if ! command -v "$runtime" >/dev/null; then
		tap_skip "$runtime" "it is not installed"
		return
	fi
	if ! usable; then
		tap_skip "$runtime" "it starts no container here: $reason"
		return
	fi
	check_equal "$runtime: before it there is no folder, which hostPath's type refuses" "$(ls "$state" 2>/dev/null)" ""
	check_equal "$runtime: the guard says nothing" "$(guard; echo $?)" 0
	too_early "before the first start"
	require "$log" "$runtime: the container starts and is ready" daemon_start
	check_equal "$runtime: its mount is the node's" "$(fuse_on_node)" 1
	check "$runtime: the node can ask it" on_node wait --quiet --timeout 20s default/web
	check_equal "$runtime: what it says is true there" "$(cat "$host$(on_node mounts default/web main | jq -r '.[0].source')/password")" "$value"
	check_equal "$runtime: the agent has its own user, no capability, no new privileges, a filter" \
		"$(for name in Uid CapEff CapBnd NoNewPrivs Seccomp; do field "$name" "$(child agent)"; done | xargs)" \
		"64571 0000000000000000 0000000000000000 1 2"
	check "$runtime: and sees no process of the node" test "$(readlink "/proc/$(child agent)/ns/pid")" != "$(readlink "/proc/$$/ns/pid")"

	# --- containers of pods: with the volume's folder, and with the whole state, into which mounts propagate
	path=$(readlink -f "$state/pods/by-name/default/web")/$secret_volumes/creds
	reader folder "$path" /creds /creds/password
	reader state "$state" /state /state/pods/by-name/default/web/volumes/kubernetes.io~secret/creds/password
	check "$runtime: a container with the folder reads" sees folder
	check "$runtime: one with the state, too" sees state
	rotate
	for name in folder state; do check "$runtime: the update is seen ($name)" sees $name; done
	kill -KILL "$(child agent)"
	rotate
	for name in folder state; do
		check "$runtime: the agent dies: the next update is seen ($name)" sees $name
		check_equal "$runtime: without an error ($name)" "$(errors $name)" 0
	done

	# --- the pod is replaced
	check "$runtime: it ends within terminationGracePeriodSeconds" daemon_end TERM
	check_equal "$runtime: and its mount with it" "$(fuse_on_node)" 0
	check_equal "$runtime: nothing but empty folders is left on the node" "$(find "$state" "$host/run/secretlet" ! -type d)" ""
	too_early "between two"
	check_equal "$runtime: the guard is there already" "$(guard; echo $?)" 0
	rotate
	require "$log" "$runtime: another pod starts" daemon_start
	check "$runtime: the container with the state goes on" sees state
	check "$runtime: the one with the folder has lost it" test "$(tail -n 1 "$TEST_DIR/$runtime-folder.out")" != "$value"
	path=$(readlink -f "$state/pods/by-name/default/web")/$secret_volumes/creds
	reader again "$path" /creds /creds/password
	check "$runtime: and has it when it is started again" sees again

	# --- it is killed: what is mounted is dead, and in nobody's way
	check "$runtime: it is killed" daemon_end KILL
	check_contains "$runtime: a dead mount is left on the node" "$(stat "$state/pods" 2>&1)" "Transport endpoint is not connected"
	too_early "after a death"
	check_equal "$runtime: the guard leaves a dead mount alone" "$(guard; echo $?)" 0
	rotate
	require "$log" "$runtime: the next one clears it" daemon_start
	check_equal "$runtime: there is one mount" "$(fuse_on_node)" 1
	check "$runtime: the container with the state goes on again" sees state
	daemon_end TERM

	# --- the capabilities that the manifest's comment names are enough
	rotate
	check "$runtime: it starts with no more than the manifest's list" daemon_start "$capabilities"
	check "$runtime: and serves" eventually 20 '[ "$(cat "$state/pods/by-name/default/web/$secret_volumes/creds/password")" = "$value" ]'
	kill -KILL "$(child agent)"
	rotate
	check "$runtime: also after a death" sees state
	daemon_end TERM
	end_readers
	# it is the guard that does it; and the next runtime begins anew
	check "$runtime: without the guard the folder would be made" eval 'chattr -i "$state/pods" && mkdir -p "$state/pods/x/y"'
	rm -r "$state"
}
# of this machine's, those that stand in the comment at privileged
capabilities=$(sed -n '/What the keeper uses of it/,/privileged: true/p' "$deploy/daemonset.yaml" |
	grep -oE '\b(SYS_ADMIN|SETUID|SETGID|SETPCAP|SYS_CHROOT|KILL|IPC_LOCK|SYS_RESOURCE|DAC_READ_SEARCH|CHOWN)\b' | sed 's/^/CAP_/' |
	grep -vx "$(setpriv --dump | grep -q '^Capability bounding set:.*sys_resource' || echo CAP_SYS_RESOURCE)" | paste -sd,)
for runtime in crun runc; do test_runtime; done
check_equal "no token is in the log" "$(grep -cF "$(cat "$TEST_DIR/account/token")" "$log")" 0
umount -l "$host"
tap_done
