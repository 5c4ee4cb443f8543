#!/usr/bin/env bash
# timeout: 900
# secretlet hook, started by crun and runc for real containers: what it mounts, that a container is not started without it,
# and what an image, an annotation, a CRI, a daemon that lies or a file system that hangs cannot make of it. The mount namespace is private, which crun 1.8
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
	  - {name: hidden, image: none, volumeMounts: [{name: creds, mountPath: /devlink}]}
	  - {name: hides, image: none, volumeMounts: [{name: creds, mountPath: /dev}]}
	  - name: half
	    image: none
	    volumeMounts:
	    - {name: creds, mountPath: /creds}
	    - {name: closed, mountPath: /creds/sub}
	    - {name: closed, mountPath: /made/for/it}
	    - {name: creds, mountPath: /etc/file}
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
ln -s /dev "$rootfs/devlink"
mkdir "$rootfs/"$'\xff'
ln -s $'/\xff' "$rootfs/latin"

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
# What the CRIs say of a container, as in their sources and as their recipes' tests have it.
cri() { # cri containerd|crio container|sandbox NAMESPACE POD CONTAINER UID: JSON
	local prefix=io.kubernetes.cri.sandbox-
	case "$1$2" in
	containerdsandbox) echo "{\"io.kubernetes.cri.container-type\": \"sandbox\", \"io.kubernetes.cri.sandbox-id\": \"5f1e\",
		\"${prefix}namespace\": \"$3\", \"${prefix}name\": \"$4\", \"${prefix}uid\": \"$6\", \"${prefix}log-directory\": \"/x\"}" ;;
	containerdcontainer) echo "{\"io.kubernetes.cri.container-type\": \"container\", \"io.kubernetes.cri.sandbox-id\": \"5f1e\",
		\"${prefix}namespace\": \"$3\", \"${prefix}name\": \"$4\", \"${prefix}uid\": \"$6\",
		\"io.kubernetes.cri.container-name\": \"$5\", \"io.kubernetes.cri.image-name\": \"localhost/web:latest\"}" ;;
	criosandbox) echo "{\"io.kubernetes.cri-o.ContainerType\": \"sandbox\", \"io.kubernetes.cri-o.SandboxID\": \"5f1e\",
		\"io.kubernetes.cri-o.KubeName\": \"$4\", \"io.kubernetes.cri-o.Namespace\": \"$3\", \"io.container.manager\": \"cri-o\"}" ;;
	criocontainer) echo "{\"io.kubernetes.cri-o.ContainerType\": \"container\", \"io.kubernetes.cri-o.SandboxID\": \"5f1e\",
		\"io.kubernetes.pod.namespace\": \"$3\", \"io.kubernetes.pod.name\": \"$4\", \"io.kubernetes.pod.uid\": \"$6\",
		\"io.kubernetes.container.name\": \"$5\", \"io.container.manager\": \"cri-o\"}" ;;
	esac
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
		'exec 2>/dev/null; echo x >/creds/password || echo x >/one/password || rm -r /creds/..data || echo refused' | tail -n 1)
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

	# --- a pod of a CRI: its annotations reach all of its containers
	for cri in containerd crio; do
		check_equal "$runtime, $cri: each container has its own mounts, whoever the pod's annotation names" \
			"$(container cri "$(asks main) | .annotations += $(cri $cri container default web link "$uid")" \
				"cat '$victim/creds/password'; ls /creds")" second
		rmdir "$rootfs$victim/creds"
		check_equal "$runtime, $cri: it says which pod it is, to a pod that does not know its name" \
			"$(container cri "$(asks main self) | .annotations += $(cri $cri container default web main "$uid")" \
				'cat /creds/password')" second
		check_equal "$runtime, $cri: a sandbox is left alone" "$(container cri "$(asks main) | .annotations += \
			$(cri $cri sandbox default web "" "$uid") | .annotations[\"secretlet.dev/typo\"] = \"x\"" 'ls /creds; echo "$?"')" 0
	done

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
	refused "a link to what has other mounts in it" hidden "mountPath /devlink: it would hide what is mounted in it, on "
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
		".annotations += $(cri containerd container mine web main 1-2)"
	refused "another one's pod by its UID" main "is default/web, and not mine/web" self \
		".annotations += $(cri crio container mine web main "$uid")"
	refused "no UID of a pod" main "00000000-0000-4000-8000-000000000000" self ".annotations += \
		$(cri containerd container default web main 00000000-0000-4000-8000-000000000000) | .annotations[\"secretlet.dev/timeout\"] = \"200ms\""
	refused "a CRI that does not say whose it is" main "io.kubernetes.cri.sandbox-name is missing" default/web \
		".annotations += $(cri containerd container default web main 1-2) | del(.annotations[\"io.kubernetes.cri.sandbox-name\"])"
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
	local asked plain out reader=
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
	# it waits for the configuration, which may have values in its environment. Without capabilities, so that another process
	# of root without any could look into it, were it not for the dumpable flag
	bare() { setpriv --bounding-set -all --inh-caps -all "$@"; }
	mkfifo "$TEST_DIR/fifo"
	setpriv --bounding-set -all --inh-caps -all "$secretlet" hook --timeout 60s --runtime-dir "$run" precreate <"$TEST_DIR/fifo" >/dev/null 2>&1 &
	waiter=$!
	exec 8>"$TEST_DIR/fifo"
	check "precreate: it reads in a process of its own" eventually 20 "reader=\$(pgrep -P $waiter)"
	for pid in "$waiter" "$reader"; do
		check_equal "precreate: no core" "$(grep '^Max core file size' "/proc/$pid/limits" | tr -s ' ' | cut -d ' ' -f 5,6)" "0 0"
		check "precreate: not dumpable" not eval "bare cat /proc/$pid/environ >/dev/null 2>&1"
	done
	setpriv --bounding-set -all --inh-caps -all sleep 60 &
	check "precreate: which another process of root is" eventually 20 "bare cat /proc/$!/environ >/dev/null 2>&1"
	kill $!
	exec 8>&-
	wait "$waiter"

	# the image is there, its mounts are not
	in_image() { # in_image CONTAINER [JQ]: the configuration of one in $rootfs
		jq -n --arg rootfs "$rootfs" --arg container "$1" '{root: {path: $rootfs}, mounts: [{destination: "/proc", type: "proc"}],
			annotations: {"secretlet.dev/pod": "default/web", "secretlet.dev/container": $container}} | '"${2:-.}"
	}
	in_image main | precreate >"$TEST_DIR/out" 2>&1
	check_equal "precreate: an image that has all, or lets it be made" "$? $(jq '.mounts | length' "$TEST_DIR/out")" "0 4"
	in_image link | precreate >"$TEST_DIR/out" 2>&1
	check_equal "precreate: a link in the image leads to a place in the image" $? 0
	refuses() { # refuses NAME WORDS CONTAINER [JQ]
		out=$(in_image "$3" "${4:-.}" | precreate 2>"$TEST_DIR/err")
		check_equal "precreate: $1: it is refused, without an answer" "$? $out" "1 "
		check_contains "precreate: $1: the reason is said" "$(cat "$TEST_DIR/err")" "$2"
	}
	refuses "a link to the root folder" "link to the root folder" rootlink
	refuses "a link to nothing" "mountPath /dangling/creds: in the image it is a link to nothing" nowhere
	refuses "a link into /proc" "/proc or /sys" proc
	refuses "a folder on a file" "in the image it is a file" file
	refuses "a file on a folder" "in the image it is a folder" folder
	refuses "what would hide another mount behind a link" "would hide what is mounted on $victim/creds/x" link \
		".mounts += [{destination: \"$victim/creds/x\", type: \"tmpfs\"}]"
	refuses "a volume that is shared, behind a link" "shared mount" link \
		".mounts += [{destination: \"$victim\", type: \"bind\", options: [\"rbind\", \"rshared\"]}]"
	refuses "a mount on a name that is not UTF-8" "the mount on /latin is in the image a link to a name that is not UTF-8" main \
		'.mounts += [{destination: "/latin", type: "bind"}]'
	in_image nowhere '.mounts += [{destination: "/nothing", type: "bind"}]' | precreate >"$TEST_DIR/out" 2>&1
	check_equal "precreate: a link into what is not mounted yet is left to the runtime" $? 0
	in_image file '.mounts += [{destination: "/etc", type: "bind"}]' | precreate >"$TEST_DIR/out" 2>&1
	check_equal "precreate: of what something is mounted over the image says nothing" $? 0
	in_image rootlink '.root.path = "rootfs"' | precreate >"$TEST_DIR/out" 2>&1
	check_equal "precreate: an image that is not to be seen is left to the runtime" $? 0

	# a daemon that was taken over would like to have a file of the host mounted
	lie "$TEST_DIR/lying" /etc/passwd
	precreate "$TEST_DIR/lying" <<<"$asked" >"$TEST_DIR/out" 2>"$TEST_DIR/err"
	check "a source that secretlet does not serve is refused" test $? = 1
	check_contains "with the reason" "$(cat "$TEST_DIR/err")" "not on one of secretlet"
	check_equal "and without an answer" "$(cat "$TEST_DIR/out")" ""
	kill "$liar"
	wait "$liar" 2>/dev/null
}
lie() { # lie DIR SOURCE: a control socket in it whose pods are ready and mount that; its pid is $liar
	mkdir -p "$1"
	python3 - "$1/control.sock" "$2" <<-'P' &
		import http.server, json, socketserver, sys
		class Lies(http.server.BaseHTTPRequestHandler):
		    def do_GET(self):
		        mounts = [{"destination": "/creds", "type": "bind", "source": sys.argv[2]}]
		        body = json.dumps(mounts if "mounts" in self.path else {}).encode()
		        self.send_response(200)
		        self.send_header("Content-Length", str(len(body)))
		        self.end_headers()
		        self.wfile.write(body)
		    def log_message(self, *words): pass
		    def address_string(self): return ""
		socketserver.UnixStreamServer(sys.argv[1], Lies).serve_forever()
	P
	liar=$!
	eventually 60 "[ -S '$1/control.sock' ]"
}

# --- createRuntime without a runtime: its container is a process in a mount namespace that outlives the hook
by_hand() { # by_hand CONTAINER RUNTIME-DIR [COMMAND...]: the hook's exit status; its words in $TEST_DIR/by-hand.err
	local container=$1 dir=$2
	shift 2
	mkdir -p "$TEST_DIR/by-hand"
	jq -n --arg rootfs "$rootfs" '{root: {path: $rootfs}, mounts: []}' >"$TEST_DIR/by-hand/config.json"
	jq -n --arg bundle "$TEST_DIR/by-hand" --arg container "$container" --argjson pid "$init" '{id: "by-hand", status: "creating",
		pid: $pid, bundle: $bundle, annotations: {"secretlet.dev/pod": "default/web", "secretlet.dev/container": $container}}' |
		"$@" "$secretlet" hook --timeout 1s --runtime-dir "$dir" createRuntime 2>"$TEST_DIR/by-hand.err"
}
mounted() { awk -v root="$rootfs/" 'index($5, root) == 1 { print substr($5, length(root)) }' "/proc/$init/mountinfo" | xargs; }
test_by_hand() {
	unshare --mount --propagation private sleep 1000 &
	init=$!
	eventually 60 "[ \"\$(readlink /proc/$init/ns/mnt)\" != \"\$(readlink /proc/$$/ns/mnt)\" ] && grep -q sleep /proc/$init/comm"
	by_hand half "$run"
	check "a container whose last mount fails is refused" test $? = 1
	check_contains "and the reason is said" "$(cat "$TEST_DIR/by-hand.err")" "mountPath /etc/file: the volume has a folder"
	check_equal "none of its other mounts is left in its mount namespace" "$(mounted)" ""
	by_hand main "$run"
	check_equal "as a container has them that gets all" "$? $(mounted)" "0 /creds /one/password /made/for/it"
	kill "$init"
	wait "$init" 2>/dev/null
}

# --- a file system that takes a request and never answers: nothing ends who waits for it, not even SIGKILL
hang() { # hang DIR: mounts one there; its pid is $hanging
	mkdir -p "$1"
	python3 - "$1" <<-'P' &
		import ctypes, os, struct, sys
		fd = os.open("/dev/fuse", os.O_RDWR)
		libc = ctypes.CDLL(None, use_errno=True)
		options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
		if libc.mount(b"hang", sys.argv[1].encode(), b"fuse.hang", 0, options) < 0:
		    sys.exit(os.strerror(ctypes.get_errno()))
		while True:
		    request = os.read(fd, 1 << 20)
		    opcode, unique = struct.unpack_from("<IQ", request, 4)
		    if opcode == 26:  # FUSE_INIT: 7.31, nothing asked for
		        os.write(fd, struct.pack("<IiQIIIIHHII36x", 80, 0, unique, 7, 31, 4096, 0, 0, 0, 4096, 0))
	P
	hanging=$!
	eventually 60 "grep -qF ' $1 ' /proc/self/mountinfo" # mountpoint(1) would ask it
}
# with_log COMMAND...: in a mount namespace whose /dev/log is $TEST_DIR/log, which goes to $TEST_DIR/log.txt; or it is $LOG
with_log() {
	unshare --mount --propagation private bash -c '
		mkdir -p "$0/dev" && mount --rbind /dev "$0/dev" && mount -t tmpfs none /dev || exit 99
		ln -s "$0"/dev/* /dev/
		ln -sfn "${LOG:-$0/log}" /dev/log
		exec "$@"' "$TEST_DIR" "$@"
}
start_log() {
	python3 - "$TEST_DIR/log" >"$TEST_DIR/log.txt" <<-'P' &
		import socket, sys
		log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		log.bind(sys.argv[1])
		while True:
		    print(log.recv(65536).decode(), flush=True)
	P
	logging=$!
	eventually 60 "[ -S '$TEST_DIR/log' ]"
}
logged() { # logged NAME WORDS
	eventually 60 "grep -qF '$2' '$TEST_DIR/log.txt'"
	check_contains "the system's log has it: $1" "$(cat "$TEST_DIR/log.txt")" "$2"
}
start_hanging() {
	hang "$TEST_DIR/hang"
	lie "$TEST_DIR/hanging" "$TEST_DIR/hang/creds"
	hanging_liar=$liar
	unshare --mount --propagation private sleep 1000 &
	init=$!
	eventually 60 "grep -q sleep /proc/$init/comm"
	# who waits for the end of what it says, as a runtime does, sees it, too
	(by_hand main "$TEST_DIR/hanging" with_log timeout 200; echo "$?") | cat >"$TEST_DIR/hanging.out" &
	hung=$!
}
test_hanging() {
	wait "$hung"
	check_equal "a file system that hangs: the hook ends" "$(cat "$TEST_DIR/hanging.out")" 1
	check_contains "and says where it hung" "$(cat "$TEST_DIR/by-hand.err")" "time is up: open $TEST_DIR/hang/creds"
	logged "a file system that hangs" "time is up: open $TEST_DIR/hang/creds"
	kill "$hanging" "$hanging_liar" "$init"
	wait "$hanging" "$hanging_liar" "$init" 2>/dev/null
}
test_log() {
	local asks='{"annotations": {"secretlet.dev/pod": "POD", "secretlet.dev/container": "NAME"}}' words
	words=${asks/POD/default/late}
	with_log "$secretlet" hook --timeout 200ms --runtime-dir "$run" precreate <<<"${words/NAME/main}" 2>/dev/null
	logged "why a pod is not ready" 'volume creds: waiting: secret "late" not found'
	words=${asks/POD/default/nobody}
	with_log "$secretlet" hook --timeout 200ms --runtime-dir "$run" precreate <<<"${words/NAME/main}" 2>/dev/null
	logged "that there is no such pod" "default/nobody"
	words=${asks/POD/default/web}
	with_log "$secretlet" hook --timeout 200ms --runtime-dir "$run" precreate <<<"${words/NAME/other}" 2>/dev/null
	logged "that there is no such container" "has no container other"
	with_log "$secretlet" hook --timeout 200ms --runtime-dir /nowhere precreate <<<"${words/NAME/main}" 2>/dev/null
	logged "that there is no daemon" "cannot reach secretlet"
}
# A log that is full, and read by nobody; signals as no runtime should leave them
test_full_log() {
	local full
	python3 - "$TEST_DIR/full" <<-'P' &
		import os, signal, socket, sys
		def new():
		    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		log, senders, sent = new(), [], 1
		log.bind(sys.argv[1] + ".new")
		while sent > 0:  # a sender of its own has room of its own: when not even that helps, it is full
		    sent = 0
		    senders.append(new())
		    senders[-1].connect(sys.argv[1] + ".new")
		    senders[-1].setblocking(False)
		    try:
		        while True:
		            sent += senders[-1].send(b"x")
		    except BlockingIOError:
		        pass
		os.rename(sys.argv[1] + ".new", sys.argv[1])
		signal.pause()
	P
	full=$!
	eventually 60 "[ -S '$TEST_DIR/full' ]"
	LOG=$TEST_DIR/full with_log timeout 60 env --ignore-signal=CHLD,ALRM --block-signal=ALRM,CHLD "$secretlet" hook --timeout 200ms \
		--runtime-dir /nowhere precreate <<<'{"annotations": {"secretlet.dev/pod": "default/web", "secretlet.dev/container": "main"}}' 2>"$TEST_DIR/err"
	check_equal "a log that is full is not waited for" $? 3
	check_contains "the reason is on stderr" "$(cat "$TEST_DIR/err")" "cannot reach secretlet"
	"$secretlet" hook "$(printf 'bad\033[31m')" </dev/null 2>"$TEST_DIR/err"
	check_contains "nothing reaches a terminal as it is" "$(cat "$TEST_DIR/err")" "'bad?[31m'"
	kill "$full"
	wait "$full" 2>/dev/null
}

"$secretlet" run --manifests "$manifests" --pods-dir "$pods" --runtime-dir "$run" 2>"$log" &
daemon=$!
check "the pod is ready" "$secretlet" wait --quiet --runtime-dir "$run" default/web
for stage in createContainer poststop ""; do
	"$secretlet" hook "$stage" </dev/null >/dev/null 2>"$TEST_DIR/err"
	check_equal "stage '$stage' is refused" $? 2
done
uid=$("$secretlet" pods --runtime-dir "$run" -o json | jq -r '.pods[] | select(.name == "web").uid')
start_log
start_hanging # while the rest is tested
test_log
test_full_log
test_precreate
for runtime in crun runc; do test_runtime; done
test_hanging
test_by_hand
kill "$daemon" "$logging"
wait "$logging" 2>/dev/null
wait "$daemon"
check_equal "the daemon ends" $? 0
tap_done
