#!/usr/bin/env bash
# timeout: 1500
# The Debian package under a real systemd, where secretlet never was: installed, upgraded under readers, removed, purged.
# It takes long.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
# shellcheck source=../lib/systemd.sh
. "$here/../lib/systemd.sh"

[ -x /lib/systemd/systemd ] || { echo "no systemd here"; exit 77; }
command -v dh >/dev/null || { echo "no debhelper here"; exit 77; }
! dpkg-query -W secretlet >/dev/null 2>&1 || { echo "secretlet is installed here"; exit 77; }
root=$here/../.. pods=/var/lib/pods conf=/etc/secretlet
vol=$pods/by-name/default/app/volumes/kubernetes.io~secret/creds

# --- two packages: of what was built here, and that with another number
old=$(cat "$root/VERSION") new=9${old:1} next=$TEST_DIR/next deb=$sd/files/srv/old.deb
mkdir -p "$sd/files/srv" "$sd/files/usr/sbin" "$sd/files/usr/local/bin"
if ! DEB_BUILD_OPTIONS=noautodbgsym env -u MAKEFLAGS -u MAKELEVEL "$root/deploy/mkdeb" --build "$TEST_BUILD_DIR" --out "$TEST_DIR/deb" \
	>"$TEST_DIR/deb.out" 2>&1; then
	tap_result "not ok" "a package is built" "$(tail -n 40 "$TEST_DIR/deb.out")"
	tap_done
	exit
fi
mv "$TEST_DIR/deb/secretlet_${old}_$(dpkg --print-architecture).deb" "$deb"
dpkg-deb -R "$deb" "$next"
sed -i "s/^Version: .*/Version: $new/" "$next/DEBIAN/control"
sed -i "s/${old//./\\.}/$new/g" "$next/usr/bin/secretlet"
(cd "$next" && md5sum usr/bin/secretlet >DEBIAN/md5sums)
dpkg-deb --root-owner-group -b "$next" "$sd/files/srv/new.deb" >/dev/null
if command -v lintian >/dev/null; then
	(lintian --allow-root --fail-on error,warning "$deb" >"$TEST_DIR/lintian.out" 2>&1; echo "exit $?" >>"$TEST_DIR/lintian.out") &
	lintian=$!
fi
# what is loaded later is no library of the program's; the package names it nevertheless
depends=" $(dpkg-deb -f "$deb" Depends | sed 's/([^)]*)//g; s/,/ /g' | xargs) "
for lib in curl microhttpd gnutls fuse3 systemd; do
	check "it depends on lib$lib" grep -q " lib$lib" <<<"$depends"
done
check_equal "its configuration file" "$(dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./conffiles)" $conf/secretlet.yaml
listed() { dpkg-deb --fsys-tarfile "$deb" | tar -t | sed -n 's,^\./\(.*[^/]\)$,\1,p' | sed -E 's,^(usr/share/man/.*|usr/share/doc/secretlet/changelog)\.gz$,\1,' | sort; }
env -u MAKEFLAGS -u MAKELEVEL make -s -C "$root" -o all install B="$TEST_BUILD_DIR" DESTDIR="$TEST_DIR/dest" PREFIX=/usr >"$TEST_DIR/install.out" 2>&1
check_equal "it has what make install installs, and its own, compressed only where it must be" "$(listed)" \
	"$({ cd "$TEST_DIR/dest" && find . -type f -printf '%P\n' && printf '%s\n' ${conf#/}/secretlet.yaml usr/share/{doc/secretlet/{changelog,copyright},lintian/overrides/secretlet}; } | sort)"
check_equal "manifests are root's alone" "$(dpkg-deb -c "$deb" | awk '$6 == "./etc/secretlet/manifests/" { print $1, $2 }')" "drwx------ root/root"

# --- the machine
printf '#!/bin/sh\nexit 0\n' >"$sd/files/usr/sbin/policy-rc.d" # an image for containers forbids to start anything
chmod 755 "$sd/files/usr/sbin/policy-rc.d"
# A container's view, see systemd.sh: by name, from the caches and not from them, and a file that is held open.
cat >"$sd/files/usr/local/bin/reader" <<-'R'
	#!/bin/bash
	mkdir -p /run/reader/creds
	mount --bind "$1/" /run/reader/creds
	cd /run/reader
	exec 9<creds/a
	inotifywait -q -m -e create,moved_to,delete,delete_self,unmount --format '%e %f' creds >/run/reader.events 2>/dev/null &
	watcher=$!
	first=$(cat creds/a) reads=0 errors=0
	while [ ! -e /run/reader.stop ]; do
		text=$(cat creds/..data/a 2>&1)
		case $text in one | two | three) ;; *) errors=$((errors + 1)) && echo "read: $text" ;; esac
		dd if=creds/b iflag=nocache count=0 status=none 2>&1
		text=$(timeout 60 cat creds/b 2>&1)
		case $text in one | two | three) ;; *) errors=$((errors + 1)) && echo "uncached: $text" ;; esac
		dd if=/proc/self/fd/9 iflag=nocache count=0 status=none 2>&1
		text=$(timeout 60 cat /proc/self/fd/9 2>&1)
		[ "$text" = "$first" ] || { errors=$((errors + 1)) && echo "held: $text"; }
		reads=$((reads + 1))
		echo "$reads" >/run/reader.count
		sleep 0.1
	done
	kill "$watcher"
	echo "$errors errors" >/run/reader.result
	R
chmod 755 "$sd/files/usr/local/bin/reader"
if ! systemd_up; then
	tail -n 20 "$sd/console" | sed 's/^/# /'
	echo "systemd cannot be booted here"
	exit 77
fi
unit() { inside systemctl "$@" secretlet; }
is() { [ "$(unit is-active)" = "$1" ]; }
dpkg_() { # dpkg_ ARGUMENT...: as the administrator calls it, but for the index of all manual pages
	inside env DEBIAN_FRONTEND=noninteractive dpkg --no-triggers "$@" >"$TEST_DIR/dpkg.out" 2>&1 </dev/null || { cat "$TEST_DIR/dpkg.out"; return 1; }
}
dpkg_in_time() { # dpkg_in_time SECONDS ARGUMENT...
	inside timeout -k 1 "$1" dpkg --no-triggers "${@:2}" >"$TEST_DIR/dpkg.out" 2>&1 </dev/null || { cat "$TEST_DIR/dpkg.out"; return 1; }
}
put() { # put VALUE: the Secret, as a manifest
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {a: "%s", b: "%s"}\n' "$1" "$1" |
		inside sh -c "cat >$conf/manifests/.next && mv $conf/manifests/.next $conf/manifests/db.yaml"
}
serves() { # serves VALUE
	inside secretlet wait --quiet --timeout 20s default/app && eventually 20 "[ \"\$(inside timeout 20 cat $vol/a)\" = $1 ]"
}
mounted() { inside grep " $pods " /proc/self/mountinfo; }
n_started() { inside journalctl -q -o json -u secretlet | jq -r ._SYSTEMD_INVOCATION_ID | sort -u | wc -l; }
reads_on() { # the reader has come by again
	local count
	count=$(inside cat /run/reader.count)
	eventually 30 "[ \$(inside cat /run/reader.count) -gt $((count + 1)) ]"
}
there() { # there PATH...: those that are there
	local path
	for path in "$@"; do inside test ! -e "$path" || echo "$path"; done
}
# All that is not as it was before systemd came up, but for what dpkg, systemd and the users' databases keep.
changed() {
	local path
	inside find /mnt/changed -mindepth 1 -printf '%P\n' | sort | while read -r path; do
		case $path in
		mnt* | root* | tmp* | var/lib/dpkg* | var/lib/systemd* | var/log/journal* | var/log/dpkg.log) ;;
		etc/passwd* | etc/group* | etc/shadow* | etc/gshadow*) ;;
		*) [ -d "/$path" ] || echo "$path" ;;
		esac
	done
}
before=$(changed)

# --- installed: enabled, started, and of use
check "dpkg --install" dpkg_ -i /srv/old.deb
check_equal "it is enabled" "$(unit is-enabled)" enabled
check_equal "it is started" "$(unit is-active)" active
check "it is healthy, though it has nothing to serve" eventually 20 inside secretlet status
check "the user is made" inside sh -c "id secretlet >/dev/null"
inside sh -c "cat >$conf/manifests/app.yaml" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: app}
	spec:
	  volumes: [{name: creds, secret: {secretName: db}}]
	  containers: [{name: main, image: none, volumeMounts: [{name: creds, mountPath: /creds}]}]
	Y
put one
check "a pod of its folder of manifests is served" serves one
check_equal "the version" "$(inside secretlet status -o json | jq -r .version)" "$old"
check_equal "the agent is user secretlet" "$(inside sh -c 'stat -c %U /proc/$(pgrep -f ^secretlet-agent | head -n 1)')" secretlet
inside sed -i 's/^#logLevel: info/logLevel: debug/' $conf/secretlet.yaml
unit reload

# --- upgraded while somebody reads
inside unshare -m --propagation private reader "$vol" >"$TEST_DIR/reader.out" 2>&1 &
reader=$!
check "the reader reads" eventually 20 "inside test -s /run/reader.count"
mount=$(mounted) started=$(n_started)
check "dpkg --install of the next version" dpkg_ -i /srv/new.deb
check "it runs" eventually 20 is active
check_equal "the new version is installed" "$(inside secretlet version)" "$("$next/usr/bin/secretlet" version)"
check "the new version runs" eventually 20 "[ \"\$(inside secretlet status -o json | jq -r .version)\" = $new ]"
check_equal "in all its processes" "$(inside sh -c 'for p in $(pgrep -f ^secretlet); do readlink /proc/$p/exe; done' | sort -u)" /usr/bin/secretlet
check_equal "it was started once" "$(($(n_started) - started))" 1
check_equal "and not again" "$(unit show -P NRestarts)" 0
check_equal "the mount is the one that it was" "$(mounted)" "$mount"
check "the reader reads on" reads_on
check_equal "who waits with inotify was not woken" "$(inside cat /run/reader.events)" ""
check "the configuration is the administrator's" inside grep -q '^logLevel: debug' $conf/secretlet.yaml
put two
check "an update is visible" serves two
check "inotify tells of it" eventually 20 "inside grep -q '^MOVED_TO ..data$' /run/reader.events"

# --- upgraded with a configuration that is wrong: that is the unit's trouble, neither dpkg's nor a reader's. What nobody reads for a
# while may leave the caches; this is read all the time
inside sh -c "while [ ! -e /run/reader.stop ]; do timeout 60 cat $vol/a >/dev/null && touch /run/reader.warm; sleep 0.5; done" &
check "somebody has read it" eventually 60 "inside test -e /run/reader.warm"
inside cp $conf/secretlet.yaml /srv/good.yaml
inside sh -c "echo 'noSuchField: 1' >>$conf/secretlet.yaml"
check "dpkg does its work with a wrong configuration" dpkg_ -i /srv/old.deb
check "the unit does not run" eventually 20 "! is active"
check "the journal says why" eventually 20 "inside journalctl -q -u secretlet | grep -q 'secretlet.yaml:.*noSuchField'"
check_equal "the mount is there" "$(mounted)" "$mount"
check_equal "what is cached can be read" "$(inside timeout 60 cat "$vol/a" || inside sh -c 'echo; stat -c "was read at %y" /run/reader.warm; date; free -m')" two
# what a file system has to be asked nobody answers now
check "dpkg does its work meanwhile, too" dpkg_in_time 60 -i /srv/old.deb
inside cp /srv/good.yaml $conf/secretlet.yaml
check "once it is right the unit runs by itself" eventually 20 is active
check_equal "the mount is the one that it was" "$(mounted)" "$mount"
put three
check "an update is visible" serves three
check "the reader reads on" reads_on
inside touch /run/reader.stop
wait "$reader"
check_equal "the reader saw no error" "$(inside cat /run/reader.result; head -n 3 "$TEST_DIR/reader.out")" "0 errors"

# --- removed: what ran is gone, what is configured stays
check "dpkg --remove" dpkg_ -r secretlet
check_equal "nothing is mounted" "$(mounted)" ""
check_equal "no process is left" "$(inside pgrep -f ^secretlet)" ""
check "the folder below the mount is one like any other" inside sh -c "mkdir $pods/any && rmdir $pods/any"
check_equal "there is no unit" "$(unit show -P LoadState)" not-found
check_equal "what stays" "$(there /usr/bin/secretlet /lib/systemd/system/secretlet.service /usr/lib/sysusers.d/secretlet.conf \
	/usr/share/doc/secretlet /run/secretlet $conf/secretlet.yaml $conf/manifests/db.yaml | xargs)" "$conf/secretlet.yaml $conf/manifests/db.yaml"
check "installed again" dpkg_ -i /srv/new.deb
check_equal "it is enabled" "$(unit is-enabled)" enabled
check "and serves what it served" serves three
check "with the configuration of before" inside grep -q '^logLevel: debug' $conf/secretlet.yaml

# --- the administrator has switched it off: an upgrade respects that
inside systemctl -q disable --now secretlet
check "an upgrade of a unit that is disabled" dpkg_ -i /srv/new.deb
check_equal "leaves it so" "$(unit is-enabled)" disabled
check "and does not start it" not is active
inside umount -l $pods
check_contains "nothing can be made where the mount was" "$(inside mkdir $pods/any 2>&1)" "Operation not permitted"

# --- another instance, as a DaemonSet has one, below the same folder. One that hangs keeps nobody waiting
state=/var/lib/secretlet live=/var/lib/secretlet/pods/by-name/default/app/volumes/kubernetes.io~secret/creds/a
inside sh -c "cp /usr/bin/secretlet /usr/local/bin/another; mkdir -p $state /srv/another; cp $conf/manifests/* /srv/another
	install -d -o secretlet -m 700 $state/offline; echo x >$state/offline/index; mkdir -p /var/log/secretlet; echo x >/var/log/secretlet/audit.jsonl"
inside systemd-run -q --unit=another /usr/local/bin/another run --manifests /srv/another --pods-dir $state/pods --runtime-dir /run/another
another() { [ "$(inside timeout 20 cat $live)" = three ]; }
check "another instance serves" eventually 30 another
# elsewhere: one that hangs, and one that is dead; and a dead one below the folder that is not ours
elsewhere() { inside systemd-run -q --unit="$1" /usr/local/bin/another run --manifests /srv/another --pods-dir "$2" --runtime-dir "/run/$1"; }
fuse_at() { inside sh -c "grep ' - fuse.secretlet ' /proc/self/mountinfo" | cut -d ' ' -f 5 | sort | xargs -d '\n'; }
inside mkdir "/srv/hangs" "/srv/dead 1"
elsewhere hangs "/srv/hangs"
elsewhere dead1 "/srv/dead 1"
elsewhere dead2 $state/dead
check "so do others elsewhere" eventually 30 'inside test -d /srv/hangs/by-name/default/app -a -d "/srv/dead 1/by-name/default/app" -a -d $state/dead/by-name/default/app'
inside systemctl kill -s KILL dead1 dead2
inside systemctl kill -s STOP hangs another
check "dpkg --remove while file systems hang" dpkg_in_time 60 -r secretlet
check_equal "it names the one that is nobody's, and leaves it" "$(grep 'does not answer' "$TEST_DIR/dpkg.out")" "secretlet: /srv/hangs does not answer and is left as it is"
check_equal "a dead mount is gone, but for those below another instance's folder" "$(fuse_at)" "/srv/hangs $state/dead $state/pods"
inside systemctl kill -s CONT another hangs
check "what hung is as it was" eventually 30 another
inside systemctl stop hangs
inside umount -l $state/dead
inside rm -rf "/srv/dead 1" /srv/hangs $state/dead
check "dpkg --purge while it is there" dpkg_ -P secretlet
check "leaves it as it was" eventually 30 another
check_equal "and what is beside it" "$(there $state/offline/index /var/log/secretlet/audit.jsonl | xargs)" "$state/offline/index /var/log/secretlet/audit.jsonl"
inside systemctl stop another
check "installed again" dpkg_ -i /srv/new.deb
unit stop
inside sh -c "mkdir $state/held; echo x >$state/held/index; echo x >$state/mine; rm -rf $state/pods"
# a folder of another program that has a name of ours in it; and names that a script that reads lines would take for two
inside bash -c "mkdir $state/site $state/\$'x\n'; touch $state/site/{index,index.html} $state/\$'x\n'/index; mkdir -p /srv/y && touch /srv/y/index; mkdir -p $state/\$'x\n/srv/y'"
inside systemd-run -q --unit=holds flock $state/held sleep 1000
check "somebody has locked a folder" eventually 20 not inside flock --nonblock $state/held true
check "dpkg --purge" dpkg_ -P secretlet
check_equal "what is locked, and what is of nobody's making, stays" "$(inside find $state /var/log/secretlet -type f 2>/dev/null | sort | xargs)" "$state/held/index $state/mine $state/site/index $state/site/index.html"
check "nor is a folder taken for another one by its name" inside test -e /srv/y/index
inside rm -r /srv/y
inside systemctl stop holds
inside rm -r $state /srv/another /usr/local/bin/another
check "installed again" dpkg_ -i /srv/new.deb

# --- purged: nothing of ours
inside install -d -o secretlet -m 700 /var/lib/secretlet /var/lib/secretlet/offline
inside sh -c 'echo x >/var/lib/secretlet/offline/index; mkdir -p /var/log/secretlet; echo x >/var/log/secretlet/audit.jsonl'
check "dpkg --purge" dpkg_ -P secretlet
check_equal "of ours nothing stays, of the administrator's all" "$(there $conf/secretlet.yaml $conf/manifests/db.yaml /run/secretlet /var/lib/secretlet \
	/var/log/secretlet $pods | xargs)" "$conf/manifests/db.yaml"
inside rm -r $conf /srv/good.yaml
check "installed again" dpkg_ -i /srv/old.deb
check_equal "it runs" "$(unit is-active)" active
check "it is healthy" eventually 20 inside secretlet status
check "dpkg --purge while it runs" dpkg_ -P secretlet
check_equal "nothing is mounted" "$(mounted)" ""
check_equal "nothing is left of it but its user" "$(comm -13 <(echo "$before") <(changed))" ""

if command -v lintian >/dev/null; then
	wait "$lintian"
	check_equal "lintian says nothing" "$(cat "$TEST_DIR/lintian.out")" "exit 0"
else
	tap_skip "lintian says nothing" "lintian is not installed"
fi
tap_done
