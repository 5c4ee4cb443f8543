#!/usr/bin/env bash
# timeout: 300
# Real containers, one of crun and one of runc, read through all of it: agent, publisher, both and keeper are killed, and the
# Secret is updated in between. The part of the service manager that keeps fds is a script here (test/lib/manager.py); under
# a real one see systemd.sh. The mount namespace is private, which crun 1.8 needs on a hybrid cgroup hierarchy.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

skip_all() { echo "$*" && exit 77; }
[ "$(id -u)" = 0 ] || skip_all "root is needed"
command -v busybox >/dev/null || skip_all "busybox is not installed"
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi

secretlet=$TEST_BUILD_DIR/secretlet
manifests=$TEST_DIR/manifests pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log
rootfs=$TEST_DIR/rootfs
mkdir -p "$manifests" "$rootfs"/{bin,dev,proc,sys,etc,tmp,creds}
chmod 755 "$TEST_DIR"

number=1000
write_secret() { # the next value, in two keys
	number=$((number + 1))
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {a: "%s", b: "%s"}\n' "$number" "$number" \
		>"$TEST_DIR/next"
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

# What runs in there: by name from the caches and past them, through a file and a folder that are held, stat and list. Each
# value that is new is said; numbers only go up, and in one version both keys have the same.
cat >"$rootfs/reader" <<-'R'
	errors=0 looks=0 last=0
	bad() { errors=$((errors + 1)); echo "error: $*"; }
	past() { dd if="$1" iflag=direct bs=4096 status=none 2>&1; }
	exec 9</creds/a
	held=$(cat /creds/a)
	cd /creds
	while [ ! -e /creds/end ]; do
	        now=$(cat /creds/a 2>&1)
	        case $now in 1[0-9][0-9][0-9]) ;; *) bad "read: $now"; now=$last ;; esac
	        [ "$now" -ge "$last" ] || bad "read: $now after $last"
	        [ "$now" = "$last" ] || echo "sees $now"
	        last=$now
	        now=$(past /creds/b)
	        case $now in 1[0-9][0-9][0-9]) ;; *) bad "past the caches: $now"; now=$last ;; esac
	        [ "$now" -ge "$last" ] || bad "past the caches: $now after $last"
	        now=$(past /proc/self/fd/9)
	        [ "$now" = "$held" ] || bad "held file: $now, not $held"
	        now=$(stat -L -c '%a %s' /creds/a 2>&1)
	        [ "$now" = "644 4" ] || bad "stat: $now"
	        # what an update makes and removes may go while it is looked at, and ..data be there under its old and new name
	        now=$(ls -A . 2>&1 | grep -v -e '\.\.2' -e '\.\.data_tmp' | sort -u | xargs)
	        case $now in "..data a b" | "..data a b end") ;; *) bad "list: $now" ;; esac
	        exec 7</creds/..data/ || bad "open of ..data"
	        looks=$((looks + 1))
	        echo "looks $looks"
	done
	echo "end: $errors errors"
	R

# start_container: one of $runtime, with the mounts that `secretlet mounts` prints
start_container() {
	local bundle=$TEST_DIR/$runtime
	mkdir -p "$bundle"
	(cd "$bundle" && "$runtime" spec) || return 1
	jq --arg rootfs "$rootfs" --argjson mounts "$mounts" '.root = {path: $rootfs, readonly: true} |
		.process.terminal = false | .process.args = ["/bin/sh", "/reader"] | .process.cwd = "/" | .mounts += $mounts' \
		"$bundle/config.json" >"$bundle/new" && mv "$bundle/new" "$bundle/config.json" || return 1
	# shellcheck disable=SC2086
	"$runtime" $options --root "$TEST_DIR/state-$runtime" run --bundle "$bundle" "reads-$runtime-$$" \
		</dev/null >"$TEST_DIR/$runtime.out" 2>&1 &
	eventually 10 "grep -q '^looks' '$TEST_DIR/$runtime.out' || ! kill -0 $!" && grep -q '^looks' "$TEST_DIR/$runtime.out"
}
end_containers() {
	for runtime in "${running[@]}"; do
		"$runtime" --root "$TEST_DIR/state-$runtime" delete --force "reads-$runtime-$$" 2>/dev/null
	done
}

keeper() { cat "$TEST_DIR/keeper"; }
child() { # child NAME: the pid of the keeper's child of that name
	local p
	for p in $(pgrep -P "$(keeper)"); do
		[ "$(tr '\0' '\n' <"/proc/$p/cmdline" | head -n 1)" = "secretlet-$1" ] && echo "$p" && return
	done
	return 1
}
ready() { "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s default/box; }
all_say() { # all_say LINE: each container's reader has
	for runtime in "${running[@]}"; do grep -qx "$1" "$TEST_DIR/$runtime.out" || return 1; done
}
look_on() { # each reader has come by again
	local count
	for runtime in "${running[@]}"; do
		count=$(grep -c '^looks' "$TEST_DIR/$runtime.out")
		eventually 30 "[ \$(grep -c '^looks' '$TEST_DIR/$runtime.out') -gt $((count + 1)) ]" || return 1
	done
}
kill_all() { # kill_all NAME...: at once
	local name pids=()
	for name; do
		case $name in
		keeper) pids+=("$(keeper)") ;;
		*) eventually 20 "child $name" && pids+=("$(child "$name")") ;;
		esac
	done
	kill -KILL "${pids[@]}"
}

cp "$(command -v busybox)" "$rootfs/bin/busybox"
for applet in sh cat dd stat ls grep sort xargs; do ln -s busybox "$rootfs/bin/$applet"; done
chroot "$rootfs" /bin/sh -c true || skip_all "busybox does not run without libraries (install busybox-static)"
write_secret
"$here/../lib/manager.py" "$TEST_DIR/keeper" "$secretlet" run --manifests "$manifests" --pods-dir "$pods" --runtime-dir "$run" \
	2>>"$log" &
manager=$!
check "the pod is ready" ready
mounts=$("$secretlet" mounts --runtime-dir "$run" default/box main)
running=()
trap end_containers EXIT
for runtime in crun runc; do
	if ! command -v "$runtime" >/dev/null; then
		tap_skip "$runtime" "it is not installed"
		continue
	fi
	for options in "" "--cgroup-manager=disabled"; do
		[ -z "$options" ] || [ "$runtime" = crun ] || continue
		start_container && break
	done
	if grep -q '^looks' "$TEST_DIR/$runtime.out"; then
		running+=("$runtime")
	else
		tap_skip "$runtime" "it starts no container here: $(tail -n 1 "$TEST_DIR/$runtime.out")"
	fi
done
if [ "${#running[@]}" = 0 ]; then
	kill "$manager"
	wait "$manager"
	skip_all "no container can be started here"
fi

mount_id() { awk -v at="$pods" '$5 == at { print $1, $3 }' /proc/self/mountinfo; }
before=$(mount_id)
for round in 1 2; do
	for victims in agent publisher "agent publisher" keeper; do
		# shellcheck disable=SC2086
		kill_all $victims
		look_on || { tap_result "not ok" "$victims, kill $round: the readers go on" && break 2; }
		write_secret
		# shellcheck disable=SC2086
		[ "$round" = 1 ] || kill_all $victims
		check "$victims, kill $round: ${running[*]} see the update" eventually 30 "all_say 'sees $number'"
	done
done
check_equal "the mount is the same" "$(mount_id)" "$before"
printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {a: "%s", b: "%s", end: ""}\n' "$number" "$number" \
	>"$TEST_DIR/next"
mv "$TEST_DIR/next" "$manifests/db.yaml"
eventually 30 "all_say 'end: .*'"
for runtime in "${running[@]}"; do
	check_equal "$runtime: no error" "$(grep -E '^(error|end)' "$TEST_DIR/$runtime.out" | head -n 5)" "end: 0 errors"
	check "$runtime: it has looked often" test "$(grep -c '^looks' "$TEST_DIR/$runtime.out")" -gt 16
done
kill "$manager"
wait "$manager"
check_equal "exit status" $? 0
umount -l "$pods" # a service manager may start it again
tap_done
