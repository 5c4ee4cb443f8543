#!/usr/bin/env bash
# timeout: 600
# secretlet hook, started by crun and runc for real containers: what it mounts, that a container is not started without it,
# and what an image, an annotation or a daemon that lies cannot make of it. The mount namespace is private, which crun 1.8
# needs on a hybrid cgroup hierarchy.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

skip_all() { echo "$*" && exit 77; }
[ "$(id -u)" = 0 ] || skip_all "root is needed"
command -v busybox >/dev/null || skip_all "busybox is not installed"
command -v crun >/dev/null || command -v runc >/dev/null || skip_all "neither crun nor runc is installed"
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi

secretlet=$TEST_BUILD_DIR/secretlet
manifests=$TEST_DIR/manifests pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log
mkdir -p "$manifests"
chmod 755 "$TEST_DIR"

write_secret() { # write_secret PASSWORD
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: "%s"}\n' "$1" >"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/db.yaml"
}
cat >"$manifests/pod.yaml" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: web, annotations: {secretlet.dev/live: creds}}
	spec:
	  volumes:
	  - {name: creds, secret: {secretName: db}}
	  - {name: closed, secret: {secretName: db, defaultMode: 0400}}
	  containers:
	  - name: main
	    image: none
	    volumeMounts:
	    - {name: creds, mountPath: /creds}
	    - {name: closed, mountPath: /made/for/it}
	    - {name: creds, mountPath: /one/password, subPath: password}
	  - {name: link, image: none, volumeMounts: [{name: creds, mountPath: /link/creds}]}
	  - {name: rootlink, image: none, volumeMounts: [{name: creds, mountPath: /rootlink}]}
	  - {name: nowhere, image: none, volumeMounts: [{name: creds, mountPath: /dangling/creds}]}
	  - {name: proc, image: none, volumeMounts: [{name: creds, mountPath: /proclink}]}
	  - {name: shared, image: none, volumeMounts: [{name: creds, mountPath: /shared/creds}]}
	  - {name: file, image: none, volumeMounts: [{name: creds, mountPath: /etc/file}]}
	  - {name: folder, image: none, volumeMounts: [{name: creds, mountPath: /etc, subPath: password}]}
	  - {name: hides, image: none, volumeMounts: [{name: creds, mountPath: /dev}]}
	  - {name: nokey, image: none, volumeMounts: [{name: creds, mountPath: /creds, subPath: nokey}]}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: late}
	spec:
	  volumes: [{name: creds, secret: {secretName: late}}]
	  containers: [{name: main, image: none, volumeMounts: [{name: creds, mountPath: /creds}]}]
	Y
write_secret first

# /victim is outside of the root filesystem, and what the image's links would like to lead to.
rootfs=$TEST_DIR/rootfs victim=$TEST_DIR/victim
mkdir -p "$rootfs"/{bin,dev,proc,sys,etc,tmp,creds,shared} "$victim" "$TEST_DIR/volume/creds"
cp "$(command -v busybox)" "$rootfs/bin/busybox"
for applet in sh cat echo grep ls rm sleep stat usleep; do ln -s busybox "$rootfs/bin/$applet"; done
chroot "$rootfs" /bin/sh -c true || skip_all "busybox does not run without libraries (install busybox-static)"
: >"$rootfs/etc/file"
ln -s "$(printf '../%.0s' {1..20})$victim" "$rootfs/link"
ln -s / "$rootfs/rootlink"
mkdir -p "$rootfs$victim"
ln -s /nothing/there "$rootfs/dangling"
ln -s /proc/sys/kernel "$rootfs/proclink"

# container ID JQ COMMAND: runs it with the hook; JQ changes its configuration. Prints what it prints.
container() {
	local bundle=$TEST_DIR/$1 change=$2 command=$3
	mkdir -p "$bundle"
	(cd "$bundle" && rm -f config.json && "$runtime" spec) || return 1
	jq --arg rootfs "$rootfs" --arg command "$command" --arg secretlet "$secretlet" --arg run "$run" '
		.root = {path: $rootfs, readonly: false} | .process.terminal = false | .process.cwd = "/" |
		.process.args = ["/bin/sh", "-c", $command] | .hooks.createRuntime = [{path: $secretlet,
			args: ["secretlet", "hook", "--timeout", "20s", "--runtime-dir", $run, "createRuntime"]}] |
		'"$change" "$bundle/config.json" >"$bundle/new" && mv "$bundle/new" "$bundle/config.json" || return 1
	# shellcheck disable=SC2086
	"$runtime" $options --root "$TEST_DIR/state-$runtime" run --bundle "$bundle" "$1-$$" </dev/null 2>&1
}
asks() { # asks CONTAINER [POD]: the JQ of its annotations
	echo ".annotations += {\"secretlet.dev/pod\": \"${2:-default/web}\", \"secretlet.dev/container\": \"$1\"}"
}
usable() {
	local try
	for try in "" "--cgroup-manager=disabled"; do
		[ -z "$try" ] || [ "$runtime" = crun ] || continue
		options=$try
		reason=$(container probe . "echo it runs")
		[ "$reason" != "it runs" ] || return 0
	done
	return 1
}
refused() { # refused NAME CONTAINER WORDS [POD [JQ]]: it is not started, and the reason is said
	local out
	: >"$TEST_DIR/stderr"
	# where crun would say it otherwise: nowhere
	out=$(container "no-$2" "$(asks "$2" "${4:-default/web}") | ${5:-.} |
		.annotations[\"run.oci.hooks.stderr\"] = \"$TEST_DIR/stderr\"" "echo it runs")
	check "$runtime: $1: it fails" test $? != 0
	check_contains "$runtime: $1: the reason is said" "$out $(cat "$TEST_DIR/stderr")" "$3"
	check_equal "$runtime: $1: it was not started" "$(grep -c "it runs" <<<"$out")" 0
}

test_runtime() {
	local watcher out flags
	if ! command -v "$runtime" >/dev/null; then
		tap_skip "$runtime" "it is not installed"
		return
	fi
	if ! usable; then
		tap_skip "$runtime" "it starts no container here: $reason"
		return
	fi
	write_secret first
	eventually 60 "[ \"\$(cat '$pods/by-name/default/web/volumes/kubernetes.io~secret/creds/password')\" = first ]"

	check_equal "$runtime: who asks for nothing gets nothing" "$(container plain . 'ls /creds; echo "$?"')" 0
	check_equal "$runtime: a container sees its volumes, its sub path too" \
		"$(container all "$(asks main)" 'cat /creds/password /made/for/it/password /one/password')" firstfirstfirst
	flags=$(container flags "$(asks main)" 'grep -E " (/creds|/one/password) " /proc/self/mountinfo')
	check_equal "$runtime: read-only, nosuid, nodev, noexec, and private" \
		"$(awk '{ print $6, $7 }' <<<"$flags" | sort -u)" "ro,nosuid,nodev,noexec,relatime -"
	out=$(container write "$(asks main) | .process.capabilities |= map_values([\"CAP_DAC_OVERRIDE\"])" \
		'echo x >/creds/password || echo x >/one/password || rm -r /creds/..data || echo refused' | tail -n 1)
	check_equal "$runtime: nothing can be changed" "$out" refused
	check_equal "$runtime: its root filesystem may be read-only" \
		"$(container ro "$(asks main) | .root.readonly = true" 'cat /creds/password')" first
	# uid 0 of the container owns what uid 0 owns: not without ids that are mapped
	out=$(container user "$(asks main) | .linux.namespaces += [{type: \"user\"}] | .linux.gidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
		| .linux.uidMappings = .linux.gidMappings | .process.capabilities |= map_values([])" \
		'cat /creds/password /made/for/it/password; stat -c %u /made/for/it/..data/password')
	check_equal "$runtime: so it is in a user namespace" "$(xargs <<<"$out")" "firstfirst0"

	container watch "$(asks main)" 'cat /creds/password; echo
		until [ "$(cat /creds/password)" = second ]; do usleep 20000; done
		until [ "$(cat /one/password)" = second ]; do usleep 20000; done; echo seen' >"$TEST_DIR/$runtime.out" 2>&1 &
	watcher=$!
	check "$runtime: a container runs and reads" eventually 60 "grep -q first '$TEST_DIR/$runtime.out'"
	write_secret second
	eventually 60 "! kill -0 $watcher" || "$runtime" --root "$TEST_DIR/state-$runtime" kill "watch-$$" KILL
	wait "$watcher"
	check_equal "$runtime: it sees the update, in the sub path too" "$(tail -n 1 "$TEST_DIR/$runtime.out")" seen

	# --- what an image would like
	check_equal "$runtime: a link in the image leads to a place in the image" \
		"$(container link "$(asks link)" "cat '$victim/creds/password'")" second
	check_equal "$runtime: and nothing was made outside" "$(ls "$victim")" ""
	rmdir "$rootfs$victim/creds"
	refused "a link to the root folder" rootlink "link to the root folder"
	refused "no such container" other "has no container other"
	[ "$runtime" = "${first:=$runtime}" ] || return 0 # the rest is the same in each
	refused "a link to nothing" nowhere "mount point"
	refused "a link into /proc" proc "/proc or /sys"
	refused "a folder on a file" file "in the image it is a file"
	refused "a file on a folder" folder "in the image it is a folder"
	refused "what would hide another mount" hides "would hide what is mounted on"
	# what is mounted in a shared mount of the host's would be seen there
	mount --bind "$TEST_DIR/volume" "$TEST_DIR/volume"
	mount --make-shared "$TEST_DIR/volume"
	refused "a volume that is shared" shared "shared mount" default/web \
		".mounts += [{destination: \"/shared\", type: \"bind\", source: \"$TEST_DIR/volume\", options: [\"rbind\", \"rshared\"]}]"
	check_equal "$runtime: the host sees nothing of it" "$(ls "$TEST_DIR/volume/creds")" ""
	umount "$TEST_DIR/volume"

	# --- what an annotation would like
	refused "no such key" nokey "the volume has no such file"
	refused "no such pod" main "default/nobody" default/nobody '.annotations["secretlet.dev/timeout"] = "200ms"'
	refused "another one's pod" main "this is a container of mine/web" default/web \
		'.annotations += {"io.kubernetes.cri.sandbox-namespace": "mine", "io.kubernetes.cri.sandbox-name": "web"}'
	refused "half a request" main "is not known" default/web '.annotations["secretlet.dev/contaner"] = "x"'

	# --- a pod that is not ready yet
	rm -f "$manifests/late.yaml"
	eventually 60 "! '$secretlet' wait --quiet --timeout 0 --runtime-dir '$run' default/late"
	refused "a pod that is not ready in time" main 'secret "late" not found' default/late \
		'.annotations["secretlet.dev/timeout"] = "200ms"'
	container late "$(asks main default/late)" 'cat /creds/password' >"$TEST_DIR/late.out" &
	watcher=$!
	sleep 0.5
	check "$runtime: a start waits for the pod" kill -0 "$watcher"
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: late}\nstringData: {password: at last}\n' >"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/late.yaml"
	wait "$watcher"
	check_equal "$runtime: and goes on when it is ready" "$(cat "$TEST_DIR/late.out")" "at last"
	refused "no daemon" main "cannot reach secretlet" default/web \
		'.hooks.createRuntime[0].args |= map(if . == "20s" then "200ms" elif test("/run$") then "/nowhere" else . end)'
}

# --- precreate: a configuration in, a configuration out
precreate() { "$secretlet" hook --timeout 1s --runtime-dir "${1:-$run}" precreate; }
config='{"ociVersion": "1.0", "process": {"rlimits": [{"hard": 18446744073709551615}]}, "annotations": ANNOTATIONS,
 "mounts": [ {"destination": "/proc", "type": "proc", "source": "proc"} ]}'
test_precreate() {
	local asked plain out lying
	asked=${config/ANNOTATIONS/'{"secretlet.dev/pod": "default/web", "secretlet.dev/container": "link"}'}
	plain=${config/ANNOTATIONS/'{"a": "b"}'}
	check_equal "precreate: who asks for nothing gets back what he gave" "$(precreate <<<"$plain")" "$plain"
	out=$(precreate <<<"$asked")
	check_equal "precreate: the mounts come last" "$(jq -r '.mounts | map(.destination) | join(" ")' <<<"$out")" "/proc /link/creds"
	check_equal "precreate: what is not known here stays as it was" "$(grep -c 18446744073709551615 <<<"$out")" 1
	check_equal "precreate: it is what mounts prints" \
		"$(jq -c '.mounts[1] | [.source, .type, .options - ["rprivate"]]' <<<"$out")" \
		"$("$secretlet" mounts --runtime-dir "$run" default/web link | jq -c '.[0] | [.source, .type, .options]')"
	for bad in "" "{" "[]" '{"annotations": 5}' "${asked/default\/web/default}" "${asked/\"mounts\"/\"m\\u006funts\"}"; do
		out=$(precreate <<<"$bad" 2>"$TEST_DIR/err")
		check "precreate: '${bad:0:24}...' is refused" test $? = 1
		check_equal "precreate: without an answer, and with a reason" "$out$(grep -c "^secretlet: hook: " "$TEST_DIR/err")" 1
	done
	head -c 17000000 /dev/zero | precreate >/dev/null 2>"$TEST_DIR/err"
	check_contains "precreate: what has no end is refused" "$(cat "$TEST_DIR/err")" "is larger than"

	# a daemon that was taken over would like to have a file of the host mounted
	lying=$TEST_DIR/lying
	mkdir -p "$lying"
	python3 - "$lying/control.sock" <<-'P' &
		import http.server, socketserver, sys
		class Lies(http.server.BaseHTTPRequestHandler):
		    def do_GET(self):
		        body = b'[{"destination": "/x", "type": "bind", "source": "/etc/passwd"}]' if b"mounts" in self.path.encode() else b"{}"
		        self.send_response(200)
		        self.send_header("Content-Length", str(len(body)))
		        self.end_headers()
		        self.wfile.write(body)
		    def log_message(self, *words): pass
		    def address_string(self): return ""
		socketserver.UnixStreamServer(sys.argv[1], Lies).serve_forever()
	P
	liar=$!
	eventually 60 "[ -S '$lying/control.sock' ]"
	precreate "$lying" <<<"$asked" >"$TEST_DIR/out" 2>"$TEST_DIR/err"
	check "a source that secretlet does not serve is refused" test $? = 1
	check_contains "with the reason" "$(cat "$TEST_DIR/err")" "not on one of secretlet"
	kill "$liar"
	wait "$liar" 2>/dev/null
}

"$secretlet" run --manifests "$manifests" --pods-dir "$pods" --runtime-dir "$run" 2>"$log" &
daemon=$!
check "the pod is ready" "$secretlet" wait --quiet --runtime-dir "$run" default/web
for stage in createContainer poststop ""; do
	"$secretlet" hook "$stage" </dev/null >/dev/null 2>"$TEST_DIR/err"
	check_equal "stage '$stage' is refused" $? 2
done
test_precreate
for runtime in crun runc; do test_runtime; done
kill "$daemon"
wait "$daemon"
check_equal "the daemon ends" $? 0
tap_done
