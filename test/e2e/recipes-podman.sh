#!/usr/bin/env bash
# timeout: 900
# The recipes of secretlet-runtimes(7) for podman, with Debian's. It is older than quadlet: of the .container file the
# keys are put on podman's command line here, as podman-systemd.unit(5) says.
set -u
# shellcheck source=../lib/recipes.sh
. "$(dirname "$(realpath "$0")")/../lib/recipes.sh"

command -v podman >/dev/null || skip_all "podman is not installed"
command -v conmon >/dev/null || skip_all "conmon is not installed"
recipes_prepare
recipes_rootfs "$TEST_DIR/image"
mkdir -p "$sd/files/srv" "$sd/files/etc/containers"
tar -C "$TEST_DIR/image" -cf "$sd/files/srv/image.tar" .
# a machine that tests may have no CAP_SYS_RESOURCE and no network
cat >"$sd/files/etc/containers/containers.conf" <<-'C'
	[containers]
	default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
	netns = "none"
	[engine]
	runtime = "runc"
	cgroup_manager = "cgroupfs"
	events_logger = "file"
	C
recipes_world || skip_all "no overlay can be mounted here"
inside podman import --change 'CMD ["/bin/sleep", "1000"]' /srv/image.tar localhost/web:latest >"$TEST_DIR/import.out" 2>&1 ||
	{ sed 's/^/# /' "$TEST_DIR/import.out"; skip_all "podman cannot keep an image here"; }
usable=$(inside podman run --rm localhost/web:latest /bin/echo it runs 2>&1)
[ "$(tail -n 1 <<<"$usable")" = "it runs" ] || skip_all "podman starts no container here: $usable"

reads() { [ "$(inside podman exec web cat /etc/credentials/password 2>&1)" = "$1" ]; }
remove() { inside podman rm -f -t 0 web >/dev/null 2>&1; }
shows() { eventually 60 "grep -q '$1' /var/lib/pods/by-name/default/web/volumes/kubernetes.io~secret/credentials/password"; }
for name in podman podman-volume; do
	rotate first
	shows first
	recipe_run "$name" >"$TEST_DIR/out" 2>&1
	check_equal "recipe $name" "$? $(grep -i error "$TEST_DIR/out")" "0 "
	check "$name: the container reads its Secret" eventually 60 "reads first"
	rotate second
	check "$name: it sees the update" eventually 60 "reads second"
	if [ "$name" = podman ]; then
		inside podman stop -t 0 web >/dev/null 2>&1
		inside podman --hooks-dir /usr/share/secretlet/oci/hooks.d start web >/dev/null
		check "$name: started again, it asks again" eventually 60 "reads second"
	fi
	remove
done

# --- refusals
hooked() { inside podman --hooks-dir /usr/share/secretlet/oci/hooks.d run --rm "$@"; }
out=$(hooked --annotation secretlet.dev/pod=default/web --annotation secretlet.dev/container=other \
	localhost/web:latest /bin/echo it runs 2>&1)
check "without its volumes a container is not started" test $? != 0
check_equal "nothing of it ran" "$(grep -c "it runs" <<<"$out")" 0
check_contains "the reason is said" "$out" "has no container other"

# --- an image that would like to be a pod's container: podman hands the annotations of its manifest on
mkdir -p "/srv/evil"
python3 - "/srv/evil" /srv/image.tar <<-'P'
	import hashlib, json, os, sys
	out, layer = sys.argv[1], open(sys.argv[2], "rb").read()
	os.makedirs(out + "/blobs/sha256")
	def blob(kind, data):
	    if not isinstance(data, bytes):
	        data = json.dumps(data).encode()
	    digest = hashlib.sha256(data).hexdigest()
	    open(out + "/blobs/sha256/" + digest, "wb").write(data)
	    return {"mediaType": "application/vnd.oci.image." + kind, "digest": "sha256:" + digest, "size": len(data)}
	tar = blob("layer.v1.tar", layer)
	config = blob("config.v1+json", {"architecture": "amd64", "os": "linux", "history": [{}],
	    "config": {"Cmd": ["/bin/sh"]}, "rootfs": {"type": "layers", "diff_ids": [tar["digest"]]}})
	manifest = blob("manifest.v1+json", {"schemaVersion": 2, "config": config, "layers": [tar], "annotations": {
	    "secretlet.dev/pod": "default/web", "secretlet.dev/container": "nginx", "io.kubernetes.cri-o.ContainerType": "sandbox"}})
	manifest["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
	json.dump({"schemaVersion": 2, "manifests": [manifest]}, open(out + "/index.json", "w"))
	json.dump({"imageLayoutVersion": "1.0.0"}, open(out + "/oci-layout", "w"))
	P
evil=$(inside podman pull --quiet "oci:/srv/evil:latest")
out=$(inside podman run --rm "$evil" /bin/sh -c 'echo it runs; cat /etc/credentials/password' 2>&1)
check_contains "an image with annotations runs" "$out" "it runs"
check_contains "and gets nothing that nobody asked for" "$out" "No such file"
check_equal "with the hook it has them, and cannot switch it off" "$(hooked "$evil" /bin/cat /etc/credentials/password 2>&1)" second
out=$(hooked --annotation secretlet.dev/container=other "$evil" /bin/echo it runs 2>&1)
check_contains "what the command line says wins" "$out" "has no container other"

# --- a copy of the hook that matches some pods
for pod in default/web default/other; do
	mkdir -p "/run/limited/$pod"
	jq ". + {$(recipe "file: when" | sed "s|default/web|$pod|")}" /usr/share/secretlet/oci/hooks.d/secretlet.json \
		>"/run/limited/$pod/secretlet.json"
done
limited() { inside podman --hooks-dir "/run/limited/$1" run --rm "$evil" /bin/cat /etc/credentials/password 2>&1; }
check_equal "a copy of the hook acts for the pod that it matches" "$(limited default/web)" second
check_contains "and for no other" "$(limited default/other)" "No such file"

# --- precreate
mkdir -p /run/precreate
cp /usr/share/secretlet/oci/secretlet-precreate.json /run/precreate/secretlet.json
precreate() { inside podman --hooks-dir /run/precreate run --annotation secretlet.dev/pod=default/web "$@"; }
precreate --detach --name web --annotation secretlet.dev/container=nginx localhost/web:latest >"$TEST_DIR/out" 2>&1
check_equal "precreate: the container is started" "$? $(grep -i error "$TEST_DIR/out")" "0 "
check "precreate: it reads its Secret" eventually 60 "reads second"
rotate third
check "precreate: it sees the update" eventually 60 "reads third"
remove
out=$(precreate --rm --annotation secretlet.dev/container=other localhost/web:latest /bin/echo it runs 2>&1)
check "precreate: without its volumes a container is not started" test $? != 0
check_equal "precreate: nothing of it ran" "$(grep -c "it runs" <<<"$out")" 0

# --- quadlet
check_equal "the page has the file" "$(recipe "file: /etc/containers/systemd/web.container")" \
	"$(sed '/^#/d' "$recipes_root/deploy/podman/web.container")"
# The words of podman's command line; a key that is not known here is an error.
quadlet() {
	awk -F= '/^\[/ { part = $0; next } part != "[Container]" || /^$/ { next }
		{ key = $1; sub(/^[^=]*=/, ""); value = $0 }
		key == "ContainerName" { print "--name=" value; next } key == "Annotation" { print "--annotation=" value; next }
		key == "GlobalArgs" { next } # they go before the others
		key == "Image" { image = value; next } { print "--unknown-key=" key } END { print image }'
}
mapfile -t words < <(recipe "file: /etc/containers/systemd/web.container" | quadlet)
args=$(recipe "file: /etc/containers/systemd/web.container" | sed -n 's/^GlobalArgs=//p')
inside podman "$args" run --detach "${words[@]}" >"$TEST_DIR/out" 2>&1
check_equal "the container of the .container file" "$? $(grep -i error "$TEST_DIR/out")" "0 "
check "it reads its Secret" eventually 60 "reads third"
rotate fourth
check "it sees the update" eventually 60 "reads fourth"
remove
# behind each container its conmon and the podman that this one calls clean up in their own time
ours() { # those of our mount namespace
	local p
	for p in $(pgrep -x 'conmon|podman'); do
		[ "$(readlink "/proc/$p/ns/mnt")" != "$(readlink /proc/self/ns/mnt)" ] || echo "$p"
	done
}
eventually 60 '[ -z "$(ours)" ]' || for p in $(ours); do kill "$p"; done
check "nothing of podman's is left" eventually 20 '[ -z "$(ours)" ]'
recipes_end
tap_done
