#!/usr/bin/env bash
# From the write of a Secret to each of its readers, beside a plain watch: propagate.c says what is measured. With
# kube-apiserver and etcd; --quick makes do with the test API server, if there are none. Containers are crun's; where it does not
# run, their figures are missing.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

# SECRETSxPODSxVOLUMES:ROUNDS; the volumes are each pod's
read -ra shapes <<<"$(bench_pick '1x1x1:300 1x100x1:50 1x1000x1:15 1000x100x10:5' '1x1x1:10 1x20x1:3 20x4x5:3')"
fifo=$TEST_DIR/fifo rootfs=$TEST_DIR/rootfs state=$TEST_DIR/crun
containers=() crun_pids=() crun_options=()

progress "an API server starts"
if [ -n "${KUBEBUILDER_ASSETS:-}" ] || [ -z "$QUICK" ]; then
	kube_up || die "kube-apiserver does not start" "$TEST_DIR/apiserver.out"
	trap bench_end EXIT
	url=https://127.0.0.1:$kube_port kubeconfig=$kube/node-1.kubeconfig server=kube-apiserver
	tls=("$kube/ca.crt" "$kube/admin.crt" "$kube/admin.key")
	to_server=(--server "$url" --namespace bench --ca "${tls[0]}" --cert "${tls[1]}" --key "${tls[2]}")
else
	"$TEST_BUILD_DIR/apiserver" >"$TEST_DIR/url" &
	bench_pids+=($!)
	eventually 10 "grep -q http $TEST_DIR/url"
	url=$(grep -o 'http://[^ ]*' "$TEST_DIR/url" | head -n 1) kubeconfig=$TEST_DIR/kubeconfig server=test
	printf '%s\n' 'apiVersion: v1' 'kind: Config' "clusters: [{name: t, cluster: {server: \"$url\"}}]" 'users: [{name: t, user: {}}]' \
		'contexts: [{name: t, context: {cluster: t, user: t}}]' 'current-context: t' >"$kubeconfig"
	tls=()
	to_server=(--server "$url" --namespace bench)
fi

# ---- containers

mkfifo "$fifo"
mkdir -p "$rootfs"/{bin,proc,dev,sys} "$rootfs"/v{0..9}
cp "$TEST_BUILD_DIR/test/bench/woken" "$rootfs/bin/woken"
: >"$rootfs/fifo"
# crun 1.8 takes one half of a hybrid hierarchy
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi

# bundle NAME MOUNTS ARGUMENT...: $TEST_DIR/NAME, in which woken runs
bundle() {
	mkdir -p "$TEST_DIR/$1"
	rm -f "$TEST_DIR/$1/config.json"
	(cd "$TEST_DIR/$1" && crun spec)
	jq --arg rootfs "$rootfs" --arg fifo "$fifo" --argjson mounts "$2" '.root = {path: $rootfs, readonly: true} |
		.process.terminal = false | .process.args = ["/bin/woken"] + $ARGS.positional | .process.cwd = "/" |
		.mounts += $mounts + [{destination: "/fifo", type: "bind", source: $fifo, options: ["bind"]}]' \
		"$TEST_DIR/$1/config.json" --args "${@:3}" >"$TEST_DIR/$1/new"
	mv "$TEST_DIR/$1/new" "$TEST_DIR/$1/config.json"
}
crun_works() {
	local try
	command -v crun >/dev/null || return
	bundle try '[]' # without arguments it ends with 2
	for try in "" --cgroup-manager=disabled; do
		crun_options=(${try:+"$try"} --root "$state")
		crun "${crun_options[@]}" run --bundle "$TEST_DIR/try" "try-$$" >"$TEST_DIR/crun.out" 2>&1 </dev/null || [ $? != 2 ] || return 0
	done
	return 1
}
containers_start() { # containers_start PODS: in at most four of them, spread over all
	local p n=4 i
	[ "$1" -ge 4 ] || n=$1
	for ((i = 0; i < n; i++)); do
		p=$((n == 1 ? 0 : i * ($1 - 1) / (n - 1)))
		bundle "box-$p" "$("$secretlet" mounts --runtime-dir "$run" "bench/p$p" main)" "$((p * volumes))" /v0 /fifo
		crun "${crun_options[@]}" run --bundle "$TEST_DIR/box-$p" "box-$p-$$" >>"$TEST_DIR/crun.out" 2>&1 </dev/null &
		containers+=("box-$p-$$") crun_pids+=($!)
	done
}
containers_stop() {
	local c
	for c in "${containers[@]}"; do crun "${crun_options[@]}" kill "$c" KILL || true; done
	# crun ends with its container, and removes what it has of it
	[ ${#containers[@]} = 0 ] || wait "${crun_pids[@]}" || true
	containers=() crun_pids=()
}
bench_more() { containers_stop; }
with_crun=1
crun_works || with_crun=''

# ---- each number of pods

bench_config "$config" "kubeconfig: $kubeconfig" 'nodeName: node-1' 'secretMemoryLimit: 256Mi'
secretlet_start --config "$config"
all_ready() { [ "$(status .volumes.ready)" = "$1" ]; }
for shape in "${shapes[@]}"; do
	IFS=x: read -r secrets n_pods volumes rounds <<<"$shape"
	progress "Secrets: $secrets, pods: $n_pods, volumes of each: $volumes; they are made"
	to_objects=("${to_server[@]}" --secrets "$secrets" --pods "$n_pods" --volumes "$volumes")
	"$bench_here/objects.py" make "${to_objects[@]}" --value 00000000-this-is-the-generation
	eventually 120 "all_ready $((n_pods * volumes))" || die "the volumes are not ready" "$log"
	for ((i = 0; i < n_pods * volumes; i++)); do
		echo "s$((i % secrets)) $pods/by-name/bench/p$((i / volumes))/$secret_volumes/v$((i % volumes))"
	done >"$TEST_DIR/volumes"
	progress "rounds: $rounds"
	[ -z "$with_crun" ] || containers_start "$n_pods"
	"$TEST_BUILD_DIR/test/bench/propagate" "$url" bench "$rounds" "$TEST_DIR/volumes" "$fifo" "${#containers[@]}" "${tls[@]}" |
		jq -c --arg server "$server" --argjson pods "$n_pods" '. + {$server, $pods}' >>"$OUT/propagate.jsonl"
	containers_stop
	"$bench_here/objects.py" remove "${to_objects[@]}"
	eventually 120 "all_ready 0" || die "the volumes do not go" "$log"
done
