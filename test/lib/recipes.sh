# The recipes of secretlet-runtimes(7), as they stand there, in a world of their own: a real systemd (systemd.sh), what `make
# install` installs, and the pod of examples/demo. Sourced by test/e2e/recipes-*.sh.
# shellcheck shell=bash disable=SC2034
recipes_here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
# shellcheck source=tap.sh
. "$recipes_here/tap.sh"
# shellcheck source=systemd.sh
. "$recipes_here/systemd.sh"
recipes_root=$recipes_here/../..
recipes_page=$recipes_root/man/secretlet-runtimes.7
manifests=/etc/secretlet/manifests

skip_all() { # skip_all REASON
	echo "$*"
	exit 77
}

# recipe "file: PATH"|"commands: NAME": the literal block behind that comment, without mdoc's escapes
recipe() {
	local text
	text=$(awk -v want=".\\\\\" $1" '$0 == want { found = 1; next } found && /^\.Bd/ { inside = 1; next }
		inside && /^\.Ed/ { exit } inside' "$recipes_page" | sed -e 's/\\&//g' -e 's/\\(dq/"/g' -e 's/\\-/-/g' -e 's/\\e/\\/g')
	[ -n "$text" ] || echo "recipe: no '$1' in $recipes_page" >&2
	printf '%s\n' "$text"
}
recipe_file() { # recipe_file PATH: the file of that recipe, where it belongs
	mkdir -p "$sd/files${1%/*}"
	recipe "file: $1" >"$sd/files$1"
}
recipe_run() { # recipe_run NAME [SED]: the commands of that recipe, in there
	recipe "commands: $1" | sed -e "${2:-}" >"$TEST_DIR/recipe"
	inside bash -euo pipefail -s <"$TEST_DIR/recipe"
}

secret() { # secret PASSWORD: that of examples/demo gets this value
	sed "s/password: .*/password: $1/" "$recipes_root/examples/demo/credentials.yaml"
}
rotate() { # rotate PASSWORD
	secret "$1" | inside sh -c "cat >/run/next && mv /run/next $manifests/credentials.yaml"
}

recipes_prepare() { # before systemd_up
	[ "$(id -u)" = 0 ] || skip_all "root is needed"
	[ -x /lib/systemd/systemd ] || skip_all "no systemd here"
	mkdir -p "$sd/files$manifests"
	make -s -C "$recipes_root" install B="$TEST_BUILD_DIR" DESTDIR="$sd/files" PREFIX=/usr SYSCONFDIR=/etc \
		UNITDIR=/etc/systemd/system SYSUSERSDIR=/usr/lib/sysusers.d >"$TEST_DIR/install.out" 2>&1 ||
		{ cat "$TEST_DIR/install.out"; exit 1; }
	printf 'apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\nmanifestsDir: %s\n' "$manifests" \
		>"$sd/files/etc/secretlet/secretlet.yaml"
	cp "$recipes_root"/examples/demo/web*.yaml "$sd/files$manifests/"
	secret first >"$sd/files$manifests/credentials.yaml"
}
recipes_start() {
	systemd_up || { cat "$sd/console"; tap_result "not ok" "systemd comes up" && tap_done; exit 1; }
}
# Where no service manager is needed: what is installed lies over this machine's own in the test's mount namespace, and
# secretlet runs.
recipes_world() {
	local world=$TEST_DIR/world d
	mkdir -p "$world"
	mount -t tmpfs none "$world"
	for d in usr etc var/lib; do
		mkdir -p "$world/up/$d" "$world/work/$d" "$sd/files/$d"
		cp -a "$sd/files/$d/." "$world/up/$d/"
		mount -t overlay -o "lowerdir=/$d,upperdir=$world/up/$d,workdir=$world/work/$d" none "/$d" || return 1
	done
	mkdir -p /var/lib/containers /var/lib/containerd
	for d in run srv var/lib/containers var/lib/containerd; do mount -t tmpfs none "/$d" || return 1; done
	cp -a "$sd/files/srv/." /srv/
	# both halves of a hybrid hierarchy are more than crun takes
	if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
	mount --make-rshared /
	# shellcheck disable=SC2317 # instead of that of systemd.sh
	inside() { env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
	secretlet run 2>"$TEST_DIR/secretlet.log" &
	recipes_daemon=$!
	check "the pod is ready" inside secretlet wait default/web
}
recipes_end() {
	kill "$recipes_daemon"
	wait "$recipes_daemon"
	check_equal "the daemon ends" $? 0
}
# a root filesystem of busybox
recipes_rootfs() { # recipes_rootfs DIR
	command -v busybox >/dev/null || skip_all "busybox is not installed"
	mkdir -p "$1"/{bin,dev,proc,sys,etc,tmp}
	cp "$(command -v busybox)" "$1/bin/busybox"
	for applet in sh cat echo grep ls rm sleep stat usleep; do ln -s busybox "$1/bin/$applet"; done
	chroot "$1" /bin/sh -c true || skip_all "busybox does not run without libraries (install busybox-static)"
}
