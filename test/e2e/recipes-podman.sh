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
		inside podman start web >/dev/null
		check "$name: started again, it asks again" eventually 60 "reads second"
	fi
	remove
done

# --- refusals
out=$(inside podman run --rm --annotation secretlet.dev/pod=default/web --annotation secretlet.dev/container=other \
	localhost/web:latest /bin/echo it runs 2>&1)
check "without its volumes a container is not started" test $? != 0
check_equal "nothing of it ran" "$(grep -c "it runs" <<<"$out")" 0
check_contains "the reason is said" "$out" "has no container other"

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
		key == "Image" { image = value; next } { print "--unknown-key=" key } END { print image }'
}
mapfile -t words < <(recipe "file: /etc/containers/systemd/web.container" | quadlet)
inside podman run --detach "${words[@]}" >"$TEST_DIR/out" 2>&1
check_equal "the container of the .container file" "$? $(grep -i error "$TEST_DIR/out")" "0 "
check "it reads its Secret" eventually 60 "reads third"
rotate fourth
check "it sees the update" eventually 60 "reads fourth"
remove
recipes_end
tap_done
