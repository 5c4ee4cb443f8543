#!/usr/bin/env bash
# timeout: 600
# Deaths at chosen moments: the agent and the publisher are killed at each system call of an update in turn, and a request
# kills every agent that answers it. strace(1) does the killing.
# It takes long.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"

secretlet=$TEST_BUILD_DIR/secretlet
manifests=$TEST_DIR/manifests pods=$TEST_DIR/pods run=$TEST_DIR/run log=$TEST_DIR/daemon.log
vol=$pods/by-name/default/app/volumes/kubernetes.io~secret/creds
mkdir -p "$manifests"
chmod 755 "$TEST_DIR"

# Two keys that every revision has, and one that only it has.
write_secret() { # write_secret NUMBER
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {a: "%s", b: "%s", k%s: "%s"}\n' "$1" "$1" "$1" "$1" \
		>"$TEST_DIR/next"
	mv "$TEST_DIR/next" "$manifests/db.yaml"
}
cat >"$manifests/app.yaml" <<-Y
	apiVersion: v1
	kind: Pod
	metadata: {name: app}
	spec:
	  volumes: [{name: creds, secret: {secretName: db}}]
	  containers: [{name: main, image: none, volumeMounts: [{name: creds, mountPath: /creds}]}]
Y
child() { # child NAME: the pid of the keeper's child of that name
	local p
	for p in $(pgrep -P "$keeper"); do
		[ "$(tr '\0' '\n' <"/proc/$p/cmdline" | head -n 1)" = "secretlet-$1" ] && echo "$p" && return
	done
	return 1
}
# What a reader may see at any time: both keys, of one revision (..data is opened once).
whole() {
	local text
	text=$(cd "$vol/..data" && cat a b) || return 1
	case $text in "$1$1" | "$2$2") ;; *) echo "# seen: ${text//$'\n'/ }" && return 1 ;; esac
}
shows() { # shows NUMBER: this revision, its links and nothing else
	[ "$(cat "$vol/a" "$vol/b" "$vol/k$1" 2>/dev/null)" = "$1$1$1" ] &&
		[ "$(find "$vol/" -maxdepth 1 -mindepth 1 -printf '%f\n' | grep -v '^\.\.2' | sort | xargs)" = "..data a b k$1" ]
}
clean() { [ "$(find "$vol/" -maxdepth 1 -name '..2*' | wc -l)" = 1 ]; }

# deaths_at NAME CHILD CALLS: the child is killed at the first such call of an update, then at the second, and so on until an
# update comes through before that.
deaths_at() {
	local n=0 pid tracer wrong=0 old new
	old=$number
	while [ "$n" -lt 200 ]; do
		n=$((n + 1)) new=$((number + 1)) number=$new
		eventually 20 "child $2" || break
		pid=$(child "$2")
		strace -qq -p "$pid" -e "trace=$3" -e "inject=$3:signal=KILL:when=$n" -o "$TEST_DIR/strace" 2>/dev/null &
		tracer=$!
		eventually 5 "grep -q '^TracerPid:[[:space:]]*[1-9]' /proc/$pid/status"
		write_secret "$new"
		until [ ! -d "/proc/$pid" ] || shows "$new"; do whole "$old" "$new" || wrong=$((wrong + 1)); done
		whole "$old" "$new" || wrong=$((wrong + 1))
		eventually 20 "shows $new" || { wrong=$((wrong + 1)) && echo "# $2 at call $n: the update does not come"; }
		eventually 5 clean || { wrong=$((wrong + 1)) && echo "# $2 at call $n: something is left over: $(ls -A "$vol/" | xargs)"; }
		old=$new
		if [ -d "/proc/$pid" ] && [ "$(child "$2")" = "$pid" ]; then
			kill "$tracer" 2>/dev/null
			wait "$tracer" 2>/dev/null
			break
		fi
		wait "$tracer" 2>/dev/null
	done
	check_equal "$1: wholly old or wholly new, then new, and nothing left over ($((n - 1)) deaths)" "$wrong" 0
	check "$1: there were deaths" test "$n" -gt 3
}

[ -n "$(command -v strace)" ] || { echo "strace is not there"; exit 77; }
number=1
write_secret 1
"$secretlet" run --manifests "$manifests" --pods-dir "$pods" --runtime-dir "$run" 2>>"$log" &
keeper=$!
check "the pod becomes ready" "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s default/app
strace -qq -e trace=none true 2>/dev/null || { echo "strace may not trace here"; exit 77; }
deaths_at "the publisher, at each call" publisher mkdirat,fchmodat,symlinkat,renameat,unlinkat
deaths_at "the agent, before each answer to the kernel" agent writev

# --- a request that kills whoever answers it
dd if="$vol/a" iflag=nocache count=0 status=none
strace -f -qq -p "$keeper" -p "$(child agent)" -e trace=writev -e inject=writev:signal=KILL:when=1 -o "$TEST_DIR/strace" 2>/dev/null &
tracer=$!
eventually 5 "grep -q '^TracerPid:[[:space:]]*[1-9]' /proc/$keeper/status"
out=$(timeout 60 cat "$vol/a" 2>&1)
check_contains "it is answered with an error" "$out" "Input/output error"
kill "$tracer"
wait "$tracer" 2>/dev/null
check "an agent serves" "$secretlet" wait --quiet --runtime-dir "$run" --timeout 20s default/app
check_contains "the log names it" "$(cat "$log")" "3 agents died of this request, it is answered with an error: READ of node"
dd if="$vol/b" iflag=nocache count=0 status=none
check_equal "others are answered" "$(cat "$vol/b")" "$number"
check_equal "and the next one for the same file, too" "$(cat "$vol/a")" "$number"

kill "$keeper"
wait "$keeper"
check_equal "exit status" $? 0
tap_done
