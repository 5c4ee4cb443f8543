#!/usr/bin/env bash
# timeout: 180
# What the kernel says of the running processes, who may use the control socket, and what becomes of it all on kernels that lack
# a rule. What each rule refuses is test_sandbox's. Runs in a private mount namespace (test/run sees to it).
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet oldkernel=$TEST_BUILD_DIR/test/tools/oldkernel apiserver=$TEST_BUILD_DIR/apiserver
pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log objects=$TEST_DIR/objects
[ -x "$oldkernel" ] || { echo "test/tools/oldkernel has not been built (make tools)"; exit 77; }
mkdir "$objects"
chmod 755 "$TEST_DIR"
for_all=$TEST_DIR/secretlet # another user may not get to where it was built
install -m 0755 "$secretlet" "$for_all"

secret() { # secret VALUE
	printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","namespace":"default"},"data":{"a":"%s"}}' "$(printf %s "$1" | base64)"
}
put_secret() { # put_secret VALUE
	curl -sSf -o /dev/null -X PUT -H 'Content-Type: application/json' --data-binary "$(secret "$1")" \
		"http://127.0.0.1:$port/api/v1/namespaces/default/secrets/db"
}
printf '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"app","namespace":"default","uid":"uid-app"},"spec":{"nodeName":"node-1","containers":[{"name":"c","image":"i","volumeMounts":[{"name":"creds","mountPath":"/c"}]}],"volumes":[{"name":"creds","secret":{"secretName":"db"}}]}}' >"$objects/pod.json"
secret one >"$objects/secret.json"
"$apiserver" --port 0 --load "$objects" >"$TEST_DIR/server.out" 2>"$TEST_DIR/server.err" &
server=$!
eventually 10 grep -q http "$TEST_DIR/server.out"
port=$(grep -o 'http://[0-9.:]*' "$TEST_DIR/server.out" | head -n 1 | sed 's/.*://')
# by name: libcurl's resolver has a thread, and reads files in /etc
cat /etc/hosts >"$TEST_DIR/hosts"
echo "127.0.0.1 api.test" >>"$TEST_DIR/hosts"
mount --bind "$TEST_DIR/hosts" /etc/hosts || exit 1
write_kubeconfig() { # write_kubeconfig HOST
	cat >"$TEST_DIR/kubeconfig" <<-Y
	apiVersion: v1
	kind: Config
	current-context: c
	contexts: [{name: c, context: {cluster: k, user: u}}]
	clusters: [{name: k, cluster: {server: "http://$1:$port"}}]
	users: [{name: u, user: {}}]
	Y
}
"$secretlet" cache keygen "$TEST_DIR/cache.key"
write_config() { # write_config LINE...
	{
		printf 'apiVersion: secretlet.config/v1alpha1\nkind: SecretletConfiguration\nkubeconfig: kubeconfig\nnodeName: node-1\n'
		printf 'podsDir: %s\nruntimeDir: %s\nofflineCacheDir: %s\nofflineCacheKeyFile: cache.key\n' "$pods" "$run" "$TEST_DIR/cache"
		printf 'auditLog: %s\nsignalContainers: true\n' "$TEST_DIR/log/audit.jsonl"
		[ $# = 0 ] || printf '%s\n' "$@"
	} >"$TEST_DIR/config.yaml"
	chmod 600 "$TEST_DIR/config.yaml"
}
start() { # start [COMMAND...]: through that
	: >"$log"
	"$@" "$secretlet" run --config "$TEST_DIR/config.yaml" 2>>"$log" &
	keeper=$!
}
stop() {
	kill "$keeper"
	wait "$keeper"
}
value() { timeout 20 cat "$pods/by-name/default/app/volumes/kubernetes.io~secret/creds/a" 2>/dev/null; }
becomes() { eventually 60 "[ \"\$(value)\" = $1 ]"; }
child() { pgrep -P "$1" -f "^$2" | head -n 1; }
field() { grep "^$2:" "/proc/$1/status" | cut -f 2; }
# its_user PID: the words before a command that is that one's user, with its capabilities and no others: what it may look into
its_user() {
	local bounds=-all
	[ "$(field "$1" CapPrm)" = 0000000000000000 ] || bounds=-all,+kill # the signaller's
	as_its_user=(setpriv --reuid "$(field "$1" Uid | cut -f 1)" --regid "$(field "$1" Gid | cut -f 1)" --clear-groups
		--inh-caps -all --bounding-set "$bounds" --)
}
closed() {
	not "${as_its_user[@]}" cat "/proc/$1/environ" >/dev/null 2>"$TEST_DIR/closed" && grep -q "Permission denied" "$TEST_DIR/closed"
}
# would it see into a process of that user that is dumpable?
would_be_open() {
	local other rc
	"${as_its_user[@]}" sleep 60 &
	other=$!
	eventually 10 grep -qx sleep "/proc/$other/comm"
	"${as_its_user[@]}" cat "/proc/$other/environ" >/dev/null
	rc=$?
	kill "$other"
	wait "$other" 2>/dev/null
	return "$rc"
}
state() { "$secretlet" status --runtime-dir "$run" -o json | jq -r "$1"; }
gaps() { "$secretlet" status --runtime-dir "$run" | sed -n '/^sandbox$/,$ s/^  missing  *//p'; }
logged() { grep -c "$1" "$log"; }

# --- what the kernel says of them
write_kubeconfig api.test
write_config
# with a file, groups and capabilities that could be inherited
exec 9<"$TEST_DIR/config.yaml"
start setpriv --groups 4,24 --inh-caps=+chown,+sys_admin --ambient-caps=+chown,+sys_admin
check "it serves, and looks a name up" becomes one
agent=$(child "$keeper" secretlet-agent) publisher=$(child "$keeper" secretlet-publisher) audit=
check "it records opens" eventually 20 "audit=\$(child $keeper secretlet-audit) && [ -s '$TEST_DIR/log/audit.jsonl' ]"
cache=$(pgrep -P "$agent" -x secretlet-cache)
signaller=$(child "$keeper" secretlet-signaller)
check "the signaller is there" eventually 20 "[ \"\$(state .signals.running)\" = true ]"
check "the offline cache is written" eventually 20 "[ -s '$TEST_DIR/cache/index' ]"
for role in agent publisher cache audit signaller; do
	pid=${!role}
	check_equal "$role: filtered, no new privileges" "$(field "$pid" Seccomp) $(field "$pid" NoNewPrivs)" "2 1"
	kept=0000000000000000
	[ $role != signaller ] || kept=0000000000000020 # CAP_KILL
	check_equal "$role: no capability but its own" "$(field "$pid" CapInh) $(field "$pid" CapPrm) $(field "$pid" CapEff) $(field "$pid" CapBnd) $(field "$pid" CapAmb)" \
		"0000000000000000 $kept $kept 0000000000000000 0000000000000000"
	its_user "$pid"
	check "$role: not dumpable: its own user does not see into it" closed "$pid"
	check "$role: as into another of its processes" would_be_open
	check_equal "$role: no core" "$(grep '^Max core file size' "/proc/$pid/limits" | tr -s ' ' | cut -d ' ' -f 5,6)" "0 0"
	check_equal "$role: no groups" "$(field "$pid" Groups | tr -d ' ')" ""
done
has_inherited() { readlink "/proc/$1/fd"/* | grep -c "^$TEST_DIR/config.yaml\$"; }
check_equal "what the keeper was started with none of them has" \
	"$(for pid in "$keeper" "$agent" "$publisher" "$cache" "$audit" "$signaller"; do has_inherited "$pid"; done | xargs)" "1 0 0 0 0 0"
# descriptors ROLE: what it has open beside the first three, and how many of each. A socket that another one of them has as well is a
# shared one: it has been given it, or has not closed it.
descriptors() {
	local target shared n
	shared=$(for role in keeper agent publisher cache audit signaller; do
		readlink "/proc/${!role}/fd"/* | grep '^socket:' | sort -u
	done | sort | uniq -d)
	for fd in "/proc/${!1}/fd"/*; do
		if [ "${fd##*/}" -le 2 ] || ! target=$(readlink "$fd"); then continue; fi
		case $target in
		socket:*) if [[ $shared = *"$target"* ]]; then echo shared; else echo socket; fi ;;
		anon_inode:*) expr "$target" : '.*\[\(.*\)\]' ;;
		*) echo "${target% (deleted)}" ;;
		esac
	done | sort | uniq -c | while read -r n target; do
		# its connections, and what libcurl's threads wake it with, come and go
		case $1:$target in agent:socket | agent:eventfd) ;; *) echo "$target:$n" ;; esac
	done | sort | xargs
}
has_only() { # has_only ROLE DESCRIPTOR:NUMBER...
	local role=$1 expected
	shift
	expected=$(printf '%s\n' "$@" | sort | xargs)
	# what is open for a moment is closed soon
	eventually 10 "[ \"\$(descriptors $role)\" = '$expected' ]"
	check_equal "$role: no descriptor but its own" "$(descriptors "$role")" "$expected"
}
# shared: the control socket
has_only agent /dev/fuse:1 /memfd:secretlet-arena:2 /memfd:secretlet-config:1 eventpoll:2 pidfd:1 shared:1 timerfd:2
has_only publisher /:1 /dev/null:1 socket:1
has_only cache "$TEST_DIR/cache:1" socket:1
has_only audit /:1 /audit.jsonl:1 /memfd:secretlet-audit:1 /memfd:secretlet-config:1 eventpoll:1 fanotify:1 socket:2 timerfd:1
has_only signaller /:1 eventpoll:1 socket:2 timerfd:1
check_equal "and the first three are those that the keeper was started with" \
	"$(for role in agent publisher cache audit signaller; do readlink "/proc/${!role}/fd"/{0,1,2}; done | sort -u)" \
	"$(readlink "/proc/$keeper/fd"/{0,1,2} | sort -u)"
exec 9<&-
check_equal "agent and cache are one user" "$(field "$agent" Uid)" "$(field "$cache" Uid)"
check "who is not root" test "$(field "$agent" Uid | cut -f 1)" != 0
check_equal "the publisher owns the tree" "$(field "$publisher" Uid | cut -f 1)" 0
check_equal "publisher, audit process and signaller have other root folders" \
	"$(stat -L -c %d "/proc/$publisher/root") $(stat -L -c %d "/proc/$audit/root") $(stat -L -c %d "/proc/$signaller/root")" \
	"$(stat -c %d "$pods") $(stat -c %d /proc) $(stat -c %d /proc)"
check "the audit process cannot write to its own" not touch "/proc/$audit/root/sys/kernel/core_pattern" 2>/dev/null
check_equal "the keeper is filtered, no new privileges" "$(field "$keeper" Seccomp) $(field "$keeper" NoNewPrivs)" "2 1"
# CHOWN, DAC_READ_SEARCH, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, IPC_LOCK, SYS_CHROOT, SYS_ADMIN, SYS_RESOURCE: of these what there is here
kept=$(printf %016x $((0x12445e5 & 0x$(field $$ CapBnd))))
check_equal "the keeper has the capabilities that it uses" \
	"$(field "$keeper" CapInh) $(field "$keeper" CapPrm) $(field "$keeper" CapEff) $(field "$keeper" CapBnd) $(field "$keeper" CapAmb)" \
	"0000000000000000 $kept $kept $kept 0000000000000000"
check "which are not all that it was given" test "$kept" != "$(field $$ CapBnd)"
check_equal "no core of the keeper either" "$(grep '^Max core file size' "/proc/$keeper/limits" | tr -s ' ' | cut -d ' ' -f 5,6)" "0 0"
more_filters() { echo $(($(field "$1" Seccomp_filters) - $(field "$keeper" Seccomp_filters))); }
check_equal "each has filters of its own beside the keeper's" \
	"$(more_filters "$agent") $(more_filters "$publisher") $(more_filters "$cache") $(more_filters "$audit") $(more_filters "$signaller")" "3 1 2 2 2"
check_equal "what holds is said once" "$(logged 'sandbox: seccomp')" 1
known=$(state '.sandbox.inForce | length')
check_equal "and every rule is known" "$(state '(.sandbox.inForce + .sandbox.missing) | sort | join(" ")')" \
	"landlock-devices landlock-files landlock-scopes landlock-tcp memory-deny-write-execute seccomp"
check_equal "the table has the gaps alone" "$(gaps)" "$(state '.sandbox.missing | join(", ")')"
check "an update comes through all of it" eval "put_secret two; becomes two"

# --- the next agent
kill -9 "$agent"
check "another agent takes over" eventually 20 "grep -q 'serves again' '$log'"
check_equal "what holds is not said again" "$(logged 'sandbox: seccomp')" 1
check_equal "and holds" "$(field "$(child "$keeper" secretlet-agent)" Seccomp) $(state '.sandbox.inForce | length')" "2 $known"
check "its cache process has gone with it" eventually 10 "[ ! -d /proc/$cache ] || [ \"\$(field $cache State | cut -c 1)\" = Z ]"

stop

# --- the control socket
client() { # client GID...: a status as another user with these groups; its exit status, and what it says
	setpriv --reuid 65534 --regid 65534 --groups "$@" timeout 20 "$for_all" status --runtime-dir "$run" 2>&1
	echo "exit $?"
}
getent group adm >/dev/null || echo "no group adm" >&2
gid=$(getent group adm | cut -d : -f 3)
write_kubeconfig 127.0.0.1
start
check "by address it serves, too" becomes two
check_equal "without controlSocketGroup the socket is root's" "$(stat -c %a:%u:%g "$run/control.sock")" 600:0:0
check_contains "another user is told who may" "$(client "$gid")" "permission denied: use sudo, or become a member of the group that controlSocketGroup names"
stop
write_config "controlSocketGroup: adm"
start
check "with a group it serves" becomes two
check_equal "the socket is the group's" "$(stat -c %a:%u:%g "$run/control.sock")" "660:0:$gid"
check_contains "a member is answered" "$(client "1,$gid,4243")" "exit 0"
check_contains "who is not is told who may" "$(client 1,4243)" "permission denied: use sudo, or become a member of the group that controlSocketGroup names"
check_equal "and exits like that" "$(client 1,4243 | tail -n 1)" "exit 3"
chmod 666 "$run/control.sock"
check_contains "even if the socket lets it in" "$(client 1,4243)" "only root and the members of controlSocketGroup may use this socket"
check_contains "root is answered" "$("$secretlet" status --runtime-dir "$run" >/dev/null; echo "exit $?")" "exit 0"
stop
write_config "controlSocketGroup: nobody-of-that-name"
check_contains "a group that is not there is refused" "$("$secretlet" run --config "$TEST_DIR/config.yaml" 2>&1)" \
	"controlSocketGroup: group nobody-of-that-name does not exist"

# --- other kernels
write_config
write_kubeconfig api.test
n=2
lacks() { # lacks NAME "MISSING..." WORDS OPTION...: it serves, and says once what is missing
	local name=$1 missing=$2 words=$3
	shift 3
	rm -f "$TEST_DIR/log/audit.jsonl"
	start "$oldkernel" "$@"
	check "$name: it serves" becomes "v$n"
	n=$((n + 1))
	put_secret "v$n"
	check "$name: an update comes" becomes "v$n"
	check "$name: opens are recorded" eventually 20 "value; grep -q '\"type\":\"open\"' '$TEST_DIR/log/audit.jsonl'"
	check_equal "$name: one line" "$(logged 'the kernel .* does not have, and goes without')" 1
	check "$name: with what is missing" grep -q "goes without: $words" "$log"
	check_equal "$name: status has it, too" "$(state '.sandbox.missing | join(" ")')" "$missing"
	check_equal "$name: and so has its table" "$(gaps)" "${missing// /, }"
	check_equal "$name: it is healthy" "$(state .healthy)" true
	stop
}
put_secret "v$n"
all=$("$oldkernel" --landlock 0 true 2>&1) || known=0
if [ "$known" = 6 ]; then
	lacks "without Landlock" "landlock-files landlock-tcp landlock-devices landlock-scopes" "Landlock (Linux 5.13" --landlock 0
	lacks "Linux 6.1" "landlock-tcp landlock-devices landlock-scopes memory-deny-write-execute" \
		"Landlock for TCP ports (Linux 6.7), Landlock for devices (Linux 6.10), Landlock for signals.* PR_SET_MDWE (Linux 6.3)" \
		--landlock 2 --no-mdwe
	lacks "Linux 6.7" "landlock-devices landlock-scopes" "Landlock for devices" --landlock 4
	lacks "without seccomp" "seccomp" "seccomp (CONFIG_SECCOMP_FILTER)" --no-seccomp
else
	tap_skip "other kernels" "this one lacks a rule itself, or cannot pretend${all:+: $all}"
fi
kill "$server"
tap_done
