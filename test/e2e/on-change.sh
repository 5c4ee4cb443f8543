#!/usr/bin/env bash
# timeout: 300
# onChange with a real API server and real containers of crun and runc: each rotation is one signal to the main process of each
# container that mounts the volume, whatever namespaces it has, and to nobody else.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

command -v busybox >/dev/null || skip_all "busybox is not installed"
command -v crun >/dev/null || command -v runc >/dev/null || skip_all "neither crun nor runc is installed"
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi # crun 1.8

make_rootfs() { # make_rootfs DIR
	mkdir -p "$1"/{bin,dev,proc,sys,etc,tmp,v/creds,v/other,out}
	cp "$(command -v busybox)" "$1/bin/busybox"
	"$1/bin/busybox" --list | grep -vx busybox | while read -r applet; do ln -s busybox "$1/bin/$applet"; done
	chroot "$1" /bin/sh -c true
}

# start ID CONTAINER JQ [COMMAND]: a container of the pod, in the background or by COMMAND (create), which writes what it reads to
# $TEST_DIR/out/ID whenever it is signalled
mkdir "$TEST_DIR/out"
start() {
	local id=$1 bundle=$TEST_DIR/$1 mounts
	mounts=$("$secretlet" mounts --runtime-dir "$run" default/web "$2")
	mkdir -p "$bundle"
	# shellcheck disable=SC2016
	(cd "$bundle" && rm -f config.json && "$runtime" spec) &&
		jq --arg rootfs "$TEST_DIR/rootfs" --argjson mounts "$mounts" --arg out "$TEST_DIR/out" --arg id "$id" '
			.root = {path: $rootfs, readonly: true} | .process.terminal = false | .process.cwd = "/" |
			.process.args = ["/bin/sh", "-c", "trap \"echo hup \\$(cat /v/*/password) >>/out/\($id)\" HUP
				echo begins $(cat /v/*/password) >>/out/\($id); while :; do sleep 1000 & wait $!; done"] |
			.mounts += $mounts + [{destination: "/out", type: "bind", source: $out, options: ["bind"]}] | '"$3" \
			"$bundle/config.json" >"$bundle/new" && mv "$bundle/new" "$bundle/config.json" || return 1
	# shellcheck disable=SC2086
	if [ -n "${4:-}" ]; then
		"$runtime" $options --root "$TEST_DIR/state-$runtime" "$4" --bundle "$bundle" "$id-$$" </dev/null >>"$TEST_DIR/out.$id" 2>&1
	else
		"$runtime" $options --root "$TEST_DIR/state-$runtime" run --bundle "$bundle" "$id-$$" </dev/null >>"$TEST_DIR/out.$id" 2>&1 &
	fi
}
ask() { # ask COMMAND ID: of the runtime
	# shellcheck disable=SC2086
	"$runtime" $options --root "$TEST_DIR/state-$runtime" "$1" "$2-$$" 2>>"$TEST_DIR/runtime.err"
}
begins() { eventually 20 "grep -q begins '$TEST_DIR/out/$1'"; }
hups() { grep -c '^hup' "$TEST_DIR/out/$1"; }
gets() { eventually 20 "[ \$(hups $1) -ge $2 ]" && [ "$(hups "$1")" = "$2" ]; } # gets ID N
remove() { # remove ID
	# shellcheck disable=SC2086
	"$runtime" $options --root "$TEST_DIR/state-$runtime" delete --force "$1-$$" >>"$TEST_DIR/runtime.err" 2>&1
}

# Can this runtime start anything here? Then its options are in $options.
usable() {
	local try
	for try in "" "--cgroup-manager=disabled"; do
		[ -z "$try" ] || [ "$runtime" = crun ] || continue
		options=$try
		: >"$TEST_DIR/out/try-$runtime"
		start "try-$runtime" main .
		if eventually 10 "grep -q begins '$TEST_DIR/out/try-$runtime' || ! kill -0 $!" && [ -s "$TEST_DIR/out/try-$runtime" ]; then
			remove "try-$runtime"
			return 0
		fi
	done
	reason=$(tail -n 1 "$TEST_DIR/out.try-$runtime")
	return 1
}

n=0
rotate() {
	n=$((n + 1))
	put_secret db password="value-$n"
	eventually 20 "[ \"\$(cat '$(volume web creds)/password')\" = value-$n ]"
}

test_runtime() {
	local id sent
	if ! command -v "$runtime" >/dev/null; then
		tap_skip "$runtime" "it is not installed"
		return
	fi
	if ! usable; then
		tap_skip "$runtime" "it starts no container here: $reason"
		return
	fi
	# one that is late would be these containers'
	check "$runtime: no signal is on its way" eventually 30 '[ "$(status .signals.pending)" = 0 ]'
	sent=$(status .signals.sent)
	start "$runtime-main" main .
	start "$runtime-side" side .
	start "$runtime-host" main '.linux.namespaces |= map(select(.type != "pid"))'
	for id in main side host; do check "$runtime: $id begins" begins "$runtime-$id"; done
	for id in 1 2 3; do
		check "$runtime: rotation $id" rotate
		check "$runtime: rotation $id is a signal to the container" gets "$runtime-main" "$id"
		check_equal "$runtime: which reads what is new" "$(tail -n 1 "$TEST_DIR/out/$runtime-main")" "hup value-$n"
	done
	check_equal "$runtime: a container with another volume gets none" "$(hups "$runtime-side")" 0
	# without a pid namespace and without a cgroup there is nothing that says that it is a container
	if [ -z "$options" ]; then
		check "$runtime: one without a pid namespace is found by its cgroup" gets "$runtime-host" 3
		check_equal "$runtime: nobody else got one" "$(($(status .signals.sent) - sent))" 6
	fi
	# what is exec'd is none of the container's main process
	# shellcheck disable=SC2086
	"$runtime" $options --root "$TEST_DIR/state-$runtime" exec "$runtime-main-$$" /bin/sh -c \
		"trap 'echo hup >>/out/$runtime-exec' HUP; echo begins >>/out/$runtime-exec; while :; do sleep 1000 & wait \$!; done" \
		</dev/null >>"$TEST_DIR/out.exec" 2>&1 &
	check "$runtime: another process in the container begins" begins "$runtime-exec"
	# a container that was made and not started: runc has become the program's place, and would end by a signal
	start "$runtime-late" main . create
	check "$runtime: a container is made" grep -q '"status": *"created"' <(ask state "$runtime-late")
	check "$runtime: a rotation comes before it is started" rotate
	check "$runtime: the one that runs is signalled" gets "$runtime-main" 4
	check_equal "$runtime: its other process is not" "$(hups "$runtime-exec")" 0
	check "$runtime: the one that was made can be started" ask start "$runtime-late"
	check "$runtime: and begins" begins "$runtime-late"
	check_equal "$runtime: with what is new" "$(head -n 1 "$TEST_DIR/out/$runtime-late")" "begins value-$n"
	for id in main side host late; do remove "$runtime-$id"; done
}

make_rootfs "$TEST_DIR/rootfs" || skip_all "busybox does not run without libraries (install busybox-static)"
kube_up
printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' 'signalContainers: true' >"$TEST_DIR/config.yaml"
secretlet_start --config "$TEST_DIR/config.yaml" --kubeconfig "$kube/node-1.kubeconfig" --node-name node-1
put_secret db password=value-0
put_secret other password=other
pod_json web '{"creds": {"secretName": "db"}, "other": {"secretName": "other"}}' |
	jq '.metadata.annotations = {"secretlet.dev/volumes": "\"*\": {onChange: SIGHUP}"} |
		.spec.containers[0].volumeMounts = [{name: "creds", mountPath: "/v/creds"}] |
		.spec.containers += [{name: "side", image: "none", volumeMounts: [{name: "other", mountPath: "/v/other"}]}]' | kapply
require "$log" "the pod is ready" ready web
check "the signaller is there" eventually 20 "[ \"\$(status .signals.running)\" = true ]"
for runtime in crun runc; do test_runtime; done
check_equal "the log says who was signalled" "$(grep -c 'info signaller: sent SIGHUP to process .* pod=default/web .*volume=creds' "$log")" "$(status .signals.sent)"
secretlet_stop
check_equal "the daemon ends" $? 0
tap_done
