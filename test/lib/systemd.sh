# A real systemd as PID 1 of namespaces of its own, on a throw-away overlay of this machine's root; sourced by tests.
# shellcheck shell=bash
#
# No service of the machine is started; the network is the machine's. What belongs into the root is put below $sd/files
# before systemd_up; /mnt/changed in there has all that differs from the machine's. Ends with its namespaces, which end with
# the process that test/run kills.
sd=$TEST_DIR/sd sd_boot='' sd_pid=''

# Cgroups: systemd gets a subtree of version 2, which is all that it sees.
sd_cgroup() {
	local top=/sys/fs/cgroup
	[ -d $top/unified ] && top=$top/unified
	[ -e $top/cgroup.procs ] && mkdir "$top/secretlet-test-$$" 2>/dev/null && echo "$top/secretlet-test-$$"
}

systemd_down() {
	[ -z "$sd_boot" ] || kill -9 "$sd_boot" 2>/dev/null
	wait "$sd_boot" 2>/dev/null
	[ -z "${sd_cg:-}" ] || { sleep 0.2 && find "$sd_cg" -depth -type d -exec rmdir {} \; 2>/dev/null; }
}

# Exit status 1: it does not come up; $sd/console says why.
systemd_up() {
	mkdir -p "$sd/overlay" "$sd/files"
	sd_cg=$(sd_cgroup) || return 1
	trap systemd_down EXIT
	(
		echo "$BASHPID" >"$sd_cg/cgroup.procs" || exit 1
		export sd
		# shellcheck disable=SC2016
		exec unshare --mount --uts --ipc --cgroup --pid --fork --kill-child --propagation private bash -c '
		set -e
		mount -t tmpfs -o mode=755 none "$sd/overlay"
		mkdir "$sd"/overlay/{up,work,root}
		r=$sd/overlay/root
		mount -t overlay -o "lowerdir=/,upperdir=$sd/overlay/up,workdir=$sd/overlay/work" none "$r"
		mount -t proc proc "$r/proc"
		mount -t sysfs -o nosuid,nodev,noexec sysfs "$r/sys"
		mount -t cgroup2 none "$r/sys/fs/cgroup"
		mount -t tmpfs -o mode=755,nosuid none "$r/dev"
		for n in null zero full random urandom tty fuse; do
			: >"$r/dev/$n"
			mount --bind "/dev/$n" "$r/dev/$n"
		done
		ln -s /proc/self/fd "$r/dev/fd"
		mkdir "$r/dev/pts" "$r/dev/shm"
		mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 none "$r/dev/pts"
		ln -s pts/ptmx "$r/dev/ptmx"
		for d in dev/shm run tmp; do mount -t tmpfs -o mode=1777 none "$r/$d"; done
		chmod 755 "$r/run"
		mkdir -p "$r/etc/systemd/system"
		: >"$r/etc/fstab"
		cp -a "$sd/files/." "$r/"
		mkdir -p "$r/mnt/changed"
		mount --bind "$sd/overlay/up" "$r/mnt/changed"
		cd "$r"
		mkdir -p mnt/old
		pivot_root . mnt/old
		umount -l /mnt/old
		# without it LoadCredential= gives an empty folder, and containers see no mounts that come later
		mount --make-rshared /
		exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=other /lib/systemd/systemd --system \
			--log-target=console --unit=basic.target </dev/null'
	) >"$sd/console" 2>&1 &
	sd_boot=$!
	eventually 100 'sd_pid=$(pgrep -P $sd_boot | head -n 1) && [ -n "$sd_pid" ] && inside systemctl is-system-running | grep -qE "running|degraded"'
}

# inside COMMAND...: in there
inside() {
	nsenter -t "$sd_pid" --mount --uts --ipc --pid --root --wd -- \
		env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}
