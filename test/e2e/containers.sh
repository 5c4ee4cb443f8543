#!/usr/bin/env bash
# timeout: 300
# Real containers: crun and runc each run one with the mounts that `secretlet mounts` prints. The manifests source is
# enough for that. The mount namespace is private (test/run), which crun 1.8 needs on a hybrid cgroup hierarchy: it
# wants to see only one half of it.
set -u
# shellcheck source=lib.sh
. "$(dirname "$(realpath "$0")")/lib.sh"

command -v busybox >/dev/null || skip_all "busybox is not installed"
command -v crun >/dev/null || command -v runc >/dev/null || skip_all "neither crun nor runc is installed"
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi

manifests=$TEST_DIR/manifests
mkdir "$manifests"

write_secret() { # write_secret PASSWORD
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: "%s", user: app}\n' "$1" \
		>"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/db.yaml"
}
write_pod() {
	cat >"$manifests/pod.yaml" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: box}
	spec:
	  securityContext: {fsGroup: 2000}
	  volumes:
	  - {name: open, secret: {secretName: db}}
	  - {name: closed, secret: {secretName: db, defaultMode: 0400, items: [{key: password, path: deep/password}]}}
	  - {name: elsewhere, secret: {secretName: db}}
	  containers:
	  - name: main
	    image: busybox
	    volumeMounts:
	    - {name: open, mountPath: /open}
	    - {name: closed, mountPath: /closed, readOnly: true}
	  - name: other
	    image: busybox
	    volumeMounts: [{name: elsewhere, mountPath: /elsewhere}]
	Y
}

make_rootfs() { # make_rootfs DIR
	mkdir -p "$1"/{bin,dev,proc,sys,etc,tmp,open,closed}
	cp "$(command -v busybox)" "$1/bin/busybox"
	"$1/bin/busybox" --list | grep -vx busybox | while read -r applet; do ln -s busybox "$1/bin/$applet"; done
	chroot "$1" /bin/sh -c true
}

# run_in ID USER JQ COMMAND: a container that runs COMMAND in a shell; USER is UID:GID[:ADDITIONAL GID]. JQ changes its
# configuration. Prints what it prints.
run_in() {
	local bundle=$TEST_DIR/$1 user=$2 change=$3 command=$4
	mkdir -p "$bundle"
	(cd "$bundle" && rm -f config.json && "$runtime" spec) || return 1
	jq --arg rootfs "$TEST_DIR/rootfs" --arg user "$user" --arg command "$command" --argjson mounts "$mounts" '
		($user | split(":") | map(tonumber)) as $u | .root = {path: $rootfs, readonly: true} |
		.process.terminal = false | .process.args = ["/bin/sh", "-c", $command] | .process.cwd = "/" |
		.process.user = {uid: $u[0], gid: $u[1], additionalGids: $u[2:]} | .mounts += $mounts | '"$change" \
		"$bundle/config.json" >"$bundle/new" && mv "$bundle/new" "$bundle/config.json" || return 1
	# shellcheck disable=SC2086
	"$runtime" $options --root "$TEST_DIR/state-$runtime" run --bundle "$bundle" "$1-$$" </dev/null 2>&1
}

# Can this runtime start anything here? Then its options are in $options.
usable() {
	local try mounts='[]'
	for try in "" "--cgroup-manager=disabled"; do
		[ -z "$try" ] || [ "$runtime" = crun ] || continue
		options=$try
		reason=$(run_in "probe" 0:0 . "echo it runs")
		[ "$reason" != "it runs" ] || return 0
	done
	return 1
}

readonly_fs() { # readonly_fs NAME JQ: nothing in the volumes can be changed, even as root with all capabilities
	local all='.process.capabilities |= map_values(["CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_CHOWN", "CAP_MKNOD"])'
	local out
	out=$(run_in write 0:0 "$all | $2" '
		cd /open
		for change in "echo x >password" "echo x >>..data/password" "echo x >new" "rm password" "mkdir dir" "chmod 777 password" \
			"chown 5 password" "mv password other" "ln -s x y" "ln password z" "touch -d 2001-01-01 password" "mknod n c 1 3" \
			"truncate -s 0 password" "rm -r ..data"; do
			out=$(eval "$change" 2>&1) && echo "done: $change"
			case $out in *"Read-only file system"*) ;; *) echo "$change: $out" ;; esac
		done
		cat password')
	check_equal "$1" "$out" first
}

test_runtime() {
	local watcher
	if ! command -v "$runtime" >/dev/null; then
		tap_skip "$runtime" "it is not installed"
		return
	fi
	if ! usable; then
		tap_skip "$runtime" "it starts no container here: $reason"
		return
	fi
	write_secret first
	eventually 20 "[ \"\$(cat '$(volume box open)/password')\" = first ]"

	check_equal "$runtime: uid 0 reads the files" \
		"$(run_in root 0:0 . 'cat /open/password /open/user /closed/deep/password')" firstappfirst
	check_equal "$runtime: uid 1000 reads what is for everybody" "$(run_in user 1000:1000 . 'cat /open/password /open/user')" firstapp
	check_contains "$runtime: uid 1000 cannot read what is not for it" \
		"$(run_in user 1000:1000 . 'cat /closed/deep/password')" "Permission denied"
	check_equal "$runtime: uid 1000 in fsGroup can" "$(run_in user 1000:1000:2000 . 'cat /closed/deep/password')" first
	check_equal "$runtime: only its own volumes are there" "$(run_in ls 0:0 . 'ls -d /elsewhere' 2>&1 | grep -c "No such file")" 1
	readonly_fs "$runtime: nothing can be changed" .
	readonly_fs "$runtime: nor with a mount that is not read-only" \
		'.mounts |= map(if .destination == "/open" then .options = ["rbind"] else . end)'

	run_in watch 1000:1000 . 'exec 3</open/password; cat /open/password; echo
		until [ "$(cat /open/password)" = second ]; do usleep 20000; done; echo "$(cat /open/password) $(cat <&3)"' \
		>"$TEST_DIR/$runtime.out" 2>&1 &
	watcher=$!
	check "$runtime: a container runs and reads" eventually 20 "grep -q first '$TEST_DIR/$runtime.out'"
	write_secret second
	if ! eventually 20 "! kill -0 $watcher"; then
		"$runtime" --root "$TEST_DIR/state-$runtime" kill "watch-$$" KILL
	fi
	wait "$watcher"
	check_equal "$runtime: it sees the update, and the old content in a file that it has open" \
		"$(tail -n 1 "$TEST_DIR/$runtime.out")" "second first"
}

make_rootfs "$TEST_DIR/rootfs" || skip_all "busybox does not run without libraries (install busybox-static)"
write_secret first
write_pod
secretlet_start --manifests "$manifests"
require "$log" "the pod is ready" ready box
mounts=$("$secretlet" mounts --runtime-dir "$run" default/box main)
check_equal "mounts are of the container" "$(jq -r 'map(.destination) | join(" ")' <<<"$mounts")" "/open /closed"
for runtime in crun runc; do test_runtime; done
secretlet_stop
check_equal "the daemon ends" $? 0
check "nothing is mounted" not mounted
tap_done
