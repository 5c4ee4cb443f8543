#!/usr/bin/env bash
# timeout: 400
# Under a real systemd, with the unit that is shipped: restarts, deaths and an upgrade that readers do not notice.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
# shellcheck source=../lib/systemd.sh
. "$here/../lib/systemd.sh"

[ -x /lib/systemd/systemd ] || { echo "no systemd here"; exit 77; }
pods=/var/lib/pods vol=/var/lib/pods/by-name/default/app/volumes/kubernetes.io~secret/creds manifests=/etc/secretlet/manifests
mkdir -p "$sd/files$manifests" "$sd/files/usr/local/bin" "$sd/files/etc/systemd/system/secretlet.service.d"
make -s -C "$here/../.." install B="$TEST_BUILD_DIR" DESTDIR="$sd/files" PREFIX=/usr SYSCONFDIR=/etc UNITDIR=/etc/systemd/system \
	SYSUSERSDIR=/usr/lib/sysusers.d >"$TEST_DIR/install.out" 2>&1 || { cat "$TEST_DIR/install.out"; exit 1; }
printf '[Service]\nWatchdogSec=3s\n' >"$sd/files/etc/systemd/system/secretlet.service.d/test.conf"
cat >"$sd/files/etc/secretlet/secretlet.yaml" <<-Y
	apiVersion: secretlet.config/v1alpha1
	kind: SecretletConfiguration
	manifestsDir: $manifests
	auditLog: /var/log/secretlet/audit.jsonl
	signalContainers: true
	Y
cat >"$sd/files$manifests/app.yaml" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: app, annotations: {secretlet.dev/volumes: "creds: {onChange: SIGHUP}"}}
	spec:
	  volumes: [{name: creds, secret: {secretName: db}}]
	  containers: [{name: main, image: none, volumeMounts: [{name: creds, mountPath: /creds}]}]
	Y
secret() { # secret VALUE: a manifest
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {a: "%s", b: "%s"}\n' "$1" "$1"
}
secret one >"$sd/files$manifests/db.yaml"

# A container's view: a bind mount of the volume in a mount namespace of its own, read in a loop, by name (from the caches
# and not from them) and through a file that is held open. Says how often, and what went wrong.
cat >"$sd/files/usr/local/bin/reader" <<-'R'
	#!/bin/bash
	mkdir -p /run/reader/creds
	mount --bind "$1/" /run/reader/creds
	cd /run/reader
	exec 9<creds/a
	first=$(cat creds/a) reads=0 errors=0
	while [ ! -e /run/reader.stop ]; do
		text=$(cat creds/..data/a 2>&1)
		case $text in one | two | three | four) ;; *) errors=$((errors + 1)) && echo "read: $text" ;; esac
		dd if=creds/b iflag=nocache count=0 status=none 2>&1
		text=$(timeout 60 cat creds/b 2>&1)
		case $text in one | two | three | four) ;; *) errors=$((errors + 1)) && echo "uncached: $text" ;; esac
		dd if=/proc/self/fd/9 iflag=nocache count=0 status=none 2>&1
		text=$(timeout 60 cat /proc/self/fd/9 2>&1)
		[ "$text" = "$first" ] || { errors=$((errors + 1)) && echo "held: $text"; }
		[ "$(stat -c %a creds/..data/a)" = 644 ] || { errors=$((errors + 1)) && echo "stat"; }
		reads=$((reads + 1))
		echo "$reads" >/run/reader.count
	done
	echo "$errors errors" >/run/reader.result
	R
# A unit that has the volume, and reads it when it is told to.
cat >"$sd/files/usr/local/bin/app" <<-'A'
	#!/bin/bash
	trap 'cat /run/creds/a >>/run/app.read; echo >>/run/app.read' HUP
	while :; do
		sleep 1000 &
		wait $!
	done
	A
cat >"$sd/files/etc/systemd/system/app.service" <<-U
	[Service]
	ExecStart=/usr/local/bin/app
	BindReadOnlyPaths=$vol:/run/creds
	U
chmod 755 "$sd/files/usr/local/bin/"{reader,app}

if ! systemd_up; then
	tail -n 20 "$sd/console" | sed 's/^/# /'
	echo "systemd cannot be booted here"
	exit 77
fi
unit() { inside systemctl "$@"; }
main_pid() { unit show -P MainPID secretlet; }
n_stored() { unit show -P NFileDescriptorStore secretlet; }
child() { # child NAME: its pid in there
	inside pgrep -P "$(main_pid)" -f "^secretlet-$1" | head -n 1
}
active() { [ "$(unit is-active secretlet)" = active ]; }
serves() { # serves VALUE: daemon and volume
	inside secretlet wait --quiet --timeout 20s default/app && [ "$(inside timeout 20 cat "$vol/a")" = "$1" ]
}
put() { secret "$1" | inside sh -c "cat >$manifests/.next && mv $manifests/.next $manifests/db.yaml"; }
reads_on() { # the reader has come by again
	local count
	count=$(inside cat /run/reader.count)
	eventually 30 "[ \$(inside cat /run/reader.count) -gt $((count + 1)) ]"
}
after() { # after WHAT VALUE: what must be true after each of it
	check "$1: active again" eventually 30 active
	check "$1: an update is visible" eventually 30 "put $2; sleep 0.3; serves $2"
	check "$1: the reader reads on" reads_on
	check "$1: what is stored" eventually 20 "[ \$(n_stored) = $stored ]" # systemd takes it in when it comes to it
	check_equal "$1: one mount" "$(inside grep -c " $pods " /proc/self/mountinfo)" 1
}

check "the unit is valid" inside systemd-analyze verify /etc/systemd/system/secretlet.service
check "the agent's user is made" inside systemd-sysusers
check_contains "its exposure is not above 4.7" "$(inside systemd-analyze security --offline=yes --threshold=47 --no-pager \
	/etc/systemd/system/secretlet.service 2>&1 && echo "exit 0")" "exit 0"
refused() { # the unit with the volume: it is forked, and ends with 226 (NAMESPACE)
	unit start app
	eventually 20 '[ "$(unit is-failed app)" = failed ]' && unit reset-failed app
}
check_contains "before the first start nothing can be made where the mount will be" "$(inside mkdir -p "$vol" 2>&1)" "Operation not permitted"
check "a unit that needs a volume is refused then" refused
check_equal "and has not made it" "$(inside find $pods -mindepth 1)" ""
check "it starts" unit start secretlet
check "it serves" serves one
check_equal "the agent is user secretlet" "$(inside stat -c %U "/proc/$(child agent)")" secretlet
check_equal "the secret memory is locked" "$(inside secretlet status -o json | jq -r .secretMemory.locked)" true
# the unit's own filter must let it confine itself
landlock=$(python3 -c 'import ctypes; print(ctypes.CDLL(None).syscall(444, None, 0, 1))')
[ "$landlock" -ge 6 ] && expected= || expected=$(inside secretlet status -o json | jq -r '.sandbox.missing | map(select(startswith("landlock"))) | join(" ")')
check_equal "the sandbox is whole (Landlock ABI $landlock)" \
	"$(inside secretlet status -o json | jq -r '.sandbox.missing | map(select(startswith("landlock") or . == "seccomp")) | join(" ")')" "$expected"
check "and lets the audit process do its work" eventually 20 "inside cat $vol/a && inside grep -q '\"key\":\"a\"' /var/log/secretlet/audit.jsonl"
check "a unit with the volume starts" unit start app
put two
check "its main process is signalled" eventually 20 "[ \"\$(inside cat /run/app.read)\" = two ]"
put one
check "and for the next version again" eventually 20 "[ \"\$(inside cat /run/app.read | xargs)\" = 'two one' ]"
app_pid=$(unit show -P MainPID app)
check "it is found by its cgroup" eventually 20 \
	"inside journalctl -u secretlet SECRETLET_CGROUP=/system.slice/app.service | grep -q 'sent SIGHUP to process $app_pid '"
unit stop app
check "the volume is as it was" eventually 20 "serves one"
stored=3
check "connection, arena and control socket are stored" eventually 20 "[ \$(n_stored) = $stored ]"
inside unshare -m --propagation private reader "$vol" >"$TEST_DIR/reader.out" 2>&1 &
reader=$!
check "the reader reads" eventually 20 "inside test -s /run/reader.count"

unit restart secretlet
after "restart" two
for _ in $(seq 5); do unit restart secretlet; done
after "five restarts" three
inside kill -9 "$(main_pid)"
after "SIGKILL of the keeper" one
unit kill -s KILL --kill-who=all secretlet
after "SIGKILL of all" two
inside kill -9 "$(child agent)"
after "SIGKILL of the agent" three
unit daemon-reexec
unit restart secretlet
after "daemon-reexec and restart" one
old=$(main_pid)
inside kill -STOP "$old"
check "a keeper that hangs is replaced" eventually 30 "[ \$(main_pid) != $old ]"
after "watchdog" two
unit reload secretlet
after "reload" three

# --- a read that waits while everything dies
inside kill -STOP "$(child agent)"
inside sh -c "dd if=$vol/b iflag=nocache count=0 status=none; timeout 60 cat $vol/b" >"$TEST_DIR/late" 2>&1 &
late=$!
sleep 0.3
unit kill -s KILL --kill-who=all secretlet
wait "$late"
check_equal "who waited for an agent that died with its keeper is answered" "$(cat "$TEST_DIR/late")" three
after "that" one

# --- an upgrade: a binary with another version
version=$(inside secretlet version)
inside sh -c "sed 's/$(cat "$here/../../VERSION")/9.9.9/g' /usr/bin/secretlet >/usr/bin/.new && chmod 755 /usr/bin/.new && mv /usr/bin/.new /usr/bin/secretlet"
check "the new version is another one" test "$(inside secretlet version)" != "$version"
unit restart secretlet
after "upgrade" two
check_contains "the new version runs" "$(inside readlink "/proc/$(main_pid)/exe")" /usr/bin/secretlet

inside touch /run/reader.stop
wait "$reader"
check_equal "the reader saw no error" "$(inside cat /run/reader.result; head -n 3 "$TEST_DIR/reader.out")" "0 errors"

# --- stop, and start
unit stop secretlet
check "stop: nothing can be made where the mount was" not inside mkdir -p "$vol"
check "stop: a unit that needs the volume is refused" refused
check "stop: no process" test -z "$(inside pgrep -f '^secretlet' || true)"
check_equal "stop: nothing is stored" "$(n_stored)" 0
check "start after a stop" unit start secretlet
check "start after a stop: it serves" serves two
check_equal "start after a stop: one mount" "$(inside grep -c " $pods " /proc/self/mountinfo)" 1

# --- a configuration that is wrong: whoever has a mount keeps it, and is not started ten times a second for that
config=/etc/secretlet/secretlet.yaml
n_started() { inside journalctl -q -u secretlet | grep -c "secretlet.yaml:.*noSuchField"; }
inside sh -c "cp $config /run/good.yaml; echo 'noSuchField: 1' >>$config"
begun=$SECONDS
check "a restart with a wrong configuration fails" not unit restart secretlet
check "it is tried again" eventually 60 "[ \$(n_started) -ge 3 ]"
n=$(n_started)
check "not more often than every 5 seconds ($n)" test "$n" -le $(((SECONDS - begun) / 5 + 1))
check_equal "what is stored stays so" "$(n_stored)" "$stored"
check_equal "the mount too" "$(inside grep -c " $pods " /proc/self/mountinfo)" 1
check_equal "what is cached can be read" "$(inside timeout 20 cat "$vol/a")" two
inside cp /run/good.yaml $config
check "once it is right it runs by itself" eventually 60 active
check "and serves" serves two
inside kill -9 "$(main_pid)"
check "and is started again at once when it is killed" eventually 30 "[ \$(main_pid) != 0 ] && serves two"
unit stop secretlet
fails_for_good() { # fails_for_good WHAT STATUS
	check "$1, without a mount: it fails" not unit start secretlet
	check "$1: for good" eventually 20 '[ "$(unit is-failed secretlet)" = failed ]'
	check_equal "$1: with this status, and no other start" "$(unit show -P ExecMainStatus secretlet) $(unit show -P NRestarts secretlet)" "$2 0"
}
inside sh -c "echo 'noSuchField: 1' >>$config"
fails_for_good "a wrong configuration" 78
# what only the agent finds may be mended elsewhere
inside sh -c "sed 's,^manifestsDir: .*,manifestsDir: /run/later,' /run/good.yaml >$config"
n_refused() { inside journalctl -q -u secretlet | grep -c 'tried again in 5 seconds$'; }
n=$(n_refused) begun=$SECONDS
check "without what the configuration names: it fails" not unit start secretlet
check "it is tried again" eventually 60 "[ \$((\$(n_refused) - n)) -ge 2 ]"
check "not more often than every 5 seconds" test "$(unit show -P NRestarts secretlet)" -le $(((SECONDS - begun) / 5 + 1))
inside install -d -m 755 /run/later
check "once it is there it runs by itself" eventually 60 active
unit stop secretlet
inside sh -c "cp /run/good.yaml $config; mkdir -p /run/systemd/system/secretlet.service.d
	printf '[Service]\nExecStart=\nExecStart=/usr/bin/secretlet run --no-such-option\n' >/run/systemd/system/secretlet.service.d/wrong.conf"
unit daemon-reload
fails_for_good "a wrong command line" 2
inside rm /run/systemd/system/secretlet.service.d/wrong.conf
unit daemon-reload
check "then it is started" unit start secretlet
check "and serves again" serves two

# --- a mount that somebody has taken away
inside umount -l "$pods"
unit restart secretlet
check "a mount that was taken away is made anew" serves two
check_equal "one mount" "$(inside grep -c " $pods " /proc/self/mountinfo)" 1
unit stop secretlet
tap_done
