#!/usr/bin/env bash
# timeout: 3600
# The Containerfile, built to its end by podman from a Debian that debootstrap makes out of this machine's mirror, and run.
# It takes long. test/e2e/daemonset.sh runs the same image, put together out of this machine's packages, as the DaemonSet does.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
root=$(realpath "$here/../..") base=$TEST_DIR/base image=localhost/secretlet:test

[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }
for tool in podman debootstrap runc; do command -v "$tool" >/dev/null || { echo "$tool is not installed"; exit 77; }; done
suite=bookworm # as the Containerfile's BASE
mirror=$(apt-get indextargets --format '$(SITE)' "Codename: $suite" 'Component: main' 'Created-By: Packages' 2>/dev/null | head -n 1)
[ -n "$mirror" ] || { echo "apt has no mirror of $suite here"; exit 77; }

# --- the base: as the image that it stands for, but of this machine's mirror, and by its proxies
mkdir -p "$base"/etc/{apt/apt.conf.d,dpkg/dpkg.cfg.d}
echo force-unsafe-io >"$base/etc/dpkg/dpkg.cfg.d/unsafe-io"
apt-config dump | grep -E '^Acquire::https?::Proxy' >"$base/etc/apt/apt.conf.d/proxy"
if ! debootstrap --variant=minbase "$suite" "$base" "$mirror" >"$TEST_DIR/debootstrap.out" 2>&1; then
	tail -n 20 "$TEST_DIR/debootstrap.out"
	echo "debootstrap makes no base here"
	exit 77
fi
rm -f "$base"/var/cache/apt/archives/*.deb
# what a machine without all capabilities, or with an old hierarchy of cgroups, cannot do is left out
cat >"$TEST_DIR/containers.conf" <<-C
	[containers]
	default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
	[engine]
	runtime = "runc"
	cgroup_manager = "cgroupfs"
	events_logger = "file"
C
export CONTAINERS_CONF=$TEST_DIR/containers.conf
podman_() { podman --root "$TEST_DIR/store" --runroot "$TEST_DIR/runroot" "$@"; }
in_image() { podman_ run --rm --network none "$@" 2>>"$TEST_DIR/run.out"; }
if ! tar -C "$base" -c . | podman_ import - localhost/debian:$suite >"$TEST_DIR/import.out" 2>&1; then
	cat "$TEST_DIR/import.out"
	echo "podman can store no image here"
	exit 77
fi
rm -rf "$base"

# --- the image
version=$(cat "$root/VERSION")
if podman_ build --isolation chroot --network host --build-arg BASE=localhost/debian:$suite --file "$root/deploy/kubernetes/Containerfile" \
	--tag "$image" "$root" >"$TEST_DIR/build.out" 2>&1; then
	tap_result ok "the Containerfile builds"
else
	tap_result "not ok" "the Containerfile builds" "$(tail -n 40 "$TEST_DIR/build.out")"
	tap_done
	exit
fi
check_equal "it runs, and has the version" "$(in_image "$image" --version)" "secretlet $version"
check_equal "so has its label" "$(podman_ inspect --format '{{index .Labels "org.opencontainers.image.version"}}' "$image")" "$version"
check_equal "as the DaemonSet's arguments take it" "$(podman_ inspect --format '{{.Config.Entrypoint}} {{.Config.Cmd}}' "$image")" "[/usr/bin/secretlet] [run]"
check_equal "the agent's user is there" "$(in_image --entrypoint id "$image" -un 64571)" secretlet
check_equal "what is loaded when it is first used is there" \
	"$(in_image --entrypoint ldconfig "$image" -p | grep -oE 'lib(curl|microhttpd|gnutls)\.so\.[0-9]+' | sort -u | sed 's/\.so.*//' | xargs)" "libcurl libgnutls libmicrohttpd"
check_equal "and what the DaemonSet's guard takes" "$(in_image --entrypoint sh "$image" -c 'for p in mkdir chattr; do command -v $p; done' | xargs -n 1 basename | xargs)" "mkdir chattr"
check_equal "nothing of the build is" "$(in_image --entrypoint sh "$image" -c 'ls -d /src /usr/include/curl; for p in gcc make; do command -v $p; done')" ""
[ "$tap_failed" = 0 ] || sed 's/^/# /' "$TEST_DIR/run.out"
podman_ unmount --all >"$TEST_DIR/unmount.out" 2>&1
tap_done
