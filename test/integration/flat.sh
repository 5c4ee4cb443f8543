#!/usr/bin/env bash
# timeout: 300
# Flat volumes under a daemon: what the annotation makes, the events that watchers get, the audit's records, and deaths of
# publisher and agent after system calls of an update (each n-th, PUBLISHER_EVERY and AGENT_EVERY, from another one on in each
# run; all of them take minutes). At any time each key is wholly old or wholly new, no key that both have is missing, and
# nothing else is in the volume; then all is new.
set -u
here=$(dirname "$(realpath "$0")")
# shellcheck source=../lib/tap.sh
. "$here/../lib/tap.sh"
shopt -s dotglob nullglob

secretlet=$TEST_BUILD_DIR/secretlet dieat=$TEST_BUILD_DIR/test/tools/dieat
workers=3 calls_max=2000
publisher_every=${PUBLISHER_EVERY:-3} agent_every=${AGENT_EVERY:-100}
first=$RANDOM
chmod 755 "$TEST_DIR"

child() { # child NAME: the pid of the keeper's child of that name, in $pid
	local p name
	for p in $(pgrep -P "$keeper"); do
		IFS= read -r -d '' name <"/proc/$p/cmdline" && [ "$name" = "secretlet-$1" ] && pid=$p && return
	done 2>/dev/null
	return 1
}
# Three keys that every revision has, one of which never changes, and one that only it has.
write_secret() { # write_secret NUMBER
	printf 'apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {a: "%s", b: "%s", same: always, k%s: "%s"}\n' \
		"$1" "$1" "$1" "$1" >"$dir/next"
	mv "$dir/next" "$dir/manifests/db.yaml"
}
value() { # value FILE: what is in it, in $value
	value=
	read -r value 2>/dev/null <"$1" || [ -n "$value" ]
}
# What a reader may see at any time.
whole() { # whole OLD NEW
	local a b path
	if ! { value "$vol/a" && a=$value && value "$vol/b" && b=$value && value "$vol/same"; }; then
		echo "# a key is missing" && return 1
	fi
	case $a in "$1" | "$2") ;; *) echo "# a: $a, not $1 or $2" && return 1 ;; esac
	case $b in "$1" | "$2") ;; *) echo "# b: $b, not $1 or $2" && return 1 ;; esac
	for path in "$vol"/*; do
		case ${path##*/} in a | b | same | "k$1" | "k$2") ;; *) echo "# a foreign name: ${path##*/}" && return 1 ;; esac
		[ ! -L "$path" ] || { echo "# a link: ${path##*/}" && return 1; }
	done
}
shows() { # shows NUMBER: this revision and nothing else
	local names staged
	value "$vol/a" && [ "$value" = "$1" ] && value "$vol/b" && [ "$value" = "$1" ] && value "$vol/k$1" &&
		[ "$value" = "$1" ] && names=("$vol"/*) && [ "${#names[@]}" = 4 ] && staged=("$staging"/*/*) &&
		[ "${#staged[@]}" = 0 ] && staged=("$staging"/*) && [ "${#staged[@]}" = 1 ]
}

deaths_of() { # deaths_of CHILD FIRST STRIDE
	local n=$2 deaths=0 wrong=0 new status=0
	while [ "$n" -lt "$calls_max" ]; do
		new=$((number + 1))
		"$secretlet" wait --quiet --runtime-dir "$dir/run" --timeout 20s default/app || break
		eventually 20 "child $1" || break
		child "$1" || continue
		exec 8< <(exec "$dieat" "$pid" "$n")
		tracer=$!
		read -r <&8 || { wait "$tracer"; continue; } # it has just died
		write_secret "$new"
		until [ ! -d "/proc/$pid" ] || shows "$new"; do
			whole "$number" "$new" || wrong=$((wrong + 1))
		done
		whole "$number" "$new" || wrong=$((wrong + 1))
		eventually 20 "shows $new" || { wrong=$((wrong + 1)) && echo "# $1 after call $n: it shows $(ls -A "$vol/" | xargs), staged is $(ls -AR "$staging" | xargs)"; }
		number=$new
		kill "$tracer" 2>/dev/null
		wait "$tracer"
		status=$?
		exec 8<&-
		[ "$status" = 0 ] || break
		deaths=$((deaths + 1)) n=$((n + $3))
	done
	[ "$status" = 2 ] || { wrong=$((wrong + 1)) && echo "# $1, call $n: the last one was not let go ($status)"; }
	echo "$deaths deaths, $wrong wrong"
}

pod() { # pod NAME OPTIONS
	cat <<-Y
		apiVersion: v1
		kind: Pod
		metadata:
		  name: $1
		  annotations:
		    secretlet.dev/volumes: "$2"
		spec:
		  volumes: [{name: creds, secret: {secretName: db}}]
		  containers: [{name: main, image: none, volumeMounts: [{name: creds, mountPath: /creds}]}]
	Y
}
run() { exec "$secretlet" run --manifests "$dir/manifests" --pods-dir "$dir/pods" --runtime-dir "$dir/run" "$@"; }
ready() { "$secretlet" wait --quiet --runtime-dir "$dir/run" --timeout 20s "default/$1"; }

worker() { # worker NUMBER
	dir=$TEST_DIR/$1 number=1
	vol=$dir/pods/by-name/default/app/volumes/kubernetes.io~secret/creds
	staging=$dir/pods/by-name/default/app/staging/creds
	mkdir -p "$dir/manifests"
	write_secret 1
	pod app 'creds: {layout: flat}' >"$dir/manifests/app.yaml"
	run 2>>"$TEST_DIR/$1.log" &
	keeper=$!
	ready app || echo "# not ready"
	deaths_of publisher "$((1 + first % publisher_every + ($1 - 1) * publisher_every))" "$((workers * publisher_every))" >"$dir/publisher"
	deaths_of agent "$((1 + first % agent_every + ($1 - 1) * agent_every))" "$((workers * agent_every))" >"$dir/agent"
	kill "$keeper"
	wait "$keeper"
	echo "exit $?" >"$dir/end"
}

# ---- one daemon: what there is, and who is told of it
dir=$TEST_DIR/0 log=$TEST_DIR/0.log
mkdir -p "$dir/manifests"
write_secret 1
pod app 'creds: {layout: flat, mode: \"0440\"}' >"$dir/manifests/app.yaml"
pod wrong 'creds: {layout: round}' >"$dir/manifests/wrong.yaml"
pod links 'creds: {layout: kubelet}' >"$dir/manifests/links.yaml"
printf '%s\n' 'apiVersion: secretlet.config/v1alpha1' 'kind: SecretletConfiguration' "auditLog: $dir/log/audit.jsonl" >"$dir/config.yaml"
run --config "$dir/config.yaml" 2>>"$log" &
keeper=$!
check "a pod with a flat volume becomes ready" ready app
vol=$dir/pods/by-name/default/app/volumes/kubernetes.io~secret/creds
staging=$dir/pods/by-name/default/app/staging/creds
check_equal "it has the keys, which are files" "$(find "$vol/" -mindepth 1 -printf '%P %y %m\n' | sort)" \
	$'a f 440\nb f 440\nk1 f 440\nsame f 440'
check_equal "the pod beside it has links" "$(stat -c %F "$dir/pods/by-name/default/links/volumes/kubernetes.io~secret/creds/a")" \
	"symbolic link"
check "a misspelt layout is refused" eventually 10 "grep -q 'creds.layout' '$log'"
check "and that volume is not there" test ! -e "$dir/pods/by-name/default/wrong/volumes/kubernetes.io~secret/creds"
inode=$(stat -c '%i %y' "$vol/same")
exec 7<"$vol/a"
inotifywait -m -e create,moved_to,moved_from,delete,attrib,modify --format '%e %f' "$vol/" >"$dir/events" 2>"$dir/watching" &
watcher=$!
eventually 10 "grep -q established '$dir/watching'"
write_secret 2
check "an update is shown" eventually 10 "shows 2"
check "the other pod's, too" eventually 10 "[ \"\$(cat '$dir/pods/by-name/default/links/volumes/kubernetes.io~secret/creds/a')\" = 2 ]"
check_equal "who has opened a key keeps it" "$(cat <&7)" 1
exec 7<&-
check_equal "what has not changed is as it was" "$(stat -c '%i %y' "$vol/same")" "$inode"
check "watchers are told" eventually 10 "grep -q 'DELETE k1' '$dir/events'"
kill "$watcher"
check_equal "of what has changed, and of nothing else" "$(xargs <"$dir/events")" \
	"MOVED_TO a MOVED_TO b MOVED_TO k2 DELETE k1"
of_key() { jq -r 'select(.type == "open" and .key == "a") | "\(.pod.name) \(.volume) \(.secret) \(.version[:2])"' "$dir/log/audit.jsonl" | sort -u; }
check "the audit knows the key and the version" eventually 10 "of_key | grep -qx 'app creds db 20'"
pod app 'creds: {layout: kubelet}' >"$dir/next.yaml"
mv "$dir/next.yaml" "$dir/manifests/app.yaml"
check "another layout is for another pod, which the log says" eventually 10 "grep -q 'creds.layout: a volume keeps the layout' '$log'"
check_contains "and volumes, too" "$("$secretlet" volumes --runtime-dir "$dir/run" default/app)" "a volume keeps the layout"
write_secret 3
check "it is updated all the same" eventually 10 "shows 3"
kill "$keeper"
wait "$keeper"
check_equal "the daemon ends well" $? 0

# ---- deaths
for i in $(seq "$workers"); do worker "$i" & done
wait
for who in publisher agent; do
	deaths=$(cat "$TEST_DIR"/*/"$who" | sed -n 's/^\([0-9]*\) deaths.*/\1/p' | awk "{ n += \$1 } END { print n + 0 }")
	check_equal "the $who, after calls of an update: each key old or new, then new ($deaths deaths)" \
		"$(cat "$TEST_DIR"/*/"$who" | grep -v ' deaths, 0 wrong$' | head -n 20)" ""
	check "the $who: every daemon has done its share" test "$(cat "$TEST_DIR"/*/"$who" | grep -c ' deaths, ')" = "$workers"
	check "the $who: there were deaths" test "$deaths" -gt 0
done
check_equal "each daemon ends well" "$(sort -u "$TEST_DIR"/*/end)" "exit 0"
tap_done
